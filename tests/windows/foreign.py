# SPDX-License-Identifier: MIT
"""Programs that are not Python's, in C# and C, that do as they are told: tools/windows-peers has compiled them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.here import ready

LIMIT = 30.0  # seconds for one answer
FOLDER = Path(sys.executable).resolve().parent.parent
PEERS = FOLDER / "peers"


def command(file: str) -> list[str]:
    """What starts the program of a source file beside this one."""
    source = Path(__file__).resolve().parent / file
    program = PEERS / f"{source.stem}{'.dll' if source.suffix == '.cs' else '.exe'}"
    if not program.exists():
        pytest.fail(f"{program} is not there: tools/windows-peers compiles it")
    assert program.stat().st_mtime >= source.stat().st_mtime, f"{program} is old: run tools/windows-peers"
    return [str(FOLDER / "dotnet" / "dotnet.exe"), str(program)] if source.suffix == ".cs" else [str(program)]


class Foreign:
    """One such program. `tell` a step and its words; the `answer` is `=value` or `!error`. Ended at the end."""

    def __init__(self, file: str) -> None:
        self.process = subprocess.Popen(
            command(file),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            bufsize=1,
            env={**os.environ, "COMPlus_EnableDiagnostics": "0"},
        )

    def tell(self, *step: object) -> None:
        """Has it do a step, and does not wait."""
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join(map(str, step)) + "\n")

    def answer(self) -> str:
        """What came of it."""
        assert self.process.stdout is not None
        assert ready(self.process.stdout.fileno(), LIMIT), "the program did not answer in time"
        line = self.process.stdout.readline()
        assert line, f"the program ended, with exit code {self.process.wait(LIMIT)}"
        return line.rstrip("\r\n")

    def ask(self, *step: object) -> str:
        self.tell(*step)
        return self.answer()

    def do(self, *step: object) -> str:
        """The value of a step that must succeed."""
        answer = self.ask(*step)
        assert answer.startswith("="), f"{step}: {answer}"
        return answer[1:]

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)

    def __enter__(self) -> Foreign:
        return self

    def __exit__(self, *exception: object) -> None:
        self.process.kill()
        self.process.communicate()

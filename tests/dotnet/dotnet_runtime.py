# SPDX-License-Identifier: MIT
"""The real .NET runtime: finds it, compiles the C# files beside the tests, runs them.

tools/dotnet-runtime brings it. Where it is not, the tests are skipped, unless MEMORYMAPPED_REQUIRE_DOTNET is set."""

from __future__ import annotations

import os
import select
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
FOLDER = Path(os.environ.get("MEMORYMAPPED_DOTNET") or CACHE / "memorymapped" / "dotnet")
COMMAND = "tools/dotnet-runtime" + (f" '{FOLDER}'" if os.environ.get("MEMORYMAPPED_DOTNET") else "")

LONGEST_COMPILATION = 60.0  # seconds
LONGEST_RUN = 80.0
LONGEST_STEP = 10.0


def environment() -> dict[str, str]:
    """For .NET programs: no debugger's pipes in /tmp, nothing sent anywhere."""
    return {**os.environ, "COMPlus_EnableDiagnostics": "0", "DOTNET_CLI_TELEMETRY_OPTOUT": "1"}


class Peer:
    """A C# program that runs beside the test and does one step a line (peer.cs, mutexes.cs)."""

    def __init__(self, command: list[str], **options: Any) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, env=environment(), **options)
        self._read = b""

    def tell(self, *step: object) -> None:
        """Has it do a step, and does not wait: `answer` does."""
        assert self.process.stdin is not None
        self.process.stdin.write("\t".join(map(str, step)).encode() + b"\n")
        self.process.stdin.flush()

    def ask(self, *step: object) -> str:
        """What came of a step, as the program said it."""
        self.tell(*step)
        return self.answer()

    def do(self, *step: object) -> str:
        """The value of a step that must succeed."""
        answer = self.ask(*step)
        assert answer.startswith("="), f"{step}: {answer}"
        return answer[1:]

    def answer(self) -> str:
        """What came of the step that it was told."""
        assert self.process.stdout is not None
        fd = self.process.stdout.fileno()
        end = time.monotonic() + LONGEST_STEP
        while b"\n" not in self._read:
            ready, _, _ = select.select([fd], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"the C# program was silent for {LONGEST_STEP} s"
            piece = os.read(fd, 1 << 16)
            assert piece, f"the C# program ended, with exit code {self.process.wait(LONGEST_STEP)}"
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        return line.decode()

    def end(self) -> None:
        """Ends and reaps it."""
        self.process.kill()
        self.process.communicate()


class Dotnet:
    """The runtime in `folder`."""

    def __init__(self, folder: Path) -> None:
        self._runtime = next(folder.glob("runtime-*/dotnet"))
        self._compiler = folder / "bin" / "csc-compile"
        self._programs: dict[object, str] = {}

    def command(self, source: str | Path, *arguments: object, more: tuple[str, ...] = ()) -> list[str]:
        """The command that runs a C# file of this folder, which is compiled first, with `more` files if need be."""
        if (source, more) not in self._programs:
            command, pipe = [self._compiler, *(HERE / file for file in (source, *more))], subprocess.PIPE
            done = self._wait(
                subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment()), LONGEST_COMPILATION
            )
            self._programs[source, more] = done.strip()
        return [str(self._runtime), self._programs[source, more], *map(str, arguments)]

    def run(
        self,
        source: str | Path,
        *arguments: object,
        before: tuple[str, ...] = (),
        more: tuple[str, ...] = (),
        cwd: Path | None = None,
    ) -> str:
        """Runs a C# file to its end, behind the command `before` if there is one; what it printed."""
        command = [*before, *self.command(source, *arguments, more=more)]
        pipe, nothing = subprocess.PIPE, subprocess.DEVNULL
        return self._wait(
            subprocess.Popen(command, stdin=nothing, stdout=pipe, stderr=pipe, env=environment(), cwd=cwd), LONGEST_RUN
        )

    @staticmethod
    def _wait(process: subprocess.Popen[bytes], limit: float) -> str:
        try:
            out, err = process.communicate(timeout=limit)
        finally:
            if process.poll() is None:
                process.kill()
                process.communicate()
        assert process.returncode == 0, f"exit code {process.returncode}: {err.decode()} {out.decode()[-2000:]}"
        return out.decode()


def found() -> Dotnet:
    """The runtime, where tools/dotnet-runtime has brought it. If it has not, the test is skipped, or fails."""
    if not (FOLDER / "bin" / "csc-compile").exists() or not list(FOLDER.glob("runtime-*/dotnet")):
        reason = f"there is no .NET runtime in {FOLDER}: {COMMAND} brings it"
        if os.environ.get("MEMORYMAPPED_REQUIRE_DOTNET"):
            pytest.fail(f"{reason} (MEMORYMAPPED_REQUIRE_DOTNET is set)")
        pytest.skip(reason)
    return Dotnet(FOLDER)

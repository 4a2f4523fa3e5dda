# SPDX-License-Identifier: MIT
"""A destination in another terminal: its stand-in ends as it does, and each of them when the other does."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from programs import LIMIT, PYTHON, finished, started, until
from support.sessions import carrying

from memorymapped.tasks.elsewhere import in_another_terminal

# Opens no terminal, but does as tmux: what is run is the child of somebody else, and this ends.
OPENER = [*PYTHON, "-c", "import os, sys; os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:])", "{command}"]


def python(code: str, *arguments: object) -> list[str]:
    return [sys.executable, "-c", code, *map(str, arguments)]


def test_the_end_is_that_of_the_command(tmp_path: Path) -> None:
    code = "import os, sys; print(os.environ['GIVEN'], os.getcwd(), file=open(sys.argv[1], 'w')); sys.exit(7)"
    command = in_another_terminal(OPENER, python(code, tmp_path / "said"))
    ended = finished(*command, env={**os.environ, "GIVEN": "here"}, cwd=tmp_path)
    assert (ended.returncode, ended.stderr) == (7, "")
    assert (tmp_path / "said").read_text() == f"here {tmp_path}\n"


def test_a_command_that_is_killed_is_told() -> None:
    ended = finished(*in_another_terminal(OPENER, python("import os; os.kill(os.getpid(), 9)")))
    assert ended.returncode == -signal.SIGKILL


@pytest.mark.parametrize("window", [["false", "{command}"], ["/not/there", "{command}"]])
def test_a_terminal_that_cannot_be_opened_is_told(window: list[str]) -> None:
    ended = finished(*in_another_terminal(window, ["true"]))
    assert ended.returncode == 1
    assert "no terminal was opened" in ended.stderr


def test_the_command_may_be_a_word_of_a_shell() -> None:
    window = ["sh", "-c", "exec {command} >&2"]
    assert "a b" in finished(*in_another_terminal(window, python("print('a b')"))).stderr


def sleeping(mark: str, path: Path) -> list[str]:
    """A command that says its process id in a file, and those of its two keepers."""
    code = "import os, sys, time; open(sys.argv[1], 'w').write(f'{os.getppid()}\\n'); time.sleep(60)"
    return python(code, path, mark)


@pytest.mark.parametrize("how", ["stand-in", "stand-in killed", "terminal", "terminal killed"])
def test_each_ends_when_the_other_does(mark: str, tmp_path: Path, how: str) -> None:
    path = tmp_path / "keeper"

    def keeper() -> int:
        until(lambda: path.exists() and path.read_text().endswith("\n"), "the command runs")
        return int(path.read_text())

    with started(*in_another_terminal(OPENER, sleeping(mark, path))) as process:
        there = keeper()
        assert len(carrying(mark)) == 2  # the stand-in has it in its command line, too
        numbers = {
            "stand-in": (process.pid, signal.SIGTERM),
            "stand-in killed": (process.pid, signal.SIGKILL),
            "terminal": (there, signal.SIGHUP),
            "terminal killed": (there, signal.SIGKILL),
        }
        os.kill(*numbers[how])
        code = process.wait(LIMIT)
    assert code == {"stand-in": -signal.SIGTERM, "stand-in killed": -signal.SIGKILL}.get(how, -signal.SIGHUP)

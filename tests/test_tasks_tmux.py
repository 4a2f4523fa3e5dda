# SPDX-License-Identifier: MIT
"""The task programs in tmux: `R` opens a pane for a destination, which ends with it, and takes it along."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import LIMIT, MMF, until
from support.sessions import carrying, ended, gone

from memorymapped.tasks import store
from memorymapped.tasks.model import Task, TaskList

pytestmark = pytest.mark.skipif(shutil.which("tmux") is None, reason="tmux is not installed")

SOURCE = "%0"


class Tmux:
    """A server of its own with one window, in whose first pane a command runs."""

    def __init__(self, folder: str, *command: str, env: dict[str, str]) -> None:
        environment = {**os.environ, **env, "TMUX_TMPDIR": folder, "LC_ALL": "C.UTF-8", "TERM": "xterm-256color"}
        for name in ("TMUX", "TMUX_PANE", "NO_COLOR", "MEMORYMAPPED_TASKS_TERMINAL"):
            environment.pop(name, None)
        self._environment = environment
        self("-f", os.devnull, "new-session", "-d", "-x", "100", "-y", "50", *command)
        self.server = int(self("display-message", "-p", "-t", SOURCE, "#{pid}"))

    def __call__(self, *words: str) -> str:
        """What a command of tmux says."""
        command = ["tmux", "-u", "-L", "tests", *words]
        said = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, env=self._environment, stdin=subprocess.DEVNULL
        )
        assert (said.returncode, said.stderr) == (0, "")
        return said.stdout

    def panes(self) -> list[str]:
        return self("list-panes", "-a", "-F", "#{pane_id}").split()

    def other_pane(self) -> str:
        """The pane beside the source's, when it is there."""
        until(lambda: len(self.panes()) == 2, "there is another pane")
        return next(each for each in self.panes() if each != SOURCE)

    def sees(self, text: str, pane: str = SOURCE) -> None:
        until(lambda: text in self("capture-pane", "-p", "-t", pane), f"{text!r} is in the pane {pane}")

    def type(self, keys: str, pane: str = SOURCE) -> None:
        self("send-keys", "-t", pane, keys)

    def close(self) -> None:
        """Ends all that runs in it."""
        if os.path.exists(f"/proc/{self.server}"):
            subprocess.run(["tmux", "-L", "tests", "kill-server"], env=self._environment, capture_output=True)
        assert ended(self.server)


@pytest.fixture
def kept(tmp_path: Path, mark: str) -> Path:
    """A list of one, whose id is the mark, that runs until it is cancelled."""
    path = tmp_path / "memorymapped" / "tasks.xml"
    store.save(
        path, TaskList([Task("Greeting", id=mark, parameters={"command": "sh -c 'echo hello-there; sleep 1000'"})])
    )
    return path


@pytest.fixture
def tmux(tmp_path: Path, kept: Path) -> Iterator[Tmux]:
    """`mmf tasks` in its one pane."""
    folder = tempfile.mkdtemp(prefix="mm-")  # short: it is in the name of a socket
    try:
        tmux = Tmux(folder, *MMF, "tasks", env={"XDG_STATE_HOME": str(tmp_path)})
        try:
            tmux.sees("Greeting")
            yield tmux
        finally:
            tmux.close()
    finally:
        shutil.rmtree(folder)


def state(path: Path) -> str:
    (task,) = store.load(path)
    return task.state


def test_a_destination_runs_in_a_pane_and_its_result_is_shown(tmux: Tmux, kept: Path) -> None:
    with store.opened(kept) as tasks:
        tasks.edit(next(iter(tasks)).id, parameters={"command": "echo hello-there"})
    tmux.sees("$ echo hello-there")
    tmux.type("R")
    pane = tmux.other_pane()
    tmux.sees("Choose a task", pane)
    tmux.sees("1 open")  # the source goes on beside it
    tmux.type("r", pane)
    tmux.sees("and that is answered", pane)
    tmux.sees("succeeded")
    until(lambda: tmux.panes() == [SOURCE], "the pane closes")
    tmux.sees("hello-there")
    until(lambda: state(kept) == "succeeded", "the state is kept")
    tmux.sees("Close")
    tmux.type("q")
    assert ended(tmux.server), "it was the last pane"


def test_a_pane_that_is_closed_cancels_the_task(tmux: Tmux, kept: Path, mark: str) -> None:
    tmux.type("R")
    pane = tmux.other_pane()
    tmux.sees("Choose a task", pane)
    tmux.type("r", pane)
    tmux.sees("At work", pane)
    tmux("kill-pane", "-t", pane)
    tmux.sees("cancelled")
    until(lambda: state(kept) == "cancelled", "the state is kept")
    gone(mark)


def test_a_destination_that_is_killed_in_its_pane_is_told(tmux: Tmux, kept: Path, mark: str) -> None:
    tmux.type("R")
    tmux.sees("Choose a task", tmux.other_pane())
    stand_ins = carrying("memorymapped.tasks.elsewhere")
    (destination,) = (pid for pid in carrying(f"--select={mark}") if pid not in stand_ins)
    os.kill(destination, signal.SIGKILL)
    tmux.sees("was killed by SIGKILL")
    until(lambda: tmux.panes() == [SOURCE], "the pane closes")
    until(lambda: state(kept) == "failed", "the state is kept")


@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_destination_that_is_left_leaves_its_task_as_it_was(tmux: Tmux, kept: Path, side: str) -> None:
    tmux.type("R")
    pane = tmux.other_pane()
    tmux.sees("Choose a task", pane)
    tmux.type("x" if side == "source" else "q", SOURCE if side == "source" else pane)
    until(lambda: tmux.panes() == [SOURCE], "the pane closes")
    tmux.sees("cancelled")
    tmux.sees("the user has left without running it")
    tmux.sees("Close")
    tmux.type("q")
    assert ended(tmux.server)
    assert state(kept) == "waiting"


def test_a_source_that_is_killed_leaves_no_pane(tmux: Tmux) -> None:
    tmux.type("R")
    pane = tmux.other_pane()
    tmux.sees("Choose a task", pane)
    os.kill(int(tmux("display-message", "-p", "-t", SOURCE, "#{pane_pid}")), signal.SIGKILL)
    assert ended(tmux.server), "both panes close"

# SPDX-License-Identifier: MIT
"""Processes that work until they are told to stop, or are killed. They are forked; on Windows each is a new program,
that gets its function by its name, and a table of words by the name of its memory."""

from __future__ import annotations

import importlib
import mmap
import os
import pickle
import secrets
import signal
import subprocess
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from .here import KILLED, WINDOWS

__all__ = ["Crew", "Table"]

LIMIT = 60.0 if WINDOWS else 20.0  # seconds until all have stopped
TESTS = str(Path(__file__).resolve().parent.parent)
SIZE = 4096


class Table:
    """Words of 64 bits that all processes of a run share."""

    def __init__(self, name: str | None = None) -> None:
        self.name = name or f"memorymapped-tests-{secrets.token_hex(8)}"
        memory = mmap.mmap(-1, SIZE, tagname=self.name) if WINDOWS else mmap.mmap(-1, SIZE)  # type: ignore[call-arg]
        words = memoryview(memory).cast("q")
        self.get, self.set = words.__getitem__, words.__setitem__

    def __getitem__(self, index: int) -> int:
        return self.get(index)

    def __setitem__(self, index: int, value: int) -> None:
        self.set(index, value)

    def __reduce__(self) -> Any:
        return Table, (self.name,)


def _started(command: list[str]) -> subprocess.Popen[bytes]:
    """Wine cannot start a process at times, while others of this one are killed (docs/windows.md, starting): once more
    then, and no more than three times."""
    for _ in range(3):
        try:
            return subprocess.Popen(command, stdin=subprocess.PIPE)
        except OSError as error:
            if getattr(error, "winerror", None) != 1359:  # ERROR_INTERNAL_ERROR
                raise
    return subprocess.Popen(command, stdin=subprocess.PIPE)


class Crew:
    """The processes of a run. `stop_all` tells them to end."""

    def __init__(self, stop_all: Callable[[], object]) -> None:
        self.stop_all = stop_all
        self.pids: set[int] = set()
        self.programs: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, work: Callable[..., Any], *arguments: Any) -> int:
        """Calls a function of a module in another process."""
        if WINDOWS:
            return self._start_program(work, arguments)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(600)
                warnings.simplefilter("ignore", ResourceWarning)  # they end in any state
                work(*arguments)
                status = 0
            except BaseException:  # noqa: BLE001 - shown, and its status tells
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        self.pids.add(pid)
        return pid

    def _start_program(self, work: Callable[..., Any], arguments: tuple[Any, ...]) -> int:
        module = work.__module__
        if module == "__main__":
            spec = sys.modules["__main__"].__spec__
            assert spec is not None
            module = spec.name
        code = f"import sys; sys.path.insert(0, {TESTS!r}); from support.crew import serve; serve()"
        process = _started([sys.executable, "-W", "ignore::ResourceWarning", "-c", code])
        assert process.stdin is not None
        process.stdin.write(pickle.dumps((module, work.__name__, arguments)))
        process.stdin.close()
        self.programs[process.pid] = process
        self.pids.add(process.pid)
        return process.pid

    def kill(self, pid: int) -> None:
        if WINDOWS:
            self.programs[pid].kill()
        else:
            os.kill(pid, signal.SIGKILL)
        self.reap(pid, killed=True)

    def reap(self, pid: int, killed: bool = False) -> None:
        self.pids.discard(pid)
        if WINDOWS:
            code = self.programs.pop(pid).wait(LIMIT)
            assert code == 0 or (killed and code == KILLED), f"a process failed: exit code {code}"
            return
        status = os.waitpid(pid, 0)[1]
        assert status == 0 or (killed and os.WIFSIGNALED(status)), f"a process failed: status {status}"

    def _has_ended(self, pid: int) -> bool:
        if WINDOWS:
            return self.programs[pid].poll() is not None
        return os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def stop(self) -> None:
        """Every one ends, and says that nothing was wrong."""
        self.stop_all()
        until = time.monotonic() + LIMIT
        for pid in list(self.pids):
            while not self._has_ended(pid):
                assert time.monotonic() < until, f"process {pid} does not end"
                time.sleep(0.002)
            self.reap(pid)

    def end(self) -> None:
        """Whatever has happened, nobody is left."""
        for pid in list(self.pids):
            self.pids.discard(pid)
            if WINDOWS:
                process = self.programs.pop(pid)
                process.kill()
                process.wait(LIMIT)
            else:
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)


def serve() -> None:
    """The program of a process on Windows."""
    module, name, arguments = pickle.load(sys.stdin.buffer)
    getattr(importlib.import_module(module), name)(*arguments)

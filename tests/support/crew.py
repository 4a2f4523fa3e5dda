# SPDX-License-Identifier: MIT
"""Forked processes that work until they are told to stop, or are killed."""

from __future__ import annotations

import os
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

__all__ = ["Crew"]

LIMIT = 20.0  # seconds until all have stopped


class Crew:
    """The processes of a run. `stop_all` tells them to end."""

    def __init__(self, stop_all: Callable[[], object]) -> None:
        self.stop_all = stop_all
        self.pids: set[int] = set()

    def start(self, work: Callable[[], Any]) -> int:
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                signal.alarm(600)
                warnings.simplefilter("ignore", ResourceWarning)  # they end in any state
                work()
                status = 0
            except BaseException:  # noqa: BLE001 - shown, and its status tells
                traceback.print_exc()
            finally:
                sys.stderr.flush()
                os._exit(status)
        self.pids.add(pid)
        return pid

    def kill(self, pid: int) -> None:
        os.kill(pid, signal.SIGKILL)
        self.reap(pid, killed=True)

    def reap(self, pid: int, killed: bool = False) -> None:
        self.pids.discard(pid)
        status = os.waitpid(pid, 0)[1]
        assert status == 0 or (killed and os.WIFSIGNALED(status)), f"a process failed: status {status}"

    def stop(self) -> None:
        """Every one ends, and says that nothing was wrong."""
        self.stop_all()
        until = time.monotonic() + LIMIT
        for pid in list(self.pids):
            while os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
                assert time.monotonic() < until, f"process {pid} does not end"
                time.sleep(0.002)
            self.reap(pid)

    def end(self) -> None:
        """Whatever has happened, nobody is left."""
        for pid in list(self.pids):
            self.pids.discard(pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)

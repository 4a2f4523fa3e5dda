# SPDX-License-Identifier: MIT
"""What the tests of events, semaphores and waits have in common."""

from __future__ import annotations

import os
import platform
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from programs import until
from root import ROOT

from memorymapped.sync.events import AutoResetEvent, ManualResetEvent
from memorymapped.sync.semaphores import Semaphore
from support.here import WINDOWS

__all__ = [
    "AT_ONCE",
    "BEFORE",
    "FOLDER",
    "KINDS",
    "MAKERS",
    "SLACK",
    "SLEEPING",
    "WORD",
    "file_of",
    "in_futex",
    "in_thread",
    "made",
    "put_word",
    "signal",
    "waiting",
]

FOLDER = ROOT / ("none" if WINDOWS else f"memorymapped-{os.geteuid()}")
WORD = 32  # where the word lies in the file
AT_ONCE = 0.1  # seconds, as the median of several: less than any look that a sleeper takes by himself
SLACK = 0.75  # seconds that a loaded machine may add to what a protocol promises

_FUTEX, *_PAUSES = ("98", "101", "115") if platform.machine() == "aarch64" else ("202", "35", "230")
SLEEPING = (_FUTEX, "449")  # futex, futex_waitv

BEFORE = """
from memorymapped.sync.events import *
from memorymapped.sync.semaphores import *
from memorymapped.sync.waiting import *
import pickle, signal, threading, time
"""
"""For other processes."""

KINDS = ("auto", "manual", "semaphore")
SUFFIX = {"auto": ".event", "manual": ".event", "semaphore": ".semaphore"}
MAKERS = {
    "auto": "AutoResetEvent({on}, {name!r})",
    "manual": "ManualResetEvent({on}, {name!r})",
    "semaphore": "Semaphore(int({on}), 3, {name!r})",
}
"""How another process makes one, to be formatted with `on` and `name`."""


def made(kind: str, name: str | None = None, on: bool = False) -> Any:
    """One of a kind, signalled or not."""
    if kind == "semaphore":
        return Semaphore(int(on), 3, name)
    return (AutoResetEvent if kind == "auto" else ManualResetEvent)(on, name)


def signal(handle: Any) -> None:
    if isinstance(handle, Semaphore):
        handle.release()
    else:
        handle.set()


def waiting(handle: Any, count: int = 1) -> None:
    """Returns when that many wait for it."""
    until(lambda: handle.statistics().waiters == count, f"{count} wait for {handle!r}")


def file_of(kind: str, name: str) -> Path:
    return FOLDER / f"{name}{SUFFIX[kind]}"


def put_word(path: Path, value: int) -> None:
    """Changes the word as somebody does who is killed before he can wake anybody."""
    fd = os.open(path, os.O_RDWR)
    os.pwrite(fd, struct.pack("=I", value), WORD)
    os.close(fd)


def in_futex(pid: int) -> bool:
    """Whether the main thread of a process is asleep in a wait for a word, or in a pause."""
    try:
        with open(f"/proc/{pid}/syscall") as file:
            return file.read().split()[0] in (*SLEEPING, *_PAUSES)
    except (OSError, IndexError):
        return False


class in_thread:
    """Runs a function in a thread; `result()` waits for what it returned, or raises what it raised."""

    def __init__(self, function: Callable[[], Any]) -> None:
        self._function = function
        self._value: Any = None
        self._error: BaseException | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self._value = self._function()
        except BaseException as error:  # noqa: BLE001 - raised by `result`
            self._error = error

    def asleep(self) -> None:
        """Returns when the kernel has put it to sleep. On Windows, where nobody tells, when it most likely has."""
        if WINDOWS:
            time.sleep(0.05)
            return
        file = Path(f"/proc/self/task/{self._thread.native_id}/syscall")
        until(lambda: file.read_text().split()[0] in SLEEPING, "the thread sleeps")

    def result(self, limit: float = 30.0) -> Any:
        self._thread.join(limit)
        assert not self._thread.is_alive(), "it did not come back in time"
        if self._error is not None:
            raise self._error
        return self._value

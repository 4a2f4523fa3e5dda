# SPDX-License-Identifier: MIT
"""What processes have left of what they started."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

from support.here import WINDOWS

if WINDOWS:
    import _winapi
    import ctypes

__all__ = ["LIMIT", "carrying", "ended", "gone", "no_children"]

LIMIT = 20.0  # seconds
SOON = 5.0


def carrying(mark: str) -> list[int]:
    """The processes that run and have a mark in their command line, but for this one. (Windows tells no command lines:
    its tests give processes no marks.)"""
    found: list[int] = []
    if WINDOWS:
        return found
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if mark.encode() in path.read_bytes() and int(path.parent.name) != os.getpid():
                found.append(int(path.parent.name))
    return found


def gone(mark: str) -> None:
    """Those that carry the mark have ended, or do so: who was killed is still there for a moment. Others are killed,
    and fail the test."""
    end = time.monotonic() + SOON
    while left := carrying(mark):
        if time.monotonic() > end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            raise AssertionError(f"processes were left: {left}")
        time.sleep(0.001)


def ended(pid: int) -> bool:
    """Waits until a process, whoever's it is, has ended."""
    if WINDOWS:
        try:
            handle = _winapi.OpenProcess(0x100000, False, pid)  # SYNCHRONIZE
        except OSError:
            return True
        try:
            return bool(_winapi.WaitForSingleObject(handle, int(LIMIT * 1000)) == 0)
        finally:
            _winapi.CloseHandle(handle)
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([pidfd], [], [], LIMIT)[0])
    finally:
        os.close(pidfd)


@contextlib.contextmanager
def no_children() -> Iterator[None]:
    """This process has no child that was not there before, a zombie included."""
    before = _children()
    yield
    assert _children() - before == set()


def _children() -> set[int]:
    if WINDOWS:
        return {pid for pid, parent in _processes() if parent == os.getpid()}
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile has none
            found.update(map(int, path.read_text().split()))
    return found


def _processes() -> Iterator[tuple[int, int]]:
    """(id, that of who has started it) of each process."""

    class Entry(ctypes.Structure):  # PROCESSENTRY32W
        _fields_ = (
            ("size", ctypes.c_uint32),
            ("usage", ctypes.c_uint32),
            ("pid", ctypes.c_uint32),
            ("heap", ctypes.c_size_t),
            ("module", ctypes.c_uint32),
            ("threads", ctypes.c_uint32),
            ("parent", ctypes.c_uint32),
            ("priority", ctypes.c_long),
            ("flags", ctypes.c_uint32),
            ("name", ctypes.c_wchar * 260),
        )

    kernel = ctypes.WinDLL("kernel32")
    snapshot = kernel.CreateToolhelp32Snapshot
    snapshot.restype = ctypes.c_void_p
    listing = ctypes.c_void_p(snapshot(2, 0))  # TH32CS_SNAPPROCESS
    entry = Entry(size=ctypes.sizeof(Entry))
    try:
        more = kernel.Process32FirstW(listing, ctypes.byref(entry))
        while more:
            yield entry.pid, entry.parent
            more = kernel.Process32NextW(listing, ctypes.byref(entry))
    finally:
        kernel.CloseHandle(listing)

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

__all__ = ["LIMIT", "carrying", "ended", "gone", "no_children"]

LIMIT = 20.0  # seconds
SOON = 5.0


def carrying(mark: str) -> list[int]:
    """The processes that run and have a mark in their command line, but for this one."""
    found = []
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
    found = set()
    for path in Path("/proc/self/task").glob("*/children"):
        with contextlib.suppress(FileNotFoundError):  # a thread that has ended meanwhile has none
            found.update(map(int, path.read_text().split()))
    return found

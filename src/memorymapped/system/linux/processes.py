# SPDX-License-Identifier: MIT
"""Who a process is: asked of /proc. Nothing is known of one that has ended, or that another pid namespace has."""

from __future__ import annotations

import os
import shlex
import time

__all__ = ["command_of", "start_of"]

_TICKS = os.sysconf("SC_CLK_TCK")  # a second
_STARTED = 22 - 3  # the field of /proc/<pid>/stat, behind the command and its parentheses


def command_of(process: int) -> str | None:
    """The command line, as a shell would take it; None if it is not known."""
    try:
        with open(f"/proc/{process}/cmdline", "rb") as file:
            words = file.read().rstrip(b"\0").split(b"\0")
    except OSError:
        return None
    return shlex.join(map(os.fsdecode, words)) if words != [b""] else None


def start_of(process: int) -> float | None:
    """When it was started, in seconds as time.time() has them, to a hundredth; None if it is not known."""
    try:
        with open(f"/proc/{process}/stat", "rb") as file:
            ticks = int(file.read().rpartition(b")")[2].split()[_STARTED])
    except (OSError, IndexError):
        return None
    return round(time.time() - time.clock_gettime(time.CLOCK_BOOTTIME) + ticks / _TICKS, 2)

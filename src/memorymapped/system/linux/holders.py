# SPDX-License-Identifier: MIT
"""Who holds an object: asked of /proc, without a lock and without touching the object."""

from __future__ import annotations

import os

from ..findings import Holder
from .lock_table import locks_through

__all__ = ["describe", "holders"]


def holders(path: str) -> list[Holder]:
    """The processes that hold the object at `path`; only those that this user may look into."""
    found = []
    for pid in _numbers("/proc"):
        for fd in _numbers(f"/proc/{pid}/fd"):
            try:
                if os.readlink(f"/proc/{pid}/fd/{fd}") != path:
                    continue
                if not any(lock.is_hold for lock in locks_through(f"/proc/{pid}/fdinfo/{fd}")):
                    continue
            except OSError:
                continue  # it ended, or is not ours to look into
            found.append(Holder(pid, _command(pid)))
            break
    return found


def describe(path: str) -> str:
    """The holders as a text for a message: `process 12 (python), process 13 (mmf)`."""
    found = holders(path)
    shown = ", ".join(f"process {h.pid} ({h.command})" for h in found[:4])
    return shown + (f" and {len(found) - 4} more" if len(found) > 4 else "")


def _numbers(folder: str) -> list[int]:
    try:
        return [int(entry) for entry in os.listdir(folder) if entry.isdigit()]
    except OSError:
        return []


def _command(pid: int) -> str:
    try:
        with open(f"/proc/{pid}/comm") as comm:
            return comm.read().strip()
    except OSError:
        return "?"

# SPDX-License-Identifier: MIT
"""Who a process is. Nothing is known of one that has ended, or of which we may not ask."""

from __future__ import annotations

from ..._native.win32 import process_told

__all__ = ["command_of", "start_of"]

_EPOCH = 11644473600  # seconds from 1601, where the system's time begins, to 1970


def command_of(process: int) -> str | None:
    """Its command line; None if it is not known."""
    told = process_told(process)
    return None if told is None else told[0]


def start_of(process: int) -> float | None:
    """When it was started, in seconds as time.time() has them, to a hundredth; None if it is not known."""
    told = process_told(process)
    return None if told is None else round(told[1] / 10_000_000 - _EPOCH, 2)

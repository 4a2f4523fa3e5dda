# SPDX-License-Identifier: MIT
"""Pipes to other programs."""

from __future__ import annotations

import select

from ..._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

__all__ = ["ALONE", "ENCODING", "is_lost", "is_readable", "until_forsaken"]

ALONE: dict[str, Any] = {"process_group": 0}
"""Options of subprocess.Popen: Ctrl-C in our terminal does not come to the child."""
ENCODING = None
"""That of the standard streams where they are no terminal; None: as the user has set it."""

_LONGEST = 2**31 - 1  # milliseconds that poll(2) takes: 24 days


def is_lost(error: OSError) -> bool:
    """Whether an error of the standard output says that nobody takes it any more: that is BrokenPipeError."""
    return isinstance(error, BrokenPipeError)


def is_readable(fd: int, seconds: float) -> bool:
    """Whether there is something to read from a pipe, or its end, within so long."""
    return bool(select.select([fd], [], [], seconds)[0])


def until_forsaken(fd: int, seconds: float) -> bool:
    """Waits so long (24 days at most), or until nobody takes what is written there any more: whether that is so."""
    poll = select.poll()
    poll.register(fd, 0)  # to be asked for errors only
    return bool(poll.poll(min(seconds * 1000, _LONGEST)))

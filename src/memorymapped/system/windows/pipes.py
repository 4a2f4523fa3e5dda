# SPDX-License-Identifier: MIT
"""Pipes to other programs. They cannot be waited for: they are asked again and again."""

from __future__ import annotations

import errno
import time

from ..._native import looks
from ..._typing import TYPE_CHECKING
from .descriptors import handle_of

if TYPE_CHECKING:
    from typing import Any

__all__ = ["ALONE", "ENCODING", "is_lost", "is_readable", "until_forsaken"]

ALONE: dict[str, Any] = {"creationflags": 0x200}  # CREATE_NEW_PROCESS_GROUP
"""Options of subprocess.Popen: Ctrl-C in our terminal does not come to the child."""
ENCODING = "utf-8"
"""That of the standard streams where they are no terminal; None: as the user has set it."""

_STEP = 0.05  # seconds between two questions of the output
_SHORT = 0.001  # and of what is to be read


def is_lost(error: OSError) -> bool:
    """Whether an error of the standard output says that nobody takes it any more: the C library has another word."""
    if isinstance(error, BrokenPipeError):
        return True
    try:
        return error.errno == errno.EINVAL and looks.is_forsaken(handle_of(1))
    except OSError:
        return False


def is_readable(fd: int, seconds: float) -> bool:
    """Whether there is something to read from a pipe, or its end, within so long."""
    end = time.monotonic() + seconds
    while not looks.is_readable(handle_of(fd)):
        if time.monotonic() >= end:
            return False
        time.sleep(_SHORT)
    return True


def until_forsaken(fd: int, seconds: float) -> bool:
    """Waits so long, or until nobody takes what is written there any more: whether that is so."""
    end = time.monotonic() + seconds
    while not looks.is_forsaken(handle_of(fd)):
        left = end - time.monotonic()
        if left <= 0:
            return False
        time.sleep(min(left, _STEP))
    return True

# SPDX-License-Identifier: MIT
"""A pause between two looks, for commands that go on until somebody ends them."""

from __future__ import annotations

import time
from collections.abc import Iterator

from .streams import Output

__all__ = ["looks"]


def looks(interval: float, duration: float | None) -> Iterator[None]:
    """Comes now, and then every `interval` seconds, the last time after `duration` seconds. What was printed meanwhile
    is flushed. BrokenPipeError as soon as nobody takes the output any more, also if nothing is printed."""
    output = Output()
    begin = due = time.monotonic()
    while True:
        yield
        output.flush()
        now = time.monotonic()
        if duration is not None and now >= begin + duration:
            return
        due = max(due + interval, now)
        if duration is not None:
            due = min(due, begin + duration)
        while (left := due - time.monotonic()) > 0:
            output.wait(left)

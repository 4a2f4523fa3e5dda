# SPDX-License-Identifier: MIT
"""A pause between two looks, for commands that go on until somebody ends them."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Iterator

__all__ = ["looks"]


def looks(interval: float, duration: float | None) -> Iterator[None]:
    """Comes now, and then every `interval` seconds, the last time after `duration` seconds. What was printed meanwhile
    is flushed. BrokenPipeError as soon as nobody takes the output any more, also if nothing is printed."""
    begin = time.monotonic()
    output = select.poll()
    output.register(sys.stdout.fileno(), 0)  # to be asked for errors only
    due = begin
    while True:
        yield
        sys.stdout.flush()
        now = time.monotonic()
        if duration is not None and now >= begin + duration:
            return
        due = max(due + interval, now)
        if duration is not None:
            due = min(due, begin + duration)
        while (left := due - time.monotonic()) > 0:
            if output.poll(left * 1000):
                raise BrokenPipeError

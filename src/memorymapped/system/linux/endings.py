# SPDX-License-Identifier: MIT
"""How somebody asks this process to end: by a signal."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Callable, Iterator

__all__ = ["SIGNALS", "asked_to_end", "heard_in_loop"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those by which a process is to end, and may clean up first."""


@contextlib.contextmanager
def heard_in_loop(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, each of SIGNALS calls `hear` in the running loop with its number. What was ignored stays ignored."""
    import asyncio  # most commands need none

    loop = asyncio.get_running_loop()
    before = {each: signal.getsignal(each) for each in SIGNALS}
    taken = [each for each, action in before.items() if action is not signal.SIG_IGN]
    for each in taken:
        loop.add_signal_handler(each, hear, each)
    try:
        yield
    finally:
        for each in taken:
            loop.remove_signal_handler(each)
            signal.signal(each, before[each] or signal.SIG_DFL)


@contextlib.contextmanager
def asked_to_end(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, `hear` would be called in the running loop if somebody asks in another way than by one of SIGNALS."""
    yield

# SPDX-License-Identifier: MIT
"""How somebody asks this process to end: by a signal."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

__all__ = ["KILLED", "OF_TERMINAL", "SIGNALS", "asked_to_end", "end_by", "heard_in_loop", "status_of"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those by which a process is to end, and may clean up first."""
OF_TERMINAL = (signal.SIGINT,)
"""Those of them that come to our children, too."""
KILLED = (-signal.SIGKILL, "signal 9, SIGKILL")
"""The exit status of a child that was killed, and in words what has ended it."""


def end_by(signum: int) -> int:
    """Ends this process by a signal, as if it had never heard of it: the exit status, if the signal is blocked."""
    signal.signal(signum, signal.SIG_DFL)
    os.kill(os.getpid(), signum)
    return 128 + int(signum)


def status_of(code: int) -> int:
    """The exit status that says as much as that of a child, as shells do it: 128 + N for signal N."""
    return code if code >= 0 else 128 - code


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

# SPDX-License-Identifier: MIT
"""How somebody asks this process to end: by Ctrl-C or Ctrl-Break at its console, or by an event."""

from __future__ import annotations

import contextlib
import os
import signal
from collections.abc import Callable, Iterator

__all__ = ["KILLED", "OF_TERMINAL", "SIGNALS", "asked_to_end", "end_by", "heard_in_loop", "status_of"]

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGBREAK)  # type: ignore[attr-defined]
"""Those by which a process is to end, and may clean up first."""
OF_TERMINAL = (signal.SIGINT, signal.SIGBREAK)  # type: ignore[attr-defined]
"""Those of them that come to our children, too."""
KILLED = (1, "TerminateProcess")
"""The exit status of a child that was killed, and in words what has ended it."""

_INTERRUPTED = 0xC000013A  # STATUS_CONTROL_C_EXIT


def end_by(signum: int) -> int:
    """The exit status of who is ended by Ctrl-C."""
    return status_of(_INTERRUPTED)


def status_of(code: int) -> int:
    """The exit status that says as much as that of a child: the same, as .NET has it and as sys.exit takes it."""
    return code - (1 << 32) if code >= 1 << 31 else code


@contextlib.contextmanager
def heard_in_loop(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, each of SIGNALS, and the event, calls `hear` in the running loop with its number, that of the event with
    SIGTERM. What was ignored stays ignored."""
    import asyncio  # most commands need none

    loop = asyncio.get_running_loop()
    before = {each: signal.getsignal(each) for each in SIGNALS}
    taken = [each for each, action in before.items() if action is not signal.SIG_IGN]
    for each in taken:
        signal.signal(each, lambda signum, _: loop.call_soon_threadsafe(hear, signum))
    try:
        with asked_to_end(hear):
            yield
    finally:
        for each in taken:
            signal.signal(each, before[each] or signal.SIG_DFL)


@contextlib.contextmanager
def asked_to_end(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, `hear` is called in the running loop, with SIGTERM, when the event is set."""
    from ..._native import jobs
    from ..._native.win32 import close_handle
    from .children import asking, waiting

    event = jobs.open_event(asking(os.getpid()))
    try:
        with waiting(event, lambda: hear(signal.SIGTERM)):
            yield
    finally:
        close_handle(event)

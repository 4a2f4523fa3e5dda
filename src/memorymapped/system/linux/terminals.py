# SPDX-License-Identifier: MIT
"""Our terminal, as others have it for a while, or no more."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import sys
import termios
from collections.abc import Callable, Iterator

__all__ = ["hearing_hang_up", "lent"]

_LEFT_OVER = "\x1b[<u\x1b[?1000l\x1b[?1003l\x1b[?1006l\x1b[?2004l\x1b[?1004l\x1b[?7h\x1b[?1049l\x1b[?25h"
"""Ends what a program may have left on that was killed while it drew a screen: keys, mouse, the other screen."""


@contextlib.contextmanager
def lent(to: Callable[[], int | None], interrupt: Callable[[], object]) -> Iterator[Callable[[str], None]]:
    """Inside, the terminal is another process's, in a session of its own: `to` says which (None: it has ended), as it
    is told by us of a new size. Ctrl-C that comes to us calls `interrupt` in the running loop. What it gives clears the
    terminal and says a text; that is done at the end as well."""
    loop = asyncio.get_running_loop()
    attributes = termios.tcgetattr(0)
    before = signal.getsignal(signal.SIGINT)

    def tell_size() -> None:
        if (process := to()) is not None:
            os.kill(process, signal.SIGWINCH)

    def clear(text: str) -> None:
        termios.tcsetattr(0, termios.TCSANOW, attributes)
        assert sys.__stderr__ is not None
        sys.__stderr__.write(_LEFT_OVER + text)
        sys.__stderr__.flush()

    loop.add_signal_handler(signal.SIGWINCH, tell_size)
    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield clear
    finally:
        loop.remove_signal_handler(signal.SIGINT)
        signal.signal(signal.SIGINT, before)
        loop.remove_signal_handler(signal.SIGWINCH)
        clear("")


@contextlib.contextmanager
def hearing_hang_up(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, `hear` is called in the running loop, with SIGHUP, when our terminal is closed, also where it is not our
    controlling terminal: the kernel sends that signal only to whose it is, and of a lent one that is another."""
    loop, hang_up = asyncio.get_running_loop(), select.epoll()

    def take() -> None:
        loop.remove_reader(hang_up.fileno())
        hear(signal.SIGHUP)

    with hang_up:
        with contextlib.suppress(PermissionError):  # a file, say, which never hangs up
            hang_up.register(0, 0)  # no keys, which are others': only what is always told
            loop.add_reader(hang_up.fileno(), take)
        try:
            yield
        finally:
            loop.remove_reader(hang_up.fileno())

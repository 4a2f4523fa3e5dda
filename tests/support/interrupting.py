# SPDX-License-Identifier: MIT
"""What a signal handler may do to code of the library: raise at any line of it."""

from __future__ import annotations

import contextlib
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import memorymapped

HERE = str(Path(memorymapped.__file__).parent)


class Interrupt(BaseException):
    """What the handler raises."""


class At:
    """Raises at the n-th line or return of the library's Python code. `reached`: whether there was one."""

    def __init__(self, n: int) -> None:
        self.left = n

    @property
    def reached(self) -> bool:
        return self.left <= 0

    def __call__(self, frame: FrameType, event: str, _: Any) -> At | None:
        if not frame.f_code.co_filename.startswith(HERE):
            return None
        if event in ("line", "return"):
            self.left -= 1
            if self.left == 0:
                raise Interrupt
        return self

    def __enter__(self) -> At:
        sys.settrace(self)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(None)


@contextlib.contextmanager
def random_signals() -> Iterator[Alarm]:
    """The test's own limit, of pytest-timeout, is given back at the end."""
    alarm = Alarm()
    limit = signal.setitimer(signal.ITIMER_REAL, 0)
    before = signal.signal(signal.SIGALRM, alarm.rings)
    try:
        yield alarm
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *limit)


class Alarm:
    """Calls functions, and raises Interrupt in them, once, after up to `within` seconds. `met` counts how often."""

    def __init__(self, within: float = 1.5e-4) -> None:
        self.armed = False
        self.met = 0
        self.within = within

    def rings(self, *_: object) -> None:
        if self.armed:
            self.armed = False
            raise Interrupt

    def __call__(self, function: Callable[[], object]) -> None:
        self.armed = True
        try:
            signal.setitimer(signal.ITIMER_REAL, random.random() * self.within + 1e-6)
            function()
            self.armed = False
        except Interrupt:
            self.met += 1
        signal.setitimer(signal.ITIMER_REAL, 0)

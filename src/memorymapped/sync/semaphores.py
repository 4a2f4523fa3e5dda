# SPDX-License-Identifier: MIT
"""Semaphores: a number of things of which everybody may take one. .NET's, with names on Linux as well."""

from __future__ import annotations

from operator import index

from .._native import futex
from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING
from ..errors import OutOfRangeError, shown
from ..record import Record
from ..system import signals
from .awaiting import AsyncAcquire
from .handles import NamedHandle

if TYPE_CHECKING:
    from typing import SupportsIndex

__all__ = ["Semaphore", "SemaphoreStatistics", "checked_counts"]


class SemaphoreStatistics(Record):
    """The state of a semaphore: its `count`, its `maximum`, and how many `waiters` there are. Waiters that were killed
    are still counted: there are that many at most."""

    __slots__ = {
        "count": "How many can be had.",
        "maximum": "How high the count can be.",
        "waiters": "How many wait, at most.",
    }

    def __init__(self, count: int, maximum: int, waiters: int) -> None:
        self.count = count
        self.maximum = maximum
        self.waiters = waiters


def checked_counts(initial_count: SupportsIndex, maximum_count: SupportsIndex) -> tuple[int, int]:
    """The counts of a new semaphore, or what is wrong with them."""
    initial, maximum = index(initial_count), index(maximum_count)
    if initial < 0:
        raise OutOfRangeError(f"initial_count must not be negative, got {shown(initial)}")
    if not 1 <= maximum <= futex.LARGEST_COUNT:
        raise OutOfRangeError(f"maximum_count must be 1 to {futex.LARGEST_COUNT}, got {shown(maximum)}")
    if initial > maximum:
        raise ValueError(f"initial_count {shown(initial)} is more than maximum_count {maximum}")
    return initial, maximum


@adopt_methods
class Semaphore(AsyncAcquire, NamedHandle, signals.Semaphore):
    """A count from 0 to `maximum_count`. `acquire` (or `wait_one`) takes one, and waits while there is none; `release`
    gives back. `with` does both. Nobody owns what he took: anybody may release, and what a killed process had is gone.

    `name`: other processes get the same semaphore by this name, with this class or `open_existing`; it and its count
    live as long as somebody has it open. If it exists, both counts are ignored (`created_new` tells). Without a name
    only forked children share it.

    OutOfRangeError: an initial count below 0, a maximum below 1; ValueError: more than the maximum to begin with."""

    __slots__ = ()
    _kind = signals.SEMAPHORE

    def __init__(self, initial_count: SupportsIndex, maximum_count: SupportsIndex, name: str | None = None) -> None:
        initial, maximum = checked_counts(initial_count, maximum_count)
        self._make(name, maximum, initial)

    @property
    def maximum_count(self) -> int:
        """How high the count can be, as its creator said. Still readable after close."""
        return self._parameter

    def statistics(self) -> SemaphoreStatistics:
        """Its state at this moment. ClosedError; MemoryFaultError."""
        word, waiters = self._look()
        return SemaphoreStatistics(word, self._parameter, waiters)

    def _shown(self) -> str:
        return f", maximum {self._parameter}"

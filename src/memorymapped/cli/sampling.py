# SPDX-License-Identifier: MIT
"""Looks for changes in memory that other processes write, within a share of a processor's time.

No interface of the kernel shows the writes of other processes. So a file is read round and round, in cells, and a
checksum of each is kept: that it has changed is seen when its turn comes again, and how long ago that was is known."""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable

from .._native.segments import crc32c
from .._typing import TYPE_CHECKING
from ..system.reading import next_data, read_into

if TYPE_CHECKING:
    from ..system.reading import Source

__all__ = ["SHARE", "Budget", "Cells", "Rate"]

SHARE = 0.02  # of a core
CELLS = 1024  # at most
PIECE = 1 << 18  # bytes that are read at once
PAGE = 4096
SAVED = 5.0  # seconds: for no longer is what was not spent saved up
RATE = 5.0  # seconds, over which a rate is told

Clock = Callable[[], float]


class Budget:
    """What may be spent: `share` of the time that goes by, in seconds of a processor."""

    def __init__(self, share: float = SHARE, now: Clock = time.monotonic) -> None:
        self.share = share
        self._now = now
        self._at = now()
        self._left = 0.0

    def left(self) -> float:
        """Seconds that may be spent now; negative, if too much was spent."""
        at = self._now()
        self._left = min(self._left + (at - self._at) * self.share, SAVED * self.share)
        self._at = at
        return self._left

    def spend(self, seconds: float) -> None:
        """Says that they were spent. More than there was has to be earned first."""
        self._left -= seconds


class Rate:
    """How fast a counter goes, over the last seconds: at least two looks at it."""

    def __init__(self, seconds: float = RATE) -> None:
        self.seconds = seconds
        self._seen: deque[tuple[float, int]] = deque()

    def look(self, at: float, total: int) -> None:
        """What it was at that time. One that goes back is a new one."""
        if self._seen and total < self._seen[-1][1]:
            self._seen.clear()
        self._seen.append((at, total))
        while len(self._seen) > 2 and self._seen[1][0] <= at - self.seconds:
            self._seen.popleft()

    @property
    def per_second(self) -> float | None:
        """None: it was not looked at twice yet."""
        if len(self._seen) < 2:
            return None
        (first, begin), (last, end) = self._seen[0], self._seen[-1]
        return (end - begin) / (last - first) if last > first else None


class Cells:
    """The bytes of a file of this size, in `count` cells of `step` bytes; of each, when it was looked at (None: not
    yet), when it was last seen changed (None: never), and whether there is anything but zeros in it."""

    def __init__(self, size: int, most: int = CELLS, now: Clock = time.monotonic) -> None:
        self.size = size
        self.step = max(PAGE, -(-size // (most * PAGE)) * PAGE)
        self.count = -(-size // self.step)
        self.looked: list[float | None] = [None] * self.count
        self.changed: list[float | None] = [None] * self.count
        self.empty = [True] * self.count
        self.without = (0, 0)  # from where to where nothing counts as a change: somebody looks there himself
        self._sums = [0] * self.count
        self._now = now
        self._buffer = memoryview(bytearray(min(PIECE, self.step)))
        self._at = 0  # where the next piece is
        self._sum = 0  # of the pieces before it in its cell
        self._began = 0.0  # when the first of them was read
        self._dearest = 0.0  # what a piece has cost lately

    def go(self, source: Source, seconds: float, *, clock: Clock = time.thread_time) -> list[int]:
        """Goes on, for no more than these seconds of this thread's processor time and no further than once round. The
        numbers of the cells that are seen to be changed since the look before."""
        begin = spent = clock()
        went, found = 0, []
        while went < self.size and spent - begin + self._dearest <= seconds:
            number, within = divmod(self._at, self.step)
            if not within:
                self._sum, self._began = 0, self._now()
            end = min(self.size, (number + 1) * self.step)
            went += self._piece(source, end)
            if self._at == end and self._settle(number):
                found.append(number)
            if self._at >= self.size:
                self._at = 0
            before, spent = spent, clock()
            self._dearest = max(spent - before, self._dearest * 0.9)
        self._dearest *= 0.9  # one that was dear by chance is forgotten, also if it is more than there is ever to spend
        return found

    def _piece(self, source: Source, end: int) -> int:
        """Reads a piece of the cell that ends there, or skips those that lie in a hole. How far it went. Pieces lie
        always in the same places, so that a hole that is filled with zeros is no change."""
        at = self._at
        data = next_data(source, at, end)
        if data >= end:
            self._at = end
            return end - at
        at += (data - at) // PIECE * PIECE
        count = read_into(source, self._buffer[: min(PIECE, end - at)], at)
        if not count:  # it was truncated: who asked will see that, too
            count = end - at
        elif (check := crc32c(self._blanked(at, count))) != _of_zeros(count):
            self._sum = hash((self._sum, at, check))
        went = at + count - self._at
        self._at += went
        return went

    def _blanked(self, at: int, count: int) -> memoryview:
        """The piece that was read, with zeros where nothing counts."""
        begin, end = (min(max(edge - at, 0), count) for edge in self.without)
        if begin < end:
            self._buffer[begin:end] = bytes(end - begin)
        return self._buffer[:count]

    def _settle(self, number: int) -> bool:
        """A cell was read to its end. Whether it has changed."""
        is_changed = self.looked[number] is not None and self._sums[number] != self._sum
        self._sums[number] = self._sum
        self.empty[number] = not self._sum
        self.looked[number] = self._began
        if is_changed:
            self.changed[number] = self._began
        return is_changed

    @property
    def part(self) -> float:
        """How much of it was looked at, from 0 to 1."""
        return sum(at is not None for at in self.looked) / self.count if self.count else 1.0

    def oldest(self) -> float | None:
        """How many seconds ago the cell was looked at whose turn was longest ago; None: not all were."""
        times = [at for at in self.looked if at is not None]
        return self._now() - min(times) if times and len(times) == self.count else None


@functools.lru_cache(64)
def _of_zeros(count: int) -> int:
    return crc32c(bytes(count))

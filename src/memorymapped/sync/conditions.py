# SPDX-License-Identifier: MIT
"""MappedCondition: waiting for what others change, inside a mapped view."""

from __future__ import annotations

import time
from operator import index

from .._native.futex import LARGEST_COUNT
from .._typing import TYPE_CHECKING
from ..timeouts import FOREVER, seconds
from .atomics import AtomicInt32, AtomicInt64, AtomicUInt32
from .owning import OwnedLock
from .places import not_pickled
from .readers import MappedReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Self, SupportsIndex, TypeVar

    from .._native.memory import View
    from ..timeouts import Timeout

    T = TypeVar("T")

__all__ = ["MappedCondition"]


class MappedCondition:
    """A condition of `SIZE` bytes at `position` of a view, with `lock`, which guards what is waited for: a MappedLock,
    the writer of a MappedReaderWriterLock, or a Mutex or FairMutex that all users agree on. As threading.Condition.

    `wait` may return without a notification, as conditions may everywhere; `wait_for` looks again by itself. In memory
    it is a number that each notification raises, on which waiters sleep, and the number of waiters. So nobody is
    stranded by a waiter that is killed after it was chosen, nor by a notifier that is killed before its call: every
    waiter compares the number after a quarter of a second at the latest."""

    __slots__ = {
        "__weakref__": "",
        "_sequence": "",
        "_waiters": "",
        "lock": "The lock that guards what is waited for.",
        "position": "Where it is, in the view that it was made with.",
    }

    SIZE = ALIGNMENT = 8

    lock: OwnedLock
    position: int

    def __init__(self, view: View, position: SupportsIndex, lock: OwnedLock) -> None:
        if not isinstance(lock, OwnedLock) or isinstance(lock, MappedReader):
            raise TypeError(f"the lock of a condition is one that a single thread owns, not {type(lock).__name__}")
        self.position = index(position)
        AtomicInt64(view, self.position).close()  # room for both, and aligned
        self._sequence = AtomicUInt32(view, self.position)
        self._waiters = AtomicInt32(view, self.position + 4)
        self.lock = lock

    def wait(self, timeout: Timeout = None) -> bool:
        """Releases the lock (however often this thread has taken it), sleeps until a notification, `timeout` seconds at
        most (a number or a timedelta; None: for ever), and takes the lock again. False if the time is over.

        RuntimeError if this thread does not own the lock. AbandonedMutexError if the lock was found abandoned: it is
        owned. An interruption (KeyboardInterrupt) is raised when the lock is owned again."""
        limit = seconds(timeout)
        depth = self._depth()
        seen = self._sequence.load()
        self._waiters.fetch_add()
        try:
            self._release(depth)
            return self._sequence.wait(seen, None if limit == FOREVER else limit)
        finally:
            try:
                self._waiters.fetch_sub()
            finally:
                self._take(depth)

    def wait_for(self, predicate: Callable[[], T], timeout: Timeout = None) -> T:
        """Waits until `predicate()`, called while owning the lock, is true. Returns its last value. The errors of
        `wait`."""
        limit = seconds(timeout)
        until = time.monotonic() + limit
        while not (result := predicate()):
            if limit == FOREVER:
                self.wait()
                continue
            left = until - time.monotonic()
            if left <= 0:
                break
            self.wait(left)
        return result

    def notify(self, count: int = 1) -> None:
        """Wakes `count` waiters at least, if there are as many. RuntimeError if this thread does not own the lock."""
        self._depth()
        self._sequence.fetch_add()
        if self._waiters.load():
            self._sequence.notify(count)

    def notify_all(self) -> None:
        """Wakes all waiters. RuntimeError if this thread does not own the lock."""
        self.notify(LARGEST_COUNT)

    def _depth(self) -> int:
        depth = self.lock._opened().depth
        if not depth:
            raise RuntimeError(f"{self!r}: this thread does not own the lock of the condition")
        return depth

    def _release(self, depth: int) -> None:
        for _ in range(depth):
            self.lock.release()

    def _take(self, depth: int) -> None:
        """Takes the lock until it is owned as often as before, told of an abandonment or not."""
        core = self.lock._opened()
        abandoned = None
        while core.depth < depth:
            if core.take_again():
                abandoned = self.lock._abandoned()
        if abandoned is not None:
            raise abandoned

    # -- what a lock has

    def __enter__(self) -> Self:
        self.lock.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.lock.__exit__(kind, value, traceback)

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._sequence.closed

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}{', closed' if self.closed else ''}>"

    def close(self) -> None:
        """Lets go of the map; the lock stays open. A second call does nothing."""
        self._sequence.close()
        self._waiters.close()

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    __reduce__ = not_pickled

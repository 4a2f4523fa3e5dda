# SPDX-License-Identifier: MIT
"""MappedCondition: waiting for what others change, inside a mapped view."""

from __future__ import annotations

import time
from operator import index

from .._native import conditions
from .._native.conditions import Condition
from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING
from ..record import Record
from ..timeouts import FOREVER, seconds
from .owning import MutexStatistics, OwnedLock
from .places import not_pickled
from .readers import MappedReader

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType
    from typing import Any, Self, SupportsIndex, TypeVar

    from .._native.memory import View
    from ..timeouts import Timeout

    T = TypeVar("T")

__all__ = ["ConditionStatistics", "MappedCondition"]


class ConditionStatistics(Record):
    """A condition as it was a moment ago: how many `waiters` there are, who may have been notified already (waiters
    that were killed are counted until others notice: there are that many at most), and its `lock`, as the lock's own
    `statistics` has it."""

    __slots__ = {
        "lock": "The lock's own statistics.",
        "waiters": "How many threads wait, of all processes.",
    }

    def __init__(self, waiters: int, lock: MutexStatistics) -> None:
        self.waiters = waiters
        self.lock = lock


@adopt_methods
class MappedCondition(Condition):
    """A condition of `SIZE` bytes at `position` of a view, with `lock`, which guards what is waited for: a MappedLock,
    the writer of a MappedReaderWriterLock, or a Mutex or FairMutex that all users agree on. As threading.Condition.

    A notification lets one of those go on who wait when it comes, of all processes. If that one is killed before it has
    returned from `wait`, another one gets it; whoever dies, those who wait look again after a quarter of a second. If a
    waiter is killed that *owns* the lock again, the next owner of the lock is told (AbandonedMutexError), and should
    `notify_all`, as what the dead one was notified of is undone.

    TypeError for a lock that several threads own at a time; the other errors are those of MappedLock."""

    __slots__ = {"position": "Where it is, in the view that it was made with."}

    SIZE = conditions.SIZE
    ALIGNMENT = conditions.ALIGNMENT

    position: int

    def __init__(self, view: View, position: SupportsIndex, lock: OwnedLock) -> None:
        if not isinstance(lock, OwnedLock) or isinstance(lock, MappedReader):
            raise TypeError(f"the lock of a condition is one that a single thread owns, not {type(lock).__name__}")
        self._settle(view, position, lock)
        self.position = index(position)

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

    def statistics(self) -> ConditionStatistics:
        """Its state at this moment. ClosedError (also if the lock is closed); MemoryFaultError."""
        return ConditionStatistics(self._waiters(), self.lock.statistics())

    def _check_task(self, owning: Any) -> None:
        """Before a wait, if a task owns the lock: it must be the one at work."""
        from .aio import is_of_this_task

        if not is_of_this_task(owning):
            raise RuntimeError(f"the task {owning!r} owns the lock of {self!r}: only that task can wait")

    # -- what a lock has

    def __enter__(self) -> Self:
        self.lock.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # If `wait` could not own it again, the exception that is under way says why.
        if value is None or self.lock.owned or self.lock.closed:
            self.lock.__exit__(kind, value, traceback)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}{', closed' if self.closed else ''}>"

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    __reduce__ = not_pickled

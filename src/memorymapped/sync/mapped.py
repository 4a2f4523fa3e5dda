# SPDX-License-Identifier: MIT
"""Locks, events, semaphores, conditions and atomic integers at a place inside a mapped view.

For data structures that carry their own synchronization: whoever maps the bytes has the lock. Each class says its
`SIZE` (bytes) and `ALIGNMENT` (of the position in the file), and zeroed memory is a free object of each: nothing has
to be made before it is used. Each keeps the mapping, so that the view and the map may be closed. The view must be for
reading and writing, and not copy on write (io.UnsupportedOperation).

Nobody is stranded by a death: a lock tells the next owner, and every other wait looks again after a quarter of a
second. A fault in the map (its file was truncated) ends what is in it: every operation raises MemoryFaultError."""

from __future__ import annotations

from operator import index

from .._native import futex, mapped
from .._native.mapped import PlacedEvent, PlacedSemaphore, key_of, lock_at
from .._native.memory import adopt_methods
from .._native.robust import is_mutex
from .._typing import TYPE_CHECKING
from ..enums import EventResetMode
from .awaiting import AsyncAcquire, AsyncWait, was_closed
from .events import EventStatistics, checked_mode, checked_state
from .owning import OwnedLock
from .places import Key, not_pickled, place, shared
from .semaphores import SemaphoreStatistics, checked_counts

if TYPE_CHECKING:
    from _weakref import ref
    from collections.abc import Callable
    from typing import SupportsIndex

    from .._native.memory import View
    from .._native.robust import RobustMutex

__all__ = ["MappedEvent", "MappedLock", "MappedSemaphore"]


_POSITION = "Where it is, in the view that it was made with."
_CREATED_NEW = "Whether the memory was zeros before."

_locks: dict[Key, ref[RobustMutex]] = {}


def _is_still_it(core: RobustMutex) -> bool:
    """Of a lock that was zeros a moment ago: who owns it, and it is free, owned what was there before."""
    return is_mutex(core) and not (core.owned_by_us and core.state[1] is None)


@adopt_methods
class MappedLock(OwnedLock):
    """A mutex of `SIZE` bytes at `position` of a view: one thread at a time owns it, of all who map these bytes.

    Owner, recursion, abandonment, `with` and `recovering` are as with `Mutex`. All objects for one place in a process
    are one lock, whichever view they were made with. Closing, or dropping the last of them, while this thread owns it
    gives it back as abandoned.

    TypeError (not a view), ClosedError, OutOfRangeError and ValueError (no room, not aligned), io.UnsupportedOperation,
    DamagedObjectError (the bytes are neither zero nor a lock), MemoryFaultError."""

    __slots__ = {"_key": "", "position": _POSITION}

    SIZE = mapped.LOCK_SIZE
    ALIGNMENT = mapped.ALIGNMENT
    _kind = "lock"
    _noun = "lock"

    position: int

    def __init__(
        self, view: View, position: SupportsIndex = 0, *, on_abandoned: Callable[[MappedLock], object] | None = None
    ) -> None:
        self._entry = self._left = None
        self.on_abandoned = on_abandoned
        core, self.created_new = lock_at(view, position)
        self._key = key_of(view, position)
        self.position = index(position)
        core.label = f"the lock {place(view, self.position)}"
        self._core = shared(_locks, self._key, core, _is_still_it if self.created_new else is_mutex)
        self._core.handles += 1

    def _order(self) -> tuple[str, int, int, int, int]:  # type: ignore[override]
        return self._kind, *self._key

    def _what(self) -> str:
        return f"at {self.position}"

    def _handles(self) -> int:
        return self._opened().handles

    def _drop(self, core: RobustMutex) -> None:
        """No more: the last reference to the core gives back what this thread owns."""
        core.handles -= 1

    __reduce__ = not_pickled


class _Placed(AsyncWait):
    """What MappedEvent and MappedSemaphore have in common."""

    __slots__ = ()

    SIZE = mapped.SIGNAL_SIZE
    ALIGNMENT = mapped.ALIGNMENT
    _kind = ""

    if TYPE_CHECKING:
        _key: Key
        position: int
        closed: bool
        created_new: bool
        _unmap: Callable[[], None]

    def _order(self) -> tuple[str, int, int, int, int]:
        """The same for all objects of one place; where it stands in the order in which wait_all takes."""
        return self._kind, *self._key

    def _shown(self) -> str:
        return ""

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}{self._shown()}{', closed' if self.closed else ''}>"

    def close(self) -> None:
        """Ends this object, not what is in the map; a second call does nothing. Threads that wait by it get a
        ClosedError."""
        self._unmap()
        was_closed(self)

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    __reduce__ = not_pickled


@adopt_methods
class MappedEvent(_Placed, PlacedEvent):
    """An event of `SIZE` bytes at `position` of a view; its methods are those of EventWaitHandle.

    In zeroed memory it is made with this state and mode; otherwise both are ignored (`created_new` tells), and the
    mode is what its maker said. The errors are those of MappedLock."""

    __slots__ = {"_key": "", "created_new": _CREATED_NEW, "position": _POSITION}
    _kind = "mapped event"

    def __init__(
        self,
        view: View,
        position: SupportsIndex = 0,
        initial_state: bool = False,
        mode: EventResetMode = EventResetMode.AUTO_RESET,
    ) -> None:
        self.created_new = self._settle(view, position, checked_state(initial_state), checked_mode(mode))
        self._key = key_of(view, position)
        self.position = index(position)

    @property
    def mode(self) -> EventResetMode:
        """Whether it is reset by who gets it or by hand."""
        return EventResetMode(self._parameter)

    def statistics(self) -> EventStatistics:
        """Its state at this moment. ClosedError; MemoryFaultError."""
        word, waiters = self._look()
        return EventStatistics(bool(word & 1), waiters)

    def _shown(self) -> str:
        return f", {self.mode.name}"


@adopt_methods
class MappedSemaphore(AsyncAcquire, _Placed, PlacedSemaphore):
    """A semaphore of `SIZE` bytes at `position` of a view; its methods are those of Semaphore.

    In zeroed memory it is made with these counts; otherwise both are ignored (`created_new` tells). OutOfRangeError and
    ValueError for counts that cannot be; the other errors are those of MappedLock."""

    __slots__ = {"_key": "", "created_new": _CREATED_NEW, "position": _POSITION}
    _kind = "mapped semaphore"

    def __init__(
        self,
        view: View,
        position: SupportsIndex = 0,
        initial_count: SupportsIndex = 0,
        maximum_count: SupportsIndex = futex.LARGEST_COUNT,
    ) -> None:
        initial, maximum = checked_counts(initial_count, maximum_count)
        self.created_new = self._settle(view, position, initial, maximum)
        self._key = key_of(view, position)
        self.position = index(position)

    @property
    def maximum_count(self) -> int:
        """How high the count can be, as its maker said."""
        return self._parameter

    def statistics(self) -> SemaphoreStatistics:
        """Its state at this moment. ClosedError; MemoryFaultError."""
        word, waiters = self._look()
        return SemaphoreStatistics(word, self._parameter, waiters)

    def _shown(self) -> str:
        return f", maximum {self._parameter}"

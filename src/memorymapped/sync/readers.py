# SPDX-License-Identifier: MIT
"""MappedReaderWriterLock: many readers or one writer, inside a mapped view."""

from __future__ import annotations

import io
from operator import index

from .._native import mapped, readers
from .._native.mapped import key_of
from .._native.memory import adopt_methods
from .._native.readers import ReadingSide, WritingSide, readers_at
from .._native.robust import is_mutex
from .._typing import TYPE_CHECKING
from ..errors import MemoryFaultError
from ..record import Record
from .owning import OwnedLock
from .places import Key, not_pickled, place, shared

if TYPE_CHECKING:
    from _weakref import ref
    from collections.abc import Callable
    from typing import NoReturn, Self, SupportsIndex

    from .._native.memory import View
    from .._native.robust import RobustMutex

__all__ = ["MappedReader", "MappedReaderWriterLock", "MappedWriter", "ReaderWriterStatistics"]


class ReaderWriterStatistics(Record):
    """A reader-writer lock as it was a moment ago: `readers`, how many threads read; `writer_process` and
    `writer_thread`, who writes (None: nobody); `has_waiters`, whether a thread waits to read or to write. This
    process's own share, of both sides: `acquisitions`, `waits` (acquisitions that could not be had at once),
    `abandonments` (those that were told of a writer that had not finished)."""

    __slots__ = {
        "abandonments": "How often this process was told of a writer that had not finished.",
        "acquisitions": "How often this process has taken it, to read or to write.",
        "has_waiters": "Whether a thread waits to read or to write.",
        "readers": "How many threads read.",
        "waits": "How many of this process's acquisitions could not be had at once.",
        "writer_process": "The process id of who writes; None: nobody.",
        "writer_thread": "The thread id of who writes; None: nobody.",
    }

    def __init__(self, sides: _Sides) -> None:
        reading, writing = sides.reading, sides.writing
        self.writer_process, self.writer_thread, self.has_waiters = writing.state
        self.readers = reading.readers
        self.acquisitions = reading.acquisitions + writing.acquisitions
        self.waits = reading.waits + writing.waits
        self.abandonments = reading.abandonments + writing.abandonments


class _Sides:
    """Both sides of one lock, as all objects of this process for its place share them."""

    __slots__ = ("__weakref__", "reading", "writing")

    def __init__(self, reading: ReadingSide, writing: WritingSide) -> None:
        self.reading = reading
        self.writing = writing

    def is_usable(self) -> bool:
        return is_mutex(self.writing)


_pairs: dict[Key, ref[_Sides]] = {}


class _Side(OwnedLock):
    """One side of the MappedReaderWriterLock at `position`: a lock with the methods of MappedLock."""

    __slots__ = {"_key": "", "_sides": "", "position": "Where the lock is, in the view that it was made with."}
    _noun = "reader-writer lock"

    def __init__(self, sides: _Sides, core: RobustMutex, key: Key, position: int) -> None:
        self._entry = self._left = None
        self.created_new = False
        self._sides = sides
        self._core = core
        self._key = key
        self.position = position
        core.handles += 1

    def _order(self) -> tuple[str, int, int, int, int]:  # type: ignore[override]
        return self._kind, *self._key

    def _handles(self) -> int:
        return self._opened().handles

    def _drop(self, core: RobustMutex) -> None:
        """No more: the last reference to the core gives back what this thread owns."""
        core.handles -= 1

    __reduce__ = not_pickled


@adopt_methods
class MappedReader(_Side):
    """The lock as readers take it. They are many, so its `statistics()` name no owner.

    A reader that is told of a writer that did not finish (AbandonedMutexError) cannot repair: only `writer` can."""

    __slots__ = ()
    _kind = "reading"

    @property
    def on_abandoned(self) -> None:
        """None: a reader cannot repair. What sets it raises io.UnsupportedOperation."""
        return

    @on_abandoned.setter
    def on_abandoned(self, repair: object) -> None:
        if repair is not None:
            self._refuse_repair()

    def recovering(self, repair: Callable[[Self], object]) -> NoReturn:
        """Raises io.UnsupportedOperation: a reader cannot repair, the writer's `recovering` does."""
        self._refuse_repair()

    def _refuse_repair(self) -> NoReturn:
        raise io.UnsupportedOperation(
            f"{self!r} cannot repair: others read at the same time. Take the writer, by on_abandoned= of the lock or "
            "`with lock.writer.recovering(repair):`"
        )

    def _advice(self, owned: bool) -> str:
        if owned:
            return (
                "what it guards may be half done: this thread reads now, and must release it; a writer repairs, by "
                "on_abandoned= of the lock or writer.recovering()"
            )
        return "it was released again; a writer repairs, by on_abandoned= of the lock or writer.recovering()"

    def __repr__(self) -> str:
        if self._core is None:
            return f"<{type(self).__name__} at {self.position}, closed>"
        return f"<{type(self).__name__} at {self.position}, {self._owner(self._core)}>"

    def _owner(self, core: RobustMutex) -> str:
        try:
            return f"{self._sides.reading.readers} read"
        except MemoryFaultError:
            return "its memory is gone"

    def locked(self) -> bool:
        """Whether anybody reads right now. ClosedError; MemoryFaultError."""
        self._opened()
        return ReaderWriterStatistics(self._sides).readers > 0


@adopt_methods
class MappedWriter(_Side):
    """The lock as a writer takes it."""

    __slots__ = ()
    _kind = "writing"

    def _what(self) -> str:
        return f"at {self.position}"


class MappedReaderWriterLock:
    """Many readers or one writer, at `position` of a view: `with lock.reader:` and `with lock.writer:`.

    `reader` and `writer` are locks with the methods of `MappedLock`. Readers and writers may be killed at any
    instruction, and nobody hangs. A dead reader leaves nothing behind. If a *writer* died while it wrote (or gave back
    as abandoned), everybody who takes the lock gets AbandonedMutexError and owns it, readers too, until a writer has
    got that, has repaired what the lock guards, and has released it.

    Readers that come while a writer waits, wait behind it; so writers are not starved. 31 threads read at the same
    time; more wait for one of them. A thread may take again what it has. RuntimeError if it wants to write while it
    reads, or to read while it writes.

    `on_abandoned` is for `with lock.writer:`; a reader cannot repair. The errors are those of MappedLock."""

    __slots__ = {
        "__weakref__": "",
        "created_new": "Whether the memory was zeros before.",
        "position": "Where it is, in the view that it was made with.",
        "reader": "The lock as readers take it.",
        "writer": "The lock as a writer takes it.",
    }

    SIZE = readers.SIZE
    ALIGNMENT = mapped.ALIGNMENT

    created_new: bool
    position: int
    reader: MappedReader
    writer: MappedWriter

    def __init__(
        self, view: View, position: SupportsIndex = 0, *, on_abandoned: Callable[[MappedWriter], object] | None = None
    ) -> None:
        reading, writing, self.created_new = readers_at(view, position)
        key = key_of(view, position)
        self.position = index(position)
        reading.label = writing.label = f"the reader-writer lock {place(view, self.position)}"
        sides = shared(_pairs, key, _Sides(reading, writing), _Sides.is_usable)
        self.reader = MappedReader(sides, sides.reading, key, self.position)
        self.writer = MappedWriter(sides, sides.writing, key, self.position)
        self.writer.on_abandoned = on_abandoned

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self.reader.closed

    def statistics(self) -> ReaderWriterStatistics:
        """Who reads and writes. ClosedError; MemoryFaultError."""
        self.reader._opened()
        return ReaderWriterStatistics(self.reader._sides)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}{', closed' if self.closed else ''}>"

    def close(self) -> None:
        """Closes both sides; a second call does nothing."""
        self.reader.close()
        self.writer.close()

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    __reduce__ = not_pickled

# SPDX-License-Identifier: MIT
"""SharedMemory: a value that several processes read and replace, and that is whole whatever dies when."""

from __future__ import annotations

import atexit
from _weakref import ref
from contextlib import ExitStack, suppress
from functools import partial
from typing import TypeVar
from weakref import WeakSet

from .._native.committed import Committed, total_size
from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING, overload
from ..enums import FileMode
from ..record import Record
from ..sync.awaiting import was_closed
from ..system.boots import boot_mark
from ..timeouts import seconds
from .layouts import Described, described
from .mapped_objects import MappedObject, check_choices

if TYPE_CHECKING:
    from typing import Any

    from ..accessor import MemoryMappedViewAccessor
    from ..file import MemoryMappedFile, StrPath
    from ..structs.struct import Struct
    from ..sync.mutex import Mutex
    from ..timeouts import Timeout

T = TypeVar("T")
S = TypeVar("S", bound="Struct")

__all__ = ["SharedMemory", "SharedMemoryStatistics"]


class SharedMemoryStatistics(Record):
    """What this object has met: see its fields."""

    __slots__ = {
        "adoptions": "How often it found that another program had written, and made that the value.",
        "locked_reads": "How often it took the lock to read.",
        "retries": "How often a read began anew, as writers were faster.",
        "rollbacks": "How often it put back the last value after a death.",
    }

    def __init__(self, retries: int, locked_reads: int, adoptions: int, rollbacks: int) -> None:
        self.retries = retries
        self.locked_reads = locked_reads
        self.adoptions = adoptions
        self.rollbacks = rollbacks


_of_files: WeakSet[SharedMemory[Any]] = WeakSet()


def _at_exit() -> None:
    """Who ends without a close has closed his files as he should: what others write there later counts."""
    for shared in list(_of_files):
        with suppress(OSError):  # of the disk: nobody is there to be told
            shared._end_use()


atexit.register(_at_exit)


@adopt_methods
class SharedMemory(Committed[T], MappedObject):
    """A value in shared memory, under a name, of a structure's class:

        class MyData(Struct):
            my_int: int32
            pt: Point

        with SharedMemory(MyData, "ShmemTest") as shared:
            data = shared.data                  # a snapshot
            shared.data = MyData(1, Point(2, 3))
            with shared.edit() as draft:        # one update
                draft.pt.x += 1

    Opens the map of this name, or makes it; it lives as long as somebody holds it. With a number of bytes instead of a
    class `data` is bytes. Readers need no lock, never see half of a change, and are not starved. A writer that dies at
    any moment leaves the value before or the new one, and is in nobody's way.

    The value lies at byte 0, so that a program that knows nothing of the rest takes part: it reads and writes there
    while it owns the lock, a `Mutex` named `lock_name` (the map's name and ".lock" unless it is given). What it wrote
    becomes the value, unless it died with the lock. `foreign=False`, for who makes the map: there are no such programs,
    so readers need not look whether one has written, and what one writes does not count.

    A map that somebody else has made with another size has no control block (`has_control`): then the value is read and
    written under the lock, and a death in the midst of a write leaves what it leaves. See `docs/shared-memory.md`.

    Raises LayoutMismatchError (the map was made with another layout: it shows both), ValueError (it is smaller than the
    value), DamagedObjectError, NotImplementedError (made by a newer version), and what MemoryMappedFile and Mutex
    raise."""

    __slots__ = {
        "_file": "The map.",
        "_lock": "",
        "_type": "What it was made with.",
        "_view": "",
    }

    _file: MemoryMappedFile
    _lock: Mutex
    _type: Any
    _view: MemoryMappedViewAccessor

    @overload
    def __init__(
        self: SharedMemory[S], type: type[S], name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> None: ...
    @overload
    def __init__(
        self: SharedMemory[bytes], type: int, name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> None: ...
    def __init__(self, type: Any, name: str, *, lock_name: str | None = None, foreign: bool = True) -> None:
        self._open(type, name, lock_name, foreign, new=True, existing=True)

    # ---- other ways to make one

    @overload
    @classmethod
    def create_new(
        cls, type: type[S], name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> SharedMemory[S]: ...
    @overload
    @classmethod
    def create_new(
        cls, type: int, name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> SharedMemory[bytes]: ...
    @classmethod
    def create_new(cls, type: Any, name: str, *, lock_name: str | None = None, foreign: bool = True) -> Any:
        """Makes it: NameInUseError if somebody holds a map of this name."""
        self = cls.__new__(cls)
        self._open(type, name, lock_name, foreign, new=True, existing=False)
        return self

    @overload
    @classmethod
    def create_or_open(
        cls, type: type[S], name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> SharedMemory[S]: ...
    @overload
    @classmethod
    def create_or_open(
        cls, type: int, name: str, *, lock_name: str | None = None, foreign: bool = True
    ) -> SharedMemory[bytes]: ...
    @classmethod
    def create_or_open(cls, type: Any, name: str, *, lock_name: str | None = None, foreign: bool = True) -> Any:
        """The same as the constructor, by .NET's name."""
        self = cls.__new__(cls)
        self._open(type, name, lock_name, foreign, new=True, existing=True)
        return self

    @overload
    @classmethod
    def open_existing(cls, type: type[S], name: str, *, lock_name: str | None = None) -> SharedMemory[S]: ...
    @overload
    @classmethod
    def open_existing(cls, type: int, name: str, *, lock_name: str | None = None) -> SharedMemory[bytes]: ...
    @classmethod
    def open_existing(cls, type: Any, name: str, *, lock_name: str | None = None) -> Any:
        """Opens it: FileNotFoundError if nobody holds a map of this name."""
        self = cls.__new__(cls)
        self._open(type, name, lock_name, True, new=False, existing=True)
        return self

    @overload
    @classmethod
    def create_from_file(
        cls,
        type: type[S],
        path: StrPath,
        mode: FileMode = ...,
        *,
        lock_name: str | None = None,
        foreign: bool = True,
    ) -> SharedMemory[S]: ...
    @overload
    @classmethod
    def create_from_file(
        cls, type: int, path: StrPath, mode: FileMode = ..., *, lock_name: str | None = None, foreign: bool = True
    ) -> SharedMemory[bytes]: ...
    @classmethod
    def create_from_file(
        cls,
        type: Any,
        path: StrPath,
        mode: FileMode = FileMode.OPEN_OR_CREATE,
        *,
        lock_name: str | None = None,
        foreign: bool = True,
    ) -> Any:
        """The value in a file, where it stays. The lock is named from the file (device and inode), and is this user's:
        of a file of another user ValueError, until `lock_name` says which one all its users take. The call takes it for
        a moment. FileNotFoundError, FileExistsError by the mode, and if CREATE would empty a file whose
        lock somebody has open. A file that is found must hold such a value, or be long enough for one."""
        self = cls.__new__(cls)
        self._open_file(type, path, FileMode(mode), lock_name, foreign)
        return self

    def _open(self, type: Any, name: str, lock_name: str | None, foreign: bool, *, new: bool, existing: bool) -> None:
        what = described(type)
        check_choices(lock_name, foreign)
        size = total_size(what.size, len(what.text.encode())) if new else None
        self._open_name(name, lock_name, size, partial(self._begin, what, type, foreign), existing=existing)

    def _open_file(self, type: Any, path: StrPath, mode: FileMode, lock_name: str | None, foreign: bool) -> None:
        what = described(type)
        check_choices(lock_name, foreign)
        size = partial(total_size, what.size, len(what.text.encode()))
        self._open_path(path, mode, lock_name, size, partial(self._begin, what, type, foreign), reserve=True)

    def _begin_again(self, type: Any, file: MemoryMappedFile, answered: int | None) -> None:
        self._begin(described(type), type, True, file, answered)

    def _begin(self, what: Described, type: Any, foreign: bool, file: MemoryMappedFile, answered: int | None) -> None:
        backing = file._backing
        boot = None if backing.is_memory else boot_mark(backing.device, backing.inode)
        self._type = type
        self._file = file
        view = self._view = file.create_view_accessor()
        place = backing.device, backing.inode, backing.life
        try:
            self._attach(view, self._lock, what.struct, what.size, what.text, what.hash, foreign, boot, place, answered)
        except BaseException:
            view.close()
            raise
        self._lock.on_abandoned = partial(_repair, ref(self))
        if boot is not None:
            _of_files.add(self)

    # ---- what it is

    @property
    def lock(self) -> Mutex:
        """The mutex that writers own. `with shared.lock:` is for several steps that belong together, and for `live`;
        it repairs what an owner who died has left."""
        return self._lock

    @property
    def live(self) -> Any:
        """The structure in its place, a reference: who owns the lock changes it field by field. The next read or write
        of anybody after the lock's release makes what it is then the value; if this process dies with the lock, nothing
        has happened. (With a number of bytes: a memoryview.)

        RuntimeError if this thread does not own the lock, or is within an `edit`; io.UnsupportedOperation where
        `foreign` is False. After the release a reference is not to be used: nothing guards it."""
        self._settle_for_live()
        what = described(self._type)
        if what.struct is None:
            return memoryview(self._view)[: what.size]
        return self._view.ref(what.struct, 0)

    def statistics(self) -> SharedMemoryStatistics:
        """What this object has met since it was made."""
        return SharedMemoryStatistics(*self._counts())

    def __repr__(self) -> str:
        what = getattr(self._type, "__name__", f"{self._type} bytes") if hasattr(self, "_type") else "?"
        return f"<SharedMemory of {what}{self._where()}{', closed' if self.closed else ''}>"

    # ---- waiting

    async def wait_for_change_async(self, timeout: Timeout = None, *, since: int | None = None) -> bool:
        """As `wait_for_change`, for a task of asyncio: other tasks go on. However many tasks wait, they cost what one
        does."""
        from ..sync.aio import arrival

        return await arrival(self, (self._since(since),), seconds(timeout))

    # ---- the end

    def close(self) -> None:
        """Closes the map and the lock; a second call does nothing. The named value ends with its last holder in any
        process; a file stays, and is written to the disk (its last user waits for the lock, two seconds at most, to
        note that it was closed as it should be). Waits by this object end with a ClosedError."""
        if not hasattr(self, "_file"):
            return
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            stack.callback(self._file.close)
            stack.callback(self._view.close)
            stack.callback(was_closed, self)
            stack.callback(self._detach)
            self._end_use()
            self._lock.on_abandoned = None


def _repair(whose: ref[SharedMemory[Any]], lock: Mutex) -> None:
    shared = whose()
    if shared is not None:
        shared._repair(lock)

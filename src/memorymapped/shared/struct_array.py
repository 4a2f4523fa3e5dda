# SPDX-License-Identifier: MIT
"""StructArray: a list of structures that several processes append to, replace, and read, whatever dies when."""

from __future__ import annotations

import errno
from _weakref import ref
from contextlib import ExitStack
from functools import partial
from operator import index
from typing import TypeVar

from .._native.memory import adopt_methods
from .._native.struct_array import SharedElements, total_size
from .._native.structs import Array
from .._typing import TYPE_CHECKING
from ..enums import FileMode
from ..enums import MemoryMappedFileOptions as Options
from ..errors import OutOfRangeError, shown
from ..record import Record
from ..sync.awaiting import was_closed
from ..timeouts import seconds
from ..values import loaded_numpy
from .layouts import Described, described
from .mapped_objects import MappedObject, check_choices

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from typing_extensions import Buffer

    from ..accessor import MemoryMappedViewAccessor
    from ..file import MemoryMappedFile, StrPath
    from ..structs.struct import Struct
    from ..sync.mutex import Mutex
    from ..timeouts import Timeout

    S = TypeVar("S", bound=Struct)

T = TypeVar("T")

__all__ = ["StructArray", "StructArrayStatistics"]


class StructArrayStatistics(Record):
    """What this object has met: see its fields."""

    __slots__ = {
        "locked_reads": "How often it took the lock to read.",
        "repairs": "How often it found the lock's last owner dead, and made whole what that had left.",
        "retries": "How often a read began anew, as a writer was at work.",
    }

    def __init__(self, retries: int, locked_reads: int, repairs: int) -> None:
        self.retries = retries
        self.locked_reads = locked_reads
        self.repairs = repairs


WHAT_THERE_IS = 0, 0
"""How many elements, for who opens a map, in the place of capacity and max_capacity: of one whose maker has died."""


@adopt_methods
class StructArray(SharedElements[T], MappedObject):
    """A list of structures in shared memory, under a name:

        class Point(Struct):
            x: int32
            y: int32

        with StructArray(Point, "points", capacity=1000) as points:
            points.append(Point(1, 2))          # its index
            points.extend(other_points)         # all at once
            points[0]                           # a snapshot; points[-1], points[2:5]
            points[0] = Point(3, 4)             # as a whole
            points.as_numpy()                   # what is there now, without a copy

    Opens the array of this name, or makes it: with memory for `capacity` elements, and more, as they are appended, up
    to `max_capacity` (the same, unless it is given). An existing one keeps its own. It lives as long as somebody holds
    it.

    Readers need no lock, never see half of an element or one that is not there, and are not starved. Each change is one
    step: a writer that dies at any moment leaves the array as it was before or after it, and is in nobody's way.

    Element i is at byte i * `stride` of the map, so that other programs read the same array, while they own the lock
    (a `Mutex` named `lock_name`, or the map's name and ".lock"). Where such programs also write elements in their
    places the array is to be made with `foreign=True`: readers take the lock then, too. See `docs/struct-arrays.md`.

    Raises LayoutMismatchError (it was made with another layout: the error shows both), DamagedObjectError (also: the
    map is none of an array), NotImplementedError (made by a newer version), and what MemoryMappedFile and Mutex raise.
    """

    __slots__ = {
        "_file": "The map.",
        "_lock": "",
        "_view": "",
    }

    _file: MemoryMappedFile
    _lock: Mutex
    _view: MemoryMappedViewAccessor

    def __init__(
        self: StructArray[S],
        type: type[S],
        name: str,
        capacity: int,
        *,
        max_capacity: int | None = None,
        lock_name: str | None = None,
        foreign: bool = False,
    ) -> None:
        self._open(type, name, _sizes(capacity, max_capacity), lock_name, foreign, existing=True)

    # ---- other ways to make one

    @classmethod
    def create_new(
        cls,
        type: type[S],
        name: str,
        capacity: int,
        *,
        max_capacity: int | None = None,
        lock_name: str | None = None,
        foreign: bool = False,
    ) -> StructArray[S]:
        """Makes it: NameInUseError if somebody holds a map of this name."""
        self: Any = cls.__new__(cls)
        self._open(type, name, _sizes(capacity, max_capacity), lock_name, foreign, existing=False)
        return self  # type: ignore[no-any-return]

    @classmethod
    def create_or_open(
        cls,
        type: type[S],
        name: str,
        capacity: int,
        *,
        max_capacity: int | None = None,
        lock_name: str | None = None,
        foreign: bool = False,
    ) -> StructArray[S]:
        """The same as the constructor, by .NET's name."""
        self: Any = cls.__new__(cls)
        self._open(type, name, _sizes(capacity, max_capacity), lock_name, foreign, existing=True)
        return self  # type: ignore[no-any-return]

    @classmethod
    def open_existing(cls, type: type[S], name: str, *, lock_name: str | None = None) -> StructArray[S]:
        """Opens it: FileNotFoundError if nobody holds a map of this name."""
        self: Any = cls.__new__(cls)
        self._open(type, name, None, lock_name, False, existing=True)
        return self  # type: ignore[no-any-return]

    @classmethod
    def create_from_file(
        cls,
        type: type[S],
        path: StrPath,
        mode: FileMode = FileMode.OPEN_OR_CREATE,
        capacity: int = 0,
        *,
        max_capacity: int | None = None,
        lock_name: str | None = None,
        foreign: bool = False,
    ) -> StructArray[S]:
        """The array in a file, where it stays; `capacity` is for who makes it. The lock is named from the file (device
        and inode), and is this user's: of a file of another user ValueError, until `lock_name` says which one all its
        users take. FileNotFoundError, FileExistsError by the mode. A file that is found must hold an array."""
        self: Any = cls.__new__(cls)
        self._open_file(type, path, FileMode(mode), capacity, max_capacity, lock_name, foreign)
        return self  # type: ignore[no-any-return]

    def _open(
        self,
        type: Any,
        name: str,
        sizes: tuple[int, int] | None,
        lock_name: str | None,
        foreign: bool,
        *,
        existing: bool,
    ) -> None:
        what = _described(type)
        check_choices(lock_name, foreign)
        self._open_name(
            name,
            lock_name,
            None if sizes is None else _bytes(what, sizes),
            partial(self._begin, what, sizes or WHAT_THERE_IS, foreign),
            existing=existing,
            options=Options.DELAY_ALLOCATE_PAGES,
        )

    def _open_file(
        self,
        type: Any,
        path: StrPath,
        mode: FileMode,
        capacity: int,
        max_capacity: int | None,
        lock_name: str | None,
        foreign: bool,
    ) -> None:
        what = _described(type)
        check_choices(lock_name, foreign)
        sizes = None if mode is FileMode.OPEN else WHAT_THERE_IS
        if sizes and (mode is not FileMode.OPEN_OR_CREATE or capacity != 0 or max_capacity is not None):
            sizes = _sizes(capacity, max_capacity)

        def size() -> int:
            return _bytes(what, _sizes(capacity, max_capacity))

        self._open_path(path, mode, lock_name, size, partial(self._begin, what, sizes, foreign), reserve=False)

    def _begin_again(self, type: Any, file: MemoryMappedFile, answered: int | None) -> None:
        self._begin(_described(type), None, False, file, answered)

    def _begin(
        self,
        what: Described,
        sizes: tuple[int, int] | None,
        foreign: bool,
        file: MemoryMappedFile,
        answered: int | None,
    ) -> None:
        self._file = file
        view = self._view = file.create_view_accessor()
        lock = self._lock
        backing = file._backing
        descriptor = -1 if backing.is_memory and backing.created else file.fileno()
        first, most = (0, -1) if sizes is None else sizes
        try:
            if self._attach(view, lock, what.struct, what.text, what.hash, foreign, most, descriptor):
                # Whoever makes it says how much memory is taken at once. Should he die before, appends take it.
                backing.reserve(self._control_position, file.capacity)
                self._grow(self.max_capacity if sizes == WHAT_THERE_IS else min(first, self.max_capacity))
            elif answered is not None and lock._opened().abandonments != answered:
                self._repair(lock)
        except BaseException:
            self._detach()
            view.close()
            raise
        lock.on_abandoned = partial(_repair, ref(self))

    # ---- room

    def grow(self, capacity: int) -> None:
        """Takes memory for so many elements, if there is less, while others use the array. OutOfRangeError: more than
        `max_capacity`; OSError (ENOSPC): there is not so much, and nothing has changed."""
        wanted = index(capacity)
        if not 0 <= wanted <= self.max_capacity:
            raise OutOfRangeError(
                f"{self!r} can have memory for up to {self.max_capacity} elements, which was said when it was made, "
                f"not {shown(capacity)}"
            )
        self._grow(wanted)

    def _grow(self, capacity: int) -> None:
        now = self.capacity
        if capacity > now:
            # Without the lock: two may take the same memory, and have it once then.
            try:
                self._file._backing.reserve(now * self.stride, capacity * self.stride)
            except OSError as error:
                error.add_note(f"They are for {capacity} elements of {self.stride} bytes; {now} have memory.")
                raise
            self._raise_capacity(capacity)

    def _make_room(self, capacity: int) -> None:
        """For an append: twice what there is, or as much as can be had."""
        try:
            self._grow(min(max(capacity, 2 * self.capacity), self.max_capacity))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            self._grow(capacity)

    # ---- many at once

    def extend(self, values: Iterable[T] | Buffer) -> int:
        """Appends several elements, all at once: others see none of them, or all. The index of the first (the length,
        if there are none). `values`: elements; an `Array` of them, in a view or of its own; or a NumPy array of
        `T.dtype`.

        Errors as of `append`; TypeError: it has elements of another type."""
        return self._extend(self._block_of(values))

    def _block_of(self, values: Any) -> Any:
        """The bytes of elements, one after the other."""
        layout = self.type.layout
        if isinstance(values, Array):
            if len(values) and type(values[0]) is not self.type:
                raise TypeError(f"the elements of {values!r:.200} are none of {self.type.__name__}")
            return values.tobytes()
        if isinstance(values, StructArray) and values.type is self.type:
            return values._block(slice(None))
        numpy = loaded_numpy()
        if numpy is not None and isinstance(values, numpy.ndarray):
            if values.dtype != layout.dtype:
                raise TypeError(
                    f"the array has elements of {values.dtype}, and {self.type.__name__}.dtype is {layout.dtype}"
                )
            return numpy.ascontiguousarray(values).reshape(-1).view(numpy.uint8)
        if isinstance(values, (bytes, bytearray, memoryview, str, dict)):
            raise TypeError(f"elements of {self.type.__name__} are needed, not {shown(values)}")
        elements = list(values)
        for each in elements:
            if type(each) is not self.type:
                raise TypeError(f"an element of {self!r} is a {self.type.__name__}, not {shown(each)}")
        return b"".join(map(bytes, elements))

    def as_numpy(self, *, copy: bool = False, writable: bool = False) -> Any:
        """A NumPy array, of `T.dtype`, of the elements that are there now.

        Without a copy: it shows what happens to these elements from now on, and keeps the memory, also when this is
        closed. Elements that are not replaced or taken away do not change; of one that is being replaced it may show a
        half, unless you own the lock. It cannot be written, as a write in place is no step that readers could not see
        half of; `writable=True` is for who owns the lock of an array with `foreign=True`, and ends with that.

        `copy=True`: an array of its own, with the elements as they are at one moment. ImportError without NumPy."""
        import numpy

        dtype = self.type.dtype
        if copy:
            return numpy.frombuffer(memoryview(self._block(slice(None))), dtype)
        if writable:
            self._check_owner()
        else:
            self._settle()
        count = len(self)
        memory = memoryview(self._view)[: count * self.stride]
        return numpy.ndarray((count,), dtype, memory if writable else memory.toreadonly(), strides=(self.stride,))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        array = self.as_numpy(copy=bool(copy))
        return array if dtype is None or array.dtype == dtype else array.astype(dtype)

    # ---- elements in their places

    def ref(self, index: int) -> T:
        """The element in its place, a reference, for who owns the lock of an array with `foreign=True`: its fields are
        read and written there, one by one. If its owner dies, what he has written stays.

        RuntimeError: this thread does not own the lock; io.UnsupportedOperation: the array was made without `foreign`;
        OutOfRangeError. After the release a reference is not to be used: nothing guards it."""
        return self.refs()[index]

    def refs(self) -> Array[T]:
        """All elements in their places: an `Array` of references. Conditions and errors as of `ref`."""
        self._check_owner()
        return self._view.refs(self.type, 0, len(self))

    # ---- what it is

    @property
    def _type(self) -> Any:
        return self.type

    @property
    def lock(self) -> Mutex:
        """The mutex that writers own. `with array.lock:` is for several steps that belong together, and for elements in
        their places; it repairs what an owner who died has left."""
        return self._lock

    def statistics(self) -> StructArrayStatistics:
        """What this object has met since it was made."""
        return StructArrayStatistics(*self._counts())

    def __repr__(self) -> str:
        what = getattr(self.type, "__name__", "?")
        return f"<StructArray of {what}{self._where()}{', closed' if self.closed and self.max_capacity else ''}>"

    def _named(self) -> str:
        return f"the map{self._where()}"

    # ---- waiting

    async def wait_for_change_async(self, timeout: Timeout = None, *, since: int | None = None) -> bool:
        """As `wait_for_change`, for a task of asyncio: other tasks go on. However many tasks wait, they cost what one
        does."""
        from ..sync.aio import arrival

        if not await arrival(self, (-1, self._since(since)), seconds(timeout)):
            return False
        self._know(since)
        return True

    async def wait_for_length_async(self, length: int, timeout: Timeout = None) -> bool:
        """As `wait_for_length`, for a task of asyncio: other tasks go on."""
        from ..sync.aio import arrival

        return await arrival(self, (self._wanted(length), 0), seconds(timeout))

    # ---- the end

    def flush(self) -> None:
        """Writes a file's elements to the disk, and waits: they are there after a crash of the machine. OSError;
        MemoryFaultError (the file was truncated); ClosedError. Nothing to do for a named map."""
        self._view.flush()

    def close(self) -> None:
        """Closes the map and the lock; a second call does nothing. The named array ends with its last holder in any
        process; a file stays, and so do NumPy arrays. Waits by this object end with a ClosedError."""
        if not hasattr(self, "_file"):
            return
        with ExitStack() as stack:
            stack.callback(self._lock.close)
            stack.callback(self._file.close)
            stack.callback(self._view.close)
            stack.callback(was_closed, self)
            stack.callback(self._detach)
            self._lock.on_abandoned = None


def _repair(whose: ref[StructArray[Any]], lock: Mutex) -> None:
    array = whose()
    if array is not None:
        array._repair(lock)


def _sizes(capacity: int, max_capacity: int | None) -> tuple[int, int]:
    """For how many elements there is memory, and place."""
    first = index(capacity)
    most = first if max_capacity is None else index(max_capacity)
    if first < 0 or most < 1 or first > most or most >= 2**63:
        given = shown(capacity) if max_capacity is None else f"{shown(capacity)}, and up to {shown(max_capacity)}"
        raise OutOfRangeError(f"an array has room for one element or more, as a map can have, and not for {given}")
    return first, most


def _described(type: Any) -> Described:
    if not hasattr(type, "__layout__"):
        raise TypeError(f"the elements of an array are of a class derived from Struct, not {shown(type)}")
    return described(type)


def _bytes(what: Described, sizes: tuple[int, int]) -> int:
    """Of a map for so many elements of this type."""
    return total_size(what.size, sizes[1], len(what.text.encode()))

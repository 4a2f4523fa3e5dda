# SPDX-License-Identifier: MIT
"""SegmentFile: messages of any length, one behind the other, that several processes append and read.

The `MmFile` of the article "Inter-Process Communication using memory-mapped files in .NET", with its bytes (a 32-bit
length, then the data, from offset 0), so that its C# program reads what we wrote and the other way round. How that is
done, and what is true when a writer dies, is in `_native/segments.pyx`; the layout in `docs/segment-files.md`.

Nothing of ours lies in the file. Beside it there are, named by its device and inode, so that whoever opens it, by name
or by path, finds the same: a mutex, and a small map on which readers sleep (`control`); with checksums their file too.
"""

from __future__ import annotations

import codecs
import contextlib
import errno
import os
import sys
import warnings
from hashlib import blake2b
from operator import index
from time import monotonic, sleep

from .._native.memory import adopt_methods
from .._native.segments import CONTROL_SIZE, LOOK, SUMS_HEAD, Segments, crc32c
from .._typing import TYPE_CHECKING
from ..enums import FileMode
from ..enums import MemoryMappedFileAccess as Access
from ..enums import MemoryMappedFileRights as Rights
from ..errors import ClosedError, DamagedObjectError, OutOfRangeError, shown
from ..file import MemoryMappedFile
from ..handover import is_same
from ..record import Record
from ..security import MemoryMappedFileSecurity
from ..sync.awaiting import was_closed
from ..sync.mutex import Mutex
from ..system import (
    MEETS_ALL_USERS,
    MEMORY_GROWS,
    ROUNDED,
    SCOPE_OF_FILES,
    locate,
    refuse_another_user,
    status_of,
    sync_folder,
)
from ..system.names import Scope, parse
from ..timeouts import seconds
from .backing_files import remove_own

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from typing import Any, Self

    from ..accessor import MemoryMappedViewAccessor
    from ..file import StrPath
    from ..timeouts import Timeout

__all__ = ["RecoveredSegment", "SegmentDamage", "SegmentFile", "SegmentReport"]

SUMS_MAGIC = b"MMFSUMS\x01"
SUM = 8  # bytes of one checksum: length, CRC-32C
SUFFIX = ".sums"
LOCK, LOCK_NAME = 40, 1024  # in the control object: what tells the name of the lock, bytes of the name
AHEAD, BLOCK = 16, 1 << 20  # where recover() looks: how many segments ahead, bytes at a time
TURN = 0.002  # seconds after which other tasks have theirs
NAMED, BESIDE = 1, 2  # where checksums are: in a map with a name, in a file beside

_CODECS = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}  # without a byte order mark, as C# writes it


class SegmentDamage(Record):
    """The first thing that is wrong with a segment file: from `segment`, at `offset`, for a `reason`."""

    __slots__ = {
        "offset": "Of the length of that segment.",
        "reason": "What is wrong there.",
        "segment": "The number of the first segment that cannot be read.",
    }

    def __init__(self, segment: int, offset: int, reason: str) -> None:
        self.segment = segment
        self.offset = offset
        self.reason = reason


class SegmentReport(Record):
    """What `SegmentFile.check` found: `segments` that can be read, up to offset `end`; `damage` behind them, or None;
    segments with `bad_checksums`, and how many are `without_checksum`; and how many bytes `behind` the end are there,
    to the last that is not zero."""

    __slots__ = {
        "bad_checksums": "The numbers of the segments whose bytes are not what was written.",
        "behind": "Bytes behind the end, to the last that is not zero: of a killed writer, or behind a damaged length.",
        "damage": "A SegmentDamage; None if the file is whole.",
        "end": "Where the next segment would begin.",
        "segments": "How many can be read.",
        "without_checksum": "How many have no checksum: other programs write none. None if the file is used without.",
    }

    def __init__(
        self,
        segments: int,
        end: int,
        damage: SegmentDamage | None,
        bad_checksums: tuple[int, ...],
        without_checksum: int | None,
        behind: int,
    ) -> None:
        self.segments = segments
        self.end = end
        self.damage = damage
        self.bad_checksums = bad_checksums
        self.without_checksum = without_checksum
        self.behind = behind

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.damage is None and not self.bad_checksums


class RecoveredSegment(Record):
    """A segment that is still whole: its `number`, the `offset` of its length, its `data` (bytes), and whether that was
    `checked` by a checksum."""

    __slots__ = {
        "checked": "Whether a checksum says that it is what was written.",
        "data": "Its bytes.",
        "number": "Its number.",
        "offset": "Where its length is.",
    }

    def __init__(self, number: int, offset: int, data: bytes, checked: bool) -> None:
        self.number = number
        self.offset = offset
        self.data = data
        self.checked = checked


# --------------------------------------------------------------------------------------------------------- names


def unique_id() -> str:
    """A name that nobody has: a GUID."""
    from uuid import uuid4

    return str(uuid4())


class _Names:
    """What lies beside a file is called after its device and inode, so that it is the same for whoever opens the file,
    by whatever name or path. The user's own: two terminals are two sessions. Only a map with a name for all users has
    them for all users. Where the mutex is for all users, so is the control object at which they meet, if everybody may
    make that; then the own one is there for those of this user who have another mutex."""

    def __init__(self, map_: MemoryMappedFile, lock_name: str | None) -> None:
        path, (device, inode, _) = map_.path, map_.generation
        self.path = None if path is None else os.path.realpath(path)
        # A file that was opened by the name of its map may have no path, and is a file all the same.
        given = locate(self.path) if self.path is not None else map_.name if map_._backing.is_memory else None
        scope = Scope.GLOBAL if given is not None and parse(given).scope is Scope.GLOBAL else Scope.USER
        self.is_named = given is not None  # memory that has a name, however it was opened
        self.is_for_all = scope is Scope.GLOBAL
        place = f"{device:x}-{inode:x}"
        own = scope if self.is_named else SCOPE_OF_FILES
        self.lock = lock_name if lock_name is not None else f"{own.value}\\segments-{place}"
        meeting = Scope.GLOBAL if MEETS_ALL_USERS and parse(self.lock).scope is Scope.GLOBAL else scope
        self.controls = tuple(f"{each.value}\\segments-1-{place}" for each in dict.fromkeys((scope, meeting)))
        self.all_users = f"{Scope.GLOBAL.value}\\segments-1-{place}" if MEETS_ALL_USERS else self.controls[-1]
        self.sums = f"{scope.value}\\segments-sums-1-{place}"


# ---------------------------------------------------------------------------------------------------------- files


def _codec(encoding: str | None) -> str | None:
    """The codec's name. LookupError if there is none."""
    if encoding is None:
        return None
    if not isinstance(encoding, str):
        raise TypeError(f"an encoding is a str, or None for bytes, not {type(encoding).__name__}")
    name = codecs.lookup(encoding).name
    "".encode(name)  # LookupError for what is no encoding of text
    return _CODECS.get(name, name)


class _Options:
    """What the factories have in common, checked."""

    __slots__ = ("checksums", "codec", "durable", "encoding", "grow", "lock_name", "most", "security", "synchronized")

    def __init__(
        self,
        encoding: str | None,
        lock_name: str | None,
        synchronized: bool,
        checksums: bool,
        grow: bool,
        max_capacity: int | None,
        durable: bool = False,
        security: MemoryMappedFileSecurity | None = None,
    ) -> None:
        self.codec = _codec(encoding)
        self.encoding = encoding
        if lock_name is not None:
            parse(lock_name)
            if not synchronized:
                raise ValueError("synchronized=False takes no lock, so lock_name has no meaning")
        self.lock_name = lock_name
        self.synchronized = bool(synchronized)
        self.checksums = bool(checksums)
        self.most = None if max_capacity is None else index(max_capacity)
        if self.most is not None and self.most < 1:
            raise OutOfRangeError(f"max_capacity must be positive, got {shown(max_capacity)}")
        self.grow = bool(grow) or self.most is not None
        self.durable = bool(durable)
        self.security = security

    def state(self) -> dict[str, Any]:
        """As keywords of a factory."""
        return {
            "encoding": self.encoding,
            "lock_name": self.lock_name,
            "synchronized": self.synchronized,
            "checksums": self.checksums,
            "grow": self.grow,
            "max_capacity": self.most,
        }


class _Fit:
    """How a file gets its size, by who is alone."""

    __slots__ = ("capacity", "empties", "until")

    def __init__(self, empties: bool, capacity: int) -> None:
        self.empties = empties
        self.capacity = capacity
        self.until = monotonic() + LOOK

    def may_wait(self, map_: MemoryMappedFile) -> bool:
        """The file is empty, and may be one that somebody makes at this moment."""
        is_made = map_._backing.created or self.empties or index(self.capacity) != 0
        return not is_made and map_.capacity == 0 and monotonic() < self.until

    def fit(self, map_: MemoryMappedFile, access: Access, grow: bool) -> None:
        """ValueError, OutOfRangeError, OSError (ENOSPC): it stays as it is."""
        backing = map_._backing
        capacity = index(self.capacity)
        if grow and not self.empties and capacity < map_.capacity:
            capacity = 0  # it has grown already
        backing.fit(capacity, access, empty=self.empties)


@adopt_methods
class SegmentFile(Segments):
    """Segments, numbered from 0, that any process appends and any process reads, in memory with a name or in a file.

    Made by `create_new`, `open_existing`, `create_or_open` (by name) and `create_from_file` (by path). Their options:

    - `encoding`: of text: "utf-16" (as C# has it, little endian and without a mark), "utf-8", or another codec; None
      for bytes. Bytes can always be appended.
    - `lock_name`: the name of the mutex, where other programs use one; otherwise it is made from the file's device and
      inode. `synchronized=False`: none at all. Then no two may write at the same time.
    - `checksums=True`: the CRC-32C of each segment is kept beside the file, and verified by each read. Who opens a file
      that has them keeps them, too.
    - `grow=True`, `max_capacity`: an append for which there is no room makes the file longer, up to `max_capacity`
      bytes.

    `append(data)` is atomic, whoever dies when. `s[n]`, `s[-1]`, `s[a:b]`, `len(s)`, `for text in s`; `wait_for(n)`,
    `for text in s.follow()`. A context manager that closes it."""

    __slots__ = ("_control_view", "_controls", "_kept", "_map", "_mutex", "_names", "_options", "_sums")

    _map: MemoryMappedFile
    _mutex: Mutex | None
    _controls: list[MemoryMappedFile]
    _control_view: MemoryMappedViewAccessor | None
    _sums: MemoryMappedFile | None
    _kept: MemoryMappedViewAccessor | None
    _options: _Options

    def __init__(self) -> None:
        raise TypeError(
            "a segment file is made by create_new, open_existing, create_or_open or create_from_file, never directly"
        )

    # ------------------------------------------------------------------------------------------------- factories

    @classmethod
    def create_new(
        cls,
        capacity: int,
        file_id: str | None = None,
        *,
        encoding: str | None = "utf-16",
        lock_name: str | None = None,
        synchronized: bool = True,
        checksums: bool = False,
        grow: bool = False,
        max_capacity: int | None = None,
        security: MemoryMappedFileSecurity | None = None,
    ) -> Self:
        """A new one of `capacity` bytes in memory, under a name: `file_id`, or a GUID, which a child gets on its
        command line. It lives as long as somebody has it open. NameInUseError, and what
        MemoryMappedFile.create_new raises; LookupError for an unknown encoding."""
        options = _Options(encoding, lock_name, synchronized, checksums, grow, max_capacity, security=security)
        file_id = unique_id() if file_id is None else file_id
        capacity = _for_all(capacity)
        return cls._made(lambda: MemoryMappedFile.create_new(file_id, capacity, security=security), options)

    @classmethod
    def open_existing(
        cls,
        file_id: str,
        *,
        encoding: str | None = "utf-16",
        lock_name: str | None = None,
        synchronized: bool = True,
        checksums: bool = False,
        grow: bool = False,
        max_capacity: int | None = None,
        access: Access = Access.READ_WRITE,
    ) -> Self:
        """The one that somebody has open under this name. FileNotFoundError, PermissionError. `access` READ: it can
        only be read."""
        options = _Options(encoding, lock_name, synchronized, checksums, grow, max_capacity)
        access = _access(access)
        rights = Rights.READ if access is Access.READ else Rights.READ_WRITE
        return cls._made(lambda: MemoryMappedFile.open_existing(file_id, rights), options, access)

    @classmethod
    def create_or_open(
        cls,
        file_id: str,
        capacity: int,
        *,
        encoding: str | None = "utf-16",
        lock_name: str | None = None,
        synchronized: bool = True,
        checksums: bool = False,
        grow: bool = False,
        max_capacity: int | None = None,
        security: MemoryMappedFileSecurity | None = None,
    ) -> Self:
        """The one of this name, made if nobody has it open. An existing one keeps its capacity."""
        options = _Options(encoding, lock_name, synchronized, checksums, grow, max_capacity, security=security)
        capacity = _for_all(capacity)
        return cls._made(lambda: MemoryMappedFile.create_or_open(file_id, capacity, security=security), options)

    @classmethod
    def create_from_file(
        cls,
        path: StrPath,
        mode: FileMode = FileMode.OPEN_OR_CREATE,
        capacity: int = 0,
        *,
        encoding: str | None = "utf-16",
        lock_name: str | None = None,
        synchronized: bool = True,
        checksums: bool = False,
        grow: bool = False,
        max_capacity: int | None = None,
        durable: bool = False,
        access: Access = Access.READ_WRITE,
        security: MemoryMappedFileSecurity | None = None,
    ) -> Self:
        """A file, which stays. `capacity`: 0 takes the file's length, more makes it longer; less is refused, unless it
        may `grow`: it may have grown already. `durable`: each append, and the making of the file, is on the disk when
        it returns. With `checksums` they lie in a file beside it, with ".sums" behind its name. FileMode.CREATE empties
        a file that nobody of this library has open: FileExistsError. A call that is refused empties nothing.

        Raises what MemoryMappedFile.create_from_file does (ValueError: an empty file, and no capacity). The default
        mutex is this user's: several users need a `lock_name` that begins with "Global\\\\"."""
        options = _Options(encoding, lock_name, synchronized, checksums, grow, max_capacity, durable, security)
        access = _access(access)
        return cls._made(
            lambda: MemoryMappedFile._from_path(
                os.fspath(path), mode, None, capacity, access, security=security, as_it_is=True
            ),
            options,
            access,
            _Fit(mode == FileMode.CREATE, capacity),
        )

    @classmethod
    def _made(
        cls,
        mapped: Callable[[], MemoryMappedFile],
        options: _Options,
        access: Access = Access.READ_WRITE,
        fit: _Fit | None = None,
    ) -> Self:
        while True:
            self = cls.__new__(cls)
            self._map = mapped()
            self._options = options
            self._controls = []
            self._mutex = self._control_view = self._sums = self._kept = None
            try:
                if self._open(access, fit):
                    return self
            except BaseException as error:
                if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
                    error.add_note(
                        f"this was while the segment file {self.file_id} was opened, which takes up to 10 descriptors"
                    )
                self.close()
                raise
            self.close()
            sleep(0.001)  # for who makes it, or another in its place

    def _open(self, access: Access, fit: _Fit | None) -> bool:
        """False: the path leads to another file by now, or to none, as whoever had made the file was refused, and has
        removed it; or somebody is making it. Of two who do this at once each sees all that the other has done, or
        nothing. So nothing is emptied, made longer or removed but by who is alone."""
        map_, options = self._map, self._options
        self._names = _Names(map_, options.lock_name)
        if options.lock_name is None and options.synchronized and not self._names.is_for_all and map_.path is not None:
            refuse_another_user(map_.path, map_._backing.status())
        self._open_controls()
        with self._alone():
            if map_.name is None and not _leads_to(map_):
                return False
            if fit is not None and fit.may_wait(map_):
                return False
            is_unused = self._is_unused()
            try:
                with contextlib.ExitStack() as apart:
                    if fit is not None and fit.empties:
                        apart.enter_context(self._alone_with_all())
                    self._check_lock()
                    self._prepare(access, is_unused, fit)
            except BaseException:
                if is_unused:
                    self._remove_own()
                raise
            self._tell_lock()
        self._settle(LOOK, is_unused)
        return True

    def _remove_own(self) -> None:
        """A call that is refused leaves no file that it has made. Without their views, or they could not be removed."""
        views = self._file, self._kept
        self._detach()
        for view in views:
            if view is not None:
                view.close()
        for each in (self._map, self._sums):
            if each is not None:
                _remove_made(each)

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """While what all have in common is looked at, and changed."""
        with contextlib.ExitStack() as alone:
            for each in self._controls:
                alone.enter_context(each._backing.alone())
            yield

    @contextlib.contextmanager
    def _alone_with_all(self) -> Iterator[None]:
        """For who is alone, and is to empty the file. FileExistsError: somebody has it open, with whatever mutex."""
        with contextlib.ExitStack() as stack:
            others = []
            if self._names.all_users not in self._names.controls:
                others.append(stack.enter_context(contextlib.closing(_control(self._names.all_users))))
                stack.callback(others[0]._backing.end_turns)
                stack.enter_context(others[0]._backing.alone())
            if not all(map(_is_unused, (*self._controls, *others))):
                raise FileExistsError(
                    errno.EEXIST, "FileMode.CREATE would empty a segment file that somebody has open", self.path
                )
            yield

    def _prepare(self, access: Access, first: bool, fit: _Fit | None) -> None:
        """`first`: nobody else has it open."""
        options, map_ = self._options, self._map
        if options.synchronized:
            self._mutex = Mutex(name=self._names.lock)
        on_disk = not map_._backing.is_memory
        if options.durable and on_disk and map_._backing.created and map_.path is not None:
            sync_folder(map_.path)
        self._start(self._mutex, self._control_view, options.codec, options.durable, on_disk)
        if fit is not None and fit.empties:
            self._open_wanted_sums(access, first)  # what is refused is refused before anything is emptied
        if fit is not None:
            fit.fit(map_, access, options.grow)
        self._attach(map_.create_view_accessor(0, 0, access), map_.fileno())
        if self._sums is None:
            self._open_wanted_sums(access, first)

    def _open_wanted_sums(self, access: Access, first: bool) -> None:
        was_removed = first and not self._map._backing.created
        if self._options.checksums or self._sums_place() or self._has_sums(was_removed):
            self._open_sums(access)

    def _has_sums(self, was_removed: bool) -> bool:
        """Whether somebody has kept checksums, of whom the control object does not tell, as it `was_removed`."""
        if not self._names.is_named:
            return self._names.path is not None and os.path.exists(self._beside())
        return was_removed and _is_held(self._names.sums)

    def _open_controls(self) -> None:
        for name in self._names.controls:
            self._controls.append(_control(name))
        if self._controls[-1].capacity >= CONTROL_SIZE:  # otherwise it is none of ours: we do without
            self._control_view = self._controls[-1].create_view_accessor(0, CONTROL_SIZE)

    def _lock_name(self) -> bytes:
        """As the control object has it: empty for none."""
        return _canonical(self._names.lock).encode()[:LOCK_NAME] if self._options.synchronized else b""

    def _tell_lock(self) -> None:
        own = self._lock_name()
        for each in self._controls:
            if each.capacity >= CONTROL_SIZE:
                each._backing.write_at(LOCK, _digest(own) + own.ljust(LOCK_NAME, b"\0"))

    def _is_unused(self) -> bool:
        """Whether nobody has the file open, as far as the scopes are concerned in which this one has it open."""
        return all(map(_is_unused, self._controls))

    def _check_lock(self) -> None:
        """Whoever has the file open takes one lock, or segments are lost: ValueError."""
        own = self._lock_name()
        for each in self._controls:
            there = _told(each)
            text = there[8:].rstrip(b"\0")
            if there[:8] != _digest(text) or text == own:
                continue  # nobody was here, or somebody has written over it
            theirs, ours = (
                f"the mutex {lock.decode(errors='replace')!r}" if lock else "synchronized=False" for lock in (text, own)
            )
            raise ValueError(
                f"the segment file {self.file_id} is in use with {theirs}, and is to be opened with {ours}: all who "
                "use it need the same lock_name"
            )

    def _open_sums(self, access: Access) -> None:
        with contextlib.ExitStack() as undo:
            sums = self._sums_map(access)
            if sums is None:
                return
            undo.enter_context(sums)
            undo.callback(_remove_made, sums)
            view = undo.enter_context(sums.create_view_accessor(0, 0, access))
            magic = view.read_bytes(0, len(SUMS_MAGIC)) if view.capacity >= SUMS_HEAD else b"too short"
            if any(magic) and magic != SUMS_MAGIC:
                raise self._none_there(repr(sums))
            if access is not Access.READ:
                view.write_bytes(0, SUMS_MAGIC + self._generation())
            if self._sums is None:  # otherwise another thread has opened them meanwhile
                self._sums, self._kept = sums, view
                self._attach_sums(view, NAMED if self._names.is_named else BESIDE)
                undo.pop_all()

    def _sums_map(self, access: Access) -> MemoryMappedFile | None:
        """Of the checksums, which are made where there are none and this may write. None: there are none for it."""
        is_wanted = self._options.checksums or self._sums_place() != 0
        capacity = self._map.capacity
        grows = MEMORY_GROWS or not self._names.is_named
        size = SUMS_HEAD + SUM * (max(64, capacity // 256) if grows else capacity // 5 + 1)  # for the smallest segments
        security = self._options.security
        if self._names.is_named:
            return MemoryMappedFile.create_or_open(self._names.sums, size, security=security)
        if self._names.path is None:
            raise ValueError(f"the checksums of {self.file_id} lie beside its file: open that by its path")
        path = self._beside()
        there, is_ours = _look_at_sums(path)
        if not is_ours:
            if not is_wanted:
                return None  # somebody else's, who calls his files so
            raise self._none_there(path)
        self._refuse_distant_names(path)
        is_emptied = self.closed  # it is not attached yet: then they are forgotten, whatever they were of
        if there and not is_emptied and not self._are_of_this_file(path):
            there = 0
            if access is not Access.READ:
                self._remove_sums(path)
        if access is not Access.READ:
            capacity = 0 if there >= size else size
            mode = FileMode.OPEN_OR_CREATE
            try:
                return MemoryMappedFile.create_from_file(path, mode, None, capacity, security=security)
            except OutOfRangeError:  # somebody who appends has made it longer meanwhile
                return MemoryMappedFile.create_from_file(path, mode, None, 0, security=security)
        return MemoryMappedFile.create_from_file(path, FileMode.OPEN, None, 0, access) if there else None

    def _remove_sums(self, path: str) -> None:
        """They are not of this file. Who has them open keeps them; where the system lets no one remove what is open,
        nobody goes on."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            pass
        except PermissionError as error:
            raise DamagedObjectError(
                errno.EBADMSG,
                f"{path} has not the checksums of {self.file_id}, and cannot be removed ({error.strerror}): remove it "
                "when nobody has that open",
            ) from error

    def _none_there(self, what: str) -> DamagedObjectError:
        return DamagedObjectError(
            errno.EBADMSG, f"{what} is to have the checksums of {self.file_id}, and has none: remove it"
        )

    def _beside(self) -> str:
        """The path of the checksums of a file: beside the first of its names in the folder, or beside the one that has
        them."""
        path = self._names.path
        assert path is not None, "it is a file"
        folder = os.path.dirname(path)
        names = [os.path.join(folder, each) for each in sorted(self._names_of_it(folder))] or [path]
        return next(filter(os.path.exists, (name + SUFFIX for name in names)), names[0] + SUFFIX)

    def _names_of_it(self, folder: str) -> Iterator[str]:
        """The names of the file in a folder, where it has several (hard links)."""
        status = self._map._backing.status()
        if status.st_nlink > 1:
            with os.scandir(folder) as entries:
                for each in entries:
                    if each.inode() not in (status.st_ino, 0):  # 0: it cannot be told so
                        continue
                    if os.path.samestat(status_of(each.path, follow_symlinks=False), status):
                        yield each.name

    def _refuse_distant_names(self, path: str) -> None:
        """Who opens the file by a name in another folder would not find its checksums. ValueError."""
        there, count = len(list(self._names_of_it(os.path.dirname(path)))), self._map._backing.status().st_nlink
        if count > max(there, 1):
            raise ValueError(
                f"{self.file_id} has {count} names (hard links), {count - there} of them not in the folder of {path}: "
                "who opens it by those would not find its checksums. Make a copy, or remove those names"
            )

    def _generation(self) -> bytes:
        """Tells this file from others that had or will have its path."""
        _, inode, mark = self._map.generation
        return _digest(f"{inode:x}-{mark:x}".encode())

    def _are_of_this_file(self, path: str) -> bool:
        """Are these the checksums of this file, and not of one that had its path before? Those of a copy, or of a file
        that came back from a backup, are known by their fitting."""
        with open(path, "rb") as file:
            head = file.read(SUMS_HEAD)
            if not any(head) or head[len(SUMS_MAGIC) :] == self._generation():
                return True
            fits = at = 0
            while len(entry := file.read(SUM)) == SUM:
                length, crc = (int.from_bytes(entry[i : i + 4], "little") for i in (0, 4))
                is_known = length != 0
                if not is_known:
                    length = int.from_bytes(self._bytes_at(at, 4) or b"", "little", signed=True)
                    if length <= 0:
                        break
                data = self._bytes_at(at + 4, length)
                if is_known:
                    fits += 1 if data is not None and crc32c(data) == crc else -1
                at += 4 + length
        return fits >= 0

    def _map_sums(self, number: int, make: bool) -> None:
        """The checksum of this segment lies behind what is mapped of them: maps them anew, if they are longer now;
        `make`: makes them longer."""
        if self.closed:
            raise ClosedError(f"{self!r}: the segment file is closed")
        if self._sums is None:
            with self._alone():
                self._open_sums(Access.READ_WRITE if self._file.can_write else Access.READ)
        sums, view = self._sums, self._kept
        assert sums is not None, "whoever may write makes them"
        assert view is not None
        needed = SUMS_HEAD + SUM * (number + 1)
        if make and sums.capacity < needed:
            _lengthen(sums, 2 * needed)
        if sums.capacity > view.capacity:
            self._kept = sums.create_view_accessor(0, 0, Access.READ_WRITE if view.can_write else Access.READ)
            self._attach_sums(self._kept, self._sums_place())
            view.close()

    def _map_again(self) -> None:
        """The file is longer than what is mapped of it."""
        access = Access.READ_WRITE if self._file.can_write else Access.READ
        self._attach(self._map.create_view_accessor(0, 0, access), self._map.fileno()).close()

    # ----------------------------------------------------------------------------------------------- what it is

    @property
    def file_id(self) -> str:
        """What leads another process here: the name, or the path if there is none."""
        name = self._map.name
        if name is None:
            assert self.path is not None, "neither a named map nor a file is without one"
            return self.path
        return name

    @property
    def name(self) -> str | None:
        """The name of the map; None for a file."""
        return self._map.name

    @property
    def path(self) -> str | None:
        """The file, or for a named one that which another program can map: on Windows None, its name is enough."""
        return self._map.path

    @property
    def lock_name(self) -> str | None:
        """The name of the mutex; None if it is unsynchronized."""
        return None if self._mutex is None else self._mutex.name

    @property
    def encoding(self) -> str | None:
        """The encoding of text; None for bytes."""
        return self._options.encoding

    @property
    def capacity(self) -> int:
        """The size in bytes, now."""
        return self._map.capacity

    @property
    def free(self) -> int:
        """How many bytes are left. A segment takes 4 more than its data."""
        used = self.used
        return self._map.capacity - used

    def __repr__(self) -> str:
        map_ = self._map
        what = repr(map_.name) if map_.name is not None else map_.path
        return f"<SegmentFile {what}, {'closed' if self.closed else f'{map_.capacity} bytes'}>"

    # -------------------------------------------------------------------------------------------------- reading

    def __iter__(self) -> Iterator[Any]:
        """Those that are there now, one after the other."""
        return map(self.read, range(len(self)))

    def __reversed__(self) -> Iterator[Any]:
        return map(self.read, range(len(self) - 1, -1, -1))

    def follow(self, start: int = 0, timeout: Timeout = None) -> Iterator[Any]:
        """Yields each segment from `start` on, and goes on with what is appended later. Ends when none comes for
        `timeout` seconds (None: never). DamagedSegmentError; ClosedError, when it is closed."""
        number, limit = _number(start), seconds(timeout)
        while self.wait_for(number, limit):
            yield self.read(number)
            number += 1

    async def wait_for_async(self, segment: int, timeout: Timeout = None) -> bool:
        """As `wait_for`, for a task of asyncio: other tasks go on. However many tasks wait, they cost what one does."""
        from ..sync.aio import arrival

        return await arrival(self, (_number(segment),), seconds(timeout))

    async def follow_async(self, start: int = 0, timeout: Timeout = None) -> AsyncIterator[Any]:
        """As `follow`, for a task of asyncio. Other tasks have their turn also while it finds what is there already."""
        import asyncio

        from ..sync.aio import arrival

        number, limit = _number(start), seconds(timeout)
        turn = monotonic()
        while self._arrived(number) or await arrival(self, (number,), limit):
            yield self.read(number)
            number += 1
            if monotonic() - turn > TURN:
                await asyncio.sleep(0)
                turn = monotonic()

    # -------------------------------------------------------------------------------------------------- growing

    def grow(self, capacity: int) -> None:
        """Makes it longer, to `capacity` bytes, while others use it. They notice. The space is taken now: OSError
        (ENOSPC). OutOfRangeError: it never gets shorter."""
        self._map.resize(capacity, reserve=True)

    def _make_room(self, end: int, size: int) -> None:
        """For a segment of so many bytes, at `end`."""
        options, now = self._options, self._map.capacity
        needed = end + 4 + size
        if not options.grow or (options.most is not None and needed > options.most):
            most = "" if options.most is None else f", and grows to {options.most} at most"
            advice = "" if options.grow else ": make it longer by grow(), or open it with grow=True"
            raise OSError(
                errno.ENOSPC,
                f"{self!r} is full: {end} of its {now} bytes are used{most}, and a segment of {size} needs "
                f"{needed}{advice}",
            )
        if now < needed:
            wanted = max(needed, 2 * now if options.most is None else min(2 * now, options.most))
            try:
                _lengthen(self._map, wanted)
            except OSError as error:
                if error.errno != errno.ENOSPC or wanted == needed:
                    raise
                _lengthen(self._map, needed)  # there may be room for this one

    # -------------------------------------------------------------------------------------------------- damage

    def check(self) -> SegmentReport:
        """What the file holds, looked at from its start as a newcomer does, and against the checksums. Changes nothing,
        but for what a killed writer has left half done."""
        known, _, why = self._settle()
        count, end, _ = self._walk_again()
        count, end, reason, last = self._walk_on(count, end)
        if reason is None and count < known:
            reason = why = f"the length at offset {end} is 0, and was not before"
        reason = reason if reason is not None else why
        bad: list[int] = []
        without: int | None = None
        if self._sums is not None:
            bad, without = self._against_checksums(count)
        damage = None if reason is None else SegmentDamage(count, end, reason)
        return SegmentReport(count, end, damage, tuple(bad), without, last - end)

    def _against_checksums(self, count: int) -> tuple[list[int], int]:
        """The numbers of those segments, of the first `count`, that are not what was written; how many are unknown."""
        bad, without, at = [], 0, 0
        for number in range(count):
            head = self._bytes_at(at, 4)
            length = int.from_bytes(head or b"", "little", signed=True)
            data = self._bytes_at(at + 4, length)
            known = self._sum(number)
            if known is None:
                without += 1
            elif data is None or known != (length, crc32c(data)):
                bad.append(number)
            at += 4 + length
        return bad, without

    def recover(self) -> Iterator[RecoveredSegment]:
        """Yields what is still whole, in order. Without checksums that is what lies before the first damaged length;
        with them it goes on behind it, by the lengths that are kept with the checksums, and leaves out what is not what
        was written. For a new file: `for each in damaged.recover(): new.append(each.data)`."""
        self._settle()
        number = at = 0
        while True:
            known = self._sum(number)
            length = self._length_at(at)
            data = self._bytes_at(at + 4, length) if length > 0 else None
            if known is None:
                if data is None:
                    return
                yield RecoveredSegment(number, at, data, False)
            elif data is not None and known[1] == crc32c(data):
                yield RecoveredSegment(number, at, data, True)
            elif self._is_at(number, at):  # its length is damaged
                length = known[0]
                yield RecoveredSegment(number, at, self._bytes_at(at + 4, length) or b"", True)
            else:
                found = self._next_whole(number, at, (length, known[0]))
                if found is None:
                    return
                number, at = found
                continue
            at += 4 + length
            number += 1

    def _length_at(self, at: int) -> int:
        """0 also if that is not in the file."""
        return int.from_bytes(self._bytes_at(at, 4) or b"", "little", signed=True)

    def _is_at(self, number: int, at: int) -> bool:
        """Is a segment there, with or without its length, as its checksum says?"""
        known = self._sum(number)
        data = None if known is None else self._bytes_at(at + 4, known[0])
        return known is not None and data is not None and crc32c(data) == known[1]

    def _next_whole(self, number: int, at: int, lengths: tuple[int, ...]) -> tuple[int, int] | None:
        """(number, where) of the next segment that is as its checksum says, behind one that is not: which may have one
        of these lengths, and may be followed by more that are damaged. None: none was found."""
        for length in lengths:
            after, behind = number + 1, at + 4 + length
            for _ in range(AHEAD if length > 0 else 0):
                if self._is_at(after, behind):
                    return after, behind
                known = self._sum(after)
                if known is None:
                    break
                after, behind = after + 1, behind + 4 + known[0]
        for after in range(number + 1, number + 1 + AHEAD):
            known = self._sum(after)
            if known is not None:
                for place in self._places_of(known[0].to_bytes(4, "little"), at + 4):
                    if self._is_at(after, place):
                        return after, place
        return None

    def _places_of(self, head: bytes, start: int) -> Iterator[int]:
        """Where such bytes are, from `start` on: the first thousand."""
        found = 0
        while (block := self._bytes_at(start, min(BLOCK, self._view_size - start))) and len(block) >= len(head):
            at = block.find(head)
            while at >= 0 and found < 1000:
                yield start + at
                found += 1
                at = block.find(head, at + 1)
            if found == 1000:
                return
            start += len(block) - len(head) + 1

    # ---------------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Ends it here; a second call does nothing. Memory with a name lives as long as others have it open. Who waits
        by it gets a ClosedError, memoryviews stay."""
        self._detach()
        was_closed(self)
        try:
            self._let_go()
        except BaseException:
            self._let_go()  # a signal handler raised: what is left to be done
            raise

    dispose = close

    def _let_go(self) -> None:
        with contextlib.ExitStack() as stack:  # all of it, whatever one of them raises
            for each in (
                self._map, self._mutex, *self._controls, self._control_view, self._sums, self._file, self._kept
            ):  # fmt: skip
                if each is not None:
                    stack.callback(each.close)
            for control in self._controls:
                stack.callback(control._backing.end_turns)

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r}: the segment file is closed")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_options", None) is None or self.closed or sys.is_finalizing():
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:  # also where warnings are errors
            self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        access = Access.READ_WRITE if self._file.can_write else Access.READ
        return _reopened, (
            type(self),
            self.name,
            None if self.name is not None else self.path,
            self._map.generation,
            {**self._options.state(), "access": access},
            self._options.durable,
        )


def _reopened(
    cls: type[SegmentFile],
    name: str | None,
    path: str | None,
    generation: tuple[int, int, int],
    options: dict[str, Any],
    durable: bool,
) -> SegmentFile:
    if name is not None:
        opened = cls.open_existing(name, **options)
    else:
        assert path is not None
        opened = cls.create_from_file(path, FileMode.OPEN, durable=durable, **options)
    if not is_same(opened._map.generation, generation):
        opened.close()
        raise FileNotFoundError(
            errno.ENOENT, f"the segment file {name or path!r} that was pickled is gone; another one has its place now"
        )
    return opened


def _for_all(capacity: int) -> int:
    """The capacity as all see it who open a map of that size by its name: who made it must not see another end."""
    return capacity if ROUNDED == 1 else -(-index(capacity) // ROUNDED) * ROUNDED


def _access(access: Access) -> Access:
    access = Access(access)
    if access not in (Access.READ, Access.READ_WRITE):
        raise ValueError(f"a segment file is opened with access READ or READ_WRITE, not {access.name}")
    return access


def _canonical(name: str) -> str:
    """A name in the one of its spellings that says its scope."""
    parsed = parse(name)
    return f"{parsed.scope.value}\\{parsed.text}"


def _digest(name: bytes) -> bytes:
    return blake2b(name, digest_size=8).digest()


def _remove_made(map_: MemoryMappedFile) -> None:
    """Removes the file of a map, if the call that made the map has made it too."""
    backing = map_._backing
    if backing.created and not backing.is_memory and map_.path is not None:
        status = backing.status()
        map_.close()
        remove_own(map_.path, status)


def _is_held(name: str) -> bool:
    """Has somebody a map of this name open?"""
    try:
        MemoryMappedFile.open_existing(name, Rights.READ).close()
    except FileNotFoundError:
        return False
    return True


def _control(name: str) -> MemoryMappedFile:
    # As a mutex for all users, which every one of them may write to.
    security = MemoryMappedFileSecurity.from_mode(0o666) if parse(name).scope is Scope.GLOBAL else None
    return MemoryMappedFile.create_or_open(name, CONTROL_SIZE, security=security)


def _told(control: MemoryMappedFile) -> bytes:
    """What tells which lock its users take: the hash of its name, the name."""
    return control._backing.read_at(LOCK, 8 + LOCK_NAME)


def _is_unused(control: MemoryMappedFile) -> bool:
    """Whether nobody has told his lock, which who has the file open did while he was alone."""
    there = _told(control)
    return len(there) == 8 + LOCK_NAME and not any(there)


def _leads_to(map_: MemoryMappedFile) -> bool:
    """Does the path of a file lead to it still?"""
    assert map_.path is not None
    try:
        return os.path.samestat(status_of(map_.path), map_._backing.status())
    except FileNotFoundError:
        return False


def _look_at_sums(path: str) -> tuple[int, bool]:
    """(size, whether it has checksums or is still to get them) of a file, by reading it. A new one is zeros."""
    try:
        with open(path, "rb") as file:
            head = file.read(SUMS_HEAD)
            is_ours = head.startswith(SUMS_MAGIC)
            while not is_ours and not any(head):
                is_ours = not head
                head = file.read(1 << 20)
            return os.fstat(file.fileno()).st_size, is_ours
    except FileNotFoundError:
        return 0, True


def _number(segment: int) -> int:
    number = index(segment)
    if number < 0:
        raise OutOfRangeError(f"a segment's number must not be negative, got {shown(segment)}")
    return number


def _lengthen(map_: MemoryMappedFile, capacity: int) -> None:
    """Two may do so at once, and then the larger wins."""
    try:
        map_.resize(capacity, reserve=True)
    except OutOfRangeError:
        if map_.capacity < capacity:
            raise

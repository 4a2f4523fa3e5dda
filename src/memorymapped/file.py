# SPDX-License-Identifier: MIT
"""MemoryMappedFile: the four factories, views, lifetime.

A map is an object of the system (memory or a file) that this process holds; a view is a window into it. They end
independently: views stay usable after the map is closed, and a map's *name* lives exactly as long as some process
holds a map object of it, however that process ends.

.NET's rules for arguments, their order and their errors are kept (a test names each). Where .NET has a choice or a
fault, this is what was taken:

- a view of size 0 reaches exactly to the end of the map, as on Unix, nowhere rounded up to a page;
- named maps exist on Linux too, with the rules that Windows has for them;
- copy on write of a file needs no right to write it (.NET Framework; .NET Core asks for it);
- CREATE with capacity 0 is refused before the file is emptied;
- HandleInheritability.NONE closes on exec; a forked child keeps its views.
"""

from __future__ import annotations

import errno
import os
import sys
import warnings
from collections.abc import Callable
from functools import wraps
from operator import index

from . import handover
from ._native.memory import View
from ._typing import TYPE_CHECKING, Protocol, overload
from .accessor import MemoryMappedViewAccessor
from .enums import FileMode, HandleInheritability
from .enums import MemoryMappedFileAccess as Access
from .enums import MemoryMappedFileOptions as Options
from .enums import MemoryMappedFileRights as Rights
from .errors import ClosedError, OutOfRangeError, shown
from .limits import CREATED, OPENED, RIGHTS_OF, Limits, limits
from .security import MemoryMappedFileSecurity
from .stream import MemoryMappedViewStream
from .system import (
    CREATE,
    EITHER,
    PROTECTION,
    Backing,
    NamedMemory,
    check_security,
    close_descriptor,
    create_memory,
    directions,
    from_descriptor,
    map_descriptor,
    map_path,
    open_entry,
    open_memory,
    read_access,
    unnamed_memory,
    write_access,
)
from .system.names import Name, parse

if TYPE_CHECKING:
    from typing import IO, Any, Self, TypeVar

    V = TypeVar("V", bound=View)
    F = TypeVar("F", bound=Callable[..., object])

__all__ = ["MemoryMappedFile"]


class HasFileno(Protocol):
    """An open file: anything with `fileno()`."""

    def fileno(self) -> int:
        """The descriptor."""


def _shown_as(model: Callable[..., object]) -> Callable[[F], F]:
    """Gives a function the signature that help() and inspect.signature show."""

    def mark(function: F) -> F:
        function.__wrapped__ = model  # type: ignore[attr-defined]
        return function

    return mark


def _security_by_place(place: int) -> Callable[[F], F]:
    """Lets a factory take its security as .NET Framework 4 has it: by place, as argument number `place`."""

    def decorate(factory: F) -> F:
        @wraps(factory)
        def with_security(cls: Any, *args: Any, **kwargs: Any) -> Any:
            if len(args) > place:
                args = _without_security(args, kwargs, place)
            return factory(cls, *args, **kwargs)

        return with_security  # type: ignore[return-value]

    return decorate


StrPath = str | bytes | os.PathLike[str] | os.PathLike[bytes]

LARGEST_VIEW = 8192 * 10**9  # .NET's limit of a view's size in bytes
LARGEST_FILE = 2**63 - 1

# The defaults that most calls come with. CPython 3.11 finds a member of an enumeration in five times a global's time.
_READ_WRITE = Access.READ_WRITE
_ALL = Rights.READ_WRITE
_NO_OPTIONS = Options.NONE
_NOT_INHERITED = HandleInheritability.NONE
_new = object.__new__


def _create_from_file(
    cls: type[MemoryMappedFile],
    file: StrPath | int | IO[Any] | HasFileno,
    *args: Any,
    mode: FileMode = FileMode.OPEN,
    map_name: str | None = None,
    capacity: int = 0,
    access: Access = Access.READ_WRITE,
    inheritability: HandleInheritability = HandleInheritability.NONE,
    leave_open: bool = False,
    security: MemoryMappedFileSecurity | None = None,
    reserve: bool = False,
) -> MemoryMappedFile:
    """The arguments of both forms of create_from_file, for help() and inspect.signature."""
    raise NotImplementedError


# What create_from_file takes behind a path, and behind an open file: by place or keyword, and by keyword only.
PATH_ARGUMENTS = ("mode", "map_name", "capacity", "access"), ("inheritability", "security", "reserve")
FILE_ARGUMENTS = ("map_name", "capacity", "access", "inheritability", "leave_open"), ("security", "reserve")


def _form(args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, tuple[Any, ...], bool]:
    """The file, the arguments behind it, and whether it is a path. TypeError if they are not those of its form."""
    if not args:
        args = tuple(kwargs.pop(name) for name in ("path", "file") if name in kwargs)
    if len(args) == 0 or "path" in kwargs or "file" in kwargs:
        raise TypeError("create_from_file takes one path, open file or descriptor, first or by keyword")
    file, *rest = args
    of_path = isinstance(file, (str, bytes, os.PathLike))
    args = tuple(rest) if of_path else _without_security(tuple(rest), kwargs, 3)
    places, keywords = PATH_ARGUMENTS if of_path else FILE_ARGUMENTS
    wrong = [f"{name!r} twice" for name in places[: len(args)] if name in kwargs]
    wrong += [repr(name) for name in kwargs if name not in places and name not in keywords]
    wrong += [f"{len(args)} by place"] if len(args) > len(places) else []
    if wrong:
        raise TypeError(
            f"create_from_file of {'a path' if of_path else 'an open file or a descriptor'} takes {', '.join(places)}, "
            f"and by keyword only {', '.join(keywords)}; it was given {', '.join(wrong)}"
        )
    return file, args, of_path


def _without_security(args: tuple[Any, ...], kwargs: dict[str, Any], place: int) -> tuple[Any, ...]:
    """.NET Framework 4 has the security before the inheritability. Here it is a keyword; in that place it is accepted,
    as neither it nor None can be meant for anything else."""
    if len(args) <= place or not (args[place] is None or isinstance(args[place], MemoryMappedFileSecurity)):
        return args
    if "security" in kwargs:
        raise TypeError("security was given twice, by place and by keyword")
    kwargs["security"] = args[place]
    return args[:place] + args[place + 1 :]


class MemoryMappedFile:
    """A memory-mapped file, or memory, shared by name or by descriptor. Made by the class methods, never directly.

    A context manager; `close` ends this process's hold at once and leaves its views alone."""

    __slots__ = ("__weakref__", "_backing", "_limits")

    _backing: Backing
    _limits: Limits

    def __init__(self) -> None:
        raise TypeError("a map is made by create_from_file, create_new, create_or_open or open_existing")

    @classmethod
    def _made(cls, backing: Backing, access: Access, rights: Rights | None = None) -> Self:
        self = _new(cls)
        self._backing = backing
        if access is _READ_WRITE and (rights is None or rights is _ALL):
            self._limits = CREATED if rights is None else OPENED
        else:
            self._limits = limits(access, rights)
        return self

    def _limit(self, access: Access, rights: Rights | None) -> None:
        """Sets which views it allows."""
        self._limits = limits(access, rights)

    # ---------------------------------------------------------------------------------------------- factories

    @overload
    @classmethod
    def create_from_file(
        cls,
        path: StrPath,
        mode: FileMode = ...,
        map_name: str | None = ...,
        capacity: int = ...,
        access: Access = ...,
        *,
        inheritability: HandleInheritability = ...,
        security: MemoryMappedFileSecurity | None = ...,
        reserve: bool = ...,
    ) -> Self: ...
    @overload
    @classmethod
    def create_from_file(
        cls,
        file: int | IO[Any] | HasFileno,
        map_name: str | None = ...,
        capacity: int = ...,
        access: Access = ...,
        inheritability: HandleInheritability = ...,
        leave_open: bool = ...,
        *,
        security: MemoryMappedFileSecurity | None = ...,
        reserve: bool = ...,
    ) -> Self: ...
    @classmethod
    @_shown_as(_create_from_file)
    def create_from_file(cls, *args: Any, **kwargs: Any) -> Self:
        """Maps a file.

        By path: `create_from_file(path, mode=FileMode.OPEN, map_name=None, capacity=0, access=READ_WRITE, *,
        inheritability=NONE, security=None, reserve=False)`. The map owns the file and closes it.

        By an open file or a descriptor: `create_from_file(file, map_name=None, capacity=0, access=READ_WRITE,
        inheritability=NONE, leave_open=False, *, security=None, reserve=False)`. An open file's own buffer is flushed
        first; its position does not matter. The map works on a duplicate of the descriptor; without `leave_open`
        closing the map closes the file as well.

        `capacity` in bytes: 0 takes the file's length; more makes the file longer at once, with zeros (`reserve=True`
        allocates them, so that a full disk is noticed here and not at an access); less is refused. `map_name` lets
        other processes open the same file map with `open_existing` for as long as somebody holds it. `security`
        applies to a file that this call makes.

        A call that is refused changes nothing on the disk. Raises TypeError, ValueError (empty file and no capacity;
        an access that cannot be; a mode that empties the file), OutOfRangeError, ClosedError (a closed file),
        FileNotFoundError, FileExistsError (CREATE_NEW; a name in use), PermissionError (also for a directory),
        io.UnsupportedOperation (a pipe), OSError (no space: says how much there is)."""
        file, args, of_path = _form(args, kwargs)
        if of_path:
            return cls._from_path(os.fspath(file), *args, **kwargs)
        return cls._from_open_file(file, *args, **kwargs)

    @classmethod
    def _from_path(
        cls,
        path: str | bytes,
        mode: FileMode = FileMode.OPEN,
        map_name: str | None = None,
        capacity: int = 0,
        access: Access = Access.READ_WRITE,
        *,
        inheritability: HandleInheritability = HandleInheritability.NONE,
        security: MemoryMappedFileSecurity | None = None,
        reserve: bool = False,
        as_it_is: bool = False,
    ) -> Self:
        name = _optional_name(map_name)
        capacity = _capacity(capacity, least=0)
        access = _map_access(access)
        if mode == FileMode.APPEND or mode == FileMode.TRUNCATE:
            raise ValueError(
                f"FileMode.{FileMode(mode).name} cannot be used for a map: open the file yourself, and map it then"
            )
        if not path:
            raise ValueError("the path must not be empty")
        mode = FileMode(mode)
        if mode in (FileMode.CREATE, FileMode.CREATE_NEW) and access in (Access.READ, Access.READ_EXECUTE):
            raise ValueError(f"FileMode.{mode.name} needs an access that writes, not {access.name}")
        inheritable = bool(HandleInheritability(inheritability))
        backing = map_path(
            os.fsdecode(path),
            mode,
            name,
            capacity,
            access,
            inheritable=inheritable,
            reserve=reserve,
            security=None if security is None else _security(security),
            as_it_is=as_it_is,
        )
        return cls._made(backing, access)

    @classmethod
    def _from_open_file(
        cls,
        file: Any,
        map_name: str | None = None,
        capacity: int = 0,
        access: Access = Access.READ_WRITE,
        inheritability: HandleInheritability = HandleInheritability.NONE,
        leave_open: bool = False,
        *,
        security: MemoryMappedFileSecurity | None = None,
        reserve: bool = False,
    ) -> Self:
        if not isinstance(file, int) and not hasattr(file, "fileno"):
            raise TypeError(f"a path, an open file or a descriptor is needed, not {type(file).__name__}")
        name = _optional_name(map_name)
        capacity = _capacity(capacity, least=0)
        access = _map_access(access)
        if security is not None:
            _security(security)  # it applies to files that a call makes, and this call makes none
        close: Callable[[], object]
        if isinstance(file, int):
            fd = file
            close = lambda: os.close(fd)  # noqa: E731
        else:
            if getattr(file, "closed", False):
                raise ClosedError(f"the file {file!r} is closed")
            inheritability = HandleInheritability(inheritability)  # before anything is written
            fd = file.fileno()
            flush = getattr(file, "flush", None)
            if flush is not None:
                flush()
            close = file.close
        inheritable = bool(HandleInheritability(inheritability))
        backing = map_descriptor(fd, name, capacity, access, inheritable=inheritable, reserve=reserve)
        if not leave_open:
            backing.close_too = close
        return cls._made(backing, access)

    @classmethod
    @_security_by_place(4)
    def create_new(
        cls,
        map_name: str | None,
        capacity: int,
        access: Access = Access.READ_WRITE,
        options: Options = Options.NONE,
        inheritability: HandleInheritability = HandleInheritability.NONE,
        *,
        security: MemoryMappedFileSecurity | None = None,
    ) -> Self:
        """New memory of `capacity` bytes, all zero. With a name, which nobody may be using (NameInUseError, a
        FileExistsError); or without (None), for children that inherit it, get its descriptor or are forked.

        The memory is reserved now: OSError(ENOSPC) says how much there is. DELAY_ALLOCATE_PAGES leaves that to the
        first write of each page. Raises ValueError (empty name, WRITE as access), InvalidNameError, OutOfRangeError,
        PermissionError (`security` for others on a name of the user's own scope), ForeignObjectError."""
        name = None if map_name is None else parse(map_name)
        if capacity.__class__ is not int or not 0 < capacity <= LARGEST_FILE:
            capacity = _capacity(capacity, least=1)
        if access is not _READ_WRITE:
            access = _map_access(access)
        reserve = options is _NO_OPTIONS or not Options(options) & Options.DELAY_ALLOCATE_PAGES
        inheritable = inheritability is not _NOT_INHERITED and bool(HandleInheritability(inheritability))
        if security is not None:
            _security(security, name)
        backing: Backing
        if name is None:
            backing = unnamed_memory(capacity, access, reserve=reserve, inheritable=inheritable, security=security)
        else:
            backing = create_memory(
                name, CREATE, capacity, access, reserve=reserve, inheritable=inheritable, security=security
            )
        return cls._made(backing, access)

    @classmethod
    @_security_by_place(4)
    def create_or_open(
        cls,
        map_name: str,
        capacity: int,
        access: Access = Access.READ_WRITE,
        options: Options = Options.NONE,
        inheritability: HandleInheritability = HandleInheritability.NONE,
        *,
        security: MemoryMappedFileSecurity | None = None,
    ) -> Self:
        """The map of this name, created if nobody holds one. An existing one keeps its capacity, options and security:
        those arguments are ignored then, as in .NET, and `access` limits the views. Raises as create_new does;
        WRITE as access is allowed for an existing map only."""
        if map_name is None:
            raise TypeError("create_or_open needs a name; create_new(None, ...) makes an unnamed map")
        name = parse(map_name)
        capacity = _capacity(capacity, least=1)
        access = Access(access)
        reserve = not Options(options) & Options.DELAY_ALLOCATE_PAGES
        inheritable = bool(HandleInheritability(inheritability))
        if security is not None:
            _security(security, name)
        if access is Access.WRITE:
            try:
                return cls.open_existing(map_name, Rights.WRITE, inheritability)
            except FileNotFoundError:
                raise ValueError("a map cannot be created with access WRITE, only opened: use READ_WRITE") from None
        backing = create_memory(
            name, EITHER, capacity, access, reserve=reserve, inheritable=inheritable, security=security
        )
        if backing.created:
            return cls._made(backing, access)
        return cls._opened(backing, name, RIGHTS_OF[access], inheritable)

    @classmethod
    def open_existing(
        cls,
        map_name: str,
        desired_access_rights: Rights = Rights.READ_WRITE,
        inheritability: HandleInheritability = HandleInheritability.NONE,
    ) -> Self:
        """The map that somebody holds under this name: memory, or a file that was mapped under it. The rights limit
        the views. Raises FileNotFoundError (nobody holds it; the file is gone or was replaced), PermissionError,
        OutOfRangeError (no such rights), ForeignObjectError."""
        if map_name is None:
            raise TypeError("open_existing needs a name")
        name = parse(map_name)
        inheritable = inheritability is not _NOT_INHERITED and bool(HandleInheritability(inheritability))
        rights = desired_access_rights
        if rights is not _ALL:
            rights = Rights(rights)
        memory = open_memory(name, rights, inheritable)
        if memory.special:
            return cls._opened(memory, name, rights, inheritable)
        return cls._made(memory, _READ_WRITE, rights)

    @classmethod
    def _opened(cls, memory: NamedMemory, name: Name, rights: Rights, inheritable: bool) -> Self:
        if memory.is_entry:
            backing, access = open_entry(memory, name, writes=bool(rights & Rights.WRITE), inheritable=inheritable)
            return cls._made(backing, access, rights)
        return cls._made(memory, memory.access, rights)

    @classmethod
    def from_descriptor(cls, descriptor: int, access: Access | None = None, *, leave_open: bool = False) -> Self:
        """The map behind a descriptor that was inherited, or received over a socket: unnamed memory, a file, or a named
        map (whose name this process then holds itself). `access` None: what the descriptor allows.

        Takes the descriptor over, and closes it, unless `leave_open`. Raises OSError(EBADF), PermissionError (it does
        not allow the access), io.UnsupportedOperation (a pipe)."""
        fd = index(descriptor)
        if access is not None:
            access = _map_access(access)
        reads, writes = directions(fd)
        rights = Rights.READ_WRITE_EXECUTE if access is None else RIGHTS_OF[access]
        if access is None:
            access = Access.READ_WRITE if reads and writes else Access.READ
        if not reads or (not writes and access in (Access.READ_WRITE, Access.READ_WRITE_EXECUTE)):
            raise PermissionError(errno.EACCES, f"descriptor {fd} does not allow a map with {access.name} access")
        backing = from_descriptor(fd)
        if not leave_open:
            close_descriptor(fd)
        if not isinstance(backing, NamedMemory):
            return cls._made(backing, access)
        if not writes:
            rights &= ~Rights.WRITE
        if not backing.is_entry:
            return cls._made(backing, backing.access, rights)
        assert backing.name is not None
        writes = access in (Access.READ_WRITE, Access.READ_WRITE_EXECUTE)
        file, made_with = open_entry(backing, parse(backing.name), writes=writes, inheritable=False)
        return cls._made(file, made_with, rights)

    # -------------------------------------------------------------------------------------------------- views

    def create_view_accessor(
        self, offset: int = 0, size: int = 0, access: Access = Access.READ_WRITE
    ) -> MemoryMappedViewAccessor:
        """A view for reads and writes by position: `size` bytes from `offset` on; size 0 reaches exactly to the end of
        the map. Raises OutOfRangeError (negative, beyond the end), PermissionError (too large for the map, or not
        allowed by its access), ClosedError, OSError."""
        return self._view(MemoryMappedViewAccessor, offset, size, access)

    def create_view_stream(
        self, offset: int = 0, size: int = 0, access: Access = Access.READ_WRITE
    ) -> MemoryMappedViewStream:
        """A view as a binary stream (io.RawIOBase) of fixed length. Arguments and errors as create_view_accessor."""
        return self._view(MemoryMappedViewStream, offset, size, access)

    def _view(self, kind: type[V], offset: int, size: int, access: Access) -> V:
        if type(offset) is not int or type(size) is not int or type(access) is not Access or offset < 0 or size < 0:
            offset, size, access = _view_arguments(offset, size, access)
        backing = self._backing
        closed = backing.fd < 0
        capacity = backing.last_size if closed else backing.size()
        rest = capacity - offset
        if size > rest or size > LARGEST_VIEW or closed:
            self._refuse_view(offset, size, capacity)
        way = self._limits.ways[access]
        if way is None:
            raise PermissionError(errno.EACCES, f"{self!r} does not allow views with {access.name} access")
        protection, flags, reads, writes, flushes = way
        return kind(
            backing,
            offset,
            size or rest,
            protection,
            flags,
            backing.page_size,
            reads,
            writes,
            flushes and not backing.is_memory,
        )

    def _refuse_view(self, offset: int, size: int, capacity: int) -> None:
        # .NET's order: outside, larger than anything, larger than the map, closed.
        if offset > capacity:
            raise OutOfRangeError(f"offset {shown(offset)} is beyond the end of {self!r}, which has {capacity} bytes")
        if size > LARGEST_VIEW:
            raise OSError(errno.ENOMEM, f"a view of {shown(size)} bytes is larger than the address space")
        if size > capacity - offset:
            raise PermissionError(
                errno.EACCES, f"a view of {size} bytes at {offset} does not fit in {self!r}, which has {capacity} bytes"
            )
        self._open()

    # ------------------------------------------------------------------------------------------------- what it is

    @property
    def capacity(self) -> int:
        """The size in bytes, now: it grows if somebody calls `resize` (or lengthens the file)."""
        return self._open().size()

    @property
    def name(self) -> str | None:
        """The name that it was made or opened with; None for an unnamed map."""
        return self._backing.name

    @property
    def path(self) -> str | None:
        """The file behind it: the file that was mapped, or for a named map on Linux the one in the shared-memory file
        system, which a C or C# program can map by this path. None for unnamed memory, and for all memory on Windows."""
        return self._backing.path

    @property
    def name_alive(self) -> bool:
        """Whether the name still leads to this map. False for an unnamed or closed one, and on Linux if somebody
        removed the file behind the name (a cleaner of /dev/shm, such as systemd's RemoveIPC at logout)."""
        return self._backing.name_alive()

    @property
    def generation(self) -> tuple[int, int, int]:
        """(device, inode, mark) of what is mapped. A name that ended and was created anew has another generation, and
        so has a file that was replaced. The mark tells apart files that have the same inode number one after another:
        from the time of birth, and the number of the inode's use where the file system has one; 0 where it has neither,
        and for unnamed memory."""
        backing = self._backing
        return backing.device, backing.inode, backing.mark

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._backing.fd < 0

    def fileno(self) -> int:
        """The descriptor of the map, for `subprocess` (pass_fds), `fcntl` and the like; on Windows its handle. It
        stays the map's own."""
        return self._open().descriptor()

    def _open(self) -> Backing:
        if self._backing.fd < 0:
            raise ClosedError(f"{self!r}: the map is closed")
        return self._backing

    def __repr__(self) -> str:
        backing = self._backing
        what = repr(backing.name) if backing.name is not None else backing.path or "unnamed"
        state = "closed" if backing.fd < 0 else f"{backing.size()} bytes"
        return f"<MemoryMappedFile {what}, {state}>"

    # ---------------------------------------------------------------------------------------------------- changing

    def resize(self, capacity: int, *, reserve: bool | None = None) -> None:
        """Makes the map longer, while others use it. They, and this process, see the new size in the next view that
        they make; existing views stay as they are. Never shorter: OutOfRangeError. The new bytes are zero.

        `reserve`: allocate the new pages now, so that a lack of space is an OSError(ENOSPC) here; None does so for
        memory, not for a file. If it fails the size is unchanged. Two processes may grow at once: the larger wins.
        Raises PermissionError (not opened for writing), io.UnsupportedOperation (a device), ClosedError."""
        capacity = _capacity(capacity, least=1)
        backing = self._open()
        if self._limits.ways[Access.READ_WRITE] is None:
            raise PermissionError(errno.EACCES, f"{self!r} was not opened for writing and cannot be resized")
        now = backing.size()
        if capacity < now:
            raise OutOfRangeError(f"capacity {capacity} is less than the {now} bytes of {self!r}: a map never shrinks")
        if capacity > now:
            backing.grow(capacity, reserve=backing.is_memory if reserve is None else reserve)

    def sync(self, offset: int = 0, size: int = 0) -> None:
        """Writes `size` bytes from `offset` on (0: to the end) to the disk, whoever changed them, and waits. Nothing to
        do for memory. Raises OSError if the disk refuses."""
        offset, size = index(offset), index(size)
        if offset < 0 or size < 0:
            raise OutOfRangeError(f"offset and size must not be negative, got {shown(offset)} and {shown(size)}")
        backing = self._open()
        capacity = backing.size()
        if offset > capacity or size > capacity - offset:
            raise OutOfRangeError(f"{shown(size)} bytes at {shown(offset)} are not in {self!r}")
        if backing.is_memory or offset == capacity:
            return
        protection, flags, _, _ = PROTECTION[Access.READ]
        size = size or capacity - offset
        page = backing.page_size
        with View(backing, offset, size, protection, flags, page, True, False, False) as view:
            view.flush()

    def get_access_control(self) -> MemoryMappedFileSecurity:
        """Owner, group and rules of the object behind the map."""
        return MemoryMappedFileSecurity._said(read_access(self._open()))

    def set_access_control(self, security: MemoryMappedFileSecurity) -> None:
        """Changes them: for those who open it from now on. The owner of a named map always reads and writes. TypeError
        for None; PermissionError if this user may not, for another owner of a named map, or for rights of others on a
        name of the user's own scope; NotImplementedError if the file system keeps no
        access-control list and the rules need one."""
        if security is None:
            raise TypeError("set_access_control needs a MemoryMappedFileSecurity")
        backing = self._open()
        name = parse(backing.name) if backing.name is not None and backing.is_memory else None
        write_access(backing, _security(security, name))

    # ------------------------------------------------------------------------------------------------- the end

    def close(self) -> None:
        """Ends this hold; a second call does nothing. The name ends with its last holder; views stay usable."""
        backing = self._backing
        if backing.fd >= 0:
            try:
                if handover.sent:
                    handover.release()
                backing.close()
            except BaseException:
                backing.close()  # a signal handler raised: what is left to be done
                raise

    dispose = close

    def __enter__(self) -> Self:
        self._open()
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            backing = self._backing
        except AttributeError:
            return  # it was never made
        if backing.fd >= 0 and not sys.is_finalizing():
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:  # also where warnings are errors
                self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        return handover.reduce(self)


# ---------------------------------------------------------------------------------------------------- arguments


def _optional_name(map_name: str | None) -> Name | None:
    return None if map_name is None else parse(map_name)


def _capacity(capacity: int, *, least: int) -> int:
    capacity = index(capacity)
    if capacity < least:
        raise OutOfRangeError(f"capacity must be {'positive' if least else 'at least 0'}, got {shown(capacity)}")
    if capacity > LARGEST_FILE:
        raise OSError(errno.EFBIG, f"capacity {shown(capacity)} is larger than any file can be")
    return capacity


def _view_arguments(offset: int, size: int, access: Access) -> tuple[int, int, Access]:
    offset, size = index(offset), index(size)
    if offset < 0:
        raise OutOfRangeError(f"offset must not be negative, got {shown(offset)}")
    if size < 0:
        raise OutOfRangeError(f"size must not be negative, got {shown(size)}; 0 reaches to the end of the map")
    return offset, size, Access(access)


def _map_access(access: Access) -> Access:
    access = Access(access)
    if access is Access.WRITE:
        raise ValueError("a map cannot have access WRITE, only a view can: use READ_WRITE")
    return access


def _security(security: MemoryMappedFileSecurity, name: Name | None = None) -> MemoryMappedFileSecurity:
    if not isinstance(security, MemoryMappedFileSecurity):
        raise TypeError(f"security is a MemoryMappedFileSecurity, not {type(security).__name__}")
    if name is not None:
        check_security(security, name)
    return security

# SPDX-License-Identifier: MIT
"""Maps of files: by path, by an open file, by a descriptor, by the name that somebody gave such a map.

Nothing is changed on disk by a call that is refused: the file is opened without truncating it, everything is checked,
the name (if any) is taken, and only then is it emptied or grown. A file that the call itself made is removed again.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import stat

from ..._native.files import allocate, identity, is_memory, mark_of, page_size_of
from ..._typing import TYPE_CHECKING
from ...enums import FileMode
from ...enums import MemoryMappedFileAccess as Access
from ..capacities import check_capacity
from ..names import Name
from . import maps
from .access_control import apply_access
from .backing import Backing, Descriptor
from .objects import leads_to, release
from .places import Place
from .space import out_of_space, take_space

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..._native.lifetime import Duplicate, Held
    from ..access_rules import Security

__all__ = [
    "FileMap",
    "directions",
    "file_identity",
    "from_descriptor",
    "map_descriptor",
    "map_path",
    "new_file",
    "open_entry",
    "refuse_another_user",
    "status_of",
    "sync_folder",
]

# Which maps a descriptor allows. Copy on write needs no right to write: the writes stay in memory (.NET Framework;
# .NET Core asks for it).
_READABLE = frozenset({Access.READ, Access.COPY_ON_WRITE, Access.READ_EXECUTE})


class FileMap(Descriptor):
    """A file's descriptor of our own, the entry of its name if it has one, and the user's file to be closed with it."""

    is_memory = False
    held: Held | None = None
    place: Place | None = None
    close_too: Callable[[], object] | None = None

    def __init__(self, fd: int, path: str | None, *, inheritable: bool) -> None:
        super().__init__(fd, inheritable=inheritable)
        self.path = path
        self.page_size = page_size_of(fd)
        self.mark = mark_of(fd)

    def name_alive(self) -> bool:
        return (
            self.fd >= 0
            and self.held is not None
            and self.place is not None
            and leads_to(self.place, self.held)
            and self.path is not None
            and _end_of(self.path, self.device, self.inode) is None
        )

    def fit(self, capacity: int, access: Access, *, empty: bool = False) -> None:
        """The last step of map_path, for who has it map a file `as_it_is`: checks the capacity, empties the file, makes
        it longer."""
        if self.fixed is not None:
            return
        size = 0 if empty else self.size()
        check_capacity(self.path, capacity, size, access)
        if capacity > size or empty:
            _resize(self, self.fd, max(capacity, size), False, empty)

    def duplicate(self) -> Duplicate:
        # With a name it is the entry that travels: the other process holds the name too, and opens the file itself.
        return super().duplicate() if self.held is None else self.held.duplicate()

    def close(self) -> None:
        # The descriptor last, as it tells whether this is closed: a close that an exception broke off can be repeated.
        if self.held is not None and self.place is not None:
            release(self.held, self.place)
        close_too, self.close_too = self.close_too, None
        try:
            if close_too is not None:
                close_too()
        finally:
            super().close()


def new_file(path: str) -> None:
    """Makes an empty file. FileExistsError. One call, so that a signal handler leaves nothing open."""
    os.mknod(path, stat.S_IFREG | 0o666)


def status_of(path: str, *, follow_symlinks: bool = True) -> os.stat_result:
    """What the system says of the file that a path leads to. FileNotFoundError."""
    return os.stat(path, follow_symlinks=follow_symlinks)


def file_identity(path: str) -> tuple[int, int]:
    """(device, inode) of what a path leads to, a folder too. OSError."""
    status = os.stat(path)
    return status.st_dev, status.st_ino


def sync_folder(path: str) -> None:
    """Waits until the name of a new file is on the disk."""
    fd = os.open(os.path.dirname(os.path.abspath(path)), os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def refuse_another_user(path: str | None, status: os.stat_result) -> None:
    """ValueError: the lock that a file has by default is of no use to all who may open it."""
    if status.st_uid != os.geteuid():
        raise ValueError(
            f"{path!r} belongs to user {status.st_uid}, and the lock of a file is its user's own: say by "
            "lock_name which one all take who use this file"
        )


def map_path(
    path: str,
    mode: FileMode,
    name: Name | None,
    capacity: int,
    access: Access,
    *,
    inheritable: bool,
    reserve: bool,
    security: Security | None,
    as_it_is: bool = False,
) -> FileMap:
    """Opens or makes the file at `path` and maps it. `security`: that of a file that this call makes.
    `as_it_is`: a plain file is neither emptied nor made longer, and may be empty; that is for FileMap.fit."""
    truncates = mode in (FileMode.CREATE, FileMode.CREATE_NEW)
    writes = access not in _READABLE or truncates
    path, fd, created = _open(path, mode, writes)
    try:
        if created and security is not None:
            apply_access(fd, security)
        status = os.fstat(fd)
        _check_kind(path, status.st_mode)
        if as_it_is and stat.S_ISREG(status.st_mode):
            backing = FileMap(fd, _absolute(path), inheritable=inheritable)
            backing.created = created
            return backing
        size = _length(fd, status)
        if mode is FileMode.CREATE and size is not None:
            size = 0
        check_capacity(path, capacity, size, access)
        if not writes and access is Access.COPY_ON_WRITE and size is not None and capacity > size:
            read_only, fd = fd, _reopen_for_writing(path, status)  # it must grow: now the right to write is needed
            os.close(read_only)
        backing = _backing(
            fd, path, name, capacity, access, size=size, inheritable=inheritable, reserve=reserve,
            truncate=mode is FileMode.CREATE and not created,
        )  # fmt: skip
    except BaseException:
        if created:
            _remove_own(path, fd)
        os.close(fd)
        raise
    backing.created = created
    return backing


def _remove_own(path: str, fd: int) -> None:
    """Removes the file that this call made, unless somebody has put another in its place."""
    try:
        there = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if (there.st_dev, there.st_ino) == identity(fd)[:2]:
        os.unlink(path)


def map_descriptor(
    fd: int, name: Name | None, capacity: int, access: Access, *, inheritable: bool, reserve: bool
) -> FileMap:
    """Maps an open file through a duplicate of its descriptor, which stays as it is."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    status = os.fstat(fd)
    path = _path_of(fd)
    _check_kind(path or f"descriptor {fd}", status.st_mode)
    size = _length(fd, status)
    check_capacity(path, capacity, size, access)
    grows = size is not None and capacity > size
    if flags == os.O_WRONLY or (flags == os.O_RDONLY and (access not in _READABLE or grows)):
        raise PermissionError(
            errno.EACCES,
            f"the file is open for {'writing' if flags == os.O_WRONLY else 'reading'} only, and a map with "
            f"{access.name}{' that makes it longer' if grows else ''} needs "
            f"{'reading' if flags == os.O_WRONLY else 'writing'} too",
            path,
        )
    own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    try:
        return _backing(
            own, path, name, capacity, access, size=size, inheritable=inheritable, reserve=reserve, truncate=False
        )
    except BaseException:
        os.close(own)
        raise


def _open(path: str, mode: FileMode, writes: bool) -> tuple[str, int, bool]:
    """The path (of a file made where a link leads to: that), a descriptor, and whether this call made the file. Nothing
    is truncated here, and a FIFO does not block."""
    flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    for _ in range(100):
        if mode is not FileMode.OPEN:
            try:
                return path, os.open(path, flags | os.O_CREAT | os.O_EXCL, 0o666), True
            except FileExistsError:
                if mode is FileMode.CREATE_NEW:
                    raise
            except IsADirectoryError:
                raise _is_directory(path) from None
        try:
            return path, os.open(path, flags), False
        except FileNotFoundError:
            if mode is FileMode.OPEN:
                raise
            path = os.path.realpath(path)  # a link to nothing: the file that it leads to is made
        except IsADirectoryError:
            raise _is_directory(path) from None
        except OSError as error:
            if error.errno == errno.ENXIO:  # a socket
                raise _has_no_positions(path) from None
            raise
    raise TimeoutError(f"{path} is made and removed by others without pause")


def _is_directory(path: str) -> PermissionError:
    return PermissionError(errno.EACCES, "it is a directory, and only files can be mapped", path)


def _has_no_positions(what: str) -> io.UnsupportedOperation:
    return io.UnsupportedOperation(f"{what} cannot be mapped: it is a pipe or socket, which has no positions")


def _reopen_for_writing(path: str, status: os.stat_result) -> int:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    again = os.fstat(fd)
    if (again.st_dev, again.st_ino) != (status.st_dev, status.st_ino):
        os.close(fd)
        raise FileNotFoundError(errno.ENOENT, "the file was replaced while it was being mapped", path)
    return fd


def _check_kind(path: str, mode: int) -> None:
    if stat.S_ISDIR(mode):
        raise _is_directory(path)
    if not (stat.S_ISREG(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode)):
        raise _has_no_positions(path)


def _length(fd: int, status: os.stat_result) -> int | None:
    """The size in bytes; None for a character device, which has none."""
    if stat.S_ISCHR(status.st_mode):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else os.lseek(fd, 0, os.SEEK_END)


def _backing(
    fd: int,
    path: str | None,
    name: Name | None,
    capacity: int,
    access: Access,
    *,
    size: int | None,
    inheritable: bool,
    reserve: bool,
    truncate: bool,
) -> FileMap:
    path = path and _absolute(path)
    backing = FileMap(fd, path, inheritable=inheritable)
    if name is not None:
        if path is None:
            raise ValueError("only a file that has a path can be given a map name: others open it by that path")
        backing.held, backing.place = maps.enter(
            name, path, backing.device, backing.inode, max(capacity, size or 0), int(access)
        )
        backing.name = name.given
    try:
        if size is None:
            backing.fixed = capacity
        elif capacity > size or truncate:
            _resize(backing, fd, max(capacity, size), reserve, truncate)
    except BaseException:
        if backing.held is not None and backing.place is not None:
            release(backing.held, backing.place)
        raise
    return backing


def _absolute(path: str) -> str:
    """The path from the root, whatever the working folder will be. (Not abspath: it resolves `..` without looking.)"""
    try:
        return os.path.join(os.getcwd(), path)
    except FileNotFoundError:
        return path


def _resize(backing: FileMap, fd: int, size: int, reserve: bool, truncate: bool) -> None:
    if truncate:
        # First to the new size or more, where a limit or a full disk would refuse it with the contents still there.
        if reserve:
            try:
                take_space(allocate, fd, size)
            except OSError as error:
                raise out_of_space(error, fd, size, backing.path) from error
        backing.grow(size, reserve=False)
        os.ftruncate(fd, 0)
    backing.grow(size, reserve=reserve)


def _path_of(fd: int) -> str | None:
    """Where the file of a descriptor lies; None if nowhere (memory, or deleted)."""
    try:
        path = os.readlink(f"/proc/self/fd/{fd}")
        status = os.stat(path)
    except OSError:
        return None
    own = os.fstat(fd)
    return path if (status.st_dev, status.st_ino) == (own.st_dev, own.st_ino) else None


# -- a name for a file map


def open_entry(entry: maps.NamedMemory, name: Name, *, writes: bool, inheritable: bool) -> tuple[FileMap, Access]:
    """The file that a name stands for, opened with this process's own rights, and the access that its map was made
    with. Takes the entry over."""
    try:
        said = maps.read_entry(entry.held, name)
        path, access = said["path"], Access(said["access"])
        writes = writes and access in (Access.READ_WRITE, Access.READ_WRITE_EXECUTE)
        device, inode = said["device"], said["inode"]
        try:
            fd = os.open(path, (os.O_RDWR if writes else os.O_RDONLY) | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError:
            end = _end_of(path, device, inode)
            if end is None:
                raise
            raise FileNotFoundError(errno.ENOENT, f"the map {name.given!r} is of a file that {end}", path) from None
        try:
            status = os.fstat(fd)
            if (status.st_dev, status.st_ino) != (device, inode):
                raise FileNotFoundError(errno.ENOENT, f"the map {name.given!r} is of a file that {_REPLACED}", path)
            backing = FileMap(fd, path, inheritable=inheritable)
            if _length(fd, status) is None:
                backing.fixed = said["capacity"]
        except BaseException:
            os.close(fd)
            raise
    except BaseException:
        entry.close()
        raise
    backing.held, backing.place, backing.name = entry.held, entry.place, name.given
    return backing, access


_GONE = "is gone"
_REPLACED = "has been replaced by another"


def _end_of(path: str, device: int, inode: int) -> str | None:
    """What became of a file, if it is not at `path` any more."""
    try:
        status = os.stat(path)
    except PermissionError:  # nobody can tell
        return None
    except OSError:
        return _GONE
    return None if (status.st_dev, status.st_ino) == (device, inode) else _REPLACED


# -- inherited descriptors


def directions(fd: int) -> tuple[bool, bool]:
    """Whether a descriptor was opened for reading, and for writing. OSError if it is none."""
    flags = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE
    return flags != os.O_WRONLY, flags != os.O_RDONLY


def from_descriptor(fd: int) -> Backing:
    """What an inherited descriptor stands for: a named map, unnamed memory, or a file. The descriptor stays open."""
    path = _path_of(fd)
    writes = fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
    if path is not None:
        found = maps.rejoin(fd, path, writes=writes)
        if found is not None:
            return found
    _check_kind(path or f"descriptor {fd}", os.fstat(fd).st_mode)
    own = fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3)
    if path is None and is_memory(own):
        backing = Descriptor(own, inheritable=False)
        backing.page_size = page_size_of(own)
        return backing
    return FileMap(own, path, inheritable=False)

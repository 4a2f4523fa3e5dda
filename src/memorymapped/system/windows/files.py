# SPDX-License-Identifier: MIT
"""Maps of files: by path, by an open file, by a descriptor; under a name if one is given, which is their section's.

A refused call changes nothing on the disk: the file is opened without emptying it, everything is checked, and only then
is it emptied or grown. A file that the call itself made is removed again.
"""

from __future__ import annotations

import errno
import io
import os
import stat
from _thread import RLock

from ..._native.access_lists import OF_FILE
from ..._native.win32 import (
    FILE_MAP_READ,
    FILE_MAP_WRITE,
    GENERIC_EXECUTE,
    GENERIC_READ,
    GENERIC_WRITE,
    PAGE_READWRITE,
    close_handle,
    create_file,
    duplicate_handle,
    free_space,
    identity_of_file,
    identity_of_path,
    is_disk_file,
    kind_of,
    open_section,
    path_of,
    rights_of,
)
from ..._typing import TYPE_CHECKING
from ...enums import FileMode
from ...enums import MemoryMappedFileAccess as Access
from ...errors import ClosedError, NameInUseError
from ..capacities import check_capacity
from ..names import Name
from .access_control import sddl_of
from .backing import PAGES, Backing, made, no_room, of_name
from .descriptors import descriptor_of, handle_of
from .maps import known_section
from .names import extended, kernel_name

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..access_rules import Security

__all__ = [
    "FileMap",
    "directions",
    "file_identity",
    "from_descriptor",
    "map_descriptor",
    "map_path",
    "new_file",
    "refuse_another_user",
    "status_at",
    "status_of",
    "sync_folder",
]

_FILE_READ, _FILE_WRITE, _FILE_EXECUTE = 1, 2, 0x20  # FILE_READ_DATA, FILE_WRITE_DATA, FILE_EXECUTE
_DISK_FULL = 112  # ERROR_DISK_FULL
_READABLE = frozenset({Access.READ, Access.COPY_ON_WRITE, Access.READ_EXECUTE})
_EXECUTABLE = frozenset({Access.READ_EXECUTE, Access.READ_WRITE_EXECUTE})


class FileMap(Backing):
    """A descriptor of the C library of our own, the section of its file, and the user's file to be closed with it.

    A section keeps the size that its file had: views of a file that has grown need another one. The named one stays
    open for its name.

    The numbers of closed handles are given to others at once, so threads take turns to replace the section, and to
    close it. The lock may be taken again by its thread: a signal handler or a finalizer in the midst of that may use,
    and close, this map as well."""

    is_memory = False
    close_too: Callable[[], object] | None = None

    def __init__(self, fd: int, path: str | None, access: Access, *, inheritable: bool) -> None:
        status = status_at(fd)
        if inheritable:
            os.set_handle_inheritable(handle_of(fd), True)  # type: ignore[attr-defined]
        self.fd = fd
        self.path = path
        self.access = access
        self.inheritable = inheritable
        self.device, self.inode, self.last_size = status.st_dev, status.st_ino, status.st_size
        self.sections: list[int] = []
        self.covered = 0
        self.lock = RLock()

    def size(self) -> int:
        with self.lock:
            super().size()
            size = self.last_size = os.fstat(self.fd).st_size
            if size > self.covered and self.sections:
                self.map(size, None)
            return size

    def map(self, size: int, name: Name | None, security: Security | None = None) -> None:
        """Makes the section that views come from, and so the file `size` bytes long."""
        with self.lock:
            super().size()
            file = handle_of(self.fd)
            if self.access is Access.COPY_ON_WRITE and size > os.fstat(self.fd).st_size:
                # a private one cannot make it longer
                close_handle(made(None, file, PAGE_READWRITE, size, False, None)[0])
            section, existed = made(name, file, PAGES[self.access], size, self.inheritable, security)
            if existed:
                close_handle(section)
                assert name is not None
                raise NameInUseError(name.given)
            if self.fd < 0:  # by a signal handler or a finalizer
                close_handle(section)
                raise ClosedError("the map is closed")
            keep = self.sections[:1] if self.name is not None else []
            replaced = self.sections[len(keep) :]
            self.sections = [*keep, section]
            self.covered = self.last_size = size
            self.view_fd = section | file << 32
            for each in replaced:  # of which no new view is made any more
                close_handle(each)

    def descriptor(self) -> int:
        """The handle of the section that has the name, or of the file."""
        if self.name is not None:
            return self.sections[0]
        return handle_of(self.fd)

    def status(self) -> os.stat_result:
        return status_at(self.fd)

    def size_now(self) -> int | None:
        return os.fstat(self.fd).st_size if self.fd >= 0 else None

    def fit(self, capacity: int, access: Access, *, empty: bool = False) -> None:
        size = 0 if empty else os.fstat(self.fd).st_size
        check_capacity(self.path, capacity, size, access)
        if empty:
            self.empty(capacity)
        self.map(max(capacity, size), None)

    def empty(self, size: int) -> None:
        """Before it is mapped, for who makes it so many bytes then: what cannot be is refused before."""
        assert self.path is not None
        free = free_space(extended(os.path.dirname(self.path)))
        if free is not None and size > (there := os.fstat(self.fd).st_size + free):
            raise no_room(_DISK_FULL, size, f"{there} are free or the file's own")
        try:
            os.ftruncate(self.fd, 0)
        except PermissionError:
            raise PermissionError(
                errno.EACCES, "it cannot be emptied while somebody has it mapped", self.path
            ) from None

    def grow(self, size: int, *, reserve: bool) -> None:
        """By a section of that size, which takes the space on the disk."""
        with self.lock:
            if size > self.covered:  # else another thread has made it longer meanwhile
                self.map(size, None)

    def close(self) -> None:
        close_too, self.close_too = self.close_too, None
        try:
            if close_too is not None:
                close_too()
        finally:
            with self.lock:
                self.view_fd = -1
                while self.sections:
                    close_handle(self.sections.pop())
                fd = self.fd
                self.fd = self.view_fd = -1
                if fd >= 0:
                    os.close(fd)


def new_file(path: str) -> None:
    """Makes an empty file. FileExistsError."""
    os.close(_open(path, FileMode.CREATE_NEW, True, False, None)[0])


def status_of(path: str, *, follow_symlinks: bool = True) -> os.stat_result:
    """What the system says of the file that a path leads to. FileNotFoundError. It is opened for that: os.stat asks for
    it alone, and then does not always say which file it is."""
    if not follow_symlinks and os.path.islink(path):
        return os.lstat(path)
    fd = _open(path, FileMode.OPEN, False, False, None)[0]
    try:
        return status_at(fd)
    finally:
        os.close(fd)


def status_at(fd: int) -> os.stat_result:
    """What the system says of an open file. os.fstat has other numbers for which file it is from Python 3.12 on, and
    locks and marks that processes share are named by them: here they are the same in all."""
    parts: Any = os.fstat(fd).__reduce__()[1]
    (mode, _, _, *others), more = parts
    device, inode = identity_of_file(handle_of(fd))
    return os.stat_result((mode, inode, device, *others), more)


def file_identity(path: str) -> tuple[int, int]:
    """(device, inode) of what a path leads to, a folder too. OSError."""
    return identity_of_path(extended(path))


def sync_folder(path: str) -> None:
    """Waits until the name of a new file is on the disk: it is when the file is."""


def refuse_another_user(path: str | None, status: os.stat_result) -> None:
    """Nothing: the lock of a file is one of all sessions, which the system does not let another user open."""


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
    """Opens or makes the file at `path` and maps it. `as_it_is`: it is neither emptied nor made longer, and may be
    empty; that is for FileMap.fit."""
    writes = access not in _READABLE or mode in (FileMode.CREATE, FileMode.CREATE_NEW)
    fd, created = _open(path, mode, writes, access in _EXECUTABLE, security)
    try:
        size = 0 if mode is FileMode.CREATE and not as_it_is else os.fstat(fd).st_size
        if not as_it_is:
            check_capacity(path, capacity, size, access)
            if not writes and capacity > size:  # a private map whose file must grow: now the right to write is needed
                read_only, fd = fd, _open(path, FileMode.OPEN, True, False, None)[0]
                os.close(read_only)
        backing = FileMap(fd, os.path.abspath(path), access, inheritable=inheritable)
        backing.created = created
        if not as_it_is:
            _fill(backing, name, max(capacity, size), security, empty=mode is FileMode.CREATE and not created)
        return backing
    except BaseException:
        os.close(fd)
        if created:
            os.unlink(extended(path))
        raise


def map_descriptor(
    fd: int, name: Name | None, capacity: int, access: Access, *, inheritable: bool, reserve: bool
) -> FileMap:
    """Maps an open file through a duplicate of its descriptor, which stays as it is."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise io.UnsupportedOperation(f"descriptor {fd} cannot be mapped: it is no file")
    file = handle_of(fd)
    path = _path_of(file)
    check_capacity(path, capacity, status.st_size, access)
    reads, writes = directions(file)
    grows = capacity > status.st_size
    if not reads or (not writes and (access not in _READABLE or grows)):
        raise PermissionError(
            errno.EACCES,
            f"the file is open for {'reading' if reads else 'writing'} only, and a map with {access.name}"
            f"{' that makes it longer' if grows else ''} needs {'writing' if reads else 'reading'} too",
            path,
        )
    if access in _EXECUTABLE and not _executes(file):
        raise PermissionError(
            errno.EACCES,
            f"the file is open without the right to execute it, which a map with {access.name} needs: give its path",
            path,
        )
    own = os.dup(fd)
    try:
        backing = FileMap(own, path, access, inheritable=inheritable)
        _fill(backing, name, max(capacity, status.st_size), None, empty=False)
        return backing
    except BaseException:
        os.close(own)
        raise


def _fill(backing: FileMap, name: Name | None, size: int, security: Security | None, *, empty: bool) -> None:
    if name is not None and (empty or size > backing.last_size):  # the system makes it longer, and then finds the name
        _check_free(name)
    if empty:
        backing.empty(size)
    backing.map(size, name, security)
    backing.name = None if name is None else name.given


def _check_free(name: Name) -> None:
    """NameInUseError if somebody holds it."""
    try:
        close_handle(open_section(kernel_name(name), FILE_MAP_READ, False))
    except FileNotFoundError:
        return
    except OSError as error:
        raise of_name(error, name) from None
    raise NameInUseError(name.given)


def _path_of(file: int) -> str | None:
    path = path_of(file)
    if path is None:
        return None
    return f"\\\\{path[8:]}" if path.startswith("\\\\?\\UNC\\") else path.removeprefix("\\\\?\\")


def _open(path: str, mode: FileMode, writes: bool, executes: bool, security: Security | None) -> tuple[int, bool]:
    """A descriptor, and whether this call made the file. Nothing is emptied here."""
    long = extended(path)
    if os.path.isdir(long):
        raise PermissionError(errno.EACCES, "it is a directory, and only files can be mapped", path)
    rights = GENERIC_READ | (GENERIC_WRITE if writes else 0) | (GENERIC_EXECUTE if executes else 0)
    sddl = None if security is None else sddl_of(security, OF_FILE)
    try:
        if mode is not FileMode.OPEN:
            try:
                return _descriptor(create_file(long, rights, True, False, sddl), writes), True
            except FileExistsError:
                if mode is FileMode.CREATE_NEW:
                    raise
        return _descriptor(create_file(long, rights, False, False), writes), False
    except OSError as error:
        if error.filename is not None:
            error.filename = path
        raise


def _descriptor(file: int, writes: bool) -> int:
    """The C library's descriptor of a handle, which goes with it."""
    flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_BINARY | os.O_NOINHERIT  # type: ignore[attr-defined]
    try:
        if not is_disk_file(file):
            raise io.UnsupportedOperation("a pipe or a console cannot be mapped")
        return descriptor_of(file, flags)
    except BaseException:
        close_handle(file)
        raise


def directions(handle: int) -> tuple[bool, bool]:
    """Whether a handle of a section or of a file lets who has it read, and write. OSError if it is none."""
    rights = rights_of(handle)
    if kind_of(handle) == "Section":  # who may write may read: such views are both
        return bool(rights & (FILE_MAP_READ | FILE_MAP_WRITE)), bool(rights & FILE_MAP_WRITE)
    return bool(rights & _FILE_READ), bool(rights & _FILE_WRITE)


def _executes(file: int) -> bool:
    """Whether a handle of a file lets who has it make views for execution."""
    return bool(rights_of(file) & _FILE_EXECUTE)


def from_descriptor(handle: int) -> Backing:
    """What a handle of a section or of a file stands for. It stays open."""
    kind = kind_of(handle)
    if kind not in ("Section", "File"):
        raise io.UnsupportedOperation(f"handle {handle} cannot be mapped: it is a {kind}, not a section or a file")
    own = duplicate_handle(handle, False)
    if kind == "Section":
        try:
            return known_section(own)
        except BaseException:
            close_handle(own)
            raise
    writes = directions(own)[1]
    if _executes(own):
        access = Access.READ_WRITE_EXECUTE if writes else Access.READ_EXECUTE
    else:
        access = Access.READ_WRITE if writes else Access.READ
    fd = _descriptor(own, writes)
    try:
        backing = FileMap(fd, _path_of(own), access, inheritable=False)
        if backing.last_size:
            backing.map(backing.last_size, None)
        return backing
    except BaseException:
        os.close(fd)
        raise

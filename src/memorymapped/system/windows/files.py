# SPDX-License-Identifier: MIT
"""Maps of files: by path, by an open file, by a descriptor; under a name if one is given, which is their section's.

A refused call changes nothing on the disk: the file is opened without emptying it, everything is checked, and only then
is it emptied or grown. A file that the call itself made is removed again.
"""

from __future__ import annotations

import errno
import io
import msvcrt
import os
import stat

from ..._native.win32 import close_handle, create_section
from ..._typing import TYPE_CHECKING
from ...enums import FileMode
from ...enums import MemoryMappedFileAccess as Access
from ...errors import NameInUseError
from ..capacities import check_capacity
from ..names import Name
from .backing import PAGES, Backing
from .maps import kernel_name

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FileMap", "from_descriptor", "map_descriptor", "map_path"]

_READABLE = frozenset({Access.READ, Access.COPY_ON_WRITE, Access.READ_EXECUTE})


class FileMap(Backing):
    """A descriptor of the C library of our own, the section of its file, and the user's file to be closed with it.

    A section keeps the size that its file had: views of a file that has grown need another one. The named one stays
    open for its name."""

    is_memory = False
    close_too: Callable[[], object] | None = None

    def __init__(self, fd: int, path: str | None, access: Access, *, inheritable: bool) -> None:
        status = os.fstat(fd)
        self.fd = fd
        self.path = path
        self.access = access
        self.inheritable = inheritable
        self.device, self.inode, self.last_size = status.st_dev, status.st_ino, status.st_size
        self.sections: list[int] = []
        self.covered = 0

    def size(self) -> int:
        size = super().size()
        if self.fd >= 0:
            size = self.last_size = os.fstat(self.fd).st_size
            if size > self.covered and self.sections:
                self.map(size, None)
        return size

    def map(self, size: int, name: Name | None) -> None:
        """Makes the section that views come from, and so the file `size` bytes long."""
        file = msvcrt.get_osfhandle(self.fd)  # type: ignore[attr-defined]
        known = None if name is None else kernel_name(name)
        section, existed = create_section(known, file, PAGES[self.access], size, self.inheritable)
        if existed:
            close_handle(section)
            assert name is not None
            raise NameInUseError(name.given)
        keep = self.sections[:1] if self.name is not None else []
        for each in self.sections[len(keep) :]:
            close_handle(each)
        self.sections = [*keep, section]
        self.covered = self.last_size = size
        self.view_fd = section | file << 32

    def size_now(self) -> int | None:
        return os.fstat(self.fd).st_size if self.fd >= 0 else None

    def fit(self, capacity: int, access: Access, *, empty: bool = False) -> None:
        size = 0 if empty else os.fstat(self.fd).st_size
        check_capacity(self.path, capacity, size, access)
        if empty:
            os.ftruncate(self.fd, 0)
        self.map(max(capacity, size), None)

    def grow(self, size: int, *, reserve: bool) -> None:
        """By a section of that size, which takes the space on the disk."""
        self.map(size, None)

    def close(self) -> None:
        close_too, self.close_too = self.close_too, None
        try:
            if close_too is not None:
                close_too()
        finally:
            sections, self.sections = self.sections, []
            for each in sections:
                close_handle(each)
            if self.fd >= 0:
                fd = self.fd
                self.fd = self.view_fd = -1
                os.close(fd)


def map_path(
    path: str,
    mode: FileMode,
    name: Name | None,
    capacity: int,
    access: Access,
    *,
    inheritable: bool,
    reserve: bool,
    secure: Callable[[int], None] | None,
    as_it_is: bool = False,
) -> FileMap:
    """Opens or makes the file at `path` and maps it. `as_it_is`: it is neither emptied nor made longer, and may be
    empty; that is for FileMap.fit."""
    if secure is not None:
        raise NotImplementedError("access rules for files are not there yet on Windows")
    writes = access not in _READABLE or mode in (FileMode.CREATE, FileMode.CREATE_NEW)
    fd, created = _open(path, mode, writes)
    try:
        size = 0 if mode is FileMode.CREATE and not as_it_is else os.fstat(fd).st_size
        if not as_it_is:
            check_capacity(path, capacity, size, access)
        backing = FileMap(fd, os.path.abspath(path), access, inheritable=inheritable)
        backing.created = created
        if not as_it_is:
            _fill(backing, name, max(capacity, size), empty=mode is FileMode.CREATE and not created)
        return backing
    except BaseException:
        os.close(fd)
        if created:
            os.unlink(path)
        raise


def map_descriptor(
    fd: int, name: Name | None, capacity: int, access: Access, *, inheritable: bool, reserve: bool
) -> FileMap:
    """Maps an open file through a duplicate of its descriptor, which stays as it is."""
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        raise io.UnsupportedOperation(f"descriptor {fd} cannot be mapped: it is no file")
    check_capacity(None, capacity, status.st_size, access)
    own = os.dup(fd)
    try:
        backing = FileMap(own, None, access, inheritable=inheritable)
        _fill(backing, name, max(capacity, status.st_size), empty=False)
        return backing
    except BaseException:
        os.close(own)
        raise


def _fill(backing: FileMap, name: Name | None, size: int, *, empty: bool) -> None:
    if empty:
        os.ftruncate(backing.fd, 0)
    backing.map(size, name)
    backing.name = None if name is None else name.given


def _open(path: str, mode: FileMode, writes: bool) -> tuple[int, bool]:
    """A descriptor, and whether this call made the file. Nothing is emptied here."""
    flags = (os.O_RDWR if writes else os.O_RDONLY) | os.O_BINARY | os.O_NOINHERIT  # type: ignore[attr-defined]
    if os.path.isdir(path):
        raise PermissionError(errno.EACCES, "it is a directory, and only files can be mapped", path)
    if mode is not FileMode.OPEN:
        try:
            return os.open(path, flags | os.O_CREAT | os.O_EXCL), True
        except FileExistsError:
            if mode is FileMode.CREATE_NEW:
                raise
    return os.open(path, flags), False


def from_descriptor(fd: int) -> Backing:
    """What an inherited handle stands for."""
    raise NotImplementedError("maps by inherited handles are not there yet on Windows")

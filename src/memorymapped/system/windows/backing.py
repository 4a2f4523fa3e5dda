# SPDX-License-Identifier: MIT
"""What a map stands on: the handle of a section, and what has to happen when it is closed."""

from __future__ import annotations

import errno
import io
import itertools
import os
from _thread import RLock
from contextlib import contextmanager
from functools import cached_property

from ..._native.access_lists import OF_KERNEL
from ..._native.memory import View
from ..._native.win32 import (
    PAGE_EXECUTE_READ,
    PAGE_EXECUTE_READWRITE,
    PAGE_READONLY,
    PAGE_READWRITE,
    PAGE_WRITECOPY,
    READ_CONTROL,
    SEC_RESERVE,
    available,
    close_handle,
    create_section,
    identity,
    is_of_file,
    open_section,
    read_section,
    write_section,
)
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileAccess as Access
from ...errors import ClosedError, ForeignObjectError, MemoryFaultError
from ..names import Name, Scope
from .access_control import sddl_of
from .names import kernel_name
from .turns import Turn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..access_rules import Security

__all__ = [
    "GRANULARITY",
    "PAGES",
    "PAGE_SIZE",
    "Backing",
    "Section",
    "is_held",
    "made",
    "no_room",
    "of_name",
    "unnamed_memory",
]

PAGE_SIZE = 4096
GRANULARITY = 65536
"""Where views may begin."""

PAGES = {
    Access.READ_WRITE: PAGE_READWRITE,
    Access.READ: PAGE_READONLY,
    Access.COPY_ON_WRITE: PAGE_WRITECOPY,
    Access.READ_EXECUTE: PAGE_EXECUTE_READ,
    Access.READ_WRITE_EXECUTE: PAGE_EXECUTE_READWRITE,
}


_NO_ROOM = frozenset({8, 112, 1455})  # ERROR_NOT_ENOUGH_MEMORY, ERROR_DISK_FULL, ERROR_COMMITMENT_LIMIT
_OTHER_KIND = 6  # ERROR_INVALID_HANDLE
_DENIED, _NOT_FOUND = 5, 2  # ERROR_ACCESS_DENIED, ERROR_FILE_NOT_FOUND


def made(
    name: Name | None, file: int, pages: int, size: int, inheritable: bool, security: Security | None
) -> tuple[int, bool]:
    """A section, and whether one of this name existed, which this then is. Errors say what was asked for."""
    sddl = None if security is None else sddl_of(security, OF_KERNEL)
    try:
        return create_section(None if name is None else kernel_name(name), file, pages, size, inheritable, sddl)
    except OSError as error:
        if error.winerror in _NO_ROOM:  # type: ignore[attr-defined]
            free = f"{available()} bytes of memory are free" if file < 0 else "more than the disk has"
            raise no_room(error.winerror, size, free) from error  # type: ignore[attr-defined]
        is_denied = error.winerror == _DENIED  # type: ignore[attr-defined]
        if is_denied and name is not None and name.scope is Scope.GLOBAL and not is_held(name):
            refused = PermissionError(
                errno.EACCES,
                f"{name.given!r}: a map with a name of all sessions is made by who has the privilege "
                "SeCreateGlobalPrivilege, as services and administrators do; with a Local name anybody makes one",
            )
            refused.winerror = error.winerror  # type: ignore[attr-defined]
            raise refused from None
        raise of_name(error, name) from None


def is_held(name: Name) -> bool:
    """Whether somebody holds it, also if this user may not open it."""
    try:
        close_handle(open_section(kernel_name(name), READ_CONTROL, False))
    except OSError as error:
        return bool(error.winerror != _NOT_FOUND)  # type: ignore[attr-defined]
    return True


def no_room(number: int, size: int, free: str) -> OSError:
    """The error, of the system's number, of who asked for more bytes than there are."""
    error = OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)}: {size} bytes were asked for, {free}")
    error.winerror = number  # type: ignore[attr-defined]
    return error


def of_name(error: OSError, name: Name | None) -> OSError:
    """The error of a name, if it is one of the name's kind: all kinds share their names."""
    if name is None or error.winerror != _OTHER_KIND:  # type: ignore[attr-defined]
        return error
    other = ForeignObjectError(
        errno.EEXIST,
        f"{name.given!r} is the name of another kind of object: on Windows maps, mutexes, events and semaphores share "
        "their names, so take another",
    )
    other.winerror = _OTHER_KIND  # type: ignore[attr-defined]
    return other


class Backing:
    """`fd` is a handle or descriptor of our own, -1 after close, `last_size` the size in bytes as it was last seen."""

    fd: int
    view_fd: int
    """What views are mapped from (guard.h: mmf_object)."""
    last_size: int
    device: int = 0
    inode: int = 0
    mark: int = 0
    """Device and inode tell objects that are mapped apart: a file's, or of memory 0 and a number made of its name.
    Nothing tells memory from later memory of its name: mark 0."""
    life: int = 0
    """But this process knows that it is the same as long as it has one open without a break: a number of that time."""
    path: str | None = None
    """The file; None for memory."""
    name: str | None = None
    is_memory: bool = True
    """Nothing is ever written to a disk that would stay."""
    memory_grows: bool = False
    """Whether memory can get larger than it was made."""
    page_size: int = GRANULARITY
    """The granularity of its mappings."""
    owner_bits: int | None = None
    created: bool = False
    """Whether this call has made it."""
    fixed: int | None = None
    """The size of what has none of its own: a device, which cannot be mapped here."""

    @cached_property
    def turns(self) -> list[Turn]:
        """Those who are preparing it by this object."""
        return []

    def size(self) -> int:
        """The capacity now, in bytes."""
        if self.fd < 0:
            raise ClosedError("the map is closed")
        return self.last_size

    def name_alive(self) -> bool:
        """Whether the name still leads to this object: it does as long as there is a handle."""
        return self.fd >= 0 and self.name is not None

    def descriptor(self) -> int:
        """What a child inherits, and from_descriptor takes: a handle."""
        return self.view_fd

    def status(self) -> os.stat_result:
        """What the system says of the file."""
        raise NotImplementedError

    def read_at(self, position: int, size: int) -> bytes:
        """These bytes, as many as are there."""
        size = max(min(size, self.last_size - position), 0)
        return read_section(self.view_fd, position, size)

    def write_at(self, position: int, data: bytes) -> None:
        """They must be within it."""
        write_section(self.view_fd, position, data)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For who prepares memory with a name, while all others who ask for this wait; it ends with the process.
        TimeoutError after 10 s; OSError (EDEADLK) at once for a signal handler or finalizer in the midst of it."""
        assert self.name is not None
        turn = Turn(self.name)
        self.turns.append(turn)
        try:
            turn.take()
            yield
        finally:
            turn.end()
            self.turns.remove(turn)

    def end_turns(self) -> None:
        """Before it is closed: what an exception of a signal handler at the end of `alone` has left."""
        for each in self.turns:
            each.end()

    def close(self) -> None:
        """Lets go of it; a second call does nothing."""
        raise NotImplementedError

    def grow(self, size: int, *, reserve: bool) -> None:
        """Makes it `size` bytes, never shorter."""
        if not self.is_memory:
            raise io.UnsupportedOperation(
                "a map that was opened by its name, or got from another process so, keeps the size that its file had: "
                "make the file longer by its path"
            )
        raise io.UnsupportedOperation("memory has the size that it was made with, for good: make a new map")

    def fit(self, capacity: int, access: Access, *, empty: bool = False) -> None:
        """Of a file that was mapped `as_it_is`: see FileMap. Memory has the size that it was made with."""

    def reserve(self, start: int, end: int) -> None:
        """Takes the memory of these bytes: it is taken already."""

    # -- what a view's trouble means

    def size_now(self) -> int | None:
        """The size of the file behind a view that may have outlived the map; None if that cannot be known."""
        return self.last_size

    def fault(self, view: View, position: int, size: int) -> MemoryFaultError:
        """The exception for an access of `size` bytes at `position` that hit a lost page."""
        reason = f"a page could not be read, and all of {view!r} is lost by that"
        return MemoryFaultError(errno.EIO, reason, self.path or "memory")

    def is_too_short(self, view: View) -> bool:
        """Whether the file is shorter now than the view: nobody can shorten a file that is mapped."""
        return False


_lock = RLock()  # a collection of garbage may come in between, and close others
_lives: dict[int, list[int]] = {}  # of memory that is open here: its inode -> [life, how often it is open]
_numbers = itertools.count(1)


class Section(Backing):
    """Memory by its handle."""

    def __init__(self, handle: int, size: int) -> None:
        self.fd = self.view_fd = handle
        self.last_size = size
        self.is_memory = not is_of_file(handle)
        self.device, self.inode = identity(handle)
        if not self.device:
            with _lock:
                kept = [next(_numbers), 0]
                if self.inode:
                    kept = _lives.setdefault(self.inode, kept)
                    kept[1] += 1
            self.life = kept[0]

    def close(self) -> None:
        if self.fd >= 0:
            handle = self.fd
            self.fd = self.view_fd = -1
            if self.life and self.inode:
                with _lock:  # first: after the close the name may be another's
                    kept = _lives[self.inode]
                    kept[1] -= 1
                    if not kept[1]:
                        del _lives[self.inode]
            close_handle(handle)


def unnamed_memory(
    capacity: int, access: Access, *, reserve: bool, inheritable: bool, security: Security | None
) -> Backing:
    """Memory without a name. `reserve` False: its pages are committed where a view is made of them."""
    pages = PAGES[access] if reserve else PAGES[access] | SEC_RESERVE
    return Section(made(None, -1, pages, capacity, inheritable, security)[0], capacity)

# SPDX-License-Identifier: MIT
"""What a map stands on: a descriptor of memory or of a file, and what has to happen when it is closed."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import time
from _thread import get_ident
from _weakref import ref
from contextlib import contextmanager

from ..._native.files import allocate, grow, identity, size_of
from ..._native.lifetime import Duplicate, at_fork, duplicate, locked, opened_again
from ..._native.memory import View
from ..._typing import TYPE_CHECKING
from ...errors import ClosedError, MemoryFaultError
from .access_control import apply_access
from .space import out_of_space, take_space

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ...enums import MemoryMappedFileAccess as Access
    from ..access_rules import Security

__all__ = ["PAGE_SIZE", "Backing", "Descriptor", "unnamed_memory"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")
LIMIT = 10.0  # seconds that others may take to prepare an object


class _Turn:
    """Who prepares an object has flock(2) of it, by a description of its own: that of the object is a mapping's too,
    and a forked child's, and would be locked for as long as they live."""

    __slots__ = ("__weakref__", "backing", "descriptor", "is_taken", "of", "thread")

    descriptor: Duplicate

    def __init__(self, backing: Backing) -> None:
        self.backing = backing
        self.of = backing.device, backing.inode
        self.thread = get_ident()
        self.is_taken = False
        locked(self._begin, backing)

    def _begin(self, backing: Backing) -> None:
        """No fork comes in between: each child closes what it gets of it."""
        self.descriptor = opened_again(backing.fd)
        key = id(self)
        _turns[key] = ref(self, lambda _: _turns.pop(key, None))

    def taken(self) -> bool:
        try:
            fcntl.flock(self.descriptor.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        self.is_taken = True
        return True

    def end(self) -> None:
        self.is_taken = False
        if self.descriptor.fd >= 0:  # otherwise this is a child that was forked in the midst of it
            fcntl.flock(self.descriptor.fd, fcntl.LOCK_UN)  # explicitly: a child between vfork and exec shares it
            self.descriptor.close()


_turns: dict[int, ref[_Turn]] = {}


def _all_turns() -> list[_Turn]:
    """Of all threads: as they are at this moment, whatever others begin and end meanwhile."""
    return [turn for each in list(_turns.values()) if (turn := each()) is not None]


def _end_in_child() -> None:
    for each in _all_turns():
        each.is_taken = False
        each.descriptor.close()


def _nothing() -> None:
    """For a fork."""


at_fork(_nothing, _nothing, _end_in_child)


class Backing:
    """A descriptor of our own. `fd` is -1 after close, `last_size` the size in bytes as it was last seen."""

    fd: int
    view_fd: int
    """The descriptor that views are mapped through: `fd`, unless that one is inherited by other programs."""
    last_size: int
    device: int
    inode: int
    mark: int = 0
    """What tells it apart from another file that has its device and inode later; 0: nobody knows, or nobody asks."""
    life: int = 0
    """Which life of its name it is, where nothing else tells that."""
    path: str | None = None
    """Where another program can map it; None for unnamed memory."""
    name: str | None = None
    is_memory: bool = True
    """Nothing is ever written to a disk."""
    memory_grows: bool = True
    """Whether memory can get larger than it was made."""
    page_size: int = PAGE_SIZE
    """The granularity of its mappings."""
    owner_bits: int | None = None
    """The permissions that its owner has, whatever the access rules say; None: what they say."""
    created: bool = False
    """Whether this call has made the file."""
    fixed: int | None = None
    """The size of what has none of its own (a character device)."""

    def size(self) -> int:
        """The capacity now, in bytes: others may have grown the file."""
        if self.fixed is not None:
            return self.fixed
        if self.fd < 0:
            raise ClosedError("the map is closed")
        size = self.last_size = size_of(self.fd)
        return size

    def descriptor(self) -> int:
        """What a child inherits, and from_descriptor takes."""
        return self.fd

    def status(self) -> os.stat_result:
        """What the system says of the file."""
        return os.fstat(self.fd)

    def read_at(self, position: int, size: int) -> bytes:
        """These bytes, as many as are there."""
        return os.pread(self.fd, size, position)

    def write_at(self, position: int, data: bytes) -> None:
        """They must be within it."""
        os.pwrite(self.fd, data, position)

    def name_alive(self) -> bool:
        """Whether the name still leads to this object."""
        return False

    @contextmanager
    def alone(self) -> Iterator[None]:
        """For who prepares it, while all others who ask for this wait; it ends with the process, whatever children that
        has. TimeoutError after 10 s; OSError (EDEADLK) at once for a signal handler in the midst of it."""
        deadline = time.monotonic() + LIMIT
        turn = _Turn(self)
        try:
            while not turn.taken():
                if any(each.thread == turn.thread and each.of == turn.of and each.is_taken for each in _all_turns()):
                    raise OSError(
                        errno.EDEADLK,
                        "this thread is preparing it already, and goes on when its signal handler or finalizer has "
                        "returned: that cannot open it",
                        self.name or self.path,
                    )
                if time.monotonic() > deadline:
                    raise TimeoutError(
                        errno.ETIMEDOUT,
                        f"another process has been preparing it for {LIMIT:.0f} s",
                        self.name or self.path,
                    )
                time.sleep(0.001)
            yield
        finally:
            turn.end()

    def end_turns(self) -> None:
        """Before it is closed: what an exception of a signal handler at the end of `alone` has left."""
        for each in _all_turns():
            if each.backing is self:
                each.end()

    def close(self) -> None:
        """Lets go of the descriptor; a second call does nothing."""
        if self.fd >= 0:
            fd = self.fd
            self.fd = self.view_fd = -1
            os.close(fd)

    def duplicate(self) -> Duplicate:
        """A descriptor for another process, to be closed by the caller when that process has it."""
        return duplicate(self.fd)

    def grow(self, size: int, *, reserve: bool) -> None:
        """Makes it `size` bytes, never shorter. OSError(ENOSPC) names the space there is."""
        if self.fixed is not None:
            raise io.UnsupportedOperation(f"{self.path} is a device, which has no size that could grow: map it anew")
        try:
            take_space(grow, self.fd, size, reserve)
        except OSError as error:
            raise out_of_space(error, self.fd, size, self.path) from error

    def fit(self, capacity: int, access: Access, *, empty: bool = False) -> None:
        """Of a file that was mapped `as_it_is`: see FileMap. Memory has the size that it was made with."""

    def reserve(self, start: int, end: int) -> None:
        """Takes the memory, or the space on the disk, of these bytes, where there are holes. What was taken before an
        error stays so. OSError(ENOSPC) names the space there is."""
        try:
            take_space(allocate, self.fd, end, start)
        except OSError as error:
            raise out_of_space(error, self.fd, end - start, self.path) from error

    # -- what a view's trouble means

    def size_now(self) -> int | None:
        """The size of the file behind a view that may have outlived the map; None if that cannot be known."""
        if self.fixed is not None:
            return None
        if self.fd >= 0:
            return size_of(self.fd)
        if self.path is None:
            return None
        try:
            status = os.stat(self.path)
        except OSError:
            return None
        return status.st_size if (status.st_dev, status.st_ino) == (self.device, self.inode) else None

    def fault(self, view: View, position: int, size: int) -> MemoryFaultError:
        """The exception for an access of `size` bytes at `position` that hit a lost page. Why it was lost is found out
        at the first one: later the file may be longer again, or have space."""
        number, why = view._lost_by = self._lost_by(view)
        if number == errno.EFAULT:
            why = f"{why}, and {view!r} needs {view.offset + view.capacity}: make a new view"
        else:
            why = f"{why}: bytes {position} to {position + size - 1} of {view!r} are lost"
        return MemoryFaultError(number, why, self.path or "unnamed memory")

    def _lost_by(self, view: View) -> tuple[int, str]:
        now = self.size_now()
        if now is not None and now < view.offset + view.capacity:
            return errno.EFAULT, f"the file was truncated to {now} bytes"
        if view._lost_by is not None:
            return view._lost_by
        try:
            space = os.fstatvfs(self.fd) if self.fd >= 0 else os.statvfs(self.path or "/")
        except OSError:
            space = None
        if space is not None and space.f_bavail == 0:
            return errno.ENOSPC, "the file system was full when they were needed"
        if now is None:
            return errno.EFAULT, "the file was truncated, or its disk failed"
        return errno.EIO, "the file could not be read or written, or was shorter for a while"

    def is_too_short(self, view: View) -> bool:
        """Whether the file is shorter now than the view, also where no access has faulted."""
        now = self.size_now()
        return now is not None and now < view.offset + view.capacity


class Descriptor(Backing):
    """What is known of it by its descriptor alone."""

    def __init__(self, fd: int, *, inheritable: bool) -> None:
        self.fd = self.view_fd = fd
        self.device, self.inode, self.last_size, _ = identity(fd)
        if inheritable:
            os.set_inheritable(fd, True)


def unnamed_memory(
    capacity: int, access: Access, *, reserve: bool, inheritable: bool, security: Security | None
) -> Backing:
    """Memory without a name: a memfd, sealed so that nobody can shrink it."""
    fd = os.memfd_create("memorymapped", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        try:
            take_space(grow, fd, capacity, reserve, True)
        except OSError as error:
            raise out_of_space(error, fd, capacity, None) from error
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        if security is not None:
            apply_access(fd, security)
        return Descriptor(fd, inheritable=inheritable)
    except BaseException:
        os.close(fd)
        raise

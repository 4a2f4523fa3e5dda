# SPDX-License-Identifier: MIT
"""What a map stands on: a descriptor of memory or of a file, and what has to happen when it is closed."""

from __future__ import annotations

import errno
import io
import os

from ..._native.files import available_memory, grow, identity, is_memory, size_of
from ..._native.lifetime import Duplicate, duplicate
from ..._native.memory import View
from ..._typing import TYPE_CHECKING
from ...errors import ClosedError, MemoryFaultError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_SPACE", "PAGE_SIZE", "Backing", "Descriptor", "out_of_space", "take_space", "unnamed_memory"]

PAGE_SIZE = os.sysconf("SC_PAGE_SIZE")


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
    path: str | None = None
    """Where another program can map it; None for unnamed memory."""
    name: str | None = None
    is_memory: bool = True
    """Nothing is ever written to a disk."""
    page_size: int = PAGE_SIZE
    """The granularity of its mappings."""
    owner_bits: int | None = None
    """The permissions that its owner has, whatever the access rules say; None: what they say."""
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

    def name_alive(self) -> bool:
        """Whether the name still leads to this object."""
        return False

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


NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


def take_space(take: Callable[..., object], *arguments: object) -> None:
    """Takes space. If there is too little, what nobody holds any more is removed, and it is tried once more."""
    try:
        take(*arguments)
    except OSError as error:
        from .objects import sweep  # which needs this module

        if error.errno not in NO_SPACE or not sweep():
            raise
        take(*arguments)


def out_of_space(error: OSError, fd: int, size: int, path: str | None) -> OSError:
    """The same error with the path, and with what was missing: ENOSPC with the space that there is."""
    number = error.errno
    if number == errno.EINVAL:  # some file systems say so of what is larger than any file
        number = errno.EFBIG
    if number == errno.EFBIG:
        missing = _largest_file(size)
    elif number == errno.EDQUOT:
        missing = "more than what is left of this user's quota"
    elif number in NO_SPACE:
        missing = _free_space(fd, size, of_the_machine=number == errno.ENOMEM)
        number = errno.ENOSPC
    else:
        return OSError(number, error.strerror, path)
    return OSError(number, f"{os.strerror(number)}: {size} bytes were asked for, {missing}", path)


def _free_space(fd: int, size: int, *, of_the_machine: bool) -> str:
    space = os.fstatvfs(fd)
    if of_the_machine or not space.f_blocks:
        free = available_memory()
        return "more memory than is free" if free is None else f"{free} of the machine's memory are free"
    free = space.f_bavail * space.f_frsize
    if free >= size and space.f_files and not space.f_favail:
        return "and the file system has no room for another file (inode)"
    hint = " (in a container: its shared-memory size, --shm-size)" if is_memory(fd) else ""
    return f"{free} of {space.f_blocks * space.f_frsize} are free{hint}"


def _largest_file(size: int) -> str:
    import resource

    limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if 0 <= limit < size:
        return f"and this process may make no file larger than {limit} (ulimit -f)"
    return "more than a file of this file system can have"


def unnamed_memory(capacity: int, *, reserve: bool, inheritable: bool) -> Backing:
    """Memory without a name: a memfd, sealed so that nobody can shrink it."""
    fd = os.memfd_create("memorymapped", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        try:
            take_space(grow, fd, capacity, reserve, True)
        except OSError as error:
            raise out_of_space(error, fd, capacity, None) from error
        import fcntl

        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK)
        return Descriptor(fd, inheritable=inheritable)
    except BaseException:
        os.close(fd)
        raise

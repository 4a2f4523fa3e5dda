# SPDX-License-Identifier: MIT
"""Space for new memory: when there is too little, what the dead left is given back, and what is missing is said."""

from __future__ import annotations

import errno
import os

from ..._native.files import available_memory, is_memory
from ..._native.lifetime import locked, remove_if_stale
from ..._typing import TYPE_CHECKING
from . import directories
from .places import KINDS, SIDE

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["NO_SPACE", "out_of_space", "sweep", "take_space"]

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.ENOMEM)


def take_space(take: Callable[..., object], *arguments: object) -> None:
    """Takes space. If there is too little, what nobody holds any more is removed, and it is tried once more."""
    try:
        take(*arguments)
    except OSError as error:
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


def sweep() -> int:
    """Removes every object of this user that nobody holds. Returns how many there were."""
    return locked(_sweep)


def _sweep() -> int:
    removed = 0
    for directory in (directories.user_directory(create=False), directories.global_directory(create=False)):
        if directory is None:
            continue
        for name in os.listdir(directory.fd):
            if name.endswith(KINDS):
                file = os.fsencode(name)
                side = file + SIDE.encode() if b"~" in file else None
                removed += remove_if_stale(directory, file, side, os.geteuid())
    return removed

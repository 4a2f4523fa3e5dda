# SPDX-License-Identifier: MIT
"""How a file is copied: in the kernel, where it can."""

from __future__ import annotations

import errno
import os

__all__ = ["CANNOT", "WAYS", "keep_mode"]

# How file systems say that they cannot copy by themselves; the next way is tried then, and has the last word.
CANNOT = {
    errno.EXDEV,
    errno.EINVAL,
    errno.ENOSYS,
    errno.EOPNOTSUPP,
    errno.EPERM,  # sandboxes
    errno.EBADF,  # some network file systems
}


def _by_range(source: int, target: int, count: int, at: int) -> int:
    return os.copy_file_range(source, target, count, at, at)


def _by_sendfile(source: int, target: int, count: int, at: int) -> int:
    os.lseek(target, at, os.SEEK_SET)
    return os.sendfile(target, source, at, count)


WAYS = (("copy_file_range", _by_range), ("sendfile", _by_sendfile))
"""Of the kernel."""


def keep_mode(fd: int, mode: int) -> None:
    """Gives a copy the permissions of the original."""
    if os.fstat(fd).st_mode & 0o7777 == mode:
        return
    try:
        os.fchmod(fd, mode)
    except OSError as error:
        # Of FAT and the like, which have no permission bits: every file has those that it was mounted with.
        if error.errno not in (errno.EPERM, errno.EOPNOTSUPP):
            raise

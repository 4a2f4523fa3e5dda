# SPDX-License-Identifier: MIT
"""Bytes of maps and files for who only looks: a name's file is read as any other, which takes no hold."""

from __future__ import annotations

import errno
import os
from os import close as close_source
from os import pread as read_at
from os import pwrite as write_at

from ..._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Buffer

    Source: TypeAlias = int

__all__ = [
    "MAPPED_FILES_SHRINK",
    "allocated",
    "close_source",
    "data_range",
    "end_of",
    "identity_of",
    "is_file",
    "is_path",
    "looked_up",
    "may_be_name",
    "next_data",
    "open_file",
    "open_source",
    "owned",
    "read_at",
    "read_into",
    "size_of",
    "write_at",
]

MAPPED_FILES_SHRINK = True
"""Whether a file can be made shorter while somebody has it mapped."""

# How file systems say that they cannot tell holes.
_CANNOT = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


def is_file(path: str) -> bool:
    """Whether what lies at the path of an object can be mapped as a file."""
    return True


def is_path(given: str) -> bool:
    """Whether what a user gives is a path, and a name only if nothing is there."""
    return given.startswith(("/", "."))


def may_be_name(given: str) -> bool:
    """Whether it may be a name."""
    return True


def open_file(path: str) -> int:
    """A descriptor of a file for reading. OSError."""
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK)


def open_source(path: str) -> Source:
    """What reads the bytes of a file or of an object. OSError."""
    return open_file(path)


def read_into(source: Source, buffer: Buffer, at: int) -> int:
    """Fills the buffer with the bytes from a place on, as far as there are some: how many."""
    return os.preadv(source, [buffer], at)


def size_of(source: Source) -> int:
    """In bytes, now."""
    return os.fstat(source).st_size


def identity_of(source: Source) -> tuple[int, int]:
    """Tells it from all others."""
    status = os.fstat(source)
    return status.st_dev, status.st_ino


def looked_up(path: str) -> tuple[int, tuple[int, int]]:
    """Size and identity of what a path leads to now. OSError."""
    status = os.stat(path)
    return status.st_size, (status.st_dev, status.st_ino)


def data_range(source: Source, at: int, size: int) -> tuple[int, int]:
    """From where to where the next data behind `at` lie: before them is a hole, which stays one. A file system that
    cannot tell holes has data everywhere."""
    try:
        begin = os.lseek(source, at, os.SEEK_DATA)
        end = os.lseek(source, begin, os.SEEK_HOLE)
    except OSError as error:
        if error.errno == errno.ENXIO:  # a hole to the end
            return size, size
        if error.errno not in _CANNOT:
            raise
        return at, size
    return min(begin, size), min(end, size)


def next_data(source: Source, at: int, end: int) -> int:
    """Where the next data are: not in a hole. No less than `end` if there are none before."""
    try:
        return os.lseek(source, at, os.SEEK_DATA)
    except OSError as error:
        if error.errno == errno.ENXIO:
            return max(at, end)  # there are none
        if error.errno in (errno.EINVAL, errno.EOPNOTSUPP):
            return at  # this file system does not tell
        raise


def end_of(source: Source, size: int) -> int:
    """Where that ends which was made to be of an exact size."""
    return size


def allocated(status: os.stat_result) -> int | None:
    """The bytes of the disk that a file takes."""
    return status.st_blocks * 512


def owned(status: os.stat_result) -> tuple[int | None, int | None]:
    """Permissions and owner of a file."""
    return status.st_mode & 0o7777, status.st_uid

# SPDX-License-Identifier: MIT
"""Bytes of maps and files for who only looks. A name lives as long as somebody has a handle of it, so none is kept: a
section is opened for each piece that is read, and closed again."""

from __future__ import annotations

import errno
import os
import re

from ..._native.looks import committed_range, open_to_look, read_file, read_section, write_file
from ..._native.win32 import FILE_MAP_READ, close_handle, identity, open_section, section_size
from ..._typing import TYPE_CHECKING
from ..names import Scope
from .backing import PAGE_SIZE
from .descriptors import descriptor_of, handle_of
from .files import status_at
from .names import extended

if TYPE_CHECKING:
    from typing import TypeAlias

    from typing_extensions import Buffer

    Source: TypeAlias = int | "Section"

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

MAPPED_FILES_SHRINK = False
"""Whether a file can be made shorter while somebody has it mapped."""

_OBJECT = re.compile(r"(\\Sessions\\\d+)?\\(?:BaseNamedObjects|AppContainerNamedObjects\\[^\\]+)\\([^\\]+)", re.DOTALL)


class Section:
    """Named memory, by its name."""

    def __init__(self, name: str) -> None:
        self.name = name

    def look(self) -> tuple[int, tuple[int, int]]:
        """Its size and identity. FileNotFoundError: nobody has it any more."""
        handle = open_section(self.name, FILE_MAP_READ, False)
        try:
            return section_size(handle, FILE_MAP_READ), identity(handle)
        finally:
            close_handle(handle)


def _object(path: str) -> Section | None:
    found = _OBJECT.fullmatch(path)
    return Section(f"{'Local' if found[1] else 'Global'}\\{found[2]}") if found else None


def is_file(path: str) -> bool:
    """Whether what lies at the path of an object can be mapped as a file: sections have a name instead."""
    return _object(path) is None


def open_source(path: str) -> Source:
    """What reads the bytes of a file or of an object. OSError."""
    section = _object(path)
    if section is not None:
        section.look()
        return section
    return open_file(path)


def is_path(given: str) -> bool:
    """Whether what a user gives is a path, and a name only if nothing is there."""
    return given.startswith(("/", ".")) or bool(re.match(r"[A-Za-z]:", given)) or not may_be_name(given)


def may_be_name(given: str) -> bool:
    """Whether it may be a name: there a backslash is behind a scope only."""
    scope, backslash, _ = given.partition("\\")
    return not backslash or scope in {each.value for each in Scope}


def open_file(path: str) -> int:
    """A descriptor of a file for reading, which others may write, rename and remove meanwhile. OSError."""
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    flags = os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT  # type: ignore[attr-defined]
    return descriptor_of(open_to_look(extended(path)), flags)


def close_source(source: Source) -> None:
    """Lets go of it."""
    if isinstance(source, int):
        os.close(source)


def read_into(source: Source, buffer: Buffer, at: int) -> int:
    """Fills the buffer with the bytes from a place on, as far as there are some: how many."""
    if isinstance(source, int):
        return read_file(handle_of(source), at, buffer)
    there = memoryview(buffer)[: max(0, source.look()[0] - at)]
    read_section(source.name, at, there)
    return len(there)


def read_at(source: Source, count: int, at: int) -> bytes:
    """Up to so many bytes from a place on."""
    buffer = bytearray(count)
    return bytes(memoryview(buffer)[: read_into(source, buffer, at)])


def write_at(file: int, data: Buffer, at: int) -> int:
    """Writes into a file at a place: how many bytes."""
    return write_file(handle_of(file), at, data)


def size_of(source: Source) -> int:
    """In bytes, now."""
    return os.fstat(source).st_size if isinstance(source, int) else source.look()[0]


def identity_of(source: Source) -> tuple[int, int]:
    """Tells it from all others. Nothing tells memory from later memory of its name."""
    if not isinstance(source, int):
        return source.look()[1]
    status = status_at(source)
    return status.st_dev, status.st_ino


def looked_up(path: str) -> tuple[int, tuple[int, int]]:
    """Size and identity of what a path leads to now. OSError."""
    source = open_source(path)
    try:
        return size_of(source), identity_of(source)
    finally:
        close_source(source)


def data_range(source: Source, at: int, size: int) -> tuple[int, int]:
    """From where to where the next data behind `at` lie: before them memory is reserved only. Files are all data."""
    return (at, size) if isinstance(source, int) or at >= size else committed_range(source.name, at, size)


def next_data(source: Source, at: int, end: int) -> int:
    """Where the next data are: no less than `end` if there are none before."""
    return data_range(source, at, end)[0]


def end_of(source: Source, size: int) -> int:
    """Where that ends which was made to be of an exact size: memory has whole pages, and zeros in the rest."""
    if isinstance(source, int):
        return size
    rest = min(size, PAGE_SIZE)
    return size - rest + len(read_at(source, rest, size - rest).rstrip(b"\0"))


def allocated(status: os.stat_result) -> int | None:
    """The bytes of the disk that a file takes: os.stat does not tell."""
    return None


def owned(status: os.stat_result) -> tuple[int | None, int | None]:
    """Permissions and owner of a file: os.stat shows neither."""
    return None, None

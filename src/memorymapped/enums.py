# SPDX-License-Identifier: MIT
"""The enumerations, with .NET's values."""

from __future__ import annotations

import enum

from ._typing import TYPE_CHECKING
from .errors import OutOfRangeError

if TYPE_CHECKING:
    from typing import NoReturn

__all__ = [
    "Advice",
    "EventResetMode",
    "FileMode",
    "HandleInheritability",
    "MemoryMappedFileAccess",
    "MemoryMappedFileOptions",
    "MemoryMappedFileRights",
]


def _a(cls: type) -> str:
    return f"{'an' if cls.__name__[0] in 'AEIO' else 'a'} {cls.__name__}"


class _Checked:
    @classmethod
    def _missing_(cls, value: object) -> NoReturn:
        names = ", ".join(cls.__members__)  # type: ignore[attr-defined]
        raise OutOfRangeError(f"{value!r} is not {_a(cls)}: one of {names}")


class _CheckedFlags:
    @classmethod
    def _missing_(cls, value: object) -> object:
        try:
            return super()._missing_(value)  # type: ignore[misc]
        except ValueError:
            names = ", ".join(cls.__members__)  # type: ignore[attr-defined]
            raise OutOfRangeError(f"{value!r} is not {_a(cls)}: a combination of {names}") from None


class EventResetMode(_Checked, enum.IntEnum):
    """What becomes of an event's signal."""

    AUTO_RESET = 0
    """The first who gets it takes it away."""
    MANUAL_RESET = 1
    """All get it, until it is reset."""


class MemoryMappedFileAccess(_Checked, enum.IntEnum):
    """What may be done through a map or a view."""

    READ_WRITE = 0
    READ = 1
    WRITE = 2
    """Views only; the library refuses reads of such a view."""
    COPY_ON_WRITE = 3
    """Writes stay with this view and never reach the file or other processes."""
    READ_EXECUTE = 4
    READ_WRITE_EXECUTE = 5


class MemoryMappedFileRights(_CheckedFlags, enum.IntFlag, boundary=enum.STRICT):
    """The rights with which an existing map is opened; they limit the views. Each of a rule's rights as well."""

    NONE = 0
    COPY_ON_WRITE = 0x1
    WRITE = 0x2
    READ = 0x4
    READ_WRITE = 0x6
    EXECUTE = 0x8
    READ_EXECUTE = 0xC
    READ_WRITE_EXECUTE = 0xE
    DELETE = 0x10000
    READ_PERMISSIONS = 0x20000
    CHANGE_PERMISSIONS = 0x40000
    TAKE_OWNERSHIP = 0x80000
    FULL_CONTROL = 0xF000F
    ACCESS_SYSTEM_SECURITY = 0x1000000


class MemoryMappedFileOptions(_CheckedFlags, enum.IntFlag, boundary=enum.STRICT):
    """How a memory map gets its memory."""

    NONE = 0
    """All of it is reserved when the map is created: a full machine is an OSError then, and never a fault later."""
    DELAY_ALLOCATE_PAGES = 0x4000000
    """A page is allocated when it is first written: for maps that are mostly empty. A full machine is then a
    MemoryFaultError at the access."""


class HandleInheritability(_Checked, enum.IntEnum):
    """Whether a child started with another program (subprocess, exec) gets the map's descriptor (Windows: handle)."""

    NONE = 0
    INHERITABLE = 1


class FileMode(_Checked, enum.IntEnum):
    """How create_from_file opens its path."""

    CREATE_NEW = 1
    """A new file; FileExistsError if there is one."""
    CREATE = 2
    """A new file, or an existing one emptied first."""
    OPEN = 3
    """An existing file; FileNotFoundError if there is none."""
    OPEN_OR_CREATE = 4
    TRUNCATE = 5
    """Never allowed for a map, as in .NET: the file would be empty."""
    APPEND = 6
    """Never allowed for a map."""


class Advice(_Checked, enum.IntEnum):
    """What a program is going to do with a range of a view (madvise(2)); the kernel may act on it or not."""

    NORMAL = 0
    RANDOM = 1
    """No reading ahead."""
    SEQUENTIAL = 2
    """Read far ahead, drop soon."""
    WILL_NEED = 3
    """Start reading now."""
    DONT_NEED = 4
    """This process does not need the pages for now; what is in the file stays there."""
    HUGE_PAGES = 14
    """Use huge pages where the file system has them."""
    NO_HUGE_PAGES = 15

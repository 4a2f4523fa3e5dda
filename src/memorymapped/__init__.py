# SPDX-License-Identifier: MIT
"""Memory-mapped files and named shared memory that survive crashes: the system of .NET 4 for Python."""

from ._native.elements import ElementView
from ._typing import TYPE_CHECKING
from .accessor import MemoryMappedViewAccessor
from .binary import BinaryReader, BinaryWriter
from .enums import (
    Advice,
    FileMode,
    HandleInheritability,
    MemoryMappedFileAccess,
    MemoryMappedFileOptions,
    MemoryMappedFileRights,
)
from .errors import (
    AbandonedMutexError,
    ClosedError,
    DamagedObjectError,
    DamagedSegmentError,
    ForeignObjectError,
    InvalidNameError,
    LayoutMismatchError,
    MemoryFaultError,
    MemoryMappedFileError,
    NameInUseError,
    OutOfRangeError,
    SemaphoreFullError,
    ValueOutOfRangeError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)
from .file import MemoryMappedFile
from .security import AccessControlType, AccessRule, MemoryMappedFileSecurity
from .stream import MemoryMappedViewStream
from .viewing import GuardStatus, Residency, guard_status

if TYPE_CHECKING:
    from .sync.mutex import Mutex, MutexStatistics, PreviousOwner

__version__ = "0.1.0"

# Loaded when they are first asked for: who only maps files does not wait for them.
_LATER = {
    "Mutex": "sync.mutex",
    "MutexStatistics": "sync.mutex",
    "PreviousOwner": "sync.mutex",
}

__all__ = [
    "AbandonedMutexError",
    "AccessControlType",
    "AccessRule",
    "Advice",
    "BinaryReader",
    "BinaryWriter",
    "ClosedError",
    "DamagedObjectError",
    "DamagedSegmentError",
    "ElementView",
    "FileMode",
    "ForeignObjectError",
    "GuardStatus",
    "HandleInheritability",
    "InvalidNameError",
    "LayoutMismatchError",
    "MemoryFaultError",
    "MemoryMappedFile",
    "MemoryMappedFileAccess",
    "MemoryMappedFileError",
    "MemoryMappedFileOptions",
    "MemoryMappedFileRights",
    "MemoryMappedFileSecurity",
    "MemoryMappedViewAccessor",
    "MemoryMappedViewStream",
    "Mutex",
    "MutexStatistics",
    "NameInUseError",
    "OutOfRangeError",
    "PreviousOwner",
    "Residency",
    "SemaphoreFullError",
    "ValueOutOfRangeError",
    "WaitHandleCannotBeOpenedError",
    "WaitHandleNotFoundError",
    "guard_status",
]


def __getattr__(name: str) -> object:
    module = _LATER.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

# SPDX-License-Identifier: MIT
"""Memory-mapped files and named shared memory that survive crashes: the system of .NET 4 for Python."""

from ._native.elements import ElementView
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

__version__ = "0.1.0"

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
    "NameInUseError",
    "OutOfRangeError",
    "Residency",
    "SemaphoreFullError",
    "ValueOutOfRangeError",
    "WaitHandleCannotBeOpenedError",
    "WaitHandleNotFoundError",
    "guard_status",
]

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
    AlreadyRunningError,
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
    from .shared.segments import RecoveredSegment, SegmentDamage, SegmentFile, SegmentReport
    from .shared.shared_memory import SharedMemory, SharedMemoryStatistics
    from .shared.single_instance import CommandLine, InstanceHolder, SingleInstance
    from .shared.struct_array import StructArray, StructArrayStatistics
    from .structs import (
        Array,
        ByteOrder,
        FixedBytes,
        Layout,
        Length,
        Offset,
        Struct,
        Utf8,
        Utf16,
        char16,
        float16,
        float32,
        float64,
        int8,
        int16,
        int32,
        int64,
        uint8,
        uint16,
        uint32,
        uint64,
    )
    from .sync.atomics import AtomicInt32, AtomicInt64, AtomicUInt32, AtomicUInt64
    from .sync.awaiting import WaitHandle
    from .sync.conditions import ConditionStatistics, MappedCondition
    from .sync.events import AutoResetEvent, EventResetMode, EventStatistics, EventWaitHandle, ManualResetEvent
    from .sync.fair import FairMutex, FairMutexStatistics
    from .sync.mapped import MappedEvent, MappedLock, MappedSemaphore
    from .sync.mutex import Mutex, MutexStatistics, PreviousOwner
    from .sync.readers import MappedReader, MappedReaderWriterLock, MappedWriter, ReaderWriterStatistics
    from .sync.semaphores import Semaphore, SemaphoreStatistics
    from .sync.waiting import signal_and_wait, wait_all, wait_any

__version__ = "0.1.0"

# Loaded when they are first asked for: who only maps files does not wait for them.
_LATER = {
    "shared.segments": (
        "RecoveredSegment",
        "SegmentDamage",
        "SegmentFile",
        "SegmentReport",
    ),
    "shared.shared_memory": (
        "SharedMemory",
        "SharedMemoryStatistics",
    ),
    "shared.single_instance": (
        "CommandLine",
        "InstanceHolder",
        "SingleInstance",
    ),
    "shared.struct_array": (
        "StructArray",
        "StructArrayStatistics",
    ),
    "structs": (
        "Array",
        "ByteOrder",
        "FixedBytes",
        "Layout",
        "Length",
        "Offset",
        "Struct",
        "Utf8",
        "Utf16",
        "char16",
        "float16",
        "float32",
        "float64",
        "int8",
        "int16",
        "int32",
        "int64",
        "uint8",
        "uint16",
        "uint32",
        "uint64",
    ),
    "sync.atomics": (
        "AtomicInt32",
        "AtomicInt64",
        "AtomicUInt32",
        "AtomicUInt64",
    ),
    "sync.awaiting": ("WaitHandle",),
    "sync.conditions": (
        "ConditionStatistics",
        "MappedCondition",
    ),
    "sync.events": (
        "AutoResetEvent",
        "EventResetMode",
        "EventStatistics",
        "EventWaitHandle",
        "ManualResetEvent",
    ),
    "sync.fair": (
        "FairMutex",
        "FairMutexStatistics",
    ),
    "sync.mapped": (
        "MappedEvent",
        "MappedLock",
        "MappedSemaphore",
    ),
    "sync.mutex": (
        "Mutex",
        "MutexStatistics",
        "PreviousOwner",
    ),
    "sync.readers": (
        "MappedReader",
        "MappedReaderWriterLock",
        "MappedWriter",
        "ReaderWriterStatistics",
    ),
    "sync.semaphores": (
        "Semaphore",
        "SemaphoreStatistics",
    ),
    "sync.waiting": (
        "signal_and_wait",
        "wait_all",
        "wait_any",
    ),
}
_MODULE_OF = {name: module for module, names in _LATER.items() for name in names}

__all__ = [
    "AbandonedMutexError",
    "AccessControlType",
    "AccessRule",
    "Advice",
    "AlreadyRunningError",
    "Array",
    "AtomicInt32",
    "AtomicInt64",
    "AtomicUInt32",
    "AtomicUInt64",
    "AutoResetEvent",
    "BinaryReader",
    "BinaryWriter",
    "ByteOrder",
    "ClosedError",
    "CommandLine",
    "ConditionStatistics",
    "DamagedObjectError",
    "DamagedSegmentError",
    "ElementView",
    "EventResetMode",
    "EventStatistics",
    "EventWaitHandle",
    "FairMutex",
    "FairMutexStatistics",
    "FileMode",
    "FixedBytes",
    "ForeignObjectError",
    "GuardStatus",
    "HandleInheritability",
    "InstanceHolder",
    "InvalidNameError",
    "Layout",
    "LayoutMismatchError",
    "Length",
    "ManualResetEvent",
    "MappedCondition",
    "MappedEvent",
    "MappedLock",
    "MappedReader",
    "MappedReaderWriterLock",
    "MappedSemaphore",
    "MappedWriter",
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
    "Offset",
    "OutOfRangeError",
    "PreviousOwner",
    "ReaderWriterStatistics",
    "RecoveredSegment",
    "Residency",
    "SegmentDamage",
    "SegmentFile",
    "SegmentReport",
    "Semaphore",
    "SemaphoreFullError",
    "SemaphoreStatistics",
    "SharedMemory",
    "SharedMemoryStatistics",
    "SingleInstance",
    "Struct",
    "StructArray",
    "StructArrayStatistics",
    "Utf8",
    "Utf16",
    "ValueOutOfRangeError",
    "WaitHandle",
    "WaitHandleCannotBeOpenedError",
    "WaitHandleNotFoundError",
    "char16",
    "float16",
    "float32",
    "float64",
    "guard_status",
    "int8",
    "int16",
    "int32",
    "int64",
    "signal_and_wait",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "wait_all",
    "wait_any",
]


def __getattr__(name: str) -> object:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(f"{__name__}.{module}"), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})

# SPDX-License-Identifier: MIT
"""The exceptions of all parts.

Each derives from the builtin that says the same, so that `except ValueError` and `except OSError` catch what they
should; `MemoryMappedFileError` is a mixin to catch anything that is ours. What the system reports and the builtins
already say is raised as it is: PermissionError, FileNotFoundError, FileExistsError, TimeoutError, TypeError,
io.UnsupportedOperation (a view that cannot read or write), NotImplementedError (the system cannot do it).

.NET's exceptions map as follows: ArgumentNull TypeError, Argument ValueError, ArgumentOutOfRange OutOfRangeError,
ObjectDisposed ClosedError, UnauthorizedAccess PermissionError, FileNotFound FileNotFoundError, IO OSError,
NotSupported io.UnsupportedOperation, PlatformNotSupported NotImplementedError, Application RuntimeError.
"""

from __future__ import annotations

import errno

from ._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Any

    from .shared.single_instance import InstanceHolder, SingleInstance

__all__ = [
    "AbandonedMutexError",
    "AlreadyRunningError",
    "ClosedError",
    "DamagedObjectError",
    "DamagedSegmentError",
    "ForeignObjectError",
    "InvalidNameError",
    "LayoutMismatchError",
    "MemoryFaultError",
    "MemoryMappedFileError",
    "NameInUseError",
    "OutOfRangeError",
    "SemaphoreFullError",
    "ValueOutOfRangeError",
    "WaitHandleCannotBeOpenedError",
    "WaitHandleNotFoundError",
]


def shown(value: object) -> str:
    """`value` as a message shows it: at most 100 characters, and never an exception because of an integer's length."""
    try:
        return f"{value!r:.100}"
    except ValueError:  # an integer with more digits than sys.get_int_max_str_digits()
        return f"an integer of {value.bit_length()} bits" if isinstance(value, int) else object.__repr__(value)


class MemoryMappedFileError(Exception):
    """Mixin of every exception class that this library defines."""


class OutOfRangeError(MemoryMappedFileError, ValueError, IndexError):
    """An argument lies outside of what is allowed: a position, a size, an enum value (.NET: ArgumentOutOfRange)."""


class ValueOutOfRangeError(OutOfRangeError, OverflowError):
    """A value does not fit in the type that it is written as; nothing was written."""


class ClosedError(MemoryMappedFileError, ValueError):
    """The map, view or lock has been closed (.NET: ObjectDisposed; a ValueError as for closed files)."""


class InvalidNameError(MemoryMappedFileError, ValueError, FileNotFoundError):
    """The text cannot be a name. (A FileNotFoundError too: Windows reports such names as a path not found.)"""

    def __init__(self, message: str) -> None:
        super().__init__(errno.ENOENT, message)
        self.message = message

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.message,)


class NameInUseError(MemoryMappedFileError, FileExistsError):
    """Somebody holds an object of this name. `str()` looks up who that is at the time of asking."""

    def __init__(self, name: str, holders: Callable[[], str] | str = "") -> None:
        super().__init__(errno.EEXIST, f"the name {name!r} is in use")
        self.name = name
        self._holders = holders

    @property
    def holders(self) -> str:
        """Who holds it, as text (process ids and commands); empty if that cannot be known."""
        if not isinstance(self._holders, str):
            self._holders = self._holders()
        return self._holders

    def __str__(self) -> str:
        by = f" by {self.holders}" if self.holders else ""
        return f"the name {self.name!r} is in use{by}: open it with open_existing or create_or_open, or take another"

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.holders)


class MemoryFaultError(MemoryMappedFileError, OSError):
    """The memory that was accessed has no backing any more; other processes would have died of SIGBUS, or on Windows
    of an in-page error.

    `errno` says why: EFAULT, the file is shorter than the view (`strerror` says how long it is); ENOSPC, the file
    system is full; EIO, the disk failed."""


class ForeignObjectError(MemoryMappedFileError, OSError):
    """Where a named object should be lies something that is not ours: a link, a directory, another user's file.
    It is left alone."""


class DamagedObjectError(MemoryMappedFileError, OSError):
    """An object of ours does not hold what it should."""


class DamagedSegmentError(DamagedObjectError):
    """A segment file is damaged at or behind the segment that was asked for."""


class LayoutMismatchError(MemoryMappedFileError, TypeError):
    """A typed map was opened with another layout than it was made with; the message shows both."""


class AbandonedMutexError(MemoryMappedFileError):
    """The mutex was acquired, and its previous owner ended without releasing it: what it guards may be half done.

    `mutex` is the mutex, `mutex_index` its place in the list of a wait for several (-1 otherwise), `owned` whether
    the caller owns it now, `previous_owner` what is known of who abandoned it."""

    def __init__(
        self,
        message: str = "the mutex was abandoned by its previous owner",
        *,
        mutex: Any = None,
        mutex_index: int = -1,
        owned: bool = True,
        previous_owner: Any = None,
    ) -> None:
        super().__init__(message)
        self.mutex = mutex
        self.mutex_index = mutex_index
        self.owned = owned
        self.previous_owner = previous_owner

    def __reduce__(self) -> tuple[Any, ...]:
        """To another process, which owns nothing by it."""
        state = {"mutex_index": self.mutex_index, "owned": False, "previous_owner": self.previous_owner}
        return type(self), (str(self),), state


class WaitHandleCannotBeOpenedError(MemoryMappedFileError, OSError):
    """A mutex, event, semaphore or the like cannot be opened: its name, or its place in a map, belongs to another kind
    of object."""


class WaitHandleNotFoundError(WaitHandleCannotBeOpenedError, FileNotFoundError):
    """There is no mutex, event or semaphore of this name."""


class SemaphoreFullError(MemoryMappedFileError, ValueError):
    """The release would raise the semaphore's count above its maximum; the count is unchanged."""


class AlreadyRunningError(MemoryMappedFileError, RuntimeError):
    """Another process is the single instance of this name: `holder` tells its process id, command line, and since when
    it runs. `send(arguments)` hands a command line over to it."""

    name: str
    holder: InstanceHolder

    def __init__(self, name: str, holder: InstanceHolder, instance: SingleInstance | None = None) -> None:
        super().__init__(f"{name!r} is running already: {holder}")
        self.name = name
        self.holder = holder
        self._instance = instance

    def send(self, arguments: Iterable[Any], timeout: Any = 5.0) -> None:
        """The same as SingleInstance.send of the newcomer that was refused."""
        if self._instance is None:
            raise RuntimeError(f"this error comes from another process: make a SingleInstance({self.name!r}) to send")
        self._instance.send(arguments, timeout)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.name, self.holder)

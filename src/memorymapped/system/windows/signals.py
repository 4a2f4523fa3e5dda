# SPDX-License-Identifier: MIT
"""Named events and semaphores: the system's own, so that all programs that know the name share them."""

from __future__ import annotations

import errno
from hashlib import sha256

from ..._native import kernel_waits as kernel_waits  # has waits for several leave the system's own to it
from ..._native.kernel_objects import KernelEvent as Event
from ..._native.kernel_objects import KernelSemaphore as Semaphore
from ..._native.kernel_objects import kind_of, open_event, open_semaphore
from ..._typing import TYPE_CHECKING
from ...errors import InvalidNameError, WaitHandleCannotBeOpenedError, WaitHandleNotFoundError
from ..names import Name, Scope
from .names import kernel_name, scope_of

if TYPE_CHECKING:
    from ..._native.kernel_objects import Kernel

__all__ = [
    "EITHER",
    "EVENT",
    "MOST_WATCHED",
    "OPEN",
    "SEMAPHORE",
    "Event",
    "NamedSignal",
    "Semaphore",
    "key_of",
    "number_of",
    "open_signal",
    "records_of",
    "refused",
]

EITHER, OPEN = 2, 3
MOST_WATCHED = 62
EVENT, SEMAPHORE = "event", "semaphore"
_WORDS = {
    EVENT: "an event",
    SEMAPHORE: "a semaphore",
    "mutex": "a mutex",
    "map": "a map",
    "timer": "a timer",
    None: "another kind of object",
}
_MISSING, _NO_PATH, _OTHER_KIND, _BAD_NAME = 2, 3, 6, 123  # of the system's errors


def key_of(name: Name) -> str:
    """The same for all names of one object."""
    return f"{scope_of(name.scope)}\\{name.text}"


def number_of(name: Name) -> int:
    """The same for all names of one object, in all processes."""
    return int.from_bytes(sha256(key_of(name).encode()).digest()[:7], "little")


def records_of(name: Name, kind: str) -> list[str]:
    """Names for the record of an object. A section of all sessions needs a privilege: without it the record is this
    session's."""
    scopes = dict.fromkeys((scope_of(name.scope), Scope.LOCAL.value))
    return [f"{each}\\memorymapped-{kind}-{name.text}" for each in scopes]


class NamedSignal:
    """The handle of a named event or semaphore. `parameter`: what its creator said of it: whether it is reset by hand,
    its highest count."""

    __slots__ = ("created", "generation", "kernel", "name", "parameter")

    fd = -1
    """There is no file."""
    path = None

    def __init__(self, name: Name, kernel: Kernel, created: bool, parameter: int) -> None:
        self.name = name.given
        self.kernel = kernel
        self.created = created
        self.parameter = parameter
        self.generation = (0, number_of(name), 0)

    def name_alive(self) -> bool:
        """Whether the name still leads to this object: it does as long as there is a handle."""
        return not self.kernel.closed

    def close(self) -> None:
        """Closes the handle; a second call does nothing."""
        self.kernel.end()


def open_signal(name: Name, kind: str, how: int, parameter: int = 0, value: int = 0) -> NamedSignal:
    """Opens the event or semaphore of a name, creates it with these values, or does whichever is possible. `parameter`
    also of an existing one, if its rules do not let this user ask for it.

    WaitHandleNotFoundError: there is none. WaitHandleCannotBeOpenedError: the name stands for one of another kind.
    PermissionError."""
    known, records, create = kernel_name(name), records_of(name, kind), how != OPEN
    try:
        if kind == EVENT:
            return NamedSignal(name, *open_event(known, records, create, bool(parameter), bool(value)))
        return NamedSignal(name, *open_semaphore(known, records, create, parameter or 1, value))
    except OSError as error:
        raise refused(error, name, kind) from None


def refused(error: OSError, name: Name, kind: str) -> OSError:
    """What the system's refusal of a name means."""
    number = error.winerror  # type: ignore[attr-defined]
    if number == _MISSING:
        return WaitHandleNotFoundError(
            errno.ENOENT, f"nobody holds {_WORDS[kind]} named {name.given!r}: it ends with its last holder"
        )
    if number == _OTHER_KIND:
        there = kind_of(kernel_name(name))
        return WaitHandleCannotBeOpenedError(
            errno.EINVAL,
            f"{name.given!r} is {_WORDS[there]}, not {_WORDS[kind]}: open it as that, or take another name (on Windows "
            "maps, mutexes, events and semaphores share their names)",
        )
    if number in (_NO_PATH, _BAD_NAME):
        return InvalidNameError(f"{name.given!r} is not a name: the system refuses it (error {number})")
    return error

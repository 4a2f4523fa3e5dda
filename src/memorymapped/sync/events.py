# SPDX-License-Identifier: MIT
"""Events: something that one process waits for and another signals. .NET's, with names on Linux as well."""

from __future__ import annotations

import errno

from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING
from ..enums import EventResetMode
from ..errors import WaitHandleCannotBeOpenedError
from ..record import Record
from ..system.signals import EVENT, Event, NamedSignal
from .handles import NamedHandle

if TYPE_CHECKING:
    from typing import Self

__all__ = [
    "AutoResetEvent",
    "EventResetMode",
    "EventStatistics",
    "EventWaitHandle",
    "ManualResetEvent",
    "checked_mode",
    "checked_state",
]


class EventStatistics(Record):
    """The state of an event: whether it `is_set`, and how many `waiters` there are. Waiters that were killed are still
    counted: there are that many at most."""

    __slots__ = {
        "is_set": "Whether it is signalled.",
        "waiters": "How many wait, at most.",
    }

    def __init__(self, is_set: bool, waiters: int) -> None:
        self.is_set = is_set
        self.waiters = waiters


def checked_state(initial_state: object, but: str = "") -> bool:
    """The state of a new event. `but`: what else was meant, perhaps."""
    if not isinstance(initial_state, int):
        raise TypeError(f"initial_state is True or False, not {type(initial_state).__name__}{but}")
    return bool(initial_state)


def checked_mode(mode: EventResetMode) -> EventResetMode:
    """The mode of a new event: one, or its number."""
    if not isinstance(mode, int):
        EventResetMode._missing_(mode)  # raises, also for 1.0, which is equal to one
    return EventResetMode(mode)


@adopt_methods
class EventWaitHandle(NamedHandle, Event):
    """An event: set or not. `set` lets waiters go on: one of them, which resets it (AUTO_RESET), or all until `reset`
    (MANUAL_RESET). Signals do not add up: setting what is set changes nothing.

    `name`: other processes get the same event by this name, with this class or `open_existing`; it lives as long as
    somebody has it open. If it exists, `initial_state` and `mode` are ignored (`created_new` tells). Without a name
    only forked children share it. `wait_one` (or `wait`) waits. A context manager that closes it."""

    __slots__ = ()
    _kind = EVENT

    def __init__(self, initial_state: bool, mode: EventResetMode, name: str | None = None) -> None:
        which = "second" if self._only is not None else "third"
        state = checked_state(initial_state, f": the name comes {which}")
        self._make(name, checked_mode(mode).value, state)

    def _check(self, backing: NamedSignal) -> None:
        if self._only is not None and backing.parameter != self._only:
            mode = EventResetMode(backing.parameter)
            raise WaitHandleCannotBeOpenedError(
                errno.EINVAL, f"{backing.name!r} is an event of mode {mode.name}, no {type(self).__name__}"
            )

    @property
    def mode(self) -> EventResetMode:
        """Whether it is reset by who gets it or by hand, as its creator said. Still readable after close."""
        return EventResetMode(self._parameter)

    def statistics(self) -> EventStatistics:
        """Its state at this moment. ClosedError; MemoryFaultError."""
        word, waiters = self._look()
        return EventStatistics(bool(word & 1 if self._parameter else word), waiters)

    def _shown(self) -> str:
        return f", {self.mode.name}" if self._only is None else ""

    def __enter__(self) -> Self:
        if self.closed:
            self._look()  # raises
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


@adopt_methods
class AutoResetEvent(EventWaitHandle):
    """An event that lets one waiter go on each time it is set. .NET's has no name; this may have one, which must not
    stand for an event that is reset by hand (WaitHandleCannotBeOpenedError)."""

    __slots__ = ()
    _only = EventResetMode.AUTO_RESET

    def __init__(self, initial_state: bool = False, name: str | None = None) -> None:
        super().__init__(initial_state, EventResetMode.AUTO_RESET, name)


@adopt_methods
class ManualResetEvent(EventWaitHandle):
    """An event that lets all waiters go on from `set` to `reset`. .NET's has no name; this may have one, which must not
    stand for an event that resets itself (WaitHandleCannotBeOpenedError)."""

    __slots__ = ()
    _only = EventResetMode.MANUAL_RESET

    def __init__(self, initial_state: bool = False, name: str | None = None) -> None:
        super().__init__(initial_state, EventResetMode.MANUAL_RESET, name)

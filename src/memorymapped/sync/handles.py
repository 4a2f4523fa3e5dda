# SPDX-License-Identifier: MIT
"""What events and semaphores have in common: names, their end, pickling.

Named ones are opened by whoever knows the name, and the name lives as long as somebody has one open, as a map's does.
Unnamed ones are shared with forked children, and with nobody else.
"""

from __future__ import annotations

import errno
import sys
import warnings

from .._typing import TYPE_CHECKING
from ..errors import ClosedError, WaitHandleCannotBeOpenedError, WaitHandleNotFoundError
from ..handover import is_same
from ..system.names import parse
from ..system.signals import EITHER, OPEN, NamedSignal, open_signal
from .awaiting import AsyncWait, was_closed

if TYPE_CHECKING:
    from typing import Any, Self

__all__ = ["NamedHandle"]


class NamedHandle(AsyncWait):
    """Base of the events and semaphores that are no part of a map: made from a name, or without; closed; pickled by the
    name."""

    __slots__ = ()

    _kind: str
    """The kind of named object (`system`)."""
    _only: int | None = None
    """What its creator must have said of it; None: anything."""

    if TYPE_CHECKING:  # the compiled half

        @property
        def _backing(self) -> NamedSignal | None: ...
        @property
        def closed(self) -> bool: ...
        @property
        def _address(self) -> int: ...
        def _map(self, fd: int, parameter: int, value: int, backing: object, /) -> None: ...
        def _unmap(self) -> None: ...

    def _make(self, name: str | None, parameter: int, value: int) -> None:
        """A new one, or the existing one of this name. None and "" are no name, as in .NET's constructors."""
        if name is None or name == "":
            self._map(-1, parameter, value, None)
        else:
            self._attach(open_signal(parse(name), self._kind, EITHER, parameter, value))

    def _attach(self, backing: NamedSignal) -> None:
        try:
            self._check(backing)
            self._map(backing.fd, backing.parameter, 0, backing)
        except BaseException:
            backing.close()
            raise

    def _check(self, backing: NamedSignal) -> None:
        """Refuses an existing one that this class cannot be."""

    @classmethod
    def open_existing(cls, name: str) -> Self:
        """The one that somebody has open under this name. WaitHandleNotFoundError (a FileNotFoundError) if nobody has;
        WaitHandleCannotBeOpenedError if the name stands for another kind; PermissionError, DamagedObjectError,
        ForeignObjectError; TypeError and ValueError for what is no name."""
        if name is None:
            raise TypeError("open_existing needs a name")
        self = cls.__new__(cls)
        self._attach(open_signal(parse(name), cls._kind, OPEN, cls._only or 0))
        return self

    @classmethod
    def try_open_existing(cls, name: str) -> Self | None:
        """As open_existing, but None if there is none of this name and kind."""
        try:
            return cls.open_existing(name)
        except WaitHandleCannotBeOpenedError:
            return None

    # ---- what it is

    @property
    def name(self) -> str | None:
        """The name as it was given; None without one. Still readable after close."""
        return None if self._backing is None else self._backing.name

    @property
    def created_new(self) -> bool:
        """Whether this call made it. False: it existed, and the arguments for a new one were ignored."""
        return self._backing is None or self._backing.created

    @property
    def name_alive(self) -> bool:
        """Whether the name still leads to this object: not after close, and not if somebody removed its file."""
        return self._backing is not None and not self.closed and self._backing.name_alive()

    def _order(self) -> tuple[str, int, int]:
        """The same for all objects of one event or semaphore; its place in the order in which wait_all takes."""
        backing = self._backing
        return (self._kind, 0, self._address) if backing is None else (self._kind, *backing.generation[:2])

    def _shown(self) -> str:
        """What is shown of it beside its name."""
        return ""

    def __repr__(self) -> str:
        name = "unnamed" if self.name is None else repr(self.name)
        try:
            shown = self._shown()
        except PermissionError:  # it may not be asked
            shown = ""
        return f"<{type(self).__name__} {name}{shown}{', closed' if self.closed else ''}>"

    # ---- the end

    def close(self) -> None:
        """Ends this object; a second call does nothing. Threads that wait by it get a ClosedError. The name, and what
        is behind it, ends with its last holder in any process."""
        self._unmap()
        if self._backing is not None:
            self._backing.close()
        was_closed(self)

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    def __del__(self) -> None:
        if self._backing is not None and not self.closed and not sys.is_finalizing():
            try:
                warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
            finally:  # also where warnings are errors
                self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        if self._backing is None:
            raise TypeError(f"{self!r} cannot be pickled: only a forked child can share it. Give it a name")
        return _reopened, (type(self), self._backing.name, self._backing.generation)


def _reopened(cls: type[NamedHandle], name: str, generation: tuple[int, int, int]) -> NamedHandle:
    opened = cls.open_existing(name)
    if opened._backing is None or not is_same(opened._backing.generation, generation):
        opened.close()
        raise WaitHandleNotFoundError(
            errno.ENOENT, f"{name!r} that was pickled has ended; the name stands for a newer one now"
        )
    return opened

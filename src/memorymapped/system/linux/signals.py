# SPDX-License-Identifier: MIT
"""Named events and semaphores: protocol A for the name (`objects`), and a file of one small record.

The record is 64 bytes: what it is, written before anybody sees it and never changed; then the two words that processes
wait for (`_native/futex.pyx`). The descriptor is always for reading and writing, in every scope: to wait is to write.

A `Global\\` one may be used by every user, as .NET's global mutexes may (mode 0666): it is for users who trust each
other. What lies in the file is looked at when it is opened, and nothing in it is an address or a length.
"""

from __future__ import annotations

import errno
import os
import struct

from ..._native import lifetime
from ..._native.futex import LARGEST_COUNT, RECORD_SIZE, WORD_OFFSET
from ..._typing import TYPE_CHECKING
from ...errors import DamagedObjectError, WaitHandleCannotBeOpenedError, WaitHandleNotFoundError
from ..names import Name, Scope
from .global_scope import is_live_anywhere
from .objects import OPEN, acquire, leads_to, release
from .places import EVENT, FAIR, SEMAPHORE, Place, place_of

if TYPE_CHECKING:
    from ..._native.lifetime import Held

__all__ = ["EVENT", "MUTEX", "SEMAPHORE", "NamedSignal", "is_live", "open_signal", "refuse_other_kind"]

_MAGIC = b"\x89MMFSYN\n"
_VERSION = 1
_HEAD = struct.Struct("=8s4sIII8xII")  # magic, kind, version, parameter, 0; the word, the waiters
_TAGS = {EVENT: b"EVNT", SEMAPHORE: b"SEMA"}
MUTEX = "mutex"  # not protocol A's, but .NET's; what may not have a name at the same time as these
_WORDS = {EVENT: "an event", SEMAPHORE: "a semaphore", FAIR: "a fair mutex", MUTEX: "a mutex"}
_LARGEST = {EVENT: 1, SEMAPHORE: LARGEST_COUNT}
assert _HEAD.size == WORD_OFFSET + 8


class NamedSignal:
    """The file of a named event or semaphore, held. `parameter`: what its creator said of it: whether it is reset by
    hand, its highest count."""

    __slots__ = ("created", "held", "name", "parameter", "place")

    def __init__(self, name: str, held: Held, place: Place) -> None:
        self.name = name
        self.held = held
        self.place = place
        self.created = held.created
        self.parameter = 0

    @property
    def fd(self) -> int:
        """The descriptor; -1 after close."""
        return self.held.fd

    @property
    def generation(self) -> tuple[int, int, int]:
        """(device, inode, mark): what tells it from all others, and from later ones that get its inode number. Still
        there after close."""
        return self.held.device, self.held.inode, self.held.mark

    @property
    def path(self) -> str:
        """The file."""
        return self.place.path

    def name_alive(self) -> bool:
        """Whether the name still leads to this object."""
        return self.held.fd >= 0 and leads_to(self.place, self.held)

    def close(self) -> None:
        """Lets go of the name; a second call does nothing."""
        release(self.held, self.place)


def open_signal(name: Name, kind: str, how: int, parameter: int = 0, value: int = 0) -> NamedSignal:
    """Opens the event or semaphore of a name, creates it with these values, or does whichever is possible.

    WaitHandleNotFoundError: nobody holds one. WaitHandleCannotBeOpenedError: the name stands for one of another kind.
    DamagedObjectError: the file does not hold what it should."""

    def prepare(fd: int) -> None:
        head = _HEAD.pack(_MAGIC, _TAGS[kind], _VERSION, parameter, 0, value, 0)
        os.pwrite(fd, head, 0)
        os.fchmod(fd, 0o666 if name.scope is Scope.GLOBAL else 0o600)

    try:
        held, place = acquire(name, kind, how, os.O_RDWR, RECORD_SIZE, True, prepare)
    except FileNotFoundError:
        if how != OPEN:
            raise  # it is the root that is missing
        refuse_other_kind(name, kind)
        raise WaitHandleNotFoundError(
            errno.ENOENT, f"nobody holds {_WORDS[kind]} named {name.given!r}: it ends with its last holder"
        ) from None
    signal = NamedSignal(name.given, held, place)
    try:
        if held.created:
            signal.parameter = parameter
            refuse_other_kind(name, kind)
        else:
            signal.parameter = _read(held.fd, kind, name)
    except BaseException:
        signal.close()
        raise
    return signal


def refuse_other_kind(name: Name, kind: str) -> None:
    """WaitHandleCannotBeOpenedError if the name stands for an event, a semaphore, a mutex or a fair mutex, and `kind`
    is another. Who creates one asks when others can see it: of two that create the name at once as two kinds, one at
    least sees the other."""
    for other, what in _WORDS.items():
        if other != kind and is_live(name, other):
            raise WaitHandleCannotBeOpenedError(
                errno.EINVAL, f"{name.given!r} is {what}, not {_WORDS[kind]}: open it as that, or take another name"
            )


def is_live(name: Name, kind: str) -> bool:
    """Whether somebody holds an object of this name and kind."""
    if kind == MUTEX:
        from .mutexes import is_in_use

        return is_in_use(name)
    place = place_of(name, kind, create=False)
    if place is None:
        return False
    if name.scope is Scope.GLOBAL:
        return is_live_anywhere(place.directory, name, kind)
    return bool(lifetime.is_held(place.directory, place.file))


def _read(fd: int, kind: str, name: Name) -> int:
    """The parameter of an existing record, which is checked."""
    head = os.pread(fd, _HEAD.size, 0)
    if len(head) < _HEAD.size or os.fstat(fd).st_size < RECORD_SIZE:
        raise _damaged(name, kind, "it is too short")
    magic, tag, version, parameter, reserved, _, _ = _HEAD.unpack(head)
    if magic != _MAGIC or tag != _TAGS[kind]:
        raise _damaged(name, kind, "there is something else in it")
    if version != _VERSION:
        raise _damaged(name, kind, f"it has version {version} of the format, and only {_VERSION} is known here")
    if reserved or parameter > _LARGEST[kind] or (kind == SEMAPHORE and parameter < 1):
        raise _damaged(name, kind, f"its values cannot be ({parameter}, {reserved})")
    return int(parameter)


def _damaged(name: Name, kind: str, reason: str) -> DamagedObjectError:
    return DamagedObjectError(
        errno.EBADMSG, f"the file behind {name.given!r} is not that of {_WORDS[kind]}: {reason}", name.given
    )

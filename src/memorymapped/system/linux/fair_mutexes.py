# SPDX-License-Identifier: MIT
"""Named fair mutexes: protocol A for the name (`objects`), and a file of one fair mutex (`_native/fair.pyx`).

The file is prepared before anybody sees it, and looked at when it is opened. One entry for each file and process,
shared by all handles of a name: `open_mutexes.py`.

A `Global\\` one may be used by every user, as .NET's global mutexes may (mode 0666): it is for users who trust each
other."""

from __future__ import annotations

import errno
import os

from ..._native import fair
from ..._typing import TYPE_CHECKING
from ...errors import DamagedObjectError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from .mutexes import is_in_use
from .objects import EITHER, OPEN, acquire, process_lock, release
from .open_mutexes import OpenMutex
from .places import FAIR, Place
from .signals import refuse_other_kind

if TYPE_CHECKING:
    from typing import ClassVar

    from ..._native.fair import FairCore
    from ..._native.lifetime import Held

__all__ = ["NamedFairMutex", "open_fair_mutex"]


class NamedFairMutex(OpenMutex):
    """A named fair mutex as this process has it open: shared by all handles of its name."""

    __slots__ = ("held", "place")

    kept: ClassVar[set[OpenMutex]] = set()

    def __init__(self, name: Name, held: Held, place: Place, core: FairCore) -> None:
        super().__init__(name, core, held.device, held.inode)
        self.held = held
        self.place = place

    @property
    def path(self) -> str:
        """Its file."""
        return self.place.path

    def _let_go(self) -> None:
        if _entries.get((self.device, self.inode)) is self:
            del _entries[self.device, self.inode]
        release(self.held, self.place)


_entries: dict[tuple[int, int], NamedFairMutex] = {}


def open_fair_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[NamedFairMutex | None, bool]:
    """The fair mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. WaitHandleCannotBeOpenedError: the name stands for another kind;
    DamagedObjectError; and what `objects.acquire` raises."""
    made: list[FairCore] = []

    def prepare(fd: int) -> None:
        os.pwrite(fd, fair.blank(), 0)
        made[:] = (fair.map_fair(fd),)
        if initially_owned:
            made[0].try_take()
        os.fchmod(fd, 0o666 if name.scope is Scope.GLOBAL else 0o600)

    with process_lock:
        NamedFairMutex.sweep()
    try:
        held, place = acquire(name, FAIR, EITHER if create else OPEN, os.O_RDWR, fair.SIZE, True, prepare)
    except FileNotFoundError:
        _refuse_other_kind(name)
        return None, False
    entry = None
    try:
        if held.created:
            # After it can be seen: of two that create the name at once as two kinds, one sees the other.
            _refuse_other_kind(name)
        with process_lock:
            entry = _entries.get((held.device, held.inode))
            if entry is None or entry.held.fd < 0:
                core = made[0] if held.created else _map(held, name)
                entry = _entries[held.device, held.inode] = NamedFairMutex(name, held, place, core)
            else:
                entry.open_again()
    except BaseException:
        release(held, place)
        raise
    if entry.held is not held:
        release(held, place)  # one hold is enough for this process
    return entry, held.created


def _map(held: Held, name: Name) -> FairCore:
    size = os.fstat(held.fd).st_size
    if size != fair.SIZE:
        raise DamagedObjectError(
            errno.EBADMSG,
            f"the file behind the fair mutex {name.given!r} has {size} bytes, not {fair.SIZE}",
            name.given,
        )
    core = fair.map_fair(held.fd)
    try:
        fair.check(core)
    except DamagedObjectError as error:
        raise DamagedObjectError(
            errno.EBADMSG, f"the file behind {name.given!r} is damaged: {error.strerror}", name.given
        ) from None
    return core


def _refuse_other_kind(name: Name) -> None:
    refuse_other_kind(name, FAIR)
    if is_in_use(name):
        raise WaitHandleCannotBeOpenedError(
            errno.EINVAL, f"{name.given!r} is a mutex, not a fair mutex: open it as that, or take another name"
        )

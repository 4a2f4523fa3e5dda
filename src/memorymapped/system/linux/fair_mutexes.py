# SPDX-License-Identifier: MIT
"""Named fair mutexes: protocol A for the name (`objects`), and a file of one fair mutex (`_native/fair.pyx`).

The file is prepared before anybody sees it, and looked at when it is opened. One entry for each file and process: all
handles of a name share who owns the mutex, and how often. An entry whose last handle is closed by the owner gives the
mutex back as abandoned. If another thread of ours owns it, the entry stays, and the name with it, until that thread has
released it, or has ended and somebody looks; nothing owned, or waited for, is ever unmapped.

A `Global\\` one may be used by every user, as .NET's global mutexes may (mode 0666): it is for users who trust each
other."""

from __future__ import annotations

import contextlib
import errno
import os

from ..._native import fair
from ..._typing import TYPE_CHECKING
from ...errors import DamagedObjectError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from .mutexes import is_in_use
from .objects import EITHER, OPEN, acquire, process_lock, release
from .places import FAIR, Place
from .signals import refuse_other_kind

if TYPE_CHECKING:
    from ..._native.fair import FairCore
    from ..._native.lifetime import Held

__all__ = ["NamedFairMutex", "open_fair_mutex"]


class NamedFairMutex:
    """A named fair mutex as this process has it open: shared by all handles of its name."""

    __slots__ = ("core", "device", "handles", "held", "inode", "name", "place")

    def __init__(self, name: Name, held: Held, place: Place, core: FairCore) -> None:
        self.name = name
        self.held = held
        self.place = place
        self.core = core
        self.device, self.inode = held.device, held.inode
        self.handles = 0

    @property
    def path(self) -> str:
        """Its file."""
        return self.place.path

    def close(self) -> None:
        """Closes one handle; with the last one, what the module's head says."""
        with process_lock:
            self.handles -= 1
            if self.handles > 0:
                return
            with contextlib.suppress(OSError):  # damaged: it stays as it is, and mapped
                self.core.abandon()
            if self.core.owned_by_us:
                self.core.when_free = self._free
                _sweep()
            else:
                self._end()

    def _free(self) -> None:
        with process_lock:
            if self.handles == 0:
                self._end()

    def _end(self) -> None:
        """The last handle has gone, and no thread of ours owns it."""
        if _entries.get((self.device, self.inode)) is self:
            del _entries[self.device, self.inode]
        self.core.when_free = None
        del self.core  # unmapped, also if somebody still refers to a closed handle
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

    _sweep()
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
            entry.handles += 1
            entry.core.when_free = None
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


def _sweep() -> None:
    """Ends the entries without handles whose owner, a thread of ours, has ended."""
    with process_lock:
        for entry in list(_entries.values()):
            if entry.handles == 0:
                with contextlib.suppress(OSError):  # damaged: nothing to be done
                    if entry.core.try_take():
                        entry.core.give_back(abandoned=True)  # calls _free, which ends it

# SPDX-License-Identifier: MIT
"""Named fair mutexes: memory of one fair mutex (`_native/fair.pyx`) by a name of its own kind.

Nobody prepares it: `fair.begin` makes zeros a free one, whoever comes first, and changes nothing of one that is in use.
All handles of a process for a name share one entry, which is kept while a thread of ours owns the mutex."""

from __future__ import annotations

import errno
from _thread import RLock
from contextlib import suppress

from ..._native import fair
from ..._native.win32 import FILE_MAP_READ, FILE_MAP_WRITE, PAGE_READWRITE, close_handle, create_section, open_section
from ..._native.win32 import identity as identify
from ..._typing import TYPE_CHECKING
from ...errors import DamagedObjectError
from ..names import Name
from .names import kernel_name

if TYPE_CHECKING:
    from ..._native.fair import FairCore

__all__ = ["Lease", "open_fair_mutex"]

_lock = RLock()
_entries: dict[int, _Entry] = {}


class _Entry:
    """A fair mutex as this process has it open."""

    def __init__(self, handle: int, inode: int) -> None:
        self.handle = handle
        self.inode = inode
        self.handles = 0
        self.core: FairCore = fair.map_fair(handle)
        fair.begin(self.core)

    def let_go(self) -> None:
        """No handle is left. Under the lock."""
        with suppress(DamagedObjectError):  # its memory stays as it is, and mapped
            self.core.abandon()
        if self.core.owned_by_us and not self.core.owned:
            self.core.on_free = self.released
        else:
            self.end()

    def released(self) -> None:
        """The thread that owned it without a handle has released it."""
        with _lock:
            if not self.handles:
                self.end()

    def end(self) -> None:
        self.core.on_free = None
        if _entries.pop(self.inode, None) is not None:
            close_handle(self.handle)


class Lease:
    """A handle's share of a fair mutex, in whose `handles` it is counted already. It ends with `close`, or when it is
    dropped."""

    def __init__(self, name: Name, entry: _Entry) -> None:
        self.name = name
        self.core = entry.core
        self.place = 0, entry.inode
        self.generation = 0, entry.inode, 0
        self._entry: _Entry | None = entry
        entry.core.on_free = None

    @property
    def handles(self) -> int:
        """How many handles of this process there are."""
        return self._entry.handles if self._entry is not None else 0

    @property
    def name_alive(self) -> bool:
        """Whether the name still leads to it: as long as it is open."""
        return self._entry is not None

    def close(self) -> None:
        """Gives it back; a second call does nothing."""
        with _lock:
            entry, self._entry = self._entry, None
            if entry is not None:
                entry.handles -= 1
                if not entry.handles:
                    entry.let_go()

    def __del__(self) -> None:
        self.close()


def open_fair_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
    """The fair mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. DamagedObjectError; PermissionError."""
    scope, found, text = kernel_name(name).rpartition("\\")
    known = f"{scope}{found}memorymapped-fair-{text}"
    with _lock:
        try:
            if create:
                handle, existed = create_section(known, -1, PAGE_READWRITE, fair.SIZE, False)
            else:
                handle, existed = open_section(known, FILE_MAP_READ | FILE_MAP_WRITE, False), True
        except FileNotFoundError:
            return None, False
        inode = identify(handle)[1]
        entry = _entries.get(inode)
        if entry is not None:
            entry.handles += 1  # at once: what is made next may collect garbage, the last of its leases say
            close_handle(handle)
        else:
            try:
                entry = _entries[inode] = _Entry(handle, inode)
                entry.handles = 1
            except DamagedObjectError as error:
                close_handle(handle)
                raise DamagedObjectError(
                    errno.EBADMSG, f"the memory behind {name.given!r} is damaged: {error.strerror}", name.given
                ) from None
            except BaseException:
                close_handle(handle)
                raise
        lease = Lease(name, entry)
        if initially_owned and not existed:
            lease.core.try_take()
        return lease, not existed

# SPDX-License-Identifier: MIT
"""A named mutex, plain or fair, as this process has it open: one entry for all handles of its name.

All handles of a process share who owns the mutex, and how often. An entry whose last handle is closed by the owner
gives the mutex back as abandoned. If another thread of ours owns it, the entry is kept as it is until that thread has
released it, or has ended and somebody looks (`sweep`): nothing that is owned, or waited for, is ever unmapped, and the
name stays with it."""

from __future__ import annotations

import contextlib

from ..._typing import TYPE_CHECKING
from .objects import process_lock

if TYPE_CHECKING:
    from typing import ClassVar, Self

    from ..._native.robust import RobustMutex
    from ..names import Name

__all__ = ["OpenMutex"]


class OpenMutex:
    """Base of NamedMutex and NamedFairMutex. `core` is the mutex in shared memory; each kind has its own `kept`."""

    __slots__ = ("core", "device", "handles", "inode", "name")

    kept: ClassVar[set[OpenMutex]]  # those without handles, which a thread of ours owns

    def __init__(self, name: Name, core: RobustMutex, device: int, inode: int) -> None:
        self.name = name
        self.core = core
        self.device = device
        self.inode = inode
        self.handles = 1

    def open_again(self) -> Self:
        """One more handle. Under the process lock."""
        self.handles += 1
        self.core.when_free = None
        self.kept.discard(self)
        return self

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
                self.kept.add(self)
                self.sweep()
            else:
                self._end()

    def _free(self) -> None:
        with process_lock:
            if self.handles == 0 and hasattr(self, "core"):
                self._end()

    def _end(self) -> None:
        """The last handle has gone, and no thread of ours owns it."""
        self.kept.discard(self)
        self.core.when_free = None
        del self.core  # unmapped, also if somebody still refers to a closed handle
        self._let_go()

    def _let_go(self) -> None:
        """The process has it open no more."""
        raise NotImplementedError

    @classmethod
    def sweep(cls) -> None:
        """Ends the entries without handles whose owner, a thread of ours, has ended. Under the process lock."""
        for entry in list(cls.kept):
            with contextlib.suppress(OSError):  # damaged: nothing to be done
                if entry.core.try_take():
                    entry.core.give_back(abandoned=True)  # calls _free, which ends it

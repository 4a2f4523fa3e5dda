# SPDX-License-Identifier: MIT
"""A named mutex around what a command does."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from .. import AbandonedMutexError, Mutex
from .ending import Failure
from .targets import explained
from .words import shown

__all__ = ["NotInTime", "guarded", "locked"]


class NotInTime(Failure):
    """What was waited for did not come within the time-out."""


@contextlib.contextmanager
def locked(
    name: str, timeout: float | None = None, *, create: bool = False, recover: bool = False
) -> Iterator[AbandonedMutexError | None]:
    """Owns the mutex of this name; yields what told that its last owner died, None if nothing did.

    Without `recover` that is a Failure, and the mutex is given back so that the next one is told, too. NotInTime;
    Failure if nobody has it open and it is not to be made."""
    with explained(name):
        mutex = Mutex(False, name) if create else Mutex.try_open_existing(name)
    if mutex is None:
        raise Failure(f"{shown(name)}: nobody has a mutex of this name open")
    with contextlib.closing(mutex):  # closed by its owner, it is given back as abandoned
        died = None
        try:
            with explained(name):
                if not mutex.wait_one(timeout):
                    raise NotInTime(f"{shown(name)}: not to be had within {timeout:g} s: {_owner(mutex)}")
        except AbandonedMutexError as error:
            died = error
            if not recover:
                raise Failure(
                    f"{shown(name)}: its last owner died: what it guards may be half changed; the next one who takes "
                    "it is told too (--recover goes on in spite of that)"
                ) from None
        try:
            yield died
        finally:
            mutex.release_mutex()


def guarded(name: str | None) -> contextlib.AbstractContextManager[object]:
    """As `locked`, for an option --lock, which may be missing."""
    return contextlib.nullcontext() if name is None else locked(name)


def _owner(mutex: Mutex) -> str:
    owner = mutex.statistics().owner_process
    return "somebody owns it" if owner is None else f"process {owner} owns it"

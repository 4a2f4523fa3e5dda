# SPDX-License-Identifier: MIT
"""A named mutex around what a command does."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import TypeVar

import click

from .. import AbandonedMutexError, Mutex
from .completing import complete_name
from .ending import Failure
from .targets import explained
from .words import shown

__all__ = ["NotInTime", "guarded", "lock_options", "locked"]

Command = TypeVar("Command", bound=Callable[..., object])


class NotInTime(Failure):
    """What was waited for did not come within the time-out."""


@contextlib.contextmanager
def locked(
    name: str, timeout: float | None = None, *, create: bool = False, recover: bool = False, mends: bool = True
) -> Iterator[AbandonedMutexError | None]:
    """Owns the mutex of this name; yields what told that its last owner died, None if nothing did.

    Without `recover` that is a Failure, and the mutex is given back so that the next one is told, too. So it is if what
    is done inside raises, or is nothing that `mends`. NotInTime; Failure if nobody has it open and it is not to be
    made."""
    if not name:
        raise Failure("a mutex without a name guards nothing")
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
        except BaseException:
            mends = False
            raise
        finally:
            if died is None or mends:
                mutex.release_mutex()


def lock_options(does: str) -> Callable[[Command], Command]:
    """--lock and --recover, of a command that `does` ("Write") something while it owns the mutex."""
    lock = click.option(
        "--lock", metavar="MUTEX", shell_complete=complete_name("mutex"), help=f"{does} while owning this named mutex."
    )
    recover = click.option("--recover", is_flag=True, help="Go on if the last owner of MUTEX died, and say so.")
    return lambda command: lock(recover(command))


@contextlib.contextmanager
def guarded(name: str | None, recover: bool, *, mends: bool = True) -> Iterator[dict[str, bool]]:
    """As `locked`, for these options. It yields what --json says of it; that the last owner died is told at the end,
    too. UsageError for --recover alone."""
    if name is None:
        if recover:
            raise click.UsageError("--recover is about the mutex of --lock")
        yield {}
        return
    with locked(name, recover=recover, mends=mends) as died:
        yield {"abandoned": died is not None}
    if died is not None:
        print(f"{shown(name)}: its last owner died; this went on in spite of that", file=sys.stderr)


def _owner(mutex: Mutex) -> str:
    owner = mutex.statistics().owner_process
    return "somebody owns it" if owner is None else f"process {owner} owns it"

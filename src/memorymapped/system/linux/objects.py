# SPDX-License-Identifier: MIT
"""The life of named objects of every kind: protocol A (`_native/lifetime.pyx`) over the folders of `directories.py`.

One process-wide lock is held around every create, open and close, and by fork: a child must not be made while a
descriptor of ours has the gate, which it would then share. The lock is recursive, for a signal handler or a collected
object that closes a map in the midst of it. Nobody waits for another process with the lock held (but a close, for 2 s
at most).

A signal handler may raise at every line here. So what must not be left behind, a hold or a lock, is never in the hands
of Python code alone: a Held or a Flock gives it back when it is dropped, and what must be one step is one native call.

Memory of the dead is given back: by every open or create of the same name (protocol A), by each creation, which looks
at two other files in turn, and by whoever creates or grows a map and finds no space, who looks at all of them and tries
once more.
"""

from __future__ import annotations

import atexit
import errno
import functools
import os
import sys
import time

from ..._native import lifetime
from ..._native.lifetime import CREATE, OPEN, Held, all_held, at_fork, locked, process_lock
from ..._typing import TYPE_CHECKING
from ...errors import NameInUseError
from ..names import Name, Scope
from . import directories, global_scope
from .holders import describe
from .places import Place, folder_is_dead, place_of
from .space import NO_SPACE, out_of_space, sweep

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from .backing import Backing

    Prepare = Callable[[int], None]

__all__ = [
    "CREATE",
    "EITHER",
    "OPEN",
    "acquire",
    "at_exit",
    "at_fork",
    "close_all",
    "process_lock",
    "release",
]

EITHER = OPEN | CREATE
LIMIT = 60.0  # seconds to wait for another process that is creating or removing the same name
CLOSE_LIMIT = 2.0  # seconds that a close waits for the global gate before it leaves a stale file behind
_GLOBAL = Scope.GLOBAL
_SPACE = (*NO_SPACE, errno.EFBIG)

at_exit: list[Callable[[], None]] = []
"""What else is to be closed when the process ends."""


def acquire(
    name: Name,
    kind: str,
    how: int,
    flags: int = os.O_RDWR,
    size: int = 0,
    reserve: bool = False,
    prepare: Prepare | None = None,
) -> tuple[Held, Place]:
    """Holds the object of a name: opens it (FileNotFoundError), creates it (NameInUseError), or either.

    A new one gets `size` bytes, and mode and contents from `prepare(fd)` (None: 0600), before anybody sees it. If
    there is no space, what nobody holds any more is removed and it is tried once more. TimeoutError if others are at
    work on the name for a minute."""
    swept = False
    deadline = 0.0
    pause = 0.0001
    attempt = global_scope.attempt if name.scope is _GLOBAL else _attempt
    while True:
        try:
            held, place = locked(attempt, name, kind, how, flags, size, reserve, prepare)
            if type(held) is Held:
                assert place is not None
                return held, place
        except OSError as error:
            if error.errno not in _SPACE or not how & CREATE:
                raise
            if not swept and error.errno in NO_SPACE and sweep():
                swept = True
                continue
            place = place_of(name, kind, create=True)
            assert place is not None
            raise out_of_space(error, place.directory.fd, size, name.given) from error
        if held is None:
            if how & CREATE:
                raise NameInUseError(name.given, functools.partial(describe, place.path if place else ""))
            raise FileNotFoundError(
                errno.ENOENT, f"nobody holds an object named {name.given!r}: it ends with its last holder"
            )
        deadline = deadline or time.monotonic() + LIMIT
        if time.monotonic() > deadline:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"{name.given!r} has been created or removed by another process for {LIMIT:.0f} s",
            )
        time.sleep(pause)  # signals are handled here; no lock is held and nothing is open
        pause = min(pause * 1.5, 0.005)


def _attempt(
    name: Name, kind: str, how: int, flags: int, size: int, reserve: bool, prepare: Prepare | None
) -> tuple[Any, Place | None]:
    place = place_of(name, kind, create=how & CREATE != 0)
    if place is None:
        return None, None
    directory = place.directory
    try:
        # For reading and writing, whatever the rights: to take the gate for writing needs it.
        held = lifetime.attempt(
            directory, place.file, place.side, place.text, how, os.O_RDWR, place.owner, size, reserve, prepare
        )
    except FileNotFoundError:
        if folder_is_dead(directory):
            return lifetime.BUSY, place
        raise
    if held is None and how == OPEN and folder_is_dead(directory):
        return lifetime.BUSY, place
    return held, place


def leads_to(place: Place, held: Held) -> bool:
    """Whether the name still stands for this object: not if somebody removed its file."""
    try:
        status = os.stat(place.file, dir_fd=place.directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (status.st_dev, status.st_ino) == (held.device, held.inode)


def release(held: Held, place: Place, backing: Backing | None = None) -> None:
    """Lets go of an object; with its last holder the name ends. Can be repeated if an exception came in between.
    `backing`: whose `fd` and `view_fd` become -1 with it."""
    if place.is_global:
        locked(_release_global, held, backing)
    else:
        held.close(backing)


def _release_global(held: Held, backing: Backing | None) -> None:
    gate = None
    try:
        deadline = time.monotonic() + CLOSE_LIMIT
        while (gate := global_scope.open_gate(held.directory)) is None and time.monotonic() < deadline:
            if folder_is_dead(held.directory):
                break  # with everything that was in it
            time.sleep(0.001)
    except OSError:
        pass  # without the gate then: a close always succeeds
    finally:
        try:
            held.close(backing)
        finally:
            if gate is not None:
                gate.close()


# -- fork, exit


os.register_at_fork(
    before=lifetime.before_fork,
    after_in_parent=lifetime.after_fork_in_parent,
    after_in_child=lifetime.after_fork_in_child,
)


def close_all() -> None:
    """At exit, before modules are torn down: every name that this process still holds, then its empty folder."""
    locked(_close_all)


def _close_all() -> None:
    for close in at_exit:
        close()
    for held in all_held():
        held.close()
    directories.tidy()


def _follow_multiprocessing() -> None:
    """A child of multiprocessing ends without atexit, by os._exit: its own finalizers run instead."""
    util = sys.modules.get("multiprocessing.util")
    if util is not None:
        util.register_after_fork(_Token, lambda _: util.Finalize(None, close_all, exitpriority=-100))
        util.Finalize(None, close_all, exitpriority=-100)


class _Token:
    """What multiprocessing's registry of functions to run in a child refers to; it must live as long as we do."""


atexit.register(close_all)
os.register_at_fork(after_in_child=_follow_multiprocessing)
_follow_multiprocessing()

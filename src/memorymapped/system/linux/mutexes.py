# SPDX-License-Identifier: MIT
"""Named mutexes: .NET's files, so that .NET's programs and ours exclude each other.

    X, User\\X   /tmp/.dotnet-uid<euid>/shm/global/X   folders 0700, files 0600, ours or refused
    Local\\X     /tmp/.dotnet/shm/session<getsid>/X    folders 0777, files 0666: any user
    Global\\X    /tmp/.dotnet/shm/global/X

The file: two bytes of header (type 0, version 1), six unused, the mutex at 8 (`_native/robust.h`), zeros to the page's
end. Two locks, both flock(2):

- the *directory lock*: exclusive, on `<root>/shm`, during every create, open and close;
- the *use lock*: shared, on the file, by each process from open to close. Taken for writing for a moment, under the
  directory lock, it tells whether anybody uses the file. It has nothing to do with owning the mutex.

Open    1  directory lock. (Not waited for with anything open: a child that is forked meanwhile would share it.)
        2  open the file. None: not found, or create. Links, other kinds of file: refused.
        3  use lock for writing, succeeds: nobody uses it, whatever it holds: a leftover. Removed, then as in 2.
        4  created: one page of zeros, header, a free mutex, first ownership. Killed here: a leftover (nobody has the
           use lock that a killed process had), and nobody has seen it, because of 1.
           found: long enough, header, kind of mutex are what they should be, or it is refused.
        5  use lock for reading; drop the directory lock.
Close   1  directory lock (2 s at most: then a leftover stays).
        2  drop the use lock, take it for writing: nobody else uses it: unlink it, and its folder if that is empty.
        3  unmap, close, drop the directory lock.
Fork    the child would share the description, and a use lock that it drops would be the parent's. So `before` opens
        each file anew with a use lock, which the child puts in the place of the shared one (and maps); it opens the
        shared folder anew too.

The folders, and how files are looked at, are in `mutex_places.py`. An open that finds the file in use, and all of it as
it should be, is one native call (`open_used`); everything else, creation and refusals, goes the long way here.

One `FileMutex` for each file and process, shared by all handles of a name (`_native/opened.pyx`). Who opens a name
without a prefix leaves word of that in the header.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

from ..._native import robust
from ..._native.files import grow
from ..._native.lifetime import locked
from ..._native.mutexfiles import BUSY_FOLDER, SAID_BARE, FileMutex, make_file, open_used
from ..._native.opened import forget_kept, sweep
from ..._typing import TYPE_CHECKING
from ...errors import InvalidNameError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from . import mutex_places as places
from .backing import PAGE_SIZE
from .mutex_places import place_of
from .objects import at_exit, at_fork
from .places import FAIR
from .places import place_of as place_of_object
from .space import out_of_space

if TYPE_CHECKING:
    from typing import Any

    from ..._native.mutexfiles import LockedFolder, Use
    from ..._native.opened import Lease
    from ..._native.robust import RobustMutex
    from .mutex_places import MutexPlace

__all__ = ["is_in_use", "open_mutex"]

HEADER = bytes((0, 1))
DATA = 8
USED = DATA + robust.LOCK_SIZE
LIMIT = 60.0  # seconds to wait for the directory lock


_entries: dict[str, FileMutex] = {}


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
    """The mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. InvalidNameError; ForeignObjectError (a link, another user's);
    WaitHandleCannotBeOpenedError (in use, but no mutex of this format; or the bare and the Local name both in use);
    PermissionError; OSError(ENOSPC); TimeoutError if the directory lock is not to be had."""
    if not robust.works:
        raise NotImplementedError("named mutexes need a C library whose robust mutexes are glibc's or musl's")
    place = place_of(name)
    deadline = pause = 0.0
    while True:
        lease, created = locked(_attempt, name, place, create, initially_owned)
        if lease is not BUSY_FOLDER:
            if lease is None:
                _refuse_other_kind(name)
            return lease, created
        deadline = deadline or time.monotonic() + LIMIT
        if time.monotonic() > deadline:
            raise TimeoutError(
                errno.ETIMEDOUT,
                f"{places.locker(place)} has kept the folder of all mutexes locked for {LIMIT:.0f} s",
                place.root,
            )
        pause = min(pause * 1.5 or 0.0001, 0.002)
        time.sleep(pause)  # signals are handled here; nothing of ours is locked


def _attempt(name: Name, place: MutexPlace, create: bool, initially_owned: bool) -> tuple[Any, bool]:
    """Under the process lock. BUSY_FOLDER instead of a lease if the directory lock is not to be had."""
    sweep()
    entry = _entries.get(place.path)
    if entry is not None and entry.name_alive:  # if somebody has removed its file, the name is that of another one
        if name.is_bare and not entry.name.is_bare:
            _check_twin(name, place)
            entry.say_bare()
        return entry.lease(name), False
    shm = places.folder_of(place, create=create)
    if shm is None:
        return None, False
    got = shm.locked(_open_locked, name, place, shm, create, initially_owned)
    return (got, False) if got is BUSY_FOLDER else got


def _open_locked(
    name: Name, place: MutexPlace, shm: LockedFolder, create: bool, initially_owned: bool
) -> tuple[Lease | None, bool]:
    """Steps 2 to 5, under the directory lock."""
    _check_twin(name, place)
    found, created = open_used(shm, place.below, place.user, place.private, DATA), False
    if found is None:
        found, created = _open_with_care(name, place, shm, create, initially_owned)
        if found is None:
            return None, False
    entry = FileMutex(name, place.path, *found, shm, place.folder.encode(), place.file)
    if name.is_bare:
        entry.say_bare()
    return entry.enter(_entries, place.path), created


def _open_with_care(
    name: Name, place: MutexPlace, shm: LockedFolder, create: bool, initially_owned: bool
) -> tuple[tuple[RobustMutex, Use] | None, bool]:
    """With all that may be wrong."""
    folder = places.scope_folder(shm, place, create=create)
    if folder is None:
        return None, False
    created = died = False
    try:
        use, status = places.open_file(folder, place)
        if use is not None and places.nobody_uses(use.fd):
            if not create:
                assert status is not None
                shm.remove(place.folder.encode(), place.file, status.st_ino)
                return None, False
            created = True
            died = robust.tells_of_death(os.pread(use.fd, robust.LOCK_SIZE, DATA))
            with contextlib.suppress(PermissionError):  # another user's, in a sticky folder: wiped instead
                os.unlink(place.file, dir_fd=folder)
                use = None
        if use is None:
            if not create:
                return None, False
            use = make_file(shm, place.folder.encode(), place.file, place.mode)
            created = True
        try:
            if created or status is None:
                core = _fill(place, use.fd, initially_owned)
                if died:
                    robust.found_abandoned(core)
            else:
                core = _check(name, place, use.fd, status.st_size)
            try:
                use.begin()
            except BlockingIOError:
                raise WaitHandleCannotBeOpenedError(
                    errno.EWOULDBLOCK,
                    f"{name.given!r} is in use, but not by a mutex: a program keeps its file locked for itself "
                    "(flock; /proc/locks tells which), which none that shares mutexes does",
                    place.path,
                ) from None
            if created:
                _refuse_other_kind(name)  # now that it can be seen: of two at once, one sees the other
        except BaseException:
            if created:
                with contextlib.suppress(OSError):
                    os.unlink(place.file, dir_fd=folder)
            raise
        return (core, use), created
    finally:
        os.close(folder)


def _fill(place: MutexPlace, fd: int, initially_owned: bool) -> RobustMutex:
    """Makes a new file the one of a mutex."""
    os.ftruncate(fd, 0)
    try:
        grow(fd, PAGE_SIZE, True)
    except OSError as error:
        raise out_of_space(error, fd, PAGE_SIZE, place.path) from error
    core = robust.map_mutex(fd, PAGE_SIZE, DATA)
    os.pwrite(fd, HEADER, 0)
    robust.initialise(core)
    if initially_owned:
        core.try_take()
    return core


def _check(name: Name, place: MutexPlace, fd: int, size: int) -> RobustMutex:
    """Looks whether a file that is in use is that of a mutex."""
    if size < USED or os.pread(fd, len(HEADER), 0) != HEADER:
        raise WaitHandleCannotBeOpenedError(
            errno.EBADMSG, f"{name.given!r} is in use, but not by a mutex: its file is not .NET's", place.path
        )
    if size < PAGE_SIZE:
        os.ftruncate(fd, PAGE_SIZE)  # as .NET up to 10 does
    core = robust.map_mutex(fd, PAGE_SIZE, DATA)
    if not robust.is_mutex(core):
        raise WaitHandleCannotBeOpenedError(
            errno.EBADMSG,
            f"{name.given!r} is in use, and is "
            + (
                robust.why_foreign(core)
                or "a mutex of another format than this C library's: made by .NET up to 10 on ARM; or damaged"
            ),
            place.path,
        )
    return core


# -- the trap of the bare name


def _check_twin(name: Name, place: MutexPlace) -> None:
    """The bare name X means the user here and the session in .NET (`Local\\X`). If the other one is in use, two
    programs that mean the same mutex would be about to have two. `User\\X` beside `Local\\X` is meant."""
    if name.scope is Scope.LOCAL:
        other = f"{places.TEMPORARY}/.dotnet-uid{place.user}/shm/global/"
    elif name.is_bare:
        other = f"{places.TEMPORARY}/.dotnet/shm/session{os.getsid(0)}/"
    else:
        return
    path = other.encode() + place.file
    try:
        status = os.stat(path, follow_symlinks=False)
        if not places.is_used(status.st_dev, status.st_ino):
            return
        if name.scope is Scope.LOCAL:
            with open(path, "rb") as file:
                if file.read(8)[2:] != SAID_BARE:
                    return
    except OSError:
        return
    used = ("User\\" if name.scope is Scope.LOCAL else "Local\\") + name.text
    own = (
        f": it was opened by the bare name {name.text!r}, which may have meant this one. Write {used!r} for that one "
        f"here, or with the prefix there: then both can be"
        if name.scope is Scope.LOCAL
        else f". (A bare name means User\\ here, and Local\\ for .NET on Linux.) Write {used!r} for that one, or "
        f"{f'User{chr(92)}{name.text}'!r} for one of its own"
    )
    raise WaitHandleCannotBeOpenedError(
        errno.EEXIST, f"{name.given!r} is not the mutex {used!r}, which is in use{own}", other + name.text
    )


def _refuse_other_kind(name: Name) -> None:
    """A name is of one kind at a time: a mutex beside a fair one of its name would exclude nobody who has that."""
    if place_of_object(name, FAIR, create=False) is None:
        return  # there is not even a folder of such objects
    from .signals import MUTEX, refuse_other_kind

    refuse_other_kind(name, MUTEX)


def is_in_use(name: Name) -> bool:
    """Whether anybody has the mutex of this name open."""
    try:
        place = place_of(name)
        path = place.shm + b"/" + place.below
        if not os.access(path, os.F_OK):
            return False  # as mostly
        status = os.stat(path, follow_symlinks=False)
    except (InvalidNameError, OSError):
        return False
    return places.is_used(status.st_dev, status.st_ino)


# -- fork, exit


def _before_fork() -> None:
    for entry in list(_entries.values()):
        entry.before_fork()


def _after_fork_in_parent() -> None:
    for entry in list(_entries.values()):
        entry.after_fork_in_parent()


def _after_fork_in_child() -> None:
    places.renew_folders()
    for entry in list(_entries.values()):
        entry.after_fork_in_child()
    forget_kept()


at_fork(_before_fork, _after_fork_in_parent, _after_fork_in_child)


def _close_all() -> None:
    """At exit. What a thread of ours owns stays mapped: the kernel tells the next."""
    locked(_leave_all)


def _leave_all() -> None:
    for entry in list(_entries.values()):
        entry.leave()
    _entries.clear()


at_exit.append(_close_all)

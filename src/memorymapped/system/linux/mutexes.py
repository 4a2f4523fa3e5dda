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
        each file anew with a use lock, which the child puts in the place of the shared one (and maps: uses.pyx); the
        shared folder is forgotten by the child, as its lock is the same description's too.

The folders, and how files are looked at, are in `mutex_places.py`. An open that finds the file in use, and all of it as
it should be, is one native call (`uses.open_used`); everything else, creation and refusals, goes the long way here.

One entry for each file and process, shared by all handles of a name: `open_mutexes.py`.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

from ..._native import robust, uses
from ..._native.files import grow
from ..._typing import TYPE_CHECKING
from ...errors import InvalidNameError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from . import mutex_places as places
from .backing import PAGE_SIZE
from .mutex_places import place_of
from .objects import at_exit, at_fork, process_lock
from .open_mutexes import OpenMutex
from .places import FAIR
from .places import place_of as place_of_object
from .space import out_of_space

if TYPE_CHECKING:
    from typing import ClassVar

    from ..._native.robust import RobustMutex
    from ..._native.uses import LockedFolder, Use
    from .mutex_places import MutexPlace

__all__ = ["NamedMutex", "is_in_use", "open_mutex"]

HEADER = bytes((0, 1))
DATA = 8
USED = DATA + robust.LOCK_SIZE
LIMIT = 60.0  # seconds to wait for the directory lock


class NamedMutex(OpenMutex):
    """A named mutex as this process has it open: shared by all handles of its name."""

    __slots__ = ("place", "use")

    kept: ClassVar[set[OpenMutex]] = set()

    def __init__(self, name: Name, place: MutexPlace, core: RobustMutex, use: Use) -> None:
        super().__init__(name, core, use.device, use.inode)
        self.place = place
        self.use = use

    @property
    def path(self) -> str:
        """Its file."""
        return self.place.path

    def _let_go(self) -> None:
        _entries.pop(self.place.path, None)
        self.end_use()

    def end_use(self) -> None:
        """Close, steps 1 and 2: drops the use lock, and removes the file if nobody else has one."""
        if self.use.fd < 0:
            return
        shm = places.lock_for_close(self.place)
        try:
            if shm is not None and self.use.is_last():
                places.remove(shm, self.place, self.inode)
        finally:
            self.use.close()
            if shm is not None:
                shm.unlock()


_entries: dict[str, NamedMutex] = {}


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[NamedMutex | None, bool]:
    """The mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. InvalidNameError; ForeignObjectError (a link, another user's);
    WaitHandleCannotBeOpenedError (in use, but no mutex of this format; or the bare and the Local name both in use);
    PermissionError; OSError(ENOSPC); TimeoutError if the directory lock is not to be had."""
    if not robust.works:
        raise NotImplementedError("named mutexes need a C library whose mutexes are glibc's: .NET's are")
    entry, created = _open(name, place_of(name), create, initially_owned)
    if entry is None:
        _check_fair(name)
    return entry, created


def _open(name: Name, place: MutexPlace, create: bool, initially_owned: bool) -> tuple[NamedMutex | None, bool]:
    deadline = pause = 0.0
    while True:
        with process_lock:
            if NamedMutex.kept:
                NamedMutex.sweep()
            entry = _entries.get(place.path)
            if entry is not None:
                return entry.open_again(), False
            shm = places.folder_of(place, create=create)
            if shm is None:
                return None, False
            if shm.try_lock():
                try:
                    _check_twin(name, place)
                    found = uses.open_used(shm, place.below, place.user, place.private, DATA)
                    if found is None:
                        return _open_locked(name, place, shm, create, initially_owned)
                    entry = _entries[place.path] = NamedMutex(name, place, *found)
                    return entry, False
                finally:
                    shm.unlock()
        deadline = deadline or time.monotonic() + LIMIT
        if time.monotonic() > deadline:
            raise TimeoutError(
                errno.ETIMEDOUT, f"somebody has kept the folder of all mutexes locked for {LIMIT:.0f} s", place.root
            )
        pause = min(pause * 1.5 or 0.0001, 0.002)
        time.sleep(pause)  # signals are handled here; nothing of ours is locked


def _open_locked(
    name: Name, place: MutexPlace, shm: LockedFolder, create: bool, initially_owned: bool
) -> tuple[NamedMutex | None, bool]:
    """Steps 2 to 5, under the directory lock, with all that may be wrong."""
    folder = places.scope_folder(shm, place, create=create)
    if folder is None:
        return None, False
    created = False
    try:
        use, status = places.open_file(folder, place)
        if use is not None and places.nobody_uses(use.fd):
            if not create:
                assert status is not None
                places.remove(shm, place, status.st_ino)
                return None, False
            created = True
            with contextlib.suppress(PermissionError):  # another user's, in a sticky folder: wiped instead
                os.unlink(place.file, dir_fd=folder)
                use = None
        if use is None:
            if not create:
                return None, False
            flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
            use = uses.Use(os.open(place.file, flags, place.mode, dir_fd=folder))
            created = True
        try:
            if created or status is None:
                os.fchmod(use.fd, place.mode)
                _check_fair(name)  # beside one that is in use no fair one can be
                core = _fill(place, use.fd, initially_owned)
            else:
                core = _check(name, place, use.fd, status.st_size)
            use.begin()
        except BaseException:
            if created:
                with contextlib.suppress(OSError):
                    os.unlink(place.file, dir_fd=folder)
            raise
        entry = _entries[place.path] = NamedMutex(name, place, core, use)
        return entry, created
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
            f"the mutex {name.given!r} is in use, and of another format than glibc's robust mutexes: made by .NET on "
            "another C library, or (up to .NET 10) on ARM; or damaged",
            place.path,
        )
    return core


# -- the trap of the bare name


def _check_twin(name: Name, place: MutexPlace) -> None:
    """The bare name X means the user here and the session in .NET (`Local\\X`). If the other one is in use, two
    programs that mean the same mutex would be about to have two."""
    if name.scope is Scope.LOCAL:
        other = f"{places.TEMPORARY}/.dotnet-uid{place.user}/shm/global/"
    elif "\\" not in name.given:
        other = f"{places.TEMPORARY}/.dotnet/shm/session{os.getsid(0)}/"
    else:
        return
    try:
        status = os.stat(other.encode() + place.file, follow_symlinks=False)
    except OSError:
        return
    if not places.is_used(status.st_dev, status.st_ino):
        return
    used = ("User\\" if name.scope is Scope.LOCAL else "Local\\") + name.text
    own = "" if name.scope is Scope.LOCAL else f", or {f'User{chr(92)}{name.text}'!r} for one of its own"
    raise WaitHandleCannotBeOpenedError(
        errno.EEXIST,
        f"{name.given!r} is not the mutex {used!r}, which is in use. (A bare name means User\\ here, and Local\\ for "
        f".NET on Linux.) Write {used!r} for that one{own}",
        other + name.text,
    )


def _check_fair(name: Name) -> None:
    """A fair mutex is a kind of its own, and a plain one beside it would exclude nobody who has that."""
    if place_of_object(name, FAIR, create=False) is None:
        return
    from .signals import is_live

    if is_live(name, FAIR):
        raise WaitHandleCannotBeOpenedError(
            errno.EINVAL, f"{name.given!r} is a fair mutex, not a mutex: open it as that, or take another name"
        )


def is_in_use(name: Name) -> bool:
    """Whether anybody has the mutex of this name open."""
    try:
        place = place_of(name)
        status = os.stat(place.shm + b"/" + place.below, follow_symlinks=False)
    except (InvalidNameError, OSError):
        return False
    return places.is_used(status.st_dev, status.st_ino)


# -- fork, exit


def _before_fork() -> None:
    for entry in list(_entries.values()):
        entry.use.before_fork()


def _after_fork_in_parent() -> None:
    for entry in list(_entries.values()):
        entry.use.after_fork_in_parent()


def _after_fork_in_child() -> None:
    places.forget_folders()
    for entry in list(_entries.values()):
        entry.use.after_fork_in_child(entry.core)


at_fork(_before_fork, _after_fork_in_parent, _after_fork_in_child)


def _close_all() -> None:
    """At exit: what nobody else uses is removed. What a thread of ours owns stays mapped: the kernel tells the next."""
    with process_lock:
        for entry in list(_entries.values()):
            with contextlib.suppress(OSError):
                entry.end_use()
        _entries.clear()


at_exit.append(_close_all)

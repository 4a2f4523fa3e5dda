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
        each file anew with a use lock, which the child puts in the place of the shared one; the shared folder is
        forgotten by the child, as its lock is the same description's too.

One entry for each file and process: every handle of a name shares it, and who owns the mutex, and how often. An entry
whose last handle is closed by the owner gives the mutex back as abandoned. If another thread of ours owns it, the entry
stays as it is until that thread has released it, or has ended and somebody looks: nothing owned is ever unmapped.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import time

from ..._native import robust
from ..._native.files import grow, rename_new
from ..._typing import TYPE_CHECKING
from ...errors import ForeignObjectError, InvalidNameError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from .backing import PAGE_SIZE, out_of_space
from .objects import at_exit, at_fork, process_lock
from .places import FAIR, place_of

if TYPE_CHECKING:
    from ..._native.robust import RobustMutex

__all__ = ["NamedMutex", "is_in_use", "open_mutex"]

TEMPORARY = "/tmp"  # .NET's, whatever TMPDIR says
HEADER = bytes((0, 1))
DATA = 8
USED = DATA + robust.LOCK_SIZE
LONGEST = 255  # bytes of a name
LIMIT = 60.0  # seconds to wait for the directory lock
CLOSE_LIMIT = 2.0


class _Place:
    """Where a name's file lies, and what is allowed there."""

    __slots__ = ("file", "folder", "mode", "path", "private", "root")

    def __init__(self, name: Name) -> None:
        raw = os.fsencode(name.text) if name.text.isascii() else name.text.encode()
        if len(raw) > LONGEST or "/" in name.text or name.text in (".", ".."):
            raise InvalidNameError(
                f"{name.given!r:.300} is not the name of a mutex: .NET shares these, and makes them file names: 1 to "
                f"{LONGEST} bytes of UTF-8 (it has {len(raw)}), no slash, not '.' or '..'"
            )
        self.private = name.scope is Scope.USER
        self.root = f"{TEMPORARY}/.dotnet" + (f"-uid{os.geteuid()}" if self.private else "")
        self.folder = f"session{os.getsid(0)}" if name.scope is Scope.LOCAL else "global"
        self.file = name.text
        self.path = f"{self.root}/shm/{self.folder}/{name.text}"
        self.mode = 0o600 if self.private else 0o666


class NamedMutex:
    """A named mutex as this process has it open: shared by all handles of its name."""

    __slots__ = ("_process", "_twin", "core", "device", "fd", "handles", "inode", "name", "place")

    def __init__(self, name: Name, place: _Place, fd: int, status: os.stat_result, core: RobustMutex) -> None:
        self.name = name
        self.place = place
        self.fd = fd
        self.core = core
        self.device, self.inode = status.st_dev, status.st_ino
        self.handles = 1
        self._process = os.getpid()  # whose description it is
        self._twin = -1

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
                _kept.add(self)
                _sweep()
            else:
                self._end()

    def _free(self) -> None:
        with process_lock:
            if self.handles == 0 and self.fd >= 0:
                self._end()

    def _end(self) -> None:
        """The last handle has gone, and no thread of ours owns it."""
        _entries.pop(self.place.path, None)
        _kept.discard(self)
        self.core.when_free = None
        del self.core  # unmapped, also if somebody still refers to a closed handle
        fd, self.fd = self.fd, -1
        if fd < 0:
            return
        self._give_up(fd)
        os.close(fd)

    def _give_up(self, fd: int) -> None:
        """Drops the use lock, and removes the file if nobody else has one."""
        shm = _lock_for_close(self.place)
        try:
            fcntl.flock(fd, fcntl.LOCK_UN)
            if shm is not None and _nobody_uses(fd):
                _remove(shm, self.place, self.inode)
        finally:
            if shm is not None:
                _unlock(shm)

    # -- fork

    def before_fork(self) -> None:
        """Opens it anew for the child."""
        with contextlib.suppress(OSError):  # no descriptor left: the child has the memory, but no use lock
            if self._twin < 0:
                self._twin = _use(self.fd)

    def after_fork_in_parent(self) -> None:
        """Lets go of what the child has now."""
        twin, self._twin = self._twin, -1
        if twin >= 0:
            os.close(twin)

    def after_fork_in_child(self) -> None:
        """Takes the description that was opened for it."""
        if self._process == os.getpid():
            return  # it has
        twin, self._twin = self._twin, -1
        if twin >= 0:
            os.dup2(twin, self.fd, inheritable=False)
            self._process = os.getpid()
            os.close(twin)
        else:
            self._process = os.getpid()
            with contextlib.suppress(OSError):
                os.close(self.fd)
            self.fd = -1


_entries: dict[str, NamedMutex] = {}
_kept: set[NamedMutex] = set()  # those without handles, which a thread of ours owns


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[NamedMutex | None, bool]:
    """The mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. InvalidNameError; ForeignObjectError (a link, another user's);
    WaitHandleCannotBeOpenedError (in use, but no mutex of this format; or the bare and the Local name both in use);
    PermissionError; OSError(ENOSPC); TimeoutError if the directory lock is not to be had."""
    if not robust.works:
        raise NotImplementedError("named mutexes need a C library whose mutexes are glibc's: .NET's are")
    entry, created = _open(name, _Place(name), create, initially_owned)
    if entry is None:
        _check_fair(name)
    return entry, created


def _open(name: Name, place: _Place, create: bool, initially_owned: bool) -> tuple[NamedMutex | None, bool]:
    deadline = pause = 0.0
    while True:
        with process_lock:
            _sweep()
            entry = _entries.get(place.path)
            if entry is not None:
                entry.handles += 1
                entry.core.when_free = None
                _kept.discard(entry)
                return entry, False
            shm = _shm(place, create=create)
            if shm is None:
                return None, False
            if _try_lock(shm):
                try:
                    _check_twin(name, place)
                    return _open_locked(name, place, shm, create, initially_owned)
                finally:
                    _unlock(shm)
        deadline = deadline or time.monotonic() + LIMIT
        if time.monotonic() > deadline:
            raise TimeoutError(
                errno.ETIMEDOUT, f"somebody has kept the folder of all mutexes locked for {LIMIT:.0f} s", place.root
            )
        pause = min(pause * 1.5 or 0.0001, 0.002)
        time.sleep(pause)  # signals are handled here; nothing of ours is locked


def _open_locked(
    name: Name, place: _Place, shm: int, create: bool, initially_owned: bool
) -> tuple[NamedMutex | None, bool]:
    """Steps 2 to 5, under the directory lock."""
    folder = _scope_folder(shm, place, create=create)
    if folder is None:
        return None, False
    try:
        fd, status = _open_file(folder, place)
        created = False
        try:
            if fd is not None and _nobody_uses(fd):
                if not create:
                    assert status is not None
                    _remove(shm, place, status.st_ino)
                    return None, False
                created = True
                with contextlib.suppress(PermissionError):  # another user's, in a sticky folder: wiped instead
                    os.unlink(place.file, dir_fd=folder)
                    os.close(fd)
                    fd = None
            if fd is None:
                if not create:
                    return None, False
                created = True
                fd = os.open(
                    place.file,
                    os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW,
                    place.mode,
                    dir_fd=folder,
                )
                os.fchmod(fd, place.mode)
            if created or status is None:
                _check_fair(name)  # beside one that is in use no fair one can be
                entry = _fill(name, place, fd, initially_owned)
            else:
                entry = _check(name, place, fd, status)
        except BaseException:
            if fd is not None:
                if created:
                    os.unlink(place.file, dir_fd=folder)
                os.close(fd)
            raise
        os.close(fd)
        _entries[place.path] = entry
        return entry, created
    finally:
        os.close(folder)


def _fill(name: Name, place: _Place, fd: int, initially_owned: bool) -> NamedMutex:
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
    return NamedMutex(name, place, _use(fd), os.fstat(fd), core)


def _check(name: Name, place: _Place, fd: int, status: os.stat_result) -> NamedMutex:
    """Looks whether a file that is in use is that of a mutex."""
    if status.st_size < USED or os.pread(fd, len(HEADER), 0) != HEADER:
        raise WaitHandleCannotBeOpenedError(
            errno.EBADMSG, f"{name.given!r} is in use, but not by a mutex: its file is not .NET's", place.path
        )
    if status.st_size < PAGE_SIZE:
        os.ftruncate(fd, PAGE_SIZE)  # as .NET up to 10 does
    core = robust.map_mutex(fd, PAGE_SIZE, DATA)
    if not robust.is_mutex(core):
        raise WaitHandleCannotBeOpenedError(
            errno.EBADMSG,
            f"the mutex {name.given!r} is in use, and of another format than glibc's robust mutexes: made by .NET on "
            "another C library, or (up to .NET 10) on ARM; or damaged",
            place.path,
        )
    return NamedMutex(name, place, _use(fd), status, core)


def _use(fd: int) -> int:
    """A descriptor of the same file with a use lock. Not of the description that is mapped: a mapping keeps its
    description, and that its lock, even in a forked child whose parent has died."""
    own = os.open(f"/proc/self/fd/{fd}", os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(own, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BaseException:
        os.close(own)
        raise
    return own


def _sweep() -> None:
    """Ends the entries without handles whose owner, a thread of ours, has ended."""
    for entry in list(_kept):
        with contextlib.suppress(OSError):  # damaged: nothing to be done
            if entry.core.try_take():
                entry.core.give_back(abandoned=True)  # calls _free, which ends it


# -- folders and files


def _shm(place: _Place, *, create: bool) -> int | None:
    """The descriptor of `<root>/shm`, looked at; None if there is none and it is not to be made."""
    path = f"{place.root}/shm"
    known = _folders.get(path)
    if known is not None:
        try:
            there = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            there = None
        if there is not None and known[1:] == (there.st_dev, there.st_ino):
            return known[0]
        os.close(_folders.pop(path)[0])  # somebody has removed it
    if place.private:
        _check_temporary()
    for folder in (place.root, path):
        fd = _folder(folder, place)
        if fd is None:
            if not create:
                return None
            _make(folder, 0o700 if place.private else 0o777)
            fd = _folder(folder, place)
            if fd is None:
                raise ForeignObjectError(f"{folder} is removed as soon as it is made")
        if folder != path:
            os.close(fd)
    assert fd is not None
    status = os.fstat(fd)
    _folders[path] = fd, status.st_dev, status.st_ino
    return fd


_folders: dict[str, tuple[int, int, int]] = {}  # descriptor, device, inode


def _folder(path: str, place: _Place, *, within: int | None = None) -> int | None:
    """Opens a folder and looks whether it is right; None if there is none."""
    mode = 0o700 if place.private else 0o777
    try:
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=within)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        raise ForeignObjectError(f"{path} is not a folder, or a link to one: mutexes cannot be kept there") from None
    try:
        status = os.fstat(fd)
        if place.private and status.st_uid != os.geteuid():
            raise ForeignObjectError(f"{path} belongs to user {status.st_uid}, not to {os.geteuid()}: left alone")
        if stat.S_IMODE(status.st_mode) & 0o777 != mode:
            try:
                os.fchmod(fd, mode)
            except PermissionError:
                if stat.S_IMODE(status.st_mode) & 0o700 != 0o700:
                    raise
    except BaseException:
        os.close(fd)
        raise
    return fd


def _make(path: str, mode: int) -> None:
    """Beside its place, and moved there if there is none: nobody ever sees it with another mode."""
    unfinished = f"{TEMPORARY}/.dotnet.{os.urandom(8).hex()}"
    os.mkdir(unfinished, 0o700)
    try:
        os.chmod(unfinished, mode)
        if rename_new(os.fsencode(unfinished), os.fsencode(path)):
            return
    except OSError:
        os.rmdir(unfinished)
        raise
    os.rmdir(unfinished)


def _check_temporary() -> None:
    status = os.stat(TEMPORARY)
    if not status.st_mode & stat.S_ISVTX and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise ForeignObjectError(
            f"others may remove what is in {TEMPORARY} (it is not sticky): nothing of a user's own can be kept there"
        )


def _scope_folder(shm: int, place: _Place, *, create: bool) -> int | None:
    """Under the directory lock, so that mkdir and chmod are one step for all who keep to the protocol."""
    fd = _folder(place.folder, place, within=shm)
    if fd is None and create:
        mode = 0o700 if place.private else 0o777
        os.mkdir(place.folder, mode, dir_fd=shm)
        os.chmod(place.folder, mode, dir_fd=shm)
        fd = _folder(place.folder, place, within=shm)
    return fd


def _open_file(folder: int, place: _Place) -> tuple[int, os.stat_result] | tuple[None, None]:
    """The file of a name, looked at; None if there is none."""
    try:
        fd = os.open(place.file, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY, dir_fd=folder)
    except FileNotFoundError:
        return None, None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise ForeignObjectError(f"{place.path} is not a plain file: no mutex, left alone") from error
        raise
    status = os.fstat(fd)
    try:
        if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
            raise ForeignObjectError(f"{place.path} is not a plain file of one name: no mutex, left alone")
        if place.private and status.st_uid != os.geteuid():
            raise ForeignObjectError(f"{place.path} belongs to user {status.st_uid}, not to {os.geteuid()}: left alone")
        if place.private and stat.S_IMODE(status.st_mode) != place.mode:
            os.fchmod(fd, place.mode)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def _nobody_uses(fd: int) -> bool:
    """Under the directory lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def _remove(shm: int, place: _Place, inode: int) -> None:
    """Under the directory lock: the file, if it still is this one, and its folder if that is empty then."""
    with contextlib.suppress(OSError):  # another user's in a sticky folder: a leftover, as for .NET
        folder = os.open(place.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=shm)
        try:
            if os.stat(place.file, dir_fd=folder, follow_symlinks=False).st_ino == inode:
                os.unlink(place.file, dir_fd=folder)
        finally:
            os.close(folder)
        os.rmdir(place.folder, dir_fd=shm)


# -- the directory lock

_locked: dict[int, int] = {}  # how often, by descriptor: a signal handler may open one while another is being opened


def _try_lock(shm: int) -> bool:
    """Whether the directory lock is had now; `_unlock` gives it back. Under the process lock."""
    count = _locked.get(shm, 0)
    if count == 0:
        try:
            fcntl.flock(shm, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
    _locked[shm] = count + 1
    return True


def _unlock(shm: int) -> None:
    _locked[shm] -= 1
    if not _locked[shm]:
        del _locked[shm]
        fcntl.flock(shm, fcntl.LOCK_UN)  # explicitly: a child between vfork and exec shares the description


def _lock_for_close(place: _Place) -> int | None:
    """The locked folder; None if somebody keeps it locked, or it has gone: a leftover stays then."""
    deadline = 0.0
    while True:
        try:
            shm = _shm(place, create=False)
        except OSError:
            return None
        if shm is None or _try_lock(shm):
            return shm
        deadline = deadline or time.monotonic() + CLOSE_LIMIT
        if time.monotonic() > deadline:
            return None
        time.sleep(0.0005)


# -- the trap of the bare name


def _check_twin(name: Name, place: _Place) -> None:
    """The bare name X means the user here and the session in .NET (`Local\\X`). If the other one is in use, two
    programs that mean the same mutex would be about to have two."""
    if name.scope is Scope.LOCAL:
        other = f"{TEMPORARY}/.dotnet-uid{os.geteuid()}/shm/global/{name.text}"
    elif "\\" not in name.given:
        other = f"{TEMPORARY}/.dotnet/shm/session{os.getsid(0)}/{name.text}"
    else:
        return
    try:
        status = os.stat(other, follow_symlinks=False)
    except OSError:
        return
    if not _is_used(status.st_dev, status.st_ino):
        return
    used = ("User\\" if name.scope is Scope.LOCAL else "Local\\") + name.text
    own = "" if name.scope is Scope.LOCAL else f", or {f'User{chr(92)}{name.text}'!r} for one of its own"
    raise WaitHandleCannotBeOpenedError(
        errno.EEXIST,
        f"{name.given!r} is not the mutex {used!r}, which is in use. (A bare name means User\\ here, and Local\\ for "
        f".NET on Linux.) Write {used!r} for that one{own}",
        other,
    )


def _check_fair(name: Name) -> None:
    """A fair mutex is a kind of its own, and a plain one beside it would exclude nobody who has that."""
    if place_of(name, FAIR, create=False) is None:
        return
    from .signals import is_live

    if is_live(name, FAIR):
        raise WaitHandleCannotBeOpenedError(
            errno.EINVAL, f"{name.given!r} is a fair mutex, not a mutex: open it as that, or take another name"
        )


def is_in_use(name: Name) -> bool:
    """Whether anybody has the mutex of this name open."""
    try:
        status = os.stat(_Place(name).path, follow_symlinks=False)
    except (InvalidNameError, OSError):
        return False
    return _is_used(status.st_dev, status.st_ino)


def _is_used(device: int, inode: int) -> bool:
    """Whether anybody has a use lock on this file: asked of /proc, so that nobody is disturbed."""
    wanted = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        with open("/proc/locks") as locks:
            return any("FLOCK" in line and wanted in line.split() for line in locks)
    except OSError:
        return False


# -- fork, exit


def _before_fork() -> None:
    for entry in list(_entries.values()):
        entry.before_fork()


def _after_fork_in_parent() -> None:
    for entry in list(_entries.values()):
        entry.after_fork_in_parent()


def _after_fork_in_child() -> None:
    folders = list(_folders.values())
    _folders.clear()
    _locked.clear()
    for fd, _, _ in folders:
        os.close(fd)  # without unlocking: the description is the parent's
    for entry in list(_entries.values()):
        entry.after_fork_in_child()


at_fork(_before_fork, _after_fork_in_parent, _after_fork_in_child)


def _close_all() -> None:
    """At exit: what nobody else uses is removed. What a thread of ours owns stays mapped: the kernel tells the next."""
    with process_lock:
        for entry in list(_entries.values()):
            fd, entry.fd = entry.fd, -1
            if fd < 0:
                continue
            with contextlib.suppress(OSError):
                entry._give_up(fd)
        _entries.clear()


at_exit.append(_close_all)

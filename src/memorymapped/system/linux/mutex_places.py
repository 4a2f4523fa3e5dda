# SPDX-License-Identifier: MIT
"""Where the files of named mutexes lie, and the lock of their folders: what .NET expects of both, looked at.

`mutexes.py` says what the files are, and what the directory lock is good for. Everything here is found by descriptors
of folders that have been looked at, and follows no links: other users may write into the folders that all share.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat

from ..._native.files import rename_new
from ..._native.mutexfiles import LockedFolder, Use
from ...errors import ForeignObjectError, InvalidNameError
from ..names import Name, Scope
from .lock_table import lock_table, table_key

__all__ = [
    "MutexPlace",
    "folder_of",
    "is_used",
    "locker",
    "nobody_uses",
    "open_file",
    "place_of",
    "renew_folders",
    "scope_folder",
]

TEMPORARY = "/tmp"  # .NET's, whatever TMPDIR says
LONGEST = 255  # bytes of a name


class MutexPlace:
    """Where a name's file lies, and what is allowed there. `below`: from `<root>/shm` on."""

    __slots__ = ("below", "file", "folder", "mode", "path", "private", "root", "shm", "user")

    def __init__(self, name: Name) -> None:
        raw = name.text.encode()
        if len(raw) > LONGEST or "/" in name.text or name.text in (".", ".."):
            raise InvalidNameError(
                f"{name.given!r:.300} is not the name of a mutex: .NET shares these, and makes them file names: 1 to "
                f"{LONGEST} bytes of UTF-8 (it has {len(raw)}), no slash, not '.' or '..'"
            )
        self.private = name.scope is Scope.USER
        self.user = os.geteuid()
        self.root = f"{TEMPORARY}/.dotnet" + (f"-uid{self.user}" if self.private else "")
        self.shm = f"{self.root}/shm".encode()
        self.folder = f"session{os.getsid(0)}" if name.scope is Scope.LOCAL else "global"
        self.file = raw  # UTF-8, as .NET writes it, whatever the locale is
        self.path = f"{self.root}/shm/{self.folder}/{name.text}"
        self.below = os.fsencode(self.folder) + b"/" + raw
        self.mode = 0o600 if self.private else 0o666


_places: dict[str, MutexPlace] = {}


def place_of(name: Name) -> MutexPlace:
    """Where the file of a name lies for the user and session that this process has now. InvalidNameError."""
    place = _places.get(name.given)
    if place is not None and place.user == os.geteuid():
        return place
    place = MutexPlace(name)
    if name.scope is not Scope.LOCAL:  # a process may change its session
        if len(_places) >= 1024:
            _places.clear()
        _places[name.given] = place
    return place


def folder_of(place: MutexPlace, *, create: bool) -> LockedFolder | None:
    """`<root>/shm`, looked at; None if there is none and it is not to be made."""
    known = _folders.get(place.shm)
    if known is not None:
        if known.is_at(place.shm):
            return known
        del _folders[place.shm]  # somebody has removed it
    if place.private:
        _check_temporary()
    path = place.shm.decode()
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
    found = _folders[place.shm] = LockedFolder(fd)
    return found


_folders: dict[bytes, LockedFolder] = {}


def _folder(path: str, place: MutexPlace, *, within: int | None = None) -> int | None:
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


def scope_folder(shm: LockedFolder, place: MutexPlace, *, create: bool) -> int | None:
    """Under the directory lock, so that mkdir and chmod are one step for all who keep to the protocol."""
    fd = _folder(place.folder, place, within=shm.fd)
    if fd is None and create:
        mode = 0o700 if place.private else 0o777
        os.mkdir(place.folder, mode, dir_fd=shm.fd)
        os.chmod(place.folder, mode, dir_fd=shm.fd)
        fd = _folder(place.folder, place, within=shm.fd)
    return fd


def open_file(folder: int, place: MutexPlace) -> tuple[Use, os.stat_result] | tuple[None, None]:
    """The file of a name, looked at, not in use by us yet; None if there is none."""
    flags = os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY
    try:
        file = Use(os.open(place.file, flags, dir_fd=folder))
    except FileNotFoundError:
        return None, None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise ForeignObjectError(f"{place.path} is not a plain file: no mutex, left alone") from error
        raise
    status = os.fstat(file.fd)
    if not stat.S_ISREG(status.st_mode) or status.st_nlink > 1:
        raise ForeignObjectError(f"{place.path} is not a plain file of one name: no mutex, left alone")
    if place.private and status.st_uid != os.geteuid():
        raise ForeignObjectError(f"{place.path} belongs to user {status.st_uid}, not to {os.geteuid()}: left alone")
    if place.private and stat.S_IMODE(status.st_mode) != place.mode:
        os.fchmod(file.fd, place.mode)
    return file, status


def nobody_uses(fd: int) -> bool:
    """Under the directory lock."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return True


def is_used(device: int, inode: int) -> bool:
    """Whether anybody has a use lock on this file: asked of /proc, so that nobody is disturbed."""
    return bool(_lockers(device, inode))


def locker(place: MutexPlace) -> str:
    """Who has the directory lock, for messages."""
    try:
        status = os.stat(place.shm)
    except OSError:
        return "somebody"
    found = [process for process in _lockers(status.st_dev, status.st_ino) if process > 0]
    return f"process {found[0]}" if found else "somebody"


def _lockers(device: int, inode: int) -> list[int]:
    """The process ids of those who have a file locked by flock(2); 0 or -1 for one that cannot be seen from here."""
    wanted = table_key(device, inode)
    return [row.process for row in lock_table() or () if row.kind == "FLOCK" and row.file == wanted]


def renew_folders() -> None:
    """In a forked child: the descriptors are the parent's, and its directory lock may be on them."""
    for folder in _folders.values():
        folder.after_fork_in_child()

# SPDX-License-Identifier: MIT
"""Removes one object that nobody holds, by the protocol of its kind: what is done here races with everybody safely."""

from __future__ import annotations

import os
import stat
import time

from ..._native import robust
from ..._native.lifetime import locked, remove_if_stale
from ..._native.mutexfiles import BUSY_FOLDER
from ..._typing import TYPE_CHECKING
from ..names import parse
from . import directories
from . import mutex_places as places
from .mutexes import DATA
from .places import SIDE

if TYPE_CHECKING:
    from ..._native.mutexfiles import LockedFolder
    from ..findings import Found

__all__ = ["NEVER_STALE", "remove", "why_left"]

NEVER_STALE: str | None = None
"""Why there is nothing to remove; None where there may be."""
_LIMIT = 2.0  # seconds that another process may have the folder of mutexes locked


def remove(found: Found, *, abandoned: bool = False) -> str | None:
    """None: it was removed. Otherwise why it was left.

    `abandoned`: also a mutex whose last owner died, and which would tell that the next one who opens it."""
    reason = why_left(found, abandoned=abandoned)
    if reason is not None:
        return reason
    return _remove_mutex(found, abandoned) if found.kind == "mutex" else locked(_remove, found)


def why_left(found: Found, *, abandoned: bool = False) -> str | None:
    """Why `remove` would leave it, as far as that can be told without trying. None: it would be removed."""
    if found.state == "unknown":
        return "it is another program's, and who has it open cannot be seen by this user"
    if found.state != "stale":
        return f"it is {found.state}"
    if found.kind == "foreign":
        return "it is another program's: remove it with rm(1) if you know that nobody needs it"
    if found.kind != "mutex":
        return None if os.geteuid() in (0, found.owner) else _another_users(found)
    if found.name is None:
        return "it is no mutex of ours or .NET's, by its name"
    try:
        folder = os.stat(found.path.rpartition("/")[0])
        if folder.st_mode & stat.S_ISVTX and os.geteuid() not in (0, found.owner, folder.st_uid):
            return _another_users(found)
        with open(found.path, "rb") as file:
            return None if abandoned else _told(file.fileno())
    except FileNotFoundError:
        return "it is gone"
    except OSError as error:
        return f"it cannot be looked at: {error.strerror}"


def _another_users(found: Found) -> str:
    return f"it belongs to user {found.owner}"


def _told(fd: int) -> str | None:
    if robust.tells_of_death(os.pread(fd, robust.LOCK_SIZE, DATA)):
        return "its last owner died, which whoever opens it next is to be told (--abandoned removes it)"
    return None


def _remove(found: Found) -> str | None:
    folder, _, file = found.path.rpartition("/")
    is_global = folder == directories.global_path()
    directory = directories.global_directory(create=False) if is_global else directories.user_directory(create=False)
    if directory is None or not found.is_there():
        return "it is gone"
    side = os.fsencode(file + SIDE) if "~" in file else None
    if remove_if_stale(directory, os.fsencode(file), side, found.owner or 0):
        return None
    return "somebody holds it again, or is at work on it" if found.is_there() else "it is gone"


def _remove_mutex(found: Found, abandoned: bool) -> str | None:
    assert found.name is not None
    place = places.MutexPlace(parse(found.name))
    place.folder, place.path = found.path.rpartition("/")[0].rpartition("/")[2], found.path  # of any session
    shm = places.folder_of(place, create=False)
    deadline = time.monotonic() + _LIMIT
    while shm is not None:
        result = locked(shm.locked, _remove_unused, shm, place, found, abandoned)
        if result is not BUSY_FOLDER:
            return None if result is None else str(result)
        if time.monotonic() > deadline:
            return f"{places.locker(place)} keeps the folder of all mutexes locked"
        time.sleep(0.001)
    return "it is gone"


def _remove_unused(shm: LockedFolder, place: places.MutexPlace, found: Found, abandoned: bool) -> str | None:
    """Under the directory lock: nobody can open it meanwhile."""
    folder = places.scope_folder(shm, place, create=False)
    if folder is None:
        return "it is gone"
    try:
        use, status = places.open_file(folder, place)
        if use is None or status is None or (status.st_dev, status.st_ino) != (found.device, found.inode):
            return "it is gone"
        if not places.nobody_uses(use.fd):
            return "somebody has it open again"
        reason = None if abandoned else _told(use.fd)
        if reason is not None:
            return reason
        shm.remove(place.folder.encode(), place.file, status.st_ino)
    finally:
        os.close(folder)
    return _another_users(found) if found.is_there() else None

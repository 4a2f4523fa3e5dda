# SPDX-License-Identifier: MIT
"""`Global\\` names: one folder for all users, in which each user's file of a name is another one; the live one counts.

The file's name ends in the creating user's id. A file that a dead user left behind is nobody's name any more, and only
its owner or root can remove it: without the id in the name it would block the name for ever. `.gate`, one permanent
file that everybody may write, is locked (flock) around all work in the folder, so that of a name's files one is live
at most. A hostile user can hold it: `Global\\` is for users who trust each other.
"""

from __future__ import annotations

import contextlib
import errno
import os
import stat

from ..._native import lifetime
from ..._native.lifetime import BUSY, CREATE, OPEN
from ..._typing import TYPE_CHECKING
from ...errors import ForeignObjectError
from ..names import Name
from . import directories
from .lock_table import is_locked
from .places import Place, folder_is_dead, place_in, place_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..._native.lifetime import Directory, Flock

__all__ = ["attempt", "is_live_anywhere", "open_gate"]

GATE = ".gate"
NO_USER = 2**32 - 1  # chown(2)'s "leave it as it is"


def open_gate(directory: Directory) -> Flock | None:
    """The global folder's gate, locked. None if somebody else has it, or the folder is gone."""
    try:
        return lifetime.try_flock(directory, GATE.encode())
    except FileNotFoundError:
        if not folder_is_dead(directory):
            _make_gate(directory)
        return None
    except PermissionError:
        # Its maker was killed before it gave it its mode, or is about to (`_make_gate`, the second way).
        status = os.stat(GATE, dir_fd=directory.fd, follow_symlinks=False)
        if status.st_uid == os.geteuid():
            os.chmod(GATE, 0o666, dir_fd=directory.fd)
        return None
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.EISDIR, errno.ENXIO, errno.ENODEV):
            raise _no_gate() from error
        raise


def _make_gate(directory: Directory) -> None:
    """The gate, with its mode before it has its name: a maker that is killed leaves nothing that shuts others out."""
    try:
        fd = os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory.fd)
        try:
            os.fchmod(fd, 0o666)
            os.link(f"/proc/self/fd/{fd}", GATE, dst_dir_fd=directory.fd)
        finally:
            os.close(fd)
    except FileExistsError:
        pass
    except OSError:  # a file system without nameless files, or no /proc
        with contextlib.suppress(FileExistsError, FileNotFoundError):
            fd = os.open(GATE, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=directory.fd)
            os.fchmod(fd, 0o666)
            os.close(fd)


def _no_gate() -> ForeignObjectError:
    return ForeignObjectError(
        f"{directories.global_path()}/{GATE} is not a plain file: look who made it, and remove it"
    )


def _variants(directory: Directory, name: Name, kind: str) -> list[int]:
    """The users of whom there is a file of this name, this one first."""
    head, own = f"{name.stem}~", os.geteuid()
    found = []
    for file in os.listdir(directory.fd):
        owner = file[len(head) : -len(kind)]
        if file.startswith(head) and file.endswith(kind) and owner.isascii() and owner.isdigit():
            uid = int(owner)
            if str(uid) == owner and uid < NO_USER:
                found.append(uid)
    return sorted(found, key=lambda uid: uid != own)


def attempt(
    name: Name, kind: str, how: int, flags: int, size: int, reserve: bool, prepare: Callable[[int], None] | None
) -> tuple[Any, Place | None]:
    """As `lifetime.attempt`, with the place that the result is about (None: there is no folder, so nothing)."""
    own = place_of(name, kind, create=how & CREATE != 0)
    if own is None:
        return None, None
    directory = own.directory
    gate = open_gate(directory)
    if gate is None:
        return BUSY, own
    try:
        for owner in _variants(directory, name, kind):
            place = place_in(directory, directories.global_path(), f"{name.stem}~{owner}", owner, name, kind)
            if not _is_live(place):
                if owner != own.owner and own.owner == 0:
                    lifetime.remove_if_stale(directory, place.file, place.side, owner)
                continue
            if not how & OPEN:
                return None, place
            try:
                try:
                    held = lifetime.attempt(directory, place.file, place.side, None, OPEN, flags, owner, 0, False, None)
                except PermissionError:
                    if not _is_entry(place):
                        raise
                    # It is only read: what may be done with the file that it names, that file decides.
                    held = lifetime.attempt(
                        directory, place.file, place.side, None, OPEN, os.O_RDONLY, owner, 0, False, None
                    )
            except PermissionError:
                raise PermissionError(
                    errno.EACCES, f"{name.given!r} belongs to user {owner}, whose access rules refuse this user"
                ) from None
            if held is not None:
                return held, place
        # Nobody's is live. What lies in our own place is stale and removed, or foreign and refused.
        held = lifetime.attempt(
            directory, own.file, own.side, own.text, how & CREATE or OPEN, os.O_RDWR, own.owner, size, reserve, prepare
        )
        return held, own
    finally:
        gate.close()


def is_live_anywhere(directory: Directory, name: Name, kind: str) -> bool:
    """Whether any user's file of this name has a holder at this moment."""
    return any(
        _is_live(place_in(directory, directories.global_path(), f"{name.stem}~{owner}", owner, name, kind))
        for owner in _variants(directory, name, kind)
    )


def _is_entry(place: Place) -> bool:
    return bool(os.stat(place.file, dir_fd=place.directory.fd, follow_symlinks=False).st_mode & stat.S_ISVTX)


def _is_live(place: Place) -> bool:
    try:
        status = os.stat(place.file, dir_fd=place.directory.fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if status.st_uid != place.owner:
        return False  # somebody's who may not speak for that user
    held = lifetime.is_held(place.directory, place.file)
    if held is None:  # we may not open it
        held = is_locked(status.st_dev, status.st_ino)
    return held is not False  # what cannot be known counts as alive

# SPDX-License-Identifier: MIT
"""The files in which typed objects are kept."""

from __future__ import annotations

import os
import stat

from .._typing import TYPE_CHECKING
from ..enums import FileMode

if TYPE_CHECKING:
    from ..file import MemoryMappedFile, StrPath

__all__ = ["lock_name_of", "lock_of", "make_file", "refuse_another_user", "remove_own"]


def make_file(path: StrPath, mode: FileMode) -> tuple[str, os.stat_result, bool]:
    """The file of this path, which is made, empty, if there is none and the mode is not OPEN: its path (of a file made
    where a link leads to: that), what it is, and whether this call made it. FileNotFoundError, FileExistsError."""
    path = os.fsdecode(path)
    for _ in range(100):
        made = False
        try:
            if mode is not FileMode.OPEN:
                os.mknod(path, stat.S_IFREG | 0o666)  # one call, so that a signal handler leaves nothing open
                made = True
        except FileExistsError:
            if mode is FileMode.CREATE_NEW:
                raise
        try:
            return path, os.stat(path), made
        except FileNotFoundError:
            if mode is FileMode.OPEN:
                raise
            path = os.path.realpath(path)
    raise TimeoutError(f"{path} is made and removed by others without pause")


def remove_own(path: str, status: os.stat_result) -> None:
    """Removes the file that this process made, unless somebody has put another in its place."""
    try:
        now = os.stat(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if os.path.samestat(now, status):
        os.unlink(path)


def lock_of(file: MemoryMappedFile) -> str:
    """The name of the lock of a file that belongs to this user."""
    return lock_name_of(file.path, os.fstat(file.fileno()))


def lock_name_of(path: str | None, status: os.stat_result) -> str:
    """The same, of a file of which that is known."""
    refuse_another_user(path, status)
    return f"file-{status.st_dev:x}-{status.st_ino:x}"


def refuse_another_user(path: str | None, status: os.stat_result) -> None:
    """ValueError: the lock that a file has by default is of no use to all who may open it."""
    if status.st_uid != os.geteuid():
        raise ValueError(
            f"{path!r} belongs to user {status.st_uid}, and the lock of a file is its user's own: say by "
            "lock_name which one all take who use this file"
        )

# SPDX-License-Identifier: MIT
"""The files in which typed objects are kept."""

from __future__ import annotations

import os

from .._typing import TYPE_CHECKING
from ..enums import FileMode
from ..system import SCOPE_OF_FILES, new_file, refuse_another_user, status_of
from ..system.names import Scope

if TYPE_CHECKING:
    from ..file import MemoryMappedFile, StrPath

__all__ = ["lock_name_of", "lock_of", "make_file", "remove_own"]

_SCOPE = "" if SCOPE_OF_FILES is Scope.USER else f"{SCOPE_OF_FILES.value}\\"


def make_file(path: StrPath, mode: FileMode) -> tuple[str, os.stat_result, bool]:
    """The file of this path, which is made, empty, if there is none and the mode is not OPEN: its path (of a file made
    where a link leads to: that), what it is, and whether this call made it. FileNotFoundError, FileExistsError."""
    path = os.fsdecode(path)
    for _ in range(100):
        made = False
        try:
            if mode is not FileMode.OPEN:
                new_file(path)
                made = True
        except FileExistsError:
            if mode is FileMode.CREATE_NEW:
                raise
        try:
            return path, status_of(path), made
        except FileNotFoundError:
            if mode is FileMode.OPEN:
                raise
            path = os.path.realpath(path)
    raise TimeoutError(f"{path} is made and removed by others without pause")


def remove_own(path: str, status: os.stat_result) -> None:
    """Removes the file that this process made, unless somebody has put another in its place."""
    try:
        now = status_of(path, follow_symlinks=False)
    except FileNotFoundError:
        return
    if os.path.samestat(now, status):
        os.unlink(path)


def lock_of(file: MemoryMappedFile) -> str:
    """The name of the lock of a file that is mapped under a name, and belongs to this user."""
    backing = file._backing
    if backing.path is not None:
        refuse_another_user(backing.path, backing.status())
    return _lock_name(backing.device, backing.inode)


def lock_name_of(path: str | None, status: os.stat_result) -> str:
    """The same, of a file of which that is known."""
    refuse_another_user(path, status)
    return _lock_name(status.st_dev, status.st_ino)


def _lock_name(device: int, inode: int) -> str:
    return f"{_SCOPE}file-{device:x}-{inode:x}"

# SPDX-License-Identifier: MIT
"""The files in which typed objects are kept."""

from __future__ import annotations

import os

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..file import MemoryMappedFile, StrPath

__all__ = ["has_bytes", "lock_of"]


def has_bytes(path: StrPath) -> bool:
    try:
        return os.stat(path).st_size > 0
    except FileNotFoundError:
        return False


def lock_of(file: MemoryMappedFile) -> str:
    """The name of the lock of a file that belongs to this user."""
    status = os.fstat(file.fileno())
    if status.st_uid != os.geteuid():
        raise ValueError(
            f"{file.path!r} belongs to user {status.st_uid}, and the lock of a file is its user's own: say by "
            "lock_name which one all take who use this file"
        )
    return f"file-{status.st_dev:x}-{status.st_ino:x}"

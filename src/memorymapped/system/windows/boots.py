# SPDX-License-Identifier: MIT
"""Since when the machine runs."""

from __future__ import annotations

from hashlib import sha256

from ..._native.win32 import boot_time

__all__ = ["boot_mark"]


def boot_mark(device: int, inode: int) -> bytes:
    """16 bytes that no other boot of the machine has, nor another file in this one: a copy of a file that was in use is
    what a crash leaves. Of the file alone where the system does not tell the boot."""
    return sha256(b"%d %x %x" % (boot_time(), device, inode)).digest()[:16]

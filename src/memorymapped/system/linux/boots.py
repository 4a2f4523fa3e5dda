# SPDX-License-Identifier: MIT
"""Since when the machine runs."""

from __future__ import annotations

from hashlib import sha256

__all__ = ["boot_mark"]


def boot_mark(device: int, inode: int) -> bytes:
    """16 bytes that no other boot of the machine has, nor another file in this one: a copy of a file that was in use is
    what a crash leaves. Of the file alone where the kernel does not tell the boot."""
    try:
        with open("/proc/sys/kernel/random/boot_id", "rb") as file:
            boot = file.read().strip()
    except OSError:
        boot = b""
    return sha256(b"%s %x %x" % (boot, device, inode)).digest()[:16]

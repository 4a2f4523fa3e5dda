# SPDX-License-Identifier: MIT
"""Since when the machine runs."""

from __future__ import annotations

__all__ = ["boot_mark"]


def boot_mark() -> bytes:
    """16 bytes that no other boot of the machine has; zeros where the kernel does not tell."""
    try:
        with open("/proc/sys/kernel/random/boot_id") as file:
            return bytes.fromhex(file.read().strip().replace("-", ""))
    except OSError:
        return bytes(16)

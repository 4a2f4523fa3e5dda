# SPDX-License-Identifier: MIT
"""Numbers and names as text for people."""

from __future__ import annotations

import os

__all__ = ["shown", "size_in_words"]

UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_in_words(size: float) -> str:
    """A number of bytes: `512 bytes`, `1.5 MiB`."""
    if size < 1024:
        return f"{size:.0f} byte{'' if round(size) == 1 else 's'}"
    power = 0
    while size >= 1023.95 and power < len(UNITS):
        size /= 1024
        power += 1
    return f"{size:.1f} {UNITS[power - 1]}"


def shown(path: str | bytes) -> str:
    """A file's name, safe to print: one that could move the cursor, or is no text, in quotes and escaped."""
    path = os.fsdecode(path)
    return path if path.isprintable() else repr(path)

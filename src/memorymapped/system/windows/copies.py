# SPDX-License-Identifier: MIT
"""How a file is copied: by reading and writing."""

from __future__ import annotations

from .reading import read_at, write_at

__all__ = ["CANNOT", "WAYS", "keep_mode"]

BUFFER = 1 << 20

CANNOT: set[int] = set()


def _by_hand(source: int, target: int, count: int, at: int) -> int:
    return write_at(target, read_at(source, min(count, BUFFER), at), at)


WAYS = (("read and write", _by_hand),)
"""Each copies some bytes at a place of (source, target, how many, where): how many. The last one always can."""


def keep_mode(fd: int, mode: int) -> None:
    """A copy has the rights that its folder gives it."""

# SPDX-License-Identifier: MIT
"""How a file is copied: by reading and writing, as on every system."""

from __future__ import annotations

__all__ = ["CANNOT", "WAYS", "keep_mode"]

CANNOT: set[int] = set()


WAYS = ()


def keep_mode(fd: int, mode: int) -> None:
    """A copy has the rights that its folder gives it."""

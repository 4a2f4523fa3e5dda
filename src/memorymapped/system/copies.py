# SPDX-License-Identifier: MIT
"""How a file is copied: in the kernel where it can, else by reading and writing."""

from __future__ import annotations

import sys

from .reading import read_at, write_at

if sys.platform == "linux":
    from .linux.copies import CANNOT, keep_mode
    from .linux.copies import WAYS as OF_KERNEL
else:
    from .windows.copies import CANNOT, keep_mode
    from .windows.copies import WAYS as OF_KERNEL

__all__ = ["CANNOT", "WAYS", "keep_mode"]

_BUFFER = 1 << 20


def _by_hand(source: int, target: int, count: int, at: int) -> int:
    return write_at(target, read_at(source, min(count, _BUFFER), at), at)


WAYS = (*OF_KERNEL, ("read and write", _by_hand))
"""Each copies some bytes at a place of (source, target, how many, where): how many. The last one always can."""

# SPDX-License-Identifier: MIT
"""The C library's descriptors, and the handles of the system under them."""

from __future__ import annotations

import msvcrt

__all__ = ["descriptor_of", "handle_of"]


def handle_of(fd: int) -> int:
    """The handle of a descriptor, which keeps it. OSError (EBADF) if there is no such descriptor."""
    return int(msvcrt.get_osfhandle(fd))  # type: ignore[attr-defined]


def descriptor_of(handle: int, flags: int) -> int:
    """A new descriptor, which has the handle from now on."""
    return int(msvcrt.open_osfhandle(handle, flags))  # type: ignore[attr-defined]

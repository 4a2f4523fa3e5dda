# SPDX-License-Identifier: MIT
"""What the system lets be done with the memory of views, here and in a child that multiprocessing starts anew."""

from __future__ import annotations

from multiprocessing.connection import Connection

import numpy

from memorymapped import MemoryMappedFile
from memorymapped import MemoryMappedFileAccess as Access

from .here import protection

__all__ = ["protections", "tell_protections"]


def protections(map_: MemoryMappedFile) -> dict[str, str]:
    """By the access of each view that it allows, but for copies on write."""
    found = {}
    for access in (Access.READ, Access.READ_WRITE, Access.READ_EXECUTE, Access.READ_WRITE_EXECUTE):
        if map_._limits.ways[access] is not None:
            with map_.create_view_accessor(access=access) as view:
                found[access.name] = protection(numpy.asarray(view).ctypes.data)
    return found


def tell_protections(map_: MemoryMappedFile, pipe: Connection) -> None:
    """Sends them, or the error."""
    with map_, pipe:
        try:
            pipe.send(protections(map_))
        except OSError as error:
            pipe.send(repr(error))

# SPDX-License-Identifier: MIT
"""How the views of each access are mapped, on any system."""

from __future__ import annotations

from .._native.memory import MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE
from ..enums import MemoryMappedFileAccess as Access

__all__ = ["protections"]


def protections(private: int) -> dict[Access, tuple[int, int, bool, bool]]:
    """For each access of a view: protection, flags, whether it reads, whether it writes. `private`: the flags of a view
    whose changes are its own."""
    return {
        Access.READ_WRITE: (PROT_READ | PROT_WRITE, MAP_SHARED, True, True),
        Access.READ: (PROT_READ, MAP_SHARED, True, False),
        Access.WRITE: (PROT_READ | PROT_WRITE, MAP_SHARED, False, True),
        Access.COPY_ON_WRITE: (PROT_READ | PROT_WRITE, private, True, True),
        Access.READ_EXECUTE: (PROT_READ | PROT_EXEC, MAP_SHARED, True, False),
        Access.READ_WRITE_EXECUTE: (PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, True, True),
    }

# SPDX-License-Identifier: MIT
"""Which capacities a file map may have, on any system."""

from __future__ import annotations

from ..enums import MemoryMappedFileAccess as Access
from ..errors import OutOfRangeError

__all__ = ["check_capacity"]


def check_capacity(path: str | None, capacity: int, size: int | None, access: Access) -> None:
    """ValueError or OutOfRangeError if a file of `size` bytes (None: a device, which has none) cannot be mapped with
    this capacity and access."""
    shown = path or "the file"
    if size is None:
        if capacity == 0:
            raise ValueError(f"{shown} is a device without a size: give the capacity in bytes that the map shall have")
        return
    if capacity == 0 and size == 0:
        raise ValueError(f"{shown} is empty: give the capacity in bytes that the map shall have")
    if access in (Access.READ, Access.READ_EXECUTE) and capacity > size:
        raise ValueError(
            f"{shown} has {size} bytes, and a map with {access.name} access cannot make it {capacity}: ask for at "
            "most its size, or for an access that writes"
        )
    if 0 < capacity < size:
        raise OutOfRangeError(
            f"capacity {capacity} is less than the {size} bytes of {shown}: a map never shortens its file"
        )

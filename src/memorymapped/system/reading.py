# SPDX-License-Identifier: MIT
"""Bytes of maps and files for who only looks, without a hold, one module per system. Apart from
`memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

from .._typing import TYPE_CHECKING

if sys.platform == "linux":
    from .linux.reading import (
        MAPPED_FILES_SHRINK,
        allocated,
        close_source,
        data_range,
        end_of,
        identity_of,
        is_file,
        is_path,
        looked_up,
        may_be_name,
        next_data,
        open_file,
        open_source,
        owned,
        read_at,
        read_into,
        size_of,
        write_at,
    )

    if TYPE_CHECKING:
        from .linux.reading import Source as Source
else:
    from .windows.reading import (
        MAPPED_FILES_SHRINK,
        allocated,
        close_source,
        data_range,
        end_of,
        identity_of,
        is_file,
        is_path,
        looked_up,
        may_be_name,
        next_data,
        open_file,
        open_source,
        owned,
        read_at,
        read_into,
        size_of,
        write_at,
    )

    if TYPE_CHECKING:
        from .windows.reading import Source as Source

__all__ = [
    "MAPPED_FILES_SHRINK",
    "allocated",
    "close_source",
    "data_range",
    "end_of",
    "identity_of",
    "is_file",
    "is_path",
    "looked_up",
    "may_be_name",
    "next_data",
    "open_file",
    "open_source",
    "owned",
    "read_at",
    "read_into",
    "size_of",
    "write_at",
]

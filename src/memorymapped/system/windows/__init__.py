# SPDX-License-Identifier: MIT
"""Windows: what the interface of `memorymapped.system` is made of here, which is the system's own objects. A name lives
as long as somebody has a handle of it: the kernel sees to that.

Reading order: `backing` (what every map stands on), `maps` (named memory), `files` (maps of files).
"""

from __future__ import annotations

from ..._native.memory import MAP_PRIVATE
from ..protections import protections
from .backing import PAGE_SIZE, Backing, unnamed_memory
from .files import FileMap, from_descriptor, map_descriptor, map_path
from .maps import CREATE, EITHER, NamedMemory, create_memory, locate, open_entry, open_memory

__all__ = [
    "CREATE",
    "EITHER",
    "PAGE_SIZE",
    "PRIVATE",
    "PROTECTION",
    "Backing",
    "FileMap",
    "NamedMemory",
    "create_memory",
    "from_descriptor",
    "locate",
    "map_descriptor",
    "map_path",
    "open_entry",
    "open_memory",
    "unnamed_memory",
]

PRIVATE = MAP_PRIVATE
PROTECTION = protections(PRIVATE)

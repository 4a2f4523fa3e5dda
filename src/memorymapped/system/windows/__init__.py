# SPDX-License-Identifier: MIT
"""Windows: what the interface of `memorymapped.system` is made of here, which is the system's own objects. A name lives
as long as somebody has a handle of it: the kernel sees to that.

Reading order: `backing` (what every map stands on), `maps` (named memory), `files` (maps of files).
"""

from __future__ import annotations

from ..._native.memory import MAP_PRIVATE, MAP_SHARED, PROT_EXEC, PROT_READ, PROT_WRITE
from ...enums import MemoryMappedFileAccess as Access
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

# For each access of a view: protection, flags, whether it reads, whether it writes.
PROTECTION = {
    Access.READ_WRITE: (PROT_READ | PROT_WRITE, MAP_SHARED, True, True),
    Access.READ: (PROT_READ, MAP_SHARED, True, False),
    Access.WRITE: (PROT_READ | PROT_WRITE, MAP_SHARED, False, True),
    Access.COPY_ON_WRITE: (PROT_READ | PROT_WRITE, MAP_PRIVATE, True, True),
    Access.READ_EXECUTE: (PROT_READ | PROT_EXEC, MAP_SHARED, True, False),
    Access.READ_WRITE_EXECUTE: (PROT_READ | PROT_WRITE | PROT_EXEC, MAP_SHARED, True, True),
}
PRIVATE = MAP_PRIVATE

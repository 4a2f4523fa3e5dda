# SPDX-License-Identifier: MIT
"""Linux: what the interface of `memorymapped.system` is made of here.

Reading order: `directories` (where names lie), `places`, `objects` and `global_scope` (the life of
named objects), `maps` (named maps), `signals` (named events and semaphores), `backing` (what every map stands
on), `files` (maps of files), `holders` (who holds a name), `access_control` (owner, mode, POSIX ACL).
"""

from __future__ import annotations

from ..._native.memory import MAP_NORESERVE, MAP_PRIVATE
from ..protections import protections
from .access_control import AccessEntries, read_access, write_access
from .backing import PAGE_SIZE, Backing, unnamed_memory
from .directories import root
from .files import FileMap, from_descriptor, map_descriptor, map_path, open_entry
from .maps import NamedMemory, create_memory, open_memory
from .objects import CREATE, EITHER
from .places import locate
from .space import sweep

__all__ = [
    "CREATE",
    "EITHER",
    "PAGE_SIZE",
    "PRIVATE",
    "PROTECTION",
    "AccessEntries",
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
    "read_access",
    "root",
    "sweep",
    "unnamed_memory",
    "write_access",
]

PRIVATE = MAP_PRIVATE | MAP_NORESERVE  # a private terabyte does not count against committed memory
PROTECTION = protections(PRIVATE)

# SPDX-License-Identifier: MIT
"""Windows: what the interface of `memorymapped.system` is made of here, which is the system's own objects. A name lives
as long as somebody has a handle of it: the kernel sees to that.

Reading order: `backing` (what every map stands on), `maps` (named memory), `files` (maps of files).
"""

from __future__ import annotations

from ..._native.memory import MAP_PRIVATE
from ..._native.win32 import close_handle as close_descriptor
from ..names import Scope
from ..protections import protections
from .access_control import (
    access_of,
    apply_access,
    check_security,
    group_of,
    myself,
    read_access,
    said_in_sddl,
    sddl_form,
    user_of,
    write_access,
)
from .backing import PAGE_SIZE, Backing, unnamed_memory
from .files import (
    FileMap,
    directions,
    file_identity,
    from_descriptor,
    map_descriptor,
    map_path,
    new_file,
    refuse_another_user,
    status_of,
    sync_folder,
)
from .maps import CREATE, EITHER, NamedMemory, create_memory, locate, open_entry, open_memory, sweep
from .travelling import over_pipe, to_child

__all__ = [
    "CREATE",
    "EITHER",
    "MEETS_ALL_USERS",
    "MEMORY_GROWS",
    "PAGE_SIZE",
    "PRIVATE",
    "PROTECTION",
    "ROUNDED",
    "SCOPE_OF_FILES",
    "Backing",
    "FileMap",
    "NamedMemory",
    "access_of",
    "apply_access",
    "check_security",
    "close_descriptor",
    "create_memory",
    "directions",
    "file_identity",
    "from_descriptor",
    "group_of",
    "locate",
    "map_descriptor",
    "map_path",
    "myself",
    "new_file",
    "open_entry",
    "open_memory",
    "over_pipe",
    "read_access",
    "refuse_another_user",
    "said_in_sddl",
    "sddl_form",
    "status_of",
    "sweep",
    "sync_folder",
    "to_child",
    "unnamed_memory",
    "user_of",
    "write_access",
]

SCOPE_OF_FILES = Scope.GLOBAL
"""Of the lock of a file: its users may be in several sessions. Another user may not open it, and is told so."""
MEETS_ALL_USERS = False
"""Whether everybody may make memory that all users know by its name: that needs a privilege."""
MEMORY_GROWS = False
"""Whether memory that is there can be made longer."""
ROUNDED = PAGE_SIZE
"""Memory has a size that is a multiple of this for who opens it."""
PRIVATE = MAP_PRIVATE
PROTECTION = protections(PRIVATE)

# SPDX-License-Identifier: MIT
"""Linux: what the interface of `memorymapped.system` is made of here.

Reading order: `directories` (where names lie), `places`, `objects` and `global_scope` (the life of
named objects), `maps` (named maps), `signals` (named events and semaphores), `backing` (what every map stands
on), `files` (maps of files), `holders` (who holds a name), `access_control` (owner, mode, POSIX ACL).
"""

from __future__ import annotations

from os import close as close_descriptor

from ..._native.memory import MAP_NORESERVE, MAP_PRIVATE
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
from .directories import root
from .files import (
    FileMap,
    directions,
    file_identity,
    from_descriptor,
    map_descriptor,
    map_path,
    new_file,
    open_entry,
    refuse_another_user,
    status_of,
    sync_folder,
)
from .maps import NamedMemory, create_memory, open_memory
from .objects import CREATE, EITHER
from .places import locate
from .space import sweep
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
    "root",
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

SCOPE_OF_FILES = Scope.USER
"""Of the lock of a file."""
MEETS_ALL_USERS = True
"""Whether everybody may make memory that all users know by its name."""
MEMORY_GROWS = True
"""Whether memory that is there can be made longer."""
ROUNDED = 1
"""Memory has a size that is a multiple of this for who opens it."""
PRIVATE = MAP_PRIVATE | MAP_NORESERVE  # a private terabyte does not count against committed memory
PROTECTION = protections(PRIVATE)

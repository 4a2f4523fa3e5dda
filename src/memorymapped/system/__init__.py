# SPDX-License-Identifier: MIT
"""What the operating system gives, one package per system behind one interface. Nothing above asks which it is."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux import (
        CREATE,
        EITHER,
        PAGE_SIZE,
        PRIVATE,
        PROTECTION,
        AccessEntries,
        Backing,
        FileMap,
        NamedMemory,
        create_memory,
        from_descriptor,
        locate,
        map_descriptor,
        map_path,
        open_entry,
        open_memory,
        read_access,
        root,
        sweep,
        unnamed_memory,
        write_access,
    )
elif sys.platform == "win32":
    from .windows import (
        CREATE,
        EITHER,
        PAGE_SIZE,
        PRIVATE,
        PROTECTION,
        Backing,
        FileMap,
        NamedMemory,
        create_memory,
        from_descriptor,
        locate,
        map_descriptor,
        map_path,
        open_entry,
        open_memory,
        unnamed_memory,
    )
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

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

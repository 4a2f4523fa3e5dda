# SPDX-License-Identifier: MIT
"""Reads what struct_and_string_writer.py, which is still running, has written.

From "Memory mapped files in .NET 4" (2009), the second program. It only reads, so it asks for no more than that."""

import sys

from struct_and_string import MAP_NAME, read_data

from memorymapped import MemoryMappedFile, MemoryMappedFileAccess, MemoryMappedFileRights

try:
    map = MemoryMappedFile.open_existing(MAP_NAME, MemoryMappedFileRights.READ)
except FileNotFoundError as error:
    sys.exit(f"start struct_and_string_writer.py first: {error}")

with map, map.create_view_accessor(access=MemoryMappedFileAccess.READ) as view:
    read_data(view, 0)

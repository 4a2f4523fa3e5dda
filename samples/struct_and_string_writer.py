# SPDX-License-Identifier: MIT
"""Writes a structure and a string to a named map, waits for Enter, and reads them back.

From "Memory mapped files in .NET 4" (2009), the first program. While it waits run the second one in another terminal:

    python samples/struct_and_string_writer.py
    python samples/struct_and_string_reader.py
"""

from struct_and_string import CAPACITY, MAP_NAME, read_data, write_data

from memorymapped import MemoryMappedFile

with MemoryMappedFile.create_or_open(MAP_NAME, CAPACITY) as map, map.create_view_accessor() as view:
    write_data(view, 0)
    print("written; press Enter to end", flush=True)
    input()
    read_data(view, 0)

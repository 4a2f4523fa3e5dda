# SPDX-License-Identifier: MIT
"""Two views of one map, each of a part of it and with an access of its own.

From "Working with memory mapped files in .NET 4", its last example: this program writes into the first 1024 bytes and
can only read the others, so a mistake cannot spoil them:

    python samples/two_views.py
"""

import io

from memorymapped import MemoryMappedFile, MemoryMappedFileAccess

with MemoryMappedFile.create_new(None, 1024 * 1024) as map:
    with map.create_view_accessor() as everything:  # as another program, whose part begins at 1025, would fill it
        everything.write_double(1025 + 8, 9.75)

    with (
        map.create_view_accessor(0, 1024, MemoryMappedFileAccess.WRITE) as write_map,
        map.create_view_accessor(1025, 1024, MemoryMappedFileAccess.READ) as read_map,
    ):
        write_map.write_int32(0, 1234)
        print("read:", read_map.read_double(8))
        try:
            read_map.write_double(8, 0.0)
        except io.UnsupportedOperation as error:
            print("refused:", error)
        try:
            write_map.read_int32(0)
        except io.UnsupportedOperation as error:
            print("refused:", error)

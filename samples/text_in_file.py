# SPDX-License-Identifier: MIT
"""Writes text to a file through a view that can only write, and reads it through one that can only read.

From the lecture "Memory Mapping", Writing to and Reading from a File:

    python samples/text_in_file.py [test.dat]
"""

import argparse

from memorymapped import FileMode, MemoryMappedFile, MemoryMappedFileAccess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("path", nargs="?", default="test.dat")
path = parser.parse_args().path

FILE_SIZE = 1024
message = "Hello, world!"
size = len(message) * 2  # UTF-16, as .NET's Encoding.Unicode

with MemoryMappedFile.create_from_file(path, FileMode.CREATE, None, FILE_SIZE) as map:
    with map.create_view_accessor(0, size, MemoryMappedFileAccess.WRITE) as view:
        view.write_array(0, message.encode("utf-16-le"))

    with map.create_view_accessor(0, size, MemoryMappedFileAccess.READ) as view:
        buffer = bytearray(size)
        view.read_array(0, buffer)
        print(buffer.decode("utf-16-le"))

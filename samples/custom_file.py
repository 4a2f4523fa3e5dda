# SPDX-License-Identifier: MIT
"""A file mapped under a name: one process writes typed values, another reads them by the name, and the file keeps them.

From "Working with memory mapped files in .NET 4", the custom file model:

    python samples/custom_file.py writer data.bin    # waits for Enter
    python samples/custom_file.py reader             # meanwhile, in another terminal
    python samples/custom_file.py file data.bin      # at any time later
"""

import argparse
import ctypes

from memorymapped import MemoryMappedFile, MemoryMappedFileAccess, MemoryMappedFileRights

MAP_NAME = "MyMemMapFile"
CAPACITY = 1024 * 1024
READ = MemoryMappedFileAccess.READ


class Container(ctypes.Structure):
    _fields_ = (("id", ctypes.c_int32), ("weight", ctypes.c_double), ("label", ctypes.c_char * 8))


def writer(path: str) -> None:
    container = Container(7, 12.5, b"apples")
    with (
        open(path, "w+b") as file,
        MemoryMappedFile.create_from_file(file, MAP_NAME, CAPACITY, MemoryMappedFileAccess.READ_WRITE) as map,
        map.create_view_accessor() as view,
    ):
        view.write_int32(0, 1234)
        view.write(4, container)
        print("written; press Enter to end", flush=True)
        input()


def show(map: MemoryMappedFile) -> None:
    with map, map.create_view_accessor(access=READ) as view:
        container = view.read(4, Container)
        print(view.capacity, "bytes:", view.read_int32(0), container.id, container.weight, container.label.decode())


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("role", choices=["writer", "reader", "file"])
parser.add_argument("path", nargs="?")
arguments = parser.parse_args()
if (arguments.role == "reader") != (arguments.path is None):
    parser.error("writer and file need a path, reader has none")
if arguments.role == "writer":
    writer(arguments.path)
elif arguments.role == "reader":
    show(MemoryMappedFile.open_existing(MAP_NAME, MemoryMappedFileRights.READ))
else:
    show(MemoryMappedFile.create_from_file(arguments.path, access=READ))

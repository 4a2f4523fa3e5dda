# SPDX-License-Identifier: MIT
"""Reads what provider.py, which is still running, has written: under the same mutex, so that it is whole.

From "Programming Memory-Mapped Files with the .NET Framework", Simple IPC. See provider.py for the arguments."""

import argparse
import sys
from contextlib import closing

from memorymapped import AbandonedMutexError, MemoryMappedFile, MemoryMappedFileAccess, MemoryMappedFileRights, Mutex

MUTEX_NAME = "Global\\MMF_IPC"
LENGTH = 32

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name", help="of the map")
parser.add_argument("--file", action="store_true", help="the name is the path of a file")
arguments = parser.parse_args()


def opened() -> MemoryMappedFile:
    if arguments.file:
        return MemoryMappedFile.create_from_file(arguments.name, access=MemoryMappedFileAccess.READ)
    return MemoryMappedFile.open_existing(arguments.name, MemoryMappedFileRights.READ)


buffer = bytearray(LENGTH)
try:
    with (
        closing(Mutex.open_existing(MUTEX_NAME)) as mutex,
        mutex,
        opened() as map,
        map.create_view_accessor(0, LENGTH, MemoryMappedFileAccess.READ) as view,
    ):
        view.read_array(0, buffer)
except FileNotFoundError as error:
    sys.exit(f"start provider.py first: {error}")
except AbandonedMutexError as error:
    sys.exit(f"the provider has died while it wrote: {error}")
print(buffer.decode("ascii"))

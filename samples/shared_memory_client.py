# SPDX-License-Identifier: MIT
"""A structure in shared memory that every instance of this program reads and changes: run it twice.

From "Programming Memory-Mapped Files with the .NET Framework", Shared Memory:

    python samples/shared_memory_client.py          # prints 0, 0, 0; waits for Enter
    python samples/shared_memory_client.py          # meanwhile, in another terminal: prints 1, 2, 3

With `--file FILE` the memory is a file, which the article's C# program can share on Linux too.
"""

import argparse
import sys
from contextlib import suppress

from memorymapped import SharedMemory
from memorymapped.structs import Struct, int32


class Point(Struct):
    x: int32
    y: int32


class MyData(Struct):
    my_int: int32
    my_pt: Point


def main(shared: SharedMemory[MyData]) -> None:
    data = shared.data  # a copy of one moment, whole in any case
    print(f"{data.my_int}, {data.my_pt.x}, {data.my_pt.y}")
    with shared.edit() as draft:  # all of it at once, or nothing
        draft.my_int = 1
        draft.my_pt.x = 2
        draft.my_pt.y = 3
    with suppress(KeyboardInterrupt):
        print("press Enter to end", flush=True)
        sys.stdin.readline()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--file", help="a file instead of named memory")
parser.add_argument("--lock", default="Global\\SM_LOCK", help="the mutex that guards the file")
arguments = parser.parse_args()
if arguments.file is None:
    with SharedMemory(MyData, "ShmemTest") as shared:
        main(shared)
else:
    with SharedMemory.create_from_file(MyData, arguments.file, lock_name=arguments.lock) as shared:
        main(shared)

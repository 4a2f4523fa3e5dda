# SPDX-License-Identifier: MIT
"""Shared memory without a file: with its own access rules, pages that are taken when they are first used, and a handle
that a child process inherits.

From "Working with memory mapped files in .NET 4", the page file model:

    python samples/page_file.py          # starts a child that reads through the inherited descriptor; waits for Enter
    python samples/page_file.py reader   # meanwhile, in another terminal: opens the map by its name
"""

import argparse
import subprocess
import sys

from memorymapped import (
    AccessRule,
    HandleInheritability,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileOptions,
    MemoryMappedFileRights,
    MemoryMappedFileSecurity,
)

MAP_NAME = "Salvador"
CAPACITY = 1024 * 1024


def creator() -> None:
    custom_security = MemoryMappedFileSecurity([AccessRule("owner", MemoryMappedFileRights.READ_WRITE)])
    with (
        MemoryMappedFile.create_new(
            MAP_NAME,
            CAPACITY,
            MemoryMappedFileAccess.READ_WRITE,
            MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES,
            HandleInheritability.INHERITABLE,
            security=custom_security,
        ) as map,
        map.create_view_accessor() as view,
    ):
        view.write_int32(0, 1234)
        view.write(4, (3.5, b"pages"), "<d5s")
        for rule in map.get_access_control():
            print(rule.identity, "may", rule.rights.name)
        sys.stdout.flush()
        child = [sys.executable, __file__, "child", str(map.fileno())]
        subprocess.run(child, close_fds=False, check=True)
        print("press Enter to end", flush=True)
        input()


def show(who: str, map: MemoryMappedFile) -> None:
    with map, map.create_view_accessor(access=MemoryMappedFileAccess.READ) as view:
        print(who, "reads", view.read_int32(0), *view.read(4, "<d5s"), flush=True)


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("role", nargs="?", choices=["creator", "reader", "child"], default="creator")
parser.add_argument("descriptor", nargs="?", type=int, help=argparse.SUPPRESS)
arguments = parser.parse_args()
if arguments.role == "creator":
    creator()
elif arguments.role == "reader":
    show("the reader", MemoryMappedFile.open_existing(MAP_NAME, MemoryMappedFileRights.READ))
else:
    show("the child", MemoryMappedFile.from_descriptor(arguments.descriptor))

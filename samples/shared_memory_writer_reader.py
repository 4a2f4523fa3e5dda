# SPDX-License-Identifier: MIT
"""Shared memory as a file in /dev/shm, guarded by a mutex that .NET programs on this machine share.

From "Memory Mapping", IPC Communication Example, Linux:

    python samples/shared_memory_writer_reader.py writer    # waits for Enter
    python samples/shared_memory_writer_reader.py reader    # meanwhile, in another terminal

Either may be the article's C# program.
"""

import argparse
import os
import sys
from contextlib import closing, suppress

from memorymapped import AbandonedMutexError, FileMode, MemoryMappedFile, MemoryMappedFileAccess, Mutex

SHM_FILE = "/dev/shm/shared_memory.shm"
MUTEX_NAME = "Global\\shared_memory_mutex"
COUNT = 500
READ = MemoryMappedFileAccess.READ


def writer(path: str) -> None:
    with closing(Mutex(initially_owned=True, name=MUTEX_NAME)) as mutex:  # who finds it waits until all is written
        with (
            mutex.recovering(lambda _: None),  # another writer has died: nothing to repair, all is written anew
            MemoryMappedFile.create_from_file(path, FileMode.CREATE, None, COUNT * 4) as map,
            map.create_view_accessor() as view,
        ):
            for i in range(COUNT):
                view.write_int32(i * 4, i * i)
        if mutex.created_new:
            mutex.release_mutex()  # what the constructor has taken
        with suppress(KeyboardInterrupt):
            print("written; press Enter to end", flush=True)
            sys.stdin.readline()
        with suppress(FileNotFoundError):  # another writer of the same file has ended before
            os.unlink(path)  # nobody else does


def reader(path: str) -> None:
    try:
        with (
            closing(Mutex.open_existing(MUTEX_NAME)) as mutex,
            mutex,
            MemoryMappedFile.create_from_file(path, access=READ) as map,
            map.create_view_accessor(access=READ) as view,
        ):
            for i in range(COUNT):
                print(view.read_int32(i * 4))
    except FileNotFoundError as error:
        sys.exit(f"start the writer first: {error}")
    except AbandonedMutexError as error:
        sys.exit(f"the writer has died while it wrote; start it again: {error}")


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("role", choices=["writer", "reader"])
parser.add_argument("--file", default=SHM_FILE)
arguments = parser.parse_args()
if arguments.role == "writer":
    writer(arguments.file)
else:
    reader(arguments.file)

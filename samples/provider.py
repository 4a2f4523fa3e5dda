# SPDX-License-Identifier: MIT
"""Writes 32 bytes to a named map, under a named mutex, and keeps them until Enter is pressed.

From "Programming Memory-Mapped Files with the .NET Framework", Simple IPC:

    python samples/provider.py demo    # waits for Enter
    python samples/consumer.py demo    # meanwhile, in another terminal

.NET has no named maps on Linux. With --file both programs map a file instead, and either may be the article's C# one:

    python samples/provider.py --file /dev/shm/demo

The mutex's name begins with Global\\: in C# on Linux a bare name is the session's, and each terminal is a session.
"""

import argparse
import sys
from contextlib import closing, suppress

from memorymapped import FileMode, MemoryMappedFile, Mutex

MUTEX_NAME = "Global\\MMF_IPC"
LENGTH = 32

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("name", help="of the map")
parser.add_argument("--file", action="store_true", help="the name is the path of a file")
arguments = parser.parse_args()

with closing(Mutex(initially_owned=True, name=MUTEX_NAME)) as mutex:  # who finds it waits until the map is written
    with mutex.recovering(lambda _: None):  # another provider has died: nothing to repair, all is written anew
        if arguments.file:
            map = MemoryMappedFile.create_from_file(arguments.name, FileMode.CREATE, None, LENGTH)
        else:
            map = MemoryMappedFile.create_new(arguments.name, LENGTH)
        with map.create_view_accessor(0, LENGTH) as view:
            view.write_array(0, bytes(ord("0") + i for i in range(LENGTH)))
    if mutex.created_new:
        mutex.release_mutex()  # what the constructor has taken
    with map, suppress(KeyboardInterrupt):
        print("written; press Enter to end", flush=True)
        sys.stdin.readline()

# SPDX-License-Identifier: MIT
"""Runs once at a time: the name of a map says whether the program is running already.

From "Programming Memory-Mapped Files with the .NET Framework", Single Instance, in the article's own way: one cannot
create the same named map twice. The name is free again when the program ends, however it ends; `kill -9` leaves no lock
file behind. (single_instance.py does more in fewer lines.)

    python samples/single_instance_by_map.py    # waits for Enter; start it again in another terminal
"""

import sys

from memorymapped import MemoryMappedFile, NameInUseError

try:
    map = MemoryMappedFile.create_new("NetMMFSingle", 1)
except NameInUseError as error:
    sys.exit(f"Instance already running... ({error.holders})" if error.holders else "Instance already running...")

with map:
    print("the only instance; press Enter to end", flush=True)
    input()

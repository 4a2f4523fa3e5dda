# SPDX-License-Identifier: MIT
"""Copies a file through two mapped views.

From "Programming Memory-Mapped Files with the .NET Framework", File Copy. Unlike there the whole file is never in a
buffer of this program, and an existing destination is refused. (`mmf cp` and shutil.copyfile let the kernel copy, which
is faster.)

    python samples/copy_by_accessor.py file1 file2
"""

import argparse
import os
import sys

from memorymapped import FileMode, MemoryMappedFile, MemoryMappedFileAccess

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("file1")
parser.add_argument("file2")
arguments = parser.parse_args()

try:
    length = os.path.getsize(arguments.file1)
    if length == 0:
        sys.exit(f"{arguments.file1} is empty: there is nothing to map")
    with (
        MemoryMappedFile.create_from_file(arguments.file1, access=MemoryMappedFileAccess.READ) as source,
        source.create_view_accessor(0, length, MemoryMappedFileAccess.READ) as reader,
        MemoryMappedFile.create_from_file(arguments.file2, FileMode.CREATE_NEW, None, length) as target,
        target.create_view_accessor(0, length, MemoryMappedFileAccess.WRITE) as writer,
    ):
        writer.write_array(0, memoryview(reader))
        reader.check()  # had somebody truncated file1 meanwhile, this would raise
    print(f"{length} bytes copied")
except OSError as error:
    sys.exit(f"cannot copy: {error}")

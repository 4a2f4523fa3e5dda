# SPDX-License-Identifier: MIT
"""Copies a file through two view streams.

From "Programming Memory-Mapped Files with the .NET Framework": the exercise that its File Copy leaves to the reader.
A view stream is a binary stream like any other, so the standard library does the copying.

    python samples/copy_by_stream.py file1 file2
"""

import argparse
import os
import shutil
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
        source.create_view_stream(0, length, MemoryMappedFileAccess.READ) as reader,
        MemoryMappedFile.create_from_file(arguments.file2, FileMode.CREATE_NEW, None, length) as target,
        target.create_view_stream(0, length, MemoryMappedFileAccess.WRITE) as writer,
    ):
        shutil.copyfileobj(reader, writer, 1024 * 1024)
    print(f"{length} bytes copied")
except OSError as error:
    sys.exit(f"cannot copy: {error}")

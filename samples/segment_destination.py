# SPDX-License-Identifier: MIT
"""Does the tasks of segment_source.py, which starts this program with the id of the file on its command line.

From "Inter-Process Communication using memory-mapped files", MmfDestination."""

import argparse
import sys
from pathlib import Path

from segment_names import open_existing

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", type=Path, help="where the file is; without it, it is in memory")
parser.add_argument("id", help="of the file")
arguments = parser.parse_args()

try:
    segments = open_existing(arguments.folder, arguments.id)
except FileNotFoundError as error:
    sys.exit(f"segment_source.py starts this program: {error}")

with segments:
    tasks = [line.split("\t") for line in segments.read(0).split("\n")]
    segments.write(1, "\n".join(f"{number}\tdone: {text}" for number, text in tasks))

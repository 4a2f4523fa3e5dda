# SPDX-License-Identifier: MIT
"""Hands tasks to another program, and shows what that made of them.

From "Inter-Process Communication using memory-mapped files", MmfSource: the tasks are segment 0 of a segment file with
a unique name, which the other program gets on its command line; its answer is segment 1. A line for each task: its
number, a tab, a text.

    python samples/segment_source.py
    python samples/segment_source.py --folder /dev/shm COMMAND...    # the other program may be the article's C# one
"""

import argparse
import subprocess
import sys
from pathlib import Path

from segment_names import create

TASKS = {"1": "Prüfen", "2": "write the report €"}
DESTINATION = Path(__file__).with_name("segment_destination.py")

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--folder", type=Path, help="where the file is to be; without it, it is in memory")
parser.add_argument("command", nargs="*", help="of the other program; the id of the file is put behind it")
arguments = parser.parse_args()

file_id, segments = create(arguments.folder)
with segments:
    segments.write(0, "\n".join(f"{number}\t{text}" for number, text in TASKS.items()))
    folder = [] if arguments.folder is None else ["--folder", str(arguments.folder)]
    command = arguments.command or [sys.executable, str(DESTINATION), *folder]
    with subprocess.Popen([*command, file_id]) as program:
        while not segments.wait_for(1, timeout=0.5):
            if program.poll() not in (None, 0):
                sys.exit(f"the other program has ended with {program.returncode}")
    for line in segments.read(1).split("\n"):
        print(line.replace("\t", " "))
path = segments.path
if arguments.folder is not None and path is not None:
    Path(path).unlink()

# SPDX-License-Identifier: MIT
"""Runs once at a time, and opens what later starts were asked to open, as an editor or a browser does.

From "Programming Memory-Mapped Files with the .NET Framework", Single Instance. The article's program only ends when it
finds another one running; this one hands over its command line. A C# program takes part that owns the same mutex:
`new Mutex(true, @"Global\\NetMMFSingle", out created)`. (Not `Local\\`: that is one for each session, and on Linux each
terminal is a session.)

    python samples/single_instance.py one.txt    # waits for Enter
    python samples/single_instance.py two.txt    # meanwhile, in another terminal: the first one opens it
"""

import os
import sys
from contextlib import suppress

from memorymapped import AlreadyRunningError, CommandLine, SingleInstance


def open_files(files: list[str], cwd: str) -> None:
    for file in files:
        print("opens", os.path.join(cwd, file), flush=True)


def started_again(line: CommandLine) -> None:
    open_files(line.arguments, line.cwd or "/")


try:
    with SingleInstance(r"Global\NetMMFSingle", started_again):
        open_files(sys.argv[1:], os.getcwd())
        with suppress(KeyboardInterrupt):
            print("the only instance; press Enter to end", flush=True)
            sys.stdin.readline()
except AlreadyRunningError as error:
    error.send(sys.argv[1:])
    print(error, "- it opens them")

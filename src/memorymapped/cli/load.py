# SPDX-License-Identifier: MIT
"""`mmf load`: writes a file into a map."""

from __future__ import annotations

import contextlib
import json
import os
import stat

import click

from .. import MemoryMappedFile, MemoryMappedViewAccessor
from .completing import complete_name
from .ending import Failure
from .locking import guarded, lock_options
from .numbers import number_of_bytes
from .objects import MAPS
from .save import PIECE
from .streams import standard_input
from .targets import explained, find
from .words import shown, size_in_words

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf load report.bin report
  mmf load report.bin report --offset 4096 --lock report.lock
  mmf load report.bin report --create --hold

A map ends with its last holder: --create makes one if nobody holds the name, and --hold keeps it until the standard
input ends, or Ctrl-C. `-` as FILE is the standard input. If the last owner of the mutex of --lock died, what it guards
may be half changed: nothing is written then, but with --recover.
"""


@click.command("load", short_help="Writes a file into a map.", epilog=EPILOG)
@click.argument("file")
@click.argument("target", metavar="NAME", shell_complete=complete_name(*MAPS))
@click.option(
    "-s", "--offset", type=number_of_bytes, metavar="BYTES", default=0, help="Where to write it.  [default: 0]"
)
@lock_options("Write")
@click.option("--create", is_flag=True, help="Make the map, as large as the file, if nobody holds it.")
@click.option("--hold", is_flag=True, help="Hold the map until the standard input ends.")
@click.option("--json", "as_json", is_flag=True, help="Say what was done, as JSON.")
def command(
    file: str,
    target: str,
    offset: int,
    lock: str | None,
    recover: bool,
    create: bool,
    hold: bool,
    as_json: bool,
) -> None:
    """Writes the bytes of FILE into a map that is large enough."""
    if file == "-" and hold:
        raise click.UsageError("--hold waits for the end of the standard input, which FILE is")
    waited = standard_input() if hold else None
    with explained(file):
        data = _read(file)
        size = os.stat(file).st_size if data is None else len(data)
    with contextlib.ExitStack() as stack:
        if create and size:
            with explained(target):
                stack.enter_context(MemoryMappedFile.create_or_open(target, offset + size))
        found = find(target)
        if offset + size > found.size:
            raise Failure(f"{shown(target)}: it has {found.size} bytes, and {offset + size} are needed")
        with guarded(lock, recover) as told:
            if size:
                with found.written() as view:
                    _write(view, offset, file, data, size)
        if as_json:
            print(json.dumps({"file": file, "target": target, "bytes": size, **told}), flush=True)
        else:
            print(f"{shown(file)} -> {shown(target)}: {size_in_words(size)}", flush=True)
        if waited is not None:
            waited.read()


def _read(file: str) -> bytes | None:
    """All of a pipe, a device, or a file that does not tell its length; None for another, which is read in pieces."""
    if file == "-":
        return standard_input().read()
    with open(file, "rb") as source:
        status = os.fstat(source.fileno())
        return None if stat.S_ISREG(status.st_mode) and status.st_size else source.read()


def _write(view: MemoryMappedViewAccessor, offset: int, file: str, data: bytes | None, size: int) -> None:
    if data is not None:
        view.write_bytes(offset, data)
        return
    with explained(file), open(file, "rb") as source:
        end = offset + size  # what is added to the file meanwhile is not written
        while offset < end and (piece := source.read(min(PIECE, end - offset))):
            view.write_bytes(offset, piece)
            offset += len(piece)

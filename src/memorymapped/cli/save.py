# SPDX-License-Identifier: MIT
"""`mmf save` writes a map into a file; `load.py` is the way back."""

from __future__ import annotations

import json
import os
import sys
from typing import TextIO

import click

from ..system.reading import data_range, write_at
from .completing import complete_name
from .ending import Failure
from .locking import guarded, lock_options
from .new_files import NewFile, is_stream, keep_rights, place_of, status_of
from .numbers import number_of_bytes
from .objects import MAPS
from .streams import output_descriptor
from .targets import Target, explained, find
from .words import shown, size_in_words

__all__ = ["PIECE", "command"]

EPILOG = """\b
Examples:
  mmf save report report.bin
  mmf save report report.bin --lock report.lock
  mmf save frames - --offset 4096 --length 1M | sha256sum

Nothing is written to the map. Without --lock, what its users change meanwhile is in the file or is not. If the last
owner of that mutex died, what it guards may be half changed: it is saved with --recover only, and the next one who
takes the mutex is told, too. The file gets its name when it is complete, with --force the owner and mode of the one
that it replaces. A pipe or a device is written into; `-` is the standard output.
"""

PIECE = 1 << 22


@click.command("save", short_help="Writes a map into a file.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.argument("file")
@click.option("-s", "--offset", type=number_of_bytes, metavar="BYTES", default=0, help="Where to begin.  [default: 0]")
@click.option("-n", "--length", type=number_of_bytes, metavar="BYTES", help="How many bytes.  [default: to the end]")
@lock_options("Read")
@click.option("--force", is_flag=True, help="Replace FILE if it exists.")
@click.option("--json", "as_json", is_flag=True, help="Say what was done, as JSON.")
def command(
    target: str,
    file: str,
    offset: int,
    length: int | None,
    lock: str | None,
    recover: bool,
    force: bool,
    as_json: bool,
) -> None:
    """Writes the bytes of a map into FILE."""
    found = find(target)
    found.refuse_behind(offset)
    end = found.size if length is None else offset + length
    if end > found.size:
        raise Failure(f"{shown(target)}: it has {found.size} bytes, and {end} are asked for")
    with guarded(lock, recover, mends=False) as told:
        if file == "-":
            _write(found, offset, end, output_descriptor())
        else:
            _save(found, offset, end, file, force)
    if as_json:
        print(json.dumps({"source": target, "file": file, "bytes": end - offset, **told}), file=_other(file))
    elif file != "-":
        print(f"{shown(target)} -> {shown(file)}: {size_in_words(end - offset)}")


def _other(file: str) -> TextIO:
    return sys.stderr if file == "-" else sys.stdout


def _save(found: Target, begin: int, end: int, file: str, force: bool) -> None:
    with explained(file):
        existing = status_of(file)
        if is_stream(existing):
            with open(file, "wb", buffering=0) as into:
                _write(found, begin, end, into.fileno())
            return
        try:
            folder, name = place_of(file, existing, replace=force)
        except FileExistsError as error:
            raise Failure(f"{shown(file)}: it {error.strerror}; --force replaces it") from error
        with NewFile(folder, name, 0o666) as new:
            _write_sparse(found, begin, end, new.fd)
            if existing is not None:
                keep_rights(new.fd, existing)
            new.publish(force)


def _write(found: Target, begin: int, end: int, fd: int) -> None:
    if begin == end:
        return
    with found.opened() as data:
        for at in range(begin, end, PIECE):
            piece = data.read(at, min(PIECE, end - at))
            while piece:
                piece = piece[os.write(fd, piece) :]


def _write_sparse(found: Target, begin: int, end: int, fd: int) -> None:
    """Into a new file, in which the holes of what is read stay holes."""
    with found.opened() as data:
        at = begin
        while at < end:
            start, at = data_range(data.source, at, end)
            for place in range(start, at, PIECE):
                piece = data.read(place, min(PIECE, at - place))
                while piece:
                    written = write_at(fd, piece, place - begin)
                    place, piece = place + written, piece[written:]
        data.refuse_shorter(end)  # of a file that ends before, the rest is a hole, too
    os.ftruncate(fd, end - begin)

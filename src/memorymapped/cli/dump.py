# SPDX-License-Identifier: MIT
"""`mmf dump`: the bytes of a map or a file."""

from __future__ import annotations

import json
from collections.abc import Iterator

import click

from .completing import complete_name, complete_type
from .numbers import number_of_bytes
from .objects import MAPS
from .shapes import Shape, plain, shape_of
from .tables import coloured
from .targets import Bytes, find
from .typed import own_shape
from .words import value_in_words

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf dump report
  mmf dump report --offset 0x100 --length 64
  mmf dump data.bin --as double --columns 4
  mmf dump prices --as mytypes:Price --json
  mmf dump value --as self

\b
TYPE is one of int8 ... uint64, float16, float32, float64 (also sbyte ... ulong, half, single, double), char16,
bool, decimal, datetime, timedelta, guid, utf8[N], utf16[N], bytes[N]; with be behind it for big endian, with [N]
for an array; MODULE:CLASS for a structure declared in Python (MODULE is imported, also from this directory);
self: what a typed map says that it holds.

Nothing is locked and nothing is written: of what changes meanwhile, lines show different moments.
"""

ROW = 16
PIECE = 1 << 16


@click.command("dump", short_help="Shows bytes or values.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.option("-s", "--offset", type=number_of_bytes, metavar="BYTES", default=0, help="Where to begin.  [default: 0]")
@click.option("-n", "--length", type=number_of_bytes, metavar="BYTES", help="How many bytes.  [default: to the end]")
@click.option(
    "--as", "type_", metavar="TYPE", shell_complete=complete_type, help="Values of this type, instead of bytes."
)
@click.option("--columns", type=click.IntRange(1, 64), help="Values in a line.  [default: as many as fit 16 bytes]")
@click.option("-v", "--all", "everything", is_flag=True, help="Also lines that repeat the one before.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each line.")
def command(
    target: str,
    offset: int,
    length: int | None,
    type_: str | None,
    columns: int | None,
    everything: bool,
    as_lines: bool,
) -> None:
    """Shows what is in a map or a file: hexadecimal and text side by side, or values of a TYPE."""
    found = find(target)
    found.refuse_behind(offset)
    end = found.size if length is None else min(found.size, offset + length)
    shape = None
    if type_ == "self":
        shape, most = own_shape(found)
        end = min(end, offset + most) if length is None else end
    elif type_ is not None:
        shape = shape_of(type_)
    if offset == end:
        return
    with found.opened() as data:
        lines = _values(data, offset, end, shape, columns, as_lines) if shape else _bytes(data, offset, end, as_lines)
        _print(lines, everything or as_lines)
        if shape and (end - offset) % shape.size and not as_lines:
            print(f"{(end - offset) % shape.size} bytes at the end are no whole {shape.text:.40}")


def _print(lines: Iterator[tuple[str, str]], everything: bool) -> None:
    """Lines, each with what it shows: of those that show the same, the first."""
    before, skipped = None, False
    for line, what in lines:
        if what == before and not everything:
            if not skipped:
                print("*")
            skipped = True
            continue
        before, skipped = what, False
        print(line)
    if skipped:
        print(line)


def _pieces(data: Bytes, begin: int, end: int, size: int) -> Iterator[tuple[int, bytes]]:
    """Rows of `size` bytes, with their offsets; read in larger pieces."""
    step = max(size, PIECE // size * size)
    for at in range(begin, end, step):
        piece = data.read(at, min(step, end - at))
        for within in range(0, len(piece), size):
            yield at + within, piece[within : within + size]


def _bytes(data: Bytes, begin: int, end: int, as_lines: bool) -> Iterator[tuple[str, str]]:
    width = max(8, len(f"{end:x}"))
    for at, row in _pieces(data, begin, end, ROW):
        if as_lines:
            yield json.dumps({"offset": at, "hex": row.hex()}), ""
            continue
        text = "".join(chr(byte) if 32 <= byte < 127 else "." for byte in row)
        first, second = row[:8].hex(" "), row[8:].hex(" ")
        yield f"{coloured(f'{at:0{width}x}', 'dim')}  {first:23}  {second:23}  |{text}|", row.hex()


def _values(
    data: Bytes, begin: int, end: int, shape: Shape, columns: int | None, as_lines: bool
) -> Iterator[tuple[str, str]]:
    columns = columns or max(1, ROW // shape.size)
    width = max(8, len(f"{end:x}"))
    for at, row in _pieces(data, begin, end - (end - begin) % shape.size, columns * shape.size):
        values = [plain(shape.read(row, i)) for i in range(0, len(row), shape.size)]
        if as_lines:
            for number, value in enumerate(values):
                yield json.dumps({"offset": at + number * shape.size, "value": value}), ""
            continue
        text = "  ".join(f"{value_in_words(value):>12}" for value in values)
        yield f"{coloured(f'{at:0{width}x}', 'dim')}  {text}", text

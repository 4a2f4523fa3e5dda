# SPDX-License-Identifier: MIT
"""`mmf dump`: the bytes of a map or a file."""

from __future__ import annotations

import json
import operator
from collections.abc import Iterator, Sequence
from itertools import count

import click

from ..system.reading import data_range
from .completing import complete_name, complete_type
from .numbers import number_of_bytes
from .objects import MAPS
from .shapes import Shape, shape_of
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
_PRINTABLE = bytes(byte if 32 <= byte < 127 else ord(".") for byte in range(256))


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
    rest = (end - offset) % shape.size if shape else 0
    row = (columns or max(1, ROW // shape.size)) * shape.size if shape else ROW
    line = coloured(f"%0{max(8, len(f'{end:x}'))}x", "dim") + "  %s"
    with found.opened() as data:
        blocks = _blocks(data, offset, end - rest, row, not (everything or as_lines))
        if as_lines:
            for at, block, _ in blocks:
                print("\n".join(_objects(at, block, shape)))
        else:
            _print(((at, _texts(block, shape, row), times) for at, block, times in blocks), row, line, everything)
            if shape and rest:
                print(f"{rest} bytes at the end are no whole {shape.text:.40}")


def _blocks(data: Bytes, begin: int, end: int, row: int, folds: bool) -> Iterator[tuple[int, bytes, int]]:
    """(offset, rows of `row` bytes, how often each is there): what is read at once. If equal rows are to be folded, a
    hole, or a block of equal rows, is one row, so many times."""
    step = max(row, PIECE // row * row)
    at = begin
    while at < end:
        start, stop = data_range(data.source, at, end) if folds else (at, end)
        if empty := (start - at) // row:
            data.refuse_shorter(start)  # what was truncated looks like a hole
            yield at, bytes(row), empty
            at += empty * row
        stop = min(end, at + -(-(stop - at) // row) * row)  # to the end of a row
        while at < stop:
            block = data.read(at, min(step, stop - at))
            times, cut = divmod(len(block), row)
            if folds and not cut and block == block[:row] * times:
                yield at, block[:row], times
            else:
                yield at, block, 1
            at += len(block)


def _print(blocks: Iterator[tuple[int, Sequence[str], int]], row: int, line: str, everything: bool) -> None:
    """Lines of offsets and rows: of rows that show the same, the first, and the last one of all."""
    before = left_out = None
    for at, texts, times in blocks:
        if everything or not (times > 1 or texts[0] == before or True in map(operator.eq, texts, texts[1:])):
            print("\n".join(map(line.__mod__, zip(count(at, row), texts, strict=False))))
            before, left_out = texts[-1], None
            continue
        lines = []
        for text in texts:
            again = times
            if text != before:
                lines.append(line % (at, text))
                before, left_out = text, None
                again -= 1
            if again:
                if left_out is None:
                    lines.append("*")
                left_out = line % (at + (times - 1) * row, text)
            at += times * row
        if lines:
            print("\n".join(lines))
    if left_out is not None:
        print(left_out)


def _texts(block: bytes, shape: Shape | None, row: int) -> list[str]:
    """What its rows show."""
    if shape is None:
        text = block.translate(_PRINTABLE).decode("ascii")
        pairs = block.hex(" ")  # three letters for each byte
        texts = [
            f"{pairs[3 * i : 3 * i + 23]}  {pairs[3 * i + 24 : 3 * i + 47]}  |{text[i : i + ROW]}|"
            for i in range(0, len(block) - ROW + 1, ROW)
        ]
        if rest := len(block) % ROW:
            pairs = pairs[-3 * rest + 1 :]
            texts.append(f"{pairs[:23]:23}  {pairs[24:]:23}  |{text[-rest:]}|")
        return texts
    cells = [f"{value_in_words(value):>12}" for value in shape.values(block)]
    columns = row // shape.size
    return ["  ".join(cells[i : i + columns]) for i in range(0, len(cells), columns)]


def _objects(at: int, block: bytes, shape: Shape | None) -> Iterator[str]:
    """Lines of JSON: of its rows, or of its values."""
    if shape is None:
        pairs = block.hex()
        for i in range(0, len(block), ROW):
            yield f'{{"offset": {at + i}, "hex": "{pairs[2 * i : 2 * (i + ROW)]}"}}'
    else:
        for offset, value in zip(count(at, shape.size), shape.values(block), strict=False):
            text = repr(value) if type(value) in (int, float) else json.dumps(value)  # the same, in less time
            yield f'{{"offset": {offset}, "value": {text}}}'

# SPDX-License-Identifier: MIT
"""`mmf segments`: the messages of a segment file."""

from __future__ import annotations

import json
import math
import shutil
import sys
import time

import click

from .. import DamagedSegmentError, SegmentFile
from ..enums import MemoryMappedFileAccess
from .completing import complete_name
from .ending import Failure
from .numbers import Seconds, WithNegatives
from .objects import MAPS
from .streams import Output, output_descriptor, standard_input
from .tables import coloured, cut, is_terminal
from .targets import Target, explained, find
from .walk import End, walk
from .words import printable, safe_text, shown, size_in_words

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf segments MmFile
  mmf segments MmFile show 0 -1
  mmf segments MmFile append 'a message'
  mmf segments log.dat follow --last 10
  tail -f app.log | mmf segments MmFile append -

\b
list             each segment: number, offset, length, how it begins (the default)
show NUMBER...   all of it; negative numbers count from the end
append TEXT...   one segment each; - takes each line of the standard input that is not empty
follow           all, and each new one when it comes, until Ctrl-C or --timeout seconds without any

list and show take no lock and hold nothing. follow looks for new segments as SegmentFile does, which takes the mutex.
"""

LOOK = 0.5  # seconds, between two looks whether anybody takes the output of follow
ENCODINGS = {"utf-16": "utf-16-le", "utf-8": "utf-8", "bytes": None}


@click.command("segments", cls=WithNegatives, short_help="Shows or appends segments.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.argument("action", type=click.Choice(["list", "show", "append", "follow"]), default="list")
@click.argument("words", nargs=-1, metavar="[NUMBER|TEXT]...")
@click.option(
    "--encoding", type=click.Choice(list(ENCODINGS)), default="utf-16", help="What segments are.  [default: utf-16]"
)
@click.option(
    "--lock",
    metavar="MUTEX",
    shell_complete=complete_name("mutex"),
    help="The mutex that their users take, if it is not the usual one.",
)
@click.option("--last", type=click.IntRange(min=0), metavar="N", help="follow: begin with the last N.")
@click.option("--timeout", type=Seconds(min=0), metavar="SECONDS", help="follow: end after so long a silence.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each segment.")
def command(
    target: str,
    action: str,
    words: tuple[str, ...],
    encoding: str,
    lock: str | None,
    last: int | None,
    timeout: float | None,
    as_lines: bool,
) -> None:
    """Lists, shows, appends and follows the segments of a SegmentFile, or of a C# program's MmFile."""
    if words and action in ("list", "follow"):
        raise click.UsageError(f"{action} takes nothing more, not {' '.join(words)!r}")
    if not words and action in ("show", "append"):
        raise click.UsageError(f"{action} needs " + ("numbers" if action == "show" else "texts, or - for the input"))
    if action == "append" and "" in words:
        raise click.UsageError("a segment is never empty: its length of 0 would end the file for its readers")
    found = find(target)
    if action == "list":
        _list(found, encoding, as_lines)
    elif action == "show":
        _show(found, words, encoding, as_lines)
    elif action == "append":
        _append(found, words, encoding, lock, as_lines)
    else:
        _follow(found, encoding, lock, last, timeout, as_lines)


def _text(data: bytes, encoding: str) -> str:
    codec = ENCODINGS[encoding]
    return data.hex(" ") if codec is None else data.decode(codec, "replace")


def _shown(data: bytes, encoding: str) -> str:
    """Into a pipe goes what there is."""
    text = _text(data, encoding)
    return safe_text(text) if is_terminal() else text


def _one(number: int, data: bytes, encoding: str) -> str:
    content = {"hex": data.hex()} if encoding == "bytes" else {"text": _text(data, encoding)}
    return json.dumps({"segment": number, "bytes": len(data), **content})


def _list(found: Target, encoding: str, as_lines: bool) -> None:
    end = End()
    width = max(16, shutil.get_terminal_size().columns - 36) if is_terminal() else 160
    with found.opened() as data:
        for number, at, length in walk(data, found.size, end):
            if as_lines:
                print(json.dumps({"segment": number, "offset": at - 4, "bytes": length}))
                continue
            text = _text(data.read(at, min(length, 160)), encoding)
            if number == 0:
                print(coloured(f"{'SEGMENT':>8}  {'OFFSET':>12}  {'BYTES':>10}  BEGINS", "bold"))
            print(f"{number:>8}  {at - 4:>12}  {length:>10}  {cut(printable(text), width)}")
    if not as_lines:
        print(
            f"{end.count} segments in {size_in_words(end.offset)}, {size_in_words(found.size - end.offset)} behind them"
        )
    if end.damaged:
        raise Failure(f"{shown(found.given)}: damaged: {end.damaged}")


def _show(found: Target, words: tuple[str, ...], encoding: str, as_lines: bool) -> None:
    try:
        wanted = [int(word) for word in words]
    except ValueError as error:
        raise click.UsageError(f"a segment is a number: {error}") from None
    with found.opened() as data:
        places = list(walk(data, found.size, End()))
        for number in wanted:
            if not -len(places) <= number < len(places):
                raise Failure(f"{shown(found.given)}: it has {len(places)} segments, and {number} is none of them")
            number, at, length = places[number]
            content = data.read(at, length)
            if as_lines:
                print(_one(number, content, encoding))
            elif encoding == "bytes":
                output_descriptor()
                sys.stdout.flush()
                sys.stdout.buffer.write(content)
            else:
                print(_shown(content, encoding))


def _opened(found: Target, encoding: str, lock: str | None, access: MemoryMappedFileAccess) -> SegmentFile:
    codec = None if encoding == "bytes" else encoding
    with explained(found.given):
        if found.found is not None:
            return SegmentFile.open_existing(found.given, encoding=codec, lock_name=lock, access=access)
        return SegmentFile.create_from_file(found.path, encoding=codec, lock_name=lock, access=access)


def _append(found: Target, words: tuple[str, ...], encoding: str, lock: str | None, as_lines: bool) -> None:
    with _opened(found, encoding, lock, MemoryMappedFileAccess.READ_WRITE) as segments:
        for word in words:
            lines = standard_input() if word == "-" else [word.encode("utf-8", "surrogateescape")]
            for line in lines:
                line = line.removesuffix(b"\n")
                if line:
                    with explained(found.given):
                        number = segments.append(line if encoding == "bytes" else line.decode("utf-8"))
                    print(json.dumps({"segment": number, "bytes": len(line)}) if as_lines else number, flush=True)


def _follow(
    found: Target, encoding: str, lock: str | None, last: int | None, timeout: float | None, as_lines: bool
) -> None:
    output, silent = Output(), time.monotonic()
    with _opened(found, encoding, lock, MemoryMappedFileAccess.READ) as segments:
        number = max(0, len(segments) - last) if last is not None else 0
        try:
            with explained(found.given):
                while True:
                    left = math.inf if timeout is None else max(0.0, silent + timeout - time.monotonic())
                    if segments.wait_for(number, min(left, LOOK)):
                        _printed(number, segments.read(number), encoding, as_lines)
                        number, silent = number + 1, time.monotonic()
                    elif left <= LOOK:
                        return
                    output.wait(0)
        except DamagedSegmentError as error:
            raise Failure(f"{shown(found.given)}: {error}") from None


def _printed(number: int, data: bytes | str, encoding: str, as_lines: bool) -> None:
    raw = data if isinstance(data, bytes) else data.encode(ENCODINGS[encoding] or "utf-8", "surrogatepass")
    print(_one(number, raw, encoding) if as_lines else _shown(raw, encoding), flush=True)

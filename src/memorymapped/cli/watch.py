# SPDX-License-Identifier: MIT
"""`mmf watch`: what changes in a map or a file."""

from __future__ import annotations

import datetime
import json
import time

import click

from .completing import complete_name, complete_type
from .ending import Failure
from .numbers import Seconds, number_of_bytes
from .objects import MAPS
from .pausing import looks
from .sampling import Budget
from .shapes import Shape, shape_of
from .showing import screen_fits
from .targets import find
from .typed import described_shape
from .watching import Change, Watch
from .words import shown, value_in_words

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf watch report
  mmf watch data.bin --offset 0x100
  mmf watch prices --as double
  mmf watch state --as self
  mmf watch report --json --duration 10 > changes

\b
TYPE is what mmf dump takes: int32, double, utf8[16], MODULE:CLASS ...; self: what a typed map says that it holds.
On the screen: arrows, Page keys, Home, End, mouse wheel; g goes to an offset, t takes another type, space pauses,
d makes it light or dark, q ends.

What is on the screen is compared at every look. The rest is read round and round with 2 % of a processor; the line
below shows when that saw a change, and how long ago it looked. Nothing is locked, mapped or held.

Into a pipe or a file, with --json, or without Textual there is a line for each change instead, of the first --length
bytes from --offset on, and of the cells in which a change was sampled behind them.

Exit code 0; 1 if it was not there, or was gone in the end. Ctrl-C ends it by that signal.
"""

WINDOW = 1 << 16
SHOWN = 16  # bytes of a change


@click.command("watch", short_help="Shows what changes in a map or a file.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.option(
    "--as", "type_", metavar="TYPE", shell_complete=complete_type, help="Values of this type, instead of bytes."
)
@click.option("-s", "--offset", type=number_of_bytes, metavar="BYTES", default=0, help="Where to begin.  [default: 0]")
@click.option(
    "-n", "--length", type=number_of_bytes, metavar="BYTES", default=WINDOW, help="As text: how much.  [default: 64K]"
)
@click.option(
    "-i",
    "--interval",
    type=Seconds(min=0.02),
    metavar="SECONDS",
    default=0.5,
    show_default=True,
    help="Between two looks.",
)
@click.option("--duration", type=Seconds(min=0), metavar="SECONDS", help="End after so long.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each change.")
def command(
    target: str, type_: str | None, offset: int, length: int, interval: float, duration: float | None, as_lines: bool
) -> int:
    """Shows what is in a map or a file, and what changes in it: bytes, or values of a TYPE."""
    found = find(target)
    shape: Shape | None = None
    if type_ is not None and type_ != "self":
        shape = shape_of(type_)
    watch = Watch(found, shape, offset)
    try:
        if type_ == "self":
            watch.show_as(described_shape(watch.typed, target), own=True)
        if offset > watch.size:
            raise Failure(f"{shown(target)}: it has {watch.size} bytes, and the offset {offset} is behind that")
        if not as_lines and screen_fits("watch"):
            from .screens.watch import run

            run(watch, offset, interval, duration)
        else:
            _print(watch, offset, length, interval, duration, as_lines)
        if watch.gone is not None:
            raise Failure(f"{shown(target)}: {watch.gone.text}")
    finally:
        watch.close()
    return 0


def _print(watch: Watch, offset: int, length: int, interval: float, duration: float | None, as_lines: bool) -> None:
    budget = Budget()
    watch.window(offset, offset + length)
    watch.sample_without(offset, offset + length)
    for _ in looks(interval, duration):
        changes = watch.tick()
        when = datetime.datetime.now()
        while watch.events:
            event = watch.events.popleft()
            facts = {"time": when.timestamp(), "event": event.kind, "text": event.text}
            print(json.dumps(facts) if as_lines else f"{_clock(when)}  {event.text}")
        for change in changes:
            print(_as_json(change, when) if as_lines else _line(change, when))
        begin = time.thread_time()
        cells = watch.sample(budget.left())
        budget.spend(time.thread_time() - begin)
        for number in cells:
            at, end = number * watch.cells.step, min((number + 1) * watch.cells.step, watch.size)
            facts = {"time": when.timestamp(), "event": "sampled", "offset": at, "length": end - at}
            print(json.dumps(facts) if as_lines else f"{_clock(when)}  {at:08x}  something in {end - at} bytes")


def _clock(when: datetime.datetime) -> str:
    return when.isoformat(" ", "milliseconds").partition(" ")[2]


def _as_json(change: Change, when: datetime.datetime) -> str:
    facts: dict[str, object] = {"time": when.timestamp(), "offset": change.offset}
    if change.field:
        facts["field"] = change.field
    for name, value in (("before", change.before), ("after", change.after)):
        facts[name] = value.hex() if isinstance(value, bytes) else value
    return json.dumps(facts)


def _line(change: Change, when: datetime.datetime) -> str:
    field = f"  {shown(change.field)}" if change.field else ""
    return f"{_clock(when)}  {change.offset:08x}{field}  {_text(change.before)} -> {_text(change.after)}"


def _text(value: object) -> str:
    if isinstance(value, bytes):
        more = f" … ({len(value)} bytes)" if len(value) > SHOWN else ""
        return value[:SHOWN].hex(" ") + more
    return value_in_words(value)

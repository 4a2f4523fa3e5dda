# SPDX-License-Identifier: MIT
"""`mmf top`: what is shared, as it changes."""

from __future__ import annotations

import datetime
import json

import click

from .counting import Counter, Row
from .numbers import Seconds
from .objects import as_json, holders_in_words, style_of
from .pausing import looks
from .showing import screen_fits
from .tables import coloured, table
from .top_words import HEADS, RIGHT, cells_of, order

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf top
  mmf top --all --interval 5
  mmf top --count 2 | grep report
  mmf top --json --count 1

\b
CHANGES/S is exact for a SharedMemory, a StructArray and a segment file, which count their changes themselves. With ~
the bytes were sampled, with 2 % of a processor for all of them: so many changes at least.
On the screen: s and a click on a head sort, / filters, Enter watches a map, space pauses, d makes it light or dark,
q ends.

Into a pipe or a file, with --json, or without Textual there is a table for each look, + before what is new and - before
what has ended. No lock is taken and nothing is opened for writing: other programs do not notice.

Exit code 0. Ctrl-C ends it by that signal.
"""


@click.command("top", short_help="Shows what is shared, as it changes.", epilog=EPILOG)
@click.option("--all", "others", is_flag=True, help="Also what other programs have in the shared-memory file system.")
@click.option(
    "-i",
    "--interval",
    type=Seconds(min=0.1),
    metavar="SECONDS",
    default=2.0,
    show_default=True,
    help="Between two looks.",
)
@click.option("-n", "--count", type=click.IntRange(min=1), metavar="N", help="As text: end after N looks.")
@click.option("--duration", type=Seconds(min=0), metavar="SECONDS", help="End after so long.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each look.")
def command(others: bool, interval: float, count: int | None, duration: float | None, as_lines: bool) -> None:
    """Shows every named map, mutex, event and semaphore, live: sizes, owners and waiters of locks, holders, and how
    fast maps change."""
    counter = Counter(others=others, seconds=max(5.0, 2.5 * interval))
    if not as_lines and count is None and screen_fits("top"):
        from .screens.top import run

        run(counter, interval, duration)
        return
    for number, _ in enumerate(looks(interval, duration), 1):
        rows = sorted(counter.tick(), key=order)
        if as_lines:
            print(_as_json(rows))
        else:
            _print(rows, number > 1)
        if number == count:
            break


def _as_json(rows: list[Row]) -> str:
    there, gone = ([row for row in rows if row.gone is wanted] for wanted in (False, True))
    objects = [
        as_json(row.found) | {"changes_per_second": row.rate, "exact": row.exact, "new": row.new} for row in there
    ]
    return json.dumps(
        {
            "time": datetime.datetime.now().timestamp(),
            "objects": objects,
            "gone": [{"name": row.found.name, "kind": row.found.kind, "path": row.found.path} for row in gone],
        }
    )


def _print(rows: list[Row], is_later: bool) -> None:
    if is_later:
        print()
    now = datetime.datetime.now().isoformat(" ", "seconds").partition(" ")[2]
    there = sum(not row.gone for row in rows)
    print(coloured(f"{now}  {there} object{'s' * (there != 1)}", "bold"))
    if rows:
        lines = [
            ("-+ "[0 if row.gone else 1 if row.new else 2], *cells_of(row), holders_in_words(row.found)) for row in rows
        ]
        styles = ["dim" if row.gone else "green" if row.new else style_of(row.found) for row in rows]
        print(table(("", *HEADS, "HOLDERS"), lines, right=[1 + at for at in RIGHT], spare=(4, 7), styles=styles))

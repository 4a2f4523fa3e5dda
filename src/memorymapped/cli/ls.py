# SPDX-License-Identifier: MIT
"""`mmf ls`: what exists, who holds it."""

from __future__ import annotations

import json
import time
from fnmatch import fnmatchcase

import click

from ..system.reading import is_path, may_be_name
from ..system.survey import Found, survey
from .completing import complete_name
from .objects import (
    as_json,
    canonical,
    holders_in_words,
    is_called,
    missing,
    mode_in_words,
    state_in_words,
    style_of,
    title_of,
)
from .tables import table
from .words import age_in_words, short_size, shown

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf ls
  mmf ls --stale
  mmf ls --kind mutex --json
  mmf ls 'Global\\frames' report
  mmf ls 'report*'

A NAME is one, or a pattern: * is any text, ? any character.

A named object lives as long as somebody holds it. Stale is what nobody holds any more: its name is free, its memory is
given back when somebody creates the next object, or by mmf clean. The age is that of the object, not of its holders.

No lock is taken and nothing is opened for writing: other programs do not notice. Of other users' processes the holders
cannot be seen. On Windows nothing is stale, as an object ends with the last one who holds it, and --all shows also
what this user may not look into.

Exit code 0, also if there is nothing; 1 if a NAME is given of which there is no object.
"""

KINDS = ("map", "file map", "mutex", "fair mutex", "event", "semaphore", "foreign")
HEADS = ("NAME", "KIND", "SIZE", "MEMORY", "MODE", "AGE", "STATE", "HOLDERS")


@click.command("ls", short_help="Shows what exists, and who holds it.", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name())
@click.option("--stale", is_flag=True, help="Only what nobody holds any more.")
@click.option("--all", "others", is_flag=True, help="Also what other programs have in the shared-memory file system.")
@click.option("--kind", "kinds", multiple=True, type=click.Choice(KINDS), help="Only this kind; may be repeated.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each object.")
def command(names: tuple[str, ...], stale: bool, others: bool, kinds: tuple[str, ...], as_lines: bool) -> int:
    """Shows every named map, mutex, event and semaphore of this user, and every one with a Global name: size, memory
    that is really used, mode, age, state, and the processes that hold it. On Windows those of this session, the
    system's own among them, and what is known: size and state."""
    names = tuple(canonical(name) if may_be_name(name) and not name.startswith("/") else name for name in names)
    found = [
        each
        for each in survey(others=others or "foreign" in kinds or any(is_path(name) for name in names))
        if (not stale or each.state == "stale")
        and (not kinds or each.kind in kinds)
        and (not names or any(is_called(each, name) or is_like(each, name) for name in names))
    ]
    if as_lines:
        for each in found:
            print(json.dumps(as_json(each)))
    elif found:
        now = time.time()
        rows = [
            (
                title_of(each),
                each.kind,
                short_size(each.size),
                short_size(each.memory),
                mode_in_words(each.mode) or "?",
                "?" if each.born is None else age_in_words(now - each.born),
                state_in_words(each),
                holders_in_words(each),
            )
            for each in found
        ]
        # What the system tells of nothing has no column: holders, memory, mode and age on Windows.
        shows = [column for column in range(len(HEADS)) if any(row[column] != "?" for row in rows)]
        print(
            table(
                [HEADS[column] for column in shows],
                [[row[column] for column in shows] for row in rows],
                right=[shows.index(column) for column in (2, 3, 5) if column in shows],
                spare=[shows.index(column) for column in (4, 3, 1, 2, 5) if column in shows],
                styles=[style_of(each) for each in found],
            )
        )
    elif not names:
        print("nothing" + (" that is stale" if stale else "") + " is shared by name here")
    absent = [name for name in missing(names, found) if not any(is_like(each, name) for each in found)]
    for name in absent:
        click.echo(f"mmf ls: {shown(name)}: there is no such object", err=True)
    return 1 if absent else 0


def is_like(found: Found, pattern: str) -> bool:
    """Whether its name, or its path, is what a pattern of `*` and `?` says. A bracket is a character as others."""
    pattern = pattern.replace("[", "[[]")
    return fnmatchcase(found.name or "", pattern) or fnmatchcase(found.path or "", pattern)

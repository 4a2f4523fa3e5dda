# SPDX-License-Identifier: MIT
"""`mmf clean`: removes what provably nobody holds."""

from __future__ import annotations

import json

import click

from ..system.survey import NEVER_STALE, Found, remove, survey, why_left
from .completing import complete_name
from .objects import as_json, canonical, holders_in_words, missing, state_in_words
from .words import shown, size_in_words

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf clean --dry-run
  mmf clean
  mmf clean 'Global\\frames'

Each object is removed by the protocol that all who open and create it keep to: who opens one at the same moment either
has it, and it stays, or finds nothing, as before. What other programs have in the shared-memory file system is never
removed. On Windows an object ends with the last one who holds it: there is never anything to remove.

Exit code 0 if all that is stale is gone, 1 if something stale could not be removed, or if there is no object of a NAME.
"""


@click.command("clean", short_help="Removes what nobody holds any more.", epilog=EPILOG)
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=complete_name())
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be removed.")
@click.option("--abandoned", is_flag=True, help="Also mutexes that would tell the next one that their owner died.")
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each object.")
def command(names: tuple[str, ...], dry_run: bool, abandoned: bool, as_lines: bool) -> int:
    """Removes the objects that nobody holds any more, all or those with a NAME, and says why it leaves what it
    leaves."""
    wanted = {canonical(name) for name in names}
    failed, freed, objects = False, 0, survey()
    for found in objects:
        if wanted and found.name not in wanted:
            continue
        stale = found.state == "stale"
        look = why_left if dry_run else remove
        reason = look(found, abandoned=abandoned) if stale or found.state == "unknown" else _in_use(found)
        if reason is None:
            freed += found.memory or 0
        elif stale and found.is_there():
            failed = True
        if as_lines:
            print(json.dumps({**as_json(found), "removed": reason is None and not dry_run, "reason": reason}))
        elif reason is None:
            print(f"{'would remove' if dry_run else 'removed'} {_what(found)}, {size_in_words(found.memory or 0)}")
        elif wanted or stale:
            print(f"left {_what(found)}: {reason}")
    if NEVER_STALE is not None:
        if not as_lines:
            print(NEVER_STALE)
    elif not as_lines:
        print(f"{size_in_words(freed)} {'could be' if dry_run else 'were'} given back")
    for name in (absent := missing(sorted(wanted), objects)):
        click.echo(f"mmf clean: {shown(name)}: there is no such object", err=True)
    return 1 if absent or (failed and not dry_run) else 0


def _in_use(found: Found) -> str:
    holders = f": {holders_in_words(found)}" if found.holders else ""
    return f"it is {state_in_words(found)}{holders}"


def _what(found: Found) -> str:
    return f"{found.kind} {shown(found.name or found.path)}"

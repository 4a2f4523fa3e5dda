# SPDX-License-Identifier: MIT
"""`mmf info`: one object in full."""

from __future__ import annotations

import datetime
import itertools
import json
import os

import click

from ..shared.layouts import lines_of
from ..system import PAGE_SIZE
from ..system.reading import allocated, identity_of, is_path, may_be_name, owned
from ..system.survey import PAGES_TOLD, Mapped, mapped_by, survey
from .completing import complete_name
from .ending import Failure
from .objects import MAPS, as_json, canonical, holders_in_words, mode_in_words, state_in_words
from .picture import Picture, picture
from .tables import coloured, table
from .targets import Target, find, target_of
from .typed import Typed, typed
from .walk import End, walk
from .words import age_in_words, short_size, shown, size_in_words

__all__ = ["command"]

SEGMENTS = 100_000  # no more are counted: of other files, it would be a walk through random numbers

EPILOG = """\b
Examples:
  mmf info report
  mmf info 'Global\\frames' --json
  mmf info data.bin

Nothing is locked and nothing is written; of a map nothing is brought into memory by looking at it. In the holes of what
has more than 16 GiB pages in memory are not looked for: those of a file on a disk that somebody has read. On Windows
nobody tells of a map's holders and pages.
"""


@click.command("info", short_help="Shows one object in full.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(files=True))
@click.option("--json", "as_lines", is_flag=True, help="One line of JSON for each object of the name.")
def command(target: str, as_lines: bool) -> None:
    """Shows all that can be known of a name (of each kind of object that has it) or of a file: its holders, who has it
    mapped, what a typed map or a segment file says of itself, and which of its pages are in memory."""
    objects = []
    if may_be_name(target) and not (is_path(target) and os.path.exists(target)):
        name = canonical(target)
        objects = [each for each in survey() if each.name == name]
    shown_any = False
    for found in objects:
        facts = as_json(found)
        if found.kind in MAPS:
            try:
                facts.update(_of_bytes(target_of(target, found), as_lines))
            except Failure as failure:  # gone meanwhile, another user's: what is known without its bytes is shown
                facts["unreadable"] = str(failure).removeprefix(f"{shown(target)}: ")
        if as_lines:
            print(json.dumps(facts))
        else:
            _print(facts, {"state": state_in_words(found), "holders": holders_in_words(found)}, not shown_any)
        shown_any = True
    if shown_any:
        return
    file = find(target)
    with file.explained():
        status = os.stat(file.path)
    mode, owner = owned(status)
    facts = {
        "name": None,
        "kind": "file",
        "path": os.path.realpath(file.path),
        "size": status.st_size,
        "memory": None,
        "allocated": allocated(status),
        "mode": mode_in_words(mode),
        "owner": owner,
        "changed": status.st_mtime,
        **_of_bytes(file, as_lines),
    }
    if as_lines:
        print(json.dumps(facts))
    else:
        _print(facts, {}, True)


def _of_bytes(target: Target, as_json: bool) -> dict[str, object]:
    """What the bytes and the pages say."""
    if not target.size:
        return {}
    facts: dict[str, object] = {}
    with target.opened() as data:
        processes = mapped_by(*identity_of(data.source))
        pages = None
        if PAGES_TOLD:
            with target.mapped() as map_:
                pages = picture(map_, data, target.size, processes)
        found = typed(data, target.size)
        end = End()
        count = sum(1 for _ in itertools.islice(walk(data, target.size, end), SEGMENTS)) if found is None else 0
        if count and not end.damaged:
            facts["segments"] = {"count": count, "end": end.offset, "more": count == SEGMENTS}
    if found is not None:
        facts["typed"] = {"as": found.kind, "layout": found.text, **found.counters} if as_json else found
    ours = [each for each in processes if each.pid != os.getpid()]
    if pages is None:
        return facts
    facts["mapped"] = [_of_process(each) for each in ours] if as_json else ours
    facts["pages"] = (
        {
            "count": pages.pages,
            "resident": pages.resident,
            "picture": pages.letters,
            "pages_a_letter": pages.each,
            "holes_looked_at": pages.exact,
            "dirty_and_huge_known": pages.flags.frames,
        }
        if as_json
        else pages
    )
    return facts


def _of_process(each: Mapped) -> dict[str, object]:
    return {name: getattr(each, name) for name in each.__slots__ if name != "ranges"}


def _print(facts: dict[str, object], words: dict[str, str], first: bool) -> None:
    if not first:
        print()
    rows = []
    for name, value in {**facts, **words}.items():
        if value is None or value == {} or name in ("typed", "mapped", "pages", "segments", "scope", "born"):
            continue
        text = value if isinstance(value, str) else json.dumps(value)
        if name in ("size", "memory", "allocated"):
            text = f"{value} ({size_in_words(int(str(value)))})" if int(str(value)) >= 1024 else f"{value} bytes"
        elif name == "age":
            text = f"{age_in_words(float(str(value)))}, since {_time(facts['born'])}"
        elif name == "changed":
            text = _time(value)
        rows.append((name.replace("_", " "), text))
    width = max(len(name) for name, _ in rows)
    for name, text in rows:
        print(f"{coloured(f'{name:{width}}', 'dim')}  {shown(text)}")
    found = facts.get("typed")
    if isinstance(found, Typed):
        print(f"\n{coloured(found.kind, 'bold')}: " + ", ".join(f"{n} {v}" for n, v in found.counters.items()))
        print("\n".join(f"  {line}" for line in lines_of(found.text)))
    if isinstance(segments := facts.get("segments"), dict):
        more = " and more" if segments["more"] else ""
        count = f"{segments['count']} segment{'s' * (segments['count'] != 1)}"
        print(f"\nif it is a segment file: {count}, up to byte {segments['end']}{more}")
    mapped = facts.get("mapped")
    if isinstance(mapped, list) and mapped:
        heads = ("PID", "MAPPED", "RESIDENT", "SHARED", "DIRTY", "HUGE", "SWAPPED", "ACCESS", "COMMAND")
        lines = [
            (
                str(each.pid),
                *(short_size(size) for size in _sizes(each)),
                "write" if each.writable else "read",
                shown(each.command),
            )
            for each in mapped
        ]
        print("\n" + table(heads, lines, right=range(7)))
    pages = facts.get("pages")
    if isinstance(pages, Picture):
        memory = facts.get("memory")
        reserved = isinstance(memory, int) and memory > pages.resident * PAGE_SIZE and pages.resident < pages.pages
        more = "; for others memory is reserved, and nobody has touched them" if reserved else ""
        if not pages.exact:
            more = "; in holes it was not looked" + more
        print(f"\n{pages.resident} of {pages.pages} pages in memory{more}")
        print("\n".join(pages.lines()))


def _sizes(each: Mapped) -> tuple[int, ...]:
    return each.size, each.resident, each.shared, each.dirty, each.huge, each.swapped


def _time(seconds: object) -> str:
    when = datetime.datetime.fromtimestamp(float(str(seconds)))
    return when.isoformat(" ", "seconds")

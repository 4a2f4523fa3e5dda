# SPDX-License-Identifier: MIT
"""`mmf set`: writes one value into a map or a file."""

from __future__ import annotations

import json
import sys

import click

from .completing import complete_name, complete_type
from .ending import Failure
from .get import within
from .locking import guarded, lock_options
from .numbers import WithNegatives, number_of_bytes
from .objects import MAPS
from .shapes import plain, shape_of
from .targets import find

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf set report 0 int32 42
  mmf set report 0 int32 -1
  mmf set report 0x40 'utf16[16]' 'new title' --lock report.lock
  echo '{"x": 1, "y": 2}' | mmf set report 8 mytypes:Point

TYPE as for mmf dump. A structure or an array is given as JSON, bytes as hexadecimal digits, a datetime as
2026-01-31T12:00, a timedelta in seconds. Without VALUE it is read from the standard input.

The bytes are written as any program would write them. Into a map whose users take a mutex, write with --lock. If its
last owner died, what it guards may be half changed: nothing is written then, but with --recover.
"""


@click.command("set", cls=WithNegatives, short_help="Writes one value.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.argument("offset", type=number_of_bytes, metavar="OFFSET")
@click.argument("type_", metavar="TYPE", shell_complete=complete_type)
@click.argument("value", required=False)
@lock_options("Write")
@click.option("--json", "as_json", is_flag=True, help="Say what was there before, as JSON.")
def command(
    target: str, offset: int, type_: str, value: str | None, lock: str | None, recover: bool, as_json: bool
) -> None:
    """Writes VALUE as TYPE at OFFSET of a map or a file."""
    shape = shape_of(type_)
    if value is None:
        if sys.stdin is None or sys.stdin.isatty():
            raise click.UsageError("VALUE is missing")
        value = sys.stdin.read(1 << 27).removesuffix("\n")
    data = shape.write(value)
    found = find(target)
    within(found, offset, shape)
    with guarded(lock, recover) as told, found.written() as view:
        if offset + shape.size > view.capacity:
            raise Failure(f"{target}: it has become smaller meanwhile")
        before = view.read_bytes(offset, shape.size)
        view.write_bytes(offset, data)
    if as_json:
        described = {"offset": offset, "type": shape.text, "before": plain(shape.read(before))}
        print(json.dumps({**described, "value": plain(shape.read(data)), **told}))

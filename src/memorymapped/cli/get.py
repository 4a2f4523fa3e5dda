# SPDX-License-Identifier: MIT
"""`mmf get`: one value of a map or a file."""

from __future__ import annotations

import json

import click

from .completing import complete_name, complete_type
from .ending import Failure
from .numbers import number_of_bytes
from .objects import MAPS
from .shapes import Shape, plain, shape_of
from .tables import is_terminal
from .targets import Target, find
from .words import safe_text, shown, value_in_words

__all__ = ["command", "within"]

EPILOG = """\b
Examples:
  mmf get report 0 int32
  mmf get report 0x40 'utf16[16]'
  mmf get data.bin 8 mytypes:Point --json

TYPE as for mmf dump. A structure or an array is shown as JSON. Nothing is locked and nothing is written.
"""


@click.command("get", short_help="Shows one value.", epilog=EPILOG)
@click.argument("target", metavar="NAME|FILE", shell_complete=complete_name(*MAPS, files=True))
@click.argument("offset", type=number_of_bytes, metavar="OFFSET")
@click.argument("type_", metavar="TYPE", shell_complete=complete_type)
@click.option("--json", "as_json", is_flag=True, help="As JSON, with its offset and type.")
def command(target: str, offset: int, type_: str, as_json: bool) -> None:
    """Shows the value of TYPE at OFFSET of a map or a file."""
    shape = shape_of(type_)
    found = find(target)
    within(found, offset, shape)
    with found.opened() as data:
        value = plain(shape.read(data.read(offset, shape.size)))
    if as_json:
        print(json.dumps({"offset": offset, "type": shape.text, "value": value}))
    else:
        raw = value if isinstance(value, str) else value_in_words(value)
        print(safe_text(raw) if is_terminal() else raw)


def within(target: Target, offset: int, shape: Shape) -> None:
    """Failure if there is no room for a value there."""
    if offset + shape.size > target.size:
        raise Failure(
            f"{shown(target.given)}: {shape.text:.40} at {offset} ends at {offset + shape.size}, and there are "
            f"{target.size} bytes"
        )

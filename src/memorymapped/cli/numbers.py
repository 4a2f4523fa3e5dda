# SPDX-License-Identifier: MIT
"""Numbers on the command line: of bytes (`4096`, `0x1000`, `64K`, `1.5GiB`), of seconds."""

from __future__ import annotations

import math
import re
from typing import Any

import click

__all__ = ["Seconds", "WithNegatives", "number_of_bytes"]

FOR_EVER = 1e9  # seconds: no process lives as long

_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)\s*(?:([kKmMgGtT])(?:i?[bB])?)?")

_NO_OPTION = re.compile(r"-?|-[0-9.].*|-inf|[^-].*", re.DOTALL)


class Seconds(click.FloatRange):
    """A time of at least so many seconds. What is more than FOR_EVER, infinity too, is that."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        seconds: float = super().convert(value, param, ctx)
        if math.isnan(seconds):
            self.fail(f"{value!r} is no number of seconds", param, ctx)
        return min(seconds, FOR_EVER)


class WithNegatives(click.Command):
    """A command that takes negative numbers, which click would take for options. What looks like an option and is none
    of the command's is refused all the same, but behind `--`."""

    def parse_args(self, context: click.Context, args: list[str]) -> list[str]:
        context.ignore_unknown_options = True
        behind = args[args.index("--") + 1 :] if "--" in args else []
        rest = super().parse_args(context, args)
        for parameter in self.params:
            if isinstance(parameter, click.Argument):
                value = context.params.get(parameter.name or "")
                for word in value if isinstance(value, tuple) else (value,):
                    if isinstance(word, str) and word not in behind and not _NO_OPTION.fullmatch(word):
                        raise click.NoSuchOption(word, ctx=context)
        return rest


def number_of_bytes(text: str | int) -> int:
    """For click, as a type. BadParameter says what is wrong."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise click.BadParameter(f"{text!r} is no number of bytes: 4096, 0x1000, 64K, 1.5G")
    number, unit = match.groups()
    factor = 1024 ** (" kmgt".index(unit.lower()) if unit else 0)
    whole = int(number, 0 if number[:2].lower() == "0x" else 10) if "." not in number else float(number)
    size = whole * factor
    if size >= 2**63:
        raise click.BadParameter(f"{text!r} is more than a map can have")
    return int(size)

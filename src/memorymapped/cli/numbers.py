# SPDX-License-Identifier: MIT
"""Numbers of bytes on the command line: `4096`, `0x1000`, `64K`, `1.5GiB`."""

from __future__ import annotations

import re

import click

__all__ = ["NEGATIVES", "number_of_bytes", "refuse_options"]

_SIZE = re.compile(r"(0[xX][0-9a-fA-F]+|[0-9]+(?:\.[0-9]+)?)\s*(?:([kKmMgGtT])(?:i?[bB])?)?")

NEGATIVES = {"ignore_unknown_options": True}
"""Settings of a command that takes negative numbers, which click would take for options: see `refuse_options`."""

_NO_OPTION = re.compile(r"-?|-[0-9.].*|-inf|[^-].*", re.DOTALL)


def refuse_options(words: tuple[str, ...]) -> None:
    """What looks like an option and is none of a command that has NEGATIVES."""
    for word in words:
        if not _NO_OPTION.fullmatch(word):
            raise click.NoSuchOption(word)


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

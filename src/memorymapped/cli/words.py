# SPDX-License-Identifier: MIT
"""Numbers and names as text for people."""

from __future__ import annotations

import functools
import json
import os
import re

__all__ = [
    "age_in_words",
    "escaped",
    "printable",
    "safe_text",
    "short_size",
    "shown",
    "size_in_words",
    "value_in_words",
]

_UNUSUAL = re.compile(r"[^\n\t -~]")  # letters that may be unsafe to print
UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB", "EiB")


def size_in_words(size: float) -> str:
    """A number of bytes: `512 bytes`, `1.5 MiB`."""
    if size < 1024:
        return f"{size:.0f} byte{'' if round(size) == 1 else 's'}"
    power = 0
    while size >= 1023.95 and power < len(UNITS):
        size /= 1024
        power += 1
    return f"{size:.1f} {UNITS[power - 1]}"


def short_size(size: int | None) -> str:
    """The same, for a column of a table: `512`, `1.5M`; `?` if nobody tells."""
    if size is None:
        return "?"
    if size < 1024:
        return str(size)
    number, unit = size_in_words(size).split()
    return f"{number.removesuffix('.0')}{unit[0]}"


def age_in_words(seconds: float) -> str:
    """How long ago, in one unit: `12 s`, `3 h`."""
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit}"
    return f"{max(0, int(seconds))} s"


def printable(text: str) -> str:
    """The text, safe to print: a dot for what could move the cursor."""
    return text if text.isprintable() else _dotted(text)


@functools.lru_cache(maxsize=256)  # the holder of a thousand maps
def _dotted(text: str) -> str:
    return "".join(letter if letter.isprintable() else "·" for letter in text)


def shown(path: str | bytes) -> str:
    """A file's name, safe to print: one that could move the cursor, is no text, or empty, in quotes and escaped."""
    path = os.fsdecode(path)
    return path if path and path.isprintable() else repr(path)


def value_in_words(value: object) -> str:
    """A value from memory, safe to print in a line: a text as it is, or, as all else, as JSON."""
    if isinstance(value, str) and value.isprintable():
        return value
    if type(value) in (int, float):  # these are JSON as they are, and may be many
        return repr(value)
    text = json.dumps(value, ensure_ascii=False)
    return text if text.isprintable() else _UNUSUAL.sub(lambda match: _as_json_has_it(match[0]), text)


def safe_text(text: str) -> str:
    """Lines from memory, safe to print at a terminal: escaped is what could move the cursor or turn what follows."""
    return _UNUSUAL.sub(lambda match: match[0] if match[0].isprintable() else escaped(match[0]), text)


def _as_json_has_it(letter: str) -> str:
    return letter if letter.isprintable() else json.dumps(letter)[1:-1]


def escaped(letter: str) -> str:
    """As it is written in a text of Python: `\\x1b`."""
    return letter.encode("unicode_escape").decode()

# SPDX-License-Identifier: MIT
"""Tables and colours for terminals, without what takes long to import or to draw a thousand rows."""

from __future__ import annotations

import functools
import os
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Sequence

__all__ = ["coloured", "cut", "is_terminal", "table", "width_of"]

_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "cyan": "36"}


def is_terminal() -> bool:
    """Whether a person sees the output."""
    return sys.stdout is not None and sys.stdout.isatty()


def _has_colours() -> bool:
    if os.environ.get("FORCE_COLOR"):
        return True
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM", "dumb") != "dumb"


def coloured(text: str, style: str) -> str:
    """The text in this style, where colours are wanted."""
    return f"\033[{_CODES[style]}m{text}\033[0m" if style and _has_colours() else text


def width_of(text: str) -> int:
    """How many columns of a terminal it takes."""
    return len(text) if text.isascii() else _measured(text)


@functools.lru_cache(maxsize=256)  # who holds a thousand maps is named in a thousand lines
def _measured(text: str) -> int:
    return sum(
        0 if unicodedata.combining(letter) else 2 if unicodedata.east_asian_width(letter) in "WF" else 1
        for letter in text
    )


def cut(text: str, width: int) -> str:
    """The text in no more than `width` columns, with an ellipsis where something is missing."""
    if width_of(text) <= width:
        return text
    kept, used = "", 0
    for letter in text:
        used += width_of(letter)
        if used > width - 1:
            break
        kept += letter
    return kept + "…"


def table(
    heads: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    right: Iterable[int] = (),
    styles: Sequence[str | Sequence[str]] = (),
    spare: Iterable[int] = (),
) -> str:
    """Rows under their heads. `right`: columns of numbers. `styles`: of each row, or of each cell of it.

    On a terminal the last column, and then the first, is cut to what fits; if that is not enough, the columns `spare`
    are left out, the first of them first. A pipe gets everything."""
    ends = set(right)
    widths = [max(map(width_of, column)) for column in zip(heads, *rows, strict=True)]
    if is_terminal():
        most = shutil.get_terminal_size().columns
        for column, least in ((len(widths) - 1, 16), (0, 16)):
            over = sum(widths) + 2 * (len(widths) - 1) - most
            widths[column] = max(min(widths[column], least), widths[column] - max(over, 0))
        for column in spare:
            over = sum(widths) + 2 * (sum(width > 0 for width in widths) - 1) - most
            if over > 0:
                widths[column] = 0
                widths[-1] += max(0, -over)
    lines = [_line(heads, widths, ends, ["bold"] * len(heads))]
    for number, row in enumerate(rows):
        style = styles[number] if styles else ""
        lines.append(_line(row, widths, ends, [style] * len(row) if isinstance(style, str) else style))
    return "\n".join(lines)


def _line(cells: Sequence[str], widths: Sequence[int], right: set[int], styles: Sequence[str]) -> str:
    parts = []
    for number, (cell, width, style) in enumerate(zip(cells, widths, styles, strict=True)):
        if not width:
            continue
        wide = width_of(cell)
        if wide > width:
            cell = cut(cell, width)
            wide = width_of(cell)
        space = " " * (width - wide) if number < len(cells) - 1 or number in right else ""
        parts.append(space + coloured(cell, style) if number in right else coloured(cell, style) + space)
    return "  ".join(parts)

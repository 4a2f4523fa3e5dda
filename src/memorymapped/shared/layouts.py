# SPDX-License-Identifier: MIT
"""What a map is typed with, as the map itself describes it: two processes that mean different things are told so."""

from __future__ import annotations

from hashlib import sha256

from .._native.committed import LARGEST_SIZE
from .._typing import TYPE_CHECKING
from ..errors import OutOfRangeError, shown

if TYPE_CHECKING:
    from typing import Any

LONGEST, WIDEST, DEEPEST = 200, 100, 16  # what is shown of a layout: lines, letters of a field, steps further in

__all__ = ["Described", "beside", "described", "lines_of"]


class Described:
    """A type of values: its `size` in bytes, the canonical `text` of its layout, and the number that is the first 8
    bytes of the text's SHA-256. `struct` is the class; None: values are bytes."""

    __slots__ = ("hash", "size", "struct", "text")

    def __init__(self, struct: Any, size: int, text: str) -> None:
        self.struct = struct
        self.size = size
        self.text = text
        self.hash = int.from_bytes(sha256(text.encode()).digest()[:8], "little")


def described(what: Any) -> Described:
    """Of a Struct's class, or of a number of bytes. TypeError for anything else."""
    layout = getattr(what, "__layout__", None)
    if isinstance(what, type) and layout is not None:
        return Described(what, layout.size, layout.text)
    if isinstance(what, bool) or not isinstance(what, int):
        raise TypeError(f"a value is of a class derived from Struct, or a number of bytes, not {shown(what)}")
    if not 0 < what <= LARGEST_SIZE:
        raise OutOfRangeError(f"a value has 1 to {LARGEST_SIZE} bytes, not {shown(what)}")
    return Described(None, what, f"bytes {what}")


def beside(what: str, one: str, what_other: str, other: str) -> str:
    """Two layouts, by their canonical texts, as a table; the lines that differ are marked."""
    left, right = [what, *lines_of(one)], [what_other, *lines_of(other)]
    width = max(map(len, left))
    rows = max(len(left), len(right))
    left += [""] * (rows - len(left))
    right += [""] * (rows - len(right))
    marks = ["|", *("|" if a == b else "≠" for a, b in zip(left[1:], right[1:], strict=True))]
    return "\n".join(f"  {a:{width}} {mark} {b}".rstrip() for a, mark, b in zip(left, marks, right, strict=True))


def _shown(depth: int, line: str) -> str:
    line = "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in line[: WIDEST + 1].strip())
    return "  " * min(depth, DEEPEST) + (line if len(line) <= WIDEST else line[:WIDEST] + "...")


def lines_of(text: str) -> list[str]:
    """A field a line, nested ones further in. The text may be another's, of any letters."""
    lines: list[str] = []
    line, depth = "", 0
    for letter in text:
        if len(lines) >= LONGEST:
            return [*lines, "..."]
        if letter in "{;}":
            if line.strip():
                lines.append(_shown(depth, line))
            line = ""
            depth += {"{": 1, ";": 0, "}": -1}[letter]
            if letter == "}":
                line = "size "
        else:
            line += letter
    if line.strip():
        lines.append(_shown(depth, line))
    return [line for line in lines if line != "size"]

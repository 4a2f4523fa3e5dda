# SPDX-License-Identifier: MIT
"""A picture of a map's pages: each letter stands for some of them."""

from __future__ import annotations

from .. import MemoryMappedFile, MemoryMappedFileAccess
from ..system import PAGE_SIZE
from ..system.survey import Mapped, PageFlags, page_flags
from .tables import coloured

__all__ = ["Picture", "picture"]

CELLS, COLUMNS, SAMPLE = 512, 64, 64  # cells at most, in a line, pages that are looked at in each

_STYLES = {"·": "dim", "r": "", "s": "green", "D": "yellow", "H": "cyan", "w": "red"}
_WORDS = {
    "·": "not in memory",
    "r": "resident",
    "s": "mapped by several",
    "D": "dirty",
    "H": "huge",
    "w": "swapped out",
}


class Picture:
    """The letters, how many pages each stands for, and how many pages are in memory."""

    def __init__(self, letters: str, pages: int, resident: int, each: int, flags: PageFlags) -> None:
        self.letters = letters
        self.pages = pages
        self.resident = resident
        self.each = each
        self.flags = flags

    def lines(self) -> list[str]:
        """For a terminal, with the meanings of the letters."""
        rows = [self.letters[at : at + COLUMNS] for at in range(0, len(self.letters), COLUMNS)]
        lines = ["".join(coloured(letter, _STYLES[letter]) for letter in row) for row in rows]
        used = [letter for letter in _WORDS if letter in self.letters]
        legend = ", ".join(f"{coloured(letter, _STYLES[letter])} {_WORDS[letter]}" for letter in used)
        each = (
            "a page"
            if self.each == 1
            else f"{self.each} pages" + (f", of which {SAMPLE} were looked at," if self.each > SAMPLE else "")
        )
        more = "" if self.flags.frames else "; dirty and huge pages are told to root only"
        return [*lines, f"each {each} of {PAGE_SIZE} bytes: {legend}{more}"]


def picture(map_: MemoryMappedFile, size: int, processes: list[Mapped]) -> Picture:
    """Looks at a map's pages. Nothing is read into memory by that. ValueError if it is shorter."""
    pages = -(-size // PAGE_SIZE)
    each = -(-pages // CELLS)
    with map_.create_view_accessor(0, size, MemoryMappedFileAccess.READ) as view:
        resident = b"".join(view.mincore(0, size))
    cells = [range(at, min(at + each, pages)) for at in range(0, pages, each)]
    flags = page_flags(processes, [range(cell.start, min(cell.stop, cell.start + SAMPLE)) for cell in cells])
    letters = []
    for cell in cells:
        looked = range(cell.start, min(cell.stop, cell.start + SAMPLE))
        letter = "·"
        if any(byte & 1 for byte in resident[cell.start : cell.stop]):
            letter = "r"
        for flag, pages_of in (("s", flags.shared), ("D", flags.dirty), ("H", flags.huge)):
            if letter != "·" and any(page in pages_of for page in looked):
                letter = flag
        if letter == "·" and any(page in flags.swapped for page in looked):
            letter = "w"
        letters.append(letter)
    return Picture("".join(letters), pages, sum(byte & 1 for byte in resident), each, flags)

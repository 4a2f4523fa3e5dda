# SPDX-License-Identifier: MIT
"""A picture of a map's pages: each letter stands for some of them.

Pages of a hole can be in memory: those of a file on a disk that somebody has read. To ask for each page of a TiB takes
ten seconds, though: in what is large only data are looked at."""

from __future__ import annotations

from collections.abc import Iterator

from .. import MemoryMappedFile, MemoryMappedFileAccess
from .._typing import TYPE_CHECKING
from ..system import PAGE_SIZE
from ..system.reading import data_range
from ..system.survey import Mapped, PageFlags, page_flags
from .tables import coloured
from .targets import Bytes

if TYPE_CHECKING:
    from ..system.reading import Source

__all__ = ["Picture", "picture"]

CELLS, COLUMNS, SAMPLE = 512, 64, 64  # cells at most, in a line, pages that are looked at in each
EXACT = 16 << 30  # bytes: in more than these, holes are not looked at
WINDOW, LEAST = 64 << 20, 1 << 20  # bytes that are looked at together, at most and at least

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
    """The letters, how many pages each stands for, how many pages are in memory. `exact`: holes were looked at, too."""

    def __init__(self, letters: str, pages: int, resident: int, each: int, exact: bool, flags: PageFlags) -> None:
        self.letters = letters
        self.pages = pages
        self.resident = resident
        self.each = each
        self.exact = exact
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


def picture(map_: MemoryMappedFile, data: Bytes, size: int, processes: list[Mapped]) -> Picture:
    """Looks at the pages of a map of the file `data`. Nothing is read into memory by that. ValueError or Failure if it
    is shorter."""
    pages = -(-size // PAGE_SIZE)
    each = -(-pages // CELLS)
    resident, filled = 0, set()
    for first, states in _residency(map_, data, size):
        resident += states.count(1)
        for cell in range(first // each, (first + len(states) - 1) // each + 1):
            if states.find(1, max(cell * each - first, 0), (cell + 1) * each - first) >= 0:
                filled.add(cell)
    looked = [range(at, min(at + min(each, SAMPLE), pages)) for at in range(0, pages, each)]
    flags = page_flags(processes, looked)
    letters = []
    for cell, some in enumerate(looked):
        letter = "r" if cell in filled else "·"
        for flag, pages_of in (("s", flags.shared), ("D", flags.dirty), ("H", flags.huge)):
            if letter != "·" and any(page in pages_of for page in some):
                letter = flag
        if letter == "·" and any(page in flags.swapped for page in some):
            letter = "w"
        letters.append(letter)
    return Picture("".join(letters), pages, resident, each, size <= EXACT, flags)


def _residency(map_: MemoryMappedFile, data: Bytes, size: int) -> Iterator[tuple[int, bytes]]:
    """(number of the first page, 1 or 0 for each page from there on), piece by piece."""
    for at, length in _windows(data.source, size):
        with map_.create_view_accessor(at, length, MemoryMappedFileAccess.READ) as view:
            yield at // PAGE_SIZE, b"".join(view.mincore(0, length))
    data.refuse_shorter(size)  # what was truncated looks like a hole


def _windows(source: Source, size: int) -> Iterator[tuple[int, int]]:
    """Where to look, each with its length: everywhere, or, in what is large, where data are."""
    at = 0
    while at < size:
        begin, end = (at, size) if size <= EXACT else data_range(source, at, size)
        at = max(at, begin - begin % PAGE_SIZE)
        while at < end:
            length = min(max(end - at, LEAST), WINDOW, size - at)
            yield at, length
            at += -(-length // PAGE_SIZE) * PAGE_SIZE

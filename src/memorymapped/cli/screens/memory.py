# SPDX-License-Identifier: MIT
"""The two ways in which `mmf watch` shows memory: bytes, and values of a type; and all of it in a line."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

from rich.segment import Segment
from textual.events import Click
from textual.strip import Strip
from textual.widget import Widget

from ..watching import LAST, Value, Watch
from ..words import value_in_words
from .rows import Line, Rows, fade_of, fitted, line_of

__all__ = ["LEGEND", "BytesView", "Overview", "ValuesView", "sparkline"]

BARS = "▁▂▃▄▅▆▇█"
WIDTHS = {"int8": 4, "uint8": 4, "int16": 6, "uint16": 6, "bool": 5, "char16": 3, "float16": 9, "guid": 36}


class BytesView(Rows):
    """Hexadecimal and text, as many bytes in a row as fit: 8, 16 or 32."""

    def __init__(self, watch: Watch, moved: Callable[[], None]) -> None:
        super().__init__(moved)
        self.watched = watch
        self.columns = 16  # bytes in a row
        self._digits = 8  # of an offset
        self._ages: dict[int, float] = {}
        self._memo: dict[int, tuple[bytes, list[str], Line]] = {}  # rows that were drawn, and of what

    def fit(self) -> None:
        digits = max(8, len(f"{self.watched.size:x}"))
        width = self.columns_wide - digits - 2
        columns = next((each for each in (32, 16) if width >= each * 4 + each // 8), 8)
        if (digits, columns) != (self._digits, self.columns):
            self._digits, self.columns = digits, columns
            self._memo.clear()

    def count(self) -> int:
        return -(-self.watched.size // self.columns)

    def window(self) -> tuple[int, int]:
        rows = self.seen()
        return rows.start * self.columns, (rows.stop + 1) * self.columns

    def head(self) -> str:
        groups = [" ".join(f"{at:02x}" for at in range(begin, begin + 8)) for begin in range(0, self.columns, 8)]
        return f"{'OFFSET':{self._digits}}  {'  '.join(groups)}"

    def first(self) -> int:
        return self.scroll_offset.y * self.columns

    def row_of(self, offset: int) -> int:
        return offset // self.columns

    def show(self) -> None:
        self._ages = self.watched.ages()
        super().show()
        self._memo = {row: self._memo[row] for row in self.seen() if row in self._memo}

    def draw(self, row: int) -> Line:
        begin = row * self.columns
        data = self.watched.bytes_at(begin, self.columns)
        kinds = [""] * len(data)
        if self._ages:
            kinds = [fade_of(self._ages.get(at)) for at in range(begin, begin + len(data))]
        known = self._memo.get(row)
        if known is not None and known[0] == data and known[1] == kinds:
            return known[2]
        line = line_of(self._parts(begin, data, kinds))
        self._memo[row] = data, kinds, line
        return line

    def _parts(self, begin: int, data: bytes, kinds: Sequence[str]) -> Iterator[tuple[str, str]]:
        yield f"{begin:0{self._digits}x}", "dim"
        for number in range(self.columns):
            yield " " if number % 8 else "  ", ""
            yield (f"{data[number]:02x}", kinds[number]) if number < len(data) else ("  ", "")
        yield "  ", ""
        for byte, kind in zip(data, kinds, strict=True):
            printable = 32 <= byte < 127
            yield chr(byte) if printable else "·", kind or ("" if printable else "dim")


class ValuesView(Rows):
    """Values of a type: a row for each, or, where the fields of a structure fit beside each other, for each structure.
    The sparkline is that of the field which the user has chosen."""

    def __init__(self, watch: Watch, moved: Callable[[], None]) -> None:
        super().__init__(moved)
        self.watched = watch
        self.chosen = 0
        self.is_table = False  # a row is a structure, with a column for each field
        self._digits = 8  # of an offset

    def fit(self) -> None:
        self._digits = max(8, len(f"{self.watched.size:x}"))
        room = self.columns_wide - self._digits - 2 - 10 - 2 - 8
        is_structure = len(self.watched.leaves) > 1 < self.watched.count
        self.is_table = is_structure and sum(width + 2 for width in self._widths()) <= room

    def _widths(self) -> list[int]:
        """Of the columns of a table."""
        return [max(len(name), WIDTHS.get(shape.text, 11)) for _, name, shape in self.watched.leaves]

    def _in_a_row(self) -> int:
        return len(self.watched.leaves) if self.is_table else 1

    def count(self) -> int:
        return self.watched.count * max(1, len(self.watched.leaves)) // max(1, self._in_a_row())

    def _values_of(self, row: int) -> list[int]:
        """The offsets of the values of a row."""
        watched, leaves = self.watched, self.watched.leaves
        if self.is_table:
            return [watched.base + row * watched.stride + within for within, _, _ in leaves]
        number, leaf = divmod(row, len(leaves))
        return [watched.base + number * watched.stride + leaves[leaf][0]]

    def window(self) -> tuple[int, int]:
        rows, watched = self.seen(), self.watched
        each = 1 if self.is_table else max(1, len(watched.leaves))
        first, last = rows.start // each, -(-(rows.stop + 1) // each)
        return watched.base + first * watched.stride, watched.base + last * watched.stride

    def first(self) -> int:
        return self._values_of(self.scroll_offset.y)[0] if self.watched.leaves else 0

    def row_of(self, offset: int) -> int:
        number = max(0, offset - self.watched.base) // self.watched.stride
        return number if self.is_table else number * len(self.watched.leaves)

    def choose(self, step: int) -> None:
        """Another field for the sparkline."""
        self.chosen = (self.chosen + step) % max(1, len(self.watched.leaves))
        self.show()

    def head(self) -> str:
        if self.is_table:
            parts = []
            for number, (width, (_, name, _)) in enumerate(zip(self._widths(), self.watched.leaves, strict=True)):
                parts.append(fitted(name + ("▾" if number == self.chosen else ""), width, right=True))
            return f"{'OFFSET':{self._digits}}  {'  '.join(parts)}   CHANGES/S"
        named = f"  {'FIELD':<{self._names()}}" if self._names() else ""
        return f"{'OFFSET':{self._digits}}{named}  {'VALUE':>{self._room()}}   CHANGES/S"

    def _names(self) -> int:
        """Columns for names of fields; 0 for values without."""
        leaves = self.watched.leaves
        if len(leaves) == 1 and not leaves[0][1]:
            return 0
        most = max(len(name) for _, name, _ in leaves) + (len(str(self.watched.count)) + 3) * (self.watched.count > 1)
        return min(max(5, most), self.columns_wide // 3)

    def _room(self) -> int:
        """Columns for a value in a row of its own."""
        names = self._names()
        left = self.columns_wide - self._digits - 2 - (names + 2 if names else 0) - 14 - LAST
        return max(8, min(40, left))

    def draw(self, row: int) -> Line:
        offsets = self._values_of(row)
        values = [self.watched.values.get(offset) for offset in offsets]
        return line_of(self._parts(offsets[0], values, row))

    def _parts(self, offset: int, values: list[Value | None], row: int) -> Iterator[tuple[str, str]]:
        now = self.watched.now()
        yield f"{offset:0{self._digits}x}", "dim"
        if not self.is_table and self._names():
            number, leaf = divmod(row, len(self.watched.leaves))
            name = self.watched.leaves[leaf][1]
            if self.watched.count > 1:
                name = f"[{number}]{'.' if name and name[0] != '[' else ''}{name}"
            yield "  " + fitted(name, self._names()), "head"
        widths = self._widths() if self.is_table else [self._room()]
        for value, width in zip(values, widths, strict=True):
            yield "  ", ""
            if value is None or not value.raw:
                yield " " * width, ""
                continue
            kind = fade_of(None if value.changed is None else now - value.changed)
            text = fitted(_shown(value.value), width, right=True)
            bare = text.lstrip()
            yield text[: len(text) - len(bare)], ""
            yield bare, kind
        rates = [value.rate(now) for value in values if value is not None]
        rate = max(rates, default=0.0)
        yield f"  {rate:>9.1f}  " if rate else " " * 13, "dim"
        one = values[self.chosen] if self.is_table and self.chosen < len(values) else values[0]
        if one is not None:
            yield sparkline(one.last), "head"


def _shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.10g}"
    return value_in_words(value)


def sparkline(values: Sequence[float]) -> str:
    """A bar for each number, from the least to the largest; nothing for fewer than two."""
    finite = [value for value in values if value - value == 0]
    if len(finite) < 2:
        return ""
    least, largest = min(finite), max(finite)
    if least == largest:
        return BARS[0] * len(finite)
    scale = largest - least
    if scale - scale != 0:  # more than a float can tell
        return ""
    return "".join(BARS[min(7, int((value - least) / scale * 8))] for value in finite)


AGES = ((3.0, "█", "fresh"), (10.0, "▓", "recent"), (60.0, "▒", "faded"))
LEGEND = "changed: █ now ▓ 10 s ▒ 1 min ░ before ─ not · zeros"


class Overview(Widget):
    """All of a file in one line: each letter tells how recently what it stands for was seen changed; what is on the
    screen is marked. `go` is called with an offset that the user clicks."""

    COMPONENT_CLASSES: ClassVar[set[str]] = Rows.COMPONENT_CLASSES | {"rows--here"}
    DEFAULT_CSS = """
    Overview {
        height: 1;
        & > .rows--dim { color: $text-muted; }
        & > .rows--fresh { color: $warning; }
        & > .rows--recent { color: $warning 80%; }
        & > .rows--faded { color: $warning 60%; }
        & > .rows--here { background: $primary; }
    }
    """

    def __init__(self, watch: Watch, go: Callable[[int], None]) -> None:
        super().__init__()
        self.watched = watch
        self._go = go
        self._drawn: Line = ()

    def show(self) -> None:
        """Draws it, if it is different from what is to be seen."""
        line = self.draw()
        if line != self._drawn:
            self._drawn = line
            self.refresh()

    def draw(self) -> Line:
        cells, now = self.watched.cells, self.watched.now()
        width = self.size.width
        if not width or not cells.count:
            return ()
        begin, end = self.watched.begin, min(self.watched.end, self.watched.size) - 1
        here = range(begin // cells.step * width // cells.count, end // cells.step * width // cells.count + 1)
        parts = []
        for column in range(width):
            first = column * cells.count // width
            group = range(first, max((column + 1) * cells.count // width, first + 1))
            letter, kind = _letter(cells.looked, cells.changed, cells.empty, group, now)
            parts.append((letter, f"{kind} here" if column in here else kind))
        return line_of(parts)

    def render_line(self, y: int) -> Strip:
        base, segments = self.rich_style, []
        here = self.get_component_rich_style("rows--here", partial=True)
        for text, kinds in self._drawn:
            kind, _, is_here = kinds.partition(" ")
            style = self.get_component_rich_style(f"rows--{kind}")
            segments.append(Segment(text, style + here if is_here else style))
        return Strip(segments).adjust_cell_length(self.size.width, base)

    def on_click(self, event: Click) -> None:
        cells = self.watched.cells
        self._go(event.x * cells.count // max(1, self.size.width) * cells.step)


def _letter(
    looked: list[float | None], changed: list[float | None], empty: list[bool], group: range, now: float
) -> tuple[str, str]:
    """Of some cells, that which says most."""
    times = [at for at in changed[group.start : group.stop] if at is not None]
    if times:
        age = now - max(times)
        for limit, letter, kind in AGES:
            if age < limit:
                return letter, kind
        return "░", "dim"
    if any(at is None for at in looked[group.start : group.stop]):
        return " ", "dim"
    return ("·" if all(empty[group.start : group.stop]) else "─"), "dim"

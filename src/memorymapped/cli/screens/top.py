# SPDX-License-Identifier: MIT
"""The screen of `mmf top`."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.widgets import Footer, Input, Static

from ..counting import Counter, Row
from ..ending import Failure
from ..objects import MAPS, holders_in_words
from ..tables import width_of
from ..targets import find
from ..top_words import HEADS, RIGHT, cells_of, order
from ..typed import described_shape
from ..watching import Watch
from .app import ENDING, FilteredScreen, show
from .rows import Line, Pointed, fitted, line_of
from .watch import WatchScreen

__all__ = ["TopScreen", "run"]

COLUMNS = (*HEADS, "HOLDERS")
NARROWEST, WIDEST = 16, 44  # of the names
STYLES = {"stale": "dim", "unfinished": "dim", "abandoned": "warn"}
SORTS: dict[str, Callable[[Row], Any]] = {
    "NAME": lambda row: row.found.name or row.found.path,
    "KIND": lambda row: row.found.kind,
    "SIZE": lambda row: -row.found.size,
    "MEMORY": lambda row: -_number(row.found.memory),
    "STATE": lambda row: row.found.state,
    "OWNER": lambda row: -_number(row.found.details.get("owner")),
    "WAIT": lambda row: -_number(row.found.details.get("waiters", row.found.details.get("contended"))),
    "CHANGES/S": lambda row: -(row.rate or 0.0),
    "HOLDERS": lambda row: -len(row.found.holders or ()),
}


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0


def run(counter: Counter, interval: float, duration: float | None) -> None:
    """Shows it until the user ends it."""
    show(TopScreen(counter, interval), duration)


class Table(Pointed):
    """A row for each object, with a cursor that stays on its object."""

    COMPONENT_CLASSES: ClassVar[set[str]] = Pointed.COMPONENT_CLASSES | {"rows--new", "rows--warn"}
    DEFAULT_CSS = """
    Table {
        & > .rows--new { color: $text-success; }
        & > .rows--warn { color: $text-warning; text-style: bold; }
    }
    """

    def __init__(self, moved: Callable[[], None], opened: Callable[[], object]) -> None:
        super().__init__(moved, opened)
        self.rows: list[Row] = []
        self.widths = [width_of(head) + 1 for head in COLUMNS]
        self._cells: list[tuple[str, ...]] = []

    @property
    def current(self) -> Row | None:
        """The object under the cursor."""
        return self.rows[self._cursor] if self._cursor < len(self.rows) else None

    def take(self, rows: list[Row]) -> None:
        """These rows, from now on."""
        current = self.current
        self.rows = rows
        self._cells = [(*cells_of(row), "" if row.gone else holders_in_words(row.found)) for row in rows]
        for column in range(len(COLUMNS) - 1):  # they never shrink: nothing is to move without need
            needed = max((width_of(cells[column]) for cells in self._cells), default=0)
            self.widths[column] = max(self.widths[column], min(needed, WIDEST) if column == 0 else needed)
        if current is not None:
            self._cursor = next((at for at, row in enumerate(rows) if row.key == current.key), self._cursor)
        self._cursor = min(self._cursor, max(0, len(rows) - 1))
        self.show()

    def fitting(self) -> Iterator[tuple[int, int]]:
        """The columns that there is room for, and how wide each is."""
        widths = {column: width for column, width in enumerate(self.widths) if width}
        for least in (3, 1, 2, 5):
            if sum(widths.values()) + 2 * len(widths) > self.columns_wide - 4:
                over = sum(widths.values()) + 2 * len(widths) - self.columns_wide + 4
                widths[0] = max(NARROWEST, widths[0] - over)
            if sum(widths.values()) + 2 * len(widths) > self.columns_wide - 4:
                del widths[least]
        last = len(COLUMNS) - 1
        widths[last] = max(1, self.columns_wide - sum(width + 2 for at, width in widths.items() if at != last))
        return iter(widths.items())

    def count(self) -> int:
        return len(self.rows)

    def draw(self, row: int) -> Line:
        found, cells = self.rows[row], self._cells[row]
        kind = "dim" if found.gone else "new" if found.new else STYLES.get(found.found.state, "")
        if row == self._cursor:
            kind = "cursor"
        text = "  ".join(fitted(cells[at], width, right=at in RIGHT) for at, width in self.fitting())
        return line_of([(text, kind)])


class Heads(Static):
    """The heads of the columns. `chosen` is called with the one that the user clicks."""

    DEFAULT_CSS = "Heads { height: 1; color: $text-muted; text-style: bold; }"

    def __init__(self, chosen: Callable[[str], None]) -> None:
        super().__init__(markup=False)
        self._chosen = chosen
        self._text = ""
        self._ends: list[tuple[int, str]] = []

    def say(self, columns: Iterator[tuple[int, int]], sorted_by: str | None, *, reverse: bool) -> None:
        """Shows them, with a mark at the one that the rows are sorted by."""
        at, parts = 0, []
        self._ends = []
        for column, width in columns:
            head = COLUMNS[column]
            mark = "" if head != sorted_by else "▴" if reverse else "▾"
            parts.append(fitted(head + mark, width, right=column in RIGHT))
            at += width + 2
            self._ends.append((at, head))
        text = "  ".join(parts)
        if text != self._text:
            self._text = text
            self.update(text)

    def on_click(self, event: Click) -> None:
        self._chosen(next((head for end, head in self._ends if event.x < end), COLUMNS[-1]))


class TopScreen(FilteredScreen):
    """All that is shared."""

    SMALLEST = (50, 8)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter", "watch", "Watch"),
        Binding("s", "sort", "Sort"),
        Binding("slash", "filter", "Filter"),
        Binding("space", "pause", "Pause"),
        *ENDING,
    ]
    DEFAULT_CSS = """
    TopScreen {
        #head { height: 1; background: $panel; }
    }
    """

    def __init__(self, counter: Counter, interval: float = 2.0) -> None:
        super().__init__()
        self.counter = counter
        self.interval = interval
        self.paused = False
        self.sorted_by: str | None = None  # a head; None: what is held, by name
        self.reverse = False
        self._rows: list[Row] = []
        self._head = self._trouble = ""
        self._table: Table = Table(self.show, self.action_watch)
        self._heads = Heads(self.sort_by)

    def compose(self) -> ComposeResult:
        yield self.too_small()
        yield Static(id="head", markup=False)
        yield self._heads
        yield self._table
        yield Input(id="filter", placeholder="name, kind or state; Escape ends it", compact=True)
        yield Footer()

    def on_mount(self) -> None:
        super().on_mount()
        self._table.focus()
        self.follow()

    @work
    async def follow(self) -> None:
        """Looks again and again, beside what draws."""
        while True:
            if self.is_current and not self.paused:
                try:
                    self._rows = await asyncio.to_thread(self.counter.tick)
                    self._trouble = ""
                except OSError as error:  # what there was is shown on, and why
                    self._trouble = f"cannot look: {(error.strerror or str(error)).lower()}"
                self.show()
            await asyncio.sleep(self.interval)

    def show(self) -> None:
        """Shows what the last look has found, as the user wants it."""
        if not self.is_mounted:
            return
        wanted = self.filter.value.casefold()
        rows = [row for row in self._rows if not wanted or any(wanted in text.casefold() for text in _searched(row))]
        rows.sort(key=order)
        if self.sorted_by is not None:
            rows.sort(key=SORTS[self.sorted_by], reverse=self.reverse)
        self._table.take(rows)
        self._heads.say(self._table.fitting(), self.sorted_by, reverse=self.reverse)
        there = sum(not row.gone for row in self._rows)
        parts = [f"{there} object{'s' * (there != 1)}"]
        if wanted:
            parts.append(f"{len(rows)} with {self.filter.value!r}")
        stale = sum(row.found.state == "stale" for row in self._rows if not row.gone)
        if stale:
            parts.append(f"{stale} stale")
        parts.append(self._trouble or ("PAUSED" if self.paused else f"every {self.interval:g} s"))
        head = "  ".join(parts)
        if head != self._head:
            self._head = head
            self.query_one("#head", Static).update(head)

    def sort_by(self, head: str) -> None:
        """Sorts by this head; in the other direction, if it was sorted by it already."""
        self.reverse = not self.reverse if head == self.sorted_by else False
        self.sorted_by = head
        self.show()

    def watch_row(self, row: Row) -> None:
        """Opens the screen that watches a map."""
        found = row.found
        if found.kind not in (*MAPS, "foreign"):
            self.notify(f"a {found.kind} has no bytes of its own to be watched", timeout=3, markup=False)
            return
        try:
            watch = Watch(find(found.name or found.path))
        except Failure as failure:
            self.notify(str(failure), severity="warning", timeout=4, markup=False)
            return
        with contextlib.suppress(Failure):  # it says nothing of itself: then bytes
            watch.show_as(described_shape(watch.typed, found.path), own=True)
        self.app.push_screen(WatchScreen(watch))

    def action_watch(self) -> None:
        if self._table.current is not None:
            self.watch_row(self._table.current)

    def action_sort(self) -> None:
        heads = [None, *SORTS]
        self.sorted_by, self.reverse = heads[(heads.index(self.sorted_by) + 1) % len(heads)], False
        self.show()

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.show()


def _searched(row: Row) -> tuple[str, str, str]:
    cells = cells_of(row)
    return cells[0], cells[1], cells[4]

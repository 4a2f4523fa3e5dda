# SPDX-License-Identifier: MIT
"""Rows of text of which any number can be scrolled, and of which only those are drawn anew that have changed."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import ClassVar

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.events import Click
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from ..tables import cut, width_of

__all__ = ["FADES", "Line", "Pointed", "Rows", "fade_of", "line_of"]

Line = tuple[tuple[str, str], ...]
"""Texts, each with what it is (`` for nothing special): its style is the component class `rows--` of that name."""

FADES = ((1.0, "fresh"), (2.5, "recent"), (4.0, "faded"))


def fade_of(seconds: float | None) -> str:
    """How something is shown that has changed so long ago."""
    if seconds is not None:
        for limit, name in FADES:
            if seconds < limit:
                return name
    return ""


def line_of(parts: Iterable[tuple[str, str]]) -> Line:
    """The same, with neighbours of one kind as one."""
    joined: list[tuple[str, str]] = []
    for text, kind in parts:
        if joined and joined[-1][1] == kind:
            joined[-1] = (joined[-1][0] + text, kind)
        else:
            joined.append((text, kind))
    return tuple(joined)


class Rows(ScrollView, can_focus=True):
    """`moved` is called when other rows are to be seen than before."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"rows--dim", "rows--head", *(f"rows--{name}" for _, name in FADES)}
    DEFAULT_CSS = """
    Rows {
        height: 1fr; overflow-x: hidden; overflow-y: scroll; scrollbar-size-vertical: 1;
        & > .rows--dim { color: $text-muted; }
        & > .rows--head { color: $text-accent; text-style: bold; }
        & > .rows--fresh { background: $warning; color: black; text-style: bold; }
        & > .rows--recent { background: $warning 45%; color: $foreground; }
        & > .rows--faded { background: $warning 20%; color: $foreground; }
    }
    """

    def __init__(self, moved: Callable[[], None]) -> None:
        super().__init__()
        self._moved = moved
        self._drawn: dict[int, Line] = {}

    def fit(self) -> None:
        """Called before anything is shown: room for columns may have changed."""

    @abstractmethod
    def count(self) -> int:
        """How many rows there are."""

    @abstractmethod
    def draw(self, row: int) -> Line:
        """A row."""

    @property
    def columns_wide(self) -> int:
        """What there is beside the scroll bar."""
        return self.scrollable_size.width

    def seen(self) -> range:
        """The rows that are on the screen."""
        first = self.scroll_offset.y
        return range(min(first, self.count()), min(first + self.size.height, self.count()))

    def show(self) -> None:
        """Draws what is different from what is to be seen."""
        size = Size(self.columns_wide, self.count())
        if self.virtual_size != size:
            self.virtual_size = size
            self.scroll_to(y=min(self.scroll_offset.y, self.max_scroll_y), animate=False)
            self.refresh()
        drawn = {row: self.draw(row) for row in self.seen()}
        for row, line in drawn.items():
            if self._drawn.get(row) != line:
                self.refresh_line(row)
        self._drawn = drawn

    def go_to(self, row: int) -> None:
        """Makes it the first row on the screen, if there are enough behind it."""
        self.scroll_to(y=row, animate=False, force=True)

    def render_line(self, y: int) -> Strip:
        row = self.scroll_offset.y + y
        width, base = self.columns_wide, self.rich_style
        if row >= self.count():
            return Strip.blank(width, base)
        line = self._drawn[row] if row in self._drawn else self.draw(row)
        segments = [
            Segment(text, self.get_component_rich_style(f"rows--{kind}") if kind else base) for text, kind in line
        ]
        return Strip(segments).adjust_cell_length(width, base)

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._moved()

    def on_resize(self) -> None:
        self._moved()


class Pointed(Rows):
    """Rows with a cursor. `opened` is called when a row is double-clicked."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", show=False),
        Binding("down", "move(1)", show=False),
        Binding("pageup", "page(-1)", show=False),
        Binding("pagedown", "page(1)", show=False),
        Binding("home", "move(-1_000_000)", show=False),
        Binding("end", "move(1_000_000)", show=False),
    ]
    COMPONENT_CLASSES: ClassVar[set[str]] = Rows.COMPONENT_CLASSES | {"rows--cursor"}
    DEFAULT_CSS = """
    Pointed > .rows--cursor { background: $primary; color: $text; text-style: bold; }
    """

    class At(Message):
        """The cursor is at another row."""

    def __init__(self, moved: Callable[[], None], opened: Callable[[], object]) -> None:
        super().__init__(moved)
        self._opened = opened
        self._cursor = 0

    def point_at(self, row: int) -> None:
        """Puts the cursor there, or at the nearest row that there is, and has it on the screen."""
        before = self._cursor
        self._cursor = max(0, min(row, self.count() - 1))
        height = max(1, self.size.height)
        first = self.scroll_offset.y
        self.show()  # there may be more rows than before
        self.go_to(max(min(first, self._cursor), self._cursor - height + 1))
        self.show()
        if self._cursor != before:
            self.post_message(self.At())

    def action_move(self, step: int) -> None:
        self.point_at(self._cursor + step)

    def action_page(self, step: int) -> None:
        self.action_move(step * max(1, self.size.height - 1))

    def on_click(self, event: Click) -> None:
        row = self.scroll_offset.y + event.y
        if row < self.count():
            self.point_at(row)
            if event.chain == 2:
                self._opened()


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """The text in exactly so many columns."""
    text = cut(text, width)
    space = " " * (width - width_of(text))
    return space + text if right else text + space

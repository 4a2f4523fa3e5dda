# SPDX-License-Identifier: MIT
"""The screen of `mmf watch`."""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.widgets import Footer, Static

from ...system.survey import Found
from ..numbers import number_of_bytes
from ..objects import MAPS, holders_in_words, named
from ..sampling import SHARE, Budget
from ..shapes import shape_of
from ..tables import cut
from ..typed import described_shape
from ..watching import Watch
from ..words import age_in_words, shown, size_in_words
from .app import ENDING, Ask, ToolScreen, show
from .memory import LEGEND, BytesView, Overview, ValuesView

__all__ = ["WatchScreen", "run"]

HOLDERS = 4.0  # seconds, at least, between two searches for the holders
TOLD = 10.0  # seconds, for which the user is told what has happened


def run(watch: Watch, offset: int, interval: float, duration: float | None) -> None:
    """Shows it until the user ends it."""
    show(WatchScreen(watch, offset, interval), duration)


class WatchScreen(ToolScreen):
    """What is in a map or a file, as it changes."""

    SMALLEST = (46, 9)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("g", "go", "Go to"),
        Binding("t", "type", "Type"),
        Binding("space", "pause", "Pause"),
        Binding("left", "choose(-1)", "Field", show=False, priority=True),
        Binding("right", "choose(1)", "Field", show=False, priority=True),
        *ENDING,
    ]
    DEFAULT_CSS = """
    WatchScreen {
        #head { height: 1; background: $panel; }
        #notice { height: 1; color: $text-muted; }
        #notice.told { color: $text-warning; text-style: bold; }
        #columns { height: 1; color: $text-muted; }
        #legend { height: 1; color: $text-muted; }
    }
    """

    def __init__(self, watch: Watch, offset: int = 0, interval: float = 0.5) -> None:
        super().__init__()
        self.watched = watch
        self.interval = interval
        self.paused = False
        self.found: Found | None = watch.target.found
        self._offset = offset
        self._budget = Budget(now=watch.now)
        self._bytes = BytesView(watch, self.look)
        self._values = ValuesView(watch, self.look)
        self._texts: dict[str, str] = {}

    def compose(self) -> ComposeResult:
        yield self.too_small()
        yield Static(id="head", markup=False)
        yield Static(id="notice", markup=False)
        yield Static(id="columns", markup=False)
        yield self._bytes
        yield self._values
        yield Overview(self.watched, self.go_to)
        yield Static(id="legend", markup=False)
        yield Footer()

    def on_mount(self) -> None:
        super().on_mount()
        self._show_view()
        self.call_after_refresh(self.go_to, self._offset)
        self.set_interval(self.interval, self.tick)
        self.find_holders()

    @property
    def view(self) -> BytesView | ValuesView:
        """What shows the memory now."""
        return self._bytes if self.watched.shape is None else self._values

    def tick(self) -> None:
        """A look, at what is on the screen and at a bit of the rest."""
        if self.paused or not self.is_current:
            return
        self.look()
        begin = time.thread_time()
        self.watched.sample(self._budget.left())
        self._budget.spend(time.thread_time() - begin)
        self.query_one(Overview).show()

    def look(self) -> None:
        """Reads and shows what is on the screen."""
        if not self.is_mounted:
            return
        if not self.view.display:
            self._show_view()
        self.view.fit()
        self.watched.window(*self.view.window())
        self.watched.tick()
        self.view.show()
        self._say()

    def _show_view(self) -> None:
        for view in (self._bytes, self._values):
            view.display = view is self.view
        self.view.focus()

    def _say(self) -> None:
        """The lines around it."""
        watched, found = self.watched, self.found
        kind = "file" if watched.target.found is None else "map" if found is None else found.kind
        parts = [shown(watched.target.given), kind, size_in_words(watched.size)]
        if watched.shape is not None:
            what = "structure" if watched.shape.text.startswith("{") else cut(watched.shape.text, 24)
            kind_of_map = watched.typed.kind if watched.own and watched.typed is not None else what
            parts.append(kind_of_map if watched.count == 1 else f"{watched.count} x {what}")
        if watched.rate.per_second is not None:
            parts.append(f"{watched.rate.per_second:.1f} changes/s")
        parts.append("PAUSED" if self.paused else f"every {self.interval:g} s")
        self._text("head", "  ".join(parts))
        notice, is_told = self._notice()
        self._text("notice", notice)
        self.query_one("#notice").set_class(is_told, "told")
        self._text("columns", self.view.head())
        oldest = watched.cells.oldest()
        sampled = f"{watched.cells.part:.0%} sampled" if oldest is None else f"oldest sample {age_in_words(oldest)}"
        self._text("legend", f"{sampled:<19} {LEGEND}")

    def _notice(self) -> tuple[str, bool]:
        """What has happened, or who holds it; and whether the user should look there."""
        watched = self.watched
        if watched.gone is not None:
            return f"{watched.gone.text}: waiting for the name to be there again", True
        if watched.events and watched.now() - watched.events[-1].at < TOLD:
            return watched.events[-1].text, True
        if self.found is None:
            return shown(watched.target.path), False
        if self.found.state == "stale":
            return "stale: nobody holds it any more", True
        known = f" by {holders_in_words(self.found)}" if self.found.holders else ""  # not yet, or not to this user
        return self.found.state + known, False

    def _text(self, name: str, text: str) -> None:
        if self._texts.get(name) != text:
            self._texts[name] = text
            self.query_one(f"#{name}", Static).update(text)

    @work
    async def find_holders(self) -> None:
        """Goes on asking who holds it, at most for a share of a processor."""
        given = self.watched.target.given
        while self.watched.target.found is not None:
            begin = time.process_time()
            if self.is_current and not self.paused:
                with contextlib.suppress(OSError):  # none can be found now: those that were known are shown
                    objects = await asyncio.to_thread(named, given, kinds=MAPS, holders=True)
                    self.found = objects[0] if objects else self.found
            await asyncio.sleep(max(HOLDERS, (time.process_time() - begin) / (SHARE / 4)))

    def go_to(self, offset: int) -> None:
        """Shows the memory from there on."""
        self.look()
        self.view.go_to(self.view.row_of(offset))

    def action_pause(self) -> None:
        self.paused = not self.paused
        self.look()

    def action_choose(self, step: int) -> None:
        self._values.choose(step)
        self._say()

    @work
    async def action_go(self) -> None:
        given = await self.app.push_screen_wait(
            Ask("Go to the offset", number_of_bytes, hint="4096, 0x1000, 64K, 1.5G")
        )
        if given is not None:
            self.go_to(min(int(number_of_bytes(given)), self.watched.size))

    @work
    async def action_type(self) -> None:
        value = "" if self.watched.shape is None else self.watched.shape.text
        if self.watched.own or (not value and self.watched.typed is not None):
            value = "self"
        hint = "int32, double, utf8[16], MODULE:CLASS, self; nothing: bytes"
        given = await self.app.push_screen_wait(Ask("Show values of the type", self._shape, value, hint))
        if given is not None:
            first = self.view.first()
            self._take(given, first)
            self._show_view()
            self.call_after_refresh(self.go_to, first if self.watched.shape is None else 0)

    def _shape(self, given: str) -> object:
        if not given.strip():
            return None
        return described_shape(self.watched.typed, self.watched.target.given) if given == "self" else shape_of(given)

    def _take(self, given: str, first: int) -> None:
        if not given.strip():
            self.watched.show_as(None)
        elif given == "self":
            self.watched.show_as(described_shape(self.watched.typed, self.watched.target.given), own=True)
        else:
            self.watched.show_as(shape_of(given), first)

    def action_back(self) -> None:
        self.watched.close()
        super().action_back()

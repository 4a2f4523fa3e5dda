# SPDX-License-Identifier: MIT
"""What all screens have in common: how they begin and end, light and dark, questions to the user, terminals that are
too small."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterator
from typing import ClassVar

import click
from textual.app import App, ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.events import Resize
from textual.screen import ModalScreen, Screen
from textual.widget import Widget
from textual.widgets import Input, Static

from ...system.endings import SIGNALS
from ..ending import Failure, Interrupted, end_output

__all__ = ["ENDING", "Ask", "FilteredScreen", "ToolApp", "ToolScreen", "run_app", "show"]


class ToolApp(App[None]):
    """Shows a screen until the user ends it, a signal does, or `duration` seconds are over. Colours are those of a
    theme with its own background, so that they can be read on every terminal; with NO_COLOR there are none."""

    TITLE = "mmf"
    ENABLE_COMMAND_PALETTE = False
    CSS = """
    .no-color .rows--fresh { text-style: reverse; }
    .no-color .rows--recent { text-style: bold underline; }
    .no-color .rows--faded { text-style: underline; }
    .no-color .rows--dim { text-style: dim; }
    .no-color .rows--here, .no-color .rows--cursor { text-style: reverse; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+c", "interrupt", show=False, priority=True),
        Binding("ctrl+q", "quit", show=False),
    ]

    def __init__(self, first: Screen[None], duration: float | None = None) -> None:
        super().__init__(ansi_color=True if os.environ.get("NO_COLOR") else None)
        self.animation_level = "none"
        self.signum: int | None = None
        self._running_loop: asyncio.AbstractEventLoop | None = None
        self._first = first
        self._duration = duration

    async def on_mount(self) -> None:
        self._running_loop = asyncio.get_running_loop()
        if self.signum is not None:
            self.exit()  # it came before there was anything to end
            return
        if self._duration is not None:
            self.set_timer(self._duration, self.exit)
        await self.push_screen(self._first)

    @contextlib.contextmanager
    def ended_by_signals(self) -> Iterator[None]:
        """Inside, SIGINT, SIGTERM and SIGHUP end the screen, unless they were ignored before: `signum` tells which did.
        (An exception that a handler raises would be lost in asyncio.)"""
        before = {each: signal.getsignal(each) for each in SIGNALS}
        taken = [each for each, action in before.items() if action is not signal.SIG_IGN]
        for each in taken:
            signal.signal(each, self._take)
        try:
            yield
        finally:
            for each in taken:
                signal.signal(each, before[each] or signal.SIG_DFL)

    def _take(self, signum: int, frame: object = None) -> None:
        if self.signum is not None:
            return
        self.signum = signum
        if signum == getattr(signal, "SIGHUP", None):
            # The terminal is gone. Textual's thread that writes would die of that, and who waits for it wait for ever.
            end_output()
            os.dup2(1, 2)
        if self._running_loop is not None:
            self._running_loop.call_soon_threadsafe(self.interrupted)

    def interrupted(self) -> None:
        """A signal has asked us to end."""
        self.exit()

    def action_interrupt(self) -> None:
        self._take(signal.SIGINT)


def show(first: Screen[None], duration: float | None = None) -> None:
    """Shows a screen, until it ends. Interrupted if a signal ended it, or Ctrl-C."""
    app = ToolApp(first, duration)
    run_app(app)
    if app.signum is not None:
        raise Interrupted(app.signum)


def run_app(app: ToolApp) -> None:
    """Runs it until it ends; what a signal means is the caller's affair."""
    with app.ended_by_signals():
        app.run()
    if app.return_code:
        raise Failure("the screen ended by an error")


ENDING: list[BindingType] = [
    Binding("d", "light", "Light/dark"),
    Binding("escape", "back", "Back"),
    Binding("q", "end", "Quit"),
]
"""The last keys of every screen."""


class ToolScreen(Screen[None]):
    """A screen of a tool. `SMALLEST`: the columns and rows below which it says that it is too small, instead."""

    SMALLEST: ClassVar[tuple[int, int]] = (40, 8)
    DEFAULT_CSS = """
    ToolScreen {
        #too-small { display: none; width: 100%; height: 100%; content-align: center middle; }
        &.too-small > * { display: none; }
        &.too-small > #too-small { display: block; }
    }
    """

    def too_small(self) -> Static:
        """To be the first that is composed."""
        columns, rows = self.SMALLEST
        return Static(f"too small:\n{columns} x {rows} are needed", id="too-small", markup=False)

    @property
    def can_go_back(self) -> bool:
        """Whether there is a screen behind this one."""
        return len(self.app.screen_stack) > 2

    def on_resize(self, event: Resize) -> None:
        columns, rows = self.SMALLEST
        self.set_class(event.size.width < columns or event.size.height < rows, "too-small")

    def on_mount(self) -> None:
        self.set_class(self.app.no_color, "no-color")

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        return action != "back" or self.can_go_back

    def action_light(self) -> None:
        self.app.theme = "textual-light" if self.app.current_theme.dark else "textual-dark"

    def action_back(self) -> None:
        self.dismiss()

    def action_end(self) -> None:
        self.app.exit()


class FilteredScreen(ToolScreen):
    """A screen with a table, and an Input `#filter` that is there when it is asked for. Escape ends the filter."""

    DEFAULT_CSS = """
    FilteredScreen {
        #filter { display: none; }
        #filter.asked { display: block; }
    }
    """
    _table: Widget

    def show(self) -> None:
        """Shows what fits the filter."""
        raise NotImplementedError

    @property
    def filter(self) -> Input:
        """What is looked for."""
        return self.query_one("#filter", Input)

    @property
    def can_go_back(self) -> bool:
        return "asked" in self.filter.classes

    def action_filter(self) -> None:
        self.filter.add_class("asked")
        self.filter.focus()
        self.refresh_bindings()

    def on_input_changed(self) -> None:
        self.show()

    def on_input_submitted(self) -> None:
        self._table.focus()

    def action_back(self) -> None:
        """Ends the filter."""
        self.filter.value = ""
        self.filter.remove_class("asked")
        self._table.focus()
        self.refresh_bindings()


class Ask(ModalScreen[str | None]):
    """Asks for a line of text. `refused` raises what is wrong with it, which is shown; the answer is None if the user
    wants nothing after all."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "leave", "Back", show=False)]
    DEFAULT_CSS = """
    Ask {
        align: center middle;
        Vertical {
            width: 64; max-width: 95%; height: auto; padding: 1 2; background: $surface; border: round $primary;
        }
        .wrong { color: $text-error; height: auto; }
    }
    """

    def __init__(self, question: str, check: Callable[[str], object], value: str = "", hint: str = "") -> None:
        super().__init__()
        self._question = question
        self._check = check
        self._value = value
        self._hint = hint

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            yield Input(self._value, placeholder=self._hint, compact=True)
            yield Static("", classes="wrong", markup=False)

    def on_input_changed(self) -> None:
        self.query_one(".wrong", Static).update("")

    def on_input_submitted(self, event: Input.Submitted) -> None:
        try:
            self._check(event.value)
        except (Failure, click.ClickException) as error:
            text = error.format_message() if isinstance(error, click.ClickException) else str(error)
            self.query_one(".wrong", Static).update(text)
        else:
            self.dismiss(event.value)

    def action_leave(self) -> None:
        self.dismiss(None)

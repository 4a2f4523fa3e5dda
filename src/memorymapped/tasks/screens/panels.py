# SPDX-License-Identifier: MIT
"""How the runs of destinations are shown, and questions with two answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from .jobs import Job

__all__ = ["Bar", "Confirm", "RunPanel", "class_of", "time_in_words"]

_SHORT, _LONG = 4, 200  # lines of output
_GOOD, _AT_WORK, _NEITHER = ("succeeded",), ("running", "open", "stopped", "ending"), ("cancelled", "waiting")


def class_of(state: str) -> str:
    """good, bad, at-work or neither: what colour it has."""
    for name, states in (("good", _GOOD), ("at-work", _AT_WORK), ("neither", _NEITHER)):
        if state in states:
            return name
    return "bad"


def time_in_words(seconds: float) -> str:
    """How long something takes, in no more than nine columns."""
    if seconds < 100:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}:{rest:02} min" if minutes < 60 else f"{minutes // 60}:{minutes % 60:02} h"


class Bar(Static):
    """A progress bar as wide as there is room; None: it cannot be known how far it is."""

    DEFAULT_CSS = "Bar { height: 1; text-wrap: nowrap; }"

    def __init__(self) -> None:
        super().__init__(markup=False)
        self._progress: float | None = 0.0
        self._note = ""

    def say(self, progress: float | None, note: str = "") -> None:
        """So far it is, from 0 to 1; and a few words behind the bar."""
        if (progress, note) != (self._progress, self._note):
            self._progress, self._note = progress, note
            self.refresh()

    def render(self) -> str:
        room = max(4, self.content_size.width - (len(self._note) + 2 if self._note else 0))
        done = 0 if self._progress is None else round(self._progress * room)
        rest = "╌" if self._progress is None else "─"
        return "━" * done + rest * (room - done) + (f"  {self._note}" if self._note else "")


class RunPanel(Vertical, can_focus=True):
    """A run: which task, how far it is, how it has ended, how long it took, its output. `closed` is called when the
    user wants to see no more of it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("x,delete", "end", "Cancel/close"),
        Binding("enter", "more", "More/less output"),
        Binding("down", "app.focus_next", show=False),
        Binding("up", "app.focus_previous", show=False),
    ]
    SCOPED_CSS = False  # a rule begins outside
    DEFAULT_CSS = """
    RunPanel {
        height: auto; padding: 0 1; margin-bottom: 1; border-left: outer $secondary; background: $surface;
        &:focus { background: $boost; }
        &.good { border-left: outer $success; }
        &.bad { border-left: outer $error; }
        &.neither { border-left: outer $panel-lighten-2; }
        &.at-work { border-left: outer $primary; }
        Horizontal { height: 1; }
        .what { width: 1fr; text-style: bold; }
        .how { width: auto; margin: 0 1; }
        &.good .how { color: $text-success; }
        &.bad .how { color: $text-error; }
        &.neither .how { color: $text-muted; }
        Button { min-width: 11; }
        Bar { color: $primary; }
        .message { height: auto; color: $text-warning; display: none; }
        .output { height: auto; color: $text-muted; display: none; }
        .said { display: block; }
        &.over Bar { display: none; }
    }
    .no-color RunPanel:focus .what { text-style: reverse; }
    """

    def __init__(self, job: Job, closed: Callable[[RunPanel], object]) -> None:
        super().__init__()
        self.job = job
        self._put_away = closed
        self._is_long = False

    def compose(self) -> ComposeResult:
        with Horizontal():
            yield Static(classes="what", markup=False)
            yield Static(classes="how", markup=False)
            yield Button("Cancel", compact=True)
        yield Bar()
        yield Static(classes="message", markup=False)
        yield Static(classes="output", markup=False)

    def on_mount(self) -> None:
        self._draw()

    def show(self) -> None:
        """Shows how it is now."""
        if self.is_mounted:
            self._draw()

    def _draw(self) -> None:
        job = self.job
        for name in ("good", "bad", "neither", "at-work"):
            self.set_class(name == class_of(job.state), name)
        self.set_class(job.is_over, "over")
        self._text(".what", job.title)
        self._text(".how", f"{job.state}  {time_in_words(job.seconds)}")
        about = "" if job.progress is None else f"of about {time_in_words(job.task.duration)}"
        self.query_one(Bar).say(job.progress, about)
        self._text(".message", job.message)
        lines = job.output.splitlines()
        most = _LONG if self._is_long else _SHORT
        if len(lines) > most:
            hidden = len(lines) - most
            lines = [f"… {hidden} more line{'s' * (hidden != 1)} above: Enter shows them", *lines[-most:]]
        self._text(".output", "\n".join(lines))
        button = self.query_one(Button)
        label = "Close" if job.is_over else "End now" if job.state == "ending" else "Cancel"
        if str(button.label) != label:
            button.label = label

    def _text(self, which: str, text: str) -> None:
        widget = self.query_one(which, Static)
        if widget.content != text:
            widget.update(text)
            widget.set_class(bool(text), "said")

    def on_button_pressed(self, event: Button.Pressed) -> None:
        event.stop()
        self.action_end()

    def action_end(self) -> None:
        """Asks it to end; closes the panel, if it has."""
        if self.job.is_over:
            self._put_away(self)
        else:
            self.job.cancel()

    def action_more(self) -> None:
        self._is_long = not self._is_long
        self.show()


class Confirm(ModalScreen[bool]):
    """A question with two answers; Enter and y say yes."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("y", "answer(True)", show=False),
        Binding("n,escape", "answer(False)", show=False),
        Binding("left,right", "app.focus_next", show=False),
    ]
    DEFAULT_CSS = """
    Confirm {
        align: center middle;
        Vertical {
            width: 56; max-width: 100%; height: auto; padding: 1 2; background: $surface; border: round $warning;
        }
        Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
        Button { margin-left: 2; }
    }
    """

    def __init__(self, question: str, yes: str, no: str = "Back") -> None:
        super().__init__()
        self._question, self._yes, self._no = question, yes, no

    def compose(self) -> ComposeResult:
        with Vertical():
            yield Static(self._question, markup=False)
            with Horizontal():
                yield Button(self._yes, variant="warning", compact=True, id="yes")
                yield Button(self._no, compact=True, id="no")

    def on_mount(self) -> None:
        self.query_one("#yes").focus()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "yes")

    def action_answer(self, answer: bool) -> None:
        self.dismiss(answer)

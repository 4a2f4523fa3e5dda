# SPDX-License-Identifier: MIT
"""The screen of `mmf tasks-worker`: the tasks that are offered, one of which the user chooses, configures and runs."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.events import Key, Resize
from textual.widgets import Footer, Static
from textual.worker import Worker

from ...cli.ending import Interrupted
from ...cli.screens.app import ToolApp, ToolScreen, run_app
from ...cli.task_words import safe
from ...system.endings import asked_to_end
from ...system.terminals import hearing_hang_up
from ..destination import Destination, Execution, SourceGoneError
from ..destination_format import OfferedTask, Outcome, check_configuration
from ..shapes import DocumentError
from .form import Form
from .panels import Bar, class_of, time_in_words
from .table import Heads, TaskTable

__all__ = ["DestinationScreen", "run"]

SHOWN = 1.5  # seconds, for which the result can be read before this ends: the source waits for the end
_TICK = 0.1  # seconds between two looks at the time


class DestinationScreen(ToolScreen):
    """The tasks of an exchange; `begin` is the one that is configured already, and under the cursor. In the end there
    is an `outcome`, which was answered; or a `problem` that kept us from that."""

    SMALLEST = (50, 14)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("enter,r", "run", "Run", key_display="r"),
        Binding("e", "configure", "Configure"),
        Binding("x", "cancel", "Cancel"),
        Binding("d", "light", "Light/dark"),
        Binding("q,escape", "end", "Leave", key_display="q"),
    ]
    DEFAULT_CSS = """
    DestinationScreen {
        #head { height: 1; background: $panel; padding: 0 1; }
        #details { height: auto; max-height: 40%; padding: 0 1; border-top: solid $panel; }
        #work { height: 1fr; padding: 1 2; display: none; }
        #what { text-style: bold; height: auto; margin-bottom: 1; }
        Bar { color: $primary; margin-bottom: 1; }
        #said { height: auto; text-style: bold; }
        #said.good { color: $text-success; }
        #said.bad { color: $text-error; }
        #said.neither { color: $text-muted; }
        #output { color: $text-muted; height: auto; }
        #printed { height: 1fr; scrollbar-size-vertical: 1; }
        &.at-work > #work { display: block; }
        &.at-work > TaskTable, &.at-work > Heads, &.at-work > #details { display: none; }
    }
    """

    def __init__(self, offer: Destination, begin: OfferedTask, *, go_on: bool = False) -> None:
        super().__init__()
        self.outcome: Outcome | None = None
        self.problem: Exception | None = None
        self._offer = offer
        self._go_on = go_on
        self._tasks = {task.id: task for task in offer.tasks} | {begin.id: begin}
        self._begin = begin
        self._execution: Execution | None = None
        self._watch: Worker[None] | None = None
        self._started = 0.0
        self._table = TaskTable(self.show, self.action_configure)
        self._heads = Heads(markup=False)

    def compose(self) -> ComposeResult:
        yield self.too_small()
        yield Static(id="head", markup=False)
        yield self._heads
        yield self._table
        yield Static(id="details", markup=False)
        with Vertical(id="work"):
            yield Static(id="what", markup=False)
            yield Bar()
            yield Static(id="said", markup=False)
            with VerticalScroll(id="printed"):
                yield Static(id="output", markup=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        super().on_mount()
        self._ticks = self.set_interval(_TICK, self._show_work, pause=True)
        self._table.focus()
        self._take(self._begin.id)
        self._watch = self._watch_source()

    # ------------------------------------------------------------------------------------------------ the choice

    @property
    def current(self) -> OfferedTask:
        """The task under the cursor: there is always one."""
        shown = self._table.current
        return self._begin if shown is None else self._tasks[shown.id]

    def _take(self, at: str | None = None) -> None:
        tasks = list(self._tasks.values())
        self._table.take(tasks, {task.id: number for number, task in enumerate(tasks, 1)}, (), at)
        self.show()

    def show(self) -> None:
        """Shows the tasks."""
        if not self.is_mounted:
            return
        self._table.show()
        self._heads.say(self._table)
        self.query_one("#head", Static).update(f"Choose a task  {len(self._tasks)} offered")
        task = self.current
        lines = [safe(task.title), safe(task.description, lines=True)]
        lines += [f"{name} = {safe(text)}" for name, text in task.parameters.items()]
        if "command" not in task.parameters:
            lines.append(f"simulated: it takes {time_in_words(task.duration)}")
        self.query_one("#details", Static).update("\n".join(line for line in lines if line.strip()))

    def on_pointed_at(self) -> None:
        self.show()

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.show()

    @work
    async def _watch_source(self) -> None:
        await self._offer.until_source_ends()
        self._fail(SourceGoneError("the source has ended, and nobody waits for an answer"))

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        is_idle = self._execution is None and self.problem is None
        if action in ("run", "configure"):
            return is_idle
        if action == "cancel":
            return self._execution is not None and self.outcome is None and self.problem is None
        return True

    @work
    async def action_configure(self) -> None:
        task = self.current
        fields = {"duration": task.duration, "parameters": task.parameters}
        changed = await self.app.push_screen_wait(Form(f"Configure {safe(task.title)}", fields, _problems, done="Keep"))
        if changed is not None:
            before, now = task.parameters, changed["parameters"]
            changes = {name: now.get(name, "") for name in before | now if now.get(name) != before.get(name)}
            self._tasks[task.id] = task.configured(changed["duration"], changes)
            self._take(task.id)

    # -------------------------------------------------------------------------------------------------- the work

    @work
    async def action_run(self) -> None:
        if self._execution is not None or self.problem is not None:
            return
        if self._watch is not None:  # the run has its own
            self._watch.cancel()
            await asyncio.sleep(0)
        task = self.current
        execution = self._execution = Execution(task, lambda _: None)
        self._started = asyncio.get_running_loop().time()
        self.add_class("at-work")
        self._text("#head", "At work")
        self._text("#what", safe(task.title))
        self._ticks.resume()
        self.refresh_bindings()
        self._show_work()
        try:
            outcome = await self._offer.run(execution, go_on=self._go_on)
        except (SourceGoneError, OSError, ValueError) as error:
            self._fail(error)
            return
        self._answered(outcome)

    def _show_work(self) -> None:
        execution = self._execution
        if execution is None:
            return
        past = asyncio.get_running_loop().time() - self._started if self.outcome is None else self.outcome.seconds
        about = f"{time_in_words(past)} of about {time_in_words(execution.task.duration)}"
        self.query_one(Bar).say(execution.progress, about if self.outcome is None else time_in_words(past))
        printed = self.query_one("#output", Static)
        text = safe(execution.output, lines=True).rstrip()
        if printed.content != text:
            printed.update(text)
            self.query_one("#printed", VerticalScroll).scroll_end(animate=False)

    def _answered(self, outcome: Outcome) -> None:
        self.outcome = outcome
        self._ticks.pause()
        self._show_work()
        what = "took too long" if outcome.outcome == "timedOut" else outcome.outcome
        why = f": {safe(outcome.message)}" if outcome.message not in ("", outcome.outcome) else ""
        self._text("#head", "Done")
        self._say(f"{what}{why}, and that is answered", class_of(outcome.outcome))
        self.set_timer(SHOWN, self.app.exit)

    def _fail(self, problem: Exception) -> None:
        self.problem = problem
        self._offer.close()  # the memory goes now, whenever somebody presses a key
        if isinstance(problem, SourceGoneError):  # nobody may be there to press one
            self.app.exit()
            return
        self._ticks.pause()
        self.add_class("at-work")
        self._text("#head", "No answer")
        self._text("#what", safe(self.current.title))
        self._say(f"{safe(str(problem))}\n\nAny key leaves.", "bad")

    def _say(self, text: str, kind: str) -> None:
        self._text("#said", text)
        for each in ("good", "bad", "neither"):
            self.query_one("#said").set_class(each == kind, each)
        self.refresh_bindings()

    def _text(self, which: str, text: str) -> None:
        self.query_one(which, Static).update(text)

    def on_key(self, event: Key) -> None:
        if self.outcome is not None or self.problem is not None:
            event.stop()
            self.app.exit()

    def action_cancel(self) -> None:
        if self._execution is not None:
            self._execution.cancel()

    def action_end(self) -> None:
        """Leaves: a task that is at work is cancelled; if there is none, the answer is that it was not run."""
        if self.problem is not None or self.outcome is not None:
            self.app.exit()
        elif self._execution is not None:
            self._execution.cancel()
        else:
            try:
                outcome = Outcome("cancelled", 0.0, message="the user has left without running it")
                self._offer.answer(self.current, outcome)
                self.outcome = outcome
            except (OSError, ValueError) as error:
                self.problem = error
            self.app.exit()


def _problems(fields: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with a configuration."""
    try:
        check_configuration(fields.get("duration", 0.0), fields.get("parameters", {}))
    except DocumentError as error:
        return {f"parameters{error.where}": error.message}
    except ValueError as error:
        return {"duration": str(error)}
    return {}


class _App(ToolApp):
    """Who asks us to end cancels the task, and that is answered; so does who closes the terminal."""

    # Textual calls that of ToolApp too.
    async def on_mount(self) -> None:
        self._hearing = contextlib.ExitStack()
        self._hearing.enter_context(hearing_hang_up(self._take))
        self._hearing.enter_context(asked_to_end(self._take))

    def on_unmount(self) -> None:
        self._hearing.close()

    def interrupted(self) -> None:
        if isinstance(self._first, DestinationScreen):
            self._first.action_end()


def run(offer: Destination, begin: OfferedTask, *, go_on: bool = False) -> tuple[OfferedTask, Outcome]:
    """Shows it until a task was run and answered, or the user leaves. SourceGoneError, OSError."""
    screen = DestinationScreen(offer, begin, go_on=go_on)
    app = _App(screen)
    run_app(app)
    if screen.problem is not None:
        raise screen.problem
    if screen.outcome is None:
        raise Interrupted(app.signum or signal.SIGTERM)
    return screen.current, screen.outcome

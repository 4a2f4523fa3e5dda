# SPDX-License-Identifier: MIT
"""The screen of `mmf tasks`: the list of tasks, and the destinations that run them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from textual import work
from textual.app import ComposeResult, SuspendNotSupported
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.widgets import Button, Footer, Input, Static
from textual.worker import Worker

from ...cli.screens.app import ENDING, FilteredScreen, show
from ...cli.task_words import safe
from ...system.terminals import lent
from .. import store
from ..elsewhere import in_another_terminal
from ..model import PRIORITIES, InvalidTaskError, NoSuchTaskError, Task, TaskList, problems_of
from ..shapes import DocumentError
from ..source import WORKER
from .form import Form
from .jobs import Job
from .panels import Confirm, RunPanel
from .table import Heads, TaskTable

__all__ = ["OWN_WINDOW", "SourceScreen", "run"]

PATIENCE = 3.0  # seconds for destinations to end by themselves when the user leaves
_LOOK = 1.0  # seconds between two looks whether another program has changed the list
_TICK = 0.2  # seconds between two times that are shown; answers and ends are told at once
_WITH_SCREEN = [word for word in WORKER if word not in ("--no-screen", "--quiet")]
OWN_WINDOW = ["window"]
_NEW: dict[str, Any] = {"title": "", "description": "", "priority": "normal", "duration": 1.0, "parameters": {}}


def _form(heading: str, fields: Mapping[str, Any], done: str = "Save") -> Form:
    return Form(heading, fields, problems_of, PRIORITIES, done)


def run(path: Path, command: Sequence[str] | None = None, window: Sequence[str] = ()) -> None:
    """Shows it until the user ends it. DocumentError, OSError: the list cannot be read."""
    show(SourceScreen(path, command, window))


class SourceScreen(FilteredScreen):
    """The list in a file, and runs. `command`: of another destination than ours. `window`: of a terminal in which our
    destination draws its screen, with {command} for its command; ["window"]: in a window of its own; without it, that
    draws in this one meanwhile."""

    SMALLEST = (50, 12)
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("n", "new", "New"),
        Binding("e,enter", "edit", "Edit"),
        Binding("delete,backspace", "delete", "Delete", key_display="del"),
        Binding("u", "undo", "Undo"),
        Binding("r", "run", "Run"),
        Binding("R", "run_there", "Run+screen", key_display="R"),
        Binding("x", "cancel", "Cancel run"),
        Binding("slash", "filter", "Filter"),
        Binding("shift+up", "shift(-1)", show=False),
        Binding("shift+down", "shift(1)", show=False),
        *ENDING,
    ]
    DEFAULT_CSS = """
    SourceScreen {
        #bar { height: 1; background: $panel; }
        #head { width: 1fr; padding: 0 1; }
        #bar > Button { margin-left: 1; min-width: 5; }
        #empty { height: 1fr; content-align: center middle; text-align: center; color: $text-muted; display: none; }
        &.empty > #empty { display: block; }
        &.empty > TaskTable, &.empty > Heads { display: none; }
        #runs-head { height: 1; background: $panel; padding: 0 1; display: none; }
        #runs { height: auto; max-height: 50%; display: none; scrollbar-size-vertical: 1; }
        &.has-runs #runs, &.has-runs #runs-head { display: block; }
    }
    """

    def __init__(self, path: Path, command: Sequence[str] | None = None, window: Sequence[str] = ()) -> None:
        super().__init__()
        self.path = path
        self._read = store.generation(path)
        self.tasks = store.load(path) if path.exists() else TaskList()
        self.jobs: list[Job] = []
        self._command = command
        self._window = list(window)
        self._deleted: list[tuple[Task, int]] = []
        self._turn = asyncio.Lock()  # changes are made in the order of the keys
        self._table: TaskTable = TaskTable(self.show, self.action_edit)
        self._heads = Heads(markup=False)
        self._followed: list[Worker[None]] = []
        self._keys: tuple[bool, ...] = ()
        self._is_ending = False
        self._tell_stop: Callable[[], None] | None = None  # while a destination has our terminal

    def compose(self) -> ComposeResult:
        yield self.too_small()
        with Horizontal(id="bar"):
            yield Static(id="head", markup=False)
            yield Button("▲", compact=True, id="up", tooltip="move the task up (shift+up)")
            yield Button("▼", compact=True, id="down", tooltip="move the task down (shift+down)")
        yield self._heads
        yield self._table
        yield Static(id="empty", markup=False)
        yield Input(id="filter", placeholder="in title, description or parameters; Escape ends it", compact=True)
        yield Static("Runs", id="runs-head", markup=False)
        yield VerticalScroll(id="runs", can_focus=False)
        yield Footer(compact=True)

    def on_mount(self) -> None:
        super().on_mount()
        for button in self.query(Button):
            button.can_focus = False
        self._ticks = self.set_interval(_TICK, self._show_times, pause=True)
        self.set_interval(_LOOK, self._look)
        self._table.focus()
        self.show()

    async def on_unmount(self) -> None:
        await self._end_all(0.0)

    # --------------------------------------------------------------------------------------------------- the list

    @property
    def current(self) -> Task | None:
        """The task under the cursor."""
        shown = self._table.current
        return None if shown is None or shown.id not in self.tasks else self.tasks[shown.id]

    @property
    def going(self) -> list[Job]:
        """The destinations that have not ended."""
        return [job for job in self.jobs if not job.is_over]

    def show(self, at: str | None = None) -> None:
        """Shows the list as it is known; with the cursor `at` a task."""
        if not self.is_mounted:
            return
        wanted = self.filter.value
        tasks = self.tasks.filtered(wanted)
        running = {job.task.id for job in self.going if not job.has_screen}
        self._table.take(tasks, {task.id: at for at, task in enumerate(self.tasks, 1)}, running, at)
        self._heads.say(self._table)
        self.set_class(not tasks, "empty")
        self._text("#empty", f"No task has {wanted!r}" if wanted else "There are no tasks yet\n\nn makes the first one")
        parts = ["Tasks", f"{len(self.tasks)} task{'s' * (len(self.tasks) != 1)}"]
        if wanted:
            parts.append(f"{len(tasks)} with {wanted!r}")
        waiting = sum(task.state == "waiting" and task.id not in running for task in self.tasks)
        is_open = sum(job.has_screen for job in self.going)
        counted = (waiting, "waiting"), (len(running), "running"), (is_open, "open")
        parts += [f"{number} {what}" for number, what in counted if number]
        if self.path != store.kept_file():
            parts.append(safe(str(self.path)))
        self._text("#head", "  ".join(parts))
        keys = self.current is not None, bool(self._deleted), bool(self.going)
        if keys != self._keys:  # the footer is made anew by that
            self._keys = keys
            self.refresh_bindings()

    def _text(self, which: str, text: str) -> None:
        widget = self.query_one(which, Static)
        if widget.content != text:
            widget.update(text)

    def on_resize(self, event: Resize) -> None:
        super().on_resize(event)
        self.show()

    @work
    async def _change(
        self, what: Callable[[TaskList], str | None], done: str = "", then: Callable[[], object] = lambda: None
    ) -> None:
        await self._changed(what, done, then)

    async def _changed(
        self, what: Callable[[TaskList], str | None], done: str = "", then: Callable[[], object] = lambda: None
    ) -> bool:
        """Changes the kept list, beside what draws: another program may have it just now. `what` gives the id of the
        task at which the cursor is to be then; `then` is called when it is saved. Whether it was: if not, that is said,
        and all is as it was."""
        at: list[str | None] = []

        def change() -> TaskList:
            with store.opened(self.path) as tasks:
                at.append(what(tasks))
                return tasks

        async with self._turn:
            try:
                self.tasks = await asyncio.to_thread(change)
            except (OSError, DocumentError, InvalidTaskError, NoSuchTaskError) as error:
                self._complain(f"the list was not changed: {error}")
                return False
            then()
            if done:
                self.notify(done, timeout=3, markup=False)
            self.show(at[-1])
            return True

    async def _look(self) -> None:
        """Reads the list again if it has been changed, by another program perhaps."""
        generation = store.generation(self.path)
        if generation == self._read:
            return
        async with self._turn:
            self._read = generation
            try:
                self.tasks = await asyncio.to_thread(store.load, self.path)
            except FileNotFoundError:
                self.tasks = TaskList()
            except (OSError, DocumentError) as error:
                self._complain(f"the list was changed, and cannot be read: {error}")
                return
            self.show()

    def _complain(self, text: str) -> None:
        self.notify(safe(text), severity="error", timeout=6, markup=False)

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        if action in ("edit", "delete", "run", "run_there", "shift") and self.current is None:
            return None if action in ("edit", "delete", "run") else False
        if action == "undo" and not self._deleted:
            return False
        if action == "cancel" and not self.going:
            return False
        if action == "run_there" and self._command is not None:
            return False
        return super().check_action(action, parameters)

    @work
    async def action_new(self) -> None:
        fields: Any = _NEW
        while (fields := await self.app.push_screen_wait(_form("A new task", fields, "Create"))) is not None:
            task, after = Task(**fields), self.current

            def add(tasks: TaskList, task: Task = task, after: Task | None = after) -> str:
                behind = after is not None and after.id in tasks
                tasks.add(task, tasks.position(after.id) + 1 if behind and after is not None else None)
                return task.id

            if await self._changed(add):
                self._tell_if_hidden(task.id)
                return  # else the form is there again, with what was typed

    @work
    async def action_edit(self) -> None:
        task = self.current
        if task is None:
            return
        fields: Any
        before = fields = {name: value for name, value in task.fields().items() if name in _NEW}
        while (fields := await self.app.push_screen_wait(_form(f"Task {safe(task.title)}", fields))) is not None:
            changed = {name: value for name, value in fields.items() if value != before[name]}

            def edit(tasks: TaskList, changed: dict[str, Any] = changed) -> str:
                again = {"state": "waiting"} if changed else {}  # what has ended was another task, so to speak
                return tasks.edit(task.id, **changed, **again).id

            if await self._changed(edit):
                self._tell_if_hidden(task.id)
                return

    def _tell_if_hidden(self, id: str) -> None:
        """Who makes a task, or edits it, looks for it."""
        wanted = self.filter.value
        if id in self.tasks and self.tasks[id] not in self.tasks.filtered(wanted):
            hidden = f"{safe(self.tasks[id].title)} is in the list, and not shown: it has no {safe(wanted)!r}"
            self.notify(hidden, timeout=6, markup=False)

    def action_delete(self) -> None:
        task = self.current
        if task is None:
            return
        if task.id in {job.task.id for job in self.going}:
            self._complain(f"{task.title} is running: x cancels that")
            return
        removed: list[tuple[Task, int]] = []

        def delete(tasks: TaskList) -> str | None:
            where = tasks.position(task.id)
            removed.append((tasks.remove(task.id), where))
            left = list(tasks)
            return left[min(where, len(left) - 1)].id if left else None

        done = f"{safe(task.title)} was deleted: u brings it back"
        self._change(delete, done, lambda: self._deleted.extend(removed))

    def action_undo(self) -> None:
        back: list[tuple[Task, int]] = []

        def undo(tasks: TaskList) -> str | None:
            if not self._deleted:
                return None
            back.append(self._deleted[-1])
            task, where = back[0]
            return task.id if task.id in tasks else tasks.add(task, min(where, len(tasks))).id

        def is_back() -> None:
            for each in back:
                self._deleted.remove(each)

        self._change(undo, then=is_back)

    def action_shift(self, step: int) -> None:
        """Moves the task beyond its neighbour, of those that are shown."""
        task, wanted = self.current, self.filter.value
        if task is None:
            return

        def move(tasks: TaskList) -> str:
            shown = [each.id for each in tasks.filtered(wanted)]
            if task.id in shown and 0 <= shown.index(task.id) + step < len(shown):
                tasks.move(task.id, tasks.position(shown[shown.index(task.id) + step]))
            return task.id

        self._change(move)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id in ("up", "down"):
            self.action_shift(-1 if event.button.id == "up" else 1)

    # --------------------------------------------------------------------------------------------------- the runs

    def action_run(self) -> None:
        """Has a destination without a screen run the task."""
        self._start(with_screen=False)

    def action_run_there(self) -> None:
        """Starts a destination with a screen, on which the user configures the task, or chooses another."""
        self._start(with_screen=True)

    def _start(self, *, with_screen: bool) -> None:
        task = self.current
        if task is None:
            return
        tasks: Sequence[Task] = list(self.tasks)
        if self._command is not None:  # another program: it is offered what it is to run, and that waits
            tasks, command = [task.edited(state="waiting")], list(self._command)
        else:
            command = [*(_WITH_SCREEN if with_screen else WORKER), f"--select={task.id}"]
            if with_screen and self._window and self._window != OWN_WINDOW:
                command = in_another_terminal(self._window, command)
        place = "" if not with_screen else "terminal" if not self._window else "window" * (self._window == OWN_WINDOW)
        try:
            job = Job(tasks, task, command, self._job_changed, has_screen=with_screen, place=place)
        except (DocumentError, OSError) as error:
            self._complain(f"the tasks cannot be handed over: {error}")
            return
        self.jobs.append(job)
        panel = RunPanel(job, self._close)
        runs = self.query_one("#runs", VerticalScroll)
        runs.mount(panel, before=0)
        self.add_class("has-runs")
        self._followed.append(self._follow(job, in_terminal=place == "terminal"))

    @work
    async def _follow(self, job: Job, *, in_terminal: bool) -> None:
        """Until the destination has ended, and what became of the task is kept."""
        self._ticks.resume()
        with contextlib.ExitStack() as stack:
            if in_terminal:
                try:
                    stack.enter_context(self._lent_terminal(job))
                except SuspendNotSupported:
                    job.problem = "this terminal cannot be lent to a destination: run it without a screen"
            if not job.problem:
                work = job.start()
                try:
                    await asyncio.wait([work])
                finally:
                    if not work.done():  # we are ended: before anything else is drawn, the destination is
                        job.end()
                        await asyncio.wait([work])
        if not self.going:
            self._ticks.pause()
        if (kept := job.kept_state) is not None:
            id, state = kept

            def note(tasks: TaskList) -> None:
                if id in tasks:  # nobody has removed it meanwhile
                    tasks.edit(id, state=state)

            await self._changed(note)
        self._job_changed(job)
        self.show()

    @contextlib.contextmanager
    def _lent_terminal(self, job: Job) -> Iterator[None]:
        """The terminal is the destination's: we draw nothing and hear no keys. Of a new size it is told by us, as it is
        in a session of its own."""
        told = 0

        def tell_stop() -> None:
            """One that is stopped hears no keys, Ctrl-C neither: we do. If it goes on it draws its screen anew."""
            nonlocal told
            if job.is_stopped and job.stops > told:
                clear(f"mmf tasks: the destination is {job.message}; Ctrl-C ends it\r\n")
            told = job.stops

        def borrower() -> int | None:
            return None if job.is_over else job.pid

        with self.app.batch_update(), self.app.suspend(), lent(borrower, job.cancel) as clear:
            self._tell_stop = tell_stop
            try:
                yield
            finally:
                self._tell_stop = None

    def _job_changed(self, job: Job) -> None:
        if self._tell_stop is not None:
            self._tell_stop()
        for panel in self.query(RunPanel) if self.is_mounted else ():
            if panel.job is job:
                panel.show()
        if job.is_over:
            self.show()

    def _show_times(self) -> None:
        for panel in self.query(RunPanel):
            if not panel.job.is_over:
                panel.show()

    def _close(self, panel: RunPanel) -> None:
        self.jobs.remove(panel.job)
        panel.remove()
        self.set_class(bool(self.jobs), "has-runs")
        self._table.focus()

    def action_cancel(self) -> None:
        """Cancels the run of the task under the cursor; or the last one, if that does not run."""
        going, task = self.going, self.current
        mine = [job for job in going if task is not None and job.task.id == task.id]
        if mine or going:
            (mine or going)[-1].cancel()

    def action_end(self) -> None:
        if not self._is_ending:
            self._leave()

    @work(exclusive=True, group="leave")
    async def _leave(self) -> None:
        """Ends the screen; asks first, if destinations are at work."""
        number = len(self.going)
        if number:
            what = "A run is going: leaving ends it." if number == 1 else f"{number} runs are going: leaving ends them."
            if not await self.app.push_screen_wait(Confirm(what, "End and quit")):
                return
        self._is_ending = True
        await self._end_all(PATIENCE)
        await asyncio.gather(*(each.wait() for each in self._followed), return_exceptions=True)
        self.app.exit()

    async def _end_all(self, patience: float) -> None:
        """Ends all destinations; those that do not end by themselves are ended."""
        for job in self.going:
            job.cancel()
        works = [job.work for job in self.jobs if job.work is not None and not job.work.done()]
        if works:
            await asyncio.wait(works, timeout=patience)
            for job in self.going:
                job.end()
            await asyncio.gather(*works, return_exceptions=True)

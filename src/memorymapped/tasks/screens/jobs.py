# SPDX-License-Identifier: MIT
"""A run of a destination, from its start to what came of it, in words. Nothing here draws."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterable, Sequence

from ...cli.task_words import outcome_in_words, safe
from ...system.children import Output
from ..commands import Tail
from ..model import Task
from ..source import Report, Run, state_after

__all__ = ["Job"]

_PRINTED = 16_384  # bytes of what a destination prints that are kept


class Job:
    """A destination for `task`: `told` is called when anything of it has changed. One that `has_screen` is open there
    until its user has chosen a task, this one or another, and that was run; before its answer it tells nothing."""

    def __init__(
        self,
        tasks: Iterable[Task],
        task: Task,
        command: Sequence[str],
        told: Callable[[Job], object],
        *,
        has_screen: bool = False,
        place: str = "",
    ) -> None:
        """`place` of its screen, if that is not its own affair: our "terminal", or a "window" of its own. DocumentError
        if there are too many tasks to be handed over."""
        self.task = task
        self.has_screen = has_screen
        self.begin = time.monotonic()
        self.report: Report | None = None
        self.problem = ""  # why it could not be tried at all
        self._is_asked_to_end = self._is_ended = False
        self._told = told
        self._printed = Tail(_PRINTED)
        self._pipe = None if place else Output()
        output = None if self._pipe is None else self._pipe.descriptor
        try:
            self._run = Run(tasks, command, output=output, window=place == "window", told=lambda _: told(self))
        except BaseException:
            self._close_pipe()
            raise
        self.work: asyncio.Task[None] | None = None

    @property
    def is_over(self) -> bool:
        """Whether the destination has ended."""
        return self.report is not None or bool(self.problem) or self._is_ended

    @property
    def seconds(self) -> float:
        """Since the start, or between that and the end."""
        answer = self._run.answer
        if answer is not None:
            return answer.result.seconds
        return time.monotonic() - self.begin if self.report is None else self.report.seconds

    @property
    def is_stopped(self) -> bool:
        """Whether the process is stopped."""
        return not self.is_over and self._run.stopped is not None

    @property
    def stops(self) -> int:
        """How often the process was stopped. Of one that goes on and is stopped again at once nothing else tells."""
        return self._run.stops

    @property
    def pid(self) -> int | None:
        """Of the destination; None if it is not started."""
        return self._run.pid

    @property
    def progress(self) -> float | None:
        """How much of the time is over that the task is thought to take; less than 1 until it has answered. None: who
        knows whether it was begun."""
        if self.is_over or self._run.answer is not None:
            return 1.0
        if self.has_screen:
            return None
        return min(0.99, self.seconds / self.task.duration) if self.task.duration else 0.99

    @property
    def state(self) -> str:
        """In a word: running (with a screen: open), stopped, ending, or how it has ended: an outcome, or an ending of a
        Report."""
        answer = self._run.answer
        if answer is not None and (self.report is None or self.report.ending == "answered"):
            return "took too long" if answer.result.outcome == "timedOut" else answer.result.outcome
        if self.problem:
            return "not started"
        if self._was_cancelled:
            return "cancelled"
        if self.report is not None:
            return {"silent": "no answer", "unstartable": "not started"}.get(self.report.ending, self.report.ending)
        if self._run.stopped is not None:
            return "stopped"
        return "ending" if self._is_asked_to_end else "open" if self.has_screen else "running"

    @property
    def _was_cancelled(self) -> bool:
        """Whether it has ended because we wanted it to, before it could answer that."""
        report = self.report
        return self._is_ended or (report is not None and self._is_asked_to_end and report.signal == signal.SIGTERM)

    @property
    def _was_left(self) -> bool:
        """Whether the user has left its screen without running a task, which is answered; or never had that screen."""
        answer = self._run.answer
        if answer is None:
            return self.has_screen and self.report is not None and self.report.ending == "crashed"
        return self.has_screen and answer.result.outcome == "cancelled" and answer.result.seconds == 0

    @property
    def kept_state(self) -> tuple[str, str] | None:
        """The id of the task that was run, and its state in the list from now on; None if none was run."""
        answer, report = self._run.answer, self.report
        if self._was_left:
            return None
        if answer is None and self._was_cancelled:
            return self.task.id, "cancelled"
        if report is None or (answer is None and report.ending in ("silent", "unstartable")):
            return None
        return (self.task.id if answer is None else answer.details.id), state_after(report)

    @property
    def title(self) -> str:
        """Of the task that was run, as far as it is known."""
        answer = self._run.answer
        return safe(self.task.title if answer is None else answer.details.title)

    @property
    def message(self) -> str:
        """What there is to say, in a line; empty if the state says it."""
        if self.problem:
            return safe(self.problem)
        if self._is_ended:
            return f"process {self.pid} was ended"
        if self.report is not None and self.report.ending != "answered":
            return safe(self.report.message)
        if self._run.stopped is not None:
            return f"stopped by signal {self._run.stopped}: SIGCONT to process {self.pid} has it go on"
        answer = self._run.answer
        return "" if answer is None or answer.result.message == "cancelled" else safe(answer.result.message)

    @property
    def output(self) -> str:
        """What the task has printed, behind what the destination itself has."""
        answer = self._run.answer
        texts = [self._printed.text, "" if answer is None else answer.result.output]
        return "\n".join(safe(text, lines=True).rstrip() for text in texts if text.strip())

    @property
    def in_words(self) -> str:
        """What came of it."""
        return outcome_in_words(self.title, self.state, self.seconds, self.message, "")

    def start(self) -> asyncio.Task[None]:
        """Begins; the task ends when the destination has, and never by an exception of its own."""
        self.work = asyncio.ensure_future(self._run_it())
        return self.work

    def cancel(self) -> None:
        """Asks the destination to end; asked again, it is ended."""
        if self._is_asked_to_end:
            self.end()
        elif not self.is_over:
            self._is_asked_to_end = True
            self._run.cancel()
            self._told(self)

    def end(self) -> None:
        """Ends the destination, whatever it does."""
        if self.work is not None and not self.work.cancelling():  # a second time would cut its end short
            self.work.cancel()

    async def _run_it(self) -> None:
        try:
            async with self._hearing_what_it_prints():
                self.report = await self._run.run()
        except OSError as error:  # no room, no more descriptors or processes
            self.problem = f"the tasks cannot be handed over: {error}"
        except asyncio.CancelledError:
            self._is_ended = True
            raise
        finally:
            self._told(self)

    @contextlib.asynccontextmanager
    async def _hearing_what_it_prints(self) -> AsyncIterator[None]:
        if self._pipe is None:
            yield
            return
        try:
            async with self._pipe.heard(self._hear):
                yield
        finally:
            self._close_pipe()

    def _hear(self, piece: bytes) -> None:
        self._printed.add(piece)
        self._told(self)

    def _close_pipe(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
            self._pipe = None

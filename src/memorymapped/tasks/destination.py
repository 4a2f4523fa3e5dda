# SPDX-License-Identifier: MIT
"""The destination: reads the tasks from segment 0, runs one of them, and writes segment 1.

A task with the parameter `command` is a command line, split as a shell does, and run without one, with `directory` and
`timeout` (seconds) if these are given. Any other task is simulated: it takes its duration, prints `prints`, and fails
at so many percent as `fail` says.

The source tells its process id by an environment variable. Who ends without waiting for its answer is noticed at once,
by a handle of that process: a process that got the number later has started later than this one."""

from __future__ import annotations

import asyncio
import errno
import time
from collections.abc import Callable, Sequence
from typing import Self

from ..enums import FileMode
from ..errors import MemoryMappedFileError
from ..shared.segments import SegmentFile
from ..system.children import Watched, signal_of
from ..system.customs import is_path, split_line
from .choosing import meant
from .commands import Tail, run_command
from .destination_format import PRIORITIES, OfferedTask, Outcome, read_tasks, write_answer
from .shapes import UnwritableError

__all__ = ["SOURCE", "Destination", "Execution", "NothingToRunError", "SourceGoneError", "choose"]

SOURCE = "MEMORYMAPPED_TASKS_SOURCE"
"""The environment variable with the process id of the source."""

PATIENCE = 10.0  # seconds for the tasks to be there: the source writes them before it starts us
_STEPS = 100  # of a simulated task
_SHORTEST = 0.02  # seconds of one of them


class SourceGoneError(MemoryMappedFileError, RuntimeError):
    """The source has ended, and nobody waits for the answer."""


class NothingToRunError(MemoryMappedFileError, LookupError):
    """No task, or more than one, is meant by what was given."""


class Destination:
    """One exchange, seen from here: `tasks`, and the segment file that takes the answer. A context manager that closes
    it."""

    def __init__(self, segments: SegmentFile, source: int | None = None) -> None:
        """`source`: its process id; None if it is not known, and then its end is not noticed."""
        self._segments = segments
        self._source: Watched | None = None
        try:
            if source is not None:
                self._source = _watched(source)
            if not segments.wait_for(0, PATIENCE):
                raise SourceGoneError(f"{segments!r} has no tasks after {PATIENCE:.0f} s")
            if segments.wait_for(1, 0):
                raise FileExistsError(errno.EEXIST, f"{segments!r} has its answer already: each has one destination")
            self.tasks, self.form = read_tasks(segments.read(0))
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, file_id: str, lock_name: str | None = None, source: int | None = None) -> Self:
        """The exchange with this id; or, of a source without named maps (.NET on Linux), with this path, and the
        name of its mutex. SourceGoneError if there is none; FileExistsError if it has its answer already;
        PermissionError, DocumentError and the like."""
        try:
            if is_path(file_id):
                segments = SegmentFile.create_from_file(file_id, FileMode.OPEN, lock_name=lock_name)
            else:
                segments = SegmentFile.open_existing(file_id, lock_name=lock_name, grow=True)
        except FileNotFoundError as error:
            raise SourceGoneError(f"there is no exchange {file_id!r}: its source has ended ({error})") from error
        return cls(segments, source)

    def answer(self, task: OfferedTask, outcome: Outcome) -> None:
        """Writes segment 1; of an output that makes it too long only the end. OSError (ENOSPC) if there is no room;
        ValueError if somebody has answered already."""
        while True:
            try:
                document = write_answer(task, outcome, self.form)
            except UnwritableError:
                if not outcome.output:
                    raise
                outcome.output, outcome.truncated = outcome.output[len(outcome.output) // 2 + 1 :], True
            else:
                self._segments.write(1, document)
                return

    async def run(self, execution: Execution, *, go_on: bool = False) -> Outcome:
        """Runs a task to its end, and answers. SourceGoneError if the source ends before: the task is cancelled then,
        unless it is to `go_on`, and nothing is written."""
        work = asyncio.ensure_future(execution.run())
        watch = None if self._source is None or go_on else asyncio.ensure_future(self._source.until_ended())
        both = [each for each in (work, watch) if each is not None]
        try:
            await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            if not work.done():
                raise SourceGoneError("the source has ended: the task was cancelled, and nobody gets an answer")
            outcome = work.result()
        finally:
            for each in both:
                each.cancel()
            await asyncio.gather(*both, return_exceptions=True)
        self.answer(execution.task, outcome)
        return outcome

    async def until_source_ends(self) -> None:
        """Until the source has ended; for ever, if it is not known. Not while a task runs: then `run` watches it."""
        if self._source is None:
            await asyncio.Event().wait()
        else:
            await self._source.until_ended()

    def close(self) -> None:
        """Ends it here."""
        self._segments.close()
        if self._source is not None:
            self._source.close()
            self._source = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _watched(source: int) -> Watched:
    """SourceGoneError if it has ended, even where another process has its number now."""
    try:
        return Watched(source)
    except ProcessLookupError:
        raise SourceGoneError(f"the source, process {source}, has ended") from None


def choose(tasks: Sequence[OfferedTask], given: str | None = None) -> OfferedTask:
    """The task that is meant by its id, its title, its number (from 1), or a beginning of id or title. None: the most
    urgent of those that wait, and the first of these. NothingToRunError."""
    if given is None:
        waiting = [task for task in tasks if task.state == "waiting"]
        if not waiting:
            raise NothingToRunError(f"none of the {len(tasks)} tasks is waiting")
        return max(waiting, key=lambda task: PRIORITIES.index(task.priority))
    found = meant(tasks, given)
    if len(found) != 1:
        there = ", ".join(repr(task.title) for task in (found or tasks)[:10])
        what = "no task is" if not found else "more than one task is"
        raise NothingToRunError(f"{what} meant by {given!r:.80}: there are {there or 'none'}")
    return found[0]


class Execution:
    """A task at work: `progress` from 0 to 1 (None: it cannot be known), `output` so far; `told` is called when either
    has changed. `cancel` ends it early."""

    def __init__(self, task: OfferedTask, told: Callable[[Execution], object] = lambda _: None) -> None:
        self.task = task
        self.progress: float | None = 0.0
        self._output = Tail()
        self._told = told
        self._is_cancelled = False
        self._work: asyncio.Future[Outcome] | None = None

    @property
    def output(self) -> str:
        """What it has printed so far; the end of it, if that is much."""
        return self._output.text

    def cancel(self) -> None:
        """Ends it, soon: its outcome is "cancelled"."""
        self._is_cancelled = True
        if self._work is not None:
            self._work.cancel()

    async def run(self) -> Outcome:
        """Runs it; how it ended. Once."""
        begin = time.monotonic()
        self._work = asyncio.ensure_future(self._command() if "command" in self.task.parameters else self._simulated())
        if self._is_cancelled:
            self._work.cancel()
        try:
            await asyncio.wait([self._work])
        finally:  # we are cancelled ourselves
            self._work.cancel()
            await asyncio.gather(self._work, return_exceptions=True)
        outcome = Outcome("cancelled", 0.0, message="cancelled") if self._work.cancelled() else self._work.result()
        outcome.seconds = round(time.monotonic() - begin, 6)
        outcome.output, outcome.truncated = self.output, self._output.truncated
        return outcome

    def _at(self, progress: float | None) -> None:
        self.progress = progress
        self._told(self)

    async def _simulated(self) -> Outcome:
        given, duration = self.task.parameters, self.task.duration
        try:
            fails = _not_negative(given["fail"]) if "fail" in given else None
        except ValueError:
            return Outcome("failed", 0.0, message=f"the parameter fail is a percentage, not {given['fail']!r:.80}")
        self._output.add(given.get("prints", "").encode())
        loop = asyncio.get_running_loop()
        begin, steps = loop.time(), max(1, min(_STEPS, int(duration / _SHORTEST)))
        for step in range(1, steps + 1):
            await asyncio.sleep(begin + duration * step / steps - loop.time())
            self._at(step / steps)
            if fails is not None and step / steps * 100 >= fails:
                return Outcome("failed", 0.0, message=f"failed at {step / steps:.0%}, as it was to")
        return Outcome("succeeded", 0.0)

    async def _command(self) -> Outcome:
        given = self.task.parameters
        try:
            arguments = split_line(given["command"])
            timeout = _not_negative(given["timeout"]) if "timeout" in given else None
            if not arguments:
                raise ValueError("it is empty")
        except ValueError as error:
            return Outcome("failed", 0.0, message=f"the command cannot be run so: {error}"[:1000])
        self._at(None)
        try:
            code = await run_command(
                arguments,
                self._output,
                directory=given.get("directory"),
                timeout=timeout,
                told=lambda: self._told(self),
            )
        except (OSError, ValueError) as error:  # ValueError: a NUL in an argument
            return Outcome("failed", 0.0, message=f"the command cannot be run: {error}"[:1000])
        self._at(1.0)
        if code is None:
            return Outcome("timedOut", 0.0, message=f"ended after its time-out of {timeout:g} s")
        if (signum := signal_of(code)) is not None:
            return Outcome("failed", 0.0, message=f"ended by signal {signum}", signal=signum)
        message = f"exit code {code}"
        return Outcome("failed" if code else "succeeded", 0.0, message=message if code else "", exit_code=code)


def _not_negative(text: str) -> float:
    """A number that is not below 0, and no NaN, with which nothing can be compared. ValueError."""
    number = float(text)
    if not number >= 0:
        raise ValueError(f"expected a number of at least 0, not {text!r:.80}")
    return number

# SPDX-License-Identifier: MIT
"""The source: starts destinations and hears what came of them.

    source                                   segment file (memory; GUID)            destination
      | creates it, writes the tasks  ------> segment 0: tasks
      | starts the program, with the id on its command line ---------------------------> reads them, runs one
      | sleeps until one of two:
      |    - segment 1 is there <------------ segment 1: answer <----------------------- answers
      |    - the process ends (pidfd) <------------------------------------------------- ends
      | closes it; what was left of the process is gone

A run is a coroutine, so any number of them is at work in one thread, which sleeps meanwhile. However it ends, by an
answer, by the end of the process, by a time-out, or because it is cancelled: the process, and all in its session, have
ended and are reaped, and the map and the mutex are gone. If the source itself is killed, the kernel drops its part of
the map, and the destination is told by a pidfd of the source (see `destination`)."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Sequence

from ..errors import DamagedObjectError, MemoryFaultError
from ..record import Record
from ..shared.segments import SegmentFile, unique_id
from ..system import Backing
from ..system.children import Child, hearing_of_stops, how_ended, signal_of, start_alone
from .model import Answer, Task
from .processes import PATIENCE
from .shapes import LONGEST, DocumentError
from .source_format import read_answer, write_tasks

__all__ = ["ENDINGS", "WORKER", "Report", "Run", "state_after"]

WORKER = (sys.executable, "-P", "-m", "memorymapped", "tasks-worker", "--no-screen", "--quiet", "{id}")
"""The command of our own destination."""

SOURCE = "MEMORYMAPPED_TASKS_SOURCE"
# Bytes for the answer, which is at most 100,000 characters and the parameters, and hardly ever that.
ROOM = 1 << 20 if Backing.memory_grows else 2 * LONGEST
LARGEST = 64 << 20  # bytes of an exchange
LINGER = 5.0  # seconds for a destination to end that has answered

ENDINGS = {
    "answered": "it has answered",
    "silent": "it ended without an answer",
    "crashed": "it ended with an exit code other than 0, and without an answer",
    "killed": "it was killed by a signal, without an answer",
    "unreadable": "its answer cannot be read",
    "timeout": "it did not answer in time, and was ended; its answer to that may be there",
    "unstartable": "it could not be started",
}


class Report(Record):
    """What came of a run: its `ending`, one of ENDINGS, and the `answer` if there is one; how the process has ended."""

    __slots__ = {
        "answer": "An Answer; None if there is none that can be read.",
        "ending": "One of ENDINGS.",
        "exit_code": "Of the process; None if a signal ended it, or it was never started.",
        "file_id": "Of the exchange.",
        "message": "All of that in a line.",
        "pid": "Of the process; None if it was never started.",
        "seconds": "From the start to the end of the process.",
        "signal": "That ended the process; None if none did.",
    }

    def __init__(
        self,
        ending: str,
        message: str,
        file_id: str,
        *,
        answer: Answer | None = None,
        pid: int | None = None,
        code: int | None = None,
        seconds: float = 0.0,
    ) -> None:
        self.ending = ending
        self.message = message
        self.file_id = file_id
        self.answer = answer
        self.pid = pid
        self.signal = None if code is None else signal_of(code)
        self.exit_code = code if self.signal is None else None
        self.seconds = seconds

    @property
    def succeeded(self) -> bool:
        """Whether the task was run, and has succeeded."""
        return self.answer is not None and self.answer.result.outcome == "succeeded"


class Run:
    """A destination for some tasks: `await run.run()` starts it and returns the Report. Meanwhile `pid`, `stopped`
    (the signal by which the process is stopped, by Ctrl-Z or a debugger, or None) and `stops` (how often it was) tell
    what is known, `told` is called when that, or `answer`, has changed, and `cancel` asks it to end early: it answers
    that its task was cancelled.

    `command`: of the destination, in whose words {id}, {path} and {lock} stand for the id of the exchange, its file,
    which programs without named maps can map, and the name of its mutex; without any of them the id is put behind it.
    With {lock} the mutex is one that .NET can open on Linux. `form`: "xml" or "json". `timeout`: seconds until the
    answer; None waits for ever. `linger`: seconds until the process has ended by itself after its answer. `output`: the
    descriptor for what it prints; that of our errors, as our output may be for a program. None: it has our terminal,
    for its own screen; or a `window` of its own, where the system has such."""

    def __init__(
        self,
        tasks: Iterable[Task],
        command: Sequence[str] = WORKER,
        *,
        form: str = "xml",
        timeout: float | None = None,
        linger: float | None = LINGER,
        output: int | None = 2,
        window: bool = False,
        told: Callable[[Run], object] = lambda _: None,
    ) -> None:
        self.file_id = unique_id()
        self.pid: int | None = None
        self.stopped: int | None = None
        self.stops = 0
        self.answer: Answer | None = None
        tasks = list(tasks)
        self._offered = {task.id for task in tasks}
        self._document = write_tasks(tasks, form)
        self._command = list(command)
        self._timeout = timeout
        self._linger = linger
        self._output = output
        self._window = window
        self._told = told
        self._child: Child | None = None
        self._is_cancelled = False

    def cancel(self) -> None:
        """Asks the process to end; `run` goes on until it has. One that does not is ended by the time-out, or by the
        cancellation of the task that awaits `run`."""
        self._is_cancelled = True
        if self._child is not None:
            self._child.ask_to_end()

    async def run(self) -> Report:
        """Runs it to its end. OSError if there is no room for the exchange."""
        begin = time.monotonic()
        with SegmentFile.create_new(
            len(self._document.encode("utf-16-le")) + ROOM,
            self.file_id,
            lock_name=self._lock_name(),
            grow=True,
            max_capacity=LARGEST,
        ) as segments:
            segments.write(0, self._document)
            try:
                child = self._start(segments)
            except OSError as error:
                return Report("unstartable", f"{self._command[0]!r} cannot be started: {error}", self.file_id)
            with child, hearing_of_stops(self.look_at_stops):
                report = await self._until_the_end(segments, child)
            report.seconds = round(time.monotonic() - begin, 6)
            return report

    def _lock_name(self) -> str | None:
        """.NET knows no mutexes of a user, and a session of its own is none of ours."""
        is_for_dotnet = any("{lock}" in word for word in self._command)
        return f"Global\\MmFile-mutex-{self.file_id}" if is_for_dotnet else None

    def _start(self, segments: SegmentFile) -> Child:
        given = {"{id}": self.file_id, "{path}": segments.path or "", "{lock}": segments.lock_name or ""}
        words = list(self._command)
        if not segments.path and any("{path}" in word for word in words):
            raise OSError("it is to get a {path}, and memory has none here: its name is {id}")
        for mark, value in given.items():
            words = [word.replace(mark, value) for word in words]
        if words == self._command:
            words.append(self.file_id)
        child = self._child = start_alone(
            words,
            window=self._window,
            stdin=None if self._output is None else subprocess.DEVNULL,
            stdout=self._output,
            stderr=self._output,
            env={**os.environ, SOURCE: str(os.getpid())},
        )
        self.pid = child.pid
        if self._is_cancelled:
            self.cancel()
        self._told(self)
        return child

    async def _until_the_end(self, segments: SegmentFile, child: Child) -> Report:
        """Sleeps until there is an answer or the process has ended, or time is over; then ends what is left of it."""
        ended = asyncio.ensure_future(child.until_ended())
        answered = asyncio.ensure_future(segments.wait_for_async(1))
        try:
            async with asyncio.timeout(self._timeout):
                await asyncio.wait([ended, answered], return_when=asyncio.FIRST_COMPLETED)
            is_late = False
            if answered.done() and not ended.done():
                self._take(segments)
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(self._linger):
                        await asyncio.wait([ended])
        except TimeoutError:
            is_late = True
        finally:
            answered.cancel()
            is_left = not ended.done()
            if is_left:
                await self._end(child, ended)
            await asyncio.gather(ended, answered, return_exceptions=True)
        child.reap()
        return self._reported(segments, child, is_late, is_left)

    async def _end(self, child: Child, ended: asyncio.Future[None]) -> None:
        """Asks it to end, and waits for that; SIGKILL, also for what it has started, follows."""
        try:
            child.ask_to_end()
            await asyncio.wait([ended], timeout=PATIENCE)
        finally:
            ended.cancel()

    def _take(self, segments: SegmentFile) -> str | None:
        """Reads the answer, if it is there. What is wrong with it, or None."""
        if self.answer is not None:
            return None
        try:
            if not segments.wait_for(1, 0):
                return "there is none"
            answer = read_answer(segments.read(1))
        # UnicodeDecodeError: bytes that are no UTF-16. The others: a length that leads nowhere, a file that was cut.
        except (DocumentError, UnicodeDecodeError, DamagedObjectError, MemoryFaultError) as error:
            return str(error)
        if answer.details.id not in self._offered:
            return f"it is about the task {answer.details.id!r}, which was not offered"
        self.answer = answer
        self._told(self)
        return None

    def _reported(self, segments: SegmentFile, child: Child, is_late: bool, is_left: bool) -> Report:
        code = child.code
        assert code is not None
        problem = self._take(segments)
        who = f"the destination (process {child.pid})"
        if is_late:
            ending, message = "timeout", f"{who} did not answer within {self._timeout:g} s and was ended"
        elif problem is None:
            ending, message = "answered", f"{who} has answered{', and was ended, as it went on' if is_left else ''}"
        elif problem != "there is none":
            ending, message = "unreadable", f"the answer of {who} cannot be read: {problem}"
        elif signal_of(code) is not None:
            ending, message = "killed", f"{who} {how_ended(code)}, without an answer"
        elif code:
            ending, message = "crashed", f"{who} {how_ended(code)}, without an answer"
        else:
            ending, message = "silent", f"{who} ended without an answer"
        return Report(ending, message, self.file_id, answer=self.answer, pid=child.pid, code=code)

    def look_at_stops(self) -> None:
        """Asks the kernel whether the process was stopped, or goes on."""
        for stopped in () if self._child is None else self._child.stops():
            self.stopped = stopped
            self.stops += stopped is not None
            self._told(self)


def state_after(report: Report) -> str:
    """The state of the task that was run: one of STATES."""
    outcome = None if report.answer is None else report.answer.result.outcome
    return {"succeeded": "succeeded", "cancelled": "cancelled"}.get(outcome or "", "failed")

# SPDX-License-Identifier: MIT
"""The runs of `mmf tasks run`, apart from the command, as most of `mmf tasks` needs no asyncio."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

from ..tasks import store
from ..tasks.model import Task, TaskList
from ..tasks.shapes import DocumentError
from ..tasks.source import WORKER, Report, Run, state_after
from .ending import Failure
from .task_ends import GONE, OF_OUTCOME, TIMED_OUT, UNREADABLE, hearing_signals
from .task_words import outcome_in_words, safe

__all__ = ["run_all"]

OF_ENDING = {"unreadable": UNREADABLE, "timeout": TIMED_OUT}


def run_all(
    tasks: TaskList,
    chosen: list[Task | None],
    command: list[str] | None,
    form: str,
    timeout: float | None,
    jobs: int,
    kept: Path | None,
    as_json: bool,
) -> tuple[list[int], int | None]:
    """Runs a destination for each chosen task (None: it chooses), and prints what came of it. The exit codes; and the
    signal that has ended them early, if one has. `kept`: the list in which the states are noted."""

    progress = ["--no-progress"] if len(chosen) > 1 and jobs > 1 else []  # several would draw on one line

    async def one(task: Task | None, turn: asyncio.Semaphore) -> int:
        if command is None:
            offered, words = tasks, [*WORKER, *progress, *([] if task is None else [f"--select={task.id}"])]
        else:  # another program knows no --select: it is offered what it is to run, and that waits
            offered, words = (tasks if task is None else TaskList([task.edited(state="waiting")])), command
        async with turn:
            try:
                report = await Run(offered, words, form=form, timeout=timeout, told=_tell_stops()).run()
            except OSError as error:
                raise Failure(f"the tasks cannot be handed over: {error}") from error
        try:
            if kept is not None:  # first: who reads the output may be gone, and the task has been run all the same
                _keep(kept, task, report)
        except (OSError, DocumentError) as error:
            raise Failure(f"what became of the task cannot be kept: {error}") from error
        finally:
            _print(report, task, as_json)
        return _code(report)

    async def all_of_them() -> tuple[list[int], int | None]:
        turn = asyncio.Semaphore(jobs)
        runs = [asyncio.ensure_future(one(task, turn)) for task in chosen]
        with hearing_signals(lambda: [each.cancel() for each in runs]) as heard:
            try:
                done, _ = await asyncio.wait(runs, return_when=asyncio.FIRST_EXCEPTION)
            finally:
                for each in runs:
                    each.cancel()
                ended = await asyncio.gather(*runs, return_exceptions=True)
        if heard:
            return [], heard[0]
        for each in done:
            each.result()  # what went wrong: the others were only cancelled then
        return [code for code in ended if isinstance(code, int)], None

    return asyncio.run(all_of_them())


def _tell_stops() -> Any:
    before: int | None = None

    def tell(run: Run) -> None:
        nonlocal before
        if run.stopped != before:
            before = run.stopped
            how = "goes on" if before is None else f"is stopped (signal {before}); SIGCONT has it go on"
            print(f"mmf tasks: the destination (process {run.pid}) {how}", file=sys.stderr, flush=True)

    return tell


def _code(report: Report) -> int:
    if report.answer is not None and report.ending == "answered":
        return OF_OUTCOME[report.answer.result.outcome]
    return OF_ENDING.get(report.ending, GONE)


def _keep(path: Path, task: Task | None, report: Report) -> None:
    id = task.id if task is not None else report.answer.details.id if report.answer is not None else None
    with store.opened(path) as tasks:
        if id is not None and id in tasks:  # nobody has removed it meanwhile
            tasks.edit(id, state=state_after(report))


def _print(report: Report, task: Task | None, as_json: bool) -> None:
    answer = report.answer
    if as_json:
        print(json.dumps(_plain(report, task)), flush=True)
        return
    if report.ending != "answered":
        what = "" if task is None else f"{safe(task.title)}: "
        print(f"mmf tasks: {what}{safe(report.message)}", file=sys.stderr, flush=True)
    if answer is not None:
        result = answer.result
        said = (answer.details.title, result.outcome, result.seconds, result.message, result.output)
        print(outcome_in_words(*said), flush=True)


def _plain(report: Report, task: Task | None) -> dict[str, Any]:
    answer = report.answer
    result = None if answer is None else answer.result
    details = task if answer is None else answer.details
    return {
        "ending": report.ending,
        "message": report.message,
        "task": None
        if details is None
        else {name: getattr(details, name) for name in ("id", "title", "duration", "parameters")},
        "result": None
        if result is None
        else {
            "outcome": result.outcome,
            "seconds": result.seconds,
            "output": result.output,
            "truncated": result.truncated,
            "message": result.message,
            "exitCode": result.exit_code,
            "signal": result.signal,
        },
        "process": {
            "pid": report.pid,
            "exitCode": report.exit_code,
            "signal": report.signal,
            "seconds": report.seconds,
        },
    }

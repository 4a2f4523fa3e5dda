# SPDX-License-Identifier: MIT
"""`mmf tasks-worker`: the destination: at a terminal with a screen."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence

import click

from ..errors import DamagedObjectError, MemoryFaultError
from ..tasks.destination import SOURCE, Destination, Execution, NothingToRunError, SourceGoneError, choose
from ..tasks.destination_format import OfferedTask, Outcome
from ..tasks.shapes import DocumentError, UnwritableError
from .ending import Failure
from .showing import screen_fits
from .task_ends import CODES, GONE, NO_TASK, OF_OUTCOME, UNREADABLE, hearing_signals
from .task_words import outcome_in_words, parameters, safe

__all__ = ["command"]

EPILOG = f"""\b
Examples:
  mmf tasks-worker 0b51c2d4-...
  mmf tasks-worker 0b51c2d4-... --select Build --set jobs=4 --duration 20
  mmf tasks-worker /dev/shm/MmFile-0b51... --lock 'Global\\MmFile-mutex-0b51...'

ID is what the source puts on the command line: of a segment file, in which the tasks are segment 0 and the answer is
segment 1. Of a source in C# on Linux it is the path of that file, and --lock the name of its mutex.

SIGTERM and Ctrl-C cancel the task; that is answered too. If the source ends first, the task is cancelled.

{CODES}"""


@click.command("tasks-worker", short_help="Runs a task for another process.", epilog=EPILOG)
@click.argument("file_id", metavar="ID")
@click.option("--select", metavar="TASK", help="Title, id or number.  [default: the most urgent one that waits]")
@click.option("--set", "given", multiple=True, metavar="NAME=TEXT", help="Change or add a parameter; empty: leave out.")
@click.option("--duration", type=float, metavar="SECONDS", help="How long it takes.")
@click.option("--lock", metavar="NAME", help="The mutex of the source, where it is not ours.")
@click.option("--go-on", is_flag=True, help="Finish the task though the source has ended.")
@click.option("--no-screen", is_flag=True, help="At a terminal, too: choose by the options, ask nothing.")
@click.option("--no-progress", is_flag=True, help="At a terminal, too: do not show how far the task is.")
@click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
@click.option("--json", "as_json", is_flag=True, help="Print the result as one line of JSON.")
def command(
    file_id: str,
    select: str | None,
    given: tuple[str, ...],
    duration: float | None,
    lock: str | None,
    go_on: bool,
    no_screen: bool,
    no_progress: bool,
    quiet: bool,
    as_json: bool,
) -> int:
    """Reads the tasks of the exchange ID, runs one of them, and writes its result back.

    A task with the parameter command is run as a command line; any other is simulated. At a terminal there is a screen,
    to choose it and to configure it, which begins with what the options say."""
    has_screen = not (no_screen or quiet or as_json) and screen_fits("tasks-worker")
    changes = parameters(given)
    source = os.environ.pop(SOURCE, "")
    try:
        with Destination.open(file_id, lock, int(source) if source.isascii() and source.isdecimal() else None) as offer:
            try:
                task = _chosen(offer.tasks, select, asks=has_screen).configured(duration, changes)
            except ValueError as error:
                raise click.UsageError(str(error)) from None
            if has_screen:
                from ..tasks.screens import destination

                task, outcome = destination.run(offer, task, go_on=go_on)
            else:
                outcome = asyncio.run(_run(offer, task, go_on, shows=not no_progress))
    except NothingToRunError as error:
        raise Failure(str(error), NO_TASK) from None
    except UnwritableError as error:
        raise Failure(f"the answer cannot be written: {error}") from None
    except (DocumentError, UnicodeDecodeError, DamagedObjectError, MemoryFaultError) as error:
        raise Failure(f"the tasks cannot be read: {error}", UNREADABLE) from None
    except SourceGoneError as error:
        raise Failure(str(error), GONE) from None
    except (OSError, ValueError) as error:
        raise Failure(str(error)) from error
    if as_json:
        print(json.dumps(_plain(task, outcome)))
    elif not quiet and not has_screen:
        print(outcome_in_words(task.title, outcome.outcome, outcome.seconds, outcome.message, outcome.output))
    return OF_OUTCOME[outcome.outcome]


def _chosen(tasks: Sequence[OfferedTask], given: str | None, *, asks: bool) -> OfferedTask:
    """What the options mean. Where the user is asked, any of them will do to begin with."""
    if asks and given is None and tasks and not any(task.state == "waiting" for task in tasks):
        return tasks[0]
    return choose(tasks, given)


async def _run(offer: Destination, task: OfferedTask, go_on: bool, *, shows: bool) -> Outcome:
    execution = Execution(task, _show if shows and sys.stderr.isatty() else lambda _: None)
    with hearing_signals(execution.cancel):
        return await offer.run(execution, go_on=go_on)


def _show(execution: Execution) -> None:
    done = "at work" if execution.progress is None else f"{execution.progress:.0%}"
    end = "\n" if execution.progress == 1 else ""
    print(f"\r{safe(execution.task.title)}: {done}", end=end, file=sys.stderr, flush=True)


def _plain(task: OfferedTask, outcome: Outcome) -> dict[str, object]:
    return {
        "id": task.id,
        "title": task.title,
        "outcome": outcome.outcome,
        "seconds": outcome.seconds,
        "exitCode": outcome.exit_code,
        "signal": outcome.signal,
        "message": outcome.message,
        "output": outcome.output,
        "truncated": outcome.truncated,
    }

# SPDX-License-Identifier: MIT
"""`mmf signal`: sets a named event, or gives back to a named semaphore."""

from __future__ import annotations

import contextlib
import json

import click

from .. import EventWaitHandle
from ..errors import SemaphoreFullError
from .completing import complete_name
from .ending import Failure
from .targets import explained
from .wait import opened
from .words import shown

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf signal ready
  mmf signal ready --reset
  mmf signal slots --count 3

An event lives as long as somebody holds it: where nobody does, there is nobody to be told, and that is an error.
"""


@click.command("signal", short_help="Sets a named event.", epilog=EPILOG)
@click.argument("name", metavar="EVENT|SEMAPHORE", shell_complete=complete_name("event", "semaphore"))
@click.option("--reset", is_flag=True, help="Reset the event instead.")
@click.option("--count", type=click.IntRange(min=1), help="How many to give to a semaphore.  [default: 1]")
@click.option("--json", "as_json", is_flag=True, help="Say what was done, as JSON.")
def command(name: str, reset: bool, count: int | None, as_json: bool) -> None:
    """Sets an event: those who wait for it go on. Of a semaphore: adds to its count."""
    with contextlib.closing(opened(name)) as handle, explained(name):
        if isinstance(handle, EventWaitHandle):
            if count is not None:
                raise click.UsageError(f"{shown(name)} is an event: --count is for semaphores")
            done: dict[str, object] = {"kind": "event", "changed": handle.reset() if reset else handle.set()}
        else:
            if reset:
                raise click.UsageError(f"{shown(name)} is a semaphore: --reset is for events")
            try:
                done = {"kind": "semaphore", "before": handle.release(count or 1)}
            except SemaphoreFullError as error:
                raise Failure(f"{shown(name)}: {error}") from None
    if as_json:
        print(json.dumps({"name": name, **done}))

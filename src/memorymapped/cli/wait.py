# SPDX-License-Identifier: MIT
"""`mmf wait`: waits for named events, semaphores and mutexes."""

from __future__ import annotations

import contextlib
import json
import time

import click

from .. import EventResetMode, EventWaitHandle, Semaphore
from ..errors import WaitHandleCannotBeOpenedError, WaitHandleNotFoundError
from .completing import complete_name
from .ending import Failure
from .numbers import Seconds
from .objects import named
from .targets import explained
from .words import shown

__all__ = ["command", "opened"]

EPILOG = """\b
Examples:
  mmf wait ready
  mmf wait ready --timeout 10 && echo go
  mmf wait ready --create --timeout 60

One that resets itself is reset, of a semaphore one is taken. A name that nobody holds is an error, unless --create
makes an event of it, so that nobody needs to come first.

Exit code 0 it was signalled, 124 it was not in time, 1 another failure.
"""

NOT_IN_TIME = 124


@click.command("wait", short_help="Waits for a named event or semaphore.", epilog=EPILOG)
@click.argument("name", metavar="EVENT|SEMAPHORE", shell_complete=complete_name("event", "semaphore"))
@click.option("-w", "--timeout", type=Seconds(min=0), metavar="SECONDS", help="Wait no longer than this.")
@click.option("--create", is_flag=True, help="Make an event (reset by hand, not set) if there is none.")
@click.option("--json", "as_json", is_flag=True, help="Say how it went, as JSON.")
def command(name: str, timeout: float | None, create: bool, as_json: bool) -> int:
    """Waits until an event is set, or a semaphore has one to give."""
    begin = time.monotonic()
    with contextlib.closing(opened(name, create=create)) as handle, explained(name):
        done = handle.wait_one(timeout)
    if as_json:
        print(json.dumps({"name": name, "signalled": done, "seconds": round(time.monotonic() - begin, 6)}))
    elif not done:
        click.echo(f"mmf wait: {shown(name)}: not signalled within {timeout:g} s", err=True)
    return 0 if done else NOT_IN_TIME


def opened(name: str, *, create: bool = False) -> EventWaitHandle | Semaphore:
    """The event or semaphore of a name."""
    with explained(name):
        try:
            return EventWaitHandle.open_existing(name)
        except WaitHandleNotFoundError:
            if not create:
                raise Failure(f"{shown(name)}: {_instead(name)}") from None
            return EventWaitHandle(False, EventResetMode.MANUAL_RESET, name)
        except WaitHandleCannotBeOpenedError:
            try:
                return Semaphore.open_existing(name)
            except WaitHandleCannotBeOpenedError:
                raise Failure(f"{shown(name)}: {_instead(name)}") from None


def _instead(name: str) -> str:
    kinds = sorted({each.kind for each in named(name) if each.state != "stale"})
    return f"it is a {' and a '.join(kinds)}" if kinds else "nobody holds an event or a semaphore of this name"

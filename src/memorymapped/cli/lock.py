# SPDX-License-Identifier: MIT
"""`mmf lock`: runs a command while owning a named mutex, as flock(1) does for a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence

import click

from ..system.endings import OF_TERMINAL, SIGNALS, status_of
from ..system.ties import start_tied
from .completing import complete_name
from .ending import Failure, Interrupted
from .locking import NotInTime, locked
from .numbers import Seconds
from .words import shown

__all__ = ["command"]

EPILOG = """\b
Examples:
  mmf lock report -- python update.py
  mmf lock 'Global\\report' --timeout 5 -- make
  mmf lock report --nonblock -- ./nightly || echo busy

The mutex is the one that Mutex("report"), and new Mutex(false, "report") in C#, open: it is made if nobody has it.
COMMAND does not inherit it: it is given back when COMMAND ends, also if it is killed. If mmf itself is killed, COMMAND
is killed with it (what COMMAND has started is not), and the next one who takes the mutex is told so, if anybody has it
open then: else it has ended, as its memory has.

\b
Exit code: that of COMMAND; 128 + N if signal N ended it (if it came to mmf too, mmf ends by it as well, so that a loop
of the shell ends); 124 the mutex was not to be had in time; 125 another failure, also a mutex whose last owner died;
126 COMMAND cannot be executed; 127 there is none.
"""

NOT_IN_TIME, FAILED, NOT_EXECUTABLE, NOT_FOUND = 124, 125, 126, 127


@click.command(
    "lock",
    short_help="Runs a command while owning a named mutex.",
    epilog=EPILOG,
)
@click.argument("name", shell_complete=complete_name("mutex"))
@click.option("-w", "--timeout", type=Seconds(min=0), metavar="SECONDS", help="Wait no longer than this.")
@click.option("-n", "--nonblock", is_flag=True, help="Do not wait at all.")
@click.option("--recover", is_flag=True, help="Go on if the last owner died; COMMAND sees MMF_ABANDONED=1.")
@click.option("--json", "as_json", is_flag=True, help="At the end say on the standard error how it went, as JSON.")
@click.argument("words", nargs=-1, required=True, metavar="-- COMMAND [ARGUMENT]...", type=click.UNPROCESSED)
def command(
    name: str, timeout: float | None, nonblock: bool, recover: bool, as_json: bool, words: tuple[str, ...]
) -> int:
    """Takes the named mutex NAME, runs COMMAND, and gives the mutex back."""
    if nonblock:
        timeout = 0.0
    abandoned = False
    signals = _Signals()
    try:
        with locked(name, timeout, create=True, recover=recover) as died:
            abandoned = died is not None
            code = _run(words[1:] if words[:1] == ("--",) else words, abandoned, signals)
    except Failure as failure:
        print(f"mmf lock: {failure}", file=sys.stderr)
        code = NOT_IN_TIME if isinstance(failure, NotInTime) else max(failure.code, FAILED)  # 1 is COMMAND's
    if as_json:
        import json

        print(json.dumps({"name": name, "code": code, "abandoned": abandoned}), file=sys.stderr)
    if code - 128 in signals.came:
        raise Interrupted(code - 128)  # it ended COMMAND, and ends us: a loop of the shell ends with it
    return code


def _run(words: Sequence[str], abandoned: bool, signals: _Signals) -> int:
    if not words:
        raise click.UsageError("COMMAND is missing")
    # Of a mutex around us it says nothing about this one.
    environment = {name: value for name, value in os.environ.items() if name != "MMF_ABANDONED"}
    if abandoned:
        environment["MMF_ABANDONED"] = "1"
    with signals:
        try:
            process = start_tied(words, env=environment)
        except FileNotFoundError as error:
            raise Failure(f"{shown(words[0])}: there is no such command", NOT_FOUND) from error
        except OSError as error:
            raise Failure(f"{shown(words[0])}: {error.strerror}", NOT_EXECUTABLE) from error
        signals.pass_on_to(process)
        code = process.wait()
    return status_of(code)


class _Signals:
    """Inside, signals that would end us go to the command (those of our terminal go there by themselves), also those
    that come before it was started: the mutex is ours until it has ended as it likes."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.missed: list[int] = []
        self.came: set[int] = set()

    def __enter__(self) -> _Signals:
        # Functions, also where nothing is to be done: what is ignored would be ignored by the command, too.
        actions = {each: self._note if each in OF_TERMINAL else self._pass_on for each in SIGNALS}
        self.before = {each: signal.signal(each, action) for each, action in actions.items()}
        return self

    def __exit__(self, *exception: object) -> None:
        for each, action in self.before.items():
            signal.signal(each, action)

    def _note(self, signum: int, frame: object) -> None:
        self.came.add(signum)

    def _pass_on(self, signum: int, frame: object) -> None:
        self.came.add(signum)
        if self.process is None:
            self.missed.append(signum)
        else:
            self.process.send_signal(signum)

    def pass_on_to(self, process: subprocess.Popen[bytes]) -> None:
        self.process = process
        for signum in self.missed:
            process.send_signal(signum)

# SPDX-License-Identifier: MIT
"""How a command ends other than well: a failure that is told in one line, a signal that cleans up first."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from collections.abc import Iterator

from ..system.endings import SIGNALS, end_by

__all__ = ["Failure", "Interrupted", "end_output", "ended_by", "raising_at_signals"]


class Failure(Exception):
    """What went wrong, in a line for the user; exit code 1, or another that the command documents."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Interrupted(BaseException):
    """A signal asked the process to end. Not an Exception: nobody but the clean-up is to see it."""

    def __init__(self, signum: int) -> None:
        super().__init__(signum)
        self.signum = signum


def _raise(signum: int, frame: object) -> None:
    for each in SIGNALS:
        signal.signal(each, signal.SIG_IGN)  # one is enough: a second must not cut the clean-up short
    raise Interrupted(signum)


@contextlib.contextmanager
def raising_at_signals() -> Iterator[None]:
    """Inside, the first SIGINT, SIGTERM or SIGHUP raises Interrupted, and all later ones are ignored. What was ignored
    before (nohup, a job in the background) stays ignored."""
    before = {each: signal.getsignal(each) for each in SIGNALS}
    taken = [each for each, action in before.items() if action is not signal.SIG_IGN]
    for each in taken:
        signal.signal(each, _raise)
    ended = False
    try:
        yield
    except Interrupted:
        ended = True
        raise
    finally:
        for each in taken:
            if not ended:
                signal.signal(each, before[each] or signal.SIG_DFL)


def end_output() -> None:
    """Nobody takes our output any more: what is still in the buffer goes nowhere, instead of failing again at exit."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def ended_by(interruption: BaseException) -> int:
    """Says that the command was interrupted, and ends the process by the signal that did it."""
    signum = getattr(interruption, "signum", signal.SIGINT)
    for stream, text in ((sys.stdout, ""), (sys.stderr, "mmf: interrupted\n")):
        if stream is not None:
            with contextlib.suppress(OSError):
                stream.write(text)
                stream.flush()
    return end_by(signum)

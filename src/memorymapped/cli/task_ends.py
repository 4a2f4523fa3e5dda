# SPDX-License-Identifier: MIT
"""What `mmf tasks` and `mmf tasks-worker` have in common: exit codes, and signals in a loop of asyncio."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["CODES", "GONE", "NO_TASK", "OF_OUTCOME", "TIMED_OUT", "UNREADABLE", "hearing_signals"]

FAILED, CANCELLED, TIMED_OUT, NO_TASK, UNREADABLE, GONE = 3, 4, 5, 6, 7, 8
OF_OUTCOME = {"succeeded": 0, "failed": FAILED, "cancelled": CANCELLED, "timedOut": TIMED_OUT}

CODES = """\b
Exit codes:
  0  the task has succeeded
  1  the command could not do its work
  2  wrong usage
  3  the task has failed
  4  the task was cancelled
  5  the task, or the destination, took longer than its time-out
  6  no task, or more than one, is meant by what was given
  7  a document cannot be read: the tasks, or the answer
  8  the other side is gone: the destination without an answer, or the source
"""


@contextlib.contextmanager
def hearing_signals(end: Callable[[], object]) -> Iterator[list[int]]:
    """Inside, the first signal that asks us to end calls `end` in the running loop; its number is in the list then. An
    exception in the midst of the loop could be lost, and leave tasks at work. What was ignored stays ignored."""
    from ..system.endings import heard_in_loop  # most of `mmf tasks` needs none

    heard: list[int] = []

    def hear(signum: int) -> None:
        if not heard:
            heard.append(signum)
            end()

    with heard_in_loop(hear):
        yield heard

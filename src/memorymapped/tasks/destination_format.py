# SPDX-License-Identifier: MIT
"""The destination's documents: it reads the tasks and writes the answer.

It is written as if somebody else had written the source, from the schemas: it shares no class with that, only how XML
and JSON are read and written at all."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import OutOfRangeError
from ..record import Record
from . import documents
from .shapes import Choice, Document, DocumentError, Fields, Flag, Many, Number, Pairs, Shape, Text, Whole, Word

__all__ = ["PRIORITIES", "OfferedTask", "Outcome", "check_configuration", "read_tasks", "write_answer"]

PRIORITIES = ("low", "normal", "high", "urgent")

_CHOSEN: dict[str, Shape] = {
    "id": Word(64, 1, r"[A-Za-z0-9._-]+", "letters, digits, and . _ -"),
    "title": Text(200, 1, r"[^\0-\x1f\x7f-\x9f]*[^\0- \x7f-\x9f][^\0-\x1f\x7f-\x9f]*", "a line that is not blank"),
    "duration": Number(0, 1e6),
}
_PARAMETERS = Pairs("parameter", Word(64, 1, r"[A-Za-z][A-Za-z0-9._-]*", "a parameter's name"), Text(10_000), 100)
_TASKS = Document(
    "tasks",
    Many(
        "task",
        Fields(
            _CHOSEN,
            {
                "description": Text(10_000),
                "priority": Choice(*PRIORITIES),
                "parameters": _PARAMETERS,
                "state": Choice("waiting", "running", "succeeded", "failed", "cancelled"),
            },
        ),
        10_000,
    ),
)
_ANSWER = Document(
    "answer",
    Fields(
        {
            "details": Fields(_CHOSEN, {"parameters": _PARAMETERS}),
            "result": Fields(
                {"outcome": Choice("succeeded", "failed", "cancelled", "timedOut"), "seconds": Number(0, 1e9)},
                {
                    "output": Text(100_000),
                    "truncated": Flag(),
                    "message": Text(1_000),
                    "exitCode": Whole(-(2**31), 2**31 - 1),
                    "signal": Whole(1, 64),
                },
            ),
        }
    ),
)


class OfferedTask(Record):
    """A task that the source offers, as it is to be run."""

    __slots__ = {
        "description": "More lines about it.",
        "duration": "Seconds that it is thought to take; a simulated one takes so long.",
        "id": "Of the task, in the source.",
        "parameters": "Names and texts: how it is to be run.",
        "priority": "One of PRIORITIES.",
        "state": "What the source knows of it.",
        "title": "What it is called.",
    }

    def __init__(
        self,
        id: str,
        title: str,
        duration: float,
        description: str = "",
        priority: str = "normal",
        parameters: Mapping[str, str] | None = None,
        state: str = "waiting",
    ) -> None:
        self.id = id
        self.title = title
        self.duration = duration
        self.description = description
        self.priority = priority
        self.parameters = dict(parameters or {})
        self.state = state

    def configured(self, duration: float | None = None, parameters: Mapping[str, str] | None = None) -> OfferedTask:
        """The same, to be run in another way: another duration, and parameters that are changed or added; those that
        are changed to an empty text are left out, and others stay as they are. OutOfRangeError if it cannot be so."""
        chosen, changes = self.duration if duration is None else duration, dict(parameters or {})
        together = {name: text for name, text in (self.parameters | changes).items() if text or name not in changes}
        try:
            check_configuration(chosen, together)
        except ValueError as error:
            raise OutOfRangeError(f"the task {self.title!r} cannot be configured so: {error}") from None
        return OfferedTask(self.id, self.title, chosen, self.description, self.priority, together, self.state)


class Outcome(Record):
    """How a task has ended."""

    __slots__ = {
        "exit_code": "Of a command; None if there was none, or a signal ended it.",
        "message": "What there is to say, in a line.",
        "outcome": "succeeded, failed, cancelled, or timedOut.",
        "output": "What was printed.",
        "seconds": "How long it took.",
        "signal": "That ended a command; None if none did.",
        "truncated": "Whether the beginning of the output is left out.",
    }

    def __init__(
        self,
        outcome: str,
        seconds: float,
        output: str = "",
        truncated: bool = False,
        message: str = "",
        exit_code: int | None = None,
        signal: int | None = None,
    ) -> None:
        self.outcome = outcome
        self.seconds = seconds
        self.output = output
        self.truncated = truncated
        self.message = message
        self.exit_code = exit_code
        self.signal = signal


def check_configuration(duration: float, parameters: Mapping[str, str]) -> None:
    """ValueError if no task can have these."""
    _CHOSEN["duration"].check(duration)
    _PARAMETERS.check(parameters)


def read_tasks(text: str) -> tuple[list[OfferedTask], str]:
    """The tasks of a document, and in which format it is, "xml" or "json". DocumentError."""
    tasks = [OfferedTask(**fields) for fields in documents.read(_TASKS, text)]
    if len({task.id for task in tasks}) != len(tasks):
        raise DocumentError("two tasks have the same id", "tasks")
    return tasks, documents.format_of(text)


def write_answer(task: OfferedTask, outcome: Outcome, form: str) -> str:
    """The answer: which task was run, as configured, and how it ended."""
    details = {"id": task.id, "title": task.title, "duration": task.duration, "parameters": task.parameters}
    result: dict[str, Any] = {
        "outcome": outcome.outcome,
        "seconds": outcome.seconds,
        "output": outcome.output,
        "truncated": outcome.truncated,
        "message": outcome.message,
        "exitCode": outcome.exit_code,
        "signal": outcome.signal,
    }
    result = {name: value for name, value in result.items() if value is not None}
    return documents.write(_ANSWER, {"details": details, "result": result}, form)

# SPDX-License-Identifier: MIT
"""The source's side of the exchange: tasks, lists of them, and what came of one.

A Task is a value that never changes; `edited` makes another one. What a user types is looked at by `problems_of`, which
says for each field what is wrong with it, so that a form can show it beside the field."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self
from uuid import uuid4

from ..errors import MemoryMappedFileError, OutOfRangeError
from ..record import Record
from .choosing import meant
from .shapes import Choice, DocumentError, Fields, Number, Pairs, Text, Word

__all__ = [
    "DETAILS",
    "FIELDS",
    "MOST_TASKS",
    "PRIORITIES",
    "STATES",
    "Answer",
    "Details",
    "InvalidTaskError",
    "NoSuchTaskError",
    "Result",
    "Task",
    "TaskList",
    "problems_of",
]

PRIORITIES = ("low", "normal", "high", "urgent")
STATES = ("waiting", "running", "succeeded", "failed", "cancelled")
MOST_TASKS = 10_000

_ID = Word(64, 1, r"[A-Za-z0-9._-]+", "letters, digits, and . _ -")
_TITLE = Text(200, 1, r"[^\0-\x1f\x7f-\x9f]*[^\0- \x7f-\x9f][^\0-\x1f\x7f-\x9f]*", "a line that is not blank")
_NAME = Word(64, 1, r"[A-Za-z][A-Za-z0-9._-]*", "a name: a letter, then letters, digits, and . _ -")
_DURATION = Number(0, 1e6)  # seconds, eleven days
_PARAMETERS = Pairs("parameter", _NAME, Text(10_000), 100)
DETAILS = Fields({"id": _ID, "title": _TITLE, "duration": _DURATION}, {"parameters": _PARAMETERS})
FIELDS = Fields(
    {"id": _ID, "title": _TITLE, "duration": _DURATION},
    {
        "description": Text(10_000),
        "priority": Choice(*PRIORITIES),
        "parameters": _PARAMETERS,
        "state": Choice(*STATES),
    },
)


class InvalidTaskError(MemoryMappedFileError, ValueError):
    """A task cannot be like this: `problems` says for each field what is wrong with it."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(dict(problems))
        self.problems = dict(problems)

    def __str__(self) -> str:
        return "; ".join(f"{field}: {problem}" for field, problem in self.problems.items())


class NoSuchTaskError(MemoryMappedFileError, LookupError):
    """No task, or more than one, is meant by what was given."""


def problems_of(fields: Mapping[str, Any]) -> dict[str, str]:
    """What is wrong with some fields of a task, by their names; of a parameter by `parameters[NAME]`. Empty if they are
    well. The messages are for whoever typed them."""
    found: dict[str, str] = {}
    for field, value in fields.items():
        try:
            FIELDS.shape_of(field).check(value)
        except DocumentError as error:
            found[field + error.where] = error.message
        except ValueError as error:
            found[field] = str(error)
    return found


class Task(Record):
    """One task: what is to be done, how urgent it is, how many seconds (`duration`) it is thought to take, and by which
    `parameters`; what they mean is the destination's affair. Its `id` is a GUID unless another is given; its `state` is
    what is known of it here. InvalidTaskError."""

    __slots__ = {
        "description": "More lines about it.",
        "duration": "Seconds that it is thought to take.",
        "id": "What tells it from all others.",
        "parameters": "Names and texts, for the destination.",
        "priority": "One of PRIORITIES.",
        "state": "One of STATES.",
        "title": "What it is called: one line.",
    }

    def __init__(
        self,
        title: str,
        *,
        description: str = "",
        priority: str = "normal",
        duration: float = 1.0,
        parameters: Mapping[str, str] | None = None,
        state: str = "waiting",
        id: str | None = None,
    ) -> None:
        given = {
            "id": str(uuid4()) if id is None else id,
            "title": title,
            "description": description,
            "priority": priority,
            "duration": duration,
            "parameters": {} if parameters is None else parameters,
            "state": state,
        }
        if problems := problems_of(given):
            raise InvalidTaskError(problems)
        self.id: str = given["id"]  # type: ignore[assignment]
        self.title = title
        self.description = description
        self.priority = priority
        self.duration = float(duration)
        self.parameters = dict(parameters or {})
        self.state = state

    def edited(self, **fields: Any) -> Task:
        """The same task with other fields. InvalidTaskError."""
        return Task(**{**self.fields(), **fields})

    def fields(self) -> dict[str, Any]:
        """All its fields, by name."""
        return {name: getattr(self, name) for name in FIELDS.shapes}

    def __hash__(self) -> int:
        return hash(self.id)


class TaskList:
    """Tasks in an order, each id once."""

    def __init__(self, tasks: Iterable[Task] = ()) -> None:
        self._tasks: list[Task] = []
        self._ids: set[str] = set()
        for task in tasks:
            self.add(task)

    def __len__(self) -> int:
        return len(self._tasks)

    def __iter__(self) -> Iterator[Task]:
        return iter(tuple(self._tasks))

    def __getitem__(self, id: str) -> Task:
        return self._tasks[self.position(id)]

    def __contains__(self, id: object) -> bool:
        return id in self._ids

    def __eq__(self, other: object) -> bool:
        return self._tasks == other._tasks if isinstance(other, TaskList) else NotImplemented

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"TaskList({self._tasks!r})"

    def position(self, id: str) -> int:
        """Where the task of this id is, from 0. NoSuchTaskError."""
        if id not in self._ids:
            raise NoSuchTaskError(f"there is no task {id!r}")
        return next(i for i, task in enumerate(self._tasks) if task.id == id)

    def add(self, task: Task, position: int | None = None) -> Task:
        """Puts a task at a position (from 0), or at the end. InvalidTaskError if its id is there already, or there are
        too many."""
        if task.id in self:
            raise InvalidTaskError({"id": f"{task.id!r} is there already"})
        if len(self) >= MOST_TASKS:
            raise InvalidTaskError({"tasks": f"there are {len(self)} already, and {MOST_TASKS} is the most"})
        where = len(self) if position is None else self._checked(position, len(self))
        self._tasks.insert(where, task)
        self._ids.add(task.id)
        return task

    def edit(self, id: str, /, **fields: Any) -> Task:
        """Changes fields of a task; what it is now. NoSuchTaskError, InvalidTaskError."""
        where = self.position(id)
        task = self._tasks[where].edited(**fields)
        if task.id != id and task.id in self:
            raise InvalidTaskError({"id": f"{task.id!r} is there already"})
        self._tasks[where] = task
        self._ids ^= {id} ^ {task.id}
        return task

    def remove(self, id: str) -> Task:
        """Takes a task out. NoSuchTaskError."""
        task = self._tasks.pop(self.position(id))
        self._ids.remove(id)
        return task

    def move(self, id: str, position: int) -> None:
        """Puts a task at another position (from 0). NoSuchTaskError, OutOfRangeError."""
        where = self.position(id)
        self._tasks.insert(self._checked(position, len(self) - 1), self._tasks.pop(where))

    @staticmethod
    def _checked(position: int, last: int) -> int:
        if not 0 <= position <= last:
            raise OutOfRangeError(f"a position is from 0 to {last} here, got {position}")
        return position

    def filtered(self, text: str = "", *, state: str | None = None, priority: str | None = None) -> list[Task]:
        """Those that have a text in title, description or parameters (in any case of letters), a state, a priority."""
        wanted = text.casefold()
        return [
            task
            for task in self._tasks
            if (state is None or task.state == state)
            and (priority is None or task.priority == priority)
            and any(wanted in each.casefold() for each in (task.title, task.description, *task.parameters.values()))
        ]

    def find(self, given: str) -> Task:
        """The task that somebody means by its id, its title, its number (from 1), or a beginning of id or title that
        only one has: in this order, as the destination does. NoSuchTaskError says which there are."""
        found = meant(self._tasks, given)
        if len(found) == 1:
            return found[0]
        titles = ", ".join(repr(task.title) for task in (found or self._tasks)[:10])
        if found:
            raise NoSuchTaskError(f"{given!r:.80} means more than one task: {titles}")
        raise NoSuchTaskError(
            f"no task is called {given!r:.80}: there are {titles}" if titles else "there are no tasks: add one first"
        )


# ------------------------------------------------------------------------------------------------- what came of it


class Details(Record):
    """Which task a destination has run, and how it was configured there."""

    __slots__ = {
        "duration": "Seconds that it was thought to take, as configured.",
        "id": "Of the task.",
        "parameters": "By which it was run, as configured.",
        "title": "Of the task.",
    }

    def __init__(self, id: str, title: str, duration: float, parameters: Mapping[str, str]) -> None:
        self.id = id
        self.title = title
        self.duration = duration
        self.parameters = dict(parameters)


class Result(Record):
    """How a task has ended: its `outcome` (succeeded, failed, cancelled, timedOut), after how many `seconds`, and its
    `output`; a command's exit code, or the signal that ended it."""

    __slots__ = {
        "exit_code": "Of the command; None if it was none, or was killed.",
        "message": "What there is to say about it, in a line.",
        "outcome": "succeeded, failed, cancelled, or timedOut.",
        "output": "What it has printed.",
        "seconds": "How long it took.",
        "signal": "The number of the signal that ended the command; None if none did.",
        "truncated": "Whether the beginning of the output is left out, as there was more than fits.",
    }

    def __init__(
        self,
        outcome: str,
        seconds: float,
        output: str = "",
        *,
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


class Answer(Record):
    """Segment 1: the `details` and the `result`."""

    __slots__ = {"details": "Which task was run, and how.", "result": "How it ended."}

    def __init__(self, details: Details, result: Result) -> None:
        self.details = details
        self.result = result

    @classmethod
    def made(cls, details: Mapping[str, Any], result: Mapping[str, Any]) -> Self:
        """Of plain values."""
        return cls(Details(**details), Result(**result))

# SPDX-License-Identifier: MIT
"""The source's documents: it writes the tasks and reads the answer; the list that it keeps is a document of tasks too.

Shares nothing with the destination's formatter but how XML and JSON are written at all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from . import documents
from .model import DETAILS, FIELDS, MOST_TASKS, Answer, InvalidTaskError, Task
from .shapes import Choice, Document, DocumentError, Fields, Flag, Many, Number, Text, Whole

__all__ = ["read_answer", "read_tasks", "write_tasks"]

TASKS = Document("tasks", Many("task", FIELDS, MOST_TASKS))
ANSWER = Document(
    "answer",
    Fields(
        {
            "details": DETAILS,
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


def write_tasks(tasks: Iterable[Task], form: str = "xml") -> str:
    """Tasks as XML or JSON. DocumentError if they are too many, or too long all together."""
    return documents.write(TASKS, [task.fields() for task in tasks], form)


def read_tasks(text: str) -> list[Task]:
    """Tasks of a document, XML or JSON. DocumentError."""
    tasks: list[Task] = []
    known: set[str] = set()
    for i, fields in enumerate(documents.read(TASKS, text)):
        try:
            task = Task(**fields)
        except InvalidTaskError as error:
            raise DocumentError(str(error), f"tasks[{i}]") from None
        if task.id in known:
            raise DocumentError(f"the id {task.id!r} is there twice", f"tasks[{i}].id")
        known.add(task.id)
        tasks.append(task)
    return tasks


def read_answer(text: str) -> Answer:
    """The answer of a destination, XML or JSON. DocumentError."""
    value: dict[str, Any] = documents.read(ANSWER, text)
    result = value["result"]
    if "exitCode" in result:
        result["exit_code"] = result.pop("exitCode")
    return Answer.made({"parameters": {}, **value["details"]}, result)

# SPDX-License-Identifier: MIT
"""Tasks as a table, for both screens."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import ClassVar, Protocol

from textual.widgets import Static

from ...cli.screens.rows import Line, Pointed, fitted, line_of
from ...cli.task_words import safe
from .panels import class_of, time_in_words

__all__ = ["Heads", "TaskTable"]

HEADS = ("#", "TITLE", "DESCRIPTION", "PRIORITY", "DURATION", "PARAMETERS", "STATE")
_NUMBER, _TITLE, _DESCRIPTION, _PRIORITY, _DURATION, _PARAMETERS, _STATE = range(len(HEADS))
_GAP = 2


class Shown(Protocol):
    """A task of either side."""

    id: str
    title: str
    description: str
    priority: str
    duration: float
    parameters: dict[str, str]
    state: str


class TaskTable(Pointed):
    """A row for each task, with a cursor that stays on its task."""

    COMPONENT_CLASSES: ClassVar[set[str]] = Pointed.COMPONENT_CLASSES | {
        f"rows--{name}" for name in ("good", "bad", "at-work", "urgent", "high")
    }
    DEFAULT_CSS = """
    TaskTable {
        & > .rows--good { color: $text-success; }
        & > .rows--bad { color: $text-error; }
        & > .rows--at-work { color: $text-primary; text-style: bold; }
        & > .rows--urgent { color: $text-error; text-style: bold; }
        & > .rows--high { color: $text-warning; }
        &:blur > .rows--cursor { background: $primary-muted; color: $text; }
    }
    """

    def __init__(self, moved: Callable[[], None], opened: Callable[[], object]) -> None:
        super().__init__(moved, opened)
        self.tasks: Sequence[Shown] = ()
        self._numbers: Mapping[str, int] = {}
        self._at_work: Collection[str] = ()

    @property
    def current(self) -> Shown | None:
        """The task under the cursor."""
        return self.tasks[self._cursor] if self._cursor < len(self.tasks) else None

    def take(
        self, tasks: Sequence[Shown], numbers: Mapping[str, int], running: Collection[str], at: str | None = None
    ) -> None:
        """These tasks, from now on, which have these numbers in the list; the cursor is put `at` one of them."""
        current = self.current
        self.tasks, self._numbers, self._at_work = tasks, numbers, running
        wanted = at if at is not None else None if current is None else current.id
        where = next((row for row, task in enumerate(tasks) if task.id == wanted), None)
        self.point_at(self._cursor if where is None else where)

    def widths(self) -> dict[int, int]:
        """Of the columns that there is room for."""
        widths = {
            _NUMBER: max(2, len(str(len(self._numbers)))), _TITLE: 16, _DESCRIPTION: 14, _PRIORITY: 8, _DURATION: 9,
            _PARAMETERS: 14, _STATE: 9,
        }  # fmt: skip
        for least in (_DESCRIPTION, _PRIORITY, _PARAMETERS, _DURATION):
            if sum(widths.values()) + _GAP * len(widths) > self.columns_wide:
                del widths[least]
        left = self.columns_wide - sum(widths.values()) - _GAP * len(widths)
        flexible = [column for column in (_TITLE, _DESCRIPTION, _PARAMETERS) if column in widths]
        for column in flexible:
            widths[column] += max(0, left) // len(flexible)
        widths[_TITLE] += left % len(flexible) if left > 0 else left
        widths[_TITLE] = max(4, widths[_TITLE])
        return widths

    def head(self) -> str:
        """The heads of the columns."""
        widths = self.widths()
        return "  ".join(fitted(HEADS[at], width, right=at in (_NUMBER, _DURATION)) for at, width in widths.items())

    def count(self) -> int:
        return len(self.tasks)

    def draw(self, row: int) -> Line:
        task = self.tasks[row]
        state = "running" if task.id in self._at_work else task.state
        cells = {
            _NUMBER: str(self._numbers.get(task.id, row + 1)),
            _TITLE: safe(task.title),
            _DESCRIPTION: safe(" ".join(task.description.split())),
            _PRIORITY: task.priority,
            _DURATION: time_in_words(task.duration),
            _PARAMETERS: _in_words(task.parameters),
            _STATE: state,
        }
        kinds = {_NUMBER: "dim", _DESCRIPTION: "dim", _PARAMETERS: "dim", _PRIORITY: task.priority}
        kinds[_STATE] = class_of(state)
        parts = list(self._parts(cells, kinds))
        return line_of((text, "cursor") for text, _ in parts) if row == self._cursor else line_of(parts)

    def _parts(self, cells: Mapping[int, str], kinds: Mapping[int, str]) -> Iterator[tuple[str, str]]:
        known = {name.removeprefix("rows--") for name in self.COMPONENT_CLASSES}
        for at, width in self.widths().items():
            kind = kinds.get(at, "")
            yield fitted(cells[at], width, right=at in (_NUMBER, _DURATION)), kind if kind in known else ""
            yield " " * _GAP, ""
        yield " " * self.columns_wide, ""


def _in_words(parameters: Mapping[str, str]) -> str:
    """Parameters in a line: the command first, as a shell would show it."""
    rest = [f"{name}={text}" for name, text in parameters.items() if name != "command"]
    command = [f"$ {parameters['command']}"] if "command" in parameters else []
    return safe("  ".join(command + rest))


class Heads(Static):
    """The heads of a table."""

    DEFAULT_CSS = "Heads { height: 1; color: $text-muted; text-style: bold; }"

    def say(self, table: TaskTable) -> None:
        """Those of the columns that are shown."""
        text = table.head()
        if self.content != text:
            self.update(text)

# SPDX-License-Identifier: MIT
"""A task as a form. What is wrong with a field is said below it, while it is typed."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, VerticalScroll
from textual.events import Resize
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Footer, Input, Label, Select, Static, TextArea

from ...cli.task_words import is_harmless
from ...cli.words import escaped

__all__ = ["Form", "lines_of", "pairs_of"]

Fields = Mapping[str, Any]

LABELS = {
    "title": "Title",
    "description": "Description",
    "priority": "Priority",
    "duration": "Duration",
    "command": "Command",
    "fail": "Fails at",
    "parameters": "Parameters",
}
HINTS = {
    "title": "what it is called",
    "duration": "seconds",
    "command": "a command line; none: the task is simulated",
    "fail": "percent of a simulated task; nothing: it succeeds",
}
_KEPT = {"title": "", "description": "\n\t"}  # what is not printable, and typed as it is
_ESCAPE = re.compile(r"\\(?:\\|[nrt]|x[0-9a-f]{2}|u[0-9a-f]{4}|U[0-9a-f]{8})")


def lines_of(parameters: Mapping[str, str]) -> str:
    """Parameters as lines NAME=TEXT; a backslash, and what is not printable, is escaped."""
    return "\n".join(f"{name}={typeable(text)}" for name, text in parameters.items())


def typeable(text: str, kept: str = "") -> str:
    """A text as it can be typed: a backslash, and what is not printable, but for those that are `kept`, is escaped."""
    return "".join(c if (c.isprintable() and c != "\\") or c in kept else escaped(c) for c in text)


def typed(text: str) -> str:
    """The text that is meant by an escaped one. What is no escape means itself."""
    return _ESCAPE.sub(lambda match: match.group().encode().decode("unicode_escape"), text)


def pairs_of(lines: str) -> dict[str, str]:
    """The parameters of such lines; blank ones are skipped. ValueError says which is wrong."""
    found: dict[str, str] = {}
    for number, line in enumerate(lines.splitlines(), 1):
        if not line.strip():
            continue
        name, equals, text = line.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ValueError(f"line {number}: NAME=TEXT is expected")
        if name in found:
            raise ValueError(f"line {number}: {name} is there twice")
        found[name] = typed(text)
    return found


class Form(ModalScreen[dict[str, Any] | None]):
    """Some fields of a task, to be changed; the answer is what they are then, or None. `problems` says of fields what
    is wrong with them, by their names. The parameters `command` and `fail` have rows of their own."""

    SMALLEST: ClassVar[tuple[int, int]] = (50, 12)
    """The columns and rows below which it says that it is too small, as the screen behind it does."""
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Save", priority=True),
        Binding("escape", "leave", "Back", priority=True),
    ]
    SCOPED_CSS = False  # a rule begins outside
    DEFAULT_CSS = """
    Form {
        align: center middle;
        #form {
            width: 76; max-width: 100%; height: auto; max-height: 100%;
            padding: 1 2; background: $surface; border: round $primary; border-title-color: $text-primary;
            scrollbar-size-vertical: 1;
        }
        .row { height: auto; margin-bottom: 1; }
        Label { width: 13; color: $text-muted; }
        .row > Input, .row > TextArea, .row > Select { width: 1fr; }
        TextArea { height: 4; border: none; padding: 0; background: $boost; }
        TextArea#description { height: 3; }
        Input, Select > SelectCurrent { background: $boost; }
        .error { color: $text-error; height: auto; margin-left: 13; display: none; }
        .error.said { display: block; }
        .row.wrong { margin-bottom: 0; }
        .row.wrong > Label { color: $text-error; }
        #buttons { height: auto; align-horizontal: right; }
        #buttons > Button { margin-left: 2; }
        #too-small { display: none; width: 100%; height: 100%; content-align: center middle; }
        &.too-small > * { display: none; }
        &.too-small > #too-small { display: block; }
    }
    .no-color Form .wrong > Label { text-style: reverse; }
    """

    def __init__(
        self,
        heading: str,
        fields: Fields,
        problems: Callable[[Fields], Mapping[str, str]],
        priorities: tuple[str, ...] = (),
        done: str = "Save",
    ) -> None:
        super().__init__()
        self._heading = heading
        self._given = dict(fields)
        self._problems = problems
        self._priorities = priorities
        self._done = done
        self._touched: set[str] = set()
        self._shown = self._texts_of(fields)

    @staticmethod
    def _texts_of(fields: Fields) -> dict[str, str]:
        """What the rows begin with."""
        names = [name for name in ("title", "description", "priority") if name in fields]
        texts = {name: str(fields[name]) for name in names}
        texts |= {name: typeable(texts[name], _KEPT[name]) for name in _escaped(fields)}
        if "duration" in fields:
            texts["duration"] = f"{fields['duration']:.15g}"
        if "parameters" in fields:
            rest = dict(fields["parameters"])
            for name in ("command", "fail"):
                own = rest.get(name, "")
                texts[name] = rest.pop(name, "") if own.isprintable() else ""
            texts["parameters"] = lines_of(rest)
        return texts

    def compose(self) -> ComposeResult:
        columns, rows = self.SMALLEST
        yield Static(f"too small:\n{columns} x {rows} are needed\nEscape leaves", id="too-small", markup=False)
        form = VerticalScroll(id="form", can_focus=False)
        form.border_title = self._heading
        with form:
            for name, text in self._shown.items():
                with Horizontal(classes="row", id=f"row-{name}"):
                    yield Label(LABELS[name], markup=False)
                    yield self._widget(name, text)
                yield Static("", classes="error", id=f"error-{name}", markup=False)
            with Horizontal(id="buttons"):
                yield Button(self._done, variant="primary", compact=True, id="save")
                yield Button("Cancel", compact=True, id="leave")
        yield Footer()

    def on_resize(self, event: Resize) -> None:
        columns, rows = self.SMALLEST
        self.set_class(event.size.width < columns or event.size.height < rows, "too-small")

    def _widget(self, name: str, text: str) -> Widget:
        if name == "priority":
            return Select(
                [(each, each) for each in self._priorities], value=text, allow_blank=False, compact=True, id=name
            )
        if name in ("description", "parameters"):
            hint = "NAME=TEXT, a line for each" if name == "parameters" else ""
            return TextArea(text, id=name, compact=True, tab_behavior="focus", placeholder=hint)
        return Input(text, placeholder=HINTS[name], compact=True, id=name)

    def _text(self, name: str) -> str:
        widget = self.query_one(f"#{name}")
        if isinstance(widget, TextArea):
            return widget.text
        assert isinstance(widget, Input | Select)
        return str(widget.value)

    def fields(self) -> tuple[dict[str, Any], dict[str, str]]:
        """What is in the form; and what is wrong with it, by rows."""
        texts = {name: self._text(name) for name in self._shown}
        fields: dict[str, Any] = {}
        wrong: dict[str, str] = {}
        for name in ("title", "description", "priority"):
            if name in texts:
                text = typed(texts[name]) if name in _escaped(self._given) else texts[name]
                fields[name] = self._given[name] if texts[name] == self._shown[name] else text
        if "duration" in texts:
            try:
                fields["duration"] = float(texts["duration"])
            except ValueError:
                wrong["duration"] = "a number of seconds is expected"
        if "parameters" in texts:
            try:
                parameters = pairs_of(texts["parameters"])
            except ValueError as error:
                parameters, wrong["parameters"] = {}, str(error)
            for name in ("command", "fail"):
                if text := texts[name].strip():
                    if name in parameters:
                        wrong["parameters"] = f"{name} is above already"
                    parameters[name] = text
            if not wrong.get("fail") and not _is_percentage(parameters.get("fail", "0")):
                wrong["fail"] = "a percentage is expected, from 0 to 100"
            fields["parameters"] = parameters
        for place, problem in self._problems(fields).items():
            name, _, inner = place.partition("[")
            inner = inner.rstrip("]")
            row = inner if inner in ("command", "fail") else name
            told = f"{inner}: {problem}" if inner and row == name else problem
            wrong.setdefault(row if row in self._shown else next(iter(self._shown)), told)
        return fields, wrong

    def _say(self, *, every: bool = False) -> dict[str, str]:
        """Says what is wrong with those that were touched, or with all."""
        _, wrong = self.fields()
        for name in self._shown:
            told = wrong.get(name, "") if every or name in self._touched else ""
            error = self.query_one(f"#error-{name}", Static)
            error.update(told)
            error.set_class(bool(told), "said")
            self.query_one(f"#row-{name}").set_class(bool(told), "wrong")
        return wrong

    def on_mount(self) -> None:
        self.query_one(f"#{next(iter(self._shown))}").focus()

    def _changed(self, name: str | None) -> None:
        if name is not None and (name in self._touched or self._text(name) != self._shown[name]):
            self._touched.add(name)
            self._say()

    def on_input_changed(self, event: Input.Changed) -> None:
        self._changed(event.input.id)

    def on_text_area_changed(self, event: TextArea.Changed) -> None:
        self._changed(event.text_area.id)

    def on_input_submitted(self) -> None:
        self.action_save()

    def on_button_pressed(self, event: Button.Pressed) -> None:
        if event.button.id == "save":
            self.action_save()
        else:
            self.action_leave()

    def action_save(self) -> None:
        """Ends it with what is in the form, if nothing is wrong with that."""
        wrong = self._say(every=True)
        if wrong:
            self._touched.update(self._shown)
            self.query_one(f"#{next(name for name in self._shown if name in wrong)}").focus()
            return
        self.dismiss(self.fields()[0])

    def action_leave(self) -> None:
        self.dismiss(None)


def _is_percentage(text: str) -> bool:
    try:
        return 0 <= float(text) <= 100
    except ValueError:
        return False


def _escaped(fields: Fields) -> list[str]:
    """The texts that have what cannot be shown, and so are escaped as parameters are. In others a backslash is one."""
    return [
        name
        for name, kept in _KEPT.items()
        if name in fields and not all(c in kept or is_harmless(c) for c in fields[name])
    ]

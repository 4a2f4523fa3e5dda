# SPDX-License-Identifier: MIT
"""What a document looks like: shapes, of which a formatter makes its own description. XML and JSON are read and written
by the same shape, so that both say the same and have the same limits.

A shape's values are plain: str, float, int, bool, list, dict. `check` refuses all others, with a message that says what
was expected; it is asked of what is read, and of what is to be written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..errors import MemoryMappedFileError

__all__ = [
    "DEEPEST",
    "LONGEST",
    "NAMESPACE",
    "VERSION",
    "Choice",
    "Document",
    "DocumentError",
    "Fields",
    "Flag",
    "Leaf",
    "Many",
    "Number",
    "Pairs",
    "Shape",
    "Text",
    "UnwritableError",
    "Whole",
    "Word",
]

NAMESPACE = "urn:memorymapped:tasks"
VERSION = 1
LONGEST = 4_000_000  # characters of a document
DEEPEST = 16  # elements, or objects and arrays, inside each other

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)
_WHOLE = re.compile(r"([+-]?)(?=\d)0*+(\d{0,20})", re.ASCII)


class DocumentError(MemoryMappedFileError, ValueError):
    """A document is not what it should be: what is wrong at `where` (such as `tasks[2].duration`), `line` and `column`
    (from 1; 0 if it is not about a place); of a `file`, if it is one."""

    def __init__(self, message: str, where: str = "", line: int = 0, column: int = 0) -> None:
        super().__init__(message, where, line, column)
        self.message = message
        self.where = where
        self.line = line
        self.column = column
        self.file = ""

    def __str__(self) -> str:
        file = f"{self.file}: " if self.file else ""
        place = f"line {self.line}, column {self.column}: " if self.line else ""
        return f"{file}{place}{self.where + ': ' if self.where else ''}{self.message}"


class UnwritableError(DocumentError):
    """No document can have what is to be written: it is too long, or not of the document's shape."""


class Shape:
    """What a value must be. `check` raises ValueError with what was expected."""

    def check(self, value: Any) -> None:
        """Nothing, if the value is of this shape."""
        raise NotImplementedError


class Leaf(Shape):
    """A value without parts. `parse` makes it of the text of an XML element, `text` that text of it."""

    keeps_space = False  # whether white space around it belongs to it
    is_free = False  # whether it may have any character, those too that XML cannot hold

    def parse(self, text: str) -> Any:
        """The value that a text stands for; ValueError."""
        raise NotImplementedError

    def text(self, value: Any) -> str:
        """The text that stands for a value."""
        return str(value)


class Text(Leaf):
    """A str of `least` to `most` characters that matches `pattern`, if there is one; `what` says that in words."""

    keeps_space = is_free = True

    def __init__(self, most: int, least: int = 0, pattern: str | None = None, what: str = "a text") -> None:
        self.least, self.most, self.what = least, most, what
        self._pattern = None if pattern is None else re.compile(pattern)

    def check(self, value: Any) -> None:
        if not isinstance(value, str):
            raise ValueError(f"expected {self.what}, not {_kind(value)}")
        if not self.least <= len(value) <= self.most:
            raise ValueError(f"expected {self.what} of {self.least} to {self.most} characters, not {len(value)}")
        try:
            value.encode()
        except UnicodeEncodeError as error:
            found = f"U+{ord(value[error.start]):04X}"
            raise ValueError(f"{found}, half of a surrogate pair at character {error.start}, is no text") from None
        if self._pattern is not None and not self._pattern.fullmatch(value):
            raise ValueError(f"expected {self.what}, not {value!r:.80}")

    def parse(self, text: str) -> str:
        return text


class Word(Text):
    """A text of few characters, which its `pattern` names: an id, a name."""

    is_free = False


class Choice(Text):
    """One of some words."""

    keeps_space = is_free = False

    def __init__(self, *words: str) -> None:
        super().__init__(max(map(len, words)), what=f"one of {', '.join(words)}")
        self.words = words

    def check(self, value: Any) -> None:
        if not isinstance(value, str) or value not in self.words:
            raise ValueError(f"expected {self.what}, not {_shown(value)}")


class Number(Leaf):
    """A finite number from `least` to `most`."""

    def __init__(self, least: float, most: float) -> None:
        self.least, self.most = least, most

    def check(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValueError(f"expected a number, not {_kind(value)}")
        if not self.least <= value <= self.most:  # which is what neither infinity nor NaN is
            raise ValueError(f"expected a number from {self.least:g} to {self.most:g}, not {_shown(value)}")

    def parse(self, text: str) -> float:
        if not _NUMBER.fullmatch(text):
            raise ValueError(f"expected a number, not {text!r:.80}")
        return float(text)

    def text(self, value: float) -> str:
        return repr(float(value))


class Whole(Number):
    """A whole number from `least` to `most`."""

    def check(self, value: Any) -> None:
        if isinstance(value, bool) or not isinstance(value, int):
            raise ValueError(f"expected a whole number, not {_shown(value)}")
        super().check(value)

    def parse(self, text: str) -> int:
        match = _WHOLE.fullmatch(text)
        if match is None:
            raise ValueError(f"expected a whole number, not {text!r:.80}")
        return int(match[1] + (match[2] or "0"))

    def text(self, value: float) -> str:
        return str(value)


class Flag(Leaf):
    """True or false."""

    def check(self, value: Any) -> None:
        if not isinstance(value, bool):
            raise ValueError(f"expected true or false, not {_shown(value)}")

    def parse(self, text: str) -> bool:
        if text not in ("true", "false", "1", "0"):
            raise ValueError(f"expected true or false, not {text!r:.80}")
        return text in ("true", "1")

    def text(self, value: bool) -> str:
        return "true" if value else "false"


class Many(Shape):
    """A list of at most `most` things; in XML each is an element `item`."""

    def __init__(self, item: str, shape: Shape, most: int) -> None:
        self.item, self.shape, self.most = item, shape, most

    def check(self, value: Any) -> None:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list, not {_kind(value)}")
        self.count(len(value))
        for i, each in enumerate(value):
            _inside(f"[{i}]", self.shape, each)

    def count(self, number: int) -> None:
        """ValueError if there are too many."""
        if number > self.most:
            raise ValueError(f"more than {self.most} of {self.item}")


class Pairs(Many):
    """Names and their texts. In XML each is an element `item` with an attribute `name`; in JSON an object."""

    shape: Leaf

    def __init__(self, item: str, name: Word, text: Text, most: int) -> None:
        super().__init__(item, text, most)
        self.name = name

    def check(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected names and texts, not {_kind(value)}")
        self.count(len(value))
        for name, text in value.items():
            self.name.check(name)
            _inside(f"[{name}]", self.shape, text)


class Fields(Shape):
    """Values with names; those in `optional` may be absent."""

    def __init__(self, required: dict[str, Shape], optional: dict[str, Shape] | None = None) -> None:
        self.shapes = required | (optional or {})
        self.required = tuple(required)

    def check(self, value: Any) -> None:
        if not isinstance(value, Mapping):
            raise ValueError(f"expected values with names, not {_kind(value)}")
        for name in value:
            self.shape_of(name)
        self.missing(value)
        for name, each in value.items():
            _inside(f".{name}", self.shapes[name], each)

    def shape_of(self, name: str) -> Shape:
        """Of the field of this name; ValueError if there is none."""
        if name not in self.shapes:
            raise ValueError(f"{_shown(name)} is not known here: expected {', '.join(self.shapes)}")
        return self.shapes[name]

    def missing(self, found: Any) -> None:
        """ValueError if a field is missing among those that were found."""
        absent = [name for name in self.required if name not in found]
        if absent:
            raise ValueError(f"{', '.join(absent)} missing")


class Document:
    """A whole document: the `name` of its root, and the shape of what is in it.

    In XML `<name xmlns="urn:memorymapped:tasks" version="1">...</name>`, in JSON `{"version": 1, "name": ...}`."""

    def __init__(self, name: str, shape: Shape) -> None:
        self.name, self.shape = name, shape

    def check(self, value: Any) -> None:
        """DocumentError if the value cannot be written."""
        _inside(self.name, self.shape, value)


def _inside(where: str, shape: Shape, value: Any) -> None:
    try:
        shape.check(value)
    except DocumentError as error:
        raise DocumentError(error.message, where + error.where) from None
    except ValueError as error:
        raise DocumentError(str(error), where) from None


def _kind(value: Any) -> str:
    if value is None:
        return "nothing"
    words = {
        bool: "true or false",
        str: "a text",
        int: "a number",
        float: "a number",
        dict: "an object",
        list: "a list",
    }
    return words.get(type(value), type(value).__name__)


def _shown(value: Any) -> str:
    """As a message has it: short, whatever it is."""
    is_short = isinstance(value, (str, float)) or (type(value) is int and abs(value) < 10**20)
    return f"{value!r:.80}" if is_short else _kind(value)

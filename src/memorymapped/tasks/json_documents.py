# SPDX-License-Identifier: MIT
"""Documents as JSON (RFC 8259), with a reader of its own: that of the standard library tells no places, takes NaN and
the last of two equal names, and goes as deep as it is told to. This one knows the shape, and stops at what is not
known."""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

from .shapes import (
    DEEPEST,
    VERSION,
    Document,
    DocumentError,
    Fields,
    Flag,
    Leaf,
    Many,
    Number,
    Pairs,
    Shape,
    Text,
    Whole,
)

__all__ = ["read", "write"]

_SPACE = re.compile(r"[ \t\r\n]*")
_NUMBER = re.compile(r"(-?(?:0|[1-9]\d*))(\.\d+)?([eE][+-]?\d+)?", re.ASCII)
_WORD = re.compile(r"true|false|null")
_STRINGS = json.JSONDecoder()
_LONGEST_INT = 40  # characters; of more, int would take the square of the time, and no whole number here has as many
_HINT = "$schema"  # for editors; nothing follows it


def write(document: Document, value: Any) -> str:
    """The value, which the document's shape has checked, as text."""
    return json.dumps({"version": VERSION, document.name: value}, ensure_ascii=False, allow_nan=False, indent=1) + "\n"


class _Reader:
    """Goes through the text once; `_at` is where it is."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0

    def read(self, document: Document) -> Any:
        whole = Fields({"version": Whole(0, 10**9), document.name: document.shape}, {_HINT: Text(10_000)})
        self._space()
        if self._text[self._at : self._at + 1] != "{":
            self._fail("expected an object", document.name)
        value = self._fields(whole, document.name, is_root=True)
        self._space()
        if self._at != len(self._text):
            self._fail("expected nothing behind the document", "")
        return value[document.name]

    def _fail(self, message: str, where: str, at: int | None = None) -> NoReturn:
        at = self._at if at is None else at
        line = self._text.count("\n", 0, at) + 1
        column = at - self._text.rfind("\n", 0, at)
        raise DocumentError(message, where, line, column) from None

    def _space(self) -> None:
        match = _SPACE.match(self._text, self._at)
        assert match is not None, "it matches nothing as well"
        self._at = match.end()

    def _next(self) -> str:
        """The character behind white space; empty at the end."""
        self._space()
        return self._text[self._at : self._at + 1]

    def _value(self, shape: Shape, where: str) -> Any:
        first, at = self._next(), self._at
        if isinstance(shape, Leaf):
            value = self._leaf(shape, first, where)
            if isinstance(shape, Whole) and isinstance(value, float) and value.is_integer():
                value = int(value)  # JSON has one kind of numbers: 1.0 is 1
            try:
                shape.check(value)
            except ValueError as error:
                self._fail(str(error), where, at)
            return float(value) if type(shape) is Number else value
        opening = "[" if type(shape) is Many else "{"
        if first != opening:
            self._fail(f"expected {'a list' if opening == '[' else 'an object'}", where)
        return self._list(shape, where) if type(shape) is Many else self._fields(shape, where)

    def _leaf(self, shape: Leaf, first: str, where: str) -> Any:
        text, at = self._text, self._at
        if first == '"':
            return self._string(where)
        word = _WORD.match(text, at)
        if word is not None:
            self._at = word.end()
            return {"true": True, "false": False, "null": None}[word[0]]
        number = _NUMBER.match(text, at)
        if number is None:
            kind = "true or false" if isinstance(shape, Flag) else "a value"
            self._fail(f"expected {kind}", where)
        self._at = number.end()
        is_whole = not (number[2] or number[3]) and len(number[0]) <= _LONGEST_INT
        return int(number[0]) if is_whole else float(number[0])

    def _string(self, where: str) -> str:
        try:
            value: str
            value, self._at = _STRINGS.raw_decode(self._text, self._at)
        except json.JSONDecodeError as error:
            self._fail(f"no well-formed JSON: {error.msg}", where, error.pos)
        return value

    def _deeper(self, where: str) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self._fail(f"more than {DEEPEST} objects and lists inside each other", where)
        self._at += 1

    def _goes_on(self, closing: str, where: str) -> bool:
        """Whether there is a further one behind a comma."""
        found = self._next()
        if found not in (",", closing):
            self._fail(f"expected , or {closing}", where)
        self._at += 1
        return found == ","

    def _list(self, shape: Shape, where: str) -> list[Any]:
        assert isinstance(shape, Many)
        values: list[Any] = []
        self._deeper(where)
        if self._next() == "]":
            self._at += 1
        else:
            while True:
                self._counted(shape, len(values) + 1, where)
                values.append(self._value(shape.shape, f"{where}[{len(values)}]"))
                if not self._goes_on("]", where):
                    break
        self._depth -= 1
        return values

    def _counted(self, shape: Many, number: int, where: str) -> None:
        try:
            shape.count(number)
        except ValueError as error:
            self._fail(str(error), where)

    def _fields(self, shape: Shape, where: str, is_root: bool = False) -> dict[str, Any]:
        values: dict[str, Any] = {}
        begin = self._at
        self._deeper(where)
        if self._next() == "}":
            self._at += 1
        else:
            while True:
                if self._next() != '"':
                    self._fail("expected a name in quotes", where)
                at = self._at
                name = self._string(where)
                if name in values:
                    self._fail(f"{name!r:.80} is there twice", where, at)
                inner = self._inner(shape, name, where, at)
                if self._next() != ":":
                    self._fail("expected :", where)
                self._at += 1
                inside = name if is_root else f"{where}[{name}]" if isinstance(shape, Pairs) else f"{where}.{name}"
                at = self._at
                values[name] = self._value(inner, inside)
                if is_root and name == "version" and values[name] != VERSION:
                    self._fail(f"expected version {VERSION}, not {values[name]}", name, at)
                if isinstance(shape, Pairs):
                    self._counted(shape, len(values), where)
                if not self._goes_on("}", where):
                    break
        if isinstance(shape, Fields):
            try:
                shape.missing(values)
            except ValueError as error:
                self._fail(str(error), where, begin)
        self._depth -= 1
        return values

    def _inner(self, shape: Shape, name: str, where: str, at: int) -> Shape:
        try:
            if isinstance(shape, Pairs):
                shape.name.check(name)
                return shape.shape
            assert isinstance(shape, Fields)
            return shape.shape_of(name)
        except ValueError as error:
            self._fail(str(error), where, at)


def read(document: Document, text: str) -> Any:
    """The value of the text. DocumentError."""
    return _Reader(text).read(document)

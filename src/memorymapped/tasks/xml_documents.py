# SPDX-License-Identifier: MIT
"""Documents as XML.

What is read may be anybody's: no document type (so no entities but XML's own five, and nothing external), no processing
instructions, only UTF-8 and UTF-16, no more than LONGEST characters and DEEPEST levels, and only elements and
attributes that the shape knows. Comments are skipped. The order of fields is free.

A text with characters that XML 1.0 does not have (control characters) is written as base64 of its UTF-8, with the
attribute `encoding="base64"`; so every text comes back as it was."""

from __future__ import annotations

import base64
import binascii
import re
from typing import Any, NoReturn
from xml.parsers import expat

from .shapes import (
    DEEPEST,
    NAMESPACE,
    VERSION,
    Document,
    DocumentError,
    Fields,
    Leaf,
    Many,
    Pairs,
    Shape,
)

__all__ = ["read", "write"]

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ESCAPES = str.maketrans({"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#13;"})
_SPACE = " \t\r\n"
_SCHEMAS = "http://www.w3.org/2001/XMLSchema-instance"
_HINTS = (f"{_SCHEMAS} schemaLocation", f"{_SCHEMAS} noNamespaceSchemaLocation")  # for editors; nothing follows them
_ENCODINGS = ("utf-8", "utf-16", "us-ascii")  # that a document may say it has: it comes as characters


# --------------------------------------------------------------------------------------------------------- writing


def write(document: Document, value: Any) -> str:
    """The value, which the document's shape has checked, as text."""
    lines = ['<?xml version="1.0" encoding="utf-8"?>\n']
    _write(lines, "", document.name, document.shape, value, f' xmlns="{NAMESPACE}" version="{VERSION}"')
    return "".join(lines)


def _write(lines: list[str], indent: str, name: str, shape: Shape, value: Any, attributes: str = "") -> None:
    if isinstance(shape, Leaf):
        text = shape.text(value)
        if _NOT_XML.search(text):
            text = base64.b64encode(text.encode()).decode()
            attributes += ' encoding="base64"'
        lines.append(f"{indent}<{name}{attributes}>{text.translate(_ESCAPES)}</{name}>\n")
        return
    lines.append(f"{indent}<{name}{attributes}>\n")
    deeper = indent + "  "
    if isinstance(shape, Pairs):
        for key, text in value.items():
            _write(lines, deeper, shape.item, shape.shape, text, f' name="{key}"')  # a name needs no escapes
    elif isinstance(shape, Many):
        for each in value:
            _write(lines, deeper, shape.item, shape.shape, each)
    else:
        assert isinstance(shape, Fields)
        for key, each in value.items():
            _write(lines, deeper, key, shape.shapes[key], each)
    lines.append(f"{indent}</{name}>\n")


# --------------------------------------------------------------------------------------------------------- reading


class _Open:
    """An element whose end is still to come: what is known of it, and what was found in it."""

    def __init__(self, name: str, where: str, shape: Shape, line: int, column: int) -> None:
        self.name, self.where, self.shape, self.line, self.column = name, where, shape, line, column
        self.value: Any = [] if type(shape) is Many else {}
        self.key = ""  # of a pair
        self.is_encoded = False
        self.text: list[str] = []


class _Reader:
    def __init__(self, document: Document) -> None:
        self.value: Any = None
        self._document = document
        self._open: list[_Open] = []
        parser = self._parser = expat.ParserCreate("utf-8", namespace_separator=" ")
        parser.buffer_text = True
        parser.ordered_attributes = True
        parser.XmlDeclHandler = self._declaration
        parser.StartDoctypeDeclHandler = self._refuse("a document type (DOCTYPE)")
        parser.ProcessingInstructionHandler = self._refuse("a processing instruction")
        parser.ExternalEntityRefHandler = self._refuse("an external entity")
        parser.StartElementHandler = self._start
        parser.EndElementHandler = self._end
        parser.CharacterDataHandler = self._characters

    def read(self, text: str) -> Any:
        try:
            self._parser.Parse(text.encode(), True)
        except expat.ExpatError as error:
            raise DocumentError(
                f"no well-formed XML: {expat.ErrorString(error.code)}",
                self._open[-1].where if self._open else "",
                error.lineno,
                error.offset + 1,
            ) from None
        return self.value

    def _fail(self, message: str, at: _Open | None = None, where: str | None = None) -> NoReturn:
        if where is None:
            where = at.where if at is not None else self._open[-1].where if self._open else ""
        line = at.line if at is not None else self._parser.CurrentLineNumber
        column = at.column if at is not None else self._parser.CurrentColumnNumber + 1
        raise DocumentError(message, where, line, column) from None

    def _declaration(self, version: str, encoding: str | None, standalone: int) -> None:
        if encoding is not None and encoding.lower() not in _ENCODINGS:
            self._fail(f"expected the encoding UTF-8 or UTF-16, not {encoding!r:.40}")

    def _refuse(self, what: str) -> Any:
        def refuse(*_: Any) -> NoReturn:
            self._fail(f"{what} is not allowed here")

        return refuse

    def _start(self, full_name: str, attributes: list[str]) -> None:
        namespace, _, name = full_name.rpartition(" ")
        given = dict(zip(attributes[::2], attributes[1::2], strict=True))
        for each in _HINTS:
            given.pop(each, None)
        parent = self._open[-1] if self._open else None
        if parent is None:
            self._start_root(namespace, name, given)
            return
        if len(self._open) >= DEEPEST:
            self._fail(f"more than {DEEPEST} elements inside each other")
        if namespace != NAMESPACE:
            self._fail(f"expected elements of the namespace {NAMESPACE!r}, not <{name}> of {namespace!r:.80}")
        shape = parent.shape
        if isinstance(shape, Leaf):
            self._fail(f"expected text only, not <{name:.80}>")
        elif isinstance(shape, Many):
            if name != shape.item:
                self._fail(f"<{name:.80}> is not known here: expected {shape.item}")
            where = f"{parent.where}[{len(parent.value)}]"
            inner = shape.shape
        else:
            assert isinstance(shape, Fields)
            try:
                inner = shape.shape_of(name)
            except ValueError as error:
                self._fail(str(error))
            where = f"{parent.where}.{name}"
            if name in parent.value:
                self._fail("is there twice", where=where)
        self._push(name, where, inner, given, shape if isinstance(shape, Pairs) else None)

    def _start_root(self, namespace: str, name: str, given: dict[str, str]) -> None:
        expected = self._document.name
        if (namespace, name) != (NAMESPACE, expected):
            self._fail(
                f'expected <{expected} xmlns="{NAMESPACE}">, not <{name:.80}>'
                + (f" of the namespace {namespace!r:.80}" if namespace else " without a namespace")
            )
        version = given.pop("version", None)
        if version is None or version.strip(_SPACE) != str(VERSION):
            self._fail(f"expected version {VERSION}, not {version!r:.40}", where=expected)
        self._push(name, expected, self._document.shape, given, None)

    def _push(self, name: str, where: str, shape: Shape, given: dict[str, str], pairs: Pairs | None) -> None:
        element = _Open(name, where, shape, self._parser.CurrentLineNumber, self._parser.CurrentColumnNumber + 1)
        if pairs is not None:
            element.key = given.pop("name", "")
            try:
                pairs.name.check(element.key)
            except ValueError as error:
                self._fail(f"name: {error}", element)
            element.where = f"{self._open[-1].where}[{element.key}]"
            if element.key in self._open[-1].value:
                self._fail("is there twice", element)
        if isinstance(shape, Leaf) and shape.is_free and "encoding" in given:
            if given.pop("encoding") != "base64":
                self._fail("expected no encoding but base64", element)
            element.is_encoded = True
        if given:
            self._fail(f"the attribute {next(iter(given))!r:.80} is not known here", element)
        self._open.append(element)

    def _characters(self, text: str) -> None:
        element = self._open[-1]
        if isinstance(element.shape, Leaf):
            element.text.append(text)
        elif text.strip(_SPACE):
            self._fail(f"expected elements, not the text {text.strip(_SPACE)!r:.40}")

    def _end(self, _: str) -> None:
        element = self._open.pop()
        try:
            value = self._value_of(element)
            parent = self._open[-1] if self._open else None
            if parent is None:
                self.value = value
            elif isinstance(parent.shape, Pairs):
                parent.value[element.key] = value
                parent.shape.count(len(parent.value))
            elif isinstance(parent.shape, Many):
                parent.value.append(value)
                parent.shape.count(len(parent.value))
            else:
                parent.value[element.name] = value
        except ValueError as error:
            self._fail(str(error), element)

    @staticmethod
    def _value_of(element: _Open) -> Any:
        shape = element.shape
        if isinstance(shape, Fields):
            shape.missing(element.value)
        if not isinstance(shape, Leaf):
            return element.value
        text = "".join(element.text)
        if element.is_encoded:
            try:
                text = base64.b64decode("".join(text.split()), validate=True).decode()
            except (binascii.Error, UnicodeDecodeError) as error:
                raise ValueError(f"expected base64 of UTF-8: {error}") from None
        value = shape.parse(text if shape.keeps_space else text.strip(_SPACE))
        shape.check(value)
        return value


def read(document: Document, text: str) -> Any:
    """The value of the text. DocumentError."""
    return _Reader(document).read(text)

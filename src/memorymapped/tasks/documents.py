# SPDX-License-Identifier: MIT
"""Documents in either form: XML, or JSON. What is read says by its first character which of them it is."""

from __future__ import annotations

import codecs
from importlib import import_module
from typing import Any

from .shapes import LONGEST, Document, DocumentError, UnwritableError

__all__ = ["FORMATS", "MOST_BYTES", "characters", "format_of", "read", "write"]

FORMATS = ("xml", "json")
MOST_BYTES = 4 * LONGEST
"""Of a file that can be a document."""

_FIRST = {"<": "xml", "{": "json"}


def format_of(text: str) -> str:
    """ "xml" or "json". DocumentError."""
    first = text.lstrip("\ufeff \t\r\n")[:1]
    if first not in _FIRST:
        found = f"{first!r}" if first else "nothing"
        raise DocumentError(f"neither XML nor JSON: expected < or {{ first, not {found}", "", 1, 1)
    return _FIRST[first]


def read(document: Document, text: str) -> Any:
    """The value of such a document. DocumentError, with the place."""
    if len(text) > LONGEST:
        raise DocumentError(f"a document of {len(text)} characters is too long: expected at most {LONGEST}")
    try:
        text.encode()
    except UnicodeEncodeError as error:
        line = text.count("\n", 0, error.start) + 1
        column = error.start - text.rfind("\n", 0, error.start)
        raise DocumentError("half of a surrogate pair is no text", "", line, column) from None
    return _module(format_of(text)).read(document, text.removeprefix("\ufeff"))


def write(document: Document, value: Any, form: str) -> str:
    """A value as such a document, "xml" or "json". UnwritableError if it does not fit."""
    if form not in FORMATS:
        raise ValueError(f"a format is one of {', '.join(FORMATS)}, not {form!r}")
    try:
        document.check(value)
    except DocumentError as error:
        raise UnwritableError(error.message, error.where) from None
    text: str = _module(form).write(document, value)
    if len(text) > LONGEST:
        raise UnwritableError(f"the document has {len(text)} characters: expected at most {LONGEST}", document.name)
    return text


def characters(data: bytes) -> str:
    """The characters of a file: UTF-8, or UTF-16 with its mark. DocumentError."""
    if len(data) > MOST_BYTES:
        raise DocumentError(f"a document of more than {MOST_BYTES} bytes is too long")
    encoding = "utf-16" if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) else "utf-8-sig"
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise DocumentError(f"byte {error.start} (line {line}) is no {encoding.upper().removesuffix('-SIG')}") from None


def _module(form: str) -> Any:
    return import_module(f".{form}_documents", __package__)

# SPDX-License-Identifier: MIT
"""Values in memory by the name of their type, as a command line or a map's own description gives it.

A type is a number (`int32`, `double`), `bool`, `decimal`, `datetime`, `timedelta`, `guid`, `utf8[16]`, `utf16[16]`,
`bytes[16]`; any of these in big endian (`int32be`); an array of them (`int32[4]`); a structure in the canonical text
that typed maps have (`{0 int32 x;4 int32 y}8`); or `MODULE:CLASS`, a class derived from Struct.

Descriptions in maps are other programs' bytes: their length, depth and sizes are limited, and their names are only
printed."""

from __future__ import annotations

import contextlib
import functools
import itertools
import json
import re
import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal, InvalidOperation
from struct import Struct as Format
from typing import Annotated, Any

from ..structs import ByteOrder, FixedBytes, Struct, Utf8, Utf16
from ..structs import markers as _markers
from .ending import Failure

__all__ = ["NAMES", "Shape", "plain", "shape_of"]

LONGEST, DEEPEST, LARGEST = 1 << 16, 16, 1 << 26  # of a description: letters, nested structures, bytes

_ALIASES = {
    "sbyte": "int8", "byte": "uint8", "short": "int16", "ushort": "uint16", "int": "int32", "uint": "uint32",
    "long": "int64", "ulong": "uint64", "half": "float16", "single": "float32", "float": "float32",
    "double": "float64", "char": "char16", "boolean": "bool", "uuid": "guid", "timespan": "timedelta",
}  # fmt: skip
_OTHERS = {"bool": bool, "decimal": Decimal, "datetime": datetime, "timedelta": timedelta, "guid": uuid.UUID}
_CODES = {
    "int8": "b", "uint8": "B", "int16": "h", "uint16": "H", "int32": "i", "uint32": "I", "int64": "q", "uint64": "Q",
    "float16": "e", "float32": "f", "float64": "d",
}  # fmt: skip
_ORDERED = (*_CODES, "char16")  # these have a byte order
NAMES = (*_ORDERED, *_OTHERS)
_WORD = re.compile(r"(?:enum )?([a-z]+[0-9]*)")
_LENGTH = re.compile(r"\[([0-9]{1,10})\]")


class Shape:
    """A type: its `size` in bytes, its `text`, and its values from and to bytes."""

    def __init__(self, text: str, size: int) -> None:
        if size > LARGEST:
            raise Failure(f"{text:.60}: {size} bytes are more than the {LARGEST} that one value may have here")
        self.text = text
        self.size = size

    def read(self, data: bytes, at: int = 0) -> Any:
        """The value in these bytes, as Python has it; a text that says so for bytes that mean nothing."""
        raise NotImplementedError

    def values(self, data: bytes) -> list[Any]:
        """The values in these bytes, one behind the other, as JSON has them (`plain`)."""
        return [plain(self.read(data, at)) for at in range(0, len(data), self.size)]

    def write(self, value: Any) -> bytes:
        """The bytes of a value as JSON has it, or, for what is no number, as text. Failure if it does not fit."""
        raise NotImplementedError

    def parts(self) -> Iterator[tuple[int, str, Shape]]:
        """The fields, or the elements, each with its offset and name; nothing of what has none."""
        return iter(())

    def leaves(self, most: int) -> list[tuple[int, str, Shape]]:
        """What has no parts any more, with offsets and names as `corners[1].x`. A part that would make them more than
        `most` stays whole."""
        found: list[tuple[int, str, Shape]] = [(0, "", self)]
        at = 0
        while at < len(found):
            offset, name, shape = found[at]
            parts = list(itertools.islice(shape.parts(), most + 1))
            if not parts or len(found) - 1 + len(parts) > most:
                at += 1
                continue
            inner = [(offset + o, f"{name}.{n}" if name and n[0] != "[" else name + n, s) for o, n, s in parts]
            found[at : at + 1] = inner
        return found


class _Scalar(Shape):
    def __init__(self, text: str, struct: type[Struct], parse: Callable[[Any], Any]) -> None:
        super().__init__(text, struct.layout.size)
        self.struct = struct
        self.parse = parse

    def read(self, data: bytes, at: int = 0) -> Any:
        value: Any = self.struct.from_bytes(data[at : at + self.size])
        try:
            return value.value
        except ValueError as error:
            return f"<{error}>"

    def write(self, value: Any) -> bytes:
        try:
            made: Any = self.struct
            return bytes(made(self.parse(value)))
        except (ValueError, TypeError, InvalidOperation, OverflowError) as error:
            raise Failure(f"{value!r} is no {self.text} ({error})") from None


class _Number(_Scalar):
    """Of which there may be millions."""

    def __init__(self, text: str, code: str, struct: type[Struct], parse: Callable[[Any], Any]) -> None:
        super().__init__(text, struct, parse)
        self.code = Format(code)

    def read(self, data: bytes, at: int = 0) -> Any:
        return self.code.unpack_from(data, at)[0]

    def values(self, data: bytes) -> list[Any]:
        # What is neither infinite nor NaN is already as JSON has it.
        return [value if value - value == 0 else plain(value) for (value,) in self.code.iter_unpack(data)]


class _Array(Shape):
    def __init__(self, element: Shape, count: int, text: str) -> None:
        super().__init__(text, element.size * count)
        self.element = element
        self.count = count

    def read(self, data: bytes, at: int = 0) -> Any:
        return [self.element.read(data, at + i * self.element.size) for i in range(self.count)]

    def write(self, value: Any) -> bytes:
        values = _from_json(value)
        if not isinstance(values, list) or len(values) != self.count:
            raise Failure(f"{self.text:.60} takes a JSON list of {self.count} values, not {value!r:.60}")
        return b"".join(self.element.write(each) for each in values)

    def parts(self) -> Iterator[tuple[int, str, Shape]]:
        return ((i * self.element.size, f"[{i}]", self.element) for i in range(self.count))


class _Structure(Shape):
    def __init__(self, text: str, fields: list[tuple[int, str, Shape]], size: int) -> None:
        super().__init__(text, size)
        self.fields = fields
        for offset, name, shape in fields:
            if offset + shape.size > size:
                raise Failure(f"the description of a structure has a field {name!r:.40} behind its end")

    def read(self, data: bytes, at: int = 0) -> Any:
        return {name: shape.read(data, at + offset) for offset, name, shape in self.fields}

    def write(self, value: Any) -> bytes:
        values = _from_json(value)
        names = [name for _, name, _ in self.fields]
        if not isinstance(values, dict) or sorted(values) != sorted(names):
            raise Failure(f"a structure takes a JSON object with the fields {', '.join(names):.200}")
        data = bytearray(self.size)
        for offset, name, shape in self.fields:
            data[offset : offset + shape.size] = shape.write(values[name])
        return bytes(data)

    def parts(self) -> Iterator[tuple[int, str, Shape]]:
        return ((offset, name or "?", shape) for offset, name, shape in self.fields)


def _from_json(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except ValueError as error:
        raise Failure(f"{value!r:.60} is no JSON ({error})") from None


def shape_of(text: str) -> Shape:
    """The type of this name. Failure if there is none."""
    if ":" in text and not text.startswith("{"):
        return _of_class(text)
    if len(text) > LONGEST:
        raise Failure(f"a description of {len(text)} letters is longer than any that is read here")
    reader = _Reader(text)
    shape = reader.shape(0)
    if reader.at != len(text):
        raise Failure(f"{text:.60}: {text[reader.at :]!r:.40} is no part of a type")
    return shape


def _of_class(text: str) -> Shape:
    import importlib
    import sys

    module, _, name = text.partition(":")
    if not all(part.isidentifier() for part in (*module.split("."), *name.split("."))):
        raise Failure(f"{text!r:.60} is no MODULE:CLASS")
    sys.path.insert(0, "")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise Failure(f"{text}: {error}") from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the module is the user's program
        raise Failure(f"{text}: {_where(error)}{type(error).__name__}: {error}") from None
    finally:
        with contextlib.suppress(ValueError):  # the module may have changed it
            sys.path.remove("")
    if not (isinstance(found, type) and issubclass(found, Struct)):
        raise Failure(f"{text} is no class derived from memorymapped.Struct")
    return shape_of(found.layout.text)


def _where(error: BaseException) -> str:
    """In which line of the user's module it was raised."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    if last is None or last.tb_frame.f_code.co_filename.startswith("<"):
        return ""  # a syntax error, which says its line itself
    return f"{last.tb_frame.f_code.co_filename}, line {last.tb_lineno}: "


class _Reader:
    """Reads a type from left to right."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0

    def take(self, pattern: re.Pattern[str]) -> re.Match[str] | None:
        match = pattern.match(self.text, self.at)
        if match:
            self.at = match.end()
        return match

    def wrong(self) -> Failure:
        return Failure(f"{self.text[self.at :]!r:.60} is no type: one of {', '.join(NAMES)}, utf8[n], utf16[n], "
                       "bytes[n], TYPE[n], MODULE:CLASS")  # fmt: skip

    def shape(self, depth: int) -> Shape:
        begin = self.at
        if self.text.startswith("{", self.at):
            shape = self.structure(depth)
        else:
            word = self.take(_WORD)
            if word is None:
                raise self.wrong()
            name = word[1]
            # "int32be": the letters behind the digits are not the pattern's.
            shape = self.scalar(name, begin)
        while True:
            length = self.take(_LENGTH)
            if length is None:
                return shape
            count = int(length[1])
            if not count:
                raise Failure(f"{self.text[begin : self.at]:.60}: an array has at least one element")
            shape = _Array(shape, count, self.text[begin : self.at])

    def scalar(self, name: str, begin: int) -> Shape:
        name = _ALIASES.get(name, name)
        count = 0
        if name in ("utf8", "utf16", "bytes"):
            length = self.take(_LENGTH)
            if length is None or not 0 < int(length[1]) <= LARGEST // 2:
                raise Failure(f"{name} needs its length, as in {name}[16], of at most {LARGEST // 2}")
            count = int(length[1])
        elif name not in NAMES:
            self.at = begin
            raise self.wrong()
        big = self.text.startswith("be", self.at)
        self.at += 2 * big
        if big and name not in (*_ORDERED, "utf16"):
            raise Failure(f"{name} has no byte order")
        text = self.text[begin : self.at]
        if name in _CODES:
            return _Number(text, "<>"[big] + _CODES[name], *_scalar(name, count, big))
        return _Scalar(text, *_scalar(name, count, big))

    def structure(self, depth: int) -> Shape:
        if depth == DEEPEST:
            raise Failure(f"a description of more than {DEEPEST} structures in each other is not read here")
        begin = self.at
        self.at += 1
        fields = []
        while True:
            offset = self.take(_OFFSET)
            if offset is None:
                raise self.wrong()
            shape = self.shape(depth + 1)
            name = self.take(_NAME)
            if name is None:
                raise self.wrong()
            fields.append((int(offset[1]), name[1], shape))
            if name[2] == "}":
                break
        size = self.take(_SIZE)
        if size is None:
            raise self.wrong()
        return _Structure(self.text[begin : self.at], fields, int(size[0]))


_OFFSET = re.compile(r"([0-9]{1,10}) ")
_NAME = re.compile(r" ([^;{}]*)([;}])")
_SIZE = re.compile(r"[0-9]{1,10}")


@functools.cache
def _scalar(name: str, count: int, big: bool) -> tuple[type[Struct], Callable[[Any], Any]]:
    """A structure of one field `value` of this type, and what makes its value from a text."""
    if name == "utf8":
        kind: Any = Annotated[str, Utf8(count)]
    elif name == "utf16":
        kind = Annotated[str, Utf16(count)]
    elif name == "bytes":
        kind = Annotated[bytes, FixedBytes(count)]
    else:
        kind = _OTHERS.get(name) or getattr(_markers, name)
    if big:
        kind = Annotated[kind, ByteOrder("big")]
    meta: Any = type(Struct)
    struct: type[Struct] = meta("Value", (Struct,), {"__annotations__": {"value": kind}, "__module__": __name__})
    return struct, _PARSERS.get(name, _text if name.startswith("utf") else _integer)


def _integer(value: Any) -> int:
    return int(value, 0) if isinstance(value, str) else value


def _float(value: Any) -> float:
    return float(value)


def _bool(value: Any) -> bool:
    known = {"true": True, "1": True, "false": False, "0": False}
    found = value if isinstance(value, bool) else known.get(str(value).lower())
    if found is None:
        raise ValueError("true or false")
    return bool(found)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else str(value)


def _bytes(value: Any) -> bytes:
    return bytes.fromhex(value)


def _timedelta(value: Any) -> timedelta:
    return timedelta(seconds=float(value))


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "float16": _float,
    "float32": _float,
    "float64": _float,
    "char16": _text,
    "bool": _bool,
    "decimal": lambda value: Decimal(str(value)),
    "datetime": lambda value: datetime.fromisoformat(value),
    "timedelta": _timedelta,
    "guid": lambda value: uuid.UUID(value),
    "bytes": _bytes,
}


def plain(value: Any) -> Any:
    """The value as JSON has it: what JSON has no word for, as `mmf set` takes it."""
    if isinstance(value, dict):
        return {name: plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bytes):
        return value.hex()
    if isinstance(value, float) and value - value != 0:
        return str(value)  # JSON has neither infinity nor NaN
    return value if isinstance(value, (bool, int, float, str)) else str(value)

# SPDX-License-Identifier: MIT
"""The kinds of fields: how many bytes a value has, how they are aligned, and what they mean.

Layouts are C's on the machines that we know (System V x86-64, aarch64) and C#'s sequential one, which is the same: an
item is aligned to its own size, a structure to its widest item. Where .NET has a type of its own its bytes are those of
the type in memory, as `Write<T>` and `unsafe` code have them:

- decimal: flags, high, low, middle. (`Write(decimal)`, and so `write_decimal`, puts low, middle, high, flags.)
- DateTime: ticks of 100 ns since the year 1 in 62 bits, and the kind in the highest two: 0 unspecified, 1 UTC, 2 and 3
  local. TimeSpan: ticks. Guid: its first three parts in the byte order of the field.

`text` names a kind in the layout's canonical form: it is part of what is compared when a typed map is opened, so it
never changes its meaning."""

from __future__ import annotations

import struct
import sys
from datetime import UTC, datetime, timedelta

from .._native import structs as native
from .._typing import TYPE_CHECKING
from ..errors import ValueOutOfRangeError, shown

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal
    from enum import Enum
    from typing import Any
    from uuid import UUID

    from .layout import Layout

__all__ = [
    "CODES",
    "ArrayKind",
    "BytesKind",
    "Coded",
    "DateTimeKind",
    "DecimalKind",
    "EnumKind",
    "Float16Kind",
    "GuidKind",
    "Kind",
    "Nested",
    "Number",
    "TextKind",
    "TimeSpanKind",
    "spelled",
]


class Kind:
    """A kind of field: `size` and `alignment` in bytes, `text` in the canonical form."""

    __slots__ = ("alignment", "size", "text")

    def __init__(self, text: str, size: int, alignment: int) -> None:
        self.text = text
        self.size = size
        self.alignment = alignment

    def __repr__(self) -> str:
        return self.text

    @property
    def described(self) -> str:
        """What it is, in a sentence."""
        return self.text

    @property
    def order(self) -> str:
        """ "<" or ">"; "|" where there is no byte order."""
        return "|"

    def turned(self, order: str) -> Kind:
        """The same in another byte order, for what has one of its own."""
        return self

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        """What a named field of this kind is in the language of PEP 3118: lengths, and the element."""
        return (), f"{self.size}x"  # raw, for NumPy; it takes "16s" for text, which ends before its last zeros

    def field(self, name: str, offset: int) -> native.Field:
        """A field of this kind."""
        raise NotImplementedError


CODES = {
    # name: number of the native code, struct's letter, size, described
    "bool": (0, "?", 1, "a bool"),
    "int8": (1, "b", 1, "int8 (-128 to 127)"),
    "uint8": (2, "B", 1, "uint8 (0 to 255)"),
    "int16": (3, "h", 2, "int16 (-32768 to 32767)"),
    "uint16": (4, "H", 2, "uint16 (0 to 65535)"),
    "int32": (5, "i", 4, "int32 (-2**31 to 2**31 - 1)"),
    "uint32": (6, "I", 4, "uint32 (0 to 2**32 - 1)"),
    "int64": (7, "q", 8, "int64 (-2**63 to 2**63 - 1)"),
    "uint64": (8, "Q", 8, "uint64 (0 to 2**64 - 1)"),
    "float32": (9, "f", 4, "float32"),
    "float64": (10, "d", 8, "float64"),
    "char16": (11, "H", 2, "char16 (one UTF-16 unit)"),
}


def spelled(member: tuple[tuple[int, ...], str]) -> str:
    """A member as a format has it."""
    lengths, element = member
    return f"({','.join(map(str, lengths))}){element}" if lengths else element


def _ordered(text: str, order: str, size: int) -> str:
    return text + "be" if order == ">" and size > 1 else text


def _swapped(order: str) -> bool:
    return order != {"little": "<", "big": ">"}[sys.byteorder]


class Number(Kind):
    """A number of the machine; `name` is its key in CODES. `convert` and `revert`: what stands for it in Python."""

    __slots__ = ("_order", "name")

    def __init__(self, name: str, order: str = "<", text: str | None = None) -> None:
        size = CODES[name][2]
        super().__init__(_ordered(text or name, order, size), size, size)
        self.name = name
        self._order = order

    @property
    def described(self) -> str:
        return CODES[self.name][3]

    @property
    def order(self) -> str:
        return self._order if self.size > 1 else "|"

    def turned(self, order: str) -> Kind:
        return Number(self.name, order)

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        return (), self._order + CODES[self.name][1]

    def field(self, name: str, offset: int) -> native.Field:
        number, _, size, _ = CODES[self.name]
        return native.Field(
            name, offset, size, self, self.member[1], number=number, swapped=_swapped(self._order), **self._codec()
        )

    def _codec(self) -> dict[str, Any]:
        return {}


class EnumKind(Number):
    """An enumeration of integers, in the bytes of `name`."""

    __slots__ = ("enum",)

    def __init__(self, enum: type[Enum], name: str = "int32", order: str = "<") -> None:
        super().__init__(name, order, f"enum {name}")
        if not name.startswith(("int", "uint")):
            raise TypeError(f"an enumeration lies in the bytes of an integer, not of {name}")
        self.enum = enum
        if not len(enum):
            raise TypeError(f"{enum.__name__} has no members")
        for member in enum:
            if not isinstance(member.value, int):
                raise TypeError(f"{member} is {shown(member.value)}: only integers can be stored as {name}")
            low, high = (0, 2 ** (8 * self.size)) if name[0] == "u" else (-(2 ** (8 * self.size - 1)),) * 2
            if not low <= member.value < (high if low == 0 else -low):
                raise ValueOutOfRangeError(f"{member} is {member.value}, which does not fit in {name}")

    @property
    def described(self) -> str:
        return f"a {self.enum.__name__}"

    def turned(self, order: str) -> Kind:
        return EnumKind(self.enum, self.name, order)

    def _codec(self) -> dict[str, Any]:
        enum = self.enum
        known = {member.value: member for member in enum}

        def decode(number: int) -> Any:
            member = known.get(number)
            return enum(number) if member is None else member  # flags are made when they are asked for

        def encode(value: Any) -> int:
            if isinstance(value, enum):
                return value.value  # type: ignore[no-any-return]
            if isinstance(value, int) and not isinstance(value, bool):
                return enum(value).value  # type: ignore[no-any-return]
            raise TypeError(f"{shown(value)} is no {enum.__name__}")

        return {"decode": decode, "encode": encode}


_FIRST = datetime(1, 1, 1)
_TICKS_OF_DAY = 864_000_000_000
_LAST_TICK = 3_155_378_975_999_999_999  # of the year 9999


class DateTimeKind(Number):
    """.NET's DateTime, as `datetime.datetime`: aware in UTC for its kind UTC, aware in this machine's zone for local,
    naive for unspecified. Ticks of 100 ns below a microsecond are not seen by Python."""

    __slots__ = ()

    def __init__(self, order: str = "<") -> None:
        super().__init__("uint64", order, "datetime")

    @property
    def described(self) -> str:
        return "a datetime"

    def turned(self, order: str) -> Kind:
        return DateTimeKind(order)

    def _codec(self) -> dict[str, Any]:
        return {"decode": _datetime_of, "encode": _ticks_of}


def _datetime_of(raw: int) -> datetime:
    ticks, kind = raw & (1 << 62) - 1, raw >> 62
    if ticks > _LAST_TICK:
        raise ValueError(f"{raw:#018x} is no DateTime: it lies behind the year 9999")
    moment = _FIRST + timedelta(microseconds=ticks // 10)
    if kind == 0:
        return moment
    if kind == 1:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.replace(fold=kind == 2).astimezone()
    except (OverflowError, OSError, ValueError) as error:
        raise ValueError(f"{moment} in this machine's zone lies outside of the years 1 to 9999") from error


def _ticks_of(value: datetime) -> int:
    if not isinstance(value, datetime) or value != value:  # pandas has one that is none
        raise TypeError(f"{shown(value)} is no datetime")
    kind = 0
    if value.tzinfo is not None:
        try:
            value = value.astimezone(UTC)
        except OverflowError as error:
            raise ValueOutOfRangeError(f"{value} lies outside of the years 1 to 9999 in UTC") from error
        kind = 1
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (value.toordinal() - 1) * _TICKS_OF_DAY + (seconds * 1_000_000 + value.microsecond) * 10 | kind << 62


class TimeSpanKind(Number):
    """.NET's TimeSpan, as `datetime.timedelta`. Ticks of 100 ns below a microsecond are not seen by Python."""

    __slots__ = ()

    def __init__(self, order: str = "<") -> None:
        super().__init__("int64", order, "timedelta")

    @property
    def described(self) -> str:
        return "a timedelta (of about 29,000 years at most)"

    def turned(self, order: str) -> Kind:
        return TimeSpanKind(order)

    def _codec(self) -> dict[str, Any]:
        def decode(ticks: int) -> timedelta:
            return timedelta(microseconds=ticks // 10 if ticks >= 0 else -(-ticks // 10))

        def encode(value: timedelta) -> int:
            if not isinstance(value, timedelta):
                raise TypeError(f"{shown(value)} is no timedelta")
            ticks = value // timedelta(microseconds=1) * 10
            if not -(2**63) <= ticks < 2**63:
                raise ValueOutOfRangeError(f"{value!r} has more than 64 bits of ticks of 100 ns (about 29,000 years)")
            return ticks

        return {"decode": decode, "encode": encode}


class Coded(Kind):
    """Bytes that Python code makes a value of."""

    __slots__ = ()

    def field(self, name: str, offset: int) -> native.Field:
        return native.Field(
            name, offset, self.size, self, self.unit_format, decode=self.decode, encode=self.encode, key=self.key
        )

    @property
    def unit_format(self) -> str:
        """Of an array of values, in the language of PEP 3118: what each value consists of, if that is less than it."""
        return "B"

    def decode(self, raw: bytes) -> Any:
        """The value of these bytes."""
        raise NotImplementedError

    def encode(self, value: Any) -> bytes:
        """The bytes of a value, all of them."""
        raise NotImplementedError

    @property
    def key(self) -> Callable[[bytes], Any] | None:
        """By what values are compared; None: by their bytes."""
        return None


class TextKind(Coded):
    """Text of at most `capacity` units (bytes of UTF-8, or UTF-16 units), filled up with zeros. It ends at the first
    zero, or at the end. `truncate`: text that is longer is cut at a character, not refused. `terminated`: one unit is
    kept for a zero."""

    __slots__ = ("_order", "capacity", "codec", "terminated", "truncate", "unit")

    def __init__(
        self, unit: int, capacity: int, order: str = "<", truncate: bool = False, terminated: bool = False
    ) -> None:
        name = "utf8" if unit == 1 else "utf16"
        super().__init__(_ordered(f"{name}[{capacity}]", order, unit), unit * capacity, unit)
        self.unit = unit
        self.capacity = capacity
        self.truncate = truncate
        self.terminated = terminated
        self._order = order
        self.codec = "utf-8" if unit == 1 else "utf-16-le" if order == "<" else "utf-16-be"

    @property
    def described(self) -> str:
        return f"text of at most {self._room} {'bytes of UTF-8' if self.unit == 1 else 'UTF-16 units'}"

    @property
    def _room(self) -> int:
        return self.capacity - self.terminated

    @property
    def order(self) -> str:
        return self._order if self.unit > 1 else "|"

    def turned(self, order: str) -> Kind:
        return TextKind(self.unit, self.capacity, order, self.truncate, self.terminated)

    def decode(self, raw: bytes) -> str:
        return self._used(raw).decode(self.codec, "strict" if self.unit == 1 else "surrogatepass")

    def encode(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"text is a str, not {shown(value)}")
        if "\0" in value:
            raise ValueError(f"{shown(value)} has a zero in it, which ends a text")
        raw = value.encode(self.codec, "strict" if self.unit == 1 else "surrogatepass")
        room = self._room * self.unit
        if len(raw) > room:
            if not self.truncate:
                raise ValueOutOfRangeError(
                    f"{shown(value)} needs {len(raw) // self.unit}, and there is {self.described}"
                )
            raw = self._cut(raw, room)
        return raw.ljust(self.size, b"\0")

    def _used(self, raw: bytes) -> bytes:
        if self.unit == 1:
            return raw.partition(b"\0")[0]
        at = raw.find(b"\0\0")
        while at >= 0 and at % 2:  # of two units
            at = raw.find(b"\0\0", at + 1)
        return raw if at < 0 else raw[:at]

    def _cut(self, raw: bytes, room: int) -> bytes:
        """At a character's boundary."""
        if self.unit == 1:
            while raw[room] & 0xC0 == 0x80:
                room -= 1
        elif raw[room + (self._order == "<")] & 0xFC == 0xDC and raw[room - 2 + (self._order == "<")] & 0xFC == 0xD8:
            room -= 2
        return raw[:room]

    @property
    def key(self) -> Callable[[bytes], Any]:
        return self._used

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        return ((), f"{self.size}s") if self.unit == 1 else ((self.capacity,), self._order + "H")

    @property
    def unit_format(self) -> str:
        return f"{self.size}s" if self.unit == 1 else self._order + "H"


class BytesKind(Coded):
    """So many bytes; fewer are filled up with zeros."""

    __slots__ = ()

    def __init__(self, size: int) -> None:
        super().__init__(f"bytes[{size}]", size, 1)

    @property
    def described(self) -> str:
        return f"{self.size} bytes"

    def decode(self, raw: bytes) -> bytes:
        return raw

    def encode(self, value: Any) -> bytes:
        try:
            block = memoryview(value)
        except TypeError:
            block = None
        if block is None or block.ndim != 1 or block.format not in ("B", "b", "c"):
            raise TypeError(f"bytes are needed, not {shown(value)}")
        raw = block.tobytes()
        if len(raw) > self.size:
            raise ValueOutOfRangeError(f"{len(raw)} bytes do not fit in {self.size}")
        return raw.ljust(self.size, b"\0")


class DecimalKind(Coded):
    """.NET's decimal as it lies in memory: flags, high, low, middle, each of four bytes."""

    __slots__ = ("_order",)

    def __init__(self, order: str = "<") -> None:
        super().__init__(_ordered("decimal", order, 16), 16, 8)
        self._order = order

    @property
    def described(self) -> str:
        return "a Decimal of at most 96 bits and 28 places"

    @property
    def order(self) -> str:
        return self._order

    def turned(self, order: str) -> Kind:
        return DecimalKind(order)

    def decode(self, raw: bytes) -> Decimal:
        from .. import decimals

        flags, high, low, middle = struct.unpack(self._order + "4I", raw)
        return decimals.decode(struct.pack("<4I", low, middle, high, flags))

    def encode(self, value: Any) -> bytes:
        from .. import decimals

        low, middle, high, flags = struct.unpack("<4I", decimals.encode(value))
        return struct.pack(self._order + "4I", flags, high, low, middle)

    @property
    def key(self) -> Callable[[bytes], Any]:
        def key(raw: bytes) -> Any:
            try:
                return self.decode(raw)
            except ValueError:
                return raw

        return key


class GuidKind(Coded):
    """.NET's Guid, as `uuid.UUID`."""

    __slots__ = ("_order",)

    def __init__(self, order: str = "<") -> None:
        super().__init__(_ordered("guid", order, 16), 16, 4)
        self._order = order

    @property
    def described(self) -> str:
        return "a UUID"

    @property
    def order(self) -> str:
        return self._order

    def turned(self, order: str) -> Kind:
        return GuidKind(order)

    def decode(self, raw: bytes) -> UUID:
        from uuid import UUID

        return UUID(bytes_le=raw) if self._order == "<" else UUID(bytes=raw)

    def encode(self, value: Any) -> bytes:
        from uuid import UUID

        if not isinstance(value, UUID):
            raise TypeError(f"{shown(value)} is no UUID")
        return value.bytes_le if self._order == "<" else value.bytes


class Float16Kind(Coded):
    """A float of 16 bits (.NET's Half)."""

    __slots__ = ("_order",)

    def __init__(self, order: str = "<") -> None:
        super().__init__(_ordered("float16", order, 2), 2, 2)
        self._order = order

    @property
    def described(self) -> str:
        return "float16 (up to 65504)"

    @property
    def order(self) -> str:
        return self._order

    def turned(self, order: str) -> Kind:
        return Float16Kind(order)

    def decode(self, raw: bytes) -> float:
        return struct.unpack(self._order + "e", raw)[0]  # type: ignore[no-any-return]

    def encode(self, value: Any) -> bytes:
        if isinstance(value, (str, bytes, bytearray)) or not hasattr(value, "__float__") | hasattr(value, "__index__"):
            raise TypeError(f"{shown(value)} is no number")
        try:
            return struct.pack(self._order + "e", float(value))
        except OverflowError as error:
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in {self.described}") from error

    @property
    def key(self) -> Callable[[bytes], Any]:
        def key(raw: bytes) -> Any:
            value = self.decode(raw)
            return value if value == value else raw[-2:]  # what is read again is found again

        return key

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        return (), self._order + "e"

    @property
    def unit_format(self) -> str:
        return self._order + "e"


class Nested(Kind):
    """A structure in a structure."""

    __slots__ = ("layout", "struct")

    def __init__(self, layout: Layout, struct: type | None = None) -> None:
        super().__init__(layout.text, layout.size, layout.alignment)
        self.layout = layout
        self.struct: type = struct or layout.struct  # a class that adds methods has the layout of its base

    def __repr__(self) -> str:
        return self.layout.name

    @property
    def described(self) -> str:
        return f"a {self.layout.name}"

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        return ((), self.layout.format) if self.layout.format.startswith("T{") else super().member

    def field(self, name: str, offset: int) -> native.Field:
        return native.Field(
            name, offset, self.size, self, self.layout.format, nested=self.layout, nested_class=self.struct
        )


class ArrayKind(Kind):
    """So many of one kind, one behind the other."""

    __slots__ = ("count", "element")

    def __init__(self, element: Kind, count: int) -> None:
        self.element = element
        self.count = count
        super().__init__(self._spelled(lambda kind: kind.text), element.size * count, element.alignment)

    def _spelled(self, spell: Callable[[Kind], str]) -> str:
        """The element, then the lengths from the outermost inwards, as C has them."""
        lengths, kind = "", self
        while True:
            lengths += f"[{kind.count}]"
            if not isinstance(kind.element, ArrayKind):
                return spell(kind.element) + lengths
            kind = kind.element

    def __repr__(self) -> str:
        return self._spelled(repr)

    @property
    def described(self) -> str:
        return f"a sequence of {self.count} elements, each {self.element.described}"

    @property
    def order(self) -> str:
        return self.element.order

    def turned(self, order: str) -> Kind:
        return ArrayKind(self.element.turned(order), self.count)

    @property
    def member(self) -> tuple[tuple[int, ...], str]:
        lengths, element = self.element.member
        return (self.count, *lengths), element

    def field(self, name: str, offset: int) -> native.Field:
        return native.Field(
            name, offset, self.size, self, spelled(self.member), element=self.element.field("", 0), count=self.count
        )

# SPDX-License-Identifier: MIT
"""What annotations of a structure's fields are made of.

The numbers `int8` ... `uint64`, `float16`, `float32`, `float64`, `char16` are for type checkers an int, a float, a str.
bool, an enumeration of integers, `decimal.Decimal`, `datetime`, `timedelta` and `UUID` stand for themselves. What needs
a size says so with a marker: `Annotated[str, Utf8(32)]`."""

from __future__ import annotations

from typing import Annotated, Literal

from .._native.structs import Array
from ..errors import OutOfRangeError, shown
from .kinds import BytesKind, Float16Kind, Kind, Number, TextKind

__all__ = [
    "Array",
    "ByteOrder",
    "FixedBytes",
    "Length",
    "Offset",
    "Utf8",
    "Utf16",
    "char16",
    "float16",
    "float32",
    "float64",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
]

int8 = Annotated[int, Number("int8")]
int16 = Annotated[int, Number("int16")]
int32 = Annotated[int, Number("int32")]
int64 = Annotated[int, Number("int64")]
uint8 = Annotated[int, Number("uint8")]
uint16 = Annotated[int, Number("uint16")]
uint32 = Annotated[int, Number("uint32")]
uint64 = Annotated[int, Number("uint64")]
float16 = Annotated[float, Float16Kind()]
float32 = Annotated[float, Number("float32")]
float64 = Annotated[float, Number("float64")]
char16 = Annotated[str, Number("char16")]


def _positive(value: int, what: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{what} is an int, not {shown(value)}")
    if value <= 0 or value >= 2**31:
        raise OutOfRangeError(f"{what} is 1 to 2**31 - 1, not {shown(value)}")
    return value


def Utf8(capacity: int, *, truncate: bool = False, terminated: bool = False) -> Kind:
    """`Annotated[str, Utf8(32)]`: text of at most `capacity` bytes of UTF-8, in a field of so many, filled with zeros.

    Text that is longer is refused (ValueOutOfRangeError), or with `truncate` cut at a character. `terminated` keeps the
    last byte zero, for C programs that rely on it. Text with a zero in it is refused."""
    return TextKind(1, _positive(capacity, "the capacity of a text"), "<", truncate, terminated)


def Utf16(capacity: int, *, truncate: bool = False, terminated: bool = False) -> Kind:
    """`Annotated[str, Utf16(16)]`: text of at most `capacity` UTF-16 units of two bytes (characters beyond U+FFFF take
    two), as `Utf8`. What C# calls `fixed char name[16]`."""
    return TextKind(2, _positive(capacity, "the capacity of a text"), "<", truncate, terminated)


def FixedBytes(size: int) -> Kind:
    """`Annotated[bytes, FixedBytes(16)]`: so many bytes. What is assigned may be shorter: zeros follow."""
    return BytesKind(_positive(size, "the size of bytes"))


class Offset:
    """`Annotated[int32, Offset(8)]`: the field lies at this byte of the structure; fields may overlap then."""

    __slots__ = {"offset": "Bytes from the start of the structure."}

    def __init__(self, offset: int) -> None:
        if isinstance(offset, bool) or not isinstance(offset, int):
            raise TypeError(f"an offset is an int, not {shown(offset)}")
        if not 0 <= offset < 2**31:
            raise OutOfRangeError(f"an offset is 0 to 2**31 - 1, not {shown(offset)}")
        self.offset = offset


class ByteOrder:
    """`Annotated[int32, ByteOrder("big")]`: the field's own byte order, "little" or "big"."""

    __slots__ = {"order": '"<" or ">".'}

    def __init__(self, order: Literal["little", "big"]) -> None:
        self.order = order_of(order)


class Length:
    """`Annotated[Array[int32], Length(n)]`: the number of elements, where that is no literal. Several numbers make an
    array of arrays, the outermost first."""

    __slots__ = {"counts": "The lengths, from the outermost inwards."}

    def __init__(self, *counts: int) -> None:
        if not counts:
            raise TypeError("an array needs its length")
        self.counts = tuple(_positive(count, "the length of an array") for count in counts)


def order_of(byte_order: str) -> str:
    """ "<" or ">"."""
    if byte_order not in ("little", "big"):
        raise ValueError(f"a byte order is 'little' or 'big', not {shown(byte_order)}")
    return "<" if byte_order == "little" else ">"

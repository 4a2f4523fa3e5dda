# SPDX-License-Identifier: MIT
"""Structures: declared by annotations, read and written by field."""

from __future__ import annotations

import copy
import ctypes
import gc
import inspect
import math
import os
import pickle
import sys
import threading
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, NewType
from uuid import UUID

import numpy
import pandas
import pytest

from memorymapped import (
    Array,
    ByteOrder,
    ClosedError,
    FixedBytes,
    Length,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
    Offset,
    OutOfRangeError,
    SharedMemory,
    Struct,
    Utf8,
    Utf16,
    ValueOutOfRangeError,
    char16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)


class Color(IntEnum):
    RED = 1
    BLUE = 2


class Flags(IntFlag):
    A = 1
    B = 2


class Point(Struct):
    x: int32
    y: int32

    def length(self) -> float:
        return math.hypot(self.x, self.y)


class MyData(Struct):
    my_int: int32
    pt: Point


class Everything(Struct):
    flag: bool
    i8: int8
    u8: uint8
    i16: int16
    u16: uint16
    i32: int32
    u32: uint32
    i64: int64
    u64: uint64
    f16: float16
    f32: float32
    f64: float64
    char: char16
    name: Annotated[str, Utf8(8)]
    wide: Annotated[str, Utf16(5)]
    raw: Annotated[bytes, FixedBytes(5)]
    color: Color
    flags: Annotated[Flags, uint8]
    price: Decimal
    at: datetime
    span: timedelta
    key: UUID
    data: MyData
    points: Array[Point, Literal[3]]
    matrix: Annotated[Array[float64], Length(2, 3)]
    colors: Array[Color, Literal[2]]
    names: Array[Annotated[str, Utf8(4)], Literal[2]]


EVERYTHING: dict[str, Any] = {
    "flag": True,
    "i8": -128,
    "u8": 255,
    "i16": -(2**15),
    "u16": 2**16 - 1,
    "i32": -(2**31),
    "u32": 2**32 - 1,
    "i64": -(2**63),
    "u64": 2**64 - 1,
    "f16": 1.5,
    "f32": 0.25,
    "f64": -1e300,
    "char": "é",
    "name": "héllo",
    "wide": "x😀y",
    "raw": b"\0\x01\0\x02\0",
    "color": Color.BLUE,
    "flags": Flags.A | Flags.B,
    "price": Decimal("-1.10"),
    "at": datetime(2026, 11, 21, 1, 2, 3, 456789, UTC),
    "span": timedelta(days=-3, microseconds=7),
    "key": UUID("00112233-4455-6677-8899-aabbccddeeff"),
    "data": MyData(1, Point(2, 3)),
    "points": [Point(1, 2), Point(3, 4), Point(5, 6)],
    "matrix": [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]],
    "colors": [Color.RED, Color.BLUE],
    "names": ["a", "bcde"],
}


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        yield view


# ---------------------------------------------------------------------------------------------------------- layouts


def offsets(struct: type[Struct]) -> list[int]:
    return [field.offset for field in struct.layout.fields]


def test_fields_are_aligned_as_c_and_csharp_do() -> None:
    class Mixed(Struct):
        a: int8
        b: int32
        c: int8
        d: int64
        e: int16

    assert offsets(Mixed) == [0, 4, 8, 16, 24]
    assert (Mixed.layout.size, Mixed.layout.alignment) == (32, 8)
    assert Mixed.layout.padding == [(1, 3), (9, 7), (26, 6)]


def test_pack_limits_alignments() -> None:
    class Packed(Struct, pack=1):
        a: int8
        b: int32
        c: int64

    class Two(Struct, pack=2):
        a: int8
        b: int32
        c: int64

    assert (offsets(Packed), Packed.layout.size, Packed.layout.alignment) == ([0, 1, 5], 13, 1)
    assert (offsets(Two), Two.layout.size, Two.layout.alignment) == ([0, 2, 6], 14, 2)


def test_offsets_sizes_alignments_and_orders_can_be_given() -> None:
    class Given(Struct, size=64, align=16):
        a: Annotated[int32, Offset(8)]
        b: int8
        whole: Annotated[int64, Offset(8)]

    assert (offsets(Given), Given.layout.size, Given.layout.alignment) == ([8, 12, 8], 64, 16)
    value = Given(a=1, b=2)
    assert value.whole == 0x2_0000_0001

    class Big(Struct, byte_order="big"):
        a: int32
        b: Annotated[int32, ByteOrder("little")]
        name: Annotated[str, Utf16(2)]
        key: UUID
        numbers: Array[uint16, Literal[2]]
        pt: Point  # has its own

    key = UUID("00112233-4455-6677-8899-aabbccddeeff")
    big = Big(1, 1, "é", key, [1, 2], Point(1, 0))
    assert bytes(big)[:12] == bytes.fromhex("00000001 01000000 00e90000")
    assert bytes(big)[12:28] == key.bytes
    assert bytes(big)[28:36] == bytes.fromhex("00010002 01000000")
    assert (big.a, big.b, big.name, big.key, big.numbers.tolist(), big.pt.x) == (1, 1, "é", key, [1, 2], 1)


def test_the_layout_is_shown_with_its_padding() -> None:
    class Shown(Struct):
        a: int8
        pt: Point

    assert str(Shown.layout) == (
        "Shown: 12 bytes, aligned to 4\n"
        "  offset   size  type   name\n"
        "       0      1  int8   a\n"
        "       1      3         (padding)\n"
        "       4      8  Point  pt"
    )
    assert Shown.layout.text == "{0 int8 a;4 {0 int32 x;4 int32 y}8 pt}12"


def test_the_canonical_text_of_a_layout_never_changes() -> None:
    """It is stored in maps, and compared with that of later versions."""
    assert Everything.layout.text == (
        "{0 bool flag;1 int8 i8;2 uint8 u8;4 int16 i16;6 uint16 u16;8 int32 i32;12 uint32 u32;16 int64 i64;"
        "24 uint64 u64;32 float16 f16;36 float32 f32;40 float64 f64;48 char16 char;50 utf8[8] name;58 utf16[5] wide;"
        "68 bytes[5] raw;76 enum int32 color;80 enum uint8 flags;88 decimal price;104 datetime at;"
        "112 timedelta span;120 guid key;136 {0 int32 my_int;4 {0 int32 x;4 int32 y}8 pt}12 data;"
        "148 {0 int32 x;4 int32 y}8[3] points;"
        "176 float64[2][3] matrix;224 enum int32[2] colors;232 utf8[4][2] names}240"
    )
    assert Everything.layout.hash.hex() == "dedc31e4f00bdec7"


def test_a_class_attribute_is_the_field() -> None:
    assert (MyData.pt.offset, MyData.pt.size, MyData.pt.name) == (4, 8, "pt")  # type: ignore[attr-defined]
    assert MyData.__match_args__ == ("my_int", "pt")
    match MyData(1, Point(2, 3)):
        case MyData(1, Point(x, 3)):
            assert x == 2
        case _:
            pytest.fail("it has these fields")


def test_annotations_see_the_function_that_they_are_in() -> None:
    count = 3

    class Inner(Struct):
        a: int8

    class Outer(Struct):
        inner: Array[Inner, Literal[2]]
        more: Annotated[Array[int16], Length(count)]
        COUNT: ClassVar[int] = count

    assert Outer.layout.text == "{0 {0 int8 a}1[2] inner;2 int16[3] more}8"
    assert Outer.COUNT == 3


def bad(annotation: Any, **options: Any) -> type[Struct]:
    from memorymapped.structs.struct import StructType

    return StructType("Bad", (Struct,), {"__annotations__": {"a": annotation}, "__module__": __name__}, **options)  # type: ignore[return-value]


class Words(Enum):
    A = "a"


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (int, "int32"),
        (float, "float64"),
        (str, "Utf8"),
        (bytes, "FixedBytes"),
        (list[int], "Array"),
        (object, "a field is a number"),
        (Array[int32], "how many"),
        (Array, "how many"),
        (Array[int, Literal[3]], "int32"),
        (Annotated[str, int32], "int32 is for int"),
        (Annotated[int, Utf8(3)], "utf8"),
        (Annotated[Color, Utf8(3)], "integer"),
        (Words, "integers"),
        (Struct, "declares no fields"),
        ("list[int]", "Array"),
    ],
)
def test_what_cannot_be_a_field_is_refused_with_advice(annotation: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        bad(annotation)


def test_bad_declarations_are_refused() -> None:
    for count in (0, -1, 2**31):
        with pytest.raises(OutOfRangeError):
            Length(count)
        with pytest.raises(OutOfRangeError):
            Utf8(count)
    for offset in (-1, 2**31):
        with pytest.raises(OutOfRangeError):
            Offset(offset)
    with pytest.raises(TypeError):
        Utf8("8")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="little"):
        ByteOrder("<")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="power of two"):
        bad(int32, pack=3)
    with pytest.raises(ValueError, match="does not fit in size=3"):
        bad(int32, size=3)
    with pytest.raises(OutOfRangeError, match="2\\*\\*31"):
        bad(Annotated[int64, Offset(2**31 - 1)])
    with pytest.raises(ValueOutOfRangeError):
        bad(Annotated[IntEnum("Far", {"A": 300}), int8])
    with pytest.raises(ValueError, match="number of bytes"):
        bad(int32, size=-1)
    with pytest.raises(NameError, match="must be known where"):
        bad("Missing")
    with pytest.raises(TypeError, match="first field"):

        class Longer(Point):
            z: int32

    with pytest.raises(TypeError, match="is a field of Point"):

        class Other(Point):
            x = 5  # type: ignore[assignment]

    with pytest.raises(TypeError, match="name of a method"):

        class Method(Struct):
            replace: int32  # type: ignore[assignment]

    with pytest.raises(TypeError, match="nothing but its fields"):

        class Slots(Struct):
            __slots__ = ("more",)

    with pytest.raises(ValueOutOfRangeError) as caught:

        class Default(Struct):
            a: int8 = 1000

    assert "default of Default.a" in str(caught.value.__notes__)
    with pytest.raises(AttributeError, match="cannot be changed"):
        Point.x = 3
    with pytest.raises(AttributeError, match="cannot be deleted"):
        del Point.x
    with pytest.raises(TypeError, match="no fields"):
        Struct.layout  # noqa: B018
    with pytest.raises(TypeError, match="declared as a class"):
        Struct()


def test_subclasses_may_add_methods() -> None:
    class Vector(Point):
        @property
        def sum(self) -> int:
            return self.x + self.y

    vector = Vector(1, 2)
    assert (type(vector), vector.sum, vector.x, vector.replace(x=5).sum) == (Vector, 3, 1, 7)
    assert vector == Point(1, 2)  # the same layout
    assert Vector.layout is Point.layout


def test_a_class_that_was_not_finished_makes_no_values() -> None:
    made = []

    class Base(Struct):
        a: int32

        def __init_subclass__(cls) -> None:
            try:
                made.append(cls())
            except TypeError as error:
                made.append(error)

    class Derived(Base):
        pass

    assert len(made) == 1
    assert isinstance(made[0], TypeError)
    assert Derived(3).a == 3


# -------------------------------------------------------------------------------------------------------- snapshots


def test_every_kind_comes_back_as_it_was_given() -> None:
    value = Everything(**EVERYTHING)
    for name, given in EVERYTHING.items():
        got = getattr(value, name)
        assert got == given, name
        assert type(got) is (Array if isinstance(given, list) else type(given)), name
    assert Everything.from_bytes(bytes(value)) == value


def test_values_by_place_by_name_and_by_default() -> None:
    class Defaults(Struct):
        a: int32
        b: int32 = 7
        pt: Point = Point(1, 2)

    assert Defaults(1) == Defaults(a=1, b=7, pt=Point(1, 2))
    assert Defaults().a == 0  # as in C#
    assert Defaults.zero().b == 0
    for arguments, named in (((1, 2, Point(), 4), {}), ((1,), {"a": 1}), ((), {"c": 1})):
        with pytest.raises(TypeError):
            Defaults(*arguments, **named)


def test_a_snapshot_never_changes() -> None:
    value = Everything(**EVERYTHING)
    raw = bytes(value)
    with pytest.raises(AttributeError, match="replace"):
        value.i32 = 3
    with pytest.raises(AttributeError):
        value.data.pt.x = 3
    with pytest.raises(TypeError):
        value.points[0] = Point(9, 9)
    with pytest.raises(TypeError):
        value.points[0:1] = [Point(9, 9)]
    with pytest.raises(AttributeError):
        value.points[0].x = 9
    with pytest.raises(TypeError):
        value.matrix[0][0] = 9.0
    with pytest.raises(AttributeError):
        del value.i32
    with pytest.raises(AttributeError):
        value.other = 3  # type: ignore[attr-defined]
    assert memoryview(value).readonly
    assert memoryview(value.matrix).readonly
    assert not numpy.asarray(value.points).flags.writeable
    assert bytes(value) == raw


def test_values_compare_and_hash_by_their_fields() -> None:
    class Loose(Struct):
        a: int8
        real: float64
        name: Annotated[str, Utf8(4)]

    one = Loose(1, 0.0, "ab")
    raw = bytearray(one)
    raw[1:8] = b"padding"
    raw[-1] = 9
    two = Loose.from_bytes(raw).replace(real=-0.0)
    assert bytes(one) != bytes(two)
    assert one == two
    assert hash(one) == hash(two)
    assert one != one.replace(a=2)
    assert Point(1, 2) != (1, 2)
    assert {Point(1, 2): "a"}[Point(1, 2)] == "a"
    nan = Loose(1, math.nan)
    assert nan == Loose.from_bytes(bytes(nan))  # it is found again
    assert {nan: 1}[Loose(1, math.nan)] == 1
    other = type("Point", (Struct,), {"__annotations__": {"x": int32, "y": int32}, "__module__": __name__})
    assert other(1, 2) != Point(1, 2)  # another class


def test_copies_with_changes() -> None:
    value = MyData(1, Point(2, 3))
    assert value.replace(my_int=5) == MyData(5, Point(2, 3))
    assert value.replace(pt=value.pt.replace(x=9)) == MyData(1, Point(9, 3))
    assert value == MyData(1, Point(2, 3))
    with pytest.raises(TypeError, match="no field"):
        value.replace(other=1)
    assert copy.copy(value) is value
    assert copy.deepcopy([value])[0] is value
    if sys.version_info >= (3, 13):
        assert copy.replace(value, my_int=5).my_int == 5


def test_conversion_to_a_dictionary() -> None:
    value = Everything(**EVERYTHING)
    expected = {**EVERYTHING, "data": {"my_int": 1, "pt": {"x": 2, "y": 3}}}
    expected["points"] = [{"x": 1, "y": 2}, {"x": 3, "y": 4}, {"x": 5, "y": 6}]
    assert value.to_dict() == expected
    assert type(value.to_dict()["matrix"][0]) is list


def test_what_is_printed_makes_it_again() -> None:
    value = MyData(1, Point(2, 3))
    assert repr(value) == "MyData(my_int=1, pt=Point(x=2, y=3))"
    assert eval(repr(value)) == value
    assert repr(value.draft()) == "<draft MyData(my_int=1, pt=Point(x=2, y=3))>"
    broken = Everything.from_bytes(b"\xff" * Everything.layout.size)
    assert "no DateTime" in repr(broken)
    assert "codec can't decode" in repr(broken)


def test_a_snapshot_travels_by_pickle() -> None:
    value = Everything(**EVERYTHING)
    assert pickle.loads(pickle.dumps(value)) == value
    part = value.data
    assert pickle.loads(pickle.dumps(part)) == part


def test_a_part_keeps_the_whole() -> None:
    parts = [MyData(i, Point(i, -i)).pt for i in range(1000)]
    arrays = [Everything(**EVERYTHING).points for _ in range(100)]
    gc.collect()
    assert all((part.x, part.y) == (i, -i) for i, part in enumerate(parts))
    assert all(array[2].y == 6 for array in arrays)


def test_drafts_can_be_assigned() -> None:
    draft = Everything(**EVERYTHING).draft()
    draft.i32 = 5
    draft.data.pt.x = 7
    draft.points[1] = Point(8, 9)
    draft.matrix[1][2] = 6.5
    draft.matrix = [[0, 1, 2], [3, 4, 5]]  # type: ignore[assignment]
    draft.data = MyData(my_int=draft.data.my_int, pt=draft.points[1])
    value = draft.snapshot()
    draft.i32 = 6
    assert (value.i32, value.data, value.points[1].y, value.matrix[1][2]) == (5, MyData(1, Point(8, 9)), 9, 5.0)
    with pytest.raises(TypeError, match="snapshot"):
        hash(draft)


# ----------------------------------------------------------------------------------------------------------- values


@pytest.mark.parametrize(
    ("name", "value", "error"),
    [
        ("i8", 128, ValueOutOfRangeError),
        ("u8", -1, ValueOutOfRangeError),
        ("u64", 2**64, ValueOutOfRangeError),
        ("i64", 10**400, ValueOutOfRangeError),
        ("i32", 1.5, TypeError),
        ("i32", "1", TypeError),
        ("i32", None, TypeError),
        ("f16", 1e6, ValueOutOfRangeError),
        ("f16", "1", TypeError),
        ("f32", 1e300, ValueOutOfRangeError),
        ("f64", "1", TypeError),
        ("char", "😀", ValueOutOfRangeError),
        ("char", "ab", TypeError),
        ("name", "too long!", ValueOutOfRangeError),
        ("name", "ééééé", ValueOutOfRangeError),
        ("name", "a\0b", ValueError),
        ("name", b"ab", TypeError),
        ("name", "\ud800", ValueError),
        ("wide", "abcdef", ValueOutOfRangeError),
        ("wide", "abcd😀", ValueOutOfRangeError),
        ("raw", b"123456", ValueOutOfRangeError),
        ("raw", "12345", TypeError),
        ("raw", 5, TypeError),
        ("color", 3, ValueError),
        ("color", "RED", TypeError),
        ("color", True, TypeError),
        ("price", Decimal("1e-29"), ValueOutOfRangeError),
        ("price", Decimal("nan"), ValueOutOfRangeError),
        ("price", 1.1, TypeError),
        ("at", timedelta(1), TypeError),
        ("span", timedelta.max, ValueOutOfRangeError),
        ("span", 5, TypeError),
        ("key", "00112233-4455-6677-8899-aabbccddeeff", TypeError),
        ("data", Point(1, 2), TypeError),
        ("data", (1, 2), TypeError),
        ("points", [Point(1, 2)], ValueError),
        ("points", [Point(1, 2), Point(1, 2), 3], TypeError),
        ("points", 3, TypeError),
        ("matrix", [[1, 2, 3], [1, 2]], ValueError),
        ("matrix", "abc", TypeError),
        ("names", ["abcde", ""], ValueOutOfRangeError),
    ],
)
def test_what_does_not_fit_is_refused_and_changes_nothing(
    name: str, value: Any, error: type[Exception], view: MemoryMappedViewAccessor
) -> None:
    whole = Everything(**EVERYTHING)
    draft, ref = whole.draft(), view.ref(Everything, 8)
    view.write(8, whole)
    before = view[:]
    for struct in (draft, ref):
        with pytest.raises(error) as caught:
            setattr(struct, name, value)
        assert type(caught.value) is error or error in (ValueError, TypeError)
    with pytest.raises(error):
        whole.replace(**{name: value})
    with pytest.raises(error):
        Everything(**{name: value})
    assert bytes(draft) == bytes(whole)
    assert view[:] == before


def test_messages_say_which_field_and_what_it_takes() -> None:
    with pytest.raises(ValueOutOfRangeError, match=r"^300 does not fit in u8, which is uint8 \(0 to 255\)$"):
        Everything(u8=300)
    with pytest.raises(ValueOutOfRangeError, match="needs 9, and there is text of at most 8 bytes of UTF-8"):
        Everything(name="too long!")
    with pytest.raises(TypeError, match="i32 is int32"):
        Everything(i32="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="data is a MyData, not Point"):
        Everything(data=Point(1, 2))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="points has 3 elements, not 1"):
        Everything(points=[Point(1, 2)])  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="not a valid Color") as caught:
        Everything.from_bytes(bytes(76) + b"\x09" + bytes(163)).color  # noqa: B018
    assert "in the field 'color'" in str(caught.value.__notes__)


def test_text_is_cut_at_a_character_where_that_is_asked_for() -> None:
    class Cut(Struct):
        name: Annotated[str, Utf8(6, truncate=True)]
        wide: Annotated[str, Utf16(4, truncate=True)]
        big: Annotated[str, Utf16(4, truncate=True), ByteOrder("big")]
        ended: Annotated[str, Utf8(4, truncate=True, terminated=True)]

    for text, name, wide, ended in (
        ("abcdef", "abcdef", "abcd", "abc"),
        ("abcdeé", "abcde", "abcd", "abc"),
        ("abc😀😀", "abc", "abc", "abc"),
        ("ab😀é", "ab😀", "ab😀", "ab"),
        ("éééé", "ééé", "éééé", "é"),
        ("a€€", "a€", "a€€", "a"),
    ):
        made = Cut(text, text, text, text)
        assert (made.name, made.wide, made.big, made.ended) == (name, wide, wide, ended), text
    with pytest.raises(ValueOutOfRangeError, match="at most 3 bytes"):
        type("T", (Struct,), {"__annotations__": {"a": Annotated[str, Utf8(4, terminated=True)]}})("abcd")


def test_text_ends_at_the_first_zero() -> None:
    class Text(Struct):
        narrow: Annotated[str, Utf8(6)]
        wide: Annotated[str, Utf16(3)]

    text = Text.from_bytes(b"ab\0cd\xff" + "\u6100x".encode("utf-16-le") + b"\0\0")
    assert (text.narrow, text.wide) == ("ab", "\u6100x")
    assert Text("full66", "abc").narrow == "full66"
    assert Text("", "").wide == ""
    lone = Text("", "\ud800")  # C# strings may have it
    assert lone.wide == "\ud800"


def test_dates_are_those_of_dotnet() -> None:
    class When(Struct):
        at: datetime
        span: timedelta

    utc = datetime(2026, 11, 21, 12, 0, 0, 1, UTC)
    made = When(utc, timedelta(seconds=1))
    ticks = 639_308_592_000_000_000  # new DateTime(2026, 11, 21, 12, 0, 0).Ticks
    assert int.from_bytes(bytes(made)[:8], "little") == ticks + 10 | 1 << 62
    assert int.from_bytes(bytes(made)[8:], "little") == 10_000_000
    assert made.at == utc
    assert made.replace(at=datetime(2026, 11, 21, 12)).at == datetime(2026, 11, 21, 12)
    plus = timezone(timedelta(hours=2))
    assert made.replace(at=datetime(2026, 11, 21, 14, 0, 0, 1, plus)).at == utc
    local = When.from_bytes((ticks | 2 << 62).to_bytes(8, "little") + bytes(8)).at
    assert local == datetime(2026, 11, 21, 12).astimezone()
    assert When(datetime.max, timedelta()).at == datetime.max
    assert When(datetime.min, timedelta()).at == datetime.min
    assert When.zero().at == datetime.min
    with pytest.raises(ValueOutOfRangeError, match="years 1 to 9999"):
        made.replace(at=datetime.max.replace(tzinfo=timezone(timedelta(hours=-1))))
    with pytest.raises(ValueError, match="no DateTime"):
        When.from_bytes(b"\xff" * 16).at  # noqa: B018


def test_decimals_lie_as_dotnet_has_them_in_memory(view: MemoryMappedViewAccessor) -> None:
    """Not as Write(decimal) has them."""

    class Price(Struct):
        value: Decimal

    price = Price(Decimal("-1.10"))
    assert bytes(price).hex(" ", 4) == "00000280 00000000 6e000000 00000000"
    view.write_decimal(0, Decimal("-1.10"))
    assert view[:16].hex(" ", 4) == "6e000000 00000000 00000000 00000280"
    assert str(price.value) == "-1.10"
    assert Price(Decimal("1.1")) == Price(Decimal("1.10"))
    with pytest.raises(ValueError, match="no decimal"):
        Price.from_bytes(b"\xff" * 16).value  # noqa: B018


def test_numbers_of_an_enumeration() -> None:
    assert Everything(color=2).color is Color.BLUE  # type: ignore[arg-type]
    assert Everything.from_bytes(bytes(80) + b"\x03" + bytes(159)).flags == Flags.A | Flags.B
    unknown = Everything.from_bytes(bytes(76) + b"\x09" + bytes(163))
    assert unknown == Everything.from_bytes(bytes(unknown))  # what means nothing compares all the same
    assert hash(unknown) == hash(Everything.from_bytes(bytes(unknown)))


# ------------------------------------------------------------------------------------------------------------ views


def test_a_view_reads_snapshots_and_writes_them(view: MemoryMappedViewAccessor) -> None:
    value = Everything(**EVERYTHING)
    view.write(3, value)
    assert view.read(3, Everything) == value
    assert view[3 : 3 + len(bytes(value))] == bytes(value)
    got = view.read(3, Everything)
    view.write(3, Everything())
    assert got == value  # it has its own bytes
    last = view.capacity - Point.layout.size
    view.write(last, Point(1, 2))
    assert view.read(last, Point) == Point(1, 2)
    view.write(0, value.data)  # a part
    assert view.read(0, MyData) == value.data
    view.write(100, view.ref(MyData, 0))
    assert view.read(100, MyData) == value.data
    view.write(104, view.ref(MyData, 100))  # overlapping
    assert view.read(104, MyData) == value.data
    view.write(0, Point(1, 2), Point)
    with pytest.raises(TypeError):
        view.write(0, Point(1, 2), MyData)
    with pytest.raises(TypeError):
        view.write(0, (1, 2), Point)


def test_a_view_refuses_structures_as_everything_else() -> None:
    """In the order of .NET's generic forms."""
    with MemoryMappedFile.create_new(None, 100) as map:
        view = map.create_view_accessor(0, 100)
        reader = map.create_view_accessor(0, 100, MemoryMappedFileAccess.READ)
        writer = map.create_view_accessor(0, 100, MemoryMappedFileAccess.WRITE)
    point = Point(1, 2)
    for position, error in ((-1, OutOfRangeError), (100, OutOfRangeError), (93, ValueError), (2**70, OutOfRangeError)):
        for call in (
            lambda position=position: view.read(position, Point),
            lambda position=position: view.write(position, point),
            lambda position=position: view.ref(Point, position),
        ):
            with pytest.raises(error):
                call()
    with pytest.raises(OSError, match="does not support writing"):
        reader.write(0, point)
    with pytest.raises(OSError, match="does not support reading"):
        writer.read(0, Point)
    with pytest.raises(OSError, match="does not support writing"):
        reader.ref(Point).x = 3
    with pytest.raises(OSError, match="does not support reading"):
        writer.ref(Point).x  # noqa: B018
    writer.ref(Point).x = 7
    assert view.read(0, Point).x == 7
    for kind in (int32, "i", Struct, 3, None):
        with pytest.raises(TypeError):
            view.ref(kind)  # type: ignore[type-var, arg-type]
    view.close()
    with pytest.raises(OutOfRangeError):
        view.read(-1, Point)
    for call in (lambda: view.read(0, Point), lambda: view.write(0, point), lambda: view.ref(Point)):
        with pytest.raises(ClosedError):
            call()
    reader.close()
    writer.close()


def test_a_reference_reads_and_writes_through(view: MemoryMappedViewAccessor) -> None:
    ref = view.ref(MyData, 4)
    ref.pt.x = 3
    ref.my_int = 9
    assert view[4:16] == bytes.fromhex("09000000 03000000 00000000")
    view.write_int32(12, -1)
    assert ref.pt.y == -1
    pt = ref.pt
    ref.pt = Point(5, 12)
    assert (pt.x, pt.length()) == (5, 13.0)
    assert isinstance(ref, MyData)
    assert ref == MyData(9, Point(5, 12))
    assert repr(ref) == "<reference to MyData(my_int=9, pt=Point(x=5, y=12))>"
    kept = ref.snapshot()
    ref.my_int = 1
    assert kept.my_int == 9
    assert memoryview(ref).tobytes() == view[4:16]
    memoryview(ref)[0] = 77
    assert ref.my_int == 77
    with pytest.raises(TypeError):
        hash(ref)
    with pytest.raises(TypeError, match="snapshot"):
        pickle.dumps(ref)


def test_a_reference_ends_with_its_view(view: MemoryMappedViewAccessor) -> None:
    ref, array = view.ref(MyData), view.refs(Point, 16, 3)
    pt, points = ref.pt, view.ref(Everything, 64).points
    block = memoryview(ref)
    view.close()
    for access in (
        lambda: ref.my_int,
        lambda: setattr(ref, "my_int", 1),
        lambda: ref.pt.x,
        lambda: pt.x,
        lambda: setattr(ref, "pt", Point(1, 2)),
        lambda: array[0].x,
        lambda: array.__setitem__(0, Point(1, 2)),
        lambda: points[0].x,
        lambda: ref.snapshot(),
        lambda: ref == MyData(),
        lambda: bytes(ref),
        lambda: memoryview(array),
        lambda: array.tobytes(),
        lambda: points.tolist(),
    ):
        with pytest.raises(ClosedError):
            access()
    assert "reference to MyData in <MemoryMappedViewAccessor" in repr(ref)
    assert "closed" in repr(array)
    assert block[0] == 0  # a buffer keeps the pages


def test_arrays_in_a_view(view: MemoryMappedViewAccessor) -> None:
    array = view.refs(Point, 8, 10)
    for i, point in enumerate(array):
        point.x = i
    assert (len(array), array.stride, array.itemsize) == (10, 8, 8)
    assert [point.x for point in array] == list(range(10))
    assert array[-1].x == 9
    assert [point.x for point in array[2:8:3]] == [2, 5]
    assert [point.x for point in array[::-1]] == list(range(9, -1, -1))
    array[1:3] = [Point(50, 0), Point(60, 0)]
    array[::-5] = [Point(90, 0), Point(40, 0)]
    seen = numpy.asarray(array)
    assert seen.dtype.names == ("x", "y")
    assert seen["x"].tolist() == [0, 50, 60, 3, 40, 5, 6, 7, 8, 90]
    seen["y"] = 7
    assert view.read(8, Point) == Point(0, 7)
    assert numpy.asarray(array[::-2])["x"].tolist() == [90, 7, 5, 3, 50]
    assert Point(3, 7) in array
    assert array.index(Point(3, 7)) == 3
    assert array.count(Point(3, 7)) == 1
    assert array[:2] == [Point(0, 7), Point(50, 7)]
    assert array[:2] != [Point(0, 7), Point(50, 8)]
    assert array[:1] != 3
    assert array[5:5] == []
    assert isinstance(array, Sequence)
    assert len(view.refs(Point, 8)) == (4096 - 8) // 8
    assert len(view.refs(Point, 4096)) == 0
    for index in (10, -11, 2**70):
        with pytest.raises(IndexError):
            array[index]
        with pytest.raises(IndexError):
            array[index] = Point()
    with pytest.raises(ValueError, match="takes as many"):
        array[1:3] = [Point()]
    with pytest.raises(ValueError, match="do not fit"):
        view.refs(Point, 8, 512)
    with pytest.raises(OutOfRangeError):
        view.refs(Point, 0, -1)
    with pytest.raises(OutOfRangeError):
        view.refs(Point, 4097)
    with pytest.raises(TypeError):
        del array[0]
    with pytest.raises(TypeError):
        Array()


@pytest.mark.parametrize(("size", "stride"), [(1, 1), (2, 2), (3, 4), (4, 4), (5, 8), (6, 8), (8, 8), (13, 16)])
def test_arrays_in_a_view_lie_in_the_strides_of_dotnet(size: int, stride: int, view: MemoryMappedViewAccessor) -> None:
    class Packed(Struct, pack=1):
        raw: Annotated[bytes, FixedBytes(size)]

    values = [Packed(bytes([i + 1]) * size) for i in range(5)]
    assert view.write_array(4, values) == 5
    expected = b"".join(bytes(value).ljust(stride, b"\0") for value in values)
    assert view[4 : 4 + 5 * stride] == expected
    array = view.refs(Packed, 4, 5)
    assert array.stride == stride
    assert array == values
    assert array.tobytes() == b"".join(map(bytes, values))
    assert numpy.asarray(array).strides == (stride,)
    own = Packed.array(7)
    assert view.read_array(4, own, 1, 5) == 5
    assert own == [Packed(), *values, Packed()]
    assert view.write_array(200, own, 1, 2) == 2
    assert view.refs(Packed, 200, 2) == values[:2]


def test_arrays_of_our_own() -> None:
    array = Point.array([Point(1, 2), Point(3, 4)])
    array[0].x = 9
    array[1] = Point(5, 6)
    assert array == [Point(9, 2), Point(5, 6)]
    assert numpy.asarray(array).tolist() == [(9, 2), (5, 6)]
    first = array[0]
    del array
    assert first == Point(9, 2)
    assert len(Point.array(0)) == 0
    with pytest.raises(OutOfRangeError):
        Point.array(-1)
    with pytest.raises(MemoryError):
        Point.array(2**61)
    with pytest.raises(TypeError):
        Point.array([1])  # type: ignore[list-item]


def test_arrays_of_numbers_are_seen_by_numpy_without_a_copy(view: MemoryMappedViewAccessor) -> None:
    ref = view.ref(Everything, 16)
    matrix = numpy.asarray(ref.matrix)
    assert (matrix.shape, matrix.dtype) == ((2, 3), numpy.dtype("float64"))
    matrix[1, 2] = 2.5
    assert ref.matrix[1][2] == 2.5
    ref.matrix[0] = [1, 2, 3]
    assert matrix[0].tolist() == [1.0, 2.0, 3.0]
    assert memoryview(ref.matrix).c_contiguous
    get = ctypes.pythonapi.PyObject_GetBuffer
    get.argtypes = [ctypes.py_object, ctypes.c_void_p, ctypes.c_int]
    with pytest.raises(BufferError):  # Fortran's order
        get(ref.matrix, (ctypes.c_char * 128)(), 0x0040 | 0x0010 | 0x0008)


def test_vectors_of_structures(view: MemoryMappedViewAccessor) -> None:
    view.scatter([0, 100, 40], [Point(i, -i) for i in range(3)], Point)
    got = view.gather([40, 0, 100], Point)
    assert got == [Point(2, -2), Point(0, 0), Point(1, -1)]
    with pytest.raises(TypeError):
        view.scatter([0], [3], Point)


def test_large_structures(view: MemoryMappedViewAccessor) -> None:
    class Large(Struct):
        numbers: Annotated[Array[int64], Length(100_000)]

    with MemoryMappedFile.create_new(None, 800_000) as map, map.create_view_accessor() as wide:
        ref = wide.ref(Large)
        numpy.asarray(ref.numbers)[:] = range(100_000)
        snapshot = wide.read(0, Large)
        ref.numbers[5] = -1
        assert numpy.asarray(snapshot.numbers).tolist() == list(range(100_000))
        wide.write(0, snapshot)
        assert ref.numbers[5] == 5
        assert ref == snapshot


# --------------------------------------------------------------------------------------------- who does what meanwhile


class Closing:
    """An index that closes the view when it is asked."""

    def __init__(self, view: MemoryMappedViewAccessor, value: int = 0) -> None:
        self.view = view
        self.value = value

    def __index__(self) -> int:
        self.view.close()
        return self.value


def test_a_conversion_may_close_the_view() -> None:
    for act in (
        lambda view, closing: view.read(closing, Point),
        lambda view, closing: view.write(closing, Point(1, 2)),
        lambda view, closing: view.ref(Point, closing),
        lambda view, closing: setattr(view.ref(Point), "x", closing),
        lambda view, closing: view.refs(Point, 0, 3).__getitem__(closing).x,
        lambda view, closing: setattr(view.ref(Everything), "matrix", [[1, 2, 3], [4, 5, closing]]),
    ):
        with MemoryMappedFile.create_new(None, 4096) as map:
            view = map.create_view_accessor()
            with pytest.raises((ClosedError, TypeError)):
                act(view, Closing(view))


def test_a_sequence_may_change_while_it_is_read() -> None:
    class Shrinking:
        def __init__(self, items: list[Any]) -> None:
            self.items = items

        def __index__(self) -> int:
            self.items.clear()
            return 1

    class Numbers(Struct):
        values: Array[int32, Literal[3]]

    items: list[Any] = []
    items += [Shrinking(items), 2, 3]
    assert Numbers(items).values == [1, 2, 3]  # type: ignore[arg-type]


def test_threads_that_read_while_another_closes() -> None:
    errors: list[BaseException] = []

    def read(ref: MyData, started: threading.Event) -> None:
        started.set()
        try:
            while True:
                assert ref.pt.x == 7
                ref.pt.y = 1
        except ClosedError:
            pass
        except AssertionError as error:
            errors.append(error)

    for _ in range(20):
        with MemoryMappedFile.create_new(None, 4096) as map:
            view = map.create_view_accessor()
            view.write(0, MyData(1, Point(7, 0)))
            started = [threading.Event() for _ in range(2)]
            threads = [threading.Thread(target=read, args=(view.ref(MyData), event)) for event in started]
            for thread in threads:
                thread.start()
            for event in started:
                assert event.wait(10)
            view.close()
            for thread in threads:
                thread.join(10)
                assert not thread.is_alive()
    assert not errors


def test_no_value_and_no_class_is_kept() -> None:
    def round_trip() -> None:
        class Temporary(Struct):
            a: int32
            pt: Point
            points: Array[Point, Literal[2]]

        value = Temporary(1, Point(1, 2), [Point(3, 4)] * 2)  # type: ignore[arg-type]
        value.replace(a=2).points.tolist()
        Temporary.array([value])[0].draft().pt.x = 3
        hash(value)

    def objects() -> int:
        gc.collect()
        return len(gc.get_objects())

    for _ in range(5):
        round_trip()
    before = objects()
    for _ in range(50):
        round_trip()
    assert objects() - before < 50


def test_references_are_counted() -> None:
    value = MyData(1, Point(2, 3))
    marker = Point(4, 5)
    before = sys.getrefcount(MyData), sys.getrefcount(Point), sys.getrefcount(value), sys.getrefcount(MyData.layout)
    for _ in range(100):
        parts = [value.pt, value.replace(pt=marker), value.draft(), MyData.from_bytes(bytes(value))]
        del parts
    after = sys.getrefcount(MyData), sys.getrefcount(Point), sys.getrefcount(value), sys.getrefcount(MyData.layout)
    assert before == after


# ------------------------------------------------------------------------------------------------------- other sides


def test_other_bases_bring_no_room_for_anything() -> None:
    class Dictionary:
        pass

    class Weak:
        __slots__ = ("__weakref__",)

    class Slot:
        __slots__ = ("more",)

    class Empty:
        __slots__ = ()

        def twice(self) -> int:
            return 2 * self.x  # type: ignore[attr-defined, no-any-return]

    for other in (Dictionary, Weak, Slot):
        for bases in ((Struct, other), (other, Struct), (Point, other)):
            with pytest.raises(TypeError):
                type("Bad", bases, {"__annotations__": {} if Point in bases else {"x": int32}, "__module__": __name__})

    class Good(Struct, Empty):
        x: int32

    assert Good(4).twice() == 8


def test_what_was_declared_stays() -> None:
    class Other(Struct):
        a: Array[int64, Literal[9]]

    for change in (
        lambda: Point.layout.set_default(Other.a, [0] * 9),
        lambda: Point.layout.set_default(Point.x, 5),
        lambda: Point.layout.__init__(Point, 800, 8, [], 0, True),  # type: ignore[misc]
        lambda: Point.x.__init__("x", 0, 800, None, "B"),  # type: ignore[attr-defined]
    ):
        with pytest.raises(TypeError):
            change()
    assert Array.__new__(Array).tolist() == []
    assert len(memoryview(Array.__new__(Array))) == 0


def test_arrays_of_a_class_that_is_not_finished() -> None:
    class Base(Struct):
        x: int32

        def __init_subclass__(cls) -> None:
            with pytest.raises(TypeError):
                cls.array(1)

    class Derived(Base):
        pass

    assert Derived.array(1)[0].x == 0


def test_byte_orders_of_elements() -> None:
    class Orders(Struct, byte_order="big"):
        plain: Array[int16, Literal[1]]
        little: Array[Annotated[int16, ByteOrder("little")], Literal[1]]
        both: Annotated[Array[int16], Length(1), ByteOrder("little")]
        inner: Annotated[Array[Annotated[int16, ByteOrder("big")]], Length(1), ByteOrder("little")]

    assert bytes(Orders([1], [1], [1], [1])).hex(" ", 2) == "0001 0100 0100 0001"  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("annotation", "words"),
    [
        (Annotated[int32, Length(3)], "only an Array"),
        (Annotated[Point, ByteOrder("big")], "own byte order"),
        (Annotated[Array[Point], Length(2), ByteOrder("big")], "own byte order"),
        (Array[Annotated[int32, Offset(4)], Literal[2]], "Offset"),
        (Annotated[int32, Offset], "nothing by itself"),
        (Annotated[int32, ByteOrder], "nothing by itself"),
        (Annotated[Color, bool], "nothing by itself"),
        (Annotated[str, Utf8(4), Utf16(8)], "one kind"),
        (Annotated[int32, Offset(0), Offset(4)], "one Offset"),
        (Array[int32, Literal[2, 3]], "one length"),
        ("Bad", "contain itself"),
        ("Array[Bad, Literal[2]]", "contain itself"),
        ("int32[", "Bad.a is annotated"),
    ],
)
def test_markers_that_mean_nothing_are_refused(annotation: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        bad(annotation)


def test_options_and_names_that_mean_nothing_are_refused() -> None:
    with pytest.raises(TypeError, match="declares no fields"):
        type("Bad", (Point,), {}, pack=1)  # type: ignore[call-overload]
    for name, words in (
        ("__len__", "Python uses"),
        ("replace", "method"),
        ("not a name", "no name"),
        ("layout", "asked"),
    ):
        with pytest.raises(TypeError, match=words):
            type("Bad", (Struct,), {"__annotations__": {name: int32}})
    with pytest.raises(TypeError, match="no members"):
        bad(IntEnum("Empty", {}))


def test_names_of_the_class_and_other_names_for_types() -> None:
    Age = NewType("Age", Annotated[int, uint8])  # type: ignore[valid-newtype]

    class Outer(Struct):
        N: ClassVar[int] = 3

        class Inner(Struct):
            a: int32

        inner: Inner
        values: Annotated[Array[int16], Length(N)]
        age: Age
        quoted: Annotated[int32, Offset(16)]

    assert Outer.layout.text == "{0 {0 int32 a}4 inner;4 int16[3] values;10 uint8 age;16 int32 quoted}20"


def test_methods_of_a_subclass_are_kept() -> None:
    class Vector(Point):
        def sum(self) -> int:
            return self.x + self.y

    class Holder(Struct):
        one: Vector
        two: Array[Vector, Literal[2]]

    with MemoryMappedFile.create_new(None, 100) as map, map.create_view_accessor() as view:
        view.write(0, Point(1, 2))
        assert view.refs(Vector, 0, 2)[0].sum() == 3
        assert view.ref(Vector).sum() == 3
        assert view.gather([0], Vector)[0].sum() == 3
        view.refs(Vector)[1] = Point(5, 6)  # type: ignore[call-overload]
    assert Vector.array([Vector(1, 2)])[0].sum() == 3
    holder = Holder(Point(1, 2), [Vector(3, 4), Point(5, 6)])  # type: ignore[arg-type]
    assert (holder.one.sum(), holder.two[1].sum()) == (3, 11)


def test_numpy_sees_all_bytes_of_every_kind() -> None:
    class Kinds(Struct):
        ids: Array[UUID, Literal[2]]
        raws: Array[Annotated[bytes, FixedBytes(3)], Literal[2]]
        wide: Array[Annotated[str, Utf16(2)], Literal[2]]
        narrow: Array[Annotated[str, Utf8(2)], Literal[2]]
        half: Array[float16, Literal[2]]
        at: Array[datetime, Literal[1]]

    kinds = Kinds([UUID(int=1 << 127)] * 2, [b"\1\0\0"] * 2, ["a", "bc"], ["a", "bc"], [1.5, 2], [datetime.min])  # type: ignore[arg-type]
    ids = numpy.asarray(kinds.ids)
    assert (ids.shape, ids.dtype, ids[0].tobytes()) == ((2, 16), "u1", UUID(int=1 << 127).bytes_le)
    assert numpy.asarray(kinds.raws).tolist() == [[1, 0, 0]] * 2
    assert numpy.asarray(kinds.wide).tolist() == [[97, 0], [98, 99]]
    assert numpy.asarray(kinds.narrow).tolist() == [b"a", b"bc"]
    assert numpy.asarray(kinds.half).tolist() == [1.5, 2.0]
    assert numpy.asarray(kinds.at).dtype == "u8"


def test_a_memoryview_of_numbers_has_their_values() -> None:
    value = Everything(**EVERYTHING)
    assert memoryview(value.matrix).tolist() == EVERYTHING["matrix"]
    assert memoryview(value.colors)[1] == 2


def test_numpy_is_told_why_there_is_no_buffer(view: MemoryMappedViewAccessor) -> None:
    refs, ref = view.refs(Point, 0, 2), view.ref(Point)
    view.close()
    for what in (refs, ref):
        with pytest.raises(ClosedError):
            numpy.asarray(what)


def test_records_of_numpy_are_structures() -> None:
    records = numpy.array([(1, 2), (3, 4)], Point.dtype)
    assert Point.array(records) == [Point(1, 2), Point(3, 4)]
    array = Point.array(2)
    array[:] = records
    array[0] = records[1]
    assert array == [Point(3, 4), Point(3, 4)]
    assert MyData(1, records[0]).pt == Point(1, 2)
    with pytest.raises(TypeError):
        Point.array(numpy.array([(1, 2)], [("x", "i4"), ("z", "i4")]))


def test_lost_pages_are_told(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(bytes(3 * 4096))
    with MemoryMappedFile.create_from_file(tmp_path / "file") as map, MemoryMappedFile.create_new(None, 100) as other:
        for use in (
            lambda view, to: view.ref(Point, 8192).x,
            lambda view, to: setattr(view.ref(Point, 8192), "x", 1),
            lambda view, to: view.read(8192, Point),
            lambda view, to: view.refs(Point, 8192, 1)[0].x,
            lambda view, to: view.ref(Everything, 8192).name,
            lambda view, to: view.ref(Point, 8192).snapshot(),
            lambda view, to: to.write(0, view.ref(Point, 8192)),
            lambda view, to: to.write(0, view.ref(Point, 8192), Point),
            lambda view, to: to.scatter([0], [view.ref(Point, 8192)], Point),
            lambda view, to: Point.from_bytes(view.ref(Point, 8192)),
            lambda view, to: to.write_array(0, view.refs(Point, 8192, 2)),
        ):
            os.truncate(tmp_path / "file", 3 * 4096)
            view, to = map.create_view_accessor(), other.create_view_accessor()
            os.truncate(tmp_path / "file", 4096)
            with pytest.raises(MemoryFaultError):
                use(view, to)
            to.close()
            view.close()


def test_a_draft_of_which_there_is_a_buffer_stays_one() -> None:
    with SharedMemory(Everything, f"structs-{os.getpid()}") as shared:
        with shared.edit() as draft:
            seen = numpy.asarray(draft.matrix)
        seen[0, 0] = 99
        assert shared.data.matrix[0][0] == 0.0
        with pytest.raises(TypeError, match="may change"):
            hash(draft)
        with shared.edit() as draft:
            draft.i32 = 1
        assert hash(draft) == hash(shared.data)


def test_the_ends_of_times() -> None:
    class When(Struct):
        span: timedelta
        at: datetime

    least = When.from_bytes((-(2**63)).to_bytes(8, "little", signed=True) + bytes(8))
    assert least.replace(span=least.span).span == least.span
    assert When.from_bytes((-1).to_bytes(8, "little", signed=True) + bytes(8)).span == timedelta()
    for ticks in (0, 3_155_378_975_999_999_999):
        for kind in (2, 3):
            local = When.from_bytes(bytes(8) + (ticks | kind << 62).to_bytes(8, "little"))
            try:
                local.at  # noqa: B018
            except ValueError:
                assert "years 1 to 9999" in repr(local)
    moment = pandas.Timestamp(2026, 11, 21, 1, 2, 3, 456789)
    assert When(timedelta(), moment).at == datetime(2026, 11, 21, 1, 2, 3, 456789)
    with pytest.raises(TypeError, match="no datetime"):
        When(timedelta(), pandas.NaT)


def test_bools_are_bools() -> None:
    for value in (True, 1, numpy.bool_(True)):
        assert Everything(flag=value).flag is True  # type: ignore[arg-type]
    for wrong in ("no", 2, None, [], 1.0):
        with pytest.raises(TypeError):
            Everything(flag=wrong)  # type: ignore[arg-type]


def test_refusals_name_the_field() -> None:
    for name, value in (
        ("name", "too long!"),
        ("color", 9),
        ("at", 3),
        ("key", "x"),
        ("price", 1.5),
        ("raw", b"123456"),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            Everything(**{name: value})
        assert f"in the field {name!r}" in str(caught.value.__notes__)


def test_copies_of_drafts_are_drafts(view: MemoryMappedViewAccessor) -> None:
    draft = copy.copy(MyData(1, Point(2, 3)).draft())
    draft.my_int = 5
    assert copy.deepcopy(draft) == draft
    assert hash(copy.copy(view.ref(MyData)))
    with pytest.raises(TypeError, match="tolist"):
        pickle.dumps(view.refs(Point))
    assert view.write_array(0, []) == 0


def test_what_help_shows() -> None:
    assert str(inspect.signature(Point)) == "(x=0, y=0) -> tests.test_structs.Point".replace("tests.", "")
    match Everything(**EVERYTHING).matrix[0]:
        case [first, *_]:
            assert first == 1.0
        case _:
            pytest.fail("an array is a sequence")

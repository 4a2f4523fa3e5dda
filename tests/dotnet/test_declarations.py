# SPDX-License-Identifier: MIT
"""Structures on the real .NET: declarations that were printed, and declarations by hand, have our layout there."""

from __future__ import annotations

import os
import shutil
import struct as packing
import time
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from random import Random
from typing import Annotated, Literal
from uuid import UUID

import pytest
from dotnet_runtime import Dotnet
from generated import program
from support.struct_types import Types, assert_same, leaves, made_of, overlapping

from memorymapped import (
    Array,
    ByteOrder,
    FixedBytes,
    MemoryMappedFile,
    Offset,
    Struct,
    Utf8,
    Utf16,
    char16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint32,
    uint64,
)
from memorymapped.structs import kinds

pytestmark = pytest.mark.dotnet


class Point(Struct):
    x: int32
    y: int32


class MyData(Struct):
    number: int32
    place: Point


class Trade(Struct):
    id: int32
    sell: bool
    price: float64
    venue: int16
    currency: char16
    time: int64
    settled: bool


class Mixed(Struct):
    a: uint8
    b: int16
    c: int8
    d: uint32
    e: uint8
    f: uint64
    g: uint8


class Floats(Struct):
    a: float32
    b: float64
    c: uint8
    d: float32


class Packed1(Struct, pack=1):
    a: uint8
    b: int32
    c: int16
    d: float64


class Packed2(Struct, pack=2):
    a: uint8
    b: int32
    c: uint8
    d: float64
    e: uint8


class Packed4(Struct, pack=4):
    a: uint8
    b: float64
    c: bool
    d: int64
    e: uint8


class Nested(Struct):
    a: uint8
    b: Trade
    c: uint8
    d: Packed1
    e: int16
    f: Packed2
    g: Packed4


class Buffers(Struct):
    a: uint8
    name: Annotated[str, Utf16(5)]
    values: Array[int32, Literal[3]]
    raw: Annotated[bytes, FixedBytes(3)]
    reals: Array[float64, Literal[2]]
    flags: Array[bool, Literal[3]]


class Plain(IntEnum):
    A = 0


class Enums(Struct):
    a: Annotated[Plain, uint8]
    b: Plain
    c: Annotated[Plain, uint8]
    d: Annotated[Plain, uint64]
    e: Annotated[Plain, uint8]


class Guids(Struct):
    a: uint8
    b: UUID
    c: uint8
    d: UUID


class Spans(Struct):
    a: uint8
    b: timedelta
    c: uint8


class Overlapping(Struct):
    a: int32
    b: Annotated[float32, Offset(0)]
    c: Annotated[int16, Offset(2)]


class Sized(Struct, size=20):
    a: Annotated[int32, Offset(4)]
    b: Annotated[uint8, Offset(9)]


BY_HAND: list[type[Struct]] = [
    *(MyData, Trade, Mixed, Floats, Packed1, Packed2, Packed4, Nested, Buffers, Enums, Guids, Spans, Overlapping, Sized)
]


def test_structures_that_were_declared_by_hand_have_our_layout(dotnet: Dotnet) -> None:
    said = {
        name: list(map(int, numbers))
        for name, *numbers in map(str.split, dotnet.run("structs.cs", "layouts").splitlines())
    }
    offsets = {struct.__name__: [field.offset for field in struct.layout.fields] for struct in BY_HAND}
    offsets["MyData"] += [8]
    assert said == {struct.__name__: [struct.layout.size, *offsets[struct.__name__]] for struct in BY_HAND}


def test_a_decimal_is_aligned_as_since_dotnet_5() -> None:
    class Priced(Struct):
        a: int32
        price: Decimal

    assert [field.offset for field in Priced.layout.fields] == [0, 8]
    assert "LayoutKind.Explicit" in Priced.layout.csharp()  # on all of them


class One(Struct):
    a: uint8


class Two(Struct):
    a: int16


class Three(Struct, pack=1):
    a: uint8
    b: int16


class Five(Struct, pack=1):
    a: uint8
    b: int32


class Twelve(Struct):
    a: int32
    b: int16
    c: int32


def test_arrays_have_the_strides_of_dotnet(dotnet: Dotnet, tmp_path: Path) -> None:
    file = tmp_path / "arrays"
    file.write_bytes(bytes(4096))
    ours: list[list[Struct]] = [
        [One(i) for i in range(4)],
        [Two(-i) for i in range(4)],
        [Three(i, -i) for i in range(4)],
        [Five(i, i * -70000) for i in range(4)],
        [Twelve(i, -i, i * 70000) for i in range(4)],
    ]
    theirs: list[list[Struct]] = [
        [One(i + 9) for i in range(4)],
        [Two(i - 9) for i in range(4)],
        [Three(i, i * -1000) for i in range(4)],
        [Five(i, i * -100000) for i in range(4)],
        [Twelve(i, -i, i * 77777) for i in range(4)],
    ]
    with MemoryMappedFile.create_from_file(file) as map, map.create_view_accessor() as view:
        for i, values in enumerate(ours):
            view.write_array(256 * i, values)
        said = dotnet.run("structs.cs", "arrays", file).splitlines()
        for i, (values, others) in enumerate(zip(ours, theirs, strict=True)):
            struct = type(values[0])
            parts = (" ".join(str(part) for part in value.to_dict().values()) for value in values)
            assert said[i] == f"{struct.__name__} 4: {', '.join(parts)}"
            assert list(view.refs(struct, 256 * i + 128, 4)) == others
            own = struct.array(4)
            assert view.read_array(256 * i + 128, own) == 4
            assert own == others


class Color(IntEnum):
    RED = 1
    base = 2


class Order(Struct):
    when: datetime
    span: timedelta
    name: Annotated[str, Utf8(4)]
    wide: Annotated[str, Utf16(4, terminated=True)]
    color: Color
    points: Array[Point, Literal[3]]
    names: Array[Annotated[str, Utf16(3)], Literal[2]]
    big: Annotated[float64, ByteOrder("big")]
    Order: uint8
    fixed: uint8


USE = """
static class Program
{
    static string Refused(System.Action action)
    {
        try { action(); } catch (System.ArgumentException error) { return error.Message; }
        return "";
    }

    static void Main(string[] arguments)
    {
        var order = default(My.@public.Order);
        order.when = new System.DateTime(2026, 11, 21, 1, 2, 3, System.DateTimeKind.Utc).AddTicks(10);
        order.span = System.TimeSpan.FromDays(-1.5);
        order.name = "\u20ac!";
        order.wide = "abc";
        order.color = My.@public.Color.@base;
        order.points[2].y = 7;
        order.names[1] = "xyz";
        order.big = 1.5;
        order.Order_ = 8;
        order.@fixed = 9;
        System.Console.WriteLine(Refused(() => order.name = "12345"));
        System.Console.WriteLine(Refused(() => order.wide = "abcd"));
        System.Console.WriteLine(Refused(() => order.names[0] = "a\0b"));
        try { order.points[3].x = 1; }
        catch (System.IndexOutOfRangeException) { System.Console.WriteLine("out of range"); }
        using (var map = System.IO.MemoryMappedFiles.MemoryMappedFile.CreateFromFile(arguments[0]))
        using (var view = map.CreateViewAccessor())
            view.Write(1, ref order);
    }
}
"""


def test_a_printed_declaration_can_be_used(dotnet: Dotnet, tmp_path: Path) -> None:
    source, file = tmp_path / "use.cs", tmp_path / "order"
    source.write_text(Order.layout.csharp(namespace="My.public") + USE, encoding="utf-8")
    file.write_bytes(bytes(4096))
    assert dotnet.run(source, file).splitlines() == [
        "name is text of at most 4 bytes of UTF-8, without a zero in it",
        "wide is text of at most 3 UTF-16 units, without a zero in it",
        "names is text of at most 3 UTF-16 units, without a zero in it",
        "out of range",
    ]
    with MemoryMappedFile.create_from_file(file) as map, map.create_view_accessor() as view:
        assert view.read(1, Order) == Order(
            when=datetime(2026, 11, 21, 1, 2, 3, 1, UTC),
            span=timedelta(days=-1.5),
            name="€!",
            wide="abc",
            color=Color.base,
            points=[Point(), Point(), Point(0, 7)],
            names=["", "xyz"],
            big=1.5,
            Order=8,
            fixed=9,
        )


def shown(kind: kinds.Kind, raw: bytes) -> str | None:
    """What shown.cs says of these bytes; None for what is no text."""
    little = raw[::-1] if kind.order == "<" else raw
    if isinstance(kind, kinds.DecimalKind):
        return "".join(f"{word:08x}" for word in packing.unpack(f"{kind.order}4I", raw))
    if isinstance(kind, kinds.GuidKind):
        return str(kind.decode(raw).hex)
    if isinstance(kind, kinds.TextKind):
        try:
            return "'" + kind.decode(raw).encode("utf-16-be", "surrogatepass").hex()
        except UnicodeDecodeError:
            return None
    if isinstance(kind, kinds.DateTimeKind) and little[0] >= 0xC0:
        return bytes([little[0] & 0xBF, *little[1:]]).hex()
    return little.hex()


def check(dotnet: Dotnet, seed: int, count: int, folder: Path) -> Path:
    """Values of random types are the same in C#, where they are read, where they are written, and where they are put
    together from their parts. Returns where the compiled program lies."""
    print("seed", seed)
    random = Random(seed)
    types = Types(random)
    structs = [types.struct() for _ in range(count)]
    values = [made_of(struct.layout, random) for struct in structs]
    apart = [not overlapping(struct.layout) for struct in structs]
    source, file = folder / f"structs{seed}.cs", folder / "values"
    source.write_text(program(structs, apart), encoding="utf-8")
    third = sum(struct.layout.size for struct in structs)
    file.write_bytes(bytes(3 * third))
    with MemoryMappedFile.create_from_file(file) as map, map.create_view_accessor() as view:
        starts, at = [], 0
        for value in values:
            starts.append(at)
            view.write(at, value)
            at += len(bytes(value))
        said = iter(dotnet.run(source, file, more=("shown.cs",)).splitlines())
        for struct, value, start, parts in zip(structs, values, starts, apart, strict=True):
            layout, raw = struct.layout, bytes(value)
            assert next(said) == f"{layout.size} {layout.size}", layout
            for field in layout.fields:  # in memory, and as Marshal has it
                assert next(said) == f"{field.offset} {field.offset}", layout
            for path, offset, kind in leaves(layout):
                wanted, found = shown(kind, raw[offset : offset + kind.size]), next(said)
                assert found == ("!" if wanted is None else wanted), f"{path} of\n{layout}"
            assert_same(layout, bytes(view.read(third + start, struct)), raw)
            if parts:
                assert_same(layout, bytes(view.read(2 * third + start, struct)), raw)
        assert next(said, None) is None
    return Path(dotnet.command(source, more=("shown.cs",))[1])


def test_printed_declarations_have_our_layout(dotnet: Dotnet, tmp_path: Path) -> None:
    check(dotnet, 20261121, 150, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_many_printed_declarations_have_our_layout(dotnet: Dotnet, tmp_path: Path) -> None:
    end = time.monotonic() + float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
    for seed in range(1000):
        shutil.rmtree(check(dotnet, seed, 100, tmp_path).parent)  # not kept for the next run
        if time.monotonic() > end:
            break

# SPDX-License-Identifier: MIT
"""Layouts in NumPy, ctypes and C: random types have the same offsets and bytes there."""

from __future__ import annotations

import ctypes
import os
import shutil
import subprocess
import time
from datetime import datetime
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from random import Random
from typing import Annotated, Any, Literal
from uuid import UUID

import numpy
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.struct_types import Types, assert_same, attribute, leaves, made_of, number_in, overlapping, same, value_of

from memorymapped import (
    Array,
    ByteOrder,
    FixedBytes,
    Length,
    MemoryMappedFile,
    Offset,
    Struct,
    Utf8,
    Utf16,
    char16,
    float16,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint64,
)
from memorymapped.structs import kinds
from memorymapped.structs.layout import Layout
from memorymapped.structs.struct import StructType

randoms = st.randoms(use_true_random=False)
quick = settings(deadline=None, max_examples=200, suppress_health_check=list(HealthCheck))


class Point(Struct):
    x: int32
    y: int32


class Color(IntEnum):
    RED = 1


# ------------------------------------------------------------------------------------------------------------ NumPy


class Everything(Struct):
    flag: bool
    half: float16
    char: char16
    big: Annotated[int32, ByteOrder("big")]
    name: Annotated[str, Utf8(8)]
    wide: Annotated[str, Utf16(5)]
    raw: Annotated[bytes, FixedBytes(5)]
    color: Annotated[Color, uint16]
    price: Decimal
    at: datetime
    key: UUID
    points: Array[Point, Literal[3]]
    matrix: Annotated[Array[float64], Length(2, 3)]
    names: Array[Annotated[str, Utf16(4)], Literal[2]]


def test_a_dtype_has_the_types_that_numpy_has() -> None:
    point = [("x", "<i4"), ("y", "<i4")]
    types = {
        "flag": "?",
        "half": "<f2",
        "char": "<u2",
        "big": ">i4",
        "name": "S8",
        "wide": ("<u2", (5,)),
        "raw": "V5",
        "color": "<u2",
        "price": "V16",
        "at": "<u8",
        "key": "V16",
        "points": (point, (3,)),
        "matrix": ("<f8", (2, 3)),
        "names": ("<u2", (2, 4)),
    }
    dtype = Everything.dtype
    assert {name: dtype[name] for name in dtype.names} == {name: numpy.dtype(type) for name, type in types.items()}
    assert dtype is Everything.dtype
    assert dtype.itemsize == Everything.layout.size


def test_arrays_of_structures_have_the_dtype_without_being_told() -> None:
    with MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        for struct in (Everything, Point):
            array = numpy.asarray(view.refs(struct, 8, 3))
            assert array.dtype == struct.dtype
            assert array.shape == (3,)
        array["y"] = 7
        assert [ref.y for ref in view.refs(Point, 8, 3)] == [7, 7, 7]
        del array


def test_views_take_the_dtype_and_arrays_of_it() -> None:
    class Cell(Struct, pack=1):
        kind: uint8
        value: int32

    array = numpy.array([(1, -1), (2, -2), (3, -3)], Cell.dtype)
    with MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        view.write_array(4, array)
        assert view.refs(Cell, 4, 3) == [Cell(1, -1), Cell(2, -2), Cell(3, -3)]  # 8 apart, as .NET has them
        back = numpy.zeros(3, Cell.dtype)
        view.read_array(4, back)
        assert (back == array).all()
        assert view.read(12, Cell.dtype)["value"] == -2
        view.write(12, array[2])
        assert view.read(12, Cell) == Cell(3, -3)


def test_overlapping_fields_are_bytes_until_numpy_is_told() -> None:
    class Overlapping(Struct):
        whole: int32
        half: Annotated[int16, Offset(2)]

    class Outer(Struct):
        inner: Overlapping
        more: uint8

    values = Overlapping.array([Overlapping(half=1), Overlapping(half=2)])
    array = numpy.asarray(values)
    assert (array.shape, array.dtype) == ((2, 4), "u1")
    assert array.view(Overlapping.dtype)["half"].tolist() == [[1], [2]]
    assert array.view(Overlapping.dtype)["whole"].tolist() == [[1 << 16], [2 << 16]]
    outer = numpy.asarray(Outer.array(2))
    assert outer["inner"].dtype == "V4"
    assert outer.view(Outer.dtype)["inner"]["half"].tolist() == [0, 0]


def test_arrays_in_a_structure_are_seen_by_numpy() -> None:
    draft = Everything().draft()
    draft.points[1].y = 5
    draft.names = ["ab", "c"]
    assert numpy.asarray(draft.points)["y"].tolist() == [0, 5, 0]
    assert numpy.asarray(draft.names).tolist() == [[97, 98, 0, 0], [99, 0, 0, 0]]
    numpy.asarray(draft.matrix)[1, 2] = 1.5
    assert draft.matrix[1][2] == 1.5


@quick
@given(randoms)
def test_numpy_has_the_same_bytes(random: Random) -> None:
    struct = some_type(random)
    value = made_of(struct.layout, random)
    raw = bytes(value)
    array = numpy.frombuffer(raw, struct.dtype)
    copy = numpy.zeros(1, struct.dtype)
    assert array.shape == (1,)
    for path, offset, kind in leaves(struct.layout):
        there: Any = array
        for step in path:
            there = there[step] if isinstance(step, str) else there[:, step]
        wanted = raw[offset : offset + kind.size]
        assert there.tobytes() == wanted
        number = number_in(kind, wanted)
        if number is not None and not isinstance(kind, kinds.Float16Kind):
            assert same(there[0], number)
    for name in struct.dtype.names:
        copy[name] = array[name]
    assert_same(struct.layout, copy.tobytes(), raw)
    if can_be_said(struct.layout):
        assert numpy.asarray(struct.array(1)).dtype == struct.dtype


def can_be_said(layout: Layout) -> bool:
    """Whether the format of a buffer says it all: no fields share bytes, or are out of order."""
    inner = [innermost(field.kind) for field in layout.fields]
    return layout.format.startswith("T{") and all(
        can_be_said(kind.layout) for kind in inner if isinstance(kind, kinds.Nested)
    )


def innermost(kind: kinds.Kind) -> kinds.Kind:
    """What an array consists of."""
    return innermost(kind.element) if isinstance(kind, kinds.ArrayKind) else kind


# ------------------------------------------------------------------------------------------------------------- ours


@quick
@given(randoms)
def test_fields_come_back_wherever_a_structure_lies(random: Random) -> None:
    struct = some_type(random, overlaps=False)
    given = {field.name: value_of(field.kind, random) for field in struct.layout.fields}
    wanted = {field.name: as_read(field.kind, given[field.name]) for field in struct.layout.fields}
    value = struct(**given)
    raw = bytes(value)
    at = random.randint(0, 9)
    with MemoryMappedFile.create_new(None, at + len(raw)) as map, map.create_view_accessor(0, at + len(raw)) as view:
        view.write(at, value)
        reference = view.ref(struct, at)
        places = [value, struct.from_bytes(raw), value.draft(), view.read(at, struct), reference, reference.snapshot()]
        for place in places:
            assert {name: getattr(place, name) for name in wanted} == wanted
            assert place == value
            assert bytes(place) == raw
        view.write(at, struct())
        assert bytes(reference) == bytes(len(raw))
        for name in wanted:
            setattr(reference, name, given[name])
        assert_same(struct.layout, bytes(reference), raw)
        assert hash(reference.snapshot()) == hash(value)


def as_read(kind: kinds.Kind, value: Any) -> Any:
    """A value as it comes back."""
    if isinstance(kind, kinds.ArrayKind):
        return [as_read(kind.element, each) for each in value]
    return value.ljust(kind.size, b"\0") if isinstance(kind, kinds.BytesKind) else value


# ----------------------------------------------------------------------------------------------------------- ctypes


def test_natural_layouts_are_plain_structures_of_ctypes() -> None:
    class MyData(Struct):
        number: int32
        point: Point
        big: Annotated[uint64, ByteOrder("big")]

    made = MyData.ctype
    assert issubclass(made, ctypes.Structure)
    assert made._fields_ == [
        ("number", ctypes.c_int32),
        ("point", Point.ctype),
        ("big", ctypes.c_uint64.__ctype_be__),
    ]
    assert not hasattr(made, "_pack_")
    data = made(1, (2, 3), 4)
    assert MyData.from_bytes(data) == MyData(1, Point(2, 3), 4)
    with MemoryMappedFile.create_new(None, 4096) as map, map.create_view_accessor() as view:
        view.write(4, data)
        assert view.read(4, MyData).point == Point(2, 3)
        assert view.read(4, made).big == 4


def test_what_ctypes_cannot_lay_out_is_packed_padded_or_a_union() -> None:
    class Packed(Struct, pack=2):
        a: int8
        b: int32

    class Padded(Struct, size=40):
        a: int8
        b: Annotated[int32, Offset(7)]
        _padding0: int8

    class Overlapping(Struct):
        a: int32
        b: Annotated[int16, Offset(2)]

    assert (Packed.ctype._pack_, Packed.ctype.b.offset) == (2, 2)
    assert [name for name, *_ in Padded.ctype._fields_] == ["a", "_padding1", "b", "_padding0", "_padding4"]
    both = Overlapping.ctype(a=0x10002)
    assert both.b == 1
    both.b = 3
    assert Overlapping.from_bytes(both).a == 0x30002


def test_decimals_and_guids_have_parts() -> None:
    class Both(Struct):
        price: Decimal
        key: UUID

    key = UUID("00112233-4455-6677-8899-aabbccddeeff")
    parts = Both.ctype.from_buffer_copy(Both(Decimal("-1.10"), key))
    assert (parts.price.flags, parts.price.low, parts.price.high) == (0x80020000, 110, 0)
    assert (parts.key.data1, parts.key.data2, parts.key.data3) == key.fields[:3]
    assert bytes(parts.key.data4) == key.bytes[8:]


@quick
@given(randoms)
def test_ctypes_has_the_same_bytes(random: Random) -> None:
    struct = some_type(random)
    value = made_of(struct.layout, random)
    raw = bytes(value)
    there = struct.ctype.from_buffer_copy(raw)
    copy = struct.ctype()
    assert bytes(there) == raw
    for path, offset, kind in leaves(struct.layout):
        wanted = raw[offset : offset + kind.size]
        found = attribute(there, path)
        number = number_in(kind, wanted)
        if number is not None:
            assert same(found, number)
        elif isinstance(found, bytes):
            assert found == wanted.partition(b"\0")[0]
        else:
            assert bytes(found) == wanted
    if not overlapping(struct.layout):  # text ends at a zero, which other fields may have in it
        for field in struct.layout.fields:
            setattr(copy, field.name, getattr(there, field.name))
        assert_same(struct.layout, bytes(copy), raw)


# --------------------------------------------------------------------------------------------------------------- C

COMPILERS = {
    "C": ["gcc", "-std=c11", "-x", "c"],
    "C++": ["g++", "-std=c++17", "-x", "c++"],
}
C_NAMES = {"int": "int_", "class": "class_"}


@pytest.fixture(params=COMPILERS)
def compiler(request: pytest.FixtureRequest) -> list[str]:
    command = COMPILERS[request.param]
    if shutil.which(command[0]) is None:
        pytest.skip(f"there is no {command[0]}")
    return [*command, "-O1", "-Wall", "-Wextra", "-Werror"]


def compiled(compiler: list[str], source: str, folder: Path) -> Path:
    (folder / "source").write_text(source, encoding="utf-8")
    command = [*compiler, str(folder / "source"), "-o", str(folder / "program")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr[:4000]
    return folder / "program"


def test_a_declaration_in_c_compiles_and_says_what_is_where(compiler: list[str], tmp_path: Path) -> None:
    class register(Struct):
        Point: Point  # type: ignore[misc, valid-type]
        double: float64
        color: Color

    text = Everything.layout.c(register.layout, Point.layout)
    assert text.count("typedef struct Point {") == 1
    assert "    int32_t big; /* 8: big-endian */\n" in text
    assert "    uint16_t names[2][4]; /* 152: UTF-16, filled up with zeros */\n" in text
    assert "typedef struct register_ {\n    Point Point_; /* 0 */\n    double double_; /* 8 */\n" in text
    assert "enum { /* Color */\n    Color_RED = 1,\n};\n" in text
    compiled(compiler, text + "int main(void) { return sizeof(register_) != 24; }\n", tmp_path)


def test_names_are_those_of_the_other_language(compiler: list[str], tmp_path: Path) -> None:
    odd = Enum("odd name", {"no name": 1, "1": 2**40})
    made = StructType("*/ Point", (Struct,), {"__annotations__": {"ok": Annotated[odd, int64], "point": Point}})
    other = StructType("Point", (Struct,), {"__annotations__": {"point": Point, "padding1": int8, "x": bool}}, size=19)
    text = made.layout.c(other.layout)
    assert "typedef struct ___Point {\n    int64_t ok; /* 0: odd_name */\n    Point point; /* 8 */\n}" in text
    assert "#define odd_name_no_name INT64_C(1)\n#define odd_name_1 INT64_C(1099511627776)\n" in text
    assert (
        "typedef struct Point_ {\n    Point point; /* 0 */\n    int8_t padding1; /* 8 */\n    bool x; /* 9 */\n" in text
    )
    assert "    uint8_t padding3[9];\n} Point_;\n" in text
    compiled(compiler, text + "int main(void) { return 0; }\n", tmp_path)
    assert "public enum odd_name : long\n{\n    no_name = 1,\n    _1 = 1099511627776,\n}\n" in made.layout.csharp()
    with pytest.raises(ValueError, match="a namespace is names with dots"):
        made.layout.csharp(namespace="My app")
    with pytest.raises(TypeError, match="is no layout: give"):
        made.layout.csharp("My")  # type: ignore[arg-type]


def is_number_of_c(kind: kinds.Kind) -> bool:
    """Whether C can print it. A bool that shares its bytes may be none in C."""
    return isinstance(kind, kinds.Number) and kind.order != ">" and kind.name != "bool"


def c_program(structs: list[type[Struct]]) -> str:
    """Reads values of these types, and prints each part; then what is there when all parts are copied."""
    first, *more = (struct.layout for struct in structs)
    lines = ["#include <stdio.h>", "#include <string.h>", first.c(*more)]
    for i, struct in enumerate(structs):
        name = struct.__name__
        lines.append(f"static int show{i}(void) {{ {name} a, b; memset(&b, 0, sizeof b);")
        lines.append("    if (fread(&a, sizeof a, 1, stdin) != 1) return 1;")
        for path, _, kind in leaves(struct.layout):
            steps = (f"[{step}]" if isinstance(step, int) else f".{C_NAMES.get(step, step)}" for step in path)
            member = "a" + "".join(steps)
            if is_number_of_c(kind):
                letter, type = ("a", "double") if kind.name.startswith("f") else ("lld", "long long")
                if kind.name[0] == "u":
                    letter, type = "llu", "unsigned long long"
                lines.append(f'    printf("%{letter}\\n", ({type}){member});')
            else:
                lines.append(f"    for (size_t i = 0; i < sizeof {member}; i++)")
                lines.append(f'        printf("%02x", ((const unsigned char *)&{member})[i]);')
                lines.append('    printf("\\n");')
        for field in struct.layout.fields:
            member = C_NAMES.get(field.name, field.name)
            lines.append(f"    memcpy(&b.{member}, &a.{member}, sizeof b.{member});")
        lines.append('    for (size_t i = 0; i < sizeof b; i++) printf("%02x", ((unsigned char *)&b)[i]);')
        lines.append('    printf("\\n"); return 0; }')
    calls = " || ".join(f"show{i}()" for i in range(len(structs)))
    lines.append(f"int main(void) {{ return {calls}; }}")
    return "\n".join(lines) + "\n"


def check_in_c(compiler: list[str], seed: int, count: int, folder: Path) -> None:
    print("seed", seed)
    random = Random(seed)
    types = Types(random)
    structs = [types.struct() for _ in range(count)]
    values = [bytes(made_of(struct.layout, random)) for struct in structs]
    program = compiled(compiler, c_program(structs), folder)
    done = subprocess.run([program], input=b"".join(values), capture_output=True, timeout=60)
    assert done.returncode == 0
    lines = iter(done.stdout.decode().splitlines())
    for struct, raw in zip(structs, values, strict=True):
        for path, offset, kind in leaves(struct.layout):
            piece, said = raw[offset : offset + kind.size], next(lines)
            where = f"{path} of\n{struct.layout}"
            if is_number_of_c(kind):
                number = number_in(kind, piece)
                assert same(number, float.fromhex(said) if isinstance(number, float) else int(said)), where
            else:
                assert said == piece.hex(), where
        assert_same(struct.layout, bytes.fromhex(next(lines)), raw)
    assert next(lines, None) is None


def test_c_has_the_same_bytes(compiler: list[str], tmp_path: Path) -> None:
    check_in_c(compiler, 20261121, 60, tmp_path)


@pytest.mark.campaign
@pytest.mark.timeout(300)
def test_c_has_the_same_bytes_of_many_types(compiler: list[str], tmp_path: Path) -> None:
    end = time.monotonic() + float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
    for seed in range(1000):
        check_in_c(compiler, seed, 200, tmp_path)
        if time.monotonic() > end:
            break


# -------------------------------------------------------------------------------------------------------------- C#


def test_a_declaration_in_csharp_is_sequential_where_that_is_the_same_everywhere() -> None:
    """That it has our layout is for tests/dotnet to say."""

    class Packed(Struct, pack=2):
        number: int8
        point: Point
        reals: Annotated[Array[float64], Length(2, 3)]

    class Priced(Struct):
        price: Decimal

    class Outer(Struct):
        string: int8
        inner: Priced
        colors: Array[Color, Literal[2]]
        small: Annotated[Color, uint8]

    assert Packed.layout.csharp(namespace="Shop.namespace") == (
        "using System;\nusing System.Runtime.InteropServices;\n\nnamespace Shop.@namespace\n{\n"
        "    // 8 bytes, aligned to 4\n    [StructLayout(LayoutKind.Sequential)]\n    public struct Point\n    {\n"
        "        public int x; // 0\n        public int y; // 4\n    }\n\n"
        "    // 58 bytes, aligned to 2\n    [StructLayout(LayoutKind.Sequential, Pack = 2)]\n"
        "    public unsafe struct Packed\n    {\n        public sbyte number; // 0\n        public Point point; // 2\n"
        "        public fixed double reals[6]; // 10: [2][3]\n    }\n}\n"
    )
    text = Outer.layout.csharp(Packed.layout, Point.layout)
    assert text.count("struct Point\n") == 1
    assert text.count("LayoutKind.Explicit, Pack = 1, Size = 16)]\npublic struct Priced\n") == 1
    assert "LayoutKind.Explicit, Pack = 1, Size = 40)]\npublic unsafe struct Outer\n" in text
    assert "    [FieldOffset(0)] public sbyte @string;\n" in text
    assert "    [FieldOffset(24)] public colors_items colors;\n" in text
    assert "enum Color : int\n{\n    RED = 1,\n}\n" in text
    assert "enum Color_uint8 : byte\n" in text


# ------------------------------------------------------------------------------------------------------------- both


def some_type(random: Random, *, overlaps: bool = True) -> type[Struct]:
    types = Types(random, overlaps=overlaps)
    for _ in range(random.randint(0, 3)):
        types.struct()
    return types.struct()

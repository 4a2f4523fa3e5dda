# SPDX-License-Identifier: MIT
"""A C# program and memorymapped give each other files: what one wrote the other reads, value for value, and both write
the same bytes. exchange.cs has the values of this file in C#."""

from __future__ import annotations

import copy
import ctypes
import struct
from array import array
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy
import pytest
from dotnet_runtime import Dotnet

from memorymapped import (
    BinaryReader,
    BinaryWriter,
    FileMode,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
)

pytestmark = pytest.mark.dotnet

CAPACITY = 65536
ARRAYS = 4096 + 3

SINGLES = (
    0, 0x80000000, 1, 0x007FFFFF, 0x00800000, 0x3F800000, 0xC0490FDB, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000,
    0x7FC00000, 0xFFC12345, 0x7F800001, 0xFFBFFFFF, 0x7FFFFFFF,
)  # fmt: skip
DOUBLES = (
    0, 0x8000000000000000, 1, 0x000FFFFFFFFFFFFF, 0x0010000000000000, 0x3FF0000000000000, 0xC00921FB54442D18,
    0x7FEFFFFFFFFFFFFF, 0xFFEFFFFFFFFFFFFF, 0x7FF0000000000000, 0xFFF0000000000000, 0x7FF8000000000000,
    0xFFF8000000012345, 0x7FF0000000000001, 0xFFF7FFFFFFFFFFFF, 0x7FFFFFFFFFFFFFFF,
)  # fmt: skip
DECIMALS = tuple(map(Decimal, (
    "0", "-0", "0E-28", "-0E-28", "1", "1.1", "1.10", "-1.10", "79228162514264337593543950335",
    "-79228162514264337593543950335", "0.0000000000000000000000000001", "-0.0000000000000000000000000001",
    "7.9228162514264337593543950335", "-7922816251426433759354395033.5", "4294967296", "18446744073709551616",
    "12345678901234567890.12345678",
)))  # fmt: skip


def double(bits: int) -> float:
    return float(struct.unpack("<d", struct.pack("<Q", bits))[0])


def single(bits: int) -> float:
    """The float of 32 bits; a NaN keeps its payload and stays a signalling one, which struct's own "f" would not."""
    if bits & 0x7F800000 == 0x7F800000:
        return double((bits & 0x80000000) << 32 | 0x7FF0000000000000 | (bits & 0x7FFFFF) << 29)
    return float(struct.unpack("<f", struct.pack("<I", bits))[0])


# Type, size, values; one after the other.
SCALARS: tuple[tuple[str, int, tuple[Any, ...]], ...] = (
    ("boolean", 1, (True, False)),
    ("byte", 1, (0, 1, 127, 128, 255)),
    ("sbyte", 1, (0, -1, -128, 127)),
    ("char", 2, ("\0", "A", "\u00e9", "\u20ac", "\ud800", "\udfff", "\ufffe", "\uffff")),
    ("int16", 2, (0, -1, -(2**15), 2**15 - 1, 0x1234)),
    ("uint16", 2, (0, 1, 2**16 - 1, 0x1234)),
    ("int32", 4, (0, -1, -(2**31), 2**31 - 1, 0x12345678)),
    ("uint32", 4, (0, 1, 2**32 - 1, 0x12345678)),
    ("int64", 8, (0, -1, -(2**63), 2**63 - 1, 0x123456789ABCDEF0)),
    ("uint64", 8, (0, 1, 2**64 - 1, 0x123456789ABCDEF0)),
    ("byte", 1, (7,)),
    ("single", 4, tuple(map(single, SINGLES))),
    ("double", 8, tuple(map(double, DOUBLES))),
    ("decimal", 16, DECIMALS),
)


def same(value: Any) -> Any:
    """What two values must have in common that are the same: the bits of a float, the places and sign of a decimal."""
    if isinstance(value, float):
        return struct.pack("<d", value)
    if isinstance(value, Decimal):
        return value.as_tuple()
    return type(value), value


def placed() -> Iterator[tuple[str, int, Any]]:
    """Type, position, value of each scalar."""
    at = 0
    for type_, size, values in SCALARS:
        for value in values:
            yield type_, at, value
            at += size


POINT3 = numpy.dtype([("kind", "u1"), ("value", "<i2")])  # 3 bytes, 4 apart


class Point5(ctypes.Structure):  # 5 bytes, 8 apart
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("kind", ctypes.c_uint8), ("value", ctypes.c_int32))


class Trade(ctypes.Structure):  # 40 bytes
    _fields_ = (
        ("id", ctypes.c_int32),
        ("sell", ctypes.c_bool),
        ("price", ctypes.c_double),
        ("venue", ctypes.c_int16),
        ("currency", ctypes.c_uint16),
        ("time", ctypes.c_int64),
        ("settled", ctypes.c_bool),
    )


def sale(i: int) -> Trade:
    return Trade(i, i % 2 == 1, i * 1.25, -i, 0x20AC + i, 1700000000000 + i, i % 3 == 0)


def arrays() -> tuple[tuple[Any, int], ...]:
    """An array, and how far its elements are apart in the file."""
    return (
        (bytearray([1, 2, 3, 250]), 1),
        (numpy.array([True, False, True]), 1),
        (array("h", [-1, 2, -(2**15)]), 2),
        (array("i", [-1, -(2**31), 2**31 - 1]), 4),
        (numpy.array([2**64 - 1, 1], numpy.uint64), 8),
        ((ctypes.c_double * 3)(-0.5, 1.7976931348623157e308, float("-inf")), 8),
        (array("H", [0x41, 0x20AC, 0xD800]), 2),
        (numpy.array([(i, i * -1000) for i in range(5)], POINT3), 4),
        ((Point5 * 5)(*((i, i * -100000) for i in range(5))), 8),
        ((Trade * 4)(*map(sale, range(4))), 40),
    )


def bytes_of(values: Any) -> memoryview:
    """The memory of any of these arrays."""
    return memoryview(values).cast("B")


def write(view: MemoryMappedViewAccessor) -> None:
    """As `exchange write` does."""
    for type_, at, value in placed():
        getattr(view, f"write_{type_}")(at, value)
    at = ARRAYS
    for values, stride in arrays():
        view.write_array(at, values)
        at += stride * len(values)
    view.write(at, numpy.array((9, -9), POINT3)[()])
    view.write(at + 3, Point5(9, -9))
    view.write(at + 8, sale(9))


def check(view: MemoryMappedViewAccessor) -> None:
    """As `exchange read` does."""
    for type_, at, value in placed():
        assert same(getattr(view, f"read_{type_}")(at)) == same(value), (type_, at)
    at = ARRAYS
    for values, stride in arrays():
        read = copy.copy(values)
        bytes_of(read)[:] = bytes(len(bytes_of(read)))
        assert view.read_array(at, read) == len(values)
        assert bytes_of(read) == bytes_of(values)
        at += stride * len(values)
    assert view.read(at, POINT3).tolist() == (9, -9)
    assert bytes(view.read(at + 3, Point5)) == bytes(Point5(9, -9))
    assert bytes(view.read(at + 8, Trade)) == bytes(sale(9))


def test_csharp_reads_what_an_accessor_wrote(dotnet: Dotnet, tmp_path: Path) -> None:
    path = tmp_path / "ours"
    with (
        MemoryMappedFile.create_from_file(path, FileMode.CREATE, None, CAPACITY) as map_,
        map_.create_view_accessor() as view,
    ):
        write(view)
    assert dotnet.run("exchange.cs", "read", path) == "109 values, 4438 bytes\n"


def test_an_accessor_reads_what_csharp_wrote(dotnet: Dotnet, tmp_path: Path) -> None:
    path, again = tmp_path / "theirs", tmp_path / "ours"
    dotnet.run("exchange.cs", "write", path)
    with (
        MemoryMappedFile.create_from_file(path, access=MemoryMappedFileAccess.READ) as map_,
        map_.create_view_accessor(access=MemoryMappedFileAccess.READ) as view,
    ):
        assert view.capacity == CAPACITY
        check(view)
    with (
        MemoryMappedFile.create_from_file(again, FileMode.CREATE_NEW, None, CAPACITY) as map_,
        map_.create_view_accessor() as view,
    ):
        write(view)
        check(view)
    assert again.read_bytes() == path.read_bytes()


# ------------------------------------------------------------------------------------- BinaryWriter, BinaryReader

COUNTS = (0, 1, 127, 128, 300, 16383, 16384, 2097151, 2097152, 2**31 - 1, -1, -(2**31))
STRINGS = (
    "", "A", "x" * 127, "x" * 128, "y" * 16384, "Grüße €", "\u65e5\u672c\u8a9e", "\U0001f600 \0 \uffff\n", "é" * 64,
)  # fmt: skip
BYTES = bytes((0, 255, 128, 10, 13))
NUMBERS: tuple[tuple[str, Any], ...] = (
    ("boolean", True),
    ("byte", 200),
    ("sbyte", -100),
    ("int16", -(2**15)),
    ("uint16", 2**16 - 1),
    ("int32", -(2**31)),
    ("uint32", 2**32 - 1),
    ("int64", -(2**63)),
    ("uint64", 2**64 - 1),
    ("single", single(0x7FC12345)),
    ("double", -1.5),
    *(("decimal", value) for value in DECIMALS),
    *(("char", value) for value in "\0A\u00e9\u20ac\uffff"),
)


def write_binary(writer: BinaryWriter) -> None:
    """As `exchange stream-write` does."""
    for type_, value in NUMBERS:
        getattr(writer, f"write_{type_}")(value)
    writer.write_chars("Aé\U0001f600z")
    for count in COUNTS:
        writer.write_7bit_encoded_int(count)
    for text in STRINGS:
        writer.write(text)
    writer.write(BYTES)
    writer.seek(40000)
    writer.write("behind a gap")
    writer.seek(-8, 2)
    writer.write_int64(0x0807060504030201)


def check_binary(reader: BinaryReader) -> None:
    """As `exchange stream-read` does."""
    for type_, value in NUMBERS:
        assert same(getattr(reader, f"read_{type_}")()) == same(value), type_
    assert reader.read_chars(4) == "Aé\U0001f600z"
    assert [reader.read_7bit_encoded_int() for _ in COUNTS] == list(COUNTS)
    assert [reader.read_string() for _ in STRINGS] == list(STRINGS)
    assert reader.read_bytes(5) == BYTES
    reader.stream.seek(40000)
    assert reader.read_string() == "behind a gap"
    reader.stream.seek(-8, 2)
    assert reader.read_int64() == 0x0807060504030201
    assert reader.stream.read(1) == b""


def test_csharp_reads_what_a_binary_writer_wrote_to_a_stream(dotnet: Dotnet, tmp_path: Path) -> None:
    path = tmp_path / "ours"
    with (
        MemoryMappedFile.create_from_file(path, FileMode.CREATE, None, CAPACITY) as map_,
        BinaryWriter(map_.create_view_stream()) as writer,
    ):
        write_binary(writer)
    assert dotnet.run("exchange.cs", "stream-read", path) == f"at {CAPACITY}\n"


def test_a_binary_reader_reads_what_csharp_wrote_to_a_stream(dotnet: Dotnet, tmp_path: Path) -> None:
    path, again = tmp_path / "theirs", tmp_path / "ours"
    dotnet.run("exchange.cs", "stream-write", path)
    with (
        MemoryMappedFile.create_from_file(path, access=MemoryMappedFileAccess.READ) as map_,
        BinaryReader(map_.create_view_stream(access=MemoryMappedFileAccess.READ)) as reader,
    ):
        check_binary(reader)
    with (
        MemoryMappedFile.create_from_file(again, FileMode.CREATE, None, CAPACITY) as map_,
        BinaryWriter(map_.create_view_stream()) as writer,
    ):
        write_binary(writer)
    assert again.read_bytes() == path.read_bytes()

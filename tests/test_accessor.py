# SPDX-License-Identifier: MIT
"""The accessor's typed reads and writes, its decimals, the order of its refusals, and what a view says of itself."""

from __future__ import annotations

import contextlib
import copy
import decimal
import fractions
import io
import mmap
import os
import pickle
import struct
import subprocess
import weakref
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memorymapped import (
    Advice,
    ClosedError,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileError,
    MemoryMappedViewAccessor,
    OutOfRangeError,
    ValueOutOfRangeError,
    guard_status,
)

PAGE = 4096
GRANULARITY = mmap.ALLOCATIONGRANULARITY  # where views begin inside
SIZE = 2 * PAGE + 100
FILL = 0xA5
HUGE = pytest.param(10**5000, id="10**5000")  # more digits than int-to-str conversion allows

bounded = settings(max_examples=150, deadline=None, database=None)


class Number(NamedTuple):
    method: str
    format: str
    low: int
    high: int

    @property
    def size(self) -> int:
        return struct.calcsize("<" + self.format)


INTEGERS = [
    Number("byte", "B", 0, 2**8 - 1),
    Number("sbyte", "b", -(2**7), 2**7 - 1),
    Number("int16", "h", -(2**15), 2**15 - 1),
    Number("uint16", "H", 0, 2**16 - 1),
    Number("int32", "i", -(2**31), 2**31 - 1),
    Number("uint32", "I", 0, 2**32 - 1),
    Number("int64", "q", -(2**63), 2**63 - 1),
    Number("uint64", "Q", 0, 2**64 - 1),
]
# method, size, a value, and that value's bytes
TYPED: list[tuple[str, int, Any, bytes]] = [
    ("boolean", 1, True, b"\x01"),
    *((n.method, n.size, n.high - 2, struct.pack("<" + n.format, n.high - 2)) for n in INTEGERS),
    ("char", 2, "\u20ac", b"\xac\x20"),
    ("single", 4, 1.5, struct.pack("<f", 1.5)),
    ("double", 8, -2.75, struct.pack("<d", -2.75)),
    ("decimal", 16, Decimal("-1.10"), bytes.fromhex("6e000000 00000000 00000000 00000280")),
]
by_method = pytest.mark.parametrize(("method", "size", "value", "raw"), TYPED, ids=[row[0] for row in TYPED])
by_integer = pytest.mark.parametrize("number", INTEGERS, ids=[n.method for n in INTEGERS])


class Indexed:
    """An integer that is none by type."""

    def __init__(self, value: int) -> None:
        self.value = value

    def __index__(self) -> int:
        return self.value


class Floated:
    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Raising:
    """Refuses every conversion."""

    def refuse(self) -> Any:
        raise ZeroDivisionError("no conversion")

    __index__ = __float__ = __bool__ = refuse


def reading(view: MemoryMappedViewAccessor, method: str) -> Callable[[Any], Any]:
    return getattr(view, f"read_{method}")


def writing(view: MemoryMappedViewAccessor, method: str) -> Callable[[Any, Any], None]:
    return getattr(view, f"write_{method}")


@pytest.fixture
def map_() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new(None, SIZE) as map_:
        yield map_


@pytest.fixture
def view(map_: MemoryMappedFile) -> Iterator[MemoryMappedViewAccessor]:
    with map_.create_view_accessor() as view:
        view[:] = bytes([FILL]) * SIZE
        yield view


# ----------------------------------------------------------------------------------------------- typed reads and writes


@by_method
def test_a_value_is_stored_in_the_machines_bytes_at_any_alignment(
    view: MemoryMappedViewAccessor, method: str, size: int, value: Any, raw: bytes
) -> None:
    places = [*range(17), *range(PAGE - size, PAGE + 1), SIZE - size]
    for place in places:
        view[:] = bytes([FILL]) * SIZE
        assert writing(view, method)(place, value) is None
        expected = bytearray([FILL]) * SIZE
        expected[place : place + size] = raw
        assert view[:] == expected
        got = reading(view, method)(place)
        assert got == value
        assert type(got) is type(value)


@by_integer
def test_integers_keep_their_extremes(view: MemoryMappedViewAccessor, number: Number) -> None:
    for value in {number.low, number.low + 1, 0, 1, number.high // 2, number.high - 1, number.high}:
        writing(view, number.method)(3, value)
        assert view[3 : 3 + number.size] == struct.pack("<" + number.format, value)
        assert reading(view, number.method)(3) == value


@by_integer
@pytest.mark.parametrize("off", [1, 2**8, 2**32, 2**64, 2**200, HUGE])
def test_an_integer_that_does_not_fit_is_refused_and_nothing_is_written(
    view: MemoryMappedViewAccessor, number: Number, off: int
) -> None:
    for value in (number.low - off, number.high + off):
        with pytest.raises(ValueOutOfRangeError, match="does not fit in") as caught:
            writing(view, number.method)(3, value)
        assert isinstance(caught.value, (OverflowError, ValueError, MemoryMappedFileError))
        assert len(str(caught.value)) < 250
    assert view[:] == bytes([FILL]) * SIZE


@by_integer
@pytest.mark.parametrize("value", [1.0, "1", b"1", None, [], Decimal(1), fractions.Fraction(1), np.float64(1), 1j])
def test_what_is_no_integer_is_a_type_error(view: MemoryMappedViewAccessor, number: Number, value: Any) -> None:
    with pytest.raises(TypeError):
        writing(view, number.method)(3, value)
    assert view[:] == bytes([FILL]) * SIZE


@by_integer
@pytest.mark.parametrize("make", [Indexed, np.int8, np.uint8, np.int64, bool], ids=lambda make: make.__name__)
def test_whatever_has_an_index_is_an_integer(
    view: MemoryMappedViewAccessor, number: Number, make: Callable[[int], Any]
) -> None:
    writing(view, number.method)(Indexed(3), make(1))
    assert reading(view, number.method)(Indexed(3)) == 1
    with pytest.raises(ValueOutOfRangeError):
        writing(view, number.method)(3, Indexed(number.high + 1))
    assert reading(view, number.method)(3) == 1


@by_method
def test_an_exception_of_a_conversion_passes_and_nothing_is_written(
    view: MemoryMappedViewAccessor, method: str, size: int, value: Any, raw: bytes
) -> None:
    with pytest.raises(ZeroDivisionError):
        reading(view, method)(Raising())
    with pytest.raises(ZeroDivisionError):
        writing(view, method)(Raising(), value)
    if method not in ("char", "decimal"):
        with pytest.raises(ZeroDivisionError):
            writing(view, method)(0, Raising())
    assert view[:] == bytes([FILL]) * SIZE


@by_method
@pytest.mark.parametrize("position", [0.0, "0", None, b"\0", [0], 1j, Decimal(0)])
def test_a_position_is_an_integer(
    view: MemoryMappedViewAccessor, method: str, size: int, value: Any, raw: bytes, position: Any
) -> None:
    with pytest.raises(TypeError):
        reading(view, method)(position)
    with pytest.raises(TypeError):
        writing(view, method)(position, value)
    assert view[:] == bytes([FILL]) * SIZE


def test_every_byte_but_zero_reads_as_true(view: MemoryMappedViewAccessor) -> None:
    view[:256] = bytes(range(256))
    assert [view.read_boolean(i) for i in range(256)] == [False] + [True] * 255


@pytest.mark.parametrize(
    ("value", "stored"),
    [
        (True, 1), (False, 0), (256, 1), (0, 0), ("", 0), ("0", 1), ([], 0), ([0], 1), (None, 0), (0.0, 0),
        (float("nan"), 1), (np.False_, 0), (np.True_, 1),
    ],
)  # fmt: skip
def test_a_boolean_is_the_truth_of_any_object(view: MemoryMappedViewAccessor, value: Any, stored: int) -> None:
    view.write_boolean(5, value)
    assert view[4:7] == bytes([FILL, stored, FILL])


@pytest.mark.parametrize(
    "unit", [0, 1, 0x7F, 0x80, 0xFF, 0x100, 0xD7FF, 0xD800, 0xDBFF, 0xDC00, 0xDFFF, 0xE000, 0xFFFF]
)
def test_a_char_is_one_utf_16_unit_lone_surrogates_too(view: MemoryMappedViewAccessor, unit: int) -> None:
    view.write_char(1, chr(unit))
    assert view.read_uint16(1) == unit
    assert view.read_char(1) == chr(unit)


@pytest.mark.parametrize("value", ["\U00010000", "\U0001f600", "\U0010ffff"])
def test_a_char_beyond_one_unit_is_refused(view: MemoryMappedViewAccessor, value: str) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in char"):
        view.write_char(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize("value", ["", "ab", "e\u0301", b"a", 97, None, ["a"]])
def test_a_char_is_a_str_of_one_character(view: MemoryMappedViewAccessor, value: Any) -> None:
    with pytest.raises(TypeError):
        view.write_char(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize(
    "bits",
    [
        0x00000000, 0x80000000, 0x00000001, 0x807FFFFF, 0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0xFF800000, 0x7FC00000,
        0xFFC00000, 0x7F800001, 0xFF800001, 0x7FBFFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 0x7FA5A5A5,
    ],
)  # fmt: skip
def test_a_single_keeps_every_bit_of_a_signalling_nan_too(view: MemoryMappedViewAccessor, bits: int) -> None:
    view.write_uint32(1, bits)
    view.write_single(9, view.read_single(1))
    assert hex(view.read_uint32(9)) == hex(bits)


@bounded
@given(bits=st.integers(0, 2**32 - 1), other=st.integers(0, 2**23 - 1), sign=st.booleans())
def test_singles_are_copied_bit_for_bit(bits: int, other: int, sign: bool) -> None:
    nan = 0x7F800000 | sign << 31 | other
    with MemoryMappedFile.create_new(None, 16) as map_, map_.create_view_accessor() as view:
        for pattern in (bits, nan):
            view.write_uint32(1, pattern)
            view.write_single(7, view.read_single(1))
            assert view.read_uint32(7) == pattern


@bounded
@given(bits=st.integers(0, 2**64 - 1), payload=st.integers(0, 2**52 - 1), sign=st.booleans())
def test_doubles_are_copied_bit_for_bit(bits: int, payload: int, sign: bool) -> None:
    nan = 0x7FF0000000000000 | sign << 63 | payload
    with MemoryMappedFile.create_new(None, 20) as map_, map_.create_view_accessor() as view:
        for pattern in (bits, nan):
            view.write_uint64(1, pattern)
            view.write_double(11, view.read_double(1))
            assert view.read_uint64(11) == pattern


def test_a_nan_of_low_bits_only_stays_a_nan_as_a_single(view: MemoryMappedViewAccessor) -> None:
    view.write_uint64(0, 0xFFF0000000000001)  # a signalling NaN whose payload a single has no room for
    view.write_single(8, view.read_double(0))
    assert hex(view.read_uint32(8)) == "0xffc00000"


@pytest.mark.parametrize(
    "value", [0, 1, -1, 0.1, -0.0, 1e-45, 1e-46, 3.4028234663852886e38, 3.4028235677973362e38, 2**127, Indexed(7), True]
)
def test_a_single_is_rounded_to_the_nearest(view: MemoryMappedViewAccessor, value: Any) -> None:
    view.write_single(1, value)
    number = value.value if isinstance(value, Indexed) else value
    assert view[1:5] == np.float32(number).tobytes()


@pytest.mark.parametrize(
    "value", [3.4028235677973366e38, -3.4028235677973366e38, 1e300, -1e300, 2**128, 10**400, -(10**400), HUGE]
)
def test_a_finite_number_beyond_every_single_is_refused(view: MemoryMappedViewAccessor, value: float) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in single"):
        view.write_single(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize("value", [10**309, -(10**309), HUGE])
def test_an_integer_beyond_every_double_is_refused(view: MemoryMappedViewAccessor, value: int) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in double"):
        view.write_double(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize("method", ["single", "double"])
def test_infinities_pass_and_floats_may_come_from_any_object(view: MemoryMappedViewAccessor, method: str) -> None:
    for value in (float("inf"), float("-inf")):
        writing(view, method)(1, value)
        assert reading(view, method)(1) == value
    for value, expected in ((Floated(2.5), 2.5), (np.float32(0.5), 0.5), (Decimal("1.25"), 1.25), (Indexed(3), 3.0)):
        writing(view, method)(1, value)
        assert reading(view, method)(1) == expected


@pytest.mark.parametrize("method", ["single", "double"])
@pytest.mark.parametrize("value", ["1", b"1", None, [], 1j])
def test_what_is_no_number_is_a_type_error(view: MemoryMappedViewAccessor, method: str, value: Any) -> None:
    with pytest.raises(TypeError):
        writing(view, method)(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@bounded
@given(data=st.data(), size=st.integers(1, 40))
def test_a_random_series_of_writes_gives_what_struct_gives(data: st.DataObject, size: int) -> None:
    with MemoryMappedFile.create_new(None, size) as map_, map_.create_view_accessor() as view:
        model = bytearray(size)
        for _ in range(data.draw(st.integers(1, 12))):
            number = data.draw(st.sampled_from(INTEGERS))
            value = data.draw(st.integers(number.low, number.high))
            position = data.draw(st.integers(-2, size + 2))
            if 0 <= position <= size - number.size:
                struct.pack_into("<" + number.format, model, position, value)
                writing(view, number.method)(position, value)
                assert reading(view, number.method)(position) == value
            else:
                with pytest.raises(ValueError, match="position"):
                    writing(view, number.method)(position, value)
                with pytest.raises(ValueError, match="position"):
                    reading(view, number.method)(position)
            assert view[:] == model


# ------------------------------------------------------------------------------------------------------------- decimals

LARGEST = 2**96 - 1


def stored(number: int, scale: int, negative: bool) -> bytes:
    """The 16 bytes, from .NET's description alone."""
    flags = negative << 31 | scale << 16
    return struct.pack("<4I", number & 0xFFFFFFFF, number >> 32 & 0xFFFFFFFF, number >> 64, flags)


@pytest.mark.parametrize(
    ("text", "raw"),
    [
        ("0", "00000000 00000000 00000000 00000000"),
        ("-0", "00000000 00000000 00000000 00000080"),
        ("0.00", "00000000 00000000 00000000 00000200"),
        ("1", "01000000 00000000 00000000 00000000"),
        ("1.10", "6e000000 00000000 00000000 00000200"),
        ("-1.10", "6e000000 00000000 00000000 00000280"),
        ("4294967296", "00000000 01000000 00000000 00000000"),
        ("18446744073709551616", "00000000 00000000 01000000 00000000"),
        ("79228162514264337593543950335", "ffffffff ffffffff ffffffff 00000000"),
        ("-79228162514264337593543950335", "ffffffff ffffffff ffffffff 00000080"),
        ("7.9228162514264337593543950335", "ffffffff ffffffff ffffffff 00001c00"),
        ("1E-28", "01000000 00000000 00000000 00001c00"),
        ("-0E-28", "00000000 00000000 00000000 00001c80"),
    ],
)
def test_decimals_have_the_bytes_of_dotnet(view: MemoryMappedViewAccessor, text: str, raw: str) -> None:
    value = Decimal(text)
    view.write_decimal(1, value)
    assert view[0:18] == bytes([FILL]) + bytes.fromhex(raw) + bytes([FILL])
    assert view.read_decimal(1).as_tuple() == value.as_tuple()


@bounded
@given(number=st.integers(0, LARGEST), scale=st.integers(0, 28), negative=st.booleans())
def test_each_of_dotnets_decimals_keeps_sign_digits_and_scale(number: int, scale: int, negative: bool) -> None:
    value = Decimal((negative, tuple(map(int, str(number))), -scale))
    with MemoryMappedFile.create_new(None, 16) as map_, map_.create_view_accessor() as view:
        view.write_decimal(0, value)
        assert view[:] == stored(number, scale, negative)
        assert view.read_decimal(0).as_tuple() == value.as_tuple()


def representable(value: Decimal) -> bool:
    exact = fractions.Fraction(value)
    return any((exact * 10**k).denominator == 1 and abs(exact * 10**k) <= LARGEST for k in range(29))


@bounded
@given(digits=st.integers(-(10**34), 10**34), exponent=st.integers(-40, 40), zeros=st.integers(0, 70))
def test_a_decimal_is_stored_exactly_or_refused(digits: int, exponent: int, zeros: int) -> None:
    sign, figures, _ = Decimal(digits).as_tuple()
    value = Decimal((sign, figures + (0,) * zeros, exponent - zeros))
    with MemoryMappedFile.create_new(None, 16) as map_, map_.create_view_accessor() as view:
        if representable(value):
            view.write_decimal(0, value)
            assert fractions.Fraction(view.read_decimal(0)) == fractions.Fraction(value)
        else:
            with pytest.raises(ValueOutOfRangeError, match="96 bits"):
                view.write_decimal(0, value)
            assert view[:] == bytes(16)


@pytest.mark.parametrize(
    "value",
    [
        Decimal(2**96), -Decimal(2**96), 2**96, -(2**96), 10**5000, Decimal("1E+29"), Decimal("1E-29"),
        Decimal("1" * 40), Decimal("0." + "1" * 40), Decimal("1." + "0" * 40 + "1"), Decimal("1E+999999999999999999"),
        Decimal("1E-999999999999999999"), Decimal("NaN"), Decimal("-sNaN7"), Decimal("Infinity"), Decimal("-Infinity"),
    ],
    ids=lambda value: f"{value!s:.30}" if isinstance(value, Decimal) else f"int of {value.bit_length()} bits",
)  # fmt: skip
def test_a_decimal_that_does_not_fit_is_refused(view: MemoryMappedViewAccessor, value: Any) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in a decimal"):
        view.write_decimal(1, value)
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("1.0000000000000000000000000000000000000000", "1.0000000000000000000000000000"),
        ("1000000000000000000000000000000000000.00E-20", "10000000000000000.000000000000"),
        ("1E+28", "10000000000000000000000000000"),
        ("0E-40", "0E-28"),
        ("-0E-999999999999999999", "-0E-28"),
    ],
)
def test_zeros_at_the_end_that_have_no_room_are_no_loss(
    view: MemoryMappedViewAccessor, value: str, expected: str
) -> None:
    view.write_decimal(1, Decimal(value))
    assert view.read_decimal(1).as_tuple() == Decimal(expected).as_tuple()


def test_a_zero_of_any_exponent_is_stored_at_once(run: Callable[..., subprocess.Popen[str]]) -> None:
    # In a child with little memory and time: the power of ten that these ask for has more digits than there is memory.
    child = run(
        """
import resource, memorymapped
from decimal import Decimal
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
resource.setrlimit(resource.RLIMIT_CPU, (20, 20))
with memorymapped.MemoryMappedFile.create_new(None, 16) as map_, map_.create_view_accessor() as view:
    for sign in ("", "-"):
        for exponent in (1, 29, 999999, 999999999999999999):
            view.write_decimal(0, Decimal(f"{sign}0E+{exponent}"))
            assert str(view.read_decimal(0)) == sign + "0", exponent
print("done")
"""
    )
    assert child.communicate(timeout=50)[0] == "done\n"


@pytest.mark.parametrize("value", [5, -5, 0, True, 2**96 - 1])
def test_a_decimal_may_be_given_as_an_integer(view: MemoryMappedViewAccessor, value: int) -> None:
    view.write_decimal(1, value)
    assert view.read_decimal(1) == value
    assert view.read_decimal(1).as_tuple().exponent == 0


@pytest.mark.parametrize("value", [1.5, "1.5", None, fractions.Fraction(1, 2), Indexed(1), np.int64(1)])
def test_a_decimal_from_anything_else_is_a_type_error(view: MemoryMappedViewAccessor, value: Any) -> None:
    with pytest.raises(TypeError):
        view.write_decimal(1, value)
    assert view[:] == bytes([FILL]) * SIZE


def test_the_users_decimal_context_changes_nothing(view: MemoryMappedViewAccessor) -> None:
    with decimal.localcontext() as context:
        context.prec = 3
        for trap in context.traps:
            context.traps[trap] = True
        view.write_decimal(1, Decimal("79228162514264337593543950335"))
        assert str(view.read_decimal(1)) == "79228162514264337593543950335"


@pytest.mark.parametrize(
    "flags", [1, 0x8000, 0x80000001, 29 << 16, 255 << 16, 1 << 24, 1 << 30, 0x7FFFFFFF, 0xFFFFFFFF]
)
def test_bytes_that_are_no_decimal_are_refused(view: MemoryMappedViewAccessor, flags: int) -> None:
    view[0:16] = struct.pack("<4I", 1, 2, 3, flags)
    with pytest.raises(ValueError, match="is no decimal"):
        view.read_decimal(0)


@bounded
@given(raw=st.binary(min_size=16, max_size=16))
def test_any_16_bytes_are_a_decimal_that_writes_them_again_or_are_refused(raw: bytes) -> None:
    with MemoryMappedFile.create_new(None, 16) as map_, map_.create_view_accessor() as view:
        view[:] = raw
        flags = int.from_bytes(raw[12:], "little")
        if flags & 0x7F00FFFF or flags >> 16 & 0xFF > 28:
            with pytest.raises(ValueError, match="is no decimal"):
                view.read_decimal(0)
        else:
            value = view.read_decimal(0)
            view.write_bytes(0, bytes(16))
            view.write_decimal(0, value)
            assert view[:] == raw


# ------------------------------------------------------------------------------------------------ the order of refusals

ReadOrWrite = Callable[[MemoryMappedViewAccessor, Any], Any]
READS: dict[str, tuple[int, ReadOrWrite]] = {
    row[0]: (row[1], lambda view, at, method=row[0]: reading(view, method)(at)) for row in TYPED
}
READS["bytes"] = 5, lambda view, at: view.read_bytes(at, 5)
READS["struct"] = 5, lambda view, at: view.read(at, "<iB")
WRITES: dict[str, tuple[int, ReadOrWrite]] = {
    row[0]: (row[1], lambda view, at, row=row: writing(view, row[0])(at, row[2])) for row in TYPED
}
WRITES["bytes"] = 5, lambda view, at: view.write_bytes(at, b"12345")
WRITES["struct"] = 5, lambda view, at: view.write(at, (1, 2), "<iB")
GENERIC = ("struct",)  # .NET's Read<T> and Write<T> look at a negative position first of all

ACCESSES = [
    pytest.param(name, *row, direction, id=f"{direction}-{name}")
    for direction, table in (("read", READS), ("write", WRITES))
    for name, row in table.items()
]
by_access = pytest.mark.parametrize(("name", "size", "access", "direction"), ACCESSES)


def wrong_way(map_: MemoryMappedFile, direction: str) -> MemoryMappedViewAccessor:
    other = MemoryMappedFileAccess.WRITE if direction == "read" else MemoryMappedFileAccess.READ
    return map_.create_view_accessor(0, 64, other)


@by_access
def test_a_closed_view_comes_before_everything_else(
    map_: MemoryMappedFile, name: str, size: int, access: ReadOrWrite, direction: str
) -> None:
    for view in (map_.create_view_accessor(0, 64), wrong_way(map_, direction)):
        view.close()
        for position in (0, 64 - size + 1, 64, 2**63, 2**100) if name in GENERIC else (0, -1, 64, 2**63, -(2**100)):
            with pytest.raises(ClosedError, match="closed"):
                access(view, position)


@by_access
def test_the_wrong_direction_comes_before_the_position(
    map_: MemoryMappedFile, name: str, size: int, access: ReadOrWrite, direction: str
) -> None:
    with wrong_way(map_, direction) as view:
        for position in (0, 64 - size + 1, 64, 2**63) if name in GENERIC else (0, -1, 64, 2**63, -(2**100)):
            with pytest.raises(io.UnsupportedOperation, match=direction.rstrip("e") + "ing"):
                access(view, position)


@by_access
def test_a_position_outside_is_out_of_range_and_too_few_bytes_are_a_value_error(
    map_: MemoryMappedFile, name: str, size: int, access: ReadOrWrite, direction: str
) -> None:
    with map_.create_view_accessor(0, 64) as view:
        view[:] = bytes([FILL]) * 64 if name != "decimal" else bytes(64)
        before = view[:]
        for position in (-1, -64, -(2**63), -(2**64), 64, 65, 2**31, 2**32, 2**63 - 1, 2**63, 2**64, 10**5000):
            with pytest.raises(OutOfRangeError, match="position") as caught:
                access(view, position)
            assert isinstance(caught.value, IndexError)
        for position in range(64 - size + 1, 64):
            with pytest.raises(ValueError, match=f"{size} bytes at position {position}") as short:
                access(view, position)
            assert not isinstance(short.value, OutOfRangeError)
        assert view[:] == before
        access(view, 64 - size)


@pytest.mark.parametrize("direction", ["read", "write"])
def test_generic_reads_and_writes_look_at_a_negative_position_first(map_: MemoryMappedFile, direction: str) -> None:
    access = (READS if direction == "read" else WRITES)["struct"][1]
    closed = map_.create_view_accessor()
    closed.close()
    with wrong_way(map_, direction) as view:
        for one in (closed, view):
            with pytest.raises(OutOfRangeError, match="negative"):
                access(one, -1)


@by_access
def test_wrong_types_come_before_a_closed_view(
    map_: MemoryMappedFile, name: str, size: int, access: ReadOrWrite, direction: str
) -> None:
    view = map_.create_view_accessor()
    view.close()
    with pytest.raises(TypeError):
        access(view, "0")


@pytest.mark.parametrize("number", INTEGERS, ids=[n.method for n in INTEGERS])
def test_a_value_that_does_not_fit_comes_before_the_view(map_: MemoryMappedFile, number: Number) -> None:
    with map_.create_view_accessor(0, 1, MemoryMappedFileAccess.READ) as view, pytest.raises(ValueOutOfRangeError):
        writing(view, number.method)(-1, number.high + 1)


@by_access
def test_nothing_fits_in_an_empty_view(
    map_: MemoryMappedFile, name: str, size: int, access: ReadOrWrite, direction: str
) -> None:
    with map_.create_view_accessor(SIZE) as view:
        assert (view.capacity, view.pointer_offset) == (0, 0)
        for position in (0, 1, -1):
            with pytest.raises(OutOfRangeError):
                access(view, position)


def test_no_bytes_may_be_read_and_written_at_the_end_and_nowhere_beyond(map_: MemoryMappedFile) -> None:
    for offset in (0, SIZE):
        with map_.create_view_accessor(offset) as view:
            end = view.capacity
            assert view.read_bytes(end, 0) == b""
            view.write_bytes(end, b"")
            for outside in (end + 1, -1, 2**63):
                with pytest.raises(OutOfRangeError):
                    view.read_bytes(outside, 0)
                with pytest.raises(OutOfRangeError):
                    view.write_bytes(outside, b"")
        for access in (MemoryMappedFileAccess.READ, MemoryMappedFileAccess.WRITE):
            with map_.create_view_accessor(offset, 0, access) as view:
                refused = view.write_bytes if access is MemoryMappedFileAccess.READ else view.read_bytes
                with pytest.raises(io.UnsupportedOperation):
                    refused(view.capacity, b"" if access is MemoryMappedFileAccess.READ else 0)  # type: ignore[arg-type]


@pytest.mark.parametrize("count", [-1, -(2**63), pytest.param(-(10**5000), id="-10**5000")])
def test_a_negative_count_is_out_of_range(view: MemoryMappedViewAccessor, count: int) -> None:
    with pytest.raises(OutOfRangeError, match="count"):
        view.read_bytes(0, count)


@pytest.mark.parametrize("count", [SIZE + 1, 2**31, 2**63 - 1, 2**63, HUGE])
def test_more_bytes_than_there_are_are_refused_without_allocating_them(
    view: MemoryMappedViewAccessor, count: int
) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        view.read_bytes(0, count)


@pytest.mark.parametrize("data", ["text", 5, None, [1, 2], 1.5])
def test_bytes_come_from_a_buffer(view: MemoryMappedViewAccessor, data: Any) -> None:
    with pytest.raises(TypeError):
        view.write_bytes(0, data)


def test_a_write_beyond_the_end_writes_nothing(view: MemoryMappedViewAccessor) -> None:
    with pytest.raises(ValueError, match="do not fit"):
        view.write_bytes(SIZE - 5, b"123456")
    assert view[:] == bytes([FILL]) * SIZE


# ------------------------------------------------------------------------------------------- what a view says of itself


def test_flags_and_sizes_before_and_after_close(map_: MemoryMappedFile) -> None:
    rows = {
        MemoryMappedFileAccess.READ_WRITE: (True, True),
        MemoryMappedFileAccess.READ: (True, False),
        MemoryMappedFileAccess.WRITE: (False, True),
        MemoryMappedFileAccess.COPY_ON_WRITE: (True, True),
    }
    for access, (reads, writes) in rows.items():
        view = map_.create_view_accessor(PAGE + 100, 50, access)
        assert (view.can_read, view.can_write, view.closed) == (reads, writes, False)
        assert (view.capacity, view.pointer_offset, view.offset, len(view), bool(view)) == (
            50,
            (PAGE + 100) % GRANULARITY,
            PAGE + 100,
            50,
            True,
        )
        view.close()
        assert (view.can_read, view.can_write, view.closed) == (False, False, True)
        assert (view.capacity, view.pointer_offset, view.offset, bool(view)) == (
            50,
            (PAGE + 100) % GRANULARITY,
            PAGE + 100,
            True,
        )
        view.close()
        view.dispose()
        with pytest.raises(ClosedError):
            len(view)


@pytest.mark.parametrize("offset", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE])
def test_the_pointer_offset_is_the_offset_within_a_page(map_: MemoryMappedFile, offset: int) -> None:
    with map_.create_view_accessor() as whole, map_.create_view_accessor(offset) as view:
        assert view.pointer_offset == offset % GRANULARITY == view.address() % GRANULARITY
        whole.write_int32(offset, 0x1234)
        assert view.read_int32(0) == 0x1234


def test_a_repr_names_the_map_and_its_state(tmp_path: Path) -> None:
    path = tmp_path / "some file"
    with MemoryMappedFile.create_new(None, 10) as unnamed, unnamed.create_view_accessor(3) as view:
        assert repr(view) == "<MemoryMappedViewAccessor of unnamed memory, 7 bytes at 3>"
    assert repr(view) == "<MemoryMappedViewAccessor of unnamed memory, closed at 3>"
    with MemoryMappedFile.create_new("a name", 10) as named, named.create_view_accessor() as view:
        assert repr(view) == "<MemoryMappedViewAccessor of 'a name', 10 bytes at 0>"
    path.write_bytes(b"12345")
    with MemoryMappedFile.create_from_file(path) as mapped, mapped.create_view_accessor() as view:
        assert repr(view) == f"<MemoryMappedViewAccessor of {path}, 5 bytes at 0>"


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_view_is_not_pickled_and_says_what_to_do(view: MemoryMappedViewAccessor, protocol: int) -> None:
    with pytest.raises(TypeError, match="pickle the map"):
        pickle.dumps(view, protocol)


@pytest.mark.parametrize("function", [copy.copy, copy.deepcopy], ids=["copy", "deepcopy"])
def test_a_view_is_not_copied(view: MemoryMappedViewAccessor, function: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="cannot be pickled"):
        function(view)


def test_a_view_can_be_referenced_weakly_and_goes_with_its_last_reference(map_: MemoryMappedFile) -> None:
    before = guard_status().mappings
    view = map_.create_view_accessor()
    reference = weakref.ref(view)
    assert guard_status().mappings == before + 1
    assert reference() is view
    del view
    assert reference() is None
    assert guard_status().mappings == before


def test_views_are_compared_by_identity_and_have_no_attributes_of_their_own(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as one, map_.create_view_accessor() as other:
        assert one != other
        assert len({one, other, one}) == 2
        with pytest.raises(AttributeError):
            one.anything = 1  # type: ignore[attr-defined]
        with pytest.raises(AttributeError):
            one.source = None  # type: ignore[misc]


def test_a_view_is_made_by_a_map_only() -> None:
    for arguments in ((), (1,), (None, 3, 0, 4096)):
        with pytest.raises(TypeError):
            MemoryMappedViewAccessor(*arguments)  # type: ignore[arg-type]


class Counting(MemoryMappedViewAccessor):
    """A subclass with a dictionary, and a method of its own that calls a compiled one."""

    def read_int32(self, position: Any, /) -> int:
        self.reads = getattr(self, "reads", 0) + 1
        return super().read_int32(position)


def test_a_subclass_has_attributes_and_overrides_methods(map_: MemoryMappedFile) -> None:
    with map_._view(Counting, 0, 0, MemoryMappedFileAccess.READ_WRITE) as view:
        view.write_int32(4, 17)
        assert (view.read_int32(4), view.read_int16(4), view.read_int32(0)) == (17, 17, 0)
        assert view.reads == 2
        assert repr(view).startswith("<Counting of ")
        assert bytes(memoryview(view)[4:8]) == b"\x11\0\0\0"
    with pytest.raises(ClosedError):
        view.read_int32(4)


def test_a_method_refuses_an_object_that_is_no_such_view(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream() as stream:
        for stranger in (stream, None, 5, object()):
            with pytest.raises(TypeError):
                MemoryMappedViewAccessor.read_int32(stranger, 0)  # type: ignore[arg-type]


def test_views_of_one_map_see_each_other_and_copy_on_write_keeps_its_own(map_: MemoryMappedFile) -> None:
    with (
        map_.create_view_accessor() as one,
        map_.create_view_accessor(PAGE, 8) as other,
        map_.create_view_accessor(0, 0, MemoryMappedFileAccess.COPY_ON_WRITE) as private,
    ):
        one.write_int64(PAGE, -2)
        assert other.read_int64(0) == private.read_int64(PAGE) == -2
        private.write_int64(PAGE, 5)
        assert (one.read_int64(PAGE), private.read_int64(PAGE)) == (-2, 5)


def test_a_view_outlives_its_map() -> None:
    map_ = MemoryMappedFile.create_new(None, 100)
    with map_.create_view_accessor() as view:
        map_.close()
        view.write_int32(96, 5)
        view.flush()
        assert view.read_int32(96) == 5
        with pytest.raises(ClosedError):
            map_.create_view_accessor()


def test_leaving_with_closes_and_entering_a_closed_view_is_refused(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as view:
        assert not view.closed
    assert view.closed
    with pytest.raises(ClosedError), view:
        pass


# ---------------------------------------------------------------------------- flush, advice, residency, faults (basics)

RANGED: dict[str, Callable[..., Any]] = {
    "flush": lambda view, *range_: view.flush(*range_),
    "advise": lambda view, *range_: view.advise(Advice.RANDOM, *range_),
    "residency": lambda view, *range_: view.residency(*range_),
}
by_range = pytest.mark.parametrize("use", RANGED.values(), ids=list(RANGED))


@by_range
def test_a_range_lies_inside_the_view(map_: MemoryMappedFile, use: Callable[..., Any]) -> None:
    with map_.create_view_accessor(100) as view:
        end = view.capacity
        for good in ((), (0,), (end,), (0, end), (end, 0), (1, 2), (PAGE - 100, 1), (5, None)):
            use(view, *good)
        for bad in ((-1,), (end + 1,), (0, end + 1), (end, 1), (0, -1), (2**63,), (0, 2**64), (2**62, 2**62)):
            with pytest.raises(OutOfRangeError):
                use(view, *bad)
        for wrong in (("0",), (None,), (0, "1"), (0.5,), (0, 1.5)):
            with pytest.raises(TypeError):
                use(view, *wrong)
    with pytest.raises(ClosedError):
        use(view)


@by_range
def test_a_range_of_an_empty_view_is_nothing(map_: MemoryMappedFile, use: Callable[..., Any]) -> None:
    with map_.create_view_accessor(SIZE) as view:
        use(view)
        use(view, 0, 0)
        with pytest.raises(OutOfRangeError):
            use(view, 1)


@pytest.mark.parametrize("access", ["READ_WRITE", "READ", "WRITE", "COPY_ON_WRITE"])
def test_any_access_may_flush(tmp_path: Path, access: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(PAGE + 10))
    with (
        MemoryMappedFile.create_from_file(path) as map_,
        map_.create_view_accessor(0, 0, MemoryMappedFileAccess[access]) as view,
    ):
        if view.can_write:
            view.write_byte(PAGE, 9)
        view.flush()
        view.flush(PAGE - 1, 2)
    assert path.read_bytes()[PAGE] == (9 if access in ("READ_WRITE", "WRITE") else 0)


@pytest.mark.parametrize("looks", [False, True])
def test_a_flush_tells_of_a_truncated_file(tmp_path: Path, looks: bool) -> None:
    """What was written is nowhere, also if nobody has looked since."""
    path = tmp_path / "file"
    path.write_bytes(bytes(3 * PAGE))
    with MemoryMappedFile.create_from_file(path) as map_, map_.create_view_accessor() as view:
        view.write_byte(2 * PAGE, 9)
        os.truncate(path, PAGE)
        if looks:
            with pytest.raises(MemoryFaultError):
                view.read_byte(2 * PAGE)
        for range_ in ((), (PAGE,), (0, PAGE + 1)):
            with pytest.raises(MemoryFaultError, match=f"truncated to {PAGE}"):
                view.flush(*range_)
        view.flush(0, PAGE)  # is there


@pytest.mark.parametrize("advice", Advice)
@pytest.mark.parametrize("access", ["READ_WRITE", "READ", "COPY_ON_WRITE"])
def test_advice_changes_no_byte(map_: MemoryMappedFile, advice: Advice, access: str) -> None:
    with map_.create_view_accessor() as view:
        view[:] = bytes(range(256)) * (SIZE // 256) + bytes(SIZE % 256)
    with map_.create_view_accessor(0, 0, MemoryMappedFileAccess[access]) as view:
        if view.can_write:
            view.write_byte(PAGE, 123)
        before = view[:]
        # A kernel may be built without huge pages.
        with contextlib.suppress(OSError) if "HUGE" in advice.name else contextlib.nullcontext():
            view.advise(advice)
            view.advise(advice.value, 100, PAGE)
        assert view[:] == before


@pytest.mark.parametrize("advice", [-1, 5, 8, 9, 10, 12, 102, 103, 2**31, HUGE, "RANDOM", None, 1.5])
def test_no_other_advice_reaches_the_kernel(view: MemoryMappedViewAccessor, advice: Any) -> None:
    with pytest.raises(ValueError, match=r"Advice|digits"):  # enum itself trips over an integer of 5000 digits
        view.advise(advice)
    with pytest.raises((OutOfRangeError, TypeError)):
        view.madvise(advice)
    assert view[:] == bytes([FILL]) * SIZE


def test_residency_counts_whole_pages_in_memory(tmp_path: Path) -> None:
    with MemoryMappedFile.create_new(None, 64 * PAGE) as map_, map_.create_view_accessor() as view:
        view[:] = b"x" * len(view)
        everything = view.residency()
        assert (everything.resident, everything.total, everything.page_size) == (64 * PAGE, 64 * PAGE, PAGE)
        assert everything.ratio == 1.0
        assert view.residency(PAGE - 1, 2).total == 2 * PAGE
        assert view.residency(3, 0).total == 0
        assert view.residency(3, 0).ratio == 1.0
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as file:
        file.truncate(1 << 33)
    with MemoryMappedFile.create_from_file(sparse) as map_, map_.create_view_accessor() as view:
        state = view.residency()
        assert state.total == 1 << 33
        assert state.resident < 1 << 30
        assert 0.0 <= state.ratio < 0.2


def test_a_truncated_file_is_told_by_access_check_faulted_and_close(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3 * PAGE)
    with MemoryMappedFile.create_from_file(path) as map_:
        view, untold = map_.create_view_accessor(), map_.create_view_accessor()
        array = np.asarray(untold)
        view.check()
        assert not view.faulted
        with path.open("rb+") as file:
            file.truncate(PAGE + 5)
        with pytest.raises(MemoryFaultError, match=f"truncated to {PAGE + 5} bytes"):
            view.check()
        assert view.read_byte(PAGE + 4) == ord("x")
        assert view.read_byte(PAGE + 6) == 0
        for access in (
            lambda: view.read_byte(2 * PAGE),
            lambda: view.write_int32(2 * PAGE, 1),
            lambda: view[PAGE : 2 * PAGE + 1],
            lambda: view[2 * PAGE :: 7],
            lambda: view.read(2 * PAGE, "<q"),
            lambda: view.read_array(2 * PAGE, bytearray(3)),
            lambda: view.read_array(2 * PAGE, np.zeros(3, "V3")),
            lambda: view.write_array(2 * PAGE, np.zeros(3, "V3")),
            lambda: view.gather([0, 2 * PAGE], "B"),
            lambda: view.scatter([0, 2 * PAGE], b"xy"),
            lambda: view.cast("i")[-1],
            lambda: view.cast("i").tolist(),
            lambda: view.cast("i")[::3].tobytes(),
        ):
            with pytest.raises(MemoryFaultError):
                access()
        assert view.read_byte(0) == ord("x")
        assert view.faulted
        view.close()
        assert view.faulted
        assert array[2 * PAGE] == 0
        with pytest.raises(MemoryFaultError):
            untold.close()
        assert untold.closed
        untold.close()

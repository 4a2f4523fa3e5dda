# SPDX-License-Identifier: MIT
"""Value types: struct formats, ctypes types and NumPy types as `read` and `write` understand them."""

from __future__ import annotations

import ctypes
import math
import struct
import subprocess
from collections.abc import Callable, Iterator
from decimal import Decimal
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import plainly

from memorymapped import (
    MemoryMappedFile,
    MemoryMappedViewAccessor,
    OutOfRangeError,
    ValueOutOfRangeError,
)
from memorymapped.values import value_type

SIZE = 300
FILL = 0xA5

bounded = settings(max_examples=150, deadline=None, database=None)


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new(None, SIZE) as map_, map_.create_view_accessor() as view:
        view[:] = bytes([FILL]) * SIZE
        yield view


def written(view: MemoryMappedViewAccessor, raw: bytes, position: int = 7) -> None:
    """Exactly these bytes lie at `position`, and nothing else was touched."""
    expected = bytearray([FILL]) * SIZE
    expected[position : position + len(raw)] = raw
    assert view[:] == expected
    view[:] = bytes([FILL]) * SIZE


def untouched(view: MemoryMappedViewAccessor) -> None:
    assert view[:] == bytes([FILL]) * SIZE


# --------------------------------------------------------------------------------------------------------------- struct

STRUCTS: list[tuple[str, Any]] = [
    ("i", -5), ("<i", -5), (">i", -5), ("!i", -5), ("=i", -5), ("@i", -5),
    ("?", True), ("c", b"x"), ("5s", b"abc\0\0"), ("5p", b"abc"), ("e", 0.5), ("d", 1e300), ("n", -1), ("N", 2**64 - 1),
    ("l", -(2**63)), ("<l", -(2**31)), ("Q", 2**64 - 1),
    ("<ih", (1, 2)), ("ib", (1, 2)), ("bi", (1, 2)), ("@bq", (1, 2)), ("=bq", (1, 2)), (">HI?", (1, 2, False)),
    ("3i", (1, 2, 3)), ("2x i 3x", 9), ("<2H4s2x?", (1, 2, b"abcd", True)), ("0i h", 7), ("i i", (1, 2)),
    ("2s3s", (b"ab", b"cde")), ("0s", None), ("0sB", (b"", 5)), ("2c", (b"a", b"b")), ("bh0q", (1, 2)),
]  # fmt: skip
STRUCTS = [row for row in STRUCTS if row[1] is not None]


@pytest.mark.parametrize(("format_", "value"), STRUCTS, ids=[row[0] for row in STRUCTS])
def test_struct_formats_write_the_bytes_that_struct_packs(
    view: MemoryMappedViewAccessor, format_: str, value: Any
) -> None:
    raw = struct.pack(format_, *value) if isinstance(value, tuple) else struct.pack(format_, value)
    for type_ in (format_, struct.Struct(format_)):
        view.write(7, value, type_)
        written(view, raw)
        view[7 : 7 + len(raw)] = raw
        got = view.read(7, type_)
        assert got == value
        assert type(got) is type(value)
        assert value_type(type_).size == len(raw)


@pytest.mark.parametrize(
    "format_", ["z", "i?z", "<n", "@@i", "5", "i5", "<", "99999999999999999999i", "\0", "i\0", "<<i", "é", "3 i", "-1i"]
)
def test_a_bad_format_is_refused(view: MemoryMappedViewAccessor, format_: str) -> None:
    for use in (lambda: view.read(0, format_), lambda: view.write(0, 1, format_)):
        with pytest.raises((struct.error, ValueError)):
            use()
    untouched(view)


@pytest.mark.parametrize(
    ("spelled", "format_"),
    [
        ("i4", "=i"), ("<f8", "<d"), ("=q", "=q"), ("u2", "=H"), (">i2", ">h"), ("|u1", "B"), ("b1", "?"), ("f2", "=e"),
        ("i8", "=q"), (">f4", ">f"),
    ],
)  # fmt: skip
def test_numbers_as_numpy_spells_them(view: MemoryMappedViewAccessor, spelled: str, format_: str) -> None:
    view.write(7, 1, spelled)
    written(view, struct.pack(format_, 1))
    view.scatter([7], [1], spelled)
    assert view.read(7, spelled) == view.read(7, format_) == 1
    assert bytes(view.gather([7], spelled)) == bytes(view.gather([7], format_))
    if spelled != "b1":
        with pytest.raises(ValueOutOfRangeError):
            view.write(7, 10**400, spelled)


@pytest.mark.parametrize("format_", ["S3", "i3", "U3", "c16", "M8[s]", "<V4"])
def test_other_spellings_of_numpy_are_told(view: MemoryMappedViewAccessor, format_: str) -> None:
    with pytest.raises(struct.error, match=r"numpy\.dtype"):
        view.read(0, format_)


@pytest.mark.parametrize("format_", ["", "@", "0i", "0s", "0x", "  ", "<0q"])
def test_a_format_without_bytes_is_refused(view: MemoryMappedViewAccessor, format_: str) -> None:
    with pytest.raises(ValueError, match="no bytes"):
        view.read(0, format_)


def test_a_format_of_padding_only_is_an_empty_tuple(view: MemoryMappedViewAccessor) -> None:
    assert view.read(7, "3x") == ()
    view.write(7, (), "3x")
    written(view, b"\0\0\0")


@pytest.mark.parametrize(
    ("value", "format_", "errors"),
    [
        ("x", "i", struct.error), (1.5, "i", struct.error), (None, "d", struct.error), ("abc", "3s", struct.error),
        ((1,), "i", struct.error), ((1, 2), "i", struct.error), ((1,), "ii", struct.error),
        ((1, 2, 3), "ii", struct.error),
        (5, "ii", TypeError), (None, "ii", TypeError), ("ab", "ii", struct.error), ("1.5", "d", struct.error),
        (np.zeros(2), "d", struct.error), ((2**40, "x", 1), "ii", struct.error),
    ],
)  # fmt: skip
def test_values_that_do_not_suit_a_format_are_refused(
    view: MemoryMappedViewAccessor, value: Any, format_: str, errors: type[Exception]
) -> None:
    with pytest.raises(errors):
        view.write(7, value, format_)
    untouched(view)


@pytest.mark.parametrize(
    ("value", "format_"),
    [
        (300, "B"), (-1, "B"), (-1, "<H"), (2**40, "<i"), (2**40, ">i"), (2**40, "@i"), (2**64, "Q"), (2**31, "=l"),
        (2**63, "n"), (-1, "N"), (10**400, "i"), (10**400, "d"), (10**400, "<f"), (10**400, ">e"), (1e6, "e"),
        (np.int64(300), "b"), (Fraction(10**400), "d"), ((1, 2**40), "ii"), ((1, 2, 300), "2xib B"),
        (b"abcdef", "3s"), (bytearray(b"abcd"), "3s"), (b"abc", "3p"), (b"x", "p"), (b"x" * 256, "300p"),
        ((1, b"ab", b"abc"), "<h2s2s"), ((2**15, b"ab"), "<h2s"),
    ],
    ids=plainly,
)  # fmt: skip
def test_a_value_that_struct_cuts_or_has_no_room_for_is_refused(
    view: MemoryMappedViewAccessor, value: Any, format_: str
) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in"):
        view.write(7, value, format_)
    with pytest.raises(ValueOutOfRangeError, match="does not fit in"):
        view.scatter([0], [value], format_)
    untouched(view)


@pytest.mark.parametrize(
    ("value", "format_"), [(b"abc", "3s"), (b"", "3s"), (b"ab", "3p"), (b"x" * 255, "256p"), (b"x" * 255, "290p")]
)
def test_text_that_fits_is_written(view: MemoryMappedViewAccessor, value: Any, format_: str) -> None:
    view.write(7, value, format_)
    written(view, struct.pack(format_, value))


@pytest.mark.parametrize("format_", ["f", "@f", "=f", "<f", ">f", "e", "<e"])
@pytest.mark.parametrize("value", [1e300, -1e300, 3.5e38, np.float64(1e300)])
def test_a_finite_float_never_becomes_infinite(view: MemoryMappedViewAccessor, format_: str, value: float) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit"):
        view.write(7, value, format_)
    with pytest.raises(ValueOutOfRangeError, match="does not fit"):
        view.write(7, (1, value, 2), f"{format_[:-1]}i{format_[-1]}i")
    untouched(view)


@pytest.mark.parametrize("format_", ["f", "<f", "e", "d"])
def test_infinities_and_nan_pass(view: MemoryMappedViewAccessor, format_: str) -> None:
    for value in (math.inf, -math.inf, np.float64("inf"), Fraction(1, 2)):
        view.write(7, value, format_)
        assert view.read(7, format_) == value
    view.write(7, math.nan, format_)
    assert math.isnan(view.read(7, format_))


@bounded
@given(
    prefix=st.sampled_from(["", "@", "=", "<", ">", "!"]),
    codes=st.text("?bBhHiIlLqQfd x", min_size=1, max_size=8),
    raw=st.binary(min_size=80, max_size=80),
)
def test_any_format_reads_what_struct_unpacks(prefix: str, codes: str, raw: bytes) -> None:
    format_ = prefix + codes
    size = struct.calcsize(format_)
    if size == 0:
        return
    with MemoryMappedFile.create_new(None, 80) as map_, map_.create_view_accessor() as view:
        view[:] = raw
        expected: Any = struct.unpack_from(format_, raw, 3)
        expected = expected[0] if len(expected) == 1 else expected
        got = view.read(3, format_)
        assert repr(got) == repr(expected)
        if "f" not in codes:  # a signalling NaN becomes a quiet one on its way through struct's floats
            view.write(0, got, format_)
            assert view[:size] == (struct.pack(format_, *got) if isinstance(got, tuple) else struct.pack(format_, got))


def test_a_format_of_many_gigabytes_allocates_nothing(run: Callable[..., subprocess.Popen[str]]) -> None:
    child = run(
        """
import resource, memorymapped
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
with memorymapped.MemoryMappedFile.create_new(None, 100) as map_, map_.create_view_accessor() as view:
    for format in ("20000000000s", "20000000000x", "9000000000B", "8000000000i", "9223372036854775807s"):
        try:
            view.read(0, format)
        except ValueError as error:
            assert "do not fit" in str(error), error
        else:
            raise AssertionError(format)
print("done")
"""
    )
    assert child.communicate(timeout=50)[0] == "done\n"


# --------------------------------------------------------------------------------------------------------------- ctypes


class Point(ctypes.Structure):
    _fields_ = (("x", ctypes.c_int16), ("y", ctypes.c_double))


class Packed(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("x", ctypes.c_int16), ("y", ctypes.c_double))


class Nested(ctypes.Structure):
    _fields_ = (("flag", ctypes.c_bool), ("points", Point * 2), ("packed", Packed), ("text", ctypes.c_char * 5))


class Bits(ctypes.Structure):
    _fields_ = (("low", ctypes.c_uint32, 3), ("middle", ctypes.c_uint32, 10), ("high", ctypes.c_int32, 19))


class Either(ctypes.Union):
    _fields_ = (("whole", ctypes.c_uint32), ("halves", ctypes.c_uint16 * 2), ("single", ctypes.c_float))


class Big(ctypes.BigEndianStructure):
    _fields_ = (("number", ctypes.c_int32), ("halves", ctypes.c_uint16 * 2))


class Derived(Point):
    _fields_ = (("z", ctypes.c_int8),)


class Methods(Point):
    """No fields of its own."""

    def norm(self) -> float:
        return abs(self.x) + abs(self.y)


class DotNet(ctypes.Structure):
    """The members of the article's struct: 0, 4, 8, 12, 14, and 16 in all."""

    _fields_ = (
        ("a", ctypes.c_int32),
        ("b", ctypes.c_bool),
        ("c", ctypes.c_int32),
        ("d", ctypes.c_uint16),
        ("e", ctypes.c_bool),
    )


VALUES: list[Any] = [
    Point(-2, 1.5),
    Packed(-2, 1.5),
    Nested(True, (Point * 2)(Point(1, 2), Point(3, 4)), Packed(5, 6), b"hello"),
    Bits(5, 1000, -200),
    Either(whole=0x12345678),
    Big(1, (2, 3)),
    Derived(1, 2.0, 3),
    Methods(1, 2.0),
    (ctypes.c_int32 * 3)(1, 2, 3),
    (Packed * 2)(Packed(1, 2), Packed(3, 4)),
    ((ctypes.c_uint8 * 2) * 3)((1, 2), (3, 4), (5, 6)),
    (ctypes.c_char * 4)(b"a", b"b", b"c", b"d"),
    DotNet(1, True, 2, 3, True),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_ctypes_aggregates_are_stored_byte_for_byte_and_own_what_was_read(
    view: MemoryMappedViewAccessor, value: Any
) -> None:
    kind, raw = type(value), memoryview(value).tobytes()
    for arguments in ((7, value), (7, value, kind)):
        view.write(*arguments)
        written(view, raw)
    view.write(7, value)
    got = view.read(7, kind)
    assert type(got) is kind
    assert memoryview(got).tobytes() == raw
    view[:] = bytes(SIZE)
    assert memoryview(got).tobytes() == raw
    (ctypes.c_char * len(raw)).from_buffer(got)[:] = bytes(len(raw))
    view.close()
    assert memoryview(got).tobytes() == bytes(len(raw))


def test_fields_of_what_was_read(view: MemoryMappedViewAccessor) -> None:
    view.write(1, VALUES[2])
    nested = view.read(1, Nested)
    assert (nested.flag, nested.points[1].x, nested.points[1].y, nested.packed.y, nested.text) == (
        True,
        3,
        4.0,
        6.0,
        b"hello",
    )
    view.write(1, Bits(5, 1000, -200))
    bits = view.read(1, Bits)
    assert (bits.low, bits.middle, bits.high) == (5, 1000, -200)
    view.write(1, Big(1, (2, 3)))
    assert view[1:9] == b"\0\0\0\1\0\2\0\3"
    view.write(1, Either(single=1.5))
    assert view.read(1, Either).whole == 0x3FC00000
    view.write(1, DotNet(1, True, 2, 3, True))
    assert view[1:17] == struct.pack("<i?3xiH?x", 1, True, 2, 3, True)


SIMPLE: list[tuple[Any, Any, str]] = [
    (ctypes.c_bool, True, "?"), (ctypes.c_char, b"x", "c"), (ctypes.c_wchar, "\U0001f600", ""),
    (ctypes.c_int8, -128, "b"), (ctypes.c_uint8, 255, "B"), (ctypes.c_int16, -(2**15), "h"),
    (ctypes.c_uint16, 2**16 - 1, "H"),
    (ctypes.c_int32, -(2**31), "i"), (ctypes.c_uint32, 2**32 - 1, "I"), (ctypes.c_int64, -(2**63), "q"),
    (ctypes.c_uint64, 2**64 - 1, "Q"), (ctypes.c_float, 1.5, "f"), (ctypes.c_double, 1e300, "d"),
    (ctypes.c_long, -5, "l"), (ctypes.c_ulong, 5, "L"), (ctypes.c_size_t, 5, "N"),
    (ctypes.c_int32.__ctype_be__, 0x01020304, ">i"), (ctypes.c_double.__ctype_be__, 1.5, ">d"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "value", "format_"), SIMPLE, ids=[f"{row[0].__name__} {row[2]}" for row in SIMPLE])
def test_simple_types_of_ctypes_are_plain_values(
    view: MemoryMappedViewAccessor, kind: Any, value: Any, format_: str
) -> None:
    raw = memoryview(kind(value)).tobytes()
    if format_:
        assert raw == struct.pack(format_, value)
    for arguments in ((7, value, kind), (7, kind(value), kind), (7, kind(value))):
        view.write(*arguments)
        written(view, raw)
    view.write(7, value, kind)
    assert view.read(7, kind) == value
    assert type(view.read(7, kind)) is type(value)


class Unit(ctypes.c_uint16):
    """A simple type with a name of the user's."""


def test_a_derived_simple_type(view: MemoryMappedViewAccessor) -> None:
    view.write(7, 5, Unit)
    view.write(9, Unit(6))
    assert view[7:11] == b"\5\0\6\0"
    assert view.read(9, Unit) == 6
    assert view.cast(Unit, 7, 2).tolist() == [5, 6]
    with pytest.raises(ValueOutOfRangeError):
        view.write(7, 2**16, Unit)


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (ctypes.c_uint8, 256), (ctypes.c_uint8, -1), (ctypes.c_int8, 128), (ctypes.c_int32, 2**31),
        (ctypes.c_uint32, -1),
        (ctypes.c_int64, 2**63), (ctypes.c_uint64, 2**64), (ctypes.c_uint64, -1), (ctypes.c_int32.__ctype_be__, 2**31),
        (ctypes.c_float, 1e300), (ctypes.c_float, -3.5e38), (ctypes.c_double, 10**400), (ctypes.c_float, 10**39),
        (ctypes.c_int32, 10**50),
    ],
)  # fmt: skip
def test_a_number_that_ctypes_would_cut_is_refused(view: MemoryMappedViewAccessor, kind: Any, value: Any) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit in c_"):
        view.write(7, value, kind)
    untouched(view)


def test_an_integer_of_any_length_is_refused_with_the_right_error(view: MemoryMappedViewAccessor) -> None:
    for type_ in (ctypes.c_int32, np.int32, ctypes.c_double, np.float64):
        with pytest.raises(ValueOutOfRangeError, match="an integer of 16610 bits does not fit"):
            view.write(7, 10**5000, type_)
    untouched(view)


@pytest.mark.parametrize("kind", [ctypes.c_float, ctypes.c_double])
def test_a_number_without_an_exact_float_is_rounded(view: MemoryMappedViewAccessor, kind: Any) -> None:
    for value in (2**24 + 1, 2**53 + 1, 0.1, 2**100 + 1):
        view.write(7, value, kind)
        assert view.read(7, kind) == kind(value).value
    for value in (math.inf, -math.inf):
        view.write(7, value, kind)
        assert view.read(7, kind) == value


def test_extended_floats(view: MemoryMappedViewAccessor) -> None:
    # Not compared byte for byte: some of their bytes are padding.
    third = np.longdouble(1) / 3
    view.write(0, third)
    assert view.read(0, np.longdouble) == third
    view.write(0, 1.5, ctypes.c_longdouble)
    assert view.read(0, ctypes.c_longdouble) == 1.5
    with pytest.raises(ValueOutOfRangeError):
        view.write(0, np.longdouble("1e4000"), np.float64)


def test_a_boolean_of_ctypes_is_the_truth_of_any_object(view: MemoryMappedViewAccessor) -> None:
    for value in (5, 0, "", "x", [], None, 2.5):
        view.write(7, value, ctypes.c_bool)
        assert view.read(7, ctypes.c_bool) is bool(value)
    view.write(7, 65, ctypes.c_char)
    assert view.read(7, ctypes.c_char) == b"A"


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        ("x", ctypes.c_int32), (1.5, ctypes.c_int32), (None, ctypes.c_double), ("ab", ctypes.c_wchar),
        (b"ab", ctypes.c_char),
        (Point(), Packed), (5, Point), ((1, 2.0), Point), (None, Point), ([1, 2, 3], ctypes.c_int32 * 3),
        ((ctypes.c_int32 * 2)(), ctypes.c_int32 * 3), (ctypes.c_int16(5), Point), (bytes(16), Point),
    ],
)  # fmt: skip
def test_values_that_do_not_suit_a_ctypes_type_are_refused(
    view: MemoryMappedViewAccessor, value: Any, type_: Any
) -> None:
    with pytest.raises(TypeError):
        view.write(7, value, type_)
    untouched(view)


def test_a_longer_instance_is_not_written_as_a_shorter_type(view: MemoryMappedViewAccessor) -> None:
    resized = Point(1, 2)
    ctypes.resize(resized, 100)
    for value in (Derived(1, 2.0, 3), resized):
        with pytest.raises(TypeError, match="give its own type"):
            view.write(7, value, Point)
        untouched(view)
    with pytest.raises(TypeError, match="give its own type"):
        view.write(7, resized)
    untouched(view)
    # A subclass that adds methods only is as long.
    view.write(7, Methods(1, 2.0), Point)
    written(view, memoryview(Methods(1, 2.0)).tobytes())


def test_methods_of_an_instance_do_not_decide_what_is_written(view: MemoryMappedViewAccessor) -> None:
    class Liar(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int32),)

        def __bytes__(self) -> bytes:
            return b"!" * 100

        def __index__(self) -> int:
            return 50

    view.write(7, Liar(5))
    written(view, b"\5\0\0\0")

    class Number(ctypes.c_int32):
        def __index__(self) -> int:
            return 50

    view.write(7, Number(6))
    written(view, b"\6\0\0\0")


class Opaque(ctypes.Structure):
    _fields_ = (("owner", ctypes.py_object),)


class WithText(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int32), ("text", ctypes.c_char_p))


class WithAddress(ctypes.Union):
    _fields_ = (("number", ctypes.c_int64), ("address", ctypes.c_void_p))


class Deep(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int32), ("inner", (WithText * 2) * 3))


class Inherited(WithText):
    _fields_ = (("more", ctypes.c_int32),)


class Listed(ctypes.Structure):
    pass


Listed._fields_ = (("next", ctypes.POINTER(Listed)), ("number", ctypes.c_int32))


@pytest.mark.parametrize(
    "kind",
    [
        ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes.py_object, Opaque, WithText, WithAddress, Deep,
        Inherited, Listed, WithText * 2, ctypes.c_char_p * 3, ctypes.POINTER(ctypes.c_int32),
        ctypes.POINTER(ctypes.c_int32) * 2, ctypes.CFUNCTYPE(ctypes.c_int32), ctypes.CFUNCTYPE(None) * 2,
    ],
    ids=lambda kind: kind.__name__,
)  # fmt: skip
def test_types_that_hold_pointers_are_refused_both_ways(view: MemoryMappedViewAccessor, kind: Any) -> None:
    with pytest.raises(TypeError, match=r"pointer|no value type"):
        view.read(0, kind)
    with pytest.raises(TypeError, match=r"pointer|no value type|does not say"):
        view.write(0, kind())
    with pytest.raises(TypeError):
        view.gather([0], kind)
    untouched(view)


@pytest.mark.parametrize("kind", [ctypes.Structure, ctypes.Union, ctypes.Array, ctypes._SimpleCData, ctypes._Pointer])
def test_abstract_types_are_refused(view: MemoryMappedViewAccessor, kind: Any) -> None:
    with pytest.raises(TypeError):
        view.read(0, kind)


def test_types_without_bytes_are_refused(view: MemoryMappedViewAccessor) -> None:
    class Empty(ctypes.Structure):
        _fields_ = ()

    for type_ in (Empty, ctypes.c_int32 * 0, np.dtype("S0"), np.str_, np.bytes_, np.void, np.dtype([])):
        with pytest.raises(ValueError, match="no bytes"):
            view.read(0, type_)


@bounded
@given(raw=st.binary(min_size=40, max_size=40), kind=st.sampled_from([type(value) for value in VALUES]))
def test_any_bytes_read_as_a_ctypes_value_and_written_back_are_the_same(raw: bytes, kind: Any) -> None:
    size = ctypes.sizeof(kind)
    raw = (raw * 3)[:size]
    with MemoryMappedFile.create_new(None, size) as map_, map_.create_view_accessor() as view:
        view[:] = raw
        value = view.read(0, kind)
        view[:] = bytes(size)
        view.write(0, value)
        assert view[:] == raw


# ---------------------------------------------------------------------------------------------------------------- NumPy

RECORD = np.dtype([("a", "u1"), ("b", "<f4"), ("c", [("x", "<i2"), ("y", "S3")]), ("d", "<u2", (2, 2))])
ALIGNED = np.dtype([("a", "u1"), ("b", "<f8")], align=True)

SCALARS: list[tuple[Any, Any]] = [
    (np.bool_, np.True_), (np.int8, np.int8(-128)), (np.uint8, np.uint8(255)), (np.int16, np.int16(-5)),
    (np.uint16, np.uint16(65535)), (np.int32, np.int32(-(2**31))), (np.uint32, np.uint32(2**32 - 1)),
    (np.int64, np.int64(-(2**63))), (np.uint64, np.uint64(2**64 - 1)), (np.float16, np.float16(1.5)),
    (np.float32, np.float32(0.1)), (np.float64, np.float64(1e300)),
    (np.complex64, np.complex64(1 + 2j)), (np.complex128, np.complex128(1e300 - 2j)),
    (np.dtype("S5"), np.bytes_(b"abc")), (np.dtype("U3"), np.str_("aé\U0001f600")), (np.dtype("V3"), np.void(b"abc")),
    (np.dtype("M8[ms]"), np.datetime64("2024-02-29T12:00", "ms")), (np.dtype("m8[D]"), np.timedelta64(-3, "D")),
    (np.dtype("M8[s]"), np.datetime64("NaT", "s")), (np.dtype("<i4"), np.int32(-5)), (np.intp, np.intp(-1)),
]  # fmt: skip


@pytest.mark.parametrize(("type_", "value"), SCALARS, ids=[f"{row[0]!s}" for row in SCALARS])
def test_scalars_of_numpy(view: MemoryMappedViewAccessor, type_: Any, value: Any) -> None:
    dtype = np.dtype(type_)
    raw = np.array(value, dtype).tobytes()
    assert len(raw) == dtype.itemsize
    view.write(7, value, type_)
    written(view, raw)
    view.write(7, value, type_)
    got = view.read(7, type_)
    assert type(got) is dtype.type
    assert np.array_equal(got, value, equal_nan=dtype.kind not in "SUV")
    if value.dtype == dtype:
        view[:] = bytes([FILL]) * SIZE
        view.write(7, value)
        written(view, raw)
        view.write(7, np.array(value))
        written(view, raw)


@pytest.mark.parametrize(
    "type_", [np.dtype(">i4"), np.dtype(">f8"), np.dtype(">U2"), np.dtype(">c8"), np.dtype(">M8[s]")]
)
def test_big_endian_types_of_numpy(view: MemoryMappedViewAccessor, type_: np.dtype[Any]) -> None:
    value = np.ones(1, type_)[0] if type_.kind != "U" else np.str_("ab")
    view.write(7, value, type_)
    raw = view[7 : 7 + type_.itemsize]
    assert raw == np.array([value], type_).tobytes()
    assert raw != np.array([value], type_.newbyteorder("<")).tobytes()
    assert view.read(7, type_) == value


def test_records_of_numpy_own_their_bytes(view: MemoryMappedViewAccessor) -> None:
    array = np.zeros(3, RECORD)
    array[1] = (1, 2.5, (-3, b"xyz"), [[4, 5], [6, 7]])
    record = array[1]
    raw = record.tobytes()
    for value in (record, record.copy(), (1, 2.5, (-3, b"xyz"), [[4, 5], [6, 7]]), array[1:2].reshape(())):
        view.write(7, value, RECORD)
        written(view, raw)
    view.write(7, record)
    got = view.read(7, RECORD)
    assert got == record
    assert got.dtype == RECORD
    got["a"] = 200
    got["c"]["x"] = 9
    written(view, raw)
    view.write(7, (1, 2.5), ALIGNED)
    assert view[7:23] == b"\1" + bytes(7) + struct.pack("<d", 2.5)


def test_sub_arrays_of_numpy(view: MemoryMappedViewAccessor) -> None:
    type_ = np.dtype(("<i4", (2, 3)))
    values = np.arange(6).reshape(2, 3)
    for value in (values, values.tolist(), values.astype("<i4"), tuple(map(tuple, values))):
        view.write(7, value, type_)
        written(view, values.astype("<i4").tobytes())
    view.write(7, values, type_)
    got = view.read(7, type_)
    assert (got.dtype, got.shape) == (np.dtype("<i4"), (2, 3))
    assert np.array_equal(got, values)
    got[:] = 9
    assert view.read(7, type_)[1, 2] == 5
    view[:] = bytes([FILL]) * SIZE
    for wrong in (values.T, values[:1], values.ravel(), [[1, 2, 3]], [1, 2], [[1, 2, 3], [4, 5]]):
        with pytest.raises((ValueError, TypeError)):
            view.write(7, wrong, type_)
    with pytest.raises(ValueOutOfRangeError):
        view.write(7, [[1, 2, 3], [4, 5, 2**31]], type_)
    untouched(view)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (256, np.uint8), (-1, np.uint8), (np.int64(300), np.uint8), (np.int64(-1), np.uint64), (2**63, np.int64),
        (2**64, np.uint64), (np.uint64(2**63), np.int64), (2**31, np.dtype(">i4")),
        (1e300, np.float32), (np.float64(1e39), np.float32), (70000, np.float16), (10**400, np.float64),
        (1e300 + 1j, np.complex64), (b"toolong", np.dtype("S3")), ("toolong", np.dtype("S3")),
        ("toolong", np.dtype("U3")),
        (b"toolong", np.dtype("V3")), ((300,), np.dtype([("a", "u1")])), ((np.int64(300),), np.dtype([("a", "u1")])),
        ((1, 1e300), np.dtype([("a", "u1"), ("b", "f4")])), ((b"toolong",), np.dtype([("a", "S3")])),
        (((1, (2, 300)),), np.dtype([("o", [("a", "u1"), ("i", [("x", "u1"), ("y", "u1")])])])),
    ],
    ids=plainly,
)  # fmt: skip
def test_what_numpy_would_cut_is_refused(view: MemoryMappedViewAccessor, value: Any, type_: Any) -> None:
    with pytest.raises(ValueOutOfRangeError, match="does not fit"):
        view.write(7, value, type_)
    untouched(view)


@pytest.mark.parametrize(
    ("value", "type_"),
    [
        (1.5, np.int32), ("12", np.int32), (np.float64(2), np.uint8), (None, np.int32), ("1.5", np.float64),
        (b"1", np.float32),
        ("1", np.complex64), ([1, 2], np.int32), (5, RECORD), ((1, 2), RECORD), ([1, 2.5], ALIGNED), ("ab", ALIGNED),
        ((1, "2"), ALIGNED), (None, ALIGNED), (np.zeros(2, ALIGNED), ALIGNED), (5, np.dtype(("i4", (2,)))),
    ],
    ids=plainly,
)  # fmt: skip
def test_values_that_do_not_suit_a_type_of_numpy_are_refused(
    view: MemoryMappedViewAccessor, value: Any, type_: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        view.write(7, value, type_)
    untouched(view)


def test_a_record_of_another_type_is_converted_field_by_field(view: MemoryMappedViewAccessor) -> None:
    wide = np.zeros((), [("a", "<i8"), ("b", "<f8")])
    wide["a"], wide["b"] = 5, 1.5
    narrow = np.dtype([("a", "u1"), ("b", "<f4")])
    view.write(7, wide[()], narrow)
    written(view, b"\5" + struct.pack("<f", 1.5))
    wide["a"] = 300
    with pytest.raises(ValueOutOfRangeError):
        view.write(7, wide[()], narrow)
    untouched(view)


@pytest.mark.parametrize(
    "type_",
    [object, np.object_, np.dtype("O"), np.dtype([("a", "i4"), ("b", "O")]), np.dtype(("O", (2,))),
     np.dtype([("a", [("b", "O")])])],
    ids=str,
)  # fmt: skip
def test_types_that_hold_objects_are_refused(view: MemoryMappedViewAccessor, type_: Any) -> None:
    with pytest.raises(TypeError, match=r"objects|no value type"):
        view.read(0, type_)
    with pytest.raises(TypeError, match=r"objects|no value type"):
        view.write(0, None, type_)


def test_strings_of_numpy_that_live_elsewhere_are_refused(view: MemoryMappedViewAccessor) -> None:
    strings = getattr(np.dtypes, "StringDType", None)
    if strings is None:
        pytest.skip("NumPy before 2.0 has no such type")
    with pytest.raises(TypeError, match="objects"):
        view.read(0, strings())


@pytest.mark.parametrize("type_", [np.generic, np.number, np.integer, np.floating, np.flexible])
def test_abstract_types_of_numpy_are_refused(view: MemoryMappedViewAccessor, type_: Any) -> None:
    with pytest.raises((TypeError, ValueError)):
        view.read(0, type_)


def test_bytes_that_are_no_text_are_a_value_error(view: MemoryMappedViewAccessor) -> None:
    view.write_uint32(0, 0x110000)
    with pytest.raises(ValueError, match="no text"):
        view.read(0, np.dtype("U1"))
    with pytest.raises(ValueError, match="range"):
        view.read(0, ctypes.c_wchar)


@pytest.mark.parametrize(
    ("integer", "single"), [(np.uint32, np.float32), (np.uint64, np.float64), (np.uint16, np.float16)]
)
def test_floats_of_numpy_keep_every_bit(view: MemoryMappedViewAccessor, integer: Any, single: Any) -> None:
    bits = np.iinfo(integer).bits
    exponent = {16: 0x7C00, 32: 0x7F800000, 64: 0x7FF0000000000000}[bits]
    for pattern in (exponent | 1, exponent | 1 << bits - 1 | 5, 1 << bits - 1, 1):
        view.write(0, integer(pattern))
        view.write(8, view.read(0, single))
        assert view.read(8, integer) == pattern


@bounded
@given(
    raw=st.binary(min_size=40, max_size=40),
    type_=st.sampled_from([RECORD, ALIGNED, *(np.dtype(row[0]) for row in SCALARS)]),
)
def test_any_bytes_read_as_a_numpy_value_and_written_back_are_the_same(raw: bytes, type_: np.dtype[Any]) -> None:
    if type_.kind in "USb" or type_ == ALIGNED:
        return  # text, truth, and types with bytes that are no part of the value
    raw = (raw * 3)[: type_.itemsize]
    with MemoryMappedFile.create_new(None, type_.itemsize) as map_, map_.create_view_accessor() as view:
        view[:] = raw
        value = view.read(0, type_)
        view[:] = bytes(type_.itemsize)
        view.write(0, value, type_)
        assert view[:] == raw


# ---------------------------------------------------------------------------------------------- inference, wrong things


@pytest.mark.parametrize(
    "value",
    [1, 1.5, True, "text", b"bytes", None, (1, 2), [1], Decimal(1), object(), bytearray(4), 1j, range(3)],
    ids=plainly,
)
def test_a_value_that_does_not_say_how_it_is_stored_needs_a_type(view: MemoryMappedViewAccessor, value: Any) -> None:
    with pytest.raises(TypeError, match="give the type"):
        view.write(7, value)
    untouched(view)


def test_an_array_of_numpy_is_not_one_value(view: MemoryMappedViewAccessor) -> None:
    for array in (np.zeros(3), np.zeros((1, 1)), np.zeros(0)):
        with pytest.raises(TypeError, match="write_array"):
            view.write(7, array)
    untouched(view)


@pytest.mark.parametrize(
    "type_",
    [int, float, bool, str, bytes, complex, 5, None, 1.5, b"i", ("i",), ["i"], {"i": 1}, object, type, len, Point(1, 2),
     np.int32(5), np.zeros(3), range(3), Decimal(1), Fraction],
    ids=plainly,
)  # fmt: skip
def test_what_is_no_value_type_is_a_type_error(view: MemoryMappedViewAccessor, type_: Any) -> None:
    with pytest.raises(TypeError, match="no value type"):
        view.read(0, type_)
    if type_ is not None:
        with pytest.raises(TypeError, match="no value type"):
            view.write(0, 1, type_)
    untouched(view)


def test_the_generic_form_refuses_decimals_and_names_the_methods_for_them(view: MemoryMappedViewAccessor) -> None:
    with pytest.raises(TypeError, match="read_decimal"):
        view.read(0, Decimal)
    with pytest.raises(TypeError, match="write_decimal"):
        view.write(0, Decimal(1), Decimal)


@pytest.mark.parametrize("position", ["0", None, 1.5, b"0"])
def test_a_position_is_an_integer(view: MemoryMappedViewAccessor, position: Any) -> None:
    with pytest.raises(TypeError):
        view.read(position, "<i")
    with pytest.raises(TypeError):
        view.write(position, 1, "<i")


def test_the_last_value_needs_no_padding_behind_it(view: MemoryMappedViewAccessor) -> None:
    for type_, size in (("<bh", 3), ("5s", 5), (Packed, 10), (np.dtype("V3"), 3), (ctypes.c_uint8 * 7, 7)):
        value = view.read(SIZE - size, type_)
        view.write(SIZE - size, value, type_)
        with pytest.raises(ValueError, match=f"{size} bytes at position {SIZE - size + 1} do not fit"):
            view.read(SIZE - size + 1, type_)
        with pytest.raises(ValueError, match="do not fit"):
            view.write(SIZE - size + 1, value, type_)
        with pytest.raises(OutOfRangeError):
            view.read(SIZE, type_)


def test_a_type_whose_hash_and_equality_are_the_users(view: MemoryMappedViewAccessor) -> None:
    class Pretender:
        def __hash__(self) -> int:
            return hash("<i")

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    class Unhashable:
        __hash__ = None  # type: ignore[assignment]

    view.read(0, "<i")
    with pytest.raises(ZeroDivisionError):
        view.read(0, Pretender())
    with pytest.raises(TypeError, match="no value type"):
        view.read(0, Unhashable())


def test_numpy_that_another_thread_is_importing(run: Callable[..., Any]) -> None:
    """It is among the modules before it has anything."""
    code = """
import importlib.machinery, sys, types
from array import array
from memorymapped import MemoryMappedFile, Struct, StructArray, int64

class Each(Struct):
    a: int64

half = types.ModuleType("numpy")
half.__spec__ = importlib.machinery.ModuleSpec("numpy", None)
half.__spec__._initializing = True  # as the import system has it
sys.modules["numpy"] = half
with StructArray(Each, "half", 10) as each, MemoryMappedFile.create_new(None, 100) as map:
    each.extend([Each(1)])
    with map.create_view_accessor() as view:
        view.write(0, 7, "<i4")
        view.write_array(4, array("i", [8, 9]))
        print(view.read(0, "<i4"), list(view.gather([4, 8], "<i4")), len(each))
"""
    assert run(code).communicate(timeout=30)[0] == "7 [8, 9] 1\n"

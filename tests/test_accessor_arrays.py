# SPDX-License-Identifier: MIT
"""Blocks of elements (read_array, write_array) and values at many offsets in one call (gather, scatter)."""

from __future__ import annotations

import array
import ctypes
import io
import mmap
import struct
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import plainly

from memorymapped import (
    ClosedError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
    OutOfRangeError,
)
from memorymapped.values import value_type

SIZE = 8192
FILL = 0xA5
READ, WRITE = MemoryMappedFileAccess.READ, MemoryMappedFileAccess.WRITE

bounded = settings(max_examples=150, deadline=None, database=None)


@pytest.fixture
def map_() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new(None, SIZE) as map_:
        yield map_


@pytest.fixture
def view(map_: MemoryMappedFile) -> Iterator[MemoryMappedViewAccessor]:
    with map_.create_view_accessor() as view:
        view[:] = bytes([FILL]) * SIZE
        yield view


class Three(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("a", ctypes.c_uint8), ("b", ctypes.c_uint16))


def stride_of(size: int) -> int:
    """.NET's distance between two elements."""
    return size if size <= 2 else (size + 3) // 4 * 4


# ---------------------------------------------------------------------------------------------- read_array, write_array

SIZES = [1, 2, 3, 4, 5, 6, 7, 8, 12, 16, 17]


def elements(size: int, count: int) -> np.ndarray[Any, Any]:
    """`count` elements of `size` bytes, no two alike."""
    content = (np.arange(size * count, dtype=np.uint32) * 7919 % 251).astype(np.uint8).tobytes()
    return np.frombuffer(content, f"V{size}").copy()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("position", [0, 1, 3, 4091])
def test_elements_lie_as_dotnet_lays_them_and_gaps_are_untouched(
    view: MemoryMappedViewAccessor, size: int, position: int
) -> None:
    values = elements(size, 10)
    assert view.write_array(position, values) == 10
    expected = bytearray([FILL]) * SIZE
    for i, value in enumerate(values):
        start = position + i * stride_of(size)
        expected[start : start + size] = value.tobytes()
    assert view[:] == expected
    back = np.zeros_like(values)
    assert view.read_array(position, back) == 10
    assert back.tobytes() == values.tobytes()
    assert view[:] == expected


@bounded
@given(
    size=st.sampled_from(SIZES),
    length=st.integers(0, 12),
    capacity=st.integers(1, 64),
    position=st.integers(-2, 70),
    offset=st.integers(-2, 14),
    count=st.one_of(st.none(), st.integers(-2, 14)),
)
def test_arrays_are_copied_as_the_rules_say(
    size: int, length: int, capacity: int, position: int, offset: int, count: int | None
) -> None:
    stride = stride_of(size)
    values = elements(size, length)
    with MemoryMappedFile.create_new(None, capacity) as map_, map_.create_view_accessor() as view:
        wanted = max(length - offset, 0) if count is None else count
        error: type[Exception] | None = None
        if offset < 0 or wanted < 0:
            error = OutOfRangeError
        elif length - offset < wanted or offset > length:
            error = ValueError
        elif position < 0 or position >= capacity:
            error = OutOfRangeError
        fits = (capacity - position) // stride

        start = bytes([FILL]) * capacity
        view[:] = start
        if error is not None or wanted > fits:
            with pytest.raises(error or ValueError):
                view.write_array(position, values, offset, count)
            assert view[:] == start
        else:
            assert view.write_array(position, values, offset, count) == wanted
            model = bytearray(start)
            for i in range(wanted):
                at = position + i * stride
                model[at : at + size] = values[offset + i].tobytes()
            assert view[:] == model

        start = bytes(i % 253 for i in range(capacity))
        view[:] = start
        into = elements(size, length)
        if error is not None:
            with pytest.raises(error):
                view.read_array(position, into, offset, count)
            assert into.tobytes() == values.tobytes()
        else:
            got = view.read_array(position, into, offset, count)
            assert got == min(wanted, fits)
            for i in range(length):
                if offset <= i < offset + got:
                    at = position + (i - offset) * stride
                    assert into[i].tobytes() == start[at : at + size]
                else:
                    assert into[i].tobytes() == values[i].tobytes()
        assert view[:] == start


def test_the_last_element_needs_its_whole_stride_in_an_array_and_its_size_alone(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor(0, 11) as view:
        threes = (Three * 3)(Three(1, 2), Three(3, 4), Three(5, 6))
        with pytest.raises(ValueError, match="3 elements of 4 bytes at position 0"):
            view.write_array(0, threes)
        assert view[:] == bytes(11)
        assert view.write_array(0, threes, 0, 2) == 2
        view.write(8, threes[2])
        assert view[:] == b"\1\2\0\0\3\4\0\0\5\6\0"
        back = (Three * 3)()
        assert view.read_array(0, back) == 2
        assert [(three.a, three.b) for three in back] == [(1, 2), (3, 4), (0, 0)]
        assert view.read(8, Three).b == 6


def mapped(count: int) -> mmap.mmap:
    return mmap.mmap(-1, count * 4)


BUFFERS: dict[str, Callable[[int], Any]] = {
    "bytearray": lambda n: bytearray(n),
    "memoryview": lambda n: memoryview(bytearray(n * 4)).cast("i"),
    "2-d memoryview": lambda n: memoryview(bytearray(n * 8)).cast("h", (n * 2, 2)),
    "array": lambda n: array.array("d", [0.0] * n),
    "array of int16": lambda n: array.array("h", [0] * n),
    "numpy": lambda n: np.zeros(n, np.int32),
    "2-d numpy": lambda n: np.zeros((n, 3), np.int64),
    "numpy record": lambda n: np.zeros(n, [("a", "u1"), ("b", "<f8"), ("c", "<u2")]),
    "numpy packed record of 5": lambda n: np.zeros(n, [("a", "u1"), ("b", "<f4")]),
    "numpy of one": lambda n: np.zeros((), np.float64),
    "ctypes": lambda n: (ctypes.c_int32 * n)(),
    "ctypes structures of 3": lambda n: (Three * n)(),
    "2-d ctypes": lambda n: ((ctypes.c_uint16 * 3) * n)(),
    "mmap": mapped,
    "element view": lambda n: MemoryMappedFile.create_new(None, n * 8).create_view_accessor().cast("d"),
}


@pytest.mark.filterwarnings("ignore:unclosed <MemoryMappedFile:ResourceWarning")
@pytest.mark.parametrize("make", BUFFERS.values(), ids=BUFFERS)
def test_any_contiguous_buffer_is_an_array(view: MemoryMappedViewAccessor, make: Callable[[int], Any]) -> None:
    values, back = make(6), make(6)
    block = memoryview(values)
    raw = bytes(range(block.nbytes))
    (ctypes.c_char * block.nbytes).from_buffer(values)[:] = raw
    count = block.nbytes // block.itemsize
    assert view.write_array(5, values) == count
    stride = stride_of(block.itemsize)
    for i in range(count):
        start = 5 + i * stride
        assert view[start : start + block.itemsize] == raw[i * block.itemsize : (i + 1) * block.itemsize]
    assert view.read_array(5, back) == count
    assert memoryview(back).tobytes() == raw
    assert view.read_array(5, back, count, 0) == 0
    assert view.read_array(5, back, count - 1) == 1


STRIDED: dict[str, Callable[[np.ndarray[Any, Any]], Any]] = {
    "every second": lambda block: block[::2],
    "column": lambda block: block.reshape(4, 6)[:, 1],
    "transpose": lambda block: block.reshape(4, 6).T,
    "part of the transpose": lambda block: block.reshape(4, 6).T[1:, ::2],
    "reversed": lambda block: block[::-1],
    "three dimensions": lambda block: block.reshape(2, 3, 4)[::-1, :, 1:3],
    "Fortran's order": lambda block: block.reshape(2, 3, 4, order="F"),
    "the same again": lambda block: np.lib.stride_tricks.as_strided(block, (4, 3), (0, block.itemsize)),
    "memoryview": lambda block: memoryview(block)[::-2],
    "plain bytes": lambda block: block.view(f"V{block.itemsize}")[::3],
}


@pytest.mark.parametrize("dtype", ["u1", "<i2", "V3", "<i4", "V5", "<f8"])
@pytest.mark.parametrize("cut", STRIDED.values(), ids=STRIDED)
def test_arrays_with_gaps_or_in_another_order(
    view: MemoryMappedViewAccessor, cut: Callable[[np.ndarray[Any, Any]], Any], dtype: str
) -> None:
    if dtype.startswith("V") and cut is STRIDED["memoryview"]:
        dtype = "u1"
    block = elements(np.dtype(dtype).itemsize, 24).view(dtype)
    part = cut(block)
    flat = np.array(part).ravel().copy()
    count = flat.size
    for offset, wanted in ((0, None), (0, count), (1, None), (1, 3), (count - 1, 1), (count, None)):
        view[:] = bytes([FILL]) * SIZE
        got = view.write_array(5, part, offset, wanted)
        content = view[:]
        view[:] = bytes([FILL]) * SIZE
        assert view.write_array(5, flat, offset, wanted) == got
        assert view[:] == content

        view[:] = bytes(i * 13 % 256 for i in range(SIZE))
        if cut is STRIDED["the same again"]:
            continue
        target, before = block.copy(), block.copy()
        expected = flat.copy()
        assert view.read_array(5, expected, offset, wanted) == view.read_array(5, cut(target), offset, wanted) == got
        assert np.array(cut(target)).ravel().tobytes() == expected.tobytes()
        np.asarray(cut(target))[...] = np.asarray(cut(before))  # what is not of the part was not touched
        assert target.tobytes() == before.tobytes()


def test_an_array_with_gaps_over_the_view_itself(view: MemoryMappedViewAccessor) -> None:
    view[:] = content = bytes(i * 7 % 256 for i in range(SIZE))
    inside = np.frombuffer(view, "<i4")[20:0:-2]
    assert view.write_array(8, inside) == 10
    expected = np.frombuffer(content, "<i4")[20:0:-2].tobytes()
    assert view[8:48] == expected
    view[:] = content
    assert view.read_array(8, inside) == 10
    assert inside.tobytes() == content[8:48]


def test_a_long_array_with_gaps() -> None:
    values = np.arange(3_000_000, dtype=np.uint16).reshape(1500, 2000).T
    with MemoryMappedFile.create_new(None, values.nbytes) as big, big.create_view_accessor() as view:
        assert view.write_array(0, values) == values.size
        assert np.array_equal(np.frombuffer(view, np.uint16), values.ravel())
        back = np.zeros_like(values)
        assert not back.flags.c_contiguous
        assert view.read_array(0, back) == values.size
        assert np.array_equal(back, values)


@pytest.mark.parametrize("array", [None, 5, "text", [1, 2], (1,), object()])
def test_an_array_is_a_buffer(view: MemoryMappedViewAccessor, array: Any) -> None:
    for copy in (view.read_array, view.write_array):
        with pytest.raises(TypeError):
            copy(0, array)


def test_an_array_that_is_read_into_is_writable(view: MemoryMappedViewAccessor) -> None:
    frozen = np.zeros(4, np.uint8)
    frozen.flags.writeable = False
    for array_ in (b"1234", memoryview(b"1234"), frozen):
        with pytest.raises((BufferError, ValueError)):
            view.read_array(0, array_)


def test_elements_without_bytes_are_refused(view: MemoryMappedViewAccessor) -> None:
    for copy in (view.read_array, view.write_array):
        with pytest.raises(ValueError, match="0 bytes"):
            copy(0, np.zeros(4, "V0"))


@pytest.mark.parametrize(
    "wrong", [(0.0,), ("0",), (None,), (0, b"", 0.5), (0, b"", "1"), (0, b"", 0, 1.5), (0, b"", 0, "1")]
)
def test_positions_offsets_and_counts_are_integers(view: MemoryMappedViewAccessor, wrong: tuple[Any, ...]) -> None:
    for copy in (view.read_array, view.write_array):
        arguments = (*wrong, bytearray(4)) if len(wrong) == 1 else (wrong[0], bytearray(4), *wrong[2:])
        with pytest.raises(TypeError):
            copy(*arguments)


def test_refusals_of_arrays_keep_dotnets_order(map_: MemoryMappedFile) -> None:
    closed = map_.create_view_accessor(0, 8)
    closed.close()
    with map_.create_view_accessor(0, 8, READ) as read_only, map_.create_view_accessor(0, 8, WRITE) as write_only:
        for view in (closed, read_only, write_only):
            for copy in (view.read_array, view.write_array):
                # the array before the position before the state of the view
                with pytest.raises(TypeError):
                    copy(-1, None, -1, -1)  # type: ignore[arg-type]
                with pytest.raises(OutOfRangeError, match="offset"):
                    copy(-1, bytearray(2), -1, 5)
                with pytest.raises(OutOfRangeError, match="count"):
                    copy(-1, bytearray(2), 0, -1)
                with pytest.raises(ValueError, match="not in an array of 2"):
                    copy(-1, bytearray(2), 1, 2)
        for position in (-1, 8, 2**63):
            for view, error in (
                (closed, ClosedError),
                (write_only, io.UnsupportedOperation),
                (read_only, OutOfRangeError),
            ):
                with pytest.raises(error):
                    view.read_array(position, bytearray(0))
            for view in (closed, write_only, read_only):
                with pytest.raises(OutOfRangeError, match="position"):
                    view.write_array(position, b"")
        for view, error in ((closed, ClosedError), (read_only, io.UnsupportedOperation)):
            with pytest.raises(error):
                view.write_array(7, b"12")
        with pytest.raises(ValueError, match="nothing was written"):
            write_only.write_array(7, b"12")
        assert read_only[:] == bytes(8)


def test_no_elements_can_be_read_or_written_anywhere_inside_but_not_at_the_end(view: MemoryMappedViewAccessor) -> None:
    assert view.read_array(SIZE - 1, bytearray()) == 0
    assert view.write_array(SIZE - 1, b"") == 0
    assert view.read_array(SIZE - 3, array.array("i", [7])) == 0
    for copy in (view.read_array, view.write_array):
        with pytest.raises(OutOfRangeError):
            copy(SIZE, bytearray())


@pytest.mark.parametrize("dtype", ["V3", "V5", "u1", "<i4"])
def test_an_array_over_the_view_itself_is_copied_as_if_it_was_apart(view: MemoryMappedViewAccessor, dtype: str) -> None:
    content = bytes(i * 7 % 256 for i in range(SIZE))
    stride = stride_of(np.dtype(dtype).itemsize)
    for start, target in ((0, 8), (8, 0), (3, 2), (2, 3)):
        view[:] = content
        inside = np.frombuffer(view, np.uint8, 20 * np.dtype(dtype).itemsize, start).view(dtype)
        expected = bytearray(content)
        for i, value in enumerate(inside.copy()):
            at = target + i * stride
            expected[at : at + inside.itemsize] = value.tobytes()
        assert view.write_array(target, inside) == 20
        assert view[:] == expected
        view[:] = content
        assert view.read_array(target, inside) == 20
        for i, value in enumerate(inside):
            at = target + i * stride
            assert value.tobytes() == content[at : at + inside.itemsize]


def test_a_long_strided_copy(map_: MemoryMappedFile) -> None:
    values = elements(3, 500_000)
    with MemoryMappedFile.create_new(None, 2_000_000) as big, big.create_view_accessor() as view:
        assert view.write_array(0, values) == 500_000
        assert view[3::4] == bytes(500_000)
        back = np.zeros_like(values)
        assert view.read_array(0, back) == 500_000
        assert back.tobytes() == values.tobytes()


# ------------------------------------------------------------------------------------------------------ gather, scatter

OFFSETS: dict[str, Callable[[list[int]], Any]] = {
    "list": list,
    "tuple": tuple,
    "iterator": iter,
    "generator": lambda values: (value for value in values),
    "range or list": lambda values: values,
    "array q": lambda values: array.array("q", values),
    "array l": lambda values: array.array("l", values),
    "array i": lambda values: array.array("i", values),
    "array H": lambda values: array.array("H", values),
    "memoryview": lambda values: memoryview(array.array("q", values)),
    "strided memoryview": lambda values: memoryview(array.array("q", [x for v in values for x in (v, -1)]))[::2],
    "ctypes": lambda values: (ctypes.c_int64 * len(values))(*values),
    "int64": lambda values: np.array(values, np.int64),
    "int32": lambda values: np.array(values, np.int32),
    "uint16": lambda values: np.array(values, np.uint16),
    "uint64": lambda values: np.array(values, np.uint64),
    "big endian": lambda values: np.array(values, ">i8"),
    "strided int64": lambda values: np.array([x for v in values for x in (v, -1)], np.int64)[::2],
    "reversed": lambda values: np.array(values[::-1], np.int64)[::-1],
    "numpy integers": lambda values: [np.int16(value) for value in values],
}
by_offsets = pytest.mark.parametrize("offsets", OFFSETS.values(), ids=OFFSETS)


def filled(map_: MemoryMappedFile) -> bytes:
    content = bytes(i * 31 % 256 for i in range(SIZE))
    with map_.create_view_accessor() as view:
        view[:] = content
    return content


@by_offsets
def test_offsets_are_any_integers_at_any_alignment(map_: MemoryMappedFile, offsets: Callable[[list[int]], Any]) -> None:
    content = filled(map_)
    places = [0, 1, SIZE - 4, 17, 17, 4093, 255]
    expected = [struct.unpack_from("<i", content, place)[0] for place in places]
    with map_.create_view_accessor() as view:
        got = view.gather(offsets(places), "<i")
        assert list(got) == expected
        out = array.array("i", bytes(4 * len(places)))
        assert view.gather(offsets(places), "i", out) is out
        assert list(out) == expected
        view.scatter(offsets(places), array.array("i", range(len(places))))
        model = bytearray(content)
        for i, place in enumerate(places):
            struct.pack_into("<i", model, place, i)
        assert view[:] == model


@pytest.mark.parametrize(
    ("offsets", "type_", "expected"),
    [
        (list, "i", array.array),
        (list, "<l", array.array),
        (list, "@q", array.array),
        (list, "f", array.array),
        (list, struct.Struct("<d"), array.array),
        (list, ctypes.c_uint16, array.array),
        (list, "?", bytearray),
        (list, ">i", bytearray),
        (list, "<ih", bytearray),
        (list, "5s", bytearray),
        (list, Three, bytearray),
        (list, ctypes.c_uint32.__ctype_be__, bytearray),
        (list, np.int32, np.ndarray),
        (list, np.dtype(">f8"), np.ndarray),
        (list, np.dtype([("a", "u1"), ("b", "<u2")]), np.ndarray),
        (list, np.dtype(("<i4", (3,))), np.ndarray),
        (list, np.dtype("S3"), np.ndarray),
        (list, np.dtype("M8[s]"), np.ndarray),
        (np.array, "i", np.ndarray),
        (np.array, "?", np.ndarray),
        (np.array, "e", np.ndarray),
        (np.array, "<ih", np.ndarray),
        (np.array, Three, np.ndarray),
        (np.array, ctypes.c_double, np.ndarray),
    ],
    ids=plainly,
)
def test_the_new_array_suits_the_type_and_holds_its_bytes(
    map_: MemoryMappedFile, offsets: Callable[[list[int]], Any], type_: Any, expected: type
) -> None:
    content = filled(map_)
    places = [3, 1000, 4093]
    with map_.create_view_accessor() as view:
        got = view.gather(offsets(places), type_)
        assert type(got) is expected
        raw = got.tobytes() if not isinstance(got, bytearray) else bytes(got)
        size = len(raw) // len(places)
        assert raw == b"".join(content[place : place + size] for place in places)
        if isinstance(got, array.array):
            assert len(got) == 3
        if isinstance(got, np.ndarray):
            assert got.shape[0] == 3


FORMATS = [
    prefix + code
    for prefix in ("", "@", "=", "<", ">", "!")
    for code in "?bBhHiIlLqQnNefdcpP"
    if prefix in ("", "@") or code not in "nNP"
]


@pytest.mark.parametrize("format_", FORMATS)
def test_each_format_of_struct_gathers_into_an_array_of_its_size(map_: MemoryMappedFile, format_: str) -> None:
    size, code = struct.calcsize(format_), format_[-1]
    content = filled(map_)
    with map_.create_view_accessor() as view:
        for offsets in ([5, 100], np.array([5, 100])):
            got = view.gather(offsets, format_)
            assert memoryview(got).tobytes() == content[5 : 5 + size] + content[100 : 100 + size]
            if isinstance(got, np.ndarray) and got.dtype.kind != "V" and code not in "?e":
                # Where it is a number of NumPy's, it is the number that struct reads.
                expected = [struct.unpack_from(format_, content, place)[0] for place in (5, 100)]
                assert np.array_equal(got, np.array(expected, got.dtype), equal_nan=code in "fd")


@pytest.mark.parametrize("shape", [(2, 3), (6, 1), (1, 1, 6), (), (0,), (2, 0)])
def test_the_new_array_of_numpy_has_the_shape_of_the_offsets(map_: MemoryMappedFile, shape: tuple[int, ...]) -> None:
    content = filled(map_)
    offsets = np.arange(int(np.prod(shape)), dtype=np.int64).reshape(shape)
    with map_.create_view_accessor() as view:
        for type_ in ("<u2", np.uint16) if shape else ("H",):
            got = view.gather(offsets, type_ if type_ != "<u2" else "<H")
            assert got.shape == shape
            assert got.ravel().tolist() == [struct.unpack_from("<H", content, place)[0] for place in offsets.ravel()]
        if not shape:
            return
        view.scatter(offsets, got)
        assert view[:] == content


@bounded
@given(data=st.data(), size=st.integers(1, 20), capacity=st.integers(1, 60))
def test_scatter_then_gather_against_a_model(data: st.DataObject, size: int, capacity: int) -> None:
    places = data.draw(st.lists(st.integers(-2, capacity + 2), max_size=8))
    values = data.draw(st.binary(min_size=size * len(places), max_size=size * len(places)))
    with MemoryMappedFile.create_new(None, capacity) as map_, map_.create_view_accessor() as view:
        start = bytes(i % 251 + 1 for i in range(capacity))
        view[:] = start
        block = np.frombuffer(values, f"V{size}")
        if all(0 <= place <= capacity - size for place in places):
            model = bytearray(start)
            for i, place in enumerate(places):
                model[place : place + size] = values[i * size : (i + 1) * size]
            view.scatter(places, block)
            assert view[:] == model
            assert bytes(view.gather(places, f"{size}s")) == b"".join(model[p : p + size] for p in places)
        else:
            bad = next(place for place in places if not 0 <= place <= capacity - size)
            with pytest.raises(OutOfRangeError, match=f"offset {bad} ") as caught:
                view.scatter(places, block)
            assert f"(number {places.index(bad)})" in str(caught.value)
            assert view[:] == start
            with pytest.raises(OutOfRangeError, match=f"offset {bad} "):
                view.gather(places, f"{size}s")


@pytest.mark.parametrize("bad", [-1, SIZE - 3, SIZE, 2**31, 2**62, 2**63 - 1, -(2**63), 2**63, 2**64, -(2**63) - 1])
def test_one_offset_outside_refuses_all_and_nothing_is_written(view: MemoryMappedViewAccessor, bad: int) -> None:
    forms: list[Any] = [[0, bad, 8], (place for place in [0, bad, 8])]
    if -(2**63) <= bad < 2**63:
        forms.append(np.array([0, bad, 8], np.int64))
    elif 0 <= bad < 2**64:
        forms.append(np.array([0, bad, 8], np.uint64))
    before = view[:]
    for offsets in forms:
        places = list(offsets) if not isinstance(offsets, (list, np.ndarray)) else offsets
        with pytest.raises(OutOfRangeError):
            view.scatter(places, b"x" * 12, "i")
        with pytest.raises(OutOfRangeError):
            view.gather(places, "i")
    assert view[:] == before


@pytest.mark.parametrize(
    "offsets",
    [3, None, 1.5, "01", [0.0], [None], ["0"], [[0]], np.array([1.5]), np.array(["0"]), np.array([True]),
     np.array([0], object), np.array([0j]), array.array("d", [0.0])],
    ids=plainly,
)  # fmt: skip
def test_offsets_are_integers(view: MemoryMappedViewAccessor, offsets: Any) -> None:
    with pytest.raises(TypeError):
        view.gather(offsets, "i")
    with pytest.raises(TypeError):
        view.scatter(offsets, b"1234", "i")
    assert view[:] == bytes([FILL]) * SIZE


@pytest.mark.parametrize("length", [0, 4, 7, 9, 12])
def test_the_block_has_the_size_of_all_values(view: MemoryMappedViewAccessor, length: int) -> None:
    with pytest.raises(ValueError, match="2 offsets and 4 bytes each need a block of 8 bytes"):
        view.gather([0, 8], "i", bytearray(length))
    with pytest.raises(ValueError, match="2 offsets and 4 bytes each need a block of 8 bytes"):
        view.scatter([0, 8], bytes(length), "i")
    assert view[:] == bytes([FILL]) * SIZE


def test_out_is_a_writable_contiguous_buffer(view: MemoryMappedViewAccessor) -> None:
    for out in (b"12345678", np.zeros(4, np.int32)[::2], memoryview(bytes(8))):
        with pytest.raises((BufferError, ValueError)):
            view.gather([0, 8], "i", out)
    for out in ("12345678", 5, [0, 0]):
        with pytest.raises(TypeError):
            view.gather([0, 8], "i", out)


def test_values_are_a_buffer_or_an_iterable_of_values_of_the_type(view: MemoryMappedViewAccessor) -> None:
    view.scatter([0, 8], [1, -1], "<h")
    view.scatter([2, 10], ((i, i + 1) for i in range(2)), "<BH")
    view.scatter([20, 30], [Three(1, 2), Three(3, 4)], Three)
    view.scatter([40], np.array([1.5], "<f8"))
    view.scatter([50], np.array([(1, 2)], [("a", "u1"), ("b", "<u2")]))
    view.scatter([60, 70], (ctypes.c_uint16 * 2)(5, 6))
    assert view[0:5] == b"\1\0\0\1\0"
    assert view[8:13] == b"\xff\xff\1\2\0"
    assert (view[20:23], view[30:33]) == (b"\1\2\0", b"\3\4\0")
    assert view.read_double(40) == 1.5
    assert (view[50:53], view[60:62], view[70:72]) == (b"\1\2\0", b"\5\0", b"\6\0")


@pytest.mark.parametrize(
    ("values", "type_", "error"),
    [
        ([1, 2], None, TypeError),
        ([1, 2**40], "<i", ValueError),
        ([1, 2**40], ctypes.c_int32, ValueError),
        ([1, 2**40], np.int32, ValueError),
        ([1, "2"], "<i", struct.error),
        ([1], "<i", ValueError),
        ([1, 2, 3], "<i", ValueError),
        (5, "<i", TypeError),
        (np.zeros(4, np.int32)[::2], None, (BufferError, ValueError)),
    ],
)
def test_values_that_do_not_suit_write_nothing(
    view: MemoryMappedViewAccessor, values: Any, type_: Any, error: type[Exception]
) -> None:
    with pytest.raises(error):
        view.scatter([0, 8], values, type_)
    assert view[:] == bytes([FILL]) * SIZE


AGREE: list[tuple[Any, Any]] = [
    (np.zeros(2, np.int32), "i"), (np.zeros(2, np.int32), "<l"), (np.zeros(2, np.int32), ctypes.c_int),
    (np.zeros(2, np.int64), "q"), (np.zeros(2, np.int64), "n"), (np.zeros(2, ">u2"), ">H"),
    (np.zeros(2, ">u2"), ctypes.c_uint16.__ctype_be__), (array.array("d", [0, 0]), np.float64),
    ((ctypes.c_long * 2)(), "q"), (np.zeros(2, "M8[s]"), np.dtype("M8[s]")), (np.zeros((2, 3), np.float32), "3f"),
    (np.zeros((2, 3), np.float32), np.dtype(("f4", 3))), (np.zeros((2, 3), np.int32), ctypes.c_int * 3),
    (np.zeros(2, [("a", "u1"), ("b", "<u2")]), Three), ((Three * 2)(), "=BH"), (np.zeros(2, bool), "?"),
    (np.zeros(2, np.complex64), np.complex64), (np.zeros(2, np.longdouble), ctypes.c_longdouble),
    (bytearray(16), "d"), (np.zeros(16, np.uint8), "d"), (memoryview(bytearray(12)), Three * 2),
    ((ctypes.c_char * 16)(), "q"), (np.zeros(2, "V8"), "q"), (np.zeros(2, "S8"), "d"), (np.zeros(2), "8s"),
]  # fmt: skip
DISAGREE: list[tuple[Any, Any]] = [
    (np.zeros(2), "q"), (np.zeros(2, np.float32), "i"), (np.zeros(2, np.int32), "f"), (np.zeros(2, np.int64), "d"),
    (np.zeros(2, np.uint32), "i"), (np.zeros(2, np.int32), "I"), (array.array("b", [0, 0]), "B"),
    (np.zeros(2, ">i4"), "i"), (np.zeros(2, "<i4"), ">i"), (np.zeros(4, np.int32), "q"), (np.zeros(2, np.int64), "2i"),
    (np.zeros(2, bool), "B"), (np.zeros(2, "M8[s]"), "q"), (np.zeros(2, "M8[s]"), np.dtype("M8[ms]")),
    (np.zeros(2, np.float64), ctypes.c_int64), (np.zeros(2, [("a", "i4")]), "i"), (np.zeros(2, np.int32), "<hh"),
    (np.zeros(2, [("a", "i4"), ("b", "i8")]), Three), ((ctypes.c_double * 2)(), np.int64),
]  # fmt: skip


@pytest.mark.parametrize(("values", "type_"), AGREE, ids=plainly)
def test_buffers_of_the_types_elements_are_copied(view: MemoryMappedViewAccessor, values: Any, type_: Any) -> None:
    count = len(plain(values)) // value_type(type_).size
    offsets = [100 * i for i in range(count)]
    view.scatter(offsets, values, type_)
    assert view.gather(offsets, type_, values) is values


@pytest.mark.parametrize(("values", "type_"), DISAGREE, ids=plainly)
def test_buffers_of_other_elements_are_refused(view: MemoryMappedViewAccessor, values: Any, type_: Any) -> None:
    offsets = [100 * i for i in range(len(plain(values)) // value_type(type_).size)]
    before = plain(values)
    with pytest.raises(TypeError, match="not converted"):
        view.scatter(offsets, values, type_)
    with pytest.raises(TypeError, match="not converted"):
        view.gather(offsets, type_, values)
    assert view[:] == bytes([FILL]) * SIZE
    assert plain(values) == before


def test_an_exception_of_the_values_passes_and_nothing_is_written(view: MemoryMappedViewAccessor) -> None:
    def values() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        view.scatter([0, 8], values(), "<i")
    with pytest.raises(ZeroDivisionError):
        view.gather(values(), "<i")
    assert view[:] == bytes([FILL]) * SIZE


def test_refusals_of_gather_and_scatter_keep_their_order(map_: MemoryMappedFile) -> None:
    closed = map_.create_view_accessor()
    closed.close()
    with map_.create_view_accessor(0, 8, READ) as read_only, map_.create_view_accessor(0, 8, WRITE) as write_only:
        for offsets in ([0], [100], [-1], []):
            for view, error in ((closed, ClosedError), (write_only, io.UnsupportedOperation)):
                with pytest.raises(error):
                    view.gather(offsets, "i")
            for view, error in ((closed, ClosedError), (read_only, io.UnsupportedOperation)):
                with pytest.raises(error):
                    view.scatter(offsets, bytes(4 * len(offsets)), "i")
    with map_.create_view_accessor(SIZE) as empty:
        assert len(empty.gather([], "i")) == 0
        empty.scatter([], b"", "i")
        with pytest.raises(OutOfRangeError):
            empty.gather([0], "B")


def test_overlapping_blocks_are_copied_as_if_they_were_apart(view: MemoryMappedViewAccessor) -> None:
    content = bytes(i * 7 % 256 for i in range(SIZE))
    for size in (1, 2, 4, 5, 8, 16):
        count = 64
        offsets = np.array([(i * 5) % 100 for i in range(count)])
        for start in (0, 3, 50):
            inside = memoryview(view)[start : start + count * size]
            view[:] = content
            view.gather(offsets, f"{size}s", inside)
            expected = b"".join(content[place : place + size] for place in offsets)
            assert view[start : start + count * size] == expected
            view[:] = content
            view.scatter(offsets, inside, f"{size}s")
            model = bytearray(content)
            for i, place in enumerate(offsets):
                model[place : place + size] = content[start + i * size : start + (i + 1) * size]
            assert view[:] == model


def test_offsets_that_lie_in_the_view_are_read_once_and_checked(view: MemoryMappedViewAccessor) -> None:
    view[:] = bytes(SIZE)
    offsets = view.cast("q", 0, 100)
    # Each value that is written is an offset far outside, and the first lands on the offsets to come.
    offsets[:] = [8 * (i + 1) for i in range(100)]
    with pytest.raises(OutOfRangeError):
        view.scatter(memoryview(offsets), array.array("q", [2**62] * 100))
    assert view.read_int64(8) == 2**62
    assert view.read_int64(16) == 24


@pytest.mark.parametrize("count", [2**20 - 1, 2**20, 2**20 + 1, 2_500_000])
def test_a_million_offsets_and_one_outside_at_the_end(map_: MemoryMappedFile, count: int) -> None:
    content = filled(map_)
    offsets = np.arange(count) % (SIZE - 2)
    with map_.create_view_accessor() as view:
        got = view.gather(offsets, np.uint16)
        expected = (
            np.lib.stride_tricks.sliding_window_view(np.frombuffer(content, np.uint8), 2).copy().view("<u2").ravel()
        )
        assert np.array_equal(got, expected[offsets])
        offsets[-1] = SIZE - 1
        with pytest.raises(OutOfRangeError, match=f"number {count - 1}"):
            view.gather(offsets, np.uint16)
        with pytest.raises(OutOfRangeError, match=f"number {count - 1}"):
            view.scatter(offsets, got + 1)
        assert view[:] == content


# -------------------------------------------------------------------------------------------------------- references


class Union(ctypes.Union):
    _fields_ = (("object", ctypes.py_object), ("number", ctypes.c_int64))


class Packed(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("tag", ctypes.c_uint8), ("text", ctypes.c_char_p))


class Outer(ctypes.Structure):
    _fields_ = (("tag", ctypes.c_uint8), ("inner", Union))


REFERENCES: dict[str, Callable[[], Any]] = {
    "array of objects": lambda: np.array([object()]),
    "memoryview of objects": lambda: memoryview(np.array([object()])),
    "record with an object": lambda: np.array([(1, object())], [("a", "i4"), ("b", "O")]),
    "strings that live elsewhere": lambda: np.array(["a" * 100], np.dtypes.StringDType()),
    "ctypes objects": lambda: (ctypes.py_object * 1)(5),
    "one ctypes object": lambda: ctypes.py_object(5),
    "addresses": lambda: (ctypes.c_void_p * 1)(5),
    "C strings": lambda: (ctypes.c_char_p * 1)(b"text"),
    "wide C strings": lambda: (ctypes.c_wchar_p * 1)("text"),
    "pointers": lambda: (ctypes.POINTER(ctypes.c_int) * 1)(),
    "a pointer": lambda: ctypes.POINTER(ctypes.c_int)(),
    "functions": lambda: (ctypes.CFUNCTYPE(None) * 1)(),
    "a union with an object": lambda: (Union * 1)(),
    "a packed structure with a pointer": lambda: (Packed * 1)(),
    "a union in a structure": lambda: memoryview((Outer * 1)()),
}


@pytest.mark.parametrize("make", REFERENCES.values(), ids=REFERENCES)
def test_references_are_neither_read_nor_written(map_: MemoryMappedFile, make: Callable[[], Any]) -> None:
    content = filled(map_)
    with map_.create_view_accessor() as view, map_.create_view_stream() as stream:
        array_ = make()
        shown = repr(array_)
        size = np.asarray(array_).nbytes if isinstance(array_, np.ndarray) else memoryview(array_).nbytes
        for call in (
            lambda: view.read_array(0, array_),
            lambda: view.gather([0], f"{size}s", array_),
            lambda: stream.readinto(array_),
            lambda: view.write_array(0, array_),
            lambda: view.write_bytes(0, array_),
            lambda: view.scatter([0], array_),
            lambda: view.scatter([0], array_, f"{size}s"),
            lambda: view.__setitem__(slice(0, size), array_),
            lambda: view.__setitem__(slice(0, 2 * size, 2), array_),
            lambda: stream.write(array_),
        ):
            with pytest.raises(TypeError, match="another process"):
                call()
        assert view[:] == content
        assert stream.tell() == 0
        assert repr(array_) == shown


@pytest.mark.parametrize(
    "make",
    [
        lambda: np.array([1, 2], "M8[s]"),
        lambda: np.array([1, 2], "m8[ns]"),
        lambda: np.array([(1, 2), (3, 4)], [("O", "i8"), ("P", "M8[s]")]),
        lambda: np.array([(1, 2), (3, 4)], [("O", "i4"), ("X&", "i4")]),
        lambda: np.array([1j, 2j]),
        lambda: np.array([1j, 2j], "c8"),
        lambda: np.frombuffer(b"abcdefgh", "S4").copy(),
        lambda: np.array([1, 2], np.longdouble),
        lambda: (ctypes.c_wchar * 2)("a", "b"),
        lambda: (Three * 2)(Three(1, 2), Three(3, 4)),
    ],
)
def test_plain_elements_of_any_kind_and_name_are_copied(
    view: MemoryMappedViewAccessor, make: Callable[[], Any]
) -> None:
    values, back, into = make(), make(), make()
    raw = plain(values)
    size = len(raw) // 2
    view.write_array(0, values)
    view.scatter([100, 200], values)
    assert view[100 : 100 + size] + view[200 : 200 + size] == raw
    view.write_bytes(0, b"AB")
    assert view.read_array(0, back, 1) == 1
    assert plain(back) == raw[:size] + view[:size]
    view[100:102] = b"01"
    assert view.gather([100, 200], f"{size}s", into) is into
    assert plain(into) == b"01" + raw[2:]


def plain(array_: Any) -> bytes:
    return array_.tobytes() if isinstance(array_, np.ndarray) else bytes(array_)

# SPDX-License-Identifier: MIT
"""Element views: a view as a sequence of numbers, against memoryview.cast, lists and NumPy."""

from __future__ import annotations

import array
import copy
import ctypes
import gc
import io
import operator
import pickle
import struct
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import plainly

from memorymapped import (
    ClosedError,
    ElementView,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
    OutOfRangeError,
    ValueOutOfRangeError,
)

SIZE = 4096
READ, WRITE = MemoryMappedFileAccess.READ, MemoryMappedFileAccess.WRITE

bounded = settings(max_examples=150, deadline=None, database=None)

# The format of each element kind as a buffer announces it, with its size and two different values.
KINDS: dict[str, tuple[int, Any, Any]] = {
    "?": (1, True, False),
    "b": (1, -128, 127),
    "B": (1, 255, 1),
    "h": (2, -(2**15), 2**15 - 1),
    "H": (2, 2**16 - 1, 1),
    "i": (4, -(2**31), 2**31 - 1),
    "I": (4, 2**32 - 1, 1),
    "q": (8, -(2**63), 2**63 - 1),
    "Q": (8, 2**64 - 1, 1),
    "f": (4, -1.5, float("inf")),
    "d": (8, 1e300, -0.0),
}
LONG = struct.calcsize("l")
# What may be given, and the kind that it is.
FORMATS: dict[Any, str] = {
    **{prefix + code: code for prefix in ("", "@", "=", "<") for code in KINDS},
    **{prefix + "l": "q" if LONG == 8 else "i" for prefix in ("", "@")},
    **{prefix + "L": "Q" if LONG == 8 else "I" for prefix in ("", "@")},
    "n": "q", "@n": "q", "N": "Q", "@N": "Q",
    "i4": "i", "<f8": "d", "=u2": "H", "|b1": "?", "u1": "B", "<i8": "q", "f4": "f",
    "=l": "i", "<l": "i", "=L": "I", "<L": "I",
    struct.Struct("<h"): "h",
    ctypes.c_bool: "?", ctypes.c_int8: "b", ctypes.c_uint8: "B", ctypes.c_int16: "h", ctypes.c_uint16: "H",
    ctypes.c_int32: "i", ctypes.c_uint32: "I", ctypes.c_int64: "q", ctypes.c_uint64: "Q", ctypes.c_float: "f",
    ctypes.c_double: "d", ctypes.c_size_t: "Q", ctypes.c_ssize_t: "q",
    np.bool_: "?", np.int8: "b", np.uint8: "B", np.int16: "h", np.uint16: "H", np.int32: "i", np.uint32: "I",
    np.int64: "q", np.uint64: "Q", np.float32: "f", np.float64: "d", np.longlong: "q", np.ulonglong: "Q",
    np.dtype("<i4"): "i", np.dtype("=f8"): "d",
}  # fmt: skip


@pytest.fixture
def map_() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new(None, SIZE) as map_:
        yield map_


@pytest.fixture
def view(map_: MemoryMappedFile) -> Iterator[MemoryMappedViewAccessor]:
    with map_.create_view_accessor() as view:
        view[:] = bytes(i * 37 % 256 for i in range(SIZE))
        yield view


# ----------------------------------------------------------------------------------------------------------------- cast


@pytest.mark.parametrize(("format_", "code"), FORMATS.items(), ids=[plainly(key) for key in FORMATS])
def test_cast_takes_formats_and_types_of_one_number(view: MemoryMappedViewAccessor, format_: Any, code: str) -> None:
    size, first, second = KINDS[code]
    elements = view.cast(format_)
    assert (elements.format, elements.itemsize, len(elements)) == (code, size, SIZE // size)
    assert (elements.nbytes, elements.obj, elements.shape) == (SIZE, view, (SIZE // size,))
    elements[0], elements[-1] = first, second
    assert (elements[0], elements[-1]) == (first, second)
    raw = struct.pack("<" + code, first), struct.pack("<" + code, second)
    assert (view[:size], view[-size:]) == raw
    assert type(elements[0]) is type(first)


@pytest.mark.parametrize(
    "format_",
    [
        "", "@", "x", "c", "s", "p", "P", "e", "ii", "2i", "1i", "<ih", ">i", "!i", ">b", "=n", "<N", "i ", " i", "@@i",
        "u3", "i16", ">i4", "f2", "S3",
        "\0", "é", "<\0", "zz", ctypes.c_char, ctypes.c_wchar, ctypes.c_longdouble, ctypes.c_int32.__ctype_be__,
        ctypes.c_double.__ctype_be__, ctypes.c_int * 2, np.dtype(">i4"), np.dtype(">f8"), np.float16, np.longdouble,
        np.complex64, np.dtype("S1"), np.dtype("M8[s]"), np.dtype("i4,i4"), np.dtype(("i4", (2,))), struct.Struct(">i"),
        struct.Struct("ii"),
    ],
    ids=plainly,
)  # fmt: skip
def test_what_is_not_one_number_of_this_machine_is_a_value_error(view: MemoryMappedViewAccessor, format_: Any) -> None:
    with pytest.raises((ValueError, struct.error), match=r"number|format"):
        view.cast(format_)


@pytest.mark.parametrize("format_", [None, 5, b"i", int, float, object(), ["i"], ctypes.c_void_p, ctypes.c_char_p])
def test_what_is_no_type_at_all_is_a_type_error(view: MemoryMappedViewAccessor, format_: Any) -> None:
    with pytest.raises(TypeError):
        view.cast(format_)


@bounded
@given(
    code=st.sampled_from(sorted(KINDS)),
    capacity=st.integers(1, 40),
    position=st.integers(-2, 42),
    count=st.one_of(st.none(), st.integers(-2, 45), st.sampled_from([2**31, 2**61, 2**63, -(2**63), 2**64])),
)
def test_cast_takes_a_part_at_any_alignment(code: str, capacity: int, position: int, count: int | None) -> None:
    size = KINDS[code][0]
    with MemoryMappedFile.create_new(None, capacity) as map_, map_.create_view_accessor() as view:
        view[:] = content = bytes(i * 11 % 256 for i in range(capacity))
        fits = (capacity - position) // size
        if not 0 <= position <= capacity or (count is not None and not 0 <= count <= fits):
            with pytest.raises(OutOfRangeError):
                view.cast(code, position, count)
            return
        elements = view.cast(code, position, count)
        length = fits if count is None else count
        assert len(elements) == length
        assert elements.tobytes() == content[position : position + length * size]
        assert elements.tobytes() == struct.pack(f"<{length}{code}", *elements) or code in "?fd"


@pytest.mark.parametrize(("position", "count"), [(0.0, None), ("0", None), (None, None), (0, 1.0), (0, "1")])
def test_position_and_count_are_integers(view: MemoryMappedViewAccessor, position: Any, count: Any) -> None:
    with pytest.raises(TypeError):
        view.cast("i", position, count)


def test_a_view_that_is_too_small_has_no_elements(map_: MemoryMappedFile) -> None:
    for offset, size in ((0, 3), (SIZE, 0)):
        with map_.create_view_accessor(offset, size) as view:
            elements = view.cast("i")
            assert (len(elements), list(elements), elements.tolist(), elements.tobytes()) == (0, [], [], b"")
            assert not elements
            assert np.asarray(elements).shape == (0,)
            with pytest.raises(IndexError):
                elements[0]
            with pytest.raises(OutOfRangeError):
                view.cast("i", 0, 1)


# --------------------------------------------------------------------------------- index, slices, assignment, iteration

indices = st.one_of(st.integers(-14, 14), st.sampled_from([-(2**63), 2**63 - 1, 2**63, -(2**64)]))
bounds = st.one_of(st.none(), indices)
steps = st.one_of(
    st.none(), st.integers(-4, 4).filter(bool), st.sampled_from([2**60, -(2**60), 2**62, 2**63, -(2**63)])
)
slices = st.builds(slice, bounds, bounds, steps)


def same(one: Any, other: Any) -> bool:
    """Equal, NaN and the sign of zero included."""
    return repr(one) == repr(other)


@bounded
@given(data=st.data(), code=st.sampled_from(sorted(KINDS)), length=st.integers(0, 12), shift=st.integers(0, 9))
def test_elements_behave_as_those_of_memoryview_cast(data: st.DataObject, code: str, length: int, shift: int) -> None:
    size = KINDS[code][0]
    content = data.draw(st.binary(min_size=size * length, max_size=size * length))
    with MemoryMappedFile.create_new(None, size * length + shift + 1) as map_, map_.create_view_accessor() as view:
        view.write_bytes(shift, content)
        elements: Any = view.cast(code, shift, length)
        model: Any = memoryview(content).cast(code)
        for _ in range(data.draw(st.integers(0, 3))):
            cut = data.draw(slices)
            elements, model = elements[cut], model[cut]
            assert isinstance(elements, ElementView)
            assert len(elements) == len(model)
            assert bool(elements) == bool(len(model))
        expected = model.tolist()
        assert same(elements.tolist(), expected)
        assert same(list(elements), expected)
        assert operator.length_hint(iter(elements)) == len(expected)
        assert elements.tobytes() == model.tobytes()
        assert elements.nbytes == model.nbytes
        block = memoryview(elements)
        assert (block.format, block.shape, block.itemsize, block.ndim) == (model.format, model.shape, model.itemsize, 1)
        assert same(block.tolist(), expected)
        if len(expected) > 1:
            assert block.strides == model.strides
            assert block.contiguous == model.contiguous
        numbers = np.asarray(elements)
        assert (numbers.dtype, numbers.shape) == (np.dtype(code), (len(expected),))
        if code != "?":
            assert same(numbers.tolist(), expected)
        index = data.draw(indices)
        if -len(expected) <= index < len(expected):
            assert same(elements[index], expected[index])
        else:
            with pytest.raises(OutOfRangeError):
                elements[index]


INTEGERS = {code: (low, high) for code, (_, low, high) in KINDS.items() if code in "bhiq"}


@bounded
@given(data=st.data(), code=st.sampled_from(sorted(INTEGERS)), length=st.integers(0, 12), shift=st.integers(0, 9))
def test_assignments_behave_as_those_of_a_list_of_fixed_length(
    data: st.DataObject, code: str, length: int, shift: int
) -> None:
    low, high = INTEGERS[code]
    values = st.integers(low, high)
    size = KINDS[code][0]
    with MemoryMappedFile.create_new(None, size * length + shift + 1) as map_, map_.create_view_accessor() as view:
        elements = view.cast(code, shift, length)
        model = [0] * length
        for _ in range(data.draw(st.integers(1, 8))):
            cut = data.draw(slices)
            count = len(model[cut])
            given_ = data.draw(st.lists(values, min_size=count, max_size=count))
            # As a list, as buffers of the same, of another and of no element format, as an iterator, as elements.
            form = data.draw(st.integers(0, 6))
            source: Any = [
                given_,
                array.array(code, given_),
                memoryview(array.array(code, given_)),
                np.array(given_, np.int64),
                iter(given_),
                np.array(given_ * 2, code)[: len(given_)][::-1][::-1],
                tuple(given_),
            ][form]
            if data.draw(st.integers(0, 3)) == 0 and count <= length:
                start = data.draw(st.integers(0, length - count))
                given_, source = model[start : start + count], elements[start : start + count]
                if data.draw(st.booleans()):
                    given_, source = given_[::-1], source[::-1]
            elements[cut] = source
            model[cut] = given_
            assert elements.tolist() == model
            index = data.draw(indices)
            if -length <= index < length:
                elements[index] = model[index] = data.draw(values)
            for wrong in ([*given_, 1], given_[:-1] if given_ else [1], array.array(code, [*given_, 1])):
                with pytest.raises(ValueError, match=r"values for \d+ elements"):
                    elements[cut] = wrong
            assert elements.tolist() == model
        assert view[:shift] == bytes(shift)
        assert view[-1] == 0


@pytest.mark.parametrize("code", "bBhHiIqQ")
def test_values_that_do_not_fit_are_refused_and_none_is_written(view: MemoryMappedViewAccessor, code: str) -> None:
    elements = view.cast(code)
    before = view[:]
    bits = 8 * elements.itemsize
    for bad in (2**bits, -(2**bits), 2**200, 10**5000):
        with pytest.raises(ValueOutOfRangeError, match="does not fit"):
            elements[0] = bad
        for target in (slice(0, 3), slice(0, 6, 2), slice(3, 0, -1)):
            with pytest.raises(ValueOutOfRangeError, match="does not fit"):
                elements[target] = [1, 2, bad]
    assert view[:] == before


@pytest.mark.parametrize("bad", [None, "1", 1.5, [1], b"1"], ids=plainly)
def test_values_of_another_type_are_refused_and_none_is_written(view: MemoryMappedViewAccessor, bad: Any) -> None:
    elements = view.cast("i")
    before = view[:]
    with pytest.raises(TypeError):
        elements[0] = bad
    with pytest.raises(TypeError):
        elements[0:3] = [1, 2, bad]
    with pytest.raises(TypeError):
        elements[0:2] = 5
    assert view[:] == before


@pytest.mark.parametrize("index", [0.0, "0", None, (0, 0), [0], slice("0"), slice(0, 1.5)], ids=plainly)
def test_an_index_is_an_integer_or_a_slice_of_integers(view: MemoryMappedViewAccessor, index: Any) -> None:
    elements = view.cast("i")
    with pytest.raises(TypeError):
        elements[index]
    with pytest.raises(TypeError):
        elements[index] = 1
    with pytest.raises(TypeError, match="size"):
        del elements[index]  # type: ignore[attr-defined]


def test_an_exception_while_values_are_made_passes_and_none_is_written(view: MemoryMappedViewAccessor) -> None:
    class Raising:
        def __index__(self) -> int:
            raise ZeroDivisionError

    def values() -> Iterator[int]:
        yield 1
        raise ZeroDivisionError

    before = view[:]
    elements = view.cast("i")
    for source in (values(), [1, Raising()]):
        with pytest.raises(ZeroDivisionError):
            elements[0:2] = source
    with pytest.raises(ZeroDivisionError):
        elements[0] = Raising()
    with pytest.raises(ZeroDivisionError):
        elements[Raising()]
    assert view[:] == before


@pytest.mark.parametrize("length", [10, 200_000])
def test_elements_are_assigned_from_each_other_as_if_copied_first(length: int) -> None:
    with MemoryMappedFile.create_new(None, length * 8) as map_, map_.create_view_accessor() as view:
        elements = view.cast("q")
        numbers = np.arange(length)
        for target, source in (
            (slice(None), slice(None, None, -1)),
            (slice(None, None, -1), slice(None)),
            (slice(1, None), slice(None, -1)),
            (slice(None, -1), slice(1, None)),
            (slice(None, length // 2), slice(None, None, 2)),
            (slice(None, None, 2), slice(None, length // 2)),
            (slice(None, length // 2), slice(None, None, -2)),
        ):
            for form in (lambda part: part, memoryview, np.asarray):
                elements[:] = numbers
                expected = numbers.copy()
                expected[target] = numbers[source]
                elements[target] = form(elements[source])
                assert np.array_equal(np.asarray(elements), expected)


def test_units_of_utf_16_are_characters(view: MemoryMappedViewAccessor) -> None:
    text = "a\u20ac\ud800\uffff"
    for format_ in ("u", "@u", "<u", "=u"):
        units = view.cast(format_, 1, 4)
        units[:] = text
        assert "".join(units) == text
        assert units.tobytes() == text.encode("utf-16-le", "surrogatepass")
        assert (units.format, units.itemsize) == ("u", 2)
        assert units[::-1].tolist() == list(reversed(text))
        units[0] = "b"
        assert units[0] == "b"
        with pytest.raises(ValueOutOfRangeError, match="char"):
            units[0] = "\U0001f600"
        with pytest.raises(TypeError):
            units[0] = 98
        with pytest.raises(ValueOutOfRangeError):
            units[0:2] = "c\U0001f600"
        assert units[0] == "b"


@pytest.mark.parametrize("bits", [0x7FA00001, 0xFF800001, 0x7FC12345, 0x80000000])
def test_singles_of_element_views_are_bit_exact(view: MemoryMappedViewAccessor, bits: int) -> None:
    view.cast("I")[0] = bits
    singles = view.cast("f")
    singles[1] = singles[0]
    singles[2:4] = singles[0:2]
    singles[4:6] = list(singles[0:2])
    assert [hex(number) for number in view.cast("I", 0, 6)] == [hex(bits)] * 6


def test_an_iterator_sees_later_writes_and_stays_at_its_end(view: MemoryMappedViewAccessor) -> None:
    elements = view.cast("B", 0, 3)
    iterator = iter(elements)
    assert iter(iterator) is iterator
    view[:3] = b"\1\2\3"
    assert (next(iterator), operator.length_hint(iterator)) == (1, 2)
    view[1] = 9
    assert list(iterator) == [9, 3]
    assert (list(iterator), operator.length_hint(iterator)) == ([], 0)
    assert [*zip(elements, reversed(elements), strict=True)] == [(1, 3), (9, 9), (3, 1)]  # type: ignore[call-overload]
    assert (9 in elements, 4 in elements) == (True, False)


# --------------------------------------------------------------------------------------------- state, buffers, lifetime


@pytest.mark.parametrize(
    "use",
    [
        len, iter, list, memoryview, bytes,
        lambda e: e[0], lambda e: e[99], lambda e: e[:], lambda e: e[::2], lambda e: e.tolist(), lambda e: e.tobytes(),
        lambda e: e.__setitem__(0, 1), lambda e: e.__setitem__(99, 1), lambda e: e.__setitem__(slice(0, 1), [1]),
        lambda e: e.__setitem__(slice(0, 0), []), lambda e: e.__setitem__(slice(0, 1), array.array("i", [1])),
    ],
)  # fmt: skip
def test_every_use_after_close_is_refused(map_: MemoryMappedFile, use: Callable[[Any], Any]) -> None:
    view = map_.create_view_accessor(0, 40)
    elements = view.cast("i")
    part, started = elements[2:8:3], iter(elements)
    next(started)
    view.close()
    for each in (elements, part):
        with pytest.raises(ClosedError):
            use(each)
    with pytest.raises(ClosedError):
        next(started)
    assert (elements.format, elements.itemsize, elements.nbytes, elements.obj) == ("i", 4, 40, view)
    assert repr(elements) == f"<10 elements 'i' of {view!r}>"
    assert bool(elements)


def test_the_direction_of_the_view_holds_for_its_elements(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor(0, 8, READ) as view:
        elements = view.cast("i")
        assert list(elements) == [0, 0]
        for write in (
            lambda: elements.__setitem__(0, 1),
            lambda: elements.__setitem__(99, 1),
            lambda: elements.__setitem__(slice(None), [1, 2]),
            lambda: elements.__setitem__(slice(0, 0), []),
            lambda: elements.__setitem__(slice(None), array.array("i", [1, 2])),
        ):
            with pytest.raises(io.UnsupportedOperation, match="writing"):
                write()
        assert memoryview(elements).readonly
        assert not np.asarray(elements[::-1]).flags.writeable
    with map_.create_view_accessor(0, 8, WRITE) as view:
        elements = view.cast("i")
        elements[0] = 5
        elements[1:] = [6]
        for read in (
            lambda: elements[0],
            lambda: elements[99],
            lambda: list(elements),
            lambda: elements.tolist(),
            lambda: elements.tobytes(),
            lambda: elements[:].tolist(),
        ):
            with pytest.raises(io.UnsupportedOperation, match="reading"):
                read()
        for consumer in (memoryview, np.frombuffer, bytes):
            with pytest.raises(BufferError, match="writing only"):
                consumer(elements)
        with pytest.raises(BufferError):
            elements[0:1] = elements[1:2]
    with map_.create_view_accessor(0, 8) as view:
        assert view.cast("i").tolist() == [5, 6]


def test_arrays_of_elements_share_memory_and_keep_it(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor()
    elements = view.cast("d", 8, 100)
    every_third = np.asarray(elements[::-3])
    elements[99] = 2.5
    assert every_third[0] == 2.5
    every_third[1] = 3.5
    assert elements[96] == 3.5
    view.close()
    assert every_third[:2].tolist() == [2.5, 3.5]
    every_third[1] = 4.5
    with map_.create_view_accessor() as other:
        assert other.read_double(8 + 96 * 8) == 4.5


FLAGS = {"simple": 0, "format": 4, "nd": 8, "C": 0x38, "F": 0x58, "any": 0x98}


@pytest.mark.parametrize("flags", FLAGS.values(), ids=FLAGS)
def test_a_strided_part_is_given_to_nobody_who_needs_a_plain_block(view: MemoryMappedViewAccessor, flags: int) -> None:
    python = ctypes.PyDLL("python", handle=ctypes.pythonapi._handle)  # with functions of its own
    buffer = ctypes.create_string_buffer(200)
    elements = view.cast("i")
    for part in (elements, elements[5:], elements[::2][3:4], elements[::-1][:1], elements[::2][5:5]):
        python.PyObject_GetBuffer(ctypes.py_object(part), buffer, flags)
        python.PyBuffer_Release(buffer)
    for part in (elements[::2], elements[::-1], elements[4:0:-2]):
        with pytest.raises(BufferError, match="not contiguous"):
            python.PyObject_GetBuffer(ctypes.py_object(part), buffer, flags)
        python.PyObject_GetBuffer(ctypes.py_object(part), buffer, 0x18)
        python.PyBuffer_Release(buffer)
    assert bytes(elements[::2]) == elements[::2].tobytes()


def test_a_huge_step_reaches_one_element(view: MemoryMappedViewAccessor) -> None:
    elements = view.cast("q")
    for step in (2**60, 2**61, 2**62, 2**63, -(2**60), -(2**63)):
        part = elements[::step][::step]
        assert part.tolist() == [elements[0 if step > 0 else -1]]
        assert np.asarray(part).tolist() == part.tolist()
        part[0] = 7
        assert part.tobytes() == (7).to_bytes(8, "little")


def test_element_views_and_their_iterators_are_made_by_cast_only(view: MemoryMappedViewAccessor) -> None:
    elements = view.cast("i")
    iterator: Any = type(iter(elements))
    for make in (
        ElementView,
        lambda: ElementView(view),
        lambda: ElementView.__new__(ElementView),
        lambda: ElementView.__new__(ElementView, None),
        iterator,
        lambda: iterator(None),
        lambda: iterator.__new__(iterator),
    ):
        with pytest.raises(TypeError):
            make()
    with pytest.raises(TypeError, match="not an acceptable base type"):
        type("Derived", (ElementView,), {})
    assert list(iterator(elements)) == list(elements)
    # What __new__ alone makes is an empty part of the view.
    half_made = ElementView.__new__(ElementView, view)  # type: ignore[call-arg]
    assert (list(half_made), half_made.tobytes(), bytes(memoryview(half_made)), len(half_made[::-1])) == (
        [],
        b"",
        b"",
        0,
    )


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_element_views_are_not_pickled_or_copied(view: MemoryMappedViewAccessor, protocol: int) -> None:
    elements = view.cast("i")
    for each in (elements, iter(elements)):
        for use in (lambda each: pickle.dumps(each, protocol), copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="pickle"):
                use(each)
        # A state that somebody else could set would be an address.
        assert not [name for name in dir(each) if "setstate" in name or "cython" in name]


def test_an_element_view_can_be_referenced_weakly_and_keeps_its_view(map_: MemoryMappedFile) -> None:
    elements = map_.create_view_accessor(0, 8).cast("i")
    view = weakref.ref(elements.obj)
    reference = weakref.ref(elements)
    gc.collect()
    assert elements.tolist() == [0, 0]
    assert view() is elements.obj
    del elements
    assert reference() is view() is None


@bounded
@given(
    code=st.sampled_from(["b", "H", "q", "f", "d", "?", "u"]),
    picks=st.lists(st.integers(0, 3), max_size=12),
    step=st.sampled_from([1, 2, -1]),
    start=st.integers(-14, 14),
    stop=st.one_of(st.none(), st.integers(-14, 14)),
)
def test_elements_are_found_as_in_a_list(code: str, picks: list[int], step: int, start: int, stop: int | None) -> None:
    pool: list[Any] = {"?": [True, False, True, False], "u": list("abcd"), "f": [0.0, -0.0, 1.5, float("inf")]}.get(
        code, [0, 1, 2, 3]
    )
    with MemoryMappedFile.create_new(None, 128) as map_, map_.create_view_accessor() as view:
        elements = view.cast(code, 0, len(picks))
        elements[:] = [pool[pick] for pick in picks]
        part, model = elements[::step], [pool[pick] for pick in picks][::step]
        for value in [*pool, 7, 2**70, None, "text", 1.0, True]:
            assert (value in part) == (value in model)
            assert part.count(value) == model.count(value)
            bounds = (start,) if stop is None else (start, stop)
            try:
                expected = model.index(value, *bounds)
            except ValueError:
                with pytest.raises(ValueError, match="not among"):
                    part.index(value, *bounds)
            else:
                assert part.index(value, *bounds) == expected


def test_a_comparison_may_close_the_view(view: MemoryMappedViewAccessor) -> None:
    class Closing:
        def __eq__(self, other: object) -> bool:
            view.close()
            return False

        __hash__ = None  # type: ignore[assignment]

    elements = view.cast("i")
    for use in (elements.count, elements.index, elements.__contains__):
        with pytest.raises(ClosedError):
            use(Closing())

# SPDX-License-Identifier: MIT
"""An accessor as a sequence of bytes: index and slices against bytearray, the buffer protocol, lifetime of memory."""

from __future__ import annotations

import array
import ctypes
import gc
import io
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from naming import plainly
from support.here import is_mapped

from memorymapped import (
    ClosedError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileOptions,
    MemoryMappedViewAccessor,
    OutOfRangeError,
    ValueOutOfRangeError,
    guard_status,
)

PAGE = 4096
READ, WRITE = MemoryMappedFileAccess.READ, MemoryMappedFileAccess.WRITE
LATER = MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES

bounded = settings(max_examples=150, deadline=None, database=None)

indices = st.one_of(st.integers(-45, 45), st.sampled_from([-(2**63), 2**63 - 1, 2**63, -(2**64), 2**100]))
bounds = st.one_of(st.none(), indices)
steps = st.one_of(
    st.none(), st.integers(-7, 7).filter(bool), st.sampled_from([2**62, -(2**62), 2**63, -(2**63), 2**70])
)
slices = st.builds(slice, bounds, bounds, steps)


@pytest.fixture
def map_() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new(None, 4 * PAGE) as map_:
        yield map_


# --------------------------------------------------------------------------------------------------------- index, slice


@bounded
@given(data=st.data(), content=st.binary(max_size=40), offset=st.integers(0, 3))
def test_index_and_slice_behave_as_those_of_a_bytearray(data: st.DataObject, content: bytes, offset: int) -> None:
    with (
        MemoryMappedFile.create_new(None, len(content) + offset or 1) as map_,
        map_.create_view_accessor(offset or (0 if content else 1)) as view,
    ):
        view[:] = content
        model = bytearray(content)
        for _ in range(data.draw(st.integers(1, 10))):
            if data.draw(st.booleans()):
                index = data.draw(indices)
                if -len(model) <= index < len(model):
                    assert view[index] == model[index]
                    model[index] = view[index] = data.draw(st.integers(0, 255))
                else:
                    with pytest.raises(IndexError):
                        view[index]
                    with pytest.raises(IndexError):
                        view[index] = 1
            else:
                cut = data.draw(slices)
                assert view[cut] == model[cut]
                assert type(view[cut]) is bytes
                values = data.draw(st.binary(min_size=len(model[cut]), max_size=len(model[cut])))
                model[cut] = view[cut] = values
                with pytest.raises(ValueError, match="cannot change its size"):
                    view[cut] = values + b"x"
            assert view[:] == model
        assert list(view) == list(model)
        assert list(reversed(view)) == list(reversed(model))  # type: ignore[call-overload]
        assert len(view) == len(model)


@bounded
@given(
    content=st.lists(st.sampled_from(b"ab"), max_size=24).map(bytes),
    sub=st.one_of(st.lists(st.sampled_from(b"ab"), max_size=4).map(bytes), st.sampled_from(b"abc")),
    start=st.one_of(st.none(), indices),
    end=bounds,
)
def test_bytes_are_found_as_in_bytes(content: bytes, sub: Any, start: int | None, end: int | None) -> None:
    with (
        MemoryMappedFile.create_new(None, len(content) or 1) as map_,
        map_.create_view_accessor(0 if content else 1) as view,
    ):
        view[:] = content
        assert (sub in view) == (sub in content)
        assert view.find(sub) == content.find(sub)
        assert view.rfind(sub) == content.rfind(sub)
        start = 0 if start is None else start
        assert view.find(sub, start, end) == content.find(sub, start, end)
        assert view.rfind(sub, start=start, end=end) == content.rfind(sub, start, end)


@pytest.mark.parametrize("size", [1, 2, 17, 5000])
def test_bytes_are_found_across_the_pieces_of_a_long_search(size: int) -> None:
    piece = 16 << 20
    with MemoryMappedFile.create_new(None, 2 * piece + 10_000) as map_, map_.create_view_accessor() as view:
        what = bytes(i % 255 + 1 for i in range(size))
        for at in (0, piece - size, piece - size // 2, piece, 2 * piece - 1, view.capacity - size):
            view[at : at + size] = what
            assert view.find(what) == view.rfind(what) == at
            assert view.find(what, at, at + size) == view.rfind(what, at, at + size) == at
            assert view.find(what, at + 1) == view.find(what, 0, at + size - 1) == -1
            assert view.rfind(what, at + 1) == view.rfind(what, 0, at + size - 1) == -1
            view[at : at + size] = bytes(size)
        assert what not in view


def test_what_is_searched_is_a_byte_or_bytes(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as view:
        view[10:14] = b"abcd"
        subs: list[Any] = [b"bc", bytearray(b"bc"), memoryview(b"xbcx")[1:3], array.array("B", b"bc"), ord("b")]
        for sub in [*subs, np.array([98, 99], np.uint8), np.int64(98), view[11:12]]:
            assert view.find(sub) == view.rfind(sub) == 11
            assert sub in view
        for wrong in (256, -1, 2**100):
            for call in (view.find, view.rfind, view.__contains__):
                with pytest.raises(ValueOutOfRangeError):
                    call(wrong)
        for other in ("bc", None, 1.5, [98]):
            for call in (view.find, view.rfind, view.__contains__):
                with pytest.raises(TypeError):
                    call(other)  # type: ignore[arg-type]
    with map_.create_view_accessor(access=WRITE) as write_only:
        for use in (write_only.find, write_only.rfind, write_only.__contains__):
            with pytest.raises(io.UnsupportedOperation):
                use(b"a")
        with pytest.raises(io.UnsupportedOperation):
            next(iter(write_only))
    for use in (view.find, view.rfind, view.__contains__):
        with pytest.raises(ClosedError):
            use(b"a")
    with pytest.raises(ClosedError):
        iter(view)


LONG = 1 << 30
LONG_USES: dict[str, Callable[[MemoryMappedViewAccessor], object]] = {
    "slice": lambda view: view[::2],
    "reversed slice": lambda view: view[::-1],
    "assigned slice": lambda view: view.__setitem__(slice(None, None, 4), bytes(LONG // 4)),
    "in": lambda view: 5 in view,
    "find": lambda view: view.find(b"bytes"),
    "rfind": lambda view: view.rfind(b"bytes"),
    "array": lambda view: view.read_array(0, np.empty(LONG // 4, "V3")),
    "tolist": lambda view: view.cast("q").tolist(),
    "elements": lambda view: view.cast("q")[::2].tobytes(),
    "assigned elements": lambda view: view.cast("q")[::2].__setitem__(slice(None), view.cast("q", 0, LONG // 16)),
    "in elements": lambda view: 5 in view.cast("q"),
    "count of elements": lambda view: view.cast("q").count(1),
    "iterator": lambda view: list(view),
}


@pytest.mark.parametrize("use", LONG_USES.values(), ids=LONG_USES)
def test_long_work_lets_other_threads_run_and_is_interrupted(use: Callable[[MemoryMappedViewAccessor], object]) -> None:
    class OthersRan(BaseException):
        pass

    turns: list[int] = []
    seen = sys.maxsize
    begun, ended = threading.Event(), threading.Event()

    def others() -> None:
        begun.set()
        while not ended.is_set():
            turns.append(1)
            time.sleep(0)

    def interrupt(*_: object) -> None:
        if len(turns) > seen:
            signal.setitimer(signal.ITIMER_PROF, 0)
            raise OthersRan

    before = signal.signal(signal.SIGPROF, interrupt)
    thread = threading.Thread(target=others)
    with MemoryMappedFile.create_new(None, LONG, options=LATER) as map_, map_.create_view_accessor() as view:
        thread.start()
        begun.wait()
        try:
            with pytest.raises(OthersRan):  # noqa: PT012
                signal.setitimer(signal.ITIMER_PROF, 0.02, 0.02)
                seen = len(turns)
                use(view)
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.signal(signal.SIGPROF, before)
            ended.set()
            thread.join()
        assert view.residency().ratio < 0.7  # it did not see the rest


def test_a_slice_of_step_zero_is_refused(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as view:
        with pytest.raises(ValueError, match="step"):
            view[::0]
        with pytest.raises(ValueError, match="step"):
            view[::0] = b""


@pytest.mark.parametrize("index", [1.0, "1", None, (0, 1), b"1", [1], slice("a"), slice(None, 1.5)], ids=plainly)
def test_an_index_is_an_integer_or_a_slice_of_integers(map_: MemoryMappedFile, index: Any) -> None:
    with map_.create_view_accessor() as view:
        with pytest.raises(TypeError):
            view[index]
        with pytest.raises(TypeError):
            view[index] = b"1"


@pytest.mark.parametrize("value", [256, -1, 10**100])
def test_a_byte_that_does_not_fit_is_refused(map_: MemoryMappedFile, value: int) -> None:
    with map_.create_view_accessor() as view, pytest.raises(ValueOutOfRangeError, match="byte"):
        view[0] = value


@pytest.mark.parametrize("value", [b"x", "x", 1.0, None])
def test_a_byte_is_an_integer(map_: MemoryMappedFile, value: Any) -> None:
    with map_.create_view_accessor() as view, pytest.raises(TypeError):
        view[0] = value


@pytest.mark.parametrize("value", ["xx", 5, None, [1, 2], (1, 2)])
def test_a_slice_is_assigned_from_a_buffer(map_: MemoryMappedFile, value: Any) -> None:
    with map_.create_view_accessor() as view:
        for cut in (slice(0, 2), slice(0, 4, 2)):
            with pytest.raises(TypeError):
                view[cut] = value


def test_a_slice_is_assigned_from_a_contiguous_buffer_of_any_element(map_: MemoryMappedFile) -> None:
    numbers = np.arange(4, dtype="<u2")
    with map_.create_view_accessor() as view:
        for source in (
            numbers,
            array.array("H", range(4)),
            numbers.tobytes(),
            memoryview(numbers),
            numbers.reshape(2, 2),
        ):
            view[:] = bytes(4 * PAGE)
            view[2:10] = source
            assert view[0:12] == b"\0\0" + numbers.tobytes() + b"\0\0"
        for strided in (numbers[::2], memoryview(bytes(8))[::2]):
            with pytest.raises((BufferError, ValueError)):
                view[0:4] = strided


def test_bytes_are_not_deleted(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as view:
        for index in (0, slice(0, 1), slice(None)):
            with pytest.raises(TypeError, match="size"):
                del view[index]  # type: ignore[attr-defined]


def test_refusals_of_index_and_slice_keep_their_order(map_: MemoryMappedFile) -> None:
    closed = map_.create_view_accessor()
    closed.close()
    with map_.create_view_accessor(0, 8, READ) as read_only, map_.create_view_accessor(0, 8, WRITE) as write_only:
        for index in (0, 100, -100, slice(None), slice(None, None, 2), slice(5, 5)):
            for reader, error in ((closed, ClosedError), (write_only, io.UnsupportedOperation)):
                with pytest.raises(error):
                    reader[index]
            for writer, error in ((closed, ClosedError), (read_only, io.UnsupportedOperation)):
                with pytest.raises(error):
                    writer[index] = 0 if isinstance(index, int) else b""  # type: ignore[index]
        with pytest.raises(OutOfRangeError, match="index 8 is out of range"):
            read_only[8]
        write_only[2:6] = b"abcd"
        write_only[::-2] = b"1234"
        write_only[-8] = 7
        assert read_only[:] == b"\x074a3c2\x001"


@pytest.mark.parametrize("size", [1000, 300 * 1024, 9 * 1024 * 1024])
@pytest.mark.parametrize("shift", [-100, -1, 1, 100, 4096])
def test_overlapping_copies_are_made_as_if_the_source_was_copied_first(size: int, shift: int) -> None:
    content = np.random.default_rng(1).integers(0, 256, size + abs(shift), np.uint8).tobytes()
    here, there = (0, shift) if shift > 0 else (-shift, 0)
    expected = bytearray(content)
    expected[there : there + size] = content[here : here + size]
    with (
        MemoryMappedFile.create_new(None, len(content)) as map_,
        map_.create_view_accessor() as view,
    ):
        source = memoryview(view)[here : here + size]

        def by_slice() -> None:
            view[there : there + size] = source

        for copy in (
            by_slice,
            lambda: view.write_bytes(there, source),
            lambda: view.write_array(there, source),
            lambda: view.read_array(here, memoryview(view)[there : there + size]),
            lambda: view.cast("B").__setitem__(slice(there, there + size), view.cast("B")[here : here + size]),
        ):
            view[:] = content
            copy()
            assert view[:] == expected


LARGE = 16 * 1024 * 1024  # from here on a copy does not go through the cache


@pytest.mark.parametrize("size", [LARGE - 1, LARGE, LARGE + 77])
@pytest.mark.parametrize(("here", "there"), [(0, 0), (1, 0), (0, 1), (16, 48), (63, 5)])
def test_a_large_copy_is_right_at_any_alignment_and_touches_nothing_else(size: int, here: int, there: int) -> None:
    content = np.random.default_rng(size).integers(1, 256, size, np.uint8)
    with MemoryMappedFile.create_new(None, size + 128) as map_, map_.create_view_accessor() as view:
        inside = np.asarray(view)
        outside = np.zeros(size + 128, np.uint8)
        outside[there : there + size] = content
        view.write_array(here, outside[there : there + size])
        assert np.array_equal(inside[here : here + size], content)
        assert not inside[:here].any()
        assert not inside[here + size :].any()
        outside[:] = 0
        assert view.read_array(here, outside[there : there + size]) == size
        assert np.array_equal(outside[there : there + size], content)
        assert not outside[:there].any()
        assert not outside[there + size :].any()


def test_a_new_object_of_any_length_is_filled_to_its_end() -> None:
    size = 2 * 32 * 1024 * 1024 + 5  # two pieces and a bit
    with MemoryMappedFile.create_new(None, size + 3) as map_, map_.create_view_accessor() as view:
        np.asarray(view)[:] = np.random.default_rng(2).integers(0, 256, size + 3, np.uint8)
        assert view.read_bytes(3, size) == memoryview(view)[3:]
        assert view.cast("B", 1, size).tobytes() == memoryview(view)[1 : 1 + size]


@bounded
@given(data=st.data(), content=st.binary(min_size=1, max_size=30))
def test_a_view_is_assigned_from_itself_in_any_order(data: st.DataObject, content: bytes) -> None:
    with MemoryMappedFile.create_new(None, len(content)) as map_, map_.create_view_accessor() as view:
        model = bytearray(content)
        view[:] = content
        source = data.draw(st.integers(0, len(content)))
        stop = data.draw(st.integers(source, len(content)))
        cut = data.draw(slices.filter(lambda cut: len(model[cut]) <= len(content)))
        count = len(model[cut])
        stop = min(len(content), source + count)
        if stop - source != count:
            source, stop = 0, count
        model[cut] = bytes(content[source:stop])
        view[cut] = memoryview(view)[source:stop]
        assert view[:] == model


# ------------------------------------------------------------------------------------------------------ buffer protocol


class PyBuffer(ctypes.Structure):
    """Py_buffer, to ask for one with flags that no Python code asks for."""

    _fields_ = (
        ("buf", ctypes.c_void_p),
        ("obj", ctypes.c_void_p),
        ("len", ctypes.c_ssize_t),
        ("itemsize", ctypes.c_ssize_t),
        ("readonly", ctypes.c_int),
        ("ndim", ctypes.c_int),
        ("format", ctypes.c_char_p),
        ("shape", ctypes.POINTER(ctypes.c_ssize_t)),
        ("strides", ctypes.POINTER(ctypes.c_ssize_t)),
        ("suboffsets", ctypes.POINTER(ctypes.c_ssize_t)),
        ("internal", ctypes.c_void_p),
    )


SIMPLE, WRITABLE, FORMAT, ND, STRIDES = 0, 1, 4, 8, 0x18
C, F, ANY, INDIRECT = 0x20 | STRIDES, 0x40 | STRIDES, 0x80 | STRIDES, 0x100 | STRIDES

python = ctypes.PyDLL("python", handle=ctypes.pythonapi._handle)
get_buffer = python.PyObject_GetBuffer
get_buffer.argtypes = (ctypes.py_object, ctypes.POINTER(PyBuffer), ctypes.c_int)
release_buffer = python.PyBuffer_Release
release_buffer.argtypes = (ctypes.POINTER(PyBuffer),)
release_buffer.restype = None


@pytest.mark.parametrize("flags", [SIMPLE, ND, STRIDES, C, F, ANY, INDIRECT])
@pytest.mark.parametrize("more", [0, FORMAT, WRITABLE, FORMAT | WRITABLE])
def test_a_buffer_has_what_was_asked_for_and_no_more(map_: MemoryMappedFile, flags: int, more: int) -> None:
    with map_.create_view_accessor(3, 100) as view:
        buffer = PyBuffer()
        get_buffer(view, buffer, flags | more)
        try:
            assert (buffer.buf, buffer.len, buffer.itemsize, buffer.ndim) == (view.address(), 100, 1, 1)
            assert not buffer.readonly
            assert buffer.format == (b"B" if more & FORMAT else None)
            assert bool(buffer.shape) == bool(flags & ND)
            assert bool(buffer.strides) == (flags & STRIDES == STRIDES)
            assert not buffer.suboffsets
            if buffer.shape:
                assert buffer.shape[0] == 100
            if buffer.strides:
                assert buffer.strides[0] == 1
        finally:
            release_buffer(buffer)


def test_a_read_only_view_refuses_a_writable_buffer(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor(0, 16, READ) as view:
        for flags in (WRITABLE, WRITABLE | ND, WRITABLE | STRIDES | FORMAT):
            with pytest.raises(BufferError, match="read-only"):
                get_buffer(view, PyBuffer(), flags)
        with pytest.raises(TypeError):
            io.BytesIO(b"x").readinto(view)  # type: ignore[arg-type]
        with pytest.raises(TypeError):
            (ctypes.c_char * 4).from_buffer(view)
        block = memoryview(view)
        assert block.readonly
        with pytest.raises(TypeError, match="read-only"):
            block[0] = 1
        assert not np.asarray(view).flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            np.asarray(view)[0] = 1


def test_a_write_only_view_has_no_buffer(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor(0, 16, WRITE) as view:
        for flags in (SIMPLE, WRITABLE, STRIDES | FORMAT | WRITABLE):
            with pytest.raises(BufferError, match="writing only"):
                get_buffer(view, PyBuffer(), flags)
        with pytest.raises(BufferError):
            memoryview(view)


@pytest.mark.parametrize("access", ["READ_WRITE", "COPY_ON_WRITE"])
def test_a_memoryview_and_an_array_share_the_memory(map_: MemoryMappedFile, access: str) -> None:
    with map_.create_view_accessor(PAGE - 1, 10, MemoryMappedFileAccess[access]) as view:
        block, numbers = memoryview(view), np.asarray(view)
        assert (block.format, block.itemsize, block.ndim, block.shape, block.strides) == ("B", 1, 1, (10,), (1,))
        assert not block.readonly
        assert block.c_contiguous
        assert (numbers.dtype, numbers.shape) == (np.uint8, (10,))
        view[0] = 5
        assert block[0] == numbers[0] == 5
        numbers[1] = 6
        block[2] = 7
        assert view[0:3] == b"\x05\x06\x07"
        (ctypes.c_uint16).from_buffer(view, 3).value = 0x0908
        assert view[3:5] == b"\x08\x09"
        assert io.BytesIO(b"abc").readinto(view) == 3
        assert bytes(view)[:5] == b"abc\x08\x09"


def test_an_empty_view_has_an_empty_buffer(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor(4 * PAGE)
    block = memoryview(view)
    assert (block.nbytes, bytes(block), np.asarray(view).shape) == (0, b"", (0,))
    view.close()
    assert bytes(block) == b""
    with pytest.raises(ClosedError):
        memoryview(view)


def test_a_closed_view_has_no_buffer_and_no_address(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor()
    view.close()
    with pytest.raises(ClosedError):
        memoryview(view)
    with pytest.raises(ClosedError):
        view.address()


class Careless(MemoryMappedViewAccessor):
    """Overrides what a closed view calls."""

    def refuse_closed(self) -> None:
        pass


def test_no_subclass_gets_a_buffer_of_a_closed_view(map_: MemoryMappedFile) -> None:
    view = map_._view(Careless, 0, 0, MemoryMappedFileAccess.READ_WRITE)
    elements = view.cast("i")
    view.close()
    for exporter in (view, elements):
        with pytest.raises(ClosedError):
            memoryview(exporter)
    with pytest.raises(ClosedError):
        view.address()


# ------------------------------------------------------------------------------------------------ how long memory lives


def test_close_unmaps_at_once(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor(PAGE)
    address = view.address()
    assert is_mapped(address)
    view.close()
    assert not is_mapped(address)


def test_a_dropped_view_is_unmapped(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor(PAGE)
    address = view.address()
    del view
    assert not is_mapped(address)


def exporters(view: MemoryMappedViewAccessor) -> list[Any]:
    elements = view.cast("H")
    return [
        memoryview(view),
        np.asarray(view),
        np.asarray(elements[::-2]),
        memoryview(elements[3:]),
        (ctypes.c_char * 10).from_buffer(view),
        np.asarray(view)[5:10].view(),
        memoryview(view)[::3],
    ]


@pytest.mark.parametrize("which", range(7))
def test_a_buffer_keeps_the_memory_of_a_closed_view_until_it_goes(map_: MemoryMappedFile, which: int) -> None:
    before = guard_status().mappings
    view = map_.create_view_accessor(PAGE, 100)
    view[:] = bytes(range(100))
    expected = bytes(exporters(view)[which])
    kept = exporters(view)[which]
    address = view.address()
    view.close()
    assert view.closed
    with pytest.raises(ClosedError):
        view.read_byte(0)
    del view
    assert is_mapped(address)
    assert bytes(kept) == expected
    with map_.create_view_accessor(PAGE, 100) as other:
        other[:] = bytes(100)
    assert bytes(kept) == bytes(len(expected))
    del kept
    gc.collect()  # ctypes objects sit in a cycle
    assert not is_mapped(address)
    assert guard_status().mappings == before


def test_the_last_of_many_buffers_unmaps(map_: MemoryMappedFile) -> None:
    view = map_.create_view_accessor(0, 100)
    address = view.address()
    kept = exporters(view)
    with view:
        pass
    while kept:
        assert is_mapped(address)
        kept.pop()
        gc.collect()
    assert not is_mapped(address)


def test_an_array_of_a_view_in_no_variable_needs_no_care(map_: MemoryMappedFile) -> None:
    with map_.create_view_accessor() as view:
        numbers = np.asarray(map_.create_view_accessor(8, 16))
        view.write_int32(8, 0x01020304)
        assert numbers[:4].tolist() == [4, 3, 2, 1]
    map_.close()
    assert numbers[:4].tolist() == [4, 3, 2, 1]


def test_a_view_in_a_cycle_with_its_buffer_is_collected(map_: MemoryMappedFile) -> None:
    class Holder(MemoryMappedViewAccessor):
        pass

    view = map_._view(Holder, 0, 0, MemoryMappedFileAccess.READ_WRITE)
    view.myself = view  # type: ignore[attr-defined]
    view.block = memoryview(view)  # type: ignore[attr-defined]
    view.elements = iter(view.cast("i"))  # type: ignore[attr-defined]
    address = view.address()
    del view
    gc.collect()
    assert not is_mapped(address)


def test_buffers_made_and_dropped_by_threads_leave_nothing(map_: MemoryMappedFile) -> None:
    before = guard_status().mappings
    view = map_.create_view_accessor()
    failures: list[BaseException] = []

    def use() -> None:
        try:
            for i in range(300):
                with memoryview(view) as block:
                    assert block[i] == 0
                np.asarray(view.cast("i")[::2])
                with map_.create_view_accessor(i) as own:
                    kept = memoryview(own)
                kept.release()
        except BaseException as error:
            failures.append(error)
            raise

    threads = [threading.Thread(target=use) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    view.close()
    assert guard_status().mappings == before

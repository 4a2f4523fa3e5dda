# SPDX-License-Identifier: MIT
"""The view stream: the contract of io.RawIOBase, .NET's rules, and the code of others that uses it unchanged."""

from __future__ import annotations

import array
import csv
import errno
import gzip
import io
import itertools
import json
import os
import pickle
import shutil
import struct
import tarfile
import weakref
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from naming import plainly

from memorymapped import (
    ClosedError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewStream,
    OutOfRangeError,
    ValueOutOfRangeError,
    guard_status,
)

SIZE = 1000
LAST = 2**63 - 1
READ, WRITE = MemoryMappedFileAccess.READ, MemoryMappedFileAccess.WRITE


@pytest.fixture
def map_() -> Iterator[MemoryMappedFile]:
    with MemoryMappedFile.create_new(None, SIZE) as map_:
        yield map_


@pytest.fixture
def stream(map_: MemoryMappedFile) -> Iterator[MemoryMappedViewStream]:
    with map_.create_view_stream() as stream:
        yield stream


def bare(size: int) -> MemoryMappedViewStream:
    """A stream over memory of its own."""
    with MemoryMappedFile.create_new(None, size) as map_:
        return map_.create_view_stream()


# --------------------------------------------------------------------------------------------------------- the contract


def test_it_is_a_raw_binary_stream(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream() as stream:
        for kind in (io.RawIOBase, io.IOBase):
            assert isinstance(stream, kind)
            assert issubclass(MemoryMappedViewStream, kind)
        assert not isinstance(stream, (io.BufferedIOBase, io.TextIOBase))
    with map_.create_view_accessor() as accessor:
        assert not isinstance(accessor, io.IOBase)


def test_it_has_every_method_of_a_raw_stream() -> None:
    wanted = {name for name in dir(io.RawIOBase) if not name.startswith("_")}
    assert wanted <= set(dir(MemoryMappedViewStream))


@pytest.mark.parametrize(
    ("access", "reads", "writes", "mode"),
    [("READ_WRITE", True, True, "rb+"), ("READ", True, False, "rb"), ("WRITE", False, True, "wb"),
     ("COPY_ON_WRITE", True, True, "rb+")],
)  # fmt: skip
def test_what_it_can_do(map_: MemoryMappedFile, access: str, reads: bool, writes: bool, mode: str) -> None:
    stream = map_.create_view_stream(100, 50, MemoryMappedFileAccess[access])
    assert (stream.readable(), stream.writable(), stream.seekable(), stream.isatty()) == (reads, writes, True, False)
    assert (stream.can_read, stream.can_write, stream.closed, stream.mode) == (reads, writes, False, mode)
    assert (stream.capacity, stream.length, stream.position, stream.tell(), stream.pointer_offset) == (
        50,
        50,
        0,
        0,
        100,
    )
    assert stream.can_seek
    stream.close()
    assert (stream.can_read, stream.can_write, stream.closed, stream.capacity) == (False, False, True, 50)
    assert not stream.can_seek


def test_bytes_are_read_and_written_by_dotnets_names(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream(0, 2) as stream:
        stream.write_byte(255)
        for wrong in (256, -1, 2**100):
            with pytest.raises(ValueOutOfRangeError):
                stream.write_byte(wrong)
        with pytest.raises(TypeError):
            stream.write_byte("a")  # type: ignore[arg-type]
        stream.write_byte(value=7)
        with pytest.raises(io.UnsupportedOperation):
            stream.write_byte(1)
        assert (stream.read_byte(), stream.seek(0)) == (-1, 0)
        assert (stream.read_byte(), stream.read_byte(), stream.read_byte(), stream.tell()) == (255, 7, -1, 2)
    with pytest.raises(ClosedError):
        stream.read_byte()


def test_each_stream_has_a_position_of_its_own(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream() as one, map_.create_view_stream() as other:
        one.write(b"abc")
        assert (one.tell(), other.tell()) == (3, 0)
        assert other.read(2) == b"ab"


def test_reads_give_what_there_is_and_nothing_at_the_end_or_beyond(stream: MemoryMappedViewStream) -> None:
    stream.write(bytes(range(250)) * 4)
    stream.seek(SIZE - 3)
    assert stream.read(10) == b"\xf7\xf8\xf9"
    for position in (SIZE, SIZE + 1, 2**31, 2**62, LAST):
        stream.position = position
        into = bytearray(b"xx")
        assert (stream.read(), stream.read(5), stream.read(0), stream.readall(), stream.readline()) == (b"",) * 5
        assert (stream.readinto(into), into, stream.readlines(), list(stream)) == (0, b"xx", [], [])
        assert stream.tell() == position
    stream.seek(5)
    for everything in (-1, None, -7, LAST, 2**70, -(2**70)):
        stream.seek(SIZE - 5)
        assert len(stream.read(everything)) == 5
    stream.seek(0)
    assert stream.read(0) == b""
    assert stream.readinto(bytearray()) == 0
    assert stream.tell() == 0


def test_writes_are_all_or_nothing(stream: MemoryMappedViewStream) -> None:
    stream.seek(SIZE - 3)
    with pytest.raises(io.UnsupportedOperation, match="4 bytes at position 997 do not fit"):
        stream.write(b"abcd")
    assert stream.tell() == SIZE - 3
    assert stream.write(b"abc") == 3
    assert stream.write(b"") == 0
    with pytest.raises(io.UnsupportedOperation):
        stream.write(b"d")
    for beyond in (SIZE + 1, 2**31, LAST):
        stream.position = beyond
        for data in (b"", b"d"):
            with pytest.raises(io.UnsupportedOperation):
                stream.write(data)
        assert stream.tell() == beyond
    stream.seek(0)
    assert stream.read() == bytes(SIZE - 3) + b"abc"


def test_a_refused_write_is_an_os_error_and_a_value_error(stream: MemoryMappedViewStream) -> None:
    for kind in (OSError, ValueError):
        with pytest.raises(kind):
            stream.write(bytes(SIZE + 1))


def test_buffers_of_any_element_are_read_and_written(stream: MemoryMappedViewStream) -> None:
    numbers = array.array("i", range(10))
    assert stream.write(numbers) == 40
    assert stream.write(np.arange(3.0).reshape(3, 1)) == 24
    stream.seek(0)
    back = array.array("i", bytes(40))
    assert stream.readinto(back) == 40
    assert back == numbers
    floats = np.zeros((3, 1))
    assert stream.readinto(floats) == 24
    assert floats.ravel().tolist() == [0.0, 1.0, 2.0]
    stream.seek(SIZE - 2)
    assert stream.readinto(memoryview(bytearray(8))[3:]) == 2


@pytest.mark.parametrize("data", ["text", None, 5, [1], np.zeros(8)[::2], memoryview(bytes(8))[::2]], ids=plainly)
def test_what_is_no_contiguous_buffer_is_not_written(stream: MemoryMappedViewStream, data: Any) -> None:
    with pytest.raises((TypeError, BufferError, ValueError)):
        stream.write(data)
    with pytest.raises((TypeError, BufferError, ValueError)):
        stream.readinto(data)
    assert stream.tell() == 0


def test_nothing_is_read_into_what_cannot_be_written(stream: MemoryMappedViewStream) -> None:
    for target in (b"1234", memoryview(b"1234")):
        with pytest.raises(BufferError):
            stream.readinto(target)
    assert stream.tell() == 0


@pytest.mark.parametrize("method", ["read", "readline", "seek"])
@pytest.mark.parametrize("wrong", ["1", 1.0, b"1", [1]])
def test_sizes_and_offsets_are_integers(stream: MemoryMappedViewStream, method: str, wrong: Any) -> None:
    with pytest.raises(TypeError):
        getattr(stream, method)(wrong)
    with pytest.raises(TypeError):
        stream.seek(0, wrong)
    with pytest.raises(TypeError):
        stream.position = wrong
    assert stream.tell() == 0


def test_seeks_move_from_the_start_the_position_and_the_end(stream: MemoryMappedViewStream) -> None:
    assert stream.seek(10) == 10
    assert stream.seek(-3, os.SEEK_CUR) == 7
    assert stream.seek(-1, os.SEEK_END) == SIZE - 1
    assert stream.seek(5, os.SEEK_END) == SIZE + 5
    assert stream.seek(LAST) == LAST
    assert stream.seek(0, os.SEEK_CUR) == LAST
    assert stream.seek(-LAST, os.SEEK_CUR) == 0
    assert stream.seek(LAST - SIZE, os.SEEK_END) == LAST


@pytest.mark.parametrize(
    ("offset", "whence"),
    [(-1, 0), (-8, 1), (-SIZE - 1, 2), (LAST, 1), (LAST - SIZE + 1, 2), (2**63, 0), (2**64, 0), (2**64 - SIZE, 2),
     (-(2**63), 0), (-(2**63), 2), (-(2**64), 1), (2**70, 0)],
)  # fmt: skip
def test_a_seek_that_leads_nowhere_is_an_invalid_argument(
    stream: MemoryMappedViewStream, offset: int, whence: int
) -> None:
    stream.seek(7)
    with pytest.raises(OSError, match="seeking to") as caught:
        stream.seek(offset, whence)
    assert caught.value.errno == errno.EINVAL
    assert stream.tell() == 7


@pytest.mark.parametrize("whence", [3, -1, 2**63, -(2**64)])
def test_an_unknown_whence_is_a_value_error(stream: MemoryMappedViewStream, whence: int) -> None:
    with pytest.raises(ValueError, match="whence"):
        stream.seek(0, whence)


def test_the_position_is_set_anywhere_but_before_the_start(stream: MemoryMappedViewStream) -> None:
    for position in (0, 5, SIZE, SIZE + 1, LAST):
        stream.position = position
        assert stream.position == stream.tell() == position
    for wrong in (-1, -(2**63), -(2**70), 2**63, 2**64):
        with pytest.raises(OutOfRangeError, match="position"):
            stream.position = wrong
    assert stream.position == LAST
    stream.close()
    with pytest.raises(OutOfRangeError):
        stream.position = -1
    with pytest.raises(ClosedError):
        stream.position = 0


def test_the_length_is_fixed(map_: MemoryMappedFile) -> None:
    for access in (MemoryMappedFileAccess.READ_WRITE, READ):
        stream = map_.create_view_stream(0, 0, access)
        for _ in range(2):  # open, and closed
            for resize in (stream.truncate, stream.set_length):
                for length in (0, 5, SIZE, 2**70):
                    with pytest.raises(io.UnsupportedOperation, match="fixed length"):
                        resize(length)
                with pytest.raises(OutOfRangeError):
                    resize(-1)
            with pytest.raises(io.UnsupportedOperation):
                stream.truncate()
            stream.close()


def test_there_is_no_descriptor_and_nothing_to_detach(stream: MemoryMappedViewStream) -> None:
    for refused in (stream.fileno, stream.detach):
        with pytest.raises(io.UnsupportedOperation):
            refused()
    with pytest.raises(OSError, match="descriptor"):
        stream.fileno()


TEXT = b"one\n\ntwo\r\nthree\x00\n" + b"x" * 300 + b"\nlast without end"


@pytest.mark.parametrize("limit", [None, -1, 0, 1, 2, 3, 4, 100, 2**70])
def test_lines_are_those_of_bytesio(limit: int | None) -> None:
    model = io.BytesIO(TEXT)
    with bare(len(TEXT)) as stream:
        stream.write(TEXT)
        stream.seek(0)
        for _ in range(12):
            assert stream.readline(limit) == model.readline(-1 if limit is None or limit > 2**62 else limit)
            assert stream.tell() == model.tell()
        stream.seek(0)
        model.seek(0)
        assert list(stream) == list(model)
        for hint in (-1, 0, None, 1, 4, 5, 1000):
            stream.seek(1)
            model.seek(1)
            assert stream.readlines(hint) == model.readlines(hint)
            assert stream.tell() == model.tell()


def test_long_lines_are_found_whole() -> None:
    content = b"a" * (3 << 20) + b"\n" + b"b" * (1 << 20) + b"\n"
    with bare(len(content) + 5) as stream:
        stream.write(content)
        stream.seek(0)
        assert [len(line) for line in stream] == [(3 << 20) + 1, (1 << 20) + 1, 5]
        stream.seek(0)
        assert stream.readline((2 << 20) + 3) == b"a" * ((2 << 20) + 3)


def test_writelines_writes_each_and_adds_nothing(stream: MemoryMappedViewStream) -> None:
    stream.writelines([b"one", bytearray(b"\ntwo"), memoryview(b"\n")])
    assert stream.tell() == 8
    stream.seek(0)
    assert stream.readlines()[:2] == [b"one\n", b"two\n"]


def test_the_wrong_direction_is_unsupported(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream(0, 0, READ) as stream:
        for data in (b"x", b"", bytes(SIZE + 1)):
            with pytest.raises(io.UnsupportedOperation, match="writing"):
                stream.write(data)
        with pytest.raises(io.UnsupportedOperation):
            stream.writelines([b""])
    with map_.create_view_stream(0, 0, WRITE) as stream:
        for position in (0, SIZE + 5):
            stream.position = position
            for read in (stream.read, stream.readall, stream.readline, stream.readlines, lambda: next(stream)):
                with pytest.raises(io.UnsupportedOperation, match="reading"):
                    read()
            with pytest.raises(io.UnsupportedOperation):
                stream.readinto(bytearray(1))
            with pytest.raises(io.UnsupportedOperation):
                stream.read(0)


def test_every_use_after_close_is_refused(map_: MemoryMappedFile) -> None:
    stream = map_.create_view_stream()
    stream.close()
    stream.close()
    stream.dispose()
    for use in (
        stream.read, stream.readall, stream.readline, stream.readlines, stream.tell, stream.flush, stream.readable,
        stream.writable, stream.seekable, stream.isatty, stream.__enter__, stream.__iter__, stream.__next__,
        lambda: stream.read(0), lambda: stream.write(b""), lambda: stream.readinto(bytearray()),
        lambda: stream.seek(0), lambda: stream.seek(0, 9), lambda: stream.seek(-1), lambda: stream.position,
        lambda: stream.length, lambda: stream.writelines([b""]),
    ):  # fmt: skip
        with pytest.raises(ClosedError):
            use()
    assert stream.capacity == SIZE


def test_names_for_messages_of_others(tmp_path: Path, map_: MemoryMappedFile) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345")
    with MemoryMappedFile.create_from_file(path) as mapped, mapped.create_view_stream() as stream:
        assert stream.name == str(path)
        assert repr(stream) == f"<MemoryMappedViewStream of {path}, 5 bytes at 0>"
    with MemoryMappedFile.create_new("some name", 5) as named, named.create_view_stream() as stream:
        assert stream.name == "some name"
    with map_.create_view_stream() as stream:
        assert stream.name == ""


def test_streams_are_not_pickled_and_can_be_referenced_weakly(map_: MemoryMappedFile) -> None:
    stream = map_.create_view_stream()
    with pytest.raises(TypeError, match="pickle the map"):
        pickle.dumps(stream)
    reference = weakref.ref(stream)
    before = guard_status().mappings
    del stream
    assert reference() is None
    assert guard_status().mappings == before - 1


def test_flush_and_close_write_through_to_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10))
    with MemoryMappedFile.create_from_file(path) as map_:
        with map_.create_view_stream(2) as stream:
            stream.write(b"abc")
            stream.flush()
            assert path.read_bytes() == b"\0\0abc\0\0\0\0\0"
            stream.write(b"d")
        assert path.read_bytes() == b"\0\0abcd\0\0\0\0"


# ------------------------------------------------------------------------------------ a model: BytesIO that cannot grow


class Model:
    def __init__(self, size: int) -> None:
        self.content = bytearray(size)
        self.at = 0

    def read(self, size: int | None = -1) -> bytes:
        end = len(self.content) if size is None or size < 0 else self.at + size
        data = bytes(self.content[self.at : end])
        self.at += len(data)
        return data

    def readline(self, size: int | None = -1) -> bytes:
        rest = bytes(self.content[self.at :])
        line = rest[: rest.find(b"\n") + 1] if b"\n" in rest else rest
        return self.read(len(line) if size is None or size < 0 else min(len(line), size))

    def write(self, data: bytes) -> int | None:
        if self.at + len(data) > len(self.content):
            return None
        self.content[self.at : self.at + len(data)] = data
        self.at += len(data)
        return len(data)


positions = st.one_of(st.integers(-5, 60), st.sampled_from([2**31, 2**62, LAST, 2**63, -(2**63), 2**65]))


class StreamAgainstModel(RuleBasedStateMachine):
    @initialize(size=st.integers(1, 50), offset=st.integers(0, 3))
    def open(self, size: int, offset: int) -> None:
        with MemoryMappedFile.create_new(None, size + offset) as map_:
            self.stream = map_.create_view_stream(offset, size)
        self.model = Model(size)

    @rule(size=st.one_of(st.none(), st.integers(-3, 60), st.just(2**65)))
    def read(self, size: int | None) -> None:
        assert self.stream.read(size) == self.model.read(size)

    @rule(size=st.one_of(st.none(), st.integers(-3, 60)))
    def readline(self, size: int | None) -> None:
        assert self.stream.readline(size) == self.model.readline(size)

    @rule(size=st.integers(0, 60))
    def readinto(self, size: int) -> None:
        into = bytearray(b"#" * size)
        data = self.model.read(size)
        assert self.stream.readinto(into) == len(data)
        assert into == data + b"#" * (size - len(data))

    @rule(data=st.one_of(st.binary(max_size=12), st.text("ab\n", max_size=12).map(str.encode), st.binary(max_size=60)))
    def write(self, data: bytes) -> None:
        expected = self.model.write(data)
        if expected is None:
            with pytest.raises(io.UnsupportedOperation):
                self.stream.write(data)
        else:
            assert self.stream.write(data) == expected

    @rule(offset=positions, whence=st.sampled_from([0, 1, 2]))
    def seek(self, offset: int, whence: int) -> None:
        target = offset + (0, self.model.at, len(self.model.content))[whence]
        if 0 <= target <= LAST and offset <= LAST:
            assert self.stream.seek(offset, whence) == target
            self.model.at = target
        else:
            with pytest.raises(OSError, match="seeking"):
                self.stream.seek(offset, whence)

    @rule(position=positions)
    def set_position(self, position: int) -> None:
        if 0 <= position <= LAST:
            self.stream.position = position
            self.model.at = position
        else:
            with pytest.raises(OutOfRangeError):
                self.stream.position = position

    @invariant()
    def agree(self) -> None:
        if hasattr(self, "stream"):
            assert self.stream.tell() == self.model.at
            self.stream.position = 0
            assert self.stream.read() == self.model.content
            self.stream.position = self.model.at

    def teardown(self) -> None:
        if hasattr(self, "stream"):
            self.stream.close()


TestStreamAgainstModel = StreamAgainstModel.TestCase
TestStreamAgainstModel.settings = settings(max_examples=60, stateful_step_count=25, deadline=None, database=None)


# -------------------------------------------------------------------------------- used by the code of others, unchanged


def test_a_buffered_writer_and_reader(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream() as raw:
        writer = io.BufferedWriter(raw, 16)
        for i in range(40):
            writer.write(struct.pack("<i", i))
        writer.flush()
        assert raw.tell() == writer.tell() == 160
        raw.seek(0)
        reader = io.BufferedReader(raw, 16)
        assert [struct.unpack("<i", reader.read(4))[0] for _ in range(40)] == list(range(40))
        assert reader.peek(1)[:1] == b"\0"
        assert len(reader.read()) == SIZE - 160
        assert (reader.read(), reader.read1(), reader.readinto(bytearray(3))) == (b"", b"", 0)
        writer.detach()
        reader.detach()


def test_a_buffered_random(map_: MemoryMappedFile) -> None:
    with io.BufferedRandom(map_.create_view_stream(), 32) as both:
        both.write(b"hello world")
        both.seek(0)
        assert both.read(5) == b"hello"
        both.write(b"-W")
        both.seek(-3, os.SEEK_CUR)
        assert both.read(6) == b"o-Worl"
        both.seek(-4, os.SEEK_END)
        both.write(b"tail")
        both.seek(0)
        content = both.read()
    assert (content[:11], content[-4:]) == (b"hello-World", b"tail")


@pytest.mark.parametrize(
    "wrap",
    [io.BufferedReader, io.BufferedWriter, io.BufferedRandom, lambda raw: io.TextIOWrapper(io.BufferedRandom(raw))],
    ids=["BufferedReader", "BufferedWriter", "BufferedRandom", "TextIOWrapper"],
)
def test_closing_a_wrapper_closes_the_view(map_: MemoryMappedFile, wrap: Callable[[Any], Any]) -> None:
    before = guard_status().mappings
    stream = map_.create_view_stream()
    wrapper = wrap(stream)
    assert not wrapper.closed
    wrapper.close()
    assert stream.closed
    assert wrapper.closed
    assert guard_status().mappings == before
    stream = map_.create_view_stream()
    with wrap(stream):
        pass
    assert stream.closed
    # Dropping the wrapper closes it too, as with every raw stream.
    stream = map_.create_view_stream()
    wrap(stream)
    assert stream.closed


def test_a_view_closed_below_its_wrapper(map_: MemoryMappedFile) -> None:
    stream = map_.create_view_stream()
    reader = io.BufferedReader(stream)
    assert reader.read(1) == b"\0"
    stream.close()
    assert reader.closed
    with pytest.raises(ValueError, match="closed"):
        reader.seek(0)
    with pytest.raises(ValueError, match="closed"):
        reader.read()


@pytest.mark.parametrize(
    ("wrap", "access"), [(io.BufferedReader, WRITE), (io.BufferedWriter, READ), (io.BufferedRandom, READ)]
)
def test_a_wrapper_of_the_wrong_direction_is_refused(
    map_: MemoryMappedFile, wrap: Callable[[Any], Any], access: MemoryMappedFileAccess
) -> None:
    with map_.create_view_stream(0, 0, access) as stream, pytest.raises(OSError, match=r"not (read|writ|seek)"):
        wrap(stream)


def test_a_buffered_writer_that_overflows_says_so_and_the_view_is_closed(map_: MemoryMappedFile) -> None:
    stream = map_.create_view_stream(0, 10)
    writer = io.BufferedWriter(stream)
    writer.write(b"x" * 11)
    with pytest.raises(io.UnsupportedOperation, match="11 bytes at position 0 do not fit"):
        writer.flush()
    with pytest.raises(io.UnsupportedOperation):
        writer.close()
    assert stream.closed
    with map_.create_view_stream() as check:
        assert check.read() == bytes(SIZE)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_text(map_: MemoryMappedFile, encoding: str) -> None:
    lines = ["Grüße, ", "zweite Zeile\n", "third\n", "\n"]
    with io.TextIOWrapper(io.BufferedRandom(map_.create_view_stream()), encoding, newline="\n") as text:
        text.writelines(lines)
        text.flush()
        end = text.tell()
        text.seek(0)
        assert text.readline() == "Grüße, zweite Zeile\n"
        middle = text.tell()
        assert text.read(5) == "third"
        text.seek(middle)
        assert text.readline() == "third\n"
        assert text.name == ""
    with map_.create_view_stream() as stream:
        assert stream.read(end) == "".join(lines).encode(encoding)


def test_text_directly_on_a_read_only_view(map_: MemoryMappedFile) -> None:
    with map_.create_view_stream() as stream:
        stream.write(b"a,b\n1,2\n")
    with io.TextIOWrapper(map_.create_view_stream(0, 8, READ)) as text:  # type: ignore[arg-type]
        assert list(text) == ["a,b\n", "1,2\n"]


def test_struct(stream: MemoryMappedViewStream) -> None:
    stream.write(struct.pack("<iq", 1, 2))
    stream.seek(0)
    into = bytearray(16)
    stream.readinto(into)
    assert struct.unpack_from("<iq", into) == (1, 2)


VALUE = {"numbers": list(range(50)), "text": "Grüße\n", "nested": {"none": None, "float": 1.5}}


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("wrap", [lambda raw: raw, io.BufferedRandom], ids=["raw", "buffered"])
def test_pickle(protocol: int, wrap: Callable[[Any], Any]) -> None:
    with wrap(bare(20_000)) as stream:
        pickle.dump(VALUE, stream, protocol)
        pickle.dump([bytearray(b"z" * 9000)], stream, protocol)
        stream.seek(0)
        assert pickle.load(stream) == VALUE
        assert pickle.load(stream) == [bytearray(b"z" * 9000)]


def test_pickle_of_numpy_out_of_band(stream: MemoryMappedViewStream) -> None:
    numbers = np.arange(20)
    pickle.dump(numbers, stream, 5)
    stream.seek(0)
    assert np.array_equal(pickle.load(stream), numbers)


def test_json(map_: MemoryMappedFile) -> None:
    with io.TextIOWrapper(io.BufferedWriter(map_.create_view_stream()), "utf-8") as text:
        json.dump(VALUE, text)
        text.flush()
        length = text.tell()
    with map_.create_view_stream(0, length, READ) as stream:
        assert json.load(stream) == VALUE


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_zipfile(compression: int) -> None:
    names = [f"folder/{i}.txt" for i in range(20)]
    with bare(40_000) as stream:
        with zipfile.ZipFile(stream, "w", compression) as archive:
            for name in names:
                archive.writestr(name, name * 50)
        assert not stream.closed
        # Behind the archive the view goes on with zeros.
        with zipfile.ZipFile(stream) as archive:
            assert archive.namelist() == names
            assert archive.testzip() is None
            with archive.open(names[7]) as member:
                assert member.read() == (names[7] * 50).encode()
                member.seek(3)
                assert member.read(4) == names[7][3:7].encode()
        assert zipfile.is_zipfile(stream)


@pytest.mark.parametrize("mode", ["", "gz", "bz2", "xz"])
def test_tarfile(mode: str, tmp_path: Path) -> None:
    (tmp_path / "member").write_bytes(b"content" * 1000)
    with bare(60_000) as stream:
        with tarfile.open(fileobj=stream, mode=f"w:{mode}") as archive:  # type: ignore[call-overload]
            archive.add(tmp_path / "member", "member")
        assert not stream.closed
        length = stream.tell()
        stream.seek(0)
        # gzip passes over zeros behind its end; the other two do not know where it is.
        source = stream if mode in ("", "gz") else io.BytesIO(stream.read(length))
        with tarfile.open(fileobj=source) as archive:
            member = archive.extractfile("member")
            assert member is not None
            assert member.read() == b"content" * 1000


def test_gzip(map_: MemoryMappedFile) -> None:
    content = b"some line\n" * 500
    with map_.create_view_stream() as stream:
        with gzip.GzipFile(fileobj=stream, mode="wb", mtime=0) as packed:
            packed.write(content)
        assert not stream.closed
        stream.seek(0)
        with gzip.GzipFile(fileobj=stream) as packed:
            assert packed.readline() == b"some line\n"
            packed.seek(0)
            assert packed.read() == content


def test_csv(map_: MemoryMappedFile) -> None:
    rows = [["name", "quote"], ["a, b", 'say "hi"'], ["multi\nline", ""]]
    with io.TextIOWrapper(io.BufferedWriter(map_.create_view_stream()), newline="") as text:
        csv.writer(text).writerows(rows)
        text.flush()
        length = text.tell()
    with io.TextIOWrapper(io.BufferedReader(map_.create_view_stream(0, length)), newline="") as text:
        assert list(csv.reader(text)) == rows


@pytest.mark.parametrize("wrap", [lambda raw: raw, io.BufferedRandom], ids=["raw", "buffered"])
def test_numpy_save_and_load(wrap: Callable[[Any], Any]) -> None:
    numbers = np.arange(1000.0).reshape(10, 100)
    record = np.zeros(3, [("a", "<i4"), ("b", "S3")])
    with wrap(bare(100_000)) as stream:
        np.save(stream, numbers)
        np.save(stream, record)
        np.save(stream, numbers.T)
        stream.seek(0)
        assert np.array_equal(np.load(stream), numbers)
        assert np.array_equal(np.load(stream), record)
        assert np.array_equal(np.load(stream), numbers.T)


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_numpy_savez(save: Callable[..., None]) -> None:
    numbers = np.arange(1000.0)
    with MemoryMappedFile.create_new(None, 100_000) as map_:
        with map_.create_view_stream() as stream:
            save(stream, first=numbers, second=numbers[:3])
            length = stream.tell()
        # The directory of a zip file is looked for in its last 64 KiB.
        with map_.create_view_stream(0, length, READ) as stream, np.load(stream) as archive:
            assert np.array_equal(archive["first"], numbers)
            assert archive["second"].tolist() == [0.0, 1.0, 2.0]


def test_numpy_text(stream: MemoryMappedViewStream) -> None:
    np.savetxt(stream, np.arange(6).reshape(2, 3), fmt="%d")
    stream.seek(0)
    assert np.loadtxt(itertools.islice(stream, 2), dtype=int).tolist() == [[0, 1, 2], [3, 4, 5]]


def test_pandas_csv() -> None:
    frame = pd.DataFrame({"a": range(100), "b": [f"text {i}" for i in range(100)], "c": np.linspace(0, 1, 100)})
    with MemoryMappedFile.create_new(None, 20_000) as map_:
        with map_.create_view_stream() as stream:
            frame.to_csv(stream, index=False)
            assert not stream.closed
            length = stream.tell()
        for wrap in (lambda raw: raw, io.BufferedReader):
            with wrap(map_.create_view_stream(0, length, READ)) as stream:
                pd.testing.assert_frame_equal(pd.read_csv(stream), frame)
        with map_.create_view_stream(0, length, READ) as stream:
            assert sum(len(part) for part in pd.read_csv(stream, chunksize=7)) == 100


def test_shutil_copyfileobj(tmp_path: Path) -> None:
    content = os.urandom(300_000)
    (tmp_path / "source").write_bytes(content)
    with bare(len(content)) as stream:
        with (tmp_path / "source").open("rb") as source:
            shutil.copyfileobj(source, stream)
        assert stream.tell() == len(content)
        stream.seek(0)
        with (tmp_path / "target").open("wb") as target:
            shutil.copyfileobj(stream, target)
        assert (tmp_path / "target").read_bytes() == content
        with (tmp_path / "source").open("rb") as source, pytest.raises(io.UnsupportedOperation):
            shutil.copyfileobj(source, stream)

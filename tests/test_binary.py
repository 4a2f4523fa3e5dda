# SPDX-License-Identifier: MIT
"""BinaryWriter and BinaryReader: .NET's bytes, their edges, damaged input, and the streams they work on."""

from __future__ import annotations

import array
import errno
import io
import math
import struct
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from memorymapped import (
    BinaryReader,
    BinaryWriter,
    ClosedError,
    MemoryMappedFile,
    OutOfRangeError,
    ValueOutOfRangeError,
)

bounded = settings(max_examples=200, deadline=None, database=None)


def written(write: Callable[[BinaryWriter], Any], encoding: str = "utf-8") -> bytes:
    stream = io.BytesIO()
    write(BinaryWriter(stream, encoding))
    return stream.getvalue()


def reader(raw: bytes, encoding: str = "utf-8") -> BinaryReader:
    return BinaryReader(io.BytesIO(raw), encoding)


# --------------------------------------------------------------------------------------------------------- .NET's bytes

# As .NET's BinaryWriter writes them: method, value, bytes.
VECTORS: list[tuple[str, Any, str]] = [
    ("boolean", True, "01"), ("boolean", False, "00"),
    ("byte", 0, "00"), ("byte", 255, "ff"), ("sbyte", -128, "80"), ("sbyte", 127, "7f"), ("sbyte", -1, "ff"),
    ("int16", -(2**15), "0080"), ("int16", 2**15 - 1, "ff7f"), ("uint16", 2**16 - 1, "ffff"), ("uint16", 1, "0100"),
    ("int32", 1, "01000000"), ("int32", -(2**31), "00000080"), ("int32", 2**31 - 1, "ffffff7f"),
    ("uint32", 0x12345678, "78563412"), ("uint32", 2**32 - 1, "ffffffff"),
    ("int64", -2, "feffffffffffffff"), ("int64", -(2**63), "0000000000000080"),
    ("int64", 2**63 - 1, "ffffffffffffff7f"),
    ("uint64", 2**64 - 1, "ffffffffffffffff"), ("uint64", 1, "0100000000000000"),
    ("single", 1.5, "0000c03f"), ("single", -0.0, "00000080"), ("single", math.inf, "0000807f"),
    ("double", 1.5, "000000000000f83f"), ("double", -math.inf, "000000000000f0ff"), ("double", 0.1, "9a9999999999b93f"),
    ("decimal", Decimal("1.10"), "6e000000000000000000000000000200"),
    ("decimal", Decimal("-1.10"), "6e000000000000000000000000000280"),
    ("decimal", Decimal(2**96 - 1), "ffffffffffffffffffffffff00000000"),
    ("char", "a", "61"), ("char", "\u20ac", "e282ac"), ("char", "\0", "00"),
    ("string", "", "00"), ("string", "abc", "03616263"), ("string", "\u20ac", "03e282ac"),
    ("string", "\U0001f600", "04f09f9880"), ("string", "a\0b", "03610062"),
    ("7bit_encoded_int", 0, "00"), ("7bit_encoded_int", 127, "7f"), ("7bit_encoded_int", 128, "8001"),
    ("7bit_encoded_int", 16383, "ff7f"), ("7bit_encoded_int", 16384, "808001"), ("7bit_encoded_int", 2**21, "80808001"),
    ("7bit_encoded_int", 2**28 - 1, "ffffff7f"), ("7bit_encoded_int", 2**28, "8080808001"),
    ("7bit_encoded_int", 2**31 - 1, "ffffffff07"), ("7bit_encoded_int", -1, "ffffffff0f"),
    ("7bit_encoded_int", -(2**31), "8080808008"),
    ("7bit_encoded_int64", 0, "00"), ("7bit_encoded_int64", 128, "8001"), ("7bit_encoded_int64", 2**35, "808080808001"),
    ("7bit_encoded_int64", 2**63 - 1, "ffffffffffffffff7f"), ("7bit_encoded_int64", -1, "ffffffffffffffffff01"),
    ("7bit_encoded_int64", -(2**63), "80808080808080808001"),
]  # fmt: skip
by_vector = pytest.mark.parametrize(("method", "value", "raw"), VECTORS, ids=[f"{m} {v!r}" for m, v, _ in VECTORS])


@by_vector
def test_each_value_has_dotnets_bytes_and_is_read_back(method: str, value: Any, raw: str) -> None:
    assert written(lambda writer: getattr(writer, f"write_{method}")(value)).hex() == raw
    got = getattr(reader(bytes.fromhex(raw) + b"rest"), f"read_{method}")()
    assert got == value
    assert type(got) is type(value)
    assert math.copysign(1, got) == math.copysign(1, value) if isinstance(value, float) else True


@by_vector
def test_a_value_that_is_cut_short_is_an_eof_error(method: str, value: Any, raw: str) -> None:
    for length in range(len(raw) // 2):
        part = reader(bytes.fromhex(raw)[:length])
        with pytest.raises(EOFError):
            getattr(part, f"read_{method}")()


def test_a_long_string_has_a_length_of_two_bytes() -> None:
    text = "x" * 200
    raw = written(lambda writer: writer.write_string(text))
    assert raw == b"\xc8\x01" + b"x" * 200
    assert reader(raw).read_string() == text


@pytest.mark.parametrize(
    ("encoding", "raw"),
    [
        ("utf-8", "03e282ac"), ("utf-16", "02ac20"), ("utf-16-le", "02ac20"), ("utf-16-be", "0220ac"),
        ("utf-32", "04ac200000"), ("utf-8-sig", "03e282ac"), ("UTF8", "03e282ac"), ("cp1252", "0180"),
    ],
)  # fmt: skip
def test_text_is_encoded_without_a_mark_of_its_order(encoding: str, raw: str) -> None:
    assert written(lambda writer: writer.write_string("\u20ac"), encoding).hex() == raw
    assert written(lambda writer: writer.write_char("\u20ac"), encoding).hex() == raw[2:]
    assert reader(bytes.fromhex(raw), encoding).read_string() == "\u20ac"
    assert reader(bytes.fromhex(raw)[1:], encoding).read_char() == "\u20ac"
    chars = reader(bytes.fromhex(raw)[1:] * 3, encoding)
    assert (chars.read_chars(2), chars.read_chars(0), chars.read_chars(5), chars.read_chars(5)) == ("€€", "", "€", "")
    with pytest.raises(EOFError):
        chars.read_char()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-32"])
def test_characters_of_two_units_are_one(encoding: str) -> None:
    raw = written(lambda writer: (writer.write_char("\U0001f600"), writer.write_chars("ab")), encoding)
    assert reader(raw, encoding).read_chars(2) == "\U0001f600a"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "latin-1"])
def test_a_character_is_looked_at_and_stays(encoding: str) -> None:
    characters = reader("aé".encode(encoding).removeprefix(b"\xff\xfe"), encoding)
    assert isinstance(characters.base_stream, io.BytesIO)
    assert (characters.peek_char(), characters.peek_char(), characters.read_char()) == ("a", "a", "a")
    assert (characters.peek_char(), characters.read_char()) == ("é", "é")
    assert characters.peek_char() == ""
    with pytest.raises(EOFError):
        characters.read_char()


def test_latin_1() -> None:
    assert written(lambda writer: writer.write_string("é"), "latin-1") == b"\x01\xe9"
    assert reader(b"\x01\xe9", "latin-1").read_string() == "é"
    with pytest.raises(UnicodeEncodeError):
        written(lambda writer: writer.write_string("\u20ac"), "latin-1")


def test_an_unknown_encoding_is_refused_at_once() -> None:
    for make in (BinaryReader, BinaryWriter):
        with pytest.raises(LookupError):
            make(io.BytesIO(), "no such encoding")


def test_write_takes_dotnets_overload_for_the_type() -> None:
    for value, raw in (
        (True, "01"),
        (5, "05000000"),
        (1.5, "000000000000f83f"),
        ("ab", "026162"),
        (b"ab", "6162"),
        (bytearray(b"ab"), "6162"),
        (memoryview(b"ab"), "6162"),
        (Decimal("0.1"), "01000000000000000000000000000100"),
    ):
        assert written(lambda writer, value=value: writer.write(value)).hex() == raw
    for wrong in (None, [1], 1j, object()):
        with pytest.raises(TypeError):
            written(lambda writer, wrong=wrong: writer.write(wrong))


def test_bytes_of_any_buffer_are_written_as_they_are() -> None:
    for data, raw in ((array.array("H", [1, 2]), "01000200"), (memoryview(array.array("i")), ""), (b"", "")):
        assert written(lambda writer, data=data: writer.write_bytes(data)).hex() == raw
    with pytest.raises((TypeError, BufferError)):
        written(lambda writer: writer.write_bytes(memoryview(b"abcd")[::2]))


@bounded
@given(
    values=st.lists(
        st.one_of(
            st.tuples(st.just("boolean"), st.booleans()),
            st.tuples(st.just("int32"), st.integers(-(2**31), 2**31 - 1)),
            st.tuples(st.just("uint64"), st.integers(0, 2**64 - 1)),
            st.tuples(st.just("double"), st.floats(allow_nan=False)),
            st.tuples(st.just("single"), st.floats(allow_nan=False, width=32)),
            st.tuples(st.just("string"), st.text(st.characters(exclude_categories=["Cs"]))),
            st.tuples(st.just("char"), st.characters(exclude_categories=["Cs"])),
            st.tuples(st.just("7bit_encoded_int"), st.integers(-(2**31), 2**31 - 1)),
            st.tuples(st.just("7bit_encoded_int64"), st.integers(-(2**63), 2**63 - 1)),
            st.tuples(st.just("decimal"), st.decimals(-(10**20), 10**20, places=5)),
        )
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32"]),
)
def test_any_series_of_values_comes_back(values: list[tuple[str, Any]], encoding: str) -> None:
    stream = io.BytesIO()
    writer = BinaryWriter(stream, encoding)
    for method, value in values:
        getattr(writer, f"write_{method}")(value)
    stream.seek(0)
    back = BinaryReader(stream, encoding)
    for method, value in values:
        got = getattr(back, f"read_{method}")()
        assert repr(got) == repr(value)
    assert stream.read() == b""


# --------------------------------------------------------------------------------------------------------- wrong values

LIMITS = {
    "byte": (0, 2**8 - 1), "sbyte": (-(2**7), 2**7 - 1), "int16": (-(2**15), 2**15 - 1), "uint16": (0, 2**16 - 1),
    "int32": (-(2**31), 2**31 - 1), "uint32": (0, 2**32 - 1), "int64": (-(2**63), 2**63 - 1), "uint64": (0, 2**64 - 1),
    "7bit_encoded_int": (-(2**31), 2**31 - 1), "7bit_encoded_int64": (-(2**63), 2**63 - 1),
}  # fmt: skip


@pytest.mark.parametrize(("method", "limits"), LIMITS.items(), ids=LIMITS)
def test_an_integer_that_does_not_fit_is_refused_and_nothing_is_written(method: str, limits: tuple[int, int]) -> None:
    low, high = limits
    stream = io.BytesIO()
    write = getattr(BinaryWriter(stream), f"write_{method}")
    for value in (low - 1, high + 1, -(2**200), 2**200, 10**5000):
        with pytest.raises(ValueOutOfRangeError, match="does not fit in"):
            write(value)
    for value in (1.0, "1", None, b"1", Decimal(1)):
        with pytest.raises(TypeError):
            write(value)
    assert stream.getvalue() == b""
    write(np.int64(1))
    assert stream.getvalue()[0] == 1
    with pytest.raises(ValueOutOfRangeError):
        written(lambda writer: writer.write_byte(np.int64(300)))


@pytest.mark.parametrize(
    ("method", "values"), [("single", (1e300, -3.5e38, 10**39, 10**400)), ("double", (10**400, -(10**5000)))]
)
def test_a_float_that_does_not_fit_is_refused(method: str, values: tuple[float, ...]) -> None:
    for value in values:
        with pytest.raises(ValueOutOfRangeError, match="does not fit in"):
            written(lambda writer, value=value: getattr(writer, f"write_{method}")(value))
    for wrong in ("1", None, b"1", [1.0]):
        with pytest.raises(TypeError):
            written(lambda writer, wrong=wrong: getattr(writer, f"write_{method}")(wrong))
    assert written(lambda writer: getattr(writer, f"write_{method}")(np.float32(1.5)))[-2:] in (
        b"\xc0\x3f",
        b"\xf8\x3f",
    )


@pytest.mark.parametrize("value", ["", "ab", "\ud800"])
def test_a_char_is_one_character_and_no_surrogate(value: str) -> None:
    with pytest.raises(ValueError, match=r"char|surrogate"):
        written(lambda writer: writer.write_char(value))


def test_text_is_a_str() -> None:
    for method in ("string", "chars", "char"):
        for wrong in (b"a", 5, None):
            with pytest.raises(TypeError, match="str"):
                written(lambda writer, wrong=wrong, method=method: getattr(writer, f"write_{method}")(wrong))


@pytest.mark.parametrize("count", [-1, -(2**63), -(10**5000)], ids=["-1", "-2**63", "-10**5000"])
def test_a_negative_count_is_out_of_range(count: int) -> None:
    with pytest.raises(OutOfRangeError):
        reader(b"abc").read_bytes(count)
    with pytest.raises(OutOfRangeError):
        reader(b"abc").read_chars(count)


# -------------------------------------------------------------------------------------------------------- damaged input


@pytest.mark.parametrize(
    ("method", "raw"),
    [
        ("7bit_encoded_int", "ffffffff10"), ("7bit_encoded_int", "ffffffff7f"), ("7bit_encoded_int", "8080808080"),
        ("7bit_encoded_int", "808080808000"), ("7bit_encoded_int64", "ffffffffffffffffff02"),
        ("7bit_encoded_int64", "80808080808080808080"), ("7bit_encoded_int64", "8080808080808080808000"),
        ("string", "ffffffff0f"), ("string", "8080808008"), ("string", "ffffffffff"), ("string", "01ff"),
        ("string", "02c328"),
        ("decimal", "0000000000000000000000000000001d"), ("decimal", "00000000000000000000000001000000"),
        ("char", "ff"), ("char", "c328"),
    ],
)  # fmt: skip
def test_damaged_values_are_a_value_error(method: str, raw: str) -> None:
    with pytest.raises(ValueError, match=r".") as caught:
        getattr(reader(bytes.fromhex(raw)), f"read_{method}")()
    assert not isinstance(caught.value, EOFError)


def test_numbers_of_seven_bits_need_not_be_the_shortest() -> None:
    assert reader(b"\x80\x00").read_7bit_encoded_int() == 0
    assert reader(b"\xff\x80\x80\x80\x00").read_7bit_encoded_int() == 127
    assert reader(b"\x80" * 9 + b"\x01").read_7bit_encoded_int64() == -(2**63)


READS = [f"read_{method}" for method in dict.fromkeys(row[0] for row in VECTORS)]


@bounded
@given(
    raw=st.binary(max_size=60),
    reads=st.lists(st.sampled_from(READS), min_size=1, max_size=10),
    encoding=st.sampled_from(["utf-8", "utf-16", "utf-32", "latin-1", "utf-7", "shift_jis", "utf-16-be"]),
)
@example(b"\xff\xff\xff\xff\x07" + b"a" * 50, ["read_string"], "utf-8")
@example(b"\xff\xff\xff\xff\x07" + b"+" * 50, ["read_string", "read_char"], "utf-7")
def test_whatever_is_read_gives_a_value_an_eof_error_or_a_value_error(
    raw: bytes, reads: list[str], encoding: str
) -> None:
    stream = io.BytesIO(raw)
    back = BinaryReader(stream, encoding)
    for read in reads:
        before = stream.tell()
        try:
            getattr(back, read)()
        except (EOFError, ValueError):
            pass
        else:
            assert before < stream.tell() <= len(raw)


def test_a_damaged_length_allocates_nothing(run: Callable[..., subprocess.Popen[str]]) -> None:
    child = run(
        """
import io, resource, memorymapped
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
calls = [("read_string", ()), ("read_bytes", (2**31 - 1,)), ("read_bytes", (2**62,)), ("read_chars", (2**62,))]
for method, count in calls:
    reader = memorymapped.BinaryReader(io.BytesIO(b"\\xff\\xff\\xff\\xff\\x07abc"))
    if method == "read_chars":
        reader.stream.seek(5)
    try:
        print(len(getattr(reader, method)(*count)))
    except EOFError as error:
        print(error)
"""
    )
    assert child.communicate(timeout=50)[0] == "the stream ended after 3 of 2147483647 bytes\n8\n8\n3\n"


# -------------------------------------------------------------------------------------------------------------- streams


class Slow(io.RawIOBase):
    """A raw stream that gives and takes a few bytes at a time."""

    def __init__(self, content: bytes = b"", step: int = 3) -> None:
        self.content = bytearray(content)
        self.at = 0
        self.step = step

    def readable(self) -> bool:
        return True

    def writable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        piece = self.content[self.at : self.at + min(self.step, len(buffer))]
        buffer[: len(piece)] = piece
        self.at += len(piece)
        return len(piece)

    def write(self, data: Any) -> int:
        self.content += bytes(data)[: self.step]
        return min(self.step, len(data))


def test_a_stream_that_writes_and_reads_less_than_asked_for() -> None:
    slow = Slow()
    writer = BinaryWriter(slow)
    writer.write_string("some longer text")
    writer.write_double(1.5)
    back = BinaryReader(Slow(bytes(slow.content)))
    assert (back.read_string(), back.read_double()) == ("some longer text", 1.5)


class Full(Slow):
    """Takes a few bytes, and then none: as a descriptor that does not block."""

    def __init__(self, answer: int | None) -> None:
        super().__init__()
        self.answer = answer

    def write(self, data: Any) -> int:
        return super().write(data) if len(self.content) < 6 else self.answer  # type: ignore[return-value]


@pytest.mark.parametrize("answer", [None, 0])
def test_a_stream_that_takes_nothing_is_an_error_and_no_endless_loop(answer: int | None) -> None:
    with pytest.raises(BlockingIOError) as caught:
        BinaryWriter(Full(answer)).write_bytes(b"0123456789")
    assert caught.value.errno == errno.EAGAIN


def test_an_object_whose_write_returns_nothing_has_written_all() -> None:
    class Sink:
        closed = False
        content = b""

        def write(self, data: bytes) -> None:
            self.content += bytes(data)

    sink = Sink()
    BinaryWriter(sink).write_string("abc")
    assert sink.content == b"\x03abc"


def test_a_view_stream_and_a_buffered_one_and_a_file(tmp_path: Path) -> None:
    def write(stream: Any) -> None:
        writer = BinaryWriter(stream)
        writer.write_int32(-5)
        writer.write_string("Grüße")
        writer.write(Decimal("1.10"))
        writer.flush()

    def check(stream: Any) -> None:
        back = BinaryReader(stream)
        assert (back.read_int32(), back.read_string(), str(back.read_decimal())) == (-5, "Grüße", "1.10")

    expected = io.BytesIO()
    write(expected)
    with MemoryMappedFile.create_new(None, 100) as map_:
        with map_.create_view_stream() as stream:
            write(stream)
            stream.seek(0)
            check(stream)
        with io.BufferedRandom(map_.create_view_stream(40)) as buffered:
            write(buffered)
            buffered.seek(0)
            check(buffered)
        with map_.create_view_accessor() as view:
            length = len(expected.getvalue())
            assert view[:length] == view[40 : 40 + length] == expected.getvalue()
    with (tmp_path / "file").open("w+b") as file:
        write(file)
        file.seek(0)
        check(file)
    assert (tmp_path / "file").read_bytes() == expected.getvalue()


def test_a_value_without_room_in_the_view_is_unsupported() -> None:
    with MemoryMappedFile.create_new(None, 10) as map_, map_.create_view_stream() as stream:
        writer = BinaryWriter(stream)
        writer.write_double(1.5)
        with pytest.raises(io.UnsupportedOperation):
            writer.write_int32(5)
        assert stream.tell() == 8
        writer.write_int16(5)
        assert BinaryReader(stream).read_bytes(5) == b""
        with pytest.raises(EOFError):
            BinaryReader(stream).read_boolean()


def test_seeks_move_the_stream() -> None:
    with MemoryMappedFile.create_new(None, 20) as map_, map_.create_view_stream() as stream:
        writer = BinaryWriter(stream)
        assert writer.seek(4) == 4
        writer.write_int32(7)
        assert writer.seek(-2, 2) == 18
        writer.write_int16(9)
        stream.seek(4)
        assert BinaryReader(stream).read_int32() == 7


@pytest.mark.parametrize("make", [BinaryReader, BinaryWriter])
def test_close_closes_the_stream_unless_it_is_left_open(make: Any) -> None:
    with MemoryMappedFile.create_new(None, 10) as map_:
        stream = map_.create_view_stream()
        with make(stream, leave_open=True) as user:
            assert user.stream is stream
        assert not stream.closed
        with make(stream) as user:
            pass
        assert stream.closed
        user.close()
        with pytest.raises(ClosedError):
            user.read_byte() if make is BinaryReader else user.write_byte(1)
        with map_.create_view_stream() as stream:
            stream.close()
            make(stream).close()


def test_close_flushes_a_buffered_stream_that_is_left_open() -> None:
    raw = io.BytesIO()
    buffered = io.BufferedWriter(raw)
    with BinaryWriter(buffered, leave_open=True) as writer:
        writer.write_int32(5)
    assert raw.getvalue() == b"\5\0\0\0"
    buffered.detach()


def test_the_stream_of_a_reader_is_not_flushed() -> None:
    class Reading(io.BytesIO):
        def flush(self) -> None:
            raise AssertionError("a reader does not flush")

        def close(self) -> None:
            pass

    BinaryReader(Reading(b"x")).close()


def test_numbers_do_not_depend_on_the_machine() -> None:
    assert sys.byteorder == "little" or written(lambda writer: writer.write_int32(1)) == struct.pack("<i", 1)

# SPDX-License-Identifier: MIT
"""BinaryWriter and BinaryReader: values one after the other on a stream, in the encoding of .NET's classes.

Numbers are little endian. A string is its encoded bytes behind their number, which is written seven bits at a time, low
bits first, the eighth bit saying that more follow. Text is UTF-8 unless another encoding is given; `char`s are encoded
with it too."""

from __future__ import annotations

import codecs
import errno
import io
import struct
from operator import index

from . import decimals
from ._typing import TYPE_CHECKING, Protocol
from .errors import OutOfRangeError, ValueOutOfRangeError, shown

if TYPE_CHECKING:
    from decimal import Decimal
    from typing import Any, Self

__all__ = ["BinaryReader", "BinaryWriter"]

PIECE = 1 << 16  # a damaged length must not make us allocate what it says


class WritableStream(Protocol):
    """What BinaryWriter needs of a stream."""

    def write(self, data: bytes, /) -> Any:
        """Writes all of `data`."""


class ReadableStream(Protocol):
    """What BinaryReader needs of a stream."""

    def read(self, size: int = -1, /) -> bytes | None:
        """At most `size` bytes; b"" at the end."""


class _OnStream:
    __slots__ = {"_encoding": "", "_leave_open": "", "stream": "What is read from, or written to."}

    def __init__(self, stream: Any, encoding: str = "utf-8", leave_open: bool = False) -> None:
        self.stream = stream
        self._encoding = codecs.lookup(encoding).name
        self._leave_open = leave_open

    @property
    def base_stream(self) -> Any:
        """The stream (.NET's BaseStream)."""
        return self.stream

    def close(self) -> None:
        """Flushes, and closes the stream unless it was to be left open."""
        if not self.stream.closed:
            if hasattr(self, "write"):
                self.stream.flush()
            if not self._leave_open:
                self.stream.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _plain_encoding(self) -> str:
        # Python's "utf-16" and "utf-32" write a byte-order mark each time; .NET's writer never does.
        return {"utf-16": "utf-16-le", "utf-32": "utf-32-le", "utf-8-sig": "utf-8"}.get(self._encoding, self._encoding)


class BinaryWriter(_OnStream):
    """Writes values to a binary stream: a view stream, an io.BufferedWriter on one, a file. `stream` is that stream;
    `close` closes it too, unless `leave_open`. Values that do not fit raise ValueOutOfRangeError."""

    __slots__ = ()

    def write(self, value: bool | int | float | str | bytes | bytearray | memoryview | Decimal) -> None:
        """Writes a value as .NET's overload for its type does: bool 1 byte, int as int32, float as double, str with its
        length, Decimal in 16 bytes, bytes as they are."""
        if isinstance(value, bool):
            self.write_boolean(value)
        elif isinstance(value, int):
            self.write_int32(value)
        elif isinstance(value, float):
            self.write_double(value)
        elif isinstance(value, str):
            self.write_string(value)
        elif isinstance(value, (bytes, bytearray, memoryview)):
            self.write_bytes(value)
        else:
            self.write_decimal(value)

    def _integer(self, format_: str, value: int, name: str) -> None:
        value = index(value)
        try:
            raw = struct.pack(format_, value)
        except struct.error as error:
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in {name}") from error
        self._bytes(raw)

    def _float(self, format_: str, value: float, name: str) -> None:
        try:
            raw = struct.pack(format_, value)
        except (struct.error, OverflowError) as error:
            if not hasattr(type(value), "__float__") and not hasattr(type(value), "__index__"):
                raise TypeError(f"{name} needs a number, not {type(value).__name__}") from error
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in {name}") from error
        self._bytes(raw)

    def _bytes(self, data: bytes | bytearray | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while len(rest):
            # A raw stream of somebody else's may write less than it was given; ours never does.
            written = self.stream.write(rest)
            if written is None and not isinstance(self.stream, io.RawIOBase):
                return  # many an object with a write method returns nothing
            if not written:
                raise BlockingIOError(errno.EAGAIN, f"the stream took none of {len(rest)} bytes", 0)
            rest = rest[written:]

    def write_boolean(self, value: bool) -> None:
        """1 byte: 1 or 0."""
        self._bytes(b"\x01" if value else b"\x00")

    def write_byte(self, value: int) -> None:
        """1 byte, 0 to 255."""
        self._integer("<B", value, "byte")

    def write_sbyte(self, value: int) -> None:
        """1 byte, -128 to 127."""
        self._integer("<b", value, "sbyte")

    def write_int16(self, value: int) -> None:
        """2 bytes."""
        self._integer("<h", value, "int16")

    def write_uint16(self, value: int) -> None:
        """2 bytes."""
        self._integer("<H", value, "uint16")

    def write_int32(self, value: int) -> None:
        """4 bytes."""
        self._integer("<i", value, "int32")

    def write_uint32(self, value: int) -> None:
        """4 bytes."""
        self._integer("<I", value, "uint32")

    def write_int64(self, value: int) -> None:
        """8 bytes."""
        self._integer("<q", value, "int64")

    def write_uint64(self, value: int) -> None:
        """8 bytes."""
        self._integer("<Q", value, "uint64")

    def write_single(self, value: float) -> None:
        """4 bytes; a NaN keeps its payload, as far as it fits, and its signalling bit."""
        if value != value:
            wide = int.from_bytes(struct.pack("<d", value), "little")
            payload = wide >> 29 & 0x7FFFFF or 0x400000
            self._bytes(((wide >> 32 & 0x80000000) | 0x7F800000 | payload).to_bytes(4, "little"))
        else:
            self._float("<f", value, "single")

    def write_double(self, value: float) -> None:
        """8 bytes."""
        self._float("<d", value, "double")

    def write_decimal(self, value: Decimal | int) -> None:
        """16 bytes: lo, mid, hi, flags."""
        self._bytes(decimals.encode(value))

    def write_char(self, value: str) -> None:
        """One character in the writer's encoding; ValueError for a surrogate, as in .NET."""
        if isinstance(value, str) and len(value) != 1:
            raise ValueError(f"a char is a str of one character, not {shown(value)}")
        self.write_chars(value)

    def write_chars(self, value: str) -> None:
        """Characters in the writer's encoding, without their number."""
        self._bytes(self._encoded(value))

    def write_string(self, value: str) -> None:
        """The number of encoded bytes in 7-bit form, then the bytes."""
        data = self._encoded(value)
        self.write_7bit_encoded_int(len(data))
        self._bytes(data)

    def write_bytes(self, value: bytes | bytearray | memoryview) -> None:
        """The bytes as they are, without their number."""
        self._bytes(value)

    def write_7bit_encoded_int(self, value: int) -> None:
        """A 32-bit integer in 1 to 5 bytes; a negative one takes 5, as its two's complement."""
        value = index(value)
        if not -(2**31) <= value < 2**31:
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in int32")
        self._seven_bits(value & 0xFFFFFFFF)

    def write_7bit_encoded_int64(self, value: int) -> None:
        """A 64-bit integer in 1 to 10 bytes."""
        value = index(value)
        if not -(2**63) <= value < 2**63:
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in int64")
        self._seven_bits(value & 0xFFFFFFFFFFFFFFFF)

    def _encoded(self, value: str) -> bytes:
        if not isinstance(value, str):
            raise TypeError(f"text is a str, not {type(value).__name__}")
        return value.encode(self._plain_encoding())

    def _seven_bits(self, value: int) -> None:
        out = bytearray()
        while value > 0x7F:
            out.append(value & 0x7F | 0x80)
            value >>= 7
        out.append(value)
        self._bytes(out)

    def flush(self) -> None:
        """Flushes the stream."""
        self.stream.flush()

    def seek(self, offset: int, whence: int = 0) -> int:
        """Moves the stream's position; returns the new one in bytes."""
        return int(self.stream.seek(offset, whence))


class BinaryReader(_OnStream):
    """Reads what BinaryWriter, or .NET's, wrote. EOFError if the stream ends in a value; `read_bytes` gives what there
    is. `stream` is the one it reads; `close` closes it too, unless `leave_open`."""

    __slots__ = ()

    def _exactly(self, size: int) -> bytes:
        data = self.read_bytes(size)
        if len(data) < size:
            raise EOFError(f"the stream ended after {len(data)} of {size} bytes")
        return data

    def _number(self, format_: str) -> Any:
        return struct.unpack(format_, self._exactly(struct.calcsize(format_)))[0]

    def read_boolean(self) -> bool:
        """1 byte: anything but 0 is True."""
        return self._exactly(1) != b"\x00"

    def read_byte(self) -> int:
        """1 byte, unsigned."""
        return int(self._number("<B"))

    def read_sbyte(self) -> int:
        """1 byte, signed."""
        return int(self._number("<b"))

    def read_int16(self) -> int:
        """2 bytes."""
        return int(self._number("<h"))

    def read_uint16(self) -> int:
        """2 bytes."""
        return int(self._number("<H"))

    def read_int32(self) -> int:
        """4 bytes."""
        return int(self._number("<i"))

    def read_uint32(self) -> int:
        """4 bytes."""
        return int(self._number("<I"))

    def read_int64(self) -> int:
        """8 bytes."""
        return int(self._number("<q"))

    def read_uint64(self) -> int:
        """8 bytes."""
        return int(self._number("<Q"))

    def read_single(self) -> float:
        """4 bytes; a NaN keeps its payload and its signalling bit, which struct would set."""
        bits = int(self._number("<I"))
        if bits & 0x7F800000 == 0x7F800000 and bits & 0x7FFFFF:
            wide = (bits & 0x80000000) << 32 | 0x7FF0000000000000 | (bits & 0x7FFFFF) << 29
            return float(struct.unpack("<d", wide.to_bytes(8, "little"))[0])
        return float(struct.unpack("<f", bits.to_bytes(4, "little"))[0])

    def read_double(self) -> float:
        """8 bytes."""
        return float(self._number("<d"))

    def read_decimal(self) -> Decimal:
        """16 bytes; ValueError if they are no decimal."""
        return decimals.decode(self._exactly(decimals.SIZE))

    def read_char(self) -> str:
        """One character in the reader's encoding; EOFError at the end of the stream, also in the midst of one."""
        return self._characters(1, whole=False) or self._end()

    def peek_char(self) -> str:
        """The character that read_char would give, "" at the end. The stream stays where it is; it must be able to
        seek."""
        position = self.stream.tell()
        try:
            return self._characters(1, whole=False)
        finally:
            self.stream.seek(position)

    def read_chars(self, count: int) -> str:
        """At most `count` characters; fewer at the end of the stream."""
        if count < 0:
            raise OutOfRangeError(f"count must not be negative, got {shown(count)}")
        return self._characters(count)

    def _characters(self, count: int, *, whole: bool = True) -> str:
        decoder = codecs.getincrementaldecoder(self._plain_encoding())()
        out = ""
        while len(out) < count:
            byte = self.read_bytes(1)
            out += decoder.decode(byte, whole and not byte)
            if not byte:
                break
        return out

    def _end(self) -> str:
        raise EOFError("the stream has ended")

    def read_string(self) -> str:
        """A string behind its length. ValueError for a length that cannot be, or bytes that are no text."""
        size = self.read_7bit_encoded_int()
        if size < 0:
            raise ValueError(f"the string's length is negative ({size}): the stream is damaged, or not at a string")
        return self._exactly(size).decode(self._plain_encoding())

    def read_bytes(self, count: int) -> bytes:
        """At most `count` bytes; fewer at the end of the stream."""
        if count < 0:
            raise OutOfRangeError(f"count must not be negative, got {shown(count)}")
        out = bytearray()
        while len(out) < count:
            piece = self.stream.read(min(count - len(out), PIECE))
            if not piece:
                break
            out += piece
        return bytes(out)

    def read_7bit_encoded_int(self) -> int:
        """A 32-bit integer of 1 to 5 bytes; ValueError if it is longer."""
        value = self._seven_bits(5, 32)
        return value - 2**32 if value >= 2**31 else value

    def read_7bit_encoded_int64(self) -> int:
        """A 64-bit integer of 1 to 10 bytes; ValueError if it is longer."""
        value = self._seven_bits(10, 64)
        return value - 2**64 if value >= 2**63 else value

    def _seven_bits(self, longest: int, bits: int) -> int:
        value = 0
        for i in range(longest):
            byte = self.read_byte()
            value |= (byte & 0x7F) << (7 * i)
            if byte < 0x80:
                if value >> bits:
                    break
                return value
        raise ValueError(f"no 7-bit encoded integer of {bits} bits: the stream is damaged, or not at one")

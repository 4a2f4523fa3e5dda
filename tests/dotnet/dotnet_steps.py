# SPDX-License-Identifier: MIT
"""The steps of peer.cs, done with memorymapped: the same words in, the same words out.

An answer is "=" and the value; "!" and the kind of the exception (`kind_of`), named as .NET names it; or "?" if an
object that the step needs is not there, because the step that was to make it failed."""

from __future__ import annotations

import ctypes
import io
import os
import struct
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from memorymapped import (
    BinaryReader,
    BinaryWriter,
    ClosedError,
    MemoryMappedFile,
    OutOfRangeError,
    decimals,
)

Step = tuple[object, ...]

# The first that fits says what an exception is. Some are several things at once: io.UnsupportedOperation is an OSError
# and a ValueError, OutOfRangeError a ValueError.
KINDS: tuple[tuple[type[Exception], str], ...] = (
    (ClosedError, "ObjectDisposed"),
    (OutOfRangeError, "ArgumentOutOfRange"),
    (io.UnsupportedOperation, "NotSupported"),
    (FileExistsError, "IO: exists"),
    (FileNotFoundError, "FileNotFound"),
    (PermissionError, "UnauthorizedAccess"),
    (NotImplementedError, "PlatformNotSupported"),
    (TypeError, "ArgumentNull"),
    (EOFError, "EndOfStream"),
    (ValueError, "Argument"),
    (OSError, "IO"),
    (MemoryError, "IO"),
)
HUGE = 1 << 20  # bytes; no case means to make a file of more
SAME = {"DirectoryNotFound": "FileNotFound", "Format": "Argument"}  # one exception in Python


def kind_of(error: Exception) -> str:
    """What .NET calls this; the table of memorymapped.errors."""
    return next(name for kind, name in KINDS if isinstance(error, kind))


def kind_in_dotnet(answer: str) -> str:
    """An answer of peer.cs with the exception's kind only."""
    if not answer.startswith("!"):
        return answer
    name, _, message = answer[1:].split("\t")
    name = name.removesuffix("Exception")
    if name == "IO" and "already exists" in message:
        name = "IO: exists"
    return "!" + SAME.get(name, name)


class Packed3(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("a", ctypes.c_uint8), ("b", ctypes.c_uint16))


class Packed5(ctypes.Structure):
    _pack_ = 1
    _layout_ = "ms"
    _fields_ = (("a", ctypes.c_uint8), ("b", ctypes.c_uint32))


class Natural(ctypes.Structure):
    _fields_ = (
        ("a", ctypes.c_int32),
        ("b", ctypes.c_bool),
        ("c", ctypes.c_int32),
        ("d", ctypes.c_uint16),
        ("e", ctypes.c_bool),
    )


RECORDS: dict[str, Any] = {
    "Byte": ctypes.c_uint8,
    "Boolean": ctypes.c_bool,
    "Int16": ctypes.c_int16,
    "Packed3": Packed3,
    "Int32": ctypes.c_int32,
    "Packed5": Packed5,
    "Double": ctypes.c_double,
    "Natural": Natural,
}


def pattern(size: int) -> bytes:
    """What a fresh file holds."""
    return bytes((i * 7 + 1) & 255 for i in range(size))


def text_of(units: str) -> str:
    """A text from its UTF-16 units in hex."""
    return bytes.fromhex(units).decode("utf-16-be", "surrogatepass")


def units_of(text: str) -> str:
    return text.encode("utf-16-be", "surrogatepass").hex()


def value_of(type_: str, word: str) -> Any:
    """A value from the word for it."""
    if type_ == "boolean":
        return word == "True"
    if type_ == "char":
        return chr(int(word, 16))
    if type_ == "single":
        # struct would make every NaN a quiet one, so that the bits were others than .NET was told.
        return ctypes.c_double.from_buffer_copy(wide(int(word, 16))).value
    if type_ == "double":
        return struct.unpack(">d", bytes.fromhex(word))[0]
    if type_ == "decimal":
        return decimals.decode(struct.pack("<IIII", *struct.unpack(">IIII", bytes.fromhex(word))))
    if type_ in ("string", "chars"):
        return text_of(word)
    if type_ == "bytes":
        return bytes.fromhex(word)
    return int(word)


def wide(bits: int) -> bytes:
    """The 8 bytes of a double with the value of these single bits, NaN with its payload."""
    if bits & 0x7F800000 == 0x7F800000:
        return struct.pack("<Q", (bits & 0x80000000) << 32 | 0x7FF << 52 | (bits & 0x7FFFFF) << 29)
    return struct.pack("<d", struct.unpack("<f", struct.pack("<I", bits))[0])


def narrow(value: float) -> int:
    """The single bits of a float that is one."""
    bits = struct.unpack("<Q", struct.pack("<d", value))[0]
    if bits >> 52 & 0x7FF == 0x7FF:
        return bits >> 32 & 0x80000000 | 0x7F800000 | bits >> 29 & 0x7FFFFF
    return int(struct.unpack("<I", struct.pack("<f", value))[0])


def word_of(type_: str, value: Any) -> str:
    """The word for a value."""
    if type_ == "boolean":
        return str(value)
    if type_ == "char":
        return f"{ord(value):04x}"
    if type_ == "single":
        return f"{narrow(value):08x}"
    if type_ == "double":
        return struct.pack(">d", value).hex()
    if type_ == "decimal":
        return struct.pack(">IIII", *struct.unpack("<IIII", decimals.encode(value))).hex()
    if type_ in ("string", "chars"):
        return units_of(value)
    if type_ == "bytes":
        return bytes(value).hex()
    return str(value)


class Missing(Exception):
    """An object that a step needs was not made."""


class Ours:
    """Does steps with memorymapped. Paths are relative to `folder`, as peer.cs runs in it."""

    def __init__(self) -> None:
        self._objects: dict[object, Any] = {}

    def ask(self, *step: object) -> str:
        """What came of a step, as an answer of peer.cs reads (see `kind_in_dotnet`)."""
        words = [str(word) for word in step]
        try:
            return f"={getattr(self, 'do_' + words[0])(*words[1:])}"
        except Missing:
            return "?"
        except tuple(kind for kind, _ in KINDS) as error:
            return "!" + kind_of(error)

    def _get(self, name: str) -> Any:
        try:
            return self._objects[name]
        except KeyError:
            raise Missing from None

    def _put(self, name: str, made: object) -> str:
        self._objects[name] = made
        return ""

    # -- the disk

    def do_make(self, path: str, size: str) -> str:
        """A file of this size, with a pattern in it."""
        Path(path).write_bytes(pattern(int(size)))
        return ""

    def do_mkdir(self, path: str) -> str:
        Path(path).mkdir(exist_ok=True)
        return ""

    def do_remove(self, path: str) -> str:
        if Path(path).is_dir() and not Path(path).is_symlink():
            Path(path).rmdir()
        else:
            Path(path).unlink(missing_ok=True)
        return ""

    def do_mkfifo(self, path: str) -> str:
        os.mkfifo(path)
        return ""

    def do_symlink(self, path: str, target: str) -> str:
        Path(path).symlink_to(target)
        return ""

    def do_chmod(self, path: str, mode: str) -> str:
        Path(path).chmod(int(mode, 8))
        return ""

    def do_state(self, path: str) -> str:
        """Size and digest of what is there now."""
        if Path(path).is_dir():
            return "directory"
        if not Path(path).exists():
            return "missing"
        if Path(path).stat().st_size > HUGE:
            return "huge"
        contents = Path(path).read_bytes()
        return f"{len(contents)} {zlib.crc32(contents):08x}"

    # -- maps

    def do_from_path(self, map_: str, path: str, mode: str, name: str, capacity: str, access: str) -> str:
        made = MemoryMappedFile.create_from_file(
            none(path), int(mode), none(name), int(capacity), int(access)  # type: ignore[call-overload]
        )  # fmt: skip
        return self._put(map_, made)

    def do_from_path_only(self, map_: str, path: str) -> str:
        return self._put(map_, MemoryMappedFile.create_from_file(path))

    def do_open_file(self, file: str, path: str, access: str) -> str:
        """1 for reading, 2 for writing, 3 for both; never truncated."""
        flags, mode = {"1": (os.O_RDONLY, "rb"), "2": (os.O_WRONLY, "wb"), "3": (os.O_RDWR, "r+b")}[access]
        return self._put(file, os.fdopen(os.open(path, flags), mode))

    def do_write_file(self, file: str, data: str) -> str:
        self._get(file).write(bytes.fromhex(data))
        return ""

    def do_is_open(self, file: str) -> bool:
        return not self._get(file).closed

    def do_from_stream(
        self, map_: str, file: str, name: str, capacity: str, access: str, inheritability: str, leave_open: str
    ) -> str:
        made = MemoryMappedFile.create_from_file(
            None if file == "-" else self._get(file),
            none(name),
            int(capacity),
            int(access),  # type: ignore[arg-type]
            int(inheritability),  # type: ignore[arg-type]
            leave_open == "1",
        )
        return self._put(map_, made)

    def do_create_new(self, map_: str, name: str, capacity: str, access: str, options: str, inheritability: str) -> str:
        made = MemoryMappedFile.create_new(none(name), *numbers(capacity, access, options, inheritability))
        return self._put(map_, made)

    def do_create_or_open(
        self, map_: str, name: str, capacity: str, access: str, options: str, inheritability: str
    ) -> str:
        made = MemoryMappedFile.create_or_open(
            none(name),  # type: ignore[arg-type]
            *numbers(capacity, access, options, inheritability),
        )
        return self._put(map_, made)

    def do_open_existing(self, map_: str, name: str, rights: str, inheritability: str) -> str:
        made = MemoryMappedFile.open_existing(none(name), *numbers(rights, inheritability))  # type: ignore[arg-type]
        return self._put(map_, made)

    def do_dispose(self, name: str) -> str:
        self._get(name).close()
        return ""

    def do_end(self) -> str:
        """Ends everything that the case has made."""
        made = list(self._objects.values())[::-1]
        self._objects.clear()
        for thing in made:
            thing.close()
        return ""

    # -- views

    def do_accessor(self, view: str, map_: str, offset: str, size: str, access: str) -> str:
        return self._put(view, self._get(map_).create_view_accessor(*numbers(offset, size, access)))

    def do_default_accessor(self, view: str, map_: str) -> str:
        return self._put(view, self._get(map_).create_view_accessor())

    def do_stream(self, view: str, map_: str, offset: str, size: str, access: str) -> str:
        return self._put(view, self._get(map_).create_view_stream(*numbers(offset, size, access)))

    def do_default_stream(self, view: str, map_: str) -> str:
        return self._put(view, self._get(map_).create_view_stream())

    def do_accessor_is(self, name: str) -> str:
        view = self._get(name)
        return f"{view.capacity} {view.pointer_offset} {view.can_read} {view.can_write}"

    def do_stream_is(self, name: str) -> str:
        """The last of them, .NET's CanSeek, is true while the stream is open; a file says so by its `closed`."""
        view = self._get(name)
        return f"{view.pointer_offset} {view.can_read} {view.can_write} {not view.closed and view.seekable()}"

    def do_length(self, view: str) -> int:
        return int(self._get(view).length)

    def do_flush(self, view: str) -> str:
        self._get(view).flush()
        return ""

    # -- an accessor's

    def do_read(self, view: str, type_: str, position: str) -> str:
        return word_of(type_, getattr(self._get(view), f"read_{type_}")(int(position)))

    def do_write(self, view: str, type_: str, position: str, value: str) -> str:
        getattr(self._get(view), f"write_{type_}")(int(position), value_of(type_, value))
        return ""

    def do_get(self, view: str, record: str, position: str) -> str:
        kind = RECORDS[record]
        value = self._get(view).read(int(position), kind)
        return bytes(value if isinstance(value, ctypes.Structure) else kind(value)).hex()

    def do_put(self, view: str, record: str, position: str, value: str) -> str:
        self._get(view).write(int(position), RECORDS[record].from_buffer_copy(bytes.fromhex(value)))
        return ""

    def do_read_array(self, view: str, record: str, position: str, length: str, offset: str, count: str) -> str:
        array = None if length == "-" else (RECORDS[record] * int(length))()
        read = self._get(view).read_array(int(position), array, int(offset), int(count))
        return f"{read} {bytes(array or b'').hex()}"

    def do_write_array(self, view: str, record: str, position: str, array: str, offset: str, count: str) -> str:
        values = None
        if array != "-":
            raw = bytes.fromhex(array)
            values = (RECORDS[record] * (len(raw) // ctypes.sizeof(RECORDS[record]))).from_buffer_copy(raw)
        self._get(view).write_array(int(position), values, int(offset), int(count))
        return ""

    # -- a stream's

    def do_s_read(self, view: str, length: str, count: str) -> str:
        buffer = None if length == "-" else bytearray(int(length))
        window = buffer if buffer is None else memoryview(buffer)[: int(count)]
        read = self._get(view).readinto(window)
        return f"{read} {bytes(buffer or b'').hex()}"

    def do_s_read_byte(self, view: str) -> int:
        byte = self._get(view).read(1)
        return byte[0] if byte else -1

    def do_s_write(self, view: str, data: str) -> str:
        self._get(view).write(None if data == "-" else bytes.fromhex(data))
        return ""

    def do_s_write_byte(self, view: str, value: str) -> str:
        self._get(view).write(bytes([int(value)]))
        return ""

    def do_s_seek(self, view: str, offset: str, origin: str) -> int:
        return int(self._get(view).seek(int(offset), int(origin)))

    def do_position(self, view: str) -> int:
        return int(self._get(view).position)

    def do_set_position(self, view: str, position: str) -> str:
        self._get(view).position = int(position)
        return ""

    def do_set_length(self, view: str, length: str) -> str:
        self._get(view).set_length(int(length))
        return ""

    # -- BinaryWriter and BinaryReader

    def do_writer(self, writer: str, view: str, encoding: str) -> str:
        return self._put(writer, BinaryWriter(self._get(view), encoding, leave_open=True))

    def do_reader(self, reader: str, view: str, encoding: str) -> str:
        return self._put(reader, BinaryReader(self._get(view), encoding, leave_open=True))

    def do_b_write(self, writer: str, type_: str, value: str) -> str:
        name = "7bit_encoded_int" if type_ == "7bit" else type_
        getattr(self._get(writer), f"write_{name}")(value_of(type_, value))
        return ""

    def do_b_read(self, reader: str, type_: str, count: str | None = None) -> str:
        name = "7bit_encoded_int" if type_ == "7bit" else type_
        read: Callable[..., Any] = getattr(self._get(reader), f"read_{name}")
        return word_of(type_, read() if count is None else read(int(count)))


def none(word: str) -> str | None:
    return None if word == "-" else word


def numbers(*words: str) -> Sequence[Any]:
    return [int(word) for word in words]

# SPDX-License-Identifier: MIT
"""MemoryMappedViewStream: a view as a binary stream."""

from __future__ import annotations

import io
from operator import index

from ._native.cursor import Cursor
from ._native.memory import adopt_methods
from ._typing import TYPE_CHECKING
from .errors import OutOfRangeError, ValueOutOfRangeError, shown
from .viewing import Viewing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, NoReturn

    from typing_extensions import Buffer


__all__ = ["MemoryMappedViewStream"]


@adopt_methods
class MemoryMappedViewStream(Viewing, Cursor):
    """A window into a map as a raw binary stream of fixed length. Made by `MemoryMappedFile.create_view_stream`; .NET's
    class of that name.

    An `io.RawIOBase` (registered as one: the methods are compiled): `io.BufferedReader`, `BufferedWriter`,
    `BufferedRandom` and `TextIOWrapper` wrap it, and `zipfile`, `tarfile`, `json`, `pickle`, NumPy and pandas read and
    write it. Closing a wrapper closes the view, as in .NET.

    - `read` and `readinto` give what there is, b"" or 0 at the end.
    - `write` writes all or nothing: io.UnsupportedOperation if it does not fit, with the position unchanged.
    - The position may be set beyond the end. `truncate` is refused: the length is fixed.
    - `flush` writes changed pages through to the file; `close` flushes."""

    __slots__ = ()

    def readable(self) -> bool:
        """Whether it reads. ClosedError after close."""
        self.tell()
        return self.can_read

    def writable(self) -> bool:
        """Whether it writes. ClosedError after close."""
        self.tell()
        return self.can_write

    def seekable(self) -> bool:
        """True. ClosedError after close."""
        self.tell()
        return True

    def isatty(self) -> bool:
        """False. ClosedError after close."""
        self.tell()
        return False

    @property
    def can_seek(self) -> bool:
        """True while open (.NET's CanSeek)."""
        return not self.closed

    def read_byte(self) -> int:
        """The byte at the position, which moves on; -1 at the end (.NET's ReadByte)."""
        byte = self.read(1)
        return byte[0] if byte else -1

    def write_byte(self, value: int) -> None:
        """Writes one byte, 0 to 255 (.NET's WriteByte). Raises ValueOutOfRangeError, and what write raises."""
        value = index(value)
        if not 0 <= value <= 255:
            raise ValueOutOfRangeError(f"{shown(value)} does not fit in byte (0 to 255)")
        self.write(bytes((value,)))

    @property
    def length(self) -> int:
        """The length in bytes, fixed (.NET's Length). ClosedError after close."""
        self.tell()
        return self.capacity

    @property
    def name(self) -> str:
        """The map's name, or the path of its file, or "" for unnamed memory: what error messages of others show."""
        return self.source.name or self.source.path or ""

    @property
    def mode(self) -> str:
        """ "rb", "wb" or "rb+", as files have it."""
        return "rb+" if self.can_read and self.can_write else "wb" if self.can_write else "rb"

    def readlines(self, hint: int | None = -1) -> list[bytes]:
        """The lines from the position on, until they have `hint` bytes together (None, 0 or less: all)."""
        lines = []
        total = 0
        for line in self:
            lines.append(line)
            total += len(line)
            if hint is not None and 0 < hint <= total:
                break
        return lines

    def writelines(self, lines: Iterable[Buffer]) -> None:
        """Writes each of `lines`; no line feeds are added."""
        for line in lines:
            self.write(line)

    def fileno(self) -> NoReturn:
        """io.UnsupportedOperation: reads and writes of a descriptor would not be those of this stream."""
        raise io.UnsupportedOperation(
            "a view stream has no descriptor of its own; the map has (MemoryMappedFile.fileno)"
        )

    def truncate(self, size: int | None = None) -> NoReturn:
        """io.UnsupportedOperation: a view has a fixed length. OutOfRangeError for a negative one."""
        if size is not None and size < 0:
            raise OutOfRangeError(f"size must not be negative, got {shown(size)}")
        raise io.UnsupportedOperation("a view has a fixed length: grow the map with resize, and make a new view")

    set_length = truncate

    def detach(self) -> Any:
        """io.UnsupportedOperation: there is no stream below this one."""
        raise io.UnsupportedOperation("a raw stream has nothing below it")

    def _checkClosed(self, msg: str | None = None) -> None:
        self.tell()

    _checkReadable = _checkWritable = _checkSeekable = _checkClosed


io.RawIOBase.register(MemoryMappedViewStream)

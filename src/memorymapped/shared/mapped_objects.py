# SPDX-License-Identifier: MIT
"""What all typed objects in a map have in common, whatever they are."""

from __future__ import annotations

import sys
import warnings

from .._typing import TYPE_CHECKING
from ..errors import ClosedError
from ..sync.awaiting import was_closed

if TYPE_CHECKING:
    from typing import Any, Self

    from ..file import MemoryMappedFile

__all__ = ["MappedObject"]


class MappedObject:
    """Mixin of SharedMemory and StructArray: a map (`_file`) in which they lie, and waits of tasks (`_waits`)."""

    __slots__ = ()

    if TYPE_CHECKING:
        _file: MemoryMappedFile
        _waits: set[Any]

        @property
        def closed(self) -> bool: ...
        def close(self) -> None: ...

    @property
    def name(self) -> str | None:
        """The map's name; None for a file."""
        return self._file.name

    @property
    def path(self) -> str | None:
        """The file behind it, which other programs can map: see MemoryMappedFile.path."""
        return self._file.path

    def _where(self) -> str:
        """For messages, behind a word; also of what is not quite made."""
        file = self._file if hasattr(self, "_file") else None
        return "" if file is None else f" {file.name!r}" if file.name is not None else f" {file.path}"

    def _end_waits(self) -> None:
        for change in list(self._waits):
            change._unmap()
            was_closed(change)

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.closed or sys.is_finalizing():
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:  # also where warnings are errors
            self.close()

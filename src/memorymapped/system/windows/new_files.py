# SPDX-License-Identifier: MIT
"""A new file that nobody ever sees half of: it has another name, `.mmf-...`, in its folder until it is complete. Who is
killed before leaves that."""

from __future__ import annotations

import contextlib
import errno
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, Self, TypeVar

__all__ = ["NewFile", "keep_rights", "open_to_read"]

T = TypeVar("T")

_PATIENCE = 5.0  # seconds for others who read a file that is replaced, or replace it: a moment, or a scanner of viruses


def _when_free(act: Callable[[], T]) -> T:
    """Replaces or opens a file: nobody may have it open meanwhile, which is told as if there were no permission."""
    end = time.monotonic() + _PATIENCE
    while True:
        try:
            return act()
        except PermissionError:
            if time.monotonic() >= end:
                raise
            time.sleep(0.005)


def open_to_read(path: Path) -> BinaryIO:
    """The bytes of a file that others may replace just now."""
    return _when_free(lambda: path.open("rb")) if path.is_file() else path.open("rb")


def keep_rights(fd: int, before: os.stat_result) -> None:
    """A new file has the rights that its folder gives it."""


class NewFile:
    """A file that gets its name when it is complete, and otherwise never was."""

    def __init__(self, folder: str, name: str, mode: int) -> None:
        self.path = os.path.join(folder, name)
        self._hidden = os.path.join(folder, f".mmf-{os.urandom(8).hex()}")
        try:
            self.fd = os.open(self._hidden, os.O_RDWR | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0))
        except OSError as error:
            error.filename = self.path
            raise

    def publish(self, replace: bool) -> None:
        """Gives the file its name, and closes it: an open one cannot be renamed."""
        fd, self.fd = self.fd, -1
        os.close(fd)
        try:
            if replace:
                _when_free(lambda: os.replace(self._hidden, self.path))
            else:
                os.rename(self._hidden, self.path)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "exists: somebody made it meanwhile", self.path) from None
        except OSError as error:
            error.filename, error.filename2 = self.path, None
            raise
        self._hidden = ""

    def close(self) -> None:
        """Removes what was not published. A second call does nothing, or what the first was kept from doing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if self._hidden:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self._hidden)
            self._hidden = ""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.close()
        finally:
            self.close()  # Ctrl-C may have cut the first short

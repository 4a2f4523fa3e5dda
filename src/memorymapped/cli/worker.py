# SPDX-License-Identifier: MIT
"""A process that does with maps and mutexes what it is told, for `mmf demo`: `python -m memorymapped.cli.worker`.

One JSON object per line comes in on stdin, such as {"do": "read", "kind": "int32", "position": 0}, and one goes out on
stdout: {"seen": ...}, or {"error": ..., "text": ...}. It ends when stdin does, so it never outlives who started it."""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from typing import Any

from .. import AbandonedMutexError, MemoryMappedFile, MemoryMappedViewAccessor, Mutex
from .. import MemoryMappedFileAccess as Access

__all__ = ["main"]


class Worker:
    """One map and one view of it, and one mutex; each public method is something that it can be told to do."""

    def __init__(self) -> None:
        self._map: MemoryMappedFile | None = None
        self._view: MemoryMappedViewAccessor | None = None
        self._mutex: Mutex | None = None

    def create(self, name: str, capacity: int) -> int:
        """Creates a named map; its capacity."""
        return self._use(MemoryMappedFile.create_new(name, capacity), Access.READ_WRITE)

    def open(self, name: str) -> int:
        """Opens a named map; its capacity."""
        return self._use(MemoryMappedFile.open_existing(name), Access.READ_WRITE)

    def open_file(self, path: str) -> int:
        """Maps a file for reading; its length."""
        return self._use(MemoryMappedFile.create_from_file(path, access=Access.READ), Access.READ)

    def _use(self, made: MemoryMappedFile, access: Access) -> int:
        self.close()
        self._map = made
        self._view = made.create_view_accessor(access=access)
        return made.capacity

    def write(self, kind: str, position: int, value: Any) -> None:
        """Writes a value: `kind` is int32, double and so on, or text."""
        if kind == "text":
            data = value.encode()
            self.view.write_int32(position, len(data))
            self.view.write_bytes(position + 4, data)
        else:
            getattr(self.view, f"write_{kind}")(position, value)

    def read(self, kind: str, position: int) -> Any:
        """Reads a value."""
        if kind == "text":
            return self.view.read_bytes(position + 4, self.view.read_int32(position)).decode()
        return getattr(self.view, f"read_{kind}")(position)

    def truncate(self, path: str, size: int) -> int:
        """Cuts a file; its length now."""
        with open(path, "r+b") as file:  # os.truncate does not tell every error on Windows
            file.truncate(size)
        return os.stat(path).st_size

    def acquire(self, name: str, timeout: float) -> dict[str, Any]:
        """Waits until it owns a named mutex: when that was, and what was said of the owner before."""
        self._mutex = Mutex(name=name)
        try:
            owned, abandoned = self._mutex.wait_one(timeout), None
        except AbandonedMutexError as error:
            owned, abandoned = error.owned, error
        return {
            "owned": owned,
            "at": time.monotonic(),
            "error": None if abandoned is None else type(abandoned).__name__,
            "text": str(abandoned or ""),
            "previous": None if abandoned is None else abandoned.previous_owner.process,
        }

    def release(self) -> None:
        """Gives the mutex back."""
        assert self._mutex is not None
        self._mutex.release_mutex()

    def close(self) -> None:
        """Closes view, map and mutex, without complaint about what is lost."""
        view, made, mutex = self._view, self._map, self._mutex
        self._view = self._map = self._mutex = None
        with contextlib.ExitStack() as stack:  # each of them, whatever the others raise
            for each in (mutex, made, view):
                if each is not None:
                    stack.callback(each.close)

    @property
    def view(self) -> MemoryMappedViewAccessor:
        """The view of the map in use."""
        assert self._view is not None
        return self._view


def main() -> None:
    """Does what is told until there is no more."""
    worker = Worker()
    print(json.dumps({"seen": os.getpid()}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        answer: dict[str, Any]
        try:
            answer = {"seen": getattr(worker, order.pop("do"))(**order)}
        except (OSError, ValueError) as error:
            answer = {"error": type(error).__name__, "text": str(error)}
        print(json.dumps(answer), flush=True)
    worker.close()


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Two processes that do the same at the same time: what happens between them is measured, not how they start.

The second one is forked, waits on a pipe for its turn, says in shared memory that it is there, and both begin when the
first one, which spins until then, says so. They share `numbers`, a few 64-bit integers.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import signal
import struct
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any

__all__ = ["COUNT", "STAMP", "TURN", "Pair", "Side", "paired"]

_READY, _GO, COUNT, TURN, STAMP = range(5)
_NUMBERS = 64
_SIZE = struct.Struct("q")

Side = Callable[[int, Any, int], "array[int]"]
"""What a process does: (0 or 1, the numbers, how often) -> nanoseconds, of whatever it measures."""


_ours: set[int] = set()  # ends of pipes that only this process is to have: a second one would never see them end


class Pair:
    """The second process, and what both have."""

    def __init__(self, side: Side) -> None:
        self._side = side
        self.numbers = memoryview(mmap.mmap(-1, _NUMBERS * 8)).cast("q")
        self._to, self._from = os.pipe(), os.pipe()
        self._child = os.fork()
        if self._child == 0:
            self._serve()
        os.close(self._to[0])
        os.close(self._from[1])
        _ours.update((self._to[1], self._from[0]))

    def run(self, times: int) -> tuple[float, array[int]]:
        """Nanoseconds from the start of both until the first process has ended, and what both have measured."""
        numbers = self.numbers
        for number in (_READY, _GO, COUNT, TURN, STAMP):
            numbers[number] = 0
        os.write(self._to[1], _SIZE.pack(times))
        while not numbers[_READY]:
            pass
        start = time.perf_counter_ns()
        numbers[_GO] = 1
        measured = self._side(0, numbers, times)
        elapsed = time.perf_counter_ns() - start
        size = _SIZE.unpack(self._read(_SIZE.size))[0]
        measured.frombytes(self._read(size))
        return elapsed, measured

    def _read(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            piece = os.read(self._from[0], size - len(data))
            if not piece:
                raise RuntimeError("the second process has ended")
            data += piece
        return data

    def _serve(self) -> None:
        status = 1
        try:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            for fd in (*_ours, self._to[1], self._from[0]):
                os.close(fd)
            gc.disable()
            while order := os.read(self._to[0], _SIZE.size):
                self.numbers[_READY] = 1
                while not self.numbers[_GO]:
                    pass
                answer = self._side(1, self.numbers, _SIZE.unpack(order)[0]).tobytes()
                with open(self._from[1], "wb", closefd=False) as pipe:
                    pipe.write(_SIZE.pack(len(answer)) + answer)
            status = 0
        finally:
            os._exit(status)

    def close(self) -> None:
        """Ends the second process."""
        for fd in (self._to[1], self._from[0]):
            _ours.discard(fd)
            os.close(fd)
        os.waitpid(self._child, 0)


@contextlib.contextmanager
def paired(side: Side) -> Iterator[Pair]:
    """A pair that is ended afterwards."""
    pair = Pair(side)
    try:
        yield pair
    finally:
        pair.close()

# SPDX-License-Identifier: MIT
"""What happens in a process whose file is truncated under it. Imported by the processes of test_guard.py."""

from __future__ import annotations

import ctypes
import os
import random
import threading
import time
from array import array
from collections.abc import Callable
from typing import Any

from memorymapped import (
    ClosedError,
    FileMode,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
    guard_status,
)

__all__ = ["PAGE", "Cut", "caught", "close_meanwhile", "cut_in_a_copy", "million", "two_threads"]

PAGE = os.sysconf("SC_PAGE_SIZE")


class Pair(ctypes.Structure):
    _fields_ = (("number", ctypes.c_int32), ("letters", ctypes.c_char * 9))


class Cut:
    """A file of `pages` pages, every byte of them 7, a map of it, a view and a stream; `cut` shortens it."""

    def __init__(
        self, path: str, pages: int = 8, access: MemoryMappedFileAccess = MemoryMappedFileAccess.READ_WRITE
    ) -> None:
        self.path = path
        self.size = pages * PAGE
        with open(path, "wb") as file:
            file.write(b"\7" * self.size)
        self.map = MemoryMappedFile.create_from_file(path, FileMode.OPEN)
        self.view = self.map.create_view_accessor(0, 0, access)
        self.stream = self.map.create_view_stream(0, 0, access)
        self.other = self.map.create_view_accessor(0, PAGE)

    def cut(self, to: int = PAGE) -> None:
        os.truncate(self.path, to)

    def close(self) -> None:
        for each in (self.view, self.stream, self.other, self.map):
            each.close()


def caught(path: str, operation: str, *, streaming: bool) -> tuple[int, str, bool, int]:
    """Runs `operation`, which uses page 2 of a file that is cut to one page. What it raised, and what the view says."""
    cut = Cut(path)
    view, stream = cut.view, cut.stream
    names: dict[str, Any] = {"v": view, "s": stream, "c": view.cast("i"), "array": array, "Pair": Pair, "PAGE": PAGE}
    if "np." in operation:
        import numpy

        names["np"] = numpy
    stream.seek(PAGE)
    before = guard_status().faults
    cut.cut()
    try:
        exec(operation, names)
    except MemoryFaultError as error:
        faulty = stream if streaming else view
        if "::-1" not in operation:  # two faults: then all of the view is lost
            assert view.read_byte(1) in (0, 1, 7), "what is there can be read as before"
            view.write_bytes(8, b"new")
            assert cut.other.read_bytes(8, 3) == b"new"
        assert not cut.other.faulted
        assert not (view if streaming else stream).faulted
        result = error.errno or 0, str(error), faulty.faulted, guard_status().faults - before
        cut.close()  # raises nothing: somebody was told
        return result
    raise AssertionError("no MemoryFaultError")


def million(path: str, order: str, write: bool) -> int:
    """A million pages without a file behind them, read (or written) one by one. Returns how many faults that were."""
    pages = 1_000_000
    with open(path, "wb") as file:
        file.truncate(pages * PAGE)
    with MemoryMappedFile.create_from_file(path, FileMode.OPEN) as map_, map_.create_view_accessor() as view:
        block = memoryview(view)
        os.truncate(path, 0)
        before = guard_status().faults
        at = range(pages) if order == "up" else range(pages - 1, -1, -1)
        if order == "any":
            shuffled = list(at)
            random.Random(1).shuffle(shuffled)
            at = shuffled  # type: ignore[assignment]
        if write:
            for i in at[: pages // 50]:  # each of these takes memory
                block[i * PAGE] = 1
        else:
            assert not any(block[i * PAGE] for i in at)
        faults = guard_status().faults - before
        assert view.faulted
        try:
            view.read_byte(PAGE * (pages - 1))
        except MemoryFaultError:
            pass
        else:
            raise AssertionError("no MemoryFaultError")
        block.release()
    return faults


def cut_in_a_copy(path: str, seconds: float, cutter: Callable[[str, float], Callable[[], None]]) -> tuple[int, int]:
    """Copies 32 MiB again and again while somebody cuts the file. Returns how often it raised, and how often not."""
    size = 32 << 20
    raised = whole = 0
    block = bytearray(size)
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        with open(path, "wb") as file:
            file.truncate(size)
        with MemoryMappedFile.create_from_file(path, FileMode.OPEN) as map_, map_.create_view_accessor() as view:
            done = cutter(path, random.random() * 0.01)
            try:
                for _ in range(50):
                    if raised % 3 == 0:
                        view.write_bytes(0, block)
                    elif raised % 3 == 1:
                        view.read_array(0, block)
                    else:
                        assert len(view.read_bytes(0, size)) == size
                    whole += 1
            except MemoryFaultError:
                raised += 1
                assert view.faulted
            done()
    return raised, whole


def by_a_thread(path: str, after: float) -> Callable[[], None]:
    def cut() -> None:
        time.sleep(after)
        os.truncate(path, random.randrange(32 << 20))

    thread = threading.Thread(target=cut)
    thread.start()
    return thread.join


def by_a_process(path: str, after: float) -> Callable[[], None]:
    pid = os.fork()
    if pid == 0:
        time.sleep(after)
        os.truncate(path, random.randrange(32 << 20))
        os._exit(0)
    return lambda: os.waitpid(pid, 0) and None


def close_meanwhile(path: str, seconds: float) -> dict[str, int]:
    """One thread copies, one closes the view, one cuts the file, at about the same moment; afterwards somebody else
    maps memory where the view may have been. Counts what the copying thread saw: for so long, and, on a busy machine
    for 30 s at most, until it has seen everything that there is to see."""
    import mmap

    seen: dict[str, int] = {}
    until = time.monotonic() + seconds
    size = 4 << 20
    block = bytearray(size)
    everything = {"copied", "MemoryFaultError", "ClosedError"}
    while time.monotonic() < until or (not everything <= set(seen) and time.monotonic() < until + 30):
        with open(path, "wb") as file:
            file.truncate(size)
        map_ = MemoryMappedFile.create_from_file(path, FileMode.OPEN)
        view = map_.create_view_accessor()
        start = threading.Barrier(3)

        def copy(view: MemoryMappedViewAccessor = view, start: threading.Barrier = start) -> None:
            start.wait(10)
            for _ in range(10):
                try:
                    view.read_array(0, block)
                    what = "copied"
                except (MemoryFaultError, ClosedError) as error:
                    what = type(error).__name__
                seen[what] = seen.get(what, 0) + 1

        def close(view: MemoryMappedViewAccessor = view, start: threading.Barrier = start) -> None:
            start.wait(10)
            pause(random.random() * 0.003)
            try:
                view.close()
            except MemoryFaultError:
                seen["close"] = seen.get("close", 0) + 1

        threads = [threading.Thread(target=copy), threading.Thread(target=close)]
        for thread in threads:
            thread.start()
        start.wait(10)
        pause(random.random() * 0.003)
        os.truncate(path, PAGE)
        threads[1].join()
        anonymous = mmap.mmap(-1, size)
        anonymous[:] = b"\5" * size
        threads[0].join()
        assert anonymous.rfind(b"\0") < 0, "a page of the guard lies on somebody else's memory"
        anonymous.close()
        map_.close()
    return seen


def pause(seconds: float) -> None:
    until = time.monotonic() + seconds
    while time.monotonic() < until:
        pass


def two_threads(path: str, rounds: int) -> int:
    """Two threads copy without the interpreter's lock, each from another half of a file that has been cut to nothing.
    Returns how many exceptions there were."""
    size = 2 << 20
    raised = []
    for _ in range(rounds):
        with open(path, "wb") as file:
            file.truncate(size)
        with MemoryMappedFile.create_from_file(path, FileMode.OPEN) as map_, map_.create_view_accessor() as view:
            os.truncate(path, 0)
            start = threading.Barrier(2)

            def read(
                at: int, view: MemoryMappedViewAccessor = view, start: threading.Barrier = start, block: Any = None
            ) -> None:
                block = bytearray(size // 2)
                start.wait(10)
                try:
                    view.read_array(at, block)
                except MemoryFaultError:
                    raised.append(at)

            threads = [threading.Thread(target=read, args=(at,)) for at in (0, size // 2)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
    return len(raised)

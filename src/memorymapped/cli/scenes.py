# SPDX-License-Identifier: MIT
"""What `mmf demo` shows. Each scene takes a stage and tells a `Telling` what was seen, or raises NotSeen.

Nothing is told that was not observed: values come back from the process that read them, errors from the process in
which they were raised, process ids from the system."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import tempfile
import time
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import IO, Any, NamedTuple, Protocol

from .. import MemoryMappedFile, MemoryMappedViewAccessor, Mutex
from .. import MemoryMappedFileAccess as Access
from ..system.endings import KILLED
from ..system.reading import MAPPED_FILES_SHRINK
from .children import Child, ChildError, NotSeen
from .words import shown, size_in_words

__all__ = ["SCENES", "Stage", "Telling"]

CAPACITY = 4096
SMALL_FILE = 1 << 20
MEASURE_FOR = 2.0  # seconds of random reads, all ways together
WAIT_FOR = 5.0  # seconds that a process waits for a mutex at most
RANDOM_BLOCK = 4 << 20


class Telling(Protocol):
    """Where a scene says what it sees."""

    def saw(self, who: str, what: str) -> None:
        """Somebody did or saw something."""

    def busy(self, doing: str) -> AbstractContextManager[object]:
        """Something takes a while."""

    def table(self, header: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
        """Figures."""


class Stage:
    """What scenes use, and what `close` removes: children, a folder, names."""

    def __init__(self, file: Path | None, size: int) -> None:
        self.file = file
        self.size = size
        self._children: list[Child] = []
        self._names: list[str] = []
        self._folder: tempfile.TemporaryDirectory[str] | None = None

    def children(self, count: int) -> list[Child]:
        """New processes; they start at the same time."""
        started = []
        for _ in range(count):
            child = Child()
            self._children.append(child)
            started.append(child)
        return started

    def folder(self) -> Path:
        """A folder for files."""
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="mmf-demo-")
        return Path(self._folder.name)

    def name(self) -> str:
        """A name that nobody uses."""
        name = f"mmf-demo-{os.getpid()}-{random.getrandbits(32):08x}"
        self._names.append(name)
        return name

    def close(self) -> None:
        """Ends every child and removes every file; a second call does nothing, or what the first did not get to."""
        for child in self._children:
            child.dismiss()
        while self._children:
            self._children[-1].close()
            self._children.pop()
        while self._names:
            # A look gives back what processes that have been killed have left.
            with contextlib.suppress(FileNotFoundError):
                MemoryMappedFile.open_existing(self._names[-1]).close()
            with contextlib.suppress(FileNotFoundError):
                Mutex.open_existing(self._names[-1]).close()
            self._names.pop()
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None


def _expect(seen: object, expected: object, what: str) -> None:
    if seen != expected:
        raise NotSeen(f"{what}: {seen!r} was seen, {expected!r} expected")


def _process(child: Child) -> str:
    return f"process {child.pid}"


# ------------------------------------------------------------------------------------------- two processes, one map


def two_processes(stage: Stage, tell: Telling) -> None:
    """Two processes share a map by its name"""
    first, second = stage.children(2)
    name = stage.name()
    _expect(first.ask("create", name=name, capacity=CAPACITY), CAPACITY, "the capacity of the new map")
    tell.saw(_process(first), f"creates the map {name!r}, {CAPACITY} bytes")
    _send(first, second, tell, [("int32", 0), ("double", 8), ("text", 16)], opening=name)
    _send(second, first, tell, [("int64", 256), ("single", 264), ("text", 272)])


def _send(
    writer: Child, reader: Child, tell: Telling, places: list[tuple[str, int]], opening: str | None = None
) -> None:
    values: list[Any] = []
    for kind, position in places:
        value = _value(kind, writer.pid)
        writer.ask("write", kind=kind, position=position, value=value)
        values.append(value)
    tell.saw(_process(writer), f"writes {_list(places, values)}")
    if opening is not None:
        _expect(reader.ask("open", name=opening), CAPACITY, "the capacity of the map that was opened")
        tell.saw(_process(reader), "opens it by that name")
    seen = [reader.ask("read", kind=kind, position=position) for kind, position in places]
    _expect(seen, values, f"what process {reader.pid} read")
    tell.saw(_process(reader), f"reads  {_list(places, seen)}")


def _value(kind: str, pid: int) -> Any:
    if kind == "text":
        return f"hello from {pid}"
    if kind == "single":
        return random.randrange(10**6) / 64  # a fraction that 32 bits hold exactly
    if kind == "double":
        return random.random()
    return random.randrange(10**9)


def _list(places: list[tuple[str, int]], values: list[Any]) -> str:
    return ", ".join(f"{kind} {value!r}" for (kind, _), value in zip(places, values, strict=True))


# --------------------------------------------------------------------------------------------------- a large file


class Way(NamedTuple):
    """One way to read 8-byte integers at some positions."""

    title: str
    mapped: bool
    read: Callable[[list[int]], list[int]]


def large_file(stage: Stage, tell: Telling) -> None:
    """A large file, read at random places"""
    if stage.file is None:
        begin = time.perf_counter()
        with tell.busy(f"making a file of {stage.size / 1e6:,.0f} MB"):
            made = _random_file(stage)
        with made as file:
            seconds = time.perf_counter() - begin
            tell.saw("this process", f"makes a file of {stage.size / 1e6:,.0f} MB, random bytes, in {seconds:.1f} s")
            _read_at_random(file, tell)
    else:
        with stage.file.open("rb") as file:
            tell.saw("this process", f"opens {shown(str(stage.file))}")
            _read_at_random(file, tell)


def _random_file(stage: Stage) -> IO[bytes]:
    folder = tempfile.gettempdir()
    free = shutil.disk_usage(folder).free
    if free < stage.size:
        raise NotSeen(
            f"{folder} has {free / 1e6:,.0f} MB free, the file needs {stage.size / 1e6:,.0f}: give a smaller --size, a "
            "--file that is there already, or another folder in TMPDIR"
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115 - without a name: nothing can be left of it
    try:
        for at in range(0, stage.size, RANDOM_BLOCK):
            file.write(os.urandom(min(RANDOM_BLOCK, stage.size - at)))
        file.flush()
    except BaseException:
        file.close()
        raise
    return file


def _read_at_random(file: IO[bytes], tell: Telling) -> None:
    fd = file.fileno()
    with (
        open(fd, "rb", closefd=False) as buffered,
        MemoryMappedFile.create_from_file(fd, None, 0, Access.READ, leave_open=True) as mapped,
        mapped.create_view_accessor(access=Access.READ) as view,
    ):
        tell.saw("this process", f"maps its {view.capacity:,} bytes, {view.residency().ratio:.0%} in memory now")
        ways = _ways(view, buffered, fd)
        with tell.busy("reading at random places"):
            speeds, count = _measured(ways, view.capacity - 8)
    tell.saw("this process", f"reads {count:,} integers at random places each way: the same values")
    fastest = speeds[ways[0].title]
    tell.table(
        ("8-byte integers", "reads per second", "ns each", "mapped is"),
        [
            (way.title, f"{speeds[way.title]:,.0f}", f"{1e9 / speeds[way.title]:,.0f}", _ratio(way, fastest, speeds))
            for way in ways
        ],
    )


def _ratio(way: Way, fastest: float, speeds: dict[str, float]) -> str:
    return "" if way.mapped else f"{fastest / speeds[way.title]:.1f} x as fast"


def _ways(view: MemoryMappedViewAccessor, buffered: IO[bytes], fd: int) -> list[Way]:
    read_int64, read, seek = view.read_int64, buffered.read, buffered.seek
    unpack = struct.Struct("<q").unpack

    def by_seek(positions: list[int]) -> list[int]:
        values: list[int] = []
        for position in positions:
            seek(position)
            values += unpack(read(8))
        return values

    ways = [
        Way("mapped: view.read_int64(p)", True, lambda positions: [read_int64(position) for position in positions]),
        Way("mapped: view.gather(all p)", True, lambda positions: list(view.gather(array("q", positions), "q"))),
        Way("file.seek(p), file.read(8)", False, by_seek),
    ]
    if pread := getattr(os, "pread", None):

        def by_pread(positions: list[int]) -> list[int]:
            return [unpack(pread(fd, 8, position))[0] for position in positions]

        ways.append(Way("os.pread(fd, 8, p)", False, by_pread))
    return ways


def _measured(ways: list[Way], last: int) -> tuple[dict[str, float], int]:
    """Reads per second of each way, and how many were read. The ways take short turns in random order, each with places
    of its own: so every one meets as often as the others what is not in memory, or in the processor's caches, yet."""
    check, another_check = ways[1], ways[-1]
    spent = dict.fromkeys((way.title for way in ways), 0.0)
    count, total = 256, 0
    end = time.perf_counter() + MEASURE_FOR
    while time.perf_counter() < end:
        slowest = 0.0
        for way in random.sample(ways, len(ways)):
            positions = [random.randint(0, last) for _ in range(count)]
            begin = time.perf_counter()
            values = way.read(positions)
            seconds = time.perf_counter() - begin
            spent[way.title] += seconds
            slowest = max(slowest, seconds)
            same = (another_check if way is check else check).read(positions)
            _expect(values == same, True, f"whether {way.title} reads the same values as the others")
        total += count
        if slowest < 0.01 and count < 16_384:
            count *= 2
    return {title: total / seconds for title, seconds in spent.items()}, total


# ------------------------------------------------------------------------------------------------------ truncation


def truncated_file(stage: Stage, tell: Telling) -> None:
    """A file is truncated under a live map"""
    reader, other = stage.children(2)
    path = stage.folder() / "data"
    data = os.urandom(SMALL_FILE)
    path.write_bytes(data)
    last = SMALL_FILE - 8
    _expect(reader.ask("open_file", path=str(path)), SMALL_FILE, "the capacity of the map")
    seen = reader.ask("read", kind="int64", position=last)
    _expect(seen, int.from_bytes(data[last:], "little", signed=True), "the last integer of the file")
    tell.saw(_process(reader), f"maps a file of {size_in_words(SMALL_FILE)}, reads {seen} at {last}")
    try:
        left = other.ask("truncate", path=str(path), size=CAPACITY)
    except ChildError as error:
        if MAPPED_FILES_SHRINK:
            raise
        tell.saw(_process(other), f"cannot truncate it while it is mapped:\n{error.kind}: {error}")
        _expect(reader.ask("read", kind="int64", position=last), seen, "the last integer of the file")
        tell.saw(_process(reader), f"goes on: reads {seen} at {last}, which is still there")
        return
    _expect(left, CAPACITY, "the length of the truncated file")
    tell.saw(_process(other), f"truncates it to {left} bytes")
    try:
        seen = reader.ask("read", kind="int64", position=last)
    except ChildError as error:
        _expect(error.kind, "MemoryFaultError", "the exception of the next read")
        tell.saw(_process(reader), f"reads at {last} again:\n{error.kind}: {error}")
    else:
        raise NotSeen(f"the read behind the end of the truncated file returned {seen!r}, and should have raised")
    seen = reader.ask("read", kind="int64", position=0)
    _expect(seen, int.from_bytes(data[:8], "little", signed=True), "the first integer of the file")
    tell.saw(_process(reader), f"goes on: reads {seen} at 0, which is still there")
    reader.ask("close")
    _expect(reader.ask("open_file", path=str(path)), CAPACITY, "the capacity of a new map")
    tell.saw(_process(reader), f"maps the file anew, {CAPACITY} bytes")


# ------------------------------------------------------------------------------------------------------- SIGKILL


def killed_holders(stage: Stage, tell: Telling) -> None:
    """Every holder of a name is killed"""
    creator, *others = stage.children(3)
    name = stage.name()
    value = random.randrange(1, 10**9)
    creator.ask("create", name=name, capacity=CAPACITY)
    creator.ask("write", kind="int32", position=0, value=value)
    for child in others:
        child.ask("open", name=name)
    pids = ", ".join(str(child.pid) for child in (creator, *others))
    tell.saw("3 processes", f"hold the map {name!r}: {pids}")
    for child in (creator, *others[:-1]):
        _kill(child, tell)
    seen = _looked_up(name)
    _expect(seen, value, "the value in the map that one process still holds")
    tell.saw("this process", f"opens it while {others[-1].pid} holds it: reads {seen}, as {creator.pid} wrote it")
    _kill(others[-1], tell)
    try:
        _looked_up(name)
    except FileNotFoundError as error:
        tell.saw("this process", f"opens it:\nFileNotFoundError: {error}")
    else:
        raise NotSeen(f"{name!r} could be opened after all its holders had been killed")
    with MemoryMappedFile.create_new(name, CAPACITY) as anew, anew.create_view_accessor() as view:
        _expect(bytes(view[:]), bytes(CAPACITY), "the bytes of the new map")
        tell.saw("this process", f"creates it anew: {view.capacity} bytes, all zero")


def _looked_up(name: str) -> int:
    with MemoryMappedFile.open_existing(name) as opened, opened.create_view_accessor() as view:
        return view.read_int32(0)


def _kill(child: Child, tell: Telling) -> None:
    status, how = KILLED
    _expect(child.kill(), status, f"the exit status of process {child.pid}")
    tell.saw(_process(child), f"is killed: {how}")


# ----------------------------------------------------------------------------------------------- a mutex's owner


def killed_owner(stage: Stage, tell: Telling) -> None:
    """The owner of a mutex is killed, and another process waits for it"""
    owner, waiter = stage.children(2)
    name = stage.name()
    with contextlib.closing(Mutex(name=name)) as mutex:
        _expect(owner.ask("acquire", name=name, timeout=0)["owned"], True, "whether the first process owns the mutex")
        tell.saw(_process(owner), f"owns the mutex {name!r}")
        waiter.tell("acquire", name=name, timeout=WAIT_FOR)
        _until(lambda: mutex.statistics().has_waiters, f"whether process {waiter.pid} sleeps until it is free")
        tell.saw(_process(waiter), "waits for it, asleep in the kernel")
        before = time.monotonic()  # one clock for all processes
        _kill(owner, tell)
        got = waiter.answer()
        _expect((got["owned"], got["error"]), (True, "AbandonedMutexError"), f"what process {waiter.pid} got")
        _expect(got["previous"], owner.pid, "the process that is said to have owned it")
        after = (got["at"] - before) * 1e3
        tell.saw(_process(waiter), f"owns it, {after:.2f} ms after the kill:\n{got['error']}: {got['text']}")
        waiter.ask("release")
        tell.saw(_process(waiter), "releases it")
        with mutex:
            _expect(mutex.statistics().owner_process, os.getpid(), "the process that owns it at last")
        tell.saw("this process", "takes it as any mutex, and releases it")


def _until(seen: Callable[[], object], what: str) -> None:
    end = time.monotonic() + WAIT_FOR
    while not seen():
        if time.monotonic() > end:
            raise NotSeen(f"{what}: not seen within {WAIT_FOR:.0f} seconds")
        time.sleep(0.001)


SCENES: list[Callable[[Stage, Telling], None]] = [
    two_processes,
    large_file,
    truncated_file,
    killed_holders,
    killed_owner,
]

# SPDX-License-Identifier: MIT
"""Locks, events, semaphores, conditions and numbers inside a map: between views, threads and mortal processes."""

from __future__ import annotations

import contextlib
import io
import mmap
import os
import pickle
import platform
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.actors import PRELUDE, Actor
from support.tasks import in_thread

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    DamagedObjectError,
    FileMode,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedViewAccessor,
    Mutex,
    OutOfRangeError,
    SemaphoreFullError,
    ValueOutOfRangeError,
)
from memorymapped._native import readers
from memorymapped.enums import EventResetMode
from memorymapped.sync.atomics import AtomicInt32, AtomicInt64, AtomicUInt32, AtomicUInt64
from memorymapped.sync.conditions import MappedCondition
from memorymapped.sync.mapped import MappedEvent, MappedLock, MappedSemaphore
from memorymapped.sync.readers import MappedReaderWriterLock
from memorymapped.sync.waiting import wait_all, wait_any

SIZE = 65536
PAGE = mmap.PAGESIZE
LIMIT = 20.0
THERE = (
    PRELUDE
    + """
from memorymapped.sync.atomics import *
from memorymapped.sync.conditions import *
from memorymapped.sync.mapped import *
from memorymapped.sync.readers import *
m = MemoryMappedFile.open_existing("shared")
v = m.create_view_accessor()
"""
)
ATOMICS = (AtomicInt32, AtomicUInt32, AtomicInt64, AtomicUInt64)


def condition(view: MemoryMappedViewAccessor, position: int = 0) -> MappedCondition:
    return MappedCondition(view, position, Mutex())


KINDS: tuple[Callable[..., Any], ...] = (
    MappedLock,
    MappedReaderWriterLock,
    MappedEvent,
    MappedSemaphore,
    condition,
    *ATOMICS,
)


def touch(thing: Any) -> None:
    """An operation that looks at the memory."""
    if isinstance(thing, MappedCondition):
        with thing:
            thing.notify()
    elif isinstance(thing, MappedReaderWriterLock):
        for side in (thing.reader, thing.writer):
            side.acquire()
            side.release()
    elif isinstance(thing, MappedLock):
        thing.acquire()
        thing.release()
    elif isinstance(thing, (MappedEvent, MappedSemaphore)):
        thing.wait_one(0)
    else:
        thing.load()


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new("shared", SIZE) as map_, map_.create_view_accessor() as accessor:
        yield accessor


def test_arguments_of_another_kind_are_refused(view: MemoryMappedViewAccessor) -> None:
    refused: list[tuple[Any, str]] = [
        (lambda: MappedEvent(view, 0, "set"), "initial_state is True or False, not str"),  # type: ignore[arg-type]
        (lambda: MappedLock(view, on_abandoned=5), "on_abandoned is a function"),  # type: ignore[arg-type]
        (lambda: Mutex(on_abandoned="f"), "on_abandoned is a function"),  # type: ignore[arg-type]
    ]
    for make, said in refused:
        with pytest.raises(TypeError, match=said):
            make()
    assert bytes(view[: MappedLock.SIZE]) == bytes(MappedLock.SIZE)
    lock = MappedLock(view)
    with pytest.raises(TypeError, match="on_abandoned is a function"):
        lock.on_abandoned = 5  # type: ignore[assignment]
    assert lock.on_abandoned is None


@pytest.fixture
def other(view: MemoryMappedViewAccessor) -> Iterator[Actor]:
    with Actor(prelude=THERE) as actor:
        yield actor
        if actor.process.poll() is None:
            actor.finish()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.001)


# -- where they lie


@pytest.mark.parametrize("kind", KINDS)
def test_the_place_is_checked(view: MemoryMappedViewAccessor, kind: Callable[..., Any]) -> None:
    size = (MappedCondition if kind is condition else kind).SIZE  # type: ignore[attr-defined]
    alignment = (MappedCondition if kind is condition else kind).ALIGNMENT  # type: ignore[attr-defined]
    kind(view, SIZE - size).close()
    with pytest.raises(ValueError, match=r"do not fit|beyond the end"):
        kind(view, SIZE - size + alignment)
    for wrong in (-alignment, SIZE, 1 << 70):
        with pytest.raises(OutOfRangeError):
            kind(view, wrong)
    for wrong in (1, alignment // 2, alignment + 1):
        with pytest.raises(ValueError, match="multiple"):
            kind(view, wrong)
    with pytest.raises(TypeError):
        kind(view, "0")
    with pytest.raises(TypeError):
        kind(None)
    with pytest.raises(TypeError):
        kind(bytearray(SIZE))


@pytest.mark.parametrize("kind", KINDS)
def test_the_view_is_checked(view: MemoryMappedViewAccessor, kind: Callable[..., Any]) -> None:
    with MemoryMappedFile.open_existing("shared") as map_:
        for access in ("READ", "WRITE", "COPY_ON_WRITE"):
            with (
                map_.create_view_accessor(0, 0, MemoryMappedFileAccess[access]) as wrong,
                pytest.raises(io.UnsupportedOperation),
            ):
                kind(wrong)
        closed = map_.create_view_accessor()
        closed.close()
        with pytest.raises(ClosedError):
            kind(closed)
        with map_.create_view_accessor(PAGE + 4, PAGE) as shifted:
            with pytest.raises(ValueError, match="multiple of 8"):
                MappedLock(shifted, 0)
            MappedLock(shifted, 4).close()
            AtomicInt32(shifted, 0).close()
    assert view.read_bytes(0, SIZE).count(0) > SIZE - 8, "nothing was written but the marks of one lock"


@pytest.mark.parametrize("kind", [MappedLock, MappedReaderWriterLock, MappedEvent, MappedSemaphore])
def test_other_bytes_are_refused_and_left_alone(view: MemoryMappedViewAccessor, kind: Callable[..., Any]) -> None:
    view.write_bytes(0, b"\xff" * 16)
    with pytest.raises(DamagedObjectError, match="zeros"):
        kind(view)
    assert view.read_bytes(0, 32) == b"\xff" * 16 + bytes(16)


@pytest.mark.parametrize("kind", KINDS)
def test_it_outlives_the_view_and_the_map(kind: Callable[..., Any]) -> None:
    map_ = MemoryMappedFile.create_new(None, SIZE)
    view = map_.create_view_accessor()
    thing = kind(view, 64)
    view.close()
    map_.close()
    touch(thing)
    thing.close()
    thing.close()
    assert thing.closed
    assert "closed" in repr(thing)
    with pytest.raises(ClosedError):
        touch(thing)


@pytest.mark.parametrize("kind", KINDS)
def test_it_is_not_pickled(view: MemoryMappedViewAccessor, kind: Callable[..., Any]) -> None:
    with pytest.raises(TypeError, match="pickle the map"):
        pickle.dumps(kind(view))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_fault_ends_it(tmp_path: Path, kind: Callable[..., Any]) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))
    map_ = MemoryMappedFile.create_from_file(str(path), FileMode.OPEN)
    view = map_.create_view_accessor()
    thing = kind(view, 2 * PAGE)
    touch(thing)
    os.truncate(path, PAGE)
    for _ in range(2):
        with pytest.raises(MemoryFaultError):
            touch(thing)
    thing.close()
    with pytest.raises(MemoryFaultError):
        view.close()
    map_.close()


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_lock_whose_memory_is_gone_is_not_free(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(4 * PAGE))
    map_ = MemoryMappedFile.create_from_file(str(path), FileMode.OPEN)
    view = map_.create_view_accessor()
    lock, both = MappedLock(view, 2 * PAGE), MappedReaderWriterLock(view, 2 * PAGE + 1024)
    os.truncate(path, PAGE)
    for ask in (lock.locked, lock.statistics, both.reader.locked, both.writer.locked, both.writer.statistics,
                both.reader.statistics, both.statistics):  # fmt: skip
        with pytest.raises(MemoryFaultError):
            ask()
    for each in (lock, both.reader, both.writer):
        assert "its memory is gone" in repr(each)
        each.close()
    with pytest.raises(MemoryFaultError):
        view.close()
    map_.close()


def test_a_fault_while_it_is_owned(tmp_path: Path) -> None:
    """In a process of its own: what it owned is lost, and it goes on."""
    path = tmp_path / "file"
    with Actor(prelude=THERE.partition("m = ")[0]) as actor:
        code = """
with open(path, "wb") as file:
    file.write(bytes(4 * 4096))
m = MemoryMappedFile.create_from_file(path, FileMode.OPEN)
v = m.create_view_accessor()
lock, both = MappedLock(v, 8192), MappedReaderWriterLock(v, 8192 + 2048)
lock.acquire()
side = getattr(both, which)
side.acquire()
os.truncate(path, 4096)
_result = []
for each in (lock, side):
    for operation in (each.release, lambda: each.wait_one(0), lambda: each.wait_one(0)):
        try:
            operation()
            _result.append("done")
        except (MemoryFaultError, RuntimeError) as error:
            _result.append(type(error).__name__)
del lock, side, each, operation
both.close()
"""
        for which in ("reader", "writer"):
            seen = actor.do(code, path=str(path), which=which)
            assert seen[0] in ("MemoryFaultError", "done"), "the page is missed where it is touched"
            assert seen[1:3] == ["MemoryFaultError"] * 2
            assert seen[4:] == ["MemoryFaultError"] * 2
        actor.do("Mutex().acquire()")
        assert actor.finish() == 0


# -- locks


def test_two_views_of_one_map_have_one_lock(view: MemoryMappedViewAccessor) -> None:
    with MemoryMappedFile.open_existing("shared") as map_, map_.create_view_accessor(PAGE, PAGE) as second:
        one, two = MappedLock(view, PAGE + 64), MappedLock(second, 64)
        assert one.created_new
        assert not two.created_new
        with one:
            assert two.owned
            assert two.wait_one(0)
            two.release()
            assert in_thread(lambda: two.wait_one(0)) is False
        assert not two.owned
        assert in_thread(lambda: (two.wait_one(0), two.release())) == (True, None)
        first, other = MappedReaderWriterLock(view, PAGE + 2048), MappedReaderWriterLock(second, 2048)
        with first.writer:
            assert other.writer.owned
            assert other.writer.wait_one(0)
            other.writer.release()
        with first.reader, other.reader:
            assert first.statistics().readers == 1
        del one, first
        two.acquire()
        two.release()


def test_a_new_lock_where_an_old_one_was(view: MemoryMappedViewAccessor) -> None:
    lock = MappedLock(view)
    with lock:
        pass
    lock.close()
    view.write_bytes(0, bytes(64))
    again = MappedLock(view)
    assert again.created_new
    with again:
        pass


def test_processes_exclude_each_other(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock = MappedLock(view, 128)
    other.do("lock = MappedLock(v, 128)")
    with lock:
        assert other.get("lock.wait_one(0)") is False
        assert other.get("lock.acquire(timeout=0.05)") is False
        other.send("_result = lock.wait_one()")
        assert not other.answered(0.05)
    assert other.answer() is True
    assert lock.statistics().owner_process == other.pid
    with pytest.raises(RuntimeError, match="does not own"):
        lock.release()
    other.do("lock.release()")
    assert not lock.locked()


def test_the_next_is_told_of_a_dead_owner(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock = MappedLock(view)
    other.do("lock = MappedLock(v); lock.acquire(); lock.acquire()")
    other.kill()
    with pytest.raises(AbandonedMutexError) as caught:
        lock.wait_one(1)
    assert caught.value.previous_owner.process == other.pid
    lock.release()
    with lock:
        pass


def test_closing_and_dropping_while_owned(view: MemoryMappedViewAccessor) -> None:
    one, two = MappedLock(view), MappedLock(view)
    one.acquire()
    one.close()
    assert two.owned, "another object for the same place is open"
    two.close()
    three = MappedLock(view)
    with pytest.raises(AbandonedMutexError):
        three.wait_one(0)
    del three
    with pytest.raises(AbandonedMutexError), MappedLock(view):
        pass


def test_closing_what_another_thread_owns(view: MemoryMappedViewAccessor) -> None:
    held, go = threading.Event(), threading.Event()
    lock = MappedLock(view)

    def own() -> None:
        with lock:
            held.set()
            go.wait(LIMIT)

    thread = threading.Thread(target=own)
    thread.start()
    held.wait(LIMIT)
    lock.close()
    again = MappedLock(view)
    assert again.wait_one(0) is False
    go.set()
    thread.join(LIMIT)
    assert again.wait_one(0) is True
    again.release()


def test_a_forked_child_owns_nothing(view: MemoryMappedViewAccessor) -> None:
    lock, both = MappedLock(view), MappedReaderWriterLock(view, 4096)
    third = MappedReaderWriterLock(view, 8192)
    lock.acquire()
    both.reader.acquire()
    third.writer.acquire()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            for each in (lock, both.reader, third.writer):
                assert not each.owned
                with pytest.raises(RuntimeError):
                    each.release()
            assert lock.wait_one(0) is False
            assert both.writer.wait_one(0) is False
            assert both.reader.wait_one(0) is True
            assert third.reader.wait_one(0) is False
            both.reader.release()
            both.close()
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    for each in (lock, both.reader, third.writer):
        assert each.owned
        each.release()


# -- readers and writers


def test_many_read_or_one_writes(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v)")
    with both.reader:
        assert other.get("both.reader.wait_one(0)") is True
        assert both.statistics().readers == 2
        assert other.get("both.reader.locked()")
        other.do("both.reader.release()")
        assert other.get("both.writer.wait_one(0)") is False
        assert other.get("both.writer.wait_one(0.05)") is False
        assert other.get("both.reader.wait_one(1)") is True, "a writer that gave up stands in nobody's way"
        other.do("both.reader.release()")
    with both.writer:
        assert both.statistics().writer_process == os.getpid()
        assert other.get("both.reader.wait_one(0)") is False
        assert other.get("both.reader.wait_one(0.05)") is False
        assert other.get("both.writer.acquire(timeout=0.05)") is False
        other.send("_result = both.reader.wait_one()")
        assert not other.answered(0.05)
    assert other.answer() is True
    assert both.writer.wait_one(0) is False
    other.do("both.reader.release()")
    assert both.writer.wait_one(0) is True
    both.writer.release()
    assert both.statistics().readers == 0


def test_a_waiting_writer_comes_before_later_readers(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    both.reader.acquire()
    other.do("both = MappedReaderWriterLock(v)")
    other.send("_result = both.writer.wait_one()")

    def late() -> bool:
        if both.reader.wait_one(0):
            both.reader.release()
            return False
        return True

    until(lambda: bool(in_thread(late)))
    assert both.reader.wait_one(0) is True, "who reads already may do so again"
    both.reader.release()
    both.reader.release()
    assert other.answer() is True
    other.do("both.writer.release()")
    until(lambda: not in_thread(late))


def test_taking_it_again(view: MemoryMappedViewAccessor) -> None:
    both = MappedReaderWriterLock(view)
    with both.reader, both.reader, pytest.raises(RuntimeError, match="reads"):
        both.writer.acquire()
    with both.writer, both.writer:
        with pytest.raises(RuntimeError, match="writing"):
            both.reader.acquire()
        with pytest.raises(RuntimeError):
            both.reader.release()
    with pytest.raises(RuntimeError):
        both.writer.release()
    with both.writer:
        pass


def test_more_readers_than_slots(view: MemoryMappedViewAccessor) -> None:
    both = MappedReaderWriterLock(view)
    count = readers.SLOTS + 9
    go = threading.Event()
    inside: list[int] = []

    def read() -> None:
        with both.reader:
            inside.append(1)
            go.wait(LIMIT)

    threads = [threading.Thread(target=read) for _ in range(count)]
    for thread in threads:
        thread.start()
    until(lambda: len(inside) == readers.SLOTS)
    assert both.statistics().readers == readers.SLOTS
    assert both.reader.wait_one(0) is False
    assert both.reader.wait_one(0.02) is False
    assert both.writer.wait_one(0.02) is False
    go.set()
    for thread in threads:
        thread.join(LIMIT)
    assert len(inside) == count
    with both.writer:
        pass


def readers_inside(both: MappedReaderWriterLock, count: int) -> tuple[list[threading.Thread], list[threading.Event]]:
    """Threads that read until their event is set."""
    inside, go = threading.Semaphore(0), [threading.Event() for _ in range(count)]

    def read(event: threading.Event) -> None:
        with both.reader:
            inside.release()
            event.wait(LIMIT)

    threads = [threading.Thread(target=read, args=(event,)) for event in go]
    for thread in threads:
        thread.start()
        assert inside.acquire(timeout=LIMIT)
    return threads, go


def test_a_reader_waits_for_any_slot(view: MemoryMappedViewAccessor) -> None:
    """As many wait as there are slots, so that one of them began with the one that stays taken."""
    both = MappedReaderWriterLock(view)
    threads, go = readers_inside(both, readers.SLOTS)
    late = [threading.Thread(target=lambda: both.reader.acquire() and both.reader.release()) for _ in threads]
    for thread in late:
        thread.start()
    until(lambda: both.reader.statistics().waits == len(late))
    for event in go[1:]:
        event.set()
    for thread in late + threads[1:]:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert both.statistics().readers == 1
    go[0].set()
    threads[0].join(LIMIT)


def test_the_time_of_a_reader_is_over_once(view: MemoryMappedViewAccessor) -> None:
    """After it has waited for the gate it has less time to wait for a slot."""
    both = MappedReaderWriterLock(view)
    threads, go = readers_inside(both, readers.SLOTS)
    writer = threading.Thread(target=lambda: both.writer.acquire(timeout=0.8))
    writer.start()
    until(lambda: both.writer.statistics().waits == 1)
    began = time.monotonic()
    assert both.reader.acquire(timeout=1.0) is False
    assert 0.9 < time.monotonic() - began < 1.5
    for event in go:
        event.set()
    for thread in [writer, *threads]:
        thread.join(LIMIT)


def test_statistics_of_readers_and_writers(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v)")
    with both.writer:
        for statistics in (both.statistics(), other.get("both.statistics()")):
            assert (statistics.writer_process, statistics.readers) == (os.getpid(), 0)
            assert statistics.writer_thread == threading.get_native_id()
        assert both.writer.statistics().owner_process == os.getpid()
        assert both.reader.statistics().owner_process is None
        assert both.reader.statistics().owner_thread is None
        assert not both.reader.locked()
        assert both.writer.locked()
        assert not both.statistics().has_waiters
    threads, go = readers_inside(both, 3)
    other.send("_result = both.writer.wait_one()")
    until(lambda: both.statistics().has_waiters)
    for _ in range(20):  # in whatever slots they are
        statistics = both.statistics()
        assert (statistics.readers, statistics.writer_process, statistics.writer_thread) == (3, None, None)
    assert both.reader.statistics().has_waiters
    assert "3 read" in repr(both.reader)
    assert "free" in repr(both.writer)
    assert not both.writer.locked()
    for event in go:
        event.set()
    assert other.answer() is True
    assert both.statistics().writer_process == other.pid
    other.kill()
    assert both.statistics().writer_process is None
    both.reader.on_abandoned = None
    assert both.statistics().abandonments == 0
    with pytest.raises(AbandonedMutexError):
        both.reader.acquire()
    assert both.statistics().writer_process is None, "this thread reads, and no writer lives"
    both.reader.release()
    with pytest.raises(AbandonedMutexError):
        both.writer.acquire()
    both.writer.release()
    statistics = both.statistics()
    assert (statistics.abandonments, statistics.acquisitions, statistics.waits) == (2, 1 + 3 + 2, 0)
    for thread in threads:
        thread.join(LIMIT)


def test_handles_are_counted(view: MemoryMappedViewAccessor) -> None:
    for make in (MappedLock, lambda view: MappedReaderWriterLock(view, 4096)):
        objects = [make(view) for _ in range(3)]
        sides = [[each] if isinstance(each, MappedLock) else [each.reader, each.writer] for each in objects]
        for side in sides[0]:
            assert side.statistics().handles == 3
        objects[1].close()
        objects[1].close()
        for side in sides[0]:
            assert side.statistics().handles == 2
        del objects[2], sides[1:], side
        for side in sides[0]:
            assert side.statistics().handles == 1
        objects[0].close()


@pytest.mark.parametrize("takes", ["reader", "writer"])
@pytest.mark.parametrize("waits", ["reader", "writer"])
def test_a_signal_handler_that_takes_and_keeps(
    view: MemoryMappedViewAccessor, other: Actor, waits: str, takes: str
) -> None:
    """The interrupted wait has what it waited for then, or is told why it cannot."""
    both = MappedReaderWriterLock(view)
    both.writer.acquire()
    other.do(
        """
both = MappedReaderWriterLock(v)
def handler(*_):
    os.write(1, b"") if not getattr(both, takes).wait_one(15) else None
signal.signal(signal.SIGUSR1, handler)
""",
        takes=takes,
    )
    other.send(
        "try:\n _result = getattr(both, waits).wait_one(15)\nexcept RuntimeError as error:\n _result = str(error)",
        waits=waits,
    )
    until(lambda: both.statistics().has_waiters)
    os.kill(other.pid, signal.SIGUSR1)
    time.sleep(0.2)  # for the handler to wait; the result does not depend on it where the two are the same
    both.writer.release()
    got = other.answer()
    if waits == takes:
        assert got is True
    else:
        assert got is True or "cannot" in got
    other.do("while both.reader.owned: both.reader.release()")
    other.do("while both.writer.owned: both.writer.release()")
    for lock in (both.reader, both.writer):
        assert lock.wait_one(LIMIT)
        lock.release()
    for side in ("reader", "writer"):
        assert other.get(f"both.{side}.wait_one(0) and not both.{side}.release()")


@pytest.mark.parametrize("side", ["reader", "writer"])
def test_a_signal_handler_below_a_writer_that_waits_for_readers(
    view: MemoryMappedViewAccessor, other: Actor, side: str
) -> None:
    """The thread that it interrupted keeps all others out, and cannot go on."""
    both = MappedReaderWriterLock(view)
    both.reader.acquire()
    other.send(
        """
both = MappedReaderWriterLock(v)
seen = []
def handler(*_):
    seen.append(getattr(both, side).wait_one(0))
    try:
        getattr(both, side).wait_one()
    except RuntimeError as error:
        seen.append(str(error))
signal.signal(signal.SIGUSR1, handler)
_result = both.writer.wait_one(15), seen
""",
        side=side,
    )
    until(lambda: both.statistics().has_waiters)
    os.kill(other.pid, signal.SIGUSR1)
    time.sleep(0.2)  # for the handler to run; without it there is nothing to see
    both.reader.release()
    got, (looked, message) = other.answer()
    assert got is True
    assert looked is False
    assert "signal handler" in message
    other.do("both.writer.release()")
    with both.writer:
        pass


def test_a_reader_does_not_repair(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v); both.writer.acquire()")
    other.kill()
    repairs: list[object] = []
    with pytest.raises(io.UnsupportedOperation, match="cannot repair"), both.reader.recovering(repairs.append):
        pytest.fail("the body ran")
    with pytest.raises(io.UnsupportedOperation, match="cannot repair"):
        both.reader.on_abandoned = repairs.append  # type: ignore[assignment]
    with pytest.raises(AbandonedMutexError, match=r"a writer repairs.*writer\.recovering") as caught, both.reader:
        pytest.fail("the body ran")
    assert not caught.value.owned
    assert not both.reader.owned
    with pytest.raises(AbandonedMutexError, match=r"this thread reads now.*writer\.recovering"):
        both.reader.acquire()
    both.reader.release()
    with pytest.raises(AbandonedMutexError, match=r"recovering\(\) repair"), both.writer:
        pytest.fail("the body ran")
    assert not repairs
    both.writer.on_abandoned = repairs.append
    with both.writer:
        pass
    assert repairs == [both.writer]


def test_messages_say_which_lock(view: MemoryMappedViewAccessor, tmp_path: Path) -> None:
    lock, both = MappedLock(view, 64), MappedReaderWriterLock(view, 4096)
    names = {
        lock: "the lock at 64 of the map 'shared'",
        both.writer: "the reader-writer lock at 4096 of the map 'shared'",
        both.reader: "the reader-writer lock at 4096 of the map 'shared'",
    }
    for side, name in names.items():
        with pytest.raises(RuntimeError, match=f"{name}.*: only who"):
            side.release()
    for side in (lock, both.writer):
        side.acquire()
        side._give_back(abandoned=True)
    for side in (lock, both.reader, both.writer):
        with pytest.raises(AbandonedMutexError, match=f"{names[side]} was abandoned by"):
            side.acquire()
        side.release()
    with (
        MemoryMappedFile.create_new(None, 3 * PAGE) as unnamed,
        unnamed.create_view_accessor(PAGE, 2 * PAGE) as part,
        pytest.raises(RuntimeError, match=rf"the lock at 8 of the view at {PAGE}: only"),
    ):
        MappedLock(part, 8).release()
    path = tmp_path / "file"
    with MemoryMappedFile.create_from_file(path, FileMode.CREATE, None, PAGE) as map_:
        accessor = map_.create_view_accessor()
        gone = MappedLock(accessor, 128)
        os.truncate(path, 0)
        with pytest.raises(MemoryFaultError):
            accessor.read_byte(0)
        with pytest.raises(MemoryFaultError, match="the memory of the lock at 128 is gone"):
            gone.acquire()
        gone.close()
        with contextlib.suppress(MemoryFaultError):
            accessor.close()


def test_a_dead_reader_leaves_nothing(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v); both.reader.acquire()")
    assert both.writer.wait_one(0) is False
    other.kill()
    assert both.writer.wait_one(1) is True
    both.writer.release()


def test_all_are_told_of_a_dead_writer_until_one_has_repaired(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v); both.writer.acquire()")
    other.kill()
    for _ in range(2):
        with pytest.raises(AbandonedMutexError) as caught:
            both.reader.wait_one(1)
        assert caught.value.owned
        assert caught.value.previous_owner.process == other.pid
        both.reader.release()
    with pytest.raises(AbandonedMutexError), both.writer:
        pytest.fail("the body ran")
    with both.writer.recovering(lambda writer: None):
        pass
    with both.reader:
        pass
    with both.writer:
        pass


def test_a_writer_that_waits_and_dies_is_not_told_of(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    both.reader.acquire()
    other.do("both = MappedReaderWriterLock(v)")
    other.send("both.writer.wait_one()")
    until(lambda: in_thread(lambda: both.reader.wait_one(0) and not both.reader.release()) is False)
    other.kill()
    assert in_thread(lambda: both.reader.wait_one(1) and not both.reader.release()) is True
    both.reader.release()
    assert both.writer.wait_one(1) is True
    both.writer.release()


def test_ctrl_c_ends_the_wait_of_a_reader_and_of_a_writer(view: MemoryMappedViewAccessor, other: Actor) -> None:
    both = MappedReaderWriterLock(view)
    other.do("both = MappedReaderWriterLock(v)")
    for holds, waits in (("writer", "reader"), ("writer", "writer"), ("reader", "writer")):
        with getattr(both, holds):
            other.send(f"try:\n both.{waits}.wait_one()\nexcept KeyboardInterrupt:\n _result = 'interrupted'")
            assert not other.answered(0.05)
            os.kill(other.pid, signal.SIGINT)
            assert other.answer() == "interrupted"
        with both.writer:
            pass


def test_dropped_while_it_is_held(view: MemoryMappedViewAccessor) -> None:
    both = MappedReaderWriterLock(view)
    both.reader.acquire()
    del both
    both = MappedReaderWriterLock(view)
    assert both.writer.wait_one(0)
    del both
    both = MappedReaderWriterLock(view)
    with pytest.raises(AbandonedMutexError):
        both.writer.wait_one(0)
    both.writer.release()
    writer = both.writer
    both.close()
    with pytest.raises(ClosedError):
        writer.wait_one(0)


# -- events and semaphores


def test_events(view: MemoryMappedViewAccessor, other: Actor) -> None:
    event = MappedEvent(view, 16, True)
    assert event.created_new
    other.do("e = MappedEvent(v, 16, False, EventResetMode.MANUAL_RESET)\n", EventResetMode=EventResetMode)
    assert other.get("e.created_new, e.mode.name") == (False, "AUTO_RESET"), "its maker's mode"
    assert other.get("e.wait_one(0), e.wait_one(0)") == (True, False)
    other.send("_result = e.wait_one()")
    until(lambda: event.statistics().waiters == 1)
    event.set()
    assert other.answer() is True
    assert not event.is_set()
    manual = MappedEvent(view, 32, mode=EventResetMode.MANUAL_RESET)
    assert MappedEvent(view, 32).mode is EventResetMode.MANUAL_RESET
    manual.set()
    assert manual.wait(0)
    assert manual.wait(0)
    manual.reset()
    assert not manual.wait(0)
    zeros = MappedEvent(view, 48)
    assert not zeros.is_set()


def test_semaphores(view: MemoryMappedViewAccessor, other: Actor) -> None:
    semaphore = MappedSemaphore(view, 16, 2, 3)
    assert (semaphore.created_new, semaphore.maximum_count) == (True, 3)
    other.do("s = MappedSemaphore(v, 16, 1, 1)")
    assert other.get("s.created_new, s.maximum_count") == (False, 3)
    assert other.get("s.acquire(), s.acquire(), s.acquire(False)") == (True, True, False)
    other.send("_result = s.acquire()")
    until(lambda: semaphore.statistics().waiters == 1)
    assert semaphore.release() == 0
    assert other.answer() is True
    assert semaphore.release(3) == 0
    with pytest.raises(SemaphoreFullError):
        semaphore.release()
    with semaphore:
        assert semaphore.statistics().count == 2
    for wrong in ((-1, 1), (0, 0), (0, 1 << 31)):
        with pytest.raises(OutOfRangeError):
            MappedSemaphore(view, 32, *wrong)
    with pytest.raises(ValueError, match="more than"):
        MappedSemaphore(view, 32, 2, 1)
    assert MappedSemaphore(view, 32).wait_one(0) is False


def test_a_killed_waiter_strands_nobody(view: MemoryMappedViewAccessor, other: Actor) -> None:
    semaphore = MappedSemaphore(view)
    other.send("MappedSemaphore(v).wait_one()")
    until(lambda: semaphore.statistics().waiters == 1)
    other.kill()
    semaphore.release()
    assert semaphore.wait_one(1)


def test_waits_for_several(view: MemoryMappedViewAccessor) -> None:
    lock, event, semaphore = MappedLock(view), MappedEvent(view, 128), MappedSemaphore(view, 144, 1)
    both = MappedReaderWriterLock(view, 4096)
    assert wait_any([event, semaphore, lock], 0) == 1
    assert wait_all([lock, event, both.writer], 0) is False
    assert not lock.locked()
    event.set()
    assert wait_all([lock, event, both.writer], 1) is True
    lock.release()
    both.writer.release()
    assert wait_any([both.reader, event], 0) == 0
    both.reader.release()
    with pytest.raises(ValueError, match="same object"):
        wait_all([lock, MappedLock(view)], 0)


# -- numbers


@pytest.mark.parametrize("kind", ATOMICS)
def test_numbers(view: MemoryMappedViewAccessor, kind: Any) -> None:
    bits = kind.SIZE * 8
    low, high = (0, 2**bits - 1) if "U" in kind.__name__ else (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1)
    number = kind(view, 8)
    neighbour = kind(view, 8 + kind.SIZE)
    neighbour.store(high)
    assert number.load() == 0
    assert number.exchange(high) == 0
    assert number.fetch_add(1) == high
    assert number.load() == low, "it wraps around"
    assert number.fetch_sub(1) == low
    assert number.load() == high
    number.store(low)
    assert number.compare_exchange(high, 5) is False
    assert number.compare_exchange(low, 5) is True
    assert number.load() == 5
    assert number.fetch_or(2) == 5
    assert number.fetch_and(6) == 7
    assert number.fetch_xor(5) == 6
    assert number.load() == 3
    assert number.fetch_add(-3) == 3
    assert number.fetch_add() == 0
    assert number.fetch_sub() == 1
    assert number.fetch_add(2**200 + 9) == 0, "modulo 2**bits"
    assert number.load() == 9
    for wrong in (low - 1, high + 1, 2**100):
        for refused in (number.store, number.exchange, lambda w: number.compare_exchange(9, w), number.wait):
            with pytest.raises(ValueOutOfRangeError):
                refused(wrong)
    for refused in (number.store, number.fetch_add, number.wait):
        with pytest.raises(TypeError):
            refused("1")
    assert number.load() == 9
    assert neighbour.load() == high
    with number as same:
        assert same is number
    with pytest.raises(ClosedError):
        number.load()


@pytest.mark.parametrize("kind", ATOMICS)
def test_waiting_for_a_number(view: MemoryMappedViewAccessor, other: Actor, kind: Any) -> None:
    number = kind(view)
    assert number.wait(1, 0) is True
    began = time.monotonic()
    assert number.wait(0, 0) is False
    assert number.wait(0, 0.05) is False
    assert time.monotonic() - began >= 0.05 - 1e-6
    other.do(f"n = {kind.__name__}(v)")
    other.send("_result = n.wait(0), n.load()")
    assert not other.answered(0.05)
    number.store(7)
    number.notify()
    assert other.answer() == (True, 7)
    other.send("_result = n.wait(7)")
    number.fetch_add()
    assert other.answer(5) is True, "also without a call"
    other.send("try:\n n.wait(8)\nexcept KeyboardInterrupt:\n _result = 'interrupted'")
    assert not other.answered(0.05)
    os.kill(other.pid, signal.SIGINT)
    assert other.answer() == "interrupted"
    number.notify(0)
    number.notify_all()


def test_the_upper_half_of_a_number(view: MemoryMappedViewAccessor) -> None:
    """The kernel compares the lower half; the upper one is looked at as well."""
    number = AtomicUInt64(view)
    seen: list[bool] = []
    thread = threading.Thread(target=lambda: seen.append(number.wait(0)))
    thread.start()
    number.store(1 << 40)
    thread.join(5)
    assert seen == [True]


def test_counting_together(view: MemoryMappedViewAccessor) -> None:
    """Several processes: not one step is lost."""
    numbers = [kind(view, 64 * i) for i, kind in enumerate(ATOMICS)]
    total = AtomicInt64(view, 1024)
    code = """
numbers = [kind(v, 64 * i) for i, kind in enumerate((AtomicInt32, AtomicUInt32, AtomicInt64, AtomicUInt64))]
total = AtomicInt64(v, 1024)
for _ in range(5000):
    for number in numbers:
        number.fetch_add(3)
    while not total.compare_exchange(now := total.load(), now + 1):
        pass
"""
    with contextlib.ExitStack() as stack:
        counting = [stack.enter_context(Actor(prelude=THERE)) for _ in range(3)]
        for each in counting:
            each.send(code)
        for each in counting:
            each.answer()
    assert [number.load() for number in numbers] == [45000] * 4
    assert total.load() == 15000


# -- the page


def test_the_examples_of_the_page_run(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    page = Path(__file__).resolve().parent.parent / "docs" / "synchronization-in-maps.md"
    text = page.read_text(encoding="utf-8")
    for example in re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE):
        names: dict[str, Any] = {}
        exec(compile(example, page.name, "exec"), names)
        if "mutex" in names:
            names["mutex"].close()
    assert capsys.readouterr().out == "0\n"
    for kind in (MappedLock, MappedReaderWriterLock, MappedEvent, MappedSemaphore, MappedCondition, *ATOMICS):
        (row,) = (line for line in text.splitlines() if line.startswith("| `") and f"`{kind.__name__}`" in line)
        more = 8 if kind is MappedLock and platform.machine() == "aarch64" else 0  # the line below the table
        assert row.split("|")[2:4] == [f" {kind.SIZE - more} ", f" {kind.ALIGNMENT} "]


# -- kills

STAGE = PRELUDE + "from support.lock_deaths import kill_everywhere, unavailable\n"
CROWD = PRELUDE + "from support.contending import contend\n"


@pytest.fixture
def stage() -> Iterator[Actor]:
    with Actor(prelude=STAGE, timeout=900) as actor:
        unavailable = actor.get("unavailable()")
        if unavailable:
            pytest.skip(unavailable)
        yield actor


def step_through(stage: Actor, kind: str, step: int, waiting: bool) -> dict[str, int]:
    start = random.randrange(step)
    counts = stage.get(
        "kill_everywhere(kind, step, start, waiting=waiting)", kind=kind, step=step, start=start, waiting=waiting
    )
    print(f"from {start}: {counts}")
    assert counts["points"] > 300
    return dict(counts)


@pytest.mark.parametrize("kind", ["lock", "reader"])
def test_killed_at_some_instructions(stage: Actor, kind: str) -> None:
    step_through(stage, kind, 61, waiting=True)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "waiting", "step"),
    [
        ("lock", True, 1),
        ("writer", True, 1),
        ("writer", False, 1),
        ("reader", True, 1),
        ("writer in line", True, 1),
        ("writer in line", False, 1),
    ],
)
def test_killed_at_every_instruction(stage: Actor, kind: str, waiting: bool, step: int) -> None:
    counts = step_through(stage, kind, step, waiting)
    assert ("told" in counts) == (kind in ("lock", "writer")), "a dead writer is told of, a dead reader is not"


def contend(kind: str, processes: int, seconds: float) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    with Actor(prelude=CROWD) as crowd:
        result = crowd.get(
            "contend(kind, seed, processes, seconds)",
            seconds + 60,
            kind=kind,
            seed=seed,
            processes=processes,
            seconds=seconds,
        )
        assert crowd.finish() == 0
    print(result)
    assert result.wrong == []
    assert result.turns > 0


@pytest.mark.parametrize("kind", ["lock", "readers", "condition"])
def test_contending_and_dying(kind: str) -> None:
    contend(kind, 6, 0.4)


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["lock", "readers", "condition"])
@pytest.mark.parametrize("processes", [3, 12])
def test_contending_and_dying_for_longer(kind: str, processes: int) -> None:
    contend(kind, processes, 15.0)

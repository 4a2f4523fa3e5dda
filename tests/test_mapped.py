# SPDX-License-Identifier: MIT
"""Locks, events, semaphores, conditions and numbers inside a map: between views, threads and mortal processes."""

from __future__ import annotations

import io
import os
import pickle
import random
import re
import signal
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.actors import PRELUDE, Actor

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
PAGE = os.sysconf("SC_PAGE_SIZE")
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


def in_a_thread(function: Callable[[], object]) -> object:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(function).result(LIMIT)


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
    assert view.read_bytes(0, SIZE).count(0) > SIZE - 4, "nothing was written but one kind word"


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
            assert in_a_thread(lambda: two.wait_one(0)) is False
        assert not two.owned
        assert in_a_thread(lambda: (two.wait_one(0), two.release())) == (True, None)
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

    until(lambda: bool(in_a_thread(late)))
    assert both.reader.wait_one(0) is True, "who reads already may do so again"
    both.reader.release()
    both.reader.release()
    assert other.answer() is True
    other.do("both.writer.release()")
    until(lambda: not in_a_thread(late))


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
    until(lambda: in_a_thread(lambda: both.reader.wait_one(0) and not both.reader.release()) is False)
    other.kill()
    assert in_a_thread(lambda: both.reader.wait_one(1) and not both.reader.release()) is True
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
    lock, event, semaphore = MappedLock(view), MappedEvent(view, 64), MappedSemaphore(view, 80, 1)
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
    assert time.monotonic() - began >= 0.05
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
    pids = []
    for _ in range(3):
        pid = os.fork()
        if pid == 0:
            for _ in range(5000):
                for number in numbers:
                    number.fetch_add(3)
                while not total.compare_exchange(now := total.load(), now + 1):
                    pass
            os._exit(0)
        pids.append(pid)
    for pid in pids:
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert [number.load() for number in numbers] == [45000] * 4
    assert total.load() == 15000


# -- conditions


def test_conditions(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock, items = MappedLock(view), AtomicInt32(view, 100)
    changed = MappedCondition(view, 64, lock)
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 64, lock); items = AtomicInt32(v, 100)")
    other.send("with changed:\n with lock:\n  _result = changed.wait_for(lambda: items.load()), lock._core.depth")
    until(lambda: changed._waiters.load() == 1)
    with changed:
        assert lock.owned
        items.store(3)
        changed.notify()
    assert other.answer() == (3, 2), "it owns the lock as often as before"
    assert not lock.locked()
    with changed:
        began = time.monotonic()
        assert changed.wait(0.05) is False
        assert changed.wait_for(lambda: 0, 0.05) == 0
        assert time.monotonic() - began >= 0.1
        assert lock.owned
    for refused in (changed.wait, changed.notify, changed.notify_all):
        with pytest.raises(RuntimeError, match="does not own"):
            refused()
    for wrong in (None, threading.Lock(), MappedReaderWriterLock(view, 4096).reader):
        with pytest.raises(TypeError):
            MappedCondition(view, 64, wrong)  # type: ignore[arg-type]


def test_notify_all(view: MemoryMappedViewAccessor) -> None:
    changed = MappedCondition(view, 64, MappedReaderWriterLock(view, 4096).writer)
    go: list[int] = []
    through: list[int] = []

    def wait() -> None:
        with changed:
            changed.wait_for(lambda: go)
            through.append(1)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: changed._waiters.load() == 8)
    with changed:
        go.append(1)
        changed.notify_all()
    for thread in threads:
        thread.join(LIMIT)
    assert len(through) == 8


def test_an_interrupted_condition_owns_its_lock_again(view: MemoryMappedViewAccessor, other: Actor) -> None:
    changed = MappedCondition(view, 64, MappedLock(view))
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 64, lock)")
    other.send(
        "lock.acquire()\n"
        "try:\n changed.wait()\nexcept KeyboardInterrupt:\n _result = lock.owned\nfinally:\n lock.release()"
    )
    until(lambda: changed._waiters.load() == 1)
    os.kill(other.pid, signal.SIGINT)
    assert other.answer() is True
    assert changed._waiters.load() == 0
    with changed:
        pass


def test_a_condition_tells_of_a_dead_owner(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock = MappedLock(view)
    changed = MappedCondition(view, 64, lock)
    seen: list[object] = []

    def wait() -> None:
        lock.acquire()
        try:
            changed.wait()
        except AbandonedMutexError:
            seen.append(lock.owned)
        lock.release()

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: changed._waiters.load() == 1)
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 64, lock); lock.acquire(); changed.notify()")
    other.kill()
    thread.join(LIMIT)
    assert seen == [True]


def test_a_call_wakes_at_once(view: MemoryMappedViewAccessor) -> None:
    """Not only at the next look, after a quarter of a second: there and back twenty times would take ten seconds."""
    number = AtomicInt32(view)
    turn = AtomicInt32(view, 4)
    changed = MappedCondition(view, 128, MappedLock(view, 64))
    rounds = 20

    def answer() -> None:
        for i in range(rounds):
            number.wait(2 * i)
            number.store(2 * i + 2)
            number.notify()
            with changed:
                changed.wait_for(lambda i=i: turn.load() == 2 * i + 1)  # type: ignore[misc]
                turn.fetch_add()
                changed.notify()

    thread = threading.Thread(target=answer)
    thread.start()
    began = time.monotonic()
    for i in range(rounds):
        number.store(2 * i + 1)
        number.notify()
        number.wait(2 * i + 1)
        with changed:
            turn.fetch_add()
            changed.notify()
            changed.wait_for(lambda i=i: turn.load() == 2 * i + 2)  # type: ignore[misc]
    thread.join(LIMIT)
    assert time.monotonic() - began < 5


# -- the page


def test_the_examples_of_the_page_run(capsys: pytest.CaptureFixture[str]) -> None:
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
        assert row.split("|")[2:4] == [f" {kind.SIZE} ", f" {kind.ALIGNMENT} "]


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


@pytest.mark.parametrize("kind", ["lock", "writer", "reader"])
def test_killed_at_some_instructions(stage: Actor, kind: str) -> None:
    step_through(stage, kind, 31, waiting=True)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("kind", "waiting", "step"),
    [("lock", True, 1), ("writer", True, 1), ("writer", False, 1), ("reader", True, 1)],
)
def test_killed_at_every_instruction(stage: Actor, kind: str, waiting: bool, step: int) -> None:
    counts = step_through(stage, kind, step, waiting)
    assert ("told" in counts) == (kind != "reader"), "a dead writer is told of, a dead reader is not"


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
    contend(kind, 6, 1.5)


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("kind", ["lock", "readers", "condition"])
@pytest.mark.parametrize("processes", [3, 12])
def test_contending_and_dying_for_longer(kind: str, processes: int) -> None:
    contend(kind, processes, 15.0)

# SPDX-License-Identifier: MIT
"""What lies at a place of a map: one of several makes it, nobody takes it for another kind, and zeros make it anew."""

from __future__ import annotations

import contextlib
import os
import threading
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from memorymapped import (
    AbandonedMutexError,
    AtomicInt32,
    DamagedObjectError,
    FileMode,
    MappedCondition,
    MappedEvent,
    MappedLock,
    MappedReaderWriterLock,
    MappedSemaphore,
    MemoryMappedFile,
    MemoryMappedViewAccessor,
    Mutex,
    WaitHandleCannotBeOpenedError,
)

SIZE = 1 << 20


def condition(view: MemoryMappedViewAccessor, position: int = 0) -> MappedCondition:
    return MappedCondition(view, position, Mutex())


NAMES: dict[Callable[..., Any], str] = {
    MappedLock: "a lock",
    MappedReaderWriterLock: "a reader-writer lock",
    MappedEvent: "an event",
    MappedSemaphore: "a semaphore",
    condition: "a condition",
}
TOLD = [kind for kind in NAMES if kind is not condition]  # those with created_new


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new(None, SIZE) as map_, map_.create_view_accessor() as accessor:
        yield accessor


def in_processes(work: Callable[[int], bytes], count: int = 2) -> list[bytes]:
    """What `work(number)` returned in each of so many forked processes."""
    readers, pids = [], []
    for number in range(count):
        reads, writes = os.pipe()
        readers.append(reads)
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.write(writes, work(number))
                status = 0
            except BaseException:  # noqa: BLE001 - it is told
                os.write(writes, traceback.format_exc().encode())
            finally:
                os._exit(status)
        pids.append(pid)
        os.close(writes)
    results = []
    for reads, pid in zip(readers, pids, strict=True):
        with os.fdopen(reads, "rb") as file:
            results.append(file.read())
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0, results[-1].decode()
    return results


# -- one makes it


@pytest.mark.parametrize("kind", TOLD)
def test_one_of_several_that_come_at_once_has_made_it(view: MemoryMappedViewAccessor, kind: Any) -> None:
    places = min(400, (SIZE - 4096) // kind.SIZE)
    turn = AtomicInt32(view)

    def make(_: int) -> bytes:
        made = bytearray(places)
        for place in range(places):
            turn.fetch_add()
            while turn.load() < 2 * (place + 1):
                pass
            with contextlib.closing(kind(view, 4096 + place * kind.SIZE)) as thing:
                made[place] = thing.created_new
        return bytes(made)

    one, other = in_processes(make)
    assert bytes(a + b for a, b in zip(one, other, strict=True)) == b"\1" * places


# -- kinds


@pytest.mark.parametrize("there", NAMES)
@pytest.mark.parametrize("kind", NAMES)
def test_another_kind_is_refused_and_named(
    view: MemoryMappedViewAccessor, kind: Callable[..., Any], there: Callable[..., Any]
) -> None:
    first = there(view, 64)
    before = view.read_bytes(0, 4096)
    if kind is there:
        kind(view, 64).close()
    else:
        with pytest.raises(WaitHandleCannotBeOpenedError, match=f"at 64 there is {NAMES[there]}, not {NAMES[kind]}"):
            kind(view, 64)
    assert view.read_bytes(0, 4096) == before
    first.close()
    view.write_bytes(64, bytes(2048))
    kind(view, 64).close()


@pytest.mark.parametrize("kind", [MappedEvent, MappedSemaphore, condition])
def test_a_lock_in_use_is_refused_too(view: MemoryMappedViewAccessor, kind: Callable[..., Any]) -> None:
    lock = MappedLock(view)
    for _ in range(3):
        with lock, pytest.raises(WaitHandleCannotBeOpenedError, match="there is a lock"):
            kind(view)
        with pytest.raises(WaitHandleCannotBeOpenedError, match="there is a lock"):
            kind(view)
    both = MappedReaderWriterLock(view, 4096)
    for side in (both.reader, both.writer):
        with side:
            for slot in (0, 64, 31 * 64):
                with pytest.raises(WaitHandleCannotBeOpenedError, match="there is a reader-writer lock"):
                    kind(view, 4096 + slot)
                with pytest.raises(WaitHandleCannotBeOpenedError, match="there is a reader-writer lock"):
                    MappedLock(view, 4096 + slot)


@pytest.mark.parametrize("kind", NAMES)
def test_who_dies_while_he_makes_it_leaves_a_place_for_the_same_kind(
    view: MemoryMappedViewAccessor, kind: Callable[..., Any]
) -> None:
    """The first step is the kind, the last one what is made of it."""
    kind(view, 64).close()
    mark = view.read_bytes(64 + 12, 4)
    view.write_bytes(64, bytes(2048))
    view.write_bytes(64 + 12, mark)
    for other in NAMES:
        if other is not kind:
            with pytest.raises(WaitHandleCannotBeOpenedError, match=NAMES[kind]):
                other(view, 64)
    thing = kind(view, 64)
    if kind is not condition:
        assert thing.created_new
        assert not kind(view, 64).created_new


def test_a_semaphore_with_more_than_its_maximum_is_damaged(view: MemoryMappedViewAccessor) -> None:
    MappedSemaphore(view, 0, 3, 3).close()
    view.write_uint32(0, 4)
    with pytest.raises(DamagedObjectError, match="4 and 3"):
        MappedSemaphore(view)
    MappedEvent(view, 64).close()
    view.write_uint32(64 + 4, 3)
    with pytest.raises(DamagedObjectError, match="0 and 3"):
        MappedEvent(view, 64)
    view.write_bytes(128, (100).to_bytes(4, "little") + (3).to_bytes(4, "little"))
    for kind in (MappedSemaphore, MappedEvent):
        with pytest.raises(DamagedObjectError, match="zeros make"):
            kind(view, 128)


def test_a_mutex_that_a_c_program_has_made_is_a_lock(view: MemoryMappedViewAccessor) -> None:
    """It has no mark of ours, and gets none."""
    MappedLock(view).close()
    view.write_bytes(12, bytes(4))
    lock = MappedLock(view)
    assert not lock.created_new
    with lock:
        pass
    assert view.read_bytes(12, 4) == bytes(4)


# -- made anew (in a process of its own: a mutex that is damaged while it is owned stays in its thread's list)


def test_memory_that_was_zeroed_while_it_was_owned_is_a_lock_anew(view: MemoryMappedViewAccessor) -> None:
    def zero(_: int) -> bytes:
        one, two = MappedLock(view), MappedLock(view)
        one.acquire()
        view.write_bytes(0, bytes(MappedLock.SIZE))
        with pytest.raises(DamagedObjectError, match="close all its handles"):
            one.release()
        one.close()
        two.close()
        again = MappedLock(view)
        assert again.created_new
        with again:
            pass
        assert not again.locked()
        return b"done"

    assert in_processes(zero, 1) == [b"done"]


def test_zeroed_while_another_thread_owns_it(view: MemoryMappedViewAccessor) -> None:
    """That thread's object is of no use any more, and stands in nobody's way."""

    def zero(_: int) -> bytes:
        owned, go = threading.Event(), threading.Event()
        lock = MappedLock(view)
        said = []

        def own() -> None:
            lock.acquire()
            owned.set()
            go.wait(20)
            with pytest.raises(DamagedObjectError):
                lock.release()
            said.append(b"done")

        thread = threading.Thread(target=own)
        thread.start()
        owned.wait(20)
        view.write_bytes(0, bytes(MappedLock.SIZE))
        again = MappedLock(view)
        assert again.created_new
        assert again.wait_one(0)
        again.release()
        go.set()
        thread.join(20)
        with again:
            pass
        return said[0]

    assert in_processes(zero, 1) == [b"done"]


def test_a_copy_of_an_owned_lock_is_told_and_zeroed(view: MemoryMappedViewAccessor, tmp_path: Path) -> None:
    """As after a crash of the machine: the thread that it names does not exist, and no kernel has marked it."""
    lock = MappedLock(view)
    with (
        MemoryMappedFile.create_from_file(str(tmp_path / "file"), FileMode.CREATE, None, 4096) as map_,
        map_.create_view_accessor() as copy,
    ):

        def own(_: int) -> bytes:
            lock.acquire()
            copy.write_bytes(0, view.read_bytes(0, MappedLock.SIZE))
            return str(os.getpid()).encode()

        (owner,) = in_processes(own, 1)
        with pytest.raises(AbandonedMutexError):
            lock.wait_one(0)
        lock.release()
        copied = MappedLock(copy)
        assert copied.wait_one(0) is False
        with pytest.raises(DamagedObjectError, match=f"thread {owner.decode()}"):
            copied.wait_one(5)
        copied.close()
        copy.write_bytes(0, bytes(MappedLock.SIZE))
        with MappedLock(copy) as again:
            assert again.created_new

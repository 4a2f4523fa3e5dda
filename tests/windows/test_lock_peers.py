# SPDX-License-Identifier: MIT
"""The same mutexes, events and semaphores in Python, in C# on .NET for Windows, and in C, by their names alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from support.leftovers import unique
from windows.foreign import Foreign

import memorymapped as m
from memorymapped import EventResetMode, EventWaitHandle, Mutex, Semaphore, wait_all, wait_any

CSHARP, C = "locks.cs", "locks.c"
LATER = 30_000  # milliseconds


class Other(Foreign):
    def __init__(self, file: str) -> None:
        super().__init__(file)
        self.is_csharp = file == CSHARP

    def refuses(self, exception: str, error: int, *step: object) -> None:
        """It must refuse this: in C# by the exception, in C by the error."""
        assert self.ask(*step) == f"!{exception if self.is_csharp else error}"


@pytest.fixture(params=[CSHARP, C])
def other(request: pytest.FixtureRequest) -> Iterator[Other]:
    with Other(request.param) as program:
        yield program


@pytest.fixture(params=["", "Local\\", "Global\\"])
def name(request: pytest.FixtureRequest) -> str:
    return f"{request.param}{unique()} schloß"


def test_a_mutex_that_python_makes(other: Other, name: str) -> None:
    other.refuses("WaitHandleCannotBeOpenedException", 2, "open_mutex", "m", name)
    with Mutex(name=name) as mutex:
        other.do("open_mutex", "m", name)
        assert other.do("wait", "m", 0) == "0"
        other.refuses("ApplicationException", 288, "release", "m")
        mutex.release_mutex()
        assert other.do("wait", "m", LATER) == "1"
        assert mutex.locked()
        assert not mutex.wait_one(0.01)
        other.tell("release", "m")
        mutex.wait_one()
        assert other.answer().startswith("=")
    mutex.close()
    Mutex.open_existing(name).close()  # the other program has it open
    other.do("close", "m")
    assert Mutex.try_open_existing(name) is None


def test_a_mutex_that_they_make(other: Other, name: str) -> None:
    assert other.do("mutex", "m", name, 1) == "1"
    mutex = Mutex(True, name)
    assert not mutex.created_new
    assert not mutex.owned
    assert mutex.locked()
    assert "owned by" in repr(mutex)
    assert not mutex.wait_one(0.05)
    assert other.do("wait", "m", 0) == "1"  # they own it twice
    other.do("release", "m")
    assert not mutex.wait_one(0.01)
    other.do("release", "m")
    assert mutex.wait_one()
    assert mutex.wait_one()
    mutex.release()
    assert other.do("wait", "m", 0) == "0"
    mutex.release()
    assert other.do("wait", "m", 0) == "1"
    mutex.close()


def test_a_killed_owner_over_there_is_told_here(other: Other, name: str) -> None:
    other.do("mutex", "m", name, 1)
    mutex = Mutex(name=name, on_abandoned=lambda mutex: repaired.append(mutex.owned))
    repaired: list[bool] = []
    other.kill()
    with mutex:
        assert repaired == [True]
    with mutex:
        assert repaired == [True]
    mutex.close()


def test_a_killed_owner_over_there_wakes_a_waiter_here(other: Other, name: str) -> None:
    other.do("mutex", "m", name, 1)
    mutex = Mutex(name=name)
    killer = threading.Timer(0.1, other.kill)
    killer.start()
    with pytest.raises(m.AbandonedMutexError) as told:
        mutex.wait_one(30)
    killer.join()
    assert told.value.owned
    assert told.value.previous_owner.process is None
    assert mutex.owned
    mutex.release()
    with mutex:
        assert mutex.statistics().abandonments == 1
    mutex.close()


def test_an_owner_here_that_ends_is_told_over_there(other: Other, name: str) -> None:
    mutex = Mutex(name=name)
    other.do("open_mutex", "m", name)
    thread = threading.Thread(target=mutex.wait_one)
    thread.start()
    thread.join()
    other.refuses("AbandonedMutexException", 128, "wait", "m", LATER)
    other.do("release", "m")
    assert other.do("wait", "m", 0) == "1"
    other.do("release", "m")
    with mutex:  # they were told, and it is not told twice
        pass
    mutex.close()


def test_all_count_under_one_mutex(name: str) -> None:
    rounds = 300
    with (
        m.MemoryMappedFile.create_new(f"{name} map", 100) as map_,
        map_.create_view_accessor() as view,
        Other(CSHARP) as one,
        Other(C) as two,
    ):
        mutex = Mutex(name=name)
        for program in (one, two):
            program.do("mutex", "m", name, 0)
            program.tell("count", "m", f"{name} map", rounds)
        for _ in range(rounds):
            with mutex:
                view.write_int32(0, view.read_int32(0) + 1)
        for program in (one, two):
            assert program.answer().startswith("=")
        assert view.read_int32(0) == 3 * rounds
        mutex.close()


@pytest.mark.parametrize("mode", EventResetMode)
def test_an_event_that_python_makes(other: Other, name: str, mode: EventResetMode) -> None:
    other.refuses("WaitHandleCannotBeOpenedException", 2, "open_event", "e", name)
    with EventWaitHandle(False, mode, name) as event:
        other.do("open_event", "e", name)
        assert other.do("wait", "e", 0) == "0"
        other.tell("wait", "e", LATER)
        event.set()
        assert other.answer() == "=1"
        assert event.is_set() is (mode is EventResetMode.MANUAL_RESET)
        event.reset()
        other.do("set", "e")
        assert event.is_set()
        assert event.wait_one(0)
        other.do("reset", "e")
        assert not event.is_set()


@pytest.mark.parametrize("mode", EventResetMode)
def test_an_event_that_they_make(other: Other, name: str, mode: EventResetMode) -> None:
    by_hand = int(mode is EventResetMode.MANUAL_RESET)
    assert other.do("event", "e", name, 1, by_hand) == "1"
    with EventWaitHandle.open_existing(name) as event:
        assert (event.mode, event.created_new, event.is_set()) == (mode, False, True)
        assert event.wait_one()
        assert event.wait_one(0) is bool(by_hand)
        event.reset()
        timer = threading.Timer(0.05, other.do, ("set", "e"))
        timer.start()
        assert event.wait_one(30)
        timer.join()
    with pytest.raises(m.WaitHandleCannotBeOpenedError, match="is an event, not a mutex"):
        Mutex(name=name)
    with pytest.raises(m.WaitHandleCannotBeOpenedError, match="is an event, not a semaphore"):
        Semaphore.open_existing(name)


def test_a_semaphore_in_both_directions(other: Other, name: str) -> None:
    with Semaphore(2, 3, name) as semaphore:  # takes one
        other.do("open_semaphore", "s", name)
        assert other.do("wait", "s", 0) == "1"
        assert other.do("wait", "s", 0) == "0"
        assert other.do("give", "s", 2) == "0"
        assert semaphore.statistics().count == 2
        other.refuses("SemaphoreFullException", 298, "give", "s", 2)
        with pytest.raises(m.SemaphoreFullError):
            semaphore.release(2)
    semaphore.close()
    other.do("close", "s")
    assert other.do("semaphore", "s", name, 0, 5) == "1"
    semaphore = Semaphore.open_existing(name)
    assert semaphore.maximum_count == 5
    other.tell("wait", "s", LATER)
    assert semaphore.release(2) == 0
    assert other.answer() == "=1"
    assert semaphore.wait_one(30)
    semaphore.close()


def test_waits_for_several(other: Other, name: str) -> None:
    event, mutex = EventWaitHandle(False, EventResetMode.AUTO_RESET, f"{name} e"), Mutex(name=f"{name} m")
    semaphore = Semaphore(0, 1, f"{name} s")
    for what, each in (("event", "e"), ("mutex", "m"), ("semaphore", "s")):
        other.do(f"open_{what}", each, f"{name} {each}")
    assert other.do("wait", "m", 0) == "1"
    assert wait_any([event, mutex, semaphore], 0.02) is None
    timer = threading.Timer(0.05, other.do, ("give", "s", 1))
    timer.start()
    assert wait_any([event, mutex, semaphore], 30) == 2
    timer.join()
    assert not wait_all([event, mutex, semaphore], 0.02)
    other.do("set", "e")
    other.do("give", "s", 1)
    assert not wait_all([event, mutex, semaphore], 0.02)
    assert event.is_set()  # nothing of it was taken
    timer = threading.Timer(0.05, other.do, ("release", "m"))
    timer.start()
    assert wait_all([event, mutex, semaphore], 30)
    timer.join()
    assert mutex.owned
    assert not event.is_set()
    assert other.do("wait_any", "e,m,s", 0) == "258"
    event.set()
    semaphore.release()
    assert other.do("wait_all", "e,m,s", 0) == "0"
    mutex.release()
    assert other.do("wait_all", "e,m,s", LATER) == "1"
    other.kill()
    with pytest.raises(m.AbandonedMutexError) as told:
        wait_any([event, mutex, semaphore], 30)
    assert (told.value.mutex_index, told.value.mutex) == (1, mutex)
    mutex.release()
    for handle in (event, mutex, semaphore):
        handle.close()


def test_a_single_instance(other: Other, name: str) -> None:
    """As the articles do it: who makes the mutex is the first."""
    assert other.do("mutex", "m", name, 1) == "1"
    with pytest.raises(m.WaitHandleCannotBeOpenedError):
        EventWaitHandle.open_existing(name)
    second = Mutex(True, name)
    assert not second.created_new
    other.kill()
    second.close()
    third = Mutex(True, name)
    assert third.created_new
    assert third.owned
    third.release()
    third.close()

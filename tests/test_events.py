# SPDX-License-Identifier: MIT
"""Events: .NET's semantics. (What events and semaphores have in common: test_wait_handles.py.)"""

from __future__ import annotations

import threading
import time

import pytest
from support.waits import SLACK, in_thread, waiting

from memorymapped import OutOfRangeError, WaitHandleCannotBeOpenedError
from memorymapped.sync.events import (
    AutoResetEvent,
    EventResetMode,
    EventStatistics,
    EventWaitHandle,
    ManualResetEvent,
)

AUTO, MANUAL = EventResetMode.AUTO_RESET, EventResetMode.MANUAL_RESET


@pytest.mark.parametrize("mode", EventResetMode)
@pytest.mark.parametrize("on", [False, True])
def test_the_initial_state(mode: EventResetMode, on: bool) -> None:
    event = EventWaitHandle(on, mode)
    assert (event.mode, event.is_set(), event.statistics()) == (mode, on, EventStatistics(on, 0))
    assert event.wait_one(0) is on
    assert event.is_set() is (on and mode is MANUAL)


def test_the_classes_without_a_mode() -> None:
    assert not AutoResetEvent().is_set()
    assert not ManualResetEvent().is_set()
    assert AutoResetEvent(True).is_set()
    assert ManualResetEvent(True).is_set()


def test_set_and_reset_say_true() -> None:
    for event in (AutoResetEvent(), ManualResetEvent()):
        assert event.set() is True
        assert event.set() is True
        assert event.is_set()
        assert event.reset() is True
        assert event.reset() is True
        assert not event.is_set()


def test_signals_of_an_automatic_one_do_not_add_up() -> None:
    event = AutoResetEvent()
    for _ in range(3):
        event.set()
    assert [event.wait_one(0), event.wait_one(0)] == [True, False]


def test_an_automatic_one_lets_one_go_on() -> None:
    event = AutoResetEvent()
    done = threading.Semaphore(0)

    def wait() -> None:
        event.wait_one()
        done.release()

    threads = [in_thread(wait) for _ in range(4)]
    waiting(event, 4)
    for left in (3, 2, 1, 0):
        event.set()
        assert done.acquire(timeout=30)
        waiting(event, left)
        assert not done.acquire(timeout=0.02)
        assert not event.is_set()
    for thread in threads:
        thread.result()


def test_a_manual_one_lets_all_go_on_until_it_is_reset() -> None:
    event = ManualResetEvent()
    threads = [in_thread(event.wait_one) for _ in range(4)]
    waiting(event, 4)
    event.set()
    assert [thread.result() for thread in threads] == [True] * 4
    assert event.wait_one()
    event.reset()
    assert not event.wait_one(0.01)


def test_all_who_wait_for_a_manual_one_go_on_also_if_it_is_reset_at_once() -> None:
    event = ManualResetEvent(name="pulse")
    for _ in range(50):
        threads = [in_thread(event.wait_one) for _ in range(3)]
        waiting(event, 3)
        event.set()
        event.reset()
        assert [thread.result() for thread in threads] == [True] * 3
        assert not event.is_set()
    event.close()


def test_two_threads_hand_over_without_losing_a_signal() -> None:
    ping, pong = AutoResetEvent(name="ping"), AutoResetEvent(name="pong")
    rounds = 5_000

    def answer() -> None:
        for _ in range(rounds):
            assert ping.wait_one(30)
            pong.set()

    thread = in_thread(answer)
    began = time.monotonic()
    for _ in range(rounds):
        ping.set()
        assert pong.wait_one(30)
    thread.result()
    assert time.monotonic() - began < 0.05 * rounds, "wakes are lost: each round waits for the next look"
    ping.close()
    pong.close()


def test_an_existing_one_keeps_its_state_and_mode() -> None:
    with EventWaitHandle(True, MANUAL, "n") as event, EventWaitHandle(False, AUTO, "n") as same:
        assert (event.created_new, same.created_new) == (True, False)
        assert (same.mode, same.is_set()) == (MANUAL, True)
        same.reset()
        assert not event.is_set()


def test_the_classes_refuse_events_of_the_other_mode() -> None:
    with ManualResetEvent(name="m"), AutoResetEvent(name="a"):
        for cls, name in ((AutoResetEvent, "m"), (ManualResetEvent, "a")):
            with pytest.raises(WaitHandleCannotBeOpenedError, match=f"no {cls.__name__}"):
                cls.open_existing(name)
            with pytest.raises(WaitHandleCannotBeOpenedError, match=f"no {cls.__name__}"):
                cls(name=name)
            assert cls.try_open_existing(name) is None
        ManualResetEvent.open_existing("m").close()
        AutoResetEvent(True, "a").close()


@pytest.mark.parametrize("mode", [2, -1, None, "AUTO_RESET", 1.0])
def test_what_is_no_mode_is_refused(mode: object) -> None:
    with pytest.raises(OutOfRangeError, match="is not an EventResetMode: one of AUTO_RESET, MANUAL_RESET"):
        EventWaitHandle(False, mode, "n")  # type: ignore[arg-type]


def test_wait_is_wait_one() -> None:
    event = AutoResetEvent(True)
    assert event.wait()
    began = time.perf_counter()
    assert not event.wait(0.03)
    assert 0.03 <= time.perf_counter() - began < 0.25 + SLACK
    assert not event.wait(timeout=0)


def test_with_closes_it() -> None:
    with AutoResetEvent(name="n") as event:
        assert not event.closed
    assert event.closed


def test_how_they_are_shown() -> None:
    with AutoResetEvent(name="n") as event, EventWaitHandle.open_existing("n") as same:
        assert repr(event) == "<AutoResetEvent 'n'>"
        assert repr(same) == "<EventWaitHandle 'n', AUTO_RESET>"
        assert repr(event.statistics()) == "EventStatistics(is_set=False, waiters=0)"
    assert repr(ManualResetEvent()) == "<ManualResetEvent unnamed>"

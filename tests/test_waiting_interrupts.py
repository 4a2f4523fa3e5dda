# SPDX-License-Identifier: MIT
"""A wait that a signal handler ends by an exception, Ctrl-C before all, has taken nothing."""

from __future__ import annotations

import ctypes
import functools
import itertools
import signal as signals
from collections.abc import Callable
from typing import Any

import pytest
from programs import until
from support.interrupting import At, Interrupt
from support.waits import in_thread

from memorymapped import (
    AbandonedMutexError,
    AutoResetEvent,
    FairMutex,
    ManualResetEvent,
    Mutex,
    Semaphore,
    signal_and_wait,
    wait_all,
    wait_any,
)

Handles = dict[str, Any]


def handles(mutex: Any) -> Handles:
    """Some of which one call takes those that are there."""
    signals = {"auto": AutoResetEvent(True), "never": AutoResetEvent(), "on": ManualResetEvent()}
    return {"mutex": mutex, "semaphore": Semaphore(1, 1), **signals}


WAITS: dict[str, Callable[[Handles], object]] = {
    "any, a mutex": lambda h: wait_any([h["never"], h["mutex"]]),
    "any, a semaphore": lambda h: wait_any([h["never"], h["semaphore"]], 10),
    "all": lambda h: wait_all([h["semaphore"], h["mutex"], h["auto"]]),
    "all, with a time-out": lambda h: wait_all([h["auto"], h["mutex"]], timeout=10),
    "signal and wait": lambda h: signal_and_wait(h["on"], h["semaphore"]),
    "look": lambda h: h["mutex"]._try_wait(),
}
each_wait = pytest.mark.parametrize("wait", WAITS)


def check_untaken(handles: Handles) -> None:
    assert not handles["mutex"].owned
    assert handles["semaphore"].statistics().count == 1
    assert handles["auto"].is_set()


@each_wait
@pytest.mark.parametrize("kind", [Mutex, FairMutex])
def test_an_exception_at_any_line_leaves_nothing_taken(kind: Any, wait: str) -> None:
    for n in range(1, 500):
        there = handles(kind())
        at = At(n)
        try:
            with at:
                WAITS[wait](there)
        except Interrupt:
            check_untaken(there)
        if not at.reached:
            return
    raise AssertionError("it never came to its end")


@pytest.mark.parametrize("wait", [wait for wait in WAITS if "mutex" in wait or wait.startswith(("all", "look"))])
@pytest.mark.parametrize("kind", [Mutex, FairMutex])
def test_and_an_abandoned_mutex_as_it_was(kind: Any, wait: str) -> None:
    for n in range(1, 500):
        there = handles(kind())
        mutex = there["mutex"]
        in_thread(mutex.wait_one).result()
        until(lambda mutex=mutex: not mutex.locked(), "its owner has ended")
        at = At(n)
        try:
            with at:
                WAITS[wait](there)
        except AbandonedMutexError:
            assert mutex.owned
            mutex.release_mutex()
        except Interrupt:
            check_untaken(there)
            with pytest.raises(AbandonedMutexError):
                mutex.wait_one(0)
            mutex.release_mutex()
        if not at.reached:
            assert n > 5
            return
    raise AssertionError("it never came to its end")


def test_a_signal_that_waits_for_its_turn_comes_before_the_end_of_a_wait_for_all() -> None:
    """And not after it, in the caller's code, where nobody knows any more what was taken."""

    def handler(*_: object) -> None:
        raise Interrupt

    # An iterator that yields nothing, and lets a signal come, without any Python code after it.
    comes = iter(functools.partial(ctypes.pythonapi.PyErr_SetInterruptEx, signals.SIGTERM), 0)
    before = signals.signal(signals.SIGTERM, handler)
    try:
        there = handles(Mutex())
        with pytest.raises(Interrupt):
            wait_all(itertools.chain([there["mutex"]], comes))
        check_untaken(there)
        assert there["mutex"].statistics().acquisitions == 1
    finally:
        signals.signal(signals.SIGTERM, before)

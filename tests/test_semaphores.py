# SPDX-License-Identifier: MIT
"""Semaphores: .NET's semantics, and Python's. (What events and semaphores have in common: test_wait_handles.py.)"""

from __future__ import annotations

import statistics
import threading
import time
from datetime import timedelta
from typing import Any

import pytest
from support.waits import AT_ONCE, SLACK, in_thread, waiting

from memorymapped import OutOfRangeError, SemaphoreFullError
from memorymapped.sync.semaphores import Semaphore, SemaphoreStatistics

MOST = 2**31 - 1
HUGE = 1 << 20000


def count(semaphore: Semaphore) -> int:
    return semaphore.statistics().count


@pytest.mark.parametrize(("initial", "maximum"), [(0, 1), (1, 1), (2, 5), (0, MOST), (MOST, MOST)])
def test_it_begins_with_its_counts(initial: int, maximum: int) -> None:
    semaphore = Semaphore(initial, maximum)
    assert semaphore.statistics() == SemaphoreStatistics(initial, maximum, 0)
    assert semaphore.maximum_count == maximum
    assert semaphore.wait_one(0) is (initial > 0)


@pytest.mark.parametrize(("initial", "maximum"), [(-1, 1), (0, 0), (1, 0), (0, -1), (0, MOST + 1), (-1, 0)])
def test_counts_out_of_range_are_refused(initial: int, maximum: int) -> None:
    with pytest.raises(OutOfRangeError):
        Semaphore(initial, maximum, "n")


def test_a_huge_count_is_refused() -> None:
    for initial, maximum in ((0, HUGE), (-HUGE, 1)):
        with pytest.raises(OutOfRangeError, match="bits"):
            Semaphore(initial, maximum)
    with pytest.raises(ValueError, match="more than"):
        Semaphore(HUGE, 1)


def test_more_than_the_maximum_to_begin_with_is_refused() -> None:
    with pytest.raises(ValueError, match="more than maximum_count 2") as caught:
        Semaphore(3, 2, "n")
    assert not isinstance(caught.value, OutOfRangeError)


@pytest.mark.parametrize("wrong", [1.0, "1", None])
def test_counts_are_integers(wrong: Any) -> None:
    for call in (lambda: Semaphore(wrong, 1), lambda: Semaphore(0, wrong), lambda: Semaphore(0, 1).release(wrong)):
        with pytest.raises(TypeError):
            call()


def test_release_gives_the_previous_count() -> None:
    semaphore = Semaphore(0, 5)
    assert [semaphore.release(), semaphore.release(3), semaphore.release(release_count=1)] == [0, 1, 4]
    assert count(semaphore) == 5


@pytest.mark.parametrize("wrong", [0, -1, -HUGE], ids=["0", "-1", "huge"])
def test_less_than_one_is_not_released(wrong: int) -> None:
    semaphore = Semaphore(1, 5)
    with pytest.raises(OutOfRangeError, match="at least 1"):
        semaphore.release(wrong)
    assert count(semaphore) == 1


@pytest.mark.parametrize("most", [3, MOST])
@pytest.mark.parametrize(
    "too_many", [3, MOST, MOST + 1, 2**32, 2**32 + 1, 2**63, HUGE], ids=lambda n: f"{n.bit_length()} bits"
)
def test_a_full_semaphore_keeps_its_count(most: int, too_many: int) -> None:
    semaphore = Semaphore(most - 2, most, "n")
    with pytest.raises(SemaphoreFullError, match="unchanged"):
        semaphore.release(too_many)
    assert count(semaphore) == most - 2
    assert semaphore.release(2) == most - 2
    with pytest.raises(SemaphoreFullError):
        semaphore.release()
    semaphore.close()


def test_acquire_is_that_of_pythons_locks() -> None:
    semaphore = Semaphore(2, 2)
    assert semaphore.acquire() is True
    assert semaphore.acquire(blocking=False) is True
    assert semaphore.acquire(False) is False
    assert semaphore.acquire(False, -1) is False
    began = time.monotonic()
    assert semaphore.acquire(True, 0.03) is False
    assert semaphore.acquire(timeout=timedelta(milliseconds=30)) is False
    with pytest.raises(OutOfRangeError):
        semaphore.wait_one(timedelta(seconds=-1))
    assert 0.06 <= time.monotonic() - began + 1e-6 < 0.5 + SLACK
    for timeout in (0, 1.5):
        with pytest.raises(ValueError, match="does not block"):
            semaphore.acquire(False, timeout)
    with pytest.raises(OutOfRangeError):
        semaphore.acquire(True, -2)
    assert count(semaphore) == 0


def test_with_takes_one_and_gives_it_back() -> None:
    semaphore = Semaphore(1, 1)
    with semaphore as same:
        assert same is semaphore
        assert count(semaphore) == 0
    with pytest.raises(KeyError), semaphore:
        raise KeyError
    assert count(semaphore) == 1


def test_a_release_of_several_wakes_as_many() -> None:
    semaphore = Semaphore(0, 10)
    done = threading.Semaphore(0)
    delays = []

    def wait() -> None:
        semaphore.wait_one()
        done.release()

    for _ in range(7):
        threads = [in_thread(wait) for _ in range(5)]
        waiting(semaphore, 5)
        for thread in threads:
            thread.asleep()
        began = time.monotonic()
        semaphore.release(3)
        for _ in range(3):
            assert done.acquire(timeout=30)
        delays.append(time.monotonic() - began)
        waiting(semaphore, 2)
        assert not done.acquire(timeout=0.02)
        semaphore.release(2)
        for thread in threads:
            thread.result()
        while done.acquire(blocking=False):
            pass
        assert count(semaphore) == 0
    assert statistics.median(delays) < AT_ONCE


def test_anybody_may_release() -> None:
    semaphore = Semaphore(0, 1)
    assert in_thread(semaphore.release).result() == 0
    assert semaphore.wait_one(0)


def test_an_existing_one_keeps_its_counts() -> None:
    semaphore = Semaphore(2, 5, "n")
    same = Semaphore(0, 1, "n")
    assert (semaphore.created_new, same.created_new) == (True, False)
    assert same.statistics() == SemaphoreStatistics(2, 5, 0)
    assert same.release(3) == 2
    semaphore.close()
    same.close()


def test_tokens_are_neither_made_nor_lost() -> None:
    semaphore = Semaphore(3, 3, "n")
    inside = threading.Semaphore(3)

    def work() -> None:
        mine = Semaphore.open_existing("n")
        for _ in range(2000):
            with mine:
                assert inside.acquire(blocking=False), "more than three are inside"
                inside.release()
        mine.close()

    for thread in [in_thread(work) for _ in range(8)]:
        thread.result()
    assert semaphore.statistics() == SemaphoreStatistics(3, 3, 0)
    semaphore.close()


def test_how_it_is_shown() -> None:
    semaphore = Semaphore(1, 2, "n")
    assert repr(semaphore) == "<Semaphore 'n', maximum 2>"
    assert repr(semaphore.statistics()) == "SemaphoreStatistics(count=1, maximum=2, waiters=0)"
    semaphore.close()
    assert repr(semaphore) == "<Semaphore 'n', maximum 2, closed>"

# SPDX-License-Identifier: MIT
"""Deaths of notifiers and of waiters, after each change that they make to the memory of a condition and its lock.

What runs here is a process of its own (`killer`). Two processes wait; a victim notifies one, or begins and ends a
wait, and is killed in its midst. Then two notifications let both go on, within the time of two looks, whatever the
victim left behind; and soon after that each notification lets one go on, as ever."""

from __future__ import annotations

import collections
import contextlib
import select
import time

from memorymapped import AbandonedMutexError, MappedCondition, MappedLock, MemoryMappedFile

from .asked import Asked
from .stepping import Steps, unavailable

__all__ = ["kill_everywhere", "unavailable"]

SOON = 1.5  # seconds
LOCK, CONDITION = 0, 128

_map = MemoryMappedFile.create_new(None, 4096)
_view = _map.create_view_accessor()
lock = MappedLock(_view, LOCK)
changed = MappedCondition(_view, CONDITION, lock)


@contextlib.contextmanager
def owning() -> collections.abc.Iterator[None]:
    """The lock, whether this process is told of a death or not."""
    with contextlib.suppress(AbandonedMutexError):
        assert lock.wait_one(SOON), "the lock is not to be had"
    try:
        yield
    finally:
        lock.release()


def wait_once() -> str:
    with owning():
        try:
            changed.wait()
        except AbandonedMutexError:
            return "t"
    return "n"


class Waiter(Asked):
    """A process that waits each time it is asked to, and says so when it goes on."""

    def __init__(self) -> None:
        super().__init__(wait_once)

    def ask(self) -> None:
        before = changed.statistics().waiters
        super().ask()
        deadline = time.monotonic() + SOON
        while changed.statistics().waiters == before:
            assert time.monotonic() < deadline, "it does not wait"
            time.sleep(0.0005)
        with owning():
            pass  # it has released the lock: it sleeps, or is about to


def act_as(kind: str) -> None:
    lock.acquire()
    if kind == "notifier":
        changed.notify()
    else:
        changed.wait(0)
    lock.release()


def kill_everywhere(kind: str, step: int, start: int) -> dict[str, int]:
    """For every `step`-th change. Counts what the waiters met."""
    waiters = [Waiter(), Waiter()]
    steps = Steps(lambda: None, lambda: act_as(kind))
    counts: collections.Counter[str] = collections.Counter()
    try:
        for waiter in waiters:
            waiter.ask()
        points = [0, *steps.record(lambda: _view.read_bytes(0, 128))]
        with owning():
            changed.notify_all()
        assert [waiter.heard(SOON) for waiter in waiters] == ["n", "n"]
        counts["points"] = len(points)
        for number in points[start::step]:
            try:
                one_death(number, steps, waiters, counts)
            except BaseException as error:
                error.add_note(f"killed after instruction {number}; {_view.read_bytes(CONDITION, 32).hex(' ', 4)}")
                raise
    finally:
        for waiter in waiters:
            waiter.close()
    return dict(counts)


def one_death(number: int, steps: Steps, waiters: list[Waiter], counts: collections.Counter[str]) -> None:
    for waiter in waiters:
        waiter.ask()
    _, same = steps.kill_after(number, lambda: None)
    counts["other ways"] += not same
    for _ in waiters:
        with owning():
            changed.notify()
    came = [waiter.heard(SOON) for waiter in waiters]
    assert all(what in ("n", "t") for what in came), f"not all go on: {came}"
    counts.update(came)
    # Two waiters may be counted who do not exist, and each may cost one return too many: then it is as if they had
    # never been.
    extra = 0
    for last in (False, False, True):
        for waiter in waiters:
            waiter.ask()
        with owning():
            changed.notify()
        came = one_or_both(waiters)
        assert len(came) == 1 or not last, "one was notified, and both go on"
        extra += len(came) - 1
        with owning():
            changed.notify_all()
        for waiter in waiters:
            if waiter not in came:
                assert waiter.heard(SOON) == "n"
    counts["extra"] += extra
    assert extra <= len(waiters)


def one_or_both(waiters: list[Waiter]) -> list[Waiter]:
    """Who goes on within the time of two looks and more."""
    came: list[Waiter] = []
    deadline = time.monotonic() + 0.7
    while len(came) < len(waiters) and (left := deadline - time.monotonic()) > 0:
        ears = {waiter.ear: waiter for waiter in waiters if waiter not in came}
        for ear in select.select(list(ears), [], [], left)[0]:
            assert ears[ear].heard(0) == "n"
            came.append(ears[ear])
    assert came, "nobody goes on"
    return came

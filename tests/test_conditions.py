# SPDX-License-Identifier: MIT
"""Conditions in a map: each notification lets one go on, the lock is owned at the end, and nobody hangs who lives."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.actors import PRELUDE, Actor

from memorymapped import (
    AbandonedMutexError,
    AtomicInt32,
    AtomicInt64,
    ClosedError,
    FairMutex,
    FileMode,
    MappedCondition,
    MappedLock,
    MappedReaderWriterLock,
    MemoryFaultError,
    MemoryMappedFile,
    MemoryMappedViewAccessor,
    Mutex,
    OutOfRangeError,
)

SIZE = 65536
LIMIT = 20.0
SOON = 1.5  # seconds: a look every quarter, a second one if somebody may be dead, and a machine that is busy
THERE = (
    PRELUDE
    + """
m = MemoryMappedFile.open_existing("shared")
v = m.create_view_accessor()
lock = MappedLock(v)
changed = MappedCondition(v, 128, lock)
"""
)


class Interrupted(Exception):
    """What a signal handler raises."""


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new("shared", SIZE) as map_, map_.create_view_accessor() as accessor:
        yield accessor


@pytest.fixture
def actors(view: MemoryMappedViewAccessor) -> Iterator[Callable[[], Actor]]:
    with contextlib.ExitStack() as stack:
        yield lambda: stack.enter_context(Actor(prelude=THERE))


@pytest.fixture
def other(actors: Callable[[], Actor]) -> Actor:
    return actors()


@pytest.fixture
def alarm() -> Iterator[Callable[[Callable[[], object]], None]]:
    """Sets what SIGALRM calls."""
    before = signal.getsignal(signal.SIGALRM)
    yield lambda function: signal.signal(signal.SIGALRM, lambda *_: function()) and None
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, before)


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.001)


def a_condition(view: MemoryMappedViewAccessor) -> tuple[MappedLock, MappedCondition]:
    lock = MappedLock(view)
    return lock, MappedCondition(view, 128, lock)


class Waiters:
    """Threads that wait once each. `results`: what each got, in the order in which they came back."""

    def __init__(self, changed: MappedCondition) -> None:
        self.changed = changed
        self.results: list[tuple[int, object]] = []
        self.threads: list[threading.Thread] = []

    def start(self, count: int = 1, timeout: float | None = None) -> None:
        for _ in range(count):
            before = self.changed.statistics().waiters
            thread = threading.Thread(target=self._wait, args=(len(self.threads), timeout))
            self.threads.append(thread)
            thread.start()
            until(lambda before=before: self.changed.statistics().waiters > before)  # type: ignore[misc]

    def _wait(self, number: int, timeout: float | None) -> None:
        with self.changed:
            try:
                self.results.append((number, self.changed.wait(timeout)))
            except AbandonedMutexError:
                self.results.append((number, "told"))

    def notify(self, count: int = 1) -> None:
        with self.changed:
            self.changed.notify(count)

    def came(self, count: int) -> bool:
        until(lambda: len(self.results) >= count)
        return len(self.results) == count

    def end(self) -> None:
        with self.changed:
            self.changed.notify_all()
        for thread in self.threads:
            thread.join(LIMIT)
            assert not thread.is_alive()


@pytest.fixture
def waiters(view: MemoryMappedViewAccessor) -> Iterator[Waiters]:
    waiters = Waiters(a_condition(view)[1])
    yield waiters
    waiters.end()


# -- waiting and notifying


def test_conditions(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock, items = MappedLock(view), AtomicInt32(view, 100)
    changed = MappedCondition(view, 128, lock)
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 128, lock); items = AtomicInt32(v, 100)")
    other.send("with changed:\n with lock:\n  _result = changed.wait_for(lambda: items.load()), lock._core.depth")
    until(lambda: changed.statistics().waiters == 1)
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
        assert time.monotonic() - began >= 0.1 - 1e-6
        assert lock.owned
    for refused in (changed.wait, changed.notify, changed.notify_all):
        with pytest.raises(RuntimeError, match="does not own"):
            refused()
    for wrong in (None, threading.Lock(), MappedReaderWriterLock(view, 4096).reader):
        with pytest.raises(TypeError):
            MappedCondition(view, 128, wrong)  # type: ignore[arg-type]


def test_notify_all(view: MemoryMappedViewAccessor) -> None:
    changed = MappedCondition(view, 128, MappedReaderWriterLock(view, 4096).writer)
    go: list[int] = []
    through: list[int] = []

    def wait() -> None:
        with changed:
            changed.wait_for(lambda: go)
            through.append(1)

    threads = [threading.Thread(target=wait) for _ in range(8)]
    for thread in threads:
        thread.start()
    until(lambda: changed.statistics().waiters == 8)
    with changed:
        go.append(1)
        changed.notify_all()
    for thread in threads:
        thread.join(LIMIT)
    assert len(through) == 8


def test_an_interrupted_condition_owns_its_lock_again(view: MemoryMappedViewAccessor, other: Actor) -> None:
    changed = MappedCondition(view, 128, MappedLock(view))
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 128, lock)")
    other.send(
        "lock.acquire()\n"
        "try:\n changed.wait()\nexcept KeyboardInterrupt:\n _result = lock.owned\nfinally:\n lock.release()"
    )
    until(lambda: changed.statistics().waiters == 1)
    os.kill(other.pid, signal.SIGINT)
    assert other.answer() is True
    assert changed.statistics().waiters == 0
    with changed:
        pass


def test_a_condition_tells_of_a_dead_owner(view: MemoryMappedViewAccessor, other: Actor) -> None:
    lock = MappedLock(view)
    changed = MappedCondition(view, 128, lock)
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
    until(lambda: changed.statistics().waiters == 1)
    other.do("lock = MappedLock(v); changed = MappedCondition(v, 128, lock); lock.acquire(); changed.notify()")
    other.kill()
    thread.join(LIMIT)
    assert seen == [True]


def test_a_call_wakes_at_once(view: MemoryMappedViewAccessor) -> None:
    """Not only at the next look, after a quarter of a second: there and back twenty times would take ten seconds."""
    number = AtomicInt32(view)
    turn = AtomicInt32(view, 4)
    changed = MappedCondition(view, 192, MappedLock(view, 64))
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


# -- how many go on


@pytest.mark.parametrize("counts", [(1,), (2,), (1, 1, 1), (2, 2)])
def test_a_notification_lets_one_go_on(waiters: Waiters, counts: tuple[int, ...]) -> None:
    waiters.start(5)
    for count in counts:
        waiters.notify(count)
    assert waiters.came(sum(counts))
    time.sleep(0.6)  # two looks
    assert len(waiters.results) == sum(counts), "more than were notified"
    waiters.end()
    assert {result for _, result in waiters.results} == {True}
    assert waiters.changed.statistics().waiters == 0


def test_more_notifications_than_waiters_are_lost(waiters: Waiters) -> None:
    waiters.notify(3)
    waiters.start(2)
    waiters.notify(2**70)
    assert waiters.came(2)
    waiters.start()
    time.sleep(0.6)
    assert len(waiters.results) == 2, "it came after the notifications"


def test_who_comes_later_takes_nothing_from_who_waited(view: MemoryMappedViewAccessor, waiters: Waiters) -> None:
    """They come between two notifications, and before those who were notified have the lock again."""
    waiters.start(2)
    lock = waiters.changed.lock
    with waiters.changed:
        waiters.changed.notify(2)
        late = [threading.Thread(target=waiters._wait, args=(number, 0.6)) for number in (10, 11)]
        for thread in late:
            thread.start()
        until(lambda: lock.statistics().has_waiters)
        waiters.changed.notify(2)
    for thread in late:
        thread.join(LIMIT)
    assert sorted(waiters.results[:4], key=str) == [(0, True), (1, True), (10, False), (11, False)]


def test_what_is_no_count_changes_nothing(waiters: Waiters) -> None:
    waiters.start(2)
    before = waiters.changed.statistics().waiters
    with waiters.changed:
        for wrong in ("abc", 1.5, None, [1]):
            with pytest.raises(TypeError):
                waiters.changed.notify(wrong)  # type: ignore[arg-type]
        for negative in (-1, -(2**70)):
            with pytest.raises(OutOfRangeError, match="negative"):
                waiters.changed.notify(negative)
        waiters.changed.notify(0)
    time.sleep(0.3)
    assert waiters.results == []
    assert waiters.changed.statistics().waiters == before == 2


def test_a_time_out_takes_no_notification(waiters: Waiters) -> None:
    waiters.start(2, 0.05)
    waiters.start(1)
    assert waiters.came(2)
    waiters.notify()
    assert waiters.came(3)
    assert sorted(waiters.results) == [(0, False), (1, False), (2, True)]


@pytest.mark.parametrize("kind", ["Mutex", "FairMutex", "writer"])
def test_any_lock_of_one_owner_will_do(view: MemoryMappedViewAccessor, kind: str) -> None:
    lock = {"Mutex": Mutex, "FairMutex": FairMutex}[kind]() if kind != "writer" else MappedReaderWriterLock(view).writer
    changed = MappedCondition(view, 4096, lock)
    waiters = Waiters(changed)
    waiters.start(3)
    waiters.notify()
    assert waiters.came(1)
    waiters.notify(2)
    assert waiters.came(3)
    waiters.end()
    with changed, changed:
        assert changed.wait(0.01) is False
        assert lock._core.depth == 2  # type: ignore[union-attr]
    assert not lock.owned


def count_together(seconds: float, processes: int) -> None:
    """Processes wait, with time-outs and signals, and are notified: as many return as were notified, never one more."""
    seed = random.SystemRandom().getrandbits(32)
    map_ = MemoryMappedFile.create_new(None, SIZE)
    view = map_.create_view_accessor()
    _, changed = a_condition(view)
    granted, returned, interrupted, ended = (AtomicInt64(view, 1024 + 8 * i) for i in range(4))

    def interrupt(*_: object) -> None:
        raise Interrupted

    def turn(chance: random.Random) -> int:
        with changed:
            if chance.random() < 0.4:
                count = chance.choice((1, 1, 1, 2, 3))
                newcomers, rest = view.read_uint32(128 + 8), view.read_uint32(128 + 20)
                granted.fetch_add(min(count, newcomers + rest))
                changed.notify(count)
                return 0
            got = False
            try:
                if chance.random() < 0.2:
                    signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.00001, 0.002))
                got = changed.wait(chance.choice((None, 0.001, 0.0001, 0)))
                signal.setitimer(signal.ITIMER_REAL, 0)
            except Interrupted:
                interrupted.fetch_add()
            if not changed.lock.owned:
                return 3
            if got:
                returned.fetch_add()
            return 0 if returned.load() <= granted.load() else 2

    def work(number: int) -> None:
        chance = random.Random(f"{seed} {number}")
        signal.signal(signal.SIGALRM, interrupt)
        while not ended.load():
            status = turn(chance)
            if status:
                os._exit(status)
        os._exit(0)

    pids = []
    for number in range(processes):
        pid = os.fork()
        if pid == 0:
            try:
                work(number)
            finally:
                os._exit(1)
        pids.append(pid)
    end = time.monotonic() + seconds
    try:
        while pids:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid:
                pids.remove(pid)
                assert os.waitstatus_to_exitcode(status) == 0
                assert ended.load()
            with changed:
                if time.monotonic() > end:
                    ended.store(1)
                newcomers, rest = view.read_uint32(128 + 8), view.read_uint32(128 + 20)
                granted.fetch_add(newcomers + rest)
                changed.notify_all()  # all may be waiting
            assert time.monotonic() < end + LIMIT
            time.sleep(0.01)
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
    print(f"seed {seed}: {granted.load()} granted, {returned.load()} returned, {interrupted.load()} interrupted")
    assert 0 < returned.load() <= granted.load() <= returned.load() + interrupted.load()
    assert changed.statistics().waiters == 0, "somebody is still counted"
    changed.close()
    view.close()
    map_.close()


def test_as_many_return_as_were_notified() -> None:
    count_together(1.5, 5)


@pytest.mark.campaign
@pytest.mark.timeout(120)
@pytest.mark.parametrize("processes", [2, 12])
def test_as_many_return_as_were_notified_for_longer(processes: int) -> None:
    count_together(30.0, processes)


# -- the lock is owned


def test_a_handler_that_raises_again_and_again_does_not_keep_the_lock_from_it(
    view: MemoryMappedViewAccessor, other: Actor, alarm: Callable[[Callable[[], object]], None]
) -> None:
    """The other process has the lock until the handler was called three times."""
    lock, changed = a_condition(view)
    raised = AtomicInt32(view, 1024)

    def interrupt() -> None:
        raise Interrupted(raised.fetch_add())

    alarm(interrupt)
    for enter in (lock, changed):
        raised.store(0)
        code = (
            "raised = AtomicInt32(v, 1024)\nwith lock:\n changed.notify_all()\n"
            " while raised.load() < 3:\n  raised.wait(raised.load())"
        )
        with pytest.raises(Interrupted) as caught, enter:  # noqa: PT012 - as users write it
            other.send(code)
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
            try:
                changed.wait()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
                assert lock.owned
        other.answer()
        assert not lock.owned
        assert raised.load() >= 3
        seen, error = [], caught.value
        while error is not None:
            seen.append(error.args[0])
            error = error.__context__  # type: ignore[assignment]
        assert seen == sorted(seen, reverse=True), "each handler's exception is the context of the next one's"
        assert seen[-1] == 0
        assert changed.statistics().waiters == 0


def interrupt_at_random(view: MemoryMappedViewAccessor, seconds: float) -> None:
    lock, changed = a_condition(view)
    armed = False

    def interrupt(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupted

    signal.signal(signal.SIGALRM, interrupt)
    interrupted, end = 0, time.monotonic() + seconds
    while time.monotonic() < end:
        lock.acquire()
        try:
            armed = True
            signal.setitimer(signal.ITIMER_REAL, random.uniform(0.00001, 0.0002))
            changed.wait(0.00005)
            armed = False
        except Interrupted:
            interrupted += 1
        finally:
            armed = False
            signal.setitimer(signal.ITIMER_REAL, 0)
        assert lock.owned
        lock.release()
    assert interrupted > 100
    assert changed.statistics().waiters == 0


@pytest.mark.usefixtures("alarm")
def test_a_signal_at_any_moment_leaves_it_owned(view: MemoryMappedViewAccessor) -> None:
    interrupt_at_random(view, 1.5)


@pytest.mark.campaign
@pytest.mark.usefixtures("alarm")
def test_a_signal_at_any_moment_leaves_it_owned_for_longer(view: MemoryMappedViewAccessor) -> None:
    interrupt_at_random(view, 20)


def test_an_abandoned_lock_is_told_beside_another_exception(
    view: MemoryMappedViewAccessor, other: Actor, alarm: Callable[[Callable[[], object]], None]
) -> None:
    lock, changed = a_condition(view)

    def interrupt() -> None:
        other.kill()  # who owns the lock by now
        raise Interrupted

    alarm(interrupt)
    lock.acquire()
    other.send("lock.acquire(); changed.notify_all(); os.kill(os.getppid(), signal.SIGALRM); time.sleep(60)")
    with pytest.raises(Interrupted) as caught:
        changed.wait()
    lock.release()
    assert isinstance(caught.value.__context__, AbandonedMutexError)
    assert caught.value.__context__.owned
    assert changed.statistics().waiters == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("by", ["lock", "condition"])
def test_truncated_under_a_wait(tmp_path: Path, by: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(16384))
    with contextlib.closing(MemoryMappedFile.create_from_file(str(path), FileMode.OPEN)) as map_:
        view = map_.create_view_accessor()
        lock = MappedLock(view, 8192)
        changed = MappedCondition(view, 8192 + 128, lock)
        timer = threading.Timer(0.05, os.truncate, (path, 100))
        timer.start()
        with pytest.raises(MemoryFaultError, match="truncated"), lock if by == "lock" else changed:
            changed.wait(5)
        timer.join()
        assert not lock.owned
        with pytest.raises(MemoryFaultError):
            changed.statistics()
        changed.close()
        lock.close()
        with pytest.raises(MemoryFaultError):
            view.close()


def test_closed_under_a_wait(view: MemoryMappedViewAccessor) -> None:
    lock, changed = a_condition(view)
    threading.Timer(0.05, changed.close).start()
    with lock:
        with pytest.raises(ClosedError, match="MappedCondition"):
            changed.wait()
        assert lock.owned
    again = MappedCondition(view, 128, lock)
    assert again.statistics().waiters == 0
    threading.Timer(0.05, lock.close).start()
    with pytest.raises(ClosedError, match="MappedLock"), again:
        again.wait(0.3)
    assert MappedLock(view).wait_one(0), "nobody owns it"


def test_a_handler_that_takes_the_lock_and_keeps_it(
    view: MemoryMappedViewAccessor, alarm: Callable[[Callable[[], object]], None]
) -> None:
    lock, changed = a_condition(view)
    alarm(lock.acquire)
    with lock, lock:
        signal.setitimer(signal.ITIMER_REAL, 0.05)
        assert changed.wait(0.2) is False
        assert lock._core.depth == 3, "two of its own, and the handler's"  # type: ignore[union-attr]
        lock.release()
    assert not lock.owned


def test_a_task_owns_it_as_a_task_again(view: MemoryMappedViewAccessor) -> None:
    lock, changed = a_condition(view)

    async def wait() -> None:
        async with lock:
            owner = lock._core.owner_task  # type: ignore[union-attr]
            assert changed.wait(0.01) is False
            assert lock._core.owner_task is owner  # type: ignore[union-attr]
            await asyncio.create_task(another())
        assert not lock.owned
        await lock.wait_one_async()  # and ends without a release

    async def another() -> None:
        with pytest.raises(RuntimeError, match="task"):
            changed.wait(0)
        with pytest.raises(RuntimeError, match="task"):
            lock.release()

    asyncio.run(wait())
    with pytest.raises(AbandonedMutexError):
        lock.wait_one(0)
    lock.release()


def test_statistics(view: MemoryMappedViewAccessor, waiters: Waiters) -> None:
    assert waiters.changed.statistics().waiters == 0
    waiters.start(3)
    with waiters.changed:
        statistics = waiters.changed.statistics()
        assert (statistics.waiters, statistics.lock.owner_process) == (3, os.getpid())
        waiters.changed.notify()
        assert waiters.changed.statistics().waiters == 3, "it has not come back yet"
    assert waiters.came(1)
    until(lambda: waiters.changed.statistics().waiters == 2)
    lock, changed = a_condition(view)
    lock.close()
    with pytest.raises(ClosedError):
        changed.statistics()


# -- deaths


def wait_over_there(actor: Actor, changed: MappedCondition) -> None:
    before = changed.statistics().waiters
    actor.send("with lock:\n _result = changed.wait()")
    until(lambda: changed.statistics().waiters > before)


def test_a_killed_waiter_takes_no_notification_away(
    view: MemoryMappedViewAccessor, actors: Callable[[], Actor]
) -> None:
    """It was notified, and dies before it has the lock."""
    lock, changed = a_condition(view)
    first, second = actors(), actors()
    wait_over_there(first, changed)
    wait_over_there(second, changed)
    with lock:
        changed.notify()
        until(lambda: lock.statistics().has_waiters)
        first.kill()  # woken as the first who slept
    assert second.answer(SOON) is True


def test_dead_waiters_of_an_older_group_do_not_stand_in_the_way(
    view: MemoryMappedViewAccessor, actors: Callable[[], Actor], waiters: Waiters
) -> None:
    """One of three has gone on when the other two die; what comes after that is for those who came later."""
    changed = waiters.changed
    three = [actors() for _ in range(3)]
    for actor in three:
        wait_over_there(actor, changed)
    waiters.notify()
    until(lambda: any(actor.answered(0) for actor in three))
    for actor in three:
        if not actor.answered(0):
            actor.kill()
    waiters.start(3)
    for count in (1, 2, 3):
        began = time.monotonic()
        waiters.notify()
        until(lambda count=count: len(waiters.results) >= count)  # type: ignore[misc]
        assert time.monotonic() - began < SOON
    assert changed.statistics().waiters == 0, "the dead are counted no more"
    waiters.start(2)
    waiters.notify()
    until(lambda: len(waiters.results) == 4)
    time.sleep(0.6)
    assert len(waiters.results) == 4, "and are no reason for more returns than notifications"


def test_a_stopped_waiter_is_passed_over_and_waits_on(
    view: MemoryMappedViewAccessor, other: Actor, waiters: Waiters
) -> None:
    changed = waiters.changed
    wait_over_there(other, changed)
    os.kill(other.pid, signal.SIGSTOP)
    waiters.notify()
    waiters.start(2)
    waiters.notify()
    assert waiters.came(1)
    until(lambda: len(waiters.results) == 2)  # who came after the stopped one was notified, and was notified once
    os.kill(other.pid, signal.SIGCONT)
    assert not other.answered(0.6), "its notification has passed to another"
    waiters.notify()
    assert other.answer(SOON) is True


def test_a_waiter_is_told_if_the_owner_of_the_lock_dies(view: MemoryMappedViewAccessor, other: Actor) -> None:
    """Also if nobody else takes the lock."""
    waiters = Waiters(a_condition(view)[1])
    waiters.start()
    other.do("lock.acquire()")
    other.kill()
    assert waiters.came(1)
    assert waiters.results == [(0, "told")]
    waiters.end()


STAGE = PRELUDE + "from support.condition_deaths import kill_everywhere, unavailable\n"


@pytest.mark.parametrize("kind", ["notifier", "waiter"])
@pytest.mark.parametrize("step", [pytest.param(1, marks=[pytest.mark.campaign, pytest.mark.timeout(600)]), 24])
def test_killed_after_each_change(kind: str, step: int) -> None:
    with Actor(prelude=STAGE, timeout=600) as stage:
        unavailable = stage.get("unavailable()")
        if unavailable:
            pytest.skip(unavailable)
        points = stage.get("kill_everywhere(kind, step, start)", kind=kind, step=step, start=random.randrange(step))
        print(points)
        assert points["points"] > 1

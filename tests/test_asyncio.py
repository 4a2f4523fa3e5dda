# SPDX-License-Identifier: MIT
"""Waits of asyncio's tasks: they stand in line, thread and task own a mutex, a cancelled wait takes nothing."""

from __future__ import annotations

import asyncio
import contextvars
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from peers import Peer
from programs import LIMIT
from support.tasks import in_thread, run, turns, waits

from memorymapped import (
    AbandonedMutexError,
    AutoResetEvent,
    ClosedError,
    EventResetMode,
    EventWaitHandle,
    FairMutex,
    ManualResetEvent,
    MappedEvent,
    MappedLock,
    MappedSemaphore,
    MemoryMappedFile,
    Mutex,
    OutOfRangeError,
    Semaphore,
    SharedMemory,
)
from memorymapped.sync import aio


@pytest.fixture(params=["Mutex", "named Mutex", "FairMutex", "MappedLock"])
def mutex(request: pytest.FixtureRequest, tag: str) -> Any:
    if request.param == "MappedLock":
        with MemoryMappedFile.create_new(None, 64) as map_, map_.create_view_accessor() as view:
            made: Any = MappedLock(view, 0)
            yield made
            made.close()
        return
    made = {"Mutex": Mutex, "named Mutex": lambda: Mutex(name=f"Global\\{tag}"), "FairMutex": FairMutex}[
        request.param
    ]()
    yield made
    made.close()


# -- mutexes


def test_a_task_takes_and_releases(mutex: Any) -> None:
    async def main() -> None:
        assert await mutex.wait_one_async()
        assert mutex.owned
        assert not in_thread(lambda: mutex.wait_one(0))
        mutex.release_mutex()
        assert in_thread(lambda: (mutex.wait_one(0), mutex.release_mutex())[0])
        async with mutex as same:
            assert same is mutex
            assert mutex.owned
        assert not mutex.owned

    run(main())


def test_tasks_of_one_loop_exclude_each_other_in_the_order_in_which_they_came(mutex: Any) -> None:
    order = []

    async def work(number: int) -> None:
        async with mutex:
            order.append(number)
            await turns()
            order.append(number)

    async def main() -> None:
        tasks = [asyncio.create_task(work(number)) for number in range(5)]
        await asyncio.gather(*tasks)

    run(main())
    assert order == [number for number in range(5) for _ in range(2)]


def test_a_hand_over_between_tasks_needs_no_pause(mutex: Any) -> None:
    async def work(rounds: int) -> None:
        for _ in range(rounds):
            async with mutex:
                await asyncio.sleep(0)

    async def main() -> float:
        begin = time.monotonic()
        await asyncio.gather(work(300), work(300))
        return time.monotonic() - begin

    assert run(main()) < 600 * 0.010 / 2, "each looked only after the pause"


def test_the_same_task_cannot_take_it_twice(mutex: Any) -> None:
    async def main() -> None:
        await mutex.wait_one_async()
        with pytest.raises(RuntimeError, match="already"):
            await mutex.wait_one_async()
        with pytest.raises(RuntimeError, match="wait_one_async"):
            mutex.wait_one()
        mutex.release_mutex()

    run(main())


def test_a_blocking_wait_while_another_task_owns_it_is_refused(mutex: Any) -> None:
    async def own(taken: asyncio.Event, go: asyncio.Event) -> None:
        async with mutex:
            taken.set()
            await go.wait()

    async def main() -> None:
        taken, go = asyncio.Event(), asyncio.Event()
        owner = asyncio.create_task(own(taken, go))
        await taken.wait()
        for wait in (mutex.wait_one, mutex.acquire, mutex.__enter__):
            with pytest.raises(RuntimeError, match="never"):
                wait()
        with pytest.raises(RuntimeError, match="only the task"):
            mutex.release_mutex()
        assert mutex.owned, "nothing has changed"
        go.set()
        await owner
        assert not mutex.owned

    run(main())


def test_a_blocking_owner_and_a_waiting_task_are_told_apart(mutex: Any) -> None:
    async def main() -> None:
        with mutex, pytest.raises(RuntimeError, match="blocking wait"):
            await mutex.wait_one_async()

    run(main())


def test_it_waits_for_another_thread_while_other_tasks_run(mutex: Any) -> None:
    taken, go = threading.Event(), threading.Event()

    def own() -> None:
        with mutex:
            taken.set()
            assert go.wait(LIMIT)

    async def main() -> int:
        waiting = asyncio.create_task(waits(mutex))
        count = 0
        while count < 100:
            await asyncio.sleep(0.0005)
            count += 1
        assert not waiting.done()
        go.set()
        assert await waiting
        # The task that has taken it has ended.
        with pytest.raises(AbandonedMutexError):
            await mutex.wait_one_async()
        mutex.release_mutex()
        return count

    thread = threading.Thread(target=own)
    thread.start()
    assert taken.wait(LIMIT)
    assert run(main()) == 100
    thread.join(LIMIT)


def test_a_task_that_ends_owning_it_abandons_it(mutex: Any) -> None:
    async def own() -> None:
        await mutex.wait_one_async()

    async def main() -> None:
        await asyncio.create_task(own())
        with pytest.raises(AbandonedMutexError) as caught:
            await mutex.wait_one_async()
        assert caught.value.mutex is mutex
        assert mutex.owned
        mutex.release_mutex()
        assert await mutex.wait_one_async()
        mutex.release_mutex()

    run(main())


def test_async_with_meets_an_abandoned_one_as_with_does(mutex: Any) -> None:
    repaired = []

    async def own() -> None:
        await mutex.wait_one_async()

    async def main() -> None:
        await asyncio.create_task(own())
        for _ in range(2):
            with pytest.raises(AbandonedMutexError) as caught:
                async with mutex:
                    pytest.fail("the body must not run")
            assert not caught.value.owned
            assert not mutex.owned
        mutex.on_abandoned = repaired.append
        async with mutex:
            assert repaired == [mutex]

    run(main())


def test_a_time_out_leaves_nothing_taken(mutex: Any) -> None:
    taken, go = threading.Event(), threading.Event()

    def own() -> None:
        with mutex:
            taken.set()
            assert go.wait(LIMIT)

    async def main() -> None:
        assert not await mutex.wait_one_async(0)
        assert not await mutex.wait_one_async(0.02)
        for wrong in (-2, float("nan")):
            with pytest.raises(OutOfRangeError):
                await mutex.wait_one_async(wrong)
        with pytest.raises(TypeError):
            await mutex.wait_one_async("1")

    thread = threading.Thread(target=own)
    thread.start()
    assert taken.wait(LIMIT)
    run(main())
    go.set()
    thread.join(LIMIT)
    with mutex:
        pass


def test_a_cancelled_wait_never_leaves_it_owned(mutex: Any) -> None:
    """Cancelled at every moment: before it waits, while it waits, and in the turn in which it is given the mutex."""

    async def own(go: asyncio.Event) -> None:
        async with mutex:
            await go.wait()

    async def main(moment: int) -> bool:
        go = asyncio.Event()
        owner = asyncio.create_task(own(go))
        await turns(1)
        waiter = asyncio.create_task(waits(mutex))
        await turns(2)
        go.set()
        await turns(moment)
        got_it = mutex.owned and owner.done()
        waiter.cancel()
        result = (await asyncio.gather(waiter, return_exceptions=True))[0]
        await owner
        await turns()
        if result is True:  # it was over before it was cancelled: its task has ended, owning
            with pytest.raises(AbandonedMutexError):
                await mutex.wait_one_async(0)
            mutex.release_mutex()
        assert not mutex.owned
        assert in_thread(lambda: (mutex.wait_one(0), mutex.release_mutex())[0]), "and nobody was told of an abandonment"
        return got_it and isinstance(result, asyncio.CancelledError)

    seen = [run(main(moment)) for moment in range(7)]
    assert any(seen), "it was never cancelled in the turn in which it had got the mutex"


def test_who_is_next_is_not_held_up_by_a_cancelled_one(mutex: Any) -> None:
    async def main() -> None:
        await mutex.wait_one_async()
        first, second = (asyncio.create_task(waits(mutex)) for _ in range(2))
        await turns()
        first.cancel()
        await turns()
        mutex.release_mutex()
        assert await second

    run(main())
    with pytest.raises(AbandonedMutexError):  # the task has ended
        mutex.wait_one(0)
    mutex.release()


def test_closing_ends_a_wait(mutex: Any) -> None:
    async def main() -> None:
        await mutex.wait_one_async()
        waiting = asyncio.create_task(waits(mutex))
        await turns()
        mutex.close()
        with pytest.raises(ClosedError):
            await waiting
        with pytest.raises(ClosedError):
            await mutex.wait_one_async()

    run(main())


def test_a_killed_process_gives_it_to_a_task_that_is_told(tag: str, run: Any) -> None:
    mutex = Mutex(name=f"Global\\{tag}")
    peer = Peer(run)
    peer(f"m = Mutex(name={mutex.name!r}); m.wait_one()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(mutex, LIMIT))
        await asyncio.sleep(0.02)
        peer.kill()
        with pytest.raises(AbandonedMutexError) as caught:
            await waiting
        assert caught.value.previous_owner.process == peer.pid

    asyncio.run(main())
    with pytest.raises(AbandonedMutexError):  # the task that had got it has ended
        mutex.wait_one(0)
    mutex.release()
    mutex.close()


def test_loops_in_several_threads(mutex: Any) -> None:
    count = 0

    async def work() -> None:
        nonlocal count
        for _ in range(20):
            async with mutex:
                before = count
                await asyncio.sleep(0)
                count = before + 1

    async def main() -> None:
        await asyncio.gather(work(), work())

    with ThreadPoolExecutor(3) as executor:
        for result in [executor.submit(run, main()) for _ in range(3)]:
            result.result(LIMIT)
    assert count == 120


# -- events and semaphores


def test_tasks_wait_for_events_set_by_a_thread() -> None:
    with_auto, with_manual = AutoResetEvent(), ManualResetEvent()

    async def main() -> None:
        autos = [asyncio.create_task(with_auto.wait_one_async()) for _ in range(2)]
        manuals = [asyncio.create_task(with_manual.wait_one_async()) for _ in range(3)]
        await asyncio.sleep(0.01)
        await asyncio.to_thread(with_manual.set)
        assert await asyncio.gather(*manuals) == [True] * 3
        assert not any(task.done() for task in autos)
        await asyncio.to_thread(with_auto.set)
        assert await autos[0], "first come, first served"
        await turns()
        assert not autos[1].done()
        await asyncio.to_thread(with_auto.set)
        assert await autos[1]
        assert not with_auto.is_set()
        assert await with_manual.wait_one_async(0)

    run(main())


def test_a_pulse_of_a_manual_event_lets_go_who_waited() -> None:
    event = ManualResetEvent()

    async def main() -> None:
        waiting = asyncio.create_task(event.wait_one_async())
        await asyncio.sleep(0.01)
        await asyncio.to_thread(lambda: (event.set(), event.reset()))
        assert await waiting
        assert not await event.wait_one_async(0)

    run(main())


def test_an_event_wakes_a_task_at_once_and_costs_nothing_meanwhile() -> None:
    event = AutoResetEvent()
    set_at = 0.0

    def set_it() -> None:
        nonlocal set_at
        set_at = time.monotonic()
        event.set()

    async def main() -> tuple[float, float]:
        waiting = asyncio.create_task(event.wait_one_async())
        used = time.process_time()
        await asyncio.sleep(0.6)
        used = time.process_time() - used
        await asyncio.to_thread(set_it)
        await waiting
        return used, time.monotonic() - set_at

    used, took = run(main())
    assert used < 0.2
    assert took < 0.2, "less than any look of a sleeper by himself"


def test_semaphores_are_shared_out() -> None:
    semaphore = Semaphore(2, 5)
    most = now = 0

    async def work() -> None:
        nonlocal most, now
        async with semaphore:
            now += 1
            most = max(most, now)
            await asyncio.sleep(0.001)
            now -= 1

    async def main() -> None:
        await asyncio.gather(*(work() for _ in range(10)))

    run(main())
    assert most == 2
    assert semaphore.statistics().count == 2


def test_a_cancelled_wait_takes_nothing_from_a_semaphore_or_an_event() -> None:
    semaphore, event = Semaphore(0, 5), AutoResetEvent()

    async def main(handle: Any, signal: Callable[[], Any]) -> None:
        for moment in range(5):
            waiter = asyncio.create_task(handle.wait_one_async())
            await turns(2)
            signal()
            await turns(moment)
            waiter.cancel()
            (result,) = await asyncio.gather(waiter, return_exceptions=True)
            if result is not True:
                assert isinstance(result, asyncio.CancelledError)
                assert await handle.wait_one_async(0), "what nobody took is still there"

    run(main(semaphore, semaphore.release))
    run(main(event, event.set))


def test_more_objects_than_one_call_of_the_system_can_sleep_on() -> None:
    events = [AutoResetEvent() for _ in range(300)]

    async def main() -> None:
        waiting = [asyncio.create_task(event.wait_one_async()) for event in events]
        await asyncio.sleep(0.01)
        for event in reversed(events):
            await asyncio.to_thread(event.set)
        assert all(await asyncio.gather(*waiting))

    before = threading.active_count()
    run(main())
    assert threading.active_count() <= before + 5  # 60 a call on Windows


def test_named_events_between_processes(run: Any) -> None:
    name = f"asyncio-{os.getpid()}"
    event = EventWaitHandle(False, EventResetMode.AUTO_RESET, name)
    peer = Peer(run)
    peer(f"e = EventWaitHandle.open_existing({name!r})")

    async def main() -> None:
        waiting = asyncio.create_task(event.wait_one_async(LIMIT))
        await asyncio.sleep(0.01)
        await asyncio.to_thread(peer, "e.set()")
        assert await waiting

    asyncio.run(main())
    peer("e.close()")
    peer.end()
    event.close()


def test_events_and_semaphores_in_a_map() -> None:
    async def main() -> None:
        with MemoryMappedFile.create_new(None, 64) as map_, map_.create_view_accessor() as view:
            event, semaphore = MappedEvent(view, 0), MappedSemaphore(view, 16)
            waiting = [asyncio.create_task(handle.wait_one_async()) for handle in (event, semaphore)]
            await asyncio.sleep(0.01)
            await asyncio.to_thread(lambda: (event.set(), semaphore.release()))
            assert await asyncio.gather(*waiting) == [True, True]
            event.close()
            semaphore.close()

    run(main())


def test_a_closed_event_ends_a_wait() -> None:
    event = AutoResetEvent()

    async def main() -> None:
        waiting = asyncio.create_task(event.wait_one_async())
        await asyncio.sleep(0.01)
        event.close()
        with pytest.raises(ClosedError):
            await waiting

    run(main())


def test_threads_of_a_closed_loop_end() -> None:
    event = AutoResetEvent()

    async def main() -> None:
        assert not await event.wait_one_async(0.01)

    for _ in range(3):
        run(main())
    end = time.monotonic() + LIMIT
    while any(thread.name == "memorymapped waits" for thread in threading.enumerate()):
        assert time.monotonic() < end
        time.sleep(0.01)


# -- what others do


class Arriving:
    """What tasks wait for, in a map. `at` the second look it raises."""

    def __init__(self, shared: SharedMemory[bytes]) -> None:
        self.shared = shared
        self.looks = 0
        self.contexts: list[str | None] = []

    def _arrived(self) -> bool:
        self.looks += 1
        self.contexts.append(VARIABLE.get())
        if self.looks == 2:
            raise KeyboardInterrupt
        return False

    def _word(self) -> Any:
        return self.shared._word()

    def _pause(self) -> float:
        return 0.001


VARIABLE: contextvars.ContextVar[str | None] = contextvars.ContextVar("VARIABLE", default=None)


def test_a_wait_that_is_interrupted_at_its_first_look_leaves_nothing(tag: str) -> None:
    async def main() -> None:
        of = Arriving(shared)
        with pytest.raises(KeyboardInterrupt):
            await aio.arrival(of, (), 1.0)
        await asyncio.sleep(0.02)
        assert of.looks == 2

    with SharedMemory(8, tag) as shared:
        run(main())


def test_who_waits_first_does_not_lend_its_context(tag: str) -> None:
    """The looks are for all who wait."""

    async def main() -> None:
        of = Arriving(shared)
        of.looks = 2
        VARIABLE.set("first")
        assert not await aio.arrival(of, (), 0.05)
        # its own two looks are before and at the wait, and its last is behind it
        assert len(of.contexts) > 3
        assert set(of.contexts[2:-1]) == {None}

    with SharedMemory(8, tag) as shared:
        run(main())


def test_a_look_at_a_large_value_leaves_the_loop_most_of_the_time(tag: str) -> None:
    async def main() -> None:
        took = []
        for _ in range(5):
            began = time.perf_counter()
            assert not await shared.wait_for_change_async(0)
            took.append(time.perf_counter() - began)
        assert shared._pause() > 8 * min(took)  # it is of the last one

    with SharedMemory(64 << 20, tag) as shared:
        run(main())

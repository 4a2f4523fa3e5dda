# SPDX-License-Identifier: MIT
"""Tasks of asyncio among the threads of all processes: their place in the queue of a FairMutex and of writers, and how
they read together."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from support.actors import PRELUDE, Actor
from support.tasks import in_thread, run, waits

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    FairMutex,
    MappedReaderWriterLock,
    MemoryMappedFile,
    MemoryMappedViewAccessor,
)

LIMIT = 20.0
THERE = PRELUDE + "import asyncio\nfrom support.tasks import waits\n"


async def true(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


def until(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.001)


@pytest.fixture
def mutex() -> Iterator[FairMutex]:
    with_name = FairMutex(name="line")
    yield with_name
    with_name.close()


@pytest.fixture
def view() -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_new("shared", 65536) as map_, map_.create_view_accessor() as accessor:
        yield accessor


@pytest.fixture
def both(view: MemoryMappedViewAccessor) -> Iterator[MappedReaderWriterLock]:
    lock = MappedReaderWriterLock(view, 4096)
    yield lock
    lock.close()


@pytest.fixture
def actors() -> Iterator[Callable[[str], Actor]]:
    """Processes that have `f`, a FairMutex, or `both`, a reader-writer lock."""
    opening = {
        "f": "f = FairMutex.open_existing('line')\n",
        "both": "m = MemoryMappedFile.open_existing('shared'); v = m.create_view_accessor()\n"
        "both = MappedReaderWriterLock(v, 4096)\n",
    }
    started: list[Actor] = []

    def start(what: str) -> Actor:
        started.append(Actor(prelude=THERE + opening[what]))
        return started[-1]

    yield start
    for actor in started:
        try:
            if actor.process.poll() is None:
                actor.finish()
        finally:
            actor.close()


def length(mutex: FairMutex) -> int:
    return mutex.statistics().queue_length


async def take_in_turn(lock: Any, took: list[str], name: str) -> None:
    async with lock:
        took.append(name)
        await asyncio.sleep(0)


# -- a FairMutex


def test_a_task_has_its_place_among_processes(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    owner, before, behind = (actors("f") for _ in range(3))
    owner.do("f.acquire()")

    async def main() -> None:
        before.send("_result = f.wait_one()")
        await true(lambda: length(mutex) == 1)
        took: list[str] = []
        tasks = [asyncio.create_task(take_in_turn(mutex, took, name)) for name in ("first", "second")]
        await true(lambda: length(mutex) == 2)
        behind.send("_result = f.wait_one()")
        await true(lambda: length(mutex) == 3)
        owner.do("f.release()")
        assert before.answer() is True
        await asyncio.sleep(0.03)
        assert not took, "it is not its turn"
        before.do("f.release()")
        await tasks[0]
        assert took == ["first"]
        assert behind.answer() is True, "all tasks of a loop have one place"
        behind.do("f.release()")
        await tasks[1]

    run(main())
    assert mutex.wait_one(0)
    mutex.release()


def test_a_task_is_served_among_those_who_take_it_again_and_again(mutex: FairMutex) -> None:
    ended = threading.Event()

    def contend() -> None:
        while not ended.is_set():
            with mutex:
                time.sleep(0.0002)

    async def main() -> None:
        for _ in range(5):
            assert await mutex.wait_one_async(LIMIT)
            mutex.release()

    with ThreadPoolExecutor(3) as executor:
        others = [executor.submit(contend) for _ in range(3)]
        try:
            until(lambda: length(mutex) == 2)
            run(main())
        finally:
            ended.set()
        for other in others:
            other.result(LIMIT)


@pytest.mark.parametrize("way", ["time-out", "cancelled", "closed"])
def test_a_wait_that_ends_leaves_no_place(mutex: FairMutex, actors: Callable[[str], Actor], way: str) -> None:
    owner, behind = actors("f"), actors("f")
    owner.do("f.acquire()")

    async def main() -> None:
        handle = FairMutex.open_existing("line")
        wait = waits(handle, 0.1 if way == "time-out" else None)
        waiting = asyncio.create_task(wait)
        await true(lambda: length(mutex) == 1)
        behind.send("_result = f.wait_one()")
        await true(lambda: length(mutex) == 2)
        if way == "cancelled":
            waiting.cancel()
        elif way == "closed":
            handle.close()
        result = (await asyncio.gather(waiting, return_exceptions=True))[0]
        assert way != "time-out" or result is False
        await true(lambda: length(mutex) == 1)
        handle.close()

    run(main())
    owner.do("f.release()")
    assert behind.answer() is True
    behind.do("f.release()")
    assert mutex.wait_one(0)
    mutex.release()


def test_a_time_out_of_nothing_takes_no_place(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    owner = actors("f")
    owner.do("f.acquire()")

    async def main() -> None:
        assert not await mutex.wait_one_async(0)
        assert length(mutex) == 0

    run(main())


def test_a_blocking_wait_goes_on_at_the_place_of_the_tasks(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    """Behind that, and behind others who are behind that, it would wait for itself."""
    owner, behind = actors("f"), actors("f")
    owner.do("f.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(mutex))
        await true(lambda: length(mutex) == 1)
        behind.send("_result = f.wait_one()")
        await true(lambda: length(mutex) == 2)
        assert mutex.wait_one(0) is False
        assert mutex.wait_one(0.02) is False
        assert length(mutex) == 2, "the place stays"
        owner.send("time.sleep(0.1); f.release()")
        assert mutex.wait_one(LIMIT) is True
        owner.answer()
        await asyncio.sleep(0.02)
        assert not waiting.done(), "this thread owns it"
        assert not behind.answered(0)
        mutex.release()
        assert behind.answer() is True
        behind.do("f.release()")
        assert await waiting is True

    run(main())


def test_a_killed_process_leaves_all_its_places(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    second = FairMutex(name="another line")
    other = actors("f")
    other.do("""
second = FairMutex.open_existing("another line")
def wait():
    async def main():
        await asyncio.gather(waits(f), waits(f), waits(second))
    asyncio.run(main())
""")
    with mutex, second:
        other.do("threading.Thread(target=wait, daemon=True).start()")
        until(lambda: length(mutex) == length(second) == 1)
        other.kill()
        assert length(mutex) == length(second) == 0
    for each in (mutex, second):
        assert in_thread(lambda each=each: each.wait_one(LIMIT) and not each.release())  # type: ignore[misc]
    second.close()


def test_a_thread_that_ends_leaves_its_place(mutex: FairMutex) -> None:
    loop = asyncio.new_event_loop()
    tasks = []

    def wait() -> None:
        tasks.append(loop.create_task(waits(mutex)))
        loop.run_until_complete(true(lambda: length(mutex) == 1))

    with mutex:
        thread = threading.Thread(target=wait)
        thread.start()
        thread.join(LIMIT)
        until(lambda: length(mutex) == 0)
    assert mutex.wait_one(LIMIT)
    mutex.release()
    # And the loop goes on in this thread.
    assert loop.run_until_complete(tasks[0]) is True
    loop.close()
    tasks.clear()
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()


@pytest.mark.parametrize("collected_by", ["its thread", "another thread"])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_loop_closed_with_a_wait_pending(
    mutex: FairMutex, actors: Callable[[str], Actor], collected_by: str, caplog: pytest.LogCaptureFixture
) -> None:
    owner, behind = actors("f"), actors("f")
    owner.do("f.acquire()")
    go, ended = threading.Event(), threading.Event()

    def wait() -> None:
        loop = asyncio.new_event_loop()
        task = loop.create_task(waits(mutex))
        loop.run_until_complete(true(lambda: length(mutex) == 1))
        behind.send("_result = f.wait_one()")
        loop.run_until_complete(true(lambda: length(mutex) == 2))
        loop.close()
        del loop, task
        if collected_by == "its thread":
            gc.collect()
        ended.set()
        go.wait(LIMIT)  # a thread that lives on

    gc.disable()
    try:
        thread = threading.Thread(target=wait)
        thread.start()
        assert ended.wait(LIMIT)
        if collected_by == "another thread":
            gc.collect()
    finally:
        gc.enable()
    assert length(mutex) == 1
    owner.do("f.release()")
    assert behind.answer() is True
    behind.do("f.release()")
    assert mutex.wait_one(0)
    mutex.release()
    go.set()
    thread.join(LIMIT)
    assert "pending" in caplog.text  # asyncio tells of the task


def test_ctrl_c_leaves_the_line(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    other, behind = actors("f"), actors("f")
    with mutex:
        other.send("try:\n asyncio.run(waits(f))\nexcept KeyboardInterrupt:\n _result = 'interrupted'")
        until(lambda: length(mutex) == 1)
        behind.send("_result = f.wait_one()")
        until(lambda: length(mutex) == 2)
        os.kill(other.pid, signal.SIGINT)
        assert other.answer() == "interrupted"
        until(lambda: length(mutex) == 1)
    assert behind.answer() is True
    behind.do("f.release()")


def test_the_child_of_a_fork_leaves_its_parents_place_alone(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    owner = actors("f")
    owner.do("f.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(mutex))
        await true(lambda: length(mutex) == 1)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads
            pid = os.fork()
        if pid == 0:
            status = 1
            try:
                waiting.get_coro().close()  # type: ignore[union-attr]
            except (RuntimeError, ValueError):
                pass
            finally:
                gc.collect()
                status = 0 if length(mutex) == 1 and not mutex.wait_one(0) else 2
                os._exit(status)
        assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
        assert length(mutex) == 1
        owner.do("f.release()")
        assert await waiting is True

    run(main())
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()


def test_a_handler_cannot_wait_behind_its_own_thread(mutex: FairMutex, actors: Callable[[str], Actor]) -> None:
    """Also with another process between the two in the queue."""
    other, between = actors("f"), actors("f")
    mutex.acquire()
    other.send("""
seen = []
def handler(*_):
    seen.append(f.wait_one(0))
    try:
        f.wait_one()
    except RuntimeError as error:
        seen.append(str(error))
signal.signal(signal.SIGUSR1, handler)
_result = f.wait_one(15), seen
""")
    until(lambda: length(mutex) == 1)
    between.send("_result = f.wait_one()")
    until(lambda: length(mutex) == 2)
    os.kill(other.pid, signal.SIGUSR1)
    time.sleep(0.2)  # for the handler to run; without it there is nothing to see
    mutex.release()
    got, (looked, message) = other.answer()
    assert got is True
    assert looked is False
    assert "signal handler" in message
    other.do("f.release()")
    assert between.answer() is True
    between.do("f.release()")


# -- writers


def test_readers_that_come_later_wait_for_a_task_that_waits_to_write(
    both: MappedReaderWriterLock, actors: Callable[[str], Actor]
) -> None:
    reader, later = actors("both"), actors("both")
    reader.do("both.reader.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(take_in_turn(both.writer, [], "writer"))
        await true(lambda: both.statistics().has_waiters)
        assert both.statistics().readers == 1
        assert later.get("both.reader.wait_one(0)") is False
        assert not await both.reader.wait_one_async(0)
        later.send("_result = both.reader.wait_one()")
        assert not later.answered(0.05)
        assert not waiting.done()
        reader.do("both.reader.release()")
        await waiting

    run(main())
    assert later.answer() is True
    later.do("both.reader.release()")


@pytest.mark.parametrize("cancels", [False, True], ids=["time-out", "cancelled"])
def test_a_task_that_gives_up_writing_lets_readers_in(
    both: MappedReaderWriterLock, actors: Callable[[str], Actor], cancels: bool
) -> None:
    reader = actors("both")
    reader.do("both.reader.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(both.writer, None if cancels else 0.05))
        await true(lambda: both.statistics().has_waiters)
        if cancels:
            waiting.cancel()
        await asyncio.gather(waiting, return_exceptions=True)
        await true(lambda: not both.statistics().has_waiters)
        assert both.reader.wait_one(0)
        both.reader.release()

    run(main())
    reader.do("both.reader.release()")
    assert both.writer.wait_one(0)
    both.writer.release()


def test_blocking_waits_beside_a_task_that_waits_to_write(
    both: MappedReaderWriterLock, actors: Callable[[str], Actor]
) -> None:
    reader = actors("both")
    reader.do("both.reader.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(both.writer))
        await true(lambda: both.statistics().has_waiters)
        assert both.reader.wait_one(0) is False
        assert both.writer.wait_one(0.02) is False
        assert both.reader.wait_one(LIMIT) is True, "it would wait for the gate that this thread has"
        both.reader.release()
        await true(lambda: both.statistics().has_waiters)
        reader.send("time.sleep(0.1); both.reader.release()")
        assert both.writer.wait_one(LIMIT) is True
        both.writer.release()
        reader.answer()
        assert await waiting is True

    run(main())


def test_a_killed_process_whose_task_waits_to_write(
    both: MappedReaderWriterLock, actors: Callable[[str], Actor]
) -> None:
    other = actors("both")
    both.reader.acquire()
    other.send("asyncio.run(waits(both.writer))")
    until(lambda: both.statistics().has_waiters)
    other.kill()
    assert in_thread(lambda: both.reader.wait_one(LIMIT) and not both.reader.release())
    both.reader.release()
    assert both.writer.wait_one(LIMIT)
    both.writer.release()


# -- readers


def test_tasks_of_one_loop_read_together(both: MappedReaderWriterLock) -> None:
    async def read(inside: asyncio.Barrier) -> None:
        async with both.reader:
            await inside.wait()
            assert not in_thread(lambda: both.writer.wait_one(0))
            await inside.wait()

    async def main() -> None:
        inside = asyncio.Barrier(3)
        await asyncio.gather(*(read(inside) for _ in range(3)))
        assert not both.reader.owned
        assert both.statistics().readers == 0

    run(main())
    with both.writer:
        pass


def test_who_reads_by_a_task_and_who_by_its_thread(both: MappedReaderWriterLock) -> None:
    """Each releases what it has, and nothing else."""
    taken, go = threading.Event(), threading.Event()

    def loop() -> None:
        async def main() -> None:
            async with both.reader:
                taken.set()
                await asyncio.to_thread(go.wait, LIMIT)

        run(main())

    thread = threading.Thread(target=loop)
    thread.start()
    assert taken.wait(LIMIT)
    with both.reader:
        assert both.statistics().readers == 2
    assert not both.reader.owned
    with pytest.raises(RuntimeError, match="does not read"):
        both.reader.release()
    assert both.statistics().readers == 1
    go.set()
    thread.join(LIMIT)
    with both.writer:
        pass


def test_loops_in_two_threads_read_together(both: MappedReaderWriterLock) -> None:
    inside = threading.Barrier(2)

    async def main() -> None:
        async with both.reader:
            await asyncio.to_thread(inside.wait, LIMIT)
            await asyncio.to_thread(inside.wait, LIMIT)

    with ThreadPoolExecutor(2) as executor:
        for result in [executor.submit(run, main()) for _ in range(2)]:
            result.result(LIMIT)
    with both.writer:
        pass


def test_only_the_task_that_reads_releases(both: MappedReaderWriterLock) -> None:
    async def read(taken: asyncio.Event, go: asyncio.Event) -> None:
        async with both.reader:
            taken.set()
            await go.wait()

    async def main() -> None:
        taken, go = asyncio.Event(), asyncio.Event()
        reading = asyncio.create_task(read(taken, go))
        await taken.wait()
        with pytest.raises(RuntimeError, match="only the task"):
            both.reader.release()
        for wait in (both.reader.wait_one, both.writer.wait_one):
            with pytest.raises(RuntimeError, match="await wait_one_async"):
                wait()
        assert await both.reader.wait_one_async()
        with pytest.raises(RuntimeError, match="already"):
            await both.reader.wait_one_async()
        with pytest.raises(RuntimeError, match="cannot write"):
            await both.writer.wait_one_async()
        both.reader.release()
        go.set()
        await reading
        assert not both.reader.owned

    run(main())


def test_a_task_that_ends_reading_reads_no_more(both: MappedReaderWriterLock) -> None:
    async def main() -> None:
        assert await asyncio.create_task(waits(both.reader))
        await true(lambda: not both.reader.owned)
        assert await both.writer.wait_one_async(LIMIT)
        both.writer.release()

    run(main())


def test_a_task_writes_after_the_tasks_of_its_loop_that_read(both: MappedReaderWriterLock) -> None:
    """And before those that come later."""
    took: list[str] = []

    async def read(name: str, go: asyncio.Event) -> None:
        async with both.reader:
            took.append(name)
            await go.wait()

    async def main() -> None:
        go = asyncio.Event()
        tasks = [asyncio.create_task(read("first", go))]
        await true(lambda: took)
        tasks.append(asyncio.create_task(take_in_turn(both.writer, took, "writer")))
        await true(lambda: both.statistics().has_waiters)
        assert both.statistics().readers == 1
        tasks.append(asyncio.create_task(read("later", go)))
        await asyncio.sleep(0.02)
        assert took == ["first"]
        go.set()
        await asyncio.gather(*tasks)

    run(main())
    assert took == ["first", "writer", "later"]


def test_a_task_that_is_told_of_a_dead_writer_leaves_the_others_reading(
    both: MappedReaderWriterLock, actors: Callable[[str], Actor]
) -> None:
    writer = actors("both")
    writer.do("both.writer.acquire()")
    writer.kill()

    async def told() -> None:
        with pytest.raises(AbandonedMutexError) as caught:
            async with both.reader:
                pytest.fail("the body ran")
        assert not caught.value.owned

    async def main() -> None:
        await asyncio.create_task(told())
        assert not both.reader.owned
        with pytest.raises(AbandonedMutexError):
            await both.reader.wait_one_async()
        await asyncio.create_task(told())
        assert both.reader._core is not None
        assert both.reader._core.depth == 1
        both.reader.release()

    run(main())
    with pytest.raises(AbandonedMutexError), both.reader:
        pytest.fail("the body ran")
    assert not both.reader.owned


def test_a_cancelled_wait_to_read_leaves_the_other_tasks_reading(both: MappedReaderWriterLock) -> None:
    async def read(taken: asyncio.Event, go: asyncio.Event) -> None:
        async with both.reader:
            taken.set()
            await go.wait()

    async def main(moment: int) -> None:
        taken, go = asyncio.Event(), asyncio.Event()
        assert await both.writer.wait_one_async()
        reading = asyncio.create_task(read(taken, go))
        waiter = asyncio.create_task(waits(both.reader))
        await asyncio.sleep(0)
        both.writer.release()
        for _ in range(moment):
            await asyncio.sleep(0)
        waiter.cancel()
        await asyncio.gather(waiter, return_exceptions=True)
        await taken.wait()
        core = both.reader._core
        assert core is not None
        await true(lambda: core.depth == 1)  # what a task had that has ended is given back, a turn later
        go.set()
        await reading
        assert not both.reader.owned

    for moment in range(6):
        run(main(moment))


def test_closing_ends_a_wait_to_write(both: MappedReaderWriterLock, actors: Callable[[str], Actor]) -> None:
    reader = actors("both")
    reader.do("both.reader.acquire()")

    async def main() -> None:
        waiting = asyncio.create_task(waits(both.writer))
        await true(lambda: both.statistics().has_waiters)
        both.close()
        with pytest.raises(ClosedError):
            await waiting

    run(main())
    assert reader.get("not both.statistics().has_waiters")

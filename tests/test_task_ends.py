# SPDX-License-Identifier: MIT
"""How waits of asyncio's tasks end in other ways than by their result: with their loop, their handle, their coroutine;
and that they take nothing then, and nothing is kept for them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from campaigns import campaign
from programs import LIMIT, until
from support.tasks import in_thread, run, turns, waits

from memorymapped import (
    AbandonedMutexError,
    AutoResetEvent,
    ClosedError,
    FairMutex,
    ManualResetEvent,
    MappedEvent,
    MappedLock,
    MappedReaderWriterLock,
    MappedSemaphore,
    MemoryMappedFile,
    Mutex,
    Semaphore,
)


def watchers() -> int:
    return sum(thread.name == "memorymapped waits" for thread in threading.enumerate())


MUTEXES = ["Mutex", "FairMutex", "MappedLock", "writer", "reader"]


@pytest.fixture(params=MUTEXES)
def mutex(request: pytest.FixtureRequest) -> Iterator[Any]:
    with MemoryMappedFile.create_new(None, 8192) as map_, map_.create_view_accessor() as view:
        both = MappedReaderWriterLock(view, 4096)
        makers: dict[str, Callable[[], Any]] = {
            "Mutex": Mutex,
            "FairMutex": FairMutex,
            "MappedLock": lambda: MappedLock(view, 0),
            "writer": lambda: both.writer,
            "reader": lambda: both.reader,
        }
        made = makers[request.param]()
        yield made
        made.close()
        both.close()


def excludes(mutex: Any) -> bool:
    """Readers do not exclude each other, and leave nothing undone."""
    return type(mutex).__name__ != "MappedReader"


SIGNALS: dict[str, tuple[Callable[[str | None], Any], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "Semaphore": (
        lambda name: Semaphore(0, 3, name),
        lambda each: each.release(),
        lambda each: each.statistics().count,
    ),
    "AutoResetEvent": (lambda name: AutoResetEvent(name=name), lambda each: each.set(), lambda each: each.is_set()),
}


@pytest.fixture(params=SIGNALS)
def signal(request: pytest.FixtureRequest) -> Any:
    """How to make one, to signal it, and to ask what is there."""
    return SIGNALS[request.param]


# -- a task that is nothing but the wait


@pytest.mark.parametrize("way", ["create_task", "gather", "wait_for", "async with"])
def test_a_task_that_is_nothing_but_a_wait_for_a_mutex_is_refused(mutex: Any, way: str) -> None:
    """It would own the mutex and end; who waits for the task would be told that he has it."""
    if way == "wait_for" and sys.version_info >= (3, 12):
        pytest.skip("wait_for makes no task any more")

    async def main() -> None:
        if way == "create_task":
            await asyncio.create_task(mutex.wait_one_async(1))
        elif way == "gather":
            await asyncio.gather(mutex.wait_one_async())
        elif way == "wait_for":
            await asyncio.wait_for(mutex.wait_one_async(), 1)
        else:
            await asyncio.create_task(mutex.__aenter__())

    with pytest.raises(RuntimeError, match=r"asyncio\.timeout\(\)"):
        run(main())
    assert mutex.wait_one(0), "and nobody abandoned it"
    mutex.release()


def test_what_may_be_done_instead(mutex: Any) -> None:
    async def own() -> None:
        async with asyncio.timeout(LIMIT):
            await mutex.wait_one_async()
        mutex.release()
        assert await mutex.wait_one_async(timeout=LIMIT)
        mutex.release()

    async def main() -> None:
        await asyncio.gather(own(), own())

    run(main())


def test_tasks_that_are_nothing_but_waits_for_events_and_semaphores() -> None:
    event, semaphore = AutoResetEvent(), Semaphore(2, 2)

    async def main() -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(event.wait_one_async(), 0.01)
        event.set()
        assert await asyncio.wait_for(event.wait_one_async(), LIMIT)
        assert await asyncio.gather(semaphore.wait_one_async(), semaphore.wait_one_async()) == [True, True]

    run(main())
    assert not event.is_set()
    assert semaphore.statistics().count == 0


# -- the coroutine ends


def test_a_coroutine_that_is_closed_takes_nothing(signal: Any) -> None:
    make, give, state = signal

    async def main() -> None:
        handle = make(None)
        wait = handle.wait_one_async()
        wait.send(None)
        give(handle)
        while state(handle):  # until it was given to the wait, which is driven by hand and does not hear of it
            await asyncio.sleep(0.001)
        wait.close()
        assert state(handle) == 1
        handle.wait_one(0)
        wait = handle.wait_one_async()
        wait.send(None)
        wait.close()
        give(handle)
        await asyncio.sleep(0.01)
        assert state(handle) == 1, "nobody waits any more"

    run(main())


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, asyncio.CancelledError])
def test_an_exception_that_is_thrown_into_a_wait_takes_nothing(signal: Any, error: type[BaseException]) -> None:
    make, give, state = signal

    async def main() -> None:
        handle = make(None)
        wait = handle.wait_one_async()
        wait.send(None)
        give(handle)
        while state(handle):
            await asyncio.sleep(0.001)
        with pytest.raises(error):
            wait.throw(error())
        assert state(handle) == 1

    run(main())


def test_given_by_a_handle_that_is_closed_before_it_is_cancelled(signal: Any) -> None:
    """It is given back through the words."""
    make, give, state = signal

    async def main() -> None:
        first = make("shared by two")
        second = type(first).open_existing("shared by two")
        wait = first.wait_one_async()
        wait.send(None)
        give(second)
        while state(second):
            await asyncio.sleep(0.001)
        first.close()
        with pytest.raises(asyncio.CancelledError):
            wait.throw(asyncio.CancelledError())
        assert state(second) == 1
        second.close()

    run(main())


# -- the loop ends


class Reporting(asyncio.SelectorEventLoop):
    """A loop that tells when another thread has asked it for something."""

    def __init__(self) -> None:
        super().__init__()
        self.asked = threading.Event()

    def call_soon_threadsafe(self, *arguments: Any, **options: Any) -> Any:
        handle = super().call_soon_threadsafe(*arguments, **options)
        self.asked.set()
        return handle


def test_a_loop_closed_before_its_task_hears_of_what_it_was_given(signal: Any) -> None:
    make, give, state = signal
    handle = make(None)
    loop = Reporting()
    task = loop.create_task(handle.wait_one_async())

    async def main() -> None:
        await turns()
        loop.asked.clear()
        give(handle)
        assert loop.asked.wait(LIMIT)
        loop.call_soon(loop.stop)  # after the look that gives it, before the task's own turn

    started = loop.create_task(main())
    loop.run_forever()
    assert started.done()
    assert not task.done()
    assert not state(handle), "it was given"
    loop.close()
    assert state(handle) == 1
    del task
    gc.collect()
    assert state(handle) == 1


def test_a_loop_closed_while_a_task_waits(signal: Any) -> None:
    make, give, state = signal
    handle = make(None)
    loop = asyncio.new_event_loop()
    task = loop.create_task(handle.wait_one_async())
    loop.run_until_complete(asyncio.sleep(0.01))
    assert watchers() == 1
    loop.close()
    until(lambda: watchers() == 0, "the thread has ended, though the task is still there")
    give(handle)
    del task
    gc.collect()
    assert state(handle) == 1


def test_a_task_that_nobody_refers_to_goes_on(signal: Any) -> None:
    make, give, _ = signal
    handle = make(None)
    heard = []

    async def wait() -> None:
        heard.append(await handle.wait_one_async())

    async def main() -> None:
        for task in [asyncio.create_task(wait())]:
            weak = weakref.ref(task)
        del task
        await turns()
        gc.collect()
        assert weak() is not None
        give(handle)
        while not heard:
            await asyncio.sleep(0.001)

    run(main())
    assert heard == [True]


def mappings() -> int:
    with open("/proc/self/maps") as maps:
        return sum(1 for line in maps if "/dev/zero" in line or "rw-s" in line)


def test_loops_leave_nothing() -> None:
    loops = []

    async def main() -> None:
        loops.append(weakref.ref(asyncio.get_running_loop()))
        event, mutex = AutoResetEvent(), Mutex()
        assert not await event.wait_one_async(0.001)
        async with mutex:
            pass
        event.close()
        mutex.close()

    asyncio.run(main())
    until(lambda: watchers() == 0, "the first thread has ended")
    before = mappings()
    most = 0
    for _ in range(100):
        asyncio.run(main())
        most = max(most, watchers())
    assert most < 20, "threads end with their loop, not a second later"
    until(lambda: watchers() == 0, "all threads have ended")
    gc.collect()
    assert [loop for known in loops if (loop := known()) is not None] == []
    assert mappings() <= before + 1


@pytest.mark.filterwarnings("ignore:unclosed event loop:ResourceWarning")
def test_a_loop_that_is_dropped_unclosed_is_not_kept() -> None:
    event = AutoResetEvent()
    loop = asyncio.new_event_loop()
    task = loop.create_task(event.wait_one_async())
    loop.run_until_complete(asyncio.sleep(0.01))
    weak = weakref.ref(loop)
    del task, loop
    gc.collect()
    assert weak() is None
    until(lambda: watchers() == 0, "the thread has ended")


def own_in_a_loop(mutex: Any) -> tuple[asyncio.AbstractEventLoop, asyncio.Task[None]]:
    """A loop that was stopped while a task of it owns the mutex."""

    async def own() -> None:
        async with mutex:
            await asyncio.sleep(LIMIT)

    loop = asyncio.new_event_loop()
    task = loop.create_task(own())
    loop.run_until_complete(turns())
    assert mutex.owned
    return loop, task


@contextlib.contextmanager
def told(mutex: Any) -> Iterator[None]:
    """The wait within finds the mutex abandoned, and takes it."""
    if not excludes(mutex):
        yield
        return
    with pytest.raises(AbandonedMutexError):
        yield


def test_what_a_task_of_a_closed_loop_owns_is_abandoned(mutex: Any) -> None:
    loop, task = own_in_a_loop(mutex)
    loop.close()
    assert not mutex.owned
    with pytest.raises(RuntimeError):
        mutex.release()

    def take() -> None:
        with told(mutex):
            assert mutex.wait_one(LIMIT)
        mutex.release()

    in_thread(take)
    # Its coroutine ends later, and lets go of nothing that this thread has taken meanwhile.
    assert mutex.wait_one(LIMIT)
    del loop, task
    gc.collect()
    assert mutex.owned
    mutex.release()


@pytest.mark.parametrize("asks_by", ["wait", "task", "release"])
def test_a_loop_closed_by_another_thread(mutex: Any, asks_by: str) -> None:
    """Only the thread that took it can let it go: it does when it comes to the mutex again."""
    loop, task = own_in_a_loop(mutex)
    in_thread(loop.close)
    assert mutex.owned
    if asks_by == "wait":
        with told(mutex):
            assert mutex.wait_one(LIMIT)
        mutex.release()
    elif asks_by == "task":

        async def main() -> None:
            with told(mutex):
                assert await mutex.wait_one_async(LIMIT)
            mutex.release()

        run(main())
    else:
        with pytest.raises(RuntimeError):
            mutex.release()
        assert not mutex.owned
    del loop, task
    gc.collect()


def test_the_other_side_of_what_a_closed_loop_has() -> None:
    with MemoryMappedFile.create_new(None, 8192) as map_, map_.create_view_accessor() as view:
        both = MappedReaderWriterLock(view, 0)
        for mine, other in ((both.reader, both.writer), (both.writer, both.reader)):
            loop, task = own_in_a_loop(mine)
            in_thread(loop.close)
            if mine is both.writer:
                with pytest.raises(AbandonedMutexError):
                    other.wait_one(LIMIT)
            else:
                assert other.wait_one(LIMIT)
            other.release()
            del loop, task
            gc.collect()
        both.close()


COLLECTED = """
import asyncio, gc, sys, threading, warnings
from memorymapped import *
warnings.simplefilter("ignore")
map_ = MemoryMappedFile.create_new(None, 8192)
view = map_.create_view_accessor()
both = MappedReaderWriterLock(view, 4096)
mutex = {
    "Mutex": Mutex, "FairMutex": FairMutex, "MappedLock": lambda: MappedLock(view, 0),
    "writer": lambda: both.writer, "reader": lambda: both.reader,
}[sys.argv[1]]()
blocking = both.writer if sys.argv[1] == "reader" else mutex
go, end = threading.Event(), threading.Event()

def other():
    with blocking:
        go.set()
        end.wait()

thread = threading.Thread(target=other)
thread.start()
go.wait()

async def wants():
    async with mutex:
        await asyncio.sleep(100)

async def main():
    task = asyncio.get_running_loop().create_task(wants())
    await asyncio.sleep(0.05)

first = asyncio.new_event_loop()
first.run_until_complete(main())   # its task still waits
if sys.argv[2] == "collected":
    first.close()
end.set()
thread.join()
second = asyncio.new_event_loop()
second.run_until_complete(main())  # its task owns it
if sys.argv[2] == "collected":
    del mutex, both, blocking, view, map_, first, second, main, wants, other, thread
    gc.collect()
print("end")
"""


@pytest.mark.parametrize("kind", ["Mutex", "writer", *campaign("FairMutex", "MappedLock", "reader")])
@pytest.mark.parametrize("when", ["collected", "at the end of the process"])
def test_loops_and_mutexes_that_end_together(run: Any, kind: str, when: str) -> None:
    """In whatever order the interpreter takes them apart."""
    process = run(COLLECTED, kind, when, stderr=subprocess.DEVNULL)
    assert process.communicate(timeout=LIMIT)[0] == "end\n"
    assert process.returncode == 0


# -- the handle is closed


@pytest.mark.parametrize("kind", ["Mutex", "FairMutex", "Semaphore", "AutoResetEvent", "MappedLock", "MappedEvent",
                                  "MappedSemaphore", "writer"])  # fmt: skip
@pytest.mark.parametrize("closed_by", ["its task", "another thread"])
def test_a_closed_handle_ends_its_waits_wherever_they_stand(kind: str, closed_by: str, tag: str) -> None:
    taken, go = threading.Event(), threading.Event()

    def own(mutex: Any) -> None:
        with mutex:
            taken.set()
            assert go.wait(LIMIT)

    async def main(first: Any, second: Any, owned: bool) -> None:
        if owned:
            thread = threading.Thread(target=own, args=[first])
            thread.start()
            await asyncio.to_thread(taken.wait, LIMIT)
        before, waiting = asyncio.create_task(waits(first)), asyncio.create_task(waits(second))
        await turns()
        if closed_by == "its task":
            second.close()
        else:
            await asyncio.to_thread(second.close)
        with pytest.raises(ClosedError):
            await asyncio.wait_for(waiting, 0.5)
        assert not before.done()
        if owned:
            go.set()
            thread.join()
        else:
            (first.set if hasattr(first, "set") else first.release)()
        assert await before
        await turns()
        first.close()

    with MemoryMappedFile.create_new(None, 8192) as map_, map_.create_view_accessor() as view:
        makers: dict[str, Callable[[], tuple[Any, Any]]] = {
            "Mutex": lambda: (Mutex(name=f"Local\\{tag}"), Mutex.open_existing(f"Local\\{tag}")),
            "FairMutex": lambda: (FairMutex(name="two handles"), FairMutex.open_existing("two handles")),
            "Semaphore": lambda: (Semaphore(0, 1, "two handles"), Semaphore.open_existing("two handles")),
            "AutoResetEvent": lambda: (AutoResetEvent(name="two handles"), AutoResetEvent(name="two handles")),
            "MappedLock": lambda: (MappedLock(view, 0), MappedLock(view, 0)),
            "MappedEvent": lambda: (MappedEvent(view, 0), MappedEvent(view, 0)),
            "MappedSemaphore": lambda: (MappedSemaphore(view, 0), MappedSemaphore(view, 0)),
            "writer": lambda: (MappedReaderWriterLock(view, 0).writer, MappedReaderWriterLock(view, 0).writer),
        }
        first, second = makers[kind]()
        run(main(first, second, hasattr(first, "recovering")))


# -- in line


def test_a_look_comes_after_those_who_wait_and_gets_what_is_left() -> None:
    event, semaphore = ManualResetEvent(), Semaphore(0, 10)

    async def main() -> None:
        waiting = [asyncio.create_task(each.wait_one_async()) for each in (event, semaphore, semaphore)]
        await turns()
        event.set()
        assert await event.wait_one_async(0)
        semaphore.release(3)
        assert await semaphore.wait_one_async(0)
        assert not await semaphore.wait_one_async(0), "the other two are those tasks'"
        assert await asyncio.gather(*waiting) == [True] * 3

    run(main())


def test_a_wake_up_is_for_those_whom_it_concerns(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many others wait, and for what."""
    tries = 0
    try_since = AutoResetEvent._try_since

    def counting(self: AutoResetEvent, value: int) -> bool:
        nonlocal tries
        tries += 1
        return try_since(self, value)

    monkeypatch.setattr(AutoResetEvent, "_try_since", counting)
    others = [AutoResetEvent() for _ in range(300)]
    event = AutoResetEvent()

    async def main() -> int:
        waiting = [asyncio.create_task(each.wait_one_async()) for each in others]
        await turns()
        before = tries
        for _ in range(10):
            wait = asyncio.create_task(event.wait_one_async())
            await turns()
            event.set()
            assert await wait
        counted = tries - before
        for each in others:
            each.set()
        assert all(await asyncio.gather(*waiting))
        return counted

    assert run(main()) < 60


def test_time_outs_of_many_come_in_time() -> None:
    events = [AutoResetEvent() for _ in range(1000)]

    async def main() -> float:
        begin = time.monotonic()
        got = await asyncio.gather(*(each.wait_one_async(0.3) for each in events))
        assert not any(got)
        return time.monotonic() - begin

    assert run(main()) < 0.3 + 0.3, "each that ended had all others look"

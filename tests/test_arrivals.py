# SPDX-License-Identifier: MIT
"""Tasks that wait for what others do to a typed object in a map: many cost what one costs, whatever the object is."""

from __future__ import annotations

import asyncio
import gc
import threading
from asyncio import run
from collections.abc import Callable, Coroutine, Iterator
from contextlib import ExitStack
from typing import Any, NamedTuple
from weakref import ref

import pytest

from memorymapped import ClosedError, MemoryMappedFile, SegmentFile, SharedMemory, Struct, StructArray, int32

pytestmark = pytest.mark.timeout(60)

NEVER = 1000.0  # seconds between looks: who is told must have been woken


class Point(Struct):
    x: int32
    y: int32


class Slow:
    """Mixin: counts looks, and looks only when it is told to."""

    looks = 0
    pause = NEVER

    def _arrived(self, *what: Any) -> bool:
        self.looks += 1
        return super()._arrived(*what)  # type: ignore[misc, no-any-return]

    def _pause(self) -> float:
        return self.pause


class SlowShared(Slow, SharedMemory[Point]):
    pass


class SlowArray(Slow, StructArray[Point]):
    pass


class SlowSegments(Slow, SegmentFile):
    pass


class Case(NamedTuple):
    """An object; a task's wait by it for something new; and what makes that, by another object."""

    of: Any
    wait: Callable[..., Coroutine[Any, Any, bool]]
    change: Callable[[], object]


@pytest.fixture(params=["value", "change", "length", "segment"])
def case(request: pytest.FixtureRequest, tag: str) -> Iterator[Case]:
    with ExitStack() as stack:
        if request.param == "value":
            shared = stack.enter_context(SlowShared(Point, tag, foreign=False))
            other = stack.enter_context(SharedMemory(Point, tag))
            yield Case(shared, shared.wait_for_change_async, lambda: setattr(other, "data", Point(1, 2)))
        elif request.param == "segment":
            segments = stack.enter_context(SlowSegments.create_new(1000, tag))
            more = stack.enter_context(SegmentFile.open_existing(tag))

            def wait(timeout: float | None = None) -> Coroutine[Any, Any, bool]:
                return segments.wait_for_async(0, timeout)

            yield Case(segments, wait, lambda: more.append("new"))
        else:
            array = stack.enter_context(SlowArray(Point, tag, 10))
            longer = stack.enter_context(StructArray.open_existing(Point, tag))

            def grown(timeout: float | None = None) -> Coroutine[Any, Any, bool]:
                return array.wait_for_length_async(1, timeout)

            first = array.wait_for_change_async if request.param == "change" else grown
            yield Case(array, first, lambda: longer.append(Point(1, 2)))


async def begun(*waits: Coroutine[Any, Any, bool]) -> list[asyncio.Task[bool]]:
    tasks = [asyncio.create_task(each) for each in waits]
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    return tasks


def in_thread(what: Callable[[], object]) -> None:
    thread = threading.Thread(target=what)
    thread.start()
    thread.join()


def test_a_thousand_tasks_cost_what_one_does(case: Case) -> None:
    async def main() -> None:
        case.of.pause = 0.01
        before = threading.active_count()
        tasks = await begun(*(case.wait() for _ in range(1000)))
        case.of.looks = 0
        await asyncio.sleep(0.1)
        assert 1 <= case.of.looks <= 11
        assert threading.active_count() <= before + 1
        case.change()
        assert await asyncio.gather(*tasks) == [True] * 1000

    run(main())


def test_the_word_wakes_and_not_the_pause(case: Case) -> None:
    async def main() -> None:
        tasks = await begun(case.wait(), case.wait(20), case.wait())
        in_thread(case.change)
        async with asyncio.timeout(10):
            assert await asyncio.gather(*tasks) == [True] * 3

    run(main())


def test_the_end_of_one_wait_is_not_that_of_others(case: Case) -> None:
    async def main() -> None:
        cancelled, stays, short, closed = await begun(case.wait(), case.wait(), case.wait(0.01), case.wait())
        coroutine: Any = closed.get_coro()
        in_thread(coroutine.close)
        cancelled.cancel()
        with pytest.raises(asyncio.CancelledError):
            await cancelled
        assert not await short
        case.change()
        assert await stays

    run(main())


@pytest.mark.parametrize("end", ["cancelled", "closed", "closed by another thread"])
def test_nobody_looks_when_nobody_waits(case: Case, end: str) -> None:
    async def main() -> None:
        case.of.pause = 0.002
        (task,) = await begun(case.wait())
        coroutine: Any = task.get_coro()
        if end == "cancelled":
            task.cancel()
        elif end == "closed":
            coroutine.close()
        else:
            in_thread(coroutine.close)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        case.of.looks = 0
        await asyncio.sleep(0.01)
        assert case.of.looks == 0

    run(main())


def test_a_change_in_the_turn_of_the_last_wait(case: Case) -> None:
    async def main() -> None:
        (cancelled,) = await begun(case.wait())
        cancelled.cancel()
        (stays,) = await begun(case.wait())
        assert cancelled.cancelled()
        case.change()
        assert await stays

    run(main())


@pytest.mark.parametrize("by", ["its own thread", "another"])
def test_a_close_ends_all_waits(case: Case, by: str) -> None:
    async def main() -> None:
        tasks = await begun(case.wait(), case.wait(20), case.wait())
        if by == "another":
            in_thread(case.of.close)
        else:
            case.of.close()
        async with asyncio.timeout(10):
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                assert isinstance(result, ClosedError)

    run(main())


def test_nothing_stays_of_an_object_for_which_nobody_waits(tag: str) -> None:
    async def wait_and_close() -> list[ref[Any]]:
        with SharedMemory(Point, tag) as shared, SegmentFile.create_new(1000) as segments:
            tasks = await begun(shared.wait_for_change_async(), segments.wait_for_async(0))
            for task in tasks:
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            return [ref(shared), ref(segments)]

    async def main() -> None:
        kept = await wait_and_close()
        await asyncio.sleep(0)  # the loop has the error until then
        gc.collect()
        assert [each() for each in kept] == [None, None]

    run(main())


def test_two_loops_wait_by_one_object(case: Case) -> None:
    woken: list[bool] = []
    ready = threading.Barrier(3)

    async def main() -> None:
        (task,) = await begun(case.wait())
        ready.wait(10)
        async with asyncio.timeout(10):
            woken.append(await task)

    threads = [threading.Thread(target=run, args=(main(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    ready.wait(10)
    case.change()
    for thread in threads:
        thread.join()
    assert woken == [True, True]


def test_a_loop_that_is_closed_with_its_waits(case: Case) -> None:
    loop = asyncio.new_event_loop()
    try:
        (task,) = loop.run_until_complete(begun(case.wait()))
    finally:
        loop.close()
    coroutine: Any = task.get_coro()
    coroutine.close()
    task._log_destroy_pending = False  # type: ignore[attr-defined]
    kept = ref(task)
    del task
    gc.collect()
    assert kept() is None
    case.change()


def test_an_error_is_told_to_each_who_waits(case: Case) -> None:
    class Odd(Exception):
        pass

    def fail(*what: Any) -> bool:
        raise Odd

    async def main() -> None:
        tasks = await begun(case.wait(), case.wait())
        patch.setattr(type(case.of), "_arrived", fail)
        case.change()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(each) for each in results] == [Odd, Odd]
        assert results[0] is not results[1]

    with pytest.MonkeyPatch.context() as patch:
        run(main())


def test_a_map_of_another_program_has_no_word_and_is_looked_at(tag: str) -> None:
    async def main() -> None:
        with MemoryMappedFile.create_new(tag, 32), SlowShared(Point, tag) as shared, SharedMemory(Point, tag) as other:
            shared.pause = 0.005
            assert not shared.has_control
            tasks = await begun(*(shared.wait_for_change_async() for _ in range(100)))
            other.data = Point(1, 2)
            assert await asyncio.gather(*tasks) == [True] * 100

    run(main())


def test_waits_for_different_things_by_one_object(tag: str) -> None:
    async def main() -> None:
        with SlowArray(Point, tag, 10) as array, SegmentFile.create_new(1000) as segments:
            first, second, change = await begun(
                array.wait_for_length_async(1), array.wait_for_length_async(2), array.wait_for_change_async(since=1)
            )
            third = (await begun(segments.wait_for_async(2)))[0]
            array.append(Point(1, 1))
            assert await first
            assert not second.done()
            array.append(Point(2, 2))
            assert await second
            assert await change
            for text in "abc":
                segments.append(text)
            assert await third

    run(main())

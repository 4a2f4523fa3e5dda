# SPDX-License-Identifier: MIT
"""Mutexes, events and semaphores on the kernel's own objects: what is Windows' own about them."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from ctypes import wintypes
from typing import Any, ClassVar

import pytest
from programs import until
from support.leftovers import unique
from windows.foreign import Foreign

import memorymapped as m
from memorymapped import EventResetMode, EventWaitHandle, Mutex, Semaphore, wait_all, wait_any
from memorymapped._native import kernel_objects
from memorymapped._native.looks import names_in
from memorymapped._native.win32 import PAGE_READWRITE, close_handle, create_section, name_of

AUTO, MANUAL = EventResetMode.AUTO_RESET, EventResetMode.MANUAL_RESET


@pytest.fixture
def name() -> str:
    return unique()


def signal_of(what: str, name: str) -> Any:
    if what == "mutex":
        return Mutex(name=name)
    return EventWaitHandle(False, AUTO, name) if what == "event" else Semaphore(0, 1, name)


@pytest.mark.parametrize("wait", ["h.wait_one()", "h.wait_one(60)", "m.wait_any([h, w])", "m.wait_all([h, w])"])
@pytest.mark.parametrize("kind", ["mutex", "event", "semaphore"])
def test_ctrl_c_ends_a_wait_and_nothing_is_taken(name: str, kind: str, wait: str) -> None:
    """The signal comes from a thread of the same process: there is no console to send it from under Wine."""
    make = {
        "mutex": "m.Mutex(name=name)",
        "event": "m.EventWaitHandle(False, m.EventResetMode.AUTO_RESET, name)",
        "semaphore": "m.Semaphore(0, 1, name)",
    }[kind]
    code = f"""
import memorymapped as m, signal, sys, threading, time
name = sys.argv[1]
h, w = {make}, m.Semaphore(0, 1, name + " other")
def interrupt():
    while not (h.statistics().has_waiters if isinstance(h, m.Mutex) else h.statistics().waiters):
        time.sleep(0.001)
    global begin
    begin = time.monotonic()
    signal.raise_signal(signal.SIGINT)
threading.Thread(target=interrupt).start()
try:
    {wait}
except KeyboardInterrupt:
    print("interrupted", time.monotonic() - begin < 5)
h.close(); w.close()
"""
    handle = signal_of(kind, name)
    if kind == "mutex":
        handle.wait_one()
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, name],
        capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert (done.stdout.split(), done.stderr) == (["interrupted", "True"], "")
    if kind == "mutex":
        handle.release()
        assert handle.statistics().abandonments == 0
    handle.close()


@pytest.mark.parametrize("count", [62, 63, 100, 128])
def test_more_objects_than_the_system_waits_for_in_one_call(name: str, count: int) -> None:
    handles: list[Any] = [EventWaitHandle(False, AUTO, f"{name} {i}") for i in range(count - 1)]
    handles.append(Mutex(name=name))
    handles[-1].wait_one()
    assert wait_any(handles[:-1], 0.01) is None
    for last in (0, count - 2):
        timer = threading.Timer(0.05, handles[last].set)
        timer.start()
        assert wait_any(handles[:-1], 30) == last
        timer.join()
    handles[-1].release()
    assert wait_any(handles, 30) == count - 1
    handles[-1].release()
    assert not wait_all(handles, 0.01)
    for event in handles[1:-1]:
        event.set()
    timer = threading.Timer(0.05, handles[0].set)
    timer.start()
    assert wait_all(handles, 30)
    timer.join()
    assert handles[-1].owned
    assert wait_any(handles[:-1], 0) is None
    handles[-1].release()
    for handle in handles:
        handle.close()


def test_beside_what_lies_in_maps_and_what_has_no_name(name: str) -> None:
    with (
        m.MemoryMappedFile.create_new(name, 4096) as map_,
        map_.create_view_accessor() as view,
        m.AutoResetEvent() as unnamed,
        EventWaitHandle(False, AUTO, f"{name} event") as named,
    ):
        in_map = m.MappedEvent(view, 0, False, AUTO)
        all_of_them = [in_map, unnamed, named]
        assert wait_any(all_of_them, 0.01) is None
        for i, event in enumerate(all_of_them):
            timer = threading.Timer(0.05, event.set)
            timer.start()
            assert wait_any(all_of_them, 30) == i
            timer.join()
        in_map.set()
        unnamed.set()
        assert not wait_all(all_of_them, 0.01)
        assert in_map.is_set()
        timer = threading.Timer(0.05, named.set)
        timer.start()
        assert wait_all(all_of_them, 30)
        timer.join()
        assert wait_any(all_of_them, 0) is None


def test_all_of_several_are_taken_in_one_step(name: str) -> None:
    """Two who want the same two in opposite order: nobody ever takes one of them only."""
    one, two = Semaphore(1, 1, f"{name} 1"), Semaphore(1, 1, f"{name} 2")
    seen: list[tuple[int, int]] = []

    def both(*handles: Semaphore) -> None:
        for _ in range(100):
            assert wait_all(handles, 30)
            seen.append((one.statistics().count, two.statistics().count))
            for handle in handles:
                handle.release()

    threads = [threading.Thread(target=both, args=order) for order in ((one, two), (two, one))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == [(0, 0)] * 200
    for handle in (one, two):
        handle.close()


def test_a_mutex_that_was_given_back_as_abandoned_is_told_of_in_another_process(name: str) -> None:
    mutex = Mutex(name=name)
    mutex.wait_one()
    mutex._core.abandon()  # type: ignore[union-attr]  # as a `with` whose repair fails
    done = subprocess.run(
        [sys.executable, "-c", "import memorymapped as m, sys\nx = m.Mutex(name=sys.argv[1])\ntry: x.wait_one(5)\n"
         "except m.AbandonedMutexError as error: print('told', error.previous_owner.process)", name],
        capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.stdout.split() == ["told", "None"]
    with pytest.raises(m.AbandonedMutexError):  # it has ended without a release
        mutex.wait_one()
    mutex.release()
    mutex.close()


def test_spellings_of_a_name_are_one_mutex(name: str) -> None:
    """Also within a process, where recursion is counted."""
    bare, user, local = Mutex(name=name), Mutex(name=f"User\\{name}"), Mutex(name=f"Local\\{name}")
    with bare, local, user:
        assert bare.owned
        assert user.owned
        assert local.statistics().handles == 3
        assert not Mutex.try_open_existing(f"Global\\{name}")
    assert not user.locked()
    with pytest.raises(ValueError, match="the same object"):
        wait_all([bare, local])
    for mutex in (bare, user, local):
        mutex.close()


def test_a_mutex_that_a_thread_owns_stays_until_it_is_released(name: str) -> None:
    mutex = Mutex(name=name)
    taken, go = threading.Event(), threading.Event()

    def own() -> None:
        with mutex:
            taken.set()
            go.wait()

    thread = threading.Thread(target=own)
    thread.start()
    taken.wait()
    mutex.close()
    again = Mutex.open_existing(name)
    assert not again.wait_one(0)
    again.close()
    go.set()
    thread.join()
    assert Mutex.try_open_existing(name) is None


def test_tasks_wait_for_them(name: str) -> None:
    async def main() -> list[Any]:
        event, mutex = EventWaitHandle(False, AUTO, f"{name} e"), Mutex(name=f"{name} m")
        semaphore = Semaphore(0, 1, f"{name} s")

        async def takes() -> bool:
            async with mutex:
                return bool(await event.wait_one_async(30))

        tasks = [
            asyncio.ensure_future(each) for each in (takes(), semaphore.wait_one_async(30), event.wait_one_async(0))
        ]
        await asyncio.sleep(0.02)
        event.set()
        semaphore.release()
        said = list(await asyncio.gather(*tasks))
        assert not mutex.locked()
        for handle in (event, mutex, semaphore):
            handle.close()
        return said

    assert asyncio.run(main()) == [True, True, False]


def test_tasks_are_woken_by_a_thread_that_sleeps(name: str) -> None:
    """No task looks again and again; the thread is counted as every waiter is."""

    async def main() -> None:
        with (
            closing(EventWaitHandle(False, AUTO, f"{name} e")) as event,
            closing(Semaphore(0, 9, f"{name} s")) as semaphore,
        ):
            for handle, signal in ((event, event.set), (semaphore, semaphore.release)):
                took = []
                for _ in range(20):
                    tasks = [asyncio.create_task(handle.wait_one_async(30)) for _ in range(2)]
                    await asyncio.to_thread(until, lambda of=handle: of.statistics().waiters == 1, "the thread sleeps")
                    for task in tasks:  # in the order in which they came
                        began = time.perf_counter()
                        await asyncio.to_thread(signal)
                        assert await task
                        took.append(time.perf_counter() - began)
                assert sorted(took)[20] < 0.1
                assert not await handle.wait_one_async(0)

    asyncio.run(main())


def test_what_was_taken_for_a_task_that_waits_no_more_is_given_back(name: str) -> None:
    async def main(handle: Any, signal: Any) -> None:
        for moment in range(10):
            task = asyncio.create_task(handle.wait_one_async())
            await asyncio.sleep(0.005)
            signal()
            for _ in range(moment):
                await asyncio.sleep(0)
            task.cancel()
            (result,) = await asyncio.gather(task, return_exceptions=True)
            if result is not True:
                assert isinstance(result, asyncio.CancelledError)
                assert await handle.wait_one_async(30), "what nobody took is still there"

    with (
        closing(EventWaitHandle(False, AUTO, f"{name} e")) as event,
        closing(Semaphore(0, 9, f"{name} s")) as semaphore,
    ):
        asyncio.run(main(event, event.set))
        asyncio.run(main(semaphore, semaphore.release))
        assert not event.is_set()
        assert semaphore.statistics().count == 0


def test_a_loop_that_is_closed_keeps_nothing_of_what_its_thread_took(name: str) -> None:
    with closing(Semaphore(0, 9, name)) as semaphore:
        for turn in range(6):
            loop = asyncio.new_event_loop()
            task = loop.create_task(semaphore.wait_one_async())
            loop.run_until_complete(asyncio.sleep(0.01))
            until(lambda: semaphore.statistics().waiters == 1, "the thread sleeps")
            semaphore.release()  # while the loop does not run
            if turn % 2:
                until(lambda: semaphore.statistics().waiters == 0, "the thread has taken it")
            if turn % 3:
                task.cancel()
                loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
            loop.close()
            if not task.done():
                task._log_destroy_pending = False
            del loop, task
            assert semaphore.wait_one(30), "it was given back"


def test_a_pulse_lets_tasks_go_who_waited(name: str) -> None:
    async def main() -> None:
        with EventWaitHandle(False, MANUAL, name) as event:
            tasks = [asyncio.create_task(event.wait_one_async(30)) for _ in range(3)]
            await asyncio.to_thread(until, lambda: event.statistics().waiters == 1, "the thread sleeps")
            await asyncio.sleep(0.1)
            event.set()
            event.reset()
            assert await asyncio.gather(*tasks) == [True] * 3
            assert not await event.wait_one_async(0.05)

    asyncio.run(main())


def test_more_than_one_thread_sleeps_on(name: str) -> None:
    events = [EventWaitHandle(False, AUTO, f"{name} {i}") for i in range(130)]

    async def main() -> None:
        tasks = [asyncio.create_task(event.wait_one_async(30)) for event in events]
        await asyncio.sleep(0.05)
        events[-1].close()
        with pytest.raises(m.ClosedError):
            await tasks.pop()
        for event in reversed(events[:-1]):
            await asyncio.to_thread(event.set)
        assert all(await asyncio.gather(*tasks))

    before = threading.active_count()
    asyncio.run(main())
    assert threading.active_count() <= before + 3
    for event in events:
        event.close()


def test_a_waiter_in_another_process_is_counted_and_woken(name: str) -> None:
    event = EventWaitHandle(False, AUTO, name)
    process = subprocess.Popen(
        [sys.executable, "-c", "import memorymapped as m, sys\nwith m.EventWaitHandle.open_existing(sys.argv[1]) as e: "
         "print(e.wait_one(30), flush=True)", name],
        stdout=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    until(lambda: event.statistics().waiters == 1, "it waits")
    begin = time.monotonic()
    event.set()
    said, _ = process.communicate(timeout=30)
    assert said.split() == ["True"]
    assert time.monotonic() - begin < 5
    assert event.statistics().waiters == 0
    event.close()


@pytest.fixture
def between(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Has something done just before the next section is made, while other threads may run."""

    def arrange(act: Callable[[], object]) -> None:
        acts = [act]

        def made(*arguments: Any) -> object:
            while acts:
                acts.pop()()
            return create_section(*arguments)

        monkeypatch.setattr(kernel_objects, "create_section", made)

    return arrange


def records_of(name: str) -> list[str]:
    """The sections of the session that have this in their name."""
    handle = create_section(None, -1, PAGE_READWRITE, 1, False)[0]
    folder = name_of(handle).rpartition("\\")[0]
    close_handle(handle)
    return [each for each, kind in names_in(folder) if kind == "Section" and name in each]


@pytest.mark.parametrize("kind", ["event", "semaphore"])
def test_of_two_threads_that_make_the_record_at_once_none_leaves_a_second_one(
    name: str, kind: str, between: Callable[[Callable[[], object]], None]
) -> None:
    handle = signal_of(kind, name)
    between(handle.statistics)
    assert not handle.wait_one(0.01)
    assert len(records_of(name)) == 1
    handle.close()
    assert records_of(name) == []


def test_of_two_threads_that_open_a_mutex_at_once_both_have_the_same(
    name: str, between: Callable[[Callable[[], object]], None]
) -> None:
    others: list[Mutex] = []
    between(lambda: others.append(Mutex(name=name)))
    mutex = Mutex(True, name)
    (other,) = others
    assert mutex.owned
    assert other.owned
    with other:
        assert mutex.statistics().handles == 2
    assert mutex.owned
    mutex.release()
    assert not other.locked()
    mutex.close()
    other.close()
    assert Mutex.try_open_existing(name) is None
    assert records_of(name) == []


@pytest.mark.parametrize("wait", ["h.wait_one(9)", "wait_any([other, h], 9)", "wait_all([other, h], 9)"])
def test_a_wait_that_cannot_be_counted_leaves_nothing(name: str, wait: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any) -> None:
        raise OSError("no memory")

    h, other = EventWaitHandle(False, AUTO, name), Semaphore(0, 1, f"{name} other")
    other.wait_one(0.01)  # it has its record
    monkeypatch.setattr(kernel_objects, "create_section", refused)
    with pytest.raises(OSError, match="no memory"):
        eval(wait, {"h": h, "other": other, "wait_any": wait_any, "wait_all": wait_all})
    assert other.statistics().waiters == 0
    h.close()
    assert EventWaitHandle.try_open_existing(name) is None, "no handle of it is kept"
    other.close()


def test_a_wait_whose_handle_is_closed_while_it_is_counted_says_so(
    name: str, between: Callable[[Callable[[], object]], None]
) -> None:
    for wait in (lambda h: h.wait_one(9), lambda h: wait_any([h], 9), lambda h: wait_all([h], 9)):
        handle = EventWaitHandle(False, AUTO, name)
        between(handle.close)
        with pytest.raises(m.ClosedError):
            wait(handle)
        assert EventWaitHandle.try_open_existing(name) is None


class _Rules(ctypes.Structure):
    """SECURITY_ATTRIBUTES"""

    _fields_: ClassVar = [("size", wintypes.DWORD), ("descriptor", ctypes.c_void_p), ("inherit", wintypes.BOOL)]


def handle_with_rules(kind: str, name: str, sddl: str, *, manual: bool = False) -> int:
    """One that a program of others has made: an event that is set, a semaphore with two of three."""
    kernel, rules = ctypes.WinDLL("kernel32"), _Rules(ctypes.sizeof(_Rules))
    assert ctypes.WinDLL("advapi32").ConvertStringSecurityDescriptorToSecurityDescriptorW(
        sddl, 1, ctypes.byref(rules, _Rules.descriptor.offset), None
    )
    kernel.CreateEventW.restype = kernel.CreateSemaphoreW.restype = wintypes.HANDLE
    if kind == "event":
        handle = kernel.CreateEventW(ctypes.byref(rules), manual, 1, name)
    else:
        handle = kernel.CreateSemaphoreW(ctypes.byref(rules), 2, 3, name)
    assert handle
    kernel.LocalFree(ctypes.c_void_p(rules.descriptor))
    return int(handle)


SIGNAL_AND_WAIT = "D:P(A;;0x100002;;;WD)"  # Synchronize | Modify for everyone, as on .NET's pages of EventWaitHandle
UNTOLD = "let this user wait for it and signal it, but not ask"


@pytest.fixture(params=["open_existing", "by the constructor"])
def opened(request: pytest.FixtureRequest, name: str) -> Iterator[Callable[..., Any]]:
    """Opens what `handle_with_rules` made."""
    stack = contextlib.ExitStack()

    def of(cls: Any, *arguments: Any) -> Any:
        handle = cls.open_existing(name) if request.param == "open_existing" else cls(*arguments, name)
        stack.callback(handle.close)
        assert not handle.created_new
        return handle

    with stack:
        yield of


def test_an_event_that_may_be_signalled_and_waited_for_can_be_used(name: str, opened: Callable[..., Any]) -> None:
    theirs = handle_with_rules("event", name, SIGNAL_AND_WAIT)
    with Foreign("locks.cs") as csharp:
        csharp.do("open_event", "e", name)
    event = opened(EventWaitHandle, False, AUTO)
    assert repr(event) == f"<EventWaitHandle {name!r}>"
    assert event.wait_one(5)
    assert not event.wait_one(0.01)
    event.set()
    assert wait_any([event], 5) == 0
    event.set()
    assert wait_all([event], 5)
    event.set()
    event.reset()
    assert not event.wait_one(0)
    for state in (event.is_set, event.statistics, lambda: event.mode):
        with pytest.raises(PermissionError, match=f"{UNTOLD}.*EVENT_QUERY_STATE"):
            state()
    event.close()
    with pytest.raises(m.ClosedError):
        event.is_set()
    close_handle(theirs)


def test_a_semaphore_that_may_be_released_and_waited_for_can_be_used(name: str, opened: Callable[..., Any]) -> None:
    theirs = handle_with_rules("semaphore", name, SIGNAL_AND_WAIT)
    semaphore = opened(Semaphore, 0, 9)
    assert repr(semaphore) == f"<Semaphore {name!r}>"
    with semaphore:
        assert semaphore.wait_one(5)
        assert not semaphore.acquire(timeout=0.01)
    assert semaphore.release() == 1
    with pytest.raises(m.SemaphoreFullError, match="above its maximum: its count is unchanged"):
        semaphore.release(2)
    assert wait_all([semaphore], 5)
    for state in (semaphore.statistics, lambda: semaphore.maximum_count):
        with pytest.raises(PermissionError, match=f"{UNTOLD}.*SEMAPHORE_QUERY_STATE"):
            state()
    close_handle(theirs)


@pytest.mark.parametrize("manual", [False, True])
def test_what_may_not_be_asked_for_its_kind_is_what_it_is_opened_as(
    name: str, manual: bool, opened: Callable[..., Any]
) -> None:
    theirs = handle_with_rules("event", name, SIGNAL_AND_WAIT, manual=manual)
    event = opened(m.ManualResetEvent if manual else m.AutoResetEvent, False)

    async def main() -> list[bool]:
        tasks = [asyncio.create_task(event.wait_one_async(0.2)) for _ in range(3)]
        await asyncio.sleep(0)
        event.set()
        return sorted(await asyncio.gather(*tasks))

    assert event.wait_one(0)
    event.reset()
    assert asyncio.run(main()) == ([True] * 3 if manual else [False, False, True])
    close_handle(theirs)


def test_together_with_a_lock_in_a_map_they_are_tried(name: str) -> None:
    theirs = handle_with_rules("event", name, SIGNAL_AND_WAIT)
    with (
        m.MemoryMappedFile.create_new(None, 4096) as map_,
        map_.create_view_accessor() as view,
        closing(m.AutoResetEvent.open_existing(name)) as event,
        closing(EventWaitHandle(False, AUTO, f"{name} 2")) as other,
    ):
        lock = m.MappedLock(view)
        assert not wait_all([lock, event, other], 0.05)
        assert not lock.owned
        other.set()
        assert wait_all([lock, event, other], 5)
        lock.release()
        assert not wait_all([lock, event], 0.05)
        assert wait_any([lock, event], 5) == 0
        lock.release()
    close_handle(theirs)


@pytest.mark.parametrize("rights", ["0x100000", "0x100001"])
@pytest.mark.parametrize("kind", ["event", "semaphore"])
def test_what_may_not_be_both_signalled_and_waited_for_is_refused(
    name: str, kind: str, rights: str, opened: Callable[..., Any]
) -> None:
    theirs = handle_with_rules(kind, name, f"D:P(A;;{rights};;;WD)")
    with pytest.raises(PermissionError):
        opened(*((EventWaitHandle, False, AUTO) if kind == "event" else (Semaphore, 0, 9)))
    close_handle(theirs)

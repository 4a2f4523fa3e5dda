# SPDX-License-Identifier: MIT
"""wait_any, wait_all, signal_and_wait over mutexes, events and semaphores."""

from __future__ import annotations

import math
import os
import random
import signal as signals
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
from peers import Peer, peers
from programs import until
from support.actors import PRELUDE, Actor
from support.waits import (
    AT_ONCE,
    BEFORE,
    KINDS,
    MAKERS,
    SLACK,
    file_of,
    in_futex,
    in_thread,
    made,
    put_word,
    signal,
    waiting,
)

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    MappedReaderWriterLock,
    MappedWriter,
    MemoryMappedFile,
    Mutex,
    OutOfRangeError,
    SemaphoreFullError,
)
from memorymapped.sync.events import AutoResetEvent, ManualResetEvent
from memorymapped.sync.semaphores import Semaphore
from memorymapped.sync.waiting import signal_and_wait, wait_all, wait_any

MakePeer = Callable[..., Peer]
BEFORE = BEFORE + "from memorymapped import Mutex\n"
TOO_LATE = 0.25 + SLACK
each_kind = pytest.mark.parametrize("kind", KINDS)
each_wait = pytest.mark.parametrize("wait", [wait_any, wait_all])


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[MakePeer]:
    with peers(run, before=BEFORE) as make:
        yield make


@pytest.fixture
def busy() -> Iterator[Mutex]:
    """A mutex that another thread owns until the end of the test."""
    mutex, end = Mutex(), AutoResetEvent()
    taken = AutoResetEvent()

    def own() -> None:
        with mutex:
            taken.set()
            end.wait_one()

    thread = in_thread(own)
    taken.wait_one()
    yield mutex
    end.set()
    thread.result()
    mutex.close()


def abandoned(name: str | None = None) -> Mutex:
    """A mutex whose owner has ended."""
    mutex = Mutex(name=name)
    in_thread(mutex.wait_one).result()
    until(lambda: not mutex.locked(), "its owner has ended")
    return mutex


def taken(handle: Any) -> bool:
    """Whether nothing is left to be had of it for another thread."""
    if isinstance(handle, Mutex):
        return handle.locked()
    value = handle.statistics()
    return not (value.count if isinstance(handle, Semaphore) else value.is_set)


# ---------------------------------------------------------------------------------------------------------- arguments


@each_wait
def test_what_is_no_list_of_handles_is_refused(wait: Any) -> None:
    event = AutoResetEvent(True)
    for wrong in (None, 7, "ab", event):
        with pytest.raises(TypeError, match="a list of mutexes, events and semaphores"):
            wait(wrong)
    for wrong in ([event, None], [None], [event, 1], [open]):
        with pytest.raises(TypeError, match="is no mutex, event or semaphore"):
            wait(wrong)
    with pytest.raises(ValueError, match="empty"):
        wait([])
    with pytest.raises(ValueError, match="128"):
        wait([event] * 129)
    assert event.is_set()


@each_wait
@pytest.mark.parametrize("timeout", [-2, math.nan, -math.inf, timedelta(seconds=-3)])
def test_times_that_cannot_be_are_refused(wait: Any, timeout: Any) -> None:
    event = AutoResetEvent(True)
    with pytest.raises(OutOfRangeError):
        wait([event], timeout)
    with pytest.raises(OutOfRangeError):
        signal_and_wait(event, event, timeout)
    with pytest.raises(OutOfRangeError):  # .NET looks at the time before it looks at each handle
        wait([None], timeout)
    with pytest.raises(TypeError):
        wait([event], "1")
    assert event.is_set()


@each_wait
def test_any_iterable_will_do(wait: Any) -> None:
    assert wait(iter((ManualResetEvent(True), Semaphore(1, 1)))) in (0, True)


@each_wait
def test_a_closed_one_is_refused(wait: Any) -> None:
    for closed in (AutoResetEvent(), Semaphore(1, 1), Mutex()):
        closed.close()
        event = AutoResetEvent()
        with pytest.raises(ClosedError):
            wait([event, closed])
        assert event.statistics().waiters == 0
        event.set()
        with pytest.raises(ClosedError):
            wait([event, closed])
        assert event.is_set()


def test_closed_ones_are_not_taken_for_one_another() -> None:
    for kind in (AutoResetEvent, Mutex, lambda: Semaphore(1, 1)):
        one, other = kind(), kind()
        one.close()
        other.close()
        with pytest.raises(ClosedError):
            wait_all([one, other])


@each_wait
def test_one_that_is_closed_meanwhile_ends_the_wait(wait: Any) -> None:
    for closed in (0, 1):
        handles = AutoResetEvent(), Semaphore(0, 1)
        thread = in_thread(lambda handles=handles: wait(handles))
        waiting(handles[0])  # the first that is missing is where wait_all sleeps
        began = time.monotonic()
        handles[closed].close()
        with pytest.raises(ClosedError):
            thread.result(5)
        assert time.monotonic() - began < TOO_LATE
        assert handles[1 - closed].statistics().waiters == 0


# ----------------------------------------------------------------------------------------------------------- wait_any


def test_the_lowest_that_can_be_had_is_taken_and_only_that() -> None:
    handles: list[Any] = [AutoResetEvent(), Semaphore(1, 1), ManualResetEvent(True), Mutex(), AutoResetEvent(True)]
    assert [wait_any(handles) for _ in range(4)] == [1, 2, 2, 2]
    assert [taken(handle) for handle in handles] == [True, True, False, False, False]
    handles[2].reset()
    assert wait_any(handles) == 3
    assert handles[3].owned
    assert wait_any([handles[0], handles[4]]) == 1
    assert wait_any([handles[0], handles[4]], 0) is None
    handles[3].release_mutex()


def test_nothing_to_be_had_is_none_after_the_time(busy: Mutex) -> None:
    handles: list[Any] = [AutoResetEvent(), busy, Semaphore(0, 1)]
    for timeout, seconds in ((0, 0), (0.05, 0.05), (timedelta(milliseconds=30), 0.03)):
        for some in (handles, handles[:1], handles[:2], handles[1:2]):
            began = time.monotonic()
            assert wait_any(some, timeout) is None
            assert seconds <= time.monotonic() - began + 1e-6 < seconds + TOO_LATE
    assert handles[0].statistics().waiters == handles[2].statistics().waiters == 0


@each_kind
@pytest.mark.parametrize("position", [0, 1, 63, 127])
def test_any_of_128_ends_the_wait(kind: str, position: int) -> None:
    handles = [made(KINDS[i % 3]) for i in range(128)]
    handles[position] = made(kind)
    thread = in_thread(lambda: wait_any(handles))
    waiting(handles[127])
    signal(handles[position])
    assert thread.result() == position
    assert [handle.statistics().waiters for handle in handles] == [0] * 128


def test_a_handle_may_be_there_twice() -> None:
    event = AutoResetEvent(True)
    assert wait_any([event, event]) == 0
    assert wait_any([event, event], 0.02) is None
    thread = in_thread(lambda: wait_any([event, event]))
    waiting(event, 2)
    event.set()
    assert thread.result() == 0
    assert event.statistics().waiters == 0


@each_kind
def test_another_process_ends_it(peer: MakePeer, kind: str) -> None:
    other, handle, second = peer(), made(kind, "n"), AutoResetEvent(name="m")
    other(f"h = [AutoResetEvent(name='m'), {MAKERS[kind].format(on=False, name='n')}]")
    for position, set_it in ((1, lambda: signal(handle)), (0, second.set)):
        other.tell("ask", "wait_any(h)")
        waiting(handle)
        set_it()
        assert other.answer() == position
        if kind == "manual":
            handle.reset()
    handle.close()
    second.close()


def test_a_mutex_among_them_is_taken_when_it_is_free(busy: Mutex) -> None:
    event, mutex = AutoResetEvent(), Mutex()
    mutex.wait_one()
    thread = in_thread(lambda: (wait_any([event, busy, mutex]), mutex.owned, mutex.release_mutex()))
    waiting(event)
    mutex.release_mutex()
    assert thread.result() == (2, True, None)


def test_an_event_beside_a_mutex_is_noticed_at_once(busy: Mutex) -> None:
    event = AutoResetEvent()
    thread = in_thread(lambda: (wait_any([busy, event]), time.monotonic()))
    waiting(event)
    began = time.monotonic()
    event.set()
    index, ended = thread.result()
    assert index == 1
    assert ended - began < SLACK


def test_an_abandoned_mutex_is_taken_and_told_of(busy: Mutex) -> None:
    one, two = abandoned(), abandoned()
    event = AutoResetEvent(True)
    with pytest.raises(AbandonedMutexError) as caught:
        wait_any([busy, one, two, event])
    assert (caught.value.mutex_index, caught.value.mutex, caught.value.owned) == (1, one, True)
    assert one.owned
    assert not two.owned
    assert event.is_set()
    one.release_mutex()
    assert wait_any([event, two]) == 0
    with pytest.raises(AbandonedMutexError) as caught:
        wait_any([event, two])
    assert (caught.value.mutex_index, caught.value.mutex) == (1, two)
    two.release_mutex()


def test_the_owner_of_a_mutex_among_them_is_killed(peer: MakePeer, tag: str) -> None:
    other = peer()
    other(f"m = Mutex(True, {tag!r})")
    mutex, event = Mutex(name=tag), AutoResetEvent()

    def wait() -> tuple[int, bool, bool]:
        with pytest.raises(AbandonedMutexError) as caught:
            wait_any([event, mutex])
        owned = mutex.owned
        mutex.release_mutex()
        return caught.value.mutex_index, caught.value.mutex is mutex, owned

    thread = in_thread(wait)
    waiting(event)
    other.kill()
    assert thread.result() == (1, True, True)
    assert event.statistics().waiters == 0
    mutex.close()


def test_all_who_wait_for_a_manual_event_among_others_go_on_also_if_it_is_reset_at_once() -> None:
    event, never = ManualResetEvent(), AutoResetEvent()
    for _ in range(20):
        threads = [in_thread(lambda: wait_any([never, event])) for _ in range(3)]
        waiting(event, 3)
        event.set()
        event.reset()
        assert [thread.result() for thread in threads] == [1] * 3


def test_who_takes_another_wakes_the_next() -> None:
    """Two wait; the first could have either: what it does not take is for the second, at once."""
    delays = []
    for _ in range(20):
        one, two = AutoResetEvent(), AutoResetEvent()
        first = in_thread(lambda one=one, two=two: wait_any([one, two]))
        waiting(two)
        first.asleep()
        second = in_thread(lambda two=two: (two.wait_one(), time.monotonic()))
        waiting(two, 2)
        first.asleep()
        second.asleep()
        began = time.monotonic()
        one.set()
        two.set()
        if first.result() == 1:
            began = time.monotonic()
            two.set()
        _, ended = second.result()
        delays.append(ended - began)
    slow = [delay for delay in delays if delay > AT_ONCE]
    assert len(slow) < 5, delays  # without that wake: more, but not all, as the two race


# ----------------------------------------------------------------------------------------------------------- wait_all


def everything() -> list[Any]:
    return [AutoResetEvent(True), Mutex(), Semaphore(1, 1), ManualResetEvent(True)]


def test_all_are_taken() -> None:
    handles = everything()
    assert wait_all(handles) is True
    assert [taken(handle) for handle in handles] == [True, True, True, False]
    assert handles[1].owned
    handles[1].release_mutex()


@pytest.mark.parametrize("missing", range(4))
@pytest.mark.parametrize("timeout", [0, 0.05])
def test_none_is_taken_if_one_is_missing(busy: Mutex, missing: int, timeout: float) -> None:
    handles = everything()
    handles[missing] = busy if missing == 1 else type(handles[missing])(*((0, 1) if missing == 2 else ()))
    random.Random(missing).shuffle(handles)
    before = [taken(handle) for handle in handles]
    began = time.monotonic()
    assert wait_all(handles, timeout) is False
    assert timeout <= time.monotonic() - began + 1e-6 < timeout + TOO_LATE
    assert [taken(handle) for handle in handles] == before
    assert not any(handle.owned for handle in handles if isinstance(handle, Mutex))
    assert all(handle.statistics().waiters == 0 for handle in handles if not isinstance(handle, Mutex))


@pytest.mark.parametrize("last", range(4))
def test_the_one_that_is_missing_ends_the_wait(last: int) -> None:
    handles: list[Any] = [AutoResetEvent(), Mutex(True), Semaphore(0, 1), ManualResetEvent()]
    order = [handle for i, handle in enumerate(handles) if i != last] + [handles[last]]
    thread = in_thread(lambda: (wait_all(handles), handles[1].owned, handles[1].release_mutex()))
    for handle in order:
        assert thread._thread.is_alive()
        if isinstance(handle, Mutex):
            handle.release_mutex()
        else:
            signal(handle)
    assert thread.result() == (True, True, None)
    assert [taken(handle) for handle in handles] == [True, False, True, False]


def test_a_manual_event_that_is_set_and_reset_at_once_counts_if_the_others_can_be_had() -> None:
    event, mutex, other = ManualResetEvent(), Mutex(), AutoResetEvent(True)
    for _ in range(20):
        thread = in_thread(lambda: (wait_all([other, mutex, event]), mutex.release_mutex()))
        waiting(event)
        event.set()
        event.reset()
        assert thread.result(5) == (True, None)
        assert not other.is_set()
        other.set()


def test_and_otherwise_not() -> None:
    event, other = ManualResetEvent(), AutoResetEvent(True)
    thread = in_thread(lambda: wait_all([other, event]))
    waiting(event)
    other.reset()
    event.set()
    event.reset()
    waiting(other)  # it has looked: all or nothing
    other.set()
    waiting(event)
    assert other.is_set()
    event.set()
    assert thread.result(5) is True
    assert not other.is_set()


def test_another_process_gives_the_last(peer: MakePeer) -> None:
    other = peer()
    event, semaphore = AutoResetEvent(name="e"), Semaphore(0, 1, "s")
    other("h = [AutoResetEvent(name='e'), Semaphore(0, 1, 's')]")
    other.tell("ask", "wait_all(h)")
    waiting(event)
    event.set()
    waiting(semaphore)
    assert event.is_set()
    semaphore.release()
    assert other.answer() is True
    assert [taken(event), taken(semaphore)] == [True, True]
    event.close()
    semaphore.close()


def test_one_that_is_there_twice_is_refused() -> None:
    for kind in KINDS:
        handle, same = made(kind, "n", True), made(kind, "n")
        with pytest.raises(ValueError, match="handles 0 and 2 are the same object"):
            wait_all([handle, AutoResetEvent(True), same])
        assert handle.wait_one(0)
        handle.close()
        same.close()
    mutex, event = Mutex(), AutoResetEvent(True)
    for twice in ([mutex, mutex], [event, event]):
        with pytest.raises(ValueError, match="the same object"):
            wait_all(twice)
    assert not mutex.locked()


def test_an_abandoned_mutex_is_told_of_when_all_are_taken() -> None:
    handles = everything()
    handles[1] = abandoned()
    with pytest.raises(AbandonedMutexError) as caught:
        wait_all(handles)
    assert (caught.value.mutex_index, caught.value.mutex, caught.value.owned) == (-1, None, True)
    assert handles[1].owned
    assert [taken(handle) for handle in handles] == [True, True, True, False]
    handles[1].release_mutex()


@pytest.fixture
def last() -> Iterator[MappedReaderWriterLock]:
    """Its sides come behind all mutexes, and before all events, in the order in which wait_all takes."""
    with (
        MemoryMappedFile.create_new(None, 4096) as map_,
        map_.create_view_accessor() as view,
        closing(MappedReaderWriterLock(view)) as lock,
    ):
        yield lock


@pytest.fixture
def missing(last: MappedReaderWriterLock) -> Iterator[MappedWriter]:
    """Never to be had."""
    end, taken = AutoResetEvent(), AutoResetEvent()

    def own() -> None:
        with last.writer:
            taken.set()
            end.wait_one()

    thread = in_thread(own)
    taken.wait_one()
    yield last.writer
    end.set()
    thread.result()


def test_what_was_taken_before_one_was_missing_is_given_back(missing: MappedWriter) -> None:
    mutexes = [Mutex() for _ in range(3)]
    assert wait_all([*mutexes, missing], 0.05) is False
    assert not any(mutex.locked() for mutex in mutexes)
    assert all(mutex.statistics().acquisitions for mutex in mutexes)
    with mutexes[0]:
        assert wait_all([*mutexes, missing], 0) is False
        assert mutexes[0].owned


def test_an_abandoned_mutex_that_is_given_back_is_told_of_again(missing: MappedWriter) -> None:
    mutex, event = abandoned(), AutoResetEvent(True)
    assert wait_all([mutex, event, missing], 0.05) is False
    assert not mutex.owned
    assert event.is_set()
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one()
    mutex.release_mutex()


def test_a_failure_gives_back_what_was_taken(last: MappedReaderWriterLock) -> None:
    mutex = Mutex()
    event = AutoResetEvent(True)
    with last.reader, pytest.raises(RuntimeError, match="reads"):
        wait_all([event, last.writer, mutex])
    assert mutex.statistics().acquisitions == 1
    assert not mutex.locked()
    assert event.is_set()


def test_waits_for_all_of_the_same_never_block_each_other() -> None:
    mutexes = [Mutex() for _ in range(3)]
    semaphores = [Semaphore(1, 1) for _ in range(3)]
    inside = []

    def work(seed: int) -> None:
        dice = random.Random(seed)
        for _ in range(100):
            some: list[Any] = [*mutexes, *semaphores]
            dice.shuffle(some)
            assert wait_all(some, 30)
            inside.append(seed)
            assert len(inside) == 1
            inside.pop()
            for handle in some:
                handle.release()

    for thread in [in_thread(lambda seed=seed: work(seed)) for seed in range(3)]:
        thread.result()
    assert [semaphore.statistics().count for semaphore in semaphores] == [1] * 3


# ---------------------------------------------------------------------------------------------------- signal_and_wait


def test_one_is_signalled_the_other_waited_for(busy: Mutex) -> None:
    for first in (AutoResetEvent(), ManualResetEvent(), Semaphore(0, 1)):
        assert signal_and_wait(first, AutoResetEvent(True)) is True
        assert first.wait_one(0)
        assert signal_and_wait(first, Semaphore(0, 1), 0.02) is False
        assert signal_and_wait(AutoResetEvent(), busy, timedelta(0)) is False
    mutex = Mutex(True)
    assert signal_and_wait(mutex, ManualResetEvent(True))
    assert not mutex.locked()
    event = AutoResetEvent()
    assert signal_and_wait(event, event)
    assert signal_and_wait(event, mutex)
    assert mutex.owned
    mutex.release_mutex()


def test_two_processes_take_turns(peer: MakePeer) -> None:
    other = peer()
    ping, pong = AutoResetEvent(name="ping"), AutoResetEvent(name="pong")
    other("ping, pong = AutoResetEvent(name='ping'), AutoResetEvent(name='pong')")
    other.tell("ask", "ping.wait_one() and all(signal_and_wait(pong, ping, 30) for _ in range(500)) and pong.set()")
    assert all(signal_and_wait(ping, pong, 30) for _ in range(501))
    assert other.answer() is True
    ping.close()
    pong.close()


def test_nothing_is_signalled_if_it_is_refused() -> None:
    full, event, closed = Semaphore(1, 1), AutoResetEvent(True), AutoResetEvent()
    closed.close()
    first = AutoResetEvent()
    with pytest.raises(SemaphoreFullError):
        signal_and_wait(full, event)
    with pytest.raises(RuntimeError):
        signal_and_wait(Mutex(), event)
    for one, other in ((first, closed), (closed, first)):
        with pytest.raises(ClosedError):
            signal_and_wait(one, other)
    for one, other in ((first, None), (None, first)):
        with pytest.raises(TypeError):
            signal_and_wait(one, other)  # type: ignore[arg-type]
    assert event.is_set()
    assert not first.is_set()


def test_an_abandoned_mutex_that_is_waited_for_is_told_of() -> None:
    mutex, event = abandoned(), AutoResetEvent()
    with pytest.raises(AbandonedMutexError):
        signal_and_wait(event, mutex)
    assert event.is_set()
    mutex.release_mutex()


# -------------------------------------------------------------------------------------------------- all kinds of waits

WAITS = {
    "any": "wait_any([e, s])",
    "any with a mutex": "wait_any([e, m, s], 60)",
    "only a mutex": "wait_any([m])",
    "all": "wait_all([e, s])",
    "all with a mutex": "wait_all([e, m, s], 60)",
    "all but for a mutex": "wait_all([m, AutoResetEvent(True)])",
    "signal and wait": "signal_and_wait(AutoResetEvent(), e)",
    "acquire": "s.acquire()",
    "with": "s.__enter__()",
}


@pytest.fixture
def other() -> Iterator[Actor]:
    """A process with an event and a semaphore that are not signalled, and a mutex that another thread owns."""
    with Actor(prelude=PRELUDE + BEFORE) as other:
        other.do("e, s, m = AutoResetEvent(name='e'), Semaphore(0, 1, 's'), Mutex()")
        other.do("threading.Thread(target=lambda: (m.wait_one(), time.sleep(1000)), daemon=True).start()")
        other.do("while not m.locked(): time.sleep(0.001)")
        yield other


@pytest.mark.parametrize("wait", WAITS)
def test_ctrl_c_ends_each(other: Actor, wait: str) -> None:
    other.send(f"try: {WAITS[wait]}\nexcept KeyboardInterrupt: _result = time.monotonic()")
    until(lambda: in_futex(other.pid), "it sleeps")
    began = time.monotonic()
    os.kill(other.pid, signals.SIGINT)
    assert other.answer() - began < TOO_LATE
    assert other.get("e.statistics().waiters, s.statistics().waiters") == (0, 0)
    other.do("e.close(); s.close()")


@pytest.mark.parametrize("wait", WAITS)
def test_each_uses_next_to_no_processor(other: Actor, wait: str) -> None:
    """A wait that asks a mutex does so a hundred times a second at most."""
    other.do("before = time.process_time()")
    other.send(
        "def stop(): time.sleep(0.4); os.kill(os.getpid(), signal.SIGINT)\n"
        "threading.Thread(target=stop).start()\n"
        f"try: {WAITS[wait]}\nexcept KeyboardInterrupt: _result = time.process_time() - before"
    )
    assert other.answer() < 0.08
    other.do("e.close(); s.close()")


@pytest.mark.parametrize("wait", ["wait_any([never, h])", "wait_any([h, m])", "wait_all([on, h])", "wait_all([h, x])"])
@each_kind
def test_a_signal_whose_wake_never_comes_is_seen_within_250_ms(other: Actor, kind: str, wait: str) -> None:
    handle = made(kind, "n")
    other.do(f"never, on, x, h = AutoResetEvent(), ManualResetEvent(True), Mutex(), "
             f"{MAKERS[kind].format(on=False, name='n')}")  # fmt: skip
    other.send(f"_result = ({wait}, time.monotonic())")
    waiting(handle)
    began = time.monotonic()
    put_word(file_of(kind, "n"), 1)
    _, ended = other.answer()
    assert ended - began < TOO_LATE
    handle.close()
    other.do("h.close(); e.close(); s.close()")


NO_WAITV = """
import ctypes, errno, struct
libc = ctypes.CDLL(None, use_errno=True)
program = b"".join(struct.pack("=HBBI", *line) for line in (
    (0x20, 0, 0, 0),                       # the number of the system call
    (0x15, 0, 1, 449),                     # futex_waitv?
    (0x06, 0, 0, 0x00050000 | errno.{0}),  # refused
    (0x06, 0, 0, 0x7FFF0000),              # allowed
))
block = ctypes.create_string_buffer(program)
assert libc.prctl(38, 1, 0, 0, 0) == 0     # PR_SET_NO_NEW_PRIVS
assert libc.prctl(22, 2, struct.pack("=HxxxxxxQ", 4, ctypes.addressof(block))) == 0  # PR_SET_SECCOMP
assert libc.syscall(449, 0, 0, 0, 0, 0) == -1 and ctypes.get_errno() == errno.{0}
"""


@pytest.mark.parametrize("error", ["ENOSYS", "EPERM"])
def test_without_the_call_for_several_words_they_are_asked(error: str) -> None:
    """As on Linux before 5.16, or in a sandbox that does not know it."""
    with Actor(prelude=PRELUDE + BEFORE) as other:
        other.do(NO_WAITV.format(error))
        event, semaphore = AutoResetEvent(name="e"), Semaphore(0, 1, "s")
        other.do("h = [AutoResetEvent(name='e'), Semaphore(0, 1, 's')]")
        for turn in range(4):
            other.send("_result = wait_any(h)")
            waiting(semaphore)
            signal((event, semaphore)[turn % 2])
            assert other.answer() == turn % 2
        assert other.get("wait_any(h, 0.05)") is None
        other.do("before = time.process_time()")
        assert other.get("(wait_any(h, 1), time.process_time() - before < 0.2)") == (None, True)
        other.send("_result = wait_all(h)")
        waiting(event)
        signal(event)
        signal(semaphore)
        assert other.answer() is True
        event.close()
        semaphore.close()
        assert other.finish() == 0

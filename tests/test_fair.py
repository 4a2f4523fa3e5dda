# SPDX-License-Identifier: MIT
"""FairMutex: first come, first served, between threads and processes, dead ones among them."""

from __future__ import annotations

import contextlib
import os
import pickle
import random
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from peers import Peer, needs_root, peers
from root import SHM
from support.actors import PRELUDE, Actor, Remote
from support.here import KILL

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    DamagedObjectError,
    InvalidNameError,
    MemoryFaultError,
    Mutex,
    OutOfRangeError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)
from memorymapped._native import fair
from memorymapped.sync.events import AutoResetEvent
from memorymapped.sync.fair import FairMutex, FairMutexStatistics
from memorymapped.sync.waiting import wait_all, wait_any

THERE = PRELUDE + "from memorymapped.sync.fair import FairMutex\n"
LIMIT = 20.0


@pytest.fixture
def mutex() -> Iterator[FairMutex]:
    with_name = FairMutex(name="queue")
    yield with_name
    with_name.close()


@pytest.fixture
def actors() -> Iterator[Callable[[], Actor]]:
    started: list[Actor] = []

    def start() -> Actor:
        started.append(Actor(prelude=THERE + "f = FairMutex.open_existing('queue')\n"))
        return started[-1]

    yield start
    for actor in started:
        try:
            if actor.process.poll() is None:
                actor.finish()  # so that it lets go of the name
        finally:
            actor.close()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < deadline, "it does not come"
        time.sleep(0.001)


def queued(mutex: FairMutex, count: int) -> None:
    until(lambda: mutex.statistics().queue_length == count)


def file_of(name: str) -> Path:
    (path,) = Path(os.environ["MEMORYMAPPED_ROOT"]).rglob(f"{name}*.fair")
    return path


# -- the order


def test_processes_get_it_in_the_order_in_which_they_came(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    others = [actors() for _ in range(4)]
    order = random.sample(others, 4)
    mutex.acquire()
    for i, other in enumerate(order):
        other.send("_result = f.wait_one()")
        queued(mutex, i + 1)
    mutex.release()
    for i, other in enumerate(order):
        assert other.answer() is True
        assert mutex.statistics().owner_process == other.pid
        for later in order[i + 1 :]:
            assert not later.answered(0)
        other.do("f.release()")
    assert mutex.statistics().queue_length == 0
    assert not mutex.locked()


def test_threads_get_it_in_the_order_in_which_they_came() -> None:
    mutex = FairMutex()
    came: list[int] = []

    def come(i: int) -> None:
        with mutex:
            came.append(i)

    threads = [threading.Thread(target=come, args=(i,)) for i in range(20)]
    with mutex:
        for i, thread in enumerate(threads):
            thread.start()
            queued(mutex, i + 1)
    for thread in threads:
        thread.join(LIMIT)
    assert came == list(range(20))


def test_who_releases_and_takes_again_comes_last(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    mutex.acquire()
    other.send("f.acquire()\nseen.append('other')", seen=[])
    queued(mutex, 1)
    mutex.release()
    assert mutex.wait_one(0) is False, "somebody has waited longer"
    other.answer()
    other.do("f.release()")
    assert mutex.wait_one(0) is True
    mutex.release()


# -- waits


def test_a_time_out_leaves_the_queue(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    first, second, third = (actors() for _ in range(3))
    mutex.acquire()
    first.send("_result = f.wait_one()")
    queued(mutex, 1)
    began = time.monotonic()
    second.send("_result = f.wait_one(0.3)")
    queued(mutex, 2)
    third.send("_result = f.acquire(timeout=15)")
    queued(mutex, 3)
    assert second.answer() is False
    assert time.monotonic() - began >= 0.3 - 1e-6
    queued(mutex, 2)
    mutex.release()
    assert first.answer() is True
    assert not third.answered(0.05)
    first.do("f.release()")
    assert third.answer() is True
    third.do("f.release()")


def test_time_outs_and_looks() -> None:
    mutex = FairMutex()
    seen: list[bool] = []

    def look() -> None:
        seen.extend([mutex.wait_one(0), mutex.acquire(blocking=False), mutex.wait_one(0.01), mutex.acquire(timeout=0)])

    with mutex:
        thread = threading.Thread(target=look)
        thread.start()
        thread.join(LIMIT)
    assert seen == [False] * 4
    for wrong in (-2, float("nan")):
        with pytest.raises(OutOfRangeError):
            mutex.wait_one(wrong)
    with pytest.raises(TypeError):
        mutex.wait_one("1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="does not block"):
        mutex.acquire(False, 1)
    assert mutex.wait_one(float("inf"))
    mutex.release()


def test_ctrl_c_leaves_the_queue(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    first, second = actors(), actors()
    mutex.acquire()
    first.send("try:\n f.wait_one()\nexcept KeyboardInterrupt:\n _result = 'interrupted'")
    queued(mutex, 1)
    second.send("_result = f.wait_one()")
    queued(mutex, 2)
    began = time.monotonic()
    os.kill(first.pid, signal.SIGINT)
    assert first.answer() == "interrupted"
    assert time.monotonic() - began < 5
    queued(mutex, 1)
    mutex.release()
    assert second.answer() is True
    second.do("f.release()")
    assert first.get("f.wait_one(5)")


def test_a_handler_that_waits_below_a_wait(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    """That thread has the place before in the queue, and does not move until its handler ends."""
    other = actors()
    mutex.acquire()
    code = """
seen = []
def handler(*_):
    try:
        f.wait_one()
    except RuntimeError as error:
        seen.append(str(error))
signal.signal(signal.SIGUSR1, handler)
_result = f.wait_one(15), seen
"""
    other.send(code)
    queued(mutex, 1)
    os.kill(other.pid, signal.SIGUSR1)
    until(lambda: mutex.statistics().queue_length == 1)
    time.sleep(0.2)  # for the handler to run; the result does not depend on it
    mutex.release()
    got, seen = other.answer()
    assert got is True
    assert all("signal handler" in text for text in seen)
    other.do("f.release()")


def test_a_condition_owns_it_again_whatever_comes_in_between(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    with contextlib.closing(AutoResetEvent(name="go on")) as go:
        other.send("""
m = MemoryMappedFile.create_new(None, 4096)
v = m.create_view_accessor()
c = MappedCondition(v, 0, f)
go = AutoResetEvent.open_existing("go on")
def notify():
    with c:
        c.notify()
        go.wait_one(15)
thread = threading.Thread(target=notify)
f.acquire()
thread.start()
try:
    c.wait()
except KeyboardInterrupt:
    _result = f.owned, thread.is_alive() and f.statistics().owner_thread != threading.get_native_id()
f.release()
thread.join()
go.close()
""")
        until(lambda: mutex.statistics().owner_thread not in (None, other.pid))
        queued(mutex, 1)
        os.kill(other.pid, signal.SIGINT)
        assert not other.answered(0.3)
        go.set()
        assert other.answer() == (True, False)


# -- the owner


def test_it_is_recursive(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    with mutex:
        assert mutex.wait_one(0)
        assert mutex.acquire()
        mutex.release()
        mutex.release_mutex()
        assert mutex.owned
        assert other.get("f.wait_one(0)") is False
    assert other.get("f.wait_one(5)") is True
    assert not mutex.owned
    other.do("f.release()")


def test_only_the_owner_releases(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    with pytest.raises(RuntimeError, match="does not own"):
        mutex.release()
    other.do("f.acquire()")
    with pytest.raises(RuntimeError, match="does not own"):
        mutex.release()
    assert mutex.statistics().owner_process == other.pid
    other.do("f.release()")
    with pytest.raises(RuntimeError):
        other.do("f.release()")
    assert mutex.wait_one(0)
    mutex.release()


def test_two_handles_of_one_thread_are_one_owner(mutex: FairMutex) -> None:
    with FairMutex(name="queue") as again:
        assert not again.created_new
        assert mutex.created_new
        assert mutex.owned
        assert mutex.wait_one(0)
        mutex.release()
        assert mutex.statistics().handles == 2
    assert not mutex.owned
    again.close()
    assert again.closed
    assert mutex.statistics().handles == 1


def test_statistics() -> None:
    mutex = FairMutex()
    assert mutex.statistics().owner_process is None
    with mutex:
        statistics = mutex.statistics()
        assert isinstance(statistics, FairMutexStatistics)
        assert statistics.owner_process == os.getpid()
        assert statistics.owner_thread == threading.get_native_id()
        assert (statistics.queue_length, statistics.has_waiters, statistics.acquisitions) == (0, False, 1)
        assert "queue_length=0" in repr(statistics)
        assert statistics == mutex.statistics()


# -- deaths


def test_the_next_is_told_of_a_dead_owner_and_only_the_next(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    owner, first, second = (actors() for _ in range(3))
    owner.do("f.acquire()")
    first.send("try:\n f.wait_one()\nexcept AbandonedMutexError as e:\n _result = e.owned, e.previous_owner.process")
    queued(mutex, 1)
    second.send("_result = f.wait_one()")
    queued(mutex, 2)
    began = time.monotonic()
    owner.kill()
    assert first.answer() == (True, owner.pid)
    assert time.monotonic() - began < 5
    assert mutex.statistics().owner_process == first.pid
    assert not second.answered(0.05)
    first.do("f.release()")
    assert second.answer() is True
    second.do("f.release()")
    assert mutex.wait_one(0)
    mutex.release()


def test_dead_waiters_are_skipped(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    waiters = [actors() for _ in range(4)]
    mutex.acquire()
    for i, waiter in enumerate(waiters):
        waiter.send("_result = f.wait_one()")
        queued(mutex, i + 1)
    waiters[1].kill()
    waiters[2].kill()
    waiters[0].kill()
    queued(mutex, 1)
    assert not waiters[3].answered(0.05)
    mutex.release()
    assert waiters[3].answer() is True, "and nobody is told: they owned nothing"
    waiters[3].do("f.release()")


def test_all_are_killed(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    owner, *waiters = (actors() for _ in range(4))
    owner.do("f.acquire()")
    for i, waiter in enumerate(waiters):
        waiter.send("f.wait_one()")
        queued(mutex, i + 1)
    for actor in (*waiters[:1], owner, *waiters[1:]):
        actor.process.send_signal(KILL)
    for actor in (owner, *waiters):
        actor.kill()
    began = time.monotonic()
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one()
    assert time.monotonic() - began < 1
    mutex.release()
    assert mutex.wait_one(0)
    mutex.release()


def test_a_stopped_owner_is_not_dead(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    owner, waiter = actors(), actors()
    owner.do("f.acquire()")
    os.kill(owner.pid, signal.SIGSTOP)
    waiter.send("_result = f.wait_one()")
    queued(mutex, 1)
    assert not waiter.answered(0.1)
    os.kill(owner.pid, signal.SIGCONT)
    owner.do("f.release()")
    assert waiter.answer() is True
    waiter.do("f.release()")


def test_a_thread_that_ends_is_dead() -> None:
    mutex = FairMutex()
    thread = threading.Thread(target=mutex.acquire)
    thread.start()
    thread.join(LIMIT)
    with pytest.raises(AbandonedMutexError) as caught:
        mutex.wait_one(5)
    assert caught.value.mutex is mutex
    mutex.release()
    assert mutex.statistics().abandonments == 1


def abandon(mutex: FairMutex) -> None:
    thread = threading.Thread(target=mutex.acquire)
    thread.start()
    thread.join(LIMIT)


def test_with_on_an_abandoned_one() -> None:
    mutex = FairMutex()
    abandon(mutex)
    for _ in range(2):  # given back marked, so that the next one is told as well
        with pytest.raises(AbandonedMutexError) as caught, mutex:
            pytest.fail("the body ran")
        assert not caught.value.owned
        assert not mutex.owned
    repaired: list[FairMutex] = []
    with mutex.recovering(repaired.append):
        assert repaired == [mutex]
    with mutex:
        pass
    abandon(mutex)
    mutex.on_abandoned = lambda m: repaired.append(m)
    with mutex:
        assert repaired == [mutex, mutex]
    abandon(mutex)
    with pytest.raises(ZeroDivisionError), mutex.recovering(lambda m: 1 // 0):
        pytest.fail("the body ran")
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()


# -- names


def test_the_name_ends_with_the_last_who_has_it_open() -> None:
    mutex = FairMutex(name="short")
    assert mutex.created_new
    assert mutex.name == "short"
    again = FairMutex.open_existing("short")
    mutex.close()
    third = FairMutex.try_open_existing("short")
    assert third is not None
    again.close()
    third.close()
    assert FairMutex.try_open_existing("short") is None
    with pytest.raises(WaitHandleNotFoundError):
        FairMutex.open_existing("short")


@pytest.mark.parametrize("name", ["plain", "User\\plain", "Local\\plain", "Global\\plain", "a/b " + "ü" * 200])
def test_scopes(name: str) -> None:
    mutex = FairMutex(True, name)
    with Actor(prelude=THERE) as other:
        assert other.get("FairMutex.open_existing(name).wait_one(0)", name=name) is False
        other.do("import gc, warnings; warnings.simplefilter('ignore'); gc.collect()")
        mutex.release()
    mutex.close()


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[Callable[..., Peer]]:
    """Processes of several users, with a root that each may write to."""
    with tempfile.TemporaryDirectory(prefix="memorymapped-tests-root-", dir=SHM) as root:
        Path(root).chmod(0o1777)
        with peers(run, root=Path(root)) as make:
            yield make


@needs_root
def test_global_ones_are_everybodys(peer: Callable[..., Peer]) -> None:
    alice, bob = peer(uid=40001), peer(uid=40002)
    alice("f = FairMutex(True, 'Global\\\\all')")
    bob("f = FairMutex.open_existing('Global\\\\all')")
    assert bob.ask("f.wait_one(0)") is False
    alice("f.close()")
    assert bob.refusal("f.wait_one(5)").is_a(AbandonedMutexError)
    bob("f.release()")
    alice("f = FairMutex(name='mine')")
    assert bob.ask("FairMutex.try_open_existing('mine') is None"), "each user has names of his own"
    for each in (alice, bob):
        each("f.close()")


def test_wrong_names() -> None:
    for none in (None, ""):
        unnamed = FairMutex(False, none)
        assert unnamed.name is None
    with pytest.raises(TypeError):
        FairMutex.open_existing(None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name"):
        FairMutex.open_existing("")
    with pytest.raises(InvalidNameError):
        FairMutex(name="a\\b")
    with pytest.raises(TypeError):
        FairMutex("name")  # type: ignore[arg-type]


def test_a_fair_name_is_no_other_kind() -> None:
    fair = FairMutex(name="kind")
    with pytest.raises(WaitHandleCannotBeOpenedError, match="fair mutex"):
        Mutex(name="kind")
    with pytest.raises(WaitHandleCannotBeOpenedError, match="fair mutex"):
        AutoResetEvent(name="kind")
    fair.close()
    with Mutex(name="kind") as plain:
        for attempt in (lambda: FairMutex(name="kind"), lambda: FairMutex.open_existing("kind")):
            with pytest.raises(WaitHandleCannotBeOpenedError, match="is a mutex"):
                attempt()
    plain.close()
    event = AutoResetEvent(name="kind")
    with pytest.raises(WaitHandleCannotBeOpenedError, match="event"):
        FairMutex(name="kind")
    event.close()


@pytest.mark.parametrize(
    "damage",
    [
        lambda content: content[:-1],
        lambda content: b"",
        lambda content: bytes(len(content)),
        lambda content: b"X" + content[1:],
        lambda content: content[:16] + b"\xff\xff\xff\xff" + content[20:],
        lambda content: content[:128] + b"\xff" * 64 + content[192:],
    ],
    ids=["short", "empty", "zeros", "magic", "tail", "node"],
)
def test_damaged_files_are_refused(mutex: FairMutex, damage: Callable[[bytes], bytes]) -> None:
    path = file_of("queue")
    path.write_bytes(damage(path.read_bytes()))
    with Actor(prelude=THERE) as other, pytest.raises(DamagedObjectError, match="queue"):
        other.do("FairMutex.open_existing('queue')")


def test_truncated_under_us(mutex: FairMutex) -> None:
    os.truncate(file_of("queue"), 0)
    for _ in range(2):
        with pytest.raises(MemoryFaultError):
            mutex.wait_one()
    assert not mutex.owned
    for ask in (mutex.locked, mutex.statistics):
        with pytest.raises(MemoryFaultError):
            ask()
    assert "its memory is gone" in repr(mutex)


def test_rubbish_while_it_is_open() -> None:
    """An error, or a mutex that works; never a crash or a hang."""
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    code = "f = FairMutex(name='queue')\nwarnings.simplefilter('ignore')\n"
    for _ in range(6):
        with Actor(prelude=THERE + "import warnings\n" + code) as other:
            path = file_of("queue")
            with path.open("r+b") as file:
                for _ in range(chance.randrange(1, 40)):
                    file.seek(chance.choice((chance.randrange(16384), chance.randrange(400))))
                    file.write(chance.randbytes(chance.randrange(1, 8)))
            try:
                other.do("if f.wait_one(0.2): f.release()")
            except (OSError, AbandonedMutexError, RuntimeError):
                pass
            except Remote as error:
                assert "Error" in str(error)  # noqa: PT017
            assert other.finish() == 0


def test_pickling(mutex: FairMutex) -> None:
    with Actor(prelude=THERE) as other:
        mutex.acquire()
        assert other.get("f.wait_one(0)", f=mutex) is False
        mutex.release()
        assert other.get("f.wait_one(5)") is True
    data = pickle.dumps(mutex)
    again = pickle.loads(data)
    again.close()
    with pytest.raises(TypeError, match="pickled"):
        pickle.dumps(FairMutex())
    other_mutex = FairMutex(name="other")
    data = pickle.dumps(other_mutex)
    other_mutex.close()
    with pytest.raises(FileNotFoundError):
        pickle.loads(data)
    other_mutex = FairMutex(name="other")
    with pytest.raises(FileNotFoundError, match="anew"):
        pickle.loads(data)
    other_mutex.close()


def test_initially_owned() -> None:
    mutex = FairMutex(True, "own")
    assert mutex.owned
    with Actor(prelude=THERE) as other:
        assert other.get("FairMutex(True, 'own').owned") is False
    mutex.release()
    mutex.close()


# -- closing


def test_closing_while_owned_tells_the_next(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    mutex.acquire()
    mutex.acquire()
    other.send("try:\n f.wait_one()\nexcept AbandonedMutexError:\n _result = 'told'")
    queued(mutex, 1)
    mutex.close()
    assert other.answer() == "told"
    with pytest.raises(ClosedError):
        mutex.wait_one()
    with pytest.raises(ClosedError):
        mutex.release()
    with pytest.raises(ClosedError), mutex:
        pass
    assert "closed" in repr(mutex)
    other.do("f.release()")


def test_closing_what_another_thread_owns() -> None:
    mutex = FairMutex(name="queue")
    held, go = threading.Event(), threading.Event()
    seen: list[object] = []

    def own() -> None:
        with mutex:
            held.set()
            go.wait(LIMIT)
        seen.append(FairMutex.try_open_existing("queue"))

    thread = threading.Thread(target=own)
    thread.start()
    held.wait(LIMIT)
    mutex.close()
    with Actor(prelude=THERE) as other:
        assert other.get("FairMutex.open_existing('queue').wait_one(0)") is False, "it lives while it is owned"
    go.set()
    thread.join(LIMIT)
    assert seen == [None]


def test_closing_what_another_thread_waits_for(mutex: FairMutex, actors: Callable[[], Actor]) -> None:
    other = actors()
    other.do("f.acquire()")
    seen: list[object] = []

    def wait() -> None:
        try:
            mutex.wait_one()
        except ClosedError as error:
            seen.append(error)

    thread = threading.Thread(target=wait)
    thread.start()
    queued(mutex, 1)
    mutex.close()
    other.do("f.release()")
    thread.join(LIMIT)
    assert len(seen) == 1
    assert other.get("f.wait_one(5)")


def test_dropped_unclosed() -> None:
    mutex = FairMutex(name="dropped")
    with pytest.warns(ResourceWarning, match="dropped"):
        del mutex
    unnamed = FairMutex(True)
    del unnamed


def test_dropped_while_owned_through_a_fork(tmp_path: Path) -> None:
    mutex = FairMutex()
    mutex.acquire()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            with pytest.raises(RuntimeError, match="does not own"):
                mutex.release()
            assert not mutex.owned
            assert mutex.wait_one(0) is False
            del mutex
            status = 0
        finally:
            os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert mutex.owned
    mutex.release()
    pid = os.fork()
    if pid == 0:
        mutex.acquire()
        os._exit(0)
    os.waitpid(pid, 0)
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(1)
    mutex.release()


def test_a_child_holds_the_name(mutex: FairMutex) -> None:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(writing)
        os.read(reading, 1)
        os._exit(0 if mutex.wait_one(0) else 1)
    os.close(reading)
    mutex.close()
    again = FairMutex.open_existing("queue")
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    with pytest.raises(AbandonedMutexError):
        again.wait_one(1)
    again.release()
    again.close()


# -- more than fit


def test_more_waiters_than_places() -> None:
    mutex = FairMutex()
    mutex.acquire()
    seen: list[str] = []
    stack = threading.stack_size(256 * 1024)
    try:
        threads = [threading.Thread(target=lambda: mutex.wait_one() and mutex.release()) for _ in range(fair.MOST - 1)]
        for thread in threads:
            thread.start()
        queued(mutex, fair.MOST - 1)

        def too_many() -> None:
            try:
                mutex.wait_one()
            except RuntimeError as error:
                seen.append(str(error))

        last = threading.Thread(target=too_many)
        last.start()
        last.join(LIMIT)
    finally:
        threading.stack_size(stack)
        mutex.release()
    for thread in threads:
        thread.join(LIMIT)
        assert not thread.is_alive()
    assert len(seen) == 1
    assert "254" in seen[0]
    assert mutex.wait_one(0)
    mutex.release()


def test_places_of_the_dead_are_used_again(mutex: FairMutex) -> None:
    """Children that die in the queue leave their places; there are not enough for all of them."""
    threads = 60
    mutex.acquire()
    for _ in range(fair.MOST // threads + 2):
        pid = os.fork()
        if pid == 0:
            for _ in range(threads):
                threading.Thread(target=mutex.wait_one, daemon=True).start()
            signal.pause()
        queued(mutex, threads)
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    mutex.release()
    with mutex:
        pass


def test_places_that_nobody_comes_to_are_used_again(mutex: FairMutex) -> None:
    """What processes leave that are killed before they are in the queue."""
    with file_of("queue").open("r+b") as file:
        for place in range(fair.MOST):
            file.seek(128 + 64 * place + 40)
            file.write(b"\1")  # it waits, and nobody has locked it
    assert mutex.wait_one(0)
    mutex.release()


# -- with other objects


def test_in_a_wait_for_several(mutex: FairMutex) -> None:
    event = AutoResetEvent(True)
    assert wait_any([mutex, event], 0) == 0
    assert mutex.owned
    mutex.release()
    assert wait_all([event, mutex], 1)
    assert mutex.owned
    mutex.release()
    abandon(mutex)
    with pytest.raises(AbandonedMutexError) as caught:
        wait_any([event, mutex], 1)
    assert caught.value.mutex_index == 1
    mutex.release()


# -- kills

STAGE = PRELUDE + "from support.lock_deaths import kill_everywhere, unavailable\n"
CROWD = PRELUDE + "from support.contending import contend\n"


@pytest.fixture
def stage() -> Iterator[Actor]:
    with Actor(prelude=STAGE, timeout=900) as actor:
        unavailable = actor.get("unavailable()")
        if unavailable:
            pytest.skip(unavailable)
        yield actor


WAYS = ["fair", "fair after deaths", "fair giving up", "fair in line"]
WAITING = pytest.mark.parametrize("waiting", [False, True], ids=["nobody waits", "somebody waits"])


def step_through(stage: Actor, kind: str, step: int, waiting: bool) -> None:
    start = random.randrange(step)
    counts = stage.get(
        "kill_everywhere(kind, step, start, waiting=waiting)", kind=kind, step=step, start=start, waiting=waiting
    )
    print(f"from {start}: {counts}")
    assert counts["points"] > 300
    assert ("told" in counts) == (kind not in ("fair giving up", "fair in line")), "who waits owns nothing"
    assert "whole" in counts


@pytest.mark.parametrize("kind", ["fair", "fair giving up"])
def test_killed_at_some_instructions(stage: Actor, kind: str) -> None:
    step_through(stage, kind, 83, waiting=True)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@WAITING
@pytest.mark.parametrize("kind", WAYS)
def test_killed_at_every_instruction(stage: Actor, kind: str, waiting: bool) -> None:
    step_through(stage, kind, 1, waiting)


def contend(kind: str, processes: int, seconds: float) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    with Actor(prelude=CROWD) as crowd:
        result = crowd.get(
            "contend(kind, seed, processes, seconds)",
            seconds + 60,
            kind=kind,
            seed=seed,
            processes=processes,
            seconds=seconds,
        )
        assert crowd.finish() == 0
    print(result)
    assert result.wrong == []
    assert result.turns > 0


def test_contending_and_dying() -> None:
    contend("fair", 6, 1.0)


@pytest.mark.campaign
@pytest.mark.timeout(180)
@pytest.mark.parametrize("processes", [3, 12])
def test_contending_and_dying_for_longer(processes: int) -> None:
    contend("fair", processes, 20.0)


def test_errors_say_what_is_to_be_said(mutex: FairMutex) -> None:
    abandon(mutex)
    with pytest.raises(AbandonedMutexError, match=f"'queue' was abandoned by process {os.getpid()}"):
        mutex.wait_one()
    mutex.release()

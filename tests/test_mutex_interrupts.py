# SPDX-License-Identifier: MIT
"""A signal handler may raise anywhere in our code, also while a mutex is opened, closed, taken or repaired. Then nobody
has it who does not know of it, its name ends as it should, and no lock is left that keeps other programs waiting."""

from __future__ import annotations

import fcntl
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from campaigns import campaign
from peers import Peer
from programs import LIMIT, state, until
from root import objects
from support.interrupting import At, Interrupt, random_signals
from support.leftovers import files_of, roots
from support.waits import in_futex

from memorymapped import AbandonedMutexError, FairMutex, Mutex
from memorymapped.system.linux import objects as objects_of_names

Run = Callable[..., Any]
Lock = Mutex | FairMutex


def _with(lock: Lock) -> None:
    with lock, lock:
        pass
    lock.close()


OPERATIONS: dict[str, Callable[[type[Lock], str], Lock | None]] = {
    "create": lambda cls, name: cls(name=name),
    "create, owned": lambda cls, name: cls(True, name),
    "open": lambda cls, name: cls.open_existing(name),
    "try to open": lambda cls, name: cls.try_open_existing(name),
    "with": lambda cls, name: _with(cls(name=name)),
}


pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # what was made, and met the exception before its user had it
        yield


@pytest.fixture(params=[Mutex, FairMutex])
def cls(request: pytest.FixtureRequest) -> type[Lock]:
    kind: type[Lock] = request.param
    return kind


def others_can_open() -> None:
    """No directory lock is left. (Other programs have it for moments.)"""
    folders = roots()
    assert folders
    for folder in folders:
        try:
            fd = os.open(folder / "shm", os.O_RDONLY)
        except FileNotFoundError:  # somebody has just begun to make it
            continue
        try:
            until(lambda fd=fd: locks(fd), f"{folder} is free")  # type: ignore[misc]
        finally:
            os.close(fd)


def locks(fd: int) -> bool:
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def nothing_is_left(cls: type[Lock], name: str, tag: str) -> None:
    others_can_open()
    assert files_of(tag) == []
    assert objects() == []
    assert cls.try_open_existing(name) is None, "somebody has it still"


@pytest.mark.parametrize("scope", ["", *campaign("Global\\")])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_at_any_line_leaves_nothing(
    operation: str, scope: str, cls: type[Lock], tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(objects_of_names, "CLOSE_LIMIT", 0.1)  # where a frame of the exception has the gate
    do = OPERATIONS[operation]
    name = scope + tag
    for n in range(1, 3000):
        keep = cls(name=name) if "open" in operation else None
        lock = None
        at = At(n)
        try:
            with at:
                lock = do(cls, name)
        except Interrupt:
            # The exception is known still, and so are the frames that it went through, with their variables.
            others_can_open()
        if lock is not None:
            lock.close()
        if keep is not None:
            assert keep.statistics().handles == 1, f"a handle that nobody has, after an exception at step {n}"
            keep.close()
        nothing_is_left(cls, name, tag)
        if not at.reached:
            break
    assert n > 10


def test_a_close_that_an_exception_broke_off_can_be_repeated(cls: type[Lock], tag: str) -> None:
    for owned in (False, True):
        for n in range(1, 500):
            lock = cls(owned, tag)
            at = At(n)
            try:
                with at:
                    lock.close()
            except Interrupt:
                lock.close()
            nothing_is_left(cls, tag, tag)
            if not at.reached:
                break
        assert n > 3


@pytest.mark.parametrize("operation", ["create, owned", "with", *campaign("create", "open", "try to open")])
def test_signals_at_random_moments_leave_nothing(operation: str, cls: type[Lock], tag: str) -> None:
    do = OPERATIONS[operation]

    def once() -> None:
        lock = do(cls, tag)
        if lock is not None:
            lock.close()

    with random_signals() as alarm:
        for _ in range(400):
            keep = cls(name=tag) if "open" in operation else None
            alarm(once)
            if keep is not None:
                assert keep.statistics().handles == 1
                keep.close()
            nothing_is_left(cls, tag, tag)
    assert alarm.met > 20


TAKES = {
    "with": "with m: print('in', flush=True)",
    "recovering": "with m.recovering(lambda m: None): print('in', flush=True)",
    "wait": "m.wait_one()",
}


@contextmanager
def waiting_and_interrupted(lock: Lock, name: str, how: str, run: Run) -> Iterator[None]:
    """Another process waits for it. What is done in the body, and then SIGINT, reach it at the same moment."""
    waiter = Peer(run)
    waiter(f"m = {type(lock).__name__}(name={name!r})")
    waiter.tell("run", TAKES[how])
    until(lambda: lock.statistics().has_waiters or getattr(lock.statistics(), "queue_length", 0), "it waits")
    os.kill(waiter.pid, signal.SIGSTOP)
    until(lambda: state(waiter.pid) == "T", "it is stopped")
    yield
    os.kill(waiter.pid, signal.SIGINT)
    os.kill(waiter.pid, signal.SIGCONT)
    assert waiter.answer().is_a(KeyboardInterrupt)
    assert not waiter.ask("m.owned")
    waiter("m.close()")
    waiter.end()


@pytest.mark.parametrize("how", TAKES)
def test_ctrl_c_together_with_the_death_of_the_owner_leaves_it_to_the_next(
    how: str, cls: type[Lock], tag: str, run: Run
) -> None:
    """As at a terminal: both get SIGINT. Whoever waits has got the mutex before Python sees the signal."""
    lock = cls(name=tag)
    owner = Peer(run)
    owner(f"m = {cls.__name__}(name={tag!r}); m.wait_one()")
    with waiting_and_interrupted(lock, tag, how, run):
        owner.kill()
    with pytest.raises(AbandonedMutexError):
        lock.wait_one(LIMIT)
    lock.release()
    lock.close()


@pytest.mark.parametrize("how", TAKES)
def test_ctrl_c_together_with_the_release_leaves_it_free(how: str, cls: type[Lock], tag: str, run: Run) -> None:
    lock = cls(True, tag)
    with waiting_and_interrupted(lock, tag, how, run):
        lock.release()
    assert lock.wait_one(LIMIT), "and nobody is told of an abandonment"
    lock.release()
    lock.close()


def test_a_mutex_that_is_free_at_the_moment_of_a_look_is_not_damaged() -> None:
    """Who waits looks each second whether there is a thread of the number that the lock has: it may have none."""
    owned, let_go, free = threading.Event(), threading.Event(), threading.Event()
    begin = time.monotonic()

    def own() -> None:
        with mutex:
            owned.set()
            let_go.wait(LIMIT)
        free.set()

    def handle(*_: object) -> None:  # called within the wait, right before the look
        while time.monotonic() < begin + 1.1:
            time.sleep(0.01)
        let_go.set()
        assert free.wait(LIMIT)

    def interrupt() -> None:
        until(lambda: in_futex(os.getpid()), "the main thread waits")
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)

    before = signal.signal(signal.SIGUSR1, handle)
    try:
        with closing(Mutex()) as mutex:
            threads = [threading.Thread(target=own), threading.Thread(target=interrupt)]
            threads[0].start()
            assert owned.wait(LIMIT)
            begin = time.monotonic()
            threads[1].start()
            assert mutex.wait_one(LIMIT)
            mutex.release_mutex()
            for thread in threads:
                thread.join(LIMIT)
    finally:
        signal.signal(signal.SIGUSR1, before)

# SPDX-License-Identifier: MIT
"""Mutex: what a thread, another thread, another process and a forked child rely on. (`dotnet/test_shared_mutex.py`: C#
programs; `test_mutex_crash.py`: kills; `test_mutex_hostile.py`: files that are none.)"""

from __future__ import annotations

import gc
import math
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from peers import Forked, Peer
from programs import LIMIT, state, until
from support.leftovers import files_of
from support.tasks import in_thread

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    DamagedObjectError,
    InvalidNameError,
    Mutex,
    OutOfRangeError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)

Run = Callable[..., Any]


SCOPES = ["User\\", "Local\\", "Global\\"]
of_names = pytest.mark.parametrize("name", SCOPES, indirect=True)  # what an unnamed one cannot do


@pytest.fixture(params=["unnamed", *SCOPES])
def name(request: pytest.FixtureRequest, tag: str) -> str | None:
    """A name in each scope, and none."""
    return None if request.param == "unnamed" else request.param + tag


@pytest.fixture
def mutex(name: str | None) -> Any:
    made = Mutex(name=name)
    yield made
    made.close()


# -- owning


def test_a_new_mutex_is_free(mutex: Mutex, name: str | None) -> None:
    assert mutex.created_new
    assert mutex.name == name
    assert not mutex.owned
    assert not mutex.locked()
    assert mutex.wait_one(0)
    assert mutex.owned
    assert mutex.locked()
    mutex.release_mutex()
    assert not mutex.owned
    assert not mutex.locked()


def test_one_thread_owns_it_at_a_time(mutex: Mutex) -> None:
    assert mutex.wait_one()
    assert in_thread(lambda: (mutex.owned, mutex.wait_one(0), mutex.wait_one(0.01), mutex.locked())) == (
        False,
        False,
        False,
        True,
    )
    mutex.release_mutex()

    def there() -> bool:
        got = mutex.wait_one(0)
        mutex.release_mutex()
        return got

    assert in_thread(there)


def test_the_owner_takes_it_again_and_releases_it_as_often(mutex: Mutex) -> None:
    for _ in range(3):
        assert mutex.wait_one(0)
    for _ in range(3):
        assert not in_thread(lambda: mutex.wait_one(0))
        mutex.release_mutex()
    assert in_thread(lambda: (mutex.wait_one(0), mutex.release_mutex())) == (True, None)


def test_only_the_owner_releases(mutex: Mutex) -> None:
    with pytest.raises(RuntimeError, match="does not own"):
        mutex.release_mutex()
    mutex.wait_one()
    with pytest.raises(RuntimeError, match="does not own"):
        in_thread(mutex.release_mutex)
    assert mutex.owned, "nothing has changed"
    mutex.release_mutex()
    with pytest.raises(RuntimeError, match="does not own"):
        mutex.release_mutex()


def test_initial_ownership_is_given_to_who_makes_it(name: str | None) -> None:
    mutex = Mutex(True, name)
    assert mutex.owned
    assert not in_thread(lambda: mutex.wait_one(0))
    if name is not None:
        second = Mutex(True, name)
        assert not second.created_new
        second.release_mutex()  # the first ownership: the second asked for none, as it made nothing
        assert not mutex.owned
        second.close()
    else:
        mutex.release_mutex()
    mutex.close()


def test_handles_of_one_name_share_ownership_and_count(tag: str) -> None:
    with_one, with_other = Mutex(name=tag), Mutex(name=f"User\\{tag}")
    assert (with_one.created_new, with_other.created_new) == (True, False)
    with_one.wait_one()
    with_other.wait_one()
    with_one.release_mutex()
    assert not in_thread(lambda: with_one.wait_one(0))
    with_one.release_mutex()
    assert not with_other.owned
    with_one.close()
    with_other.close()


def test_a_blocked_thread_gets_it_at_the_release(mutex: Mutex) -> None:
    mutex.wait_one()
    got = threading.Event()

    def wait() -> None:
        mutex.wait_one()
        got.set()
        mutex.release_mutex()

    thread = threading.Thread(target=wait)
    thread.start()
    until(lambda: mutex.statistics().has_waiters, "it waits")
    assert not got.is_set()
    mutex.release_mutex()
    assert got.wait(LIMIT)
    thread.join(LIMIT)


# -- with, acquire, release


def test_it_is_used_as_pythons_locks(mutex: Mutex) -> None:
    assert mutex.acquire()
    assert mutex.acquire(False)
    assert mutex.acquire(blocking=True, timeout=1)
    assert not in_thread(lambda: mutex.acquire(False))
    assert not in_thread(lambda: mutex.acquire(timeout=0.01))
    for _ in range(3):
        mutex.release()
    with mutex as same:
        assert same is mutex
        assert mutex.owned
    assert not mutex.owned
    with pytest.raises(KeyError), mutex:
        raise KeyError
    assert not mutex.owned
    with pytest.raises(ValueError, match="does not block"):
        mutex.acquire(False, 1)


@pytest.mark.parametrize("timeout", [0.02, 1, timedelta(milliseconds=20), math.inf, None, -1, True, 1e300, 10**400])
def test_time_outs_are_seconds_or_a_timedelta(mutex: Mutex, timeout: Any) -> None:
    assert mutex.wait_one(timeout)
    mutex.release()


@pytest.mark.parametrize(
    "timeout", [-0.1, -2, -(10**400), math.nan, -math.inf, timedelta(seconds=-1.5), timedelta(seconds=-1)]
)
def test_no_time_is_refused(mutex: Mutex, timeout: Any) -> None:
    with pytest.raises(OutOfRangeError):
        mutex.wait_one(timeout)
    with pytest.raises(OutOfRangeError):
        mutex.acquire(True, timeout)


@pytest.mark.parametrize("timeout", ["1", b"1", [1], object()])
def test_what_is_no_number_is_refused(mutex: Mutex, timeout: Any) -> None:
    with pytest.raises(TypeError):
        mutex.wait_one(timeout)


def test_a_wait_takes_as_long_as_it_may(mutex: Mutex) -> None:
    mutex.wait_one()

    def there() -> float:
        begin = time.monotonic()
        assert not mutex.wait_one(0.12)
        return time.monotonic() - begin

    assert 0.12 <= in_thread(there) + 1e-6 < LIMIT  # a difference of two large numbers
    mutex.release()


def test_a_wait_burns_no_processor_and_lets_others_run(mutex: Mutex) -> None:
    mutex.wait_one()
    turns = 0
    thread = threading.Thread(target=lambda: mutex.wait_one(0.4))
    thread.start()
    until(lambda: mutex.statistics().has_waiters, "it waits")
    while thread.is_alive():
        turns += 1
    assert turns > 1000
    used = time.thread_time()
    assert in_thread(lambda: (mutex.wait_one(0.4), time.thread_time())[1]) < 0.1
    assert time.thread_time() - used < 0.1
    mutex.release()


# -- abandoned


def test_a_thread_that_ends_owning_it_abandons_it(mutex: Mutex) -> None:
    threading.Thread(target=mutex.wait_one).start()
    with pytest.raises(AbandonedMutexError) as caught:
        mutex.wait_one(LIMIT)
    assert caught.value.mutex is mutex
    assert caught.value.owned
    assert caught.value.mutex_index == -1
    assert caught.value.previous_owner.process in (os.getpid(), None)
    assert mutex.owned
    mutex.release_mutex()
    assert mutex.wait_one(), "it is told once"
    mutex.release_mutex()
    assert mutex.statistics().abandonments == 1


def abandoned(mutex: Mutex) -> None:
    thread = threading.Thread(target=mutex.wait_one)
    thread.start()
    thread.join()
    until(lambda: mutex.statistics().owner_thread != thread.native_id, "the system's thread has ended as well")


def test_a_plain_with_gives_it_back_and_tells_everybody(mutex: Mutex) -> None:
    abandoned(mutex)
    for _ in range(2):
        with pytest.raises(AbandonedMutexError) as caught, mutex:
            pytest.fail("the body must not run")
        assert not caught.value.owned
        assert not mutex.owned
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()
    with mutex:
        pass


def test_on_abandoned_repairs_and_the_body_runs(name: str | None) -> None:
    repaired = []
    mutex = Mutex(name=name, on_abandoned=lambda it: repaired.append((it, it.owned)))
    abandoned(mutex)
    with mutex:
        assert repaired == [(mutex, True)]
    with mutex:
        pass
    assert len(repaired) == 1
    mutex.close()


def test_recovering_repairs_and_the_body_runs(mutex: Mutex) -> None:
    repaired: list[Mutex] = []
    abandoned(mutex)
    with mutex.recovering(repaired.append):
        assert mutex.owned
        assert repaired == [mutex]
    with mutex.recovering(repaired.append):
        assert repaired == [mutex]
    assert not mutex.owned


@pytest.mark.parametrize("takes_again", [False, True])
def test_a_repair_that_fails_leaves_it_abandoned(mutex: Mutex, takes_again: bool) -> None:
    def fail(mutex: Mutex) -> None:
        if takes_again:
            mutex.acquire()
        raise KeyError

    abandoned(mutex)
    with pytest.raises(KeyError), mutex.recovering(fail):
        pytest.fail("the body must not run")
    assert not mutex.owned
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()


def test_a_repair_that_releases_it_and_fails_tells_of_its_failure(mutex: Mutex) -> None:
    def fail(mutex: Mutex) -> None:
        mutex.release()
        raise KeyError

    abandoned(mutex)
    with pytest.raises(KeyError), mutex.recovering(fail):
        pytest.fail("the body must not run")
    assert mutex.wait_one(0)
    mutex.release()


def test_what_cannot_repair_is_refused(mutex: Mutex) -> None:
    with pytest.raises(TypeError, match="on_abandoned"):
        Mutex(on_abandoned=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="repairs"):
        mutex.recovering("x")  # type: ignore[arg-type]

    async def repair(_: Mutex) -> None:
        pytest.fail("nobody runs it")

    abandoned(mutex)
    with pytest.raises(TypeError, match="async with"), pytest.warns(RuntimeWarning, match="never awaited"):  # noqa: SIM117
        with mutex.recovering(repair):
            pytest.fail("the body must not run")
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()


def test_who_was_told_and_released_it_leaves_a_clean_mutex(name: str | None, run: Run, tmp_path: Path) -> None:
    """The process whose thread abandoned it does not report that again when it closes."""
    owner = Peer(run)
    owner(f"m = Mutex(name={name!r})")
    owner("import threading; t = threading.Thread(target=m.wait_one); t.start(); t.join()")
    other = Mutex(name=name) if name is not None else None
    told = owner.fork(tmp_path)
    if other is None:
        assert told.refusal("m.wait_one()").is_a(AbandonedMutexError)
        told("m.release()")
        owner("del m; import gc; gc.collect()")
        assert told.ask("m.wait_one()"), "nobody abandoned it since"
    else:
        with pytest.raises(AbandonedMutexError):
            other.wait_one()
        other.release()
        owner("m.close()")
        assert other.wait_one(), "nobody abandoned it since"
        other.release()
        told("m.close()")
        other.close()
    told.end()
    owner.end()


def test_a_forked_child_does_not_end_what_a_thread_of_its_parent_owns(tag: str, run: Run, tmp_path: Path) -> None:
    name = f"Global\\{tag}"
    peer = Peer(run)
    peer(
        f"import threading; m = Mutex(name={name!r}); taken, go = threading.Event(), threading.Event()\n"
        "def own():\n m.wait_one(); taken.set(); go.wait(); m.release()\n"
        "t = threading.Thread(target=own); t.start(); taken.wait(); m.close()"
    )
    mutex = Mutex(name=name)
    child = peer.fork(tmp_path)
    peer("go.set(); t.join()")
    child(f"Mutex(name='User{chr(92)}{chr(92)}{tag}').close()")  # any open looks after what was kept
    assert mutex.wait_one(LIMIT), "it was released"
    mutex.release()
    child.end()
    peer.end()
    mutex.close()


# -- closing


def test_after_close_nothing_is_possible_and_the_message_says_so(mutex: Mutex) -> None:
    mutex.close()
    mutex.close()
    assert mutex.closed
    operations = (mutex.wait_one, mutex.acquire, mutex.release, mutex.release_mutex, mutex.statistics, mutex.locked)
    for operation in operations:
        with pytest.raises(ClosedError, match="closed"):
            operation()
    with pytest.raises(ClosedError), mutex:
        pass
    assert "closed" in repr(mutex)


def test_the_last_close_removes_the_file(tag: str) -> None:
    first, second = Mutex(name=f"Global\\{tag}"), Mutex(name=f"Global\\{tag}")
    assert len(files_of(tag)) == 1
    first.close()
    assert len(files_of(tag)) == 1
    second.close()
    assert files_of(tag) == []


def test_closed_by_its_owner_it_is_abandoned(tag: str, run: Run) -> None:
    mutex = Mutex(name=f"Global\\{tag}")
    peer = Peer(run)
    peer(f"m = Mutex.open_existing({mutex.name!r})")
    mutex.wait_one()
    mutex.wait_one()
    mutex.close()
    assert peer.refusal("m.wait_one(5)").is_a(AbandonedMutexError)
    peer("m.release_mutex(); m.close()")
    peer.end()


def test_closed_by_another_thread_the_owner_goes_on_owning(name: str | None, run: Run) -> None:
    mutex = Mutex(name=name)
    taken, closed = threading.Event(), threading.Event()

    def own() -> bool:
        with mutex:
            taken.set()
            assert closed.wait(LIMIT)
        with pytest.raises(ClosedError):
            mutex.release()
        return True

    with ThreadPoolExecutor(1) as executor:
        owner = executor.submit(own)
        assert taken.wait(LIMIT)
        mutex.close()
        if name is not None:
            peer = Peer(run)
            peer(f"m = Mutex({name!r} == '', {name!r})")
            assert not peer.ask("m.created_new")
            assert not peer.ask("m.wait_one(0)")
        closed.set()
        assert owner.result(LIMIT)
        if name is not None:
            assert peer.ask("m.wait_one(5)"), "released, and not abandoned"
            peer("m.release(); m.close()")
            peer.end()


def test_a_thread_that_ends_after_the_close_leaves_nothing(tag: str) -> None:
    mutex = Mutex(name=f"Global\\{tag}")
    taken, go = threading.Event(), threading.Event()

    def own() -> None:
        mutex.wait_one()
        taken.set()
        go.wait(LIMIT)

    thread = threading.Thread(target=own)
    thread.start()
    assert taken.wait(LIMIT)
    mutex.close()
    assert len(files_of(tag)) == 1, "a thread of ours owns it"
    go.set()
    thread.join()

    def looked() -> bool:
        Mutex(name=f"Local\\{tag}").close()  # any other open or close looks after it
        return files_of(tag) == []

    until(looked, "its leftover is gone")


def test_a_wait_whose_mutex_is_closed_meanwhile_ends(tag: str) -> None:
    mutex, other = Mutex(True, f"Global\\{tag}"), Mutex(name=f"Global\\{tag}")
    with ThreadPoolExecutor(1) as executor:
        waiting = executor.submit(other.wait_one)
        until(lambda: mutex.statistics().has_waiters, "it waits")
        other.close()
        mutex.release_mutex()
        with pytest.raises(ClosedError):
            waiting.result(LIMIT)
    assert mutex.wait_one(0)
    mutex.release()
    mutex.close()


def test_dropped_unclosed_it_warns_and_gives_back(tag: str) -> None:
    mutex = Mutex(name=tag)
    mutex.wait_one()
    with pytest.warns(ResourceWarning, match=tag):
        del mutex
    assert files_of(tag) == []


def test_an_unnamed_one_needs_no_close() -> None:
    mutex = Mutex(True)
    del mutex
    gc.collect()


# -- names


@of_names
def test_open_existing_finds_what_somebody_has_open(name: str) -> None:
    with pytest.raises(WaitHandleNotFoundError, match="nobody has a mutex"):
        Mutex.open_existing(name)
    assert Mutex.try_open_existing(name) is None
    made = Mutex(name=name)
    found, tried = Mutex.open_existing(name), Mutex.try_open_existing(name)
    assert tried is not None
    assert (made.created_new, found.created_new, tried.created_new) == (True, False, False)
    for mutex in (made, found, tried):
        mutex.close()
    assert Mutex.try_open_existing(name) is None


def test_scopes_are_apart(tag: str) -> None:
    mutexes = [Mutex(True, prefix + tag) for prefix in ("User\\", "Global\\")]
    assert all(mutex.created_new for mutex in mutexes)
    for mutex in mutexes:
        mutex.close()


@pytest.mark.parametrize(
    "name", ["Global\\", "global\\x", "a\\b", "Global\\a\\b", "a/b", ".", "..", "x" * 256, "ä" * 128, "a\0b", "\ud800"]
)
def test_what_is_no_name_is_refused(name: str) -> None:
    for attempt in (Mutex.open_existing, Mutex.try_open_existing, lambda name: Mutex(name=name)):
        with pytest.raises(InvalidNameError):
            attempt(name)


def test_the_strict_rule_of_names_is_explained() -> None:
    with pytest.raises(InvalidNameError, match=r"\.NET.*255 bytes"):
        Mutex(name="x" * 256)


def test_odd_names_are_names(tag: str) -> None:
    for name in (f"{tag} %41 ~@;*", f"{tag}-ä-🙂", tag + "x" * (255 - len(tag))):
        with_name = Mutex(name=name)
        assert with_name.created_new
        with_name.close()


def test_no_name_and_wrong_types() -> None:
    mutex = Mutex(False, "")
    assert mutex.name is None
    mutex.close()
    with pytest.raises(ValueError, match="empty"):
        Mutex.open_existing("")
    for attempt in (Mutex.open_existing, Mutex.try_open_existing):
        with pytest.raises(TypeError):
            attempt(None)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name comes second"):
        Mutex("name")  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        Mutex(name=3)  # type: ignore[arg-type]


def test_the_trap_of_the_bare_name(tag: str) -> None:
    """A bare name is the user's here and the session's in .NET: both in use at once would be two mutexes for one."""
    session = Mutex(name=f"Local\\{tag}")
    for attempt in (lambda: Mutex(name=tag), lambda: Mutex.open_existing(tag)):
        with pytest.raises(WaitHandleCannotBeOpenedError, match=r"Local.*User"):
            attempt()
    explicit = Mutex(name=f"User\\{tag}")
    assert explicit.wait_one(0)
    assert session.wait_one(0), "two mutexes, and meant to be"
    with pytest.raises(WaitHandleCannotBeOpenedError, match=r"Local.*User"):
        Mutex(name=tag)
    session.close()
    bare = Mutex(name=tag)
    assert not bare.created_new
    explicit.close()
    for attempt in (lambda: Mutex(name=f"Local\\{tag}"), lambda: Mutex.open_existing(f"Local\\{tag}")):
        with pytest.raises(WaitHandleCannotBeOpenedError, match="bare name"):
            attempt()
    bare.close()
    Mutex(name=f"Local\\{tag}").close()


# -- processes


@of_names
def test_processes_exclude_each_other(name: str, run: Run) -> None:
    mutex = Mutex(name=name)
    peer = Peer(run)
    peer(f"m = Mutex(name={name!r})")
    assert not peer.ask("m.created_new")
    peer("m.wait_one()")
    assert not mutex.wait_one(0)
    assert not mutex.wait_one(0.01)
    assert mutex.statistics().owner_process == peer.pid
    peer("m.release_mutex()")
    assert mutex.wait_one(0)
    assert not peer.ask("m.wait_one(0)")
    mutex.release_mutex()
    peer("m.close()")
    peer.end()
    mutex.close()


def test_kill_gives_it_to_a_blocked_waiter_who_is_told(tag: str, run: Run) -> None:
    name = f"Global\\{tag}"
    mutex = Mutex(name=name)
    owner, waiter = Peer(run), Peer(run)
    owner(f"m = Mutex(name={name!r}); m.wait_one()")
    waiter(f"m = Mutex(name={name!r})")
    waiter.tell("run", "m.wait_one()")
    until(lambda: mutex.statistics().has_waiters, "it waits")
    owner.kill()
    refusal = waiter.answer()
    assert refusal.is_a(AbandonedMutexError)
    assert f"process {owner.pid}" in refusal.message
    assert waiter.ask("m.owned")
    waiter("m.release_mutex(); m.close()")
    waiter.end()
    mutex.close()


def test_a_stopped_owner_is_not_dead(tag: str, run: Run) -> None:
    name = f"Global\\{tag}"
    mutex = Mutex(name=name)
    owner = Peer(run)
    owner(f"m = Mutex(name={name!r}); m.wait_one()")
    os.kill(owner.pid, signal.SIGSTOP)
    try:
        assert not mutex.wait_one(2.5), "longer than any look whether the owner exists"
    finally:
        os.kill(owner.pid, signal.SIGCONT)
    owner("m.release_mutex(); m.close()")
    assert mutex.wait_one(LIMIT)
    mutex.release()
    owner.end()
    mutex.close()


def test_exit_while_owning_is_told_to_who_has_it_open(tag: str, run: Run) -> None:
    name = f"Global\\{tag}"
    mutex = Mutex(name=name)
    owner = Peer(run)
    owner(f"m = Mutex(name={name!r}); m.wait_one()")
    owner.end()
    with pytest.raises(AbandonedMutexError):
        mutex.wait_one(0)
    mutex.release()
    mutex.close()


def test_who_was_last_and_killed_leaves_nothing_that_counts(tag: str, run: Run) -> None:
    name = f"Global\\{tag}"
    owner = Peer(run)
    owner(f"m = Mutex(name={name!r}); m.wait_one()")
    owner.kill()
    assert len(files_of(tag)) == 1
    assert Mutex.try_open_existing(name) is None
    assert files_of(tag) == [], "the look has removed the leftover"
    mutex = Mutex(name=name)
    assert mutex.created_new
    assert mutex.wait_one(0)
    mutex.release()
    mutex.close()


def test_ctrl_c_ends_a_wait_and_the_mutex_is_not_owned(tag: str, run: Run) -> None:
    name = f"Global\\{tag}"
    mutex = Mutex(name=name)
    mutex.wait_one()
    for wait in ("m.wait_one()", "m.acquire()", "m.__enter__()", "m.wait_one(60)"):
        peer = Peer(run)
        peer(f"m = Mutex(name={name!r})")
        peer.tell("run", wait)
        until(lambda: mutex.statistics().has_waiters, "it waits")
        begin = time.monotonic()
        os.kill(peer.pid, signal.SIGINT)
        refusal = peer.answer()
        assert refusal.is_a(KeyboardInterrupt)
        assert time.monotonic() - begin < 5
        assert not peer.ask("m.owned")
        mutex.release()
        assert peer.ask("m.wait_one(5)")
        peer("m.release(); m.close()")
        peer.end()
        mutex.wait_one()
    mutex.release()
    mutex.close()


def test_a_signal_handler_that_takes_it_while_its_thread_waits(tag: str, run: Run) -> None:
    """It runs in the midst of the wait, in the thread that waits: the thread owns it twice then."""
    name = f"Global\\{tag}"
    mutex = Mutex(True, name)
    peer = Peer(run)
    peer(f"import signal; m = Mutex(name={name!r}); signal.signal(signal.SIGUSR1, lambda *_: m.wait_one())")
    peer.tell("ask", "m.wait_one()")
    until(lambda: mutex.statistics().has_waiters, "it waits")
    os.kill(peer.pid, signal.SIGUSR1)
    until(lambda: state(peer.pid) == "S", "it waits in its handler")
    mutex.release()
    assert peer.answer() is True
    peer("m.release(); m.release()")
    assert peer.refusal("m.release()").is_a(RuntimeError)
    peer("m.close()")
    peer.end()
    mutex.close()


def test_a_forked_child_owns_nothing_and_breaks_nothing(
    mutex: Mutex, name: str | None, run: Run, tmp_path: Path
) -> None:
    peer = Peer(run)
    peer(f"m = Mutex(name={name!r}); m.wait_one()")
    child: Forked = peer.fork(tmp_path)
    assert not child.ask("m.owned")
    assert child.refusal("m.release_mutex()").is_a(RuntimeError)
    assert not child.ask("m.wait_one(0)"), "the parent owns it"
    peer("m.release_mutex()")
    assert child.ask("m.wait_one(5)")
    assert not peer.ask("m.wait_one(0)")
    child("m.release_mutex(); m.close()")
    assert peer.ask("m.wait_one(0)")
    if name is not None:
        assert not mutex.wait_one(0), "the parent's is the same as before"
    peer("m.release_mutex(); m.close()")
    child.end()
    peer.end()
    gc.collect()


def test_a_forked_child_holds_the_name_for_itself(tag: str, run: Run, tmp_path: Path) -> None:
    name = f"Global\\{tag}"
    peer = Peer(run)
    peer(f"m = Mutex(name={name!r})")
    child = peer.fork(tmp_path)
    try:
        peer.kill()
        mutex = Mutex.open_existing(name)
        child("m.wait_one()")
        assert not mutex.wait_one(0)
        child("m.close()")
        with pytest.raises(AbandonedMutexError):
            mutex.wait_one(5)
        mutex.release()
        mutex.close()
        assert files_of(tag) == []
    finally:
        child.end()


def test_a_forked_child_that_outlives_its_parent_closes_last(tag: str, run: Run, tmp_path: Path) -> None:
    """What it inherited does not keep the name, even if something still refers to the closed mutex."""
    peer = Peer(run)
    peer(f"m = Mutex(name={f'Global{chr(92)}{tag}'!r})")
    child = peer.fork(tmp_path)
    try:
        peer.kill()
        child("core = m._core; m.close()")
        assert files_of(tag) == []
    finally:
        child.end()


def test_a_forked_child_has_as_many_as_its_parent(tag: str, run: Run, tmp_path: Path) -> None:
    """Each needs one descriptor more for a moment: beyond the ordinary limit, not beyond what the process may have."""
    name = f"Global\\{tag}"
    peer = Peer(run)
    peer("import resource; hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]")
    peer("resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))")
    peer(f"many = [Mutex(name={name!r} + str(i)) for i in range(200)]")
    child = peer.fork(tmp_path)
    peer.kill()
    for i in (0, 199):
        mutex = Mutex.open_existing(f"{name}{i}")
        child(f"many[{i}].wait_one()")
        assert not mutex.wait_one(0)
        child(f"many[{i}].release()")
        mutex.close()
    child("for m in many: m.close()")
    child.end()


def test_a_forked_child_that_cannot_have_it_says_so(tag: str, run: Run, tmp_path: Path) -> None:
    name = f"Global\\{tag}"
    peer = Peer(run)
    peer("import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (256, 256))")
    peer(f"many = [Mutex(name={name!r} + str(i)) for i in range(200)]")
    child = peer.fork(tmp_path)
    refused = child.refusal("for m in many: m.wait_one(0); m.release()")
    assert refused.is_a(DamagedObjectError)
    assert "descriptors" in refused.message
    peer("for m in many: m.wait_one(0); m.release()")
    child.end()
    peer("for m in many: m.close()")
    peer.end()


def test_a_forked_child_that_ends_leaves_its_parents_mutex_alone(tag: str, run: Run, tmp_path: Path) -> None:
    name = f"Global\\{tag}"
    peer = Peer(run)
    peer(f"m = Mutex(True, {name!r})")
    peer.fork(tmp_path).end()
    assert peer.ask("m.owned")
    assert len(files_of(tag)) == 1
    mutex = Mutex.open_existing(name)
    assert not mutex.wait_one(0)
    peer("m.release(); m.close()")
    assert mutex.wait_one(0)
    mutex.release()
    mutex.close()
    peer.end()


def test_a_child_that_executes_another_program_has_nothing(tag: str) -> None:
    mutex = Mutex(name=f"Global\\{tag}")
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, close_fds=False)
    mutex.close()
    assert files_of(tag) == []
    program.communicate(b"\n", LIMIT)


def test_it_is_pickled_by_name(tag: str) -> None:
    mutex = Mutex(name=tag)
    packed = pickle.dumps(mutex)
    same: Mutex = pickle.loads(packed)
    mutex.wait_one()
    assert same.owned
    mutex.release()
    same.close()
    mutex.close()
    with pytest.raises(WaitHandleNotFoundError):
        pickle.loads(packed)
    for _ in range(3):  # on some file systems it has the old one's number at once
        newer = Mutex(name=tag)
        with pytest.raises(WaitHandleNotFoundError, match="made anew"):
            pickle.loads(packed)
        newer.close()
    with pytest.raises(TypeError, match="name"):
        pickle.dumps(Mutex())
    with pytest.raises(TypeError):
        pickle.dumps(mutex)


def test_the_report_of_an_abandonment_reaches_another_process(mutex: Mutex) -> None:
    abandoned(mutex)
    with pytest.raises(AbandonedMutexError) as told:
        mutex.wait_one(0)
    copy: AbandonedMutexError = pickle.loads(pickle.dumps(told.value))
    assert str(copy) == str(told.value)
    assert (copy.mutex, copy.owned, copy.mutex_index) == (None, False, -1)
    assert copy.previous_owner == told.value.previous_owner
    mutex.release()


def test_a_removed_file_is_told_and_its_name_is_another_mutex(tag: str) -> None:
    mutex = Mutex(name=tag)
    assert mutex.name_alive
    files_of(tag)[0].unlink()
    assert not mutex.name_alive
    other = Mutex(name=tag)
    assert other.created_new
    assert other.name_alive
    assert mutex.wait_one(0)
    mutex.close()
    assert other.name_alive
    assert other.wait_one(0)
    other.close()
    assert not other.name_alive
    assert not Mutex().name_alive


def test_many_at_once(tag: str) -> None:
    mutexes = [Mutex(name=f"{tag}-{i}") for i in range(1000)]
    for mutex in mutexes:
        mutex.wait_one()
    for mutex in mutexes[::2] + mutexes[1::2]:
        mutex.release()
    for mutex in mutexes:
        mutex.close()


def test_more_than_the_kernel_gives_back_are_refused() -> None:
    """It looks through 2048 entries of a dead thread's list, and would leave the others locked."""
    mutexes = [Mutex() for _ in range(2001)]
    for mutex in mutexes[:2000]:
        mutex.wait_one()
    with pytest.raises(RuntimeError, match="2000 mutexes"):
        mutexes[2000].wait_one()
    for mutex in reversed(mutexes[:2000]):  # the last taken is the first in the list
        mutex.release()
    assert mutexes[2000].wait_one()
    mutexes[2000].release()


def test_threads_count_exactly(mutex: Mutex) -> None:
    count = 0

    def work() -> None:
        nonlocal count
        for _ in range(2000):
            with mutex:
                before = count
                if before % 97 == 0:
                    time.sleep(0)
                count = before + 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(LIMIT)
    assert count == 8000


def test_statistics_tell_what_is_known(mutex: Mutex, name: str | None) -> None:
    mutex.wait_one()
    seen = mutex.statistics()
    assert (seen.owner_process, seen.owner_thread) == (os.getpid(), threading.get_native_id())
    assert (seen.handles, seen.acquisitions, seen.waits, seen.abandonments) == (1, 1, 0, 0)
    assert not in_thread(lambda: mutex.wait_one(0.001))
    assert mutex.statistics().waits == 1
    assert "this thread" in repr(mutex)
    assert f"process {os.getpid()}" in in_thread(lambda: repr(mutex))
    mutex.release()
    assert mutex.statistics().owner_process is None
    assert "free" in repr(mutex)

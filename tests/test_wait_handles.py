# SPDX-License-Identifier: MIT
"""What holds for events and semaphores alike: names, lifetime, scopes, waits, time-outs, deaths, bad files."""

from __future__ import annotations

import math
import os
import pickle
import random
import signal as signals
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from peers import NOBODY, Peer, needs_root, peers
from programs import finished, state, until
from root import SHM, descriptors, objects
from support.actors import PRELUDE, Actor
from support.here import WINDOWS
from support.waits import (
    AT_ONCE,
    BEFORE,
    FOLDER,
    KINDS,
    MAKERS,
    SLACK,
    file_of,
    in_thread,
    made,
    put_word,
    signal,
    waiting,
)

from memorymapped import (
    ClosedError,
    DamagedObjectError,
    FairMutex,
    ForeignObjectError,
    InvalidNameError,
    MemoryFaultError,
    MemoryMappedFile,
    Mutex,
    OutOfRangeError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)
from memorymapped.sync.events import AutoResetEvent, EventResetMode, EventWaitHandle, ManualResetEvent
from memorymapped.sync.semaphores import Semaphore

if not WINDOWS:
    import resource

    from memorymapped.system.linux import mutexes
    from memorymapped.system.linux import signals as signals_of_names
    from memorymapped.system.linux.signals import is_live

MakePeer = Callable[..., Peer]
NAMES = ("n", "User\\n", "Local\\n", "Global\\n", "what is too long for a file's name / " + "ü😀" * 60)

each_kind = pytest.mark.parametrize("kind", KINDS)
each_name = pytest.mark.parametrize("name", NAMES, ids=["bare", "user", "local", "global", "long"])


@pytest.fixture
def peer(run: Callable[..., subprocess.Popen[str]]) -> Iterator[MakePeer]:
    with peers(run, before=BEFORE) as make:
        yield make


def opened(kind: str, name: str) -> Any:
    return (Semaphore if kind == "semaphore" else EventWaitHandle).open_existing(name)


def is_free(kind: str, name: str) -> bool:
    try:
        opened(kind, name).close()
    except WaitHandleNotFoundError:
        return True
    return False


# ------------------------------------------------------------------------------------------------------------- names


@each_kind
@each_name
def test_a_signal_here_lets_a_waiter_there_go_on(peer: MakePeer, kind: str, name: str) -> None:
    other = peer()
    with_it = made(kind, name)
    other("h = " + MAKERS[kind].format(on=True, name=name))
    assert (with_it.created_new, other.ask("h.created_new"), with_it.name) == (True, False, name)
    other.tell("ask", "h.wait_one()")
    waiting(with_it)
    signal(with_it)
    assert other.answer() is True
    other("h.close()")
    with_it.close()
    assert is_free(kind, name)


@each_kind
def test_no_name_is_a_new_one_each_time(kind: str) -> None:
    for name in (None, ""):
        one, other = made(kind, name, True), made(kind, name)
        assert (one.name, one.created_new) == (None, True)
        assert (one.wait_one(0), other.wait_one(0)) == (True, False)
        assert repr(one).startswith(f"<{type(one).__name__} unnamed")
    assert objects() == []


@each_kind
def test_names_are_checked(kind: str) -> None:
    cls = type(made(kind))
    for name in ("a\\b\\c", "Global\\", "global\\n", "nul\0", "\ud800"):
        for use in (cls.open_existing, cls.try_open_existing, lambda name: made(kind, name)):
            with pytest.raises(InvalidNameError):
                use(name)
    for use in (cls.open_existing, cls.try_open_existing):
        with pytest.raises(TypeError):
            use(None)
        with pytest.raises(ValueError, match="empty"):
            use("")
    for wrong in (7, b"n", ["n"], {}):
        with pytest.raises(TypeError, match=f"a name is a str, not {type(wrong).__name__}"):
            made(kind, wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=f"a name is a str, not {type(wrong).__name__}"):
            cls.open_existing(wrong)


@each_kind
@each_name
def test_only_what_somebody_holds_can_be_opened(kind: str, name: str) -> None:
    cls = type(made(kind))
    with pytest.raises(WaitHandleNotFoundError, match="nobody holds") as caught:
        cls.open_existing(name)
    assert isinstance(caught.value, FileNotFoundError)
    assert cls.try_open_existing(name) is None
    one = made(kind, name, True)
    other = cls.try_open_existing(name)
    assert (other.created_new, other.name, other.wait_one(0)) == (False, name, True)
    one.close()
    assert not is_free(kind, name)
    other.close()
    assert is_free(kind, name)


@each_kind
def test_another_kind_under_the_name_is_refused(kind: str) -> None:
    others = [other for other in KINDS if (other == "semaphore") != (kind == "semaphore")]
    for name in ("n", "Global\\n"):
        held = made(kind, name)
        for other in others:
            with pytest.raises(WaitHandleCannotBeOpenedError, match=r"is an? (event|semaphore), not") as caught:
                made(other, name)
            assert not isinstance(caught.value, FileNotFoundError)
            with pytest.raises(WaitHandleCannotBeOpenedError, match=r"not an?"):
                type(made(other)).open_existing(name)
            assert type(made(other)).try_open_existing(name) is None
        held.close()
        for other in others:
            made(other, name).close()


@each_kind
@pytest.mark.parametrize("scope", ["", "Local\\", "Global\\"])
@pytest.mark.parametrize("mutex", [Mutex, FairMutex])
def test_a_mutex_of_the_name_is_another_kind(tag: str, mutex: Any, scope: str, kind: str) -> None:
    """As everywhere in .NET, where all kinds share their names."""
    name = scope + tag
    cls = type(made(kind))
    with closing(mutex(name=name)):
        for use in (lambda: made(kind, name), lambda: cls.open_existing(name)):
            with pytest.raises(WaitHandleCannotBeOpenedError, match=r"is a (fair )?mutex, not an? (event|semaphore)"):
                use()
        assert cls.try_open_existing(name) is None
        assert mutex.open_existing(name).close() is None
    handle = made(kind, name)
    for use in (lambda: mutex(name=name), lambda: mutex.open_existing(name), lambda: mutex(True, name)):
        with pytest.raises(WaitHandleCannotBeOpenedError, match=r"is an? (event|semaphore), not a (fair )?mutex"):
            use()
    handle.close()
    mutex(name=name).close()  # nothing was left by the refusals


def test_of_two_that_create_a_name_at_once_as_two_kinds_one_sees_the_other(
    tag: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever looks for the other kind can be seen by then."""
    seen = []
    refuse = mutexes._refuse_other_kind

    def look(name: Any) -> None:
        seen.append(mutexes.is_in_use(name))
        refuse(name)

    monkeypatch.setattr(mutexes, "_refuse_other_kind", look)
    Mutex(name=tag).close()
    assert seen == [True]
    monkeypatch.setattr(signals_of_names, "refuse_other_kind", lambda name, kind: seen.append(is_live(name, kind)))
    made("semaphore", tag).close()
    assert seen == [True, True]


def test_a_map_may_have_the_same_name() -> None:
    with MemoryMappedFile.create_new("n", 10), AutoResetEvent(name="n") as event:
        assert event.created_new
        assert sorted(path.name for path in FOLDER.iterdir()) == ["n.event", "n.map"]


@each_kind
def test_the_descriptor_of_one_is_no_map(kind: str) -> None:
    handle = made(kind, "n")
    with MemoryMappedFile.from_descriptor(os.open(file_of(kind, "n"), os.O_RDWR)) as map_:
        assert map_.name is None
    handle.close()


# ---------------------------------------------------------------------------------------------------------- lifetime


@each_kind
@each_name
def test_the_name_ends_with_its_last_holder_however_that_ends(peer: MakePeer, kind: str, name: str) -> None:
    """And what was signalled is kept as long as there is one."""
    one, two = peer(), peer()
    one("h = " + MAKERS[kind].format(on=True, name=name))
    two("h = " + MAKERS[kind].format(on=False, name=name))
    one.kill()
    assert not is_free(kind, name)
    assert two.ask("h.wait_one(0)") is True
    two.kill()
    assert is_free(kind, name)
    handle = made(kind, name)
    assert handle.created_new
    assert not handle.wait_one(0)
    handle.close()


@each_kind
def test_at_exit_nothing_is_left(run: Any, kind: str) -> None:
    code = BEFORE + "h = " + MAKERS[kind].format(on=True, name="n")
    process = run(code, stderr=subprocess.PIPE)
    _, said = process.communicate(timeout=30)
    assert (process.returncode, said) == (0, "")
    assert objects() == []


@each_kind
def test_the_name_says_whether_it_still_leads_here(kind: str) -> None:
    handle = made(kind, "n")
    assert handle.name_alive
    file_of(kind, "n").unlink()
    assert not handle.name_alive
    second = made(kind, "n")
    assert second.created_new
    second.close()
    handle.close()
    assert not made(kind).name_alive


@each_kind
def test_a_thousand_at_once_and_what_they_leave(kind: str) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
    made(kind, "opens the folder").close()
    before = descriptors()
    maps = len(Path("/proc/self/maps").read_text().splitlines())
    try:
        handles = [made(kind, f"n{i}" if i % 2 else None) for i in range(2000)]
        for handle in handles:
            signal(handle)
        assert all(handle.wait_one(0) for handle in handles)
        for handle in handles:
            handle.close()
        for _ in range(1000):
            made(kind, "again").close()
            made(kind)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert descriptors() == before
    assert len(Path("/proc/self/maps").read_text().splitlines()) < maps + 50
    assert objects() == []


# ------------------------------------------------------------------------------------------------------------ closed

USES = {
    "wait_one": lambda h: h.wait_one(0),
    "statistics": lambda h: h.statistics(),
    "pickle": pickle.dumps,
    "signal": signal,
}


@each_kind
@pytest.mark.parametrize("name", [None, "n"])
def test_a_closed_one_refuses_everything_and_closes_again(kind: str, name: str | None) -> None:
    handle = made(kind, name, True)
    assert not handle.closed
    handle.close()
    handle.close()
    handle.dispose()
    assert handle.closed
    for use in USES.values():
        with pytest.raises(ClosedError, match="closed"):
            use(handle)
    more = (
        [lambda: handle.acquire(), lambda: handle.__enter__(), lambda: handle.__exit__(None, None, None)]
        if kind == "semaphore"
        else [lambda: handle.reset(), lambda: handle.is_set(), lambda: handle.wait(0), lambda: handle.__enter__()]
    )
    for other in more:
        with pytest.raises(ClosedError):
            other()
    assert handle.name == name
    assert repr(handle).endswith(", closed>")


@each_kind
def test_one_that_was_never_made_counts_as_closed(kind: str) -> None:
    cls = type(made(kind))
    handle = cls.__new__(cls)
    assert handle.closed
    for use in USES.values():
        with pytest.raises(ClosedError):
            use(handle)
    handle.close()


@each_kind
def test_one_is_not_made_twice(kind: str) -> None:
    handle = made(kind, "n")
    arguments: tuple[Any, ...] = (1, 3, "m") if kind == "semaphore" else (True, "m")
    with pytest.raises(RuntimeError, match="made already"):
        handle.__init__(*arguments)
    assert is_free(kind, "m")
    assert not handle.wait_one(0)
    handle.close()


@each_kind
@pytest.mark.parametrize("name", [None, "n"])
def test_closing_wakes_the_threads_that_wait_by_it_and_nobody_else(kind: str, name: str | None) -> None:
    handle = made(kind, name)
    threads = [in_thread(handle.wait_one) for _ in range(3)]
    beside = opened(kind, "n") if name else None
    waiting(handle, 3)
    other = in_thread(beside.wait_one) if beside else None
    if beside:
        waiting(beside, 4)
    handle.close()
    for thread in threads:
        with pytest.raises(ClosedError):
            thread.result(5)
    if beside and other:
        waiting(beside, 1)
        signal(beside)
        assert other.result() is True
        assert beside.statistics().waiters == 0
        beside.close()


@each_kind
def test_closing_wakes_them_at_once(kind: str) -> None:
    delays = []
    for _ in range(7):
        handle = made(kind)
        thread = in_thread(handle.wait_one)
        waiting(handle)
        began = time.monotonic()
        handle.close()
        with pytest.raises(ClosedError):
            thread.result(5)
        delays.append(time.monotonic() - began)
    assert statistics.median(delays) < AT_ONCE


def test_a_named_one_that_is_dropped_unclosed_is_warned_of() -> None:
    for kind in KINDS:
        with pytest.warns(ResourceWarning, match=r"unclosed <\w+ 'n'"):
            made(kind, "n")
        assert is_free(kind, "n")
        made(kind)  # unnamed: there is nothing to close


# ------------------------------------------------------------------------------------------------------------- waits


@each_kind
@pytest.mark.parametrize("timeout", [0, 0.0, 0.05, timedelta(milliseconds=50), timedelta(0)])
def test_a_wait_ends_with_its_time_and_not_before(kind: str, timeout: Any) -> None:
    handle = made(kind)
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    began = time.monotonic()
    assert handle.wait_one(timeout) is False
    assert seconds <= time.monotonic() - began + 1e-6 < seconds + 0.25 + SLACK
    assert handle.statistics().waiters == 0


@each_kind
@pytest.mark.parametrize("timeout", [None, -1, -1.0, math.inf, timedelta(days=999999), 10**12, 0, 5])
def test_what_is_there_is_taken_at_once_with_any_time(kind: str, timeout: Any) -> None:
    assert made(kind, None, True).wait_one(timeout) is True


@each_kind
@pytest.mark.parametrize("timeout", [-2, -0.5, math.nan, -math.inf, timedelta(seconds=-2)])
def test_times_that_cannot_be_are_refused_first(kind: str, timeout: Any) -> None:
    handle = made(kind, None, True)
    with pytest.raises(OutOfRangeError):
        handle.wait_one(timeout)
    assert handle.wait_one(0)
    handle.close()
    with pytest.raises(OutOfRangeError):
        handle.wait_one(timeout)


@each_kind
def test_what_is_no_time_is_refused(kind: str) -> None:
    for timeout in ("1", b"1", [], object()):
        with pytest.raises(TypeError):
            made(kind).wait_one(timeout)


@each_kind
@pytest.mark.parametrize("timeout", ["", "60", "-1"])
def test_ctrl_c_ends_a_wait(kind: str, timeout: str) -> None:
    with Actor(prelude=PRELUDE + BEFORE) as other:
        handle = made(kind, "n")
        other.do("h = " + MAKERS[kind].format(on=False, name="n"))
        other.send(f"try: h.wait_one({timeout})\nexcept KeyboardInterrupt: _result = time.monotonic()")
        waiting(handle)
        began = time.monotonic()
        os.kill(other.pid, signals.SIGINT)
        assert other.answer() - began < 0.25 + SLACK
        assert handle.statistics().waiters == 0
        signal(handle)
        assert other.get("h.wait_one()") is True
        handle.close()
        assert other.finish() == 0


@each_kind
def test_a_signal_handler_may_signal_what_its_thread_waits_for(peer: MakePeer, kind: str) -> None:
    other, handle = peer(), made(kind, "n")
    other("h = " + MAKERS[kind].format(on=False, name="n"))
    call = "release" if kind == "semaphore" else "set"
    other(f"signal.signal(signal.SIGUSR1, lambda *_: h.{call}())")
    other.tell("ask", "h.wait_one()")
    waiting(handle)
    os.kill(other.pid, signals.SIGUSR1)
    assert other.answer() is True
    handle.close()


@each_kind
def test_a_signal_handler_may_close_what_its_thread_waits_for(peer: MakePeer, kind: str) -> None:
    other, handle = peer(), made(kind, "n")
    other("h = " + MAKERS[kind].format(on=False, name="n") + "\nsignal.signal(signal.SIGUSR1, lambda *_: h.close())")
    other.tell("run", "h.wait_one()")
    waiting(handle)
    os.kill(other.pid, signals.SIGUSR1)
    assert other.answer().is_a(ClosedError)
    handle.close()


@each_kind
def test_a_wait_lets_other_threads_run(kind: str) -> None:
    handle = made(kind)
    thread = in_thread(handle.wait_one)
    waiting(handle)
    signal(handle)
    assert thread.result() is True


@each_kind
def test_a_wait_uses_no_processor(peer: MakePeer, kind: str) -> None:
    other = peer()
    other("h = " + MAKERS[kind].format(on=False, name=None) + "\nbefore = time.process_time()")
    assert other.ask("h.wait_one(1.0)") is False
    assert other.ask("time.process_time() - before") < 0.1


@each_kind
def test_a_wait_takes_a_wake_that_was_for_nothing(kind: str) -> None:
    handle, closed_soon = made(kind, "n"), made(kind, "n")
    thread = in_thread(handle.wait_one)
    other = in_thread(closed_soon.wait_one)
    waiting(handle, 2)
    closed_soon.close()  # wakes all, also those who wait by another object
    with pytest.raises(ClosedError):
        other.result()
    waiting(handle, 1)
    signal(handle)
    assert thread.result() is True
    handle.close()


@each_kind
def test_without_waiters_there_is_no_system_call(kind: str) -> None:
    code = (
        "from support import killer\n"
        f"h = {MAKERS[kind].format(on=False, name=None)}\n"
        f"call = h.{'release' if kind == 'semaphore' else 'set'}\n"
        "reason = killer.unavailable()\n"
        "if reason is None:\n"
        "    victim = killer.Victim(lambda: None, lambda: (call(), h.wait_one(), h.wait_one(0)))\n"
        "    stop = victim.run_to(1)\n"
        "    victim.end()\n"
        "    reason = str(stop)\n"
        "_result = reason"
    )
    with Actor(prelude=PRELUDE + BEFORE) as other:
        said = other.do("import gc\ngc.disable()\n" + code)
        assert other.finish() == 0
    if not said.endswith("stops"):
        pytest.skip(said) if "traced" in said or "not known" in said else pytest.fail(said)
    assert said == "after the last of 0 stops"


# ------------------------------------------------------------------------------------------------------------ deaths


@each_kind
def test_a_signal_whose_wake_never_comes_is_seen_within_250_ms(peer: MakePeer, kind: str) -> None:
    """As from a process that is killed between the two."""
    other, handle = peer(), made(kind, "n")
    other("h = " + MAKERS[kind].format(on=False, name="n"))
    for _ in range(2):
        other.tell("ask", "h.wait_one(), time.monotonic()")
        waiting(handle)
        began = time.monotonic()
        put_word(file_of(kind, "n"), 1)
        taken, ended = other.answer()
        assert taken
        assert ended - began < 0.25 + SLACK
        put_word(file_of(kind, "n"), 0)
    handle.close()


@each_kind
def test_a_waiter_that_is_killed_strands_nobody(peer: MakePeer, kind: str) -> None:
    one, two = peer(), peer()
    name = f"killed-{kind}"  # of its own: on Windows a count may outlive who is killed by a moment
    handle = made(kind, name)
    for other in (one, two):
        other("h = " + MAKERS[kind].format(on=False, name=name))
        other.tell("ask", "h.wait_one()")
    waiting(handle, 2)
    one.kill()
    began = time.monotonic()
    signal(handle)
    assert two.answer() is True
    assert time.monotonic() - began < 0.25 + SLACK
    assert handle.statistics().waiters == 1  # the killed one is still counted
    assert not is_free(kind, name)
    handle.close()


@each_kind
def test_a_waiter_that_is_stopped_keeps_nothing_from_others(peer: MakePeer, kind: str) -> None:
    one, two = peer(), peer()
    handle = made(kind, "n")
    for count, other in enumerate((one, two), 1):
        other("h = " + MAKERS[kind].format(on=False, name="n"))
        other.tell("ask", "h.wait_one()")
        waiting(handle, count)
    os.kill(one.pid, signals.SIGSTOP)
    until(lambda: state(one.pid) == "T", "it is stopped")
    began = time.monotonic()
    signal(handle)
    assert two.answer() is True
    assert time.monotonic() - began < 0.25 + SLACK
    one.kill()
    handle.close()


@each_kind
def test_a_signaller_that_is_killed_leaves_the_signal(peer: MakePeer, kind: str) -> None:
    other, handle = peer(), made(kind, "n")
    other("h = " + MAKERS[kind].format(on=False, name="n"))
    other("h.release()" if kind == "semaphore" else "h.set()")
    other.kill()
    assert handle.wait_one(0)
    handle.close()


# -------------------------------------------------------------------------------------------------------------- fork


@each_kind
@pytest.mark.parametrize("name", [None, "n"])
def test_a_forked_child_shares_it(peer: MakePeer, tmp_path: Path, kind: str, name: str | None) -> None:
    parent = peer()
    parent("h = " + MAKERS[kind].format(on=False, name=name))
    child = parent.fork(tmp_path)
    child.tell("ask", "h.wait_one()")
    until(lambda: parent.ask("h.statistics().waiters") == 1, "the child waits")
    parent("h.release()" if kind == "semaphore" else "h.set()")
    assert child.answer() is True
    child("h.release()" if kind == "semaphore" else "h.set()")
    child("h.close()")
    assert parent.ask("h.wait_one(0)") is True
    assert parent.ask("h.closed") is False


@each_kind
def test_a_forked_child_holds_by_itself(peer: MakePeer, tmp_path: Path, kind: str) -> None:
    parent = peer()
    parent("h = " + MAKERS[kind].format(on=True, name="n"))
    child, second = parent.fork(tmp_path), parent.fork(tmp_path)
    second("h.close()")
    assert not is_free(kind, "n")
    parent.kill()
    assert not is_free(kind, "n")
    assert child.ask("h.wait_one(0)") is True
    child.kill()
    assert is_free(kind, "n")
    second.end()


# ------------------------------------------------------------------------------------------------------------ pickle


@each_kind
@each_name
def test_it_is_pickled_by_its_name(peer: MakePeer, kind: str, name: str) -> None:
    other, handle = peer(), made(kind, name)
    packed = pickle.dumps(handle)
    other(f"h = pickle.loads({packed!r})")
    assert other.ask("(h.name, h.created_new, type(h).__name__)") == (name, False, type(handle).__name__)
    signal(handle)
    assert other.ask("h.wait_one(0)") is True
    handle.close()
    other("h.close()")
    with pytest.raises(WaitHandleNotFoundError):
        pickle.loads(packed)


@each_kind
@pytest.mark.parametrize("name", ["n", "Global\\n"])
def test_a_pickle_of_another_generation_is_refused_and_holds_nothing(kind: str, name: str) -> None:
    handle = made(kind, name)
    packed = pickle.dumps(handle)
    kept = os.open(handle._backing.path, os.O_RDONLY)  # so that the inode is not given to the next
    handle.close()
    newer = made(kind, name)
    with pytest.raises(WaitHandleNotFoundError, match="a newer one"):
        pickle.loads(packed)
    newer.close()
    os.close(kept)
    assert is_free(kind, name)


@each_kind
def test_nor_one_that_has_got_the_same_inode_number(kind: str) -> None:
    """Some file systems give it to the next file at once. The mark tells."""
    handle = made(kind, "n")
    reopen, (cls, name, generation) = handle.__reduce__()
    if generation[2] == 0:
        pytest.skip("this file system knows no birth of a file")
    reopen(cls, name, generation).close()
    reopen(cls, name, (*generation[:2], 0)).close()  # pickled where it could not be known
    with pytest.raises(WaitHandleNotFoundError, match="a newer one"):
        reopen(cls, name, (*generation[:2], generation[2] ^ 1))
    handle.close()
    assert is_free(kind, "n")


def test_an_unnamed_one_is_not_pickled() -> None:
    for kind in KINDS:
        with pytest.raises(TypeError, match="Give it a name"):
            pickle.dumps(made(kind))


PROGRAM = """
import multiprocessing, sys
from memorymapped.sync.events import AutoResetEvent
from memorymapped.sync.semaphores import Semaphore

def work(event, semaphore):
    with semaphore:
        event.set()
    event.close()
    semaphore.close()

if __name__ == "__main__":
    context = multiprocessing.get_context(sys.argv[1])
    with AutoResetEvent(name="e") as event:
        semaphore = Semaphore(0, 1, "s")
        child = context.Process(target=work, args=(event, semaphore))
        child.start()
        assert not event.wait_one(0)
        semaphore.release()
        assert event.wait_one(30)
        child.join()
        assert child.exitcode == 0
        assert semaphore.statistics().count == 1
        semaphore.close()
"""


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_they_are_arguments_of_multiprocessing(tmp_path: Path, method: str) -> None:
    (tmp_path / "program.py").write_text(PROGRAM)
    ignored = "ignore::DeprecationWarning:multiprocessing"
    done = finished(sys.executable, "-W", "error", "-W", ignored, "program.py", method, cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


# ------------------------------------------------------------------------------------------------------------ scopes


@each_kind
def test_a_local_name_is_the_sessions(run: Any, kind: str) -> None:
    handle = made(kind, "Local\\n", True)
    with peers(run, before=BEFORE, start_new_session=True) as make:
        other = make()
        other("h = " + MAKERS[kind].format(on=False, name="Local\\n"))
        assert other.ask("h.created_new") is True
        assert other.ask("h.wait_one(0)") is False
        other("h.close()")
    handle.close()


def test_a_bare_name_is_the_users() -> None:
    with AutoResetEvent(name="n") as one, AutoResetEvent(name="User\\n") as same:
        assert (one.created_new, same.created_new) == (True, False)
        assert one._order() == same._order()


@pytest.fixture
def shared_root() -> Iterator[Path]:
    """A root that every user may write to."""
    with tempfile.TemporaryDirectory(prefix="memorymapped-tests-root-", dir=SHM) as folder:
        Path(folder).chmod(0o1777)
        yield Path(folder)


@needs_root
@each_kind
def test_a_global_one_is_for_all_users(run: Any, shared_root: Path, kind: str) -> None:
    name = "Global\\n"
    with peers(run, before=BEFORE, root=shared_root) as make:
        one, two = make(uid=NOBODY), make(uid=NOBODY - 1)
        one("os.umask(0o077)")
        for other in (one, two):
            other("h = " + MAKERS[kind].format(on=False, name=name))
        assert (one.ask("h.created_new"), two.ask("h.created_new")) == (True, False)
        for waiter, setter in ((one, two), (two, one)):
            waiter.tell("ask", "h.wait_one()")
            until(lambda setter=setter: setter.ask("h.statistics().waiters") == 1, "the other waits")
            setter("h.release()" if kind == "semaphore" else "h.set()")
            assert waiter.answer() is True
            if kind == "manual":
                setter("h.reset()")
        one.kill()
        two("g = type(h).open_existing('Global\\\\n')\ng.close()")
        two("h.close()")
        assert two.ask("type(h).try_open_existing('Global\\\\n')") is None


@needs_root
@each_kind
def test_a_users_own_one_is_nobody_elses(run: Any, shared_root: Path, kind: str) -> None:
    with peers(run, before=BEFORE, root=shared_root) as make:
        one, two = make(uid=NOBODY), make(uid=NOBODY - 1)
        for other in (one, two):
            other("h = " + MAKERS[kind].format(on=False, name="n"))
            assert other.ask("h.created_new") is True
        one("h.release()" if kind == "semaphore" else "h.set()")
        assert two.ask("h.wait_one(0)") is False


# --------------------------------------------------------------------------------------------------------- bad files


@each_kind
def test_what_is_no_record_is_refused_and_left_alone(kind: str) -> None:
    handle = made(kind, "n")
    file = file_of(kind, "n")
    good = file.read_bytes()
    assert len(good) == 64
    for bad in (
        b"",
        good[:10],
        good[:63],
        bytes(64),
        b"x" + good[1:],
        good[:8] + b"MAPP" + good[12:],
        good[:12] + b"\2" + good[13:],  # a version that is not known
        good[:16] + b"\xff\xff\xff\xff" + good[20:],
        good[:20] + b"\1" + good[21:],
        random.Random(3).randbytes(64),
    ):
        os.truncate(file, 0)
        file.write_bytes(bad)
        for use in (lambda: opened(kind, "n"), lambda: made(kind, "n")):
            with pytest.raises(DamagedObjectError, match=r"not that of an? (event|semaphore)") as caught:
                use()
            assert caught.value.errno is not None
        assert file.read_bytes() == bad
    file.write_bytes(good)
    opened(kind, "n").close()
    handle.close()
    assert objects() == []


@each_kind
def test_words_of_any_value_do_no_harm(kind: str) -> None:
    handle = made(kind, "n")
    dice = random.Random(4)
    values = [1, 2, 3, 4, 2**31 - 1, 2**31, 2**32 - 1, *(dice.getrandbits(32) for _ in range(50))]
    for value in values:
        put_word(file_of(kind, "n"), value)
        statistics = handle.statistics()
        taken = handle.wait_one(0)
        assert taken is (bool(value % 2) if kind == "manual" else True)
        if kind == "semaphore":
            assert statistics.count == value
            put_word(file_of(kind, "n"), value)
            if value > 2:
                with pytest.raises(ValueError, match="maximum"):
                    handle.release()
            assert handle.wait_one(0)
        else:
            handle.set()
            assert handle.wait_one(0)
            handle.reset()
            assert not handle.wait_one(0)
    put_word(file_of(kind, "n"), 0)
    fd = os.open(file_of(kind, "n"), os.O_RDWR)
    os.pwrite(fd, b"\xff\xff\xff\xff", 36)  # waiters
    os.close(fd)
    signal(handle)
    assert handle.wait_one(0)
    handle.close()


@each_kind
def test_something_else_in_its_place_is_refused_and_left_alone(kind: str, tmp_path: Path) -> None:
    holder = made(kind, "holder")
    file = file_of(kind, "n")
    (tmp_path / "target").write_bytes(b"kept")
    file.symlink_to(tmp_path / "target")
    with pytest.raises(ForeignObjectError, match="symbolic link"):
        made(kind, "n")
    assert (tmp_path / "target").read_bytes() == b"kept"
    file.unlink()
    file.mkdir()
    with pytest.raises(ForeignObjectError, match="not a plain file"):
        made(kind, "n")
    file.rmdir()
    os.mkfifo(file)
    with pytest.raises(ForeignObjectError, match="not a plain file"):
        opened(kind, "n")
    file.unlink()
    holder.close()


@needs_root
@each_kind
def test_the_file_of_another_user_is_refused(kind: str) -> None:
    handle = made(kind, "n")
    os.chown(file_of(kind, "n"), NOBODY, -1)
    with pytest.raises(ForeignObjectError, match=f"belongs to user {NOBODY}"):
        made(kind, "n")
    os.chown(file_of(kind, "n"), 0, -1)
    handle.close()


@each_kind
def test_a_file_that_is_truncated_under_a_live_one_is_an_error_and_no_crash(peer: MakePeer, kind: str) -> None:
    uses = ["h.wait_one(0)", "h.wait_one()", "h.statistics()", "wait_any([h])", "wait_all([h], 0)"]
    uses += ["h.release()", "h.acquire()"] if kind == "semaphore" else ["h.set()", "h.reset()", "h.is_set()"]
    holder = made(kind, "n")
    good = file_of(kind, "n").read_bytes()
    for use in uses:
        other = peer()
        other("h = " + MAKERS[kind].format(on=False, name="n"))
        os.truncate(file_of(kind, "n"), 0)
        refusal = other.refusal(use)
        assert refusal.is_a(MemoryFaultError), (use, refusal)
        assert "'n'" in refusal.message
        file_of(kind, "n").write_bytes(good)
        other("h.close()")
        other.end()
    holder.close()


@each_kind
def test_a_waiter_whose_file_is_truncated_is_told_within_250_ms(peer: MakePeer, kind: str) -> None:
    for use in ("h.wait_one()", "wait_any([h, AutoResetEvent()])", "wait_all([h, AutoResetEvent(True)])"):
        holder, other = made(kind, "n"), peer()
        other("h = " + MAKERS[kind].format(on=False, name="n"))
        other.tell("run", use)
        waiting(holder)
        began = time.monotonic()
        os.truncate(file_of(kind, "n"), 0)
        refusal = other.answer()
        assert refusal.is_a(MemoryFaultError)
        assert time.monotonic() - began < 0.25 + SLACK
        other("h.close()")
        holder.close()


def test_a_full_file_system_says_so(tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a file system")
    root = tmp_path / "small"
    root.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=16k", "tmpfs", root], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"file systems cannot be mounted here: {mounted.stderr}")
    try:
        (root / "filler").touch()
        with Actor(prelude=PRELUDE + BEFORE, env={**os.environ, "MEMORYMAPPED_ROOT": str(root)}) as other:
            other.do("first = AutoResetEvent(name='first')")
            with pytest.raises(OSError, match="No space"):
                (root / "filler").write_bytes(bytes(65536))
            with pytest.raises(OSError, match="64 bytes were asked for"):
                other.do("AutoResetEvent(name='second')")
            assert sorted(path.name for path in root.rglob("*.event")) == ["first.event"]
            other.do("first.set(); assert first.wait_one(0); first.close()")
            assert other.finish() == 0
    finally:
        subprocess.run(["umount", root], check=True)


def test_without_a_root_it_says_so(tmp_path: Path) -> None:
    with Actor(prelude=PRELUDE + BEFORE, env={**os.environ, "MEMORYMAPPED_ROOT": str(tmp_path / "none")}) as other:
        with pytest.raises(FileNotFoundError, match="MEMORYMAPPED_ROOT") as caught:
            other.do("AutoResetEvent(name='n')")
        assert not isinstance(caught.value, WaitHandleNotFoundError)
        with pytest.raises(WaitHandleNotFoundError):
            other.do("AutoResetEvent.open_existing('n')")


def test_a_name_where_the_state_belongs_is_refused() -> None:
    """It would make an event without a name that is set."""
    for wrong in ("work", b"work", "", None, 1.0, []):
        for make in (AutoResetEvent, ManualResetEvent):
            with pytest.raises(TypeError, match=f"True or False, not {type(wrong).__name__}: the name comes second"):
                make(wrong)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="the name comes third"):
            EventWaitHandle(wrong, EventResetMode.AUTO_RESET)  # type: ignore[arg-type]
    assert AutoResetEvent(1).is_set()


def test_modes_and_classes() -> None:
    assert (made("auto").mode, made("manual").mode) == (EventResetMode.AUTO_RESET, EventResetMode.MANUAL_RESET)
    assert issubclass(AutoResetEvent, EventWaitHandle)
    assert issubclass(ManualResetEvent, EventWaitHandle)

# SPDX-License-Identifier: MIT
"""One named mutex for a C# program on the real .NET runtime and for Python: they exclude each other, and each is told
when the other ends without a release. What the C# program is asked is in mutexes.cs."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from campaigns import campaign
from dotnet_runtime import Dotnet, Peer, environment
from programs import LIMIT, until
from support.actors import PRELUDE, Actor
from support.leftovers import files_of
from support.strangers import blocked, owner, path_of

from memorymapped import (
    AbandonedMutexError,
    ClosedError,
    InvalidNameError,
    MemoryMappedFileError,
    Mutex,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)

pytestmark = pytest.mark.dotnet

NOBODY = 65534
# As another user, who may still read what this one has installed.
_ONLY_READ = "-all,+dac_read_search"
AS_NOBODY = (
    *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"),
    *(f"--{which}={_ONLY_READ}" for which in ("bounding-set", "inh-caps", "ambient-caps")),
)
# The same in Python: another user may not be able to read this interpreter's own files, so all is loaded before.
BECOMES = """
import ctypes
Mutex(name=f"Global\\\\{tag}-loads").close()
os.setgroups([]); os.setresgid(uid, uid, uid); os.setresuid(uid, uid, uid)
assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE: /proc/self is the new user's, as after an exec
"""
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to act as another user")

OURS = """
def wait(mutex, *timeout):
    try:
        return mutex.wait_one(*timeout)
    except AbandonedMutexError as error:
        assert error.owned and error.mutex is mutex
        return "abandoned"
def holds(mutex):
    "A thread that takes the mutex and ends."
    thread = threading.Thread(target=mutex.wait_one)
    thread.start()
    thread.join()
"""
exec("from memorymapped import AbandonedMutexError" + OURS.partition("def holds")[0], here := {})
wait: Callable[..., bool | str] = here["wait"]


class Sharp(Peer):
    """A C# program. Its variable for the mutex is `m` unless another is named."""

    def __init__(self, dotnet: Dotnet, *before: str, **options: Any) -> None:
        super().__init__([*before, *dotnet.command("mutexes.cs")], **options)

    def create(self, name: str, *, owned: bool = False, to: str = "m", thread: str = "main") -> bool:
        return self.do(thread, "create", to, name, owned) == "True"

    def open(self, name: str, to: str = "m") -> None:
        self.do("main", "open", to, name)

    def wait(self, milliseconds: int = 0, *, of: str = "m", thread: str = "main") -> bool | str:
        """Whether it has the mutex now; "abandoned" if it was told that and has it."""
        return waited(self.ask(thread, "wait", of, milliseconds))

    def starts_to_wait(self, path: Path, of: str = "m") -> None:
        """Returns when the kernel knows that it waits."""
        self.tell("main", "wait", of, -1)
        until(lambda: blocked(path), "the C# program waits for the mutex")

    def release(self, of: str = "m", thread: str = "main") -> None:
        self.do(thread, "release", of)

    def close(self, of: str = "m", thread: str = "main") -> None:
        self.do(thread, "close", of)

    def ends(self) -> int:
        """Ends in the normal way. Its exit code."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        return self.process.wait(LIMIT)

    def dies(self) -> None:
        self.process.kill()
        self.process.wait(LIMIT)

    def end(self) -> None:
        """Whatever the test has done with it: what is left is closed in a normal end."""
        try:
            if self.process.poll() is None:
                self.ends()
        finally:
            self.process.kill()
            self.process.wait(LIMIT)
            for pipe in (self.process.stdin, self.process.stdout):
                assert pipe is not None
                pipe.close()


def waited(answer: str) -> bool | str:
    if answer.startswith("!AbandonedMutexException"):
        assert answer == "!AbandonedMutexException\t-1"
        return "abandoned"
    assert answer in ("=True", "=False"), answer
    return answer == "=True"


@pytest.fixture
def sharps(dotnet: Dotnet, tag: str) -> Iterator[Callable[..., Sharp]]:
    """Starts C# programs; they are ended with the test."""
    started: list[Sharp] = []

    def start(*before: str, **options: Any) -> Sharp:
        started.append(Sharp(dotnet, *before, **options))
        return started[-1]

    with ExitStack() as ends:
        yield start
        for each in started:
            ends.callback(each.end)


@pytest.fixture
def sharp(sharps: Callable[..., Sharp]) -> Sharp:
    return sharps()


@pytest.fixture
def other(tag: str) -> Iterator[Actor]:
    """Another Python process."""
    with Actor(prelude=PRELUDE + OURS) as actor:
        yield actor
        if actor.process.poll() is None:
            actor.finish()


@pytest.fixture(params=["Global", "Local"])
def name(request: pytest.FixtureRequest, tag: str) -> str:
    return f"{request.param}\\{tag}"


@contextmanager
def held(mutex: Mutex, timeout: float | None = 0) -> Iterator[None]:
    """Owned meanwhile, without a report."""
    assert wait(mutex, timeout) is True
    yield
    mutex.release_mutex()


# -------------------------------------------------------------------------------------------------------- the file


def test_csharp_opens_what_python_has_made(sharp: Sharp, name: str) -> None:
    path = path_of(name)
    with closing(Mutex(name=name)) as mutex:
        assert mutex.created_new
        data = path.read_bytes()
        assert len(data) == os.sysconf("SC_PAGESIZE")
        assert data[:8] == b"\0\1" + bytes(6)  # a mutex, version 1
        assert data[24:28] == b"\x91\0\0\0"  # recursive, robust, shared
        assert data[48:52] == b"\xff\xff\xff\xff", "nobody owns it"
        assert data[64] == 0, "not abandoned, says .NET up to 10"
        assert data[56] == 0, "not abandoned, says .NET 11"
        assert data[72:] == bytes(len(data) - 72)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666
        for folder in path.parents[:3]:
            assert stat.S_IMODE(folder.stat().st_mode) & 0o777 == 0o777, folder
        sharp.open(name)
        assert not sharp.create(name, to="n")
        assert sharp.wait() is True
        assert owner(path) == sharp.process.pid
        sharp.release()
    assert path.exists()


def test_python_opens_what_csharp_has_made(sharp: Sharp, name: str) -> None:
    assert sharp.create(name)
    with closing(Mutex.open_existing(name)) as opened, closing(Mutex(True, name)) as mutex:
        assert not opened.created_new
        assert not mutex.created_new
        assert wait(mutex, 0) is True
        assert wait(opened, 0) is True
        assert owner(path_of(name)) == threading.get_native_id()
        mutex.release_mutex()
        opened.release_mutex()
        assert owner(path_of(name)) == 0


def test_whoever_closes_last_removes_the_file(sharp: Sharp, name: str) -> None:
    path = path_of(name)
    mutex = Mutex(name=name)
    sharp.open(name)
    mutex.close()
    assert path.exists()
    sharp.close()
    assert not path.exists()

    assert sharp.create(name)
    mutex = Mutex.open_existing(name)
    sharp.close()
    assert path.exists()
    with held(mutex):
        pass
    mutex.close()
    assert not path.exists()

    assert sharp.create(name)
    mutex = Mutex.open_existing(name)
    sharp.open(name, "n")
    sharp.close()
    mutex.close()
    assert path.exists(), "it has another handle"
    assert sharp.ends() == 0
    assert not path.exists(), "a normal end closes"


def test_nothing_there_is_not_found_by_either(sharp: Sharp, name: str) -> None:
    assert sharp.ask("main", "open", "m", name).startswith("!WaitHandleCannotBeOpenedException")
    assert sharp.do("main", "try_open", "m", name) == "False"
    with pytest.raises(WaitHandleNotFoundError):
        Mutex.open_existing(name)
    assert Mutex.try_open_existing(name) is None
    assert files_of(name.rpartition("\\")[2]) == []


@pytest.mark.parametrize("maker", ["csharp", "python"])
@pytest.mark.parametrize("finder", ["csharp", "python"])
def test_what_killed_processes_have_left_is_as_good_as_nothing(
    maker: str, finder: str, sharps: Callable[..., Sharp], other: Actor, name: str
) -> None:
    """The last one that had it open was killed while it owned it: the file stays, and counts for nothing."""
    if maker == "csharp":
        first = sharps()
        assert first.create(name, owned=True)
        first.dies()
    else:
        other.do("m = Mutex(True, name); assert m.created_new", name=name)
        other.kill()
    path = path_of(name)
    assert path.exists()
    if finder == "csharp":
        second = sharps()
        assert second.do("main", "try_open", "m", name) == "False"
        assert second.create(name)
        assert second.wait() is True
        second.release()
        second.close()
    else:
        assert Mutex.try_open_existing(name) is None
        with closing(Mutex(name=name)) as mutex:
            assert mutex.created_new
            with held(mutex):
                pass
    assert not path.exists()


# ---------------------------------------------------------------------------------------------- exclusion, time-outs


def test_they_exclude_each_other(sharp: Sharp, other: Actor, name: str) -> None:
    path = path_of(name)
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        other.do("m = Mutex.open_existing(name)", name=name)
        for _ in range(3):
            # C# has it; two Python processes do not get it, one of them waits.
            assert sharp.wait() is True
            assert wait(mutex, 0) is False
            assert not mutex.acquire(blocking=False)
            other.send("_result = wait(m)")
            until(lambda: blocked(path), "the other process waits for the mutex")
            assert not other.answered(0)
            sharp.release()
            assert other.answer() is True
            # Python has it; C# does not get it, and then waits.
            assert sharp.wait() is False
            sharp.tell("main", "wait", "m", -1)
            until(lambda: blocked(path), "the C# program waits for the mutex")
            other.do("m.release_mutex()")
            assert waited(sharp.answer()) is True
            sharp.release()
            with held(mutex):
                assert sharp.wait() is False
                assert other.get("wait(m, 0)") is False


def test_time_outs_of_both(sharp: Sharp, name: str) -> None:
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        assert sharp.wait() is True
        for limit in (0.001, 0.3):
            began = time.monotonic()
            assert wait(mutex, limit) is False
            assert limit <= time.monotonic() - began < limit + 5
            assert mutex.acquire(timeout=limit) is False
        sharp.release()
        with held(mutex, 5):
            began = time.monotonic()
            assert sharp.wait(300) is False
            assert 0.29 <= time.monotonic() - began < 5
            assert sharp.do("main", "wait_any", 100, "m") == "258"
        # A wait with a limit gets it when it becomes free.
        assert sharp.wait() is True
        thread = threading.Thread(target=lambda: (until(lambda: blocked(path_of(name)), "we wait"), sharp.release()))
        thread.start()
        with held(mutex, 30):
            thread.join()
        with held(mutex):
            sharp.tell("main", "wait", "m", 30000)
            until(lambda: blocked(path_of(name)), "the C# program waits")
        assert waited(sharp.answer()) is True
        sharp.release()


def test_a_stopped_owner_is_not_dead(sharp: Sharp, name: str) -> None:
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        assert sharp.wait() is True
        sharp.process.send_signal(19)
        assert wait(mutex, 0.3) is False
        sharp.process.send_signal(18)
        sharp.release()
        with held(mutex, 5):
            pass


def test_recursion_of_both(sharp: Sharp, name: str) -> None:
    with closing(Mutex(name=name)) as mutex, closing(Mutex(name=name)) as same:
        sharp.open(name)
        sharp.open(name, "n")
        # C#: three times, by two handles.
        for variable in ("m", "n", "m"):
            assert sharp.wait(of=variable) is True
        for variable in ("n", "n"):
            sharp.release(variable)
            assert wait(mutex, 0) is False
        sharp.release()
        # Python: the same.
        for each in (mutex, same, mutex):
            assert wait(each, 0) is True
        for each in (same, same):
            each.release_mutex()
            assert sharp.wait() is False
        mutex.release_mutex()
        assert sharp.wait() is True
        sharp.release()
        # Once too often, on both sides.
        with pytest.raises(RuntimeError):
            mutex.release_mutex()
        assert sharp.ask("main", "release", "m").startswith("!ApplicationException")


def test_only_the_thread_that_owns_it_releases_it(sharp: Sharp, name: str) -> None:
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        assert sharp.wait(thread="owner") is True
        assert sharp.ask("main", "release", "m").startswith("!ApplicationException")
        with pytest.raises(RuntimeError):
            mutex.release_mutex()
        assert wait(mutex, 0) is False
        assert sharp.wait() is False, "another thread of the owner's process"
        sharp.release(thread="owner")

        with held(mutex):
            refused: list[BaseException] = []
            answers: list[bool | str] = []

            def another() -> None:
                try:
                    mutex.release_mutex()
                except RuntimeError as error:
                    refused.append(error)
                answers.append(wait(mutex, 0))

            thread = threading.Thread(target=another)
            thread.start()
            thread.join()
            assert len(refused) == 1
            assert answers == [False]
            assert sharp.ask("main", "release", "m").startswith("!ApplicationException")
            assert sharp.wait() is False
        assert sharp.wait() is True
        sharp.release()


# ------------------------------------------------------------------------------------------ created, initially owned


def test_only_who_creates_it_owns_it_from_the_beginning(sharp: Sharp, name: str) -> None:
    with closing(Mutex(True, name)) as mutex:
        assert mutex.created_new
        assert not sharp.create(name, owned=True), "it was there"
        assert sharp.ask("main", "release", "m").startswith("!ApplicationException")
        assert sharp.wait() is False
        mutex.release_mutex()
        assert sharp.wait() is True
        sharp.release()
        sharp.close()
    assert sharp.create(name, owned=True)
    with closing(Mutex(True, name)) as mutex:
        assert not mutex.created_new
        with pytest.raises(RuntimeError):
            mutex.release_mutex()
        assert wait(mutex, 0) is False
        sharp.release()
        with held(mutex):
            pass


# ------------------------------------------------------------------------------------------------------ abandonment


def killed(sharp: Sharp) -> None:
    sharp.process.kill()


def exits(sharp: Sharp) -> None:
    sharp.tell("main", "exit", 7)


def returns(sharp: Sharp) -> None:
    sharp.tell("main", "return", 7)


def thread_ends(sharp: Sharp) -> None:
    sharp.tell("owner", "end")


def disposes(sharp: Sharp) -> None:
    sharp.tell("owner", "close", "m")


ENDS = (killed, exits, returns, thread_ends, disposes)


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("waiting", [True, *campaign(False)], ids=["blocked", "later"])
def test_python_is_told_that_csharp_has_abandoned_it(
    end: Callable[[Sharp], None], waiting: bool, sharp: Sharp, other: Actor, tag: str
) -> None:
    name = f"Global\\{tag}"
    thread = "owner" if end in (thread_ends, disposes) else "main"
    with closing(Mutex(name=name)) as mutex:
        sharp.create(name)
        assert sharp.wait(thread=thread) is True
        assert sharp.wait(thread=thread) is True
        other.do("m = Mutex.open_existing(name)", name=name)
        if waiting:
            other.send("_result = wait(m)")
            until(lambda: blocked(path_of(name)), "the other process waits for the mutex")
            end(sharp)
        else:
            end(sharp)
            if thread == "main":
                sharp.process.wait(LIMIT)
            else:
                assert sharp.answer() == "="
            other.send("_result = wait(m, 0)")
        assert other.answer() == "abandoned"
        assert wait(mutex, 0) is False, "who is told owns it"
        other.do("m.release_mutex()")
        # Once.
        with held(mutex):
            pass
        assert other.get("wait(m, 0)") is True
        other.do("m.release_mutex(); m.close()")
        if thread == "main":
            sharp.process.wait(LIMIT)  # it gives up its use of the file a moment after the mutex


def test_an_abandonment_tells_who_had_it(sharp: Sharp, name: str) -> None:
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        assert sharp.wait() is True
        sharp.dies()
        with pytest.raises(AbandonedMutexError) as caught:
            mutex.wait_one(5)
        assert caught.value.owned
        assert caught.value.mutex is mutex
        assert caught.value.mutex_index == -1
        assert str(sharp.process.pid) in str(caught.value.previous_owner)
        mutex.release_mutex()


PYTHON_ENDS = {
    "killed": "os.kill(os.getpid(), signal.SIGKILL)",
    "exits": "sys.exit(7)",
    "exits at once": "os._exit(7)",
    "thread ends": "",  # it has ended when the mutex is owned
    "closes": "m.close()",
    "is collected": "import warnings; warnings.simplefilter('ignore'); del m; gc.collect()",
}


@pytest.mark.parametrize("end", PYTHON_ENDS)
@pytest.mark.parametrize("waiting", [True, *campaign(False)], ids=["blocked", "later"])
def test_csharp_is_told_that_python_has_abandoned_it(
    end: str, waiting: bool, sharps: Callable[..., Sharp], other: Actor, tag: str
) -> None:
    name = f"Global\\{tag}"
    path = path_of(name)
    first, second = sharps(), sharps()
    first.create(name)
    second.open(name)
    other.do("m = Mutex.open_existing(name)", name=name)
    code = PYTHON_ENDS[end]
    if end == "thread ends":
        other.do(
            "def act():\n m.wait_one(); taken.set(); go.wait()\n"
            "taken, go = threading.Event(), threading.Event()\n"
            "thread = threading.Thread(target=act); thread.start(); taken.wait()"
        )
        # Not `join` alone: it returns a moment before the thread is gone.
        code = (
            "number = thread.native_id; go.set(); thread.join()\n"
            "while os.path.exists(f'/proc/self/task/{number}'): os.sched_yield()"
        )
    else:
        assert other.get("wait(m, 0)") is True
        assert other.get("wait(m, 0)") is True
    if waiting:
        first.starts_to_wait(path)
    if end == "exits":  # sys.exit would only end the step
        other.do("import atexit")
        assert other.finish() == 0
    else:
        other.send(code)
        if end in ("killed", "exits at once"):
            other.process.wait(LIMIT)
        else:
            other.answer()
    if not waiting:
        first.tell("main", "wait", "m", 0)
    assert waited(first.answer()) == "abandoned"
    assert second.wait() is False, "who is told owns it"
    first.release()
    assert second.wait() is True, "only one is told"
    second.release()
    assert first.wait() is True
    first.release()


def test_who_is_told_by_nobody_but_the_kernel_may_recurse(sharp: Sharp, other: Actor, name: str) -> None:
    """Our own count of a thread that has ended is not taken over."""
    with closing(Mutex(name=name)) as mutex:
        sharp.open(name)
        thread = threading.Thread(target=lambda: (mutex.wait_one(), mutex.wait_one()))
        thread.start()
        thread.join()
        assert wait(mutex, 5) == "abandoned"
        assert wait(mutex, 0) is True
        mutex.release_mutex()
        assert sharp.wait() is False
        mutex.release_mutex()
        assert sharp.wait() is True
        sharp.release()


def test_with_gives_back_what_it_finds_abandoned_and_csharp_is_told_too(sharps: Callable[..., Sharp], tag: str) -> None:
    """`with` cannot own it, as Python would never release it."""
    name = f"Global\\{tag}"
    with closing(Mutex(name=name)) as mutex:
        first, second = sharps(), sharps()
        first.create(name, owned=False)
        second.open(name)
        assert first.wait() is True
        first.dies()
        entered = False
        with pytest.raises(AbandonedMutexError) as caught, mutex:
            entered = True
        assert not entered
        assert not caught.value.owned
        assert owner(path_of(name)) == 0
        assert second.wait() == "abandoned"
        second.release()
        with mutex:
            assert second.wait() is False
        assert second.wait() is True
        second.release()


def test_with_a_handler_repairs_and_csharp_hears_nothing(sharps: Callable[..., Sharp], tag: str) -> None:
    name = f"Global\\{tag}"
    repaired: list[int] = []
    path = path_of(name)
    with closing(Mutex(name=name, on_abandoned=lambda *_: repaired.append(owner(path)))) as mutex:
        first, second = sharps(), sharps()
        first.create(name)
        second.open(name)
        assert first.wait() is True
        first.dies()
        with mutex:
            assert repaired == [threading.get_native_id()], "it ran while we owned it"
            assert second.wait() is False
        assert second.wait() is True
        second.tell("main", "exit", 0)
        second.process.wait(LIMIT)

        third = sharps()
        third.open(name)

        def fails(*_: object) -> None:
            raise LookupError("cannot repair")

        with pytest.raises(LookupError, match="cannot repair"), mutex.recovering(fails):
            pass
        assert third.wait() == "abandoned", "a failed repair is no repair"
        third.release()


# ------------------------------------------------------------------------------------------------------------ scopes


def test_a_session_has_mutexes_of_its_own(sharps: Callable[..., Sharp], tag: str) -> None:
    name = f"Local\\{tag}"
    here, elsewhere = sharps(), sharps(start_new_session=True)
    with closing(Mutex(name=name)) as mutex, Actor(prelude=PRELUDE + OURS, start_new_session=True) as other:
        assert int(here.do("main", "session")) == os.getsid(0)
        here.open(name)
        assert here.do("main", "try_open", "bare", tag) == "True", "a bare name of C#'s is the session's"
        session = int(elsewhere.do("main", "session"))
        assert session == elsewhere.process.pid
        assert elsewhere.do("main", "try_open", "m", name) == "False"
        assert elsewhere.create(name)
        assert path_of(name, session=session).exists()
        assert other.get("Mutex.try_open_existing(name) is None", name=name)
        other.do("m = Mutex(True, name); assert m.created_new")
        with held(mutex):
            assert here.wait() is False
            assert elsewhere.wait() is True
            elsewhere.release()
        other.do("m.release_mutex(); m.close()")
        elsewhere.close()
        assert not path_of(name, session=session).parent.exists(), "the session's folder went with its last mutex"


def test_scopes_are_apart(sharp: Sharp, tag: str) -> None:
    with closing(Mutex(True, f"Global\\{tag}")) as everybody:
        assert sharp.do("main", "try_open", "m", f"Local\\{tag}") == "False"
        with closing(Mutex(name=f"Local\\{tag}")) as session:
            sharp.open(f"Local\\{tag}")
            with held(session):
                assert sharp.wait() is False
            assert sharp.wait() is True
            sharp.release()
        sharp.close()
        with closing(Mutex(True, f"User\\{tag}")) as ours:
            path = path_of(tag)
            assert stat.S_IMODE(path.stat().st_mode) == 0o600
            for folder in path.parents[:3]:
                assert stat.S_IMODE(folder.stat().st_mode) == 0o700
            assert sharp.do("main", "try_open", "m", tag) == "False"
            ours.release_mutex()
        everybody.release_mutex()


@pytest.mark.parametrize("bare_first", [False, True])
def test_a_bare_name_that_means_the_session_in_csharp_does_not_pass_silently(
    bare_first: bool, sharp: Sharp, tag: str
) -> None:
    """A bare name is the user's here and the session's in C#. Two programs that believe in one mutex hear of it."""
    if bare_first:
        with closing(Mutex(name=tag)), pytest.raises(MemoryMappedFileError) as caught:
            Mutex(name=f"Local\\{tag}").close()
    else:
        assert sharp.create(tag)
        with pytest.raises(MemoryMappedFileError) as caught:
            Mutex(name=tag).close()
        assert repr(f"User\\{tag}") in str(caught.value)
        with pytest.raises(MemoryMappedFileError):
            Mutex.open_existing(tag).close()
        with closing(Mutex(name=f"Local\\{tag}")) as session, closing(Mutex(True, f"User\\{tag}")), held(session):
            assert sharp.wait() is False
    assert repr(f"Local\\{tag}") in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- names


@pytest.mark.parametrize(
    "rest",
    ["x", " a b ", "ünï-\u65e5\u672c", "\U0001f512", ".hidden", "a:b*c?", "Tab%41", "e\u0301", "-" * 60, "ä" * 80],
)
def test_any_file_name_is_a_name_for_both(rest: str, sharp: Sharp, tag: str) -> None:
    name = f"Global\\{rest}{tag}"
    with closing(Mutex(True, name)) as mutex:
        assert path_of(name).exists(), files_of(tag)
        sharp.open(name)
        assert sharp.wait() is False
        mutex.release_mutex()
        assert sharp.wait() is True
        sharp.release()
    sharp.close()
    assert not path_of(name).exists()


def test_case_and_composition_of_a_name_count(sharp: Sharp, tag: str) -> None:
    with closing(Mutex(name=f"Global\\a\u00e9{tag}")):
        for rest in ("A\u00e9", "ae\u0301"):
            assert sharp.do("main", "try_open", "m", f"Global\\{rest}{tag}") == "False"


@pytest.mark.parametrize("letter", ["a", "\u00fc", "\u20ac", "\U0001f512"])
def test_the_longest_name_is_the_same_for_both(letter: str, sharp: Sharp, tag: str) -> None:
    size = len(letter.encode())
    rest = tag + letter * ((255 - len(tag)) // size)
    rest = rest.ljust(255 - len(rest.encode()) + len(rest), "-")
    assert len(rest.encode()) == 255
    for scope in ("Global", "Local"):
        with closing(Mutex(name=f"{scope}\\{rest}")) as mutex:
            sharp.open(f"{scope}\\{rest}")
            with held(mutex):
                assert sharp.wait() is False
            sharp.close()
        longer = f"{scope}\\{rest}a"
        assert sharp.ask("main", "create", "m", longer, False).startswith("!ArgumentException")
        with pytest.raises(InvalidNameError, match="255"):
            Mutex(name=longer)


REFUSED = ["Global\\", "Local\\", "Global\\.", "Global\\..", "Global\\a/b", "Global\\a\\b", "global\\{tag}",
           "local\\{tag}", "Session\\{tag}", "/{tag}", "\\{tag}", "{tag}\\"]  # fmt: skip


@pytest.mark.parametrize("spelling", REFUSED)
def test_both_refuse_a_name(spelling: str, sharp: Sharp, tag: str) -> None:
    name = spelling.format(tag=tag)
    answer = sharp.ask("main", "create", "m", name, False)
    assert answer.startswith(("!IOException", "!ArgumentException", "!DirectoryNotFoundException")), answer
    with pytest.raises(InvalidNameError) as caught:
        Mutex(name=name)
    assert isinstance(caught.value, ValueError)
    answer = sharp.ask("main", "open", "m", name)
    assert answer.startswith(("!WaitHandleCannotBeOpened", "!IOException", "!ArgumentException", "!DirectoryNotFound"))
    with pytest.raises(InvalidNameError):
        Mutex.open_existing(name)
    assert files_of(tag) == []


def test_no_name_is_a_mutex_of_ones_own(sharp: Sharp) -> None:
    for name in (None, ""):
        with closing(Mutex(True, name)) as mutex:
            assert mutex.created_new
            assert mutex.name is None
            assert wait(mutex, 0) is True
            mutex.release_mutex()
            mutex.release_mutex()
            with pytest.raises(RuntimeError):
                mutex.release_mutex()
    assert sharp.create("", owned=True)
    assert sharp.wait() is True


def test_closed_handles_are_refused_by_both(sharp: Sharp, name: str) -> None:
    mutex = Mutex(name=name)
    sharp.open(name)
    mutex.close()
    mutex.close()
    for act in (mutex.wait_one, mutex.release_mutex, mutex.acquire, mutex.release):
        with pytest.raises(ClosedError):
            act()
    sharp.close()
    assert sharp.ask("main", "wait", "m", 0).startswith("!ObjectDisposedException")
    assert sharp.ask("main", "release", "m").startswith("!ObjectDisposedException")


# ------------------------------------------------------------------------------------------- what lies in its place


def test_what_is_no_mutex_is_refused_by_both_while_somebody_uses_it(sharp: Sharp, other: Actor, tag: str) -> None:
    name = f"Global\\{tag}"
    for content in (b"", b"\1\1", b"\0\2".ljust(4096, b"\0"), b"\0\1".ljust(60, b"\0")):
        other.do(STRANGER, path=path_of(name), release_of=10)
        if len(content) < 4096:
            os.truncate(path_of(name), len(content))
        with path_of(name).open("r+b") as file:
            file.write(content)
        for step in (("create", "m", name, False), ("open", "m", name)):
            answer = sharp.ask("main", *step)
            assert answer.startswith("!WaitHandleCannotBeOpenedException"), (content, answer)
        for open_ in (lambda: Mutex(name=name), lambda: Mutex.open_existing(name)):
            with pytest.raises(WaitHandleCannotBeOpenedError) as caught:
                open_()
            assert not isinstance(caught.value, FileNotFoundError)
        other.do("stranger.close()")


# ----------------------------------------------------------------------------------------------------------- a crowd


def test_three_and_three_processes_count_to_an_exact_total(dotnet: Dotnet, tag: str, tmp_path: Path) -> None:
    """Each adds one under the mutex, in two halves; now and then it closes it, so that the file goes and comes again.
    Nobody is ever told of an abandonment."""
    crowd(dotnet, f"Global\\{tag}", tmp_path / "counter", ((2000, 2000), (1500, 7), (500, 1)))


@pytest.mark.campaign
@pytest.mark.timeout(120)
def test_they_count_longer(dotnet: Dotnet, tag: str, tmp_path: Path) -> None:
    crowd(dotnet, f"Local\\{tag}", tmp_path / "counter", ((20000, 20000), (15000, 7), (5000, 1)))


COUNT = """
import sys
from memorymapped import *

name, file, rounds, keep = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
abandoned = 0
with MemoryMappedFile.create_from_file(file) as map, map.create_view_accessor() as view:
    mutex = None
    for i in range(rounds):
        mutex = mutex or Mutex(name=name)
        try:
            mutex.wait_one()
        except AbandonedMutexError:
            abandoned += 1
        value = view.read_int64(0)
        for _ in range(200 if value % 7 == 0 else 1):
            pass
        view.write_int64(0, value + 1)
        mutex.release_mutex()
        if (i + 1) % keep == 0:
            mutex.close()
            mutex = None
    if mutex:
        mutex.close()
print(abandoned, end="")
"""


def crowd(dotnet: Dotnet, name: str, file: Path, parts: tuple[tuple[int, int], ...]) -> None:
    """For each (rounds, how many of them with one handle) a C# process and a Python process."""
    file.write_bytes(bytes(8))
    pipe = subprocess.PIPE
    commands = [dotnet.command("mutexes.cs", "count", name, file, *part) for part in parts]
    commands += [[sys.executable, "-W", "error", "-c", COUNT, name, str(file), *map(str, part)] for part in parts]
    processes = [subprocess.Popen(command, stdout=pipe, env=environment()) for command in commands]
    try:
        said = [process.communicate(timeout=100)[0] for process in processes]
    finally:
        for process in processes:
            process.kill()
            process.communicate()
    assert [process.returncode for process in processes] == [0] * len(processes)
    assert said == [b"0"] * len(processes), "a false report of an abandonment"
    assert int.from_bytes(file.read_bytes(), "little") == 2 * sum(rounds for rounds, _ in parts)
    assert not path_of(name).exists()


# --------------------------------------------------------------------------------------------------------- two users


@contextmanager
def user(uid: int, tag: str) -> Iterator[Actor]:
    """A Python process of another user."""
    with Actor(prelude=PRELUDE + OURS) as actor:
        actor.do(BECOMES, uid=uid, tag=tag)
        yield actor
        if actor.process.poll() is None:
            actor.finish()


@needs_root
@pytest.mark.parametrize("creator", ["root's C#", "root's Python", "nobody's C#", "nobody's Python"])
def test_two_users_share_a_global_mutex(creator: str, sharps: Callable[..., Sharp], tag: str) -> None:
    name = f"Global\\{tag}"
    path = path_of(name)
    with user(NOBODY, tag) as python:
        roots, nobodys = sharps(), sharps(*AS_NOBODY)
        assert python.get("os.geteuid()") == NOBODY
        assert Path(f"/proc/{nobodys.process.pid}").stat().st_uid in (0, NOBODY)
        if creator == "nobody's Python":
            python.do("m = Mutex(name=name); assert m.created_new", name=name)
        elif creator == "root's C#":
            assert roots.create(name)
        elif creator == "nobody's C#":
            assert nobodys.create(name)
        mutex = Mutex(name=name)
        assert mutex.created_new == (creator == "root's Python")
        if creator != "nobody's Python":
            python.do("m = Mutex.open_existing(name)", name=name)
        roots.open(name)
        nobodys.open(name)
        assert path.stat().st_uid == (NOBODY if creator.startswith("nobody") else 0)
        assert stat.S_IMODE(path.stat().st_mode) == 0o666

        def all_wait() -> list[bool | str]:
            return [wait(mutex, 0), python.get("wait(m, 0)"), roots.wait(), nobodys.wait()]

        assert all_wait() == [True, False, False, False]
        mutex.release_mutex()
        python.do("assert wait(m, 0) is True")
        assert wait(mutex, 0) is False
        assert roots.wait() is False
        python.do("m.release_mutex()")
        # The other user's processes are killed, and root is told; and the other way round.
        assert nobodys.wait() is True
        nobodys.dies()
        assert wait(mutex, 5) == "abandoned"
        mutex.release_mutex()
        assert roots.wait() is True
        roots.dies()
        assert python.get("wait(m, 5)") == "abandoned"
        python.do("m.release_mutex()")
        with held(mutex):
            pass
        mutex.close()
        assert path.exists()
        python.do("m.close()")
        assert not path.exists(), "the other user was the last, and removed the file"


@needs_root
def test_a_users_own_mutex_is_refused_to_others(sharps: Callable[..., Sharp], tag: str) -> None:
    """Each user has a folder of that name; nobody gets into another's."""
    with user(NOBODY, tag) as python, closing(Mutex(True, tag)) as mutex:
        assert python.get("Mutex.try_open_existing(name) is None", name=tag), "it is another mutex"
        python.do("n = Mutex(True, name); assert n.created_new", name=tag)
        with Actor(prelude=PRELUDE + OURS) as same:
            assert same.get("wait(Mutex.open_existing(name), 0)", name=tag) is False
        python.do("n.release_mutex(); n.close()")
        python.do(
            "try:\n os.open(path, os.O_RDWR)\nexcept PermissionError: pass\nelse: raise AssertionError",
            path=path_of(tag),
        )
        mutex.release_mutex()


@needs_root
@pytest.mark.parametrize("wrong", ["owner", "mode", "a link", "a file"])
def test_a_folder_in_the_users_place_that_is_not_his_is_refused(wrong: str, tag: str, tmp_path: Path) -> None:
    """/tmp is everybody's: whoever is first may put something there for another user."""
    uid = 100_000 + os.getpid()
    root = path_of(tag, uid=uid).parents[2]
    assert not root.exists()
    try:
        if wrong == "a link":
            tmp_path.chmod(0o777)
            root.symlink_to(tmp_path)
        elif wrong == "a file":
            root.touch()
        else:
            root.mkdir()
            if wrong == "owner":
                root.chmod(0o777)
            else:
                os.chown(root, uid, uid)
                root.chmod(0o777)
        with user(uid, tag) as python:
            if wrong == "mode":  # his own, so it can be put right
                python.do("Mutex(name=name).close()", name=tag)
                assert stat.S_IMODE(root.stat().st_mode) == 0o700
            else:
                with pytest.raises(OSError, match=str(root)):
                    python.do("Mutex(name=name)", name=tag)
                assert list(tmp_path.iterdir()) == []
    finally:
        if root.is_dir() and not root.is_symlink():
            for folder in (root / "shm" / "global", root / "shm", root):
                if folder.exists():
                    folder.rmdir()
        else:
            root.unlink(missing_ok=True)


# ----------------------------------------------------------------------------- .NET 11, which cannot be run: its writes


@pytest.mark.parametrize("release_of", [10, 11])
def test_strangers_that_write_as_either_generation_does_are_understood(release_of: int, other: Actor, tag: str) -> None:
    name = f"Global\\{tag}"
    other.do(STRANGER, path=path_of(name), release_of=release_of)
    with closing(Mutex.open_existing(name)) as mutex:
        for _ in range(3):
            other.do("assert told(0) is True")
            assert wait(mutex, 0) is False
            other.do("stranger.release()")
            with held(mutex):
                other.do("assert told(0) is False")
        # A thread of the stranger's ends: only a flag says so.
        other.do("told(0); stranger.abandon()")
        assert wait(mutex, 0) == "abandoned"
        mutex.release_mutex()
        other.do("assert told(0) is True, 'it is not told again'; stranger.release()")
        with held(mutex):
            pass
        # One of ours closes while it owns: only a flag says so.
        second = Mutex.open_existing(name)
    second.wait_one()
    second.close()
    other.do("assert told(0) == 'abandoned'; stranger.release(); stranger.close()")


STRANGER = """
from support.strangers import Stranger, Abandoned
stranger = Stranger(path, release_of=release_of)
def told(seconds):
    try:
        return stranger.wait(seconds)
    except Abandoned:
        return "abandoned"
"""

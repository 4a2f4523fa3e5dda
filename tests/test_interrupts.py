# SPDX-License-Identifier: MIT
"""A signal handler may raise anywhere in our code, Ctrl-C before all: then nothing is held that nobody has.

An exception is raised at each line of each operation in turn, as a handler could raise it there; and real signals come
at random moments. After each the name is free, or still held by those who held it before; and no lock is left."""

from __future__ import annotations

import contextlib
import gc
import os
import random
import signal
import subprocess
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from campaigns import campaign
from root import objects
from support.interrupting import At, Interrupt

from memorymapped import FileMode, HandleInheritability, MemoryMappedFile
from memorymapped import MemoryMappedFileAccess as Access
from memorymapped.system.linux import objects as named

Operation = Callable[[str, str], MemoryMappedFile | None]

OPERATIONS: dict[str, Operation] = {
    "create": lambda name, _: MemoryMappedFile.create_new(name, 64),
    "create a read-only one": lambda name, _: MemoryMappedFile.create_new(name, 64, Access.READ),
    "create or open": lambda name, _: MemoryMappedFile.create_or_open(name, 64),
    "create for heirs": lambda name, _: MemoryMappedFile.create_new(
        name, 64, inheritability=HandleInheritability.INHERITABLE
    ),
    "open": lambda name, _: MemoryMappedFile.open_existing(name),
    "name a file": lambda name, path: MemoryMappedFile.create_from_file(path, FileMode.OPEN, name),
    "name an open file": lambda name, path: MemoryMappedFile.create_from_file(os.open(path, os.O_RDWR), name),
    "with": lambda name, _: _with(name),
}


def _with(name: str) -> None:
    with MemoryMappedFile.create_new(name, 64):
        pass


def is_free(name: str) -> bool:
    try:
        MemoryMappedFile.open_existing(name).close()
    except FileNotFoundError:
        return True
    return False


def others_get_through() -> bool:
    """Whether another thread is not kept out by a lock that was left."""
    done = threading.Event()

    def work() -> None:
        MemoryMappedFile.create_new("another thread's", 1).close()
        done.set()

    threading.Thread(target=work, daemon=True).start()
    return done.wait(10)


@pytest.fixture
def path(tmp_path: Path) -> Iterator[str]:
    path = tmp_path / "file"
    path.write_bytes(bytes(64))
    yield str(path)
    # An exception in the midst of os.open, or of a call that takes a descriptor over, may lose the user's descriptor.
    gc.collect()
    for fd in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}") == str(path):
                os.close(int(fd))


@pytest.fixture(autouse=True)
def drops(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(named, "CLOSE_LIMIT", 0.05)  # where a frame of the exception that is under way has the gate
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # a map that was made, and met the exception before its user
        yield


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # raised in a finalizer
@pytest.mark.parametrize("name", ["n", *campaign("Global\\n", "long" * 100)])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_exception_at_any_line_leaves_no_hold(operation: str, name: str, path: str) -> None:
    do = OPERATIONS[operation]
    open_descriptors = len(os.listdir("/proc/self/fd"))
    for n in range(1, 2000):
        keep = MemoryMappedFile.create_new(name, 64) if operation == "open" else None
        map_ = None
        at = At(n)
        try:
            with at:
                map_ = do(name, path)
        except Interrupt:
            pass
        if map_ is not None:
            map_.close()
        if keep is not None:
            keep.close()
        assert is_free(name), f"held after an exception at step {n}"
        if not at.reached:
            break
    assert n > 10
    assert others_get_through()
    if "file" not in operation:  # (a descriptor of the user's file may be lost, as by os.open itself)
        assert len(os.listdir("/proc/self/fd")) <= open_descriptors + 2  # the folder, twice


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("name", ["n", *campaign("Global\\n")])
@pytest.mark.parametrize("operation", [o for o in OPERATIONS if o != "with"])
def test_a_close_that_an_exception_broke_off_can_be_repeated(operation: str, name: str, path: str) -> None:
    do = OPERATIONS[operation]
    for n in range(1, 500):
        keep = MemoryMappedFile.create_new(name, 64) if operation == "open" else None
        map_ = do(name, path)
        assert map_ is not None
        with map_.create_view_accessor(0, 0, Access.READ) as view:  # which keeps what is behind the map
            at = At(n)
            try:
                with at:
                    map_.close()
            except Interrupt:
                map_.close()
            assert map_.closed
            if keep is not None:
                assert keep.name_alive
                assert not is_free(name)
                keep.close()
            assert is_free(name), f"held after an exception at step {n}"
            assert view.read_byte(0) == 0
        if not at.reached:
            break
    assert n > 3
    assert others_get_through()


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("name", ["Global\\n", *campaign("n")])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_signals_at_random_moments_leave_no_hold_and_no_lock(operation: str, name: str, path: str) -> None:
    do = OPERATIONS[operation]
    armed = False

    def handler(*_: object) -> None:
        nonlocal armed
        if armed:
            armed = False
            raise Interrupt

    met = 0
    limit = signal.setitimer(signal.ITIMER_REAL, 0)  # the test's own, of pytest-timeout
    before = signal.signal(signal.SIGALRM, handler)
    try:
        for i in range(300):
            keep = MemoryMappedFile.create_new(name, 64) if operation == "open" else None
            map_ = None
            armed = True
            try:
                signal.setitimer(signal.ITIMER_REAL, random.random() * 1.5e-4 + 1e-6)
                map_ = do(name, path)
                if map_ is not None:
                    map_.close()
                armed = False
            except Interrupt:
                met += 1
            signal.setitimer(signal.ITIMER_REAL, 0)
            armed = False
            map_ = None
            if keep is not None:
                keep.close()
            assert is_free(name), f"held after round {i}"
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        signal.setitimer(signal.ITIMER_REAL, *limit)
    assert met > 3, "no signal came in between: the test has to be adapted to this machine"
    assert others_get_through()
    assert objects() == []


def test_what_was_dropped_is_not_held_by_children_either(run: Callable[..., subprocess.Popen[str]]) -> None:
    child = run(
        """
import os
from memorymapped import MemoryMappedFile
from memorymapped.system.linux.maps import create_memory
from memorymapped.system.linux.objects import CREATE
from memorymapped.system.names import parse
from memorymapped.enums import MemoryMappedFileAccess as Access

memory = create_memory(parse("n"), CREATE, 64, Access.READ_WRITE, reserve=True, inheritable=False, security=None)
del memory  # nobody has made a map of it yet
reading, writing = os.pipe()
if os.fork() == 0:
    os.read(reading, 1)
    os._exit(0)
MemoryMappedFile.create_new("n", 64).close()
os.write(writing, b"1")
os.wait()
"""
    )
    assert child.wait(20) == 0


# ---------------------------------------------------------------------------------------------------- while forking

_FORKS = """
import os, random, signal, sys, threading
sys.unraisablehook = lambda *_: None  # what a handler raises within a hook
from memorymapped import MemoryMappedFile, Mutex

maps = [MemoryMappedFile.create_new(f"n{i}", 16) for i in range(300)]
mutexes = [Mutex(False, sys.argv[1] + f"-{i}") for i in range(20)]

def handler(*_):
    HANDLER
signal.signal(signal.SIGALRM, handler)
for turn in range(60):
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.0005 + random.random() * 0.008)
        pid = os.fork()
        if pid == 0:
            os._exit(0)
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
    signal.setitimer(signal.ITIMER_REAL, 0)
    thread = threading.Thread(target=lambda: MemoryMappedFile.create_new("t", 1).close(), daemon=True)
    thread.start()
    thread.join(10)
    if thread.is_alive():
        print("locked", flush=True)
        os._exit(1)
while True:
    try:
        os.wait()
    except ChildProcessError:
        break
for map in maps:
    assert map.name_alive
    map.close()
for i in range(300):
    MemoryMappedFile.create_new(f"n{i}", 16).close()
for mutex in mutexes:
    mutex.close()
assert len(os.listdir("/proc/self/fd")) < 20, os.listdir("/proc/self/fd")
print("fine")
"""


@pytest.mark.parametrize("handler", ["raise KeyboardInterrupt", "maps.pop().close()", "maps.append(make())"])
def test_a_signal_during_a_fork_leaves_no_lock_and_no_hold(
    run: Callable[..., subprocess.Popen[str]], tag: str, handler: str
) -> None:
    make = "count = iter(range(10**6))\ndef make(): return MemoryMappedFile.create_new(f'more{next(count)}', 16)\n"
    code = _FORKS.replace("HANDLER", handler).replace("def handler", make + "def handler")
    child = run(code, tag, stderr=subprocess.PIPE)
    out, errors = child.communicate(timeout=50)
    assert (child.returncode, out) == (0, "fine\n"), errors


_HOOK = """
import os
def before():
    if maps:
        maps[0].close()  # the first of two
        maps.append(MemoryMappedFile.create_new("made", 16))
def in_child():
    if maps:
        maps[1].close()
# Registered before ours: `before` is called after ours, and `in_child` before ours.
os.register_at_fork(before=before, after_in_child=in_child)
maps = []
from memorymapped import MemoryMappedFile

def is_free(name):
    try:
        MemoryMappedFile.open_existing(name).close()
    except FileNotFoundError:
        return True
    return False

first, second = (MemoryMappedFile.create_new(n, 16) for n in ("first", "second"))
maps[:] = [first, second]
reading, writing = os.pipe()
pid = os.fork()
if pid == 0:
    os.read(reading, 1)
    made = maps.pop()
    maps.clear()
    assert first.closed and second.closed and not made.closed
    with made.create_view_accessor() as view:
        view[0] = 1  # usable, though it does not hold
    made.close()
    os._exit(0)
assert first.closed
assert is_free("first")
assert second.name_alive and not is_free("second")
os.write(writing, b"1")
assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
assert second.name_alive and not is_free("second")
made = maps.pop()
maps.clear()
assert not is_free("made")
made.close()
second.close()
assert is_free("second") and is_free("made")
"""


def test_maps_made_and_closed_by_other_hooks_of_a_fork(run: Callable[..., subprocess.Popen[str]]) -> None:
    assert run(_HOOK).wait(20) == 0

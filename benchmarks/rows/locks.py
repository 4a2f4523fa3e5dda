# SPDX-License-Identifier: MIT
"""Rows 6a to 6d: a lock between processes, free, contended, and handed over; row 7c: a named lock opened and closed.

`Mutex` is .NET's named mutex and robust: who dies leaves it to the next one. None of the others is, but filelock's. Two
processes (`pair.py`) contend; .NET's contend as two threads of one process, through the same file and futex."""

from __future__ import annotations

import contextlib
import functools
import importlib
import multiprocessing
import os
import statistics
import subprocess
import sys
import threading
import time
from array import array
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from memorymapped.sync.mutex import Mutex

from .. import native
from ..bench import Bench, row
from ..loops import call, statement
from ..model import DOTNET, Case, Goal, Loop
from ..pair import COUNT, STAMP, TURN, Side, paired


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


posix_ipc = _optional("posix_ipc")
filelock = _optional("filelock")
fair = _optional("memorymapped.sync.fair")
_ABSENT = "is not installed (the extra `bench` brings it)"

CONTENDED = 50_000  # acquisitions of both processes in a turn
SECTION = 20_000  # nanoseconds of work under the lock
SECTIONS = 4_000
HANDED = 40  # hand-overs in a turn
ASLEEP = 100_000  # nanoseconds after which who waits is asleep
OTHERS = 1_000


class _Lock(NamedTuple):
    """A lock: its title, how it is taken and released, and for `with`."""

    title: str
    acquire: Callable[[], object]
    release: Callable[[], object]
    lock: Any
    ours: bool = False


def _name(what: str) -> str:
    return f"benchmark-{os.getpid()}-{what}"


@contextlib.contextmanager
def _locks(bench: Bench, case: Case, *, files: bool = True, threads: bool = False) -> Iterator[list[_Lock]]:
    """The peers in Python; the first is the base."""
    with contextlib.ExitStack() as stack:
        one = multiprocessing.Lock()
        locks = [_Lock("multiprocessing.Lock", one.acquire, one.release, one)]
        if threads:
            recursive, inside = multiprocessing.RLock(), threading.Lock()
            locks += [
                _Lock("multiprocessing.RLock", recursive.acquire, recursive.release, recursive),
                _Lock("threading.Lock, of one process", inside.acquire, inside.release, inside),
            ]
        if posix_ipc is None:
            case.leave_out("posix_ipc.Semaphore", f"posix_ipc {_ABSENT}")
        else:
            semaphore = posix_ipc.Semaphore(f"/{_name('lock')}", posix_ipc.O_CREX, initial_value=1)
            stack.callback(semaphore.close)
            stack.callback(semaphore.unlink)
            locks.append(_Lock("posix_ipc.Semaphore", semaphore.acquire, semaphore.release, semaphore))
        if files and filelock is None:
            case.leave_out("filelock", f"filelock {_ABSENT}")
        elif files:
            file = filelock.FileLock(bench.workspace.memory / "lock")
            locks.append(_Lock("filelock", file.acquire, file.release, file))
        mutex = stack.enter_context(contextlib.closing(Mutex(name=_name("lock"))))
        locks.append(_Lock("Mutex, named", mutex.acquire, mutex.release, mutex, ours=True))
        yield locks


def _fair() -> Any:
    return fair.FairMutex(name=_name("fair"))


# ---------------------------------------------------------------------------------------------------------- free


@row("6a")
def uncontended(bench: Bench) -> Iterator[Case]:
    case = Case("6a", "acquire + release, free")
    goals = {"Mutex, named": (Goal(1.30), Goal(0.20, DOTNET))}
    with contextlib.ExitStack() as stack:
        locks = stack.enter_context(_locks(bench, case, threads=True))
        if fair is not None:
            one = stack.enter_context(contextlib.closing(_fair()))
            locks.append(_Lock("FairMutex", one.acquire, one.release, one, ours=True))
        stack.enter_context(bench.dotnet.peers(case, ("Mutex", "mutex_lock", f"Global\\{_name('net')}")))
        for lock in locks:
            loop = statement("acquire()\nrelease()", acquire=lock.acquire, release=lock.release)
            _add(case, lock, loop, goals)
        case.peers.sort(key=lambda peer: peer.name != "multiprocessing.Lock")  # the base
        yield case


@row("6b")
def as_context(bench: Bench) -> Iterator[Case]:
    case = Case("6b", "with lock: pass")
    with _locks(bench, case, threads=True) as locks:
        for lock in locks:
            _add(case, lock, statement("with lock:\n    pass", lock=lock.lock), {"Mutex, named": (Goal(0.65),)})
        yield case


def _add(case: Case, lock: _Lock, loop: Loop, goals: dict[str, tuple[Goal, ...]]) -> None:
    if lock.ours:
        case.ours(lock.title, loop, *goals.get(lock.title, ()))
    else:
        case.peer(lock.title, loop)


# ----------------------------------------------------------------------------------------------------- contended


def _tiny(lock: _Lock) -> Side:
    """Adds one to a shared number under the lock, until both have done so `times` times."""

    def side(who: int, numbers: Any, times: int) -> array[int]:
        acquire, release, count = lock.acquire, lock.release, COUNT
        while True:
            acquire()
            done = numbers[count]
            numbers[count] = done + 1
            release()
            if done >= times:
                return array("q")

    return side


@row("6c")
def contended(bench: Bench) -> Iterator[Case]:
    case = Case("6c", "acquire + release, two processes without pause")
    goals = {"Mutex, named": (Goal(1 / 1.5),)}
    with contextlib.ExitStack() as stack:
        for lock in stack.enter_context(_locks(bench, case, files=False)):
            pair = stack.enter_context(paired(_tiny(lock)))
            _add(case, lock, Loop(functools.partial(_elapsed, pair, CONTENDED), CONTENDED), goals)
        name = f"Global\\{_name('net')}"
        with bench.dotnet.peers(case, ("Mutex, two threads", "mutex_contended", name)):
            yield case


def _elapsed(pair: Any, times: int, turns: int) -> float:
    return float(sum(pair.run(times)[0] for _ in range(turns)))


def _working(lock: _Lock) -> Side:
    """Holds the lock for SECTION at a time. Measures how long each acquisition took that found it with the other."""

    def side(who: int, numbers: Any, times: int) -> array[int]:
        acquire, release, clock, waits = lock.acquire, lock.release, time.perf_counter_ns, array("q")
        while True:
            asked = clock()
            acquire()
            begin = clock()
            if numbers[TURN] != who:
                numbers[TURN] = who
                waits.append(begin - asked)
            done = numbers[COUNT]
            numbers[COUNT] = done + 1
            while clock() < begin + SECTION:
                pass
            release()
            if done >= times:
                return waits

    return side


@row("6d")
def working(bench: Bench) -> Iterator[Case]:
    sections = SECTIONS // 4 if bench.quick else SECTIONS
    work = Case("6d", "20 us of work under the lock, two processes: time for each")
    wait = Case("6d", "the same: how long who waits for the other waits, median")
    with contextlib.ExitStack() as stack:
        locks = stack.enter_context(_locks(bench, work, files=False))
        if fair is None:
            wait.leave_out("FairMutex", "there is none yet")
        else:
            one = stack.enter_context(contextlib.closing(_fair()))
            locks.append(_Lock("FairMutex", one.acquire, one.release, one, ours=True))
        floor = stack.enter_context(_floor(wait))
        if floor is not None:
            wait.peer("the owner's work, and a hand-over by futex in C", _and_work(floor))
        for lock in locks:
            pair = stack.enter_context(paired(_working(lock)))
            loop = Loop(functools.partial(_elapsed, pair, sections), sections)
            # The rate of the plain mutex: 0.98 of that of the base.
            _add(work, lock, loop, {"Mutex, named": (Goal(1 / 0.98),)})
            goals = {"FairMutex": (Goal(2.0, "the owner's work"),)} if floor is not None else {}
            _add(wait, lock, Loop(functools.partial(_median_wait, pair, sections)), goals)
        yield work
        yield wait


def _and_work(floor: Loop) -> Loop:
    return Loop(lambda turns: floor.run(turns) + SECTION * floor.batch * turns, floor.batch)


def _median_wait(pair: Any, times: int, turns: int) -> float:
    """As if `turns` had waited; a run without any change of hands: as long as it took."""
    elapsed, waits = pair.run(times)
    return turns * (statistics.median(waits) if waits else elapsed)


# ---------------------------------------------------------------------------------------------------- hand-over


def _handing(lock: _Lock) -> Side:
    """The two take the lock in turns, each when the other has long been asleep. Measures from before the release until
    after the acquisition."""

    def side(who: int, numbers: Any, times: int) -> array[int]:
        acquire, release, clock, taken = lock.acquire, lock.release, time.perf_counter_ns, array("q")
        while numbers[TURN] != who:
            pass
        for _ in range(times):
            acquire()
            now = clock()
            if numbers[STAMP]:
                taken.append(now - numbers[STAMP])
            numbers[TURN] = 1 - who  # which now comes, and waits
            while clock() < now + ASLEEP:
                pass
            numbers[STAMP] = clock()
            release()
            while numbers[TURN] != who:  # until the other has it
                pass
        numbers[TURN] = 1 - who
        return taken

    return side


def _mean(pair: Any, turns: int) -> float:
    total = 0.0
    for _ in range(turns):
        taken = pair.run(HANDED)[1]
        total += statistics.median(taken) * HANDED
    return total


@contextlib.contextmanager
def _floor(case: Case) -> Iterator[Loop | None]:
    """A hand-over by futex(2) alone, in C."""
    try:
        function = native.library().hand_over
    except native.Unavailable as reason:
        case.leave_out("futex in C", str(reason))
        yield None
        return

    def side(who: int, numbers: Any, times: int) -> array[int]:
        taken = array("q", bytes(8 * times))
        function(native.address(numbers) + 8 * COUNT, who, times, ASLEEP, taken.buffer_info()[0])
        return taken[1:] if who == 0 else taken

    with paired(side) as pair:
        yield Loop(functools.partial(_mean, pair), HANDED)


@row("6e")
def handed_over(bench: Bench) -> Iterator[Case]:
    case = Case("6e", "from the release to the one who was asleep")
    with contextlib.ExitStack() as stack:
        floor = stack.enter_context(_floor(case))
        if floor is not None:
            case.peer("futex in C", floor)
        locks = stack.enter_context(_locks(bench, case, files=False))
        if fair is not None:
            one = stack.enter_context(contextlib.closing(_fair()))
            locks.append(_Lock("FairMutex", one.acquire, one.release, one, ours=True))
        for lock in locks:
            pair = stack.enter_context(paired(_handing(lock)))
            goals = {"Mutex, named": (Goal(1.10, "futex in C"),)} if floor is not None else {}
            _add(case, lock, Loop(functools.partial(_mean, pair), HANDED), goals)
        yield case


# ------------------------------------------------------------------------------------------------- open and close

_HOLDER = """
import sys
from memorymapped.sync.mutex import Mutex
held = [Mutex(name=name) for name in sys.argv[1:]]
print("open", flush=True)
sys.stdin.read()
for mutex in held:
    mutex.close()
"""


@contextlib.contextmanager
def _held_elsewhere(*names: str) -> Iterator[None]:
    """Another process has these mutexes open: this one has to find them, and is not their last user."""
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, *names], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        yield


@row("7c")
def opening(bench: Bench) -> Iterator[Case]:
    name = f"Global\\{_name('open')}"
    with _held_elsewhere(name):
        case = Case("7c", "open + close a named lock that another process has")
        with contextlib.ExitStack() as stack:
            _posix_opening(case, stack)
            case.ours("Mutex", _opening(name), Goal(2.0), Goal(1 / 8, DOTNET))
            case.ours("Mutex.open_existing", call("open(name).close()", open=Mutex.open_existing, name=name))
            stack.enter_context(bench.dotnet.peers(case, ("Mutex.OpenExisting", "mutex_open", name)))
            yield case
        case = Case("7c", f"the same while {OTHERS} others are open")
        with contextlib.ExitStack() as stack:
            _posix_opening(case, stack)
            with _many_files():
                others = [Mutex(name=_name(str(i))) for i in range(OTHERS)]
                try:
                    case.ours("Mutex", _opening(name))
                    yield case
                finally:
                    for mutex in others:
                        mutex.close()


def _opening(name: str) -> Loop:
    return call("Mutex(name=name).close()", Mutex=Mutex, name=name)


def _posix_opening(case: Case, stack: contextlib.ExitStack) -> None:
    if posix_ipc is None:
        case.leave_out("posix_ipc.Semaphore", f"posix_ipc {_ABSENT}")
        return
    name = f"/{_name('open')}"
    posix_ipc.Semaphore(name, posix_ipc.O_CREX, initial_value=1).close()  # so that each opening has to map it
    stack.callback(posix_ipc.unlink_semaphore, name)
    case.peer("posix_ipc.Semaphore", call("open(name).close()", open=posix_ipc.Semaphore, name=name))


@contextlib.contextmanager
def _many_files() -> Iterator[None]:
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard if hard != resource.RLIM_INFINITY else 8 * OTHERS, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


ROWS = (uncontended, as_context, contended, working, handed_over, opening)

# SPDX-License-Identifier: MIT
"""Many processes race for one name, and are killed at random, now and then all of them.

What is true must be known independently of what is tested. So each process has a place in a ledger, memory that all of
them share (a memfd, mapped with `mmap`): there it writes which generation it holds, after it got it and before it gives
it back, and whoever kills it says so first. An operation reads the ledger before and after: a process whose entry was
the same both times, and that was not dying at the end, held its generation during all of the operation. So

- there is at most one such generation; more: the name has split;
- who opens gets that generation; "not found": the name has vanished;
- who creates a new one finds that there is none.

Each generation is created by one process, which logs it; it finds zeros, and writes its mark in all words. Whoever has
a generation sees marks of one process, or zeros, and in views of an old generation too.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import mmap
import os
import random
import select
import signal
import sys
import time
import traceback
from array import array
from pathlib import Path
from typing import NamedTuple

from memorymapped import MemoryMappedFile, NameInUseError

__all__ = ["Result", "race"]

PROCESSES = 512  # places in the ledger; those of forked children come behind the others
LOG = 4096  # words of a process's log of creations
COUNTERS = ("operations", "in_use", "opened", "not_found", "forks", "longest_us")
WORDS = 128  # of 8 bytes in the map

# The ledger, in words: for each process these, then the logs; word 0 is set when all are to end.
_PIDS, _SEQUENCE, _HELD, _DYING = (64 + PROCESSES * i for i in range(4))
_COUNTERS = 64 + PROCESSES * 4
_LOGGED = _COUNTERS + PROCESSES * len(COUNTERS)
_LOGS = _LOGGED + PROCESSES
_END = _LOGS + PROCESSES * LOG


class Wrong(Exception):
    """What must never be."""


class Result(NamedTuple):
    """What happened. `wrong`: what must never, as text."""

    wrong: list[str]
    counters: dict[str, int]
    kills: int
    all_killed: int
    generations: int
    seconds: float


class Racer:
    """One of the processes."""

    def __init__(self, ledger: memoryview, name: str, place: int, processes: int, seed: str) -> None:
        self.words = ledger
        self.name = name
        self.place = place
        self.processes = processes
        self.random = random.Random(seed)
        self.id = self.random.getrandbits(63) | 1
        self.map: MemoryMappedFile | None = None
        self.old = None
        self.child = 0
        ledger[_PIDS + place] = os.getpid()
        os.nice(5)  # who kills comes first

    def count(self, what: str, by: int = 1) -> None:
        self.words[_COUNTERS + COUNTERS.index(what) * PROCESSES + self.place] += by

    # -- the ledger

    def say_held(self, inode: int) -> None:
        self.words[_HELD + self.place] = inode
        self.words[_SEQUENCE + self.place] += 1

    def _copy(self, first: int) -> array[int]:
        return array("Q", self.words[first : first + 2 * self.processes].tobytes())

    def before(self) -> None:
        # The sequence before what is held, and after the operation in the other order: then an entry that is the same
        # was so for all of the time between.
        self.sequence = self._copy(_SEQUENCE)
        self.held = self._copy(_HELD)
        self.started = time.monotonic()

    def after(self) -> set[int]:
        """The generations that were held by another all the time."""
        longest = _COUNTERS + COUNTERS.index("longest_us") * PROCESSES + self.place
        self.words[longest] = max(self.words[longest], int((time.monotonic() - self.started) * 1e6))
        self.count("operations")
        held, sequence = self._copy(_HELD), self._copy(_SEQUENCE)
        dying = self._copy(_DYING)
        all_the_time = {
            inode
            for i, inode in enumerate(held)
            if inode and inode == self.held[i] and sequence[i] == self.sequence[i] and not dying[i]
        }
        if len(all_the_time) > 1:
            raise Wrong(f"the name has split: {sorted(all_the_time)} were held at one time")
        return all_the_time

    # -- operations

    def take(self) -> None:
        """Gets the name in one of three ways."""
        way = self.random.choice(("open", "create", "either"))
        self.before()
        try:
            if way == "open":
                self.map = MemoryMappedFile.open_existing(self.name)
            elif way == "create":
                self.map = MemoryMappedFile.create_new(self.name, WORDS * 8)
            else:
                self.map = MemoryMappedFile.create_or_open(self.name, WORDS * 8)
        except FileNotFoundError:
            if self.after():
                raise Wrong(f"the name has vanished: {way} did not find it while others held it") from None
            if way == "create":
                raise
            self.count("not_found")
            return
        except NameInUseError:
            self.after()
            if way != "create":
                raise
            self.count("in_use")
            return
        inode = self.map.generation[1]
        others = self.after()
        if way == "create" and others:
            raise Wrong(f"{inode} was created while {others} was held")
        if others - {inode}:
            raise Wrong(f"{way} gave {inode} while {others} was held")
        self.say_held(inode)
        if way == "create":
            self.mark(inode)
        else:
            self.count("opened")
        self.look()

    def mark(self, inode: int) -> None:
        assert self.map is not None
        logged = self.words[_LOGGED + self.place]
        if logged < LOG:
            self.words[_LOGS + self.place * LOG + logged] = inode
            self.words[_LOGGED + self.place] = logged + 1
        with self.map.create_view_accessor() as view:
            if view.read_bytes(0, WORDS * 8) != bytes(WORDS * 8):
                raise Wrong(f"the fresh memory of {inode} is not zero")
            words = view.cast("Q")
            for i in range(1, WORDS):
                words[i] = self.id
            words[0] = inode

    def look(self) -> None:
        if self.map is not None:
            if not self.map.name_alive:
                raise Wrong(f"the name does not lead to {self.map.generation[1]} any more, which is held")
            with self.map.create_view_accessor() as view:
                self.check(view.read_bytes(0, WORDS * 8), self.map.generation[1])
        if self.old is not None:
            self.check(self.old[0].read_bytes(0, WORDS * 8), self.old[1])

    @staticmethod
    def check(content: bytes, inode: int) -> None:
        words = array("Q", content)
        marks = set(words[1:])
        if words[0] not in (0, inode):
            raise Wrong(f"{inode} has the bytes of {words[0]}")
        if len(marks - {0}) > 1 or (words[0] and len(marks) > 1):
            raise Wrong(f"{inode} has the marks of two creators: {marks}")

    def keep_a_view(self) -> None:
        """Of the generation that is going to be old."""
        assert self.map is not None
        if self.old is not None:
            self.old[0].close()
        self.old = self.map.create_view_accessor(), self.map.generation[1]

    def let_go(self) -> None:
        assert self.map is not None
        self.say_held(0)
        self.before()
        self.map.close()
        self.after()
        self.map = None

    # -- children

    def fork(self) -> None:
        """A child that holds what this process holds, does a few things and ends in one of several ways."""
        place = self.processes + self.place
        if self.words[_PIDS + place]:
            return
        self.words[_DYING + place] = 0
        seed = f"{self.random.getrandbits(64)}"
        pid = os.fork()
        if pid == 0:
            guarded(lambda: self.be_child(place, seed))
        self.count("forks")
        self.child = pid

    def be_child(self, place: int, seed: str) -> None:
        self.place = place
        self.words[_PIDS + place] = os.getpid()
        self.random = random.Random(seed)
        self.child = 0
        assert self.map is not None
        self.say_held(self.map.generation[1])
        self.look()
        for _ in range(self.random.randrange(6)):
            self.step(may_fork=False)
        how = self.random.randrange(3)
        if how == 0 and self.map is not None:
            self.let_go()
        if how == 1:
            self.words[_DYING + place] = 1
            os.kill(os.getpid(), signal.SIGKILL)
        self.say_held(0)

    def reap(self, flags: int = os.WNOHANG) -> None:
        if self.child and os.waitpid(self.child, flags)[0]:
            clear(self.words, self.processes + self.place)
            self.child = 0

    # -- all together

    def step(self, *, may_fork: bool = True) -> None:
        self.reap()
        if self.map is None:
            self.take()
            return
        do = self.random.randrange(100)
        if do < 55:
            if do < 10:
                self.keep_a_view()
            self.let_go()
        elif do < 56 and may_fork and not self.child:
            self.fork()
        elif do < 80:
            self.before()
            with MemoryMappedFile.create_or_open(self.name, 8) as again:
                if again.generation != self.map.generation:
                    raise Wrong(f"{again.generation} was opened by who holds {self.map.generation}")
            self.after()
        else:
            self.look()

    def rest(self) -> None:
        """Until the others start again too, mostly without the name: else it would never be free."""
        if self.random.random() < (0.7 if self.map is None else 0.1 / self.processes):
            beat = 0.0003 * self.processes
            select.select([], [], [], beat - time.monotonic() % beat)

    def run(self) -> None:
        while not self.words[0]:
            self.step()
            self.rest()
        self.reap(0)
        if self.map is not None:
            self.let_go()
        if self.old is not None:
            self.old[0].close()
        self.words[_PIDS + self.place] = 0


def clear(words: memoryview, place: int) -> None:
    """The process of this place has ended."""
    words[_HELD + place] = 0
    words[_SEQUENCE + place] += 1
    words[_PIDS + place] = 0


errors = -1  # a pipe for what went wrong


def guarded(run: object) -> None:
    """Runs it to the end of this process."""
    status = 0
    try:
        run()  # type: ignore[operator]
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        os.write(errors, f"process {os.getpid()}: {traceback.format_exc()[-2000:]}\0".encode())
        status = 1
    finally:
        os._exit(status)


def be_started(fd: int, error_pipe: int, name: str, place: int, processes: int, seed: str) -> None:
    """A racer that was started as a program of its own."""
    global errors
    errors = error_pipe
    ledger = memoryview(mmap.mmap(fd, _END * 8)).cast("Q")
    guarded(Racer(ledger, name, place, processes, seed).run)


def race(name: str, seed: int, processes: int, seconds: float, *, started: int = 2, every: float = 0.0007) -> Result:
    """`processes` race for `seconds`, and until one has created and another opened. `started` of them are programs of
    their own, the others are forked from this process. One is killed every `every` seconds on average, and all of them
    about once in two seconds."""
    global errors
    import ctypes

    assert 2 * processes <= PROCESSES
    ctypes.CDLL(None).prctl(36, 1, 0, 0, 0)  # PR_SET_CHILD_SUBREAPER: who outlives its parent is ours
    heard, errors = os.pipe()
    os.set_blocking(heard, False)
    fd = os.memfd_create("ledger")
    os.ftruncate(fd, _END * 8)
    block = mmap.mmap(fd, _END * 8)
    words = memoryview(block).cast("Q")
    chance = random.Random(f"{seed}")
    gc.freeze()
    living: dict[int, int] = {}  # pid to place
    vacant: list[int] = []
    born = [0]

    def start(place: int) -> None:
        born[0] += 1
        own = f"{seed} {place} {born[0]}"
        words[_DYING + place] = 0
        if place < started:
            code = f"import sys; sys.path.insert(0, {str(Path(__file__).parent.parent)!r})\n"
            code += "from support.racing import be_started\n"
            code += f"be_started({fd}, {errors}, {name!r}, {place}, {processes}, {own!r})"
            for inherited in (fd, errors):
                os.set_inheritable(inherited, True)
            command = [sys.executable, "-W", "error", "-c", code]
            living[os.posix_spawn(sys.executable, command, os.environ)] = place
            return
        pid = os.fork()
        if pid == 0:
            guarded(lambda: Racer(words, name, place, processes, own).run())
        living[pid] = place

    def kill(pid: int, place: int) -> None:
        words[_DYING + place] = 1
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def reap() -> bool:
        """Those who have ended. Whether there is any process left."""
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            place = living.pop(pid, None)
            if place is not None:
                clear(words, place)
                vacant.append(place)
                continue
            for place in range(processes, 2 * processes):  # a child whose parent was killed
                if words[_PIDS + place] == pid:
                    clear(words, place)

    def fill() -> None:
        """New ones in the places of the dead: when all that those had forked have ended too, which may be there without
        having told us yet."""
        if vacant and not children() - living.keys():
            while vacant:
                start(vacant.pop())

    def wait_for_all(what: str) -> None:
        deadline = time.monotonic() + 30
        while reap():
            if time.monotonic() > deadline:
                wrong.append(f"{len(living)} processes have not ended within 30 s after {what}")
                for pid in children():
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(-1, 0)
            select.select([], [], [], 0.002)

    def children() -> set[int]:
        with open(f"/proc/self/task/{os.getpid()}/children") as file:
            return set(map(int, file.read().split()))

    def look() -> None:
        """Nobody is left."""
        try:
            MemoryMappedFile.open_existing(name).close()
            wrong.append("the name was found although all of its holders are dead")
        except FileNotFoundError:
            pass
        with MemoryMappedFile.create_new(name, WORDS * 8) as new, new.create_view_accessor() as view:
            if view.read_bytes(0, WORDS * 8) != bytes(WORDS * 8):
                wrong.append("fresh memory is not zero after the death of all")

    def listen() -> None:
        with contextlib.suppress(BlockingIOError):
            wrong.extend(os.read(heard, 65536).decode(errors="replace").split("\0")[:-1])

    def counts(what: str) -> list[int]:
        first = _COUNTERS + COUNTERS.index(what) * PROCESSES
        return words[first : first + PROCESSES].tolist()

    def raced() -> bool:
        return any(words[_LOGGED : _LOGGED + PROCESSES]) and any(counts("opened"))

    wrong: list[str] = []
    kills = all_killed = 0
    began = time.monotonic()
    end = began + seconds
    last = began
    try:
        for place in range(processes):
            start(place)
        while not wrong and (time.monotonic() < end or not raced()) and time.monotonic() < end + 30:
            select.select([heard], [], [], chance.expovariate(1 / every))
            if time.monotonic() > last + 2 * chance.uniform(0.5, 1.5):
                for place in range(2 * processes):
                    words[_DYING + place] = 1
                for pid in children():
                    kill(pid, living.get(pid, 0))
                    kills += 1
                wait_for_all("all were killed")
                for place in range(2 * processes):
                    clear(words, place)
                    words[_DYING + place] = 0
                all_killed += 1
                listen()
                look()
                fill()
                last = time.monotonic()
            else:
                place = (
                    chance.randrange(started, 2 * processes)
                    if chance.random() < 0.99
                    else chance.randrange(started or 1)
                )
                pid = words[_PIDS + place]
                if pid:
                    kill(pid, place)
                    kills += 1
            reap()
            fill()
            listen()
        words[0] = 1
        wait_for_all("the end")
        listen()
        look()
    finally:
        for pid in list(living):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)
    took = time.monotonic() - began
    logs = []
    for place in range(2 * processes):
        first = _LOGS + place * LOG
        logs += words[first : first + words[_LOGGED + place]].tolist()
    twice = collections.Counter(logs) - collections.Counter(set(logs))
    wrong.extend(f"{inode} was created by {more + 1} processes" for inode, more in twice.items())
    counters = {}
    for what in COUNTERS:
        counters[what] = max(counts(what)) if what == "longest_us" else sum(counts(what))
    words.release()
    block.close()
    for each in (fd, heard, errors):
        os.close(each)
    return Result(wrong, counters, kills, all_killed, len(logs), took)

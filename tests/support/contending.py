# SPDX-License-Identifier: MIT
"""Processes contend for a lock and are killed at random, now and then all of them.

What the lock guards is two numbers, of which an owner raises first the one, then the other, and which therefore differ
only while somebody writes, or after he died. Whoever sees them differ must have been told of a death. Of a fair mutex
also: who gets it came after who had it before, as the numbers say that they drew when they came. And it goes on: a
number that every owner raises never stands still. Some wait as tasks of an event loop, two at a time, of which one may
be cancelled."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple

from memorymapped import AbandonedMutexError, MemoryMappedFile
from memorymapped.sync.atomics import AtomicInt64, AtomicUInt32
from memorymapped.sync.conditions import MappedCondition
from memorymapped.sync.fair import FairMutex
from memorymapped.sync.mapped import MappedLock
from memorymapped.sync.readers import MappedReaderWriterLock

from .here import WINDOWS, fd_in_child, passing, ready

__all__ = ["Result", "contend"]

# Seconds without progress that are a hang: every wait is bounded by 0.25 s, on an idle machine, and by how long a
# process takes to begin.
STILL = 20.0 if WINDOWS else 5.0
AT_ONCE = 1.0
TIMES = (None, None, None, 0.001, 0)


class Wrong(Exception):
    """What must never be."""


class Result(NamedTuple):
    """What happened. `wrong`: what must never, as text."""

    wrong: list[str]
    turns: int
    told: int
    kills: int
    all_killed: int


class Ground:
    """What the processes share."""

    def __init__(self, map_: MemoryMappedFile) -> None:
        self.map = map_
        self.view = self.map.create_view_accessor()
        self.first, self.second, self.turns, self.told, self.ended = (AtomicInt64(self.view, 8 * i) for i in range(5))
        self.ticket = AtomicUInt32(self.view, 64)

    def check(self, told: bool) -> None:
        one, two = self.first.load(), self.second.load()
        if one != two and not told:
            raise Wrong(f"nobody was told of a death: {one} and {two}")

    def repair(self) -> None:
        """As an owner who was told."""
        self.told.fetch_add()
        self.second.store(self.first.load())

    def write(self, told: bool, chance: random.Random) -> None:
        """As an owner."""
        if told:
            self.repair()
        self.check(False)
        self.first.fetch_add()
        for _ in range(chance.randrange(30)):
            pass
        self.second.fetch_add()
        self.turns.fetch_add()


def taken(lock: Any, timeout: float | None) -> bool | None:
    """None: not taken; or whether this process was told."""
    try:
        return False if lock.wait_one(timeout) else None
    except AbandonedMutexError:
        return True


async def taken_by_task(lock: Any, timeout: float | None) -> bool | None:
    try:
        return False if await lock.wait_one_async(timeout) else None
    except AbandonedMutexError:
        return True


class Loop:
    """An event loop that runs now and then."""

    def __init__(self, chance: random.Random) -> None:
        self.loop = asyncio.new_event_loop()
        self.chance = chance

    def run(self, turn: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Two tasks take a turn; at times one is cancelled."""

        async def both() -> None:
            tasks = [asyncio.ensure_future(turn()) for _ in range(2)]
            if self.chance.random() < 0.3:
                await asyncio.sleep(self.chance.choice((0, 0.001)))
                tasks[0].cancel()
            for result in await asyncio.gather(*tasks, return_exceptions=True):
                if isinstance(result, Exception):
                    raise result

        self.loop.run_until_complete(both())


def be_fair(ground: Ground, chance: random.Random) -> Callable[[], None]:
    mutex = FairMutex(name="contended")
    loop = Loop(chance)

    def turn() -> None:
        if chance.random() < 0.02:
            loop.run(by_task)
        else:
            own(taken(mutex, chance.choice(TIMES)))

    async def by_task() -> None:
        own(await taken_by_task(mutex, chance.choice(TIMES)))

    def own(told: bool | None) -> None:
        if told is None:
            return
        ticket, last = mutex._core.ticket, ground.ticket.load()  # type: ignore[union-attr]
        if ticket == last or (ticket - last) % 2**32 >= 2**31:
            raise Wrong(f"{ticket} has overtaken {last}")
        ground.ticket.store(ticket)
        ground.write(told, chance)
        mutex.release()

    return turn


def be_mapped(ground: Ground, chance: random.Random) -> Callable[[], None]:
    lock = MappedLock(ground.view, 4096)

    def turn() -> None:
        told = taken(lock, chance.choice((None, None, 0.001, 0)))
        if told is not None:
            ground.write(told, chance)
            lock.release()

    return turn


def be_reader_or_writer(ground: Ground, chance: random.Random) -> Callable[[], None]:
    lock = MappedReaderWriterLock(ground.view, 4096)
    loop = Loop(chance)

    def turn() -> None:
        if chance.random() < 0.02:
            loop.run(by_task)
            return
        side = lock.writer if chance.random() < 0.3 else lock.reader
        have(side, taken(side, chance.choice(TIMES)))

    async def by_task() -> None:
        side = lock.writer if chance.random() < 0.3 else lock.reader
        have(side, await taken_by_task(side, chance.choice(TIMES)))

    def have(side: Any, told: bool | None) -> None:
        if side is lock.writer:
            if told is not None:
                ground.write(told, chance)
                lock.writer.release()
            return
        if told is not None:
            ground.check(told)
            before = ground.second.load()
            for _ in range(chance.randrange(100)):
                pass
            if ground.second.load() != before:
                raise Wrong("somebody wrote while this process read")
            ground.check(told)
            lock.reader.release()

    return turn


def be_waiter_or_notifier(ground: Ground, chance: random.Random) -> Callable[[], None]:
    lock = MappedLock(ground.view, 4096)
    condition = MappedCondition(ground.view, 4224, lock)
    waits = chance.random() < 0.5
    items = AtomicInt64(ground.view, 72)

    def turn() -> None:
        if taken(lock, None):
            ground.repair()
        try:
            if waits:
                while not items.load():
                    try:
                        condition.wait()
                    except AbandonedMutexError:
                        ground.repair()  # before it is released in the next wait
                items.fetch_sub()
                ground.write(False, chance)
            else:
                if items.load() < 3:
                    items.fetch_add()
                ground.check(False)
                condition.notify()
        finally:
            lock.release()

    return turn


KINDS = {
    "fair": be_fair,
    "lock": be_mapped,
    "readers": be_reader_or_writer,
    "condition": be_waiter_or_notifier,
}


def be_worker(kind: str, ground: Ground, seed: str, errors: int) -> None:
    status = 0
    try:
        chance = random.Random(seed)
        turn = KINDS[kind](ground, chance)
        while not ground.ended.load():
            turn()
    except BaseException:  # noqa: BLE001 - whatever it is, it is told
        os.write(errors, f"process {os.getpid()}: {traceback.format_exc()[-2000:]}\0".encode())
        status = 1
    finally:
        os._exit(status)


def be_spawned_worker(kind: str, name: str, seed: str, errors: int) -> None:
    be_worker(kind, Ground(MemoryMappedFile.open_existing(name)), seed, errors)


class Forked:
    """A worker."""

    def __init__(self, kind: str, ground: Ground, seed: str, errors: int) -> None:
        self.pid = os.fork()
        if self.pid == 0:
            be_worker(kind, ground, seed, errors)

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def pause(self, seconds: float) -> None:
        os.kill(self.pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGCONT)

    def status(self) -> int | None:
        """None: it is at work. To be asked until it says something else."""
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return status if pid else None


class Spawned:
    """The same, where no process is forked, nor stopped."""

    def __init__(self, kind: str, ground: Ground, seed: str, errors: int) -> None:
        code = "import sys; sys.path[:0] = sys.argv[1:2]\nfrom support.contending import be_spawned_worker\n"
        code += f"be_spawned_worker(*sys.argv[2:], {fd_in_child(errors, 'O_WRONLY')})"
        tests = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, tests, kind, str(ground.map.name), seed], **passing(errors)
        )
        self.pid = self.process.pid

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def pause(self, seconds: float) -> None:
        """Not here."""

    def status(self) -> int | None:
        return self.process.poll()


def contend(kind: str, seed: int, processes: int, seconds: float, every: float = 0.001) -> Result:
    """`processes` contend for `seconds`. One is killed every `every` seconds on average, and all of them about once a
    second. Where they cannot be forked, and so begin slowly: for longer, and not before something has moved."""
    worker: type[Forked | Spawned] = Spawned if WINDOWS else Forked
    if WINDOWS:
        processes, seconds, every = min(processes, 4), 2 + 5 * seconds, 100 * every
    ground = Ground(MemoryMappedFile.create_new(f"contended-{os.getpid()}" if WINDOWS else None, 65536))
    chance = random.Random(f"{seed}")
    heard, errors = os.pipe()
    keeper = FairMutex(name="contended") if kind == "fair" else None  # so that the name lives on
    final = {
        "fair": lambda: keeper,
        "lock": lambda: MappedLock(ground.view, 4096),
        "readers": lambda: MappedReaderWriterLock(ground.view, 4096).writer,
        "condition": lambda: MappedLock(ground.view, 4096),
    }[kind]()
    living: list[Forked | Spawned] = []
    wrong: list[str] = []
    born = kills = all_killed = 0

    def start() -> None:
        nonlocal born
        born += 1
        living.append(worker(kind, ground, f"{seed} {born}", errors))

    def kill(victim: Forked | Spawned) -> None:
        nonlocal kills
        victim.kill()
        living.remove(victim)
        kills += 1

    def listen() -> None:
        if ready(heard, 0):
            wrong.extend(os.read(heard, 65536).decode(errors="replace").split("\0")[:-1])

    def after_all() -> None:
        """Everybody is dead: the lock is had at once."""
        told = taken(final, AT_ONCE)
        if told is None:
            wrong.append(f"all are dead, and the lock is not to be had: {final!r}")
            return
        if ground.first.load() != ground.second.load() and not told:
            wrong.append("all are dead, and nobody was told of it")
        ground.second.store(ground.first.load())
        final.release()
        if taken(final, 0) is not False:
            wrong.append("told once more after a repair")
        final.release()

    began = last_move = last_all = time.monotonic()
    turns = 0
    try:
        for _ in range(processes):
            start()
        while not wrong and time.monotonic() < began + seconds:
            ready(heard, chance.expovariate(1 / every))
            now = time.monotonic()
            if WINDOWS and ground.turns.load() == turns and now <= last_move + STILL:
                if not turns:
                    began = now  # nobody has begun
                continue
            if now > last_all + chance.uniform(0.5, 1.5) * (3 if WINDOWS else 1):
                while living:
                    kill(living[-1])
                all_killed += 1
                listen()
                after_all()
                last_all = last_move = time.monotonic()
            elif chance.random() < 0.02:
                chance.choice(living).pause(0.003)
            else:
                kill(chance.choice(living))
            while len(living) < processes:
                start()
            if ground.turns.load() != turns:
                turns, last_move = ground.turns.load(), now
            elif now > last_move + STILL:
                wrong.append(f"nothing has moved for {STILL} s: {final!r}")
            listen()
        ground.ended.store(1)
        deadline = time.monotonic() + STILL
        while living and kind != "condition" and not wrong:
            ended = [(each, status) for each in living if (status := each.status()) is not None]
            for each, status in ended:
                living.remove(each)
                if status:
                    listen()
                    wrong.append(f"process {each.pid} ended with status {status}")
            if ended:
                continue
            if time.monotonic() > deadline:
                wrong.append(f"{len(living)} processes wait for ever: {final!r}")
            else:
                time.sleep(0.002)
    finally:
        while living:
            kill(living[-1])
    if not wrong:
        after_all()
    if keeper is not None:
        keeper.close()
    os.close(heard)
    os.close(errors)
    ground.view.close()
    ground.map.close()
    return Result(list(collections.Counter(wrong)), ground.turns.load(), ground.told.load(), kills, all_killed)

# SPDX-License-Identifier: MIT
"""Kills after each machine instruction of a lock and an unlock.

What runs here is a process of its own (`killer`). It shares with its victims, by fork, two numbers that a lock guards:
whoever owns it raises first the one, then the other. The victim does that once, and is killed after its n-th
instruction. Then

- somebody who was waiting at that moment, in a process of its own, or else this process, gets the lock at once;
- if the numbers differ, that one is told that the owner died;
- the next one after a repair is not told.
"""

from __future__ import annotations

import collections
import contextlib
import gc
import operator
import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any

from memorymapped import AbandonedMutexError, MemoryMappedFile
from memorymapped.sync.atomics import AtomicInt64
from memorymapped.sync.fair import FairMutex
from memorymapped.sync.mapped import MappedLock
from memorymapped.sync.readers import MappedReaderWriterLock

from . import killer

__all__ = ["LIMIT", "Waiter", "kill_everywhere"]

LIMIT = 2.0  # seconds until the next one must have it: nothing has to be waited for

_map = MemoryMappedFile.create_new(None, 65536)
_view = _map.create_view_accessor()
first, second, done = (AtomicInt64(_view, at) for at in (0, 8, 16))


def locks(kind: str) -> tuple[Any, Any]:
    """What the victim takes and what the others take."""
    if kind == "fair":
        fair = FairMutex()
        return fair, fair
    if kind == "lock":
        lock = MappedLock(_view, 64)
        return lock, lock
    both = MappedReaderWriterLock(_view, 4096)
    return (both.writer if kind == "writer" else both.reader), both.writer


def take(lock: Any) -> str:
    """Gets it, says what it met, and repairs."""
    told = False
    try:
        if not lock.wait_one(LIMIT):
            return "the lock is not to be had"
    except AbandonedMutexError:
        told = True
    one, two = first.load(), second.load()
    wrong = ""
    if one != two and not told:
        wrong = f"nobody told of the death: {one} and {two}"
    second.store(one)
    lock.release()
    return wrong or ("told" if told else "whole")


class Waiter:
    """A process that takes the lock when it is asked to, and says what it met."""

    def __init__(self, lock: Any) -> None:
        there, self.to = os.pipe()
        self.ear, mouth = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.to)
                while os.read(there, 1):
                    os.write(mouth, take(lock).encode())
            except BaseException:  # noqa: BLE001 - it is told
                os.write(mouth, traceback.format_exc()[-1500:].encode())
            finally:
                os._exit(0)
        os.close(there)
        os.close(mouth)
        killer.spared.add(self.pid)

    def ask(self) -> None:
        os.write(self.to, b"w")

    def heard(self, seconds: float) -> str | None:
        if not select.select([self.ear], [], [], seconds)[0]:
            return None
        return os.read(self.ear, 4000).decode()

    def close(self) -> None:
        os.close(self.to)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        killer.spared.discard(self.pid)
        os.close(self.ear)


def kill_everywhere(kind: str, step: int, start: int = 0, *, waiting: bool = False) -> dict[str, int]:
    """A victim for every `step`-th of the instructions that are ours or the C library's: between them, in the
    interpreter, no memory of the lock changes. Counts what the next owner met."""
    gc.disable()  # it would come at another instruction each time
    lock, other = locks(kind)
    writes = (first.fetch_add, second.fetch_add) if kind != "reader" else ()
    calls = (lock.acquire, *writes, lock.release)

    def prepare() -> None:
        act()  # what happens the first time only is not what is looked at
        done.store(0)

    def act() -> None:
        collections.deque(map(operator.call, calls), 0)
        done.store(1)

    waiter = Waiter(other) if waiting else None
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # a step is a change to the victim and back
    points = ours(prepare, act)
    counts: dict[str, int] = {"points": len(points)}
    try:
        for number in points[start % step :: step]:
            one_death(number, prepare, act, other, waiter, counts)
    finally:
        if waiter is not None:
            waiter.close()
    return counts


def ours(prepare: Callable[[], None], act: Callable[[], None]) -> list[int]:
    """The numbers of the instructions after which to kill, counted from the mark. Of a loop over many mutexes, which
    does the same with each, the first two rounds and the last two."""
    files = {module.__file__ for name, module in sys.modules.items() if name.startswith("memorymapped._native.")}
    ranges = []
    with open("/proc/self/maps") as maps:
        for line in maps:
            file = line.split()[-1]
            if file in files or "/libc.so" in file or "/libc-" in file or "/libpthread" in file:
                ranges.append([int(at, 16) for at in line.split()[0].split("-")])
    addresses: dict[int, int] = {}

    def each(number: int, address: int) -> None:
        addresses[number] = address

    victim = killer.Victim(prepare, act, timeout=60)
    try:
        assert victim.step_to(1 << 20, lambda: done.load() != 0, each)
    finally:
        victim.end()
    rounds = collections.Counter(addresses.values())
    passed: collections.Counter[int] = collections.Counter()
    points = []
    before = -1
    for number, address in addresses.items():
        if any(low <= address < high for low, high in ranges):
            passed[address] += 1
            if passed[address] <= 2 or passed[address] > rounds[address] - 2:
                points.append(number)
            before = number
        elif before == number - 1:
            points.append(number)  # after the last one of them
    return points


def one_death(
    number: int,
    prepare: Callable[[], None],
    act: Callable[[], None],
    other: Any,
    waiter: Waiter | None,
    counts: dict[str, int],
) -> None:
    done.store(0)
    victim = killer.Victim(prepare, act)
    try:
        victim.step_to(number, lambda: done.load() != 0)
        if waiter is not None:
            waiter.ask()
            met = waiter.heard(0.002)  # it may be at once, or not before the victim's death
        victim.kill()
        if waiter is None:
            met = take(other)
        elif met is None:
            met = waiter.heard(2 * LIMIT)
        if met not in ("told", "whole"):
            raise AssertionError(f"killed after instruction {number}: {met}")
        again = take(other)
        if again != "whole":
            raise AssertionError(f"killed after instruction {number}, {met}; then: {again}")
        counts[met] = counts.get(met, 0) + 1
    except BaseException as error:
        error.add_note(f"at instruction {number}")
        raise
    finally:
        victim.end()

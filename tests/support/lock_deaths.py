# SPDX-License-Identifier: MIT
"""Deaths after each instruction of a lock and an unlock.

What runs here is a process of its own (`killer`). It shares with its victims, by fork, two numbers that a lock guards:
whoever owns it raises first the one, then the other. The victim does that once, and is killed after its n-th
instruction. Then

- somebody who was waiting at that moment, in a process of its own, or else this process, gets the lock at once;
- if the numbers differ, that one is told that the owner died;
- the next one after a repair is not told.
"""

from __future__ import annotations

import _thread
import collections
import gc
import operator
import os
import time
from pathlib import Path
from typing import Any

from memorymapped import AbandonedMutexError, MemoryMappedFile
from memorymapped._native import fair, mapped, readers, robust
from memorymapped.sync.atomics import AtomicInt64
from memorymapped.sync.fair import FairMutex
from memorymapped.sync.mapped import MappedLock
from memorymapped.sync.readers import MappedReaderWriterLock

from .asked import Asked
from .stepping import C_LIBRARY, Steps, unavailable

__all__ = ["LIMIT", "kill_everywhere", "unavailable"]

LIMIT = 2.0  # seconds until the next one must have it: nothing has to be waited for

_map = MemoryMappedFile.create_new(None, 65536)
_view = _map.create_view_accessor()
first, second = AtomicInt64(_view, 0), AtomicInt64(_view, 8)


def locks(kind: str) -> tuple[Any, Any]:
    """What the victim takes and what the others take."""
    if kind.startswith("fair"):
        mutex = FairMutex()
        return mutex, mutex
    if kind == "lock":
        lock = MappedLock(_view, 64)
        return lock, lock
    both = MappedReaderWriterLock(_view, 4096)
    return (both.reader if kind == "reader" else both.writer), both.writer


def _in_the_way(kind: str, lock: Any) -> Any:
    """What this process takes, so that nobody gets `lock`."""
    return MappedReaderWriterLock(_view, 4096).reader if kind == "writer in line" else lock


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


def kill_everywhere(kind: str, step: int, start: int = 0, *, waiting: bool = False) -> dict[str, int]:
    """A victim for every `step`-th of the instructions that are ours or the C library's: between them, in the
    interpreter, no memory of the lock changes. Counts what the next owner met.

    Kinds: "fair", "lock", "writer", "reader": of a free lock. "fair after deaths": behind an owner and two waiters who
    are all dead. "fair giving up": this process owns it, and the victim's time is over after a moment. "fair in line",
    "writer in line": this process owns it, or reads, and the victim takes a place as tasks do, looks, and leaves."""
    gc.disable()  # it would come at another instruction each time
    lock, other = locks(kind)
    core = lock._core
    gives_up = kind == "fair giving up"
    in_line = kind.endswith("in line")
    owned = _in_the_way(kind, lock) if gives_up or in_line else None
    writes = (first.fetch_add, second.fetch_add) if kind != "reader" else ()
    calls = (core.take_again, *writes, core.give_back)

    def prepare() -> None:
        act()  # what happens the first time only is not what is looked at
        if kind == "fair after deaths":
            die_in_a_queue(lock)

    def act() -> None:
        if gives_up:
            lock.wait_one(0.001)
        elif in_line:
            core.try_as_task(None, True)
            core.try_as_task(None, True)
            core.leave_line(robust.thread_number())
        else:
            collections.deque(map(operator.call, calls), 0)

    waiter = Asked(lambda: take(other)) if waiting else None
    steps = Steps(prepare, act)
    counts: dict[str, int] = {"other ways": 0}
    try:
        if owned is not None:
            owned.acquire()
        steps.record(first.load)
        points = ours(steps)
        counts["points"] = len(points)
        for number in points[start % step :: step]:
            one_death(number, steps, other, waiter, counts, owned)
    finally:
        if waiter is not None:
            waiter.close()
    return counts


def die_in_a_queue(mutex: FairMutex) -> None:
    """A process ends of which one thread owns it and two wait."""
    pid = os.fork()
    if pid == 0:
        mutex._core.take_again()  # type: ignore[union-attr]
        for count in (1, 2):
            _thread.start_new_thread(mutex.wait_one, ())
            while mutex.statistics().queue_length < count:
                time.sleep(0.0001)
        os._exit(0)
    os.waitpid(pid, 0)


def ours(steps: Steps) -> list[int]:
    """After which instructions to kill. Of a loop over many mutexes, which does the same with each, the first two
    rounds and the last two."""
    names = {Path(module.__file__ or "").name for module in (fair, mapped, readers, robust)}
    rounds = collections.Counter(steps.way)
    points = []
    for library in names:
        for number in steps.inside(library, C_LIBRARY, 400):
            met = steps.met[number]
            if met < 2 or met >= rounds[steps.way[number]] - 2:
                points += [number, number + 1]
    return sorted(set(points) & set(range(1, len(steps.way))))


def one_death(
    number: int, steps: Steps, other: Any, waiter: Asked | None, counts: dict[str, int], owned: Any = None
) -> None:
    """`owned`: a lock that this process owns until then."""

    def look() -> str | None:
        if waiter is None:
            return None
        waiter.ask()
        return waiter.heard(0.002)  # it may be at once, or not before the victim's death

    met: object = None
    try:
        met, same = steps.kill_after(number, look)
        if owned is not None:
            assert met is None, "it was not to be had"
            owned.release()
        if waiter is None:
            met = take(other)
        elif met is None:
            met = waiter.heard(2 * LIMIT)
        assert met in ("told", "whole"), met
        assert take(other) == "whole", "told again, after a repair"
        if owned is not None:
            assert met == "whole", "told of one who only waited"
            owned.acquire()
    except BaseException as error:
        error.add_note(f"killed after instruction {number}; the next one met: {met}")
        raise
    counts[met] = counts.get(met, 0) + 1  # type: ignore[index]
    counts["other ways"] += not same

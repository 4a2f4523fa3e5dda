# SPDX-License-Identifier: MIT
"""Processes set, wait, take and release in loops, and are killed at random instants.

What is true must be known independently of what is tested: each process writes into a table, memory that all share,
what it is about to do and what it has. Whoever has killed one reads there what it had. In rounds, with new objects:

- `semaphore`: tokens are neither made nor lost, but for those of processes that were killed in the midst of taking or
  giving back one;
- `event`: no signal is taken twice, and one that is given when only waiters are left is taken at once;
- `together`: who has taken a mutex, a semaphore and an event by wait_all is alone.

And in each the others go on: when they are told to stop, all have ended a moment later.

    python -m support.killed_waits semaphore 10 SEED
"""

from __future__ import annotations

import mmap
import os
import random
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any, NoReturn

from memorymapped import AbandonedMutexError, Mutex
from memorymapped.sync.events import AutoResetEvent, EventWaitHandle, ManualResetEvent
from memorymapped.sync.semaphores import Semaphore
from memorymapped.sync.waiting import wait_all, wait_any

__all__ = ["SCENARIOS"]

PROCESSES = 6
KILLS = 10  # in a round
MAXIMUM = 3
LIMIT = 0.25 + 1.5  # seconds: what the protocol promises, and what a loaded machine may add

IDLE, TAKING, HAS, GIVING = range(4)

# The table, in words: for each process these; then one for all.
STATE, TAKEN, BEGUN, PLACE = 0, 1, 2, 8
INSIDE = PROCESSES * PLACE
SETTERS_STOP = INSIDE + 1


class Round:
    """The processes and objects of one round."""

    def __init__(self, table: memoryview, dice: random.Random, work: Callable[[Round, int, random.Random], None]):
        self.table = table
        self.dice = dice
        self.work = work
        self.pids: dict[int, int] = {}
        self.stop = ManualResetEvent(name="stop")
        table[: SETTERS_STOP + 1] = memoryview(bytes(8 * (SETTERS_STOP + 1))).cast("q")

    def fork(self, place: int) -> None:
        seed = self.dice.random()
        self.table[place * PLACE + STATE] = IDLE  # not what its predecessor died of
        pid = os.fork()
        if pid == 0:
            self._be(place, seed)
        self.pids[place] = pid

    def _be(self, place: int, seed: float) -> NoReturn:
        status = 1
        try:
            signal.alarm(30)
            os.nice(5)  # who kills comes first
            warnings.simplefilter("ignore", ResourceWarning)  # they end in any state
            self.work(self, place, random.Random(seed))
            status = 0
        except BaseException:  # noqa: BLE001 - shown, and its status tells
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def kill(self) -> tuple[int, int]:
        """Kills one after a moment. Its place, and what it did."""
        time.sleep(self.dice.uniform(0, 0.012))
        place = self.dice.choice(list(self.pids))
        pid = self.pids.pop(place)
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status), f"a process failed: status {status}"
        return place, self.table[place * PLACE + STATE]

    def join(self, places: list[int]) -> float:
        """Waits for the end of these. How long it took."""
        began = time.monotonic()
        for place in places:
            pid = self.pids.pop(place)
            while (found := os.waitpid(pid, os.WNOHANG)) == (0, 0):
                if time.monotonic() - began > LIMIT:
                    os.kill(pid, signal.SIGABRT)
                    os.waitpid(pid, 0)
                    raise AssertionError(f"process {pid} did not end: it was in state {self.table[place * PLACE]}")
                time.sleep(0.001)
            assert found[1] == 0, f"process {pid} failed: status {found[1]}"
        return time.monotonic() - began

    def end(self) -> None:
        for pid in self.pids.values():
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        self.stop.close()


# ---------------------------------------------------------------------------------------------------------- semaphore


def tokens(table: memoryview, dice: random.Random, counts: dict[str, int]) -> float:
    semaphore = Semaphore(MAXIMUM, MAXIMUM, "semaphore")
    gate = EventWaitHandle(True, 1)

    def work(round_: Round, place: int, dice: random.Random) -> None:
        mine = semaphore if place % 2 else Semaphore.open_existing("semaphore")
        stop = round_.stop
        state = place * PLACE + STATE
        ways: list[Callable[[], Any]] = [
            lambda: mine.acquire(timeout=dice.uniform(0, 0.003)),
            lambda: wait_any([stop, mine]) == 1,
            lambda: wait_all([mine, gate], 0.01),
            lambda: mine.wait_one(0),
        ]
        while not stop.is_set():
            table[state] = TAKING
            if dice.choice(ways)():
                table[state] = HAS
                for _ in range(dice.randrange(200)):
                    pass
                table[state] = GIVING
                mine.release()
            table[state] = IDLE

    round_ = Round(table, dice, work)
    unclear = 0
    try:
        for place in range(PROCESSES):
            round_.fork(place)
        for _ in range(KILLS):
            place, state = round_.kill()
            if state == HAS:
                semaphore.release()  # raises if it had none
            elif state != IDLE:
                unclear += 1
            counts[f"killed in state {state}"] = counts.get(f"killed in state {state}", 0) + 1
            round_.fork(place)
        round_.stop.set()
        took = round_.join(list(round_.pids))
        count = semaphore.statistics().count
        assert MAXIMUM - unclear <= count <= MAXIMUM, f"{count} of {MAXIMUM} tokens are left, and {unclear} are unclear"
        counts["tokens lost with their takers"] = counts.get("tokens lost with their takers", 0) + MAXIMUM - count
        return took
    finally:
        round_.end()
        semaphore.close()
        gate.close()


# -------------------------------------------------------------------------------------------------------------- event


def signals(table: memoryview, dice: random.Random, counts: dict[str, int]) -> float:
    event = AutoResetEvent(name="event")

    def work(round_: Round, place: int, dice: random.Random) -> None:
        mine = event if dice.random() < 0.5 else AutoResetEvent.open_existing("event")
        stop, never = round_.stop, AutoResetEvent()
        base = place * PLACE
        if place % 2:
            while not table[SETTERS_STOP]:
                table[base + BEGUN] += 1
                mine.set()
                for _ in range(dice.randrange(300)):
                    pass
            return
        ways: list[Callable[[], Any]] = [
            lambda: mine.wait_one(dice.uniform(0, 0.005)),
            lambda: wait_any([stop, mine]) == 1,
            lambda: wait_any([stop, never, mine], 0.01) == 2,
            lambda: mine.wait_one(0),
        ]
        while not stop.is_set():
            table[base + STATE] = TAKING
            if dice.choice(ways)():
                table[base + TAKEN] += 1
            table[base + STATE] = IDLE

    def taken() -> int:
        return sum(table[place * PLACE + TAKEN] for place in range(0, PROCESSES, 2))

    round_ = Round(table, dice, work)
    try:
        for place in range(PROCESSES):
            round_.fork(place)
        for _ in range(KILLS):
            place, state = round_.kill()
            counts[f"killed in state {state}"] = counts.get(f"killed in state {state}", 0) + 1
            round_.fork(place)
        table[SETTERS_STOP] = 1
        took = round_.join([place for place in round_.pids if place % 2])
        given = sum(table[place * PLACE + BEGUN] for place in range(1, PROCESSES, 2))
        counts["signals"] = counts.get("signals", 0) + given
        for _ in range(3):
            quiet(event)
            before = taken()
            event.set()
            given += 1
            began = time.monotonic()
            while taken() == before:
                assert time.monotonic() - began < LIMIT, "nobody takes the signal"
                time.sleep(0.0005)
            took = max(took, time.monotonic() - began)
        assert taken() <= given, f"{given} signals were given, and {taken()} taken"
        counts["taken"] = counts.get("taken", 0) + taken()
        round_.stop.set()
        return max(took, round_.join(list(round_.pids)))
    finally:
        round_.end()
        event.close()


def quiet(event: AutoResetEvent) -> None:
    """Returns when nobody has a signal to take."""
    began = time.monotonic()
    while event.is_set():
        assert time.monotonic() - began < LIMIT, "a signal that was given is not taken"
        time.sleep(0.0005)
    time.sleep(0.002)  # to count what was taken; nothing hangs on it but which signal is counted


# ----------------------------------------------------------------------------------------------------------- together


def together(table: memoryview, dice: random.Random, counts: dict[str, int]) -> float:
    mutex, semaphore, event = Mutex(), Semaphore(1, 1, "semaphore"), AutoResetEvent(True, "event")

    def work(round_: Round, place: int, dice: random.Random) -> None:
        handles: list[Any] = [mutex, semaphore, event]
        base = place * PLACE
        while not round_.stop.is_set():
            dice.shuffle(handles)
            table[base + STATE] = TAKING
            try:
                got = wait_all(handles, dice.uniform(0, 0.02))
            except AbandonedMutexError:
                got = True
            if got:
                table[base + STATE] = HAS
                alone = table[INSIDE]
                table[INSIDE] = place + 1
                for _ in range(dice.randrange(200)):
                    pass
                assert alone == 0, f"process {place} is not alone: {alone - 1} is there"
                assert table[INSIDE] == place + 1, f"process {table[INSIDE] - 1} came in"
                table[INSIDE] = 0
                table[base + TAKEN] += 1
                table[base + STATE] = GIVING
                dice.shuffle(handles)
                for handle in handles:
                    handle.set() if isinstance(handle, AutoResetEvent) else handle.release()
            table[base + STATE] = IDLE

    round_ = Round(table, dice, work)
    try:
        for place in range(PROCESSES):
            round_.fork(place)
        for _ in range(KILLS):
            place, state = round_.kill()
            counts[f"killed in state {state}"] = counts.get(f"killed in state {state}", 0) + 1
            if state == HAS:  # the mutex tells of itself
                table[INSIDE] = 0
                semaphore.release()
                event.set()
            round_.fork(place)
        round_.stop.set()
        took = round_.join(list(round_.pids))
        counts["taken"] = counts.get("taken", 0) + sum(table[i * PLACE + TAKEN] for i in range(PROCESSES))
        assert semaphore.statistics().count <= 1
        return took
    finally:
        round_.end()
        mutex.close()
        semaphore.close()
        event.close()


SCENARIOS = {"semaphore": tokens, "event": signals, "together": together}


def main(scenario: str, seconds: str, seed: str) -> None:
    dice = random.Random(seed)
    table = memoryview(mmap.mmap(-1, 4096)).cast("q")
    counts: dict[str, int] = {}
    rounds, longest = 0, 0.0
    end = time.monotonic() + float(seconds)
    while time.monotonic() < end:
        longest = max(longest, SCENARIOS[scenario](table, dice, counts))
        rounds += 1
    print(f"{scenario}: {rounds} rounds, {rounds * KILLS} kills, the longest end {longest * 1000:.0f} ms; {counts}")


if __name__ == "__main__":
    main(*sys.argv[1:])

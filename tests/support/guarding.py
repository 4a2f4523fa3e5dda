# SPDX-License-Identifier: MIT
"""Processes that guard two counters by one mutex, and are killed at random instants.

Each raises one counter, does something, raises the other, all under the mutex. Who finds the mutex abandoned makes the
counters equal again. Some leave it in the middle on purpose, by closing what they own. Words of 8 bytes that all share:

     0  all are to end                          7  how often somebody was told of an abandonment
     1  the first counter, 2 the second         8  ... although the previous owner was at neither counter
     3  who is between taking and releasing     9  what is wrong (WRONG), 0: nothing
     4  kills begun, 5 kills ended             10  times that the mutex was left in the middle on purpose
     6  5 as it was at the last acquisition    11  10 as it was at the last acquisition
    12  rounds

What must be: who takes the mutex is told if word 3 is set; finds the counters equal if it is not told; is told only if
somebody was killed, or left on purpose, since the last acquisition. Told too often, in the windows that the protocol
has: an owner was killed between taking the mutex and word 3, or between word 3 and the release. A report too few has no
window. mutexes.cs has the same in C#.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import signal
import sys
import time
import traceback
from pathlib import Path
from typing import NamedTuple, Protocol

from memorymapped import AbandonedMutexError, Mutex
from support.strangers import Abandoned, Stranger, path_of

__all__ = ["WORDS", "WRONG", "Result", "guard"]

WORDS = 16
WRONG = {
    1: "told of an abandonment, although nobody had ended since the last owner",
    2: "not told that the previous owner had ended",
    3: "the counters differ, and nobody was told",
    4: "an exception, see the standard error",
    5: "nobody has had the mutex for a long time",
    6: "a process has not ended when all were to end",
    7: "a process ended by itself",
}
HANG = 15.0  # seconds without a round


class Result(NamedTuple):
    """What happened. `wrong`: what must never, as text."""

    wrong: str
    rounds: int
    kills: int
    told: int
    too_often: int
    left: int

    @property
    def killed_inside(self) -> int:
        """How often somebody was told of a death between taking and releasing."""
        return self.told - self.left - self.too_often


class Member(Protocol):
    """How a process uses the mutex."""

    def take(self) -> bool | None:
        """Whether it is told of an abandonment; None: it has not got it."""

    def release(self) -> None: ...

    def leave(self) -> None:
        """Without a release."""

    def close(self) -> None: ...


class Ours:
    def __init__(self, name: str, chance: random.Random) -> None:
        self.chance = chance
        self.mutex = Mutex(name=name)

    def take(self) -> bool | None:
        way = self.chance.randrange(5)
        try:
            if way == 4:
                told = []
                self.mutex.on_abandoned = told.append
                self.mutex.__enter__()
                return bool(told)
            if way == 3:
                self.mutex.on_abandoned = None
                self.mutex.__enter__()
                return False
            got = self.mutex.wait_one() if way else self.mutex.wait_one(self.chance.choice((0, 0.0005, 0.1, 1)))
        except AbandonedMutexError as error:
            if error.owned == (way == 3):
                raise
            return True if error.owned else None
        return False if got else None

    def release(self) -> None:
        self.mutex.release_mutex()

    def leave(self) -> None:
        self.mutex.close()

    def close(self) -> None:
        self.mutex.close()


class Strange:
    def __init__(self, name: str, chance: random.Random, release_of: int) -> None:
        self.chance = chance
        self.mutex = Stranger(path_of(name), release_of=release_of)

    def take(self) -> bool | None:
        try:
            return None if not self.mutex.wait(self.chance.choice((None, None, 0, 0.1, 1))) else False
        except Abandoned:
            return True

    def release(self) -> None:
        self.mutex.release()

    def leave(self) -> None:
        self.mutex.abandon()
        self.mutex.close()

    def close(self) -> None:
        self.mutex.close()


def rounds(words: memoryview, name: str, id_: int, seed: str, kind: str) -> None:
    """The life of a member."""
    chance = random.Random(seed)

    def opened() -> Member:
        return Ours(name, chance) if kind == "ours" else Strange(name, chance, int(kind))

    mutex = opened()
    while not words[0]:
        told = mutex.take()
        if told is None:
            continue
        wrong = look(words, told)
        if wrong:
            words[9] = wrong
            os._exit(1)
        words[3] = id_
        words[1] += 1
        for _ in range(chance.randrange(30000 if chance.random() < 0.1 else 60)):
            pass
        if chance.random() < 0.0005:
            words[10] += 1
            mutex.leave()
            mutex = opened()
            continue
        words[2] += 1
        words[12] += 1
        words[3] = 0
        mutex.release()
        if chance.random() < 0.05:
            mutex.close()
            mutex = opened()
    mutex.close()


def look(words: memoryview, told: bool) -> int:
    """By who has just taken the mutex: what is wrong."""
    begun = words[4]
    if told and begun == words[6] and words[10] == words[11]:
        return 1
    if not told and words[3]:
        return 2
    if not told and words[1] != words[2]:
        return 3
    if told:
        words[7] += 1
        words[8] += words[3] == 0
        words[2] = words[1]
    words[6] = words[5]
    words[11] = words[10]
    return 0


def guard(
    name: str, file: str, kinds: list[str], sharp: list[str], seed: str, seconds: float, *, every: float = 0.004
) -> Result:
    """A member for each of `kinds` ("ours", "10", "11": strangers that write as that .NET does), and one for the
    command `sharp` if there is one, for `seconds`; one of them is killed every `every` seconds on average. The calling
    process has the mutex not open, and no other children."""
    with open(file, "r+b") as opened:
        block = mmap.mmap(opened.fileno(), WORDS * 8)
    words = memoryview(block).cast("q")
    chance = random.Random(seed)
    members: dict[int, str] = {}
    ids: dict[int, int] = {}  # process ids by what they write into word 3
    born = 0

    def start(kind: str) -> None:
        nonlocal born
        born += 1
        if kind == "sharp":
            command = [*sharp, "guard", name, file, str(born)]
            pid = os.posix_spawn(command[0], command, os.environ)
            members[pid], ids[born] = kind, pid
            return
        pid = os.fork()
        if pid == 0:
            status = 1
            try:
                os.nice(5)  # who kills comes first
                rounds(words, name, born, f"{seed} {born}", kind)
                status = 0
            except BaseException:  # noqa: BLE001 - whatever it is, it is told
                traceback.print_exc()
                words[9] = words[9] or 4
            finally:
                sys.stderr.flush()
                os._exit(status)
        members[pid], ids[born] = kind, pid

    def end(pid: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)

    kills = 0
    try:
        for kind in kinds + ["sharp"] * bool(sharp):
            start(kind)
        finish = time.monotonic() + seconds
        last, since = -1, time.monotonic()
        while time.monotonic() < finish and not words[9]:
            time.sleep(chance.expovariate(1 / every))
            if words[12] != last:
                last, since = words[12], time.monotonic()
            elif time.monotonic() > since + HANG:
                words[9] = 5
                break
            # A .NET program needs some time until it gets there.
            pid = chance.choice([pid for pid, kind in members.items() if kind != "sharp" or chance.random() < 0.05])
            at_work = ids.get(words[3], 0)
            if at_work in members and chance.random() < 0.5:
                pid = at_work
            if os.waitpid(pid, os.WNOHANG)[0]:
                del members[pid]
                words[9] = words[9] or 7
                break
            words[4] += 1
            end(pid)
            words[5] += 1
            kills += 1
            start(members.pop(pid))
        words[0] = 1
        finish = time.monotonic() + HANG
        while members and not words[9]:
            pid, _ = os.waitpid(-1, os.WNOHANG)
            members.pop(pid, None)
            if not pid:
                time.sleep(0.002)
            if time.monotonic() > finish:
                words[9] = 6
    finally:
        for pid in members:
            end(pid)
    result = Result(WRONG[words[9]] if words[9] else "", words[12], kills, words[7], words[8], words[10])
    words.release()
    block.close()
    return result


def ledger(path: Path) -> Path:
    """A file for the words."""
    path.write_bytes(bytes(WORDS * 8))
    return path

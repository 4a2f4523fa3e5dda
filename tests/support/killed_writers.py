# SPDX-License-Identifier: MIT
"""Processes write a SharedMemory in loops, and are killed at random instants, while others read without pause.

A value says of which writer it is, and its how-many-th, and ends with a checksum. In memory of their own (`table`) all
note what they are about to write. What must hold:

- no reader ever has a mixture, and none stands still;
- the version that one reader sees only grows, and one version is one value for all readers;
- of one writer's values none is seen before one that was seen earlier;
- whoever is killed, the others go on.

Kinds: "ours": four writers by `data` and `edit`, of 200 bytes. "large": the same with 300,000. "foreign": two of ours,
and two that know only the lock, by the C library's functions (`strangers`), and byte 0; these are killed too, in the
midst of a write. "plain": the same in a map without a control block, where writers of ours and of others are stopped
between their writes, not in the midst: there a death is not made good.

    python -m support.killed_writers ours 10 SEED
"""

from __future__ import annotations

import collections
import contextlib
import mmap
import os
import random
import signal
import sys
import time
import traceback
import warnings
from typing import NoReturn

from memorymapped import MemoryMappedFile, SharedMemory
from memorymapped._native.committed import crc32c

from .strangers import Abandoned, Stranger, path_of

WRITERS, READERS = 4, 2
PLACE = 16  # words of the table for each process
COUNT, TORN, READS, RETRIES, LOCKED = range(5)
STOP = (WRITERS + READERS) * PLACE


def value(writer: int, count: int, size: int) -> bytes:
    seed = (writer << 40 | count).to_bytes(8, "little")
    body = seed + (seed * (-(-size // 8)))[: size - 12]
    return body + crc32c(body).to_bytes(4, "little")


def parsed(whole: bytes) -> tuple[int, int]:
    if not any(whole):
        return 0, 0
    number = int.from_bytes(whole[:8], "little")
    writer, count = number >> 40, number & (1 << 40) - 1
    assert whole == value(writer, count, len(whole)), f"a mixture: {whole[:64].hex()} ... {whole[-16:].hex()}"
    return writer, count


class Run:
    """One campaign."""

    def __init__(self, kind: str, seconds: float, seed: str) -> None:
        self.kind = kind
        self.seconds = seconds
        self.dice = random.Random(seed)
        self.size = 300_000 if kind == "large" else 200
        self.name = f"killed-{os.getpid()}-{self.dice.getrandbits(32):x}"
        self.table = memoryview(mmap.mmap(-1, 8192)).cast("q")
        self.pids: dict[int, int] = {}
        self.kills = collections.Counter[str]()

    def open(self) -> SharedMemory[bytes]:
        return SharedMemory(self.size, self.name, lock_name=f"Local\\{self.name}")

    def is_foreign(self, place: int) -> bool:
        return self.kind in ("foreign", "plain") and place in (0, 1)

    def fork(self, place: int) -> None:
        seed = self.dice.random()
        pid = os.fork()
        if pid == 0:
            self.be(place, random.Random(seed))
        self.pids[place] = pid

    def be(self, place: int, dice: random.Random) -> NoReturn:
        status = 1
        try:
            signal.alarm(int(self.seconds) + 60)
            os.nice(5)
            warnings.simplefilter("ignore")
            if place >= WRITERS:
                self.read(place)
            elif self.is_foreign(place):
                self.write_foreign(place, dice)
            else:
                self.write(place, dice)
            status = 0
        except BaseException:  # noqa: BLE001 - shown, and its status tells
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(status)

    def next(self, place: int) -> bytes:
        count = self.table[place * PLACE + COUNT] = self.table[place * PLACE + COUNT] + 1
        return value(place + 1, count, self.size)

    def write(self, place: int, dice: random.Random) -> None:
        shared = self.open()
        while not self.table[STOP]:
            new = self.next(place)
            if self.kind == "plain":
                self.table[place * PLACE + TORN] = 1
            if dice.random() < 0.5:
                shared.data = new
            else:
                with shared.edit() as draft:
                    parsed(bytes(draft))
                    draft[:] = new
            self.table[place * PLACE + TORN] = 0
            if self.kind == "plain":
                time.sleep(0.0002)  # when it can be killed

    def write_foreign(self, place: int, dice: random.Random) -> None:
        """As a C program would: locks, stores byte after byte, unlocks."""
        lock = Stranger(path_of(f"Local\\{self.name}"))
        with MemoryMappedFile.open_existing(self.name) as map, map.create_view_accessor() as view:
            while not self.table[STOP]:
                new = self.next(place)
                with contextlib.suppress(Abandoned):
                    while not lock.wait(0.25):  # a wake of the C library's may go to one who dies of a kill
                        pass
                self.table[place * PLACE + TORN] = 1
                for at in range(self.size):
                    view.write_byte(at, new[at])
                    if at == 77 and self.kind == "foreign" and dice.random() < 0.1:
                        time.sleep(0.001)
                lock.release()
                self.table[place * PLACE + TORN] = 0
                time.sleep(dice.uniform(0, 0.0001))

    def read(self, place: int) -> None:
        shared = self.open()
        last = 0
        base = place * PLACE
        of_version: collections.OrderedDict[int, tuple[int, int]] = collections.OrderedDict()
        seen: collections.Counter[int] = collections.Counter()
        while not self.table[STOP]:
            before = shared.version
            writer, count = parsed(shared.data)
            self.table[base + READS] += 1
            if before is None:
                continue
            after = shared.version
            assert after is not None
            assert before >= last, f"version {before} after {last}"
            last = before
            if before == after:
                known = of_version.setdefault(before, (writer, count))
                assert known == (writer, count), f"version {before} is {known}, and {(writer, count)}"
                if len(of_version) > 1000:
                    of_version.popitem(last=False)
            assert count >= seen[writer], f"value {count} of writer {writer} after {seen[writer]}"
            seen[writer] = count
            stats = shared.statistics()
            self.table[base + RETRIES], self.table[base + LOCKED] = stats.retries, stats.locked_reads

    def kill(self) -> None:
        time.sleep(self.dice.uniform(0, 0.012))
        place = self.dice.randrange(WRITERS)
        pid = self.pids[place]
        if self.kind == "foreign" and self.is_foreign(place):  # rather within a write
            until = time.monotonic() + 0.005
            while not self.table[place * PLACE + TORN] and time.monotonic() < until:
                pass
        if self.kind == "plain":
            # There nobody can make good what a death has torn.
            os.kill(pid, signal.SIGSTOP)
            assert os.WIFSTOPPED(os.waitpid(pid, os.WUNTRACED)[1])
            if self.table[place * PLACE + TORN]:
                os.kill(pid, signal.SIGCONT)
                return
        del self.pids[place]
        os.kill(pid, signal.SIGKILL)
        status = os.waitpid(pid, 0)[1]
        assert os.WIFSIGNALED(status), f"writer {place} failed: status {status}"
        who = "others" if self.is_foreign(place) else "ours"
        self.kills[f"{who}, within a write" if self.table[place * PLACE + TORN] else who] += 1
        self.fork(place)

    def reads(self) -> list[int]:
        return [self.table[place * PLACE + READS] for place in range(WRITERS, WRITERS + READERS)]

    def go(self) -> str:
        plain = MemoryMappedFile.create_new(self.name, self.size) if self.kind == "plain" else None
        shared = self.open()
        assert shared.has_control == (plain is None)
        try:
            for place in range(WRITERS + READERS):
                self.fork(place)
            end = time.monotonic() + self.seconds
            before, looked = self.reads(), time.monotonic()
            while time.monotonic() < end:
                self.kill()
                for place in range(WRITERS, WRITERS + READERS):
                    assert os.waitpid(self.pids[place], os.WNOHANG) == (0, 0), "a reader has failed"
                if time.monotonic() - looked > 5:
                    now = self.reads()
                    assert all(b > a for a, b in zip(before, now, strict=True)), (
                        f"a reader stands still: {before}, {now}"
                    )
                    before, looked = now, time.monotonic()
            self.table[STOP] = 1
            for place, pid in list(self.pids.items()):
                _, status = os.waitpid(pid, 0)
                del self.pids[place]
                assert status == 0, f"process {place} failed: status {status}"
            parsed(shared.data)
            shared.data = value(9, 9, self.size)
            assert parsed(shared.data) == (9, 9)
            assert min(self.reads()) > 0
            counts = {
                "writes": sum(self.table[place * PLACE + COUNT] for place in range(WRITERS)),
                "reads": sum(self.reads()),
                "retries": sum(self.table[place * PLACE + RETRIES] for place in range(WRITERS, WRITERS + READERS)),
                "reads under the lock": sum(self.table[p * PLACE + LOCKED] for p in range(WRITERS, WRITERS + READERS)),
                "versions": shared.version,
            }
            return f"{self.kind}: {sum(self.kills.values())} kills {dict(self.kills)}, {counts}"
        finally:
            for pid in self.pids.values():
                os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, 0)
            shared.close()
            if plain is not None:
                plain.close()


if __name__ == "__main__":
    print(Run(sys.argv[1], float(sys.argv[2]), sys.argv[3]).go())

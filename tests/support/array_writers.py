# SPDX-License-Identifier: MIT
"""Processes change one array while others read it without pause, and are killed at random instants.

What is true must be known independently of what is tested: each writer numbers what it appends, says in a table that
all share which number it is about to append and up to which it has. Each element says by itself whether it is whole.

"append": writers append, one by one and several at once, and replace what they have appended by a later state of the
same. So

- a number that a writer *has* is there, once, behind its earlier ones, and at the index that `append` has told;
- what it was about to append when it was killed is there whole or not at all, and nothing else is there;
- a reader finds the same writer and number at an index for ever, in a state that only grows; the length only grows.

"all": they pop, truncate and edit as well. Then every element that anybody reads is whole, elements of one `extend`
that have not been replaced stand together, and the array goes on to be used.

    python -m support.array_writers append SECONDS SEED
"""

from __future__ import annotations

import contextlib
import itertools
import os
import random
import sys
import time
import zlib
from typing import Annotated, Any

from memorymapped import FixedBytes, Struct, StructArray, int32, int64, uint32

from .crew import Crew, Table

__all__ = ["Entry", "entry", "run", "whole"]

WRITERS = 4
READERS = 2
MOST = 400_000

# The table, in words.
ABOUT, HAS, READS, PLACE = 0, 1, 2, 3
STOP = (WRITERS + READERS) * PLACE


class Entry(Struct, pack=4):
    """126 bytes, and so 128 apart."""

    writer: int32
    number: int64
    state: int64
    body: Annotated[bytes, FixedBytes(102)]
    check: uint32


def entry(writer: int, number: int, state: int) -> Entry:
    head = b"%d %d %d " % (writer, number, state)
    body = (head * 9)[:102]
    return Entry(writer, number, state, body, zlib.crc32(body))


def whole(each: Entry) -> tuple[int, int, int]:
    """Writer, number and state of an element, of which all must be of one."""
    expected = entry(each.writer, each.number, each.state)
    assert each == expected, f"a torn element: {each}"
    return int(each.writer), int(each.number), int(each.state)


Entries = StructArray[Any]


def append(table: Table, writer: int, name: str, seed: int) -> None:
    dice = random.Random(seed)
    own: list[tuple[int, int]] = []  # index and number
    with StructArray.open_existing(Entry, name) as entries:
        while not table[STOP] and len(entries) < MOST - 100:
            number = table[writer * PLACE + ABOUT] + 1
            if len(own) > 9 and dice.random() < 0.95:
                at, number = dice.choice(own)
                if dice.random() < 0.5:
                    entries[at] = entry(writer, number, entries[at].state + 1)
                else:
                    with entries.edit(at) as draft:
                        new = entry(writer, number, draft.state + 1)
                        draft.state, draft.body, draft.check = new.state, new.body, new.check
                continue
            count = dice.choice((1, 1, 1, 5))
            new = [entry(writer, number + i, 0) for i in range(count)]
            table[writer * PLACE + ABOUT] = number + count - 1
            at = entries.append(new[0]) if count == 1 else entries.extend(new)
            table[writer * PLACE + HAS] = number + count - 1
            assert [whole(each)[:2] for each in entries[at : at + count]] == [
                (writer, number + i) for i in range(count)
            ]
            own += [(at + i, number + i) for i in range(count)]


def read(table: Table, reader: int, name: str, seed: int) -> None:
    """Of an array of which nothing is taken away."""
    dice = random.Random(seed)
    known: dict[int, tuple[int, int, int]] = {}
    length = reads = 0
    with StructArray.open_existing(Entry, name) as entries:
        while not table[STOP]:
            now = len(entries)
            assert now >= length, f"{now} elements, after {length}"
            length = now
            if not length:
                continue
            at = dice.randrange(max(0, length - 100), length)
            for i, each in enumerate([entries[at]] if dice.random() < 0.8 else entries[at : at + 10]):
                writer, number, state = whole(each)
                before = known.get(at + i, (writer, number, 0))
                assert (writer, number) == before[:2], f"index {at + i} was {before}, and is {each}"
                assert state >= before[2], f"index {at + i} was {before}, and is {each}"
                known[at + i] = writer, number, state
            reads += 1
            table[(WRITERS + reader) * PLACE + READS] += 1


def change(table: Table, writer: int, name: str, seed: int) -> None:
    """Anything."""
    dice = random.Random(seed)
    number = 0
    with StructArray.open_existing(Entry, name) as entries:
        while not table[STOP]:
            number += 10
            what = dice.randrange(12)
            try:
                if what < 4:
                    entries.append(entry(writer, number, -1))
                elif what < 5:
                    entries.extend([entry(writer, number + i, i) for i in range(5)])
                elif what < 7:
                    whole(entries.pop())
                elif what < 9:
                    entries[dice.randrange(-3, 3)] = entry(writer, number, -1)
                elif what < 10:
                    with entries.edit(dice.randrange(3)) as draft:
                        whole(draft)
                        new = entry(writer, number, -1)
                        draft.writer, draft.number, draft.state = new.writer, new.number, new.state
                        draft.body, draft.check = new.body, new.check
                elif len(entries) > 20:
                    entries.truncate(dice.randrange(10))
            except IndexError:
                pass


def watch(table: Table, reader: int, name: str, seed: int) -> None:
    """Everything that is there is whole, and parts of it are of one moment."""
    dice = random.Random(seed)
    with StructArray.open_existing(Entry, name) as entries:
        while not table[STOP]:
            with contextlib.suppress(IndexError):
                whole(entries[dice.randrange(-3, 3)])
            found = [whole(each) for each in entries[:]]
            for (_, _, state), (writer, number, next_state) in itertools.pairwise(found):
                assert next_state <= 0 or state in (-1, next_state - 1), f"the middle of an extend: {writer}, {number}"
            table[(WRITERS + reader) * PLACE + READS] += 2


def run(kind: str, seconds: float, seed: int) -> str:
    """Kills one after the other. What happened."""
    dice = random.Random(seed)
    table = Table()
    write, look = (append, read) if kind == "append" else (change, watch)
    name = f"entries of {os.getpid()}"
    crew = Crew(lambda: table.__setitem__(STOP, 1))
    absent: set[tuple[int, int]] = set()  # what may be missing: it was being appended
    working: dict[int, int] = {}  # by process: the writer, or behind those the reader
    kills = 0

    def begin(which: int) -> None:
        seed = dice.getrandbits(60)
        if which < WRITERS:
            working[crew.start(write, table, which, name, seed)] = which
        else:
            working[crew.start(look, table, which - WRITERS, name, seed)] = which

    with StructArray(Entry, name, 10, max_capacity=MOST) as entries:
        try:
            for which in range(WRITERS + READERS):
                begin(which)
            until = time.monotonic() + seconds
            while time.monotonic() < until and len(entries) < MOST // 2:
                time.sleep(dice.uniform(0, 0.01))
                pid = dice.choice(
                    [pid for pid in working if working[pid] < WRITERS or dice.random() < 0.05] or [*working]
                )
                crew.kill(pid)
                kills += 1
                which = working.pop(pid)
                if which < WRITERS:
                    about, has = table[which * PLACE + ABOUT], table[which * PLACE + HAS]
                    absent.update((which, number) for number in range(has + 1, about + 1))
                begin(which)
            crew.stop()
        finally:
            crew.end()
        found = [whole(each)[:2] for each in entries]
        there = len(absent & set(found))
        if kind == "append":
            judge(table, found, absent)
        with StructArray.open_existing(Entry, name) as newcomer:
            assert newcomer.append(entry(9, 9, 9)) == len(found)
            # Where other programs read: no replacement is under way any more.
            assert [whole(each)[:2] for each in newcomer._view.refs(Entry, 0, len(newcomer))] == [*found, (9, 9)]
    reads = sum(table[(WRITERS + reader) * PLACE + READS] for reader in range(READERS))
    return (
        f"{kills} kills, {len(found)} elements, {there} of {len(absent)} that were under way are there, {reads} reads"
    )


def judge(table: Table, found: list[tuple[int, int]], absent: set[tuple[int, int]]) -> None:
    for writer in range(WRITERS):
        numbers = [number for who, number in found if who == writer]
        assert numbers == sorted(set(numbers)), f"out of order, or twice: {writer}"
        wanted = set(range(1, table[writer * PLACE + HAS] + 1))
        lost = {number for number in wanted - set(numbers) if (writer, number) not in absent}
        assert not lost, f"lost: {sorted(lost)[:10]} of writer {writer}"
        assert set(numbers) <= set(range(1, table[writer * PLACE + ABOUT] + 1)), "nobody has written that"


if __name__ == "__main__":
    print(run(sys.argv[1], float(sys.argv[2]), int(sys.argv[3])))

# SPDX-License-Identifier: MIT
"""Processes append to one segment file while others read it, and are killed at random instants.

What is true must be known independently of what is tested: each writer numbers what it appends, says in a table that
all share which number it is about to append and which it has, and makes the data from its own number and that one. So
each segment can be checked by itself, and the whole by the table:

- a number that a writer *has* is there, once, behind its earlier ones;
- the one that it was about to append when it was killed is there whole or not at all; nothing else is there;
- `append` has told the number under which it is found.

    python -m support.segment_writers kill SECONDS SEED FILE checksums
    python -m support.segment_writers race COUNT SEED FILE
"""

from __future__ import annotations

import random
import struct
import sys
import time
import zlib
from typing import Any

from memorymapped import FileMode, SegmentFile

from .crew import Crew, Table

__all__ = ["data_of", "kill", "race"]

WRITERS = 4
READERS = 2
HEAD = struct.Struct("<IIII")  # writer, number, size of all, checksum of the rest

# The table, in words.
ABOUT, HAS, PLACE = 0, 1, 2
STOP = WRITERS * PLACE
TABLE = STOP + 1


def data_of(writer: int, number: int, most: int) -> bytes:
    """What a writer appends: of a size that goes from the smallest to `most`, most of them small."""
    size = (number * 2654435761 + writer) % most if number % 50 == 0 else (number * 40503 + writer * 7) % 200
    rest = bytes([number % 251]) * size
    return HEAD.pack(writer, number, HEAD.size + size, zlib.crc32(rest)) + rest


def number_in(data: bytes) -> tuple[int, int]:
    """The writer and the number of a segment that is whole."""
    writer, number, size, check = HEAD.unpack_from(data)
    assert size == len(data), f"{len(data)} bytes of {size}"
    assert check == zlib.crc32(data[HEAD.size :]), f"a torn segment: {writer}, {number}"
    return writer, number


def write(table: Table, writer: int, path: str, options: dict[str, Any], most: int) -> None:
    with SegmentFile.create_from_file(path, FileMode.OPEN, encoding=None, **options) as segments:
        while not table[STOP]:
            number = table[writer * PLACE + ABOUT] + 1
            table[writer * PLACE + ABOUT] = number
            data = data_of(writer, number, most)
            place = segments.append(data)
            table[writer * PLACE + HAS] = number
            assert segments.read_bytes(place) == data


def read(table: Table, path: str) -> None:
    """Without pause: each segment is whole, and each writer's come in order."""
    with SegmentFile.create_from_file(path, FileMode.OPEN, encoding=None) as segments:
        last = [0] * WRITERS
        place = 0
        while not table[STOP]:
            for data in segments.follow(place, 0.01):
                writer, number = number_in(data)
                assert number > last[writer], f"{number} of writer {writer} after {last[writer]}"
                last[writer] = number
                place += 1
                if table[STOP]:
                    break


def kill(seconds: float, seed: int, path: str, **options: Any) -> str:
    """Kills one after the other. What happened."""
    dice = random.Random(seed)
    table = Table()
    crew = Crew(lambda: table.__setitem__(STOP, 1))
    options |= {"grow": True, "max_capacity": 1 << 28}
    absent: set[tuple[int, int]] = set()  # what may be missing: it was being appended
    kills = 0
    with SegmentFile.create_from_file(path, capacity=4096, encoding=None, **options) as segments:
        try:
            writers = {}

            def begin(writer: int) -> None:
                writers[crew.start(write, table, writer, path, options, 20_000)] = writer

            for writer in range(WRITERS):
                begin(writer)
            readers = [crew.start(read, table, path) for _ in range(READERS)]
            until = time.monotonic() + seconds
            while time.monotonic() < until and segments.used < 1 << 27:
                time.sleep(dice.uniform(0, 0.01))
                pid = dice.choice([*writers, *writers, *readers])
                crew.kill(pid)
                kills += 1
                if pid in readers:
                    readers.remove(pid)
                    readers.append(crew.start(read, table, path))
                    continue
                writer = writers.pop(pid)
                about, has = table[writer * PLACE + ABOUT], table[writer * PLACE + HAS]
                absent.update((writer, number) for number in range(has + 1, about + 1))
                begin(writer)
            crew.stop()
        finally:
            crew.end()
        found = [number_in(data) for data in segments]
        for writer in range(WRITERS):
            numbers = [number for who, number in found if who == writer]
            assert numbers == sorted(set(numbers)), "out of order, or twice"
            wanted = set(range(1, table[writer * PLACE + HAS] + 1))
            lost = {number for number in wanted - set(numbers) if (writer, number) not in absent}
            assert not lost, f"lost: {sorted(lost)[:10]} of writer {writer}"
            assert set(numbers) <= set(range(1, table[writer * PLACE + ABOUT] + 1)), "nobody has written that"
        there = len(absent & set(found))
        assert segments.append(b"the last") == len(found)
        report = segments.check()
        assert report.whole, report
        assert report.behind == 0, report
        with SegmentFile.create_from_file(path, FileMode.OPEN, encoding=None) as newcomer:
            assert len(newcomer) == len(found) + 1
    return f"{kills} kills, {len(found)} segments, {there} of {len(absent)} that were under way are there"


def append(table: Table, writer: int, path: str, count: int) -> None:
    with SegmentFile.create_from_file(path, FileMode.OPEN, encoding=None) as segments:
        for number in range(1, count + 1):
            segments.append(data_of(writer, number, 5000))
            table[writer * PLACE + HAS] = number


def race(count: int, seed: int, path: str) -> str:
    """Four processes append `count` segments, and a fifth reads them meanwhile, in order."""
    table = Table()
    crew = Crew(lambda: table.__setitem__(STOP, 1))
    each = count // WRITERS
    began = time.monotonic()
    with SegmentFile.create_from_file(path, capacity=400 * count, encoding=None) as segments:
        try:
            for writer in range(WRITERS):
                crew.start(append, table, writer, path, each)
            last, meanwhile = [0] * WRITERS, 0
            for place, data in enumerate(segments.follow(0, 20)):
                writer, number = number_in(data)
                assert number == last[writer] + 1, f"{number} of writer {writer} after {last[writer]}"
                assert data == data_of(writer, number, 5000)
                last[writer] = number
                meanwhile += any(table[each_ * PLACE + HAS] < each for each_ in range(WRITERS))
                if place == each * WRITERS - 1:
                    break
            assert last == [each] * WRITERS
            crew.stop()
        finally:
            crew.end()
        assert len(segments) == each * WRITERS
        assert segments.check().whole
    return f"{count} segments in {time.monotonic() - began:.1f} s, {meanwhile} read while others were written"


if __name__ == "__main__":
    what, amount, seed, path, *rest = sys.argv[1:]
    if what == "kill":
        print(kill(float(amount), int(seed), path, **dict.fromkeys(rest, True)))
    else:
        print(race(int(amount), int(seed), path))

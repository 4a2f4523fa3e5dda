# SPDX-License-Identifier: MIT
"""Rows 10a to 10c: StructArray: elements appended, replaced and read, beside a list, the bare lock and a plain read;
what a reader gets while a writer replaces without pause."""

from __future__ import annotations

import contextlib
import functools
import itertools
import multiprocessing
import os
import time
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from memorymapped import MemoryMappedFile, Mutex, Struct, StructArray, float64, int32, int64

from ..bench import Bench, row
from ..loops import statement
from ..model import Case, Goal, Loop
from ..pair import TURN, Side, paired

APPENDS = 32_000  # to an array of one turn
READS = 100_000  # of each turn beside a writer


class Entry(Struct):
    """24 bytes."""

    id: int64
    count: int32
    price: float64


def _name(what: str) -> str:
    return f"benchmark-{os.getpid()}-{what}"


def _after_clearing(entries: StructArray[Any], source: str, count: int, **names: Any) -> Loop:
    """Appends to an array that is emptied before each turn; its memory has been used before."""
    loop = statement(source, entries=entries, **names)

    def run(turns: int) -> float:
        elapsed = 0.0
        for _ in range(turns):
            entries.clear()
            elapsed += loop.run(count // loop.batch)
        return elapsed

    return Loop(run, count)


@row("10a")
def appends(bench: Bench) -> Iterator[Case]:
    case = Case("10a", "append an element of 24 bytes, one by one; nobody else is there")
    value = Entry(1, 2, 3.0)
    with (
        contextlib.closing(Mutex(name=_name("lock"))) as lock,
        multiprocessing.Manager() as manager,
        StructArray(Entry, _name("array"), APPENDS) as entries,
    ):
        case.peer(
            "Mutex: acquire + release", statement("acquire()\nrelease()", acquire=lock.acquire, release=lock.release)
        )
        case.peer("list.append, of one process", statement("append(value)", append=[].append, value=value))
        case.peer("multiprocessing.Manager().list", statement("append(1)", append=manager.list().append, unrolled=1))
        case.ours(
            "StructArray.append",
            _after_clearing(entries, "append(value)", APPENDS, append=entries.append, value=value),
            Goal(3.0),
        )
        yield case
    case = Case("10a", "append 1000 elements of 24 bytes at once", size=24_000)
    with StructArray(Entry, _name("array"), APPENDS) as entries:
        block = np.zeros(1000, Entry.dtype)
        target = np.zeros(APPENDS, Entry.dtype)
        places = itertools.cycle(range(0, APPENDS, 1000)).__next__
        case.peer(
            "numpy: target[a:b] = block",
            statement(
                "at = place()\ntarget[at:at + 1000] = block", unrolled=1, place=places, target=target, block=block
            ),
        )
        case.ours(
            "StructArray.extend(numpy)",
            _after_clearing(entries, "extend(block)", 32, extend=entries.extend, block=block),
        )
        yield case


@row("10b")
def reads(bench: Bench) -> Iterator[Case]:
    case = Case("10b", "read an element of 24 bytes, nobody writes")
    with (
        MemoryMappedFile.create_new(None, 4096) as map,
        map.create_view_accessor() as view,
        StructArray(Entry, _name("array"), 1000) as entries,
        StructArray(Entry, _name("foreign"), 1000, foreign=True) as foreign,
    ):
        for each in (entries, foreign):
            each.extend(np.zeros(1000, Entry.dtype))
        array = entries.as_numpy()
        case.peer("accessor.read, no guarantee", statement("view.read({p}, Entry)", view=view, Entry=Entry))
        case.peer("numpy record (no copy)", statement("array[{k}]", array=array))
        case.ours("StructArray[i]", statement("entries[{k}]", entries=entries), Goal(1.50))
        case.ours("StructArray[i], foreign=True", statement("entries[{k}]", entries=foreign))
        yield case
        case = Case("10b", "replace an element of 24 bytes, nobody else is there")
        value = Entry(1, 2, 3.0)
        with contextlib.closing(Mutex(name=_name("lock"))) as lock:
            case.peer(
                "Mutex: acquire + release",
                statement("acquire()\nrelease()", acquire=lock.acquire, release=lock.release),
            )
            case.ours(
                "StructArray[i] = value", statement("entries[{k}] = value", entries=entries, value=value), Goal(3.0)
            )
            case.ours(
                "with StructArray.edit(i)",
                statement("with entries.edit({k}) as draft:\n    draft.count = 7", entries=entries),
            )
            yield case
        del array


def _beside(entries: StructArray[Any], retried: list[int]) -> Side:
    """One process replaces elements without pause, and the other one reads them, so often."""

    def side(who: int, numbers: Any, times: int) -> array[int]:
        if who == 1:
            value, written = entries[0], 0
            while not numbers[TURN]:
                entries[written % 10] = value
                written += 1
            return array("q", [written])
        before, retries = entries.version, entries.statistics().retries
        while entries.version == before:
            pass
        start = time.perf_counter_ns()
        for _ in range(times):
            entries[5]
        took = time.perf_counter_ns() - start
        numbers[TURN] = 1
        retried.append(entries.statistics().retries - retries)
        return array("q", [took])

    return side


def _reading(pair: Any, times: int, turns: int) -> float:
    return sum(float(pair.run(times)[1][0]) for _ in range(turns))


@row("10c")
def beside_a_writer(bench: Bench) -> Iterator[Case]:
    times = READS // 10 if bench.quick else READS
    case = Case("10c", "read an element of 24 bytes while another process replaces such without pause")
    retried: list[int] = []
    with StructArray(Entry, _name("array"), 10) as entries:
        entries.extend(np.zeros(10, Entry.dtype))
        with paired(_beside(entries, retried)) as pair:
            took, written = pair.run(10 * times)[1]
            case.note = (
                f"{10 * times * 1e3 / took:.1f} million reads a second, {written * 1e3 / took:.1f} million "
                f"replacements; {retried[0]} times a read began anew"
            )
            case.peer("nobody writes", statement("entries[5]", entries=entries))
            case.ours("StructArray[i]", Loop(functools.partial(_reading, pair, times), times))
            yield case


ROWS = (appends, reads, beside_a_writer)

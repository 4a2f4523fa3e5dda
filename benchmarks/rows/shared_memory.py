# SPDX-License-Identifier: MIT
"""Rows 9a to 9c: SharedMemory: a value read, replaced and edited, beside a plain read and the bare lock; what a reader
gets while a writer commits without pause."""

from __future__ import annotations

import contextlib
import functools
import os
import struct
import threading
import time
from array import array
from collections.abc import Iterator
from typing import Annotated, Any

from memorymapped import FixedBytes, MemoryMappedFile, Mutex, SharedMemory, Struct, int32, int64

from ..bench import Bench, row
from ..loops import statement
from ..model import Case, Goal, Loop
from ..pair import TURN, Side, paired

READS = 100_000  # of each turn beside a writer


class Small(Struct):
    """24 bytes."""

    id: int64
    count: int32
    total: int64


class Large(Struct):
    """256 bytes."""

    id: int64
    data: Annotated[bytes, FixedBytes(248)]


def _name(what: str) -> str:
    return f"benchmark-{os.getpid()}-{what}"


@contextlib.contextmanager
def _shared(type: Any, **options: Any) -> Iterator[Any]:
    with SharedMemory(type, _name("value"), **options) as shared:
        yield shared


@row("9a")
def reads(bench: Bench) -> Iterator[Case]:
    for type in (Small, Large):
        size = type.layout.size
        case = Case("9a", f"read a snapshot of {size} bytes, nobody writes")
        with (
            MemoryMappedFile.create_new(None, 4096) as map,
            map.create_view_accessor() as view,
            _shared(type) as shared,
            SharedMemory(type, _name("quiet"), foreign=False) as quiet,
            contextlib.closing(Mutex(name=_name("lock"))) as lock,
        ):
            case.peer("accessor.read, no guarantee", statement("view.read(0, type)", view=view, type=type))
            case.peer(
                "Mutex and accessor.read",
                statement(
                    "acquire()\nview.read(0, type)\nrelease()",
                    acquire=lock.acquire,
                    release=lock.release,
                    view=view,
                    type=type,
                ),
            )
            inside = threading.Lock()
            case.peer(
                "threading.Lock and unpack_from of an mmap",
                statement(
                    "with lock:\n    unpack(memory, 0)",
                    lock=inside,
                    unpack=struct.Struct("@qiq" if type is Small else "@q248s").unpack_from,
                    memory=memoryview(view),
                ),
            )
            case.ours("SharedMemory.data", statement("shared.data", shared=shared), Goal(1.50))
            case.ours("SharedMemory.data, foreign=False", statement("shared.data", shared=quiet), Goal(1.50))
            yield case


@row("9b")
def updates(bench: Bench) -> Iterator[Case]:
    for type in (Small, Large):
        size = type.layout.size
        case = Case("9b", f"a locked update of {size} bytes, nobody else is there")
        with (
            _shared(type) as shared,
            contextlib.closing(Mutex(name=_name("lock"))) as lock,
            MemoryMappedFile.create_new(None, 4096) as map,
            map.create_view_accessor() as view,
        ):
            value = type(1)
            bare = {"acquire": lock.acquire, "release": lock.release}
            case.peer("Mutex: acquire + release", statement("acquire()\nrelease()", **bare))
            case.peer("Mutex: with", statement("with lock:\n    pass", lock=lock))
            case.peer(
                "Mutex and accessor.write, torn by a death",
                statement("acquire()\nview.write(0, value)\nrelease()", view=view, value=value, **bare),
            )
            case.ours(
                "SharedMemory.data = value", statement("shared.data = value", shared=shared, value=value), Goal(3.0)
            )
            case.ours(
                "with SharedMemory.edit()",
                statement("with shared.edit() as draft:\n    draft.id = 7", shared=shared),
                Goal(3.0, "Mutex: with"),
            )
            yield case


def _beside(shared: SharedMemory[Any], retried: list[int]) -> Side:
    """One process writes without pause, and the other one reads, so often."""

    def side(who: int, numbers: Any, times: int) -> array[int]:
        if who == 1:
            value, written = shared.data, 0
            while not numbers[TURN]:
                shared.data = value
                written += 1
            return array("q", [written])
        before, retries = shared.version, shared.statistics().retries
        while shared.version == before:
            pass
        start = time.perf_counter_ns()
        for _ in range(times):
            shared.data  # noqa: B018
        took = time.perf_counter_ns() - start
        numbers[TURN] = 1
        retried.append(shared.statistics().retries - retries)
        return array("q", [took])

    return side


def _reading(pair: Any, times: int, turns: int) -> float:
    return sum(float(pair.run(times)[1][0]) for _ in range(turns))


@row("9c")
def beside_a_writer(bench: Bench) -> Iterator[Case]:
    times = READS // 10 if bench.quick else READS
    for type in (Small, Large):
        size = type.layout.size
        case = Case("9c", f"read a snapshot of {size} bytes while another process commits without pause")
        retried: list[int] = []
        with _shared(type) as shared, paired(_beside(shared, retried)) as pair:
            took, written = pair.run(10 * times)[1]
            case.note = (
                f"{10 * times * 1e3 / took:.1f} million reads a second, {written * 1e3 / took:.1f} million commits; "
                f"{retried[0]} of {10 * times} reads began anew"
            )
            case.peer("nobody writes", statement("shared.data", shared=shared))
            case.ours("SharedMemory.data", Loop(functools.partial(_reading, pair, times), times))
            yield case


ROWS = (reads, updates, beside_a_writer)

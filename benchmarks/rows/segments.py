# SPDX-License-Identifier: MIT
"""Rows 8a to 8d: records of 100 bytes appended, read by their numbers, and found again in a file that is opened.

Each append of a `SegmentFile` is whole or not there, whoever dies when; that of a buffered file is neither, and not
visible to others before it is flushed. LMDB keeps more: a sorted tree, transactions. It is what one takes otherwise for
records that survive a crash of the program (`sync=False`, as ours: not one of the machine)."""

from __future__ import annotations

import contextlib
import importlib
import itertools
import os
import random
import struct
from collections.abc import Callable, Iterator
from typing import Any

from memorymapped import SegmentFile

from ..bench import Bench, row
from ..loops import call, each, statement
from ..model import Case, Goal, Loop
from ..workspace import MIB


def _optional(module: str) -> Any:
    try:
        return importlib.import_module(module)
    except ImportError:
        return None


lmdb = _optional("lmdb")
_ABSENT = "lmdb is not installed (the extra `bench` brings it)"

Maker = Callable[[str], tuple[Callable[..., Any], Callable[[], Any]]]  # of a path: how to append, and how to close

RECORD = bytes(range(100))
APPENDS = 32_000  # to a file of one turn
CAPACITY = 8 * MIB
COUNT = 100_000
CHUNK, CHUNKS = 10_000, 8


def _new_each_turn(folder: os.PathLike[str], make: Maker) -> Loop:
    """Appends to a new file each turn, which `make` makes."""
    numbers = itertools.count()

    def run(turns: int) -> float:
        elapsed = 0.0
        for _ in range(turns):
            path = os.path.join(folder, f"append-{next(numbers)}")
            append, close = make(path)
            loop = statement("append(record)", append=append, record=RECORD)
            elapsed += loop.run(APPENDS // loop.batch)
            close()
            os.unlink(path)
        return elapsed

    return Loop(run, APPENDS)


def _buffered(path: str) -> tuple[Callable[..., Any], Callable[[], Any]]:
    file = open(path, "ab")  # noqa: SIM115
    return file.write, file.close


def _segments(*, touched: bool = False, **options: Any) -> Maker:
    def make(path: str) -> tuple[Callable[..., Any], Callable[[], Any]]:
        segments = SegmentFile.create_from_file(path, capacity=CAPACITY, encoding=None, **options)
        if touched:
            segments._file.write_bytes(0, bytes(CAPACITY))

        def close() -> None:
            segments.close()
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{path}.sums")

        return segments.append, close

    return make


@row("8a")
def appends(bench: Bench) -> Iterator[Case]:
    for title, folder in (("in memory", bench.workspace.memory), ("on the disk", bench.workspace.disk)):
        case = Case("8a", f"append 100 bytes to a new file {title}", by_minima=True)
        case.peer("file.write, buffered", _new_each_turn(folder, _buffered))
        goals = (Goal(0.75),), (Goal(0.25),)
        case.ours("SegmentFile.append", _new_each_turn(folder, _segments()), *goals[0])
        case.ours("SegmentFile.append, touched", _new_each_turn(folder, _segments(touched=True)), *goals[1])
        case.ours("SegmentFile.append, checksums", _new_each_turn(folder, _segments(checksums=True)))
        yield case


@contextlib.contextmanager
def _tree(bench: Bench) -> Iterator[Any]:
    path = bench.workspace.memory / "lmdb"
    tree = lmdb.open(os.fspath(path), map_size=1 << 30, sync=False, metasync=False, writemap=True)
    try:
        yield tree
    finally:
        tree.close()
        for name in os.listdir(path):
            os.unlink(path / name)
        os.rmdir(path)


def _key(number: int) -> bytes:
    return struct.pack(">I", number)


@row("8b")
def commits(bench: Bench) -> Iterator[Case]:
    case = Case("8b", "append 100 bytes, each committed by itself, not synced", by_minima=True)
    with contextlib.ExitStack() as stack:
        if lmdb is None:
            case.leave_out("lmdb, a transaction each", _ABSENT)
        else:
            tree = stack.enter_context(_tree(bench))
            keys = map(_key, itertools.count())
            source = "with begin(write=True) as transaction:\n    transaction.put(following(), record, append=True)"
            case.peer(
                "lmdb, a transaction each",
                statement(source, begin=tree.begin, following=keys.__next__, record=RECORD),
            )
        case.ours("SegmentFile.append", _new_each_turn(bench.workspace.memory, _segments()), Goal(0.15))
        yield case


def _filled(**options: Any) -> SegmentFile:
    segments = SegmentFile.create_new(104 * COUNT + 64, encoding=None, **options)
    for number in range(COUNT):
        segments.append(_key(number) + RECORD[4:])
    return segments


@row("8c")
def reads(bench: Bench) -> Iterator[Case]:
    dice = random.Random(8)
    order = [list(range(at, at + CHUNK)) for at in range(0, CHUNKS * CHUNK, CHUNK)]
    anywhere = [[dice.randrange(COUNT) for _ in range(CHUNK)] for _ in range(CHUNKS)]
    with contextlib.ExitStack() as stack:
        get = None
        if lmdb is not None:
            tree = stack.enter_context(_tree(bench))
            with tree.begin(write=True) as transaction:
                for number in range(COUNT):
                    transaction.put(_key(number), _key(number) + RECORD[4:], append=True)
            get = stack.enter_context(tree.begin()).get
        plain = stack.enter_context(_filled())
        summed = stack.enter_context(_filled(checksums=True))
        for title, chunks in (("one after the other", order), ("anywhere", anywhere)):
            case = Case("8c", f"read one of {COUNT:,} records of 100 bytes, {title}")
            if get is None:
                case.leave_out("lmdb, get within a transaction", _ABSENT)
            else:
                keys = [[_key(number) for number in chunk] for chunk in chunks]
                case.peer("lmdb, get within a transaction", each("get(p)", keys, get=get))
            goals = ((Goal(0.16),), (Goal(0.22),)) if chunks is order else ((), ())
            case.ours("SegmentFile.read_bytes", each("read(p)", chunks, read=plain.read_bytes), *goals[0])
            case.ours("SegmentFile.read_bytes, checksums", each("read(p)", chunks, read=summed.read_bytes), *goals[1])
            case.ours("segments[p]", each("segments[p]", chunks, segments=plain))
            case.ours("SegmentFile.view", each("view(p)", chunks, view=plain.view))
            yield case


def _scan(path: str) -> int:
    """As one would in Python."""
    with open(path, "rb") as file:
        data = file.read()
    unpack, at, ends = struct.Struct("<i").unpack_from, 0, []
    while at + 4 <= len(data):
        (length,) = unpack(data, at)
        if length == 0:
            break
        at += 4 + length
        ends.append(at)
    return len(ends)


def _open(path: str) -> int:
    with SegmentFile.create_from_file(path, encoding=None) as segments:
        return len(segments)


@row("8d")
def index(bench: Bench) -> Iterator[Case]:
    case = Case("8d", f"find {COUNT:,} records of 100 bytes", note="the target is 1 ms to open the file and find all")
    path = os.fspath(bench.workspace.memory / "index")
    with SegmentFile.create_from_file(path, capacity=104 * COUNT + 64, encoding=None) as segments:
        for _ in range(COUNT):
            segments.append(RECORD)
        case.peer("read + a loop of unpack_from", call("scan(path)", scan=_scan, path=path))
        case.ours("SegmentFile opened anew", call("open(path)", open=_open, path=path), Goal(0.10))
        case.ours("the walk alone", call("walk()", walk=segments._walk_again), Goal(0.05))
        yield case
    os.unlink(path)


ROWS = (appends, commits, reads, index)

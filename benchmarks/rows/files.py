# SPDX-License-Identifier: MIT
"""Rows 4a to 4c: a large file in the page cache, read at random places and from one end to the other; 4e: copied."""

from __future__ import annotations

import contextlib
import importlib
import os
import random
import shutil
from array import array
from collections.abc import Iterator
from struct import Struct
from typing import Any

import numpy as np

from memorymapped import MemoryMappedFile

from ..bench import Bench, row
from ..loops import call, each
from ..model import DOTNET, Case, Goal, Loop
from ..native import Unavailable, address, library
from ..workspace import MIB, mapped

GIB = 1 << 30
CHUNK = 10_000  # positions of one turn
CHUNKS = 12  # for each peer, positions of its own


@contextlib.contextmanager
def _data(bench: Bench, size: int) -> Iterator[dict[str, Any]]:
    """A file on the disk, in the page cache, mapped by mmap and by us and open in three ways."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.workspace.file(size, on_disk=True))
        buffered, raw = open(path, "rb"), open(path, "rb", buffering=0)  # noqa: SIM115
        stack.enter_context(buffered)
        stack.enter_context(raw)
        memory = stack.enter_context(mapped(path))
        map_ = stack.enter_context(MemoryMappedFile.create_from_file(path))
        view = stack.enter_context(map_.create_view_accessor())
        yield {
            "path": path,
            "buffered": buffered,
            "raw": raw,
            "memory": memory,
            "view": view,
            "stream": stack.enter_context(map_.create_view_stream()),
        }


def _shown(size: int) -> str:
    return f"{size / GIB:g} GiB" if size >= GIB else f"{size >> 20} MiB"


def _chunks(seed: int, size: int, *, aligned: bool = True) -> list[list[int]]:
    generator = random.Random(seed)
    words = size // 8 - 1
    return [
        [generator.randrange(words) * 8 + (0 if aligned else generator.randrange(1, 8)) for _ in range(CHUNK)]
        for _ in range(CHUNKS)
    ]


@row("4a")
def random_reads(bench: Bench) -> Iterator[Case]:
    size = bench.size(2 * GIB, 256 * MIB)
    with _data(bench, size) as data:
        case = Case(
            "4a", f"random 8-byte read, {_shown(size)} in the page cache", note="each peer at places of its own"
        )
        mapped_name = "mmap + Struct.unpack_from"
        names = {"unpack": Struct("q").unpack, "codec": Struct("q")}
        case.peer(
            "file.seek + read (buffered)",
            each(
                "file.seek(p)\nunpack(file.read(8))[0]",
                _chunks(1, size),
                file=data["buffered"],
                unpack=names["unpack"],
            ),
        )
        case.peer(
            "os.pread",
            each(
                "unpack(pread(fd, 8, p))[0]",
                _chunks(2, size),
                pread=os.pread,
                fd=data["raw"].fileno(),
                unpack=names["unpack"],
            ),
        )
        case.peer(
            mapped_name,
            each("codec.unpack_from(memory, p)[0]", _chunks(3, size), codec=names["codec"], memory=data["memory"]),
        )
        _native_sums(case, data["memory"], size)
        with bench.dotnet.peers(
            case,
            ("accessor.ReadInt64", "random", data["path"]),
            ("stream.Position + Read", "random_stream", data["path"]),
        ):
            case.ours(
                "accessor.read_int64",
                each("view.read_int64(p)", _chunks(4, size), view=data["view"]),
                Goal(0.12),
                Goal(0.93, mapped_name, was=0.90),
                Goal(2.20, f"{DOTNET} accessor", was=1.20),
            )
            case.ours(
                "stream.seek + read",
                each(
                    "stream.seek(p)\nunpack(stream.read(8))[0]",
                    _chunks(5, size),
                    stream=data["stream"],
                    unpack=names["unpack"],
                ),
            )
            yield case


def _native_sums(case: Case, memory: Any, size: int) -> None:
    try:
        sum_at = library().sum_at
    except Unavailable as reason:
        case.leave_out("C loop", str(reason))
        return
    offsets = [array("q", chunk) for chunk in _chunks(6, size)]
    places = [address(block) for block in offsets]
    loop = each("sum_at(at, p, count)", [[place] for place in places], sum_at=sum_at, at=address(memory), count=CHUNK)

    def run(turns: int, _pinned: object = (memory, offsets)) -> float:
        return loop.run(turns)

    case.peer("C loop", Loop(run, CHUNK))


@row("4b")
def gathers(bench: Bench) -> Iterator[Case]:
    size = bench.size(2 * GIB, 256 * MIB)
    with _data(bench, size) as data:
        case = Case("4b", f"8-byte reads at {CHUNK} random places of {_shown(size)} in one call")
        case.peer(
            "mmap + Struct.unpack_from, each",
            each("codec.unpack_from(memory, p)[0]", _chunks(1, size), codec=Struct("q"), memory=data["memory"]),
        )
        words = np.frombuffer(data["memory"], "i8")
        indices = [np.array(chunk, "i8") // 8 for chunk in _chunks(2, size)]
        out = np.empty(CHUNK, "i8")
        case.peer("numpy a[indices]", _vector("words[p]", indices, words=words))
        case.peer(
            "numpy take(indices, out) without checks",
            _vector("take(words, p, 0, out, 'clip')", indices[::-1], take=np.take, words=words, out=out),
        )
        try:
            gather_at = library().gather_at
            offsets = [array("q", chunk) for chunk in _chunks(3, size, aligned=False)]
            case.peer(
                "C loop, any alignment",
                _vector(
                    "gather_at(to, at, p, count)",
                    [address(block) for block in offsets],
                    gather_at=gather_at,
                    to=address(out),
                    at=address(data["memory"]),
                    count=CHUNK,
                ),
            )
        except Unavailable as reason:
            case.leave_out("C loop", str(reason))
        aligned = [np.array(chunk, "i8") for chunk in _chunks(4, size)]
        unaligned = [np.array(chunk, "i8") for chunk in _chunks(5, size, aligned=False)]
        into = [np.array(chunk, "i8") for chunk in _chunks(6, size, aligned=False)]
        case.ours("accessor.gather", _vector("view.gather(p, 'q')", aligned, view=data["view"]), Goal(0.10))
        case.ours(
            "accessor.gather, not aligned", _vector("view.gather(p, 'q')", unaligned, view=data["view"]), Goal(0.10)
        )
        case.ours(
            "accessor.gather(out), not aligned",
            _vector("view.gather(p, 'q', out)", into, view=data["view"], out=out),
            Goal(0.10),
        )
        yield case
        del words


def _vector(source: str, vectors: list[Any], /, **names: Any) -> Loop:
    """One call for all places of a chunk; counted by places."""
    return Loop(each(source, [[vector] for vector in vectors], **names).run, CHUNK)


@row("4c")
def sequential(bench: Bench) -> Iterator[Case]:
    size, step = bench.size(GIB, 128 * MIB), MIB
    with _data(bench, size) as data:
        buffer = bytearray(step)
        names: dict[str, Any] = {"steps": range(0, size, step), "own": buffer}
        raw, view, stream, memory = data["raw"], data["view"], data["stream"], data["memory"]
        case = Case("4c", f"{_shown(size)} in steps of 1 MiB into a buffer", size=size)
        case.peer("file.readinto", call("file.seek(0)\nfor _ in steps: file.readinto(own)", file=raw, **names))
        case.peer(
            "file.read(1 MiB)", call("file.seek(0)\nfor _ in steps: file.read(step)", file=raw, step=step, **names)
        )
        case.peer(
            "mmap slice into the buffer",
            call("for p in steps: own[:] = source[p : p + step]", source=memoryview(memory), step=step, **names),
        )
        with bench.dotnet.peers(case, ("stream.Read", "sequential", (data["path"], step))):
            case.ours(
                "stream.readinto",
                call("stream.seek(0)\nfor _ in steps: stream.readinto(own)", stream=stream, **names),
                Goal(1.03),
            )
            case.ours(
                "accessor.read_array", call("for p in steps: view.read_array(p, own)", view=view, **names), Goal(1.03)
            )
            yield case
        case = Case("4c", f"{_shown(size)} in steps of 1 MiB, each summed up: in a buffer, or in place", size=size)
        own = np.frombuffer(buffer, "i8")
        case.peer(
            "file.readinto, sum of the buffer",
            call("file.seek(0)\nfor _ in steps: file.readinto(own); numbers.sum()", file=raw, numbers=own, **names),
        )
        summed, words = "for p in places: whole[p : p + n].sum()", step // 8
        places = {"places": range(0, size // 8, words), "n": words}
        case.peer("mmap, sum in place", call(summed, whole=np.frombuffer(memory, "i8"), **places))
        case.ours("accessor, sum in place", call(summed, whole=np.asarray(view.cast("q")), **places), Goal(0.85))
        yield case


@row("4e")
def copies(bench: Bench) -> Iterator[Case]:
    size = bench.size(256 * MIB, 64 * MIB)
    with bench.workspace.file(size) as source:
        target = f"{source}.copy"
        case = Case("4e", f"copy a file of {_shown(size)} (in memory)", size=size, by_minima=True)
        names = {"source": source, "target": target, "remove": os.unlink}
        case.peer("shutil.copyfile", call("copy(source, target); remove(target)", copy=shutil.copyfile, **names))
        with bench.dotnet.peers(case, ("File.Copy", "copy", (source, f"{source}.dotnet"))):
            try:
                copying = importlib.import_module("memorymapped.cli.copying")
            except ImportError:
                case.leave_out("mmf cp", "memorymapped.cli.copying is not there")
            else:
                case.ours(
                    "mmf cp", call("copy(source, target); remove(target)", copy=copying.copy_file, **names), Goal(1.03)
                )
            yield case


ROWS = (random_reads, gathers, sequential, copies)

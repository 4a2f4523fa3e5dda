# SPDX-License-Identifier: MIT
"""Row 4d: eight bytes after the other."""

from __future__ import annotations

import contextlib
import io
from collections.abc import Iterator
from struct import Struct

from memorymapped import MemoryMappedFile

from ..bench import Bench, row
from ..loops import call, passes
from ..model import Case, Goal, Loop
from ..workspace import MIB, mapped


@row("4d")
def small_reads(bench: Bench) -> Iterator[Case]:
    size = bench.size(MIB, MIB // 4)
    count = size // 8
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.workspace.file(size))
        file = stack.enter_context(open(path, "rb"))
        memory = stack.enter_context(mapped(path))
        map_ = stack.enter_context(MemoryMappedFile.create_from_file(path))
        view = stack.enter_context(map_.create_view_accessor())
        stream = stack.enter_context(map_.create_view_stream())
        buffered = io.BufferedReader(stack.enter_context(map_.create_view_stream()))
        stack.callback(buffered.close)
        unpack, iter_unpack = Struct("q").unpack, Struct("q").iter_unpack
        cast = memoryview(memory).cast("q")
        elements = view.cast("q")
        iterate, own_iterate = call("for _ in cast: pass", cast=cast), call("for _ in cast: pass", cast=elements)

        case = Case(
            "4d", "8 bytes after the other", note="the reads give bytes, the iterators numbers: see the next case"
        )
        case.peer("file.read(8)", passes("file.read(8)", count, before="file.seek(0)", file=file))
        case.peer("mmap.read(8)", passes("memory.read(8)", count, before="memory.seek(0)", memory=memory))
        case.peer("iterate memoryview.cast", Loop(iterate.run, count))
        case.ours(
            "stream.read(8)", passes("file.read(8)", count, before="file.seek(0)", file=stream), Goal(0.65, was=0.40)
        )
        case.ours("BufferedReader(stream).read(8)", passes("file.read(8)", count, before="file.seek(0)", file=buffered))
        case.ours("iterate view.cast", Loop(own_iterate.run, count))
        yield case

        case = Case("4d", "64-bit numbers after the other")
        decode = "unpack(file.read(8))[0]"
        case.peer(
            "file.read(8) + Struct.unpack", passes(decode, count, before="file.seek(0)", file=file, unpack=unpack)
        )
        case.peer(
            "Struct.iter_unpack",
            Loop(call("for _ in unpack(memory): pass", unpack=iter_unpack, memory=memory).run, count),
        )
        case.peer("iterate memoryview.cast", Loop(iterate.run, count))
        case.ours(
            "stream.read(8) + Struct.unpack", passes(decode, count, before="file.seek(0)", file=stream, unpack=unpack)
        )
        case.ours("iterate view.cast", Loop(own_iterate.run, count), Goal(0.23, was=0.20))
        yield case
        del cast, elements


ROWS = (small_reads,)

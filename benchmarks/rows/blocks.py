# SPDX-License-Identifier: MIT
"""Rows 3a to 3e: blocks into a buffer, out of it, as new objects, and as numbers."""

from __future__ import annotations

import contextlib
from array import array
from collections.abc import Iterator
from typing import Any

import numpy as np

from memorymapped import MemoryMappedFile

from ..bench import Bench, row
from ..loops import call, statement
from ..machine import last_level_cache
from ..model import DOTNET, Case, Goal, Loop
from ..native import address, memcpy
from ..workspace import MIB, mapped

BLOCK = 64 * MIB


@contextlib.contextmanager
def _data(bench: Bench, size: int) -> Iterator[dict[str, Any]]:
    """A file in memory, mapped by mmap and by us."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.workspace.file(size))
        memory = stack.enter_context(mapped(path))
        map_ = stack.enter_context(MemoryMappedFile.create_from_file(path))
        yield {
            "path": path,
            "memory": memory,
            "view": stack.enter_context(map_.create_view_accessor()),
            "stream": stack.enter_context(map_.create_view_stream()),
        }


def _sizes(bench: Bench) -> list[int]:
    """A small block, the one of the table, and (not if it has to be quick) one that no cache can hold."""
    beyond = bench.size(2 * last_level_cache(), BLOCK)
    return [MIB, BLOCK, beyond] if beyond > BLOCK and not bench.quick else [MIB, BLOCK]


def _goal(size: int, below: float, above: float) -> Goal:
    return Goal(above if size > last_level_cache() else below)


def _title(what: str, size: int) -> str:
    cache = last_level_cache()
    return f"{what} {size >> 20} MiB ({'above' if size > cache else 'up to'} the last cache's {cache >> 20} MiB)"


def _block(source: str, size: int, /, **names: Any) -> Loop:
    """Once for a large block; unrolled for a small one."""
    return call(source, size=size, **names) if size > 4 * MIB else statement(source, unrolled=4, size=size, **names)


@row("3a")
def into_buffers(bench: Bench) -> Iterator[Case]:
    for size in _sizes(bench):
        with _data(bench, size) as data:
            case = Case("3a", _title("read into a buffer,", size), size=size)
            own = bytearray(size)
            source = memoryview(data["memory"])
            case.peer(
                "C memcpy (ctypes)",
                _block("memcpy(to, at, size)", size, memcpy=memcpy(), to=address(own), at=address(data["memory"])),
            )
            case.peer("memoryview slice =", _block("own[:] = source", size, own=memoryview(own), source=source))
            case.peer(
                "numpy.copyto",
                _block(
                    "copyto(a, b)", size, copyto=np.copyto, a=np.frombuffer(own, "u1"), b=np.frombuffer(source, "u1")
                ),
            )
            wanted = []
            if size == BLOCK:
                wanted = [
                    ("ReadArray<int>", "read_array_int", (data["path"], size)),
                    ("ReadArray<double>", "read_array_double", (data["path"], size)),
                ]
            with bench.dotnet.peers(case, *wanted):
                goal = _goal(size, 1.03, 0.80)
                over = [Goal(1 / 7, f"{DOTNET} ReadArray<int>")] if wanted else []
                integers = memoryview(own).cast("i")
                case.ours(
                    "accessor.read_array, int32",
                    _block("view.read_array(0, own)", size, view=data["view"], own=integers),
                    goal,
                    *over,
                )
                case.ours(
                    "accessor.read_array, bytearray",
                    _block("view.read_array(0, own)", size, view=data["view"], own=own),
                    goal,
                )
                case.ours(
                    "stream.readinto",
                    _block("stream.seek(0); stream.readinto(own)", size, stream=data["stream"], own=own),
                )
                yield case
            del source, integers


@row("3b")
def from_buffers(bench: Bench) -> Iterator[Case]:
    for size in _sizes(bench):
        with _data(bench, size) as data:
            case = Case("3b", _title("write from a buffer,", size), size=size)
            own = bytearray(b"\x5a") * size
            target = memoryview(data["memory"])
            case.peer(
                "C memcpy (ctypes)",
                _block("memcpy(at, own, size)", size, memcpy=memcpy(), own=address(own), at=address(data["memory"])),
            )
            case.peer("mmap slice =", _block("memory[:] = own", size, memory=data["memory"], own=own))
            case.peer(
                "numpy.copyto",
                _block(
                    "copyto(a, b)", size, copyto=np.copyto, a=np.frombuffer(target, "u1"), b=np.frombuffer(own, "u1")
                ),
            )
            wanted = [("WriteArray<int>", "write_array_int", (data["path"], size))] if size == BLOCK else []
            with bench.dotnet.peers(case, *wanted):
                goal = _goal(size, 1.03, 0.82)
                case.ours(
                    "accessor.write_array, int32",
                    _block("view.write_array(0, own)", size, view=data["view"], own=memoryview(own).cast("i")),
                    goal,
                )
                case.ours(
                    "accessor.write_bytes", _block("view.write_bytes(0, own)", size, view=data["view"], own=own), goal
                )
                case.ours(
                    "stream.write", _block("stream.seek(0); stream.write(own)", size, stream=data["stream"], own=own)
                )
                yield case
            del target


@row("3c")
def new_objects(bench: Bench) -> Iterator[Case]:
    size = BLOCK
    with _data(bench, size) as data:
        case = Case("3c", f"{size >> 20} MiB to a new object", size=size, by_minima=True)
        names = {"size": size}
        source = np.frombuffer(data["memory"], "u1")
        case.peer("mmap[:]", call("memory[:]", memory=data["memory"]))
        case.peer("bytes(memoryview)", call("bytes(source)", source=memoryview(data["memory"])))
        case.peer("numpy copy", call("source.copy()", source=source))
        case.ours("accessor.read_bytes", call("view.read_bytes(0, size)", view=data["view"], **names), Goal(0.28))
        case.ours("accessor[:]", call("view[:]", view=data["view"]), Goal(0.28))
        case.ours("stream.read", call("stream.seek(0); stream.read(size)", stream=data["stream"], **names))
        case.ours("view.cast.tobytes", call("elements.tobytes()", elements=data["view"].cast("i")))
        yield case
        del source


@row("3d")
def small_objects(bench: Bench) -> Iterator[Case]:
    with _data(bench, MIB) as data:
        for size, goal in ((64, Goal(0.85)), (4096, Goal(1.00)), (65536, Goal(1.03, was=1.00))):
            case = Case("3d", f"{size} bytes to a new bytes object", size=size)
            bounds = f"{{p}}:{{p}} + {size}"
            case.peer("mmap[a:b]", statement(f"memory[{bounds}]", memory=data["memory"]))
            case.peer(
                "bytes(memoryview[a:b])", statement(f"bytes(source[{bounds}])", source=memoryview(data["memory"]))
            )
            case.ours("accessor.read_bytes", statement(f"view.read_bytes({{p}}, {size})", view=data["view"]), goal)
            case.ours("accessor[a:b]", statement(f"view[{bounds}]", view=data["view"]))
            yield case


@row("3e")
def numbers(bench: Bench) -> Iterator[Case]:
    size = bench.size(4 * MIB, MIB)
    with _data(bench, size) as data:
        case = Case("3e", f"{size // 4} int32 to a list, or a typed array", note="boxing: each number is a new object")
        source = np.frombuffer(data["memory"], "i4")
        own, own_array = array("i", bytes(size)), np.empty(size // 4, "i4")
        elements = data["view"].cast("i")
        case.peer("numpy tolist", call("source.tolist()", source=source))
        case.peer("memoryview.cast tolist", call("cast.tolist()", cast=memoryview(data["memory"]).cast("i")))
        case.ours("view.cast.tolist", call("elements.tolist()", elements=elements), Goal(1.03))
        case.ours("list(view.cast)", call("list(elements)", elements=elements, list=list))
        case.ours(
            "accessor.read_array to array.array",
            call("view.read_array(0, own)", view=data["view"], own=own),
            Goal(0.05),
        )
        case.ours(
            "accessor.read_array to numpy",
            call("view.read_array(0, own)", view=data["view"], own=own_array),
            Goal(0.05),
        )
        yield case
        del source, elements


ROWS = (into_buffers, from_buffers, new_objects, small_objects, numbers)

# SPDX-License-Identifier: MIT
"""Rows 1a to 1c: one number by its position, and by its index in a typed view."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from multiprocessing.shared_memory import SharedMemory
from struct import Struct
from typing import Any, NamedTuple

import numpy as np

from memorymapped import MemoryMappedFile

from ..bench import Bench, row
from ..loops import statement
from ..model import DOTNET, Case, Goal
from ..workspace import mapped

SIZE = 1 << 16


class _Kind(NamedTuple):
    """A number type: our name, .NET's, the format, and a value to be written."""

    name: str
    method: str
    format: Any  # a str, of those that memoryview.cast knows
    value: Any

    @property
    def stride(self) -> str:
        # Element k of the typed views lies where position {p} is: 8 bytes apart, whatever the element's size.
        return "{k}" if Struct(self.format).size == 8 else "2 * {k}"


KINDS = (
    _Kind("int32", "Int32", "i", 1_234_567_890),
    _Kind("int64", "Int64", "q", 1_234_567_890_123_456_789),
    _Kind("double", "Double", "d", 1234.5678),
)


@contextlib.contextmanager
def _data(bench: Bench) -> Iterator[dict[str, Any]]:
    """The same file mapped by mmap and by us, and a shared-memory block of the same size."""
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.workspace.file(SIZE))
        memory = stack.enter_context(mapped(path))
        map_ = stack.enter_context(MemoryMappedFile.create_from_file(path))
        view = stack.enter_context(map_.create_view_accessor())
        shared = SharedMemory(create=True, size=SIZE)
        stack.callback(shared.unlink)
        stack.callback(shared.close)
        memoryview(shared.buf or b"")[:] = memory[:]
        yield {"path": path, "memory": memory, "view": view, "shared": shared}


def _indexed(source: str, kind: _Kind) -> str:
    # The index is a constant, as a position is: 2 * k is folded by the compiler.
    return source.replace("{i}", kind.stride)


@row("1a")
def reads_by_offset(bench: Bench) -> Iterator[Case]:
    with _data(bench) as data:
        for kind in KINDS:
            case = Case("1a", f"read {kind.name} by offset, guarded")
            codec, cast = Struct(kind.format), memoryview(data["memory"]).cast(kind.format)
            array = np.frombuffer(data["memory"], kind.format)
            case.peer(
                "mmap + Struct.unpack_from",
                statement("codec.unpack_from(memory, {p})[0]", codec=codec, memory=data["memory"]),
            )
            case.peer("memoryview.cast index", statement(_indexed("cast[{i}]", kind), cast=cast))
            case.peer(
                "shared_memory.buf + Struct.unpack_from",
                statement("codec.unpack_from(shared.buf, {p})[0]", codec=codec, shared=data["shared"]),
            )
            case.peer("numpy scalar", statement(_indexed("array[{i}]", kind), array=array))
            with bench.dotnet.peers(case, (f"Read{kind.method}", f"read_{kind.name}", data["path"])):
                case.ours(
                    f"accessor.read_{kind.name}",
                    statement(f"view.read_{kind.name}({{p}})", view=data["view"]),
                    Goal(0.42),
                    Goal(1.15 if kind.format == "d" else 1.60, DOTNET, was=1.00),
                )
                yield case
            del cast, array


@row("1b")
def writes_by_offset(bench: Bench) -> Iterator[Case]:
    with _data(bench) as data:
        for kind in KINDS:
            case = Case("1b", f"write {kind.name} by offset, guarded")
            codec, cast = Struct(kind.format), memoryview(data["memory"]).cast(kind.format)
            array = np.frombuffer(data["memory"], kind.format)
            case.peer(
                "mmap + Struct.pack_into",
                statement("codec.pack_into(memory, {p}, value)", codec=codec, memory=data["memory"], value=kind.value),
            )
            case.peer(
                "memoryview.cast index", statement(_indexed("cast[{i}] = value", kind), cast=cast, value=kind.value)
            )
            case.peer("numpy scalar", statement(_indexed("array[{i}] = value", kind), array=array, value=kind.value))
            with bench.dotnet.peers(case, (f"Write({kind.method})", f"write_{kind.name}", data["path"])):
                case.ours(
                    f"accessor.write_{kind.name}",
                    statement(f"view.write_{kind.name}({{p}}, value)", view=data["view"], value=kind.value),
                    Goal(0.42),
                )
                yield case
            del cast, array


@row("1c")
def typed_views(bench: Bench) -> Iterator[Case]:
    cast_name = "memoryview.cast index"
    with _data(bench) as data:
        for kind in KINDS:
            codec, cast = Struct(kind.format), memoryview(data["memory"]).cast(kind.format)
            elements = data["view"].cast(kind.format)
            case = Case("1c", f"typed view, read v[i] ({kind.name})")
            case.peer(
                "mmap + Struct.unpack_from",
                statement("codec.unpack_from(memory, {p})[0]", codec=codec, memory=data["memory"]),
            )
            case.peer(cast_name, statement(_indexed("cast[{i}]", kind), cast=cast))
            case.ours(
                "view.cast index",
                statement(_indexed("elements[{i}]", kind), elements=elements),
                Goal(0.38),
                Goal(0.90, cast_name, was=0.85),
            )
            yield case
            case = Case("1c", f"typed view, write v[i] ({kind.name})")
            case.peer(
                "mmap + Struct.pack_into",
                statement("codec.pack_into(memory, {p}, value)", codec=codec, memory=data["memory"], value=kind.value),
            )
            case.peer(cast_name, statement(_indexed("cast[{i}] = value", kind), cast=cast, value=kind.value))
            case.ours(
                "view.cast index",
                statement(_indexed("elements[{i}] = value", kind), elements=elements, value=kind.value),
                Goal(0.33),
                Goal(0.85, cast_name),
            )
            yield case
            del cast, elements


ROWS = (reads_by_offset, writes_by_offset, typed_views)

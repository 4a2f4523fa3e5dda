# SPDX-License-Identifier: MIT
"""Rows 2a to 2c: a structure in a structure, three numbers together: read as a value, looked into, written."""

from __future__ import annotations

import contextlib
import ctypes
import struct
from collections import namedtuple
from collections.abc import Iterator
from typing import Any

import numpy as np

from memorymapped import MemoryMappedFile, Struct, float64, int32, int64

from ..bench import Bench, row
from ..loops import statement
from ..model import Case, Goal
from ..workspace import mapped

SIZE = 24 << 10
FORMAT = "@qid"  # 24 bytes


class Inner(ctypes.Structure):
    """A count and a price."""

    _fields_ = (("count", ctypes.c_int32), ("price", ctypes.c_double))


class Outer(ctypes.Structure):
    """A number, and the inner structure."""

    _fields_ = (("id", ctypes.c_int64), ("inner", Inner))


class Pair(Struct):
    """The same as Inner."""

    count: int32
    price: float64


class Item(Struct):
    """The same as Outer."""

    id: int64
    inner: Pair


DTYPE = np.dtype([("id", "i8"), ("inner", np.dtype([("count", "i4"), ("price", "f8")], align=True))], align=True)
Flat = namedtuple("Flat", "id count price")
Part = namedtuple("Part", "count price")
Whole = namedtuple("Whole", "id inner")

assert ctypes.sizeof(Outer) == struct.calcsize(FORMAT) == DTYPE.itemsize == Item.layout.size


@contextlib.contextmanager
def _data(bench: Bench) -> Iterator[dict[str, Any]]:
    with contextlib.ExitStack() as stack:
        path = stack.enter_context(bench.workspace.file(SIZE))
        memory = stack.enter_context(mapped(path))
        map_ = stack.enter_context(MemoryMappedFile.create_from_file(path))
        yield {
            "path": path,
            "memory": memory,
            "view": stack.enter_context(map_.create_view_accessor()),
            "codec": struct.Struct(FORMAT),
            "Outer": Outer,
            "Item": Item,
            "dtype": DTYPE,
        }


def _names(data: dict[str, Any], *wanted: str) -> dict[str, Any]:
    return {name: data[name] for name in wanted}


@row("2a")
def reads(bench: Bench) -> Iterator[Case]:
    with _data(bench) as data:
        case = Case("2a", "read a structure of two levels")
        case.peer(
            "mmap + Struct.unpack_from (flat tuple)",
            statement("codec.unpack_from(memory, {p})", **_names(data, "codec", "memory")),
        )
        case.peer(
            "mmap + unpack_from to a namedtuple",
            statement("make(codec.unpack_from(memory, {p}))", make=Flat._make, **_names(data, "codec", "memory")),
        )
        case.peer(
            "ctypes from_buffer_copy",
            statement("Outer.from_buffer_copy(memory, {p})", **_names(data, "Outer", "memory")),
        )
        array = np.frombuffer(data["memory"], DTYPE)
        case.peer("numpy record (no copy)", statement("array[{k}]", array=array))
        with bench.dotnet.peers(case, ("Read<T>", "read_struct", data["path"])):
            case.ours("accessor.read", statement("view.read({p}, Item)", **_names(data, "view", "Item")), Goal(0.50))
            case.ours("accessor.read, struct format", statement("view.read({p}, '@qid')", **_names(data, "view")))
            case.ours("accessor.read, ctypes", statement("view.read({p}, Outer)", **_names(data, "view", "Outer")))
            case.ours("accessor.read, numpy", statement("view.read({p}, dtype)", **_names(data, "view", "dtype")))
            yield case
        del array


@row("2b")
def reads_and_fields(bench: Bench) -> Iterator[Case]:
    flat = "value = {}\nvalue[0]; value[1]; value[2]"
    fields = "value = {}\ninner = value.inner\nvalue.id; inner.count; inner.price"
    items = "value = {}\ninner = value['inner']\nvalue['id']; inner['count']; inner['price']"
    with _data(bench) as data:
        case = Case(
            "2b", "read the structure and its three fields", note="base: unpack_from alone, as in the table of targets"
        )
        codec_memory = _names(data, "codec", "memory")
        case.peer("mmap + Struct.unpack_from alone", statement("codec.unpack_from(memory, {p})", **codec_memory))
        case.peer("unpack_from, items", statement(flat.format("codec.unpack_from(memory, {p})"), **codec_memory))
        case.peer(
            "unpack_from to objects",
            statement(
                "a, b, c = codec.unpack_from(memory, {p})\nvalue = Whole(a, Part(b, c))\ninner = value.inner\n"
                "value.id; inner.count; inner.price",
                Whole=Whole,
                Part=Part,
                **codec_memory,
            ),
        )
        case.peer(
            "ctypes from_buffer_copy, fields",
            statement(fields.format("Outer.from_buffer_copy(memory, {p})"), **_names(data, "Outer", "memory")),
        )
        array = np.frombuffer(data["memory"], DTYPE)
        case.peer("numpy record, fields", statement(items.format("array[{k}]"), array=array))
        case.ours(
            "accessor.read, fields",
            statement(fields.format("view.read({p}, Item)"), **_names(data, "view", "Item")),
            Goal(1.60),
            Goal(0.40, "unpack_from to objects"),
            Goal(0.25, "ctypes"),
        )
        case.ours(
            "reference, fields (no copy)",
            statement(fields.format("view.ref(Item, {p})"), **_names(data, "view", "Item")),
        )
        case.ours(
            "accessor.read, struct format, items",
            statement(flat.format("view.read({p}, '@qid')"), **_names(data, "view")),
        )
        case.ours(
            "accessor.read, ctypes, fields",
            statement(fields.format("view.read({p}, Outer)"), **_names(data, "view", "Outer")),
        )
        case.ours(
            "accessor.read, numpy, fields",
            statement(items.format("view.read({p}, dtype)"), **_names(data, "view", "dtype")),
        )
        yield case
        del array


@row("2c")
def writes(bench: Bench) -> Iterator[Case]:
    with _data(bench) as data:
        case = Case("2c", "write the structure")
        structure, record = Outer(1, Inner(2, 3.0)), np.array((1, (2, 3.0)), DTYPE)[()]
        case.peer(
            "mmap + Struct.pack_into (3 values)",
            statement("codec.pack_into(memory, {p}, 1, 2, 3.0)", **_names(data, "codec", "memory")),
        )
        case.peer(
            "mmap slice = ctypes structure",
            statement("memory[{p}:{p} + 24] = value", value=structure, **_names(data, "memory")),
        )
        array = np.frombuffer(data["memory"], DTYPE)
        case.peer("numpy record, assigned", statement("array[{k}] = value", array=array, value=record))
        with bench.dotnet.peers(case, ("Write(ref T)", "write_struct", data["path"])):
            case.ours(
                "accessor.write",
                statement("view.write({p}, value)", value=Item(1, Pair(2, 3.0)), **_names(data, "view")),
                Goal(0.60),
            )
            case.ours(
                "accessor.write, struct format",
                statement("view.write({p}, value, '@qid')", value=(1, 2, 3.0), **_names(data, "view")),
            )
            case.ours(
                "accessor.write, ctypes", statement("view.write({p}, value)", value=structure, **_names(data, "view"))
            )
            case.ours(
                "accessor.write, numpy", statement("view.write({p}, value)", value=record, **_names(data, "view"))
            )
            yield case
        del array


ROWS = (reads, reads_and_fields, writes)

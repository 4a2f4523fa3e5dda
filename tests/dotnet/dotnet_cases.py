# SPDX-License-Identifier: MIT
"""The calls of the behaviour table, as data: groups of cases, each a few steps (dotnet_steps.py, peer.cs).

Every case starts with the file "f" or with none, and the objects that it makes are ended behind it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import NamedTuple

from dotnet_steps import RECORDS, Step, pattern

MODES = {"mode0": 0, "CreateNew": 1, "Create": 2, "Open": 3, "OpenOrCreate": 4, "Truncate": 5, "Append": 6, "mode7": 7}
ACCESSES = {
    "ReadWrite": 0,
    "Read": 1,
    "Write": 2,
    "CopyOnWrite": 3,
    "ReadExecute": 4,
    "ReadWriteExecute": 5,
    "access6": 6,
    "access-1": -1,
}
MAP_ACCESSES = {name: value for name, value in ACCESSES.items() if name not in ("Write", "access6", "access-1")}
VIEW_ACCESSES = {name: value for name, value in ACCESSES.items() if 0 <= value <= 5}
DELAYED = 0x4000000
FURTHEST = 2**63 - 1
LARGEST_VIEW = 8192 * 10**9

# Size in bytes and a word for a value of each type.
SCALARS = {
    "boolean": (1, "True"),
    "byte": (1, "200"),
    "sbyte": (1, "-100"),
    "char": (2, "20ac"),
    "int16": (2, "-12345"),
    "uint16": (2, "54321"),
    "int32": (4, "-1234567890"),
    "uint32": (4, "4123456789"),
    "int64": (8, "-1234567890123456789"),
    "uint64": (8, "12345678901234567890"),
    "single": (4, "c0490fdb"),
    "double": (8, "400921fb54442d18"),
    "decimal": (16, "0000006e000000000000000080020000"),
}
SIZES = {"Byte": 1, "Boolean": 1, "Int16": 2, "Packed3": 3, "Int32": 4, "Packed5": 5, "Double": 8, "Natural": 16}
assert SIZES.keys() == RECORDS.keys()


class Case(NamedTuple):
    """Its name says what is special about it."""

    name: str
    steps: tuple[Step, ...]


Cases = Iterator[Case]
GROUPS: dict[str, Callable[[], Cases]] = {}


def group(function: Callable[[], Cases]) -> Callable[[], Cases]:
    GROUPS[function.__name__] = function
    return function


def case(name: str, *steps: Step) -> Case:
    return Case(name, (*steps, ("end",)))


def size_of(before: str) -> int:
    return {"empty": 0, "100 bytes": 100}[before]


def start(before: str) -> Step:
    return ("remove", "f") if before == "missing" else ("make", "f", size_of(before))


# ---------------------------------------------------------------------------------------------------------- maps


@group
def from_path() -> Cases:
    for before, (mode_name, mode), (access_name, access), capacity in itertools.product(
        ("missing", "empty", "100 bytes"), MODES.items(), ACCESSES.items(), (-1, 0, 50, 100, 5000)
    ):
        yield case(
            f"{before}, {mode_name}, {access_name}, capacity {capacity}",
            start(before),
            ("from_path", "m", "f", mode, "-", capacity, access),
            ("state", "f"),
            ("accessor", "v", "m", 0, 0, 1),
            ("accessor_is", "v"),
            ("read", "v", "int32", 0),
            ("dispose", "v"),
            ("dispose", "m"),
            ("state", "f"),
        )


@group
def from_path_oddities() -> Cases:
    """Paths and names; two faults at once."""
    for path, name, mode, capacity, access in itertools.product(
        ("-", ""), ("-", "", "n"), (3, 6, 5, 42), (0, -1), (0, 2, 42)
    ):
        yield case(
            f"path {path!r}, name {name!r}, mode {mode}, capacity {capacity}, access {access}",
            ("from_path", "m", path, mode, name, capacity, access),
        )
    for name, mode, capacity, access in itertools.product(("", "n"), (1, 3, 5, 42), (0, -1, 50, 5000), (0, 1, 2, 42)):
        yield case(
            f"100 bytes, name {name!r}, mode {mode}, capacity {capacity}, access {access}",
            ("make", "f", 100),
            ("from_path", "m", "f", mode, name, capacity, access),
            ("state", "f"),
        )
    for mode in MODES.values():
        yield case(
            f"directory, mode {mode}",
            ("mkdir", "d"),
            ("from_path", "m", "d", mode, "-", 100, 0),
            ("state", "d"),
            ("remove", "d"),
        )
        yield case(
            f"folder is missing, mode {mode}",
            ("remove", "d"),
            ("from_path", "m", "d/f", mode, "-", 100, 0),
            ("state", "d"),
        )
        yield case(
            f"folder is a file, mode {mode}",
            ("make", "f", 100),
            ("from_path", "m", "f/g", mode, "-", 100, 0),
            ("state", "f"),
        )
        for size, capacity, access in itertools.product((0, 100), (0, 100, 5000), (0, 1, 3)):
            for permissions in ("444", "222", "000"):
                yield case(
                    f"permissions {permissions}, {size} bytes, mode {mode}, capacity {capacity}, access {access}",
                    ("make", "f", size),
                    ("chmod", "f", permissions),
                    ("from_path", "m", "f", mode, "-", capacity, access),
                    ("chmod", "f", "644"),
                    ("state", "f"),
                    ("end",),
                    ("remove", "f"),
                )
        for there in (True, False):
            yield case(
                f"link to a {'' if there else 'missing '}file, mode {mode}",
                ("make", "f", 100) if there else ("remove", "f"),
                ("symlink", "l", "f"),
                ("from_path", "m", "l", mode, "-", 100, 0),
                ("state", "f"),
                ("end",),
                ("remove", "l"),
            )
        yield case(
            f"pipe, mode {mode}",
            ("mkfifo", "p"),
            ("from_path", "m", "p", mode, "-", 100, 0),
            ("end",),
            ("remove", "p"),
        )
    yield case("only a path", ("make", "f", 100), ("from_path_only", "m", "f"), ("default_accessor", "v", "m"))
    yield case("only a path, missing", ("remove", "f"), ("from_path_only", "m", "f"), ("state", "f"))
    yield case("only a path, empty file", ("make", "f", 0), ("from_path_only", "m", "f"), ("state", "f"))
    yield case("too large", ("make", "f", 100), ("from_path", "m", "f", 3, "-", FURTHEST, 0), ("state", "f"))
    yield case("too large and new", ("remove", "f"), ("from_path", "m", "f", 1, "-", FURTHEST, 0), ("state", "f"))
    for access in (0, 1):
        yield case(
            f"two maps of one file, the second {access}",
            ("make", "f", 100),
            ("from_path", "m", "f", 3, "-", 0, 0),
            ("from_path", "n", "f", 3, "-", 0, access),
            ("accessor", "v", "m", 0, 0, 0),
            ("accessor", "w", "n", 0, 0, 1),
            ("write", "v", "int32", 0, 77),
            ("read", "w", "int32", 0),
        )
    yield case(
        "a second map grows the file",
        ("make", "f", 100),
        ("from_path", "m", "f", 3, "-", 0, 0),
        ("from_path", "n", "f", 3, "-", 5000, 0),
        ("accessor", "v", "n", 0, 0, 0),
        ("accessor_is", "v"),
        ("state", "f"),
    )
    for capacity in (0, 1, 100):
        yield case(
            f"device with capacity {capacity}",
            ("from_path", "m", "/dev/zero", 3, "-", capacity, 0),
            ("accessor", "v", "m", 0, 0, 0),
            ("accessor_is", "v"),
        )


@group
def from_stream() -> Cases:
    streams = {"Read": 1, "Write": 2, "ReadWrite": 3}
    for size, (stream_name, stream), (access_name, access), capacity in itertools.product(
        (0, 100), streams.items(), ACCESSES.items(), (-1, 0, 50, 100, 5000)
    ):
        yield case(
            f"{size} bytes, stream {stream_name}, {access_name}, capacity {capacity}",
            ("make", "f", size),
            ("open_file", "s", "f", stream),
            ("from_stream", "m", "s", "-", capacity, access, 0, 1),
            ("is_open", "s"),
            ("state", "f"),
            ("accessor", "v", "m", 0, 0, 1),
            ("accessor_is", "v"),
            ("dispose", "v"),
            ("dispose", "m"),
            ("is_open", "s"),
        )
    for name, size, capacity, access, inheritability in itertools.product(
        ("-", "", "n"), (0, 100), (-1, 0, 50, 5000), (0, 1, 2, 42), (0, 1, 2, -1)
    ):
        yield case(
            f"{size} bytes, name {name!r}, capacity {capacity}, access {access}, inheritability {inheritability}",
            ("make", "f", size),
            ("open_file", "s", "f", 3),
            ("from_stream", "m", "s", name, capacity, access, inheritability, 0),
            ("is_open", "s"),
            ("state", "f"),
            ("dispose", "m"),
            ("is_open", "s"),
        )
    for name, capacity, access in itertools.product(("-", ""), (-1, 0), (0, 2, 42)):
        yield case(
            f"no stream, name {name!r}, capacity {capacity}, access {access}",
            ("from_stream", "m", "-", name, capacity, access, 0, 0),
        )
    for name, capacity, access in itertools.product(("-", ""), (-1, 0, 5000), (0, 2, 42)):
        yield case(
            f"closed stream, name {name!r}, capacity {capacity}, access {access}",
            ("make", "f", 100),
            ("open_file", "s", "f", 3),
            ("dispose", "s"),
            ("from_stream", "m", "s", name, capacity, access, 0, 0),
            ("state", "f"),
        )
    for leave_open in (0, 1):
        yield case(
            f"unflushed bytes; views outlive map and file; leave open {leave_open}",
            ("make", "f", 8),
            ("open_file", "s", "f", 3),
            ("write_file", "s", "0102030405060708090a0b0c"),
            ("from_stream", "m", "s", "-", 0, 0, 0, leave_open),
            ("accessor", "v", "m", 0, 0, 0),
            ("accessor_is", "v"),
            ("read", "v", "int64", 0),
            ("dispose", "m"),
            ("is_open", "s"),
            ("write", "v", "int32", 4, 12345),
            ("read", "v", "int32", 4),
            ("dispose", "v"),
            ("state", "f"),
        )
        yield case(
            f"the stream is closed first; leave open {leave_open}",
            ("make", "f", 100),
            ("open_file", "s", "f", 3),
            ("from_stream", "m", "s", "-", 0, 0, 0, leave_open),
            ("accessor", "v", "m", 0, 0, 0),
            ("dispose", "s"),
            ("read", "v", "int32", 0),
            ("dispose", "m"),
            ("dispose", "m"),
            ("read", "v", "int32", 0),
        )


@group
def from_stream_of_a_device() -> Cases:
    for access in MAP_ACCESSES.values():
        yield case(
            f"access {access}",
            ("open_file", "s", "/dev/zero", 3),
            ("from_stream", "m", "s", "-", 100, access, 0, 0),
            ("accessor", "v", "m", 0, 0, 1),
            ("accessor_is", "v"),
        )


@group
def create_new() -> Cases:
    for name, capacity, (access_name, access), options, inheritability in itertools.product(
        ("-", "", "n"), (-1, 0, 1, 4097), ACCESSES.items(), (0, DELAYED, 1), (0, 1, 2)
    ):
        yield case(
            f"name {name!r}, capacity {capacity}, {access_name}, options {options:#x}, inheritability {inheritability}",
            ("create_new", "m", name, capacity, access, options, inheritability),
            ("accessor", "v", "m", 0, 0, 1),
            ("accessor_is", "v"),
            ("read", "v", "byte", 0),
        )


@group
def create_new_too_large() -> Cases:
    for capacity, access in itertools.product((2**47, 2**62, FURTHEST), (0, 1, 3)):
        yield case(
            f"capacity {capacity}, access {access}",
            ("create_new", "m", "-", capacity, access, DELAYED, 0),
            ("accessor", "v", "m", 0, 0, 1),
            ("accessor", "w", "m", 0, 100, 1),
            ("accessor_is", "w"),
        )


@group
def create_or_open() -> Cases:
    for name, capacity, (access_name, access), options, inheritability in itertools.product(
        ("-", "", "n"), (-1, 0, 100), ACCESSES.items(), (0, DELAYED, 1), (0, 1, 2)
    ):
        yield case(
            f"name {name!r}, capacity {capacity}, {access_name}, options {options:#x}, inheritability {inheritability}",
            ("create_or_open", "m", name, capacity, access, options, inheritability),
        )


@group
def open_existing() -> Cases:
    rights = (0, 1, 2, 4, 6, 8, 12, 14, 0x10000, 0xF000F, 0x1000000, 0x10, 0x2000000, -1)
    for name, right, inheritability in itertools.product(("-", "", "n"), rights, (0, 1, 2, -1)):
        yield case(
            f"name {name!r}, rights {right:#x}, inheritability {inheritability}",
            ("open_existing", "m", name, right, inheritability),
        )


# --------------------------------------------------------------------------------------------------------- views


@group
def access_matrix() -> Cases:
    """What each map allows, of memory and of a file, for both kinds of views."""
    for source, (map_name, map_access), (view_name, access), kind in itertools.product(
        ("memory", "file"), MAP_ACCESSES.items(), ACCESSES.items(), ("accessor", "stream")
    ):
        made: tuple[Step, ...] = (("create_new", "m", "-", 5000, map_access, 0, 0),)
        if source == "file":
            made = ("make", "f", 5000), ("from_path", "m", "f", 3, "-", 0, map_access)
        value: Step = ("write", "v", "int32", 0, 4711) if kind == "accessor" else ("s_write", "v", "0102030405")
        read: Step = ("read", "v", "int32", 0) if kind == "accessor" else ("s_read_byte", "v")
        yield case(
            f"{map_name} map of {source}, {view_name} {kind}",
            *made,
            (kind, "v", "m", 100, 1000, access),
            (f"{kind}_is", "v"),
            read,
            value,
            read,
            ("flush", "v"),
            ("dispose", "v"),
            *((("state", "f"),) if source == "file" else ()),
        )
        yield case(
            f"{map_name} map of {source}, {kind} without arguments",
            *made,
            (f"default_{kind}", "v", "m"),
            (f"{kind}_is", "v"),
        )


OFFSETS = (-(2**63), -1, 0, 1, 4095, 4096, 4097, 4999, 5000, 5001, 2**32, 2**62, FURTHEST)
VIEW_SIZES = (-(2**63), -1, 0, 1, 903, 904, 905, 4999, 5000, 5001, LARGEST_VIEW, LARGEST_VIEW + 1, FURTHEST)


def _ranges(kind: str, state: str) -> Cases:
    accesses = (0,) if kind == "stream" and state == "open" else (0, 4, 42)
    offsets, sizes = (
        (OFFSETS, VIEW_SIZES) if state == "open" else ((-1, 0, 5000, 5001), (-1, 0, 5001, LARGEST_VIEW + 1))
    )
    for offset, size, access in itertools.product(offsets, sizes, accesses):
        yield case(
            f"{kind} at {offset}, size {size}, access {access}",
            ("create_new", "m", "-", 5000, 0, 0, 0),
            *((("dispose", "m"),) if state == "closed" else ()),
            (kind, "v", "m", offset, size, access),
            (f"{kind}_is", "v"),
            *((("length", "v"),) if kind == "stream" else ()),
        )


@group
def view_ranges() -> Cases:
    yield from _ranges("accessor", "open")
    yield from _ranges("stream", "open")


@group
def view_ranges_of_a_closed_map() -> Cases:
    yield from _ranges("accessor", "closed")
    yield from _ranges("stream", "closed")


@group
def view_ranges_of_a_read_only_map() -> Cases:
    for offset, size, access in itertools.product((0, 100, 101), (0, 100, 101, LARGEST_VIEW + 1), (0, 1, 2, 3, 4, 42)):
        yield case(
            f"at {offset}, size {size}, access {access}",
            ("make", "f", 100),
            ("from_path", "m", "f", 3, "-", 0, 1),
            ("accessor", "v", "m", offset, size, access),
            ("accessor_is", "v"),
        )


# ------------------------------------------------------------------------------------------------- the accessor's


def on_views(name: str, *steps: Step) -> Cases:
    """The steps on views of 100 bytes with each access, and closed; then the file."""
    for access_name in ("ReadWrite", "Read", "Write", "CopyOnWrite"):
        access = VIEW_ACCESSES[access_name]
        yield case(
            f"{name}, {access_name}",
            ("make", "f", 200),
            ("from_path", "m", "f", 3, "-", 0, 0),
            ("accessor", "v", "m", 50, 100, access),
            *steps,
            ("dispose", "v"),
            ("state", "f"),
        )
    yield case(
        f"{name}, closed",
        ("make", "f", 200),
        ("from_path", "m", "f", 3, "-", 0, 0),
        ("accessor", "v", "m", 50, 100, 0),
        ("dispose", "v"),
        *steps,
        ("state", "f"),
    )
    yield case(
        f"{name}, empty view",
        ("make", "f", 200),
        ("from_path", "m", "f", 3, "-", 0, 0),
        ("accessor", "v", "m", 200, 0, 0),
        *steps,
        ("dispose", "v"),
        ("state", "f"),
    )


def edges(size: int) -> tuple[int, ...]:
    """Positions where something changes for a value of this size in 100 bytes."""
    near = {-1, 0, 1, 50, *range(100 - size - 1, 100 - size + 2), 98, 99, 100, 101}
    return (-(2**63), -(2**32), *sorted(near), 2**31, 2**32, FURTHEST - size, FURTHEST - 1, FURTHEST)


@group
def scalars() -> Cases:
    for type_, (size, word) in SCALARS.items():
        yield from on_views(f"read {type_}", *(("read", "v", type_, at) for at in edges(size)))
        writes = ((("write", "v", type_, at, word), ("read", "v", type_, at)) for at in edges(size))
        yield from on_views(f"write {type_}", *itertools.chain(*writes))


@group
def odd_bytes() -> Cases:
    """What a read makes of bytes that no write has made."""
    fresh = ("make", "f", 64), ("from_path", "m", "f", 3, "-", 0, 0), ("accessor", "v", "m", 0, 0, 0)
    for value in (0, 1, 2, 128, 255):
        yield case(f"boolean {value}", *fresh, ("write", "v", "byte", 5, value), ("read", "v", "boolean", 5))
    for unit in ("0000", "d800", "dfff", "fffe", "ffff", "0041"):
        yield case(f"char {unit}", *fresh, ("write", "v", "char", 3, unit), ("read", "v", "char", 3), ("state", "f"))
    for flags in (
        0, 0x80000000, 0x001C0000, 0x801C0000, 0x001D0000, 0x00FF0000, 0x01000000, 0x40000000, 0x7F000000, 1, 0x8000,
        0x0000FFFF, 0x80000001, 0x801C0001, 0xFFFFFFFF,
    ):  # fmt: skip
        for words in ((0, 0, 0), (1, 0, 0), (2**32 - 1,) * 3):
            yield case(
                f"decimal {words} flags {flags:#x}",
                *fresh,
                *(("write", "v", "uint32", 4 * i, word) for i, word in enumerate((*words, flags))),
                ("read", "v", "decimal", 0),
                ("read", "v", "decimal", 1),
            )
    for bits in ("00000000", "80000000", "00000001", "7f7fffff", "7f800000", "ff800000", "7fc00000", "ffc12345",
                 "7f800001", "ffbfffff", "7fffffff"):  # fmt: skip
        write: Step = ("write", "v", "single", 3, bits)
        yield case(f"single {bits}", *fresh, write, ("read", "v", "single", 3), ("state", "f"))
    for bits in ("0000000000000000", "8000000000000000", "0000000000000001", "7fefffffffffffff", "7ff0000000000000",
                 "fff0000000000000", "7ff8000000000000", "fff8000000012345", "7ff0000000000001",
                 "7fffffffffffffff"):  # fmt: skip
        write = ("write", "v", "double", 3, bits)
        yield case(f"double {bits}", *fresh, write, ("read", "v", "double", 3), ("state", "f"))


@group
def records() -> Cases:
    """Read<T>, Write<T>."""
    for record, size in SIZES.items():
        data = pattern(size)
        if record in ("Boolean", "Natural"):  # bytes that stand for no bool are another matter than positions
            data = bytes(size)
        yield from on_views(f"read {record}", *(("get", "v", record, at) for at in edges(size)))
        writes = ((("put", "v", record, at, data.hex()), ("get", "v", record, at)) for at in edges(size))
        yield from on_views(f"write {record}", *itertools.chain(*writes))


@group
def read_arrays() -> Cases:
    for record, size in SIZES.items():
        step = size if size <= 2 else -(-size // 4) * 4
        for length, offset, count in ((5, 0, 5), (5, 2, 3), (5, 5, 0), (0, 0, 0), (200, 3, 190)):
            positions = {*edges(size), 100 - step, 100 - 2 * step, 100 - 2 * step + 1}
            yield from on_views(
                f"{record}[{length}], {offset}, {count}",
                *(("read_array", "v", record, at, length, offset, count) for at in sorted(positions)),
            )
    for length, offset, count in bad_parts():
        yield from on_views(
            f"Int32[{length}], {offset}, {count}",
            *(("read_array", "v", "Int32", at, length, offset, count) for at in (-1, 0, 99, 100)),
        )


def bad_parts() -> Iterator[tuple[str | int, int, int]]:
    yield from (("-", 0, 0), ("-", -1, -1), (5, -1, 1), (5, 0, -1), (5, -1, -1), (5, 0, 6), (5, 3, 3), (5, 6, 0))
    yield from ((0, 0, 1), (5, 2**31 - 1, 2**31 - 1), (5, 5, 1))


@group
def write_arrays() -> Cases:
    for record, size in SIZES.items():
        step = size if size <= 2 else -(-size // 4) * 4
        for length, offset, count in ((3, 0, 3), (5, 2, 3), (5, 5, 0), (0, 0, 0), (110, 0, 110)):
            data = bytes(size * length) if record in ("Boolean", "Natural") else pattern(size * length)
            positions = {*edges(size), 100 - 3 * step, 100 - 3 * step + 1, 100 - step, 100 - step + 1}
            yield from on_views(
                f"{record}[{length}], {offset}, {count}",
                *(("write_array", "v", record, at, data.hex(), offset, count) for at in sorted(positions)),
            )
    for length, offset, count in bad_parts():
        data_or_none = "-" if isinstance(length, str) else pattern(4 * length).hex()
        yield from on_views(
            f"Int32[{length}], {offset}, {count}",
            *(("write_array", "v", "Int32", at, data_or_none, offset, count) for at in (-1, 0, 99, 100)),
        )


# --------------------------------------------------------------------------------------------------- the stream's


def on_streams(name: str, *steps: Step) -> Cases:
    """The steps on streams of 100 bytes with each access, and closed; then the file."""
    for access_name in ("ReadWrite", "Read", "Write", "CopyOnWrite"):
        access = VIEW_ACCESSES[access_name]
        yield case(
            f"{name}, {access_name}",
            ("make", "f", 200),
            ("from_path", "m", "f", 3, "-", 0, 0),
            ("stream", "v", "m", 50, 100, access),
            *steps,
            ("position", "v"),
            ("dispose", "v"),
            ("state", "f"),
        )
    yield case(
        f"{name}, closed",
        ("make", "f", 200),
        ("from_path", "m", "f", 3, "-", 0, 0),
        ("stream", "v", "m", 50, 100, 0),
        ("dispose", "v"),
        *steps,
        ("position", "v"),
        ("state", "f"),
    )


STREAM_POSITIONS = (-(2**63), -1, 0, 1, 90, 97, 99, 100, 101, 2**31, 2**32, FURTHEST - 1, FURTHEST)


@group
def stream_transfers() -> Cases:
    for at in STREAM_POSITIONS[2:]:
        place: Step = ("set_position", "v", at)
        for count in (0, 1, 3, 100, 101):
            yield from on_streams(f"read {count} at {at}", place, ("s_read", "v", 105, count))
        yield from on_streams(f"read byte at {at}", place, ("s_read_byte", "v"), ("s_read_byte", "v"))
        for count in (0, 1, 3, 10, 11, 100, 101):
            yield from on_streams(f"write {count} at {at}", place, ("s_write", "v", "5a" * count))
        yield from on_streams(f"write byte at {at}", place, ("s_write_byte", "v", 7), ("s_write_byte", "v", 8))
    yield from on_streams("read into nothing", ("s_read", "v", "-", 0))
    yield from on_streams("write nothing", ("s_write", "v", "-"))
    yield from on_streams("flush", ("flush", "v"), ("s_write", "v", "010203"), ("flush", "v"))


@group
def stream_positions() -> Cases:
    for at in STREAM_POSITIONS:
        yield from on_streams(f"set position {at}", ("set_position", "v", at))
        for origin in (0, 1, 2, 3, -1):
            yield from on_streams(f"seek {at} from {origin}", ("set_position", "v", 10), ("s_seek", "v", at, origin))
        yield from on_streams(f"set length {at}", ("set_length", "v", at))
    for origin in (1, 2):
        yield from on_streams(
            f"seek beyond the furthest from {origin}",
            ("set_position", "v", FURTHEST),
            ("s_seek", "v", 1, origin),
            ("s_seek", "v", -(2**63), 1),
            ("s_seek", "v", -FURTHEST, 1),
        )
    yield from on_streams("what it is", ("stream_is", "v"), ("length", "v"), ("position", "v"))


# ---------------------------------------------------------------------------------------------------- after the end


@group
def after_dispose() -> Cases:
    made = ("make", "f", 100), ("from_path", "m", "f", 3, "-", 0, 0)
    yield case("map, twice", *made, ("dispose", "m"), ("dispose", "m"), ("default_accessor", "v", "m"))
    yield case("map, stream", *made, ("dispose", "m"), ("default_stream", "v", "m"))
    yield case(
        "views outlive the map",
        *made,
        ("default_accessor", "v", "m"),
        ("default_stream", "s", "m"),
        ("dispose", "m"),
        ("write", "v", "int32", 0, 99),
        ("flush", "v"),
        ("s_read", "s", 8, 8),
        ("s_write", "s", "aabb"),
        ("flush", "s"),
        ("read", "v", "int64", 4),
        ("dispose", "v"),
        ("s_read_byte", "s"),
        ("dispose", "s"),
        ("state", "f"),
    )
    yield case(
        "accessor",
        *made,
        ("accessor", "v", "m", 10, 50, 0),
        ("dispose", "v"),
        ("dispose", "v"),
        ("accessor_is", "v"),
        ("flush", "v"),
        *(("read", "v", type_, 0) for type_ in SCALARS),
        *(("write", "v", type_, 0, word) for type_, (_, word) in SCALARS.items()),
        ("get", "v", "Int32", 0),
        ("put", "v", "Int32", 0, "00000000"),
        ("read_array", "v", "Int32", 0, 3, 0, 3),
        ("write_array", "v", "Int32", 0, "00000000", 0, 1),
    )
    yield case(
        "stream",
        *made,
        ("stream", "v", "m", 10, 50, 0),
        ("dispose", "v"),
        ("dispose", "v"),
        ("stream_is", "v"),
        ("length", "v"),
        ("position", "v"),
        ("set_position", "v", 0),
        ("set_position", "v", -1),
        ("s_seek", "v", 0, 0),
        ("s_seek", "v", 0, 7),
        ("set_length", "v", 10),
        ("set_length", "v", -10),
        ("flush", "v"),
        ("s_read", "v", 3, 3),
        ("s_read_byte", "v"),
        ("s_write", "v", "00"),
        ("s_write_byte", "v", 0),
    )
    for access in (1, 2, 3):
        yield case(f"flush of access {access}", *made, ("accessor", "v", "m", 0, 0, access), ("flush", "v"))
        yield case(f"flush of a stream, access {access}", *made, ("stream", "v", "m", 0, 0, access), ("flush", "v"))


@group
def sharing() -> Cases:
    """Who sees what of whom: maps, views, copy on write."""
    for map_access, first, second in itertools.product((0, 3, 5), (0, 1, 3), (0, 1, 3)):
        yield case(
            f"map {map_access}, view {first}, view {second}",
            ("make", "f", 100),
            ("from_path", "m", "f", 3, "-", 0, map_access),
            ("accessor", "v", "m", 0, 0, first),
            ("accessor", "w", "m", 0, 0, second),
            ("read", "v", "int32", 0),
            ("read", "w", "int32", 0),
            ("write", "v", "int32", 0, 111),
            ("read", "w", "int32", 0),
            ("write", "w", "int32", 0, 222),
            ("read", "v", "int32", 0),
            ("write", "v", "int32", 4, 333),
            ("read", "w", "int32", 4),
            ("dispose", "v"),
            ("dispose", "w"),
            ("state", "f"),
        )


# ------------------------------------------------------------------------------------- BinaryWriter, BinaryReader


BINARY = {
    **{type_: word for type_, (_, word) in SCALARS.items()},
    "char": "00e9",
    "string": "004100e920ac",
    "chars": "004100e9d83dde00",
    "bytes": "000102ff",
    "7bit": "300",
}


def on_bytes(name: str, raw: str, *steps: Step, encoding: str = "utf-8") -> Case:
    """The steps on a reader "r" and a writer "w" over a stream that holds these bytes (hex), and then the stream's
    position and all its bytes."""
    return case(
        name,
        ("create_new", "m", "-", len(raw) // 2 or 1, 0, 0, 0),
        ("default_stream", "v", "m"),
        ("s_write", "v", raw),
        ("set_position", "v", 0),
        ("reader", "r", "v", encoding),
        ("writer", "w", "v", encoding),
        *steps,
        ("position", "v"),
        ("set_position", "v", 0),
        ("s_read", "v", len(raw) // 2 + 1, len(raw) // 2 + 1),
    )


@group
def binary() -> Cases:
    read: Step
    for encoding in ("utf-8", "utf-16-le", "latin-1"):
        for type_, word in BINARY.items():
            if encoding == "latin-1" and type_ in ("string", "chars"):
                word = "004100e900ff"
            read = ("b_read", "r", type_, *((4,) if type_ in ("chars", "bytes") else ()))
            for room in (0, 1, 2, 15, 16, 20):
                yield on_bytes(
                    f"{type_} in {encoding}, {room} bytes",
                    "00" * room,
                    ("b_write", "w", type_, word),
                    ("set_position", "v", 0),
                    read,
                    ("position", "v"),
                    read,
                    encoding=encoding,
                )
    for type_, bits in (
        *(("single", bits) for bits in ("7f800001", "7fc12345", "ff800000", "ffbfffff", "80000000", "00000001")),
        *(("double", bits) for bits in ("7ff0000000000001", "fff8000000012345", "8000000000000000")),
    ):
        write: Step = ("b_write", "w", type_, bits)
        yield on_bytes(f"{type_} {bits}", "00" * 8, write, ("set_position", "v", 0), ("b_read", "r", type_))
    for value in (0, 1, 127, 128, 16383, 16384, 2097151, 2097152, 2**31 - 1, -1, -(2**31)):
        write = ("b_write", "w", "7bit", value)
        yield on_bytes(f"7bit {value}", "00" * 5, write, ("set_position", "v", 0), ("b_read", "r", "7bit"))
    for raw in ("80", "8000", "ffffffff0f", "ffffffff1f", "ffffffff7f", "ffffffffff", "808080808001", "8080808000",
                "808080801000", "8080808070", "ffffffff07"):  # fmt: skip
        yield on_bytes(f"read 7bit of {raw}", raw, ("b_read", "r", "7bit"))
        yield on_bytes(f"read string of length {raw}", raw, ("b_read", "r", "string"))
    for raw in ("00", "05", "0541424344", "054142434445", "02c3a9", "02c328", "01c3", "03e282ac", "04f09f9880",
                "03eda080", "81004142"):  # fmt: skip
        yield on_bytes(f"read string {raw}", raw, ("b_read", "r", "string"))
    for raw in ("41", "c3a9", "c3", "c328", "e282ac", "f09f9880", "eda080", "ff", "efbbbf41"):
        yield on_bytes(f"read char {raw}", raw, ("b_read", "r", "char"), ("b_read", "r", "char"))
        for count in (-1, 0, 1, 2, 3):
            yield on_bytes(f"read {count} chars {raw}", raw, ("b_read", "r", "chars", count), ("b_read", "r", "byte"))
    for text in ("d800", "dc00", "d83dde00", "0041d800", "d8000041", "0000", "fffe"):
        for type_ in ("string", "chars"):
            yield on_bytes(f"write {type_} {text}", "00" * 8, ("b_write", "w", type_, text))
        if len(text) == 4:
            yield on_bytes(f"write char {text}", "00" * 8, ("b_write", "w", "char", text))
    yield on_bytes("latin-1 cannot say it", "00" * 8, ("b_write", "w", "string", "004120ac"), encoding="latin-1")
    for count in (-1, 0, 3, 5):
        read = ("b_read", "r", "bytes", count)
        yield on_bytes(f"read {count} bytes", "01020304", read, read)
    for word in ("02", "ff", "00"):
        yield on_bytes(f"read boolean {word}", word, ("b_read", "r", "boolean"))
    for flags in ("00001d00", "01000000", "00000001", "0000ff00", "00001c80"):
        yield on_bytes(f"read decimal with flags {flags}", "01" + "00" * 11 + flags, ("b_read", "r", "decimal"))

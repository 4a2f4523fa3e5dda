# SPDX-License-Identifier: MIT
"""Random structures, random values of them, and what they consist of.

`Types(random)` makes types from a random.Random: a fixed seed makes the same ones, and hypothesis's own Random
(`hypothesis.strategies.randoms`) such that it can shrink."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import Enum, IntEnum, IntFlag
from random import Random
from typing import Annotated, Any, NamedTuple
from uuid import UUID

from memorymapped import (
    Array,
    ByteOrder,
    FixedBytes,
    Length,
    Offset,
    Struct,
    Utf8,
    Utf16,
    char16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
    uint16,
    uint32,
    uint64,
)
from memorymapped.structs import kinds
from memorymapped.structs.layout import Layout
from memorymapped.structs.struct import StructType


class Color(IntEnum):
    RED = 1
    DEEP_BLUE = 2
    base = 127  # a word of C#


class Rights(IntFlag):
    READ = 1
    WRITE = 2
    ALL = READ | WRITE


class Huge(Enum):
    LEAST = -(2**63)
    ZERO = 0
    MOST = 2**63 - 1


class Address(IntEnum):
    START = 0
    END = 2**64 - 1


NUMBERS: list[Any] = [bool, int8, uint8, int16, uint16, int32, uint32, int64, uint64]
NUMBERS += [float16, float32, float64, char16, datetime, timedelta, Decimal, UUID]
ENUMERATIONS: list[Any] = [
    Color,
    Annotated[Color, uint8],
    Annotated[Color, int64],
    Annotated[Rights, uint16],
    Annotated[Huge, int64],
    Annotated[Address, uint64],
]
NAMES = ["int", "class", "value", "raw_value", "padding1", "x", "Größe", "DateTime"]  # some are words of C or C#


class Types:
    """Makes types. `overlaps`: whether fields may lie anywhere."""

    def __init__(self, random: Random, *, overlaps: bool = True) -> None:
        self.random = random
        self.made: list[type[Struct]] = []
        self._overlaps = overlaps

    def struct(self) -> type[Struct]:
        """Another one, in which earlier ones may be."""
        random = self.random
        annotations: dict[str, Any] = {}
        offsets = random.random() < 0.2
        end = 0
        for i in range(random.randint(1, 7)):
            annotation = self._field(2)
            if random.random() < 0.2 and not self._holds_structures(annotation):
                annotation = Annotated[annotation, ByteOrder(random.choice(["little", "big"]))]
            if offsets:
                offset = end + random.randint(0, 5)
                if self._overlaps:
                    offset = random.randint(0, offset)
                annotation = Annotated[annotation, Offset(offset)]
                end = offset + self._size(annotation)
            name = random.choice(NAMES) if random.random() < 0.2 else f"f{i}"
            annotations.pop(name, None)
            annotations[name] = annotation
        options: dict[str, Any] = {}
        if random.random() < 0.3:
            options["pack"] = random.choice([1, 2, 4, 8, 16])
        if random.random() < 0.15:
            options["align"] = random.choice([1, 2, 8, 32])
        if random.random() < 0.15:
            options["byte_order"] = random.choice(["little", "big"])
        name = f"T{len(self.made)}"
        made = StructType(name, (Struct,), {"__annotations__": annotations}, **options)
        if random.random() < 0.1:
            size = made.layout.size + random.randint(1, 9)
            made = StructType(name, (Struct,), {"__annotations__": annotations}, size=size, **options)
        assert issubclass(made, Struct)
        self.made.append(made)
        return made

    @staticmethod
    def _holds_structures(annotation: Any) -> bool:
        """Whether it has byte orders of its own."""
        kind = StructType("_", (Struct,), {"__annotations__": {"_": annotation}}).layout.fields[0].kind
        while isinstance(kind, kinds.ArrayKind):
            kind = kind.element
        return isinstance(kind, kinds.Nested)

    @staticmethod
    def _size(annotation: Any) -> int:
        return StructType("_", (Struct,), {"__annotations__": {"_": annotation}}, pack=1).layout.fields[0].size

    def _field(self, depth: int) -> Any:
        random = self.random
        which = random.random()
        if which < 0.5:
            return random.choice(NUMBERS)
        if which < 0.6:
            return random.choice(ENUMERATIONS)
        if which < 0.75 or not depth:
            size = random.randint(1, 9)
            return random.choice(
                [
                    Annotated[str, Utf8(size)],
                    Annotated[str, Utf16(size)],
                    Annotated[str, Utf16(size + 1, terminated=True)],
                    Annotated[bytes, FixedBytes(size)],
                ]
            )
        if which < 0.85 and self.made:
            return random.choice(self.made[-5:])
        lengths = [random.randint(1, 3) for _ in range(random.choice([1, 1, 2]))]
        return Annotated[Array[self._field(depth - 1)], Length(*lengths)]


# ----------------------------------------------------------------------------------------------------------- values

TEXTS = ["", "a", "name", "0123456789", "é€", "x😀y", "日本語", "\uffff\n"]


def value_of(kind: kinds.Kind, random: Random) -> Any:
    """A value for a field of this kind."""
    if isinstance(kind, kinds.ArrayKind):
        return [value_of(kind.element, random) for _ in range(kind.count)]
    if isinstance(kind, kinds.Nested):
        return made_of(kind.layout, random)
    if isinstance(kind, kinds.EnumKind):
        return random.choice(list(kind.enum))
    if isinstance(kind, kinds.DateTimeKind):
        zone = random.choice([None, UTC])
        return datetime(1, 1, 1, tzinfo=zone) + timedelta(microseconds=random.randrange(315537897600000000))
    if isinstance(kind, kinds.TimeSpanKind):
        return timedelta(microseconds=random.randint(-(2**63) // 10 + 1, 2**63 // 10))
    if isinstance(kind, kinds.TextKind):
        room = kind.capacity - kind.terminated
        unit = "utf-8" if kind.unit == 1 else "utf-16-le"
        return random.choice([text for text in TEXTS if len(text.encode(unit)) <= room * kind.unit])
    if isinstance(kind, kinds.BytesKind):
        return random.randbytes(random.randint(0, kind.size))
    if isinstance(kind, kinds.DecimalKind):
        number = random.choice([0, 1, -110, 2**96 - 1, -random.getrandbits(90)])
        return Decimal(f"{number}E-{random.randint(0, 28)}")
    if isinstance(kind, kinds.GuidKind):
        return UUID(int=random.getrandbits(128))
    if isinstance(kind, kinds.Float16Kind):
        return random.choice([0.0, -0.0, 1.5, -65504.0, 2.0**-24, float("inf")])
    assert isinstance(kind, kinds.Number)
    if kind.name == "bool":
        return random.random() < 0.5
    if kind.name == "char16":
        return chr(random.choice([0, 65, 0x20AC, 0xD800, 0xFFFF]))
    if kind.name.startswith("float"):
        return struct.unpack("f", struct.pack("f", random.choice([0.0, -0.0, 1.1, -1e30, random.random()])))[0]
    low, high = (0, 2 ** (8 * kind.size) - 1) if kind.name[0] == "u" else (-(2 ** (8 * kind.size - 1)),) * 2
    high = high if low == 0 else -low - 1
    return random.choice([low, high, 0, 1, random.randint(low, high)])


def made_of(layout: Layout, random: Random) -> Any:
    """A snapshot with random values. Where fields overlap the later one has its value."""
    return layout.struct(**{field.name: value_of(field.kind, random) for field in layout.fields})


# ----------------------------------------------------------------------------------------------------------- leaves


class Leaf(NamedTuple):
    """What lies in a structure and consists of nothing more. `path`: names of fields and indexes of arrays."""

    path: tuple[str | int, ...]
    offset: int
    kind: kinds.Kind


def leaves(layout: Layout) -> Iterator[Leaf]:
    """All there is in a structure."""
    for field in layout.fields:
        yield from _leaves((field.name,), field.offset, field.kind)


def _leaves(path: tuple[str | int, ...], offset: int, kind: kinds.Kind) -> Iterator[Leaf]:
    if isinstance(kind, kinds.Nested):
        for field in kind.layout.fields:
            yield from _leaves((*path, field.name), offset + field.offset, field.kind)
    elif isinstance(kind, kinds.ArrayKind):
        for i in range(kind.count):
            yield from _leaves((*path, i), offset + i * kind.element.size, kind.element)
    else:
        yield Leaf(path, offset, kind)


def overlapping(layout: Layout) -> bool:
    """Whether some fields of it, or of what it consists of, share bytes."""
    taken: set[int] = set()
    for leaf in leaves(layout):
        bytes_of = set(range(leaf.offset, leaf.offset + leaf.kind.size))
        if taken & bytes_of:
            return True
        taken |= bytes_of
    return False


def attribute(value: Any, path: tuple[str | int, ...]) -> Any:
    """What is there, in a structure of ours or in one of ctypes."""
    for step in path:
        value = getattr(value, step) if isinstance(step, str) else value[step]
    return value


def number_in(kind: kinds.Kind, raw: bytes) -> int | float | None:
    """The number that these bytes are, as anybody would read them; None for what is no number."""
    order: Any = "big" if kind.order == ">" else "little"
    if isinstance(kind, kinds.Float16Kind):
        return int.from_bytes(raw, order)
    if not isinstance(kind, kinds.Number):
        return None
    if kind.name.startswith("float"):
        return float(struct.unpack(f"{kind.order}{'f' if kind.size == 4 else 'd'}", raw)[0])
    number = int.from_bytes(raw, order, signed=kind.name.startswith("int"))
    return bool(number) if kind.name == "bool" else number


def same(one: Any, other: Any) -> bool:
    """Whether two numbers are the same, or both none."""
    return bool(one == other or (one != one and other != other))


def assert_same(layout: Layout, found: bytes, wanted: bytes) -> None:
    """Two values have the same bytes. What lies in the padding is not asked for."""
    assert len(found) == len(wanted) == layout.size
    used = {offset + i for _, offset, kind in leaves(layout) for i in range(kind.size)}
    assert [i for i in sorted(used) if found[i] != wanted[i]] == [], layout

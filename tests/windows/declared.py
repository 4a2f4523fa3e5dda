# SPDX-License-Identifier: MIT
"""Structures, and programs in C# and C that are printed with their declarations and say what lies where.

    winpy tests/windows/declared.py FOLDER

writes them, as `declared.cs` and `declared.c`, where tools/windows-peers compiles them."""

from __future__ import annotations

import sys
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from memorymapped import (
    Array,
    FixedBytes,
    Struct,
    Utf8,
    Utf16,
    char16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint16,
    uint64,
)

sys.path.append(str(Path(__file__).resolve().parent.parent / "dotnet"))
from generated import _is_buffer, _stored

__all__ = ["STRUCTS", "source"]


class Side(IntEnum):
    BUY = 1
    SELL = 2


class Point(Struct):
    x: int32
    y: int32


class Mixed(Struct):
    tiny: int8
    large: int64
    flag: bool
    real: float64
    letter: char16
    place: Point
    side: Annotated[Side, int16]
    single: float32
    last: int8


class Texts(Struct):
    utf8: Annotated[str, Utf8(7)]
    utf16: Annotated[str, Utf16(5)]
    raw: Annotated[bytes, FixedBytes(3)]
    numbers: Array[int16, Literal[3]]
    places: Array[Point, Literal[2]]
    count: uint64


class Packed(Struct, pack=2):
    number: uint16
    price: Decimal
    key: UUID
    real: float64
    tail: int8


STRUCTS: list[Any] = [Point, Mixed, Texts, Packed]


def in_csharp() -> str:
    first, *more = (each.layout for each in STRUCTS)
    lines = [first.csharp(*more, namespace="Declared"), "namespace Declared", "{", "static unsafe class Program", "{"]
    lines += ["static void Main()", "{"]
    for number, each in enumerate(STRUCTS):
        x = f"x{number}"
        lines.append(f'var {x} = default({each.__name__}); System.Console.WriteLine("{{0}}", sizeof({each.__name__}));')
        for field in each.layout.fields:
            stored = _stored(each.layout, field.name)
            address = f"(byte*){'' if _is_buffer(field.kind) else '&'}{x}.{stored}"
            lines.append(f'System.Console.WriteLine("{{0}}", {address} - (byte*)&{x});')
    return "\n".join([*lines, "}", "}", "}"]) + "\n"


def in_c() -> str:
    first, *more = (each.layout for each in STRUCTS)
    lines = [first.c(*more), "#include <stddef.h>", "#include <stdio.h>", "int wmain(void)", "{"]
    for each in STRUCTS:
        lines.append(f'printf("%u\\n", (unsigned)sizeof({each.__name__}));')
        lines += [
            f'printf("%u\\n", (unsigned)offsetof({each.__name__}, {field.name}));' for field in each.layout.fields
        ]
    return "\n".join([*lines, "return 0;", "}"]) + "\n"


def source(language: str) -> str:
    """A program, of which each line says a number: the size of each structure, and behind it where its fields are."""
    return in_csharp() if language == "cs" else in_c()


if __name__ == "__main__":
    for language in ("cs", "c"):
        text = source(language).encode()
        file = Path(sys.argv[1]) / f"declared.{language}"
        if not file.exists() or file.read_bytes() != text:
            file.write_bytes(text)

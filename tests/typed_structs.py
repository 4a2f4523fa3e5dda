# SPDX-License-Identifier: MIT
"""What a type checker says of structures. Never run."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from enum import IntEnum
from typing import Annotated, Any, Literal, assert_type
from uuid import UUID

from memorymapped import Array, Length, MemoryMappedViewAccessor, Offset, Struct, Utf8, float64, int32, uint8


class Color(IntEnum):
    RED = 1


class Point(Struct):
    x: int32
    y: int32


class Everything(Struct, pack=1):
    number: int32
    real: Annotated[float64, Offset(8)]
    flag: bool
    color: Color
    small: Annotated[Color, uint8]
    name: Annotated[str, Utf8(32)]
    at: datetime
    price: Decimal
    key: UUID
    point: Point
    points: Array[Point, Literal[3]]
    matrix: Annotated[Array[Array[float64, Literal[2]]], Length(3)]
    last: int32 = 7


def fields(view: MemoryMappedViewAccessor, made: Everything) -> None:
    assert_type(made.number, int)
    assert_type(made.real, float)
    assert_type(made.flag, bool)
    assert_type(made.color, Color)
    assert_type(made.small, Color)
    assert_type(made.name, str)
    assert_type(made.at, datetime)
    assert_type(made.price, Decimal)
    assert_type(made.key, UUID)
    assert_type(made.point, Point)
    assert_type(made.points[0], Point)
    assert_type(made.points[0].x, int)
    assert_type(made.matrix[1][0], float)
    made.number = "7"  # type: ignore[assignment]
    made.missing  # type: ignore[attr-defined]  # noqa: B018


def made() -> None:
    point = Point(1, y=2)
    assert_type(point.replace(x=3), Point)
    assert_type(point.snapshot(), Point)
    assert_type(point.draft(), Point)
    assert_type(Point.from_bytes(b""), Point)
    assert_type(Point.zero(), Point)
    assert_type(Point.array(3)[0], Point)
    assert_type(point.to_dict(), dict[str, Any])
    assert_type(Point.layout.size, int)
    Point("1", 2)  # type: ignore[arg-type]
    Point(1, 2, 3)  # type: ignore[call-arg]


def viewed(view: MemoryMappedViewAccessor) -> None:
    assert_type(view.read(0, Point), Point)
    assert_type(view.ref(Point), Point)
    assert_type(view.ref(Point, 8).x, int)
    assert_type(view.refs(Point, 0, 3)[1], Point)
    view.write(0, Point(1, 2))
    view.ref(Point).x = 3
    view.ref(Point).x = "3"  # type: ignore[assignment]

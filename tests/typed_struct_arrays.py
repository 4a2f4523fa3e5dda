# SPDX-License-Identifier: MIT
"""A program with a list of structures, for the type checker."""

from __future__ import annotations

from typing import assert_type

from memorymapped import Array, Mutex, Struct, StructArray, int32


class Point(Struct):
    x: int32
    y: int32


class Other(Struct):
    x: int32


def made() -> None:
    assert_type(StructArray(Point, "a", 10), StructArray[Point])
    assert_type(StructArray.create_new(Point, "a", 10, max_capacity=20), StructArray[Point])
    assert_type(StructArray.create_or_open(Point, "a", 10, foreign=True), StructArray[Point])
    assert_type(StructArray.open_existing(Point, "a", lock_name="b"), StructArray[Point])
    assert_type(StructArray.create_from_file(Point, "a", capacity=5), StructArray[Point])
    StructArray(int, "a", 10)  # type: ignore[type-var]
    StructArray(Point, "a")  # type: ignore[call-arg]


def used(points: StructArray[Point]) -> None:
    assert_type(points[0], Point)
    assert_type(points[1:2], list[Point])
    assert_type(points.pop(), Point)
    assert_type(points.append(Point(1, 2)), int)
    assert_type(points.extend([Point(1, 2)]), int)
    assert_type(points.ref(0), Point)
    assert_type(points.refs(), Array[Point])
    assert_type(points.lock, Mutex)
    assert_type(points.name, str | None)
    assert_type(len(points), int)
    assert_type([point.x for point in points], list[int])
    points[0] = Point(1, 2)
    with points.edit(0) as draft:
        assert_type(draft, Point)
        draft.x += 1
    points.append(Other(1))  # type: ignore[arg-type]
    points[0] = Other(1)  # type: ignore[assignment]
    points[0:1] = [Point(1, 2)]  # type: ignore[index, assignment]
    points.extend([Other(1)])  # type: ignore[list-item]


async def waited(points: StructArray[Point]) -> None:
    assert_type(points.wait_for_change(1.0, since=points.version), bool)
    assert_type(points.wait_for_length(5), bool)
    assert_type(await points.wait_for_change_async(), bool)
    assert_type(await points.wait_for_length_async(5, 1), bool)

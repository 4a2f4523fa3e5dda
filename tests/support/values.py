# SPDX-License-Identifier: MIT
"""Structures that several processes of a test use."""

from __future__ import annotations

from typing import Annotated

from memorymapped.structs import Offset, Struct, int32, int64

__all__ = ["MyData", "Point", "Wider"]


class Point(Struct):
    x: int32
    y: int32


class MyData(Struct):
    my_int: int32
    pt: Point


class Wider(Struct):
    my_int: int32
    pt: Point
    more: Annotated[int64, Offset(16)]

# SPDX-License-Identifier: MIT
"""What a type checker must accept, or refuse (test_typing.py)."""

from __future__ import annotations

from memorymapped import FileMode, Mutex, SharedMemory, Struct, int32


class Point(Struct):
    x: int32
    y: int32


class MyData(Struct):
    my_int: int32
    pt: Point


def uses(shared: SharedMemory[MyData], raw: SharedMemory[bytes]) -> None:
    with SharedMemory(MyData, "name") as opened, SharedMemory(12, "name", foreign=False) as bytes_of:
        same: SharedMemory[MyData] = opened
        other: SharedMemory[bytes] = bytes_of
        value: MyData = same.data
        number: int = same.data.pt.x
        plain: bytes = other.data
    shared.data = MyData(1, Point(2, 3))
    with shared.edit() as draft:
        draft.pt.x += number
        draft.my_int = "1"  # type: ignore[assignment]
        draft.nothing = 1  # type: ignore[attr-defined]
    with raw.edit() as block:
        block[0:3] = plain
    shared.data = plain  # type: ignore[assignment]
    raw.data = value  # type: ignore[assignment]
    version: int | None = shared.version
    changed: bool = shared.wait_for_change(1.5, since=version)
    mutex: Mutex = shared.lock
    in_file: SharedMemory[MyData] = SharedMemory.create_from_file(MyData, "path", FileMode.OPEN, lock_name=mutex.name)
    again: SharedMemory[Point] = SharedMemory.open_existing(Point, "name")
    wrong: SharedMemory[MyData] = SharedMemory.create_new(Point, "name")  # type: ignore[arg-type]
    SharedMemory(str, "name")  # type: ignore[type-var]
    print(changed, in_file, again, wrong)

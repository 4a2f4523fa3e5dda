# SPDX-License-Identifier: MIT
"""Deaths of writers of a StructArray after each instruction of what they do.

What runs here is a process of its own (`killer`). A victim makes one change to the array, and is killed after its n-th
instruction. Once it is looked at step by step: there is one instruction after which the array is another, the commit.
Then, for each death,

- a reader without the lock has the array before or after the change while the victim stands, and the same when it is
  dead, and waits for nobody;
- the next writer goes on from there: its element has the next index, and the elements' own bytes, as a program reads
  them that knows nothing of the rest, are right by then;
- the number of changes has grown if there is another array, and never repeats.

`KINDS` says what the victim does, and what it finds: "after a death" that of another, in the midst of a replacement.
"made": it makes the control block; then there is nothing, and after that an empty array.
"""

from __future__ import annotations

import collections
import gc
import mmap
import os
import random
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from memorymapped import FixedBytes, Struct, int64, uint32
from memorymapped._native import struct_array as native
from memorymapped.shared.layouts import described
from memorymapped.shared.struct_array import StructArray

from .stepping import C_LIBRARY, Steps, unavailable

__all__ = [
    "KINDS",
    "MEANWHILE",
    "READS",
    "Item",
    "Large",
    "check",
    "interrupt_everywhere",
    "item",
    "kill_everywhere",
    "unavailable",
]


class Item(Struct, pack=2):
    """54 bytes, and so 56 apart."""

    number: int64
    body: Annotated[bytes, FixedBytes(42)]
    check: uint32


class Large(Struct):
    """So much that it is copied in many steps."""

    number: int64
    body: Annotated[bytes, FixedBytes(1500)]
    check: uint32


def item(number: int, type: Any = Item) -> Any:
    """The element of this number: all of it depends on that."""
    size = 42 if type is Item else 1500
    body = random.Random(number).randbytes(size)
    return type(number, body, zlib.crc32(body + number.to_bytes(8, "little")))


def check(element: Any) -> int:
    """The number of an element, which must be whole."""
    number = int(element.number)
    assert element.check == zlib.crc32(element.body + number.to_bytes(8, "little")), f"a torn element: {element}"
    return number


Array = StructArray[Any]
KINDS: dict[str, Callable[[Array, list[Any]], object]] = {
    "append": lambda array, new: array.append(new[0]),
    "append of many bytes": lambda array, new: array.append(new[0]),
    "extend": lambda array, new: array.extend(new),
    "replace": lambda array, new: array.__setitem__(2, new[0]),
    "replace of many bytes": lambda array, new: array.__setitem__(-2, new[0]),
    "replace after a death": lambda array, new: array.__setitem__(1, new[0]),
    "append after a death": lambda array, new: array.append(new[0]),
    "look after a death": lambda array, new: array.wait_for_change(0, since=array.version),
    "edit": lambda array, new: _edit(array, new[0]),
    "pop": lambda array, new: array.pop(),
    "truncate": lambda array, new: array.truncate(2),
    "append that grows": lambda array, new: array.append(new[0]),
    "made": lambda array, new: None,
}
LENGTH = 5


def _edit(array: Array, new: Any) -> None:
    with array.edit(3) as draft:
        draft.number, draft.body, draft.check = new.number, new.body, new.check


class Stage:
    """What the victims and this process share."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.type = Large if "many" in kind else Item
        self.name = f"array of {os.getpid()}"
        self.number = 0
        self.most = 30 if kind == "made" else 100_000
        self.ours: Array = StructArray(self.type, self.name, LENGTH, max_capacity=self.most)
        self.other: Array = StructArray.open_existing(self.type, self.name)
        self.view = self.other._view
        self.control = self.other._control_position
        self.before: list[int] = []
        self.killer: tuple[Steps, int] | None = None

    def close(self) -> None:
        self.other.close()
        self.ours.close()

    def begin(self) -> None:
        """A round: other elements, and new ones for the victim."""
        self.number += 20
        self.before = list(range(self.number, self.number + LENGTH))
        self.new = [item(self.number + 10 + i, self.type) for i in range(3)]
        self.other.clear()
        self.other.extend([item(number, self.type) for number in self.before])
        if "grows" in self.kind:  # from here on there is memory for no more
            self.view.write_uint64(self.control + 96, LENGTH)
        elif self.other.capacity < 20:
            self.other.grow(20)
        if "after a death" in self.kind:
            self.die()
        if self.kind == "made":
            self.view.write_bytes(0, bytes(self.view.capacity))

    def die(self) -> None:
        """A process dies in the midst of a replacement: it is committed, half of the element has been copied."""
        pid = os.fork()
        if pid == 0:
            replaced = bytes(item(self.number + 15))
            self.ours.lock.wait_one()
            self.view.write_bytes(self.control + 192, replaced)
            self.view.write_uint64(self.control + 80, 2)
            self.view.write_uint64(self.control + 72, self.view.read_uint64(self.control + 72) + 1)
            self.view.write_bytes(2 * self.ours.stride, replaced[:20])
            os._exit(0)
        os.waitpid(pid, 0)
        self.before[2] = self.number + 15

    def act(self) -> None:
        if self.kind == "made":
            self.attach()
        else:
            KINDS[self.kind](self.ours, self.new)

    def attach(self) -> Any:
        """Opens the map as another process would."""
        what = described(self.type)
        fresh: Any = native.SharedElements()
        file = self.ours._file.fileno()
        made = fresh._attach(self.view, self.ours.lock, self.type, what.text, what.hash, False, self.most, file)
        return made, fresh

    def numbers(self) -> list[int]:
        """What a reader finds, who must not wait for the lock."""
        waited = self.other.statistics().locked_reads
        numbers = [check(each) for each in self.other[:]]
        assert [check(self.other[i]) for i in range(len(numbers))] == numbers
        assert self.other.statistics().locked_reads == waited, "a reader has taken the lock"
        return numbers

    def raw(self) -> list[int]:
        """The elements' own bytes, where other programs read them."""
        count = self.view.read_uint64(self.control + 64)
        stride, size = self.other.stride, self.type.layout.size
        return [check(self.type.from_bytes(self.view[i * stride : i * stride + size])) for i in range(count)]

    def after(self) -> list[int]:
        """The array when the victim has done it."""
        new = [int(each.number) for each in self.new]
        before = self.before
        return {
            "append": [*before, new[0]],
            "extend": [*before, *new],
            "replace": [*before[:2], new[0], *before[3:]],
            "replace of many bytes": [*before[:3], new[0], *before[4:]],
            "replace after a death": [before[0], new[0], *before[2:]],
            "edit": [*before[:3], new[0], *before[4:]],
            "pop": before[:-1],
            "truncate": before[:2],
            "look after a death": before,
        }.get(self.kind, [*before, new[0]])

    def look(self, expected: list[int], version: int) -> None:
        """After the death."""
        if self.kind == "made":
            _, fresh = self.attach()
            assert len(fresh) == 0
            assert fresh.max_capacity == self.most
            fresh._detach()
            assert len(self.other) == 0
            self.other.grow(20)
        else:
            assert self.numbers() == expected
        if self.number % 40 and expected:
            self.other[0] = item(1, self.type)
            expected = [1, *expected[1:]]
        assert self.other.append(item(2, self.type)) == len(expected), "an index that was not the next"
        expected = [*expected, 2]
        assert self.numbers() == expected
        assert self.raw() == expected, "the elements' own bytes"
        assert self.view.read_uint64(self.control + 72) % 4 == 0
        assert self.other.version > version, "a version came twice"


def kill_everywhere(kind: str, step: int, start: int) -> dict[str, int]:
    """A victim for every `step`-th of the instructions that are ours or the C library's, and for those around the
    commit. Counts what was found."""
    gc.disable()  # it would come at another instruction each time
    stage = Stage(kind)
    counts: collections.Counter[str] = collections.Counter()
    try:
        for _ in range(2):  # what happens the first time only is not what is looked at
            stage.begin()
            stage.act()
            if kind != "made":
                assert stage.numbers() == stage.after()
        steps = Steps(lambda: None, stage.act)
        stage.begin()
        changes = steps.record((lambda: None) if kind == "made" else stage.numbers)
        one = kind not in ("made", "look after a death")
        assert len(changes) == one, f"the array was another after instructions {changes}"
        commit = changes[0] if changes else 10**9
        stage.look(stage.after() if one else [] if kind == "made" else stage.before, 0)
        points = ours(steps)
        counts["points"] = len(points)
        for number in sorted({*points[start % step :: step], *(commit + i for i in range(-5, 6) if changes)}):
            stage.begin()
            version = 0 if kind == "made" else stage.other.version
            try:
                seen, same = steps.kill_after(number, lambda: [] if kind == "made" else stage.numbers())
                counts["other ways"] += not same or (one and (seen == stage.after()) != (number >= commit))
                possible = ([],) if kind == "made" else (stage.before, stage.after())
                assert seen in possible, f"{seen} was read before the death, of {possible}"
                expected: Any = seen
                stage.look(expected, version)
            except BaseException as error:
                error.add_note(f"{kind}: killed after instruction {number}; the commit is {commit}")
                raise
            counts["new" if one and expected == stage.after() else "old"] += 1
        counts["repairs"] = stage.other.statistics().repairs
    finally:
        stage.close()
    return dict(counts)


READS: dict[str, Callable[[Array], list[Any]]] = {
    "an element": lambda array: [array[-1]],
    "one of a known index": lambda array: [array[LENGTH - 1]],
    "some": lambda array: array[3:],
    "backwards": lambda array: array[:2:-1],
}
MEANWHILE: dict[str, Callable[[Array, list[Any]], object]] = {
    "pop, append": lambda array, new: (array.pop(), array.append(new[0])),
    "truncate, extend": lambda array, new: (array.truncate(1), array.extend([*new, new[0]])),
    "replace": lambda array, new: array.__setitem__(-1, new[0]),
    "replace twice": lambda array, new: (array.__setitem__(-1, new[0]), array.__setitem__(-1, new[1])),
}


def interrupt_everywhere(read: str, change: str, most: int, seed: int) -> dict[str, int]:
    """A reader stands still after each of its instructions, or `most` of them, while the array is changed. What it then
    gives is whole, and of one moment."""
    gc.disable()
    stage = Stage("append of many bytes")
    heard = mmap.mmap(-1, 1 << 16)
    size = Large.layout.size
    counts: collections.Counter[str] = collections.Counter()

    def act() -> None:
        found = READS[read](stage.ours)
        heard[: size * len(found) + 1] = bytes([len(found)]) + b"".join(map(bytes, found))

    try:
        stage.begin()
        act()
        steps = Steps(lambda: None, act)
        steps.record(lambda: None)
        points = ours(steps)
        counts["points"] = len(points)
        for number in sorted(random.Random(seed).sample(points, min(most, len(points)))):
            stage.begin()
            possible: list[list[Any]] = [READS[read](stage.other)]

            def meanwhile(possible: list[list[Any]] = possible) -> None:
                MEANWHILE[change](stage.other, stage.new)
                possible.append(READS[read](stage.other))

            counts["other ways"] += not steps.interrupt_after(number, meanwhile)
            if len(possible) == 1:
                continue
            found = [heard[1 + i * size : 1 + (i + 1) * size] for i in range(heard[0])]
            numbers = [check(Large.from_bytes(each)) for each in found]
            assert numbers in [[check(each) for each in one] for one in possible], f"after {number}: {numbers}"
            counts["new" if numbers == [check(each) for each in possible[-1]] else "old"] += 1
    finally:
        stage.close()
    return dict(counts)


def ours(steps: Steps) -> list[int]:
    """After which instructions to kill."""
    points: set[int] = set()
    for library in (Path(native.__file__ or "").name, "robust."):
        for number in steps.inside(library, C_LIBRARY, 2000):
            points |= {number, number + 1}
    return sorted(points & set(range(1, len(steps.way))))

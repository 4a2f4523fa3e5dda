# SPDX-License-Identifier: MIT
"""Deaths of writers of a SharedMemory after each instruction of what they do.

What runs here is a process of its own (`killer`). A victim does one step on the shared value, and is killed after its
n-th instruction. At that moment, and after the death,

- a reader has the value before or the new one, never a mixture, and never the old one after the new;
- the next writer goes on; the bytes at 0 are the value then;
- versions only grow.

Ways: what the victim does, and what it finds. "data": assigns. "edit": one update. "discarded": an edit that raises.
"after a copy": one of ours has died while it copied to 0. "after a torn write": a program that knows only the bytes at
0 has died in the midst of a write. "after a write": such a program has written and released the lock; its value counts,
unless the victim dies before it has made that the value (who is told of the death cannot know whose it was). "read":
the victim reads after such a write. "made": the victim makes the control block. "recovered": it opens what a crash of
the machine has left, the newest value torn.
"""

from __future__ import annotations

import collections
import gc
import os
import random
from pathlib import Path
from typing import Any

from memorymapped._native import committed, robust
from memorymapped._native.committed import crc32c
from memorymapped.shared.layouts import described
from memorymapped.shared.shared_memory import SharedMemory

from .stepping import C_LIBRARY, Steps, unavailable

__all__ = ["SIZE", "WAYS", "check", "kill_everywhere", "unavailable", "value"]

SIZE = 200
WAYS = ("data", "edit", "discarded", "after a copy", "after a torn write", "after a write", "read", "made", "recovered")


def value(number: int) -> bytes:
    """The value of this number: all of it depends on it, and its end says whether it is whole."""
    body = random.Random(number).randbytes(SIZE - 12) + number.to_bytes(8, "little")
    return body + crc32c(body).to_bytes(4, "little")


def check(whole: bytes) -> int:
    """The number of a value, which must be one."""
    if whole == bytes(SIZE):
        return 0
    number = int.from_bytes(whole[-12:-4], "little")
    assert whole == value(number), f"a mixture: {whole.hex()}"
    return number


class Stage:
    """What the victims and this process share."""

    def __init__(self, way: str, tag: str) -> None:
        self.way = way
        self.number = 0
        self.shared: SharedMemory[bytes] = SharedMemory(SIZE, f"stage-{tag}")
        self.view = self.shared._view
        self.expected: set[int] = set()
        self.kept: list[Any] = []

    def act(self) -> None:
        """What the victim does: it makes the value of the next number."""
        shared = self.shared
        if self.way == "edit":
            with shared.edit() as draft:
                draft[:] = self.new
        elif self.way == "discarded":
            try:
                with shared.edit() as draft:
                    draft[:] = self.new
                    raise KeyError
            except KeyError:
                pass
        elif self.way == "read":
            shared.data  # noqa: B018
        elif self.way in ("made", "recovered"):
            self.attach()
        else:
            shared.data = self.new

    def attach(self) -> None:
        """Opens the map as the next process would."""
        text = f"bytes {SIZE}"
        fresh: Any = committed.Committed()
        boot = b"the present boot" if self.way == "recovered" else None
        file, lock = self.shared._file._backing, self.shared._lock
        place, answered = (file.device, file.inode), lock._opened().abandonments
        fresh._attach(self.view, lock, None, SIZE, text, described(SIZE).hash, True, boot, place, answered)
        self.kept.append(fresh)

    def before(self) -> None:
        """In this process, before each victim: the value is that of `number`."""
        self.number += 2
        self.new = value(self.number + 1)
        if self.way == "made":
            self.view.write_bytes(0, bytes(self.view.capacity))
            self.view.write_bytes(0, value(self.number))
            return
        if self.way == "recovered":
            self.shared.data = value(self.number - 1)
        self.shared.data = value(self.number)
        if self.way == "recovered":
            control = -(-SIZE // 64) * 64
            slot = control + 192 + self.view.read_uint64(control + 64) % 4 * 256
            self.view.write_byte(slot + 5, self.view.read_byte(slot + 5) ^ 1)
            # The next number would be that of the only whole value's slot.
            self.view.write_uint64(control + 64, self.view.read_uint64(control + 64) + 2)
            self.view.write_bytes(control + 40, b"an earlier boot." + b"\1\0\0\0")

    def prepare(self) -> None:
        """In each victim, before it is looked at."""
        shared, old = self.shared, value(self.number)
        if self.way == "after a copy":
            self.die_owning(value(self.number - 1)[:77] + old[77:], behind=True)
        elif self.way == "after a torn write":
            self.die_owning(value(self.number + 1000)[:77] + old[77:])
        elif self.way in ("after a write", "read"):
            with shared.lock:
                self.view.write_bytes(0, value(self.number + 1000))

    def die_owning(self, torn: bytes, behind: bool = False) -> None:
        """A process dies with the lock, having written this at 0; `behind`: and had not said that it was ready."""
        pid = os.fork()
        if pid == 0:
            self.shared.lock.wait_one()
            self.view.write_bytes(0, torn)
            if behind:
                control = -(-SIZE // 64) * 64
                self.view.write_uint64(control + 72, self.view.read_uint64(control + 64) - 1)
            os._exit(0)
        os.waitpid(pid, 0)

    def possible(self) -> set[int]:
        """Which values there may be once the victim is dead."""
        old, new, foreign = self.number, self.number + 1, self.number + 1000
        return {
            "discarded": {old},
            "after a write": {old, foreign, new},
            "read": {old, foreign},
            "made": {old},
            "recovered": {old - 1},
        }.get(self.way, {old, new})

    def look(self) -> int | None:
        """What a reader sees while the victim stands where it will die. None: it would have to wait."""
        if self.way in ("after a torn write", "after a write", "read", "made", "recovered"):
            return None
        before = self.shared.statistics().locked_reads
        number = check(self.shared.data)
        assert self.shared.statistics().locked_reads == before, "it has waited for the lock"
        assert number in self.possible(), f"{number} was read, of {self.possible()}"
        return number

    def after(self, seen: int | None, version: int) -> str:
        """The victim is dead. What there is now."""
        shared = self.shared
        if self.way in ("made", "recovered"):
            self.attach()
            shared = self.kept.pop()
        found = check(shared.data)
        assert found in self.possible(), f"{found} was found, of {self.possible()}"
        assert seen in (None, found, self.number), f"{found} was found, and {seen} was read before"
        now = shared.version
        assert now is not None
        assert now >= version, f"version {now} after {version}"
        shared.data = value(7)
        assert check(shared.data) == 7
        assert self.view.read_bytes(0, SIZE) == value(7)
        assert shared.version > now, "a version came twice"
        return {self.number - 1: "old", self.number: "old", self.number + 1: "new"}.get(found, "the other program's")


def kill_everywhere(way: str, step: int, start: int, tag: str) -> dict[str, int]:
    """A victim for every `step`-th of the instructions that are ours or the C library's. Counts what was found."""
    gc.disable()  # it would come at another instruction each time
    stage = Stage(way, tag)
    stage.before()
    stage.act()  # what happens the first time only is not what is looked at
    stage.before()
    steps = Steps(stage.prepare, stage.act)
    steps.record(lambda: None)
    stage.after(None, 0)
    points = ours(steps)
    counts: collections.Counter[str] = collections.Counter(points=len(points))
    for number in points[start % step :: step]:
        stage.before()
        version = 0 if way in ("made", "recovered") else stage.shared.version or 0
        try:
            seen, same = steps.kill_after(number, stage.look)
            counts[stage.after(seen, version)] += 1  # type: ignore[arg-type]
            counts["other ways"] += not same
        except BaseException as error:
            error.add_note(f"{way}: killed after instruction {number}")
            raise
    stats = stage.shared.statistics()
    counts.update(rollbacks=stats.rollbacks, adoptions=stats.adoptions)
    stage.shared.close()
    return dict(counts)


def ours(steps: Steps) -> list[int]:
    """After which instructions to kill."""
    points = set()
    for module in (committed, robust):
        name = Path(module.__file__ or "").name
        for number in steps.inside(name, C_LIBRARY, 2000):
            points |= {number, number + 1}
    return sorted(points & set(range(1, len(steps.way))))

# SPDX-License-Identifier: MIT
"""Deaths after each instruction of what changes a segment file.

What runs here is a process of its own (`killer`). Its victims are forked, and do one thing with the segment file that
they share with it; each is killed after another instruction. What must hold afterwards follows from the bytes alone, as
a program that knows nothing of us reads them: the victim's segment is there whole, or nothing is, from the instruction
on that stores its length; what was there before is there; and what is appended next, by us or by a foreign program, is
followed by the end, and by no rest of the dead one's.
"""

from __future__ import annotations

import gc
import os
import struct
from pathlib import Path

from memorymapped import SegmentFile
from memorymapped._native import segments as native

from .stepping import C_LIBRARY, Steps, unavailable

__all__ = ["KINDS", "kill_everywhere", "raw", "unavailable"]

KINDS = {
    "append": {},
    "append with a checksum": {"checksums": True},
    "append of a page and more": {},
    "append behind a foreign segment": {},
    "look at a foreign segment": {},
    "append after a death": {},
    "append to a file, durable": {"durable": True},
}
CAPACITY = 1 << 20


def raw(fd: int, start: int = 0) -> tuple[list[bytes], int]:
    """The segments from an offset on, and the offset of their end, as the article's program reads them."""
    found = []
    while True:
        (length,) = struct.unpack("<i", os.pread(fd, 4, start).ljust(4, b"\0"))
        assert length >= 0, f"a negative length at {start}"
        if length == 0:
            return found, start
        data = os.pread(fd, length, start + 4)
        assert len(data) == length, f"an oversized length at {start}"
        found.append(data)
        start += 4 + length


class _Scene:
    def __init__(self, kind: str, path: str) -> None:
        self.kind = kind
        options = dict(KINDS[kind])
        if options.pop("durable", False):
            self.ours = SegmentFile.create_from_file(path, capacity=CAPACITY, encoding=None, durable=True)
        else:
            self.ours = SegmentFile.create_new(CAPACITY, encoding=None, **options)
        # What the killer looks with knows nothing that the victims' own object does.
        self.other = SegmentFile.create_from_file(self.ours.path, encoding=None)
        self.fd = os.open(self.ours.path, os.O_RDWR)
        self.size = 5000 if "page" in kind else 40
        self.data = b""
        self.foreign: list[bytes] = []
        self.before: list[bytes] = []
        self.start = 0
        self.round = 0
        self.killer: tuple[Steps, int] | None = None
        if "after a death" in kind:
            steps = Steps(lambda: None, lambda: self.ours.append(b"\xee" * 300))
            self.killer = steps, steps.record(lambda: len(raw(self.fd)[0]))[0]

    def close(self) -> None:
        os.close(self.fd)
        self.ours.close()
        self.other.close()

    def begin(self) -> None:
        """A round: other bytes, from the end of the last one on. What there is for the victim to meet."""
        if self.ours.free < 20_000:
            self.empty()
        self.round += 1
        self.data = bytes([self.round % 250 + 1]) * self.size
        self.start = self.ours.used
        self.count = len(self.ours)
        self.foreign = []
        if "foreign" in self.kind:
            self.foreign = [b"foreign" * 3, b"\1" * (self.round % 5 + 1)]
            for each in self.foreign:
                self.write_as_foreign(each)

        if self.killer is not None:  # a process dies in an append, with all of it written but the length
            steps, commit = self.killer
            steps.kill_after(commit - 1, lambda: None)
            assert raw(self.fd, self.start) == ([], self.start)

    def empty(self) -> None:
        """Nobody does that to a file in use; here nobody but this process has it."""
        path = self.ours.path
        self.close()
        Path(path).unlink(missing_ok=True)
        self.__init__(self.kind, path)  # type: ignore[misc]

    def write_as_foreign(self, data: bytes) -> None:
        _, end = raw(self.fd, self.start)
        os.pwrite(self.fd, struct.pack("<i", len(data)) + data, end)

    def act(self) -> None:
        if self.kind.startswith("look"):
            len(self.ours)
        else:
            self.ours.append(self.data)

    def look(self, committed: bool) -> None:
        """After the death."""
        there, _ = raw(self.fd, self.start)
        expected = [*self.foreign, self.data] if committed else self.foreign
        assert there == expected, f"the file has {[len(each) for each in there]}"
        if self.round % 2:  # one of ours looks; otherwise the first is one that appends
            assert self.other[self.count :] == expected
            if self.other.check().behind == 0 and self.round % 4 == 1:
                self.write_as_foreign(b"after")
                expected = [*expected, b"after"]
                assert raw(self.fd, self.start)[0] == expected, "phantoms"
        assert self.other.append(b"next") == self.count + len(expected)
        expected = [*expected, b"next"]
        assert raw(self.fd, self.start)[0] == expected, "phantoms"
        report = self.other.check()
        assert report.behind == 0
        assert report.whole
        assert self.ours[self.count :] == expected
        assert self.ours.check().whole


def kill_everywhere(kind: str, step: int, start: int, path: str) -> dict[str, int]:
    """A victim for every `step`-th of the instructions that are ours or the C library's. How many of them had
    committed."""
    gc.disable()  # it would come at another instruction each time
    scene = _Scene(kind, path)
    counts = {"committed": 0, "nothing": 0, "other ways": 0}
    try:
        for _ in range(3):  # what happens the first time only is not what is looked at
            scene.begin()
            scene.act()
            assert scene.ours[scene.count :] == ([*scene.foreign, scene.data] if "look" not in kind else scene.foreign)
        steps = Steps(lambda: None, scene.act)
        scene.begin()
        changes = steps.record(lambda: len(raw(scene.fd, scene.start)[0]))
        appends = "look" not in kind
        assert len(changes) == appends, changes
        commit = changes[0] if appends else 10**9
        scene.look(appends)
        points = ours(steps)
        counts["points"] = len(points)
        chosen = {*points[start % step :: step], *(commit + i for i in range(-5, 6) if appends)}
        for number in sorted(chosen):
            scene.begin()
            try:
                _, same = steps.kill_after(number, lambda: None)
                committed = number >= commit
                if not same:
                    committed = raw(scene.fd, scene.start)[0][-1:] == [scene.data]
                scene.look(committed)
            except BaseException as error:
                error.add_note(f"killed after instruction {number}, the length is stored by {commit}")
                raise
            counts["committed" if committed else "nothing"] += 1
            counts["other ways"] += not same
    finally:
        scene.close()
    return counts


def ours(steps: Steps) -> list[int]:
    """After which instructions to kill."""
    points: set[int] = set()
    for library in (Path(native.__file__ or "").name, "robust."):
        for number in steps.inside(library, C_LIBRARY, 400):
            points.update((number, number + 1))
    return sorted(points & set(range(1, len(steps.way))))

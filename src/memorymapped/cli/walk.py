# SPDX-License-Identifier: MIT
"""The segments of a file in the article's format (docs/segment-files.md), read by who only looks: without the mutex,
the control object, or a hold.

A length is not aligned, so one that is just being stored may be seen half. Its writer stores a length of 0 behind the
segment before; and who looks believes a length only if it is the same at a second look and fits into the file. What is
wrong nevertheless shows at the end, where a segment that is not there yet may be seen. `SegmentFile` itself, which
takes the mutex to look for new segments, is not wrong: `mmf segments follow` uses it."""

from __future__ import annotations

from collections.abc import Iterator

from .targets import Bytes

__all__ = ["End", "walk"]


class End:
    """Where the walk ended, and why: `damaged` is None at a length of 0 or the end of the file."""

    def __init__(self) -> None:
        self.offset = 0
        self.count = 0
        self.damaged: str | None = None


def walk(data: Bytes, size: int, end: End) -> Iterator[tuple[int, int, int]]:
    """(number, offset of the data, length) of each segment; `end` is filled."""
    while end.offset + 4 <= size:
        length = _length(data, end.offset)
        if length == 0:
            return
        if length < 0 or length > size - end.offset - 4:
            if _length(data, end.offset) != length:
                continue  # it was being stored
            end.damaged = f"the length {length} at {end.offset} cannot be"
            return
        yield end.count, end.offset + 4, length
        end.offset += 4 + length
        end.count += 1


def _length(data: Bytes, at: int) -> int:
    return int.from_bytes(data.read(at, 4), "little", signed=True)

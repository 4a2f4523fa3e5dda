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

WINDOW = 1 << 15  # bytes that are read at once


class End:
    """Where the walk ended, and why: `damaged` is None at a length of 0 or the end of the file."""

    def __init__(self) -> None:
        self.offset = 0
        self.count = 0
        self.damaged: str | None = None


def walk(data: Bytes, size: int, end: End) -> Iterator[tuple[int, int, int]]:
    """(number, offset of the data, length) of each segment; `end` is filled."""
    begin, window = 0, b""
    while end.offset + 4 <= size:
        within = end.offset - begin
        if within + 4 > len(window):
            begin, within = end.offset, 0
            window = data.read(begin, min(WINDOW, size - begin))
        length = int.from_bytes(window[within : within + 4], "little", signed=True)
        if length == 0:
            return
        if length < 0 or length > size - end.offset - 4:
            if data.read(end.offset, 4) != window[within : within + 4]:
                window = b""  # it was being stored
                continue
            end.damaged = f"the length {length} at {end.offset} cannot be"
            return
        yield end.count, end.offset + 4, length
        end.offset += 4 + length
        end.count += 1

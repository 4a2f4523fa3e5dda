# SPDX-License-Identifier: MIT
"""What `mmf watch` sees, without a screen: which bytes and values have changed since the look before.

A window, what is on the screen, is read and compared at every look; the rest is sampled (`sampling.py`). Nothing is
mapped and nothing is held: the file behind a name is read, which brings no page into being, and is let go as soon as
its name leads to it no more, as its memory is given back only then. A name that is there again is watched again."""

from __future__ import annotations

import contextlib
import re
import time
from collections import deque
from typing import Any

from .._typing import TYPE_CHECKING
from ..system.reading import close_source, identity_of, looked_up, open_source, read_at, size_of
from .ending import Failure
from .sampling import RATE, Cells, Clock, Rate
from .shapes import Shape, plain
from .targets import Bytes, Target, find
from .typed import Typed, described_shape, typed

if TYPE_CHECKING:
    from ..system.reading import Source

__all__ = ["LEAVES", "Change", "Event", "Value", "Watch"]

LEAVES = 64  # values of one structure that are followed each by itself
LAST = 24  # values that are remembered of each number
KEPT = 4096  # values that are remembered at all
FADED = 4.0  # seconds, after which a changed byte is as any other
RETRY = 1.0  # seconds between two searches for a name that has ended
_RUN = re.compile(rb"[^\0](?:\0{0,3}[^\0])*")  # of what differs; a number has changed, not two of its bytes
_BYTES = re.compile(rb"[^\0]+")


class Change:
    """What has changed: from `offset` on, from `before` to `after` (bytes, or a value as JSON has it). `field` of a
    structure; `end`: behind it."""

    __slots__ = ("after", "before", "end", "field", "offset")

    def __init__(self, offset: int, end: int, before: Any, after: Any, field: str = "") -> None:
        self.offset = offset
        self.end = end
        self.before = before
        self.after = after
        self.field = field


class Event:
    """Something that has happened to all of it, `at` a time of the clock: `kind` (`gone`, `back`, `truncated`, `grown`,
    `unreadable`) and a `text` for people."""

    __slots__ = ("at", "kind", "text")

    def __init__(self, at: float, kind: str, text: str) -> None:
        self.at = at
        self.kind = kind
        self.text = text


class Value:
    """A value in the window: where it is, and what it was."""

    __slots__ = ("_times", "changed", "last", "look", "name", "offset", "raw", "shape", "since", "value")

    def __init__(self, offset: int, name: str, shape: Shape, since: float) -> None:
        self.offset = offset
        self.name = name
        self.shape = shape
        self.since = since
        self.raw = b""
        self.value: Any = None
        self.look = -1  # the number of the look that has seen it last
        self.changed: float | None = None
        self.last: deque[float] = deque(maxlen=LAST)  # of a number: what it was, one for each change
        self._times: deque[float] = deque(maxlen=256)

    def read(self, raw: bytes, look: int, now: float) -> Change | None:
        """Takes what is there now. A change if it was looked at the last time, too."""
        change = None
        if raw != self.raw:
            before, self.value = self.value, plain(self.shape.read(raw))
            if self.look == look - 1 and self.raw:
                change = Change(self.offset, self.offset + self.shape.size, before, self.value, self.name)
                self.changed = now
                self._times.append(now)
            self.raw = raw
            with contextlib.suppress(TypeError, ValueError, OverflowError):
                if not isinstance(self.value, (bool, str)):
                    self.last.append(float(self.value))
        self.look = look
        return change

    def rate(self, now: float) -> float:
        """Changes per second that were seen over the last seconds: no more than one a look."""
        while self._times and self._times[0] <= now - RATE:
            self._times.popleft()
        return len(self._times) / min(RATE, now - self.since) if self._times and now > self.since else 0.0


class Watch:
    """Looks at a map or a file, at its bytes or, with a `shape`, at values of that type from `base` on."""

    def __init__(
        self,
        target: Target,
        shape: Shape | None = None,
        base: int = 0,
        *,
        now: Clock = time.monotonic,
    ) -> None:
        self.target = target
        self.now = now
        self.number = 0  # of looks
        self.size = 0
        self.events: deque[Event] = deque(maxlen=100)
        self.gone: Event | None = None
        self.typed: Typed | None = None
        self.rate = Rate()
        self.cells = Cells(0)
        self.begin = self.end = 0  # the window that was asked for
        self.without = (0, 0)  # what is not sampled
        self.data = b""  # what is in it
        self.values: dict[int, Value] = {}  # those in the window, by their offsets
        self._source: Source | None = None
        self._tried = 0.0
        self._kept: dict[int, Value] = {}
        self._at = 0  # where `data` begin
        self._fresh: deque[tuple[float, int, int]] = deque()  # when, and from where to where bytes have changed
        self.show_as(shape, base)
        self._attach(target)

    # -- what it looks at

    def show_as(self, shape: Shape | None, base: int = 0, *, own: bool = False) -> None:
        """From now on, values of this type from `base` on; None: bytes. `own`: the map says itself that it holds them,
        and how many."""
        self.shape = shape
        self.base = base if shape is not None else 0
        self.own = own
        self.leaves = shape.leaves(LEAVES) if shape is not None else []
        self.values, self._kept = {}, {}

    @property
    def stride(self) -> int:
        """How far values are apart."""
        if self.own and self.typed is not None:
            return self.typed.stride
        return self.shape.size if self.shape is not None else 1

    @property
    def count(self) -> int:
        """How many values there are."""
        if self.own and self.typed is not None:
            return min(self.typed.values, self.size // self.stride)
        return max(0, self.size - self.base) // self.stride

    def window(self, begin: int, end: int) -> None:
        """What the next looks compare: these bytes."""
        self.begin, self.end = max(0, begin), end

    def sample_without(self, begin: int, end: int) -> None:
        """Changes of these bytes are no changes of their cells: the window shows them already."""
        self.without = (begin, end)
        self._sample_anew()

    def tick(self) -> list[Change]:
        """A look: what has changed in the window since the one before. `events` has what happened to all of it."""
        now = self.now()
        if not self._is_there(now):
            self.data = b""
            return []
        assert self._source is not None
        self.number += 1
        begin = min(self.begin, self.size)
        try:
            self._resize(size_of(self._source), now)
            data = _read(self._source, begin, max(0, min(self.end, self.size) - begin))
            self._count(now)
        except OSError as error:
            self._leave(now, "unreadable", f"it cannot be read: {(error.strerror or str(error)).lower()}")
            return []
        changes = self._compare(begin, data, now)
        return changes if self.shape is None else self._read_values(now)

    def sample(self, seconds: float) -> list[int]:
        """Goes on to look at all of it, for no more than these seconds of processor time: the numbers of the `cells`
        that are seen to be changed."""
        if self._source is None:
            return []
        try:
            return self.cells.go(self._source, seconds)
        except OSError:
            return []  # the next look says why

    def close(self) -> None:
        """Lets go of the file."""
        if self._source is not None:
            close_source(self._source)
            self._source = None

    # -- whether it is there

    def _attach(self, target: Target) -> None:
        with target.explained():
            self._source = open_source(target.path)
        self.target = target
        self.identity = identity_of(self._source)
        self.gone = None
        self.data = b""
        self._fresh.clear()
        self.size = size_of(self._source)
        self._sample_anew()
        self.rate = Rate()
        self._count(self.now())

    def _is_there(self, now: float) -> bool:
        """Whether the name leads to the file that is looked at, or to another one by now."""
        if self._source is not None:
            try:
                if looked_up(self.target.path)[1] == self.identity:
                    return True
            except OSError:
                pass
            what = "the file was removed" if self.target.found is None else "nobody holds it any more"
            self._leave(now, "gone", what)
        elif now < self._tried + RETRY:
            return False
        self._tried = now
        try:
            target = find(self.target.given)
            self._attach(target)
        except Failure:
            return False
        self.events.append(Event(now, "back", "a new one of this name is there"))
        if self.own:
            try:
                self.show_as(described_shape(self.typed, target.given), own=True)
            except Failure:
                self.show_as(None)
        return True

    def _leave(self, now: float, kind: str, text: str) -> None:
        self.close()
        self._tried = now
        self.data = b""
        self.values, self._kept = {}, {}
        self.gone = Event(now, kind, text)
        self.events.append(self.gone)

    def _resize(self, size: int, now: float) -> None:
        if size == self.size:
            return
        kind = "truncated" if size < self.size else "grown"
        self.events.append(Event(now, kind, f"it was {kind.replace('grown', 'extended')} to {size} bytes"))
        self.size = size
        self._sample_anew()

    def _sample_anew(self) -> None:
        self.cells = Cells(self.size, now=self.now)
        self.cells.without = self.without

    def _count(self, now: float) -> None:
        """What a typed map says of itself."""
        assert self._source is not None
        try:
            self.typed = typed(Bytes(self.target.given, self._source), self.size)
        except Failure:
            self.typed = None  # truncated meanwhile: the next look sees it
        if self.typed is not None:
            self.rate.look(now, self.typed.total)

    # -- what is in it

    def _compare(self, begin: int, data: bytes, now: float) -> list[Change]:
        """What is different where this window and the one before overlap."""
        start, stop = max(self._at, begin), min(self._at + len(self.data), begin + len(data))
        before, after = self.data[max(0, start - self._at) : stop - self._at], data[start - begin : stop - begin]
        self._at, self.data = begin, data
        while self._fresh and self._fresh[0][0] <= now - FADED:
            self._fresh.popleft()
        if start >= stop or before == after:
            return []
        bits = int.from_bytes(before, "little") ^ int.from_bytes(after, "little")
        different = bits.to_bytes(len(after), "little")
        self._fresh.extend((now, start + run.start(), start + run.end()) for run in _BYTES.finditer(different))
        return [
            Change(start + run.start(), start + run.end(), before[slice(*run.span())], after[slice(*run.span())])
            for run in _RUN.finditer(different)
        ]

    def bytes_at(self, offset: int, count: int) -> bytes:
        """So many bytes of the window, as they were at the last look; fewer if they are not in it."""
        within = offset - self._at
        return self.data[within : within + count] if within >= 0 else b""

    def ages(self) -> dict[int, float]:
        """The bytes of the window that have changed lately, by their offsets, and how many seconds ago."""
        now, end = self.now(), self._at + len(self.data)
        return {
            offset: now - at
            for at, start, stop in self._fresh
            for offset in range(max(start, self._at), min(stop, end))
        }

    def _read_values(self, now: float) -> list[Change]:
        """The values that lie in the window as a whole."""
        stride, assigned = self.stride, self.values
        first = max(0, -(-(self._at - self.base) // stride))
        last = min(self.count, (self._at + len(self.data) - self.base) // stride)
        changes, self.values = [], {}
        for number in range(first, last):
            for within, name, shape in self.leaves:
                offset = self.base + number * stride + within
                value = assigned.get(offset) or self._kept.get(offset)
                if value is None:
                    value = Value(offset, name, shape, now)
                begin = offset - self._at
                change = value.read(self.data[begin : begin + shape.size], self.number, now)
                if change is not None:
                    changes.append(change)
                self.values[offset] = value
        if len(self._kept) > KEPT:
            self._kept.clear()
        self._kept.update(self.values)
        return changes


def _read(source: Source, at: int, count: int) -> bytes:
    """Up to so many bytes: fewer at the end of the file."""
    parts = []
    while count > 0:
        part = read_at(source, min(count, 1 << 20), at)
        if not part:
            break
        parts.append(part)
        at += len(part)
        count -= len(part)
    return b"".join(parts)

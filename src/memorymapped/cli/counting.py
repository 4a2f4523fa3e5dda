# SPDX-License-Identifier: MIT
"""What `mmf top` sees, without a screen: all that is shared, and how fast it changes.

Objects of ours that count their changes tell them exactly: a SharedMemory its version, a StructArray its changes, a
segment file those that its control object counts. Other maps are sampled in turn, within a share of a processor's time:
a change is seen when a look is different from the one before, so what is told is the least that it can be."""

from __future__ import annotations

import contextlib
import struct
import time
from collections.abc import Callable, Iterable
from typing import TypeVar

from .._typing import TYPE_CHECKING
from ..system.reading import close_source, is_file, looked_up, open_source, read_at, size_of
from ..system.survey import Found, survey
from .ending import Failure
from .objects import MAPS
from .sampling import Budget, Cells, Clock, Rate
from .targets import Bytes
from .typed import typed

if TYPE_CHECKING:
    from ..system.reading import Source

__all__ = ["Counter", "Row"]

CELLS = 64  # of each map that is sampled
NEW = 5.0  # seconds for which an object is new, or one that has ended is still shown
CONTROL = "segments-1-"  # in the names of the control objects of segment files, before device and inode
_CHANGE = struct.Struct("<8xI")
_T = TypeVar("_T")


class Row:
    """An object: what was `found` of it; `rate`, its changes per second, and whether that is `exact`; whether it is
    `new` or `gone`."""

    __slots__ = ("_cells", "_changes", "_ended", "_rate", "_since", "exact", "found", "gone", "new")

    def __init__(self, found: Found, at: float, *, new: bool, seconds: float) -> None:
        self.found = found
        self.exact = False
        self.new = new
        self.gone = False
        self._since = at
        self._ended = 0.0
        self._rate = Rate(seconds)
        self._cells: Cells | None = None
        self._changes = 0

    @property
    def key(self) -> tuple[str, int]:
        """Tells it from all others, of other generations too."""
        return self.found.path, self.found.inode

    @property
    def rate(self) -> float | None:
        """Changes per second over the last seconds; None: it is not counted, or was not looked at twice."""
        return self._rate.per_second

    def sample(self, seconds: float, at: float, now: Clock) -> None:
        """Looks at the bytes of a map, for no more than these seconds of processor time."""

        def look(source: Source, size: int) -> None:
            if self._cells is None or self._cells.size != size:
                self._cells = Cells(size, CELLS, now)
            self._changes += bool(self._cells.go(source, seconds))
            if self._cells.part == 1.0:
                self._rate.look(at, self._changes)

        _looked_into(_place(self.found), look)

    def count(self, total: int, at: float) -> None:
        """Takes what the object's own counter says."""
        if not self.exact:
            self._rate = Rate(self._rate.seconds)
            self.exact = True
        self._rate.look(at, total)


class Counter:
    """Looks at all objects. `others`: also what other programs have in the shared-memory file system. `seconds`: over
    which changes are counted."""

    def __init__(
        self,
        *,
        others: bool = False,
        seconds: float = 5.0,
        look: Callable[[], list[Found]] | None = None,
        now: Clock = time.monotonic,
    ) -> None:
        self._look = look or (lambda: survey(others=others))
        self._seconds = seconds
        self._now = now
        self._budget = Budget(now=now)
        self._turn = 0
        self._first = True
        self.rows: dict[tuple[str, int], Row] = {}

    def tick(self) -> list[Row]:
        """A look at everything. Rows of objects that have ended come for some seconds more."""
        found, at = self._look(), self._now()
        there = set()
        for each in found:
            key = each.path, each.inode
            there.add(key)
            row = self.rows.get(key)
            if row is None or row.gone:
                row = self.rows[key] = Row(each, at, new=not self._first, seconds=self._seconds)
            row.found = each
            row.new = row.new and at < row._since + NEW
        for key, row in list(self.rows.items()):
            if key in there:
                continue
            if not row.gone:
                row.gone, row.new, row._ended = True, False, at
            elif at >= row._ended + NEW:
                del self.rows[key]
        self._first = False
        self._count([row for row in self.rows.values() if not row.gone], at)
        return list(self.rows.values())

    def _count(self, rows: list[Row], at: float) -> None:
        changes = _changes_of_segment_files(row.found for row in rows)
        sampled = []
        for row in rows:
            if row.found.kind not in (*MAPS, "foreign"):
                continue
            total = _total(row.found, changes)
            if total is not None:
                row.count(total, at)
            else:
                row.exact = False
                sampled.append(row)
        # Each its part of what there is to spend. Small ones need less than theirs, large ones have the rest. Who is
        # not in time is the first the next time.
        sampled.sort(key=lambda row: row.found.size)
        begin = time.thread_time()
        left = self._budget.left()
        for number in range(len(sampled)):
            spent = time.thread_time() - begin
            if spent >= left:
                self._turn = (self._turn + number) % len(sampled)
                break
            row = sampled[(self._turn + number) % len(sampled)]
            row.sample((left - spent) / (len(sampled) - number), at, self._now)
        else:
            self._turn = 0
        self._budget.spend(time.thread_time() - begin)


def _changes_of_segment_files(found: Iterable[Found]) -> dict[str, int]:
    """What their control objects count, by the device and inode of the file, and by the path of the control object."""
    changes: dict[str, int] = {}
    for each in found:
        if each.kind == "map" and each.name is not None and each.size >= _CHANGE.size:
            place = each.name.partition("\\")[2]
            if place.startswith(CONTROL):
                data = _looked_into(each.path, lambda source, size: read_at(source, _CHANGE.size, 0))
                if data is not None and len(data) == _CHANGE.size:
                    (change,) = _CHANGE.unpack(data)
                    place = place.removeprefix(CONTROL)
                    changes[place] = max(change, changes.get(place, 0))
                    changes[each.path] = change
    return changes


def _total(found: Found, changes: dict[str, int]) -> int | None:
    """The number of changes that an object counts itself; None: it does not."""
    path, device, inode = _place(found), found.device, found.inode
    if found.kind == "file map":
        with contextlib.suppress(OSError):
            device, inode = looked_up(path)[1]
    counted = changes.get(f"{device:x}-{inode:x}", changes.get(found.path))
    if counted is not None:
        return counted
    told = _looked_into(path, lambda source, size: typed(Bytes(path, source), size))
    return None if told is None else told.total


def _place(found: Found) -> str:
    """Where its bytes are."""
    return found.target if found.target is not None and is_file(found.path) else found.path


def _looked_into(path: str, read: Callable[[Source, int], _T]) -> _T | None:
    """What `read` makes of an open file and its size; None if it has ended, or is not for this user to read."""
    try:
        source = open_source(path)
    except OSError:
        return None
    try:
        return read(source, size_of(source))
    except (OSError, Failure):
        return None
    finally:
        close_source(source)

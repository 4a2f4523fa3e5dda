# SPDX-License-Identifier: MIT
"""What both kinds of view have in common above the compiled core."""

from __future__ import annotations

from ._native.memory import View, guard_state
from .enums import Advice
from .record import Record
from .system import PAGE_SIZE

__all__ = ["GuardStatus", "Residency", "Viewing", "guard_status"]


class Residency(Record):
    """Which part of a range is in memory: `resident` of `total` bytes, in pages of `page_size` bytes."""

    __slots__ = {
        "page_size": "Bytes of a page.",
        "resident": "Bytes that are in memory.",
        "total": "Bytes of the range, in whole pages.",
    }

    def __init__(self, resident: int, total: int, page_size: int) -> None:
        self.resident = resident
        self.total = total
        self.page_size = page_size

    @property
    def ratio(self) -> float:
        """The share that is in memory, 0.0 to 1.0."""
        return self.resident / self.total if self.total else 1.0


class GuardStatus(Record):
    """The state of the fault guard of this process.

    `armed`: its SIGBUS handler is the one that the kernel calls first. False after somebody installed another since the
    last map was made (faulthandler.enable and .disable do): the next map or view puts it back. (Windows has no signals,
    but a list of handlers, in which ours is the first from the first map on.) `mappings` are watched
    now; `faults` were turned into MemoryFaultError or marks so far; `displaced` counts how often another handler was
    found on top."""

    __slots__ = {
        "armed": "Whether the guard's handler is the one that the kernel calls first.",
        "displaced": "How often another handler was found on top.",
        "faults": "How many faults were turned into MemoryFaultError or marks.",
        "mappings": "How many mappings are watched now.",
    }

    def __init__(self, armed: bool, mappings: int, faults: int, displaced: int) -> None:
        self.armed = armed
        self.mappings = mappings
        self.faults = faults
        self.displaced = displaced


def guard_status() -> GuardStatus:
    """Whether faults in mapped memory are caught in this process right now."""
    return GuardStatus(*guard_state())


class Viewing(View):
    """Advice, residency, and the check of a view against its file. A mixin of the two views."""

    __slots__ = ()

    def advise(self, advice: Advice, position: int = 0, count: int | None = None) -> None:
        """Tells the kernel what is going to happen to `count` bytes (None: to the end) from `position` on (whole
        pages). Raises OSError if the system does not know the advice, ClosedError."""
        self.madvise(Advice(advice), position, count)

    def residency(self, position: int = 0, count: int | None = None) -> Residency:
        """How much of `count` bytes (None: to the end) from `position` on is in memory now (mincore(2)): about 1 ms for
        each gigabyte. What is in memory may be gone a moment later. Raises ClosedError, OutOfRangeError."""
        resident = pages = 0
        for states in self.mincore(position, count):
            resident += states.count(1)
            pages += len(states)
        return Residency(resident * PAGE_SIZE, pages * PAGE_SIZE, PAGE_SIZE)

    def check(self) -> None:
        """Raises the MemoryFaultError of a file that is shorter now than this view, or of a page that was lost.

        An access raises it where it meets a lost page. Inside the last page of a truncated file there is none to meet:
        the bytes behind the new end read as zeros. This compares the sizes. (After the map was closed, only if the file
        still has its path.) Raises ClosedError."""
        if self.closed:
            self.refuse_closed()
        if self.faulted or self.source.is_too_short(self):
            self.raise_fault(0, self.capacity)

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    def __repr__(self) -> str:
        source = self.source
        what = repr(source.name) if source.name is not None else source.path or "unnamed memory"
        state = "closed" if self.closed else f"{self.capacity} bytes"
        return f"<{type(self).__name__} of {what}, {state} at {self.offset}>"

# SPDX-License-Identifier: MIT
"""What a process that took no part sees of a name after somebody's death. Each look has a time limit."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager

from memorymapped import MemoryMappedFile, NameInUseError
from memorymapped.system import sweep

__all__ = ["BOUND", "LOOKS", "alive", "dead", "within"]

BOUND = 1.0
"""Seconds that an operation after a death may take. Nothing has to be waited for: this is for a busy machine."""

LOOKS = ("open", "create", "either", "sweep")
"""What the first to look at a dead name may be doing."""


@contextmanager
def within(seconds: float, what: str) -> Iterator[None]:
    """Raises TimeoutError in the midst of an operation that takes longer (they all are interruptible)."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"{what} took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def alive(name: str, generation: tuple[int, int], content: bytes, sizes: tuple[int, ...] = ()) -> int:
    """The name stands for this generation and these bytes, and nobody can create it. Returns its capacity."""
    with within(BOUND, "open_existing of a live name"):
        opened = MemoryMappedFile.open_existing(name)
    with opened:
        assert opened.generation == generation, f"the name has split: {opened.generation}, not {generation}"
        assert opened.name_alive
        capacity = opened.capacity
        assert capacity in (sizes or (len(content),)), f"the capacity is {capacity}"
        with opened.create_view_accessor() as view:
            assert view.read_bytes(0, len(content)) == content, "other bytes"
            rest = view.read_bytes(len(content), capacity - len(content))
            assert rest == bytes(len(rest)), "what a resize adds is zero"
    with within(BOUND, "create_new of a live name"):
        try:
            MemoryMappedFile.create_new(name, 1).close()
        except NameInUseError:
            pass
        else:
            raise AssertionError("a name that is held was created again")
    with within(BOUND, "create_or_open of a live name"), MemoryMappedFile.create_or_open(name, 1) as opened:
        assert opened.generation == generation, "create_or_open made another"
    return capacity


def dead(name: str, look: str, size: int, old: set[int]) -> None:
    """The name is free: not found, and a new one is zeroed and none of the inodes `old`. `look` comes first."""
    if look == "sweep":
        with within(BOUND, "sweep"):
            sweep()
    elif look == "open":
        not_found(name)
    else:
        created(name, look, size, old)


def gone(name: str, size: int, old: set[int]) -> None:
    """All of it, after the first look."""
    not_found(name)
    for look in ("create", "either"):
        created(name, look, size, old)
    not_found(name)


def not_found(name: str) -> None:
    with within(BOUND, "open_existing of a dead name"):
        try:
            opened = MemoryMappedFile.open_existing(name)
        except FileNotFoundError:
            return
        opened.close()
        raise AssertionError("a name that nobody holds was opened")


def created(name: str, look: str, size: int, old: set[int]) -> None:
    with within(BOUND, f"{look} of a dead name"):
        if look == "create":
            new = MemoryMappedFile.create_new(name, size)
        else:
            new = MemoryMappedFile.create_or_open(name, size)
    with new:
        assert new.generation[1] not in old, "an old generation came back"
        assert new.capacity == size
        with new.create_view_accessor() as view:
            assert view.read_bytes(0, size) == bytes(size), "fresh memory is not zero"
            view.write_bytes(0, b"\xa5" * size)

# SPDX-License-Identifier: MIT
"""What locks, events and numbers at a place inside a mapped view have in common."""

from __future__ import annotations

from _thread import allocate_lock
from _weakref import ref

from .._typing import TYPE_CHECKING
from ..system.forks import after_in_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn, TypeVar

    from .._native.memory import View

    T = TypeVar("T")

__all__ = ["Key", "not_pickled", "place", "shared"]

Key = tuple[int, int, int, int]
"""Device, inode, position in the file, and which life of a name it is, where only this process tells that."""

_lock = allocate_lock()
after_in_child(lambda: _lock._at_fork_reinit())  # type: ignore[attr-defined]


def shared(table: dict[Key, ref[T]], key: Key, new: T, usable: Callable[[T], bool]) -> T:
    """What this process has at a place already, through whatever view, or `new`. (A thread that took a lock through one
    view must be known as its owner when it takes it through another.)"""

    def forget(gone: ref[T]) -> None:
        if table.get(key) is gone:
            del table[key]

    with _lock:
        known = table.get(key)
        there = known() if known is not None else None
        if there is not None and usable(there):
            return there
        table[key] = ref(new, forget)
        return new


def place(view: View, position: int) -> str:
    """Where something is, for messages."""
    name = getattr(view.source, "name", None)
    within = f" of the view at {view.offset}" if view.offset else ""
    return f"at {position}{within}" + (f" of the map {name!r}" if name else "")


def not_pickled(self: object) -> NoReturn:
    raise TypeError(f"{self!r} cannot be pickled: pickle the map, and make it anew at the same position over there")

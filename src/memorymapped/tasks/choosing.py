# SPDX-License-Identifier: MIT
"""Which task somebody means: the same for the source, which has the list, and for the destination, which was offered
it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

__all__ = ["meant"]


class _Named(Protocol):
    @property
    def id(self) -> str: ...
    @property
    def title(self) -> str: ...


T = TypeVar("T", bound=_Named)


def meant(tasks: Sequence[T], given: str) -> list[T]:
    """Those with this id; if there are none, with this title; else the one with this number (from 1); else those whose
    id or title begins so, whatever the case of the title. More than one: it is not clear."""
    found = [task for task in tasks if given == task.id] or [task for task in tasks if given == task.title]
    if not found and given.isascii() and given.isdecimal() and len(given) < 9 and 1 <= int(given) <= len(tasks):
        found = [tasks[int(given) - 1]]
    if not found and given:
        begin = given.casefold()
        found = [task for task in tasks if task.id.startswith(given) or task.title.casefold().startswith(begin)]
    return found

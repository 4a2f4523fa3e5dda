# SPDX-License-Identifier: MIT
"""What declarations in other languages have in common."""

from __future__ import annotations

import re

from .._typing import TYPE_CHECKING
from ..errors import shown
from .kinds import ArrayKind
from .layout import Layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from .kinds import Kind

__all__ = ["Names", "checked", "dimensions", "identifier"]


class Names:
    """The names of one scope. What is taken already gets underscores."""

    def __init__(self, taken: Iterable[str]) -> None:
        self._taken = set(taken)

    def __iter__(self) -> Iterator[str]:
        return iter(self._taken)

    def take(self, wanted: str) -> str:
        """The name itself, if it can be had."""
        name = identifier(wanted)
        while name in self._taken:
            name += "_"
        self._taken.add(name)
        return name


def checked(layouts: Iterable[Layout]) -> Iterable[Layout]:
    """These layouts. TypeError if one is something else."""
    for layout in layouts:
        if not isinstance(layout, Layout):
            raise TypeError(f"{shown(layout)} is no layout: give T.layout of a structure T")
        yield layout


def identifier(name: str) -> str:
    """A name that was made by a call may be anything."""
    if name.isidentifier():
        return name
    name = re.sub(r"\W", "_", name)
    return name if name.isidentifier() else f"_{name}"


def dimensions(kind: Kind) -> tuple[Kind, list[int]]:
    """What an array has in the end, and its lengths, the outermost first; no lengths for anything else."""
    lengths = []
    while isinstance(kind, ArrayKind):
        lengths.append(kind.count)
        kind = kind.element
    return kind, lengths

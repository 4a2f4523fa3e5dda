# SPDX-License-Identifier: MIT
"""How a compiler of the C family comes to a layout: the packing that it must be told, and the padding that must be
written down because it would not come to it by itself."""

from __future__ import annotations

from itertools import pairwise

from .._typing import TYPE_CHECKING
from .kinds import ArrayKind, Nested

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._native.structs import Field
    from .kinds import Kind
    from .layout import Layout

__all__ = ["Arrangement", "alignment_in_c", "arranged", "arranged_in_c"]


class Arrangement:
    """`members` in the order of their offsets: fields, and numbers of bytes of padding between them. `pack`: the
    largest alignment of a member, 0 if there is no limit. `alignment`: what the whole has then."""

    __slots__ = ("alignment", "members", "pack")

    def __init__(self, members: list[Field | int], pack: int, alignment: int) -> None:
        self.members = members
        self.pack = pack
        self.alignment = alignment


def arranged(layout: Layout, alignment_of: Callable[[Kind], int]) -> Arrangement | None:
    """How a compiler that aligns kinds like this comes to a layout; None where fields overlap, which takes a union."""
    fields = sorted(layout.fields, key=lambda field: field.offset)
    for before, field in pairwise(fields):
        if field.offset < before.offset + before.size:
            return None
    for pack in (layout.pack, 1):
        found = _attempt(fields, layout.size, pack, alignment_of)
        if found is not None:
            return found
    raise AssertionError(f"{layout!r} cannot be arranged")  # with pack=1 it always can


def _attempt(fields: list[Field], size: int, pack: int, alignment_of: Callable[[Kind], int]) -> Arrangement | None:
    members: list[Field | int] = []
    end, whole = 0, 1

    def goes_to(offset: int, alignment: int) -> bool:
        """Whether what is so aligned comes to lie at `offset`, with padding before it if need be."""
        if offset % alignment:
            return False
        if -(-end // alignment) * alignment != offset:
            members.append(offset - end)
        return True

    for field in fields:
        alignment = alignment_of(field.kind)
        if pack:
            alignment = min(alignment, pack)
        if not goes_to(field.offset, alignment):
            return None
        members.append(field)
        end = field.offset + field.size
        whole = max(whole, alignment)
    return Arrangement(members, pack, whole) if goes_to(size, whole) else None


def alignment_in_c(kind: Kind) -> int:
    """Of a kind as it is declared in C: a structure that had to be packed has less than its layout has."""
    while isinstance(kind, ArrayKind):
        kind = kind.element
    if not isinstance(kind, Nested):
        return kind.alignment
    found = arranged_in_c(kind.layout)
    return found.alignment if found is not None else 1


def arranged_in_c(layout: Layout) -> Arrangement | None:
    """How a C compiler comes to a layout."""
    return arranged(layout, alignment_in_c)

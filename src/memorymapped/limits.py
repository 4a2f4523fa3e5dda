# SPDX-License-Identifier: MIT
"""Which views a map allows, and how each kind is made."""

from __future__ import annotations

import functools

from .enums import MemoryMappedFileAccess as Access
from .enums import MemoryMappedFileRights as Rights
from .system import PRIVATE, PROTECTION

__all__ = ["CREATED", "OPENED", "RIGHTS_OF", "Limits", "limits"]

# By the access that it was created with ...
_ALLOWED = {
    Access.READ_WRITE: {Access.READ, Access.WRITE, Access.READ_WRITE, Access.COPY_ON_WRITE},
    Access.READ: {Access.READ, Access.COPY_ON_WRITE},
    Access.COPY_ON_WRITE: {Access.READ, Access.COPY_ON_WRITE},
    Access.READ_EXECUTE: {Access.READ, Access.COPY_ON_WRITE, Access.READ_EXECUTE},
    Access.READ_WRITE_EXECUTE: set(Access),
}
RIGHTS_OF = {
    Access.READ_WRITE: Rights.READ_WRITE,
    Access.READ: Rights.READ,
    Access.WRITE: Rights.WRITE,
    Access.COPY_ON_WRITE: Rights.COPY_ON_WRITE,
    Access.READ_EXECUTE: Rights.READ_EXECUTE,
    Access.READ_WRITE_EXECUTE: Rights.READ_WRITE_EXECUTE,
}


def _allowed_by(rights: Rights) -> set[Access]:
    # ... and by the rights that it was opened with. What Windows allows, seen on .NET with every combination: who may
    # write can read too; copy on write alone opens as reading does, and counts for nothing beside another right.
    allowed: set[Access] = set()
    basic = rights & (Rights.READ_WRITE_EXECUTE | Rights.COPY_ON_WRITE)
    if basic & Rights.READ or basic == Rights.COPY_ON_WRITE:
        allowed |= {Access.READ, Access.COPY_ON_WRITE}
    if basic & Rights.WRITE:
        allowed |= {Access.WRITE, Access.READ_WRITE}
    if basic & Rights.READ and basic & Rights.EXECUTE:
        allowed.add(Access.READ_EXECUTE)
        if basic & Rights.WRITE:
            allowed.add(Access.READ_WRITE_EXECUTE)
    return allowed


# How a view is made: protection, flags, whether it reads, writes, and is flushed at its close.
Way = tuple[int, int, bool, bool, bool]


class Limits:
    """What a map allows: the access that it was created with, the rights that it was opened with (None by its creator),
    and for each access of a view, by its number, how the view is made, or None."""

    __slots__ = ("access", "rights", "ways")

    def __init__(self, access: Access, rights: Rights | None, ways: tuple[Way | None, ...]) -> None:
        self.access = access
        self.rights = rights
        self.ways = ways


@functools.cache
def limits(access: Access, rights: Rights | None) -> Limits:
    allowed = _ALLOWED[access] if rights is None else _ALLOWED[access] & _allowed_by(rights)
    ways: list[Way | None] = []
    for wanted in Access:
        protection, flags, reads, writes = PROTECTION[wanted]
        private = Access.COPY_ON_WRITE in (wanted, access)  # of the map or of the view: then not even readers share
        way = (protection, PRIVATE if private else flags, reads, writes, writes and not private)
        ways.append(way if wanted in allowed else None)
    return Limits(access, rights, tuple(ways))


CREATED = limits(Access.READ_WRITE, None)
OPENED = limits(Access.READ_WRITE, Rights.READ_WRITE)

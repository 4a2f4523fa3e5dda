# SPDX-License-Identifier: MIT
"""What a system needs of memorymapped.security, for type checkers: nothing imports this at run time."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from ..enums import MemoryMappedFileRights as Rights

Said = tuple[list[tuple[str, Rights, int]], str | int, str | int]
"""What an object has: (identity, rights, 0 for allowed or 1 for denied) of each rule; owner; group."""


class Rule(Protocol):
    """An AccessRule."""

    @property
    def identity(self) -> str: ...
    @property
    def rights(self) -> Rights: ...
    @property
    def access_control_type(self) -> int: ...


class Entries(Protocol):
    """An AccessEntries."""

    owner: int
    group: int
    other: int
    users: dict[int | str, int]
    groups: dict[int | str, int]


class Security(Protocol):
    """A MemoryMappedFileSecurity."""

    owner: str | int | None
    group: str | int | None

    @property
    def rules(self) -> Iterable[Rule]: ...
    def _entries(self) -> Entries: ...
    def names_others(self) -> bool: ...
    def names_another_owner(self) -> bool: ...

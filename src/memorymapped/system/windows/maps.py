# SPDX-License-Identifier: MIT
"""Named maps: sections of the system by name, so that every program that knows the name shares them."""

from __future__ import annotations

import errno

from ..._native.win32 import (
    FILE_MAP_READ,
    FILE_MAP_WRITE,
    SEC_RESERVE,
    close_handle,
    create_section,
    open_section,
    section_size,
)
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileAccess as Access
from ...errors import NameInUseError
from ..names import Name, Scope
from .backing import PAGES, Section

if TYPE_CHECKING:
    from collections.abc import Callable

    from .files import FileMap

__all__ = ["CREATE", "EITHER", "NamedMemory", "create_memory", "kernel_name", "locate", "open_entry", "open_memory"]

CREATE, EITHER = 1, 2


def kernel_name(name: Name) -> str:
    """The name that the system knows it by. There is no scope of a user here: that is the session, as for a bare
    name."""
    return name.text if name.is_bare else f"{'Global' if name.scope is Scope.GLOBAL else 'Local'}\\{name.text}"


class NamedMemory(Section):
    """What a name stands for: memory, or a file that was mapped under it."""

    special = 0
    is_entry = False
    access = Access.READ_WRITE

    def __init__(self, name: str, handle: int, size: int, created: bool) -> None:
        super().__init__(handle, size)
        self.name = name
        self.created = created


def create_memory(
    name: Name,
    how: int,
    capacity: int,
    access: Access,
    *,
    reserve: bool,
    inheritable: bool,
    secure: Callable[[int], None] | None,
) -> NamedMemory:
    """Creates (CREATE), or opens or creates (EITHER), the memory of a name. `created` says which it was."""
    if secure is not None:
        raise NotImplementedError("access rules for maps are not there yet on Windows")
    pages = PAGES[access] if reserve else PAGES[access] | SEC_RESERVE
    known = kernel_name(name)
    handle, existed = create_section(known, -1, pages, capacity, inheritable)
    try:
        if not existed:
            return NamedMemory(name.given, handle, capacity, True)
        if how == CREATE:
            raise NameInUseError(name.given)
        return NamedMemory(name.given, handle, section_size(handle, FILE_MAP_READ), False)
    except BaseException:
        close_handle(handle)
        raise


def open_memory(name: Name, writes: bool, inheritable: bool) -> NamedMemory:
    """Opens what a name stands for. The size of memory is that of its pages: nobody tells which was asked for."""
    access = FILE_MAP_READ | FILE_MAP_WRITE if writes else FILE_MAP_READ
    try:
        handle = open_section(kernel_name(name), access, inheritable)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, f"nobody holds an object named {name.given!r}: it ends with its last holder"
        ) from None
    try:
        return NamedMemory(name.given, handle, section_size(handle, FILE_MAP_READ), False)
    except BaseException:
        close_handle(handle)
        raise


def open_entry(entry: NamedMemory, name: Name, *, writes: bool, inheritable: bool) -> tuple[FileMap, Access]:
    """Never called: a file map's name is its section's here, and there are no entries."""
    raise NotImplementedError


def locate(path: str) -> str | None:
    """The name that a file stands for: none does."""
    return None

# SPDX-License-Identifier: MIT
"""Named maps: sections of the system by name, so that every program that knows the name shares them."""

from __future__ import annotations

import errno

from ..._native.win32 import (
    FILE_MAP_READ,
    FILE_MAP_WRITE,
    HIDDEN,
    SEC_RESERVE,
    close_handle,
    name_of,
    open_section,
    rights_of,
    section_size,
)
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileAccess as Access
from ...enums import MemoryMappedFileRights as Rights
from ...errors import NameInUseError
from ..names import Name
from .backing import PAGES, Section, is_held, made, of_name
from .names import kernel_name

if TYPE_CHECKING:
    from ..access_rules import Security
    from .files import FileMap

__all__ = [
    "CREATE",
    "EITHER",
    "NamedMemory",
    "create_memory",
    "known_section",
    "locate",
    "open_entry",
    "open_memory",
    "sweep",
]

CREATE, EITHER = 1, 2
_BASIC = Rights.READ_WRITE_EXECUTE | Rights.COPY_ON_WRITE


class NamedMemory(Section):
    """What a name stands for: memory, or a file that was mapped under it."""

    special = 1
    is_entry = False
    access = Access.READ_WRITE_EXECUTE
    """The most: with which one it was made nobody tells, and the system refuses the views that that does not allow."""

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
    security: Security | None,
) -> NamedMemory:
    """Creates (CREATE), or opens or creates (EITHER), the memory of a name. `created` says which it was."""
    pages = PAGES[access] if reserve else PAGES[access] | SEC_RESERVE
    try:
        handle, existed = made(name, -1, pages, capacity, inheritable, security)
    except PermissionError:  # to create what exists takes all rights of it
        if not is_held(name):
            raise
        if how == CREATE:
            raise NameInUseError(name.given) from None
        return open_memory(name, Rights[access.name], inheritable)
    try:
        if not existed:
            return NamedMemory(name.given, handle, capacity, True)
        if how == CREATE:
            raise NameInUseError(name.given)
        return NamedMemory(name.given, handle, section_size(handle, FILE_MAP_READ), False)
    except BaseException:
        close_handle(handle)
        raise


def open_memory(name: Name, rights: Rights, inheritable: bool) -> NamedMemory:
    """Opens what a name stands for. The size of memory is that of its pages: nobody tells which was asked for."""
    access = int(rights & (~_BASIC | Rights.EXECUTE))  # SECTION_MAP_EXECUTE: to open is not to map, which has another
    if rights & (Rights.READ | Rights.COPY_ON_WRITE):
        access |= FILE_MAP_READ
    if rights & Rights.WRITE:
        access |= FILE_MAP_WRITE
    if not access & (FILE_MAP_READ | FILE_MAP_WRITE):
        access |= FILE_MAP_READ  # to see the size; which views there may be is said by the rights
    try:
        handle = open_section(kernel_name(name), access, inheritable)
    except FileNotFoundError:
        raise FileNotFoundError(
            errno.ENOENT, f"nobody holds an object named {name.given!r}: it ends with its last holder"
        ) from None
    except OSError as error:
        raise of_name(error, name) from None
    try:
        size = section_size(handle, FILE_MAP_READ if access & FILE_MAP_READ else FILE_MAP_WRITE)
        return NamedMemory(name.given, handle, size, False)
    except BaseException:
        close_handle(handle)
        raise


def known_section(handle: int) -> Section:
    """The memory, or mapped file, of a section's handle, which is taken over: under its name, if it has one."""
    size = section_size(handle, FILE_MAP_READ if rights_of(handle) & FILE_MAP_READ else FILE_MAP_WRITE)
    folder, _, text = name_of(handle).rpartition("\\")
    if not folder.endswith("\\BaseNamedObjects") or text.startswith(HIDDEN):
        return Section(handle, size)
    return NamedMemory(text if folder.startswith("\\Sessions") else f"Global\\{text}", handle, size, False)


def open_entry(entry: NamedMemory, name: Name, *, writes: bool, inheritable: bool) -> tuple[FileMap, Access]:
    """Never called: a file map's name is its section's here, and there are no entries."""
    raise NotImplementedError


def sweep() -> int:
    """How many objects that nobody holds were removed: there never are any."""
    return 0


def locate(path: str) -> str | None:
    """The name that a file stands for: none does."""
    return None

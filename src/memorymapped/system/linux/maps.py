# SPDX-License-Identifier: MIT
"""Named maps.

A map's file is `<stem>.map`. There is no header in it: byte 0 of the file is byte 0 of the user's data. What has to be
known besides is told by bits of its mode that mean nothing else on such a file:

- sticky: it is an *entry*, the name of a map of somebody's file, whose path, device and inode it holds as JSON;
- set-user-id: created with an access that allows no shared writing, so no opener may write either;
- executable by its owner: created with an access that allows execution.
"""

from __future__ import annotations

import errno
import os
import stat

from ..._native import lifetime
from ..._typing import TYPE_CHECKING
from ...enums import MemoryMappedFileAccess as Access
from ...enums import MemoryMappedFileRights as Rights
from ...errors import DamagedObjectError
from ..names import Name, Scope, parse
from . import directories
from .access_control import apply_access
from .backing import Backing
from .objects import CREATE, OPEN, acquire, leads_to, release
from .places import MAP, SIDE, Place, locate

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ..._native.lifetime import Duplicate, Held
    from ..access_rules import Security

__all__ = ["NamedMemory", "create_memory", "enter", "open_memory", "read_entry", "rejoin"]

_READ_WRITE = Rights.READ_WRITE  # a member of an enumeration is found in five times a global's time
ENTRY = stat.S_ISVTX
_READ_ONLY = stat.S_ISUID
_EXECUTABLE = stat.S_IXUSR
_SPECIAL = ENTRY | _READ_ONLY | _EXECUTABLE
_BITS = {
    Access.READ_WRITE: 0,
    Access.READ: _READ_ONLY,
    Access.COPY_ON_WRITE: _READ_ONLY,
    Access.READ_EXECUTE: _READ_ONLY | _EXECUTABLE,
    Access.READ_WRITE_EXECUTE: _EXECUTABLE,
}
_ACCESS = {
    0: Access.READ_WRITE,
    _READ_ONLY: Access.READ,
    _READ_ONLY | _EXECUTABLE: Access.READ_EXECUTE,
    _EXECUTABLE: Access.READ_WRITE_EXECUTE,
}


class NamedMemory(Backing):
    """The memory of a named map, or the entry of a file map. Made for each open, so it stores only what it must."""

    __slots__ = ("fd", "held", "last_size", "name", "place", "special", "view_fd")

    def __init__(self, name: str, held: Held, place: Place) -> None:
        self.name = name
        self.held = held
        self.place = place
        self.fd = self.view_fd = held.fd
        self.last_size = held.size
        self.special = held.mode & _SPECIAL
        """Not 0: an entry, or memory that was created with another access than READ_WRITE."""

    def inherit(self) -> None:
        """Lets children that execute another program have the descriptor. Views get one of their own."""
        self.held.inherit()
        self.view_fd = self.held.view_fd

    @property
    def path(self) -> str:  # type: ignore[override]
        return self.place.path

    @property
    def device(self) -> int:  # type: ignore[override]
        return self.held.device

    @property
    def inode(self) -> int:  # type: ignore[override]
        return self.held.inode

    @property
    def mark(self) -> int:  # type: ignore[override]
        return self.held.mark

    @property
    def created(self) -> bool:  # type: ignore[override]
        return self.held.created

    @property
    def is_entry(self) -> bool:
        """Whether this is the name of somebody's file."""
        return bool(self.held.mode & ENTRY)

    @property
    def access(self) -> Access:
        """The access that it was created with, as far as it limits those who open it."""
        return _ACCESS[self.held.mode & (_READ_ONLY | _EXECUTABLE)]

    @property
    def owner_bits(self) -> int:  # type: ignore[override]
        # Reads and writes: the locks need it. The third is no permission here.
        return 7 if self.held.mode & _EXECUTABLE else 6

    def name_alive(self) -> bool:
        return self.fd >= 0 and leads_to(self.place, self.held)

    def close(self) -> None:
        if self.fd >= 0:
            release(self.held, self.place, self)

    def duplicate(self) -> Duplicate:
        return self.held.duplicate()


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
    """Creates (CREATE), or opens or creates (EITHER), the memory of a name. `security`: who may access a new one.
    `created` of the result's `held` says which it was."""
    prepare: Callable[[int], None] | None = None
    if security is not None or access:  # READ_WRITE is 0
        bits = _BITS[access]

        def prepare(fd: int) -> None:
            if security is not None:
                apply_access(fd, security)
            # After the size: growing a file takes its set-user-id bit.
            os.fchmod(fd, stat.S_IMODE(os.fstat(fd).st_mode) & ~_EXECUTABLE | bits | 0o600)

    held, place = acquire(name, MAP, how, os.O_RDWR, capacity, reserve, prepare)
    memory = NamedMemory(name.given, held, place)
    if inheritable:
        _inherit(memory)
    return memory


def open_memory(name: Name, rights: Rights, inheritable: bool) -> NamedMemory:
    """Opens what a name stands for: its memory, or an entry (`is_entry`)."""
    writes = True
    if rights is not _READ_WRITE:
        if rights & Rights.ACCESS_SYSTEM_SECURITY:
            reason = "ACCESS_SYSTEM_SECURITY needs a privilege that Linux does not have"
            raise OSError(errno.EPERM, reason, name.given)
        writes = bool(rights & Rights.WRITE)
    held, place = acquire(name, MAP, OPEN, os.O_RDWR if writes else os.O_RDONLY)
    memory = NamedMemory(name.given, held, place)
    if inheritable:
        _inherit(memory)
    return memory


def _inherit(memory: NamedMemory) -> None:
    if memory.is_entry:
        return  # its file's descriptor is the one that is inherited
    try:
        memory.inherit()
    except BaseException:
        memory.close()
        raise


def rejoin(fd: int, path: str, *, writes: bool) -> NamedMemory | None:
    """The named map that an inherited descriptor is of, held by a description of its own; None if it is none."""
    given = locate(path) if path.endswith(MAP) else None
    if given is None:
        return None
    name = parse(given)
    folder, _, file = path.rpartition("/")
    directory = directories.global_directory(create=False) if folder == directories.global_path() else None
    directory = directory or directories.user_directory(create=False)
    if directory is None:
        return None
    side = (file + SIDE).encode() if name.is_long else None
    flags = os.O_RDWR if writes else os.O_RDONLY
    held = lifetime.locked(lifetime.rejoin, directory, file.encode(), side, fd, flags)
    if held is None:
        return None
    place = Place(directory, file.encode(), side, None, os.fstat(fd).st_uid, path, name.scope is Scope.GLOBAL)
    return NamedMemory(given, held, place)


# -- entries: a name for a map of somebody's file


def enter(name: Name, path: str, device: int, inode: int, capacity: int, access: int) -> tuple[Held, Place]:
    """Creates the entry of a file map: NameInUseError if somebody holds the name."""
    import json

    text = json.dumps({"path": path, "device": device, "inode": inode, "capacity": capacity, "access": access}).encode()

    def prepare(fd: int) -> None:
        os.write(fd, text)
        # Others may read where a global map's file lies; to open that file they need rights of their own.
        os.fchmod(fd, ENTRY | (0o644 if name.scope is Scope.GLOBAL else 0o600))

    return acquire(name, MAP, CREATE, prepare=prepare)


def read_entry(held: Held, name: Name) -> dict[str, Any]:
    """What an entry says: path, device, inode, capacity, access."""
    import json

    try:
        entry = json.loads(os.pread(held.fd, 1 << 20, 0))
        if not (
            isinstance(entry["path"], str)
            and all(isinstance(entry[k], int) for k in ("device", "inode", "capacity", "access"))
        ):
            raise ValueError("a field has the wrong type")
    except (ValueError, KeyError, TypeError) as error:
        raise DamagedObjectError(
            errno.EBADMSG, f"the entry of the file map {name.given!r} cannot be read ({error})", name.given
        ) from error
    return dict(entry)

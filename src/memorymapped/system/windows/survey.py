# SPDX-License-Identifier: MIT
"""What exists by name: asked of the kernel's own folders of names, and of each object without taking it. Nobody tells
who holds one, how old it is, or how much memory it uses. For a moment a handle is open, and the name lives by that."""

from __future__ import annotations

import contextlib
import functools
import re
import struct

from ..._native.looks import ask, file_of_section, names_in, read_section
from ..._native.robust import LOCK_SIZE, tells_of_death
from ..._native.win32 import (
    FILE_MAP_READ,
    PAGE_READONLY,
    close_handle,
    create_section,
    identity,
    is_of_file,
    name_of,
    open_section,
    section_size,
)
from ..._typing import TYPE_CHECKING
from ..findings import Found, Mapped, PageFlags
from ..names import Scope
from .names import scope_of
from .processes import command_of

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BARE",
    "NEVER_STALE",
    "PAGES_TOLD",
    "is_of_session",
    "mapped_by",
    "page_flags",
    "remove",
    "scope_of",
    "survey",
    "why_left",
]

BARE = Scope.LOCAL.value
"""The scope of a bare name."""
NEVER_STALE = "nothing is ever left by name here: an object ends with the last one who holds it"
"""Why there is nothing to remove; None where there may be."""
PAGES_TOLD = False
"""Whether a look tells which pages of a map are in memory: here only those that the process itself has used."""

_LOOKS = 5  # at a folder, while that changes
_OURS = "memorymapped-"
_HELPER = re.compile(
    _OURS + r"(?:(?:unnamed|mutex|event|semaphore|turn|end)-.*|[0-9a-f]+-[0-9a-f]+-[0-9a-f]+)", re.DOTALL
)
"""Names of what nobody knows but we: memory without a name, records, channels (sleeping.c)."""
_FAIR = _OURS + "fair-"
_KINDS = {"Section": "map", "Mutant": "mutex", "Event": "event", "Semaphore": "semaphore"}
_GLOBAL = "\\BaseNamedObjects"
_PROCESS = struct.Struct("=40xI")  # of the record of a mutex, see robust.h
_WAITERS = struct.Struct("=I")  # of that of an event or a semaphore
_NOBODY = 0xFFFFFFFF
_FAIR_HEAD = struct.Struct("=QIIII")  # fair.h: magic, nodes, size of a mutex, tail, ticket
_FAIR_MAGIC = 0x3152494146464D4D
_FAIR_NODE = struct.Struct("=I36xIIII")  # locking.h: word; state, before, ticket, process
_NODE = 64
_WAITING, _OWNED, _RELEASED = 1, 2, 4


def is_of_session(found: Found) -> bool:
    """Whether an object of a `Local\\` name is this session's: no others are found."""
    return True


@functools.cache
def _folders() -> dict[str, str]:
    """The folders of names, by their scopes."""
    handle = create_section(None, -1, PAGE_READONLY, 1, False)[0]
    try:
        own = name_of(handle).rpartition("\\")[0]
    finally:
        close_handle(handle)
    return {own: BARE, _GLOBAL: Scope.GLOBAL.value}  # in a service's session both are one


def survey(*, others: bool = False, holders: bool = True) -> list[Found]:
    """Every named map, mutex, event and semaphore of this session and of all sessions, whoever made it, in the order of
    their names. `others`: also what this user may not look into."""
    found = []
    for folder, scope in _folders().items():
        try:
            names = _names(folder)
        except PermissionError:
            continue
        for name, kind in names:
            if kind in _KINDS and not _HELPER.fullmatch(name):
                found += [each for each in _look(folder, scope, name, kind) if others or each.state != "unknown"]
    return sorted(found, key=lambda each: (each.name or each.path, each.kind, each.path))


def _names(folder: str) -> set[tuple[str, str]]:
    """The names in a folder, with their kinds. They are told one by one, and those that others make and end meanwhile
    move the rest: some come twice, some not at all. So it is looked until nothing new comes, a few times."""
    found: set[tuple[str, str]] = set()
    for _ in range(_LOOKS):
        new = set(names_in(folder))
        if new <= found:
            break
        found |= new
    return found


def _look(folder: str, scope: str, name: str, kind: str) -> Iterator[Found]:
    known = f"{scope}\\{name}"
    is_fair = kind == "Section" and name.startswith(_FAIR)
    found = Found(
        name=f"{scope}\\{name.removeprefix(_FAIR)}" if is_fair else known,
        kind="fair mutex" if is_fair else _KINDS[kind],
        path=f"{folder}\\{name}",
        target=None,
        device=0,
        inode=0,
        owner=None,
        mode=None,
        size=0,
        memory=None,
        born=None,
        state="held",
        details={},
        holders=None,
    )
    try:
        if is_fair:
            found.state, found.details = _fair(known)
        elif kind == "Section":
            _section(found, known)
        elif kind == "Mutant":
            found.state, found.details = _mutex(scope, name)
        elif kind == "Event":
            manual, is_set = ask(kind, known)
            found.details = {"set": is_set, "manual_reset": manual, "waiters": _waiters("event", scope, name)}
        else:
            count, maximum = ask(kind, known)
            found.details = {"count": count, "maximum": maximum, "waiters": _waiters("semaphore", scope, name)}
    except FileNotFoundError:
        return  # it ended meanwhile
    except OSError:
        found.state = "unknown"
    yield found


def _section(found: Found, known: str) -> None:
    handle = open_section(known, FILE_MAP_READ, False)
    try:
        found.size = section_size(handle, FILE_MAP_READ)
        found.device, found.inode = identity(handle)
        if is_of_file(handle):
            found.kind, found.target = "file map", file_of_section(known)
    finally:
        close_handle(handle)


def _record(kind: str, scope: str, name: str) -> bytes:
    """What our processes note beside an object (kernel_objects.pyx); nothing, if there is no such record."""
    record = bytearray(LOCK_SIZE)
    for each in dict.fromkeys((scope, BARE)):
        with contextlib.suppress(OSError):
            read_section(f"{each}\\{_OURS}{kind}-{name}", 0, record)
            return bytes(record)
    return b""


def _waiters(kind: str, scope: str, name: str) -> int:
    """How many of our threads wait."""
    record = _record(kind, scope, name)
    return int(_WAITERS.unpack_from(record)[0]) if record else 0


def _mutex(scope: str, name: str) -> tuple[str, dict[str, object]]:
    is_owned, was_abandoned, owner = ask("Mutant", f"{scope}\\{name}")
    record = _record("mutex", scope, name)
    if not is_owned:
        return "abandoned" if was_abandoned or tells_of_death(record) else "free", {}
    if not owner and record:
        (owner,) = _PROCESS.unpack_from(record)
    return "held", {"owner": owner} if owner not in (0, _NOBODY) else {}


def _fair(known: str) -> tuple[str, dict[str, object]]:
    head = bytearray(_FAIR_HEAD.size)
    read_section(known, 0, head)
    magic, nodes, _, number, _ = _FAIR_HEAD.unpack(head)
    if magic != _FAIR_MAGIC:
        return "held", {"damaged": "it is no fair mutex"}
    waiters = 0
    node = bytearray(_NODE)
    for _ in range(nodes):
        if not 0 < number <= nodes:
            break
        read_section(known, (number + 1) * _NODE, node)
        word, state, before, _, process = _FAIR_NODE.unpack_from(node)
        if state == _OWNED:
            alive = command_of(process) is not None
            return ("held", {"owner": process, "waiters": waiters}) if alive else ("abandoned", {"waiters": waiters})
        if state == _RELEASED:
            break
        waiters += state == _WAITING and word != 0
        number = before
    return "free", {"waiters": waiters}


def remove(found: Found, *, abandoned: bool = False) -> str | None:
    """Why it was left: nothing can be removed but by its holders."""
    return why_left(found, abandoned=abandoned)


def why_left(found: Found, *, abandoned: bool = False) -> str | None:
    """Why `remove` would leave it."""
    if found.state == "unknown":
        return "this user may not look into it"
    return f"it is {found.state}"


def mapped_by(device: int, inode: int) -> list[Mapped]:
    """Who has a file mapped: nobody tells."""
    return []


def page_flags(processes: list[Mapped], pages: list[range]) -> PageFlags:
    """What is known of these pages of a file: nothing."""
    return PageFlags()

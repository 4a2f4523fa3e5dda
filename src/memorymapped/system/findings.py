# SPDX-License-Identifier: MIT
"""What a look at named objects finds, on any system."""

from __future__ import annotations

import os

from ..record import Record

__all__ = ["Found", "Holder", "Mapped", "PageFlags"]


class Holder:
    """A process that holds an object."""

    __slots__ = ("command", "pid")

    def __init__(self, pid: int, command: str) -> None:
        self.pid = pid
        self.command = command

    def __repr__(self) -> str:
        return f"Holder(pid={self.pid}, command={self.command!r})"


class Found(Record):
    """An object, as it was found."""

    __slots__ = {  # noqa: RUF023
        "name": "As a user would write it, with its scope: `User\\X`; None: it has none, or only a hash is left of it.",
        "kind": "`map`, `file map` (a file's name), `mutex`, `fair mutex`, `event`, `semaphore`, `foreign`.",
        "path": "The file; on Windows the name that the kernel has for it.",
        "target": "Of a file map: the path of the file it stands for.",
        "device": "Of the file.",
        "inode": "Of the file.",
        "owner": "The user that the file belongs to, by number; None, as others: nobody tells.",
        "mode": "Its permissions.",
        "size": "In bytes: the capacity of a map.",
        "memory": "Bytes of memory that are really used.",
        "born": "When it was made, in seconds as time.time() has them; None: nobody knows.",
        "state": "`held`, `free` (a mutex that is open and that nobody owns), `abandoned`, `stale` (nobody has it "
        "open), `unfinished` (somebody makes or removes it), `unknown` (another program's, and processes that this "
        "user may not look into could have it).",
        "details": "What the object's bytes say: owner and waiters of a mutex, whether an event is set, a count.",
        "holders": "The processes that have it open, as far as this user may look into them; None: nobody tells.",
    }
    name: str | None
    kind: str
    path: str
    target: str | None
    device: int
    inode: int
    owner: int | None
    mode: int | None
    size: int
    memory: int | None
    born: float | None
    state: str
    details: dict[str, object]
    holders: list[Holder] | None

    def __init__(self, **fields: object) -> None:
        for name in Found.__slots__:
            setattr(self, name, fields[name])

    def add(self, holder: Holder) -> None:
        """One more that has it open."""
        self.holders = [*(self.holders or ()), holder]

    def is_there(self) -> bool:
        """Whether its path still leads to it."""
        try:
            now = os.stat(self.path, follow_symlinks=False)
        except FileNotFoundError:
            return False
        return (now.st_dev, now.st_ino) == (self.device, self.inode)


class Mapped(Record):
    """What one process has of a file in its memory, in bytes."""

    __slots__ = {  # noqa: RUF023
        "pid": "The process.",
        "command": "Its command line.",
        "ranges": "(address, offset in the file, length) of each mapping.",
        "writable": "Whether it may write.",
        "size": "Mapped.",
        "resident": "In its page tables.",
        "shared": "Of these, what another process has mapped, too.",
        "dirty": "Written since it was last on the disk.",
        "swapped": "Swapped out.",
        "huge": "Mapped by huge pages.",
        "locked": "Kept in memory by mlock(2).",
    }
    ranges: list[tuple[int, int, int]]

    def __init__(self, pid: int, command: str) -> None:
        self.pid = pid
        self.command = command
        self.ranges = []
        self.writable = False
        self.size = self.resident = self.shared = self.dirty = self.swapped = self.huge = self.locked = 0


class PageFlags:
    """Of some pages, by their numbers: which are mapped by somebody, by several, swapped out, dirty, huge. `frames`:
    whether the last two could be asked."""

    def __init__(self) -> None:
        self.mapped: set[int] = set()
        self.shared: set[int] = set()
        self.swapped: set[int] = set()
        self.dirty: set[int] = set()
        self.huge: set[int] = set()
        self.frames = False

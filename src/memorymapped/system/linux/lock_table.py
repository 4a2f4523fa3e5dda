# SPDX-License-Identifier: MIT
"""What the kernel's table of file locks says (proc_locks(5)): the only witness for files that we may not open.

One read(2) gives at most a page of it, about sixty locks. The next read goes on with the number of the lock that it
has come to: when locks before it have gone meanwhile, it leaves out as many that are there (on a busy machine with 180
locks, one look in twenty). So each window begins in the middle of the one before, by pread(2), which the kernel counts
from the beginning in one step, under its lock:

- Locks that stay keep their order. One that is behind a window is missed by the next only if more locks than half a
  window have gone in front of it between the two; then the next has nothing of what the two should share.
- So half of what they should share is found in both, or all is read again. (Half, as others come and go; not one, as
  several locks can look the same.)
- When a window has nothing new, the next begins within its last line: a lock with many waiters may have had no room,
  and the kernel takes a larger page for one that comes first. When nothing comes behind that line, it is the end.
"""

from __future__ import annotations

import os

from ..._typing import TYPE_CHECKING
from ...record import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator


__all__ = ["HOLD", "LockRow", "is_locked", "lock_table", "locks_through", "table_key"]

HOLD = 1 << 62  # the byte that a holder of a map has locked: protocol A
_TABLE = "/proc/locks"
_TURNS = 50  # each fails only if dozens of locks go within some microseconds


class LockRow(Record):
    """A lock on a file."""

    __slots__ = {  # noqa: RUF023
        "kind": "FLOCK, OFDLCK, POSIX, ...",
        "process": "Who has it. 0: one that cannot be seen from here; -1: no process's own.",
        "file": "As `table_key` writes it.",
        "start": "The first byte.",
    }
    kind: str
    process: int
    file: str
    start: str

    def __init__(self, line: bytes) -> None:
        self.kind, _, _, process, self.file, self.start, *_ = line.decode().split()
        self.process = int(process)

    @property
    def is_hold(self) -> bool:
        """That of a holder: protocol A."""
        return self.kind == "OFDLCK" and self.start == str(HOLD)


def table_key(device: int, inode: int) -> str:
    """A file as the table writes it."""
    return f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"


def locks_through(info: str) -> list[LockRow]:
    """Those that a descriptor has, of its file in /proc/PID/fdinfo."""
    with open(info, "rb") as lines:
        return [LockRow(_text(line)) for line in lines if line.startswith(b"lock:")]


def lock_table() -> list[LockRow] | None:
    """All locks that are there. None: it cannot be known, for lack of /proc, or because too many come and go."""
    return _read()


def is_locked(device: int, inode: int) -> bool | None:
    """Whether anybody has HOLD on this file. None: it cannot be known."""
    key = table_key(device, inode)

    def is_hold(row: LockRow) -> bool:
        return row.is_hold and row.file == key

    table = _read(is_hold)
    return None if table is None else any(map(is_hold, table))


def _read(enough: Callable[[LockRow], bool] | None = None) -> list[LockRow] | None:
    """All rows, or those up to one that is `enough`."""
    try:
        fd = os.open(_TABLE, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        for _ in range(_TURNS):
            found: dict[bytes, None] = {}
            try:
                for lines in _windows(fd):
                    texts = dict.fromkeys(map(_text, lines))
                    found |= texts
                    if enough is not None and any(enough(row) for row in _rows(texts)):
                        break
            except _Gap:
                continue
            return list(_rows(found))
    except OSError:
        return None
    finally:
        os.close(fd)
    return None


class _Gap(Exception):
    """Too many locks went between two windows."""


def _windows(fd: int) -> Iterator[list[bytes]]:
    """The lines of the table, many of them twice."""
    offset = 0
    window = _lines(fd, 0)
    while window:
        yield window
        end = offset + sum(map(len, window))
        shared = window[len(window) // 2 :]
        start = end - sum(map(len, shared))
        following = _lines(fd, start)
        others = list(map(_text, following))
        for line in shared:
            if _text(line) in others:
                others.remove(_text(line))
        if 2 * (len(following) - len(others)) < len(shared):
            raise _Gap
        if start + sum(map(len, following)) <= end:
            start = end - len(window[-1])
            following = _lines(fd, start + 1)  # within the line: without its first byte
            if not following or _text(following[0]) != _text(window[-1]):
                raise _Gap
            following[0] = window[-1]
            if len(following) == 1:
                return
        offset, window = start, following


def _lines(fd: int, offset: int) -> list[bytes]:
    """A window from `offset` on. A line that was cut at its beginning, as lines have moved, has no use."""
    return [line for line in os.pread(fd, 1 << 20, offset).splitlines(keepends=True) if _text(line)]


def _text(line: bytes) -> bytes:
    """All but its number, which is only its place."""
    return line.partition(b": ")[2]


def _rows(texts: Iterable[bytes]) -> Iterator[LockRow]:
    return (LockRow(text) for text in texts if not text.lstrip().startswith(b"->"))  # which waits for the lock above it

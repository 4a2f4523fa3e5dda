# SPDX-License-Identifier: MIT
"""What the bytes of a mutex, an event or a semaphore say, for who only looks: read once, and checked.

The formats are those of `_native/robust.h`, `_native/fair.h`, `_native/futex.pyx` and `signals.py`. The owner of a lock
is a thread's number, which the kernel keeps right: it is 0 as soon as that thread is dead."""

from __future__ import annotations

import os
import struct

from ..._native.robust import LOCK_SIZE

__all__ = ["State", "read_state"]

_HEADER = 8  # before the mutex in .NET's file
_LOCK = struct.Struct("=II8xI")
_GLIBC, _MUSL = 0x91, 0x85  # the kinds of their mutexes
_OWNER, _DIED, _WAITERS = 0x3FFFFFFF, 0x40000000, 0x80000000  # of a robust lock's word, see futex(2)
_MUTEX = LOCK_SIZE - 24  # sizeof(pthread_mutex_t): 40 on x86-64, 48 on aarch64
_RECORD = struct.Struct("=8s4sIII8xII")  # of an event or a semaphore, as signals.py writes it
_FAIR = struct.Struct("=QIIII")  # magic, nodes, size of a mutex, tail, ticket
_FAIR_MAGIC = 0x3152494146464D4D  # "MMFFAIR1"
_NODE = 64
_NODE_STATE = struct.Struct("=III")  # state, before, ticket
_WAITING, _OWNED, _RELEASED = 1, 2, 4


class State:
    """What an object that somebody has open is doing: its `name` (`held`, `free`, `abandoned`) and `details`."""

    __slots__ = ("details", "name")

    def __init__(self, name: str = "held", **details: object) -> None:
        self.name = name
        self.details = details


def read_state(fd: int, kind: str) -> State:
    """Of an open file of that kind; `held` without details if it is none, or damaged."""
    try:
        data = os.pread(fd, 1 << 16, 0) if kind in _READERS else b""
        return _READERS[kind](data) if data else State()
    except (struct.error, IndexError):
        return State(damaged="it is too short")


def _mutex(data: bytes) -> State:
    word = _word(data, _HEADER)
    record = data[_HEADER + _MUTEX :]
    if data[:2] != b"\0\1":
        return State(damaged="it is no mutex of .NET's format")
    if word & _OWNER:
        return State("held", **_thread(word), contended=bool(word & _WAITERS))
    flagged = record[8] == 1 or (record[8] == 0xFF and record[16] == 1)
    return State("abandoned" if word & _DIED or flagged else "free", contended=bool(word & _WAITERS))


def _word(data: bytes, at: int) -> int:
    """The word of a lock, whichever C library has made it: musl's is behind its kind (`_native/linux/locking.h`)."""
    first, second, kind = _LOCK.unpack_from(data, at)
    return int(second if first == _MUSL and kind != _GLIBC else first)


def _thread(word: int) -> dict[str, object]:
    """The owner, of a lock's word: its thread, and its process if that can be seen from here."""
    thread = word & _OWNER
    try:
        with open(f"/proc/{thread}/status") as status:
            process = next(int(line.split()[1]) for line in status if line.startswith("Tgid:"))
    except (OSError, StopIteration):
        return {"owner_thread": thread}
    return {"owner": process, "owner_thread": thread}


def _fair(data: bytes) -> State:
    magic, nodes, size, tail, _ = _FAIR.unpack_from(data)
    if magic != _FAIR_MAGIC or size != _MUTEX or (nodes + 2) * _NODE > len(data):
        return State(damaged="it is no fair mutex")
    waiters, number = 0, tail
    for _ in range(nodes):
        if not 0 < number <= nodes:
            break
        at = (number + 1) * _NODE
        state, before, _ = _NODE_STATE.unpack_from(data, at + _MUTEX)
        word = _word(data, at)
        alive = bool(word & _OWNER)
        if state == _OWNED:
            return State("held" if alive else "abandoned", **(_thread(word) if alive else {}), waiters=waiters)
        if state == _RELEASED:
            break
        waiters += state == _WAITING and alive
        number = before
    return State("free", waiters=waiters)


def _signal(data: bytes) -> State:
    magic, tag, version, parameter, _, value, waiters = _RECORD.unpack_from(data)
    if magic != b"\x89MMFSYN\n" or version != 1:
        return State(damaged="it is no event or semaphore of a version that is known here")
    if tag == b"SEMA":
        return State(count=value, maximum=parameter, waiters=waiters)
    return State(set=bool(value & 1), manual_reset=bool(parameter), waiters=waiters)


_READERS = {"mutex": _mutex, "fair mutex": _fair, "event": _signal, "semaphore": _signal}

# SPDX-License-Identifier: MIT
"""What a type checker must accept, or refuse (test_typing.py)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta

from memorymapped import (
    AutoResetEvent,
    FairMutex,
    ManualResetEvent,
    MappedEvent,
    MappedLock,
    MappedReaderWriterLock,
    MappedSemaphore,
    MemoryMappedViewAccessor,
    Mutex,
    Semaphore,
    WaitHandle,
    signal_and_wait,
    wait_all,
    wait_any,
)


def waits(event: AutoResetEvent, mutex: Mutex, semaphore: Semaphore, view: MemoryMappedViewAccessor) -> None:
    mixed = [event, mutex]
    first: int | None = wait_any(mixed)
    every: bool = wait_all(mixed, 1.5)
    named: list[WaitHandle] = [event, mutex, semaphore, FairMutex(), ManualResetEvent()]
    first = wait_any(named, timeout=timedelta(seconds=1))
    lock = MappedReaderWriterLock(view, 0)
    placed = (MappedEvent(view, 0), MappedSemaphore(view, 64, 0, 1), MappedLock(view, 128), lock.reader, lock.writer)
    every = wait_all(placed, None)
    every = wait_all({Mutex(), Mutex()}) and wait_all(handle for handle in named)
    every = signal_and_wait(event, mutex, 3)
    wait_any(["name"])  # type: ignore[list-item]
    wait_all(event)  # type: ignore[arg-type]
    signal_and_wait(event, lock)  # type: ignore[arg-type]
    assert first is not None
    assert every


def one(handle: WaitHandle) -> bool:
    return not handle.closed and handle.wait_one() and handle.wait_one(timeout=0)


async def each(handles: Sequence[WaitHandle]) -> bool:
    return all([await handle.wait_one_async(1) for handle in handles])

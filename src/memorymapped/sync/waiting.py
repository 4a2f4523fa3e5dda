# SPDX-License-Identifier: MIT
"""Waits for several mutexes, events and semaphores at once: .NET's WaitAny, WaitAll, SignalAndWait.

Events and semaphores are slept on, all in one call of the system (futex_waitv, Linux 5.16). Mutexes cannot be: a .NET
process that waits for the same mutex would never be woken (two lost wake-ups are possible that way). So they are asked,
after 1 ms and then in growing pauses up to 10 ms. Where the kernel, or a sandbox, has no futex_waitv, waits for several
events and semaphores are done in that way too.

What they need of an object:

- `_try_wait() -> bool` takes it if it can be had now. AbandonedMutexError: it was taken, and is owned.
- `_give_back(abandoned=False)` undoes that; a mutex that was found abandoned is given back as such.
- `_order()` is the same for all objects of one thing, and puts those of one kind in the same order in all processes.
- It is a compiled `Waitable` whose word can be slept on, or it is asked.
"""

from __future__ import annotations

import itertools

from .._native import several
from .._native.futex import MOST_HANDLES, Waitable
from .._typing import TYPE_CHECKING, Protocol
from ..timeouts import seconds

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..timeouts import Timeout

__all__ = ["signal_and_wait", "wait_all", "wait_any"]


class _Handle(Protocol):
    @property
    def closed(self) -> bool: ...
    def wait_one(self, timeout: Timeout = None) -> bool: ...
    def _try_wait(self) -> bool: ...
    def _give_back(self, abandoned: bool = False) -> None: ...
    def _order(self) -> tuple[object, ...]: ...


def wait_any(handles: Iterable[_Handle], timeout: Timeout = None) -> int | None:
    """Waits until one of the handles can be had, takes only that one, and returns its index: of several the lowest.
    None after `timeout` (seconds or a timedelta; None: for ever; 0: a look); .NET returns 258, WaitHandle.WaitTimeout.

    AbandonedMutexError if what was taken is a mutex that its previous owner abandoned: `mutex_index` and `mutex` tell
    which. The same handle may be there twice. TypeError for None or what is no handle; ValueError for none at all or
    more than 128; OutOfRangeError for a negative time-out; ClosedError."""
    checked = _checked(handles)
    limit = seconds(timeout)
    _check_each(checked)
    return several.wait_any(checked, limit)


def wait_all(handles: Iterable[_Handle], timeout: Timeout = None) -> bool:
    """Waits until all of the handles can be had, and takes them all: True. False after `timeout` (as in wait_any), and
    none of them is taken then.

    All or nothing is the result; while it waits it may have some of them for a moment, give them back and try again,
    and others can see that (an event that was reset meanwhile may come back as set). Mutexes are taken first, in an
    order that is the same in all processes, so two calls never block each other.

    AbandonedMutexError if a mutex among them was abandoned by its previous owner: all are taken (`mutex_index` is -1).
    The same object must not be there twice (ValueError); otherwise it raises as wait_any does."""
    checked = _checked(handles)
    limit = seconds(timeout)
    _check_each(checked)
    ordered = sorted(((isinstance(handle, Waitable), *handle._order()), i) for i, handle in enumerate(checked))
    for (one, i), (other, j) in itertools.pairwise(ordered):
        if one == other:
            raise ValueError(f"handles {min(i, j)} and {max(i, j)} are the same object, {checked[i]!r}")
    return several.wait_all([checked[i] for _, i in ordered], limit)


def signal_and_wait(to_signal: _Handle, to_wait_on: _Handle, timeout: Timeout = None) -> bool:
    """Signals the first (sets the event, releases the semaphore or the mutex), then waits for the second: True, or
    False after `timeout`. Two steps, as in .NET on Unix: another may come in between.

    Raises, and signals nothing, TypeError, OutOfRangeError (time-out), ClosedError, and what the signal itself raises:
    SemaphoreFullError, or RuntimeError for a mutex that is not owned. AbandonedMutexError as wait_one does."""
    limit = seconds(timeout)
    _check_each([to_signal, to_wait_on])
    for handle in (to_signal, to_wait_on):
        if handle.closed:
            handle._try_wait()  # raises
    if isinstance(to_signal, Waitable):
        to_signal._signal()
    else:
        to_signal.release_mutex()  # type: ignore[attr-defined]
    return to_wait_on.wait_one(limit)


def _checked(handles: Iterable[_Handle]) -> list[_Handle]:
    if handles is None or isinstance(handles, (str, bytes)) or not hasattr(handles, "__iter__"):
        raise TypeError(f"handles are a list of mutexes, events and semaphores, not {type(handles).__name__}")
    checked = list(handles)
    if not checked:
        raise ValueError("there is nothing to wait for: handles is empty")
    if len(checked) > MOST_HANDLES:
        raise ValueError(f"{len(checked)} handles are more than the {MOST_HANDLES} that one call can wait for")
    return checked


def _check_each(handles: list[_Handle]) -> None:
    for i, handle in enumerate(handles):
        if not hasattr(handle, "_try_wait"):
            raise TypeError(f"handle {i} is no mutex, event or semaphore, but of type {type(handle).__name__}")

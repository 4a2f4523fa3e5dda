# SPDX-License-Identifier: MIT
"""WaitHandle, the base of all that can be waited for; and the asynchronous waits of events and semaphores.

asyncio itself is loaded by the first that is awaited."""

from __future__ import annotations

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Self

    from .._native.futex import Waitable
    from ..timeouts import Timeout

__all__ = ["AsyncAcquire", "AsyncWait", "WaitHandle", "was_closed"]

told: list[Callable[[object], object]] = []
"""What is told of each handle, and each typed object in a map, that was closed: those who wait for asyncio's tasks,
when there are such."""


def was_closed(what: object) -> None:
    """Called by each `close`: ends the asynchronous waits by this."""
    for tell in told:
        tell(what)


class WaitHandle:
    """What can be waited for: the base of mutexes, events and semaphores, with a name, without, or inside a map. For
    `isinstance`, and for annotations: `list[WaitHandle]` is what `wait_any` and `wait_all` take.

    All have `wait_one(timeout)`, `wait_one_async(timeout)`, `closed`, `close()` and `dispose()`."""

    __slots__ = ()

    if TYPE_CHECKING:  # each kind has its own; only those that are compiled are fast

        @property
        def closed(self) -> bool: ...
        def wait_one(self, timeout: Timeout = None) -> bool: ...
        async def wait_one_async(self, timeout: Timeout = None) -> bool: ...
        def close(self) -> None: ...
        def dispose(self) -> None: ...


class AsyncWait(WaitHandle):
    """Mixin of what is compiled as a `Waitable`."""

    __slots__ = ()

    async def wait_one_async(self, timeout: Timeout = None) -> bool:
        """As `wait_one`, for a task of asyncio: other tasks go on. Tasks of one loop are served in the order in which
        they came; one that only looks (0) looks after those. A wait that is cancelled takes nothing. ClosedError if
        this handle is closed meanwhile."""
        from .aio import wait_one

        this: Waitable = self  # type: ignore[assignment]
        return await wait_one(this, timeout)


class AsyncAcquire(AsyncWait):
    """Mixin of semaphores: `async with`."""

    __slots__ = ()

    async def __aenter__(self) -> Self:
        await self.wait_one_async()
        return self

    async def __aexit__(self, *exception: object) -> None:
        self.release()  # type: ignore[attr-defined]

# SPDX-License-Identifier: MIT
"""The asynchronous waits of events and semaphores. asyncio itself is loaded by the first that is awaited."""

from __future__ import annotations

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Self

    from .._native.futex import Waitable
    from ..timeouts import Timeout

__all__ = ["AsyncAcquire", "AsyncWait"]


class AsyncWait:
    """Mixin of what is compiled as a `Waitable`."""

    __slots__ = ()

    async def wait_one_async(self, timeout: Timeout = None) -> bool:
        """As `wait_one`, for a task of asyncio: other tasks go on. Tasks of one loop are served in the order in which
        they came. A wait that is cancelled takes nothing."""
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

# SPDX-License-Identifier: MIT
"""Tasks of asyncio in tests, and other threads beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

LIMIT = 20.0  # seconds for anything here


def run(main: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine, with a limit."""

    async def limited() -> Any:
        async with asyncio.timeout(LIMIT):
            return await main

    return asyncio.run(limited())


def in_thread(function: Callable[[], Any]) -> Any:
    """What a function gives in another thread, or raises."""
    with ThreadPoolExecutor(1) as executor:
        return executor.submit(function).result(LIMIT)


async def waits(handle: Any, timeout: float | None = None) -> bool:
    """For a task of its own."""
    return bool(await handle.wait_one_async(timeout))


async def turns(count: int = 3) -> None:
    """Lets all other tasks run."""
    for _ in range(count):
        await asyncio.sleep(0)

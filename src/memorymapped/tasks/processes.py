# SPDX-License-Identifier: MIT
"""How both sides end a process that they have started."""

from __future__ import annotations

import asyncio

from ..system.children import Child

__all__ = ["PATIENCE", "end"]

PATIENCE = 2.0  # seconds for a process to end by itself when it was asked to


async def end(child: Child) -> None:
    """Asks a process to end, waits for that, and ends what is left of it and of what it has started. Cancelled, it does
    not wait, and does the rest."""
    try:
        child.ask_to_end()
        async with asyncio.timeout(PATIENCE):
            await child.until_ended()
    except TimeoutError:
        pass
    finally:
        child.reap()

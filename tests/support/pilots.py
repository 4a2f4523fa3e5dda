# SPDX-License-Identifier: MIT
"""Screens without a terminal, and who uses them as a person does.

Textual's pilot waits until its process needs no time. On a busy machine it gets none and seems to rest while there is
much to do: so here it waits until each widget has worked through what it had been sent, several times, as widgets send
each other what they have got."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from programs import LIMIT
from textual.pilot import Pilot
from textual.screen import Screen

from memorymapped.cli.screens.app import ToolApp

__all__ = ["Scenario", "piloted", "seen"]

Scenario = Callable[[Pilot[None]], Awaitable[None]]
ROUNDS = 3


def piloted(screen: Screen[None], scenario: Scenario, size: tuple[int, int] = (100, 30)) -> ToolApp:
    """Shows a screen, and does what a person does."""

    async def main() -> ToolApp:
        app = ToolApp(screen)
        with app.ended_by_signals():
            async with asyncio.timeout(LIMIT), app.run_test(size=size) as pilot:
                once = pilot.pause

                async def settled(delay: float | None = None) -> None:
                    for _ in range(ROUNDS):
                        await once(delay or 0)

                pilot.pause = settled  # type: ignore[method-assign]
                await pilot.pause()
                await scenario(pilot)
        return app

    return asyncio.run(main())


async def seen(pilot: Pilot[None], condition: Callable[[], object], what: str) -> None:
    """Waits for something on the screen."""
    end = asyncio.get_running_loop().time() + LIMIT / 2
    while not condition():
        assert asyncio.get_running_loop().time() < end, f"waited in vain for {what}"
        await asyncio.sleep(0.005)
    await pilot.pause()

# SPDX-License-Identifier: MIT
"""Runs a command line for a task: its output is kept up to a limit, and when it is cancelled or takes too long its
whole process group ends. It ends with this process, too, however that ends."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Sequence

from ..system.children import Output, start_group
from .processes import end

__all__ = ["LONGEST_OUTPUT", "Tail", "run_command"]

LONGEST_OUTPUT = 65_536  # bytes
_MIDST = bytes(range(0x80, 0xC0))  # bytes of UTF-8 within a character


class Tail:
    """The last bytes of what is much, perhaps; `truncated`: there was more."""

    def __init__(self, most: int = LONGEST_OUTPUT) -> None:
        self._most = most
        self._bytes = bytearray()
        self.truncated = False

    def add(self, piece: bytes) -> None:
        """More of it."""
        self._bytes += piece
        if len(self._bytes) > self._most:
            self.truncated = True
            del self._bytes[: -self._most]

    @property
    def text(self) -> str:
        """As text; what is no UTF-8 is replaced by U+FFFD."""
        data = bytes(self._bytes)
        if self.truncated:  # the rest of a character that was cut
            data = data[:3].lstrip(_MIDST) + data[3:]
        return data.decode(errors="replace")


async def run_command(
    arguments: Sequence[str],
    output: Tail,
    *,
    directory: str | None = None,
    timeout: float | None = None,
    told: Callable[[], object] = lambda: None,
) -> int | None:
    """Runs a command; its exit code, -N if signal N has ended it, None if it was ended because it took more than
    `timeout` seconds. Its output and errors go to `output`, and `told` is called whenever there is more. Nothing of its
    group is left afterwards. OSError if it cannot be started."""
    pipe = Output()
    try:
        child = start_group(
            arguments, stdin=subprocess.DEVNULL, stdout=pipe.descriptor, stderr=subprocess.STDOUT, cwd=directory
        )

        def take(piece: bytes) -> None:
            output.add(piece)
            told()

        with child:
            async with pipe.heard(take):
                try:
                    async with asyncio.timeout(timeout):
                        await child.until_ended()
                except TimeoutError:
                    await end(child)
                    return None
                except asyncio.CancelledError:
                    await end(child)
                    raise
                finally:
                    child.reap()
            return child.code
    finally:
        pipe.close()

# SPDX-License-Identifier: MIT
"""Runs a command line for a task: its output is kept up to a limit, and when it is cancelled or takes too long its
whole process group ends. It ends with this process, too, however that ends."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Sequence

from ..cli.dying import dying_with_us
from .processes import end_group, reap_group, until_ended

__all__ = ["LONGEST_OUTPUT", "Tail", "run_command"]

LONGEST_OUTPUT = 65_536  # bytes
_PIECE = 65_536
_PIPE = 2 * _PIECE  # more than a pipe holds
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
    process = subprocess.Popen(
        arguments,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        cwd=directory,
        process_group=0,
        preexec_fn=dying_with_us(signal.SIGKILL),
    )
    with contextlib.ExitStack() as stack:
        stack.callback(reap_group, process)
        assert process.stdout is not None
        pipe = stack.enter_context(process.stdout).fileno()
        pidfd = os.pidfd_open(process.pid)
        stack.callback(os.close, pidfd)
        os.set_blocking(pipe, False)
        loop = asyncio.get_running_loop()

        def read() -> None:
            if not _read(pipe, output):
                loop.remove_reader(pipe)
            told()

        loop.add_reader(pipe, read)
        stack.callback(loop.remove_reader, pipe)
        try:
            async with asyncio.timeout(timeout):
                await until_ended(pidfd)
            reap_group(process)
            code: int | None = process.returncode
        except TimeoutError:
            await end_group(process, pidfd)
            code = None
        except asyncio.CancelledError:
            await end_group(process, pidfd)
            raise
        finally:
            reap_group(process)
            for _ in range(_PIPE // _PIECE):  # not to its end: who has left the group may hold it, and write for ever
                _read(pipe, output)
        return code


def _read(pipe: int, output: Tail) -> bool:
    """Whether there was something to read."""
    try:
        piece = os.read(pipe, _PIECE)
    except BlockingIOError:
        return False
    output.add(piece)
    return bool(piece)

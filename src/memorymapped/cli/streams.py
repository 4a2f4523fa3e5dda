# SPDX-License-Identifier: MIT
"""The standard streams, any of which may be closed: `mmf ... >&-`."""

from __future__ import annotations

import sys
from typing import BinaryIO

from ..system.pipes import until_forsaken
from .ending import Failure

__all__ = ["Output", "output_descriptor", "standard_input"]


def standard_input() -> BinaryIO:
    """Failure if it is closed."""
    if sys.stdin is None:
        raise Failure("the standard input is closed")
    return sys.stdin.buffer


def output_descriptor() -> int:
    """Of the standard output. Failure if it is closed."""
    if sys.stdout is None:
        raise Failure("the standard output is closed")
    return sys.stdout.fileno()


class Output:
    """The standard output of a command that goes on until somebody ends it. Failure if it is closed."""

    def __init__(self) -> None:
        self._fd = output_descriptor()

    def flush(self) -> None:
        """Writes what was printed."""
        sys.stdout.flush()

    def wait(self, seconds: float) -> None:
        """Waits so long. BrokenPipeError as soon as nobody takes the output any more, also if nothing is printed."""
        if until_forsaken(self._fd, seconds):
            raise BrokenPipeError

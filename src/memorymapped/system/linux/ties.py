# SPDX-License-Identifier: MIT
"""Children that end when their parent does, however that ends."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

__all__ = ["dying_with_us", "start_tied"]

_PR_SET_PDEATHSIG = 1  # prctl(2)


def start_tied(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A plain child that ends when the thread that starts it does, however that ends; not what it starts itself."""
    return subprocess.Popen(command, preexec_fn=dying_with_us(signal.SIGKILL), **options)


def dying_with_us(signum: int) -> Callable[[], None]:
    """A `preexec_fn`: the child gets this signal when the thread that starts it ends."""
    libc = ctypes.CDLL(None)
    us = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != us:  # that was before
            os._exit(1)

    return prepare

# SPDX-License-Identifier: MIT
"""Children that end when their parent is killed."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable

__all__ = ["dying_with_us"]

_PR_SET_PDEATHSIG = 1  # prctl(2)


def dying_with_us(signum: int) -> Callable[[], None]:
    """A `preexec_fn`: the child gets this signal when the thread that starts it ends, however that ends."""
    libc = ctypes.CDLL(None)
    us = os.getpid()

    def prepare() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signum)
        if os.getppid() != us:  # that was before
            os._exit(1)

    return prepare

# SPDX-License-Identifier: MIT
"""Our console. It is not lent: a process gets a window of its own. Closing a window ends the processes in it."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

__all__ = ["hearing_hang_up", "lent"]


@contextlib.contextmanager
def lent(to: Callable[[], int | None], interrupt: Callable[[], object]) -> Iterator[Callable[[str], None]]:
    """OSError: that cannot be here."""
    raise OSError("a console cannot be lent to another process")
    yield


@contextlib.contextmanager
def hearing_hang_up(hear: Callable[[int], object]) -> Iterator[None]:
    """Inside, `hear` would be called if our terminal were closed, and we went on."""
    yield

# SPDX-License-Identifier: MIT
"""Who prepares memory with a name does that alone: a mutex of the system says so, beside it."""

from __future__ import annotations

import errno
import time

from ..._typing import TYPE_CHECKING
from ..names import parse
from .names import scope_of

if TYPE_CHECKING:
    from ..._native.kernel_objects import Lease

__all__ = ["Turn"]

LIMIT = 10.0  # seconds that others may take to prepare an object


class Turn:
    """One who prepares the memory of a name."""

    def __init__(self, name: str) -> None:
        from .mutexes import open_mutex

        known = parse(name)
        lease, _ = open_mutex(parse(f"{scope_of(known.scope)}\\memorymapped-turn-{known.text}"), create=True)
        assert lease is not None
        self.name = name
        self.lease: Lease | None = lease
        self.is_taken = False

    def take(self) -> None:
        """TimeoutError after 10 s; OSError (EDEADLK) if this thread has the turn already."""
        assert self.lease is not None
        core = self.lease.core
        if core.owned:
            raise OSError(
                errno.EDEADLK,
                "this thread is preparing it already, and goes on when its signal handler or finalizer has returned: "
                "that cannot open it",
                self.name,
            )
        deadline = time.monotonic() + LIMIT
        while not core.try_take():
            if time.monotonic() > deadline:
                raise TimeoutError(
                    errno.ETIMEDOUT, f"another process has been preparing it for {LIMIT:.0f} s", self.name
                )
            time.sleep(0.001)
        self.is_taken = True

    def end(self) -> None:
        """A second call does nothing."""
        lease, self.lease = self.lease, None
        if lease is not None:
            if self.is_taken:
                lease.core.give_back()
            lease.close()

# SPDX-License-Identifier: MIT
"""Named events and semaphores."""

from __future__ import annotations

from ..names import Name

__all__ = ["EITHER", "EVENT", "OPEN", "SEMAPHORE", "NamedSignal", "open_signal"]

EITHER, OPEN = 2, 3
EVENT, SEMAPHORE = "event", "semaphore"


class NamedSignal:
    """A named event or semaphore, open."""

    fd: int
    parameter: int
    created: bool
    name: str
    generation: tuple[int, int, int]
    path: str | None

    def name_alive(self) -> bool:
        raise NotImplementedError

    def close(self) -> None:
        raise NotImplementedError


def open_signal(name: Name, kind: str, how: int, parameter: int = 0, value: int = 0) -> NamedSignal:
    raise NotImplementedError("named events and semaphores are not there yet on Windows")

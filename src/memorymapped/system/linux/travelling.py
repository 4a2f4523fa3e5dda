# SPDX-License-Identifier: MIT
"""How the descriptor of a map gets to another process by multiprocessing."""

from __future__ import annotations

from ..._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from ..._native.lifetime import Duplicate
    from .backing import Backing

__all__ = ["over_pipe", "to_child"]


def to_child(backing: Backing, reduction: Any, process: Any) -> tuple[Any, Duplicate]:
    """What a child that is being spawned gets, whose `detach()` gives the descriptor over there; and what is to be kept
    open until it has been started."""
    duplicate = backing.duplicate()
    return reduction.DupFd(duplicate.fd), duplicate


def over_pipe(backing: Backing, reduction: Any) -> Any:
    """The same for multiprocessing's queues and pipes."""
    return reduction.DupFd(backing.fd)

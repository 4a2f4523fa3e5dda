# SPDX-License-Identifier: MIT
"""How the handle of a map gets to another process by multiprocessing."""

from __future__ import annotations

from ..._native.win32 import rights_of
from ..._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any

    from .backing import Backing

__all__ = ["over_pipe", "to_child"]


class Arrived:
    """A handle that is there already, in the child."""

    def __init__(self, handle: int) -> None:
        self.handle = handle

    def detach(self) -> int:
        """The handle, which is the caller's from now on."""
        return self.handle


def to_child(backing: Backing, reduction: Any, process: Any) -> tuple[Any, None]:
    """What a child that is being spawned gets, whose `detach()` gives the handle over there. The child has it from now
    on: nothing is to be kept for it."""
    return Arrived(process.duplicate_for_child(backing.descriptor())), None


def over_pipe(backing: Backing, reduction: Any) -> Any:
    """The same for multiprocessing's queues and pipes: who reads it fetches the handle from this process."""
    handle = backing.descriptor()
    return reduction.DupHandle(handle, rights_of(handle))

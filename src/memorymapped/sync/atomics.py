# SPDX-License-Identifier: MIT
"""Atomic integers inside a mapped view."""

from __future__ import annotations

from operator import index

from .._native.mapped import Atomic
from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING
from ..errors import ClosedError
from .places import not_pickled

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self, SupportsIndex

    from .._native.memory import View

__all__ = ["AtomicInt32", "AtomicInt64", "AtomicUInt32", "AtomicUInt64"]


class _Integer(Atomic):
    """Base of the atomic integers."""

    __slots__ = {"position": "Where it is, in the view that it was made with."}

    SIZE = ALIGNMENT = 0
    _wide = _signed = False

    position: int

    def __init__(self, view: View, position: SupportsIndex = 0) -> None:
        self._settle(view, position, self._wide, self._signed)
        self.position = index(position)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {self.position}{', closed' if self.closed else ''}>"

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    __reduce__ = not_pickled


@adopt_methods
class AtomicInt32(_Integer):
    """A signed number of 4 bytes at `position` of a view, -2**31 to 2**31 - 1, that wraps around."""

    __slots__ = ()
    SIZE = ALIGNMENT = 4
    _signed = True


@adopt_methods
class AtomicUInt32(_Integer):
    """An unsigned number of 4 bytes at `position` of a view, 0 to 2**32 - 1, that wraps around."""

    __slots__ = ()
    SIZE = ALIGNMENT = 4


@adopt_methods
class AtomicInt64(_Integer):
    """A signed number of 8 bytes at `position` of a view, -2**63 to 2**63 - 1, that wraps around."""

    __slots__ = ()
    SIZE = ALIGNMENT = 8
    _wide = _signed = True


@adopt_methods
class AtomicUInt64(_Integer):
    """An unsigned number of 8 bytes at `position` of a view, 0 to 2**64 - 1, that wraps around."""

    __slots__ = ()
    SIZE = ALIGNMENT = 8
    _wide = True

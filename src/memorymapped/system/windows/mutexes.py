# SPDX-License-Identifier: MIT
"""Named mutexes."""

from __future__ import annotations

from ..._typing import TYPE_CHECKING
from ..names import Name

if TYPE_CHECKING:
    from typing import Any

__all__ = ["open_mutex"]


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Any, bool]:
    raise NotImplementedError("named mutexes are not there yet on Windows")

# SPDX-License-Identifier: MIT
"""What a forked child does first, where there is such a thing."""

from __future__ import annotations

import os

from .._typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["after_in_child"]


def after_in_child(function: Callable[[], object]) -> None:
    """Has `function` called in each forked child, before anything else."""
    register = getattr(os, "register_at_fork", None)  # Windows has no fork
    if register is not None:
        register(after_in_child=function)

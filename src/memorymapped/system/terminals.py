# SPDX-License-Identifier: MIT
"""The terminal of a program that draws a screen, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.terminals import hearing_hang_up, lent
else:
    from .windows.terminals import hearing_hang_up, lent

__all__ = ["hearing_hang_up", "lent"]

# SPDX-License-Identifier: MIT
"""The terminal of a program that draws a screen, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.terminals import hearing_hang_up, lent
elif sys.platform == "win32":
    from .windows.terminals import hearing_hang_up, lent
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["hearing_hang_up", "lent"]

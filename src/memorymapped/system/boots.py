# SPDX-License-Identifier: MIT
"""Since when the machine runs, one module per system. Apart from `memorymapped.system`, so that who needs none loads
none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.boots import boot_mark
elif sys.platform == "win32":
    from .windows.boots import boot_mark
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["boot_mark"]

# SPDX-License-Identifier: MIT
"""Since when the machine runs, one module per system. Apart from `memorymapped.system`, so that who needs none loads
none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.boots import boot_mark
else:
    from .windows.boots import boot_mark

__all__ = ["boot_mark"]

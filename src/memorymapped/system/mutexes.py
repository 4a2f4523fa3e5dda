# SPDX-License-Identifier: MIT
"""Named mutexes, one module per system. Apart from `memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.mutexes import open_mutex
else:
    from .windows.mutexes import open_mutex

__all__ = ["open_mutex"]

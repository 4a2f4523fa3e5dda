# SPDX-License-Identifier: MIT
"""Named mutexes, one module per system. Apart from `memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.mutexes import open_mutex
elif sys.platform == "win32":
    from .windows.mutexes import open_mutex
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["open_mutex"]

# SPDX-License-Identifier: MIT
"""Named fair mutexes, one module per system. Apart from `memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.fair_mutexes import open_fair_mutex
elif sys.platform == "win32":
    from .windows.fair_mutexes import open_fair_mutex
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["open_fair_mutex"]

# SPDX-License-Identifier: MIT
"""Named fair mutexes, one module per system. Apart from `memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.fair_mutexes import open_fair_mutex
else:
    from .windows.fair_mutexes import open_fair_mutex

__all__ = ["open_fair_mutex"]

# SPDX-License-Identifier: MIT
"""How this process is asked to end, one module per system. Apart from `memorymapped.system`, so that who needs none
loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.endings import SIGNALS, asked_to_end, heard_in_loop
elif sys.platform == "win32":
    from .windows.endings import SIGNALS, asked_to_end, heard_in_loop
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["SIGNALS", "asked_to_end", "heard_in_loop"]

# SPDX-License-Identifier: MIT
"""How this process is asked to end, one module per system. Apart from `memorymapped.system`, so that who needs none
loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.endings import KILLED, OF_TERMINAL, SIGNALS, asked_to_end, end_by, heard_in_loop, status_of
else:
    from .windows.endings import KILLED, OF_TERMINAL, SIGNALS, asked_to_end, end_by, heard_in_loop, status_of

__all__ = ["KILLED", "OF_TERMINAL", "SIGNALS", "asked_to_end", "end_by", "heard_in_loop", "status_of"]

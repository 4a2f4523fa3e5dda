# SPDX-License-Identifier: MIT
"""Who a process is, one module per system. Apart from `memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.processes import command_of, start_of
else:
    from .windows.processes import command_of, start_of

__all__ = ["command_of", "start_of"]

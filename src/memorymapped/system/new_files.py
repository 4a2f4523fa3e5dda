# SPDX-License-Identifier: MIT
"""New files that nobody sees half of, one module per system. Apart from `memorymapped.system`, so that who needs none
loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.new_files import NewFile, keep_rights, open_to_read
else:
    from .windows.new_files import NewFile, keep_rights, open_to_read

__all__ = ["NewFile", "keep_rights", "open_to_read"]

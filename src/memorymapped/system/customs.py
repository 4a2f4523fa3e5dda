# SPDX-License-Identifier: MIT
"""What users of a system are used to, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.customs import HAS_WINDOWS, is_path, split_line, state_folder
else:
    from .windows.customs import HAS_WINDOWS, is_path, split_line, state_folder

__all__ = ["HAS_WINDOWS", "is_path", "split_line", "state_folder"]

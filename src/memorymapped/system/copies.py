# SPDX-License-Identifier: MIT
"""How a file is copied, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.copies import CANNOT, WAYS, keep_mode
elif sys.platform == "win32":
    from .windows.copies import CANNOT, WAYS, keep_mode
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["CANNOT", "WAYS", "keep_mode"]

# SPDX-License-Identifier: MIT
"""Children that end when their parent does, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.ties import start_tied
elif sys.platform == "win32":
    from .windows.ties import start_tied
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["start_tied"]

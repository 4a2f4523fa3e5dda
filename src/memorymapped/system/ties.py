# SPDX-License-Identifier: MIT
"""Children that end when their parent does, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.ties import start_tied
else:
    from .windows.ties import start_tied

__all__ = ["start_tied"]

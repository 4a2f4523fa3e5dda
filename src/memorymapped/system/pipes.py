# SPDX-License-Identifier: MIT
"""Pipes to other programs, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.pipes import ALONE, ENCODING, is_lost, is_readable, until_forsaken
elif sys.platform == "win32":
    from .windows.pipes import ALONE, ENCODING, is_lost, is_readable, until_forsaken
else:
    raise ImportError(f"memorymapped does not run on {sys.platform}: it needs Linux or Windows")

__all__ = ["ALONE", "ENCODING", "is_lost", "is_readable", "until_forsaken"]

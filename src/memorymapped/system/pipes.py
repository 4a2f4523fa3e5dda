# SPDX-License-Identifier: MIT
"""Pipes to other programs, one module per system."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.pipes import ALONE, ENCODING, is_lost, is_readable, until_forsaken
else:
    from .windows.pipes import ALONE, ENCODING, is_lost, is_readable, until_forsaken

__all__ = ["ALONE", "ENCODING", "is_lost", "is_readable", "until_forsaken"]

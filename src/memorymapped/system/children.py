# SPDX-License-Identifier: MIT
"""Processes that this one starts or watches, one module per system. Apart from `memorymapped.system`, so that who needs
none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.children import (
        Child,
        Output,
        Watched,
        hearing_of_stops,
        how_ended,
        signal_of,
        start_alone,
        start_group,
    )
else:
    from .windows.children import (
        Child,
        Output,
        Watched,
        hearing_of_stops,
        how_ended,
        signal_of,
        start_alone,
        start_group,
    )

__all__ = [
    "Child",
    "Output",
    "Watched",
    "hearing_of_stops",
    "how_ended",
    "signal_of",
    "start_alone",
    "start_group",
]

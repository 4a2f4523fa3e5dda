# SPDX-License-Identifier: MIT
"""Whether a command is to draw a screen, or to print lines."""

from __future__ import annotations

import os
import sys
from importlib.util import find_spec

from .tables import is_terminal

__all__ = ["screen_fits"]

MISSING = "mmf {command}: without Textual there is no screen, only lines: pip install 'memorymapped[tui]'"


def screen_fits(command: str) -> bool:
    """Whether a person is at a terminal that can move its cursor, or at a browser, and what draws screens is installed.
    Says so if only that is missing."""
    at_terminal = is_terminal() and sys.stdin is not None and sys.stdin.isatty()
    if not (at_terminal and os.environ.get("TERM", "dumb") != "dumb") and "TEXTUAL_DRIVER" not in os.environ:
        return False
    if find_spec("textual") is None:
        print(MISSING.format(command=command), file=sys.stderr)
        return False
    return True

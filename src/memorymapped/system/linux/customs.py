# SPDX-License-Identifier: MIT
"""What users are used to: where programs keep their state, how a command line is written."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

__all__ = ["HAS_WINDOWS", "is_path", "split_line", "state_folder"]

HAS_WINDOWS = False
"""Whether a process gets a window of its own without a program that opens it."""


def state_folder() -> Path:
    """Where this user's programs keep what is to be there the next time."""
    given = os.environ.get("XDG_STATE_HOME", "")
    # The specification: a relative path there is to be ignored.
    return Path(given) if os.path.isabs(given) else Path.home() / ".local" / "state"


def split_line(line: str) -> list[str]:
    """The words of a command line, as a shell takes it. ValueError."""
    return shlex.split(line)


def is_path(text: str) -> bool:
    """Whether it is the path of a file, and no name of an object."""
    return "/" in text

# SPDX-License-Identifier: MIT
"""What users are used to: where programs keep their state, how a command line is written."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

__all__ = ["HAS_WINDOWS", "is_path", "split_line", "state_folder"]

HAS_WINDOWS = True
"""Whether a process gets a window of its own without a program that opens it."""


def state_folder() -> Path:
    """Where this user's programs keep what is to be there the next time."""
    given = os.environ.get("LOCALAPPDATA", "")
    return Path(given) if os.path.isabs(given) else Path.home() / "AppData" / "Local"


def split_line(line: str) -> list[str]:
    """The words of a command line, quoted as for a shell, so that lists of tasks are the same everywhere; but a
    backslash is a character like others, as paths are full of them. ValueError."""
    words = shlex.shlex(line, posix=True)
    words.escape = words.commenters = ""
    words.whitespace_split = True
    return list(words)


def is_path(text: str) -> bool:
    """Whether it is the path of a file, and no name of an object."""
    return ("/" in text or "\\" in text) and not text.startswith(("User\\", "Local\\", "Global\\"))

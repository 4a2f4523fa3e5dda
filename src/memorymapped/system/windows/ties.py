# SPDX-License-Identifier: MIT
"""Children that end when their parent does, however that ends: they are in a job that ends with its last handle."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from typing import Any

from ..._native import jobs

__all__ = ["start_tied"]

_SUSPENDED = 0x4  # CREATE_SUSPENDED


def start_tied(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A plain child that ends with this process, however that ends; not what it starts itself."""
    process = subprocess.Popen(command, creationflags=_SUSPENDED, **options)
    try:
        jobs.hold(process.pid, True, False)  # the handle of the job is the tie: our end closes it
    except OSError:
        process.wait()
        raise
    return process

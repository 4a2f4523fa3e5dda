# SPDX-License-Identifier: MIT
"""Children that end when their parent does, however that ends: they are in a job that ends with its last handle.

A child is suspended until it is in its job. Who is killed meanwhile would leave it so for ever, so it is born into
another one: that in which this process is itself, and which ends with it for that moment only."""

from __future__ import annotations

import subprocess
from _thread import allocate_lock
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..._native import jobs

__all__ = ["birth", "start_tied"]

_SUSPENDED = 0x4  # CREATE_SUSPENDED

_lock = allocate_lock()
_own_job = 0


@contextmanager
def birth() -> Iterator[None]:
    """Inside, what is started and not yet held by a job of its own ends with this process, and so do those who were
    born before. After Ctrl-C in there it stays so: nobody knows how far the start had come. OSError."""
    global _own_job
    with _lock:
        _own_job = _own_job or jobs.enter_job()
        jobs.limit_job(_own_job, True, True)
        try:
            yield
        except Exception:
            jobs.limit_job(_own_job, False, False)
            raise
        jobs.limit_job(_own_job, False, False)


def start_tied(command: Sequence[str], **options: Any) -> subprocess.Popen[bytes]:
    """A plain child that ends with this process, however that ends; not what it starts itself."""
    with birth():
        process = subprocess.Popen(command, creationflags=_SUSPENDED, **options)
        try:
            jobs.hold(process.pid, True, False)  # the handle of the job is the tie: our end closes it
        except OSError:
            process.wait()
            raise
    return process

# SPDX-License-Identifier: MIT
"""File systems of a test's own: small ones, that can be full, or ones with special options."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from .actors import PRELUDE, Actor, ActorDied

__all__ = ["mounted"]


def mounted(tmp_path: Path, options: str, kind: str = "tmpfs", *, prelude: str = PRELUDE) -> Actor:
    """A process in a mount namespace of its own, with a file system of its own at `disk`, and a `path` there. The test
    is skipped where none can be had."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", kind, "-o", options, "none", str(disk)]
    code = f"import subprocess; subprocess.run({mount}, check=True)"
    for prefix in (("unshare", "-m"), ("unshare", "-rm")):
        try:
            if subprocess.run([*prefix, "true"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                break
        except FileNotFoundError:
            pytest.skip("there is no unshare(1)")
    else:
        pytest.skip("no mount namespace may be made here")
    environment = {**os.environ, "MEMORYMAPPED_ROOT": str(disk)}
    try:
        actor = Actor(prelude=prelude, before=code, prefix=prefix, env=environment, stderr=subprocess.PIPE)
    except ActorDied:
        pytest.skip(f"{kind} with {options} cannot be mounted here")
    actor.do("", path=str(disk / "file"), disk=str(disk))
    return actor

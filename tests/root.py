# SPDX-License-Identifier: MIT
"""The root of this run's named objects: its own folder, set before memorymapped is imported anywhere."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

SHM = Path("/dev/shm")
ROOT = Path(tempfile.mkdtemp(prefix="memorymapped-tests-", dir=SHM))
ROOT.chmod(0o755)
os.environ["MEMORYMAPPED_ROOT"] = str(ROOT)


def objects() -> list[str]:
    """The files of named objects that lie under this run's root."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and path.name != ".gate")

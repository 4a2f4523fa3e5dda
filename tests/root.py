# SPDX-License-Identifier: MIT
"""The root of this run's named objects: its own folder, set before memorymapped is imported anywhere. (On Windows names
are the kernel's, and the folder stays empty.)"""

from __future__ import annotations

import os
import stat
import tempfile
from pathlib import Path

from support.here import WINDOWS, handles

SHM = Path(tempfile.gettempdir() if WINDOWS else "/dev/shm")
ROOT = Path(tempfile.mkdtemp(prefix="memorymapped-tests-", dir=SHM))
ROOT.chmod(0o755)
os.environ["MEMORYMAPPED_ROOT"] = str(ROOT)
if WINDOWS:  # what children write to pipes would be of the system's code page
    os.environ["PYTHONIOENCODING"] = "utf-8"


def objects() -> list[str]:
    """The files of named objects that lie under this run's root."""
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*") if path.is_file() and path.name != ".gate")


def descriptors() -> list[int]:
    """The descriptors of this process, but for those of the folders of names: they stay open, a folder that another
    process has removed is noticed later, and so tests that run before decide on them. On Windows its handles."""
    if WINDOWS:
        return handles()
    found = []
    for fd in map(int, os.listdir("/proc/self/fd")):
        try:
            path = os.readlink(f"/proc/self/fd/{fd}")
            is_folder = stat.S_ISDIR(os.fstat(fd).st_mode)
        except OSError:
            continue  # of the listing itself
        if not (is_folder and path.startswith(str(ROOT))):
            found.append(fd)
    return sorted(found)

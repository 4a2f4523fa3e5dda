# SPDX-License-Identifier: MIT
"""What programs that use the library are told by a type checker."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from programs import finished

import memorymapped

HERE = Path(__file__).parent
PACKAGES = Path(memorymapped.__file__).parent.parent


def test_programs_are_typed_as_they_say(tmp_path: Path) -> None:
    """Also that what is marked as wrong is refused: an unused `type: ignore` is an error."""
    environment = dict(os.environ)
    if PACKAGES.name != "site-packages":
        environment["MYPYPATH"] = str(PACKAGES)
    checked = finished(
        sys.executable, "-m", "mypy", "--strict", "--config-file=", "--cache-dir", tmp_path,
        *sorted(HERE.glob("typed_*.py")), cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert (checked.returncode, checked.stderr) == (0, ""), checked.stdout


def test_all_that_can_be_waited_for_has_one_base() -> None:
    kinds = (
        "AutoResetEvent EventWaitHandle FairMutex ManualResetEvent MappedEvent MappedLock MappedReader MappedSemaphore "
        "MappedWriter Mutex Semaphore"
    )
    for name in kinds.split():
        assert issubclass(getattr(memorymapped, name), memorymapped.WaitHandle), name
    with memorymapped.Mutex() as mutex:
        assert isinstance(mutex, memorymapped.WaitHandle)
    assert not isinstance(memorymapped.MemoryMappedFile, memorymapped.WaitHandle)

# SPDX-License-Identifier: MIT
"""Named mutexes lie where .NET has them, in /tmp, and so outside of the root of a run: names of their own, and nothing
may stay, the folders that .NET never removes included, where this run made them. (On Windows they are the kernel's,
which forgets them.)"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from support.here import WINDOWS

if not WINDOWS:
    import fcntl

    from support.strangers import BASE

__all__ = ["alone", "files_of", "only_one", "roots", "unique"]


def unique(what: str = "") -> str:
    """The last part of a name that nobody else has."""
    return f"memorymapped-tests-{os.getpid()}-{secrets.token_hex(4)}{what}"


def roots() -> list[Path]:
    return [] if WINDOWS else sorted(BASE.glob(".dotnet*"))


def files_of(tag: str) -> list[Path]:
    """The state files, of whatever scope and user, with `tag` in their names."""
    # os.walk goes on where other processes remove folders meanwhile.
    found = [Path(at, name) for root in roots() for at, folders, files in os.walk(root) for name in folders + files]
    return sorted(path for path in found if tag in path.name)


@contextlib.contextmanager
def only_one(*names: str) -> Iterator[None]:
    """For programs with mutexes of fixed names: only one test on this machine runs them at a time. They leave none."""
    if WINDOWS:  # where one runs after the other
        yield
        return
    fd = os.open("/dev/shm", os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX)
        yield
        left = [path for path in roots() for path in path.glob("shm/*/*") if path.name in names]
        for path in left:
            path.unlink()
        assert left == [], "the programs left mutexes behind"
    finally:
        os.close(fd)


def remove_if_dead(path: Path) -> None:
    """Removes the state file of a mutex that nobody has open: mutexes of files are named after those, so no test knows
    the names of what its killed processes have left."""
    with contextlib.suppress(OSError), path.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        path.unlink()


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """The folders, and the mutexes of killed processes, that were not there before are removed at the end, if no other
    run of tests is under way, whose .NET programs would go on to lock what has lost its name."""
    if WINDOWS:
        yield
        return
    before, known = roots(), set(files_of(""))
    fd = os.open(BASE, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH)
        yield
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            for path in set(files_of("")) - known:
                remove_if_dead(path)
            for root in set(roots()) - set(before):
                for folder in (*root.glob("*/*"), *root.glob("*"), root):
                    with contextlib.suppress(OSError):
                        folder.rmdir()
    finally:
        os.close(fd)

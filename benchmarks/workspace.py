# SPDX-License-Identifier: MIT
"""Where the measured data lies: folders of our own, one in memory and one on the disk, removed at the end."""

from __future__ import annotations

import contextlib
import mmap
import os
import random
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["MIB", "Workspace", "folders", "mapped"]

MIB = 1 << 20
_BLOCK = 4 * MIB
_SHARED_MEMORY = "/dev/shm"


@dataclass(frozen=True)
class Workspace:
    """Folders for files in memory and for files on the disk."""

    memory: Path
    disk: Path

    @contextlib.contextmanager
    def file(self, size: int, *, on_disk: bool = False) -> Iterator[str]:
        """A new file of `size` bytes of noise, all of it in memory; removed afterwards."""
        folder = self.disk if on_disk else self.memory
        free = shutil.disk_usage(folder).free
        if free < size + 64 * MIB:
            raise OSError(f"{size >> 20} MiB are needed for measuring, and {free >> 20} MiB are free")
        fd, path = tempfile.mkstemp(dir=folder)
        try:
            with os.fdopen(fd, "wb") as file:
                block = random.Random(size).randbytes(min(size, _BLOCK))
                for at in range(0, size, _BLOCK):
                    file.write(block[: size - at])
                file.flush()
                os.fsync(file.fileno())
            yield path
        finally:
            os.unlink(path)


@contextlib.contextmanager
def folders(disk: str | None = None) -> Iterator[Workspace]:
    """Makes the folders (`disk`: inside of which one), and lets the library keep its names there too."""
    with contextlib.ExitStack() as stack:
        memory = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=_SHARED_MEMORY)))
        on_disk = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-", dir=disk)))
        os.environ["MEMORYMAPPED_ROOT"] = str(memory)
        yield Workspace(memory, on_disk)


@contextlib.contextmanager
def mapped(path: str) -> Iterator[mmap.mmap]:
    """The file as `mmap` maps it. Buffers of it may be left: then it goes with the last of them."""
    with open(path, "r+b") as file:
        memory = mmap.mmap(file.fileno(), 0)
    try:
        yield memory
    finally:
        with contextlib.suppress(BufferError):
            memory.close()

# SPDX-License-Identifier: MIT
"""What segment_source.py and segment_destination.py share: the names, made from the id of a file."""

from pathlib import Path
from uuid import uuid4

from memorymapped import SegmentFile

CAPACITY = 100_000


def create(folder: Path | None) -> tuple[str, SegmentFile]:
    """A new one, and its id. In memory, which a C# program on Windows can open as well; or as a file of this folder,
    for a C# program on Linux."""
    file_id = str(uuid4())
    name, mutex = names(file_id)
    if folder is None:
        return file_id, SegmentFile.create_new(CAPACITY, name, lock_name=mutex)
    return file_id, SegmentFile.create_from_file(folder / name, capacity=CAPACITY, lock_name=mutex)


def open_existing(folder: Path | None, file_id: str) -> SegmentFile:
    """The one that another process has made. FileNotFoundError."""
    name, mutex = names(file_id)
    if folder is None:
        return SegmentFile.open_existing(name, lock_name=mutex)
    return SegmentFile.create_from_file((folder / name).resolve(strict=True), lock_name=mutex)


def names(file_id: str) -> tuple[str, str]:
    """Of the map or file, and of the mutex. (In C# on Linux a bare name of a mutex is the session's.)"""
    return f"MmFile-{file_id}", f"Global\\MmFile-mutex-{file_id}"

# SPDX-License-Identifier: MIT
"""What segment_source.py and segment_destination.py share: the names, made from the id of a file."""

from pathlib import Path
from uuid import uuid4

from memorymapped import SegmentFile

CAPACITY = 100_000


def create(folder: Path | None) -> tuple[str, SegmentFile]:
    """A new one, and its id. In memory; or as a file of this folder, which a C# program on Linux can open as well."""
    if folder is None:
        segments = SegmentFile.create_new(CAPACITY)
        return segments.file_id, segments
    file_id = str(uuid4())
    path, mutex = names(folder, file_id)
    return file_id, SegmentFile.create_from_file(path, capacity=CAPACITY, lock_name=mutex)


def open_existing(folder: Path | None, file_id: str) -> SegmentFile:
    """The one that another process has made. FileNotFoundError."""
    if folder is None:
        return SegmentFile.open_existing(file_id)
    path, mutex = names(folder, file_id)
    return SegmentFile.create_from_file(path.resolve(strict=True), lock_name=mutex)


def names(folder: Path, file_id: str) -> tuple[Path, str]:
    """Of the file and of the mutex. (In C# on Linux a bare name of a mutex is the session's.)"""
    return folder / f"MmFile-{file_id}", f"Global\\MmFile-mutex-{file_id}"

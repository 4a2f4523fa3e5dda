# SPDX-License-Identifier: MIT
"""Copies a file so that nobody ever sees half of the copy. Usable without the rest of the command.

It gets its name when it is complete (`new_files`). Nothing is forced to the disk, as by other file copies: what a loss
of power leaves is the file system's affair. Holes stay holes, but not in a mapped copy, which reserves its space."""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable
from typing import NamedTuple

from ..system.copies import CANNOT, WAYS, keep_mode
from ..system.reading import data_range, open_file
from .new_files import NewFile, place_of, regular, status_of

__all__ = ["Copied", "copy_file"]

Progress = Callable[[int, int], None]


class Copied(NamedTuple):
    """What was made, how long it is, and by which means."""

    destination: str
    size: int
    method: str


# In one system call: long enough to cost nothing, short enough that Ctrl-C and progress do not wait on a slow disk.
PIECE = 8 << 20
BUFFER = 1 << 20
# Of a mapped copy at a time. Closing a view writes it through to the disk, and that cannot be interrupted.
WINDOW = 32 << 20
KEPT_MODE = 0o777  # neither setuid nor setgid: the copy may belong to another user than the original


def copy_file(
    source: str,
    destination: str,
    *,
    replace: bool = False,
    mapped: bool = False,
    progress: Progress | None = None,
) -> Copied:
    """Copies the regular file `source` to `destination`, or into it if it is a directory, with its permission bits.

    `replace` allows to replace an existing regular file (a link's target). `mapped` copies through views of both
    files instead of in the kernel, and writes through to the disk. `progress(done, total)` is called after each piece,
    in bytes; an exception that it raises, as any other, leaves nothing behind.

    Raises OSError with the file's name: FileNotFoundError, FileExistsError (also if the name was taken during the
    copy), PermissionError, IsADirectoryError, shutil.SameFileError, EINVAL for what is no regular file, ESTALE if the
    source changed its length during the copy, ENOSPC."""
    source_fd, status = _open_source(source)
    try:
        folder, name = _target(source, status, destination, replace)
        shown = os.path.join(folder, name)
        try:
            mode = status.st_mode & KEPT_MODE
            with NewFile(folder, name, mode) as output:
                method, size = _copy(source_fd, source, output.fd, status.st_size, mapped, progress)
                keep_mode(output.fd, mode)
                output.publish(replace)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                free = shutil.disk_usage(folder or ".").free
                text = f"no space left: {status.st_size} bytes are needed, {free} are free"
                raise OSError(errno.ENOSPC, text, shown) from error
            if error.filename is None:
                error.filename = shown
            raise
    finally:
        os.close(source_fd)
    return Copied(shown, size, method)


# ---------------------------------------------------------------------------------------------- what and where


def _open_source(source: str) -> tuple[int, os.stat_result]:
    regular(os.stat(source), source)  # opening a device or a pipe may do something already
    fd = open_file(source)
    try:
        status = os.fstat(fd)
        regular(status, source)
    except BaseException:
        os.close(fd)
        raise
    return fd, status


def _target(source: str, status: os.stat_result, destination: str, replace: bool) -> tuple[str, str]:
    """The folder and the name of the copy."""
    existing = status_of(destination)
    if existing is not None and stat.S_ISDIR(existing.st_mode):
        destination = os.path.join(destination, os.path.basename(source))
        existing = status_of(destination)
    if existing is not None and os.path.samestat(existing, status):
        raise shutil.SameFileError(errno.EINVAL, f"is the same file as {source}", destination)
    return place_of(destination, existing, replace=replace)


# ------------------------------------------------------------------------------------------------------- copying


def _copy(source: int, path: str, target: int, size: int, mapped: bool, progress: Progress | None) -> tuple[str, int]:
    if size == 0:
        size = _all(source, target)  # an empty file, or one of /proc, whose length nobody knows
        method = "read and write"
        length = os.fstat(source).st_size
        if length:
            raise _changed(path, 0, length)
        return method, size
    way = _mapped if mapped else _in_kernel
    method = way(source, target, path, size, progress)
    length = os.fstat(source).st_size
    if length != size:
        raise _changed(path, size, length)
    return method, size


def _changed(path: str, before: int, now: int) -> OSError:
    what = "grew" if now > before else "was truncated"
    return OSError(errno.ESTALE, f"{what} during the copy, from {before} to {now} bytes", path)


def _in_kernel(source: int, target: int, path: str, size: int, progress: Progress | None) -> str:
    done = end = 0  # all before `done` is copied; from there to `end` there are data
    for method, step in WAYS:
        try:
            while done < size:
                if done == end:
                    done, end = data_range(source, done, size)
                else:
                    count = step(source, target, min(PIECE, end - done), done)
                    if count == 0:
                        break  # the end of the source; or a file system that means "cannot", and the next way tells
                    done += count
                if progress is not None:
                    progress(done, size)
        except OSError as error:
            if step is WAYS[-1][1] or error.errno not in CANNOT:
                raise
        if done == size:
            os.ftruncate(target, size)  # with the hole at the end
            return method
    length = os.fstat(source).st_size
    if length == size:  # files of /sys
        raise OSError(errno.ESTALE, f"ended after {done} of its {size} bytes", path)
    raise _changed(path, size, length)


def _all(source: int, target: int) -> int:
    done = 0
    while block := os.read(source, BUFFER):
        rest = memoryview(block)
        while rest:
            rest = rest[os.write(target, rest) :]
        done += len(block)
    return done


def _mapped(source: int, target: int, path: str, size: int, progress: Progress | None) -> str:
    from .. import MemoryMappedFile
    from .. import MemoryMappedFileAccess as Access

    try:
        with (
            MemoryMappedFile.create_from_file(source, None, 0, Access.READ, leave_open=True) as original,
            # Reserved: a full disk is noticed here, and not at an access.
            MemoryMappedFile.create_from_file(target, None, size, leave_open=True, reserve=True) as copy,
        ):
            for at in range(0, size, WINDOW):
                count = min(WINDOW, size - at)
                with original.create_view_accessor(at, count, Access.READ) as view:
                    with copy.create_view_accessor(at, count, Access.WRITE) as written:
                        written.write_array(0, memoryview(view))
                    view.check()  # whoever copies out of a buffer is not told of a fault in it
                if progress is not None:
                    progress(at + count, size)
    except (OSError, ValueError) as error:  # which one depends on where the end of the file was passed
        length = os.fstat(source).st_size
        if length < size:
            raise _changed(path, size, length) from error
        raise
    return "mapped"

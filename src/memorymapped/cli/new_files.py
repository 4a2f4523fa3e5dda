# SPDX-License-Identifier: MIT
"""What is where a file is to be. The new file itself is `memorymapped.system.new_files`, which nobody sees half of."""

from __future__ import annotations

import errno
import os
import stat

from ..system.new_files import NewFile, keep_rights

__all__ = ["NewFile", "is_stream", "keep_rights", "place_of", "regular", "status_of"]

KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a character device",
    stat.S_IFBLK: "a block device",
}


def status_of(path: str) -> os.stat_result | None:
    """What is there, behind a link too; None: nothing."""
    try:
        return os.stat(path)
    except FileNotFoundError:
        return None


def is_stream(status: os.stat_result | None) -> bool:
    """Whether it is a pipe or a device, which nobody replaces: it is written into."""
    return status is not None and (stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode))


def regular(status: os.stat_result, path: str) -> None:
    """OSError for what is no regular file."""
    if not stat.S_ISREG(status.st_mode):
        kind = KINDS.get(stat.S_IFMT(status.st_mode), "a special file")
        number = errno.EISDIR if stat.S_ISDIR(status.st_mode) else errno.EINVAL
        raise OSError(number, f"is {kind}, not a regular file", path)


def place_of(path: str, existing: os.stat_result | None, *, replace: bool) -> tuple[str, str]:
    """The folder and the name of a file that is to be made at `path`, where something is `existing`, or not.

    OSError: there is one and it is not to be replaced, or what is there is no regular file. Behind a link it is the
    file that is replaced, not the link."""
    if not path:
        raise FileNotFoundError(errno.ENOENT, "the name of the destination is empty", path)
    if existing is not None:
        regular(existing, path)
    if os.path.lexists(path):
        if not replace:
            what = "exists" if existing is not None else "exists: a link that leads nowhere"
            raise FileExistsError(errno.EEXIST, what, path)
        if os.path.islink(path):
            path = os.path.realpath(path)
    folder, name = os.path.split(path)
    if not name:
        raise NotADirectoryError(errno.ENOTDIR, "is no directory", path)
    return folder, name

# SPDX-License-Identifier: MIT
"""A new file that nobody ever sees half of.

It is a file without a name (O_TMPFILE) in its folder, which gets its name when it is complete: by linkat(2), which
refuses a name that somebody took meanwhile, or by rename(2) over the file that it replaces. Whatever ends the process
before leaves nothing, SIGKILL included. Only while an existing file is replaced is there a moment with a second name,
`.mmf-...`, of the complete file.

A file system without O_TMPFILE (FUSE, NFS), and a system without /proc, get such a name from the beginning: then a
SIGKILL may leave it, and never a half file."""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat
from pathlib import Path
from typing import BinaryIO, Self

__all__ = ["NewFile", "keep_rights", "open_to_read"]

# How file systems say that they cannot.
NO_UNNAMED_FILES = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
NO_LINKS = {errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}


def keep_rights(fd: int, before: os.stat_result) -> None:
    """Gives a new file those of the one that it replaces, as if that had been written into."""
    with contextlib.suppress(PermissionError):  # another user's, or a file system without any
        os.fchown(fd, before.st_uid, before.st_gid)
    with contextlib.suppress(PermissionError):
        os.fchmod(fd, stat.S_IMODE(before.st_mode))


def open_to_read(path: Path) -> BinaryIO:
    """The bytes of a file that others may replace just now."""
    return path.open("rb")


class NewFile:
    """A file that gets its name when it is complete, and otherwise never was."""

    def __init__(self, folder: str, name: str, mode: int) -> None:
        self.path = os.path.join(folder, name)
        self.name = name
        self.mode = mode
        self.hidden = ""  # the other name, while the file may have it
        self.fd = -1
        # All names are relative to this descriptor: the folder may be renamed meanwhile.
        self.folder = os.open(folder or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.unnamed = _names_by_descriptor() and self._open_unnamed(mode)
            if not self.unnamed:
                self.hidden = _hidden_name()
                flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self.fd = os.open(self.hidden, flags, 0o600, dir_fd=self.folder)  # what a SIGKILL leaves is private
        except BaseException:
            self.close()
            raise

    def _open_unnamed(self, mode: int) -> bool:
        try:
            self.fd = os.open(".", os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, mode, dir_fd=self.folder)
        except OSError as error:
            if error.errno not in NO_UNNAMED_FILES:
                raise
            return False
        return True

    def publish(self, replace: bool) -> None:
        """Gives the file its name."""
        if not self.unnamed:
            _give_mode(self.fd, self.mode)
        os.close(os.dup(self.fd))  # network file systems report failed writes when a descriptor is closed
        if not self.unnamed and not replace:
            self._rename_to_new()
            return
        if self.unnamed:
            try:
                self._link(self.name)
            except FileExistsError:
                if not replace:
                    raise
            else:
                return
            self.hidden = _hidden_name()
            self._link(self.hidden)
        os.replace(self.hidden, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder)

    def _link(self, name: str) -> None:
        # Without a descriptor of a folder Python calls link(2), which would link the symbolic link in /proc.
        try:
            os.link(f"/proc/self/fd/{self.fd}", name, src_dir_fd=self.folder, dst_dir_fd=self.folder)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "exists: somebody made it meanwhile", self.path) from None

    def _rename_to_new(self) -> None:
        try:
            os.link(self.hidden, self.name, src_dir_fd=self.folder, dst_dir_fd=self.folder, follow_symlinks=False)
        except FileExistsError:
            raise FileExistsError(errno.EEXIST, "exists: somebody made it meanwhile", self.path) from None
        except OSError as error:
            if error.errno not in NO_LINKS:
                raise
            from ..._native.files import rename_new

            hidden = os.path.join(os.path.dirname(self.path), self.hidden)
            if not rename_new(os.fsencode(hidden), os.fsencode(self.path)):
                raise FileExistsError(errno.EEXIST, "exists: somebody made it meanwhile", self.path) from None

    def close(self) -> None:
        """Removes what was not published. A second call does nothing, or what the first was kept from doing."""
        if self.fd >= 0:
            fd, self.fd = self.fd, -1
            os.close(fd)
        if self.hidden:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.hidden, dir_fd=self.folder)
            self.hidden = ""
        if self.folder >= 0:
            folder, self.folder = self.folder, -1
            os.close(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        try:
            self.close()
        finally:
            self.close()  # Ctrl-C may have cut the first short


def _give_mode(fd: int, mode: int) -> None:
    """The permissions that open(2) would have given it, unless it has others already."""
    mask = os.umask(0o077)
    os.umask(mask)
    if os.fstat(fd).st_mode & 0o777 == 0o600:
        with contextlib.suppress(PermissionError):  # a file system without permission bits
            os.fchmod(fd, mode & ~mask)


def _hidden_name() -> str:
    return f".mmf-{os.urandom(8).hex()}"


@functools.cache
def _names_by_descriptor() -> bool:
    """Whether an open file can be linked: not where /proc is not mounted."""
    return os.path.exists("/proc/self/fd")

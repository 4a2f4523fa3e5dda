# SPDX-License-Identifier: MIT
"""Where named objects lie.

One folder of each user, mode 0700, and one for `Global\\` names, sticky as /tmp is, both under the root: the system's
shared-memory file system, or what MEMORYMAPPED_ROOT says (all processes that share must agree). A folder is opened
once, looked at (owner, kind, mode; links are not followed), and everything in it is reached through that descriptor.

D1  the user's folder: mkdir 0700. A umask can only take bits away, which its owner gives back: so any state in which
    a killed maker leaves it is put right by the next. The global folder needs bits that a umask takes: it is made
    under another name, given its mode, and renamed if there is none (RENAME_NOREPLACE). A maker that is killed leaves
    an empty folder `memorymapped-global.new-<pid>`, which the next process that opens the global folder removes.
D2  open with O_DIRECTORY | O_NOFOLLOW, fstat: owner and mode are right, or it is refused.
D3  at normal exit a user's folder that is empty is removed (rmdir removes nothing else). Who still has it open sees
    ENOENT and a folder without links, and opens again.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import os
import stat

from ..._native.files import rename_new
from ..._native.lifetime import Directory, check_locks
from ..._typing import TYPE_CHECKING
from ...errors import ForeignObjectError

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["forget_dead", "global_directory", "global_path", "root", "tidy", "user_directory", "user_path", "when_dead"]

DEFAULT_ROOT = "/dev/shm"

_open: dict[str, Directory] = {}

when_dead: list[Callable[[], None]] = []
"""What is to be called when a folder that was open turns out to have been removed."""


@functools.cache
def root() -> str:
    """The folder under which all named objects lie: MEMORYMAPPED_ROOT as it was at the first use, or the shared-memory
    file system."""
    return os.path.realpath(os.environ.get("MEMORYMAPPED_ROOT") or DEFAULT_ROOT)  # as /proc spells it


def user_path() -> str:
    """The folder of this (effective) user's names."""
    return f"{root()}/memorymapped-{os.geteuid()}"


def global_path() -> str:
    """The folder of the `Global\\` names."""
    return f"{root()}/memorymapped-global"


def user_directory(*, create: bool = True) -> Directory | None:
    """The user's folder, open; None if there is none and `create` is not asked for."""
    path = user_path()
    found = _known(path)
    if found is not None:
        return found
    _check_locks()
    given_back = False
    for _ in range(100):  # each turn another process removed it in between
        if create:
            try:
                os.mkdir(path, 0o700)
            except FileExistsError:
                pass
            except FileNotFoundError:
                raise _no_root() from None
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            if create:
                continue
            return None
        except PermissionError as error:
            if given_back or not _give_back(path):
                raise _refused(path, f"cannot be opened as a folder ({error.strerror})") from error
            given_back = True
            continue
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP):
                raise  # nothing is wrong with the folder: no descriptors left, for instance
            raise _refused(path, f"cannot be opened as a folder ({error.strerror})") from error
        directory = Directory(fd)
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise _refused(path, f"belongs to user {status.st_uid}, not to {os.geteuid()}")
        if status.st_mode & 0o077:
            raise _refused(path, f"is open to others (mode {stat.S_IMODE(status.st_mode):04o}, must be 0700)")
        if stat.S_IMODE(status.st_mode) != 0o700:
            os.fchmod(fd, 0o700)
        _open[path] = directory
        return directory
    raise TimeoutError(f"{path} is made and removed by others without pause")


def global_directory(*, create: bool = True) -> Directory | None:
    """The folder of `Global\\` names, open; None if there is none and `create` is not asked for."""
    path = global_path()
    found = _known(path)
    if found is not None:
        return found
    _check_locks()
    for _ in range(100):  # each turn another process removed it, or our unfinished one, in between
        try:
            fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            break
        except FileNotFoundError:
            if not create:
                return None
            if not os.path.isdir(root()):
                raise _no_root() from None
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                _make_global(path)
        except OSError as error:
            if error.errno not in (errno.ENOTDIR, errno.ELOOP, errno.EACCES):
                raise  # nothing is wrong with the folder: no descriptors left, for instance
            raise _refused(path, f"cannot be opened as a folder ({error.strerror})") from error
    else:
        raise TimeoutError(f"{path} is made and removed by others without pause")
    directory = Directory(fd)
    mode = stat.S_IMODE(os.fstat(fd).st_mode)
    if mode != 0o1777:
        raise _refused(path, f"has mode {mode:04o}, must be 1777 (writable by all, sticky)")
    _open[path] = directory
    return directory


@functools.cache
def _check_locks() -> None:
    """Before anything is made: NotImplementedError where there are no locks to keep names alive."""
    fd = os.memfd_create("memorymapped")
    try:
        check_locks(fd)
    finally:
        os.close(fd)


def _known(path: str) -> Directory | None:
    """The folder as it is open already, unless it was removed meanwhile."""
    found = _open.get(path)
    return None if found is None or forget_dead(found) else found


def _give_back(path: str) -> bool:
    """Whether it was our own folder, of which a umask took the rights of its owner, who has them again now."""
    try:
        fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid() or status.st_mode & 0o077:
            return False
        os.chmod(f"/proc/self/fd/{fd}", 0o700)
        return True
    finally:
        os.close(fd)


def _make_global(path: str) -> None:
    unfinished = f"{path}.new-"
    for entry in os.listdir(root()):
        pid = entry.rpartition("-")[2]
        if f"{root()}/{entry}".startswith(unfinished) and not os.path.exists(f"/proc/{pid}"):
            try:
                os.rmdir(f"{root()}/{entry}")
            except OSError:
                continue  # another's, or in use: it is advice, not a duty
    own = f"{unfinished}{os.getpid()}"
    try:
        os.mkdir(own, 0o700)
    except FileExistsError:  # ours, if an exception came in between the last time: to be tried again
        os.rmdir(own)
        return
    try:
        os.chmod(own, 0o1777)
        rename_new(os.fsencode(own), os.fsencode(path))
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.rmdir(own)


def forget_dead(directory: Directory) -> bool:
    """After ENOENT: True if the folder itself was removed meanwhile, so that it must be opened again."""
    if os.fstat(directory.fd).st_nlink:
        return False
    for path, known in list(_open.items()):
        if known is directory:
            del _open[path]
    for call in when_dead:
        call()
    return True


def tidy() -> None:
    """At exit: removes the user's folders that this process used, if they are empty."""
    for path, directory in list(_open.items()):
        if path.endswith("-global"):
            continue
        try:
            ours, there = os.fstat(directory.fd), os.stat(path, follow_symlinks=False)
            if (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino):
                os.rmdir(path)
        except OSError:
            continue  # not empty, or gone: both are fine


def _no_root() -> FileNotFoundError:
    return FileNotFoundError(
        errno.ENOENT, "named objects need this folder, or set MEMORYMAPPED_ROOT to another", root()
    )


def _refused(path: str, why: str) -> ForeignObjectError:
    return ForeignObjectError(f"{path} {why}: nothing named can be kept there; look who made it, and remove it")

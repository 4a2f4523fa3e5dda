# SPDX-License-Identifier: MIT
"""Where the source keeps its list between runs: a file, replaced as a whole, so that no crash leaves half of one.

`$XDG_STATE_HOME/memorymapped/tasks.xml`, or `~/.local/state/...`; on Windows `%LOCALAPPDATA%\\memorymapped\\tasks.xml`.
Who changes it owns a named mutex meanwhile, so that
two sources at a time lose nothing."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

from ..cli.new_files import regular, status_of
from ..errors import AbandonedMutexError
from ..sync.mutex import Mutex
from ..system import file_identity, sync_folder
from ..system.customs import state_folder
from ..system.new_files import NewFile, keep_rights, open_to_read
from .documents import MOST_BYTES, characters
from .model import TaskList
from .shapes import DocumentError
from .source_format import read_tasks, write_tasks

__all__ = ["generation", "kept_file", "load", "opened", "save"]

PATIENCE = 10.0  # seconds to wait for another who changes the list, which takes milliseconds


def kept_file() -> Path:
    """The file of this user's list, whether it is there or not."""
    return state_folder() / "memorymapped" / "tasks.xml"


def load(path: Path) -> TaskList:
    """The list in a file, XML or JSON. FileNotFoundError and the like; DocumentError, if it is no list of tasks."""
    try:
        return TaskList(read_tasks(characters(_contents(path))))
    except DocumentError as error:
        error.file = str(path)
        raise


def _contents(path: Path) -> bytes:
    """The bytes of a file, or one more than a document can have, whatever it is."""
    with open_to_read(path) as file:
        return file.read(MOST_BYTES + 1)


def generation(path: Path) -> tuple[int, ...] | None:
    """Differs for each content that a file has; None: it cannot be seen."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size


def save(path: Path, tasks: TaskList, form: str | None = None) -> None:
    """Replaces the file, in a format, or as JSON if its name ends so and as XML if not. Its folder is made; a link is
    followed; what is no regular file, or read-only, is refused. DocumentError, OSError: then it is as it was."""
    data = write_tasks(tasks, form or ("json" if path.suffix == ".json" else "xml")).encode()
    before = _replaceable(path)
    path = Path(os.path.realpath(path))
    try:
        with _alone(path.parent), NewFile(str(path.parent), path.name, 0o600) as file:
            while data:
                data = data[os.write(file.fd, data) :]
            if before is not None:
                keep_rights(file.fd, before)
            os.fsync(file.fd)
            file.publish(replace=True)
            sync_folder(str(path))
    except OSError as error:
        if error.filename is None:
            error.filename = str(path)
        raise


def _replaceable(path: Path) -> os.stat_result | None:
    """The status of the file, None if there is none. OSError if it is none that a list may take the place of: it is a
    device or a pipe, say, or not to be written. (A rename asks for neither.)"""
    status = status_of(str(path))
    if status is None:
        return None
    regular(status, str(path))
    by_effective = os.access in os.supports_effective_ids
    if not status.st_mode & 0o222 or not os.access(path, os.W_OK, effective_ids=by_effective):
        raise PermissionError(errno.EACCES, "is read-only", str(path))
    return status


@contextlib.contextmanager
def opened(path: Path, *, anew: bool = False) -> Iterator[TaskList]:
    """The list of a file, to be changed, by nobody else meanwhile; an empty one if there is no file, and if it is to be
    made `anew`, whatever was there. Saved at the end if it was changed, and not after an exception. TimeoutError:
    another has it for long; and what load and save raise."""
    with _alone(Path(os.path.realpath(path)).parent):
        try:
            tasks = TaskList() if anew else load(path)
        except FileNotFoundError:
            tasks = TaskList()
        before = tuple(tasks)
        yield tasks
        if anew or tuple(tasks) != before:
            save(path, tasks)


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else changes a list in this folder, which is made."""
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    device, inode = file_identity(str(folder))
    with contextlib.closing(Mutex(name=f"User\\memorymapped-tasks-{device:x}-{inode:x}")) as mutex:
        try:
            owned = mutex.wait_one(PATIENCE)
        except AbandonedMutexError:
            owned = True  # who died with it has left the old file or the new one: there is nothing to repair
        if not owned:
            raise TimeoutError(f"{mutex!r} guards the lists in {folder}, and was not free within {PATIENCE:.0f} s")
        try:
            yield
        finally:
            mutex.release_mutex()

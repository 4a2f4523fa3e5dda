# SPDX-License-Identifier: MIT
"""What exists on this machine, who holds it, and in which state it is: looked at from outside.

Nothing is opened for writing, no lock is taken, nothing is held: whoever probes a name meanwhile sees what he would see
without us. So liveness is *asked* (F_OFD_GETLK of the hold, protocol A), and holders are found in /proc.

1  The folders are listed, each file is opened for reading and looked at: its identity, its hold, its gate, and of small
   objects their bytes. A file whose last name is gone by then was removed meanwhile: no row.
2  One pass over /proc finds the processes whose descriptors are these very files (device and inode: the path may
   lead to a later generation) with a lock on them.
3  What seemed to be held by nobody is looked at again: a creator has its file before it holds it, and the last closer
   removes the name before it drops its hold. Stale is what nobody held and nobody worked on at two looks with the whole
   pass in between, and to which its name still led at the second.

Mutexes live by flock(2), which cannot be asked: the locks that /proc tells, of descriptors (exact, for the processes
that this user may look into) and of the whole system (`lock_table`).
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import time

from ..._native.files import mark_of
from ..._typing import TYPE_CHECKING
from ..findings import Found, Holder
from ..names import Scope, parse
from . import directories
from .lock_table import HOLD, lock_table, locks_through, table_key
from .mutex_places import TEMPORARY
from .places import EVENT, FAIR, KINDS, MAP, SEMAPHORE, locate
from .processes import command_of
from .states import State, read_state

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

__all__ = ["BARE", "is_of_session", "scope_of", "survey"]

BARE = Scope.USER.value
"""The scope of a bare name."""
_LOCK = struct.Struct("hh4xqqi4x")  # struct flock
_GATE = HOLD + 1
_KINDS = {MAP: "map", EVENT: "event", SEMAPHORE: "semaphore", FAIR: "fair mutex"}
_SMALL = 1 << 16  # bytes: of what is no map, all of it is read
_LOOKS, _PAUSE = 20, 0.0005  # how often, and after how many seconds again, we look at what somebody works on


def scope_of(scope: Scope) -> str:
    """The scope by which a name is shown."""
    return scope.value


def is_of_session(found: Found) -> bool:
    """Whether an object of a `Local\\` name is this session's."""
    session = str(os.getsid(0))
    return f"@{session}." in found.path or f"/session{session}/" in found.path


class _Seen:
    """A file, and what was seen of it."""

    __slots__ = ("found", "is_hidden", "is_live", "state", "suffix", "works")

    def __init__(self, found: Found, suffix: str) -> None:
        self.found = found
        self.suffix = suffix
        self.is_live = self.works = self.is_hidden = False
        self.state = State()

    def look(self, locked: set[str] | None) -> bool:
        """Whether anybody holds it, whether anybody is at work on it, and what its bytes say. False: its name leads to
        it no more."""
        found = self.found
        fd, status = _opened(found.path)
        if status is None or (status.st_dev, status.st_ino) != (found.device, found.inode):
            _close(fd)
            return False
        try:
            if fd >= 0 and self.suffix in KINDS:
                self.is_live, self.works = _asked(fd, HOLD), _asked(fd, _GATE)
            else:
                self.is_live = locked is None or table_key(found.device, found.inode) in locked
            if fd >= 0:
                self.state = read_state(fd, found.kind)
        finally:
            _close(fd)
        return True

    def settle(self) -> None:
        found = self.found
        found.details = self.state.details
        if self.is_live or found.holders:
            found.state = self.state.name
        elif self.is_hidden:
            found.state = "unknown"
        else:
            found.state = "unfinished" if self.works else "stale"
            for name in ("waiters", "contended"):  # that was
                found.details.pop(name, None)


def survey(*, others: bool = False, holders: bool = True) -> list[Found]:
    """Every named object of this user, and every `Global\\` one, in the order of their names.

    `others`: also what other programs have put into the shared-memory file system (`foreign`). `holders`: also who
    holds them; without, that list is empty, and a mutex that another user has open may be taken for stale."""
    locked = _locked()
    seen = [each for each in _all(others) if each.look(locked)]
    if holders:
        _find_holders(seen)
    doubtful = [each for each in seen if not each.found.holders and (holders or not each.is_live)]
    gone: set[int] = set()
    again = doubtful
    for turn in range(_LOOKS):
        if turn:
            time.sleep(_PAUSE)
        locked = _locked() if again else set()
        gone.update(id(each) for each in again if not each.look(locked))
        again = [each for each in again if id(each) not in gone and each.works and not each.is_live]
        if not again:
            break
    seen = [each for each in seen if id(each) not in gone]
    if holders:
        _find_holders([each for each in doubtful if each.is_live and id(each) not in gone])
    for each in seen:
        each.settle()
    return sorted((each.found for each in seen), key=lambda found: (found.name or found.path, found.kind, found.path))


def _all(others: bool) -> Iterator[_Seen]:
    user, everybody = directories.user_path(), directories.global_path()
    for folder in (user, everybody):
        for file in _entries(folder):
            path = f"{folder}/{file}"
            suffix = "." + file.rpartition(".")[2]
            if suffix in KINDS:
                yield from _look_at(path, _KINDS[suffix], suffix, _name(path))
    own = f"{TEMPORARY}/.dotnet-uid{os.geteuid()}/shm"
    shared = f"{TEMPORARY}/.dotnet/shm"
    folders = [(f"{own}/global", "User\\"), (f"{shared}/global", "Global\\")]
    folders += [(f"{shared}/{entry}", "Local\\") for entry in _entries(shared) if entry.startswith("session")]
    for folder, prefix in folders:
        for file in _entries(folder):
            yield from _look_at(f"{folder}/{file}", "mutex", "mutex", _mutex_name(prefix + file))
    if others:
        for path in _foreign(directories.root()):
            yield from _look_at(path, "foreign", "foreign", None)


def _opened(path: str) -> tuple[int, os.stat_result | None]:
    """A file, open for reading (-1: this user may not), and what it is; None if there is no plain file."""
    fd = -1
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
        status = os.fstat(fd)
    except FileNotFoundError:
        return -1, None
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.ELOOP, errno.ENXIO, errno.EPERM):
            raise
        try:
            status = os.stat(path, follow_symlinks=False)
        except FileNotFoundError:
            return -1, None
    if stat.S_ISREG(status.st_mode) and status.st_nlink:
        return fd, status
    _close(fd)
    return -1, None


def _close(fd: int) -> None:
    if fd >= 0:
        os.close(fd)


def _look_at(path: str, kind: str, suffix: str, name: str | None) -> Iterator[_Seen]:
    fd, status = _opened(path)
    if status is None:
        return
    try:
        target, size = None, status.st_size
        if kind == "map" and status.st_mode & stat.S_ISVTX:
            kind = "file map"
            target, size = _entry(fd)
        born = (mark_of(fd) >> 32) / 1e9 if fd >= 0 else 0
    finally:
        _close(fd)
    found = Found(
        name=name,
        kind=kind,
        path=path,
        target=target,
        device=status.st_dev,
        inode=status.st_ino,
        owner=status.st_uid,
        mode=stat.S_IMODE(status.st_mode) & 0o777,
        size=size,
        memory=status.st_blocks * 512,
        born=born or None,
        state="stale",
        details={},
        holders=[],
    )
    yield _Seen(found, suffix)


def _entry(fd: int) -> tuple[str | None, int]:
    """What the entry of a file map says: the file's path, and the map's capacity."""
    import json

    try:
        entry = json.loads(os.pread(fd, _SMALL, 0)) if fd >= 0 else {}
        return str(entry["path"]), int(entry["capacity"])
    except (ValueError, KeyError, TypeError):
        return None, 0


def _name(path: str) -> str | None:
    given = locate(path)
    return given if given is None or "\\" in given else f"User\\{given}"


def _mutex_name(given: str) -> str | None:
    try:
        return parse(given).given
    except ValueError:
        return None


def _foreign(root: str) -> Iterator[str]:
    for entry in _entries(root):
        path = f"{root}/{entry}"
        if entry.startswith("memorymapped-"):
            continue
        if not os.path.isdir(path) or os.path.islink(path):
            yield path
            continue
        for folder, _, files in os.walk(path):
            yield from (f"{folder}/{file}" for file in files)


def _entries(folder: str) -> list[str]:
    """What is in a folder; nothing if there is none, or this user may not look: also of a process that has ended."""
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError, PermissionError, ProcessLookupError):
        return []


# -- locks, and who has them


def _asked(fd: int, byte: int) -> bool:
    """Whether anybody has this byte locked. A question only: nothing is taken."""
    answer = fcntl.fcntl(fd, fcntl.F_OFD_GETLK, _LOCK.pack(fcntl.F_WRLCK, os.SEEK_SET, byte, 1, 0))
    return int(_LOCK.unpack(answer)[0]) != fcntl.F_UNLCK


def _locked() -> set[str] | None:
    """The files on which there is a hold or a use lock. None: it cannot be known."""
    table = lock_table()
    if table is None:
        return None
    return {row.file for row in table if row.is_hold or row.kind == "FLOCK"}


def _find_holders(seen: Iterable[_Seen]) -> None:
    """Who has these files, by one pass over all processes."""
    wanted = {(each.found.device, each.found.inode): each for each in seen}
    if not wanted:
        return
    folders = tuple({each.found.path.rpartition("/")[0] for each in wanted.values()})
    foreign = [each for each in wanted.values() if each.suffix == "foreign"]
    for pid in _entries("/proc"):
        if not pid.isdigit():
            continue
        held = _mapped(pid, wanted) if foreign else set()
        try:
            descriptors = os.listdir(f"/proc/{pid}/fd")
        except PermissionError:
            descriptors = []
            if foreign:
                _hide(pid, foreign)
        except OSError:
            descriptors = []  # it has ended
        for fd in descriptors:
            try:
                if not os.readlink(f"/proc/{pid}/fd/{fd}").startswith(folders):
                    continue
                status = os.stat(f"/proc/{pid}/fd/{fd}")
                key = (status.st_dev, status.st_ino)
                if key in wanted and key not in held and _has(wanted[key], f"/proc/{pid}/fdinfo/{fd}"):
                    held.add(key)
            except OSError:
                continue  # it ended, or closed it
        if held:
            holder = Holder(int(pid), command_of(int(pid)) or "?")
            for key in held:
                wanted[key].found.add(holder)


def _hide(pid: str, foreign: list[_Seen]) -> None:
    """Marks what a process could have that we may not look into. Root could have everything: that alone says nothing
    of a file that is only its owner's."""
    try:
        user = os.stat(f"/proc/{pid}").st_uid
    except OSError:
        return  # it has ended
    for each in foreign:
        if (each.found.mode or 0) & 0o066 or user == each.found.owner:
            each.is_hidden = True


def _has(each: _Seen, info: str) -> bool:
    """Whether a descriptor has the lock that makes its process a holder; whoever has a foreign file open, has it."""
    if each.suffix == "foreign":
        return True
    locks = locks_through(info)
    return any(lock.is_hold if each.suffix in KINDS else lock.kind == "FLOCK" for lock in locks)


def _mapped(pid: str, wanted: dict[tuple[int, int], _Seen]) -> set[tuple[int, int]]:
    """Which of the files of other programs a process has mapped."""
    found = set()
    try:
        with open(f"/proc/{pid}/maps", "rb") as maps:
            for line in maps:
                words = line.split(None, 5)
                if words[4] != b"0":
                    major, _, minor = words[3].partition(b":")
                    key = os.makedev(int(major, 16), int(minor, 16)), int(words[4])
                    if key in wanted and wanted[key].suffix == "foreign":
                        found.add(key)
    except OSError:
        pass
    return found

# SPDX-License-Identifier: MIT
"""A program that is not ours shares a named mutex: .NET's protocol once more, by the C library's functions and none of
this library's. It writes the fields as .NET up to 10 does, or as .NET 11 does, which no test can run.

    mutex = Stranger(path_of("Global\\x"))
    mutex.wait(1.5)         # True, False; raises Abandoned and owns
    mutex.release()
    mutex.close()
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import mmap
import os
import platform
import stat
import threading
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "BASE",
    "COUNT",
    "GLIBC",
    "HEADER",
    "KIND",
    "RECORD",
    "ROBUST_RECURSIVE_SHARED",
    "USED",
    "WORD",
    "Abandoned",
    "Stranger",
    "blocked",
    "owner",
    "path_of",
    "root_of",
]

BASE = Path("/tmp")  # .NET takes this, and never TMPDIR
HEADER = 8  # bytes before the state
GLIBC = platform.libc_ver()[0] == "glibc"  # or musl
# Where the C library keeps the kind of a mutex, the word with its owner, and how often it is locked.
KIND, WORD, COUNT = (HEADER + at for at in ((16, 0, 4) if GLIBC else (0, 4, 20)))
ROBUST_RECURSIVE_SHARED = 0x91 if GLIBC else 0x85
RECORD = HEADER + (48 if GLIBC and platform.machine() == "aarch64" else 40)  # behind the C library's mutex
USED = RECORD + 24
_PID, _THREAD = RECORD, RECORD + 4
_NOBODY = b"\xff" * 4
_LIBC = ctypes.CDLL(None)  # lets other threads run meanwhile


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


class Abandoned(Exception):
    """The mutex is owned, and whoever had it before ended without a release."""


def root_of(name: str, uid: int | None = None) -> Path:
    """The folder of all mutexes of the name's kind; a user's own for a bare name."""
    if name.startswith(("Global\\", "Local\\")):
        return BASE / ".dotnet"
    return BASE / f".dotnet-uid{os.geteuid() if uid is None else uid}"


def path_of(name: str, *, session: int | None = None, uid: int | None = None) -> Path:
    """The file of a mutex as the library spells its name: "X" and "User\\X" for the user, "Local\\X", "Global\\X"."""
    prefix, _, rest = name.rpartition("\\")
    scope = f"session{os.getsid(0) if session is None else session}" if prefix == "Local" else "global"
    return root_of(name, uid) / "shm" / scope / rest


def _word(path: Path) -> int:
    """The word that the kernel and the C library lock."""
    with path.open("rb") as file:
        return int.from_bytes(file.read(WORD + 4)[WORD:], "little")


def owner(path: Path) -> int:
    """The thread that has the mutex, 0 if none has."""
    return _word(path) & 0x3FFFFFFF


def blocked(path: Path) -> bool:
    """Whether somebody waits for the mutex in the kernel, or did so since it was last free."""
    return bool(_word(path) & 0x80000000)


class Stranger:
    """One open mutex. `create`: make it if nobody uses it; otherwise FileNotFoundError. `release_of`: the version of
    .NET whose fields are written, 10 or 11."""

    def __init__(self, path: Path, *, owned: bool = False, create: bool = True, release_of: int = 10) -> None:
        self.path = path
        self.flag = RECORD + (16 if release_of == 10 else 8)  # the byte that says "abandoned"
        self.late = release_of == 11
        self.count = 0
        self.created = False
        private = path.parent.parent.parent.name.startswith(".dotnet-uid")
        self.modes = (0o700, 0o600) if private else (0o777, 0o666)
        with self._directory_lock():
            self._folder(path.parent, make=create)
            self.fd = self._open(create)
            fcntl.flock(self.fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
            self.map = mmap.mmap(self.fd, mmap.PAGESIZE)
            self._anchor = ctypes.c_char.from_buffer(self.map)
            self.address = ctypes.addressof(self._anchor) + HEADER
            if self.created:
                self.map[:] = bytes(len(self.map))
                self.map[:2] = b"\0\1"
                self._initialise()
                if owned:
                    assert self.wait(0)

    # -- the file

    def _folder(self, folder: Path, make: bool) -> None:
        if make:
            try:
                folder.mkdir()
                folder.chmod(self.modes[0])
            except FileExistsError:
                pass

    @contextmanager
    def _directory_lock(self) -> Iterator[None]:
        shm = self.path.parent.parent
        for folder in (shm.parent, shm):
            self._folder(folder, make=True)
        fd = os.open(shm, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)

    def _open(self, create: bool) -> int:
        try:
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            if not create:
                raise
            fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC | os.O_CREAT | os.O_EXCL, 0o600)
            os.fchmod(fd, self.modes[1])
            self.created = True
        else:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                pass
            else:  # nobody uses it: as good as not there
                fcntl.flock(fd, fcntl.LOCK_UN)
                if not create:
                    os.close(fd)
                    raise FileNotFoundError(errno.ENOENT, "a stale mutex", str(self.path))
                self.created = True
        if self.created:
            os.ftruncate(fd, mmap.PAGESIZE)
        assert stat.S_ISREG(os.fstat(fd).st_mode)
        return fd

    def close(self) -> None:
        """The last one removes the file. Not while it is owned: its memory would be gone under the robust list."""
        assert self.count == 0
        with self._directory_lock():
            fcntl.flock(self.fd, fcntl.LOCK_UN)
            try:
                fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                last = True
            except BlockingIOError:
                last = False
            del self._anchor
            self.map.close()
            os.close(self.fd)
            if last:
                self.path.unlink()
                with suppress(OSError):
                    self.path.parent.rmdir()

    # -- the mutex

    def _initialise(self) -> None:
        attributes = ctypes.create_string_buffer(16)
        _LIBC.pthread_mutexattr_init(attributes)
        for set_, value in (("settype", 1), ("setrobust", 1), ("setpshared", 1)):
            assert getattr(_LIBC, f"pthread_mutexattr_{set_}")(attributes, value) == 0
        assert _LIBC.pthread_mutex_init(ctypes.c_void_p(self.address), attributes) == 0
        self._say_free()
        self.map[self.flag] = 0

    def _say_free(self) -> None:
        self.map[_PID : _PID + 4] = _NOBODY
        self._say_thread(_NOBODY * 2)

    def _say_thread(self, id_: bytes) -> None:
        if self.late:
            self.map[_THREAD : _THREAD + 4] = id_[:4]
        else:
            self.map[_THREAD + 4 : _THREAD + 12] = id_

    def wait(self, seconds: float | None = None) -> bool:
        mutex = ctypes.c_void_p(self.address)
        if seconds is None:
            result = _LIBC.pthread_mutex_lock(mutex)
        elif seconds == 0:
            result = _LIBC.pthread_mutex_trylock(mutex)
        else:
            clock = time.CLOCK_MONOTONIC if GLIBC else time.CLOCK_REALTIME
            whole, part = divmod(time.clock_gettime(clock) + seconds, 1)
            until = _Timespec(int(whole), int(part * 1e9))
            if GLIBC:
                result = _LIBC.pthread_mutex_clocklock(mutex, clock, ctypes.byref(until))
            else:
                result = _LIBC.pthread_mutex_timedlock(mutex, ctypes.byref(until))
        if result in (errno.EBUSY, errno.ETIMEDOUT):
            return False
        dead = result == errno.EOWNERDEAD
        if dead:
            assert _LIBC.pthread_mutex_consistent(mutex) == 0
            self.count = 0
        elif result:
            raise OSError(result, os.strerror(result))
        if self.count:
            self.count += 1
            assert _LIBC.pthread_mutex_unlock(mutex) == 0
            return True
        self.count = 1
        self.map[_PID : _PID + 4] = os.getpid().to_bytes(4, "little")
        self._say_thread(threading.get_native_id().to_bytes(8, "little"))
        flagged = self.map[self.flag] != 0
        if flagged:
            self.map[self.flag] = 0
        if dead or flagged:
            raise Abandoned
        return True

    def release(self) -> None:
        assert self.count
        self.count -= 1
        if not self.count:
            self._say_free()
            result = _LIBC.pthread_mutex_unlock(ctypes.c_void_p(self.address))
            if result:
                raise OSError(result, os.strerror(result))

    def abandon(self) -> None:
        """As .NET does when a thread ends that owns it, or closes its last handle."""
        self.map[self.flag] = 1
        self.count = 1
        self.release()

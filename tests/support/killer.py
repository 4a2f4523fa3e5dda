# SPDX-License-Identifier: MIT
"""Stops and kills a process at its n-th system call, entry or exit, by ptrace(2): the product needs no hooks for it.

The calling process, which has imported what is needed, forks the victim: so one costs a few milliseconds. The victim
prepares, stops itself (SIGSTOP) and is seized. Between its next two calls of getppid(2), the marks, which nothing else
makes, its stops at system calls are counted: stop 1 is the entry of the first call, 2 its exit, 3 the entry of the
second. Killed at its entry a call has no effect; killed at its exit it has all of it.

    victim = Victim(prepare, act)
    try:
        print(victim.run_to(7))     # at stop 7, entry of fcntl
        victim.kill()
        ...                         # what does the world look like now?
    finally:
        victim.end()

Processes that the victim starts are followed too. Whose stops count: the victim's own, those of the first process that
it forks (`count="child"`, from its birth), or those between two marks in a process that it starts (`count="started"`).
After `kill` the others run freely; they belong to the caller now (PR_SET_CHILD_SUBREAPER). So the caller is to be a
process of its own, without other children (but the `spared` ones), in which SIGALRM ends a wait that takes too long.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import platform
import signal
import sys
import traceback
from collections.abc import Callable
from typing import Any, NamedTuple

from support.here import WINDOWS

__all__ = ["Stop", "Victim", "children", "spared", "unavailable"]

_LIBC: Any = None  # imported there, and not used
if not WINDOWS:
    _LIBC = ctypes.CDLL(None, use_errno=True)
    _LIBC.ptrace.restype = ctypes.c_long
    _LIBC.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]

_SYSCALL, _DETACH = 24, 17
_GETEVENTMSG, _SEIZE, _INTERRUPT, _GET_SYSCALL_INFO = 0x4201, 0x4206, 0x4207, 0x420E
_OPTIONS = 0x1 | 0x2 | 0x4 | 0x8 | 0x10 | 0x100000  # SYSGOOD, FORK, VFORK, CLONE, EXEC, EXITKILL
_FORKED = (1, 2, 3)  # events of fork, vfork, clone
_AT_CALL = 5 | 0x80  # SIGTRAP
_WALL = 0x40000000
_PR_SET_CHILD_SUBREAPER = 36

# The marks, and the calls that a reader of a failed test should recognize.
_NAMES = {
    "x86_64": {
        0: "read", 1: "write", 3: "close", 5: "fstat", 8: "lseek", 9: "mmap", 10: "mprotect", 11: "munmap", 12: "brk",
        13: "rt_sigaction", 14: "rt_sigprocmask", 16: "ioctl", 17: "pread64", 26: "msync", 28: "madvise", 33: "dup2",
        34: "pause", 35: "nanosleep", 39: "getpid", 56: "clone", 57: "fork", 58: "vfork", 59: "execve", 61: "wait4",
        72: "fcntl", 73: "flock", 77: "ftruncate", 82: "rename", 83: "mkdir", 84: "rmdir", 87: "unlink", 89: "readlink",
        90: "chmod", 91: "fchmod", 93: "fchown", 102: "getuid", 107: "geteuid", 110: "getppid", 124: "getsid",
        137: "statfs", 138: "fstatfs", 186: "gettid", 191: "getxattr", 193: "fgetxattr", 202: "futex",
        217: "getdents64", 228: "clock_gettime", 230: "clock_nanosleep", 234: "tgkill", 257: "openat",
        262: "newfstatat", 263: "unlinkat", 273: "set_robust_list", 285: "fallocate", 292: "dup3", 293: "pipe2",
        316: "renameat2", 319: "memfd_create", 332: "statx", 334: "rseq", 435: "clone3",
    },
    "aarch64": {
        8: "getxattr", 10: "fgetxattr", 24: "dup3", 25: "fcntl", 29: "ioctl", 32: "flock", 34: "mkdirat",
        35: "unlinkat", 38: "renameat", 43: "statfs", 44: "fstatfs", 46: "ftruncate", 47: "fallocate", 52: "fchmod",
        53: "fchmodat", 55: "fchown", 56: "openat", 57: "close", 59: "pipe2", 61: "getdents64", 62: "lseek", 63: "read",
        64: "write", 67: "pread64", 78: "readlinkat", 79: "newfstatat", 80: "fstat", 98: "futex", 99: "set_robust_list",
        101: "nanosleep", 113: "clock_gettime", 115: "clock_nanosleep", 131: "tgkill", 134: "rt_sigaction",
        135: "rt_sigprocmask", 156: "getsid", 172: "getpid", 173: "getppid", 174: "getuid", 175: "geteuid",
        178: "gettid", 214: "brk", 215: "munmap", 220: "clone", 221: "execve", 222: "mmap", 226: "mprotect",
        227: "msync", 233: "madvise", 260: "wait4", 276: "renameat2", 279: "memfd_create", 291: "statx", 293: "rseq",
        435: "clone3",
    },
}.get(platform.machine(), {})  # fmt: skip
_MARK = next((number for number, name in _NAMES.items() if name == "getppid"), -1)


class _Info(ctypes.Structure):
    # struct ptrace_syscall_info of linux/ptrace.h, which is the same on every machine.
    _fields_ = (
        ("op", ctypes.c_uint8),  # 1 entry, 2 exit
        ("padding", ctypes.c_uint8 * 7),
        ("registers", ctypes.c_uint64 * 2),
        ("number", ctypes.c_uint64),
        ("arguments", ctypes.c_uint64 * 7),
    )


def _ptrace(request: int, pid: int, address: int = 0, data: int = 0) -> None:
    if _LIBC.ptrace(request, pid, address, data) == -1:
        error = ctypes.get_errno()
        raise OSError(error, f"{os.strerror(error)} (ptrace request {request:#x}, process {pid})")


class Stop(NamedTuple):
    """Where a process stands. `finished`: at its second mark, so there were only `number` stops."""

    number: int
    call: str
    entry: bool
    finished: bool

    def __str__(self) -> str:
        if self.finished:
            return f"after the last of {self.number} stops"
        return f"at stop {self.number}, {'entry' if self.entry else 'exit'} of {self.call}"


class Victim:
    """A process that runs `prepare`, and `act` between two marks. All of it must be done in `timeout` seconds."""

    def __init__(
        self, prepare: Callable[[], object], act: Callable[[], object], *, count: str = "own", timeout: float = 20.0
    ) -> None:
        self.count = count
        self.counted = 0  # whose stops count; 0: not known yet
        self.marked = self.finished = False  # it has come to its first mark, to its second
        self.seen = 0
        self.resume: dict[int, int] = {}  # the processes at a stop, and the signal that each goes on with
        self.calls: dict[int, int] = {}  # the call in which each is
        self.traced: set[int] = set()
        self.ended: dict[int, int] = {}
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        signal.signal(signal.SIGALRM, self._too_long)
        signal.setitimer(signal.ITIMER_REAL, timeout)
        self.failure, there = os.pipe()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._be(prepare, act, there)
        os.close(there)
        try:
            _, status = os.waitpid(self.pid, os.WUNTRACED)
            if not os.WIFSTOPPED(status):
                self.ended[self.pid] = status
                raise RuntimeError(f"the victim failed in its preparation:\n{self._told()}")
            _ptrace(_SEIZE, self.pid, 0, _OPTIONS)
            self.traced.add(self.pid)
            self._wait(self.pid)  # the same stop once more, now for its tracer
            self.resume[self.pid] = 0
            os.kill(self.pid, signal.SIGCONT)
        except BaseException:
            self.end()
            raise

    @staticmethod
    def _be(prepare: Callable[[], object], act: Callable[[], object], failure: int) -> None:
        try:
            signal.setitimer(signal.ITIMER_REAL, 0)
            prepare()
            os.kill(os.getpid(), signal.SIGSTOP)
            os.getppid()
            act()
            os.getppid()
            signal.pause()
        except BaseException:  # noqa: BLE001 - whatever it is, its maker is told
            os.write(failure, traceback.format_exc()[-4000:].encode())
        finally:
            os._exit(1)

    # -- up to a stop

    def run_to(self, number: int) -> Stop:
        """Lets it run to stop `number`, or to the second mark if there are fewer."""
        if self.count == "own":
            self.counted = self.pid
        while not self.finished:
            pid = self._next()
            if self.resume[pid] != _AT_CALL:
                if self.counted == pid and self.count == "child":
                    self.marked = True  # its birth is its first mark
                continue
            call, entry = self._call(pid)
            if self.count == "started" and not self.counted and call == _MARK and pid != self.pid:
                self.counted = pid
            if pid != self.counted:
                continue
            if call == _MARK:
                self.finished = self.marked and entry
                self.marked = True
            elif self.marked:
                self.seen += 1
                if self.seen == number:
                    return Stop(self.seen, _NAMES.get(call, f"call {call}"), entry, False)
        return Stop(self.seen, "getppid", True, True)

    def _next(self) -> int:
        """Lets all go on that stand, and waits for the next to stop."""
        for pid, number in self.resume.items():
            with contextlib.suppress(ProcessLookupError):
                _ptrace(_SYSCALL, pid, 0, 0 if number == _AT_CALL else number)
        self.resume.clear()
        while True:
            pid, status = self._wait(-1)
            if os.WIFSTOPPED(status):
                self._note(pid, status)
                return pid
            if pid in (self.pid, self.counted):
                raise RuntimeError(f"process {pid} ended before its second mark, status {status}:\n{self._told()}")

    def _note(self, pid: int, status: int) -> None:
        number, event = os.WSTOPSIG(status), status >> 16
        self._found(pid)  # a forked process may be seen before its parent's event
        self.resume[pid] = 0 if event else number
        if event in _FORKED:
            child = ctypes.c_ulong()
            _ptrace(_GETEVENTMSG, pid, 0, ctypes.addressof(child))
            self._found(child.value)

    def _found(self, pid: int) -> None:
        self.traced.add(pid)
        if self.count == "child" and not self.counted and pid != self.pid:
            self.counted = pid

    def _call(self, pid: int) -> tuple[int, bool]:
        info = _Info()
        _ptrace(_GET_SYSCALL_INFO, pid, ctypes.sizeof(info), ctypes.addressof(info))
        if info.op == 1:
            self.calls[pid] = info.number
        return self.calls.get(pid, -1), info.op == 1

    # -- and then

    def kill(self, *pids: int) -> None:
        """Kills `pids`, or the process whose stops were counted, where they stand. Returns when they have ended; the
        others run freely from here on."""
        pids = pids or (self.counted,)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        for pid in pids:
            self.resume.pop(pid, None)
            while os.WIFSTOPPED(self._wait(pid)[1]):
                pass
        self.release()

    def release(self) -> None:
        """Lets all run freely."""
        for pid in list(self.traced):
            with contextlib.suppress(ProcessLookupError, ChildProcessError):
                if pid not in self.resume:
                    _ptrace(_INTERRUPT, pid)
                    _, status = self._wait(pid)
                    if not os.WIFSTOPPED(status):
                        continue
                    self._note(pid, status)
                number = self.resume.pop(pid)
                _ptrace(_DETACH, pid, 0, 0 if number == _AT_CALL else number)
            self.traced.discard(pid)

    def _wait(self, pid: int) -> tuple[int, int]:
        if pid in self.ended:
            return pid, self.ended[pid]
        pid, status = os.waitpid(pid, _WALL)
        if not os.WIFSTOPPED(status):
            self.ended[pid] = status
            self.traced.discard(pid)
            self.resume.pop(pid, None)
        return pid, status

    def _too_long(self, *_: object) -> None:
        raise TimeoutError(f"the victim {self.pid} has not come to its stop: {self._told()}")

    def _told(self) -> str:
        os.set_blocking(self.failure, False)
        try:
            return os.read(self.failure, 4000).decode(errors="replace") or "no traceback"
        except BlockingIOError:
            return "no traceback"

    def end(self) -> None:
        """Kills and reaps it and whatever it has left behind."""
        signal.setitimer(signal.ITIMER_REAL, 10)
        while left := _children() - spared:  # killed ones leave us their children
            for pid in left:
                os.kill(pid, signal.SIGKILL)
            for pid in left:
                while os.WIFSTOPPED(os.waitpid(pid, _WALL)[1]):
                    pass
        signal.setitimer(signal.ITIMER_REAL, 0)
        os.close(self.failure)


spared: set[int] = set()
"""Children of the calling process that are none of a victim's."""


def _children() -> set[int]:
    with open(f"/proc/self/task/{os.getpid()}/children") as file:
        return set(map(int, file.read().split()))


def children() -> list[int]:
    """The children of this process, but the spared ones, that have not ended."""
    found = []
    for pid in _children() - spared:
        with contextlib.suppress(OSError), open(f"/proc/{pid}/stat") as file:
            if file.read().rpartition(")")[2].split()[0] not in "ZX":
                found.append(pid)
    return found


def unavailable() -> str | None:
    """Why processes cannot be traced here, or None."""
    if _MARK < 0:
        return f"the numbers of system calls of {platform.machine()} are not known"
    try:
        victim = Victim(lambda: None, os.getpid)
        try:
            stop = victim.run_to(1)
        finally:
            victim.end()
    except OSError as error:
        return f"processes may not be traced: {error}"
    return None if stop.entry and not stop.finished else f"tracing gives {stop}"

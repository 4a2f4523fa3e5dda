# SPDX-License-Identifier: MIT
"""What the tests' own ground asks the system for, on Linux and on Windows."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from pathlib import Path
from typing import Any

__all__ = [
    "BARE",
    "EVERYTHING",
    "KILL",
    "KILLED",
    "STATE",
    "UID",
    "WINDOWS",
    "fcntl",
    "fd_in_child",
    "get_inheritable",
    "handles",
    "identity",
    "is_mapped",
    "opened",
    "passing",
    "protection",
    "ready",
    "resource",
]

WINDOWS = sys.platform == "win32"

KILL = signal.SIGTERM if WINDOWS else signal.SIGKILL
"""The signal of Popen.send_signal that ends a process at once: there TerminateProcess."""
KILLED = 1 if WINDOWS else -KILL
"""The exit status of who was killed so."""

EVERYTHING = "from memorymapped import *"
"""Brings all names of the library into a program."""


def opened(capacity: int) -> int:
    """The capacity of named memory for who opens it: exactly, or in whole pages."""
    return -(-capacity // 4096) * 4096 if WINDOWS else capacity


STATE = "LOCALAPPDATA" if WINDOWS else "XDG_STATE_HOME"
"""The environment variable of the folder in which programs keep their state."""

BARE = "Local" if WINDOWS else "User"
"""The scope by which a bare name is shown."""

UID = 0 if WINDOWS else os.geteuid()

if WINDOWS:
    import _winapi
    import ctypes
    import msvcrt
    import subprocess

    fcntl: Any = None
    resource: Any = None

    class _Entry(ctypes.Structure):
        _fields_ = (
            ("object", ctypes.c_size_t),
            ("process", ctypes.c_size_t),
            ("handle", ctypes.c_size_t),
            ("access", ctypes.c_uint32),
            ("rest", ctypes.c_uint32 * 3),
        )

    def ready(fd: int, timeout: float) -> bool:
        """Whether there is something to read from a pipe, or its end, within `timeout` seconds."""
        end = time.monotonic() + timeout
        while True:
            try:
                if _winapi.PeekNamedPipe(msvcrt.get_osfhandle(fd), 0)[0]:
                    return True
            except BrokenPipeError:
                return True
            if time.monotonic() >= end:
                return False
            time.sleep(0.001)

    def passing(*fds: int) -> dict[str, Any]:
        """The options of Popen with which a child gets these descriptors: fd_in_child says what they are there."""
        held = [msvcrt.get_osfhandle(fd) for fd in fds]
        for handle in held:
            os.set_handle_inheritable(handle, True)
        return {"startupinfo": subprocess.STARTUPINFO(lpAttributeList={"handle_list": held}), "close_fds": True}

    def fd_in_child(fd: int, flags: str) -> str:
        """An expression that is the descriptor in a child that got it by `passing`. `flags`: of os.open."""
        return f"__import__('msvcrt').open_osfhandle({msvcrt.get_osfhandle(fd)}, __import__('os').{flags})"

    def get_inheritable(handle: int) -> bool:
        """Whether children may inherit what `fileno()` of a map says."""
        return bool(os.get_handle_inheritable(handle))

    def handles() -> list[int]:
        """The handles of this process: of maps, files and what locks. Python's own locks are semaphores without names:
        one goes with each file object, whenever that goes."""
        query = ctypes.WinDLL("ntdll").NtQuerySystemInformation
        size = ctypes.c_ulong(1 << 16)
        while True:
            block = ctypes.create_string_buffer(size.value)
            state = query(64, block, size, ctypes.byref(size)) & 0xFFFFFFFF  # SystemExtendedHandleInformation
            if state != 0xC0000004:  # STATUS_INFO_LENGTH_MISMATCH
                break
            size.value += 1 << 16
        assert state == 0, hex(state)
        count = ctypes.c_size_t.from_buffer(block).value
        entries = (_Entry * count).from_buffer(block, 2 * ctypes.sizeof(ctypes.c_size_t))
        own = [entry.handle for entry in entries if entry.process == os.getpid()]
        return sorted(handle for handle in own if _kind(handle) in ("Section", "File", "Mutant", "Semaphore"))

    def _kind(handle: int) -> str:
        from memorymapped._native.win32 import kind_of, name_of

        try:
            kind = kind_of(handle)
            return kind if kind != "Semaphore" or name_of(handle) else ""
        except OSError:  # another thread has closed it
            return ""

    class _Range(ctypes.Structure):  # MEMORY_BASIC_INFORMATION
        _fields_ = (
            ("base", ctypes.c_void_p),
            ("allocation", ctypes.c_void_p),
            ("allocated", ctypes.c_uint32),
            ("partition", ctypes.c_uint32),
            ("size", ctypes.c_size_t),
            ("state", ctypes.c_uint32),
            ("protection", ctypes.c_uint32),
            ("kind", ctypes.c_uint32),
        )

    def _range(address: int) -> _Range:
        found = _Range()
        ctypes.WinDLL("kernel32").VirtualQuery(ctypes.c_void_p(address), ctypes.byref(found), ctypes.sizeof(found))
        return found

    def is_mapped(address: int) -> bool:
        """Whether memory of ours lies at this address."""
        found = _range(address)
        return bool(found.state == 0x1000 and found.kind == 0x40000)  # MEM_COMMIT, MEM_MAPPED

    def protection(address: int) -> str:
        """What may be done with the memory at this address, as "r-x"."""
        return {0x02: "r--", 0x04: "rw-", 0x20: "r-x", 0x40: "rwx"}.get(_range(address).protection, "---")

    def identity(path: Path) -> tuple[int, int]:
        """(st_dev, st_ino) of a file. Wine tells them of open files only."""
        with path.open("rb") as file:
            status = os.fstat(file.fileno())
        return status.st_dev, status.st_ino

else:
    import fcntl
    import resource

    def ready(fd: int, timeout: float) -> bool:
        """Whether there is something to read from a pipe, or its end, within `timeout` seconds."""
        return bool(select.select([fd], [], [], timeout)[0])

    def passing(*fds: int) -> dict[str, Any]:
        """The options of Popen with which a child gets these descriptors: fd_in_child says what they are there."""
        return {"pass_fds": fds}

    def fd_in_child(fd: int, flags: str) -> str:
        """An expression that is the descriptor in a child that got it by `passing`. `flags`: of os.open."""
        return str(fd)

    def get_inheritable(fd: int) -> bool:
        """Whether children may inherit what `fileno()` of a map says."""
        return os.get_inheritable(fd)

    def handles() -> list[int]:
        """The handles of this process: there are none but descriptors."""
        return []

    def _range(address: int) -> str:
        with open("/proc/self/maps") as lines:
            for line in lines:
                start, _, end = line.split()[0].partition("-")
                if int(start, 16) <= address < int(end, 16):
                    return line
        return ""

    def is_mapped(address: int) -> bool:
        """Whether memory of ours lies at this address."""
        return "memfd:memorymapped" in _range(address)

    def protection(address: int) -> str:
        """What may be done with the memory at this address, as "r-x"."""
        return _range(address).split()[1][:3]

    def identity(path: Path) -> tuple[int, int]:
        """(st_dev, st_ino) of a file."""
        status = path.stat()
        return status.st_dev, status.st_ino

# SPDX-License-Identifier: MIT
"""How both sides wait for the end of a process in a task of asyncio: by a descriptor of the process (pidfd), which the
kernel makes readable at its end. No thread, no look again and again, and never a process that got the number later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess

__all__ = ["PATIENCE", "ask_to_end", "end_group", "reap_group", "reap_session", "until_ended"]

PATIENCE = 2.0  # seconds for a process to end by itself when it was asked to
_ROUNDS = 50  # of looking for processes of a session: each finds what the killed ones have started meanwhile


async def until_ended(pidfd: int) -> None:
    """Until the process of this descriptor has ended. Who has started it is still to reap it. One waits at a time."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


async def end_group(process: subprocess.Popen[bytes], pidfd: int) -> None:
    """Ends a process that leads a group, and all that is left in the group, and reaps it: SIGTERM, and SIGKILL for who
    does not end in time. Cancelled, it does not wait, and does the rest."""
    try:
        _signal_group(process, signal.SIGTERM)
        _signal_group(process, signal.SIGCONT)  # who is stopped hears of nothing else
        async with asyncio.timeout(PATIENCE):
            await until_ended(pidfd)
    except TimeoutError:
        pass
    finally:
        reap_group(process)


def reap_group(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for the group that a process leads, and the end of it, if it is not reaped yet."""
    if process.returncode is None:
        _signal_group(process, signal.SIGKILL)
        process.wait()


def _signal_group(process: subprocess.Popen[bytes], signum: int) -> None:
    """A signal for the group of a process that is not reaped: as long as it is not, no other group has its number."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signum)


def ask_to_end(process: subprocess.Popen[bytes]) -> None:
    """SIGTERM, and SIGCONT, as who is stopped hears of nothing else. Not by the process's own methods, which would reap
    it: then what is left of its session could not be told any more."""
    if process.returncode is None:
        with contextlib.suppress(PermissionError):  # it has become another user's: who waits for it is told
            os.kill(process.pid, signal.SIGTERM)
            os.kill(process.pid, signal.SIGCONT)


def reap_session(process: subprocess.Popen[bytes]) -> None:
    """SIGKILL for all that are in the session that a process has begun, and the end of it, if it is not reaped yet. So
    what a killed one has started is found, in whatever group it is. PermissionError if it has become another user's."""
    if process.returncode is not None:
        return
    os.kill(process.pid, signal.SIGKILL)  # the first: then nobody starts more for it
    try:
        for _ in range(_ROUNDS):
            found = [each for each in _pids() if each != process.pid and _session_of(each) == process.pid]
            if not found:
                break
            for each in found:
                with contextlib.suppress(ProcessLookupError, PermissionError):  # what has become another user's stays
                    os.kill(each, signal.SIGKILL)
    finally:
        process.wait()  # also where /proc cannot be read, as too many files are open


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _session_of(pid: int) -> int:
    """The session of a process that has not ended; -1 if there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            state, _, _, session = file.read().rpartition(b")")[2].split()[:4]
    except (FileNotFoundError, ProcessLookupError):
        return -1
    return -1 if state in (b"Z", b"X") else int(session)

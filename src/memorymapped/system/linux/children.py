# SPDX-License-Identifier: MIT
"""Processes that this one starts, and those that it watches: by a descriptor of the process (pidfd), which the kernel
makes readable at its end. No thread, no look again and again, and never a process that got the number later."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, Self

from .processes import start_of
from .ties import dying_with_us

__all__ = [
    "Child",
    "Output",
    "Watched",
    "hearing_of_stops",
    "how_ended",
    "signal_of",
    "start_alone",
    "start_group",
]

_ROUNDS = 50  # of looking for processes of a session: each finds what the killed ones have started meanwhile
_PIECE = 65_536
_PIPE = 2 * _PIECE  # more than a pipe holds


async def _until_ended(pidfd: int) -> None:
    """Until the process of this descriptor has ended. Who has started it is still to reap it. One waits at a time."""
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)


class Child:
    """A process that this one has started, with all that it starts itself. A context manager: inside, its end can be
    waited for; behind it nothing is left of it."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._pidfd = -1
        self.pid = process.pid

    @property
    def code(self) -> int | None:
        """How it has ended, as `how_ended` and `signal_of` take it; None until that was asked for by `reap`."""
        code: int | None = self._process.returncode
        return code

    async def until_ended(self) -> None:
        """Until it has ended; what it has started may go on. One waits at a time."""
        await _until_ended(self._pidfd)

    def ask_to_end(self) -> None:
        """Asks for its end, which it may take its time for."""
        raise NotImplementedError

    def reap(self) -> None:
        """Ends it and all that is left of what it has started, at once, and reaps it. A second call does nothing."""
        raise NotImplementedError

    def stops(self) -> Iterator[int | None]:
        """What was not told yet: the signal by which it was stopped, None: it goes on."""
        if self._process.returncode is not None:
            return
        options = os.WSTOPPED | os.WCONTINUED | os.WNOHANG
        with contextlib.suppress(ChildProcessError):
            while (seen := os.waitid(os.P_PID, self.pid, options)) is not None:
                yield seen.si_status if seen.si_code == os.CLD_STOPPED else None

    def __enter__(self) -> Self:
        try:
            self._pidfd = os.pidfd_open(self.pid)
        except BaseException:
            self.reap()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        os.close(self._pidfd)
        self.reap()


class _Group(Child):
    """It leads a process group. As long as it is not reaped, no other group has its number."""

    def ask_to_end(self) -> None:
        """SIGTERM for the group."""
        self._signal(signal.SIGTERM)
        self._signal(signal.SIGCONT)  # who is stopped hears of nothing else

    def reap(self) -> None:
        """SIGKILL for the group."""
        if self._process.returncode is None:
            self._signal(signal.SIGKILL)
            self._process.wait()

    def _signal(self, signum: int) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signum)


class _Session(Child):
    """It leads a session: what it has started is found in whatever group it is."""

    def ask_to_end(self) -> None:
        """SIGTERM, and SIGCONT, as who is stopped hears of nothing else. Not by the process's own methods, which would
        reap it: then what is left of its session could not be told any more."""
        if self._process.returncode is None:
            with contextlib.suppress(PermissionError):  # it has become another user's: who waits for it is told
                os.kill(self.pid, signal.SIGTERM)
                os.kill(self.pid, signal.SIGCONT)

    def reap(self) -> None:
        """SIGKILL for the session. PermissionError if it has become another user's."""
        if self._process.returncode is not None:
            return
        os.kill(self.pid, signal.SIGKILL)  # the first: then nobody starts more for it
        try:
            for _ in range(_ROUNDS):
                found = [each for each in _pids() if each != self.pid and _session_of(each) == self.pid]
                if not found:
                    break
                for each in found:
                    with contextlib.suppress(ProcessLookupError, PermissionError):  # what has become another user's
                        os.kill(each, signal.SIGKILL)
        finally:
            self._process.wait()  # also where /proc cannot be read, as too many files are open


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


def start_alone(command: Sequence[str], *, window: bool = False, **options: Any) -> Child:
    """A child to which Ctrl-C in our terminal does not come, and that goes on if we end. `window`: in a window of its
    own, which only Windows can open. `options`: of subprocess.Popen. OSError, ValueError."""
    if window:
        raise ValueError("here is no window without a program that opens it")
    return _Session(subprocess.Popen(command, start_new_session=True, **options))


def start_group(command: Sequence[str], **options: Any) -> Child:
    """The same, but it ends when the thread that starts it does, however that ends."""
    return _Group(subprocess.Popen(command, process_group=0, preexec_fn=dying_with_us(signal.SIGKILL), **options))


def signal_of(code: int) -> int | None:
    """The signal that has ended a process; None: it has ended with an exit code."""
    return -code if code < 0 else None


def how_ended(code: int) -> str:
    """In words, behind the name of the process."""
    if code >= 0:
        return f"ended with exit code {code}"
    try:
        name = signal.Signals(-code).name
    except ValueError:
        name = f"signal {-code}"
    return f"was killed by {name}"


# The kernel tells by SIGCHLD that a child has stopped or goes on, but not which.
_heard: dict[asyncio.AbstractEventLoop, list[Callable[[], object]]] = {}


@contextlib.contextmanager
def hearing_of_stops(look: Callable[[], object]) -> Iterator[None]:
    """Inside, `look` is called when a child may have stopped or gone on, if this is the main thread: no other hears of
    signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    loop = asyncio.get_running_loop()
    looks = _heard.setdefault(loop, [])
    looks.append(look)
    if len(looks) == 1:
        loop.add_signal_handler(signal.SIGCHLD, _look, looks)
    look()  # it may have stopped before anybody listened
    try:
        yield
    finally:
        looks.remove(look)
        if not looks:
            del _heard[loop]
            loop.remove_signal_handler(signal.SIGCHLD)


def _look(looks: list[Callable[[], object]]) -> None:
    for each in looks:
        each()


class Watched:
    """A process of others: its end can be waited for."""

    def __init__(self, pid: int) -> None:
        """ProcessLookupError: it has ended, even where another process has its number now, as that has started later
        than this one."""
        self._pidfd = os.pidfd_open(pid)
        theirs, ours = start_of(pid), start_of(os.getpid())
        if theirs is None or (ours is not None and theirs > ours):
            self.close()
            raise ProcessLookupError(f"process {pid} has ended")

    async def until_ended(self) -> None:
        """Until it has ended. One waits at a time."""
        await _until_ended(self._pidfd)

    def close(self) -> None:
        """Watches it no longer."""
        os.close(self._pidfd)


class Output:
    """A pipe for what children print. `descriptor` is for them."""

    def __init__(self) -> None:
        self._reading, self.descriptor = os.pipe()

    @contextlib.asynccontextmanager
    async def heard(self, take: Callable[[bytes], object]) -> AsyncIterator[None]:
        """Inside, each piece is given to `take`; at the end what is there already, and nobody is waited for: who has
        left a group may hold it, and write for ever."""
        loop, reading = asyncio.get_running_loop(), self._reading
        os.set_blocking(reading, False)
        loop.add_reader(reading, self._read, take)
        try:
            yield
        finally:
            loop.remove_reader(reading)
            for _ in range(_PIPE // _PIECE):
                self._read(take)

    def _read(self, take: Callable[[bytes], object]) -> None:
        with contextlib.suppress(BlockingIOError):
            take(os.read(self._reading, _PIECE))

    def close(self) -> None:
        """Ends it. A second call does nothing."""
        for each in (self._reading, self.descriptor):
            if each >= 0:
                os.close(each)
        self._reading = self.descriptor = -1

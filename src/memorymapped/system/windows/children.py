# SPDX-License-Identifier: MIT
"""Processes that this one starts, and those that it watches. A child is in a job with all that it starts, so that all
of it can be ended; it is suspended until it is there (ties.py). Threads wait for handles of processes. Nobody is
stopped here."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import threading
from asyncio import windows_utils
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import Any, Self

from ..._native import jobs
from ..._native.win32 import close_handle
from .descriptors import descriptor_of
from .endings import status_of
from .processes import start_of
from .ties import birth

__all__ = [
    "Child",
    "Output",
    "Watched",
    "asking",
    "hearing_of_stops",
    "how_ended",
    "signal_of",
    "start_alone",
    "start_group",
    "waiting",
]

_SUSPENDED, _NEW_CONSOLE, _NEW_GROUP = 0x4, 0x10, 0x200  # CREATE_SUSPENDED and so on
_NO_SUCH_PROCESS = 87  # as OpenProcess says it: ERROR_INVALID_PARAMETER
_REST = 1.0  # seconds for the end of a pipe whose writers were ended


def asking(process: int) -> str:
    """The name of the event by which a process of ours is asked to end."""
    return f"Local\\memorymapped-end-{process}"


@contextlib.contextmanager
def waiting(handle: int, tell: Callable[[], object]) -> Iterator[None]:
    """Inside, `tell` is called in the running loop when a process has ended, or an event was set: once."""
    loop = asyncio.get_running_loop()
    leave = jobs.open_event(None)

    def wait() -> None:
        if jobs.wait_for_first(handle, leave) == 0:
            with contextlib.suppress(RuntimeError):  # the loop was closed, and the coroutine that has us is dropped
                loop.call_soon_threadsafe(tell)

    thread = threading.Thread(target=wait, name="memorymapped ends", daemon=True)
    thread.start()
    try:
        yield
    finally:
        jobs.set_event(leave)
        thread.join()
        close_handle(leave)


async def _until_ended(process: int) -> None:
    ended = asyncio.Event()
    with waiting(process, ended.set):
        await ended.wait()


class Child:
    """A process that this one has started, with all that it starts itself. A context manager: inside, its end can be
    waited for; behind it nothing is left of it."""

    def __init__(self, process: subprocess.Popen[bytes], *, tied: bool, has_console: bool) -> None:
        self._process = process
        self._has_console = has_console
        self._asking = self._handle = self._job = 0
        self.pid = process.pid
        try:
            self._job = jobs.hold(self.pid, tied, True)
        except OSError:
            process.wait()
            raise

    @property
    def code(self) -> int | None:
        """How it has ended, as `how_ended` and `signal_of` take it; None until that was asked for by `reap`."""
        code: int | None = self._process.returncode
        return None if code is None else status_of(code)

    async def until_ended(self) -> None:
        """Until it has ended; what it has started may go on."""
        await _until_ended(self._handle)

    def ask_to_end(self) -> None:
        """Asks for its end, which it may take its time for: by an event, and by Ctrl-Break if it is at our console."""
        if self._process.returncode is None:
            if not self._asking:
                self._asking = jobs.open_event(asking(self.pid))
            jobs.set_event(self._asking)
            if self._has_console:
                jobs.send_break(self.pid)

    def reap(self) -> None:
        """Ends it and all that is left of what it has started, at once. A second call does nothing."""
        if self._job:
            job, self._job = self._job, 0
            jobs.end_job(job)
            close_handle(job)
            self._process.wait()
        if self._asking:
            asking, self._asking = self._asking, 0
            close_handle(asking)

    def stops(self) -> Iterable[int | None]:
        """What was not told yet: nobody is stopped here."""
        return ()

    def __enter__(self) -> Self:
        try:
            self._handle = jobs.open_process(self.pid)
        except BaseException:
            self.reap()
            raise
        return self

    def __exit__(self, *exception: object) -> None:
        close_handle(self._handle)
        self.reap()


def start_alone(command: Sequence[str], *, window: bool = False, **options: Any) -> Child:
    """A child to which Ctrl-C in our terminal does not come, and that goes on if we end. `window`: in a window of its
    own. `options`: of subprocess.Popen. OSError, ValueError."""
    flags = _NEW_CONSOLE if window else _NEW_GROUP
    with birth():
        process = subprocess.Popen(command, creationflags=flags | _SUSPENDED, **options)
        return Child(process, tied=False, has_console=not window)


def start_group(command: Sequence[str], **options: Any) -> Child:
    """The same, but it ends with this process, however that ends, and so does what it has started."""
    with birth():
        process: Any = subprocess.Popen(command, creationflags=_NEW_GROUP | _SUSPENDED, **options)
        return Child(process, tied=True, has_console=True)


def signal_of(code: int) -> int | None:
    """SIGTERM for a process that was ended by Ctrl-C, by Ctrl-Break, or by us; None: it has ended with an exit code."""
    return signal.SIGTERM if code == status_of(jobs.ENDED) else None


def how_ended(code: int) -> str:
    """In words, behind the name of the process."""
    if signal_of(code) is not None:
        return "was ended"
    return f"ended with exit code {code if code >= 0 else hex(code + (1 << 32))}"


@contextlib.contextmanager
def hearing_of_stops(look: Callable[[], object]) -> Iterator[None]:
    """Inside, `look` would be called when a child may have stopped or gone on."""
    yield


class Watched:
    """A process of others: its end can be waited for."""

    def __init__(self, pid: int) -> None:
        """ProcessLookupError: it has ended, even where another process has its number now, as that has started later
        than this one."""
        gone = ProcessLookupError(f"process {pid} has ended")
        try:
            self._handle = jobs.open_process(pid)
        except OSError as error:
            if error.winerror == _NO_SUCH_PROCESS:  # type: ignore[attr-defined]
                raise gone from None
            raise
        theirs, ours = start_of(pid), start_of(os.getpid())
        if jobs.has_come(self._handle) or (theirs is not None and ours is not None and theirs > ours):
            self.close()
            raise gone

    async def until_ended(self) -> None:
        """Until it has ended."""
        await _until_ended(self._handle)

    def close(self) -> None:
        """Watches it no longer."""
        close_handle(self._handle)


class _Reader(asyncio.Protocol):
    def __init__(self, take: Callable[[bytes], object]) -> None:
        self._take = take
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        self._take(data)

    def connection_lost(self, error: Exception | None) -> None:
        self.ended.set()


class Output:
    """A pipe for what children print. `descriptor` is for them."""

    def __init__(self) -> None:
        reading, writing = windows_utils.pipe(overlapped=(True, False))  # type: ignore[attr-defined]
        self._reading = windows_utils.PipeHandle(reading)  # type: ignore[attr-defined]
        self.descriptor = descriptor_of(writing, os.O_WRONLY)

    @contextlib.asynccontextmanager
    async def heard(self, take: Callable[[bytes], object]) -> AsyncIterator[None]:
        """Inside, each piece is given to `take`; at the end what is left, of children that have ended."""
        loop = asyncio.get_running_loop()
        transport, reader = await loop.connect_read_pipe(lambda: _Reader(take), self._reading)
        try:
            yield
        finally:
            self._end_writing()
            try:
                async with asyncio.timeout(_REST):
                    await reader.ended.wait()
            except TimeoutError:  # somebody else has it, and may write for ever
                transport.close()
                await reader.ended.wait()
            finally:
                transport.close()

    def _end_writing(self) -> None:
        if self.descriptor >= 0:
            writing, self.descriptor = self.descriptor, -1
            os.close(writing)

    def close(self) -> None:
        """Ends it. A second call does nothing."""
        self._end_writing()
        self._reading.close()

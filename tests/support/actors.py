# SPDX-License-Identifier: MIT
"""Other processes that do as they are told.

An actor is a real Python process with a namespace, in which it executes what it is sent. So a test says line by line
which process does what, and sees results and exceptions:

    with Actor() as other:
        other.do("m = MemoryMappedFile.open_existing(name)", name="x")
        assert other.get("m.generation") == generation
        other.kill()

Every answer has a time limit; a process that does not answer is killed, with its stack in the message. Whatever happens
in the test, `close` ends and reaps it.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import signal
import struct
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from .here import EVERYTHING, KILL, fd_in_child, passing, ready

__all__ = ["Actor", "ActorDied", "Remote"]

TESTS = str(Path(__file__).resolve().parent.parent)
PRELUDE = f"""
import errno, gc, json, os, signal, sys, threading, time
import memorymapped
{EVERYTHING}
from memorymapped import MemoryMappedFileAccess as Access, MemoryMappedFileOptions as Options
from memorymapped import MemoryMappedFileRights as Rights
INHERITABLE = HandleInheritability.INHERITABLE
"""
_SIZE = struct.Struct("<Q")


class ActorDied(Exception):
    """The process ended instead of answering. `status`: its exit code, or minus the number of the signal."""

    def __init__(self, status: int | None, message: str) -> None:
        super().__init__(message)
        self.status = status


class Remote(Exception):
    """An exception over there that does not travel: its text."""


class Actor:
    """One process. `options` go to subprocess.Popen; `flags` to the interpreter; `before` is code run first of all."""

    def __init__(
        self,
        *,
        flags: tuple[str, ...] = ("-W", "error"),
        before: str = "",
        prelude: str = PRELUDE,
        timeout: float = 30.0,
        prefix: tuple[str, ...] = (),
        **options: Any,
    ) -> None:
        self.timeout = timeout
        there_reads, self._to = os.pipe()
        self._from, there_writes = os.pipe()
        code = f"import sys; sys.path.insert(0, {TESTS!r})\n{before}\nfrom support.actors import serve\n"
        code += f"serve({fd_in_child(there_reads, 'O_RDONLY')}, {fd_in_child(there_writes, 'O_WRONLY')})"
        try:
            self.process = subprocess.Popen(
                [*prefix, sys.executable, *flags, "-c", code],
                stdin=subprocess.DEVNULL,
                **passing(there_reads, there_writes),
                **options,
            )
        except BaseException:
            os.close(self._to)
            os.close(self._from)
            raise
        finally:
            os.close(there_reads)
            os.close(there_writes)
        try:
            self.do(prelude)
        except BaseException:
            self.close()
            raise

    @property
    def pid(self) -> int:
        return self.process.pid

    def do(self, code: str, timeout: float | None = None, /, **values: Any) -> Any:
        """Executes `code`, with `values` as variables. Raises what it raises."""
        self.send(code, **values)
        return self.answer(timeout)

    def get(self, expression: str, timeout: float | None = None, /, **values: Any) -> Any:
        """The value of an expression."""
        return self.do(f"_result = ({expression})", timeout, **values)

    def send(self, code: str, /, **values: Any) -> None:
        """As `do`, without waiting: `answer` does."""
        message = pickle.dumps((code, values))
        with contextlib.suppress(BrokenPipeError):  # seen by the answer
            _write(self._to, message)

    def answered(self, timeout: float) -> bool:
        """Whether the answer is there within `timeout` seconds."""
        return ready(self._from, timeout)

    def answer(self, timeout: float | None = None) -> Any:
        limit = self.timeout if timeout is None else timeout
        try:
            kind, value = pickle.loads(_read(self._from, time.monotonic() + limit))
        except EOFError:
            status = self.process.wait(limit)
            raise ActorDied(status, f"the process ended with {_name(status)}") from None
        except TimeoutError:
            self.kill()
            raise TimeoutError(f"process {self.pid} did not answer within {limit} s and was killed") from None
        if kind == "raised":
            raise value
        return value

    def kill(self, number: int = KILL) -> int:
        """Ends and reaps it. Returns its status."""
        if self.process.poll() is None:
            self.process.send_signal(number)
        return self.process.wait(self.timeout)

    def finish(self, timeout: float | None = None) -> int:
        """Lets it end in the normal way. Returns its status."""
        if self._to >= 0:
            os.close(self._to)
            self._to = -1
        return self.process.wait(self.timeout if timeout is None else timeout)

    def close(self) -> None:
        try:
            self.kill()
        finally:
            for fd in (self._to, self._from):
                if fd >= 0:
                    os.close(fd)
            self._to = self._from = -1
            for pipe in (self.process.stdout, self.process.stderr):
                if pipe is not None:
                    pipe.close()

    def __enter__(self) -> Actor:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def _name(status: int) -> str:
    return f"signal {signal.Signals(-status).name}" if status < 0 else f"exit code {status}"


def _write(fd: int, message: bytes) -> None:
    block = memoryview(_SIZE.pack(len(message)) + message)
    while block:
        block = block[os.write(fd, block) :]


def _read(fd: int, deadline: float | None = None) -> bytes:
    (size,) = _SIZE.unpack(_exactly(fd, _SIZE.size, deadline))
    return _exactly(fd, size, deadline)


def _exactly(fd: int, size: int, deadline: float | None) -> bytes:
    parts = []
    while size:
        if deadline is not None and not ready(fd, max(deadline - time.monotonic(), 0)):
            raise TimeoutError
        part = os.read(fd, size)
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)


def serve(commands: int, results: int) -> None:
    """The loop of the other process, until its pipe is closed."""
    namespace: dict[str, Any] = {"__name__": "__main__"}
    while True:
        try:
            code, values = pickle.loads(_read(commands))
        except EOFError:
            return
        namespace.update(values)
        namespace["_result"] = None
        try:
            exec(compile(code, "<actor>", "exec"), namespace)
            answer = ("value", namespace["_result"])
        except Exception as error:  # noqa: BLE001 - it is the answer
            answer = ("raised", _travels(error))
        try:
            message = pickle.dumps(answer)
        except Exception as error:  # noqa: BLE001 - it is the answer
            message = pickle.dumps(("raised", Remote(f"the result cannot travel: {error!r}")))
        _write(results, message)


def _travels(error: Exception) -> Exception:
    text = "".join(traceback.format_exception(error))
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:  # noqa: BLE001 - whatever it is, its text goes instead
        return Remote(text)
    error.add_note(text)
    return error

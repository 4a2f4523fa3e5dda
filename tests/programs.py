# SPDX-License-Identifier: MIT
"""Starts programs as a shell does: real processes, with pipes or on a pseudo-terminal, ended whatever happens."""

from __future__ import annotations

import contextlib
import json
import os
import re
import select
import struct
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

from support.here import WINDOWS

if not WINDOWS:
    import fcntl
    import pty
    import termios

PYTHON = [sys.executable, "-W", "error"]
MMF = [*PYTHON, "-m", "memorymapped"]
SAMPLES = Path(__file__).resolve().parent.parent / "samples"
LIMIT = 30.0  # seconds for anything that a test waits for

Process = subprocess.Popen[str]


def finished(*command: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Runs a command to its end, with its output as text."""
    return subprocess.run(
        [str(part) for part in command],
        capture_output=True,
        stdin=subprocess.DEVNULL,
        encoding="utf-8",
        errors="surrogateescape",
        timeout=LIMIT,
        check=False,
        **options,
    )


@contextlib.contextmanager
def started(*command: object, **options: Any) -> Iterator[Process]:
    """Starts a command with three pipes; killed and reaped at the end."""
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
    process: Process = subprocess.Popen([str(part) for part in command], encoding="utf-8", **pipes)
    try:
        yield process
    finally:
        if process.poll() is None:
            process.kill()
        for name in ("stdin", "stdout", "stderr"):  # a test closed a pipe
            if (pipe := getattr(process, name)) is not None and pipe.closed:
                setattr(process, name, None)
        process.communicate()
        process.wait()


def line_with(process: Process, text: str) -> str:
    """What the process says up to and with the first line that has `text`."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if text in line:
            return said
    raise AssertionError(f"{text!r} was never said, only: {said}")


def sample(name: str) -> list[str]:
    """The command that runs a sample."""
    return [*PYTHON, str(SAMPLES / f"{name}.py")]


def enter(process: Process) -> str:
    """Presses Enter; what the program says from then on. It must end well."""
    rest, errors = process.communicate("\n", timeout=LIMIT)
    assert (process.returncode, errors) == (0, "")
    return rest


def until(condition: Callable[[], object], what: str) -> None:
    """Waits for a condition, with a limit."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, f"waited in vain until {what}"
        time.sleep(0.001)


def state(pid: int) -> str:
    """What a process does: R runs, S sleeps, T stopped, Z zombie; empty if there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    return state(pid) not in ("", "Z", "X")


class Terminal:
    """A process whose controlling terminal we are."""

    def __init__(self, *command: object, columns: int = 80, rows: int = 24, **options: Any) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        environment = {**os.environ, "TERM": "xterm-256color", **options.pop("env", {})}
        for name in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR"):
            environment.pop(name, None)
        self.process = subprocess.Popen(
            [str(part) for part in command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
            env=environment,
            **options,
        )
        os.close(slave)
        self.shown = ""

    def read(self, text: str | None = None) -> str:
        """Reads until `text` was shown, or to the end. All that was shown so far."""
        end = time.monotonic() + LIMIT
        while text is None or text not in self.shown:
            ready = select.select([self._master], [], [], max(0.0, end - time.monotonic()))[0]
            assert ready, f"waited in vain for {text!r}; shown: {self.shown!r}"
            try:
                piece = os.read(self._master, 65536)
            except OSError:  # EIO: the other side has been closed
                piece = b""
            if not piece:
                assert text is None, f"{text!r} was never shown, only {self.shown!r}"
                break
            self.shown += piece.decode(errors="replace")
        return self.shown

    def type(self, keys: bytes) -> None:
        """Keys of a user."""
        os.write(self._master, keys)

    def wait(self) -> int:
        """Its end, and how. What it shows is read until then: who writes to a full terminal does not end."""
        if self._master >= 0:
            self.read()
        return self.process.wait(LIMIT)

    def hang_up(self) -> None:
        """The terminal goes away, as when its window is closed."""
        os.close(self._master)
        self._master = -1

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, *exception: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)


def plain(shown: str) -> str:
    """Without the codes for colours and cursor."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


class Result(NamedTuple):
    """What a command said."""

    code: int
    out: str
    err: str

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def said(self) -> str:
        """The one line of a failure."""
        assert self.out == ""
        assert self.err.count("\n") == 1
        assert "Traceback" not in self.err
        return self.err.rstrip("\n")


Tool = Callable[..., Result]

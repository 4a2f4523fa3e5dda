# SPDX-License-Identifier: MIT
"""Other processes that a test steers step by step, so that it needs no pause to wait for them.

`peer("m = MemoryMappedFile.create_new('x', 10)")` runs statements there, `peer.ask("m.capacity")` evaluates there, and
both return when it is done; `peer.refusal("...")` returns the exception that it raised, as `Refusal`.
`peer.fork(folder)` has it fork, and returns the child, which is steered in the same way.
"""

from __future__ import annotations

import ast
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple, TextIO

import pytest
from support.here import EVERYTHING, KILL, KILLED, WINDOWS, ready

LIMIT = 30.0  # seconds for one answer
NOBODY = 65534

_PREAMBLE = f"""
import ast, os, sys, warnings
{EVERYTHING}
from memorymapped import MemoryMappedFileAccess as Access, MemoryMappedFileRights as Rights
from memorymapped import MemoryMappedFileOptions as Options, MemoryMappedFileSecurity as Security
warnings.simplefilter("ignore", ResourceWarning)  # tests drop maps, and say so where it matters
"""

# Another user may not be able to read this interpreter's own files: all that is needed is loaded before.
_OTHER_USER = """
import base64, ctypes, fcntl, grp, hashlib, json, pwd, signal, stat, tempfile, threading, traceback
os.setgroups([]); os.setresgid({uid}, {uid}, {uid}); os.setresuid({uid}, {uid}, {uid})
assert ctypes.CDLL(None).prctl(4, 1, 0, 0, 0) == 0  # PR_SET_DUMPABLE: /proc/self is the new user's, as after an exec
"""

_LOOP = """
def _serve(lines, answers):
    for line in lines:
        kind, code = ast.literal_eval(line)
        try:
            answer = ("value", eval(code, globals()) if kind == "ask" else exec(code, globals()))
        except BaseException as error:
            if isinstance(error, SystemExit) and kind == "run":
                raise
            names = [base.__name__ for base in type(error).__mro__]
            answer = ("error", (names, str(error), getattr(error, "errno", None)))
        print(ascii(answer), file=answers, flush=True)
def _fork(folder):
    pid = os.fork()
    if pid == 0:
        with open(f"{folder}/lines") as lines, open(f"{folder}/answers", "w") as answers:
            _serve(lines, answers)
        os._exit(0)
    return pid
_serve(sys.stdin, sys.stdout)
"""


class Refusal(NamedTuple):
    """An exception that was raised in another process: the names of its class and of that class's bases."""

    names: list[str]
    message: str
    errno: int | None

    def __str__(self) -> str:
        return f"{self.names[0]}: {self.message}"

    def is_a(self, *classes: type[BaseException]) -> bool:
        """Whether it is of all of these classes."""
        return all(cls.__name__ in self.names for cls in classes)


class Steered:
    """A process at the other end of two streams."""

    pid: int
    lines: TextIO
    answers: TextIO

    def tell(self, kind: str, code: str) -> None:
        """Sends a request and does not wait: `answer` does."""
        self.lines.write(ascii((kind, code)) + "\n")
        self.lines.flush()

    def answer(self) -> Any:
        """What the last request gave: its value, or a Refusal."""
        assert ready(self.answers.fileno(), LIMIT), "the other process did not answer in time"
        line = self.answers.readline()
        assert line, "the other process ended instead of answering"
        kind, value = ast.literal_eval(line)
        return Refusal(*value) if kind == "error" else value

    def _exchange(self, kind: str, code: str) -> Any:
        self.tell(kind, code)
        return self.answer()

    def __call__(self, code: str) -> None:
        answer = self._exchange("run", code)
        assert answer is None, f"{code!r} raised {answer}"

    def ask(self, code: str) -> Any:
        answer = self._exchange("ask", code)
        assert not isinstance(answer, Refusal), f"{code!r} raised {answer}"
        return answer

    def refusal(self, code: str) -> Refusal:
        answer = self._exchange("run", code)
        assert isinstance(answer, Refusal), f"{code!r} raised nothing"
        return answer


class Peer(Steered):
    """A child process. Ended by `end` (normal exit), `kill`, or by what it was told to run (`last`)."""

    def __init__(
        self,
        run: Callable[..., subprocess.Popen[str]],
        *,
        root: Path | None = None,
        uid: int | None = None,
        before: str = "",
        **options: Any,
    ) -> None:
        if root is not None:
            options["env"] = {**os.environ, "MEMORYMAPPED_ROOT": str(root)}
        drop = "" if uid is None else _OTHER_USER.format(uid=uid)
        self.process = run(before + _PREAMBLE + drop + _LOOP, **options)
        self.pid = self.process.pid
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.lines, self.answers = self.process.stdin, self.process.stdout  # type: ignore[assignment]
        self.forked: list[Forked] = []

    def fork(self, folder: Path) -> Forked:
        """Has it fork. `folder`: where the pipes to the child may be made."""
        place = folder / f"{self.pid}-{len(self.forked)}"
        place.mkdir()
        os.mkfifo(place / "lines")
        os.mkfifo(place / "answers")
        child = Forked(self.ask(f"_fork({str(place)!r})"), place)
        self.forked.append(child)
        return child

    def last(self, code: str) -> int:
        """Runs what ends it, and gives its exit status (negative: the signal)."""
        self.tell("run", code)
        return self.process.wait(LIMIT)

    def end(self) -> None:
        """Normal exit."""
        for child in self.forked:
            child.end()
        if self.process.poll() is None:
            self.lines.close()
            self.process.stdin = None  # communicate() must not flush it
            assert self.process.wait(LIMIT) == 0

    def kill(self, number: int = KILL) -> None:
        self.process.send_signal(number)
        assert self.process.wait(LIMIT) == (KILLED if number == KILL else -number)


class Forked(Steered):
    """The child of a peer that was told to fork. It ends by os._exit, as such children do."""

    def __init__(self, pid: int, place: Path) -> None:
        self.pid = pid
        self._end = os.pidfd_open(pid)
        self.lines = open(place / "lines", "w")  # noqa: SIM115
        self.answers = open(place / "answers")  # noqa: SIM115

    def end(self) -> None:
        """Has it end, if it has not, and waits for that."""
        if not self.lines.closed:
            self.lines.close()
            self._wait()

    def kill(self) -> None:
        signal.pidfd_send_signal(self._end, signal.SIGKILL)
        self.lines.close()
        self._wait()

    def last(self, code: str) -> None:
        """Runs what ends it."""
        self.tell("run", code)
        self.lines.close()
        self._wait()

    def _wait(self) -> None:
        ended = ready(self._end, LIMIT)
        os.close(self._end)
        self.answers.close()
        assert ended, "the child did not end in time"


@contextmanager
def peers(run: Callable[..., subprocess.Popen[str]], **common: Any) -> Iterator[Callable[..., Peer]]:
    """Makes peers; those that are there at the end are ended normally, so that they leave nothing."""
    made: list[Peer] = []

    def make(**options: Any) -> Peer:
        peer = Peer(run, **{**common, **options})
        made.append(peer)
        return peer

    try:
        yield make
    finally:
        for peer in made:
            peer.end()


needs_root = pytest.mark.skipif(WINDOWS or os.geteuid() != 0, reason="needs root, to act as another user")

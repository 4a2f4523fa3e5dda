# SPDX-License-Identifier: MIT
"""Child processes of `mmf demo`: real ones, told through pipes, each wait with a limit."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import time
from typing import Any

from ..system.pipes import ALONE, is_readable

__all__ = ["Child", "ChildError", "NotSeen"]

LIMIT = 10.0  # seconds for one answer: what a loaded machine needs, not what it takes
PATIENCE = 2.0  # seconds for a child to end by itself


class NotSeen(Exception):
    """What was expected did not happen."""


class ChildError(Exception):
    """What a child did raised: `kind` is the name of the exception there, the message its text."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


class Child:
    """A process of its own running `worker.py`. It ends with `close`, or when this process does, however that ends."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            # -P: a file json.py in the current folder is not ours.
            [sys.executable, "-P", "-m", "memorymapped.cli.worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            **ALONE,  # Ctrl-C is for us, who end it then
        )
        self.pid = self._process.pid
        self._received = b""
        self._ready = False

    def ask(self, do: str, **arguments: Any) -> Any:
        """Tells it to do something; what it saw. ChildError if that raised there, NotSeen if it died or is silent."""
        self.tell(do, **arguments)
        return self.answer()

    def tell(self, do: str, **arguments: Any) -> None:
        """Tells it to do something that takes until `answer` asks for it."""
        assert self._process.stdin is not None
        if not self._ready:
            if self._answer() != {"seen": self.pid}:
                raise NotSeen(f"the process {self.pid} is not the one that was started")
            self._ready = True
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._died() from None

    def answer(self) -> Any:
        """What it saw of what it was told; as `ask`."""
        answer = self._answer()
        if "error" in answer:
            raise ChildError(answer["error"], answer["text"])
        return answer["seen"]

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        pipe = self._process.stdout.fileno()
        until = time.monotonic() + LIMIT
        while b"\n" not in self._received:
            if not is_readable(pipe, max(0.0, until - time.monotonic())):
                raise NotSeen(f"process {self.pid} did not answer within {LIMIT:.0f} seconds")
            piece = os.read(pipe, 65536)
            if not piece:
                raise self._died()
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def _died(self) -> NotSeen:
        assert self._process.stderr is not None
        try:
            code = self._process.wait(LIMIT)
        except subprocess.TimeoutExpired:
            return NotSeen(f"process {self.pid} closed its output and goes on")
        said = self._process.stderr.read().decode(errors="replace").strip().splitlines()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return NotSeen(f"process {self.pid} {how}{': ' + said[-1] if said else ''}")

    def kill(self) -> int:
        """Ends it at once; its exit status."""
        self._process.kill()
        return self._process.wait(LIMIT)

    def dismiss(self) -> None:
        """Tells it that no more will be asked: it closes its map and ends."""
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # it has ended already
            self._process.stdin.close()

    def close(self) -> None:
        """Waits for its end, or makes one; leaves no zombie."""
        self.dismiss()
        try:
            self._process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(LIMIT)
        for pipe in (self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

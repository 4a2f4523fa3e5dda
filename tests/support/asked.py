# SPDX-License-Identifier: MIT
"""A forked process that does something each time it is asked to, and says what came of it."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import traceback
from collections.abc import Callable

from . import killer


class Asked:
    """Calls `act` for each question. What that gives, or the traceback of what it raises, is heard here."""

    def __init__(self, act: Callable[[], str]) -> None:
        there, self.to = os.pipe()
        self.ear, mouth = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                os.close(self.to)
                while os.read(there, 1):
                    os.write(mouth, act().encode())
            except BaseException:  # noqa: BLE001 - it is told
                os.write(mouth, traceback.format_exc()[-1500:].encode())
            finally:
                os._exit(0)
        os.close(there)
        os.close(mouth)
        killer.spared.add(self.pid)

    def ask(self) -> None:
        os.write(self.to, b"w")

    def heard(self, seconds: float) -> str | None:
        """None: nothing yet."""
        if not select.select([self.ear], [], [], seconds)[0]:
            return None
        return os.read(self.ear, 4000).decode()

    def close(self) -> None:
        os.close(self.to)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        killer.spared.discard(self.pid)
        os.close(self.ear)

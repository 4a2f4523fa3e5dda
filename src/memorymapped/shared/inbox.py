# SPDX-License-Identifier: MIT
"""The inbox of a single instance: where newcomers hand over their command lines.

A small map of two numbers, two events and a fair mutex, all named. Whoever comes first makes them, the instance or a
newcomer, and they end with their last user.

    offered   the number of the command line that is handed over now, 0: none
    accepted  the number of the last one that was taken

Sender    1  lock `sending`: one at a time, as they come. (Its owner was killed: it is ours.) Reset both events.
          2  put the command line into a map of its own, whose name has a random number. It lives as long as the sender.
          3  store the number as offered; set `posted`; wait for `taken` until the number is accepted.
          4  in any case: nothing is offered, drop the map, unlock.
Receiver  1  wait for `posted`. It resets itself, so one receiver has seen it.
          2  copy the map of the number that is offered. There is none: its sender has ended, or has given up.
          3  it is still offered: store it as accepted, set `taken`. Only then the program gets it.

- Sender killed: its map is gone at once, the mutex goes to the next one. What it had posted is reset by that one; if a
  receiver has seen it already, it finds no map, or the next one's, which is accepted a moment early: its own `posted`
  then finds it accepted.
- Receiver killed: the sender looks every 0.1 s whether it lives. One that closes sets `taken`.
- Time over: if `posted` can be taken back nobody has seen it. Otherwise a receiver is between 1 and 3, and gets a
  second; if it was stopped there, it finds nothing offered when it goes on.
"""

from __future__ import annotations

import contextlib
import errno
import os
import time

from .._typing import TYPE_CHECKING
from ..enums import MemoryMappedFileAccess as Access
from ..enums import MemoryMappedFileRights as Rights
from ..errors import AbandonedMutexError
from ..file import MemoryMappedFile
from ..record import Record
from ..security import AccessRule, MemoryMappedFileSecurity
from ..sync.events import AutoResetEvent
from ..sync.fair import FairMutex
from ..system.names import Name, Scope
from ..timeouts import FOREVER

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

__all__ = ["CommandLine", "Inbox"]

SIZE = 16
OFFERED, ACCEPTED = 0, 8
LOOK = 0.1  # seconds after which a sender looks whether the receiver lives
GRACE = 1.0  # seconds for a receiver that has seen the post when the sender's time is over


class CommandLine(Record):
    """What a newcomer hands over: its `arguments`, its current folder `cwd` (None: it has been removed), and its
    `process` id; all as it says itself."""

    __slots__ = {
        "arguments": "What the newcomer was started with, or sends instead.",
        "cwd": "Its current folder; None if that has been removed.",
        "process": "Its process id.",
    }

    arguments: list[str]
    cwd: str | None
    process: int

    def __init__(self, arguments: list[str], cwd: str | None, process: int) -> None:
        self.arguments = arguments
        self.cwd = cwd
        self.process = process


def encode(arguments: Iterable[str | bytes | os.PathLike[str] | os.PathLike[bytes]]) -> bytes:
    """This process's command line with these arguments, each ended by NUL as the system keeps them, behind its length.
    TypeError; ValueError for what cannot be an argument."""
    if isinstance(arguments, (str, bytes)):
        raise TypeError(f"arguments are a list of str, as sys.argv[1:], not {type(arguments).__name__}")
    try:
        cwd = os.getcwdb()
    except FileNotFoundError:
        cwd = b""
    words = [os.fsencode(argument) for argument in arguments]
    for word in words:
        if b"\0" in word:
            raise ValueError("an argument must not contain NUL")
        os.fsdecode(word)  # ValueError: where file names are text, bytes that are none
    line = b"".join(word + b"\0" for word in (b"%d" % os.getpid(), cwd, *words))
    return b"%d\0%b" % (len(line), line)


def decode(data: bytes) -> CommandLine:
    """The reverse; anything may follow, as memory may be whole pages. ValueError for what `encode` does not make."""
    length, _, line = data.partition(b"\0")
    process, cwd, *words, rest = line[: int(length)].split(b"\0")
    if rest or int(length) > len(line):
        raise ValueError("the last argument has no end")
    return CommandLine([os.fsdecode(word) for word in words], os.fsdecode(cwd) or None, int(process))


class Inbox:
    """One process's side of the inbox that belongs to the instance of a name."""

    def __init__(self, name: Name) -> None:
        self._name = f"{name.scope.value}\\SingleInstance/{name.text}"
        # Several users share only a global one; the others lie in folders that nobody else can enter.
        self._security = (
            MemoryMappedFileSecurity([AccessRule("everyone", Rights.READ_WRITE)])
            if name.scope is Scope.GLOBAL
            else None
        )
        with contextlib.ExitStack() as stack:
            numbers = stack.enter_context(MemoryMappedFile.create_or_open(self._name, SIZE, security=self._security))
            self._view = stack.enter_context(numbers.create_view_accessor(0, SIZE))
            self._posted = stack.enter_context(AutoResetEvent(name=f"{self._name}/posted"))
            self._taken = stack.enter_context(AutoResetEvent(name=f"{self._name}/taken"))
            self._opened = stack.pop_all()

    def close(self) -> None:
        """Lets go of it. A `receive` of another thread raises ClosedError."""
        self._opened.close()

    # -- the instance

    def receive(self, limit: float) -> CommandLine | None:
        """Waits for a command line, `limit` seconds at most (FOREVER); None if the time is over."""
        deadline = time.monotonic() + limit
        while self._posted.wait_one(limit if limit <= 0 else max(0.0, deadline - time.monotonic())):
            line = self._accept()
            if line is not None:
                return line
        return None

    def wake_sender(self) -> None:
        """Has a sender look whether the receiver lives."""
        self._taken.set()

    def _accept(self) -> CommandLine | None:
        number = self._view.read_uint64(OFFERED)
        if number == 0 or number == self._view.read_uint64(ACCEPTED):
            return None
        try:
            with (
                MemoryMappedFile.open_existing(self._letter(number), Rights.READ) as map,
                map.create_view_accessor(access=Access.READ) as view,
            ):
                line = decode(view[:])
        except FileNotFoundError:
            return None
        except ValueError:
            return None  # it is none of ours: a program of another kind uses these names
        if self._view.read_uint64(OFFERED) != number:
            return None
        self._view.write_uint64(ACCEPTED, number)
        self._taken.set()
        return line

    def _letter(self, number: int) -> str:
        return f"{self._name}/{number:016x}"

    # -- newcomers

    def send(self, data: bytes, limit: float, check: Callable[[], object]) -> bool:
        """Hands over an encoded command line: whether it was accepted within `limit` seconds (FOREVER). `check()`
        raises if the receiver has ended. TimeoutError if other newcomers take all the time."""
        deadline = float("inf") if limit == FOREVER else time.monotonic() + limit
        with contextlib.closing(FairMutex(name=f"{self._name}/sending")) as sending:
            self._wait_for_turn(sending, limit)
            try:
                self._posted.reset()
                self._taken.reset()
                number = int.from_bytes(os.urandom(8), "little") | 1
                with (
                    MemoryMappedFile.create_new(self._letter(number), len(data), security=self._security) as map,
                    map.create_view_accessor() as view,
                ):
                    view.write_array(0, data)
                    return self._hand_over(number, deadline, check)
            finally:
                sending.release_mutex()

    def _wait_for_turn(self, sending: FairMutex, limit: float) -> None:
        try:
            if sending.wait_one(limit):
                return
        except AbandonedMutexError:
            return  # a sender was killed: what it offered went with it
        process = sending.statistics().owner_process
        who = "other newcomers have" if process is None else f"process {process} has"
        raise TimeoutError(
            errno.ETIMEDOUT, f"{who} been handing over another command line for {limit:g} s: the queue has not moved"
        )

    def _hand_over(self, number: int, deadline: float, check: Callable[[], object]) -> bool:
        self._view.write_uint64(OFFERED, number)
        try:
            self._posted.set()
            if self._is_accepted(number, deadline, check):
                return True
            if self._posted.wait_one(0):
                return False
            return self._is_accepted(number, time.monotonic() + GRACE, check)
        finally:
            self._view.write_uint64(OFFERED, 0)
            self._posted.reset()

    def _is_accepted(self, number: int, deadline: float, check: Callable[[], object]) -> bool:
        while self._view.read_uint64(ACCEPTED) != number:
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            self._taken.wait_one(min(left, LOOK))
            if self._view.read_uint64(ACCEPTED) != number:
                check()
        return True

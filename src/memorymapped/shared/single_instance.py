# SPDX-License-Identifier: MIT
"""SingleInstance: a program that runs once at a time, and gets the command lines of those who start it again.

Who owns the named mutex is the instance. So `kill -9` frees it at once, who it is can be told, and a C# program takes
part that owns it as well: `new Mutex(true, name, out created)`. A mutex is owned by a thread, and any thread may make
or end an instance: so a thread of its own owns it.
"""

from __future__ import annotations

import atexit
import errno
import os
import threading
import time
from datetime import datetime

from .._typing import TYPE_CHECKING
from ..errors import AbandonedMutexError, AlreadyRunningError, ClosedError
from ..record import Record
from ..sync.mutex import Mutex
from ..system.forks import after_in_child
from ..system.names import parse
from ..system.processes import command_of, start_of
from ..timeouts import seconds
from .inbox import CommandLine, Inbox, encode

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from datetime import timedelta
    from typing import NoReturn, Self

__all__ = ["CommandLine", "InstanceHolder", "SingleInstance"]

PATIENCE = 1.0  # seconds that a close waits for a callback at work
RECORDED = 0.1  # seconds within which an owner of a mutex has said who it is


class InstanceHolder(Record):
    """Who is the instance: its `process` id, its `command` line, and `since` when that process runs (local time). What
    cannot be known is None."""

    __slots__ = {
        "command": "Its command line; None if it cannot be known.",
        "process": "Its process id; None if it cannot be known.",
        "since": "When that process began, in local time; None if it cannot be known.",
    }

    process: int | None
    command: str | None
    since: datetime | None

    def __init__(self, process: int | None) -> None:
        started = None if process is None else start_of(process)
        self.process = process
        self.command = None if process is None else command_of(process)
        self.since = None if started is None else datetime.fromtimestamp(started).astimezone()

    def __str__(self) -> str:
        if self.process is None:
            return "a process that cannot be seen from here"
        command = "" if self.command is None else f" ({self.command!r:.100})"
        since = "" if self.since is None else f", since {self.since:%Y-%m-%d %H:%M:%S}"
        return f"process {self.process}{command}{since}"


class SingleInstance:
    """The one running instance of a program, among all processes that use the same `name`:

        with SingleInstance("editor"):
            main()

    If another process is the instance, the `with` raises AlreadyRunningError, which tells who. Without exceptions:
    `is_first` says whether this process is the instance, `holder` who is. It ends with `close`, which the end of the
    `with` calls, or with the process, however that ends; not with the last reference. One that crashed is in nobody's
    way.

    A newcomer hands over its command line by `send`, here or of the error. The instance gets it by
    `on_arguments(command_line)`, which a thread of its own calls for one after the other; or by `receive`; or by
    iterating over this object, which ends when it is closed.

    The name is that of a `Mutex`: `X` is for this user, `Local\\X` for the session, `Global\\X` for the machine, where
    every user may hand over command lines. A forked child is not the instance. Raises what Mutex raises."""

    __slots__ = {
        "__weakref__": "",
        "_closed": "",
        "_inbox": "",
        "_keeper": "None: this process is not the instance, or not any more.",
        "_lock": "",
        "_name": "",
        "_on_arguments": "",
        "_server": "",
        "holder": "Who is the instance; for a newcomer who was, when this object was made.",
    }

    holder: InstanceHolder
    _keeper: _Keeper | None
    _inbox: Inbox | None
    _server: threading.Thread | None

    def __init__(self, name: str, on_arguments: Callable[[CommandLine], object] | None = None) -> None:
        if name is None:
            raise TypeError("a single instance is told from others by its name, which cannot be None")
        if on_arguments is not None and not callable(on_arguments):
            raise TypeError(f"on_arguments is a function of a CommandLine, not {type(on_arguments).__name__}")
        self._name = parse(name)
        self._on_arguments = on_arguments
        self._keeper = self._inbox = self._server = None
        self._closed = False
        self._lock = threading.RLock()
        token = Mutex(name=name)
        try:
            while not self._begin(token):
                holder = _owner(token)
                if holder is not None:
                    self.holder = holder
                    break
        finally:
            if self._keeper is None:
                token.close()

    def _begin(self, token: Mutex) -> bool:
        """Whether this process is the instance now."""
        if token.locked():
            return False
        keeper = _Keeper(token)
        if not keeper.owns:
            return False
        self._keeper = keeper
        self.holder = InstanceHolder(os.getpid())
        _running.add(self)
        if self._on_arguments is not None:
            self._server = threading.Thread(target=self._serve, name=f"{self._name.given} arguments", daemon=True)
            self._server.start()
        return True

    # -- what it is

    @property
    def name(self) -> str:
        """The name as it was given."""
        return self._name.given

    @property
    def is_first(self) -> bool:
        """Whether this process is the instance: not after close, and not in a forked child."""
        return self._keeper is not None

    @property
    def closed(self) -> bool:
        """True after close(), and in a forked child."""
        return self._closed

    def __repr__(self) -> str:
        state = "closed" if self._closed else "running" if self.is_first else f"not this process, but {self.holder}"
        return f"<{type(self).__name__} {self.name!r}, {state}>"

    def __enter__(self) -> Self:
        self._check_open()
        if not self.is_first:
            raise AlreadyRunningError(self.name, self.holder, self)
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # -- the instance

    def receive(self, timeout: float | timedelta | None = None) -> CommandLine | None:
        """The next command line that a newcomer hands over: waits `timeout` seconds at most (None: for ever; 0: only
        looks), and gives None then. ClosedError, also if it is closed meanwhile; RuntimeError if this process is not
        the instance. (With `on_arguments` too, either gets one.)"""
        limit = seconds(timeout)
        self._check_open()
        if not self.is_first:
            raise RuntimeError(
                f"only the running instance receives command lines; that of {self.name!r} is {self.holder}"
            )
        with self._lock:
            self._check_open()
            if self._inbox is None:
                self._inbox = Inbox(self._name)
            inbox = self._inbox
        try:
            return inbox.receive(limit)
        except ClosedError:
            self._check_open()
            raise

    def __iter__(self) -> Iterator[CommandLine]:
        """The command lines that newcomers hand over, until it is closed."""
        while not self._closed:
            try:
                line = self.receive()
            except ClosedError:
                return
            if line is not None:
                yield line

    def _serve(self) -> None:
        """The thread that calls `on_arguments`."""
        assert self._on_arguments is not None
        for line in self:
            try:
                self._on_arguments(line)
            except Exception as error:  # noqa: BLE001 - told as that of any thread, and the next one is served
                context = (type(error), error, error.__traceback__, threading.current_thread())
                threading.excepthook(threading.ExceptHookArgs(context))

    # -- newcomers

    def send(
        self,
        arguments: Iterable[str | bytes | os.PathLike[str] | os.PathLike[bytes]],
        timeout: float | timedelta | None = 5.0,
    ) -> None:
        """Hands a command line over to the running instance: `arguments` as in sys.argv[1:], and this process's
        current folder. Returns when the instance has taken it, whether it was running when this object was made or is
        a later one.

        TimeoutError if it does not within `timeout` seconds (None: waits for ever): it will not see them then.
        ProcessLookupError if the instance has ended. RuntimeError if this process is the instance. TypeError,
        ValueError for what cannot be arguments; OSError if there is no memory for them."""
        limit = seconds(timeout)
        data = encode(arguments)
        if self.is_first:
            raise RuntimeError(f"this process is the instance of {self.name!r}: there is nobody to hand over to")
        token = Mutex.try_open_existing(self.name)
        if token is None:
            self._refuse_ended()
        inbox = None
        try:
            if not token.locked():
                self._refuse_ended()
            inbox = Inbox(self._name)
            if not inbox.send(data, limit, lambda: token.locked() or self._refuse_ended()):
                who = f"the instance of {self.name!r}, {_owner(token)},"
                raise TimeoutError(errno.ETIMEDOUT, f"{who} has not taken the command line within {limit:g} s")
        finally:
            if inbox is not None:
                inbox.close()
            token.close()

    def _refuse_ended(self) -> NoReturn:
        raise ProcessLookupError(
            errno.ESRCH,
            f"the instance of {self.name!r}, {self.holder}, has ended without taking the command line: another can be "
            "the instance now",
        )

    # -- the end

    def close(self) -> None:
        """Ends the instance: another process can be it at once. Waits a second at most for a callback at work. A second
        call does nothing, and neither does one of a newcomer."""
        with self._lock:
            keeper, self._keeper = self._keeper, None
            inbox, self._inbox = self._inbox, None
            self._closed = True
        _running.discard(self)
        if keeper is not None:
            keeper.end()
        if inbox is not None:
            inbox.wake_sender()  # who finds the mutex free
            inbox.close()
        server = self._server
        if server is not None and server is not threading.current_thread():
            server.join(PATIENCE)

    def _forget(self) -> None:
        """In a forked child: the parent is the instance, and stays it."""
        keeper, self._keeper = self._keeper, None
        inbox, self._inbox = self._inbox, None
        self._closed = True
        self._server = None
        self._lock = threading.RLock()
        if inbox is not None:
            inbox.close()
        if keeper is not None:
            keeper.token.close()

    def _check_open(self) -> None:
        if self._closed:
            raise ClosedError(f"{self!r} is closed")

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self!r} cannot be pickled: a process is the instance, and cannot send that to another")


class _Keeper(threading.Thread):
    """Owns the mutex while it runs."""

    def __init__(self, token: Mutex) -> None:
        super().__init__(name=f"{token.name} instance", daemon=True)
        self.token = token
        self.owns = False
        self._failure: BaseException | None = None
        self._decided = threading.Event()
        self._ending = threading.Event()
        try:
            self.start()
            self._decided.wait()
        except BaseException:  # Ctrl-C: it may own the mutex in a moment
            self._ending.set()
            raise
        if self._failure is not None:
            raise self._failure

    def run(self) -> None:
        """The thread."""
        try:
            self.owns = self.token.wait_one(0)
        except AbandonedMutexError:
            self.owns = True  # the instance before has crashed
        except BaseException as failure:  # noqa: BLE001 - it is raised in the thread that started this one
            self._failure = failure
        finally:
            self._decided.set()
        if self.owns:
            self._ending.wait()
            self.token.release_mutex()
            self.token.close()

    def end(self) -> None:
        """Gives the mutex back."""
        self._ending.set()
        self.join()


def _owner(token: Mutex) -> InstanceHolder | None:
    """Who owns it; None if nobody does any more."""
    deadline = time.monotonic() + RECORDED
    while token.locked():
        process = token.statistics().owner_process
        if process is not None or time.monotonic() > deadline:
            return InstanceHolder(process)
        time.sleep(0.001)  # it was taken a moment ago
    return None


_running: set[SingleInstance] = set()
"""The instances that this process is: they live until they are closed, whether or not anybody refers to them."""


def _close_all() -> None:
    for instance in list(_running):
        instance.close()


def _forget_all() -> None:
    for instance in list(_running):
        instance._forget()
    _running.clear()


atexit.register(_close_all)
after_in_child(_forget_all)

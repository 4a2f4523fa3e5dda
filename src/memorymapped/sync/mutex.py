# SPDX-License-Identifier: MIT
"""Mutex: a lock between processes and threads that outlives its owner.

.NET's class of that name, and on Linux its very files: `Mutex(name="Global\\X")` here and `new Mutex(false,
@"Global\\X")` in a C# program are one mutex. A process that ends while it owns one, kill -9 included, leaves it to the
next, who is told.
"""

from __future__ import annotations

import contextlib
import errno
import sys
import warnings

from .._native.memory import adopt_methods
from .._native.robust import MutexHandle, unnamed_mutex
from .._typing import TYPE_CHECKING
from ..errors import AbandonedMutexError, ClosedError, WaitHandleNotFoundError
from ..record import Record
from ..system.mutexes import NamedMutex, open_mutex
from ..system.names import parse

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Any, Self

    from .._native.robust import RobustMutex

__all__ = ["Mutex", "MutexStatistics", "PreviousOwner"]


class PreviousOwner(Record):
    """What is known of who abandoned a mutex: `process` is its process id, None if it left none."""

    __slots__ = ("process",)

    def __init__(self, process: int | None) -> None:
        self.process = process


class MutexStatistics(Record):
    """A mutex as it was a moment ago.

    `owner_process` and `owner_thread` are the ids of who owns it (None: nobody, or not known), `has_waiters` whether a
    thread sleeps until it is free. This process's own share: `handles` open, `acquisitions`, `waits` (acquisitions that
    could not be had at once), `abandonments` (found abandoned)."""

    __slots__ = (
        "abandonments",
        "acquisitions",
        "handles",
        "has_waiters",
        "owner_process",
        "owner_thread",
        "waits",
    )

    def __init__(self, core: RobustMutex, handles: int) -> None:
        self.owner_process, self.owner_thread, self.has_waiters = core.state
        self.handles = handles
        self.acquisitions = core.acquisitions
        self.waits = core.waits
        self.abandonments = core.abandonments


@adopt_methods
class Mutex(MutexHandle):
    """A mutex: one thread at a time owns it, of all threads of all processes that have it open.

    `Mutex(name=...)` opens the mutex of that name, or makes it (`created_new`); the name ends with the last process
    that has it open. Without a name it is one of this process, and of children forked from it. `initially_owned` gives
    the ownership of a mutex that this call makes to the calling thread.

    The owner is a thread. It may take the mutex again, and must release it as often; nobody else can release it. If it
    ends without that, or its process dies, the next to take the mutex gets `AbandonedMutexError` *and owns it*: what
    the mutex guards may be half done. `with mutex:` takes and releases. If it finds the mutex abandoned, it calls
    `on_abandoned(mutex)`, which repairs, and goes on; without such a function it gives the mutex back marked as
    abandoned, so that the next one is told as well, and raises AbandonedMutexError with `owned=False`.

    Closing (`close`, or the last reference going) while this thread owns it gives it back marked as abandoned, if no
    other handle of this process has it open; while another thread owns it, that thread goes on owning it.

    Names: `X` and `User\\X` are this user's, `Local\\X` this session's, `Global\\X` all users'; see
    `docs/synchronization.md`. Raises InvalidNameError, TypeError, ForeignObjectError, WaitHandleCannotBeOpenedError,
    PermissionError."""

    __slots__ = ("_handle", "_left", "created_new", "on_abandoned")

    created_new: bool
    """Whether this call made the mutex: False if somebody had it open already."""

    on_abandoned: Callable[[Mutex], object] | None
    """What a `with` calls, owning, when it finds the mutex abandoned."""

    _handle: NamedMutex | None
    _left: RobustMutex | None
    """After close: the mutex, if another thread owned it then, which may be about to release it by this handle."""

    def __init__(
        self,
        initially_owned: bool = False,
        name: str | None = None,
        *,
        on_abandoned: Callable[[Mutex], object] | None = None,
    ) -> None:
        self._handle = self._left = None
        self.created_new = True
        self.on_abandoned = on_abandoned
        if not isinstance(initially_owned, bool) and not isinstance(initially_owned, int):
            raise TypeError(
                f"initially_owned is True or False, not {type(initially_owned).__name__}: the name comes second"
            )
        if name is not None and name != "":
            self._adopt(*open_mutex(parse(name), create=True, initially_owned=bool(initially_owned)))
            return
        self._core = unnamed_mutex()
        if initially_owned:
            self._core.try_take()

    def _adopt(self, handle: NamedMutex | None, created: bool) -> None:
        assert handle is not None
        self._handle = handle
        self._core = handle.core
        self.created_new = created

    @classmethod
    def open_existing(cls, name: str) -> Self:
        """The mutex that somebody has open under this name. WaitHandleNotFoundError (a FileNotFoundError) if nobody
        has; TypeError, ValueError ("" as a name) and the errors of the constructor."""
        mutex = cls.try_open_existing(name)
        if mutex is None:
            raise WaitHandleNotFoundError(
                errno.ENOENT, f"nobody has a mutex named {name!r} open: it ends with the last who has"
            )
        return mutex

    @classmethod
    def try_open_existing(cls, name: str) -> Self | None:
        """As `open_existing`, but None if nobody has a mutex of this name open."""
        if name is None:
            raise TypeError("a mutex is opened by its name, not None")
        handle, _ = open_mutex(parse(name), create=False)
        if handle is None:
            return None
        mutex = cls.__new__(cls)
        mutex._left = mutex.on_abandoned = None
        mutex._adopt(handle, False)
        return mutex

    # -- what it is

    @property
    def name(self) -> str | None:
        """The name as it was given; None for one without."""
        return None if self._handle is None else self._handle.name.given

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._core is None

    @property
    def owned(self) -> bool:
        """Whether the calling thread owns it."""
        return self._core is not None and self._core.owned

    def locked(self) -> bool:
        """Whether anybody owns it right now, as Python's locks tell it. ClosedError."""
        return self._opened().state[1] is not None

    def statistics(self) -> MutexStatistics:
        """Who owns it, whether somebody waits, and this process's counts. ClosedError."""
        core = self._opened()
        return MutexStatistics(core, 1 if self._handle is None else self._handle.handles)

    def __repr__(self) -> str:
        what = "unnamed" if self.name is None else repr(self.name)
        if self._core is None:
            return f"<{type(self).__name__} {what}, closed>"
        process, thread, _ = self._core.state
        owner = (
            "free" if thread is None else "owned by this thread" if self._core.owned else f"owned by process {process}"
        )
        return f"<{type(self).__name__} {what}, {owner}>"

    # -- abandoned

    @contextlib.contextmanager
    def recovering(self, repair: Callable[[Mutex], object]) -> Iterator[Self]:
        """`with mutex.recovering(repair):` is `with mutex:` that calls `repair(mutex)`, owning, if it finds the mutex
        abandoned. If `repair` raises, the mutex is given back marked as abandoned."""
        try:
            self.wait_one()
        except AbandonedMutexError:
            self._entered_abandoned(repair)
        try:
            yield self
        finally:
            self.release_mutex()

    def _entered_abandoned(self, repair: Callable[[Mutex], object] | None) -> None:
        """A `with` owns it and has found it abandoned: the body runs only if it was repaired."""
        repair = repair or self.on_abandoned
        core = self._opened()
        if repair is None:
            core.give_back(abandoned=True)
            raise self._abandoned(owned=False)
        try:
            repair(self)
        except BaseException:
            core.give_back(abandoned=True)
            raise

    def _abandoned(self, *, owned: bool = True) -> AbandonedMutexError:
        process = self._opened().last_owner
        who = f"process {process}" if process is not None else "its previous owner"
        what = "mutex" if self.name is None else f"mutex {self.name!r}"
        how = (
            "it is owned by this thread now: look at what it guards, and release it"
            if owned
            else "it was given back, marked as abandoned: on_abandoned= or recovering() repair"
        )
        return AbandonedMutexError(
            f"the {what} was abandoned by {who}; {how}", mutex=self, owned=owned, previous_owner=PreviousOwner(process)
        )

    # -- the private protocol of waits for several objects

    def _try_wait(self) -> bool:
        got = self._opened().try_take()
        if got == 2:
            raise self._abandoned()
        return got != 0

    def _give_back(self, abandoned: bool = False) -> None:
        self._opened().give_back(abandoned)

    def _futex(self) -> None:
        return None  # to sleep on a mutex in a format that others wait on would strand them: it is looked at

    def _order(self) -> tuple[str, int, int]:
        return (
            ("mutex", 0, id(self._core)) if self._handle is None else ("mutex", self._handle.device, self._handle.inode)
        )

    # -- the end

    def close(self) -> None:
        """Closes this handle; a second call does nothing. See the class for a mutex that is owned."""
        core, self._core = self._core, None
        if core is None:
            return
        if core.owned_by_us and not core.owned:
            self._left = core
        if self._handle is not None:
            self._handle.close()
        elif core.owned:
            while core.depth > 1:
                core.give_back()
            core.give_back(abandoned=True)

    dispose = close

    def __del__(self) -> None:
        if getattr(self, "_core", None) is None:
            return
        try:
            if self._handle is not None and not sys.is_finalizing():
                warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
        finally:
            self.close()

    def _opened(self) -> RobustMutex:
        core = self._core
        if core is None:
            raise ClosedError(f"{self!r}: the mutex is closed")
        return core

    def _release_closed(self) -> None:
        """`release_mutex` of a closed handle: for a thread that owned the mutex when another one closed it."""
        if not self._leave_closed():
            raise ClosedError(f"{self!r}: the mutex is closed")

    def _leave_closed(self) -> bool:
        """The end of a `with` whose mutex was closed meanwhile. By this thread: it was given back then."""
        core = self._left
        if core is None or not core.owned:
            return False
        core.give_back()
        return True

    def __reduce__(self) -> tuple[Any, ...]:
        handle = self._handle
        if handle is None or self._core is None:
            raise TypeError(f"{self!r} cannot be pickled: only an open mutex with a name can be found elsewhere")
        return _reopen, (type(self), handle.name.given, handle.device, handle.inode)


def _reopen(cls: type[Mutex], name: str, device: int, inode: int) -> Mutex:
    """Unpickles: opens the name, if it still stands for the same mutex."""
    mutex = cls.open_existing(name)
    handle = mutex._handle
    assert handle is not None
    if (handle.device, handle.inode) != (device, inode):
        mutex.close()
        raise FileNotFoundError(
            errno.ENOENT, f"the mutex {name!r} was closed by all, and made anew since it was pickled"
        )
    return mutex

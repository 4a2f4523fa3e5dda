# SPDX-License-Identifier: MIT
"""What all mutexes have in common: one thread owns them, and who meets an abandoned one is told.

The compiled half (`MutexHandle`) takes and releases. `_core` is the mutex in shared memory, as all handles of this
process share it; `_entry` is what a named one holds, and None for one without a name."""

from __future__ import annotations

import errno
import sys
import warnings

from .._native.robust import MutexHandle, Recovering
from .._typing import TYPE_CHECKING, Protocol
from ..errors import (
    AbandonedMutexError,
    ClosedError,
    MemoryFaultError,
    WaitHandleCannotBeOpenedError,
    WaitHandleNotFoundError,
)
from ..record import Record
from ..system.names import parse
from .awaiting import WaitHandle, was_closed

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager
    from typing import Any, Self

    from .._native.robust import RobustMutex
    from ..system.names import Name
    from ..timeouts import Timeout


__all__ = ["MutexStatistics", "OwnedLock", "PreviousOwner"]


class Lease(Protocol):
    """A handle's share of a named mutex that this process has open."""

    @property
    def name(self) -> Name: ...
    @property
    def core(self) -> RobustMutex: ...
    @property
    def handles(self) -> int: ...
    @property
    def place(self) -> tuple[int, int]:
        """Device and inode."""

    @property
    def name_alive(self) -> bool:
        """Whether the name still leads to it."""

    @property
    def generation(self) -> tuple[int, int, int]:
        """What no other mutex has had."""

    def close(self) -> None:
        """Gives the share back; a second call does nothing."""


class PreviousOwner(Record):
    """What is known of who abandoned a mutex: `process` is its process id, None if it left none."""

    __slots__ = {"process": "Its process id; None if it left none."}

    def __init__(self, process: int | None) -> None:
        self.process = process


class MutexStatistics(Record):
    """A mutex as it was a moment ago.

    `owner_process` and `owner_thread` are the ids of who owns it (None: nobody, or not known), `has_waiters` whether a
    thread sleeps until it is free. This process's own share: `handles` open, `acquisitions`, `waits` (acquisitions that
    could not be had at once), `abandonments` (found abandoned)."""

    __slots__ = {
        "abandonments": "How often this process has found it abandoned.",
        "acquisitions": "How often this process has taken it.",
        "handles": "How many handles this process has open.",
        "has_waiters": "Whether a thread sleeps until it is free.",
        "owner_process": "The process id of its owner; None: nobody, or not known.",
        "owner_thread": "The thread id of its owner; None: nobody, or not known.",
        "waits": "How many acquisitions of this process had to wait.",
    }

    def __init__(self, core: RobustMutex, handles: int) -> None:
        self.owner_process, thread, self.has_waiters = core.state
        self.owner_thread = thread or None  # 0: there is one that is not known
        self.handles = handles
        self.acquisitions = core.acquisitions
        self.waits = core.waits
        self.abandonments = core.abandonments


class OwnedLock(WaitHandle, MutexHandle):
    """Base of Mutex, FairMutex, MappedLock and the two sides of MappedReaderWriterLock."""

    __slots__ = {
        "_entry": "What a named one holds.",
        "_left": "After close: the mutex, if another thread owned it then, which may be about to release it.",
        "_on_abandoned": "",
        "created_new": "Whether this call made the mutex: False if somebody had it open already.",
    }

    created_new: bool
    _entry: Lease | None
    _left: RobustMutex | None
    _on_abandoned: Callable[[Self], object] | None

    @property
    def on_abandoned(self) -> Callable[[Self], object] | None:
        """What a `with` calls, owning, when it finds the mutex abandoned; None: it raises AbandonedMutexError."""
        return self._on_abandoned

    @on_abandoned.setter
    def on_abandoned(self, repair: Callable[[Self], object] | None) -> None:
        if repair is not None and not callable(repair):
            raise TypeError(f"on_abandoned is a function of the mutex, or None, not {type(repair).__name__}")
        self._on_abandoned = repair

    def _make(self, initially_owned: bool, name: str | None, on_abandoned: Callable[[Self], object] | None) -> None:
        """What the constructors of named kinds do."""
        self._entry = self._left = None
        self.created_new = True
        self.on_abandoned = on_abandoned
        if not isinstance(initially_owned, (bool, int)):
            raise TypeError(
                f"initially_owned is True or False, not {type(initially_owned).__name__}: the name comes second"
            )
        if name is not None and name != "":
            entry, created = self._open(parse(name), create=True, initially_owned=bool(initially_owned))
            assert entry is not None
            self._adopt(entry, created)
            return
        self._core = self._unnamed()
        self._core.label = f"the {self._noun}"
        if initially_owned:
            self._core.try_take()

    def _adopt(self, entry: Lease, created: bool) -> None:
        self._entry = entry
        self._core = entry.core
        self._core.label = f"the {self._noun} {entry.name.given!r}"
        self.created_new = created

    @staticmethod
    def _open(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
        """The mutex of a name, and whether this call has made it; None if there is none and none is to be made."""
        raise NotImplementedError

    @staticmethod
    def _unnamed() -> RobustMutex:
        """A new one without a name."""
        raise NotImplementedError

    @classmethod
    def open_existing(cls, name: str) -> Self:
        """The mutex that somebody has open under this name. WaitHandleNotFoundError (a FileNotFoundError) if nobody
        has; TypeError, ValueError ("" as a name) and the errors of the constructor."""
        mutex = cls._opened_existing(name)
        if mutex is None:
            raise WaitHandleNotFoundError(
                errno.ENOENT, f"nobody has a mutex named {name!r} open: it ends with the last who has"
            )
        return mutex

    @classmethod
    def try_open_existing(cls, name: str) -> Self | None:
        """As `open_existing`, but None if nobody has a mutex of this name open, or if the name is that of something
        else (.NET's TryOpenExisting). A bare name that is ambiguous is refused, as everywhere."""
        try:
            return cls._opened_existing(name)
        except WaitHandleCannotBeOpenedError as error:
            if error.errno == errno.EEXIST:
                raise
            return None

    @classmethod
    def _opened_existing(cls, name: str) -> Self | None:
        if name is None:
            raise TypeError("a mutex is opened by its name, not None")
        entry, _ = cls._open(parse(name), create=False)
        if entry is None:
            return None
        mutex = cls.__new__(cls)
        mutex._left = mutex.on_abandoned = None
        mutex._adopt(entry, False)
        return mutex

    # -- what it is

    @property
    def name(self) -> str | None:
        """The name as it was given; None for one without."""
        return None if self._entry is None else self._entry.name.given

    @property
    def name_alive(self) -> bool:
        """Whether the name still leads to this mutex: not after close, and on Linux not if somebody removed its file (a
        cleaner of /tmp, for instance): who opens the name then gets another mutex. False without a name."""
        return self._entry is not None and self._entry.name_alive

    @property
    def closed(self) -> bool:
        """True after close()."""
        return self._core is None

    @property
    def owned(self) -> bool:
        """Whether the calling thread owns it."""
        return self._core is not None and self._core.owned

    def locked(self) -> bool:
        """Whether anybody owns it right now, as Python's locks tell it. ClosedError; MemoryFaultError."""
        return self._opened().state[1] is not None

    def statistics(self) -> MutexStatistics:
        """Who owns it, whether somebody waits, and this process's counts. ClosedError; MemoryFaultError."""
        return MutexStatistics(self._opened(), self._handles())

    def _handles(self) -> int:
        """How many objects of this process for it are open."""
        return 1 if self._entry is None else self._entry.handles

    def __repr__(self) -> str:
        what = self._what()
        if self._core is None:
            return f"<{type(self).__name__} {what}, closed>"
        return f"<{type(self).__name__} {what}, {self._owner(self._core)}>"

    def _owner(self, core: RobustMutex) -> str:
        """Who owns it, as it is shown."""
        try:
            process, thread, _ = core.state
        except MemoryFaultError:
            return "its memory is gone"
        if thread is None or core.owned:
            return "free" if thread is None else "owned by this thread"
        return "owned by another process" if process is None else f"owned by process {process}"

    def _what(self) -> str:
        """Which one it is, for messages."""
        return "unnamed" if self.name is None else repr(self.name)

    # -- abandoned

    def recovering(self, repair: Callable[[Self], object]) -> AbstractContextManager[Self, None]:
        """`with mutex.recovering(repair):` is `with mutex:` that calls `repair(mutex)`, owning, if it finds the mutex
        abandoned. If `repair` raises, the mutex is given back marked as abandoned, however often `repair` took it."""
        if not callable(repair):
            raise TypeError(f"what repairs an abandoned mutex is a function of it, not {type(repair).__name__}")
        return Recovering(self, repair)

    def _entered_abandoned(self, repair: Callable[[Self], object] | None) -> None:
        """A `with` owns it and has found it abandoned: the body runs only if it was repaired. The caller gives it back
        if this raises."""
        repair = repair or self.on_abandoned
        if repair is None:
            raise self._abandoned(owned=False)
        if hasattr(repair(self), "__await__"):
            raise TypeError(f"{self!r} was abandoned, and its repair is a coroutine, which only `async with` can run")

    def _abandoned(self, *, owned: bool = True) -> AbandonedMutexError:
        core = self._opened()
        process = core.last_owner
        who = f"process {process}" if process is not None else "its previous owner"
        what = core.label or f"the {self._noun}"
        return AbandonedMutexError(
            f"{what} was abandoned by {who}; {self._advice(owned)}",
            mutex=self,
            owned=owned,
            previous_owner=PreviousOwner(process),
        )

    def _advice(self, owned: bool) -> str:
        """To who meets an abandoned one."""
        if owned:
            return "it is owned by this thread now: look at what it guards, and release it"
        return "it was given back, marked as abandoned: on_abandoned= or recovering() repair"

    # -- asyncio

    async def wait_one_async(self, timeout: Timeout = None) -> bool:
        """As `wait_one`, for a task of asyncio: other tasks go on. The mutex is owned by the thread *and* the task
        then: only this task releases it, it cannot take it twice, and another task of the loop that wants it waits in
        line. A task that ends owning it abandons it, and so does one whose loop is closed. AbandonedMutexError,
        ClosedError (also if this handle is closed meanwhile) and the like as wait_one; RuntimeError if this task owns
        it already, or this thread does by a blocking wait. A cancelled wait leaves nothing owned.

        For a time limit use `timeout`, or `async with asyncio.timeout(...)`. `create_task` and `gather` make a task of
        their own of this wait, and so does `wait_for` before Python 3.12; that would own the mutex, and end:
        RuntimeError.

        Another thread or process that releases it is noticed within 10 ms, if nobody else is quicker. **A plain mutex
        that others take again at once is hardly ever met free, so a task may wait for it without end**; take a
        FairMutex then, or wait in a thread. Who waits for a FairMutex, or to write, has a place among all who do, and
        so has the loop while its tasks wait: who is behind waits for a loop that does not run. See `docs/mutexes.md`
        and `docs/synchronization-in-maps.md`."""
        from .aio import wait_one

        return await wait_one(self, timeout)

    async def __aenter__(self) -> Self:
        try:
            await self.wait_one_async()
        except AbandonedMutexError:
            core = self._opened()
            try:
                if self.on_abandoned is None:
                    raise self._abandoned(owned=False) from None
                repaired = self.on_abandoned(self)
                if hasattr(repaired, "__await__"):
                    await repaired
            except BaseException:
                if core.owned:
                    self._check_task()
                    core.abandon()
                raise
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None or not self._was_forsaken(kind):
            self.release_mutex()

    def _was_forsaken(self, kind: type[BaseException]) -> bool:
        """Whether the loop was closed, and so what its task owned was given back. Its coroutine is closed later."""
        if kind is not GeneratorExit or sys.is_finalizing():
            return kind is GeneratorExit
        from .aio import was_forsaken

        return was_forsaken(self._core)

    def _check_task(self) -> None:
        """Before a release, if a task owns it."""
        from .aio import about_to_release

        about_to_release(self._core or self._opened())

    # -- the private protocol of waits for several objects

    def _give_back(self, abandoned: bool = False) -> None:
        core = self._opened()
        if core.owner_task is not None:
            self._check_task()
        core.give_back(abandoned)

    _kind = "mutex"
    _noun = "mutex"
    """What messages call it."""

    def _order(self) -> tuple[str, int, int]:
        return (self._kind, 0, id(self._core)) if self._entry is None else (self._kind, *self._entry.place)

    # -- the end

    def close(self) -> None:
        """Closes this handle; a second call does nothing. See the class for a mutex that is owned."""
        core, self._core = self._core, None
        if core is not None and core.owned_by_us and not core.owned:
            self._left = core
        if self._entry is not None:
            self._entry.close()  # also the second time: an exception may have come in between the first
        elif core is not None:
            self._drop(core)
        was_closed(self)

    def _drop(self, core: RobustMutex) -> None:
        """The end of one without a name, which has one handle."""
        core.abandon()

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    def __del__(self) -> None:
        if getattr(self, "_core", None) is None:
            return
        try:
            if self._entry is not None and not sys.is_finalizing():
                warnings.warn(f"{self!r} was not closed", ResourceWarning, source=self, stacklevel=2)
        finally:  # warnings may be errors
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
        entry = self._entry
        if entry is None or self._core is None:
            raise TypeError(f"{self!r} cannot be pickled: only an open mutex with a name can be found elsewhere")
        return _reopen, (type(self), entry.name.given, entry.generation)


def _reopen(cls: type[OwnedLock], name: str, generation: tuple[int, int, int]) -> OwnedLock:
    """Unpickles: opens the name, if it still stands for the same mutex."""
    mutex = cls.open_existing(name)
    entry = mutex._entry
    assert entry is not None
    if entry.generation != generation:
        mutex.close()
        raise WaitHandleNotFoundError(
            errno.ENOENT, f"the mutex {name!r} was closed by all, and made anew since it was pickled"
        )
    return mutex

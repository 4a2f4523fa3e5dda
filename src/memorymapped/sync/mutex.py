# SPDX-License-Identifier: MIT
"""Mutex: a lock between processes and threads that outlives its owner.

.NET's class of that name, on Linux its very files, on Windows the kernel's object: `Mutex(name="Global\\X")` here and
`new Mutex(false, @"Global\\X")` in a C# program are one mutex. A process that ends while it owns one, kill -9
included, leaves it to the next, who is told.
"""

from __future__ import annotations

from .._native.memory import adopt_methods
from .._native.robust import unnamed_mutex
from .._typing import TYPE_CHECKING
from ..system.mutexes import open_mutex
from .owning import MutexStatistics, OwnedLock, PreviousOwner

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._native.robust import RobustMutex
    from ..system.names import Name
    from .owning import Lease

__all__ = ["Mutex", "MutexStatistics", "PreviousOwner"]


@adopt_methods
class Mutex(OwnedLock):
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

    Names: `X` and `User\\X` are this user's, `Local\\X` this session's, `Global\\X` all users'; see `docs/mutexes.md`.
    Raises InvalidNameError, TypeError, ForeignObjectError, WaitHandleCannotBeOpenedError, PermissionError;
    TimeoutError if another process keeps the folder of all mutexes locked for a minute; OSError (ENOSPC, EMFILE);
    NotImplementedError where the C library's mutexes are not those of .NET."""

    __slots__ = ()

    @staticmethod
    def _open(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
        return open_mutex(name, create=create, initially_owned=initially_owned)

    @staticmethod
    def _unnamed() -> RobustMutex:
        return unnamed_mutex()

    def __init__(
        self,
        initially_owned: bool = False,
        name: str | None = None,
        *,
        on_abandoned: Callable[[Mutex], object] | None = None,
    ) -> None:
        self._make(initially_owned, name, on_abandoned)

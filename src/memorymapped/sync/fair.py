# SPDX-License-Identifier: MIT
"""FairMutex: a mutex between processes whose waiters get it in the order in which they came."""

from __future__ import annotations

from .._native.fair import FairCore, unnamed_fair
from .._native.memory import adopt_methods
from .._typing import TYPE_CHECKING
from ..system.fair_mutexes import open_fair_mutex
from .owning import MutexStatistics, OwnedLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._native.robust import RobustMutex
    from ..system.names import Name
    from .owning import Lease

__all__ = ["FairMutex", "FairMutexStatistics"]


class FairMutexStatistics(MutexStatistics):
    """As MutexStatistics; `queue_length` is the number of threads that wait, of all processes."""

    __slots__ = {"queue_length": "How many threads of all processes wait."}

    def __init__(self, core: FairCore, handles: int) -> None:
        super().__init__(core, handles)
        self.queue_length = core.queue_length

    def _fields(self) -> dict[str, object]:
        return {**{name: getattr(self, name) for name in MutexStatistics.__slots__}, "queue_length": self.queue_length}


@adopt_methods
class FairMutex(OwnedLock):
    """A mutex that is handed over in the order in which threads, of all processes, came for it.

    A plain `Mutex` may be taken by whoever is quickest, and an owner that takes it again at once mostly is: others wait
    for many turns. Here each waits for those before it, and no longer. The price is a change of the running thread at
    each hand-over, so that short sections are done more often with a plain one.

    Everything else is as with `Mutex`: owner, recursion, abandonment, `with`, closing, names and scopes. The name is
    one of its own kind, though, and .NET has no such kind: while somebody has a fair mutex open, its name cannot be
    opened as a Mutex, and the other way round (WaitHandleCannotBeOpenedError). A waiter that ends, or gives up, leaves
    the queue, and the others move up; one that is stopped (SIGSTOP) keeps its place, and those behind it wait. In a
    wait for several objects (`wait_any`, `wait_all`) it has no place in the queue: it is taken when nobody owns it or
    waits. Tasks of an event loop that wait (`wait_one_async`) have one place together, in the order in which they came;
    who is behind waits also for a loop that does not run.

    254 threads at most own it or wait for it at the same time; RuntimeError for one more. A name is `X` or `User\\X`
    for this user, `Local\\X` for this session, `Global\\X` for all users. Raises InvalidNameError, TypeError,
    ForeignObjectError, WaitHandleCannotBeOpenedError, DamagedObjectError, PermissionError."""

    __slots__ = ()

    _kind = "fair"
    _noun = "fair mutex"

    @staticmethod
    def _open(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
        return open_fair_mutex(name, create=create, initially_owned=initially_owned)

    @staticmethod
    def _unnamed() -> RobustMutex:
        return unnamed_fair()

    def __init__(
        self,
        initially_owned: bool = False,
        name: str | None = None,
        *,
        on_abandoned: Callable[[FairMutex], object] | None = None,
    ) -> None:
        self._make(initially_owned, name, on_abandoned)

    def statistics(self) -> FairMutexStatistics:
        """Who owns it, how many wait, and this process's counts. ClosedError."""
        core = self._opened()
        assert isinstance(core, FairCore)
        return FairMutexStatistics(core, self._handles())

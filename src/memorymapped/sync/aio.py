# SPDX-License-Identifier: MIT
"""Waits of asyncio's tasks for mutexes, events and semaphores.

Everything is taken by the event loop's own thread: tasks that wait for one object stand in line, the first of the line
tries. When to try is told

- for events and semaphores, by a thread that sleeps on the words of up to 127 of them in one call of the system, and on
  the word of its own bell. It takes nothing: it reports to the loop, and then waits for the bell, which the loop rings
  when it has looked;
- for mutexes by a timer of the loop, after 1 ms and then in growing pauses up to 10 ms (another process's waiters could
  not be woken any more if we slept on a mutex, see waiting.py), and at once when a task of this loop releases one.

A mutex that was got here is owned by the loop's thread *and* the task. Other tasks wait, also by a blocking wait, which
would never end and is refused; only the task releases it. A task that ends without that has abandoned it.

A wait that is cancelled may have been given what it waited for in the same turn of the loop: that is given back.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from weakref import WeakKeyDictionary

from .._native.futex import MOST_HANDLES, Waitable
from .._native.several import sleep_on
from .._typing import TYPE_CHECKING
from ..errors import AbandonedMutexError, ClosedError
from ..timeouts import seconds
from .events import AutoResetEvent
from .owning import OwnedLock

if TYPE_CHECKING:
    from typing import Any

    from .._native.robust import RobustMutex
    from ..timeouts import Timeout

    Handle = Waitable | OwnedLock
    Task = asyncio.Task[Any]
    Loop = asyncio.AbstractEventLoop

__all__ = ["about_to_release", "wait_one"]

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.01  # seconds between looks at mutexes
IDLE = 1.0  # seconds after which a thread that has nothing to watch ends


async def wait_one(handle: Handle, timeout: Timeout = None) -> bool:
    """What the handles' `wait_one_async` does."""
    limit = seconds(timeout)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine that is awaited runs in a task"
    line = _line_of(loop)
    wait = _Wait(handle, task, loop)
    if line.first_try(wait):
        return True
    if limit == 0:
        return False
    line.append(wait)
    timer = loop.call_later(limit, wait.expire) if limit > 0 else None
    try:
        return await wait.result
    except asyncio.CancelledError:
        wait.undo()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        line.look()  # at who is next, and without who has gone


class _Wait:
    """A task's wait for one object."""

    __slots__ = ("handle", "key", "loop", "result", "task", "value")

    def __init__(self, handle: Handle, task: Task, loop: Loop) -> None:
        self.handle = handle
        self.task = task
        self.loop = loop
        self.key = handle._order()  # type: ignore[union-attr]  # all classes of handles have it
        self.result: asyncio.Future[bool] = loop.create_future()
        self.value = handle._idle() if isinstance(handle, Waitable) else 0

    def attempt(self) -> bool:
        """In the loop's thread: takes it if it can be had. AbandonedMutexError as everywhere: taken."""
        if isinstance(self.handle, Waitable):
            return self.handle._try_since(self.value)
        core = self.handle._opened()
        if core.owned:
            return False  # another task of this loop owns it
        try:
            return self.handle._try_wait()
        finally:
            if core.owned:
                core.owner_task = _Owning(self.task, core, self.loop)

    def settle(self) -> bool:
        """Tries, and tells the task if there is anything to tell. Whether its wait is over."""
        if self.result.done():
            return True
        try:
            if not self.attempt():
                return False
            self.result.set_result(True)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is the waiting task's
            self.result.set_exception(error)
        return True

    def expire(self) -> None:
        """Its time is over."""
        if not self.result.done():
            self.result.set_result(False)

    def undo(self) -> None:
        """The task was cancelled: gives back what it may have been given in the same turn."""
        if not self.result.done() or self.result.cancelled():
            return
        error = self.result.exception()
        if error is None and not self.result.result():
            return
        if error is None or isinstance(error, AbandonedMutexError):
            with contextlib.suppress(ClosedError):  # closed in the same turn as well: given back by that
                _disown(self.handle)
                self.handle._give_back(error is not None)


class _Owning:
    """A task that owns a mutex: until it releases it, or ends."""

    __slots__ = ("core", "loop", "task")

    def __init__(self, task: Task, core: RobustMutex, loop: Loop) -> None:
        self.task = task
        self.core = core
        self.loop = loop
        task.add_done_callback(self.ended)

    def ended(self, _: Task) -> None:
        """The task has ended, and has not released it: abandoned."""
        if self.core.owner_task is self and self.core.owned:
            self.core.owner_task = None
            self.core.give_back(abandoned=True)
            _line_of(self.loop).look()

    def __repr__(self) -> str:
        return repr(self.task.get_name())


def about_to_release(core: RobustMutex) -> None:
    """Called before a mutex that a task owns is released. RuntimeError if that is not the task at work."""
    owning: _Owning = core.owner_task
    if not core.owned:
        return  # the release says so
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    if task is not owning.task:
        raise RuntimeError(f"the task {owning!r} owns the mutex: only the task that has taken it can release it")
    owning.task.remove_done_callback(owning.ended)
    core.owner_task = None
    owning.loop.call_soon(_line_of(owning.loop).look)


def _disown(handle: Handle) -> None:
    if isinstance(handle, OwnedLock):
        core = handle._opened()
        owning = core.owner_task
        if owning is not None:
            owning.task.remove_done_callback(owning.ended)
            core.owner_task = None


class _Line:
    """All waits of one loop: for each object, first come, first served."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._waits: dict[tuple[object, ...], deque[_Wait]] = {}
        self._watchers: list[_Watcher] = []
        self._timer: asyncio.TimerHandle | None = None
        self._pause = SHORTEST_PAUSE

    def first_try(self, wait: _Wait) -> bool:
        """Takes it at once, if it can be had and nobody is before. RuntimeError for what would never end."""
        if isinstance(wait.handle, OwnedLock):
            core = wait.handle._opened()
            if core.owned:
                owning = core.owner_task
                if owning is None:
                    raise RuntimeError(
                        f"this thread owns {wait.handle!r} by a blocking wait, so no task of it can wait for that: "
                        "take it by wait_one_async there as well"
                    )
                if owning.task is wait.task:
                    raise RuntimeError(f"the task {owning!r} owns {wait.handle!r} already, and would wait for itself")
        if wait.key in self._waits:
            return False
        return wait.attempt()

    def append(self, wait: _Wait) -> None:
        """Puts it at the end of the line."""
        self._waits.setdefault(wait.key, deque()).append(wait)
        self._pause = SHORTEST_PAUSE
        self.look()

    def look(self) -> None:
        """Lets the first of each line try; then has the rest watched."""
        for key, waits in list(self._waits.items()):
            while waits and waits[0].settle():
                waits.popleft()
            for wait in [wait for wait in waits if wait.result.done()]:
                waits.remove(wait)
            if not waits:
                del self._waits[key]
        first = [waits[0] for waits in self._waits.values()]
        self._watch([wait for wait in first if isinstance(wait.handle, Waitable)])
        if any(isinstance(wait.handle, OwnedLock) for wait in first):
            if self._timer is None:
                self._timer = self._loop.call_later(self._pause, self._look_again)
        elif self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = None
        self._pause = min(self._pause * 1.5, LONGEST_PAUSE)
        self.look()

    def _watch(self, waits: list[_Wait]) -> None:
        shares = [waits[at : at + MOST_HANDLES - 1] for at in range(0, len(waits), MOST_HANDLES - 1)]
        while len(self._watchers) < len(shares):
            self._watchers.append(_Watcher(self._loop, self.look))
        for number, watcher in enumerate(self._watchers):
            watcher.watch(shares[number] if number < len(shares) else [])


class _Watcher:
    """A thread that sleeps on the words of events and semaphores, and reports to the loop."""

    def __init__(self, loop: Loop, report: Any) -> None:
        self._loop = loop
        self._report = report
        self._lock = threading.Lock()
        self._bell = AutoResetEvent()
        self._waits: list[_Wait] = []
        self._fresh = False  # the loop has looked since the last report
        self._runs = False

    def watch(self, waits: list[_Wait]) -> None:
        """From the loop: it has looked, and these are what is to be watched now."""
        with self._lock:
            if not waits and not self._waits:
                return
            self._waits = waits
            self._fresh = True
            if waits and not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="memorymapped waits", daemon=True).start()
        self._bell.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                waits, fresh = self._waits, self._fresh
            if waits and fresh:
                if self._sleep(waits):
                    with self._lock:
                        if self._waits is not waits:
                            continue  # the loop has looked meanwhile
                        self._fresh = False
                    try:
                        self._loop.call_soon_threadsafe(self._report)
                    except RuntimeError:  # the loop is closed
                        break
            elif not self._bell.wait_one(IDLE):
                with self._lock:
                    if self._loop.is_closed() or not self._waits:
                        self._runs = False
                        return
        with self._lock:
            self._runs = False

    def _sleep(self, waits: list[_Wait]) -> bool:
        """Until one of them may have something (True), or the bell rings."""
        handles = [wait.handle for wait in waits if isinstance(wait.handle, Waitable)]
        try:
            sleep_on([self._bell, *handles], [0, *(wait.value for wait in waits)], -1.0)
        except (ClosedError, OSError):
            return True  # one of them is closed, or its memory is gone: whoever tries it is told
        return not self._bell.wait_one(0)


_lines: WeakKeyDictionary[Loop, _Line] = WeakKeyDictionary()


def _line_of(loop: Loop) -> _Line:
    line = _lines.get(loop)
    if line is None:
        line = _lines[loop] = _Line(loop)
    return line


# A forked child has neither the threads nor, in general, the loop.
os.register_at_fork(after_in_child=_lines.clear)

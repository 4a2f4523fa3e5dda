# SPDX-License-Identifier: MIT
"""Waits of asyncio's tasks for mutexes, events and semaphores.

Everything is taken by the event loop's own thread: tasks that wait for one object stand in line, the first of the line
tries. When to try is told

- for events and semaphores, by a thread that sleeps on the words of up to 127 of them in one call of the system, and on
  the word of its own bell. It takes nothing: it reports to the loop, and then waits for the bell, which the loop rings
  when it has looked;
- for mutexes by a timer of the loop, after 1 ms and then in growing pauses up to 10 ms (another process's waiters could
  not be woken any more if we slept on a mutex, see waiting.py), and at once when a task of this loop releases one.

Where waiters have places in a queue (a FairMutex), or keep others back (a writer), the loop's thread has such a place
while tasks wait: one, for all of them, and for as long as one waits. Others wait for it, so the pauses are shorter.

A mutex that was got here is owned by the loop's thread *and* the task. Other tasks wait, also by a blocking wait, which
would never end and is refused; only the task releases it. A task that ends without that has abandoned it. Several
tasks, of one loop and of others, may read at the same time.

A wait that is cancelled may have been given what it waited for in the same turn of the loop: that is given back. Waits
of a loop that was closed end when they are collected: nothing but the coroutine itself refers to a wait.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections import deque
from weakref import WeakKeyDictionary, ref

from .._native.futex import MOST_HANDLES, Waitable
from .._native.robust import thread_number
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
LONGEST_IN_LINE = 0.002  # and where others wait behind
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
    except (asyncio.CancelledError, GeneratorExit):
        wait.undo()
        raise
    finally:
        if timer is not None:
            timer.cancel()
        wait.over = True
        line.ended()


class _Wait:
    """A task's wait for one object."""

    __slots__ = ("__weakref__", "core", "handle", "key", "loop", "over", "owning", "result", "task", "value")

    def __init__(self, handle: Handle, task: Task, loop: Loop) -> None:
        self.handle = handle
        self.task = task
        self.loop = loop
        self.key = handle._order()  # type: ignore[union-attr]  # all classes of handles have it
        self.result: asyncio.Future[bool] = loop.create_future()
        self.value = handle._idle() if isinstance(handle, Waitable) else 0
        self.core = None if isinstance(handle, Waitable) else handle._opened()
        self.owning: _Owning | None = None
        self.over = False

    def attempt(self, in_line: bool) -> bool:
        """In the loop's thread: takes it if it can be had. AbandonedMutexError as everywhere: taken. `in_line`: keeps a
        place among those who wait, if it cannot."""
        if isinstance(self.handle, Waitable):
            return self.handle._try_since(self.value)
        core = self.handle._opened()
        got = core.try_as_task(self.task, in_line)
        if not got:
            return False
        self.owning = _Owning(self.task, core, self.loop)
        core.add_owner(self.owning)
        if got == 2:
            raise self.handle._abandoned()
        return True

    def settle(self) -> bool:
        """Tries, and tells the task if there is anything to tell. Whether its wait is over."""
        if self.over or self.result.done():
            return True
        try:
            if not self.attempt(True):
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
        if self.owning is not None:
            self.owning.give_back(isinstance(error, AbandonedMutexError))
        elif isinstance(self.handle, Waitable) and error is None and self.result.result():
            with contextlib.suppress(ClosedError):  # closed in the same turn as well
                self.handle._give_back()


class _Owning:
    """A task that owns a mutex, or reads: until it releases it, or ends."""

    __slots__ = ("core", "loop", "task")

    def __init__(self, task: Task, core: RobustMutex, loop: Loop) -> None:
        self.task = task
        self.core = core
        self.loop = loop
        task.add_done_callback(self._ended)

    def end(self) -> None:
        """Before it is given back."""
        self.task.remove_done_callback(self._ended)
        self.core.remove_owner(self)

    def give_back(self, abandoned: bool) -> None:
        if self in self.core.owners:
            self.end()
            self.core.give_back(abandoned)

    def _ended(self, _: Task) -> None:
        """The task has ended, and has not released it: abandoned."""
        self.give_back(True)
        _line_of(self.loop).look()

    def __repr__(self) -> str:
        return repr(self.task.get_name())


def about_to_release(core: RobustMutex) -> None:
    """Called before something that tasks own is released. RuntimeError if tasks of this thread own it, and the one at
    work is none of them."""
    owners: tuple[_Owning, ...] = core.owners
    if not owners:
        return  # this thread's own, or the release says so
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        task = None
    for owning in owners:
        if owning.task is task:
            owning.end()
            owning.loop.call_soon(_line_of(owning.loop).look)
            return
    raise RuntimeError(
        f"the task {owners[0]!r} owns {core.label or 'the mutex'}: only the task that has taken it can release it"
    )


class _Line:
    """All waits of one loop: for each object, first come, first served. The waits, and the loop, belong to the tasks:
    what is here does not keep them."""

    def __init__(self, loop: Loop) -> None:
        self._loop = ref(loop)
        self._waits: dict[tuple[object, ...], deque[ref[_Wait]]] = {}
        self._in_line: dict[tuple[object, ...], ref[RobustMutex]] = {}
        self._thread = 0  # that looked last: the places in line are its
        self._watchers: list[_Watcher] = []
        self._timer: ref[asyncio.TimerHandle] | None = None  # it has the loop
        self._pause = SHORTEST_PAUSE

    def first_try(self, wait: _Wait) -> bool:
        """Takes it at once, if it can be had and nobody is before. RuntimeError for what would never end."""
        core = wait.core
        if core is not None and core.owned:
            owners: tuple[_Owning, ...] = core.owners
            if not owners:
                raise RuntimeError(
                    f"this thread owns {wait.handle!r} by a blocking wait, so no task of it can wait for that: "
                    "take it by wait_one_async there as well"
                )
            for owning in owners:
                if owning.task is wait.task:
                    raise RuntimeError(f"the task {owning!r} owns {wait.handle!r} already, and would wait for itself")
        if wait.key in self._waits:
            return False
        return wait.attempt(False)

    def append(self, wait: _Wait) -> None:
        """Puts it at the end of the line."""
        self._waits.setdefault(wait.key, deque()).append(ref(wait))
        if wait.core is not None and wait.core.has_line:
            self._in_line[wait.key] = ref(wait.core)
        self._pause = SHORTEST_PAUSE
        self.look()

    def ended(self) -> None:
        """A wait is over: looks at who is next. From whatever thread the wait's coroutine was dropped in."""
        loop = self._loop()
        try:
            running = asyncio.get_running_loop() is loop
        except RuntimeError:
            running = False
        if running:
            self.look()
        elif loop is None or loop.is_closed():
            self._drop_all()
        else:
            with contextlib.suppress(RuntimeError):  # it was closed just now
                loop.call_soon_threadsafe(self.look)

    def look(self) -> None:
        """Lets the first of each line try; then has the rest watched."""
        loop = self._loop()
        if loop is None or loop.is_closed():
            self._drop_all()
            return
        thread = thread_number()
        if thread != self._thread:
            self._leave(*self._in_line)  # the loop runs in another thread now
            self._thread = thread
        first = []
        for key, waits in list(self._waits.items()):
            while waits and ((wait := waits[0]()) is None or wait.settle()):
                waits.popleft()
            for other in [each for each in waits if (wait := each()) is None or wait.over or wait.result.done()]:
                waits.remove(other)
            if waits and (wait := waits[0]()) is not None:
                first.append(wait)
            else:
                del self._waits[key]
                self._leave(key)
                self._in_line.pop(key, None)
        self._watch([(wait.handle, wait.value) for wait in first if isinstance(wait.handle, Waitable)])
        timer = None if self._timer is None else self._timer()
        if any(wait.core is not None for wait in first):
            if timer is None:
                self._timer = ref(loop.call_later(self._pause, self._look_again))
        elif timer is not None:
            timer.cancel()
            self._timer = None

    def _look_again(self) -> None:
        self._timer = None
        self._pause = min(self._pause * 1.5, LONGEST_IN_LINE if self._in_line else LONGEST_PAUSE)
        self.look()

    def _leave(self, *keys: tuple[object, ...]) -> None:
        """Ends this loop's places among those who wait."""
        for key in keys:
            core = self._in_line[key]() if key in self._in_line else None
            if core is not None:
                core.leave_line(self._thread)

    def _drop_all(self) -> None:
        """The loop is closed: nobody waits any more."""
        self._leave(*self._in_line)
        self._in_line.clear()
        self._waits.clear()
        self._watch([])

    def _watch(self, words: list[tuple[Waitable, int]]) -> None:
        shares = [words[at : at + MOST_HANDLES - 1] for at in range(0, len(words), MOST_HANDLES - 1)]
        while len(self._watchers) < len(shares):
            self._watchers.append(_Watcher(self._loop, self.look))
        for number, watcher in enumerate(self._watchers):
            watcher.watch(shares[number] if number < len(shares) else [])


class _Watcher:
    """A thread that sleeps on the words of events and semaphores, and reports to the loop."""

    def __init__(self, loop: ref[Loop], report: Any) -> None:
        self._loop = loop
        self._report = report
        self._lock = threading.Lock()
        self._bell = AutoResetEvent()
        self._words: list[tuple[Waitable, int]] = []
        self._fresh = False  # the loop has looked since the last report
        self._runs = False

    def watch(self, words: list[tuple[Waitable, int]]) -> None:
        """From the loop: it has looked, and these are what is to be watched now, each with its value then."""
        with self._lock:
            if not words and not self._words:
                return
            self._words = words
            self._fresh = True
            if words and not self._runs:
                self._runs = True
                threading.Thread(target=self._run, name="memorymapped waits", daemon=True).start()
        self._bell.set()

    def _run(self) -> None:
        while True:
            with self._lock:
                words, fresh = self._words, self._fresh
            if words and fresh:
                if self._sleep(words):
                    with self._lock:
                        if self._words is not words:
                            continue  # the loop has looked meanwhile
                        self._fresh = False
                    if not self._tell():
                        break
            elif not self._bell.wait_one(IDLE):
                with self._lock:
                    loop = self._loop()
                    if loop is None or loop.is_closed() or not self._words:
                        self._runs = False
                        return
                    del loop
        with self._lock:
            self._runs = False

    def _tell(self) -> bool:
        """Has the loop look. False: it is closed."""
        loop = self._loop()
        if loop is None:
            return False
        try:
            loop.call_soon_threadsafe(self._report)
        except RuntimeError:
            return False
        return True

    def _sleep(self, words: list[tuple[Waitable, int]]) -> bool:
        """Until one of them may have something (True), or the bell rings."""
        try:
            sleep_on([self._bell, *(handle for handle, _ in words)], [0, *(value for _, value in words)], -1.0)
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

# SPDX-License-Identifier: MIT
"""Waits of asyncio's tasks: for mutexes, events and semaphores (`wait_one`), and for what others do to a typed object
in a map (`arrival`).

Everything is taken by the event loop's own thread: tasks that wait for one object stand in line, the first of the line
tries. When to try is told

- for events and semaphores, by a thread that sleeps on the words of many of them (MOST_WATCHED) in one call of the
  system, and on the word of its own bell, which the loop rings when there are others to sleep on. It takes nothing: it
  reports to the loop whose turn it may be, and leaves those out until the loop has looked. Only of what is the system's
  own, which knows no wait that does not take, it takes one, and hands that over: to the first of the line, or back to
  the system if nobody is there any more;
- for mutexes by a timer of the loop, after 1 ms and then in growing pauses up to 10 ms (another process's waiters could
  not be woken any more if we slept on a mutex, see waiting.py), and at once when a task of this loop releases one;
- for whatever was closed, by its `close`.

Where waiters have places in a queue (a FairMutex), or keep others back (a writer), the loop's thread has such a place
while tasks wait: one, for all of them, and for as long as one waits. Others wait for it, so the pauses are shorter.

A mutex that was got here is owned by the loop's thread *and* the task. Other tasks wait; a blocking wait of the thread
would never end, and is refused; only the task releases it. A task that ends without that has abandoned it. Several
tasks, of one loop and of others, may read at the same time.

Nobody takes what others have done: tasks that wait for that by one object share one watch of its word, and one timer,
and look together.

A wait that ends in another way than by its result (it is cancelled, its coroutine is closed) may have been given what
it waited for in the same turn of the loop: that is given back.

A loop does not tell that it is closed. But it drops its timers then; so all that is here of a loop hangs on a timer
that never comes, and ends with it: the waits, the threads, and what tasks own, which is abandoned.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import threading
import time
from collections import OrderedDict
from contextvars import Context
from functools import partial
from weakref import WeakValueDictionary, ref

from .._native.futex import Waitable
from .._native.robust import thread_number
from .._native.several import sleep_on
from .._typing import TYPE_CHECKING
from ..errors import AbandonedMutexError, ClosedError, MemoryFaultError
from ..system.forks import after_in_child
from ..system.signals import MOST_WATCHED
from ..timeouts import seconds
from . import awaiting
from .events import AutoResetEvent
from .owning import OwnedLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, Protocol

    from .._native.futex import Word, Words
    from .._native.robust import RobustMutex
    from ..timeouts import Timeout

    Handle = Waitable | OwnedLock
    Task = asyncio.Task[Any]
    Loop = asyncio.AbstractEventLoop
    Key = tuple[object, ...]  # of one object, whatever handles there are for it

    class Arriving(Protocol):
        """A typed object in a map."""

        def _arrived(self, *what: Any) -> bool:
            """Whether that is so now. ClosedError, and what else there is to tell who waits."""

        def _word(self) -> Word | None:
            """What changes when there is something new; None where nobody does that."""

        def _pause(self) -> float:
            """Seconds between looks in any case."""


__all__ = ["about_to_release", "arrival", "is_of_this_task", "wait_one", "was_forsaken"]

SHORTEST_PAUSE, LONGEST_PAUSE = 0.001, 0.01  # seconds between looks at mutexes
LONGEST_IN_LINE = 0.002  # and where others wait behind
IDLE = 1.0  # seconds after which a thread that has nothing to watch ends
NEVER = 1e9  # seconds to a timer that is not to come


async def wait_one(handle: Handle, timeout: Timeout = None) -> bool:
    """What the handles' `wait_one_async` does."""
    limit = seconds(timeout)
    loop = asyncio.get_running_loop()
    task = asyncio.current_task()
    assert task is not None, "a coroutine that is awaited runs in a task"
    if isinstance(handle, OwnedLock) and getattr(task.get_coro(), "cr_code", None) in _WAITS:
        raise RuntimeError(
            f"the task {task.get_name()!r} is nothing but this wait: it would own {handle!r}, and end with it. Await "
            "wait_one_async in the task that is to own it, with timeout= or within asyncio.timeout(), not by "
            "create_task, gather or (before Python 3.12) wait_for"
        )
    line = _line_of(loop)
    wait = _Wait(handle, task, line)
    if line.first_try(wait):
        return True
    if limit == 0:
        return False
    try:
        line.append(wait)
        if limit > 0:
            wait.timer = loop.call_later(limit, wait.expire)
        got = await wait.result
    except GeneratorExit:  # from whatever thread, in the midst of whatever that does
        wait.undo()
        line.soon(line.remove, wait)
        raise
    except BaseException as error:
        if error is not wait.error:
            wait.undo()
        line.remove(wait)
        raise
    line.remove(wait)
    return got


# A task whose coroutine is one of these ends with the wait.
_WAITS = {each.__code__ for each in (wait_one, OwnedLock.wait_one_async, OwnedLock.__aenter__)}


async def arrival(of: Arriving, what: tuple[object, ...], limit: float) -> bool:
    """Waits until `of._arrived(*what)`, `limit` seconds at most (negative: for ever), and says whether it is so. Raises
    what that raises."""
    if of._arrived(*what):
        return True
    loop = asyncio.get_running_loop()
    line = _line_of(loop)
    until = loop.time() + limit
    while limit < 0 or loop.time() < until:
        watch = line.watch_of(of)
        turn: asyncio.Future[None] = loop.create_future()
        timer = None
        try:
            if limit > 0:
                timer = loop.call_at(until, _tell, turn)
            watch.add(what, turn)
            await turn
        except GeneratorExit:  # from whatever thread
            line.soon(watch.remove, what, turn)
            raise
        except BaseException:
            watch.remove(what, turn)
            raise
        finally:
            if timer is not None:
                timer.cancel()
        watch.remove(what, turn)
        if of._arrived(*what):
            return True
    return False


def _tell(turn: asyncio.Future[None]) -> None:
    """Its task is to look."""
    if not turn.done():
        turn.set_result(None)


class _Wait:
    """A task's wait for one object."""

    __slots__ = (
        "began",
        "core",
        "error",
        "handle",
        "key",
        "line",
        "over",
        "owning",
        "result",
        "task",
        "timer",
        "value",
        "words",
    )

    def __init__(self, handle: Handle, task: Task, line: _Line) -> None:
        self.handle = handle
        self.task = task
        self.line = line
        self.key: Key = handle._order()  # type: ignore[union-attr]  # all classes of handles have it
        self.result: asyncio.Future[bool] = line.loop.create_future()
        self.error: Exception | None = None
        self.timer: asyncio.TimerHandle | None = None
        self.began = time.perf_counter()
        self.value = handle._idle() if isinstance(handle, Waitable) else 0
        self.core = None if isinstance(handle, Waitable) else handle._opened()
        self.words: Any = None  # by which an event or semaphore was taken
        self.owning: _Owning | None = None
        self.over = False  # the task goes on without it

    def attempt(self, in_line: bool) -> bool:
        """In the loop's thread: takes it if it can be had. AbandonedMutexError as everywhere: taken. `in_line`: keeps a
        place among those who wait, if it cannot."""
        if isinstance(self.handle, Waitable):
            words = self.handle._words()
            if not self.handle._try_since(self.value):
                return False
            self.words = words
            return True
        core = self.handle._opened()
        got = core.try_as_task(self.task, in_line)
        if not got:
            return False
        self.owning = _Owning(self.task, core, self.key, self.line)
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
            self.error = error
            self.result.set_exception(error)
        return True

    def give(self, words: Words) -> bool:
        """Gives it what a watcher has taken. False: its task needs it no more."""
        if self.over or self.result.done():
            return False
        self.words = words
        self.result.set_result(True)
        return True

    def expire(self) -> None:
        """Its time is over."""
        if not self.result.done():
            self.result.set_result(False)

    def undo(self) -> None:
        """The task goes on without it: gives back what it was given, and has not heard of."""
        self.over = True
        if not self.line.is_ours():
            return
        if self.error is not None:
            self.result.exception()  # nobody else will ask
        if self.owning is not None:
            self.owning.give_back(isinstance(self.error, AbandonedMutexError))
        words, self.words = self.words, None
        if words is not None:
            words.give_back()


class _Owning:
    """A task that owns a mutex, or reads: until it releases it, or ends."""

    __slots__ = ("core", "key", "line", "task")

    def __init__(self, task: Task, core: RobustMutex, key: Key, line: _Line) -> None:
        self.task = task
        self.core = core
        self.key = key
        self.line = line
        core.add_owner(self)
        line.owned.add(self)
        task.add_done_callback(self._ended)

    def end(self) -> None:
        """Before it is given back."""
        self.task.remove_done_callback(self._ended)
        self.line.owned.discard(self)
        self.core.remove_owner(self)

    def give_back(self, abandoned: bool) -> None:
        """If the calling thread, which must be the loop's, has it still."""
        if self in self.core.owners:
            self.end()
            self.core.give_back(abandoned)

    def end_if_forsaken(self) -> None:
        """A task of a loop that was closed, from another thread, does not go on."""
        if self.line.loop.is_closed():
            self.give_back(True)

    def _ended(self, _: Task) -> None:
        """The task has ended, and has not released it: abandoned."""
        self.give_back(True)
        self.line.look_after(self.key)

    def __repr__(self) -> str:
        return repr(self.task.get_name())


def is_of_this_task(owning: _Owning) -> bool:
    """Whether it is the task at work that owns."""
    try:
        return owning.task is asyncio.current_task()
    except RuntimeError:  # no loop runs in this thread
        return False


def _owning_of_this_task(core: RobustMutex) -> _Owning | None:
    return next(filter(is_of_this_task, core.owners), None)


def about_to_release(core: RobustMutex) -> None:
    """Called before something that tasks own is released. RuntimeError if tasks of this thread own it, and the one at
    work is none of them."""
    owning = _owning_of_this_task(core)
    if owning is not None:
        owning.end()
        owning.line.loop.call_soon(owning.line.look_after, owning.key)
        return
    core.end_forsaken()
    if core.owners:  # otherwise this thread's own, or the release says so
        raise RuntimeError(
            f"the task {core.owners[0]!r} owns {core.label or 'the mutex'}: only the task that has taken it can "
            "release it"
        )


def was_forsaken(core: RobustMutex | None) -> bool:
    """Of a coroutine that is closed within its `async with`: whether its task owns this no more, as the loop was
    closed."""
    return core is None or _owning_of_this_task(core) is None


class _Watched:
    """What waits for a word."""

    __slots__ = ("watched", "watcher")

    def __init__(self) -> None:
        self.watcher: _Watcher | None = None
        self.watched: tuple[Waitable, int] | None = None  # what that sleeps on, and the value


class _Queue(_Watched):
    """Those who wait for one object, in the order in which they came. (One of mutexes is not watched.)"""

    __slots__ = ("core", "waits")

    def __init__(self) -> None:
        super().__init__()
        self.waits: OrderedDict[_Wait, None] = OrderedDict()
        self.core: RobustMutex | None = None  # of a mutex that gives places to those who wait


class _Watch(_Watched):
    """Those who wait for what others do to one object: they look together."""

    __slots__ = ("key", "line", "of", "timer", "turns", "word")

    def __init__(self, line: _Line, key: Key, of: Arriving) -> None:
        super().__init__()
        self.line = line
        self.key = key
        self.of = of
        self.word = of._word()
        self.timer: asyncio.TimerHandle | None = None
        self.turns: dict[tuple[object, ...], set[asyncio.Future[None]]] = {}  # by what they wait for

    def add(self, what: tuple[object, ...], turn: asyncio.Future[None]) -> None:
        """Tells `turn` when that is so. The caller has looked."""
        self.turns.setdefault(what, set()).add(turn)
        if self.timer is None:
            self.look_again()

    def remove(self, what: tuple[object, ...], turn: asyncio.Future[None]) -> None:
        """If it was not told."""
        turns = self.turns.get(what, set())
        turns.discard(turn)
        if not turns:
            self.turns.pop(what, None)
        if not self.turns:
            self._end()

    def look(self) -> None:
        """Tells those for whom it is so, or who have something else to hear."""
        value = 0
        if self.word is not None:
            try:
                value, _ = self.word._look()  # first: what comes after the looks changes it
            except MemoryFaultError:
                self.word = None
        for what, turns in list(self.turns.items()):
            try:
                is_so = self.of._arrived(*what)
            except Exception:  # noqa: BLE001 - they look for themselves
                is_so = True
            if is_so:
                del self.turns[what]
                for turn in turns:
                    _tell(turn)
        if not self.turns:
            self._end()
        elif self.word is not None:
            self.line.watch(self.key, self, self.word, value)

    def look_again(self) -> None:
        """After pauses, whatever the word says."""
        self.timer = self.line.loop.call_later(self.of._pause(), self.look_again, context=Context())
        self.look()

    def _end(self) -> None:
        """Nobody waits."""
        if self.timer is not None:
            self.timer.cancel()
            self.line.end_watch(self)


class _Line:
    """All waits of one loop, and what its tasks own. In the loop's thread, but for what says otherwise."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self.owned: set[_Owning] = set()
        self._queues: dict[Key, _Queue] = {}
        self._watches: dict[Key, _Watch] = {}
        self._by_handle: dict[int, set[_Wait]] = {}  # by the handle's id
        self._given: set[_Wait] = set()  # whose tasks have yet to hear of it
        self._thread = 0  # that looked last: the places in line are its
        self._process = os.getpid()  # a forked child is another one
        self._watchers: list[_Watcher] = []
        self._timer: asyncio.TimerHandle | None = None
        self._pause = SHORTEST_PAUSE
        self._closed = False

    def first_try(self, wait: _Wait) -> bool:
        """Takes it at once, if it can be had and nobody is before. RuntimeError for what would never end."""
        core = wait.core
        if core is not None and core.owned:
            core.end_forsaken()
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
        self._look(wait.key)  # there may be enough for all who came before
        return wait.key not in self._queues and wait.attempt(False)

    def append(self, wait: _Wait) -> None:
        """Puts it at the end of the line."""
        queue = self._queues.setdefault(wait.key, _Queue())
        queue.waits[wait] = None
        if wait.core is not None and wait.core.has_line:
            queue.core = wait.core
        self._by_handle.setdefault(id(wait.handle), set()).add(wait)
        self._pause = SHORTEST_PAUSE
        self._look(wait.key)

    def remove(self, wait: _Wait) -> None:
        """The task has heard of it."""
        if self._closed:
            return
        if wait.timer is not None:
            wait.timer.cancel()
        if wait.over:
            wait.undo()  # of a coroutine that was closed in another thread, while this one looked
        self._given.discard(wait)
        others = self._by_handle.get(id(wait.handle))
        if others is not None:
            others.discard(wait)
            if not others:
                del self._by_handle[id(wait.handle)]
        if wait.key in self._queues:
            self._queues[wait.key].waits.pop(wait, None)
        self.look_after(wait.key)

    def look_after(self, key: Key) -> None:
        """What has this key may have become free: looks at who is next, also at the other side of a lock for readers
        and writers."""
        for each in {key, ("reading", *key[1:]), ("writing", *key[1:])}:
            self._look(each)

    def _look(self, key: Key) -> None:
        """Lets the first of a line try, as long as they get it; has the next one told when to try again."""
        queue = self._queues.get(key)
        if queue is None:
            return
        thread = thread_number()
        if thread != self._thread:
            self._leave_all()  # the loop runs in another thread now
            self._thread = thread
        while queue.waits:
            wait = next(iter(queue.waits))
            if not wait.settle():
                break
            del queue.waits[wait]
            self._given.add(wait)
        else:
            del self._queues[key]
            self._leave(queue)
            if queue.watcher is not None:
                queue.watcher.remove(key)
            return
        if isinstance(wait.handle, Waitable):
            self.watch(key, queue, wait.handle, wait.value)
        elif self._timer is None:
            self._timer = self.loop.call_later(self._pause, self._look_at_mutexes)

    def _look_at_mutexes(self) -> None:
        self._timer = None
        mutexes = [(key, queue) for key, queue in self._queues.items() if queue.watcher is None]
        in_line = any(queue.core is not None for _, queue in mutexes)
        self._pause = min(self._pause * 1.5, LONGEST_IN_LINE if in_line else LONGEST_PAUSE)
        for key, _ in mutexes:
            self._look(key)

    def _leave(self, queue: _Queue) -> None:
        """Ends the thread's place among those who wait."""
        if queue.core is not None:
            queue.core.leave_line(self._thread)

    def _leave_all(self) -> None:
        for queue in self._queues.values():
            self._leave(queue)

    def watch_of(self, of: Arriving) -> _Watch:
        """Of all tasks that wait by this object."""
        key = "arrival", id(of)
        watch = self._watches.get(key)
        if watch is None:
            watch = self._watches[key] = _Watch(self, key, of)
        return watch

    def end_watch(self, watch: _Watch) -> None:
        if self._watches.get(watch.key) is watch:
            del self._watches[watch.key]
            if watch.watcher is not None:
                watch.watcher.remove(watch.key)

    def watch(self, key: Key, queue: _Watched, handle: Waitable, value: int) -> None:
        """Reports when the word is another."""
        if queue.watched is not None and queue.watched[0] is handle and queue.watched[1] == value:
            return
        if queue.watcher is None:
            queue.watcher = next((each for each in self._watchers if each.has_room()), None)
        if queue.watcher is None:
            queue.watcher = _Watcher(self)
            self._watchers.append(queue.watcher)
        queue.watched = handle, value
        queue.watcher.put(key, queue.watched)

    def report(self, keys: list[Key]) -> None:
        """From a watcher, which watches these no more: they may have something."""
        for key in keys:
            if key in self._queues:
                self._queues[key].watched = None
                self._look(key)
            elif key in self._watches:
                watch = self._watches[key]
                watch.watched = None
                watch.look()

    def hand_over(self, key: Key, taken: Words, when: float) -> None:
        """From a watcher, which watches this no more: what it has taken, and when. An event that is reset by hand lets
        all go on who waited then."""
        queue = self._queues.get(key)
        waits = list(queue.waits) if queue is not None else []
        if taken.by_hand:
            for wait in waits:
                if wait.began <= when:
                    wait.give(taken)
        elif not any(wait.give(taken) for wait in waits):
            taken.give_back()
        self.report([key])

    # -- from other threads

    def is_ours(self) -> bool:
        """Not if this is a forked child: loop and waits are its parent's."""
        return self._process == os.getpid()

    def soon(self, function: Callable[..., object], *arguments: object) -> bool:
        """Has the loop call it. False: the loop is closed."""
        if not self.is_ours():
            return False
        try:
            self.loop.call_soon_threadsafe(function, *arguments)
        except RuntimeError:
            return False
        return True

    def handle_closed(self, handle: object) -> None:
        if id(handle) in self._by_handle:
            self.soon(self._end_waits, handle)
        watch = self._watches.get(("arrival", id(handle)))
        if watch is not None:
            self.soon(watch.look)

    def _end_waits(self, handle: object) -> None:
        for wait in list(self._by_handle.get(id(handle), ())):
            wait.settle()  # which finds it closed, and tells the task

    def close(self) -> None:
        """The loop was closed, or is collected. Only the loop's own thread can give back what its tasks own: if this is
        another one, the next call of that thread does (`end_if_forsaken`), or its end."""
        if self._closed or not self.is_ours():
            return
        self._closed = True
        if _lines.get(id(self.loop)) is self:
            del _lines[id(self.loop)]
        for watcher in self._watchers:
            watcher.end()
        self._leave_all()
        self._queues.clear()
        self._watches.clear()
        self._by_handle.clear()
        ends = [wait.undo for wait in self._given] + [partial(owning.give_back, True) for owning in self.owned]
        for end in ends:
            with contextlib.suppress(OSError):  # damaged: its memory stays as it is
                end()
        self._given.clear()


class _Keeper:
    """What the timer of a loop has that never comes. When the loop is closed, it drops its timers."""

    def __init__(self, line: _Line) -> None:
        self._line = line

    def __call__(self) -> None:
        self._line.loop.call_later(NEVER, self, context=Context())

    def __del__(self, is_finalizing: Callable[[], bool] = sys.is_finalizing) -> None:
        if not is_finalizing():
            self._line.close()


class _Watcher:
    """A thread that sleeps on words, and reports to the loop."""

    def __init__(self, line: _Line) -> None:
        self._line = ref(line)
        self._lock = threading.RLock()  # a collection may come in between, of other waits
        self._bell = AutoResetEvent()
        self._keys: set[Key] = set()
        self._watched: dict[Key, tuple[Waitable, int]] = {}
        self._taken: dict[int, Words] = {}  # and not handed over yet
        self._runs = False
        self._ended = False

    def has_room(self) -> bool:
        return len(self._keys) < MOST_WATCHED - 1

    def put(self, key: Key, watched: tuple[Waitable, int]) -> None:
        """From the loop: this is to be watched, by its value at the last look, until it was reported or removed."""
        with self._lock:
            self._keys.add(key)
            self._watched[key] = watched
            runs = self._runs
            if not runs:
                threading.Thread(target=self._run, name="memorymapped waits", daemon=True).start()
                self._runs = True
        if runs:
            self._bell.set()

    def remove(self, key: Key) -> None:
        """From the loop: nobody waits for it."""
        with self._lock:
            self._keys.discard(key)
            watched = self._watched.pop(key, None)
        if watched is not None:
            self._bell.set()

    def end(self) -> None:
        """From any thread, in the midst of whatever it does: takes no lock."""
        self._ended = True
        self._bell.set()
        for number in list(self._taken):
            self._give_back(number)

    def _run(self) -> None:
        while not self._ended:
            with self._lock:
                watched = list(self._watched.items())
            changed, taken = self._sleep([each for _, each in watched])
            when = time.perf_counter()
            with self._lock:
                if changed is None and (not self._watched or self._is_over()):
                    self._runs = False
                    return
                keys = [key for key, each in [watched[i] for i in changed or ()] if self._watched.get(key) is each]
                for key in keys:
                    del self._watched[key]
            if taken is None:
                if keys and not self._tell(_Line.report, keys):
                    return
            elif keys:
                self._taken[id(taken)] = taken
                if not self._tell(self._hand_over, keys[0], id(taken), when):
                    self._give_back(id(taken))
                    return
            else:  # nobody waits for it any more
                taken.give_back()

    def _hand_over(self, line: _Line, key: Key, number: int, when: float) -> None:
        """In the loop's thread."""
        taken = self._taken.pop(number, None)
        if taken is not None:
            line.hand_over(key, taken, when)

    def _give_back(self, number: int) -> None:
        taken = self._taken.pop(number, None)  # one of those who would has it
        if taken is not None:
            taken.give_back()

    def _is_over(self) -> bool:
        line = self._line()
        return line is None or line.loop.is_closed()

    def _tell(self, function: Callable[..., object], *arguments: object) -> bool:
        """Has the loop call it, with its line first. False: it is closed."""
        line = self._line()
        return line is not None and line.soon(function, line, *arguments)

    def _sleep(self, watched: list[tuple[Waitable, int]]) -> tuple[list[int] | None, Words | None]:
        """Which of them may have something: none of them if the bell rang. None: nothing has come for a while. And what
        was taken, if that had to be."""
        waitables, values = [self._bell, *(each for each, _ in watched)], [0, *(value for _, value in watched)]
        try:
            changed, taken = sleep_on(waitables, values, IDLE)
        except (ClosedError, OSError):
            return list(range(len(watched))), None  # the memory of one is gone: whoever tries that is told
        if not changed:
            return None, None
        if changed[0] == 0:
            self._bell.wait_one(0)
        return [i - 1 for i in changed if i > 0], taken


_lines: WeakValueDictionary[int, _Line] = WeakValueDictionary()  # by the loop's id


def _line_of(loop: Loop) -> _Line:
    line = _lines.get(id(loop))
    if line is None or line.loop is not loop:
        line = _lines[id(loop)] = _Line(loop)
        loop.call_later(NEVER, _Keeper(line), context=Context())
    return line


def _was_closed(handle: object) -> None:
    for known in _lines.valuerefs():
        line = known()
        if line is not None:
            line.handle_closed(handle)


awaiting.told.append(_was_closed)

# A forked child has neither the threads nor, in general, the loop.
after_in_child(_lines.clear)

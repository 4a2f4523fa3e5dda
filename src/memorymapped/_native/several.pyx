# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Waits for several objects at once: any of them, or all. .NET's WaitAny, WaitAll, SignalAndWait.

A `Waitable` (futex.pyx: events, semaphores) is slept on, together with the others in one call of the system. A mutex is
asked every 1 to 10 ms: who slept on the word of a pthread mutex, and then went away, could take with it the one wake-up
that another program waits for.

What was taken is never in the hands of Python code: a signal handler may raise between any two of its lines. So all of a
wait is one compiled call, from the first look to the return. The Python code that it runs meanwhile (handlers, the
making of an error) is followed by a give-back if it raises; and no object is trusted to be still open after it: what is
given back is found by its core, or by its words, which `Sleep` keeps mapped.
"""
from memorymapped.errors import AbandonedMutexError

from cpython.exc cimport PyErr_CheckSignals
from memorymapped._native.futex cimport MMF_WAITV_MOST, Event, Sleep, Waitable, limit_of, mmf_word_load
from memorymapped._native.robust cimport ABANDONED, BUSY, MutexHandle, RobustMutex


# Where the system has such objects of its own: its waits for them, which say NotImplemented of others.
cdef object any_of_system = None, all_of_system = None, sleep_on_system = None


def leave_to_system(any_of, all_of, sleep):
    """From now on `any_of(handles, limit)`, `all_of(handles, limit)` and `sleep(waitables, values, limit)` are asked
    first."""
    global any_of_system, all_of_system, sleep_on_system
    any_of_system, all_of_system, sleep_on_system = any_of, all_of, sleep


# ---------------------------------------------------------------------------------------------------------- arguments


cdef list checked(object handles):
    """The handles, so many that one call can wait for them."""
    if handles is None or isinstance(handles, (str, bytes)) or not hasattr(handles, "__iter__"):
        raise TypeError(f"handles are a list of mutexes, events and semaphores, not {type(handles).__name__}")
    cdef list given = list(handles)
    if not given:
        raise ValueError("there is nothing to wait for: handles is empty")
    if len(given) > MMF_WAITV_MOST:
        raise ValueError(f"{len(given)} handles are more than the {MMF_WAITV_MOST} that one call can wait for")
    return given


cdef int check_kinds(list handles) except -1:
    cdef int i
    for i in range(len(handles)):
        if not isinstance(handles[i], (Waitable, MutexHandle)):
            raise TypeError(f"handle {i} is no mutex, event or semaphore, but of type {type(handles[i]).__name__}")
    return 0


cdef int check_open(list handles) except -1:
    """ClosedError if one of them is closed, also where another one decides."""
    for handle in handles:
        if isinstance(handle, Waitable):
            if (<Waitable>handle).word == NULL:
                (<Waitable>handle).raise_closed()
        elif (<MutexHandle>handle).core is None:
            (<MutexHandle>handle).opened()  # says so
    return 0


cdef list in_order(list handles):
    """In the order in which all take: mutexes first, then by kind and place. ValueError if one object is there twice.

    `_order()` is the same for all handles of one object, and puts those of a kind in the same order in all processes."""
    cdef list keys = []
    cdef int i
    for i in range(len(handles)):
        keys.append(((isinstance(handles[i], Waitable), *handles[i]._order()), i))
    keys.sort()
    for i in range(1, len(keys)):
        if keys[i - 1][0] == keys[i][0]:
            one, other = keys[i - 1][1], keys[i][1]
            raise ValueError(f"handles {one} and {other} are the same object, {handles[one]!r}")
    return [handles[i] for _, i in keys]


# ------------------------------------------------------------------------------------------------------------ any of them


def sleep_on(list waitables, list values, double limit):
    """Sleeps until some of `waitables` (128 at most) may have something, or are closed: their words are no longer those
    of `values`. Their indices; none after `limit` seconds (negative: never). Besides None: nothing was taken. But who
    sleeps on one of the system's own takes it: then it is the only one, and this is by what it is given back."""
    cdef Sleep sleep
    cdef int i
    cdef list changed = [i for i in range(len(waitables)) if (<Waitable?>waitables[i]).word == NULL]
    if changed:
        return changed, None
    if sleep_on_system is not None:
        slept = sleep_on_system(waitables, values, limit)
        if slept is not NotImplemented:
            return slept
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    try:
        for i in range(len(waitables)):
            sleep.add(<Waitable>waitables[i])
            sleep.values[i] = values[i]
        while True:
            for i in range(sleep.count):
                if (<Waitable>waitables[i]).word == NULL or mmf_word_load(sleep.words[i]) != sleep.values[i]:
                    changed.append(i)
            if changed or not sleep.once():
                return changed, None
    finally:
        sleep.end()


cdef int try_any(list handles, Sleep sleep) except -2:
    """The index of the first that could be taken, or -1. `sleep`, if there is one, sleeps on their words, in order."""
    cdef int i, got, slot = 0
    for i in range(len(handles)):
        handle = handles[i]
        if isinstance(handle, Waitable):
            if sleep is None:
                if (<Waitable>handle).take():
                    return i
            elif (<Waitable>handle).take_since(sleep.values[slot]):
                sleep.taken = slot
                return i
            slot += 1
        else:
            got = (<MutexHandle>handle).try_now()
            if got == ABANDONED:
                error = (<MutexHandle>handle).abandonment()
                error.mutex_index = i
                raise error
            if got != BUSY:
                return i
    return -1


cdef int keep_unless_interrupted(object handle, Sleep sleep) except -1:
    """After a sleep that ended with a take. A handler that waits for its turn comes now: if it raises, what was taken is
    given back."""
    cdef RobustMutex core = None if isinstance(handle, Waitable) else (<MutexHandle>handle).core
    try:
        PyErr_CheckSignals()
    except BaseException:
        if core is None:
            (<Waitable>handle).undo(sleep.words[sleep.taken], sleep.counters[sleep.taken])
            sleep.taken = -1
        elif core.owned:
            core.give(False)
        raise
    return 0


def wait_any(handles, timeout=None):
    """Waits until one of the handles can be had, takes only that one, and returns its index: of several the lowest.
    None after `timeout` (seconds or a timedelta; None: for ever; 0: a look); .NET returns 258, WaitHandle.WaitTimeout.

    AbandonedMutexError if what was taken is a mutex that its previous owner abandoned: `mutex_index` and `mutex` tell
    which. The same handle may be there twice. A mutex is asked every 1 to 10 ms, so one that others take again at once is
    hardly ever met free. TypeError for None or what is no handle; ValueError for none at all or
    more than 128; OutOfRangeError for a negative time-out; ClosedError."""
    cdef list given = checked(handles)
    cdef double limit = limit_of(timeout)
    cdef Sleep sleep
    check_kinds(given)
    check_open(given)
    cdef int found = try_any(given, None)
    if found >= 0:
        return found
    if limit == 0:
        return None
    if any_of_system is not None:
        index = any_of_system(given, limit)
        if index is not NotImplemented:
            return index
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    try:
        for handle in given:
            if isinstance(handle, Waitable):
                sleep.add(<Waitable>handle)
            else:
                sleep.poll()
        while True:
            found = try_any(given, sleep)
            if found >= 0:
                keep_unless_interrupted(given[found], sleep)
                return found
            if not sleep.once():
                return None
    finally:
        sleep.end()


# ------------------------------------------------------------------------------------------------------------ all of them


# What a wait for all has of them: so many of each list, the first ones.
cdef struct Taken:
    int mutexes
    int waitables
    bint abandoned[MMF_WAITV_MOST]  # which of the mutexes


cdef object take_all(list mutexes, list waitables, Waitable passed):
    """Takes all of them, or none: None, or the one that could not be had. AbandonedMutexError: all are taken.

    `passed`: an event for which a signal has come, and may have gone again: it counts as had."""
    cdef Taken taken
    cdef int i
    missing = error = None
    taken.mutexes = taken.waitables = 0
    check_open(mutexes)
    for waitable in waitables:
        if not (<Waitable>waitable).ready() and waitable is not passed and missing is None:
            missing = waitable
    if missing is not None:
        return missing  # so that in most cases nothing is taken in vain
    cdef list cores = [(<MutexHandle>mutex).core for mutex in mutexes]
    try:
        missing = take_mutexes(mutexes, &taken)
        if missing is None:
            error = abandonment(mutexes, &taken)
            # From here on no Python code runs, so these need no record of where their words are.
            missing = take_waitables(waitables, passed, &taken)
    except BaseException:
        give_back(cores, waitables, passed, &taken)
        raise
    if missing is not None:
        give_back(cores, waitables, passed, &taken)
    elif error is not None:
        raise error
    return missing


cdef object take_mutexes(list mutexes, Taken *taken):
    cdef int got
    for mutex in mutexes:
        got = (<MutexHandle>mutex).try_now()
        if got == BUSY:
            return mutex
        taken.abandoned[taken.mutexes] = got == ABANDONED
        taken.mutexes += 1
    # They may have been waited for: a handler that waits for its turn comes now, and what it raises gives them back.
    PyErr_CheckSignals()
    return None


cdef object take_waitables(list waitables, Waitable passed, Taken *taken):
    for waitable in waitables:
        if waitable is not passed and not (<Waitable>waitable).take():
            return waitable
        taken.waitables += 1
    return None


cdef object abandonment(list mutexes, Taken *taken):
    """What to raise when all are taken."""
    cdef int i
    for i in range(taken.mutexes):
        if taken.abandoned[i]:
            told = mutexes[i]._abandoned()
            return AbandonedMutexError(
                f"all were taken, and a mutex among them was abandoned by its previous owner: {told}",
                previous_owner=told.previous_owner)
    return None


cdef int give_back(list cores, list waitables, Waitable passed, Taken *taken) except -1:
    """Gives back what was taken, the last first; all of it, also if something cannot be."""
    cdef int i
    failure = None
    for i in range(taken.waitables - 1, -1, -1):
        try:
            if waitables[i] is not passed:
                (<Waitable>waitables[i]).put_back()
        except BaseException as error:
            failure = failure or error
    for i in range(taken.mutexes - 1, -1, -1):
        try:
            if cores[i].owned:  # closed by a handler: given back by that
                (<RobustMutex>cores[i]).give(taken.abandoned[i])
        except BaseException as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return 0


def wait_all(handles, timeout=None):
    """Waits until all of the handles can be had, and takes them all: True. False after `timeout` (as in wait_any), and
    none of them is taken then.

    All or nothing is the result; while it waits it may have some of them for a moment, give them back and try again,
    and others can see that (an event that was reset meanwhile may come back as set). Mutexes are taken first, in an
    order that is the same in all processes, so two calls never block each other.

    It sleeps for one that is missing, then looks at all. If that one is an event that was set by hand and reset again
    meanwhile, it counts as set, once, if all others can be had at that look; such a signal of an event for which it
    does not sleep goes unseen. A mutex that others take again at once is hardly ever met free, as in wait_any.

    AbandonedMutexError if a mutex among them was abandoned by its previous owner: all are taken (`mutex_index` is -1).
    The same object must not be there twice (ValueError); otherwise it raises as wait_any does."""
    cdef list given = checked(handles)
    cdef double limit = limit_of(timeout)
    cdef list mutexes = [], waitables = []
    cdef Sleep sleep
    cdef Waitable passed = None
    check_kinds(given)
    check_open(given)
    if len(given) > 1:
        given = in_order(given)
    if all_of_system is not None:
        done = all_of_system(given, limit)
        if done is not NotImplemented:
            return done
    for handle in given:
        if isinstance(handle, Waitable):
            waitables.append(handle)
        else:
            mutexes.append(handle)
    missing = take_all(mutexes, waitables, None)
    if missing is None:
        return True
    if limit == 0:
        return False
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    try:
        while True:
            sleep_for(missing, sleep)
            if not sleep.once():
                return False
            passed = missing if is_over(missing, sleep) else None
            missing = take_all(mutexes, waitables, passed)
            if missing is None:
                sleep.taken = 0  # if it was one that is slept on
                return True
    finally:
        sleep.end()


cdef int sleep_for(object missing, Sleep sleep) except -1:
    """From now on it sleeps for this one. If that is the one for which it has slept, it goes on: no signal is missed."""
    if not isinstance(missing, Waitable) or not (<Waitable>missing).sleeps():
        sleep.end()
        sleep.poll()
    elif sleep.count == 0 or sleep.owners[0][0] is not missing:
        sleep.end()
        sleep.add(<Waitable>missing)
        sleep.pause = 0
    return 0


cdef bint is_over(object missing, Sleep sleep) except -1:
    """Whether it is an event that is reset by hand, and was set since the sleep for it began."""
    return isinstance(missing, Event) and (<Event>missing).parameter and (<Event>missing).take_since(sleep.values[0])


# --------------------------------------------------------------------------------------------------- one after the other


def signal_and_wait(to_signal, to_wait_on, timeout=None):
    """Signals the first (sets the event, releases the semaphore or the mutex), then waits for the second: True, or
    False after `timeout`. Two steps, as in .NET on Unix: another may come in between.

    Raises, and signals nothing, TypeError, OutOfRangeError (time-out), ClosedError, and what the signal itself raises:
    SemaphoreFullError, or RuntimeError for a mutex that is not owned. AbandonedMutexError as wait_one does."""
    cdef double limit = limit_of(timeout)
    cdef list both = [to_signal, to_wait_on]
    check_kinds(both)
    check_open(both)
    if isinstance(to_signal, Waitable):
        to_signal._signal()
    else:
        to_signal.release_mutex()
    return to_wait_on.wait_one(limit)

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Waits for several objects, where some of them are the system's own (kernel_objects.pyx): what several.pyx leaves to it.

Any of them: the system waits for up to 62 in one call, and takes what it has waited for in the same step. Words in maps are
waited for by the channels of their sleepers (sleeping.h). What is above 62, and locks in maps, is asked every 1 to 10 ms.

All of them: the system waits for up to 62 of its own in one call, and takes all in one step, or none.

A thread that sleeps for others (aio.py) takes what it finds, as the system knows no other wait, and hands it over.

As in several.pyx, Python code that runs meanwhile is followed by a give-back if it raises."""
from memorymapped._native.several import leave_to_system
from memorymapped.errors import AbandonedMutexError

from cpython.exc cimport PyErr_CheckSignals
from memorymapped._native.futex cimport Sleep, Waitable, mmf_word_load
from memorymapped._native.kernel_objects cimport (
    LOOK, MOST_AT_ONCE, OVER, Kernel, KernelMutex, KernelWords, Wait, kernel_of)
from memorymapped._native.robust cimport ABANDONED, MMF_STRANGER, MutexHandle, RobustMutex
from memorymapped._native.several cimport check_open, keep_unless_interrupted, try_any
from memorymapped._native.win32 cimport HANDLE

cdef extern from "sleeping.h" nogil:
    HANDLE mmf_channel(const void *place)

cdef double SHORTEST_PAUSE = 0.001, LONGEST_PAUSE = 0.01
cdef double LOOK_AGAIN = 0.25  # as in futex.pyx: nobody sleeps longer on a word


cdef list behind_of(list handles):
    """Of each handle: the Kernel of an event or a semaphore of the system, the core of a mutex of it, or None."""
    cdef list behind = []
    for handle in handles:
        if isinstance(handle, Waitable):
            behind.append(kernel_of(<Waitable>handle))
        else:
            core = (<MutexHandle>handle).core
            behind.append(core if isinstance(core, KernelMutex) else None)
    return behind


cdef Kernel handle_behind(object behind):
    return (<KernelMutex>behind).kernel if isinstance(behind, KernelMutex) else <Kernel>behind


cdef int enter(list behind) except -1:
    """They have a waiter more, and stay open, whatever is closed meanwhile. Some may have been closed already."""
    for each in behind:
        if each is not None:
            handle_behind(each).counted()
    for each in behind:
        if each is not None:
            handle_behind(each).enter()
    return 0


cdef int leave(list behind) except -1:
    for each in behind:
        if each is not None:
            handle_behind(each).leave()
    return 0


# ---------------------------------------------------------------------------------------------------------- any of them


cdef bint has(Wait wait, HANDLE handle) noexcept:
    cdef int i
    for i in range(wait.count):
        if wait.handles[i] == handle:
            return True  # the system refuses to wait for one twice
    return False


cdef double fill(Wait wait, list handles, list behind, Sleep sleep) except -2:
    """What is slept on until the next look: `wait` gets its handles. How long that may be; 0: as short as a pause is,
    negative: for ever."""
    cdef int i, slot = 0
    cdef double most = -1.0
    cdef HANDLE handle
    wait.count = 0
    for i in range(len(handles)):
        if wait.count == MOST_AT_ONCE:
            return 0
        if behind[i] is not None:
            handle = handle_behind(behind[i]).handle
        elif isinstance(handles[i], Waitable):
            handle = mmf_channel(sleep.words[slot])
            if most != 0:
                most = LOOK_AGAIN
        else:
            handle = NULL
        if handle == NULL:
            most = 0
        elif not has(wait, handle):
            wait.add(handle, LOOK if behind[i] is None else i)
        slot += isinstance(handles[i], Waitable)
    return most


cdef int own(KernelMutex core, bint killed) except -1:
    """The system has given this mutex to the thread."""
    if core.is_ours():  # a signal handler had taken it meanwhile: recursion is counted by the core alone
        core.unlock_once()
        return core.take(0)
    return core.got(killed)


cdef int keep(object handle, object behind, int index, bint killed) except -1:
    """The system has taken this one. A handler that waits for its turn comes now; if it raises, or the handle was closed
    meanwhile, what was taken is given back."""
    cdef KernelMutex core = behind if isinstance(behind, KernelMutex) else None
    cdef Kernel kernel
    cdef int got
    if core is None:
        kernel = behind
        try:
            PyErr_CheckSignals()
            check_open([handle])
        except BaseException:
            (<Waitable>handle).undo(&kernel.word, &kernel.waiters)
            raise
        return 0
    got = own(core, killed)
    try:
        PyErr_CheckSignals()
        check_open([handle])
    except BaseException:
        if core.is_ours():
            core.give(got == ABANDONED)
        raise
    if got == ABANDONED:
        error = (<MutexHandle>handle).abandonment()
        error.mutex_index = index
        raise error
    return 0


def any_of(list given not None, double limit):
    """several.wait_any, behind its first look."""
    cdef list behind = behind_of(given)
    cdef Sleep sleep
    cdef Wait wait
    cdef double most, pause = SHORTEST_PAUSE
    cdef int found, i
    if not any([each is not None for each in behind]):
        return NotImplemented
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    wait = Wait.__new__(Wait)
    enter(behind)
    try:
        wait.begin(limit)
        for i in range(len(given)):
            if isinstance(given[i], Waitable):
                sleep.add(<Waitable>given[i])
        while True:
            found = try_any(given, sleep)
            if found >= 0:
                keep_unless_interrupted(given[found], sleep)
                return found
            most = fill(wait, given, behind, sleep)
            if most == 0:
                most = pause
                pause = min(pause * 1.5, LONGEST_PAUSE)
            found = wait.once(most)
            if found >= 0:
                keep(given[found], behind[found], found, wait.abandoned)
                return found
            if found == OVER:
                return None
            PyErr_CheckSignals()
    finally:
        wait.end()
        sleep.end()
        leave(behind)


def sleep_on(list waitables not None, list values not None, double limit):
    """several.sleep_on."""
    cdef list behind = behind_of(waitables)
    cdef Sleep sleep
    cdef Wait wait
    cdef double most
    cdef int i, found
    if not any([each is not None for each in behind]):
        return NotImplemented
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    wait = Wait.__new__(Wait)
    enter(behind)
    try:
        wait.begin(limit)
        for i in range(len(waitables)):
            sleep.add(<Waitable>waitables[i])
            sleep.values[i] = values[i]
        while True:
            changed = []
            for i in range(len(waitables)):
                if (<Waitable>waitables[i]).word == NULL or mmf_word_load(sleep.words[i]) != sleep.values[i]:
                    changed.append(i)
            if changed:
                return changed, None
            most = fill(wait, waitables, behind, sleep)
            found = wait.once(most if most != 0 else LONGEST_PAUSE)
            if found >= 0:
                return [found], KernelWords(waitables[found], behind[found])
            if found == OVER:
                return [], None
    finally:
        wait.end()
        sleep.end()
        leave(behind)


# ---------------------------------------------------------------------------------------------------------- all of them


cdef list killed_of(list behind, Wait wait, int index):
    """Which mutexes were abandoned. The system names one; of the others those whose record has an owner are meant."""
    cdef list killed = []
    cdef int i
    for i in range(len(behind)):
        killed.append(wait.abandoned and isinstance(behind[i], KernelMutex)
                      and (i == index or (<KernelMutex>behind[i]).says_owned()))
    return killed


def all_of(list given not None, double limit):
    """several.wait_all, of objects in order."""
    cdef list behind = behind_of(given)
    cdef Wait wait
    cdef int i, index
    if None in behind or len(behind) > MOST_AT_ONCE:
        return NotImplemented
    for each in behind:
        if isinstance(each, KernelMutex) and (<KernelMutex>each).is_ours():
            return NotImplemented  # recursion, or a task's
    wait = Wait.__new__(Wait)
    enter(behind)
    try:
        wait.begin(limit)
        check_open(given)
        for i in range(len(behind)):
            wait.add(handle_behind(behind[i]).handle, i)
        while True:
            index = wait.all_at_once()
            if index >= 0:
                return keep_all(given, behind, killed_of(behind, wait, index))
            if index == OVER:
                return False
            PyErr_CheckSignals()
            check_open(given)
    finally:
        wait.end()
        leave(behind)


cdef object keep_all(list given, list behind, list killed):
    """The system has taken all of them."""
    cdef int i
    cdef list got = []
    error = None
    for i in range(len(given)):
        got.append(own(<KernelMutex>behind[i], killed[i]) if isinstance(behind[i], KernelMutex) else 0)
    try:
        PyErr_CheckSignals()
        check_open(given)
        for i in range(len(given)):
            if got[i] == ABANDONED:
                told = given[i]._abandoned()
                error = AbandonedMutexError(
                    f"all were taken, and a mutex among them was abandoned by its previous owner: {told}",
                    previous_owner=told.previous_owner)
                break
    except BaseException:
        give_back(given, behind, got)
        raise
    if error is not None:
        raise error
    return True


cdef int give_back(list given, list behind, list got) except -1:
    cdef int i
    cdef Kernel kernel
    for i in range(len(given) - 1, -1, -1):
        if isinstance(behind[i], KernelMutex):
            if (<KernelMutex>behind[i]).is_ours():
                (<KernelMutex>behind[i]).give(got[i] == ABANDONED)
        else:
            kernel = behind[i]
            (<Waitable>given[i]).undo(&kernel.word, &kernel.waiters)
    return 0


leave_to_system(any_of, all_of, sleep_on)

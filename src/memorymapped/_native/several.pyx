# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Waits for several objects at once: any of them, or all.

A `Waitable` (futex.pyx) is slept on, together with the others in one call of the system. Anything else, which means
mutexes, is asked by its `_try_wait` every 1 to 10 ms: who slept on the word of a pthread mutex, and then went away, could
take with it the one wake-up that another program waits for.
"""
from memorymapped.errors import AbandonedMutexError

from memorymapped._native.futex cimport Sleep, Waitable, mmf_word_load


cdef int check_open(list handles) except -1:
    """ClosedError if one of them is closed, also where another one decides."""
    for handle in handles:
        if isinstance(handle, Waitable):
            if (<Waitable>handle).word == NULL:
                (<Waitable>handle).raise_closed()
        elif handle.closed:
            handle._try_wait()  # says so
    return 0


def sleep_on(list waitables, list values, double limit):
    """Sleeps until one of `waitables` (128 at most) may have something, or is closed: its word is no longer the one of
    `values`. False after `limit` seconds (negative: never). Takes nothing."""
    cdef Sleep sleep = Sleep.__new__(Sleep)
    cdef int i
    sleep.begin(limit)
    try:
        for i in range(len(waitables)):
            sleep.add(<Waitable?>waitables[i])
            sleep.values[i] = values[i]
        while True:
            for i in range(sleep.count):
                if (<Waitable>waitables[i]).word == NULL or mmf_word_load(sleep.words[i]) != sleep.values[i]:
                    return True
            if not sleep.once():
                return False
    finally:
        sleep.end()


cdef int try_one(object handle) except -1:
    if isinstance(handle, Waitable):
        return (<Waitable>handle).take()
    return bool(handle._try_wait())


cdef int try_any(list handles, Sleep sleep) except -2:
    """The index of the first that could be taken, or -1. `sleep`, if there is one, sleeps on their words, in order."""
    cdef int i, slot = 0
    for i in range(len(handles)):
        handle = handles[i]
        try:
            if sleep is not None and isinstance(handle, Waitable):
                if (<Waitable>handle).take_since(sleep.values[slot]):
                    sleep.taken = slot
                    return i
                slot += 1
            elif try_one(handle):
                return i
        except AbandonedMutexError as error:
            error.mutex, error.mutex_index = handle, i
            raise
    return -1


def wait_any(list handles, double limit):
    """Takes the first of `handles` that can be had: its index; None after `limit` seconds (negative: never).

    A Waitable is slept on; anything else (mutexes) is asked by its `_try_wait` every 1 to 10 ms."""
    cdef Sleep sleep
    check_open(handles)
    cdef int found = try_any(handles, None)
    if found >= 0:
        return found
    if limit == 0:
        return None
    sleep = Sleep.__new__(Sleep)
    sleep.begin(limit)
    try:
        for handle in handles:
            if isinstance(handle, Waitable):
                sleep.add(<Waitable>handle)
            else:
                sleep.poll()
        while True:
            found = try_any(handles, sleep)
            if found >= 0:
                return found
            if not sleep.once():
                return None
    finally:
        sleep.end()


cdef object take_all(list handles, list abandoned):
    """Takes all of them, or none: None, or the one that could not be had. `abandoned` gets the errors of mutexes that
    were found abandoned."""
    cdef int i, taken = 0
    cdef list flags = []
    missing = None
    check_open(handles)
    for handle in handles:
        if isinstance(handle, Waitable) and not (<Waitable>handle).ready() and missing is None:
            missing = handle
    if missing is not None:
        return missing  # so that in most cases nothing is taken in vain
    try:
        for handle in handles:
            try:
                if not try_one(handle):
                    missing = handle
                    break
                flags.append(False)
            except AbandonedMutexError as error:
                flags.append(True)
                abandoned.append(error)
            taken += 1
        else:
            return None
    except BaseException:
        give_back(handles, flags)
        raise
    give_back(handles, flags)
    del abandoned[:]
    return missing


cdef int give_back(list handles, list flags) except -1:
    """Gives back the first len(flags), the last first; all of them, also if one cannot be."""
    cdef int i
    failure = None
    for i in range(len(flags) - 1, -1, -1):
        try:
            handle = handles[i]
            if isinstance(handle, Waitable):
                (<Waitable>handle).put_back()
            else:
                handle._give_back(flags[i])
        except Exception as error:
            failure = failure or error
    if failure is not None:
        raise failure
    return 0


def wait_all(list handles, double limit):
    """Takes all of `handles`, in this order, or none of them: True; False after `limit` seconds (negative: never).

    While one cannot be had, none is kept. AbandonedMutexError if all are taken, and a mutex was abandoned."""
    cdef Sleep sleep = Sleep.__new__(Sleep)
    cdef list abandoned = []
    cdef int going_on
    sleep.begin(limit)
    while True:
        missing = take_all(handles, abandoned)
        if missing is None:
            if abandoned:
                raise AbandonedMutexError(
                    "all were taken, and a mutex among them was abandoned by its previous owner: " + str(abandoned[0]),
                    previous_owner=abandoned[0].previous_owner)
            return True
        if limit == 0:
            return False
        try:
            if isinstance(missing, Waitable):
                sleep.add(<Waitable>missing)
                sleep.pause = 0
            else:
                sleep.poll()
            going_on = sleep.once()
        finally:
            sleep.end()
        if not going_on:
            return False

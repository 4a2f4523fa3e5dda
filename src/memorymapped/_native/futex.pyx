# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Events and semaphores in shared memory, and how a thread sleeps until there is something to be had.

One of them is two 32-bit words (futex.h): `word` and `waiters`. The word of a semaphore is its count; that of an event
which resets itself is 1 while it is set; that of an event which is reset by hand counts its changes, and is odd while it
is set: so a waiter knows that it was set, even if it has been reset before the waiter could look. Nobody owns anything, so the death of a process leaves nothing locked:

- killed between its change of the word and the wake: whoever sleeps looks again every 250 ms by himself;
- killed while it waits: `waiters` stays too high, so later signals make a system call in vain;
- killed after it was chosen to be woken: the word still says so, and the next look of another takes it;
- leaves for another reason after it may have been chosen (time-out, Ctrl-C, another object of a wait for several): it
  wakes the next one in its place, if there is still something to be had.

Whoever touches the words has a reference to their mapping. Every look is followed by the question whether the guard had
to replace the page (memory.pyx); a sleeper whose page is gone notices at its next look.
"""
from memorymapped.errors import ClosedError, MemoryFaultError, OutOfRangeError, SemaphoreFullError, shown
from memorymapped.timeouts import seconds

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from cpython.float cimport PyFloat_AS_DOUBLE, PyFloat_CheckExact
from cpython.long cimport PyLong_CheckExact
from libc.errno cimport EAGAIN, EFAULT, EINTR, ENOSYS, EPERM, ETIMEDOUT
from libc.limits cimport INT_MAX
from libc.stdint cimport uintptr_t
from libc.string cimport strerror
from memorymapped._native.memory cimport mmf_marked, mmf_object, mmf_replaced, new_mapping

cdef extern from "pages.h" nogil:
    int MMF_MAP_READ, MMF_MAP_WRITE, MMF_MAP_SHARED, MMF_MAP_OWN
    size_t mmf_page_size()

cdef extern from "Python.h":
    long PyLong_AsLongAndOverflow(object value, int *overflow) except? -1

# A record of its own: 64 bytes, of which the file's head (system/linux/signals.py) takes the first half.
RECORD_SIZE = 64
cdef enum:
    WORD = 32
    WAITERS = 36
WORD_OFFSET, WAITERS_OFFSET = WORD, WAITERS

MOST_HANDLES = MMF_WAITV_MOST
LARGEST_COUNT = INT_MAX

cdef double LOOK_AGAIN = 0.25  # seconds: whatever went wrong on the other side, nobody sleeps longer than this
cdef double SHORTEST_PAUSE = 0.001, LONGEST_PAUSE = 0.01  # between looks at what cannot be slept on


cdef double limit_of(object timeout) except? -2.0:
    """As `timeouts.seconds`, which says what is allowed; a plain float or int needs no Python."""
    cdef double limit
    cdef long whole
    cdef int overflow = 0
    if timeout is None:
        return -1.0
    if PyFloat_CheckExact(timeout):
        limit = PyFloat_AS_DOUBLE(timeout)
        if 0.0 <= limit <= 1e9:
            return limit
    elif PyLong_CheckExact(timeout):
        whole = PyLong_AsLongAndOverflow(timeout, &overflow)
        if -1 <= whole <= 1000000000 and not overflow:
            return whole
    return seconds(timeout)


# ------------------------------------------------------------------------------------------------- one object


cdef class Waitable:
    """What is waited for by sleeping on its word. Base of events and semaphores, named, unnamed, or inside a map."""

    cdef int place(self, Mapping mapping, char *word, char *waiters) except -1:
        """Where its words are. Both lie inside `mapping`, which this keeps, and are aligned."""
        if self.word != NULL:
            raise RuntimeError(f"{self!r} has been made already")
        self.mapping = mapping
        self.region = mapping.region
        self.word = <uint32_t *>word
        self.waiters = <uint32_t *>waiters
        return 0

    def _map(self, mmf_object fd, uint32_t parameter, uint32_t value, backing):
        """Maps the record of a file; without one (-1) makes a record of its own, in memory that a forked child shares,
        with `value` as its word. `parameter`: what its kind needs to know;
        `backing`: what it holds, or None."""
        cdef int flags = MMF_MAP_SHARED | MMF_MAP_OWN if fd < 0 else MMF_MAP_SHARED
        cdef Mapping mapping = new_mapping(fd, 0, RECORD_SIZE, MMF_MAP_READ | MMF_MAP_WRITE, flags, mmf_page_size())
        self.place(mapping, mapping.base + WORD, mapping.base + WAITERS)
        self.parameter = parameter
        self._backing = backing
        if fd < 0:
            mmf_word_store(self.word, value)

    def _unmap(self):
        """Ends this object, not its words. Threads that wait by it are woken, and get a ClosedError."""
        cdef Mapping mapping = self.mapping
        cdef uint32_t *word = self.word
        cdef uint32_t *waiters = self.waiters
        cdef int turn
        self.word = self.waiters = NULL
        self.region = NULL
        self.mapping = None
        for turn in range(20):
            if word == NULL or not self.asleep:
                break
            # The word is not changed, as it is not ours alone: who is about to fall asleep is missed by a wake. (And if
            # this is a signal handler in the midst of its thread's own wait, nobody has to be woken.)
            with nogil:
                mmf_futex_wake_all(word, mmf_word_load(waiters))
                mmf_sleep(0.00005)

    @property
    def closed(self):
        """True after close()."""
        return self.word == NULL

    @property
    def _parameter(self):
        return self.parameter

    @property
    def _address(self):
        return <uintptr_t>self.word

    def _look(self):
        """(word, waiters) as they are at this moment."""
        if self.word == NULL:
            self.raise_closed()
        value = mmf_word_load(self.word), mmf_word_load(self.waiters)
        if mmf_marked(self.region):
            self.check_fault()
        return value

    cdef int raise_closed(self) except -1:
        raise ClosedError(f"{self!r} is closed")

    cdef int check_fault(self) except -1:
        # After an access that found the mark.
        if mmf_replaced(self.region, <char *>self.word, 4) or mmf_replaced(self.region, <char *>self.waiters, 4):
            raise MemoryFaultError(EFAULT, f"the memory of {self!r} is gone: its file was truncated, or its disk failed")
        return 0

    cdef int ready(self) except -1:
        """Whether there is something to be had. Takes nothing."""
        if self.word == NULL:
            self.raise_closed()
        cdef bint there_is = mmf_word_load(self.word) != self.idle()
        if mmf_marked(self.region):
            self.check_fault()
        return there_is

    cdef bint sleeps(self):
        """Whether a thread can sleep on its word until there is something to be had, which it then has to take."""
        return True

    cdef uint32_t idle(self):
        """The value of the open object's word on which a waiter sleeps."""
        return 0

    cdef int take(self) except -1:
        """Takes it if it can be had now."""
        raise NotImplementedError

    cdef int take_since(self, uint32_t value) except -1:
        """Takes it if it can be had now, or could be at some moment since the word had this idle value."""
        return self.take()

    cdef int put_back(self) except -1:
        """Undoes a `take`."""
        if self.word == NULL:
            self.raise_closed()
        self.undo(self.word, self.waiters)
        if mmf_marked(self.region):
            self.check_fault()
        return 0

    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept:
        """Undoes a `take` of these words, which the caller keeps mapped: the object may be closed."""

    cdef int take_within(self, double limit) except -1:
        """Takes it: 1; 0 after `limit` seconds (negative: never). The caller has converted its arguments."""
        cdef Sleep sleep
        if self.take():
            return 1
        if limit == 0:
            return 0
        sleep = Sleep.__new__(Sleep)
        sleep.begin(limit)
        try:
            sleep.add(self)
            while not self.take_since(sleep.values[0]):
                if not sleep.once():
                    return 0
            try:
                PyErr_CheckSignals()  # a handler that raises later finds it taken, and nobody knows
            except BaseException:
                self.undo(sleep.words[0], sleep.counters[0])
                raise
            sleep.taken = 0
            return 1
        finally:
            sleep.end()

    def wait_one(self, timeout=None):
        """Waits until it is signalled, and takes what its kind takes. True; False after `timeout` (seconds or a
        timedelta; None: for ever; 0: a look). ClosedError if it is closed, also meanwhile; MemoryFaultError."""
        return self.take_within(limit_of(timeout)) != 0

    # ---- for waits that involve several objects

    def _try_wait(self):
        return self.take() != 0

    def _give_back(self, abandoned=False):
        self.put_back()

    def _signal(self):
        raise NotImplementedError

    # ---- for waits that another thread sleeps for

    def _idle(self):
        """The value of the word on which to sleep, for `sleep_on` and `_try_since`."""
        if self.word == NULL:
            self.raise_closed()
        return self.idle()

    def _words(self):
        """Its words, which stay where they are when it is closed."""
        if self.word == NULL:
            self.raise_closed()
        return new_words(self)

    def _try_since(self, uint32_t value):
        return self.take_since(value) != 0


@cython.final
@cython.no_gc_clear
cdef class Words:
    """The words of a Waitable, kept mapped: what was taken by it can be given back, whether it is open or not."""
    cdef Waitable waitable
    cdef Mapping mapping
    cdef uint32_t *word
    cdef uint32_t *waiters

    def give_back(self):
        self.waitable.undo(self.word, self.waiters)

    @property
    def by_hand(self):
        """Whether others have it as well."""
        return isinstance(self.waitable, Event) and self.waitable.parameter != 0


cdef Words new_words(Waitable waitable):
    cdef Words self = Words.__new__(Words)
    self.waitable = waitable
    self.mapping = waitable.mapping
    self.word = waitable.word
    self.waiters = waitable.waiters
    return self


cdef class Event(Waitable):
    """The compiled half of EventWaitHandle. `parameter`: not 0 for manual reset."""

    cdef uint32_t idle(self):
        return mmf_word_load(self.word) & ~<uint32_t>1 if self.parameter else 0

    cdef int take(self) except -1:
        if self.word == NULL:
            self.raise_closed()
        cdef bint taken = mmf_word_load(self.word) & 1 if self.parameter else mmf_word_clear(self.word)
        if mmf_marked(self.region):
            self.check_fault()
        return taken

    cdef int take_since(self, uint32_t value) except -1:
        if not self.parameter:
            return self.take()
        if self.word == NULL:
            self.raise_closed()
        cdef bint changed = mmf_word_load(self.word) != value  # set, or set and reset
        if mmf_marked(self.region):
            self.check_fault()
        return changed

    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept:
        if not self.parameter:
            mmf_word_store(word, 1)
            if mmf_word_load(waiters) != 0:
                mmf_futex_wake(word, 1)

    cdef int signal(self) except -1:
        if self.word == NULL:
            self.raise_closed()
        if self.parameter:
            mmf_word_switch(self.word, 1)
        else:
            mmf_word_store(self.word, 1)
        cdef uint32_t waiters = mmf_word_load(self.waiters)
        if waiters != 0:
            if self.parameter:
                mmf_futex_wake_all(self.word, waiters)
            else:
                mmf_futex_wake(self.word, 1)
        if mmf_marked(self.region):
            self.check_fault()
        return 0

    def set(self):
        """Signals it: all waiters go on and it stays set (manual reset), or one does and it is reset (auto reset; without
        a waiter it stays set until one comes). Setting what is set changes nothing. True, as in .NET.

        ClosedError; MemoryFaultError."""
        self.signal()
        return True

    def _signal(self):
        self.signal()

    def reset(self):
        """Takes the signal away: who begins to wait from now on, waits. Who waited when it was set by hand goes on (see
        wait_all for waits for all of several); the signal of an event that resets itself may be gone before its waiter
        had it. True, as in .NET.

        ClosedError; MemoryFaultError."""
        if self.word == NULL:
            self.raise_closed()
        if self.parameter:
            mmf_word_switch(self.word, 0)
        else:
            mmf_word_take_away(self.word)
        if mmf_marked(self.region):
            self.check_fault()
        return True

    def is_set(self):
        """Whether it is signalled at this moment. Takes nothing. ClosedError; MemoryFaultError."""
        return self.ready() != 0

    def wait(self, timeout=None):
        """The same as wait_one, by the name that threading.Event has for it."""
        return self.take_within(limit_of(timeout)) != 0


cdef class Semaphore(Waitable):
    """The compiled half of Semaphore. `parameter`: the highest count."""

    cdef int take(self) except -1:
        if self.word == NULL:
            self.raise_closed()
        cdef bint taken = mmf_word_decrement(self.word)
        if mmf_marked(self.region):
            self.check_fault()
        return taken

    cdef void undo(self, uint32_t *word, uint32_t *waiters) noexcept:
        # If another has released what we had for a moment, the count is at its maximum without ours.
        cdef uint32_t before
        if mmf_word_increase(word, 1, self.parameter, &before) and mmf_word_load(waiters) != 0:
            mmf_futex_wake(word, 1)

    cdef long long add(self, long count) except -1:
        """The previous count; LARGEST + 1 if it would be above its maximum."""
        cdef uint32_t before
        if self.word == NULL:
            self.raise_closed()
        cdef bint added = mmf_word_increase(self.word, <uint32_t>count, self.parameter, &before)
        if added and mmf_word_load(self.waiters) != 0:
            mmf_futex_wake(self.word, <int>count)
        if mmf_marked(self.region):
            self.check_fault()
        return before if added else <long long>INT_MAX + 1

    def release(self, release_count=1):
        """Gives back `release_count`, and wakes as many waiters. Returns the count as it was before.

        TypeError; OutOfRangeError if it is less than 1; SemaphoreFullError if the count would be above its maximum, and
        is unchanged; ClosedError; MemoryFaultError."""
        cdef int overflow = 0
        cdef long count = PyLong_AsLongAndOverflow(release_count, &overflow)
        if overflow < 0 or (overflow == 0 and count < 1):
            raise OutOfRangeError(f"release_count must be at least 1, got {shown(release_count)}")
        if overflow or count > INT_MAX:
            count = INT_MAX  # more than any maximum has room for, if there is anything in it
            if self.word == NULL:
                self.raise_closed()
            self.raise_full(release_count)
        cdef long long before = self.add(count)
        if before > INT_MAX:
            self.raise_full(release_count)
        return before

    cdef int raise_full(self, object count) except -1:
        raise SemaphoreFullError(f"a release of {shown(count)} would raise {self!r} above its maximum: its count is "
                                 "unchanged")

    def _signal(self):
        if self.add(1) > INT_MAX:
            self.raise_full(1)

    def acquire(self, blocking=True, timeout=-1):
        """Waits until the count is not 0, and takes one. True; False if that could not be had in time. The signature is
        that of Python's locks; see `wait_one`. ValueError for a time-out without blocking."""
        cdef double limit = limit_of(timeout)
        if not blocking:
            if limit != -1.0:
                raise ValueError("a call that does not block takes no time-out")
            limit = 0
        return self.take_within(limit) != 0

    def __enter__(self):
        self.take_within(-1.0)
        return self

    def __exit__(self, kind, value, traceback):
        if self.add(1) > INT_MAX:
            self.raise_full(1)


@cython.final
cdef class Word(Waitable):
    """A word that changes when there is something new: for `sleep_on`. Nothing is taken by it."""

    cdef uint32_t idle(self):
        return mmf_word_load(self.word)


cdef Word word_of(Mapping mapping, uint32_t *word, uint32_t *waiters):
    cdef Word self = Word.__new__(Word)
    self.place(mapping, <char *>word, <char *>waiters)
    return self


# ------------------------------------------------------------------------------------------------------- sleeping


cdef bint lacks_waitv = False


@cython.final
cdef class Sleep:
    """A wait under way: the words it sleeps on, in whose `waiters` it is counted, and its time."""

    cdef int begin(self, double limit) except -1:
        self.taken = -1
        self.owners = []
        self.deadline = mmf_now() + limit if limit >= 0 else -1.0
        return 0

    cdef int poll(self) except -1:
        """From now on it looks again after a pause that grows from 1 to 10 ms."""
        if self.pause == 0:
            self.pause = SHORTEST_PAUSE
        return 0

    cdef int add(self, Waitable waitable) except -1:
        if waitable.word == NULL:
            waitable.raise_closed()
        self.owners.append((waitable, waitable.mapping))
        self.words[self.count] = waitable.word
        self.values[self.count] = waitable.idle()
        self.counters[self.count] = waitable.waiters
        self.count += 1
        waitable.asleep += 1
        mmf_word_add(waitable.waiters, 1)
        return 0

    cdef int end(self) except -1:
        """Counted no more. Who was woken and does not take it wakes another."""
        cdef int i
        for i in range(self.count):
            (<Waitable>self.owners[i][0]).asleep -= 1
            mmf_word_add(self.counters[i], <uint32_t>-1)
            if i != self.taken and mmf_word_load(self.words[i]) != self.values[i] and mmf_word_load(self.counters[i]) != 0:
                mmf_futex_wake(self.words[i], 1)
        self.count = 0
        self.taken = -1
        self.owners = []
        return 0

    cdef int once(self) except -1:
        """Sleeps until one of the words has another value, or it is time for another look; 0 if there is no time left."""
        global lacks_waitv
        cdef double time = LOOK_AGAIN, left
        cdef int error
        cdef bint several = self.count > 1 and not lacks_waitv
        if self.count > 1 and lacks_waitv:
            self.poll()
        if self.pause > 0:
            time = self.pause
            self.pause = min(self.pause * 1.5, LONGEST_PAUSE)
        if self.deadline >= 0:
            left = self.deadline - mmf_now()
            if left <= 0:
                return 0
            time = min(time, left)
        # Safe: `owners` has the mappings.
        with nogil:
            if several:
                error = mmf_futex_waitv(self.words, self.values, self.count, time)
            elif self.count:
                error = mmf_futex_wait(self.words[0], self.values[0], time)
            else:
                error = mmf_sleep(time)
        if several and (error == ENOSYS or error == EPERM):
            lacks_waitv = True
        elif error == EFAULT:
            self.look_for_fault()
        elif error != 0 and error != EAGAIN and error != EINTR and error != ETIMEDOUT:
            raise OSError(error, f"{strerror(error).decode()}: waiting for a word in shared memory")
        PyErr_CheckSignals()  # also if another call of the system was the one that the signal met
        return 1

    cdef int look_for_fault(self) except -1:
        # The kernel could not read a word: we cannot either, and the guard takes note of it.
        cdef int i
        cdef bint found = False
        cdef Mapping mapping
        for i in range(self.count):
            mmf_word_load(self.words[i])
            mapping = self.owners[i][1]
            found = found or mmf_marked(mapping.region)
        if not found:
            raise OSError(EFAULT, f"{strerror(EFAULT).decode()}: waiting for a word in shared memory")
        return 0

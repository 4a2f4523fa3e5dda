# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""What synchronizes at a place inside a mapped view: locks, events, semaphores, atomic integers.

Each has a reference to the mapping, as a buffer has: the view and the map may be closed. Zeroed memory is a free object
of each kind, and nothing has to be made before it is used:

- the word at 12 is set first of all, and says what it is (places.h), so that nobody takes it for something else;
- a lock becomes one by the store of its kind, whoever is first (`mmf_claim_zeros`);
- an event is [word, mode + 1] and a semaphore [count, maximum], each followed by the number of waiters: the first two
  are set by one compare-and-swap of 8 bytes from zero. Whoever comes second finds the mode or the maximum, and takes
  it;
- an atomic integer is an integer, and nothing else.

Who dies between the first of these steps and the last leaves a place of which the next one makes the same kind.

A fault in the mapping (its file was truncated, its disk failed) ends all locks in it: every operation raises. Events,
semaphores and numbers end if it is their own page that is lost.
"""
import io

from memorymapped.errors import (
    ClosedError, DamagedObjectError, MemoryFaultError, ValueOutOfRangeError, WaitHandleCannotBeOpenedError, shown)

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EBADMSG, EFAULT, EINVAL
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from libc.string cimport memcpy
from memorymapped._native.futex cimport (
    Event, Semaphore, Waitable, limit_of, mmf_futex_wait, mmf_futex_wake, mmf_now, mmf_word_load)
from memorymapped._native.memory cimport (
    MMF_INT32, MMF_INT64, MMF_UINT32, MMF_UINT64, Mapping, View, mmf_marked, mmf_pack, mmf_position, mmf_region,
    mmf_replaced, mmf_unpack)
from memorymapped._native.robust cimport RobustMutex, foreign, mmf_lock, need_robust_mutexes, new_mutex

cdef extern from "robust.h" nogil:
    int MMF_LOCK_SIZE
    bint mmf_is_kind(const mmf_lock *lock)
    bint mmf_is_foreign(const mmf_lock *lock)
    int mmf_claim_zeros(mmf_lock *lock)

cdef extern from "places.h" nogil:
    int MMF_OTHER, MMF_NOTHING, MMF_LOCK, MMF_EVENT, MMF_SEMAPHORE
    int mmf_kind_at(const char *place)
    int mmf_kind_now(const char *place)
    int mmf_place_claim(char *place, int kind)

cdef extern from "atomics.h" nogil:
    int MMF_ADD, MMF_SUB, MMF_AND, MMF_OR, MMF_XOR
    uint64_t mmf_atomic_load(const char *at, int width)
    void mmf_atomic_store(char *at, int width, uint64_t value)
    uint64_t mmf_atomic_exchange(char *at, int width, uint64_t value)
    bint mmf_atomic_compare_exchange(char *at, int width, uint64_t expected, uint64_t desired)
    uint64_t mmf_atomic_fetch(int what, char *at, int width, uint64_t value)
    uint32_t *mmf_atomic_word(char *at, int width)

cdef extern from "Python.h":
    object PyNumber_Index(object value)
    unsigned long long PyLong_AsUnsignedLongLongMask(object value) except? 0xFFFFFFFFFFFFFFFF

cdef enum:
    _SIGNAL_SIZE = 16
    _ALIGNMENT = 8
LOCK_SIZE = MMF_LOCK_SIZE
SIGNAL_SIZE = _SIGNAL_SIZE
ALIGNMENT = _ALIGNMENT

cdef double LOOK_AGAIN = 0.25  # seconds: a notifier may die between its store and its call


# ------------------------------------------------------------------------------------------------------ the place


cdef Mapping locate(View view, object position, Py_ssize_t size, Py_ssize_t alignment, char **address):
    """Where `size` bytes at `position` of a view are. The caller keeps the mapping."""
    cdef Py_ssize_t at = mmf_position(position)
    if not view.writes or view.data == NULL:
        view.refuse(at, size, True)
    if not view.reads:
        view.refuse(at, size, False)
    if at < 0 or at > view.size - size:
        view.refuse(at, size, True)
    if view.own_pages:
        raise io.UnsupportedOperation(f"{view!r} is copy on write: what is written there nobody else sees, so nothing "
                                      "in it can synchronize. Create the view for reading and writing")
    # Safe: the bounds are checked, and no Python code has run since.
    address[0] = view.data + at
    if <uintptr_t>address[0] & (alignment - 1):
        raise ValueError(f"position {at} of {view!r}, which begins at {view.offset}, is no multiple of {alignment} in "
                         "the file: it must be")
    return view.mapping


cdef tuple KINDS = ("nothing", "a lock", "a reader-writer lock", "an event", "a semaphore", "a condition")


cdef int claim(char *address, Py_ssize_t size, int kind, object position) except -1:
    """Makes zeros a place of this kind, if it is none. Otherwise it raises what is there."""
    cdef Py_ssize_t i
    cdef int found = mmf_kind_at(address)
    if found == MMF_NOTHING:
        for i in range(size):
            if address[i] != 0 and mmf_kind_now(address) == MMF_NOTHING:  # nobody has made it one meanwhile
                refuse_bytes(kind, position)
        found = mmf_place_claim(address, kind)
    if found != kind:
        if not 0 < found < len(KINDS):
            refuse_bytes(kind, position)
        raise WaitHandleCannotBeOpenedError(EINVAL, f"at {position} there is {KINDS[found]}, not {KINDS[kind]}: take "
                                            "another place, or zero this one when nobody uses it")
    return 0


cdef int refuse_bytes(int kind, object position) except -1:
    raise DamagedObjectError(EBADMSG, f"the bytes at {position} are not {KINDS[kind]}: zeros make a free one")


cdef int refuse_foreign(const mmf_lock *lock, object position) except -1:
    # If it is one.
    if mmf_is_foreign(lock):
        raise WaitHandleCannotBeOpenedError(EINVAL, f"at {position} there is " + foreign("lock")
                                            + ". Take another place, or zero this one when nobody uses it")
    return 0


cdef int refuse_fault(object what) except -1:
    raise MemoryFaultError(EFAULT, f"the memory of {what} is gone: its file was truncated, or its disk failed")


def key_of(View view not None, position):
    """(device, inode, position in the file, life): the same for each view of the same bytes."""
    return view.source.device, view.source.inode, view.offset + mmf_position(position), view.source.life


# ---------------------------------------------------------------------------------------------------------- locks


def lock_at(View view not None, position):
    """The mutex at `position`, and whether this call has made it of zeros."""
    need_robust_mutexes()
    cdef char *address
    cdef Mapping mapping = locate(view, position, MMF_LOCK_SIZE, _ALIGNMENT, &address)
    cdef mmf_lock *lock = <mmf_lock *>address
    cdef int found = mmf_kind_at(address)
    cdef int made = 0
    if found <= MMF_LOCK:
        refuse_foreign(lock, position)
    if found != MMF_LOCK and (found > MMF_NOTHING or not mmf_is_kind(lock)):  # what a C program has made has no kind
        claim(address, MMF_LOCK_SIZE, MMF_LOCK, position)
    if not mmf_is_kind(lock):
        made = mmf_claim_zeros(lock)
        if made < 0:
            refuse_foreign(lock, position)
            refuse_bytes(MMF_LOCK, position)
    if mmf_marked(mapping.region):
        refuse_fault("the lock")
    return new_mutex(mapping, lock), made == 1


# ------------------------------------------------------------------------------------------- events and semaphores


cdef object settle(Waitable self, View view, object position, int kind, uint32_t value, uint32_t parameter,
                   uint32_t most):
    """Puts a signal to its place. `parameter`, from 1 to `most`, counts if this is the first. Returns what it is, and
    whether this was the first."""
    cdef char *address
    cdef Mapping mapping = locate(view, position, _SIGNAL_SIZE, _ALIGNMENT, &address)
    claim(address, _SIGNAL_SIZE, kind, position)
    cdef uint32_t pair[2]
    cdef uint64_t both
    pair[0] = value
    pair[1] = parameter
    memcpy(&both, pair, 8)
    cdef bint created = mmf_atomic_compare_exchange(address, 8, 0, both)
    both = mmf_atomic_load(address, 8)
    memcpy(pair, &both, 8)
    cdef uint32_t found = pair[1]
    if mmf_marked(mapping.region):
        refuse_fault("the signal")
    if not 1 <= found <= most or (kind == MMF_SEMAPHORE and pair[0] > found):
        raise DamagedObjectError(EBADMSG, f"the bytes at {position} are not what {KINDS[kind]} has (there are the numbers "
                                 f"{pair[0]} and {found}): zeros make a new one")
    self.place(mapping, address, address + 8)
    return found, bool(created)


cdef class PlacedEvent(Event):
    """The compiled half of MappedEvent."""

    def _settle(self, View view not None, position, bint initial_state, uint32_t mode):
        found, created = settle(self, view, position, MMF_EVENT, initial_state, mode + 1, 2)
        self.parameter = found - 1
        return created


cdef class PlacedSemaphore(Semaphore):
    """The compiled half of MappedSemaphore."""

    def _settle(self, View view not None, position, uint32_t initial_count, uint32_t maximum_count):
        found, created = settle(self, view, position, MMF_SEMAPHORE, initial_count, maximum_count, INT_MAX)
        self.parameter = found
        return created


# --------------------------------------------------------------------------------------------------------- atomics


cdef class Atomic:
    """The base of the atomic integers. Every operation is sequentially consistent, and none waits but `wait`.

    A value must fit: ValueOutOfRangeError. What `fetch_add` and its like are given is taken modulo 2**32 or 2**64, and
    their result wraps around, as in C: adding -1 to an unsigned 0 makes the largest number. All raise ClosedError, and
    MemoryFaultError if the memory is gone."""

    def _settle(self, View view not None, position, bint wide, bint signed):
        cdef char *address
        cdef int width = 8 if wide else 4
        cdef Mapping mapping = locate(view, position, width, width, &address)
        if self.at != NULL:
            raise RuntimeError(f"{self!r} has been made already")
        self.mapping = mapping
        self.region = mapping.region
        self.width = width
        if wide:
            self.kind = MMF_INT64 if signed else MMF_UINT64
        else:
            self.kind = MMF_INT32 if signed else MMF_UINT32
        self.at = address

    def close(self):
        """Lets go of the map; a second call does nothing. The number stays as it is."""
        cdef Mapping mapping = self.mapping
        self.at = NULL
        self.region = NULL
        self.mapping = None

    @property
    def closed(self):
        """True after close()."""
        return self.at == NULL

    cdef int raise_closed(self) except -1:
        raise ClosedError(f"{self!r} is closed")

    cdef int check_fault(self) except -1:
        # After an access that found the mark.
        if mmf_replaced(self.region, self.at, self.width):
            refuse_fault(repr(self))
        return 0

    cdef object boxed(self, unsigned long long value):
        return mmf_unpack(self.kind, <char *>&value)

    cdef unsigned long long packed(self, object value) except? 0xDEADBEEF:
        cdef unsigned long long bits = 0
        if mmf_pack(self.kind, value, <char *>&bits):
            raise ValueOutOfRangeError(f"{shown(value)} is outside of what {self!r} can hold")
        return bits

    def load(self):
        """The number."""
        if self.at == NULL:
            self.raise_closed()
        cdef uint64_t value = mmf_atomic_load(self.at, self.width)
        if mmf_marked(self.region):
            self.check_fault()
        return self.boxed(value)

    def store(self, value):
        """Sets the number."""
        cdef uint64_t new = self.packed(value)
        if self.at == NULL:
            self.raise_closed()
        mmf_atomic_store(self.at, self.width, new)
        if mmf_marked(self.region):
            self.check_fault()

    def exchange(self, value):
        """Sets the number, and returns what it was."""
        cdef uint64_t new = self.packed(value)
        if self.at == NULL:
            self.raise_closed()
        new = mmf_atomic_exchange(self.at, self.width, new)
        if mmf_marked(self.region):
            self.check_fault()
        return self.boxed(new)

    def compare_exchange(self, expected, desired):
        """Sets the number to `desired` if it is `expected`. Returns whether it was."""
        cdef uint64_t old = self.packed(expected)
        cdef uint64_t new = self.packed(desired)
        if self.at == NULL:
            self.raise_closed()
        cdef bint done = mmf_atomic_compare_exchange(self.at, self.width, old, new)
        if mmf_marked(self.region):
            self.check_fault()
        return done

    cdef object fetch(self, int what, object operand):
        cdef uint64_t value = PyLong_AsUnsignedLongLongMask(PyNumber_Index(operand))
        if self.at == NULL:
            self.raise_closed()
        value = mmf_atomic_fetch(what, self.at, self.width, value)
        if mmf_marked(self.region):
            self.check_fault()
        return self.boxed(value)

    def fetch_add(self, operand=1):
        """Adds, and returns what it was before."""
        return self.fetch(MMF_ADD, operand)

    def fetch_sub(self, operand=1):
        """Subtracts, and returns what it was before."""
        return self.fetch(MMF_SUB, operand)

    def fetch_and(self, operand):
        """Keeps the bits that `operand` has too, and returns what it was before."""
        return self.fetch(MMF_AND, operand)

    def fetch_or(self, operand):
        """Sets the bits that `operand` has, and returns what it was before."""
        return self.fetch(MMF_OR, operand)

    def fetch_xor(self, operand):
        """Turns the bits that `operand` has, and returns what it was before."""
        return self.fetch(MMF_XOR, operand)

    def wait(self, expected, timeout=None):
        """Sleeps while the number is `expected`, at most `timeout` (seconds or a timedelta; None: for ever; 0: a look).
        Whether it is another number now. Who changes it calls `notify`; without that a change is noticed within a
        quarter of a second. A number that was changed and changed back may not be noticed."""
        cdef uint64_t old = self.packed(expected)
        cdef double limit, deadline, time
        cdef uint32_t *word
        cdef int width = self.width
        cdef Mapping mapping
        limit = limit_of(timeout)
        deadline = mmf_now() + limit
        while True:
            if self.at == NULL:
                self.raise_closed()
            mapping = self.mapping
            if mmf_atomic_load(self.at, width) != old:
                if mmf_marked(self.region):
                    self.check_fault()
                return True
            if mmf_marked(self.region):
                self.check_fault()
            time = LOOK_AGAIN
            if limit >= 0:
                time = min(time, deadline - mmf_now())
                if time <= 0:
                    return False
            word = mmf_atomic_word(self.at, width)
            # Safe: `mapping` keeps the word, whoever closes this.
            with nogil:
                mmf_futex_wait(word, <uint32_t>old, time)
            PyErr_CheckSignals()

    def notify(self, count=1):
        """Wakes `count` of those who `wait`, to look at the number again. Always a system call."""
        cdef Py_ssize_t many = mmf_position(count)
        if self.at == NULL:
            self.raise_closed()
        if many > 0:
            mmf_futex_wake(mmf_atomic_word(self.at, self.width), <int>min(many, <Py_ssize_t>INT_MAX))
        if mmf_marked(self.region):
            self.check_fault()

    def notify_all(self):
        """Wakes all who `wait`."""
        self.notify(INT_MAX)

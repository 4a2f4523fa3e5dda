# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.memory cimport Mapping, mmf_region


cdef extern from "robust.h" nogil:
    ctypedef struct mmf_lock:
        uint32_t process
        unsigned char died
        uint32_t ours
    int MMF_LOCK_SIZE, MMF_STRANGER
    void mmf_note_ours(mmf_lock *lock, uint32_t process)

# What `take` says.
cdef enum:
    BUSY = 0
    TAKEN = 1
    ABANDONED = 2

# A time-out of `take`: until it is owned. What signal handlers raise meanwhile is put off: the caller asks for it.
cdef enum:
    UNTIL_OWNED = -2
cdef list put_off
cdef list put_off_since(Py_ssize_t count)

cdef int need_robust_mutexes() except -1
cdef str foreign(str what)
cdef uint64_t this_thread() noexcept nogil
cdef uint32_t this_process() noexcept nogil
cdef void count_locks(int more) noexcept nogil
cdef bint owner_died(RobustMutex self) noexcept

cdef RobustMutex new_mutex(Mapping mapping, mmf_lock *lock)


cdef class RobustMutex:
    cdef Mapping mapping  # keeps the pages: never unmapped while a thread of this process owns
    cdef mmf_region *region
    cdef mmf_lock *lock
    cdef uint64_t owner  # mmf_thread() of the owner, if it is one of this process
    cdef uint32_t process  # this process, unless the object was copied by a fork since
    cdef Py_ssize_t count
    cdef object task  # None, or the task of the owner's event loop that owns
    cdef void *before
    cdef void *after
    cdef str damage
    cdef uint32_t previous
    cdef uint64_t stepper  # mmf_thread() of who takes it for a step of this library
    cdef public object on_free  # called when who owned it without a handle has given it back
    cdef readonly unsigned long long acquisitions
    cdef readonly unsigned long long waits
    cdef readonly unsigned long long abandonments
    cdef public str label
    cdef object notes  # of what it guards, by those who share it: see Hold of committed.pyx
    cdef public Py_ssize_t handles
    cdef object __weakref__

    cdef bint is_owned_by_us(self)
    cdef int take(self, double timeout) except -1
    cdef int give(self, bint abandoned) except -1
    cdef int obtain(self, double timeout) except -1
    cdef int let_go(self, bint abandoned) except -1
    cdef int look(self) except -1
    cdef int check_limit(self) except -1
    cdef int wait(self, mmf_lock *lock, double timeout) except -1
    cdef void owned_through(self, mmf_lock *lock) noexcept
    cdef int check_before_unlock(self, mmf_lock *lock) except -1
    cdef void owned_no_more(self) noexcept
    cdef int check_fault(self) except -1
    cdef int refuse_state(self) except -1
    cdef int refuse_own_number(self) except -1
    cdef int refuse_beside_task(self) except -1
    cdef int refuse_stranger(self) except -1
    cdef str called(self)
    cdef bint is_vain(self, mmf_lock *lock) noexcept
    cdef bint is_ours(self) noexcept


cdef class MutexHandle:
    cdef RobustMutex core
    cdef object __weakref__

    cdef RobustMutex opened(self)
    cdef int try_now(self) except -1
    cdef object abandonment(self)


cdef int hold(MutexHandle self, double limit) except -1

# What `begin_step` says besides TAKEN and ABANDONED: the task at work has it already.
cdef enum:
    NESTED = 3

cdef bint is_of_this_task(RobustMutex core)
cdef int begin_step(MutexHandle self) except -1


cdef inline int end_step(RobustMutex core, int got, bint abandoned) except -1:
    """Gives back what `begin_step` took."""
    if got != NESTED:
        core.give(abandoned)
    return 0

# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.memory cimport Mapping, mmf_region


cdef extern from "robust.h" nogil:
    ctypedef struct mmf_lock:
        uint32_t process
    uint64_t mmf_thread()
    int MMF_LOCK_SIZE


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
    cdef object on_free
    cdef readonly unsigned long long acquisitions
    cdef readonly unsigned long long waits
    cdef readonly unsigned long long abandonments

    cdef bint is_owned_by_us(self)
    cdef int take(self, double timeout) except -1
    cdef int give(self, bint abandoned) except -1
    cdef int look(self) except -1
    cdef int wait(self, double timeout) except -1
    cdef int taken(self, int rc) except -1
    cdef int refuse_state(self) except -1


cdef class MutexHandle:
    cdef RobustMutex core
    cdef object __weakref__

    cdef RobustMutex opened(self)

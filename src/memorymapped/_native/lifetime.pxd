# SPDX-License-Identifier: MIT


cdef class ProcessLock:
    cdef void *lock
    cdef unsigned long owner
    cdef int depth

    cdef bint take(self, double limit=*, bint interruptible=*) except -1
    cdef void give(self) noexcept


cdef ProcessLock lock

cdef int lift_limit() except -1

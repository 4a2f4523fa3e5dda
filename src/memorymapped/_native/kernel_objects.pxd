# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t
from memorymapped._native.futex cimport Event, Semaphore, Waitable
from memorymapped._native.memory cimport Mapping
from memorymapped._native.robust cimport RobustMutex

from memorymapped._native.win32 cimport HANDLE


cdef enum:
    MOST_AT_ONCE = 62  # MAXIMUM_WAIT_OBJECTS without the two of `Wait`

# What `Wait.once` says besides the number of what was taken.
cdef enum:
    LOOK = -2
    OVER = -3


# A handle of a mutex, an event or a semaphore.
cdef class Kernel:
    cdef HANDLE handle
    cdef uint32_t word       # what a Waitable has for its word; nobody sleeps on it
    cdef uint32_t waiters    # of this process, where they cannot be counted together with those of others
    cdef object names        # of the record in which they are
    cdef Mapping record
    cdef HANDLE section
    cdef uint32_t *counter   # of waiters; NULL: not opened yet
    cdef int users           # threads of ours that need the handle: closed by the last of them
    cdef bint ended
    cdef bint is_silent      # its rules do not let this user ask for its state

    cdef uint32_t *counted(self) except NULL
    cdef Mapping open_record(self)
    cdef void enter(self) noexcept
    cdef void leave(self) noexcept
    cdef void hold(self) noexcept
    cdef void drop(self) noexcept
    cdef void end_now(self) noexcept


# A wait for several handles under way.
cdef class Wait:
    cdef HANDLE handles[64]
    cdef int numbers[64]
    cdef int count
    cdef HANDLE nudge        # by which a `close` has it look
    cdef bint main
    cdef double deadline     # negative: never
    cdef bint abandoned      # what was taken was a mutex whose owner has ended

    cdef int begin(self, double limit) except -1
    cdef void end(self) noexcept
    cdef void add(self, HANDLE handle, int number) noexcept
    cdef double left(self) noexcept
    cdef int once(self, double most) except -1
    cdef int all_at_once(self) except -1


cdef class KernelEvent(Event):
    cdef Kernel kernel

cdef class KernelSemaphore(Semaphore):
    cdef Kernel kernel

# By which an event or a semaphore that was taken is given back.
cdef class KernelWords:
    cdef Waitable waitable
    cdef Kernel kernel

cdef class KernelMutex(RobustMutex):
    cdef Kernel kernel
    cdef bint is_kept        # the handle, which was closed while this thread waited: until it is given back

    cdef int got(self, bint killed) except -1
    cdef bint says_owned(self)
    cdef int unlock_once(self) except -1


# That of an event or a semaphore of the system; None: it has words.
cdef Kernel kernel_of(Waitable waitable)

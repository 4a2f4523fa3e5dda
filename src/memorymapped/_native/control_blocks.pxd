# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.memory cimport Mapping, View, mmf_region
from memorymapped._native.robust cimport NESTED, MutexHandle, RobustMutex, this_process, this_thread
from memorymapped._native.structs cimport StructLayout


cdef class ControlBlock:
    cdef View view                # None: closed
    cdef Mapping mapping          # the view's, as long as this is open
    cdef mmf_region *region
    cdef readonly object lock     # a MutexHandle; what messages say of it
    cdef readonly object type     # a Struct; None: values are bytes
    cdef StructLayout layout      # its own
    cdef int asleep               # threads that may be sleeping on the word by this object
    cdef uint64_t retries
    cdef uint64_t locked_reads
    cdef object __weakref__

    cdef uint32_t *word(self) noexcept
    cdef uint32_t *waiters(self) noexcept
    cdef double pause(self) noexcept
    cdef bint arrived(self, tuple what) except -1
    cdef bint wait(self, tuple what, double limit) except -1
    cdef void forget(self) noexcept
    cdef int check_view(self, View view) except -1
    cdef void take_view(self, View view, MutexHandle lock, object type)
    cdef int raise_closed(self) except -1
    cdef int raise_fault(self) except -1
    cdef int check_marks(self) except -1
    cdef int refuse_version(self, uint32_t found, uint32_t known) except -1
    cdef int refuse_layout(self, uint64_t size, const char *theirs, size_t length, uint64_t asked, str text) except -1


# Who has taken the lock for an edit, and when.
cdef struct Turn:
    int got
    unsigned long long acquisition
    uint64_t thread
    uint32_t process


cdef inline void begin_edit(Turn *turn, RobustMutex core, int got) noexcept:
    """After the lock was taken."""
    turn.got = got
    turn.acquisition = core.acquisitions
    turn.thread = this_thread()
    turn.process = this_process()


cdef inline bint holds_edit(const Turn *turn, RobustMutex core) noexcept:
    """Whether the lock is to be given back where an edit is dropped. (Another thread's: that one may be at work, or has
    ended, which the next is told of.)"""
    return core is not None and turn.got != NESTED and turn.acquisition == core.acquisitions and core.is_ours()


cdef inline int check_end(const Turn *turn, RobustMutex core, object of, bint closed, bint failed) except -1:
    """At the end of an edit of `of`. 1: this thread owns the lock; 0: it does not, as the edit was closed within, or is
    left by an exception in a forked child. RuntimeError: nobody may end it, or it was not entered."""
    return 1 if core is not None and core.is_ours() else check_other_end(turn, core, of, closed, failed)


cdef int check_other_end(const Turn *turn, RobustMutex core, object of, bint closed, bint failed) except -1
cdef int refuse_released(object of) except -1

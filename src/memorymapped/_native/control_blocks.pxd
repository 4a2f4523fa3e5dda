# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uint32_t, uint64_t
from memorymapped._native.memory cimport Mapping, View, mmf_region
from memorymapped._native.robust cimport MutexHandle, RobustMutex
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

cdef void begin_edit(Turn *turn, RobustMutex core, int got) noexcept
cdef bint holds_edit(const Turn *turn, RobustMutex core) noexcept
cdef int check_end(const Turn *turn, RobustMutex core, object of, bint closed, bint failed) except -1
cdef int refuse_released(object of) except -1

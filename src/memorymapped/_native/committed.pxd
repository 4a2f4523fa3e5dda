# SPDX-License-Identifier: MIT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.control_blocks cimport ControlBlock
from memorymapped._native.memory cimport Mapping


cdef extern from "committed.h" nogil:
    ctypedef struct mmf_control:
        uint64_t magic
        uint32_t version
        uint32_t slots
        uint64_t size
        uint64_t layout
        uint32_t flags
        uint32_t text
        unsigned char boot[16]
        uint32_t users

    ctypedef struct mmf_shared:
        char *base
        mmf_control *control
        uint64_t *seq
        uint64_t *mirror
        uint64_t *kept
        uint64_t *keeping
        uint32_t *waiters
        size_t size
        int foreign


cdef class Hold:
    # The lock's acquisitions when a thread of this process, which owns it still if they are the same,
    cdef unsigned long long edited_at   # began an edit; 0: it was ended
    cdef unsigned long long settled_at  # made the value whole for `live`
    cdef unsigned long long answered    # the lock's abandonments after which the value was made whole
    cdef object __weakref__


cdef class Committed(ControlBlock):
    cdef mmf_shared value         # base NULL: closed
    cdef bint plain               # there is no control block
    cdef Hold hold
    cdef size_t whole             # bytes of the view
    cdef bint alone               # who opened it found nobody who had the lock open
    cdef uint32_t counted_in      # the process in which this is one of the file's users; 0: none
    cdef uint64_t seen            # the number that was read or written last
    cdef bytes seen_bytes         # the same without a control block
    cdef uint64_t adoptions
    cdef uint64_t rollbacks
    cdef double took              # seconds: the last look at a large value

    cdef int attach_control(self, str text, uint64_t layout, bint foreign, bytes boot) except -1
    cdef Py_ssize_t find(self, bytes text, uint64_t layout, bint owning) except -3
    cdef int look_around(self, bytes text, uint64_t layout) except -1
    cdef int refuse_half_made(self) except -1
    cdef int refuse_other_control(self) except -1
    cdef int read_header(self, size_t at, bytes text, uint64_t layout) except -1
    cdef int open_file(self, bytes boot) except -1
    cdef int end_keeping(self, uint64_t number, bint kept) except -1
    cdef int begin(self) except -1
    cdef int settle(self, mmf_shared *v, Mapping mapping, bint abandoned) except -1
    cdef int put(self, mmf_shared *v, Mapping mapping, const char *bytes) except -1
    cdef int write(self, const char *bytes) except -1
    cdef int read(self, char *to) except -1
    cdef int read_locked(self, char *to) except -1
    cdef int settle_if_free(self, char *to) except -1
    cdef int copy_current(self, mmf_shared *v, Mapping mapping, char *to) except -1
    cdef object since(self, object version)
    cdef bint compare(self, mmf_shared *v, const char *other, uint64_t number) noexcept

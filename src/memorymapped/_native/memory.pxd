# SPDX-License-Identifier: MIT
from libc.stdint cimport int64_t, uintptr_t
from libc.stddef cimport size_t


cdef extern from "guard.h" nogil:
    ctypedef int mmf_object  # or longer
    ctypedef struct mmf_region:
        uintptr_t start
        uintptr_t end
        size_t page
        uintptr_t mark
    bint mmf_marked(const mmf_region *region)
    bint mmf_replaced(const mmf_region *region, const char *address, size_t size)


cdef extern from "copy.h" nogil:
    bint mmf_overlap(const char *one, size_t size, const char *other, size_t other_size)
    void mmf_copy(char *to, const char *source, size_t size)
    void mmf_expect_large(char *memory, size_t size)
    void mmf_copy_strided(char *to, Py_ssize_t to_step, const char *source, Py_ssize_t from_step, size_t size, size_t count)
    void mmf_copy_elements(const Py_buffer *buffer, Py_ssize_t first, size_t count, char *block, bint back)
    const char *mmf_find_last(const char *block, size_t length, const char *bytes, size_t size)
    Py_ssize_t mmf_outside(const int64_t *offsets, Py_ssize_t count, int64_t last)
    Py_ssize_t mmf_gather(char *own, const char *base, const int64_t *offsets, Py_ssize_t count, Py_ssize_t size,
                          int64_t last)
    Py_ssize_t mmf_scatter(char *base, const char *own, const int64_t *offsets, Py_ssize_t count, Py_ssize_t size,
                           int64_t last)


cdef extern from "scalar.h":
    Py_ssize_t mmf_position(object position) except? -1
    int mmf_distance(object distance, Py_ssize_t *out) except -2
    int mmf_slice(object slice, Py_ssize_t *start, Py_ssize_t *stop, Py_ssize_t *step) except -1
    object mmf_unpack(int kind, const char *source)
    int mmf_pack(int kind, object value, char *to) except -1
    void mmf_put(char *to, const char *packed, Py_ssize_t size)
    enum:
        MMF_BOOL
        MMF_INT8
        MMF_UINT8
        MMF_INT16
        MMF_UINT16
        MMF_INT32
        MMF_UINT32
        MMF_INT64
        MMF_UINT64
        MMF_SINGLE
        MMF_DOUBLE
        MMF_CHAR


cdef class Mapping:
    cdef mmf_region *region
    cdef char *base


cdef int take_buffer(object exporter, Py_buffer *buffer, int flags) except -1
cdef int let_others_run() except -1
cdef int transfer_elements(Py_buffer *buffer, Py_ssize_t first, Py_ssize_t count, char *block, bint back) except -1
cdef int transfer(char *to, const char *source, Py_ssize_t size, bint fresh) except -1
cdef Mapping new_mapping(mmf_object fd, long long offset, size_t length, int protection, int flags, size_t page)


cdef class View:
    cdef Mapping mapping
    cdef mmf_region *region
    cdef char *data
    cdef Py_ssize_t readable
    cdef Py_ssize_t writable
    cdef Py_ssize_t size
    cdef Py_ssize_t shift
    cdef readonly long long offset  # in the file
    cdef readonly object source
    cdef bint reads
    cdef bint writes
    cdef bint told
    cdef bint flushes
    cdef bint own_pages  # what is written stays in this view
    cdef bint was_faulted
    cdef public object _lost_by  # for `source`: why pages were lost, once that was asked
    cdef object __weakref__

    cdef int raise_closed(self) except -1
    cdef int refuse(self, Py_ssize_t position, Py_ssize_t size, bint writing) except -1
    cdef int check_fault(self, Py_ssize_t position, Py_ssize_t size) except -1
    cdef int copy_out(self, Py_ssize_t position, char *to, Py_ssize_t size) except -1
    cdef int copy_to(self, Py_ssize_t position, char *to, Py_ssize_t size, bint fresh) except -1
    cdef int fill(self, Py_ssize_t position, char *fresh, Py_ssize_t size) except -1
    cdef int copy_in(self, Py_ssize_t position, const char *source, Py_ssize_t size) except -1
    cdef int copy_strided(self, bint writing, Py_ssize_t at, Py_ssize_t step, Py_ssize_t size, Py_ssize_t count,
                          char *own) except -1
    cdef bytes new_bytes(self, Py_ssize_t at, Py_ssize_t size)
    cdef int pages(self, object position, object count, char **start, size_t *length) except -1
    cdef bint is_beyond(self, Py_ssize_t end) except -1
    cdef int drop(self) except -1

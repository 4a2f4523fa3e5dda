# SPDX-License-Identifier: MIT
from memorymapped._native.memory cimport Mapping, View, mmf_region
from memorymapped._native.robust cimport mmf_lock


cdef Mapping locate(View view, object position, Py_ssize_t size, Py_ssize_t alignment, char **address)
cdef int claim(char *address, Py_ssize_t size, int kind, object position) except -1
cdef int refuse_foreign(const mmf_lock *lock, object position) except -1
cdef int refuse_fault(object what) except -1


cdef class Atomic:
    cdef Mapping mapping  # None: closed
    cdef mmf_region *region
    cdef char *at         # NULL: closed
    cdef int width
    cdef int kind
    cdef object __weakref__

    cdef int raise_closed(self) except -1
    cdef int check_fault(self) except -1
    cdef object boxed(self, unsigned long long value)
    cdef object fetch(self, int what, object operand)
    cdef unsigned long long packed(self, object value) except? 0xDEADBEEF

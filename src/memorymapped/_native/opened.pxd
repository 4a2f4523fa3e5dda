# SPDX-License-Identifier: MIT
from memorymapped._native.robust cimport RobustMutex


cdef class OpenMutex:
    cdef readonly object name
    cdef readonly str path
    cdef readonly RobustMutex core
    cdef readonly unsigned long long device
    cdef readonly unsigned long long inode
    cdef readonly int handles
    cdef dict table
    cdef object key

    cdef int give_back(self) except -1
    cdef int close_last(self) except -1
    cdef int keep_or_end(self, RobustMutex core) except -1
    cdef int end(self) except -1
    cdef int let_go(self) except -1

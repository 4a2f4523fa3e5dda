# SPDX-License-Identifier: MIT
from memorymapped._native.futex cimport Sleep

cdef int check_open(list handles) except -1
cdef int try_any(list handles, Sleep sleep) except -2
cdef int keep_unless_interrupted(object handle, Sleep sleep) except -1

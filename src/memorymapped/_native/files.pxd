# SPDX-License-Identifier: MIT
cpdef grow(int fd, long long size, bint reserve, bint alone=*)
cdef int lengthen(int fd, long long now, long long taken, long long size, bint reserve, bint alone) except -1
cpdef limit_descriptors(object soft)
cpdef bint is_memory(int fd)

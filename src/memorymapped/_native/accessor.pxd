# SPDX-License-Identifier: MIT
from memorymapped._native.memory cimport View


cdef class Accessor(View):
    # No cdef methods: MemoryMappedViewAccessor gets the table of View's, because its first base, Viewing, has only that.
    pass


cdef object does_not_fit(object value, object kind)

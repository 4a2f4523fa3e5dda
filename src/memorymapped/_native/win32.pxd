# SPDX-License-Identifier: MIT
from libc.stdint cimport int32_t, int64_t, intptr_t, uint32_t


cdef extern from "<windows.h>" nogil:
    ctypedef void *HANDLE

cdef extern from "Python.h":
    object PyErr_SetExcFromWindowsErrWithFilenameObject(object kind, int error, object name)


# Raises OSError with `winerror`, about `name` if that is not None.
cdef inline int refuse(uint32_t error, object name) except -1:
    PyErr_SetExcFromWindowsErrWithFilenameObject(OSError, error, name)
    return -1


# A handle as an int. It has 32 bits that mean something.
cdef inline HANDLE handle_of(int64_t number) noexcept nogil:
    return <HANDLE><intptr_t>number


cdef inline int32_t number_of(HANDLE handle) noexcept nogil:
    return <int32_t><intptr_t>handle

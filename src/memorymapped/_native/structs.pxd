# SPDX-License-Identifier: MIT
from cpython.object cimport PyObject
from libc.stddef cimport size_t
from memorymapped._native.memory cimport Mapping, View

cdef extern from "structs.h":
    ctypedef struct mmf_entry:
        PyObject *name
        PyObject *field
        Py_ssize_t offset
        int kind

# `position` of bytes that lie in no view.
cdef enum:
    SNAPSHOT = -1  # they never change
    DRAFT = -2     # their own object may change them


# How a structure lies in memory. Python's `memorymapped.structs.layout.Layout` is made from it.
cdef class StructLayout:
    cdef readonly Py_ssize_t size       # bytes
    cdef readonly Py_ssize_t alignment
    cdef readonly tuple fields
    cdef readonly object struct         # the class that declares it
    cdef bytes template                 # a structure with its default values
    cdef dict by_name
    cdef mmf_entry *entries             # of the fields, by the address of their names
    cdef size_t places
    cdef void *spare[16]                # memory of values that are gone
    cdef int spares
    cdef object __weakref__


# Bytes somewhere: `data`, which `owner` keeps (None: this object itself), or in the view `owner`, from `position` on.
cdef class Place:
    cdef char *data
    cdef object owner
    cdef Py_ssize_t position


# A structure. Its class has a StructLayout as `__layout__`.
cdef class Value(Place):
    cdef void *layout  # its StructLayout, borrowed from the class


cdef StructLayout layout_of(object type)
cdef Value new_value(StructLayout layout, object cls)
cdef Value snapshot_at(View view, Py_ssize_t position, object cls, StructLayout layout)
cdef int write_value(View view, Py_ssize_t position, Value value) except -1
cdef int copy_value(Value value, char *to) except -1
cdef void freeze(Value value) noexcept

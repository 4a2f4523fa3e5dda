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
    LENT = -3      # a draft, of which somebody has, or had, a buffer that can be written


# How a structure lies in memory. Python's `memorymapped.structs.layout.Layout` is made from it.
cdef class StructLayout:
    cdef readonly Py_ssize_t size       # bytes
    cdef readonly Py_ssize_t alignment
    cdef readonly tuple fields
    cdef readonly object struct         # the class that declares it
    cdef bint sealed
    cdef bytes template                 # a structure with its default values
    cdef dict by_name
    cdef mmf_entry *entries             # of the fields, by the address of their names
    cdef size_t places
    cdef void *spare[16]                # memory of values that are gone
    cdef int spares
    cdef object __weakref__


# A field of a structure.
cdef class Field:
    cdef readonly str name
    cdef readonly Py_ssize_t offset
    cdef readonly Py_ssize_t size
    cdef readonly object kind   # of memorymapped.structs.kinds
    cdef int category
    cdef int number             # its native kind, of a number
    cdef bint swapped           # the number has the other byte order
    cdef object decode          # from the number or the bytes
    cdef object encode          # to the number, or to bytes of this size
    cdef object key             # bytes to what they are compared by
    cdef StructLayout nested
    cdef object nested_class    # what values of it are: it, or a class that adds methods to it
    cdef Py_ssize_t place       # among the fields
    cdef Field element
    cdef Py_ssize_t count
    cdef Py_ssize_t stride
    cdef void *of               # the layout that has this field, and so outlives every access of it
    cdef readonly str format    # of a buffer's elements (PEP 3118)


# Bytes somewhere: `data`, which `owner` keeps (None: this object itself), or in the view `owner`, from `position` on.
cdef class Place:
    cdef char *data
    cdef object owner
    cdef Py_ssize_t position


# A structure. Its class has a StructLayout as `__layout__`.
cdef class Value(Place):
    cdef void *layout  # its StructLayout, borrowed from the class


# A sequence of values of one type.
cdef class Array(Place):
    cdef Field element
    cdef readonly Py_ssize_t stride
    cdef Py_ssize_t length

    cdef Py_ssize_t index_of(self, object index) except -1
    cdef bytes raw(self, object value)
    cdef int put(self, Py_ssize_t i, bytes raw) except -1


cdef StructLayout layout_of(object type)
cdef Value new_value(StructLayout layout, object cls)
cdef Value snapshot_at(View view, Py_ssize_t position, object cls, StructLayout layout)
cdef Value reference(View view, object cls, Py_ssize_t at)
cdef Array references(View view, object cls, Py_ssize_t at, Py_ssize_t many, bint to_the_end)
cdef int write_value(View view, Py_ssize_t position, Value value) except -1
cdef int copy_value(Value value, char *to) except -1
cdef void freeze(Value value) noexcept

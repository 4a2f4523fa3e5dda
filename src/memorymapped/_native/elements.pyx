# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A view as a sequence of machine numbers, and reads and writes at many offsets in one call."""
from memorymapped.errors import OutOfRangeError, shown

cimport cython
from cpython.buffer cimport (
    PyBUF_ANY_CONTIGUOUS, PyBUF_C_CONTIGUOUS, PyBUF_F_CONTIGUOUS, PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE,
    PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_Release, PyObject_GetBuffer,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.list cimport PyList_New, PyList_SET_ITEM
from cpython.ref cimport Py_DECREF, Py_INCREF
from cpython.slice cimport PySlice_AdjustIndices
from libc.stddef cimport size_t
from libc.stdint cimport int64_t
from memorymapped._native.accessor cimport does_not_fit
from memorymapped._native.memory cimport *

cdef extern from "Python.h":
    void PyObject_GC_UnTrack(object)
    void PyObject_GC_Track(object)

cdef enum:
    PIECE = 1024 * 1024  # offsets between two looks for Ctrl-C
    BOXED = 64 * 1024  # Python numbers made between two turns of other threads
    CONTIGUOUS = (PyBUF_C_CONTIGUOUS | PyBUF_F_CONTIGUOUS | PyBUF_ANY_CONTIGUOUS) & ~PyBUF_STRIDES

# struct's format characters in the machine's own sizes ("@", nothing) and in standard sizes ("=", "<"): kind, size.
cdef dict NATIVE = {
    "?": (MMF_BOOL, 1), "b": (MMF_INT8, 1), "B": (MMF_UINT8, 1), "h": (MMF_INT16, 2), "H": (MMF_UINT16, 2),
    "i": (MMF_INT32, 4), "I": (MMF_UINT32, 4), "q": (MMF_INT64, 8), "Q": (MMF_UINT64, 8), "f": (MMF_SINGLE, 4),
    "d": (MMF_DOUBLE, 8), "u": (MMF_CHAR, 2),
}
cdef dict STANDARD = dict(NATIVE, l=(MMF_INT32, 4), L=(MMF_UINT32, 4))
NATIVE.update(
    l=(MMF_INT64, 8) if sizeof(long) == 8 else (MMF_INT32, 4),
    L=(MMF_UINT64, 8) if sizeof(long) == 8 else (MMF_UINT32, 4),
    n=(MMF_INT64, 8) if sizeof(size_t) == 8 else (MMF_INT32, 4),
    N=(MMF_UINT64, 8) if sizeof(size_t) == 8 else (MMF_UINT32, 4),
)
cdef bytes CODES = b"?bBhHiIqQfdu"  # by kind: the format that a buffer announces
cdef list NAMES = ["boolean", "int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "single",
                   "double", "char (one UTF-16 unit)"]


cdef tuple element(str format):
    """(kind, size) of one element, or None if the format is not a single number."""
    if len(format) == 1:
        return NATIVE.get(format)
    if len(format) == 2 and format[0] == "@":
        return NATIVE.get(format[1])
    if len(format) == 2 and format[0] in "=<":  # the machines that we know are little endian
        return STANDARD.get(format[1])
    return None


# Neither class is ever without its view: not between __new__ and the caller's first line, not by a pickle's
# __setstate__, and not while the garbage collector takes a cycle apart (no cycle consists of these alone).
@cython.final
@cython.no_gc_clear
cdef class ElementView:
    """The elements of a view: index, slice (no copy), iterate, assign; a typed buffer for NumPy and memoryview.

    Made by `MemoryMappedViewAccessor.cast`. Lives as its view does: after the view's close every use raises
    ClosedError, while arrays made from it keep their memory. It holds no buffer, so there is nothing to release."""
    cdef View view
    cdef Py_ssize_t first        # byte position of element 0
    cdef Py_ssize_t length       # elements
    cdef Py_ssize_t step         # bytes from one element to the next; negative in a reversed slice
    cdef Py_ssize_t size
    cdef int kind
    cdef char code[2]
    cdef object __weakref__

    def __cinit__(self, View view not None):
        self.view = view
        self.size = self.step = 1
        self.kind = MMF_UINT8
        self.code = b"B\0"

    def __init__(self, *arguments):
        raise TypeError("element views are made by MemoryMappedViewAccessor.cast")

    def __reduce__(self):
        raise TypeError(f"{self!r} cannot be pickled: tolist and tobytes give copies that can")

    @property
    def format(self):
        """The element's format, as in the struct module."""
        return chr(self.code[0])

    @property
    def itemsize(self):
        """Bytes of an element."""
        return self.size

    @property
    def shape(self):
        """A tuple of one number, that of elements."""
        return (self.length,)

    @property
    def nbytes(self):
        """Bytes of all elements."""
        return self.length * self.size

    @property
    def obj(self):
        """The view that this is a part of."""
        return self.view

    def __len__(self):
        if self.view.data == NULL:
            self.view.raise_closed()
        return self.length

    def __bool__(self):
        return self.length != 0

    def __repr__(self):
        return f"<{self.length} elements {self.format!r} of {self.view!r}>"

    cdef int refuse(self, object index, bint writing) except -1:
        if self.view.data == NULL or not (self.view.writes if writing else self.view.reads):
            self.view.refuse(0, 1, writing)
        raise OutOfRangeError(f"index {shown(index)} is out of range for {self.length} elements")

    def __delitem__(self, index):
        raise TypeError(f"elements of {self.view!r} cannot be deleted: a view cannot change its size")

    cdef inline object load(self, Py_ssize_t i):
        # Safe: the caller has checked 0 <= i < length and that the view is open and reads.
        cdef Py_ssize_t at = self.first + i * self.step
        cdef object value = mmf_unpack(self.kind, self.view.data + at)
        if mmf_marked(self.view.region):
            self.view.check_fault(at, self.size)
        return value

    def __getitem__(self, index):
        cdef Py_ssize_t i, start, stop, step, count
        if isinstance(index, slice):
            mmf_slice(index, &start, &stop, &step)
            if self.view.data == NULL:
                self.view.raise_closed()
            count = PySlice_AdjustIndices(self.length, &start, &stop, step)
            return part(self, self.first + start * self.step, count, self.step * step)
        i = mmf_position(index)
        if i < 0:
            i += self.length
        if i < 0 or i >= self.length or self.view.readable < 0:
            self.refuse(index, False)
        return self.load(i)

    def __setitem__(self, index, value):
        cdef char packed[8]
        cdef Py_ssize_t i, at
        if isinstance(index, slice):
            self.assign(index, value)
            return
        i = mmf_position(index)
        if mmf_pack(self.kind, value, packed):
            raise does_not_fit(value, NAMES[self.kind])
        if i < 0:
            i += self.length
        if i < 0 or i >= self.length or self.view.writable < 0:
            self.refuse(index, True)
        at = self.first + i * self.step
        mmf_put(self.view.data + at, packed, self.size)
        if mmf_marked(self.view.region):
            self.view.check_fault(at, self.size)

    cdef int assign(self, object index, object values) except -1:
        """All or nothing: the values are converted before the first is written."""
        cdef ElementView target
        cdef Py_buffer buffer
        cdef bytes packed
        cdef char *to
        cdef tuple items
        cdef Py_ssize_t i
        target = self[index]
        if isinstance(values, ElementView):
            values = memoryview(values)
        if isinstance(values, memoryview) and values.format == self.format and values.contiguous \
                and values.ndim == 1:
            PyObject_GetBuffer(values, &buffer, PyBUF_SIMPLE)
            try:
                if buffer.len != target.length * target.size:
                    raise ValueError(f"{buffer.len // target.size} values for {target.length} elements")
                target.put(<char *>buffer.buf)
            finally:
                PyBuffer_Release(&buffer)
            return 0
        items = tuple(values)  # a conversion below could find a list, and make it shorter
        if len(items) != target.length:
            raise ValueError(f"{len(items)} values for {target.length} elements")
        packed = PyBytes_FromStringAndSize(NULL, target.length * 8)
        to = PyBytes_AS_STRING(packed)
        for i in range(target.length):
            if i % BOXED == 0 and i:
                let_others_run()
            if mmf_pack(self.kind, items[i], to + i * self.size):
                raise does_not_fit(items[i], NAMES[self.kind])
        target.put(to)
        return 0

    cdef int put(self, char *source) except -1:
        if self.view.writable < 0:
            self.view.refuse(0, 1, True)
        if self.step == self.size:
            return self.view.copy_in(self.first, source, self.length * self.size)
        return self.view.copy_strided(True, self.first, self.step, self.size, self.length, source)

    def __iter__(self):
        if self.view.readable < 0:
            self.refuse(0, False)
        return ElementIterator.__new__(ElementIterator, self)

    def tolist(self):
        """All elements as a list of Python numbers (most of the time goes into making them)."""
        cdef Py_ssize_t i, last
        cdef object value
        cdef list result = PyList_New(self.length)
        # PyList_New may collect garbage, which runs Python code: so the view is looked at only now.
        if self.view.readable < 0:
            self.refuse(0, False)
        cdef Mapping mapping = self.view.mapping
        cdef const char *data = self.view.data + self.first
        # While it is not full nobody may find it: other threads could ask the garbage collector.
        PyObject_GC_UnTrack(result)
        for i in range(self.length):
            if i % BOXED == 0 and i:
                let_others_run()
            # Safe: `mapping` keeps the pages; making numbers runs no Python code.
            value = mmf_unpack(self.kind, data + i * self.step)
            Py_INCREF(value)
            PyList_SET_ITEM(result, i, value)
        PyObject_GC_Track(result)
        if self.length and mmf_marked(mapping.region):
            last = (self.length - 1) * self.step
            if mmf_replaced(mapping.region, data + min(last, 0), abs(last) + self.size):
                self.view.raise_fault(self.first + min(last, 0), abs(last) + self.size)
        return result

    def tobytes(self):
        """All elements as bytes, in order, without gaps."""
        cdef bytes result = PyBytes_FromStringAndSize(NULL, self.length * self.size)
        cdef char *to = PyBytes_AS_STRING(result)
        if self.view.readable < 0:
            self.refuse(0, False)
        if self.step == self.size:
            self.view.fill(self.first, to, self.length * self.size)
        elif self.length:
            mmf_expect_large(to, self.length * self.size)
            self.view.copy_strided(False, self.first, self.step, self.size, self.length, to)
        return result

    cdef Py_ssize_t search(self, object value, Py_ssize_t start, Py_ssize_t stop, Py_ssize_t *times) except -2:
        """The first element that equals `value`, or -1; or with `times` how often that is the case."""
        cdef Py_ssize_t i
        for i in range(start, stop):
            if (i - start) % BOXED == 0:
                if i > start:
                    let_others_run()
            # A comparison may run Python code, which may close the view.
            if self.view.readable < 0:
                self.refuse(i, False)
            if self.load(i) == value:
                if times == NULL:
                    return i
                times[0] += 1
        return -1

    def index(self, value, start=0, stop=None):
        """The index of the first element that equals `value`, in [start:stop] as in a slice; ValueError if none does."""
        cdef Py_ssize_t first = mmf_position(start)
        cdef Py_ssize_t last = self.length if stop is None else mmf_position(stop)
        if self.view.readable < 0:
            self.refuse(0, False)
        PySlice_AdjustIndices(self.length, &first, &last, 1)
        cdef Py_ssize_t found = self.search(value, first, last, NULL)
        if found < 0:
            raise ValueError(f"{shown(value)} is not among the elements")
        return found

    def count(self, value):
        """How many elements equal `value`."""
        cdef Py_ssize_t times = 0
        if self.view.readable < 0:
            self.refuse(0, False)
        self.search(value, 0, self.length, &times)
        return times

    def __contains__(self, value):
        if self.view.readable < 0:
            self.refuse(0, False)
        return self.search(value, 0, self.length, NULL) >= 0

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        cdef View view = self.view
        if view.data == NULL:
            view.raise_closed()
        if not view.reads:
            raise BufferError(f"{view!r} is for writing only and a buffer can be read: use an access that reads")
        if flags & PyBUF_WRITABLE and not view.writes:
            raise BufferError(f"{view!r} is read-only")
        if self.step != self.size and ((flags & PyBUF_STRIDES) != PyBUF_STRIDES or flags & CONTIGUOUS):
            raise BufferError("the elements are not contiguous and the user asks for a plain block: copy them first")
        # The memory's owner is the mapping; the shape and strides live in this object.
        buffer.obj = self
        buffer.buf = view.data + self.first
        buffer.len = self.length * self.size
        buffer.itemsize = self.size
        buffer.readonly = not view.writes
        buffer.format = self.code if flags & PyBUF_FORMAT else NULL
        buffer.ndim = 1
        buffer.shape = &self.length if flags & PyBUF_ND else NULL
        buffer.strides = &self.step if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        # The view may be closed while the buffer lives: this reference keeps its pages.
        buffer.internal = <void *>view.mapping
        Py_INCREF(view.mapping)

    def __releasebuffer__(self, Py_buffer *buffer):
        cdef object mapping = <object>buffer.internal
        Py_DECREF(mapping)


@cython.final
@cython.no_gc_clear
cdef class ElementIterator:
    cdef ElementView elements
    cdef Py_ssize_t next

    def __cinit__(self, ElementView elements not None):
        self.elements = elements

    def __iter__(self):
        return self

    def __next__(self):
        cdef Py_ssize_t i = self.next
        if i >= self.elements.length:
            raise StopIteration
        if i % PIECE == 0:
            let_others_run()  # list(elements) runs no other code
        if self.elements.view.readable < 0:
            self.elements.refuse(i, False)
        self.next = i + 1
        return self.elements.load(i)

    def __length_hint__(self):
        return self.elements.length - self.next


cdef ElementView part(ElementView whole, Py_ssize_t first, Py_ssize_t length, Py_ssize_t step):
    cdef ElementView elements = ElementView.__new__(ElementView, whole.view)
    elements.first = first
    elements.length = length
    # One element has no neighbour to be away from: its buffer is contiguous, and a huge step overflows nothing.
    elements.step = step if length > 1 else whole.size
    elements.size = whole.size
    elements.kind = whole.kind
    elements.code = whole.code
    return elements


def elements_of(View view not None, str format not None, position, count):
    """`count` elements (None: as many as fit) of `format` from byte `position` on."""
    cdef tuple kind_and_size = element(format)
    if kind_and_size is None:
        raise ValueError(f"{format!r} is not the format of one number: one of ?bBhHiIlLqQnNfdu, with @, = or < before it, "
                         "little endian as this machine. Others are read by read and gather, or numpy.frombuffer(view)")
    cdef Py_ssize_t at = mmf_position(position)
    cdef Py_ssize_t wanted = -1 if count is None else mmf_position(count)
    if count is not None and wanted < 0:
        raise OutOfRangeError(f"count must not be negative, got {shown(count)}")
    if view.data == NULL:
        view.raise_closed()
    if at < 0 or at > view.size:
        raise OutOfRangeError(f"position {shown(position)} is outside of {view!r}, which has {view.size} bytes")
    cdef Py_ssize_t size = kind_and_size[1]
    if wanted < 0:
        wanted = (view.size - at) // size
    if wanted > (view.size - at) // size:
        raise OutOfRangeError(f"{shown(count)} elements of {size} bytes at position {at} are not in {view!r}, "
                              f"which has {view.size} bytes")
    cdef ElementView elements = ElementView.__new__(ElementView, view)
    elements.first = at
    elements.length = wanted
    elements.size = elements.step = size
    elements.kind = kind_and_size[0]
    elements.code[0] = CODES[elements.kind]
    elements.code[1] = 0
    return elements


def gather(View view not None, offsets, Py_ssize_t size, out):
    """Copies the `size` bytes at each of `offsets` (a C-contiguous buffer of int64) to `out`, one after the other."""
    _vectored(view, offsets, size, out, False)


def scatter(View view not None, offsets, Py_ssize_t size, values):
    """Copies `size` bytes of `values` after the other to each of `offsets`."""
    _vectored(view, offsets, size, values, True)


cdef int _vectored(View view, object offsets, Py_ssize_t size, object block, bint writing) except -1:
    cdef Py_buffer places, buffer
    cdef const int64_t *at
    cdef char *own
    cdef char *data
    cdef Py_ssize_t i, count, piece, last, done = 0, outside = -1
    cdef Mapping mapping
    cdef bytes apart = None
    PyObject_GetBuffer(offsets, &places, PyBUF_ND)
    try:
        take_buffer(block, &buffer, PyBUF_ND | (0 if writing else PyBUF_WRITABLE))
        try:
            count = places.len // 8
            at = <const int64_t *>places.buf
            own = <char *>buffer.buf
            if places.itemsize != 8:
                raise TypeError(f"offsets are 64-bit integers, not elements of {places.itemsize} bytes")
            if size < 1 or buffer.len != count * size:
                raise ValueError(f"{count} offsets and {size} bytes each need a block of {count * size} bytes, "
                                 f"not {buffer.len}")
            if (view.writable if writing else view.readable) < 0:
                view.refuse(0, size, writing)
            mapping = view.mapping
            data = view.data
            last = view.size - size
            while writing and done < count and outside < 0:  # nothing is written if any of them is outside
                piece = min(count - done, PIECE)
                with nogil:
                    outside = mmf_outside(at + done, piece, last)
                if outside >= 0:
                    outside += done
                done += piece
                PyErr_CheckSignals()
            done = 0
            if mmf_overlap(own, buffer.len, data, view.size):
                apart = PyBytes_FromStringAndSize(NULL, buffer.len)
                own = PyBytes_AS_STRING(apart)
                if writing:
                    transfer(own, <char *>buffer.buf, buffer.len, False)
            while done < count and outside < 0:
                # Safe: `mapping` and the buffers pin all three blocks, and each offset is checked as it is used,
                # although somebody may be changing them.
                piece = min(count - done, PIECE)
                with nogil:
                    if writing:
                        outside = mmf_scatter(data, own + done * size, at + done, piece, size, last)
                    else:
                        outside = mmf_gather(own + done * size, data, at + done, piece, size, last)
                if outside >= 0:
                    outside += done
                done += piece
                PyErr_CheckSignals()
            if apart is not None and not writing and outside < 0:
                transfer(<char *>buffer.buf, own, buffer.len, False)
            if outside >= 0:
                raise OutOfRangeError(f"offset {at[outside]} (number {outside}) with {size} bytes is not in {view!r}, "
                                      f"which has {view.size} bytes")
            if count and mmf_marked(mapping.region):
                for i in range(count):
                    if mmf_replaced(mapping.region, data + at[i], size):
                        view.raise_fault(at[i], size)
        finally:
            PyBuffer_Release(&buffer)
    finally:
        PyBuffer_Release(&places)
    return 0

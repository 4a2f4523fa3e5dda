# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Typed access by position: the compiled half of MemoryMappedViewAccessor. The order of steps is memory.pyx's."""
from memorymapped.errors import OutOfRangeError, ValueOutOfRangeError, shown

from cpython.buffer cimport (
    PyBUF_FORMAT, PyBUF_ND, PyBUF_SIMPLE, PyBUF_STRIDES, PyBUF_WRITABLE, PyBuffer_IsContiguous, PyBuffer_Release,
)
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.number cimport PyIndex_Check
from cpython.slice cimport PySlice_AdjustIndices
from libc.stdint cimport uintptr_t
from memorymapped._native.memory cimport *
from memorymapped._native.structs cimport (
    StructLayout, Value, layout_of, reference, references, snapshot_at, write_value)

cdef extern from "pages.h" nogil:
    void *memmem(const void *block, size_t length, const void *bytes, size_t size)

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MAX

cdef enum:
    SCAN = 16 * 1024 * 1024  # bytes searched between two looks for Ctrl-C

cdef char *unsigned_bytes = "B"


cdef object does_not_fit(object value, object kind):
    return ValueOutOfRangeError(f"{shown(value)} does not fit in {kind}")


cdef int refuse_index(Accessor self, object index, bint writing) except -1:
    if self.data == NULL or not (self.writes if writing else self.reads):
        self.refuse(0, 1, writing)
    raise OutOfRangeError(f"index {shown(index)} is out of range for {self!r}, which has {self.size} bytes")


cdef int refuse_negative(object position) except -1:
    # The generic forms look at this first, in .NET.
    raise OutOfRangeError(f"position must not be negative, got {shown(position)}")


cdef bytes needle_of(object sub):
    """What is searched: a byte by its value, or bytes."""
    cdef Py_buffer buffer
    cdef char packed[8]
    if PyIndex_Check(sub):
        try:
            if mmf_pack(MMF_UINT8, sub, packed):
                raise does_not_fit(sub, "byte (0 to 255)")
            return PyBytes_FromStringAndSize(packed, 1)
        except TypeError:
            pass  # an array of NumPy has an index if it has one element
    take_buffer(sub, &buffer, PyBUF_SIMPLE)
    try:
        return PyBytes_FromStringAndSize(<char *>buffer.buf, buffer.len)
    finally:
        PyBuffer_Release(&buffer)


cdef Py_ssize_t search(Accessor self, object sub, object start, object end, bint backwards) except -2:
    """The first or last position of `sub` in [start, end), bounds as in a slice; -1 if there is none."""
    cdef bytes needle = needle_of(sub)
    cdef const char *wanted = PyBytes_AS_STRING(needle)
    cdef Py_ssize_t size = len(needle)
    cdef Py_ssize_t first = 0 if start is None else mmf_position(start)
    cdef Py_ssize_t last = PY_SSIZE_T_MAX if end is None else mmf_position(end)
    cdef Py_ssize_t room, piece, begin, done = 0
    cdef const char *found = NULL
    if self.readable < 0:
        self.refuse(0, 1, False)
    cdef Mapping mapping = self.mapping
    cdef const char *data = self.data
    if first > self.size:
        return -1
    PySlice_AdjustIndices(self.size, &first, &last, 1)
    room = last - first - size + 1
    if room <= 0 or size == 0:
        return -1 if room <= 0 else last if backwards else first
    while done < room and found == NULL:
        # Safe: inside the view; `mapping` keeps the pages over a signal handler that closes.
        piece = min(room - done, max(SCAN, size))
        begin = first + (room - done - piece if backwards else done)
        with nogil:
            if backwards:
                found = mmf_find_last(data + begin, piece + size - 1, wanted, size)
            else:
                found = <const char *>memmem(data + begin, piece + size - 1, wanted, size)
        if mmf_marked(mapping.region) and mmf_replaced(mapping.region, data + begin, piece + size - 1):
            self.raise_fault(begin, piece + size - 1)
        done += piece
        if found == NULL and done < room:
            PyErr_CheckSignals()
            if self.readable < 0:
                self.refuse(0, 1, False)
    return -1 if found == NULL else found - data


cdef inline object load(Accessor self, object position, int kind, Py_ssize_t size):
    cdef Py_ssize_t at = mmf_position(position)
    if at < 0 or at > self.readable - size:
        self.refuse(at, size, False)
    cdef object value = mmf_unpack(kind, self.data + at)
    if mmf_marked(self.region):
        self.check_fault(at, size)
    return value


cdef inline int store(Accessor self, object position, object value, int kind, Py_ssize_t size, str name) except -1:
    cdef char packed[8]
    cdef Py_ssize_t at = mmf_position(position)
    if mmf_pack(kind, value, packed):
        raise does_not_fit(value, name)
    if at < 0 or at > self.writable - size:
        self.refuse(at, size, True)
    mmf_put(self.data + at, packed, size)
    if mmf_marked(self.region):
        self.check_fault(at, size)
    return 0


cdef class Accessor(View):
    """A view with typed reads and writes, slices and a buffer. `MemoryMappedViewAccessor` is made from it."""

    def __len__(self):
        if self.data == NULL:
            self.raise_closed()
        return self.size

    def __bool__(self):
        return True

    # ---- scalars: any alignment, the machine's byte order, bit for bit
    # Their arguments have no keywords: a call that could have one takes a quarter longer.

    def read_boolean(self, position, /):
        """The byte at `position` as a bool: any value but 0 is True."""
        return load(self, position, MMF_BOOL, 1)

    def read_byte(self, position, /):
        """The unsigned 8-bit integer at `position` (bytes from the start of the view)."""
        return load(self, position, MMF_UINT8, 1)

    def read_sbyte(self, position, /):
        """The signed 8-bit integer at `position`."""
        return load(self, position, MMF_INT8, 1)

    def read_char(self, position, /):
        """The UTF-16 unit at `position` as a str of one character; a surrogate comes as it is."""
        return load(self, position, MMF_CHAR, 2)

    def read_int16(self, position, /):
        """The signed 16-bit integer at `position`."""
        return load(self, position, MMF_INT16, 2)

    def read_uint16(self, position, /):
        """The unsigned 16-bit integer at `position`."""
        return load(self, position, MMF_UINT16, 2)

    def read_int32(self, position, /):
        """The signed 32-bit integer at `position`."""
        return load(self, position, MMF_INT32, 4)

    def read_uint32(self, position, /):
        """The unsigned 32-bit integer at `position`."""
        return load(self, position, MMF_UINT32, 4)

    def read_int64(self, position, /):
        """The signed 64-bit integer at `position`."""
        return load(self, position, MMF_INT64, 8)

    def read_uint64(self, position, /):
        """The unsigned 64-bit integer at `position`."""
        return load(self, position, MMF_UINT64, 8)

    def read_single(self, position, /):
        """The 32-bit float at `position`; the payload of a NaN is kept."""
        return load(self, position, MMF_SINGLE, 4)

    def read_double(self, position, /):
        """The 64-bit float at `position`, bit for bit."""
        return load(self, position, MMF_DOUBLE, 8)

    def write_boolean(self, position, value, /):
        """Writes 1 if `value` is true, else 0."""
        store(self, position, value, MMF_BOOL, 1, "boolean")

    def write_byte(self, position, value, /):
        """Writes `value`, 0 to 255, at `position`; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_UINT8, 1, "byte (0 to 255)")

    def write_sbyte(self, position, value, /):
        """Writes `value`, -128 to 127; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_INT8, 1, "sbyte (-128 to 127)")

    def write_char(self, position, value, /):
        """Writes a str of one character as one UTF-16 unit; a character beyond U+FFFF needs two and is refused."""
        store(self, position, value, MMF_CHAR, 2, "char (one UTF-16 unit)")

    def write_int16(self, position, value, /):
        """Writes a signed 16-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_INT16, 2, "int16 (-32768 to 32767)")

    def write_uint16(self, position, value, /):
        """Writes an unsigned 16-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_UINT16, 2, "uint16 (0 to 65535)")

    def write_int32(self, position, value, /):
        """Writes a signed 32-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_INT32, 4, "int32 (-2**31 to 2**31 - 1)")

    def write_uint32(self, position, value, /):
        """Writes an unsigned 32-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_UINT32, 4, "uint32 (0 to 2**32 - 1)")

    def write_int64(self, position, value, /):
        """Writes a signed 64-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_INT64, 8, "int64 (-2**63 to 2**63 - 1)")

    def write_uint64(self, position, value, /):
        """Writes an unsigned 64-bit integer; ValueOutOfRangeError if it does not fit."""
        store(self, position, value, MMF_UINT64, 8, "uint64 (0 to 2**64 - 1)")

    def write_single(self, position, value, /):
        """Writes a 32-bit float; ValueOutOfRangeError for a finite value beyond its range."""
        store(self, position, value, MMF_SINGLE, 4, "single (32-bit float)")

    def write_double(self, position, value, /):
        """Writes a 64-bit float, bit for bit."""
        store(self, position, value, MMF_DOUBLE, 8, "double (64-bit float)")

    # ---- values of a type

    def read(self, position, type):
        """The value of `type` at `position`: a structure's class (a snapshot); a struct format (`"<if"`: a tuple, or a
        single value itself; a number also as NumPy spells it, `"<f8"`), a ctypes type (a structure that owns its bytes;
        of a simple type the plain value), a NumPy dtype (a scalar or record).

        Unlike read_array no padding is needed behind the last one. Raises TypeError for what is no value type;
        OutOfRangeError, ClosedError and the like as all reads."""
        cdef StructLayout layout = layout_of(type)
        if layout is None:
            return self._read_as(position, type)
        cdef Py_ssize_t at = mmf_position(position)
        if at < 0:
            refuse_negative(position)
        return snapshot_at(self, at, type, layout)

    def write(self, position, value, type=None):
        """Writes `value` as `type` (see `read`); a structure, a ctypes instance or a NumPy scalar needs no type. All or
        nothing. Raises ValueOutOfRangeError if a number is too large for the type, or text too long; TypeError or
        struct.error if the value is none of the type."""
        cdef Py_ssize_t at
        if not isinstance(value, Value) or type is not None:
            self._write_as(position, value, type)
            return
        at = mmf_position(position)
        if at < 0:
            refuse_negative(position)
        write_value(self, at, <Value>value)

    def ref(self, type, position=0):
        """The structure at `position`, in its place: its fields are read from the view, and assigned into it, when they
        are asked for. Writing several fields is not one step: other processes see each.

        It keeps the view, and ends with it: ClosedError then. OutOfRangeError or ValueError if the structure does not
        fit, TypeError if `type` is no Struct."""
        return reference(self, type, mmf_position(position))

    def refs(self, type, position=0, count=None):
        """`count` (None: as many as there are) structures from `position` on, each as `ref` gives it: a sequence of
        references, which `numpy.asarray` sees without a copy. They lie as in read_array."""
        return references(self, type, mmf_position(position), -1 if count is None else mmf_position(count),
                          count is None)

    # ---- blocks

    def read_bytes(self, position, count):
        """`count` bytes at `position`, as a new bytes object; ValueError if there are fewer."""
        cdef Py_ssize_t at = mmf_position(position)
        cdef Py_ssize_t size = mmf_position(count)
        if size < 0:
            raise OutOfRangeError(f"count must not be negative, got {size}")
        if at < 0 or at > self.readable - size:
            if not (self.reads and size == 0 and at == self.size and self.data != NULL):
                self.refuse(at, size, False)
        return self.new_bytes(at, size)

    def write_bytes(self, position, data):
        """Writes all of `data` (any contiguous buffer) at `position`; ValueError, and nothing written, if it does
        not fit."""
        cdef Py_ssize_t at = mmf_position(position)
        cdef Py_buffer buffer
        take_buffer(data, &buffer, PyBUF_SIMPLE)
        try:
            if at < 0 or at > self.writable - buffer.len:
                if not (self.writes and buffer.len == 0 and at == self.size and self.data != NULL):
                    self.refuse(at, buffer.len, True)
            self.copy_in(at, <const char *>buffer.buf, buffer.len)
        finally:
            PyBuffer_Release(&buffer)

    def copy_elements(self, bint writing, position, array, offset, count):
        """The work of read_array and write_array: `count` (None: all) elements of `array` from element `offset` on.
        Returns how many were copied. The distance of two elements here is .NET's: their size if that is 1 or 2,
        else rounded up to a multiple of 4."""
        cdef Py_ssize_t at = mmf_position(position)
        cdef Py_ssize_t first = mmf_position(offset)
        cdef Py_ssize_t wanted = -1 if count is None else mmf_position(count)
        cdef Py_ssize_t size, step, length, fits
        cdef Py_buffer buffer
        cdef char *own
        cdef bytes apart = None
        take_buffer(array, &buffer, PyBUF_STRIDES | (0 if writing else PyBUF_WRITABLE))
        try:
            if first < 0:
                raise OutOfRangeError(f"offset must not be negative, got {first}")
            if count is not None and wanted < 0:
                raise OutOfRangeError(f"count must not be negative, got {wanted}")
            size = buffer.itemsize
            length = buffer.len // size if size else 0
            if size == 0:
                raise ValueError("elements of 0 bytes cannot be copied")
            if wanted < 0:
                wanted = max(length - first, 0)
            if first > length or wanted > length - first:
                raise ValueError(f"{wanted} elements from element {first} on are not in an array of {length}")
            step = size if size <= 2 else (size + 3) & ~3
            # In .NET's order: when writing the position comes first, when reading the closed view and the direction.
            # The position is checked for 0 elements too.
            if writing and (at < 0 or at >= self.size):
                raise OutOfRangeError(f"position {at} is outside of {self!r}, which has {self.size} bytes")
            if at < 0 or at >= (self.writable if writing else self.readable):
                self.refuse(at, size, writing)
            fits = (self.size - at) // step
            if wanted > fits:
                if writing:
                    raise ValueError(f"{wanted} elements of {step} bytes at position {at} do not fit in {self!r}, "
                                     f"which has {self.size} bytes; nothing was written")
                wanted = fits
            own = <char *>buffer.buf + first * size
            if not PyBuffer_IsContiguous(&buffer, c"C"):
                apart = PyBytes_FromStringAndSize(NULL, wanted * size)
                own = PyBytes_AS_STRING(apart)
                if writing:
                    transfer_elements(&buffer, first, wanted, own, False)
                    if self.writable < 0:  # a signal handler or another thread has closed it meanwhile
                        self.refuse(at, size, True)
            if step != size:
                self.copy_strided(writing, at, step, size, wanted, own)
            elif writing:
                self.copy_in(at, own, wanted * size)
            else:
                self.copy_out(at, own, wanted * size)
            if apart is not None and not writing:
                transfer_elements(&buffer, first, wanted, own, True)
            return wanted
        finally:
            PyBuffer_Release(&buffer)

    def __getitem__(self, index):
        cdef Py_ssize_t start, stop, step, count, at
        cdef bytes result
        if isinstance(index, slice):
            mmf_slice(index, &start, &stop, &step)
            if self.readable < 0:
                self.refuse(0, 1, False)
            count = PySlice_AdjustIndices(self.size, &start, &stop, step)
            if step == 1:
                return self.new_bytes(start, count)
            result = PyBytes_FromStringAndSize(NULL, count)
            mmf_expect_large(PyBytes_AS_STRING(result), count)
            self.copy_strided(False, start, step, 1, count, PyBytes_AS_STRING(result))
            return result
        at = mmf_position(index)
        if at < 0:
            at += self.size
        if at < 0 or at >= self.readable:
            refuse_index(self, index, False)
        return load(self, at, MMF_UINT8, 1)

    def __contains__(self, sub):
        return search(self, sub, None, None, False) >= 0

    def find(self, sub, start=0, end=None):
        """The first position of `sub` (bytes, or one byte by its value) in the slice [start:end], or -1."""
        return search(self, sub, start, end, False)

    def rfind(self, sub, start=0, end=None):
        """The last position of `sub` (bytes, or one byte by its value) in the slice [start:end], or -1."""
        return search(self, sub, start, end, True)

    def __delitem__(self, index):
        raise TypeError(f"bytes of {self!r} cannot be deleted: a view cannot change its size")

    def __setitem__(self, index, value):
        cdef Py_ssize_t start, stop, step, count, at
        cdef Py_buffer buffer
        if isinstance(index, slice):
            mmf_slice(index, &start, &stop, &step)
            take_buffer(value, &buffer, PyBUF_SIMPLE)
            try:
                if self.writable < 0:
                    self.refuse(0, 1, True)
                count = PySlice_AdjustIndices(self.size, &start, &stop, step)
                if buffer.len != count:
                    raise ValueError(f"{buffer.len} bytes do not fit in a slice of {count} of {self!r}: a view "
                                     "cannot change its size")
                if step == 1:
                    self.copy_in(start, <const char *>buffer.buf, count)
                else:
                    self.copy_strided(True, start, step, 1, count, <char *>buffer.buf)
            finally:
                PyBuffer_Release(&buffer)
            return
        at = mmf_position(index)
        if at < 0:
            at += self.size
        if at < 0 or at >= self.writable:
            refuse_index(self, index, True)
        store(self, at, value, MMF_UINT8, 1, "byte (0 to 255)")

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        # The exporter is the mapping, not the view: a NumPy array keeps the pages, while the view may be closed.
        if self.data == NULL:
            self.raise_closed()
        if not self.reads:
            raise BufferError(f"{self!r} is for writing only and a buffer can be read: use an access that reads")
        if flags & PyBUF_WRITABLE and not self.writes:
            raise BufferError(f"{self!r} is read-only")
        buffer.obj = self if self.mapping is None else self.mapping
        buffer.buf = self.data
        buffer.len = self.size
        buffer.itemsize = 1
        buffer.readonly = not self.writes
        buffer.format = unsigned_bytes if flags & PyBUF_FORMAT else NULL
        buffer.ndim = 1
        buffer.shape = &buffer.len if flags & PyBUF_ND else NULL
        buffer.strides = &buffer.itemsize if (flags & PyBUF_STRIDES) == PyBUF_STRIDES else NULL
        buffer.suboffsets = NULL
        buffer.internal = NULL

    def address(self):
        """The address of byte 0: for ctypes and for tests. Valid while the view, or a buffer of it, lives."""
        if self.data == NULL:
            self.raise_closed()
        return <uintptr_t>self.data


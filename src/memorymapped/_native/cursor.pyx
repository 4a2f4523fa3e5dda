# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A view with a position: the compiled half of MemoryMappedViewStream. The order of steps is memory.pyx's."""
import io

from memorymapped.errors import OutOfRangeError, shown

from cpython.buffer cimport PyBUF_SIMPLE, PyBUF_WRITABLE, PyBuffer_Release
from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EINVAL
from memorymapped._native.memory cimport *

cdef extern from "<string.h>" nogil:
    const char *memchr(const char *block, int byte, size_t size)

cdef enum:
    SHORT = 4096
    SCAN = 1024 * 1024  # bytes searched for a line's end between two looks for Ctrl-C

cdef Py_ssize_t FURTHEST = (<size_t>-1) >> 1


cdef class Cursor(View):
    """Reads and writes at a position that moves along. The position may lie beyond the end."""
    cdef Py_ssize_t at

    cdef Py_ssize_t available(self) except -1:
        if self.readable < 0:
            self.refuse(0, 1, False)
        return max(self.size - self.at, 0)

    def read(self, size=-1, /):
        """At most `size` bytes from the position on (None or negative: all to the end); b"" at the end."""
        cdef Py_ssize_t wanted = -1 if size is None else mmf_position(size)
        cdef Py_ssize_t count = self.readable - self.at
        cdef Py_ssize_t at = self.at
        if count <= 0:
            count = self.available()
        if 0 <= wanted < count:
            count = wanted
        if count == 0 or count > SHORT:
            result = self.new_bytes(at, count)
        else:
            # What new_bytes does, without the call: most of the time of a short read goes into calls.
            result = PyBytes_FromStringAndSize(self.data + at, count)
            if mmf_marked(self.region):
                self.check_fault(at, count)
        self.at = at + count
        return result

    def readall(self):
        """All bytes from the position to the end."""
        return self.read(-1)

    def readinto(self, buffer, /):
        """Fills `buffer` (any writable buffer) as far as there are bytes; returns how many, 0 at the end."""
        cdef Py_buffer own
        cdef Py_ssize_t count, at
        take_buffer(buffer, &own, PyBUF_WRITABLE)
        try:
            count = min(self.available(), own.len)
            at = self.at
            self.copy_out(at, <char *>own.buf, count)
            self.at = at + count
            return count
        finally:
            PyBuffer_Release(&own)

    def readline(self, size=-1, /):
        """The bytes up to and with the next line feed, at most `size` of them (None or negative: no limit)."""
        cdef Py_ssize_t limit = -1 if size is None else mmf_position(size)
        cdef Py_ssize_t count = self.available()
        cdef Py_ssize_t at = self.at, seen = 0, piece
        cdef Mapping mapping = self.mapping
        cdef const char *start = self.data + at
        cdef const char *found = NULL
        if 0 <= limit < count:
            count = limit
        while seen < count and found == NULL:
            # Safe: inside the view by `available`; `mapping` keeps the pages over a signal handler that closes.
            piece = min(count - seen, SCAN)
            found = memchr(start + seen, 10, piece)
            seen += piece
            if found == NULL and seen < count:
                PyErr_CheckSignals()
                if self.readable < 0:
                    self.refuse(0, 1, False)
        if found != NULL:
            count = found - start + 1
        result = self.new_bytes(at, count)  # asks for the mark, for the bytes searched as for the bytes copied
        self.at = at + count
        return result

    def __iter__(self):
        if self.data == NULL:
            self.raise_closed()
        return self

    def __next__(self):
        line = self.readline()
        if not line:
            raise StopIteration
        return line

    def write(self, data, /):
        """Writes all of `data` (any buffer) and returns its length in bytes; io.UnsupportedOperation, nothing
        written and the position kept, if it does not fit: a view has a fixed size."""
        cdef Py_buffer own
        cdef Py_ssize_t at
        take_buffer(data, &own, PyBUF_SIMPLE)
        try:
            if self.writable < 0:
                self.refuse(0, 1, True)
            at = self.at
            if at > self.size - own.len:
                raise io.UnsupportedOperation(f"{own.len} bytes at position {at} do not fit in {self!r}, which has "
                                              f"{self.size} bytes and cannot grow")
            self.copy_in(at, <const char *>own.buf, own.len)
            self.at = at + own.len
            return own.len
        finally:
            PyBuffer_Release(&own)

    def tell(self):
        """The position, in bytes from the start of the view."""
        if self.data == NULL:
            self.raise_closed()
        return self.at

    def seek(self, offset, whence=0, /):
        """Moves the position: from the start (0), the position (1), the end (2). Returns the new one. It may lie
        beyond the end; OSError(EINVAL) if it were negative."""
        cdef Py_ssize_t by, start
        cdef int beyond = mmf_distance(offset, &by)
        cdef Py_ssize_t origin = mmf_position(whence)
        if self.data == NULL:
            self.raise_closed()
        if origin == 0:
            start = 0
        elif origin == 1:
            start = self.at
        elif origin == 2:
            start = self.size
        else:
            raise ValueError(f"whence must be 0 (start), 1 (position) or 2 (end), got {shown(whence)}")
        if beyond or by > FURTHEST - start or start + by < 0:
            raise OSError(EINVAL, f"Invalid argument: seeking to {start} + {shown(offset)} in {self!r}")
        self.at = start + by
        return self.at

    @property
    def position(self):
        """The position in bytes; may be set, also beyond the end (.NET's Position)."""
        if self.data == NULL:
            self.raise_closed()
        return self.at

    @position.setter
    def position(self, value):
        cdef Py_ssize_t at
        cdef int beyond = mmf_distance(value, &at)
        if beyond or at < 0:
            raise OutOfRangeError(f"position must be 0 to 2**63 - 1, got {shown(value)}")
        if self.data == NULL:
            self.raise_closed()
        self.at = at

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Mappings, and the views that read and write them.

A `Mapping` owns one range of addresses. Its Python references are its users: the view that made it, each buffer
(memoryview, NumPy array) that points into it, each copy under way without the GIL. The last reference unmaps. So
`View.close` always succeeds and takes effect at once, and nobody is left with a dangling pointer.

Every access keeps one order:

1. convert all arguments: `__index__`, `__float__`, `__buffer__` are Python code and may close the view;
2. look at the view: closed, direction, bounds. From here to 4 no Python code runs;
3. touch the memory;
4. ask for the guard's mark (linux/guard.c): a fault in 3 raises MemoryFaultError.

A closed view has `data == NULL` and `readable == writable == -1`, so the bounds check of 2 is all that the fast
path asks; `refuse` then finds out what was wrong.
"""
import io

from memorymapped.errors import ClosedError, MemoryFaultError, OutOfRangeError, shown

cimport cython
from cpython.buffer cimport PyBUF_FORMAT, PyBUF_ND, PyBuffer_Release, PyObject_GetBuffer
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EFAULT, ENOMEM, errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uintptr_t
from libc.string cimport memcpy, memmove, strchr, strerror

cdef extern from "guard.h" nogil:
    ctypedef struct mmf_guard_state:
        bint armed
        size_t regions
        unsigned long faults
        unsigned long displaced
    mmf_region *mmf_map(size_t length, int prot, int flags, mmf_object object, int64_t offset, size_t page)
    void mmf_unmap(mmf_region *region)
    int mmf_arm()
    void mmf_guard_status(mmf_guard_state *state)

cdef extern from "pages.h" nogil:
    size_t mmf_page_size()
    unsigned int mmf_system_error()
    int mmf_flush(const mmf_region *region, char *start, size_t length, bint rereads)
    int mmf_advise(char *start, size_t length, int advice)
    int mmf_resident(char *start, size_t length, unsigned char *pages)
    enum:
        _READ "MMF_MAP_READ"
        _WRITE "MMF_MAP_WRITE"
        _EXECUTE "MMF_MAP_EXECUTE"
        _SHARED "MMF_MAP_SHARED"
        _PRIVATE "MMF_MAP_PRIVATE"
        _NORESERVE "MMF_MAP_NORESERVE"

cdef extern from "Python.h":
    ctypedef struct PyMethodDef:
        pass
    ctypedef struct PyMethodDescrObject:
        PyMethodDef *d_method
    object PyDescr_NewMethod(type owner, PyMethodDef *method)
    ctypedef struct PyMappingMethods:
        void *mp_subscript
    ctypedef struct PyTypeObject:
        PyMappingMethods *tp_as_mapping
        void *tp_iternext

# mmap's module lacks the last of these before Python 3.13.
PROT_READ, PROT_WRITE, PROT_EXEC = _READ, _WRITE, _EXECUTE
MAP_SHARED, MAP_PRIVATE, MAP_NORESERVE = _SHARED, _PRIVATE, _NORESERVE

# Up to here a copy is not worth letting other threads run; a longer one is done in pieces between which Ctrl-C
# is noticed.
cdef enum:
    WITH_GIL = 256 * 1024
    PIECE = 256 * 1024 * 1024
    FRESH = 32 * 1024 * 1024
    STRIDED_PIECE = 1024 * 1024  # elements: each may lie in a page of its own

cdef size_t system_page = mmf_page_size()
cdef char nothing[1]  # what an empty view points at: never read or written


# ------------------------------------------------------------------------------------------------- mappings


@cython.final
@cython.no_gc
cdef class Mapping:
    """A range of mapped addresses, watched by the fault guard, unmapped with the last reference."""

    def __dealloc__(self):
        # Safe: every user of the addresses holds a reference, and this is the last one going.
        if self.region != NULL:
            if self.region.end - self.region.start < 4 * 1024 * 1024:
                mmf_unmap(self.region)
            else:
                with nogil:
                    mmf_unmap(self.region)

    def __releasebuffer__(self, Py_buffer *buffer):
        """Mapping is the exporter of its views' buffers; the reference that they held is all there is to release."""


cdef object failure(str doing, View view, str where):
    """The OSError of the call that has just failed, of which nothing may have come since."""
    cdef unsigned int system = mmf_system_error()
    cdef int number = errno
    said = strerror(number).decode()
    error = OSError(number, said if view is None else f"{said}: {doing} {view!r}{where}")
    if system:
        error.winerror = system
    return error


cdef Mapping new_mapping(mmf_object fd, long long offset, size_t length, int protection, int flags, size_t page):
    cdef Mapping mapping = Mapping.__new__(Mapping)
    mapping.region = mmf_map(length, protection, flags, fd, offset, page)
    if mapping.region == NULL:
        raise failure("", None, "")
    mapping.base = <char *>mapping.region.start
    return mapping


cdef int take_buffer(object exporter, Py_buffer *buffer, int flags) except -1:
    """PyObject_GetBuffer for bytes that are copied from or to a map as they are.

    TypeError if they are references: what is read would be taken for addresses of this process, what is written would
    be such addresses, and another process would follow them."""
    cdef const char *format
    try:
        PyObject_GetBuffer(exporter, buffer, flags | PyBUF_FORMAT | PyBUF_ND)  # a memoryview wants both or none
    except ValueError:
        # NumPy refuses to describe some elements, among them plain ones such as dates.
        from memorymapped.values import refuse_references_of_numpy

        if not refuse_references_of_numpy(exporter):
            raise
        PyObject_GetBuffer(exporter, buffer, flags)
        return 0
    format = buffer.format
    if format == NULL:
        return 0
    if strchr("<>=@!", format[0]):
        format += 1
    if format[0] and not format[1] and strchr("?bBhHiIlLqQnNefdguwc", format[0]):
        if format[0] != c"B" or buffer.itemsize == 1:
            return 0
    try:
        from memorymapped.values import refuse_references

        refuse_references(exporter, buffer.format.decode("utf-8", "surrogateescape"))
    except BaseException:
        PyBuffer_Release(buffer)
        raise
    return 0


cdef int let_others_run() except -1:
    """In the midst of long work that needs the GIL: other threads get a turn, Ctrl-C its exception."""
    with nogil:
        pass
    PyErr_CheckSignals()
    return 0


cdef int transfer(char *to, const char *source, Py_ssize_t size, bint fresh) except -1:
    """memmove; a long one without the GIL and interruptible. The caller keeps both ends alive. `fresh`: the target was
    never touched. Then the kernel clears each page just before, which so is in the cache: memcpy, in pieces for which
    it goes through the cache, is faster than streaming stores."""
    cdef Py_ssize_t piece
    if size <= WITH_GIL:
        memmove(to, source, size)
        return 0
    if mmf_overlap(to, size, source, size):
        with nogil:
            memmove(to, source, size)
        PyErr_CheckSignals()
        return 0
    while size > 0:
        piece = min(size, FRESH if fresh else PIECE)
        with nogil:
            if fresh:
                memcpy(to, source, piece)
            else:
                mmf_copy(to, source, piece)
        to += piece
        source += piece
        size -= piece
        PyErr_CheckSignals()
    return 0


cdef int transfer_strided(char *to, Py_ssize_t to_step, const char *source, Py_ssize_t from_step, Py_ssize_t size,
                          Py_ssize_t count) except -1:
    """`count` elements of `size` bytes that lie apart; the same conditions. The ends do not overlap."""
    cdef Py_ssize_t piece, done = 0
    if count * (size + system_page) <= WITH_GIL:
        mmf_copy_strided(to, to_step, source, from_step, size, count)
        return 0
    while done < count:
        piece = min(count - done, max(STRIDED_PIECE // size, 1))
        with nogil:
            mmf_copy_strided(to + done * to_step, to_step, source + done * from_step, from_step, size, piece)
        done += piece
        PyErr_CheckSignals()
    return 0


cdef int transfer_elements(Py_buffer *buffer, Py_ssize_t first, Py_ssize_t count, char *block, bint back) except -1:
    """Elements of a buffer that has gaps, or another order than C's, to a block without, or with `back` from it."""
    cdef Py_ssize_t piece, done = 0
    while done < count:
        piece = min(count - done, max(STRIDED_PIECE // buffer.itemsize, 1))
        with nogil:
            mmf_copy_elements(buffer, first + done, piece, block + done * buffer.itemsize, back)
        done += piece
        PyErr_CheckSignals()
    return 0


# ---------------------------------------------------------------------------------------------------- views


@cython.no_gc_clear
cdef class View:
    """A window of `size` bytes at `offset` of a file, mapped. Base of the accessor and of the stream. `source` is what
    it was made from, and knows the names and sizes that messages show."""

    def __cinit__(self, object source, long long offset, Py_ssize_t size, int protection, int flags, size_t page,
                  bint reads, bint writes, bint flushes):
        """`page` is the granularity of the file's mappings, a power of two; `source` says what is mapped
        (`source.view_fd`, -1: it is closed), and what a fault means (`source.fault(view, position, size)` returns the
        exception)."""
        cdef mmf_object fd
        cdef Py_ssize_t shift = offset & <long long>(page - 1)
        # Views are made by maps, which give what is right; but a wrong one made by hand would end the process later.
        if size < 0 or (reads and not protection & _READ) or (writes and not protection & _WRITE):
            raise ValueError("a view that reads or writes needs pages with that protection")
        if page < system_page or page & (page - 1):
            raise ValueError(f"{page} is no page size")
        self.source = source
        self.offset = offset
        self.size = size
        self.reads = reads
        self.writes = writes
        self.flushes = flushes
        self.own_pages = (flags & (_SHARED | _PRIVATE)) == _PRIVATE
        if size == 0:
            self.data = nothing
        else:
            self.shift = shift
            # Only now, behind all that could let another thread run, which may close it, and its number be another's.
            fd = source.view_fd
            if fd < 0:
                raise ClosedError("the map is closed")
            self.mapping = new_mapping(fd, offset - shift, size + shift, protection, flags, page)
            self.region = self.mapping.region
            # Safe: [shift, shift + size) lies inside the mapping just made.
            self.data = self.mapping.base + shift
        self.readable = size if reads else -1
        self.writable = size if writes else -1

    # ---- what it is

    @property
    def capacity(self):
        """Size in bytes. Still readable after close, as in .NET."""
        return self.size

    @property
    def pointer_offset(self):
        """Distance in bytes from the start of the mapping to byte 0 of this view: the requested offset modulo the
        page size (.NET's PointerOffset). Still readable after close."""
        return self.shift

    @property
    def can_read(self):
        """True while open, unless the view was made for writing only."""
        return self.data != NULL and self.reads

    @property
    def can_write(self):
        """True while open, if the view was made for writing or copy on write."""
        return self.data != NULL and self.writes

    @property
    def closed(self):
        """True after close()."""
        return self.data == NULL

    @property
    def faulted(self):
        """True if any page of this view was lost to a fault: the file was truncated, the disk failed or is full.

        This is how users of `numpy.asarray(view)` are told: they see zeros in the lost pages."""
        if self.region != NULL:
            return mmf_marked(self.region) != 0
        return self.was_faulted

    # ---- the slow side of the checks

    cdef int raise_closed(self) except -1:
        # Not a Python method: a subclass could override that, and use after close must never go on.
        raise ClosedError(f"{self!r}: the view is closed")

    def refuse_closed(self):
        """Raises the ClosedError of a view that has been closed."""
        self.raise_closed()

    cdef int refuse(self, Py_ssize_t position, Py_ssize_t size, bint writing) except -1:
        # .NET's order: closed, direction, negative, beyond the end, too few bytes.
        if self.data == NULL:
            self.raise_closed()
        if writing and not self.writes:
            raise io.UnsupportedOperation(f"{self!r} does not support writing: create the view with an access "
                                          "that does")
        if not writing and not self.reads:
            raise io.UnsupportedOperation(f"{self!r} does not support reading: create the view with an access "
                                          "that does")
        if position < 0:
            raise OutOfRangeError(f"position must not be negative, got {position}")
        if position >= self.size:
            raise OutOfRangeError(f"position {position} is beyond the end of {self!r}, which has {self.size} bytes")
        raise ValueError(f"{size} bytes at position {position} do not fit in {self!r}, which has {self.size} bytes")

    cdef int check_fault(self, Py_ssize_t position, Py_ssize_t size) except -1:
        # Called after an access found the mark: were these bytes among the lost ones?
        if self.data != NULL and mmf_replaced(self.region, self.data + position, size):
            self.raise_fault(position, size)
        return 0

    def raise_fault(self, position, size):
        """Raises the MemoryFaultError of lost bytes, which are told then: `close` does not raise it once more."""
        self.told = True
        if self.source is None:
            raise MemoryFaultError(EFAULT, "the memory behind the view is gone")
        raise self.source.fault(self, position, size)

    # ---- blocks

    cdef int copy_out(self, Py_ssize_t position, char *to, Py_ssize_t size) except -1:
        return self.copy_to(position, to, size, False)

    cdef int fill(self, Py_ssize_t position, char *fresh, Py_ssize_t size) except -1:
        """copy_out to an object that was just allocated."""
        mmf_expect_large(fresh, size)
        return self.copy_to(position, fresh, size, True)

    cdef int copy_to(self, Py_ssize_t position, char *to, Py_ssize_t size, bint fresh) except -1:
        # Safe: the caller has checked the bounds; `mapping` keeps the pages although another thread may close.
        cdef Mapping mapping = self.mapping
        cdef mmf_region *region = self.region
        cdef char *source = self.data + position
        if size == 0:
            return 0
        transfer(to, source, size, fresh)
        if mmf_marked(region) and mmf_replaced(region, source, size):
            self.raise_fault(position, size)
        return 0

    cdef int copy_in(self, Py_ssize_t position, const char *source, Py_ssize_t size) except -1:
        # Safe: as in copy_to.
        cdef Mapping mapping = self.mapping
        cdef mmf_region *region = self.region
        cdef char *to = self.data + position
        if size == 0:
            return 0
        transfer(to, source, size, False)
        if mmf_marked(region) and mmf_replaced(region, to, size):
            self.raise_fault(position, size)
        return 0

    cdef int copy_strided(self, bint writing, Py_ssize_t at, Py_ssize_t step, Py_ssize_t size, Py_ssize_t count,
                          char *own) except -1:
        """`count` elements of `size` bytes, `step` bytes apart from `at` on, to or from `own`, where there are no gaps.
        If the two overlap, as if the source was copied first."""
        # Safe: as in copy_out.
        cdef Mapping mapping = self.mapping
        cdef mmf_region *region = self.region
        cdef char *memory = self.data + at
        cdef char *block = own
        cdef bytes apart = None
        if count == 0:
            return 0
        cdef Py_ssize_t last = (count - 1) * step
        cdef Py_ssize_t lowest = min(last, 0)
        cdef Py_ssize_t span = abs(last) + size
        if mmf_overlap(own, count * size, memory + lowest, span):
            apart = PyBytes_FromStringAndSize(NULL, count * size)
            block = PyBytes_AS_STRING(apart)
            if writing:
                transfer(block, own, count * size, False)
        if writing:
            transfer_strided(memory, step, block, size, size, count)
        else:
            transfer_strided(block, size, memory, step, size, count)
            if apart is not None:
                transfer(own, block, count * size, False)
        if mmf_marked(region) and mmf_replaced(region, memory + lowest, span):
            self.raise_fault(at + lowest, span)
        return 0

    cdef bytes new_bytes(self, Py_ssize_t at, Py_ssize_t size):
        cdef bytes result
        cdef char *to
        # Safe: allocating bytes runs no Python code (bytes are not tracked by the garbage collector).
        if size <= WITH_GIL:
            result = PyBytes_FromStringAndSize(self.data + at, size)
            if size and mmf_marked(self.region):
                self.check_fault(at, size)
            return result
        result = PyBytes_FromStringAndSize(NULL, size)
        to = PyBytes_AS_STRING(result)
        self.fill(at, to, size)
        return result

    # ---- the kernel's view of it

    cdef int pages(self, object position, object count, char **start, size_t *length) except -1:
        """The whole pages that hold the bytes [position, position + count); count None: to the end."""
        cdef Py_ssize_t at = mmf_position(position)
        cdef Py_ssize_t size = -1 if count is None else mmf_position(count)
        if count is not None and size < 0:
            raise OutOfRangeError(f"count must not be negative, got {size}")
        if self.data == NULL:
            self.raise_closed()
        if at < 0 or at > self.size:
            raise OutOfRangeError(f"position {at} is outside of {self!r}, which has {self.size} bytes")
        if count is None:
            size = self.size - at
        if size > self.size - at:
            raise OutOfRangeError(f"{size} bytes at position {at} are not in {self!r}, which has {self.size} bytes")
        if size == 0 or self.region == NULL:
            length[0] = 0
            return 0
        cdef size_t page = self.region.page
        cdef uintptr_t first = <uintptr_t>(self.data + at) & ~<uintptr_t>(page - 1)
        cdef uintptr_t last = (<uintptr_t>(self.data + at + size) + page - 1) & ~<uintptr_t>(page - 1)
        start[0] = <char *>first
        length[0] = last - first
        return 0

    def flush(self, position=0, count=None):
        """Writes changed pages of [position, position + count) through to the file and waits (msync, MS_SYNC).

        Any access may flush. Nothing to do for copy on write, for memory maps, and for an empty view. Raises
        OSError if the disk refuses, MemoryFaultError if the file ends before them now, or if such a page was lost: what
        was written there is nowhere; ClosedError after close."""
        cdef char *start
        cdef size_t length
        cdef int rc
        cdef Mapping mapping = self.mapping
        cdef Py_ssize_t first, end
        self.pages(position, count, &start, &length)
        if length:
            with nogil:
                rc = mmf_flush(mapping.region, start, length, True)
            if rc:
                raise failure("flushing", self, "")
            if self.own_pages:
                return
            # Safe: in the mapping, which is kept. Pages that were taken away are nothing to the kernel.
            first = max(start - (mapping.base + self.shift), 0)
            end = min(start + length - (mapping.base + self.shift), self.size)
            if mmf_replaced(mapping.region, start, length) or self.is_beyond(end):
                self.raise_fault(first, end - first)

    cdef bint is_beyond(self, Py_ssize_t end) except -1:
        """Whether the file ends now before that byte of the view."""
        cdef object now = None if self.source is None else self.source.size_now()
        return now is not None and now < self.offset + end

    def madvise(self, advice, position=0, count=None):
        """madvise(2) for the pages of [position, position + count), with an advice of `enums.Advice`."""
        cdef char *start
        cdef size_t length
        cdef int rc
        cdef Mapping mapping = self.mapping
        cdef int kind = min(max(mmf_position(advice), -1), 100)
        if kind not in (0, 1, 2, 3, 4, 14, 15):
            # Others take the pages away, from the file, from a child or from every access: no advice at all.
            raise OutOfRangeError(f"{shown(advice)} is no advice: one of memorymapped.Advice")
        self.pages(position, count, &start, &length)
        if kind == 4 and self.own_pages:
            return  # DONT_NEED would throw away what was written, and an advice changes no data
        if length:
            with nogil:
                rc = mmf_advise(start, length, kind)
            if rc:
                raise failure(f"advice {kind} for", self, "")

    def mincore(self, position=0, count=None):
        """Yields one bytes object for each piece of at most 2**20 pages of the system's page size: for each page
        1 if it is in memory, else 0 (mincore(2))."""
        cdef char *start
        cdef size_t length, piece, at = 0
        cdef int rc
        cdef Mapping mapping = self.mapping
        cdef bytes vector
        cdef unsigned char *states
        self.pages(position, count, &start, &length)
        while at < length:
            piece = min(length - at, (<size_t>1 << 20) * system_page)
            vector = PyBytes_FromStringAndSize(NULL, (piece + system_page - 1) // system_page)
            states = <unsigned char *>PyBytes_AS_STRING(vector)
            with nogil:
                rc = mmf_resident(start + at, piece, states)
            if rc:
                raise failure("asking for the resident pages of", self, "")
            PyErr_CheckSignals()
            yield vector
            at += piece

    # ---- the end

    cdef int drop(self) except -1:
        """Flushes, lets go of the mapping. The view counts as closed from the first line on."""
        cdef Mapping mapping = self.mapping
        cdef mmf_region *region = self.region
        cdef size_t length
        cdef int rc = 0
        self.data = NULL
        self.readable = self.writable = -1
        self.region = NULL
        self.mapping = None
        if region != NULL:
            if self.flushes:
                length = region.end - region.start
                with nogil:
                    rc = mmf_flush(region, mapping.base, length, False)
            self.was_faulted = mmf_marked(region)
            mapping = None
            if rc:
                raise failure("flushing", self, " at close")
        return 0

    def close(self):
        """Flushes what was written to a file and ends the view at once; a second call does nothing.

        Always succeeds: pages that a memoryview or a NumPy array still points into are unmapped when the last of
        them goes. Raises the MemoryFaultError of a fault that nobody was told of (after closing), and the
        OSError of a failed flush (after closing)."""
        if self.data == NULL:
            return
        self.drop()
        if self.was_faulted and not self.told:
            self.raise_fault(0, self.size)

    def __enter__(self):
        if self.data == NULL:
            self.raise_closed()
        return self

    def __exit__(self, kind, value, traceback):
        if kind is not None:
            self.told = True  # an exception is under way: it is not to be replaced
        self.close()

    def __reduce__(self):
        raise TypeError(f"{self!r} cannot be pickled: pickle the map and make a view of it over there")


def adopt_methods(type cls):
    """Gives `cls`, a Python class made from a class here, method descriptors of its own for the methods of its
    bases. CPython calls a method directly only where the descriptor's type is the object's very type; without this
    a read takes twice as long. For the same reason `view[i]` and `next(view)` are put back to the compiled functions,
    where a Python class has ones that look the method up."""
    cdef PyTypeObject *own = <PyTypeObject *>cls
    cdef PyTypeObject *native = <PyTypeObject *>cls.__base__
    overridden = set(vars(cls))
    for base in cls.__mro__:
        if base.__module__ == "builtins":
            continue
        for name, method in list(vars(base).items()):
            if type(method) is method_descriptor and name not in vars(cls):
                # Safe: `cls` has `base` among its bases, so the C function gets an object of the right layout.
                setattr(cls, name, PyDescr_NewMethod(cls, (<PyMethodDescrObject *>method).d_method))
    # Safe for the same reason. Whoever sets the attribute later gets a slot that looks it up again.
    if native.tp_as_mapping != NULL and native.tp_as_mapping.mp_subscript != NULL and "__getitem__" not in overridden:
        own.tp_as_mapping.mp_subscript = native.tp_as_mapping.mp_subscript
    if native.tp_iternext != NULL and "__next__" not in overridden:
        own.tp_iternext = native.tp_iternext
    return cls


cdef object method_descriptor = type(str.join)


# ---------------------------------------------------------------------------------------------------- guard


def guard_arm():
    """Puts the guard's SIGBUS handler back on top."""
    if mmf_arm() != 0:
        raise failure("", None, "")


def guard_state():
    """(armed, mappings, faults, displaced): see `memorymapped.guard_status`."""
    cdef mmf_guard_state state
    mmf_guard_status(&state)
    return bool(state.armed), state.regions, state.faults, state.displaced

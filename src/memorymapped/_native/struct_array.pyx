# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A list of structures in shared memory: the compiled half of StructArray.

The steps on the memory, its layout, and why readers need no lock, are in struct_array.h. Here is who takes them, and
when:

- readers copy without the lock; after 64 turns in vain, or if others write elements in their places, they take it;
- whoever takes the lock makes whole what the owner before has left, then does his own, then gives it back: in one
  call, in which no Python code runs and no exception is raised. It comes to a status, which is dealt with when the lock
  has been given back. Signal handlers run while it waits for the lock, and nothing has begun then;
- what is written is made ready before that: values are converted, blocks of them are one after the other.

What is read from the control block is data of others. Sizes and places are looked at once, when the array is opened,
and are its own from then on. The length, the capacity, and the index of a replacement are loaded once for each use, and
compared with them.
"""
import io
import os
from operator import index as index_of
from types import GenericAlias

from memorymapped.errors import DamagedObjectError, OutOfRangeError, shown

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.errno cimport EBADMSG, EINVAL, ENOSPC, ENXIO, errno
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from memorymapped._native.control_blocks cimport (
    ControlBlock, Turn, begin_edit, check_end, holds_edit, refuse_released)
from memorymapped._native.futex cimport limit_of
from memorymapped._native.memory cimport Mapping, View, mmf_marked, mmf_position, mmf_region, take_buffer
from memorymapped._native.robust cimport (
    ABANDONED, TAKEN, MutexHandle, RobustMutex, begin_step, end_step, hold, is_of_this_task, owner_died)
from memorymapped._native.structs cimport DRAFT, Value, copy_value, freeze, layout_of, new_value

cdef extern from "struct_array.h" nogil:
    uint64_t MMF_ARRAY_MADE, MMF_ARRAY_MAKING
    enum:
        MMF_ARRAY_VERSION
        MMF_ARRAY_FOREIGN
        MMF_ARRAY_CONTROL
        MMF_ARRAY_TURNS
        MMF_REPAIRED
        MMF_HOPELESS
        MMF_APPEND
        MMF_REPLACE
        MMF_POP
        MMF_KEEP
        MMF_RAISE
        MMF_LOOK
        MMF_DONE
        MMF_FULL
        MMF_ABSENT
        MMF_CHANGED
        MMF_DAMAGED
        MMF_FAULTED
        MMF_CLOSED
        MMF_IN_VAIN
    ctypedef struct mmf_array_control:
        uint64_t magic
        uint32_t version
        uint32_t flags
        uint64_t size
        uint64_t stride
        uint64_t most
        uint64_t layout
        uint32_t text
        uint64_t length
        uint64_t step
        uint64_t index
        uint64_t changes
        uint64_t capacity
        uint32_t waiters
    ctypedef struct mmf_array:
        char *base
        mmf_array_control *control
        size_t size
        size_t stride
        uint64_t most
    ctypedef struct mmf_moment:
        uint64_t step
        uint64_t length
        uint64_t capacity
    ctypedef struct mmf_array_step:
        int what
        int64_t index
        uint64_t count
        char *own
        const char *before
        uint64_t changes
    size_t mmf_array_stride(size_t size)
    size_t mmf_array_control_position(size_t stride, uint64_t most)
    size_t mmf_array_text_position(size_t size, size_t stride, uint64_t most)
    size_t mmf_array_total(size_t size, size_t stride, uint64_t most, size_t text)
    void mmf_array_place(mmf_array *a, char *base, size_t size, size_t stride, uint64_t most)
    uint64_t mmf_load(const uint64_t *at)
    uint32_t *mmf_array_word(const mmf_array *a)
    int mmf_array_look(const mmf_array *a, mmf_moment *now)
    bint mmf_array_unfinished(const mmf_array *a, const mmf_moment *now)
    int mmf_array_settle(mmf_array *a, int abandoned, mmf_moment *now)
    int mmf_array_do(mmf_array *a, const mmf_moment *now, mmf_array_step *step)
    bint mmf_array_still(const mmf_array *a, const mmf_moment *then)
    void mmf_array_copy(const mmf_array *a, const mmf_moment *now, uint64_t first, uint64_t count, Py_ssize_t by,
                        char *to)
    int mmf_array_read(const mmf_array *a, int64_t index, char *to, mmf_moment *now, uint64_t *retries)
    void mmf_array_make(mmf_array *a, int foreign, uint64_t layout, const char *text, uint32_t length)

cdef extern from "copy.h" nogil:
    bint mmf_overlap(const char *one, size_t size, const char *other, size_t other_size)
    void mmf_expect_large(char *memory, size_t size)

cdef extern from "pages.h" nogil:
    size_t mmf_size_to_mark(const mmf_region *region, size_t size, uint64_t mark, uint64_t other)
    bint mmf_has_size(const mmf_region *region, size_t size, size_t wanted)
    bint mmf_data_extent(const mmf_region *region, int fd, int64_t size, int64_t *start, int64_t *end)

VERSION = MMF_ARRAY_VERSION
LARGEST = 1 << 46
"""The largest array, in bytes: what an address space has room for."""

cdef enum:
    WITH_GIL = 256 * 1024
    LONG = 64 * 1024     # bytes from which on a copy of several elements is not tried often without the lock
    LONG_TURNS = 3
    BLANK = 2 << 20      # bytes before a control block to be, of a page, in which there may be zeros instead of nothing
    OFTEN = 4096         # after so many elements signals are looked at

def total_size(size_t size, uint64_t most, size_t text):
    """The bytes of a map for `most` elements of `size` bytes, whose layout's text has `text` bytes. OutOfRangeError if
    no map can have so many."""
    cdef size_t stride = mmf_array_stride(size)
    if most > <uint64_t>LARGEST // stride:
        raise OutOfRangeError(f"{most} elements of {stride} bytes are more than any map can have")
    return mmf_array_total(size, stride, most, text)


# A slice of an array: `count` elements, every `step`-th from `first` on.
cdef struct Part:
    Py_ssize_t given_start
    Py_ssize_t given_stop
    Py_ssize_t step
    Py_ssize_t first
    Py_ssize_t count


@cython.final
cdef class OwnMemory:
    """Elements in memory of this process, one after the other."""
    cdef char *data
    cdef Py_ssize_t size

    def __dealloc__(self):
        PyMem_RawFree(self.data)

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, 0, flags)

    cdef bint resize(self, Py_ssize_t size) noexcept:
        """Other memory, of so many bytes; the same, if they are as many. False if there is not so much."""
        if self.data == NULL or self.size != size:
            PyMem_RawFree(self.data)
            self.data = <char *>PyMem_RawMalloc(size)
            self.size = size if self.data != NULL else 0
            if self.data != NULL:
                mmf_expect_large(self.data, size)
        return self.data != NULL


cdef class SharedElements(ControlBlock):
    """The elements of a map. `view` reaches from the map's byte 0 to its end; `text` describes the layout of `type`, a
    Struct, and `layout` is a hash of it."""
    cdef mmf_array at              # base NULL: closed
    cdef readonly bint foreign
    cdef uint64_t seen             # `changes`, as far as this object's user knows of them
    cdef uint64_t repairs

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    # ---- the beginning

    def _attach(self, View view not None, MutexHandle lock not None, object type, str text, uint64_t layout,
                bint foreign, int64_t most, int descriptor):
        """Finds the control block, or makes it in a map that has nothing in it, as `descriptor` tells (-1: it is known to
        be new): True then. It is for `most` elements, if the map is as large as that; otherwise for as many as there is
        room for. `capacity` is 0 so far. `most` -1: it is not made."""
        cdef bytes encoded = text.encode()
        cdef RobustMutex core
        cdef bint made = False
        cdef int got
        self.check_view(view)
        if layout_of(type) is None:
            raise TypeError(f"the elements of an array are of a class derived from Struct, not {shown(type)}")
        self.take_view(view, lock, type)
        try:
            if not self.find(encoded, layout):
                core = lock.opened()
                got = begin_step(self.lock)
                try:
                    if not self.find(encoded, layout):
                        self.make(encoded, layout, foreign, most, descriptor)
                        made = True
                finally:
                    end_step(core, got, got == ABANDONED and not made)
            self._settle()
            self.seen = mmf_load(&self.at.control.changes)
            self.check_marks()
        except BaseException:
            self._detach()
            raise
        return made

    cdef size_t size_to_mark(self) noexcept:
        return mmf_size_to_mark(self.region, self.view.size, MMF_ARRAY_MADE, MMF_ARRAY_MADE)

    cdef bint find(self, bytes text, uint64_t layout) except -1:
        """Looks for the control block. False if there is none. LayoutMismatchError, NotImplementedError (a newer
        version), DamagedObjectError."""
        cdef mmf_array_control header
        cdef size_t whole = self.size_to_mark()
        cdef char *base = self.view.data
        cdef size_t place, length, stride
        cdef uint64_t tail[2]
        cdef uint64_t at
        if whole < MMF_ARRAY_CONTROL + 16 or whole & 7:
            return False
        memcpy(tail, base + whole - 16, 16)
        at = tail[0]
        if (tail[1] != MMF_ARRAY_MADE or at & 63 or at > whole - MMF_ARRAY_CONTROL - 16
                or mmf_load(<uint64_t *>(base + at)) != MMF_ARRAY_MADE):
            self.check_marks()
            return False
        memcpy(&header, base + at, sizeof(header))  # once: it is others who write it
        self.check_marks()
        if header.version != MMF_ARRAY_VERSION:
            self.refuse_version(header.version, MMF_ARRAY_VERSION)
        if header.flags & ~<uint32_t>MMF_ARRAY_FOREIGN:
            self._refuse(f"its flags are {header.flags:#x}")
        # In this order no product and no sum is larger than the map.
        stride = header.stride
        if (not 0 < header.size <= whole or header.stride != mmf_array_stride(header.size) or header.most == 0
                or header.most > whole // stride or mmf_array_control_position(stride, header.most) != at):
            self._refuse(f"it says that it has {header.most} elements of {header.size} bytes, {header.stride} apart, "
                         f"and stands at {at}")
        place = mmf_array_text_position(header.size, stride, header.most)
        length = header.text
        if (place > whole or length > whole - place
                or mmf_array_total(header.size, stride, header.most, length) != whole):
            self._refuse(f"it says that its layout is described by {length} bytes at {place}, and the map has {whole}")
        cdef bint same = (header.size == <uint64_t>self.layout.size and header.layout == layout
                          and length == <size_t>len(text))
        if same and memcmp(base + place, PyBytes_AS_STRING(text), length) != 0:
            self.check_marks()
            self._refuse("the description of its layout is not what it was")
        if not same:
            self.refuse_layout(header.size, base + place, length, self.layout.size, text.decode())
        self.foreign = (header.flags & MMF_ARRAY_FOREIGN) != 0
        mmf_array_place(&self.at, base, header.size, stride, header.most)
        return True

    cdef int make(self, bytes text, uint64_t layout, bint foreign, int64_t wanted, int descriptor) except -1:
        """In a map that somebody has made for an array, and has not come further. Owning the lock."""
        cdef size_t size = self.layout.size
        cdef size_t stride = mmf_array_stride(size)
        cdef size_t whole = self.size_to_mark()
        cdef uint64_t most = wanted
        cdef mmf_array a
        if wanted < 0:
            self.refuse_map()
        if (most == 0 or most > whole // stride
                or not mmf_has_size(self.region, whole, mmf_array_total(size, stride, most, len(text)))):
            most = whole // stride  # its maker has died, and had other wishes: as many as there is room for
        while most and mmf_array_total(size, stride, most, len(text)) > whole:
            most -= 1
        if most == 0 or not mmf_has_size(self.region, whole, mmf_array_total(size, stride, most, len(text))):
            self.refuse_map()
        mmf_array_place(&a, self.view.data, size, stride, most)
        if mmf_load(&a.control.magic) != MMF_ARRAY_MAKING and not self.is_blank(<char *>a.control - a.base, descriptor):
            self.refuse_map()
        mmf_array_make(&a, foreign, layout, PyBytes_AS_STRING(text), <uint32_t>len(text))
        self.check_marks()
        self.foreign = foreign
        self.at = a
        return 0

    cdef bint is_blank(self, size_t control, int descriptor) except -1:
        """Whether the map has no bytes but zeros, of which the last only are looked at: before them is nothing."""
        cdef size_t whole = self.view.size
        cdef const char *base
        cdef int64_t first = 0, end
        cdef bint blank
        if descriptor < 0:
            return True
        with nogil:
            blank = not mmf_data_extent(self.region, descriptor, whole, &first, &end)
        if blank:
            return True
        if <size_t>first + BLANK < control or <size_t>first >= whole:
            return False
        base = self.view.data + first
        blank = base[0] == 0 and memcmp(base, base + 1, whole - <size_t>first - 1) == 0
        self.check_marks()
        return blank

    cdef int refuse_map(self) except -1:
        raise DamagedObjectError(EBADMSG, f"{self._named()} holds no StructArray: it was made by something else, or "
                                 "lengthened, or its maker died before it was one; make an array of another name, and "
                                 "extend it by what this one holds")

    cdef int refuse_state(self, const mmf_moment *now) except -1:
        """Of numbers that cannot be."""
        cdef mmf_array_control *control = self.at.control
        cdef uint64_t index
        if self.at.base == NULL:
            self.raise_closed()
        index = mmf_load(&control.index)
        if mmf_load(&control.magic) != MMF_ARRAY_MADE or mmf_load(&control.most) != self.at.most:
            self.check_marks()
            self._refuse("somebody has written over it, or made another array in its place")
        self.check_marks()
        self._refuse(f"its length is {now.length}, its capacity {now.capacity}, and step {now.step} is at {index}, of "
                     f"at most {self.at.most}")

    # ---- the end

    cdef uint32_t *word(self) noexcept:
        return NULL if self.at.base == NULL else mmf_array_word(&self.at)

    cdef void forget(self) noexcept:
        self.at.base = NULL

    # ---- the lock

    cdef int begin(self, mmf_array *a, mmf_moment *now, int *got) noexcept:
        """The first step of who has just taken the lock. `a` is a copy of `at`: while a long copy lets other threads
        run, one may close this. `now`: what is there then. `got`: nothing is abandoned any more, after MMF_DONE."""
        cdef int did
        a[0] = self.at
        if a.base == NULL:
            return MMF_CLOSED
        if a.size <= WITH_GIL:
            did = mmf_array_settle(a, got[0] == ABANDONED, now)
        else:
            with nogil:
                did = mmf_array_settle(a, got[0] == ABANDONED, now)
        if did == MMF_HOPELESS:
            return MMF_DAMAGED
        if did == MMF_REPAIRED:
            self.repairs += 1
        if got[0] == ABANDONED:
            got[0] = TAKEN
        return MMF_DONE

    cdef int perform(self, mmf_array_step *step, mmf_moment *now) except -1:
        """Takes the lock, makes whole what there is, does this, gives the lock back. What has become of it; `now`: what
        it has found."""
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef int got, status
        if self.at.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        got = begin_step(self.lock)
        mapping = self.mapping
        status = self.begin(&a, now, &got)
        if status == MMF_DONE:
            if (step.count if step.what == MMF_APPEND else 1) * a.stride <= WITH_GIL:
                status = mmf_array_do(&a, now, step)
            else:
                with nogil:
                    status = mmf_array_do(&a, now, step)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
            # A change of this object's own is known to its user; and so are those before, if he had known of these.
            elif step.changes and self.seen + 1 == step.changes:
                self.seen = step.changes
        end_step(core, got, got == ABANDONED)
        return status

    cdef int fail(self, int status, const mmf_moment *now, object index) except -1:
        """What a status means to the user. The lock has been given back."""
        if self.at.base == NULL:
            self.raise_closed()
        self.check_marks()
        if status == MMF_CHANGED:
            raise RuntimeError(f"{self!r}: element {index} was replaced within its edit, which would undo that: the "
                               "draft is discarded")
        if status == MMF_ABSENT:
            if index is None:
                raise OutOfRangeError(f"{self!r} has no elements")
            raise OutOfRangeError(f"index {shown(index)} is out of range: {self!r} has {now.length} elements")
        self.refuse_state(now)

    def _repair(self, lock=None):
        """What a `with` of the lock calls that finds it abandoned: this thread owns it."""
        self.settle_owned(ABANDONED)

    cdef int settle_owned(self, int got) except -1:
        cdef Mapping mapping = self.mapping
        cdef mmf_array a
        cdef mmf_moment now
        cdef int status = self.begin(&a, &now, &got)
        if status == MMF_DAMAGED:
            self.fail(status, &now, None)
        if status == MMF_DONE and mmf_marked(mapping.region):
            self.check_marks()
        return 0

    cdef int settle_now(self) except -1:
        """Makes whole what an owner who died has left, if nobody owns the lock."""
        cdef MutexHandle lock = self.lock
        cdef RobustMutex core = lock.opened()
        cdef Mapping mapping
        cdef mmf_array a
        cdef mmf_moment now
        cdef int got, status
        if core.is_ours():
            return 0
        got = hold(lock, 0)
        if not got:
            return 0
        mapping = self.mapping
        status = self.begin(&a, &now, &got)
        core.give(got == ABANDONED)
        if status != MMF_DONE:
            self.fail(status, &now, None)
        return 0

    def _settle(self):
        """Before elements are looked at in their places: makes whole what somebody has left who died. Who owns the lock
        is not waited for."""
        cdef mmf_moment now
        if self.at.base == NULL:
            self.raise_closed()
        if (<MutexHandle>self.lock).opened().is_ours():
            self.settle_owned(TAKEN)
        elif mmf_array_look(&self.at, &now) != MMF_DONE:
            self.refuse_state(&now)
        elif mmf_array_unfinished(&self.at, &now):
            self.settle_now()

    # ---- writing

    cdef int64_t add(self, const char *source, uint64_t count) except -1:
        """Appends elements that lie one after the other. The index of the first."""
        cdef mmf_array_step step
        cdef mmf_moment now
        cdef uint64_t most
        cdef int status, turn
        memset(&step, 0, sizeof(step))
        step.what = MMF_APPEND
        step.own = <char *>source
        step.count = count
        for turn in range(MMF_ARRAY_TURNS):
            status = self.perform(&step, &now)
            if status == MMF_DONE:
                return now.length
            if status != MMF_FULL:
                self.fail(status, &now, None)
            most = self.at.most
            if count > most - now.length:
                raise OSError(ENOSPC, f"{self!r} has room for {most} elements, {now.length} are there, and {count} "
                              "more do not fit: make it with a larger max_capacity")
            self._make_room(now.length + count)
        self._refuse("somebody lowers its capacity, again and again")

    cdef int replace(self, int64_t index, const char *source, object given) except -1:
        cdef mmf_array_step step
        cdef mmf_moment now
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = MMF_REPLACE
        step.index = index
        step.own = <char *>source
        status = self.perform(&step, &now)
        if status != MMF_DONE:
            self.fail(status, &now, given)
        return 0

    cdef int simple(self, int what, uint64_t count, char *own, object given) except -1:
        cdef mmf_array_step step
        cdef mmf_moment now
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = what
        step.count = count
        step.own = own
        status = self.perform(&step, &now)
        if status == MMF_ABSENT and what == MMF_KEEP:
            raise OutOfRangeError(f"{self!r} cannot be cut to {shown(given)} elements: it has {now.length}")
        if status != MMF_DONE:
            self.fail(status, &now, given)
        return 0

    def append(self, value):
        """Adds an element behind the last. Its index: of all that any process has appended, none has the same.

        TypeError: it is no element of this type; OSError (ENOSPC): no room, see `max_capacity`; ClosedError;
        DamagedObjectError; MemoryFaultError. Nothing is changed then."""
        cdef bytes raw = None
        cdef const char *source = self.source_of(value)
        if source == NULL:
            raw = self.raw(value)
            source = PyBytes_AS_STRING(raw)
        return self.add(source, 1)

    def _extend(self, elements):
        """Adds the elements of a bytes-like object, where they lie one after the other. The index of the first."""
        cdef Py_buffer buffer
        cdef size_t size = self.layout.size
        cdef const char *source
        cdef OwnMemory copied
        take_buffer(elements, &buffer, PyBUF_SIMPLE)
        try:
            if <size_t>buffer.len % size:
                raise ValueError(f"{buffer.len} bytes are no elements of {size} bytes")
            source = <const char *>buffer.buf
            if self.at.base == NULL or not mmf_overlap(source, buffer.len, self.at.base, self.view.size):
                return self.add(source, <size_t>buffer.len // size)
            # What was taken away, and is seen still: it would be written over while it is read.
            copied = new_memory(buffer.len)
            copy_bytes(copied.data, source, buffer.len)
            self.check_marks()
        finally:
            PyBuffer_Release(&buffer)
        return self.add(copied.data, <size_t>copied.size // size)

    def pop(self):
        """Takes the last element away: a snapshot of it. OutOfRangeError (an IndexError) if there is none."""
        cdef Value value
        if self.at.base == NULL:
            self.raise_closed()
        value = new_value(self.layout, self.type)
        self.simple(MMF_POP, 0, value.data, None)
        return value

    def truncate(self, length):
        """Takes away what is behind the first `length` elements, all at once. OutOfRangeError if there are fewer."""
        cdef int64_t keep = mmf_position(length)
        if keep < 0:
            raise OutOfRangeError(f"a length must not be negative, got {shown(length)}")
        self.simple(MMF_KEEP, keep, NULL, length)

    def clear(self):
        """Takes all elements away."""
        self.simple(MMF_KEEP, 0, NULL, None)

    def __setitem__(self, index, value):
        cdef bytes raw = None
        cdef int64_t at
        cdef const char *source
        if isinstance(index, slice):
            raise TypeError("a slice cannot be assigned: elements are replaced one by one, each as a whole")
        at = mmf_position(index)
        source = self.source_of(value)
        if source == NULL:
            raw = self.raw(value)
            source = PyBytes_AS_STRING(raw)
        self.replace(at, source, index)

    def __delitem__(self, index):
        raise TypeError("an element cannot be taken out of the midst: pop() and truncate() take them from the end")

    def edit(self, index):
        """`with array.edit(3) as draft:` one update of an element: the lock is taken, `draft` is the element, to be
        changed, and the end of the `with` replaces it; an exception discards it. Nobody sees a part of it.

        OutOfRangeError: there is no such element, or not any more at the end; RuntimeError: a task of this thread's
        event loop owns the lock, and is not the one at work."""
        cdef Edit edit = Edit.__new__(Edit)
        edit.of = self
        edit.index = mmf_position(index)
        return edit

    cdef const char *source_of(self, object value) except? NULL:
        """The bytes of an element. NULL: they lie in a view (see `raw`)."""
        if layout_of(type(value)) is not self.layout:
            raise TypeError(f"an element of {self!r} is a {self.type.__name__}, not {shown(value)}")
        return (<Value>value).data

    cdef bytes raw(self, Value value):
        cdef bytes raw = PyBytes_FromStringAndSize(NULL, self.layout.size)
        copy_value(value, PyBytes_AS_STRING(raw))
        return raw

    def _raise_capacity(self, uint64_t capacity):
        """Memory has been taken for so many."""
        self.simple(MMF_RAISE, capacity, NULL, None)

    # ---- reading

    cdef int read(self, int64_t index, char *to, object given) except -1:
        """Copies an element. Runs no Python code, unless it takes the lock, or fails."""
        cdef mmf_array a
        cdef mmf_moment now
        cdef Mapping mapping
        cdef uint64_t retries = 0
        cdef int did
        if self.at.base == NULL:
            self.raise_closed()
        if self.foreign:
            return self.read_locked(index, to, given)
        if self.at.size <= WITH_GIL:
            did = mmf_array_read(&self.at, index, to, &now, &self.retries)
            if mmf_marked(self.mapping.region):
                self.check_marks()
        else:
            a = self.at
            mapping = self.mapping
            with nogil:
                did = mmf_array_read(&a, index, to, &now, &retries)
            self.retries += retries
            if mmf_marked(mapping.region):
                self.check_marks()
        if did == MMF_DONE:
            return 0
        if did == MMF_IN_VAIN:
            return self.read_locked(index, to, given)
        return self.fail(did, &now, given)

    cdef int read_locked(self, int64_t index, char *to, object given) except -1:
        cdef mmf_array_step step
        cdef mmf_moment now
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = MMF_LOOK
        step.index = index
        step.own = to
        self.locked_reads += 1
        status = self.perform(&step, &now)
        if status != MMF_DONE:
            self.fail(status, &now, given)
        return 0

    cdef OwnMemory block(self, object part):
        """The elements of a slice as they are at one moment, one after the other."""
        cdef int turn = 0
        cdef Py_ssize_t size = self.layout.size
        cdef mmf_array a
        cdef Mapping mapping
        cdef mmf_moment now
        cdef Part wanted
        cdef OwnMemory block = OwnMemory.__new__(OwnMemory)
        cdef bint whole
        PySlice_Unpack(part, &wanted.given_start, &wanted.given_stop, &wanted.step)
        while not self.foreign and turn < (MMF_ARRAY_TURNS if block.size <= LONG else LONG_TURNS):
            a = self.at
            mapping = self.mapping
            if a.base == NULL:
                self.raise_closed()
            if mmf_array_look(&a, &now) != MMF_DONE:
                self.refuse_state(&now)
            adjust(&wanted, now.length)
            if not block.resize(wanted.count * size):
                raise_no_memory(wanted.count, size)
            copy_elements(&a, &now, &wanted, block.data)
            whole = mmf_array_still(&a, &now) or wanted.count == 0
            if mmf_marked(mapping.region):
                self.check_marks()
            if whole:
                return block
            self.retries += 1
            turn += 1
        self.fill_locked(block, &wanted)
        return block

    cdef int fill_locked(self, OwnMemory block, Part *wanted) except -1:
        # How many they are is known when the lock is owned, and no object is made then.
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef mmf_moment now
        cdef Py_ssize_t size = self.layout.size
        cdef int got, status
        cdef bint room = True
        if self.at.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        got = begin_step(self.lock)
        mapping = self.mapping
        status = self.begin(&a, &now, &got)
        if status == MMF_DONE:
            adjust(wanted, now.length)
            room = block.resize(wanted.count * size)
            if room:
                copy_elements(&a, &now, wanted, block.data)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
        end_step(core, got, got == ABANDONED)
        self.locked_reads += 1
        if status != MMF_DONE:
            self.fail(status, &now, None)
        if not room:
            raise_no_memory(wanted.count, size)
        return 0

    def __len__(self):
        return self.length()

    cdef Py_ssize_t length(self) except -1:
        cdef mmf_moment now
        cdef int did
        if self.at.base == NULL:
            self.raise_closed()
        did = mmf_array_look(&self.at, &now)
        if mmf_marked(self.mapping.region):
            self.check_marks()
        if did != MMF_DONE:
            self.refuse_state(&now)
        return <Py_ssize_t>now.length

    def __getitem__(self, index):
        cdef Value value
        cdef Py_ssize_t at, i, size
        cdef OwnMemory block
        cdef list found
        if not isinstance(index, slice):
            at = mmf_position(index)
            if self.at.base == NULL:
                self.raise_closed()
            value = new_value(self.layout, self.type)
            self.read(at, value.data, index)
            return value
        block = self.block(index)
        size = self.layout.size
        found = []
        for i in range(block.size // size):
            value = new_value(self.layout, self.type)
            memcpy(value.data, block.data + i * size, size)
            found.append(value)
            if i % OFTEN == OFTEN - 1:
                PyErr_CheckSignals()
        return found

    def __iter__(self):
        """The elements, each as it is when its turn comes, until there are no more."""
        cdef Py_ssize_t i = 0
        cdef Value value
        while i < self.length():
            value = new_value(self.layout, self.type)
            try:
                self.read(i, value.data, i)
            except OutOfRangeError:
                return  # taken away in between
            yield value
            i += 1
            if i % OFTEN == 0:
                PyErr_CheckSignals()

    def _block(self, part):
        """A slice's elements, one after the other, as they are at one moment: a buffer of its own."""
        return self.block(part)

    # ---- what it is

    @property
    def capacity(self):
        """For so many elements there is memory, now. More get it when they are appended, up to `max_capacity`."""
        cdef mmf_moment now
        cdef int did
        if self.at.base == NULL:
            self.raise_closed()
        did = mmf_array_look(&self.at, &now)
        self.check_marks()
        if did != MMF_DONE:
            self.refuse_state(&now)
        return now.capacity

    @property
    def max_capacity(self):
        """There will never be more elements than these."""
        return self.at.most

    @property
    def stride(self):
        """Element i begins at byte i * stride of the map."""
        return self.at.stride

    @property
    def version(self):
        """The number of changes there have been, by any process: it grows, and never repeats."""
        cdef uint64_t changes
        if self.at.base == NULL:
            self.raise_closed()
        changes = mmf_load(&self.at.control.changes)
        self.check_marks()
        return changes

    @property
    def _control_position(self):
        return mmf_array_control_position(self.at.stride, self.at.most)

    def _counts(self):
        return self.retries, self.locked_reads, self.repairs

    def _check_owner(self):
        """Before elements are used in their places. RuntimeError, io.UnsupportedOperation."""
        cdef RobustMutex core
        if self.at.base == NULL:
            self.raise_closed()
        if not self.foreign:
            raise io.UnsupportedOperation(f"{self!r} was made without foreign=True, so it is read without the lock, "
                                          "and what is written in its place would be seen half done: assign the "
                                          "element, or use edit()")
        core = (<MutexHandle>self.lock).opened()
        if not core.is_ours() or (core.task is not None and not is_of_this_task(core)):
            raise RuntimeError(f"{self!r}: elements in their places are for who owns the lock: `with array.lock:` "
                               "takes it")
        self.settle_owned(TAKEN)

    # ---- waiting

    cdef uint32_t *waiters(self) noexcept:
        return &self.at.control.waiters

    cdef bint arrived(self, tuple what) except -1:
        """A length and a version: whether there are so many elements, or if that is negative, whether there was a
        change since."""
        cdef int64_t length = what[0]
        cdef uint64_t since = what[1]
        cdef mmf_moment now
        cdef bint there
        if self.at.base == NULL:
            self.raise_closed()
        there = self.has_come(length, since, &now)
        if not there and (mmf_array_unfinished(&self.at, &now) or owner_died((<MutexHandle>self.lock).opened())):
            self.settle_now()  # a writer has died between his commit and his end
            if self.at.base == NULL:
                self.raise_closed()
            there = self.has_come(length, since, &now)
        return there

    cdef bint has_come(self, int64_t length, uint64_t since, mmf_moment *now) except -1:
        cdef int did = mmf_array_look(&self.at, now)
        cdef uint64_t changes = mmf_load(&self.at.control.changes)
        if mmf_marked(self.mapping.region):
            self.check_marks()
        if did != MMF_DONE:
            self.refuse_state(now)
        return changes != since if length < 0 else now.length >= <uint64_t>length

    def wait_for_change(self, timeout=None, *, since=None):
        """Waits until there is a change that this object's user does not know of, or one since version `since`: True;
        False after `timeout` (seconds or a timedelta; None: for ever; 0: a look). Known are this object's own
        changes, and those that a call of this has told. If threads share this object give `since`. What other programs
        write in the elements' places is no change. ClosedError, also if it is closed meanwhile; MemoryFaultError."""
        cdef double limit = limit_of(timeout)
        if not self.wait((-1, self._since(since)), limit):
            return False
        self._know(since)
        return True

    def wait_for_length(self, length, timeout=None):
        """Waits until there are `length` elements or more: True; False after `timeout`. OutOfRangeError: there can
        never be so many. Otherwise as `wait_for_change`."""
        return self.wait((self._wanted(length), 0), limit_of(timeout))

    def _since(self, version):
        if version is None:
            return self.seen
        try:
            return <uint64_t>index_of(version)
        except OverflowError:
            raise OutOfRangeError(f"since is a version, not {shown(version)}") from None

    def _wanted(self, length):
        cdef int64_t wanted = mmf_position(length)
        if wanted < 0 or <uint64_t>wanted > self.at.most:
            if self.at.base == NULL:
                self.raise_closed()
            raise OutOfRangeError(f"{self!r} can never have {shown(length)} elements: it has room for {self.at.most}")
        return wanted

    def _know(self, since):
        """Of the changes until now."""
        if since is None and self.at.base != NULL:
            self.seen = mmf_load(&self.at.control.changes)


cdef void adjust(Part *part, uint64_t length) noexcept:
    cdef Py_ssize_t stop = part.given_stop
    part.first = part.given_start
    part.count = PySlice_AdjustIndices(<Py_ssize_t>length, &part.first, &stop, part.step)


cdef void copy_elements(const mmf_array *a, const mmf_moment *now, const Part *part, char *to) noexcept:
    if part.count * a.size <= WITH_GIL:
        mmf_array_copy(a, now, part.first, part.count, part.step, to)
    else:
        with nogil:
            mmf_array_copy(a, now, part.first, part.count, part.step, to)


cdef void copy_bytes(char *to, const char *source, size_t size) noexcept:
    if size <= WITH_GIL:
        memcpy(to, source, size)
    else:
        with nogil:
            memcpy(to, source, size)


cdef OwnMemory new_memory(Py_ssize_t size):
    cdef OwnMemory block = OwnMemory.__new__(OwnMemory)
    if not block.resize(size):
        raise_no_memory(1, size)
    return block


cdef int raise_no_memory(Py_ssize_t count, Py_ssize_t size) except -1:
    raise MemoryError(f"there is no memory for {count} times {size} bytes")


@cython.final
@cython.freelist(8)
cdef class Edit:
    """One update of an element, for `with`. See SharedElements.edit."""
    cdef SharedElements of
    cdef int64_t index
    cdef RobustMutex core  # None: not entered
    cdef Turn turn
    cdef Value draft
    cdef bytes before      # what it was made from

    def __enter__(self):
        cdef SharedElements of = self.of
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef mmf_moment now
        cdef mmf_array_step step
        cdef Value draft
        cdef bytes before
        cdef int got, status
        if self.core is not None:
            raise RuntimeError("an edit is one update: it is entered already")
        if of.at.base == NULL:
            of.raise_closed()
        draft = new_value(of.layout, of.type)
        draft.position = DRAFT
        before = PyBytes_FromStringAndSize(NULL, of.layout.size)
        memset(&step, 0, sizeof(step))
        step.what = MMF_LOOK
        step.index = self.index
        step.own = draft.data
        core = (<MutexHandle>of.lock).opened()
        got = begin_step(of.lock)
        mapping = of.mapping
        status = of.begin(&a, &now, &got)
        if status == MMF_DONE:
            if a.size <= WITH_GIL:
                status = mmf_array_do(&a, &now, &step)
            else:
                with nogil:
                    status = mmf_array_do(&a, &now, &step)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
        if status != MMF_DONE:
            end_step(core, got, got == ABANDONED)
            of.fail(status, &now, self.index)
        memcpy(PyBytes_AS_STRING(before), draft.data, a.size)
        self.index = step.index
        self.before = before
        begin_edit(&self.turn, core, got)
        self.core = core
        self.draft = draft
        return draft

    def __dealloc__(self):
        if holds_edit(&self.turn, self.core):  # dropped within it
            self.core.give(False)

    def __exit__(self, kind, value, traceback):
        cdef SharedElements of = self.of
        cdef RobustMutex core = self.core
        cdef Mapping mapping = of.mapping
        cdef mmf_array a = of.at
        cdef mmf_moment now
        cdef Value draft = self.draft
        cdef mmf_array_step step
        cdef int status = MMF_DONE
        cdef bint released
        if not check_end(&self.turn, core, of, a.base == NULL, kind is not None):
            return
        self.core = None
        self.draft = None
        released = self.turn.acquisition != core.acquisitions
        if kind is None and not released:
            if a.base == NULL:
                status = MMF_CLOSED
            else:
                memset(&step, 0, sizeof(step))
                step.what = MMF_REPLACE
                step.index = self.index
                step.own = draft.data
                step.before = PyBytes_AS_STRING(self.before)
                status = mmf_array_look(&a, &now)
                if status != MMF_DONE:
                    pass
                elif a.size <= WITH_GIL:
                    status = mmf_array_do(&a, &now, &step)
                else:
                    with nogil:
                        status = mmf_array_do(&a, &now, &step)
                if mmf_marked(mapping.region):
                    status = MMF_FAULTED
                elif step.changes and of.seen + 1 == step.changes:
                    of.seen = step.changes
        freeze(draft)  # whoever keeps it has a snapshot
        end_step(core, self.turn.got, False)
        if kind is None and released:
            refuse_released(of)
        if status != MMF_DONE:
            of.fail(status, &now, self.index)

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
and are its own from then on. The length, and the index of a replacement, are compared with them each time.
"""
import io
from types import GenericAlias

from memorymapped.errors import (
    ClosedError, DamagedObjectError, LayoutMismatchError, OutOfRangeError, shown)

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from cpython.mem cimport PyMem_RawFree, PyMem_RawMalloc
from cpython.slice cimport PySlice_AdjustIndices, PySlice_Unpack
from libc.errno cimport EBADMSG, ENOSPC
from libc.limits cimport INT_MAX
from libc.stddef cimport size_t
from libc.stdint cimport int64_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memset
from memorymapped._native.futex cimport (
    Waitable, limit_of, mmf_futex_wait, mmf_futex_wake, mmf_now, mmf_sleep, mmf_word_add, mmf_word_load)
from memorymapped._native.memory cimport Mapping, View, mmf_marked, mmf_position, mmf_region, take_buffer
from memorymapped._native.robust cimport (
    ABANDONED, TAKEN, MutexHandle, RobustMutex, begin_step, end_step, hold, is_of_this_task, owner_died)
from memorymapped._native.structs cimport (
    DRAFT, StructLayout, Value, copy_value, freeze, layout_of, new_value)

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
        MMF_DAMAGED
        MMF_FAULTED
        MMF_CLOSED
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
    ctypedef struct mmf_array_step:
        int what
        int64_t index
        uint64_t count
        size_t apart
        char *own
        uint64_t length
        uint64_t changes
    size_t mmf_array_stride(size_t size)
    size_t mmf_array_control_position(size_t stride, uint64_t most)
    size_t mmf_array_text_position(size_t size, size_t stride, uint64_t most)
    size_t mmf_array_total(size_t size, size_t stride, uint64_t most, size_t text)
    void mmf_array_place(mmf_array *a, char *base, size_t size, size_t stride, uint64_t most)
    uint64_t mmf_load(const uint64_t *at)
    uint32_t *mmf_array_word(const mmf_array *a)
    int mmf_array_settle(mmf_array *a, int abandoned)
    int mmf_array_do(mmf_array *a, mmf_array_step *step)
    mmf_moment mmf_array_now(const mmf_array *a)
    bint mmf_array_still(const mmf_array *a, const mmf_moment *then)
    void mmf_array_copy(const mmf_array *a, const mmf_moment *now, uint64_t first, uint64_t count, char *to,
                        size_t step)
    int mmf_array_read(const mmf_array *a, int64_t index, char *to, uint64_t *length, uint64_t *retries)
    void mmf_array_make(mmf_array *a, int foreign, uint64_t layout, const char *text, uint32_t length)

VERSION = MMF_ARRAY_VERSION
LARGEST = 1 << 46
"""The largest array, in bytes: what an address space has room for."""

cdef enum:
    WITH_GIL = 256 * 1024
    SHOWN_TEXT = 100_000  # bytes of another's layout that a message shows
    LONG = 64 * 1024      # bytes from which on a copy of several elements is not tried often without the lock
    LONG_TURNS = 3

LOOK_AGAIN = 0.5
"""Seconds after which who waits looks by himself: a writer may die between its commit and its call."""

cdef double PAUSE = LOOK_AGAIN


def total_size(size_t size, uint64_t most, size_t text):
    """The bytes of a map for `most` elements of `size` bytes, whose layout's text has `text` bytes. OutOfRangeError if
    no map can have so many."""
    cdef size_t stride = mmf_array_stride(size)
    if most > <uint64_t>LARGEST // stride:
        raise OutOfRangeError(f"{most} elements of {stride} bytes are more than any map can have")
    return mmf_array_total(size, stride, most, text)


# A slice of an array: `count` elements from `first` on, `step` apart, which lie within the `span` elements from `low`
# on.
cdef struct Part:
    Py_ssize_t given_start
    Py_ssize_t given_stop
    Py_ssize_t step
    Py_ssize_t first
    Py_ssize_t count
    Py_ssize_t low
    Py_ssize_t span


cdef class SharedElements:
    """The elements of a map. `view` reaches from the map's byte 0 to its end; `text` describes the layout of `type`, a
    Struct, and `layout` is a hash of it."""
    cdef mmf_array at              # base NULL: closed
    cdef View view                 # None: closed
    cdef Mapping mapping           # the view's, as long as this is open
    cdef readonly object lock      # a MutexHandle; what messages say of it
    cdef readonly object type
    cdef StructLayout layout       # its own
    cdef readonly bint foreign
    cdef int asleep                # threads that may be sleeping on the word by this object
    cdef uint64_t seen             # `changes`, as far as this object's user knows of them
    cdef uint64_t retries
    cdef uint64_t locked_reads
    cdef uint64_t repairs
    cdef object __weakref__

    @classmethod
    def __class_getitem__(cls, item):
        return GenericAlias(cls, item)

    # ---- the beginning

    def _attach(self, View view not None, MutexHandle lock not None, object type, str text, uint64_t layout,
                bint foreign, uint64_t most):
        """Finds the control block, or makes it in a map that is zero, for `most` elements if it is as large as that:
        True then. `capacity` is 0 so far."""
        cdef bytes encoded = text.encode()
        cdef RobustMutex core
        cdef bint made = False
        cdef int got
        if self.view is not None:
            raise RuntimeError(f"{self!r} has been made already")
        if view.data == NULL or not view.reads or not view.writes or view.own_pages or view.offset != 0 or view.shift:
            raise ValueError("a view of the whole map, for reading and writing, is needed")
        self.layout = layout_of(type)
        if self.layout is None:
            raise TypeError(f"the elements of an array are of a class derived from Struct, not {shown(type)}")
        self.type = type
        self.lock = lock
        self.view = view
        self.mapping = view.mapping
        try:
            if not self.find(encoded, layout):
                core = lock.opened()
                got = begin_step(self.lock)
                try:
                    if not self.find(encoded, layout):
                        self.make(encoded, layout, foreign, most)
                        made = True
                finally:
                    end_step(core, got, got == ABANDONED and not made)
            if mmf_load(&self.at.control.step) & 3:
                self.settle_now(-1.0)
            self.seen = mmf_load(&self.at.control.changes)
            self.check_marks()
        except BaseException:
            self._detach()
            raise
        return made

    cdef bint find(self, bytes text, uint64_t layout) except -1:
        """Looks for the control block. False if there is none. LayoutMismatchError, NotImplementedError (a newer
        version), DamagedObjectError."""
        cdef mmf_array_control header
        cdef size_t whole = self.view.size
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
            if header.version < MMF_ARRAY_VERSION:
                self._refuse(f"there is no version {header.version} of the format")
            raise NotImplementedError(f"{self._named()} was made in version {header.version} of its format, by a newer "
                                      f"memorymapped: this one knows version {MMF_ARRAY_VERSION}")
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
            theirs = (<bytes>base[place:place + min(length, <size_t>SHOWN_TEXT)]).decode("utf-8", "replace")
            self.check_marks()
            from memorymapped.shared.layouts import beside

            raise LayoutMismatchError(
                f"{self._named()} was made with elements of another layout, of {header.size} bytes, than the "
                f"{self.layout.size} bytes that are asked for:\n"
                + beside("the array", theirs, "asked for", text.decode()))
        self.foreign = (header.flags & MMF_ARRAY_FOREIGN) != 0
        mmf_array_place(&self.at, base, header.size, stride, header.most)
        return True

    cdef int make(self, bytes text, uint64_t layout, bint foreign, uint64_t most) except -1:
        """In a map that somebody has made for an array, and has not come further. Owning the lock."""
        cdef size_t size = self.layout.size
        cdef size_t stride = mmf_array_stride(size)
        cdef size_t whole = self.view.size
        cdef mmf_array a
        cdef mmf_array_control *control
        if most == 0 or most > whole // stride or mmf_array_total(size, stride, most, len(text)) != whole:
            most = whole // stride  # its maker has died, and had other wishes: as many as there is room for
        while most and mmf_array_total(size, stride, most, len(text)) > whole:
            most -= 1
        if most == 0 or mmf_array_total(size, stride, most, len(text)) != whole:
            self.refuse_map()
        mmf_array_place(&a, self.view.data, size, stride, most)
        control = a.control
        if control.magic != MMF_ARRAY_MAKING and (control.magic != 0 or control.length != 0 or control.changes != 0):
            self.refuse_map()
        mmf_array_make(&a, foreign, layout, PyBytes_AS_STRING(text), <uint32_t>len(text))
        self.check_marks()
        self.foreign = foreign
        self.at = a
        return 0

    def _refuse(self, str why):
        """Raises the DamagedObjectError of a control block."""
        raise DamagedObjectError(EBADMSG, f"the control block of {self._named()} is damaged: {why}")

    cdef int refuse_map(self) except -1:
        raise DamagedObjectError(EBADMSG, f"{self._named()} holds no StructArray: it was made by something else, or "
                                 "lengthened; make an array of another name, and extend it by what this one holds")

    # ---- the end

    def _detach(self):
        """Closed, from here on. Threads that wait by it get a ClosedError."""
        cdef Mapping mapping = self.mapping
        cdef mmf_array at = self.at
        cdef int turn
        self.at.base = NULL
        self.mapping = None
        self.view = None
        for turn in range(20):
            if at.base == NULL or not self.asleep:
                break
            with nogil:
                mmf_futex_wake(mmf_array_word(&at), INT_MAX)
                mmf_sleep(0.00005)

    @property
    def closed(self):
        """True after close()."""
        return self.at.base == NULL

    cdef int raise_closed(self) except -1:
        raise ClosedError(f"{self!r} is closed")

    cdef int check_marks(self) except -1:
        """After memory was read. The elements and what keeps them whole are one: any lost page is a fault."""
        cdef View view = self.view
        if view is None:
            self.raise_closed()
        if mmf_marked(view.region):
            view.raise_fault(0, view.size)
        return 0

    def _named(self):
        return repr(self)

    # ---- the lock

    cdef int begin(self, mmf_array *a, int *got) noexcept:
        """The first step of who has just taken the lock. `a` is a copy of `at`: while a long copy lets other threads
        run, one may close this. `got`: nothing is abandoned any more, after MMF_DONE."""
        cdef int did
        a[0] = self.at
        if a.base == NULL:
            return MMF_CLOSED
        if a.size <= WITH_GIL:
            did = mmf_array_settle(a, got[0] == ABANDONED)
        else:
            with nogil:
                did = mmf_array_settle(a, got[0] == ABANDONED)
        if did == MMF_HOPELESS:
            return MMF_DAMAGED
        if did == MMF_REPAIRED:
            self.repairs += 1
        if got[0] == ABANDONED:
            got[0] = TAKEN
        return MMF_DONE

    cdef int perform(self, mmf_array_step *step) except -1:
        """Takes the lock, makes whole what there is, does this, gives the lock back. What has become of it."""
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef int got, status
        if self.at.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        got = begin_step(self.lock)
        mapping = self.mapping
        status = self.begin(&a, &got)
        if status == MMF_DONE:
            if (step.count if step.what == MMF_APPEND else 1) * a.stride <= WITH_GIL:
                status = mmf_array_do(&a, step)
            else:
                with nogil:
                    status = mmf_array_do(&a, step)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
            # A change of this object's own is known to its user; and so are those before, if he had known of these.
            elif step.changes and self.seen + 1 == step.changes:
                self.seen = step.changes
        end_step(core, got, got == ABANDONED)
        return status

    cdef int fail(self, int status, object index) except -1:
        """What a status means to the user. The lock has been given back."""
        if self.at.base == NULL:
            self.raise_closed()
        self.check_marks()
        if status == MMF_ABSENT:
            length = mmf_load(&self.at.control.length)
            if index is None:
                raise OutOfRangeError(f"{self!r} has no elements")
            raise OutOfRangeError(f"index {shown(index)} is out of range: {self!r} has {length} elements")
        self._refuse(f"its length is {self.at.control.length}, its capacity {self.at.control.capacity}, and step "
                    f"{self.at.control.step} is at {self.at.control.index}, of at most {self.at.most}")

    def _repair(self, lock=None):
        """What a `with` of the lock calls that finds it abandoned: this thread owns it."""
        cdef Mapping mapping = self.mapping
        cdef mmf_array a
        cdef int got = ABANDONED
        cdef int status = self.begin(&a, &got)
        if status == MMF_DAMAGED:
            self.fail(status, None)

    cdef int settle_now(self, double limit) except -1:
        """Makes whole what an owner who died has left, if the lock can be had within `limit` seconds."""
        cdef MutexHandle lock = self.lock
        cdef RobustMutex core = lock.opened()
        cdef Mapping mapping
        cdef mmf_array a
        cdef int got, status
        if core.is_ours():
            return 0
        got = hold(lock, limit)
        if not got:
            return 0
        mapping = self.mapping
        status = self.begin(&a, &got)
        core.give(got == ABANDONED)
        if status != MMF_DONE:
            self.fail(status, None)
        return 0

    # ---- writing

    cdef int64_t add(self, const char *source, size_t apart, uint64_t count) except -1:
        """Appends elements that lie `apart` bytes apart. The index of the first."""
        cdef mmf_array_step step
        cdef uint64_t most
        cdef int status, turn
        memset(&step, 0, sizeof(step))
        step.what = MMF_APPEND
        step.own = <char *>source
        step.apart = apart
        step.count = count
        for turn in range(MMF_ARRAY_TURNS):
            status = self.perform(&step)
            if status == MMF_DONE:
                return step.length
            if status != MMF_FULL:
                self.fail(status, None)
            most = self.at.most
            if count > most - step.length:
                raise OSError(ENOSPC, f"{self!r} has room for {most} elements, {step.length} are there, and {count} "
                              "more do not fit: make it with a larger max_capacity")
            self._make_room(step.length + count)
        self._refuse("somebody lowers its capacity, again and again")

    cdef int replace(self, int64_t index, const char *source, object given) except -1:
        cdef mmf_array_step step
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = MMF_REPLACE
        step.index = index
        step.own = <char *>source
        status = self.perform(&step)
        if status != MMF_DONE:
            self.fail(status, given)
        return 0

    cdef int simple(self, int what, uint64_t count, char *own, object given) except -1:
        cdef mmf_array_step step
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = what
        step.count = count
        step.own = own
        status = self.perform(&step)
        if status == MMF_ABSENT and what == MMF_KEEP:
            raise OutOfRangeError(f"{self!r} cannot be cut to {count} elements: it has {step.length}")
        if status != MMF_DONE:
            self.fail(status, given)
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
        return self.add(source, self.layout.size, 1)

    def _extend(self, block, size_t step):
        """Adds the elements of a bytes-like object, `step` bytes apart. The index of the first."""
        cdef Py_buffer buffer
        cdef size_t size = self.layout.size
        cdef size_t length
        take_buffer(block, &buffer, PyBUF_SIMPLE)
        try:
            length = buffer.len
            if step < size or (length and (length < size or (length - size) % step)):
                raise ValueError(f"{length} bytes are no elements of {size} bytes, {step} apart")
            return self.add(<const char *>buffer.buf, step, (length - size) // step + 1 if length else 0)
        finally:
            PyBuffer_Release(&buffer)

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
        self.simple(MMF_KEEP, keep, NULL, None)

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
        cdef Mapping mapping
        cdef uint64_t length = 0, retries = 0
        cdef int did
        if self.at.base == NULL:
            self.raise_closed()
        if self.foreign:
            return self.read_locked(index, to, given)
        if self.at.size <= WITH_GIL:
            did = mmf_array_read(&self.at, index, to, &length, &self.retries)
            if mmf_marked(self.mapping.region):
                self.check_marks()
        else:
            a = self.at
            mapping = self.mapping
            with nogil:
                did = mmf_array_read(&a, index, to, &length, &retries)
            self.retries += retries
            if mmf_marked(mapping.region):
                self.check_marks()
        if did == MMF_DONE:
            return 0
        if did == MMF_ABSENT:
            raise OutOfRangeError(f"index {shown(given)} is out of range: {self!r} has {length} elements")
        if did == MMF_DAMAGED:
            self._refuse(f"its length is {length}, of at most {self.at.most}")
        return self.read_locked(index, to, given)

    cdef int read_locked(self, int64_t index, char *to, object given) except -1:
        cdef mmf_array_step step
        cdef int status
        memset(&step, 0, sizeof(step))
        step.what = MMF_LOOK
        step.index = index
        step.own = to
        self.locked_reads += 1
        status = self.perform(&step)
        if status != MMF_DONE:
            self.fail(status, given)
        return 0

    cdef bytes block(self, object part, Py_ssize_t *start, Py_ssize_t *step, Py_ssize_t *count):
        """The elements of a slice as they are at one moment, one after the other; those between them too. `start` is
        the first element's number in the block."""
        cdef Py_ssize_t turn = 0
        cdef size_t size = self.layout.size
        cdef mmf_array a
        cdef Mapping mapping
        cdef mmf_moment now
        cdef bytes memory = None
        cdef Part wanted
        cdef bint whole = False
        PySlice_Unpack(part, &wanted.given_start, &wanted.given_stop, &wanted.step)
        while not whole and not self.foreign:
            a = self.at
            mapping = self.mapping
            if a.base == NULL:
                self.raise_closed()
            now = mmf_array_now(&a)
            if now.length > a.most:
                self.check_marks()
                self._refuse(f"its length is {now.length}, of at most {a.most}")
            adjust(&wanted, now.length)
            if memory is None or len(memory) != wanted.span * <Py_ssize_t>size:
                memory = PyBytes_FromStringAndSize(NULL, wanted.span * <Py_ssize_t>size)
            copy_elements(&a, &now, wanted.low, wanted.span, PyBytes_AS_STRING(memory))
            whole = mmf_array_still(&a, &now) or wanted.count == 0
            if mmf_marked(mapping.region):
                self.check_marks()
            if not whole:
                self.retries += 1
                turn += 1
                if turn == (MMF_ARRAY_TURNS if len(memory) <= LONG else LONG_TURNS):
                    break
        if not whole:
            memory = self.block_locked(&wanted)
        start[0] = wanted.first - wanted.low
        step[0] = wanted.step
        count[0] = wanted.count
        return memory

    cdef bytes block_locked(self, Part *wanted):
        # Its size is known when the lock is owned, and no object is made then.
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef mmf_moment now
        cdef char *copy = NULL
        cdef size_t size = self.layout.size
        cdef int got, status
        if self.at.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        got = begin_step(self.lock)
        mapping = self.mapping
        status = self.begin(&a, &got)
        if status == MMF_DONE:
            now = mmf_array_now(&a)
            adjust(wanted, now.length)
            copy = <char *>PyMem_RawMalloc(wanted.span * size + 1)
            if copy != NULL:
                copy_elements(&a, &now, wanted.low, wanted.span, copy)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
        end_step(core, got, got == ABANDONED)
        self.locked_reads += 1
        try:
            if status != MMF_DONE:
                self.fail(status, None)
            if copy == NULL:
                raise MemoryError(f"{wanted.span} elements of {size} bytes")
            return PyBytes_FromStringAndSize(copy, wanted.span * size)
        finally:
            PyMem_RawFree(copy)

    def __len__(self):
        return self.length()

    cdef Py_ssize_t length(self) except -1:
        cdef uint64_t length
        if self.at.base == NULL:
            self.raise_closed()
        length = mmf_load(&self.at.control.length)
        if mmf_marked(self.mapping.region):
            self.check_marks()
        if length > self.at.most:
            self._refuse(f"its length is {length}, of at most {self.at.most}")
        return <Py_ssize_t>length

    def __getitem__(self, index):
        cdef Value value
        cdef Py_ssize_t at, step = 1, count = 0, start = 0, i
        cdef bytes memory
        cdef const char *source
        cdef size_t size
        cdef list found
        if not isinstance(index, slice):
            at = mmf_position(index)
            if self.at.base == NULL:
                self.raise_closed()
            value = new_value(self.layout, self.type)
            self.read(at, value.data, index)
            return value
        memory = self.block(index, &start, &step, &count)
        source = PyBytes_AS_STRING(memory)
        size = self.layout.size
        found = []
        for i in range(count):
            value = new_value(self.layout, self.type)
            memcpy(value.data, source + <size_t>(start + i * step) * size, size)
            found.append(value)
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

    def _block(self, part):
        """The bytes of a slice's elements, one after the other, as they are at one moment."""
        cdef Py_ssize_t start = 0, step = 1, count = 0
        cdef bytes memory = self.block(part, &start, &step, &count)
        if step == 1:
            return memory
        cdef Py_ssize_t size = self.layout.size
        return b"".join([memory[(start + i * step) * size:(start + i * step + 1) * size] for i in range(count)])

    # ---- what it is

    @property
    def capacity(self):
        """For so many elements there is memory, now. More get it when they are appended, up to `max_capacity`."""
        cdef uint64_t capacity
        if self.at.base == NULL:
            self.raise_closed()
        capacity = mmf_load(&self.at.control.capacity)
        self.check_marks()
        if capacity > self.at.most:
            self._refuse(f"its capacity is {capacity}, of at most {self.at.most}")
        return capacity

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

    # ---- waiting

    cdef bint arrived(self, int64_t length, uint64_t since) except -1:
        """Whether there are `length` elements, or if that is negative, whether there was a change since."""
        cdef bint there
        cdef mmf_array_control *control
        if self.at.base == NULL:
            self.raise_closed()
        if owner_died((<MutexHandle>self.lock).opened()):
            self.settle_now(0)
            if self.at.base == NULL:
                self.raise_closed()
        control = self.at.control
        there = mmf_load(&control.changes) != since if length < 0 else mmf_load(&control.length) >= <uint64_t>length
        if mmf_marked(self.mapping.region):
            self.check_marks()
        return there

    cdef bint wait(self, int64_t length, uint64_t since, double limit) except -1:
        cdef double deadline = mmf_now() + limit
        cdef double time
        cdef uint32_t value
        cdef mmf_array a
        cdef Mapping mapping
        if self.arrived(length, since):
            return True
        if limit == 0:
            return False
        a = self.at
        mapping = self.mapping
        if a.base == NULL:
            self.raise_closed()
        mmf_word_add(&a.control.waiters, 1)
        self.asleep += 1
        try:
            while True:
                value = mmf_word_load(mmf_array_word(&a))
                if self.arrived(length, since):
                    return True
                time = PAUSE
                if limit >= 0:
                    time = min(time, deadline - mmf_now())
                    if time <= 0:
                        return False
                # Safe: `mapping` keeps the word, whoever closes this.
                with nogil:
                    mmf_futex_wait(mmf_array_word(&a), value, time)
                PyErr_CheckSignals()
        finally:
            self.asleep -= 1
            mmf_word_add(&a.control.waiters, <uint32_t>-1)

    def wait_for_change(self, timeout=None, *, since=None):
        """Waits until there is a change that this object's user does not know of, or one since version `since`: True;
        False after `timeout` (seconds or a timedelta; None: for ever; 0: a look). Known are this object's own
        changes, and those that a call of this has told. If threads share this object give `since`. What other programs
        write in the elements' places is no change. ClosedError, also if it is closed meanwhile; MemoryFaultError."""
        cdef double limit = limit_of(timeout)
        cdef uint64_t known = self._since(since)
        if not self.wait(-1, known, limit):
            return False
        self._know(since)
        return True

    def wait_for_length(self, length, timeout=None):
        """Waits until there are `length` elements or more: True; False after `timeout`. OutOfRangeError: there can
        never be so many. Otherwise as `wait_for_change`."""
        cdef int64_t wanted = self._wanted(length)
        return self.wait(wanted, 0, limit_of(timeout))

    def _since(self, version):
        if version is None:
            return self.seen
        try:
            return <uint64_t>version
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

    def _arrived(self, int64_t length, uint64_t since):
        return self.arrived(length, since) != 0


cdef void adjust(Part *part, uint64_t length) noexcept:
    cdef Py_ssize_t stop = part.given_stop
    part.first = part.given_start
    part.count = PySlice_AdjustIndices(<Py_ssize_t>length, &part.first, &stop, part.step)
    if part.count == 0:
        part.first = 0
    part.low = part.first
    part.span = 0
    if part.count:
        part.span = (part.count - 1) * (part.step if part.step > 0 else -part.step) + 1
        if part.step < 0:
            part.low = part.first - part.span + 1


cdef void copy_elements(const mmf_array *a, const mmf_moment *now, uint64_t first, uint64_t count, char *to) noexcept:
    if count * a.size <= WITH_GIL:
        mmf_array_copy(a, now, first, count, to, a.size)
    else:
        with nogil:
            mmf_array_copy(a, now, first, count, to, a.size)


@cython.final
@cython.freelist(8)
cdef class Edit:
    """One update of an element, for `with`. See SharedElements.edit."""
    cdef SharedElements of
    cdef int64_t index
    cdef RobustMutex core  # None: not entered
    cdef int got
    cdef Value draft

    def __enter__(self):
        cdef SharedElements of = self.of
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_array a
        cdef mmf_array_step step
        cdef Value draft
        cdef int got, status
        if self.core is not None:
            raise RuntimeError("an edit is one update: it is entered already")
        if of.at.base == NULL:
            of.raise_closed()
        draft = new_value(of.layout, of.type)
        draft.position = DRAFT
        memset(&step, 0, sizeof(step))
        step.what = MMF_LOOK
        step.index = self.index
        step.own = draft.data
        core = (<MutexHandle>of.lock).opened()
        got = begin_step(of.lock)
        mapping = of.mapping
        status = of.begin(&a, &got)
        if status == MMF_DONE:
            if a.size <= WITH_GIL:
                status = mmf_array_do(&a, &step)
            else:
                with nogil:
                    status = mmf_array_do(&a, &step)
            if mmf_marked(mapping.region):
                status = MMF_FAULTED
        if status != MMF_DONE:
            end_step(core, got, got == ABANDONED)
            of.fail(status, self.index)
        self.index = step.index
        self.core = core
        self.got = got
        self.draft = draft
        return draft

    def __exit__(self, kind, value, traceback):
        cdef SharedElements of = self.of
        cdef RobustMutex core = self.core
        cdef Mapping mapping = of.mapping
        cdef mmf_array a = of.at
        cdef Value draft = self.draft
        cdef mmf_array_step step
        cdef int status = MMF_DONE
        if core is None:
            raise RuntimeError("this edit is not entered")
        if not core.is_ours():
            if a.base != NULL:
                raise RuntimeError(f"{of!r}: an edit is ended by the thread that has begun it")
            if kind is None:  # closed within: that has given the lock back
                of.raise_closed()
            return
        self.core = None
        self.draft = None
        if kind is None:
            if a.base == NULL:
                status = MMF_CLOSED
            else:
                memset(&step, 0, sizeof(step))
                step.what = MMF_REPLACE
                step.index = self.index
                step.own = draft.data
                if a.size <= WITH_GIL:
                    status = mmf_array_do(&a, &step)
                else:
                    with nogil:
                        status = mmf_array_do(&a, &step)
                if mmf_marked(mapping.region):
                    status = MMF_FAULTED
                elif step.changes and of.seen + 1 == step.changes:
                    of.seen = step.changes
        freeze(draft)  # whoever keeps it has a snapshot
        end_step(core, self.got, False)
        if status != MMF_DONE:
            of.fail(status, self.index)


cdef class Change(Waitable):
    """The wait of a task for a change: aio tries, and sleeps on the word."""
    cdef SharedElements of
    cdef uint64_t since

    def __cinit__(self, SharedElements of not None, uint64_t since):
        if of.at.base == NULL:
            of.raise_closed()
        self.of = of
        self.since = since
        self.place(of.mapping, <char *>mmf_array_word(&of.at), <char *>&of.at.control.waiters)

    def _order(self):
        return "array", id(self), 0  # each of them has a line of its own

    cdef uint32_t idle(self):
        return <uint32_t>self.since

    cdef int take(self) except -1:
        return self.of.arrived(-1, self.since)

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Segments of any length, one behind the other, that several processes append to and read.

The bytes, and the control object beside them, are in segments.h. Each object keeps an index of its own: where each
segment that it knows ends. Known segments never change, so they are read without the lock, by the index alone.

Look    What is new. `end` of the control object is further than the index: walk there; the segments below were whole
        before it was stored. Does the walk not stop exactly there, or is the length behind the known end not 0
        otherwise: somebody else has written, or it is none of `end`'s truth. Take the lock, walk to the end, and say so
        in `end`. A length of 0: there is nothing new.
Append  1  take the lock. It was abandoned, or `writing` says that an append of ours was cut short and that its
           abandonment was taken by a program that does not know of us: Repair.
        2  walk to the end. Is there room?
        3  `writing` = where. Killed before: nothing has happened.
        4  zero the four bytes behind the new segment. *Else what a killed writer has left there would be the next
           segment as soon as this one has a length.*
        5  the data, and its checksum. *Killed: the length is still 0; step 1 of the next one zeroes what was written.*
        6  a fence, the length. **Commit.**
        7  `end`; `writing` = 0. *Killed before: Look finds the segment by its length, under the lock.*
        8  `change` + 1, wake who sleeps. *Killed before: everybody looks every 50 ms.*
        9  give the lock back.
Repair  Walk to the end. Who died owning the lock and was none of ours, as the lock itself tells (robust.h), may have
        written a length and not all of the data: the last segment behind `end` is rolled back, unless there is no zero
        in it: the memory was zero before, so that is whole. Zero what lies behind the end, to the last byte. `end`,
        `writing` = 0. *The control object alone never has anything destroyed but where the append was that it tells of.*
        Who may not write judges in the same way, and leaves the rest to the next one.

The steps under the lock are one call, in which no Python code runs and no exception is raised: they come to a status,
which is dealt with when the lock has been given back. Nothing is allocated there that the garbage collector knows of,
as a collection may run a finalizer.

Without a lock (`synchronized=False`: one writer, promised) it goes the same way, and readers do not look behind `end`
while `writing` is set.
"""
from memorymapped.errors import ClosedError, DamagedSegmentError, MemoryFaultError, OutOfRangeError

cimport cython
from cpython.bytes cimport (
    PyBytes_AS_STRING, PyBytes_CheckExact, PyBytes_FromStringAndSize, PyBytes_GET_SIZE)
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_FillInfo, PyBuffer_Release
from cpython.exc cimport PyErr_CheckSignals, PyErr_Clear, PyErr_ExceptionMatches
from cpython.mem cimport PyMem_RawFree, PyMem_RawRealloc
from cpython.ref cimport PyObject, Py_DECREF
from cpython.slice cimport PySlice_AdjustIndices
from cpython.unicode cimport PyUnicode_AsEncodedString, PyUnicode_Decode, PyUnicode_DecodeUTF8, PyUnicode_DecodeUTF16
from libc.errno cimport EBADMSG, errno
from libc.limits cimport INT_MAX
from libc.stdint cimport int32_t, int64_t, uint32_t, uint64_t, uintptr_t
from libc.string cimport memset, strerror
from memorymapped._native.futex cimport (
    limit_of, mmf_futex_wait, mmf_futex_wake_all, mmf_now, mmf_sleep, mmf_word_add, mmf_word_load, word_of)
from memorymapped._native.memory cimport (
    Mapping, View, mmf_copy, mmf_marked, mmf_position, mmf_region, mmf_replaced, mmf_slice, take_buffer)
from memorymapped._native.robust cimport (
    BUSY, MMF_STRANGER, MutexHandle, RobustMutex, hold, mmf_note_ours, owner_died, this_process)

cdef extern from "segments.h" nogil:
    ctypedef struct mmf_control:
        uint64_t end
        uint32_t change
        uint32_t waiters
        uint64_t writing
        uint64_t size
        uint32_t sums
        uint64_t lock
    int MMF_CONTROL_SIZE
    int MMF_DONE, MMF_DAMAGED, MMF_NO_MEMORY, MMF_FULL, MMF_ORDER, MMF_FAULTED, MMF_STALE, MMF_CLOSED, MMF_DISK, MMF_SUMS
    int MMF_BUSY
    int32_t mmf_length_at(const char *at)
    void mmf_commit(char *at, int32_t length)
    void mmf_end_here(char *at, int64_t left)
    int mmf_walk(const char *data, int64_t size, int64_t *at, int64_t until, int64_t *ends, size_t room, size_t *found)
    bint mmf_is_known(const mmf_control *control)
    uint64_t mmf_end_load(const mmf_control *control)
    void mmf_end_store(mmf_control *control, uint64_t end)
    uint64_t mmf_writing_load(const mmf_control *control)
    void mmf_writing_begin(mmf_control *control, uint64_t at, uint64_t size)
    void mmf_writing_end(mmf_control *control)
    void mmf_clean_tail(const mmf_region *region, int fd, char *data, int64_t size, int64_t end)
    int64_t mmf_last_used(const mmf_region *region, int fd, const char *data, int64_t size, int64_t end)
    bint mmf_has_nul(const char *text, int64_t size, int64_t unit)

cdef extern from "segments.h":
    PyObject *mmf_utf16(object text)

cdef extern from "crc32c.h" nogil:
    void mmf_crc_start()
    uint32_t mmf_crc32c(uint32_t crc, const char *bytes, size_t size)

cdef extern from "pages.h" nogil:
    int mmf_flush(const mmf_region *region, char *start, size_t length, bint rereads)
    void mmf_populate(char *start, size_t length)
    int64_t mmf_file_size(const mmf_region *region, int fd)

cdef extern from "Python.h":
    const Py_ssize_t PY_SSIZE_T_MAX, PY_SSIZE_T_MIN
    const char *PyUnicode_AsUTF8AndSize(object text, Py_ssize_t *size) except NULL

CONTROL_SIZE = MMF_CONTROL_SIZE
LONGEST = INT_MAX
"""Bytes of the longest segment."""

LOOK = 0.05
"""Seconds after which who waits looks for what other programs have appended."""

SUMS_HEAD = 16
"""Bytes before the first checksum."""

cdef enum:
    WITH_GIL = 256 * 1024
    HEAD = 16
    ENTRY = 8          # of a checksum: u32 length of the segment (0: none is known), u32 CRC-32C of its data
    LEAST_AHEAD = 16 * 1024
    MOST_AHEAD = 512 * 1024

cdef double PAUSE = LOOK
cdef enum:
    BYTES, UTF16, UTF8, OTHER  # what segments are

ctypedef int (*hold_function)(MutexHandle, double) noexcept  # -1: an exception is set, and left to the caller

cdef object closed_error = ClosedError  # to look at without looking for its name

mmf_crc_start()


def crc32c(data):
    """The CRC-32C of a bytes-like object."""
    cdef Py_buffer buffer
    take_buffer(data, &buffer, PyBUF_SIMPLE)
    try:
        return mmf_crc32c(0, <const char *>buffer.buf, buffer.len)
    finally:
        PyBuffer_Release(&buffer)


@cython.final
@cython.no_gc_clear
cdef class SegmentBuffer:
    """The bytes of one segment, for a memoryview. Keeps the pages, whoever closes the file."""
    cdef Mapping mapping
    cdef char *data
    cdef Py_ssize_t size

    def __getbuffer__(self, Py_buffer *buffer, int flags):
        PyBuffer_FillInfo(buffer, self, self.data, self.size, True, flags)


@cython.no_gc_clear
cdef class Segments:
    """The compiled half of SegmentFile. Sizes and offsets are bytes; a segment's number counts from 0."""
    cdef View whole          # of all of the file; kept when this is closed, for who closes it
    cdef Mapping mapping
    cdef mmf_region *region
    cdef char *data          # NULL: closed
    cdef int64_t size        # of the view: the file may have grown since
    cdef int fd              # the map's own
    cdef bint writes
    cdef bint on_disk
    cdef readonly bint _durable
    cdef int64_t *ends       # ends[n] is where segment n begins, ends[n + 1] where it ends
    cdef Py_ssize_t count    # of known segments
    cdef Py_ssize_t room     # for how many there is memory in `ends`
    cdef int64_t synced      # what lies below is on the disk
    cdef int64_t populated   # what lies below has pages
    cdef bint tail_is_clean  # this object has zeroed what lay behind the end
    cdef MutexHandle lock    # None: unsynchronized
    cdef View control_view   # None: there is none
    cdef mmf_control *control
    cdef View sums_view      # None: no checksums
    cdef int coding
    cdef int error           # errno of the last step that failed with MMF_DISK
    cdef readonly object _codec
    cdef object __weakref__

    def __dealloc__(self):
        PyMem_RawFree(self.ends)

    # ---- made, mapped anew, closed

    def _start(self, MutexHandle lock, View control, codec, bint durable, bint on_disk):
        """Before `_attach`. `lock` and `control` may be None. `codec`: the name of a codec, None for bytes."""
        if self.ends != NULL:
            raise RuntimeError("it was started before")
        if self.reserve(64) != MMF_DONE:
            raise MemoryError()
        self.ends[0] = 0
        self.lock = lock
        self._codec = codec
        self.coding = {None: BYTES, "utf-16-le": UTF16, "utf-8": UTF8}.get(codec, OTHER)
        self._durable = durable
        self.on_disk = on_disk
        if control is not None and control.writes and control.size >= MMF_CONTROL_SIZE and control.data != NULL:
            self.control_view = control
            self.control = <mmf_control *>control.data

    def _attach(self, View view not None, int fd):
        """Maps the file, or maps it anew when it has grown. What is known of it stays. The view that is to be closed: that
        of before, or this one, as it was closed or another thread has mapped more meanwhile."""
        cdef View before = self.whole
        if self.ends == NULL or view.data == NULL or view.own_pages:
            raise ValueError("a segment file needs a shared view of all of it")
        if before is not None and (self.data == NULL or view.size < self.size):
            return view
        if view.size == 0 or view.region == NULL:
            raise ValueError(f"{self!r} was emptied by somebody while it was opened: there is nothing to map")
        self.whole = view
        self.mapping = view.mapping
        self.region = view.region
        self.data = view.data
        self.size = view.size
        self.writes = view.writes
        self.fd = fd
        return before

    def _attach_sums(self, View view not None, uint32_t place):
        """From now on checksums are kept, also by others, who have opened it without. `place`: where, see
        segments.h."""
        self.sums_view = view
        if self.control != NULL:
            self.control.sums = place

    def _sums_place(self):
        """Where somebody keeps checksums: see segments.h. 0: nobody does."""
        cdef uint32_t place = self.control.sums if self.control != NULL else 0
        return place if place <= 2 else 0

    def _detach(self):
        """Closes it; what is read at this moment goes on. The view, and the rest, is the caller's to close."""
        cdef Mapping mapping = self.mapping
        self.data = NULL
        self.region = NULL
        self.mapping = None
        self.control = NULL
        self.control_view = None
        self.sums_view = None
        self.fd = -1

    @property
    def _file(self):
        """The view of all of it."""
        return self.whole

    @property
    def closed(self):
        """True after close()."""
        return self.data == NULL

    cdef int raise_closed(self) except -1:
        raise ClosedError(f"{self!r}: the segment file is closed")

    cdef int reserve(self, Py_ssize_t count) noexcept:
        """Memory for `count` segments."""
        cdef Py_ssize_t room = max(count, self.room + self.room // 2)
        cdef int64_t *ends
        if count <= self.room:
            return MMF_DONE
        # Safe: plain memory, for which no Python code runs.
        ends = <int64_t *>PyMem_RawRealloc(self.ends, (room + 1) * sizeof(int64_t))
        if ends == NULL:
            return MMF_NO_MEMORY
        self.ends = ends
        self.room = room
        return MMF_DONE

    # ---- steps: no Python code, no exception

    cdef int walk(self, int64_t until) noexcept:
        """Adds to the index what follows, up to `until` (negative: to the end). MMF_DAMAGED, MMF_NO_MEMORY,
        MMF_FAULTED."""
        cdef int64_t at = self.ends[self.count], before = at
        cdef size_t found = 0
        cdef int status
        cdef Py_ssize_t known = self.count
        while True:
            if self.count == self.room and self.reserve(self.count + 1) != MMF_DONE:
                return MMF_NO_MEMORY
            found = 0
            status = mmf_walk(self.data, self.size, &at, until, self.ends + self.count + 1, self.room - self.count,
                              &found)
            self.count += found
            if status != MMF_DONE or self.count < self.room:
                break
        if mmf_marked(self.region) and mmf_replaced(self.region, self.data + before, min(at + 4, self.size) - before):
            self.count = known
            return MMF_FAULTED
        return status

    cdef int repair(self, int died) noexcept:
        """Under the lock, when its owner has `died`, or `writing` says that an append was cut short. Walks to the end.
        An object that may not write only judges what is there."""
        cdef mmf_control *control = self.control
        cdef int64_t at, bound = -1, start = -1, stop = self.size
        cdef uint64_t size = 0
        cdef Py_ssize_t number
        cdef int status
        if mmf_file_size(self.region, self.fd) > self.size:
            return MMF_STALE
        status = self.walk(-1)
        if status == MMF_NO_MEMORY or status == MMF_FAULTED:
            return status
        # What is ours for certain lies below `bound`; an append of ours that was cut short began at `start`.
        if control != NULL:
            if mmf_is_known(control) and self.is_boundary(mmf_end_load(control)):
                bound = <int64_t>mmf_end_load(control)
            size = control.size
            if mmf_writing_load(control) != 0 and 0 < size <= <uint64_t>INT_MAX and self.is_boundary(mmf_writing_load(control) - 1):
                start = <int64_t>mmf_writing_load(control) - 1
                if start < bound or start + 4 + <int64_t>size > self.size:
                    start = -1
        if start >= 0:
            number = self.find(start)
            if number < self.count and self.ends[number + 1] == start + 4 + <int64_t>size:
                bound = self.ends[number + 1]  # it was committed
            elif number < self.count:
                self.forget_misfit(number)
        at = self.ends[self.count]
        if died == MMF_STRANGER:
            if status == MMF_DAMAGED:
                # A length that was being written: its data comes after it, and there is none.
                if bound <= at and self.is_zero_from(at + 4):
                    status = MMF_DONE
            elif self.count > 0 and self.ends[self.count - 1] >= bound and self.is_torn(self.count - 1, bound >= 0):
                self.count -= 1
                at = self.ends[self.count]
        elif status == MMF_DAMAGED and 0 <= start < at <= start + 8 + <int64_t>size and self.is_zero_from(start + 8 + size):
            status = MMF_DONE  # what a killed append of ours has left, behind a segment of somebody else
        if not self.writes:
            return status
        if status == MMF_DONE and (died != 0 or start >= 0):
            if died == 0:
                stop = max(at, min(stop, start + 8 + <int64_t>size))
            status = self.clean_tail(at, stop)
            if status != MMF_DONE and status != MMF_DAMAGED:
                return status
        if control != NULL:
            mmf_end_store(control, at)
            mmf_writing_end(control)
            self.tell(control)
        return status

    cdef int clean_tail(self, int64_t end, int64_t stop) noexcept:
        """Zeroes what lies behind the end, and forgets the checksums of it. That may take a while, and other threads run
        meanwhile: MMF_CLOSED. MMF_DAMAGED, and nothing is changed: the checksums say that there are more segments."""
        cdef Mapping mapping = self.mapping
        cdef mmf_region *region = self.region
        cdef char *data = self.data
        cdef int64_t size = self.size
        cdef int fd = self.fd
        cdef bint is_lost = False
        if self.knows_more(self.count) and not self.is_zero_from(end):
            return MMF_CLOSED if self.data == NULL else MMF_DAMAGED
        with nogil:
            mmf_clean_tail(mapping.region, fd, data, stop, end)
        if self.data == NULL:
            return MMF_CLOSED
        if mmf_marked(region) and stop > end and mmf_replaced(region, data + end, stop - end):
            return MMF_FAULTED
        self.forget_sums()
        self.tail_is_clean = self.tail_is_clean or stop == size
        return MMF_DONE

    cdef bint is_zero_from(self, int64_t at) noexcept:
        """Is there nothing in the file from here on?"""
        return self.last_used(at) <= at

    cdef int64_t last_used(self, int64_t at) noexcept:
        """The offset behind the last byte, from here on, that is not zero; `at` if there is none."""
        cdef Mapping mapping = self.mapping
        cdef char *data = self.data
        cdef int64_t size = self.size, last = at
        cdef int fd = self.fd
        with nogil:
            if at < size:
                last = mmf_last_used(mapping.region, fd, data, size, at)
        return last

    cdef bint is_boundary(self, uint64_t at) noexcept:
        """Does a known segment begin or end there?"""
        return at <= <uint64_t>self.ends[self.count] and <uint64_t>self.ends[self.find(at)] == at

    cdef Py_ssize_t find(self, uint64_t end) noexcept:
        """The number of the segment that begins there, or else of one near it."""
        cdef Py_ssize_t low = 0, high = self.count, middle
        while low < high:
            middle = (low + high) // 2
            if <uint64_t>self.ends[middle] < end:
                low = middle + 1
            else:
                high = middle
        return low

    cdef bint is_torn(self, Py_ssize_t number, bint is_new) noexcept:
        """May a segment, which somebody was writing when he died, lack some of its data? `is_new`: it is known that none
        of ours has seen it; otherwise only text that ends with a NUL counts."""
        cdef int64_t at = self.ends[number] + 4, size = self.ends[number + 1] - at
        cdef int64_t unit = 2 if self.coding == UTF16 and size % 2 == 0 else 1
        if is_new:
            return mmf_has_nul(self.data + at, size, unit)
        return (self.coding == UTF16 or self.coding == UTF8) and mmf_has_nul(self.data + at + size - unit, unit, unit)

    cdef bint is_lost(self, int64_t at, int64_t size) noexcept:
        return mmf_marked(self.region) and size > 0 and mmf_replaced(self.region, self.data + at, size)

    cdef void tell(self, mmf_control *control) noexcept:
        """Whoever waits looks."""
        mmf_word_add(&control.change, 1)
        cdef uint32_t waiters = mmf_word_load(&control.waiters)
        if waiters != 0:
            mmf_futex_wake_all(&control.change, waiters)

    cdef void publish(self) noexcept:
        """Under the lock, after a walk to the end: what others have appended is known."""
        cdef mmf_control *control = self.control
        if control != NULL and (
                mmf_end_load(control) != <uint64_t>self.ends[self.count] or not mmf_is_known(control)):
            if mmf_file_size(self.region, self.fd) > self.size:
                return  # there may be more than this object sees
            mmf_end_store(control, self.ends[self.count])
            self.tell(control)

    cdef int begin(self, RobustMutex core) noexcept:
        """The first step under the lock (core None: unsynchronized, and about to write): repairs, and walks to the end."""
        cdef int status
        cdef int died = 0
        if core is not None:
            # Also within a lock of the caller's own, and where a signal handler took it while `hold` waited.
            mmf_note_ours(core.lock, this_process())
            died = core.lock.died
        if self.data == NULL:
            return MMF_CLOSED
        if self.control != NULL and self.sums_view is None and self.writes and 1 <= self.control.sums <= 2:
            return MMF_SUMS  # else nobody would forget what a killed append has noted
        if died != 0 or (self.control != NULL and mmf_writing_load(self.control) != 0):
            status = self.repair(died)
            if core is not None and self.writes and (status == MMF_DONE or status == MMF_DAMAGED):
                core.lock.died = 0
            return status
        cdef int64_t at = self.ends[self.count]
        if at <= self.size - 4 and mmf_length_at(self.data + at) == 0 and not mmf_marked(self.region):
            return MMF_DONE  # the usual case
        return self.walk(-1)

    cdef int put(self, const char *source, Py_ssize_t size, Py_ssize_t expected, bint durable) noexcept:
        """Appends, under the lock and after `begin`. Its number is `count` - 1 then."""
        cdef Mapping mapping, control_mapping, sums_mapping
        cdef Py_ssize_t number = self.count
        cdef int64_t at = self.ends[number]
        cdef int rc
        if expected >= 0 and expected != number:
            return MMF_ORDER
        if size + 4 > self.size - at:
            return MMF_FULL
        if number == self.room and self.reserve(number + 1) != MMF_DONE:
            return MMF_NO_MEMORY
        if self.sums_view is not None and number >= (self.sums_view.size - HEAD) // ENTRY:
            return MMF_SUMS
        if not self.tail_is_clean:
            rc = self.clean_tail(at, self.size)
            if rc != MMF_DONE:
                return rc
        if size <= WITH_GIL and not durable:
            return self.store(source, size, False)
        # Other threads run meanwhile, and one of them may close it, or map it anew.
        mapping = self.mapping
        control_mapping = self.control_view.mapping if self.control_view is not None else None
        sums_mapping = self.sums_view.mapping if self.sums_view is not None else None
        return self.store(source, size, durable)

    cdef int store(self, const char *source, Py_ssize_t size, bint durable) noexcept:
        """Steps 3 to 8, when there is room."""
        cdef mmf_region *region = self.region
        cdef mmf_control *control = self.control
        cdef char *data = self.data
        cdef Py_ssize_t number = self.count
        cdef int64_t at = self.ends[number], end = at + 4 + size
        cdef int64_t left = self.size - end
        cdef uint32_t crc = 0
        cdef uint32_t *entry = NULL
        cdef int64_t synced
        cdef int rc
        if self.sums_view is not None:
            entry = <uint32_t *>(self.sums_view.data + HEAD + number * ENTRY)
        if end > self.populated:
            self.populate(end)
        if control != NULL:
            mmf_writing_begin(control, at, size)
        mmf_end_here(data + end, left)
        if size <= WITH_GIL:
            mmf_copy(data + at + 4, source, size)
            if entry != NULL:
                crc = mmf_crc32c(0, data + at + 4, size)
        else:
            with nogil:
                mmf_copy(data + at + 4, source, size)
                if entry != NULL:
                    crc = mmf_crc32c(0, data + at + 4, size)
        if entry != NULL:
            entry[1] = crc
            entry[0] = <uint32_t>size
        if mmf_marked(region) and mmf_replaced(region, data + at, min(end + 4, end + left) - at):
            return self.give_up(control, data, at, size, entry, MMF_FAULTED)
        if durable:
            synced = self.synced
            with nogil:
                rc = sync_bytes(region, data, synced, end + min(left, 4))
            if rc:
                self.error = rc
                return self.give_up(control, data, at, size, entry, MMF_DISK)
        mmf_commit(data + at, <int32_t>size)
        if control != NULL:
            mmf_end_store(control, end)
            mmf_writing_end(control)
            self.tell(control)
        if self.count == number and self.ends[number] == at and number < self.room:
            self.ends[number + 1] = end
            self.count = number + 1
        if mmf_marked(region) and mmf_replaced(region, data + at, 4):
            return MMF_FAULTED
        if durable:
            with nogil:
                rc = sync_bytes(region, data, at, at + 4)
            if rc:
                self.error = rc
                return MMF_DISK
            self.synced = max(self.synced, end)
        return MMF_DONE

    cdef int give_up(self, mmf_control *control, char *data, int64_t at, int64_t size, uint32_t *entry,
                     int status) noexcept:
        """Before the commit: nothing stays."""
        memset(data + at, 0, size + 4)
        if entry != NULL:
            entry[0] = entry[1] = 0
        if control != NULL:
            mmf_writing_end(control)
        return status

    cdef void populate(self, int64_t end) noexcept:
        """Has the kernel make pages ahead, many in one call: one fault each costs more than the append itself. The more
        was written, the more of them."""
        cdef size_t page = self.region.page
        cdef int64_t start = max(end - 1, self.populated) // page * page
        cdef int64_t ahead = min(max(end // 4, <int64_t>LEAST_AHEAD), <int64_t>MOST_AHEAD)
        cdef int64_t stop = min(end + ahead, self.size) // page * page
        self.populated = max(stop, end)
        if stop > start:
            mmf_populate(self.data + start, stop - start)

    cdef bint knows_more(self, Py_ssize_t number) noexcept:
        """Are checksums known of this segment, which is not there, and of the next one? What a killed append leaves is one."""
        cdef View sums = self.sums_view
        cdef uint32_t *entry
        if sums is None or sums.data == NULL or number + 2 > (sums.size - HEAD) // ENTRY:
            return False
        entry = <uint32_t *>(sums.data + HEAD + number * ENTRY)
        return entry[0] != 0 and entry[2] != 0

    cdef void forget_sums(self) noexcept:
        """No checksum is known of what is not there. Ends where there are none for long: reading holes takes memory."""
        cdef View sums = self.sums_view
        cdef Py_ssize_t number, zeros = 0
        cdef uint32_t *entry
        if sums is None or not sums.writes or sums.data == NULL:
            return
        for number in range(self.count, (sums.size - HEAD) // ENTRY):
            entry = <uint32_t *>(sums.data + HEAD + number * ENTRY)
            if entry[0] != 0 or entry[1] != 0:
                entry[0] = entry[1] = 0
                zeros = 0
            zeros += 1
            if zeros > 4096:
                return

    cdef void forget_misfit(self, Py_ssize_t number) noexcept:
        """The checksum that a killed append of ours has left, where somebody else has written a segment since."""
        cdef View sums = self.sums_view
        cdef int64_t at = self.ends[number] + 4, size = self.ends[number + 1] - at
        cdef uint32_t *entry
        if sums is None or not sums.writes or sums.data == NULL or number >= (sums.size - HEAD) // ENTRY:
            return
        entry = <uint32_t *>(sums.data + HEAD + number * ENTRY)
        if entry[0] != size or entry[1] != mmf_crc32c(0, self.data + at, size):
            entry[0] = entry[1] = 0

    # ---- looks

    cdef int look(self, double limit=-1.0, Py_ssize_t wanted=PY_SSIZE_T_MAX) except -1:
        """Adds to the index what is there now, at least to the segment that is wanted. MMF_DONE; MMF_DAMAGED: behind it
        something is wrong; MMF_BUSY: there may be more, and the lock was not to be had within `limit` seconds (negative:
        for ever)."""
        cdef int status
        cdef uint64_t end
        cdef int64_t at
        cdef Py_ssize_t known
        while True:
            if self.data == NULL:
                self.raise_closed()
            at = self.ends[self.count]
            if self.control != NULL:
                end = mmf_end_load(self.control)
                if end > <uint64_t>at and end <= <uint64_t>self.size:
                    known = self.count
                    self.check(self.walk(end))
                    at = self.ends[self.count]
                    if <uint64_t>at != end:  # it is not what the memory says
                        self.count = known
                        at = self.ends[known]
                    elif wanted < self.count:
                        return MMF_DONE
                elif end > <uint64_t>self.size and self.has_grown():
                    continue
            if at > self.size - 4:
                if self.has_grown():
                    continue
                return MMF_DONE
            if mmf_length_at(self.data + at) == 0:
                if mmf_marked(self.region):
                    self.check_lost(at, 4)
                return MMF_DONE
            status = self.look_locked(limit)
            if status == MMF_SUMS:
                self._map_sums(self.count, False)
                continue
            if status == MMF_STALE or status == MMF_DAMAGED:
                if self.has_grown():
                    continue
                status = MMF_DAMAGED
            self.check(status)
            return status

    cdef int look_locked(self, double limit) except -1:
        """The status of a walk to the end under the lock; MMF_BUSY: it was not to be had within `limit` seconds."""
        cdef RobustMutex core
        cdef int got, status
        if self.lock is None:
            return self.look_unlocked()
        got = self.take_lock(limit)
        if got == BUSY:
            return MMF_BUSY
        core = self.lock.core
        status = self.begin(core)
        if status == MMF_DONE or status == MMF_DAMAGED:
            self.publish()
        core.give(core.lock.died != 0)
        return status

    cdef int look_unlocked(self) noexcept:
        """The same where there is no lock. While somebody is at it, what `end` says is all."""
        cdef Py_ssize_t known = self.count
        cdef uint64_t end = 0
        cdef int status
        if self.control != NULL:
            end = mmf_end_load(self.control)
            if mmf_writing_load(self.control) != 0:
                return MMF_DONE
        status = self.walk(-1)
        if self.control != NULL and (mmf_writing_load(self.control) != 0 or mmf_end_load(self.control) != end):
            self.count = known
            return MMF_DONE
        return status

    cdef bint has_grown(self) except -1:
        """Whether the file is larger now than the view; maps it anew then."""
        if self.data == NULL:
            self.raise_closed()
        if mmf_file_size(self.region, self.fd) <= self.size:
            return False
        cdef int64_t before = self.size
        self._map_again()
        if self.data == NULL:
            self.raise_closed()
        return self.size > before

    cdef int check(self, int status) except -1:
        """Raises what a status says, but for what the caller deals with."""
        if status == MMF_CLOSED:
            self.raise_closed()
        if status == MMF_NO_MEMORY:
            raise MemoryError(f"no memory for the index of {self!r}")
        if status == MMF_FAULTED:
            if self.data == NULL:
                self.raise_closed()
            try:
                self.raise_lost(self.ends[self.count], 4)
            finally:
                # The lost pages may be there again, as where the file system was full.
                if self.data != NULL and mmf_file_size(self.region, self.fd) >= self.size:
                    self._map_again()
        return 0

    cdef int check_lost(self, int64_t at, int64_t size) except -1:
        if self.is_lost(at, size):
            self.raise_lost(at, size)
        return 0

    cdef int raise_lost(self, int64_t at, int64_t size) except -1:
        whole = self.whole
        try:
            whole.raise_fault(at, size)
        except MemoryFaultError as error:
            _, why = whole._lost_by
            raise MemoryFaultError(error.errno, f"{why}, and {self!r} has lost bytes {at} to {at + size - 1} of the "
                                   f"{self.size} that it maps: close it and open it again", error.filename) from None

    cdef int take_lock(self, double limit) except -1:
        """As `hold`. ClosedError if this is closed meanwhile."""
        # Without `try`, which takes longer than all that is done here.
        cdef int got = (<hold_function>hold)(self.lock, limit)
        if got < 0 and self.data == NULL and PyErr_ExceptionMatches(closed_error):
            PyErr_Clear()
            self.raise_closed()
        return got

    cdef int refuse_negative(self, Py_ssize_t number) except -1:
        raise OutOfRangeError(f"a segment's number must not be negative, got {spelled(number)}")

    cdef Py_ssize_t known(self, Py_ssize_t number) except -1:
        """The number of a segment that is in the index, after a look. DamagedSegmentError; OutOfRangeError."""
        cdef int status
        if self.data == NULL:
            self.raise_closed()
        if number < 0:
            self.refuse_negative(number)
        if number >= self.count:
            status = self.look(-1.0, number)
            if self.data == NULL:
                self.raise_closed()
            if number >= self.count:
                if status == MMF_DAMAGED:
                    self.raise_damage(number)
                self.refuse_missing(number)
        return number

    cdef int refuse_missing(self, Py_ssize_t number) except -1:
        raise OutOfRangeError(f"there is no segment {spelled(number)} in {self!r}, which has {self.count}")

    cdef int raise_damage(self, Py_ssize_t number) except -1:
        cdef int64_t at = self.ends[self.count]
        raise DamagedSegmentError(EBADMSG, f"{self!r} is damaged at segment {self.count}: {damage_at(self.data, self.size, at)}; "
                                  f"segment {spelled(number)} cannot be read. The {self.count} before are whole, and recover() "
                                  "gives what can be had")

    # ---- reading

    cdef bytes get(self, Py_ssize_t number):
        cdef bytes data
        if number < 0 or number >= self.count or self.data == NULL:
            self.known(number)
        cdef int64_t at = self.ends[number]
        cdef int64_t size = self.ends[number + 1] - at - 4
        if size <= WITH_GIL:
            # Safe: to allocate bytes runs no Python code.
            data = PyBytes_FromStringAndSize(self.data + at + 4, size)
            if mmf_marked(self.region):
                self.check_lost(at + 4, size)
        else:
            data = self.whole.new_bytes(at + 4, size)
        if self.sums_view is not None:
            self.verify(number, PyBytes_AS_STRING(data), size)
        return data

    cdef int sum_of(self, Py_ssize_t number, int64_t size, uint32_t *crc) except -2:
        """1, and the checksum of a segment; 0: none is known; -1: what is known is of another length."""
        cdef View sums = self.sums_view
        cdef uint32_t length
        cdef uint32_t *entry
        if sums is None or sums.data == NULL:
            return 0
        if number >= (sums.size - HEAD) // ENTRY:
            self._map_sums(number, False)
            sums = self.sums_view
            if sums is None or sums.data == NULL or number >= (sums.size - HEAD) // ENTRY:
                return 0
        entry = <uint32_t *>(sums.data + HEAD + number * ENTRY)
        length = entry[0]
        crc[0] = entry[1]
        if mmf_marked(sums.region):
            sums.check_fault(HEAD + number * ENTRY, ENTRY)
        return 0 if length == 0 else 1 if length == size else -1

    cdef int verify(self, Py_ssize_t number, const char *data, int64_t size) except -1:
        cdef uint32_t crc = 0
        cdef int there = self.sum_of(number, size, &crc)
        if there < 0 or (there > 0 and crc != mmf_crc32c(0, data, size)):
            raise DamagedSegmentError(EBADMSG, f"segment {number} of {self!r} is not what was written: its checksum is "
                                      "another one. check() says what else is")
        return 0

    cdef object decoded(self, bytes data, Py_ssize_t number):
        cdef int order = -1
        try:
            if self.coding == UTF16:
                return PyUnicode_DecodeUTF16(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), "strict", &order)
            if self.coding == UTF8:
                return PyUnicode_DecodeUTF8(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), "strict")
            if self.coding == BYTES:
                return data
            return data.decode(self._codec)
        except UnicodeError as error:
            error.add_note(f"this was segment {number} of {self!r}; read_bytes({number}) gives what is there")
            raise

    def read_bytes(self, segment):
        """The bytes of a segment, by its number from 0 on. OutOfRangeError (an IndexError) if there is none of this
        number; DamagedSegmentError, also for a wrong checksum; ClosedError, MemoryFaultError."""
        return self.get(mmf_position(segment))

    def read(self, segment):
        """The text of a segment, or its bytes if the file has no encoding. As `read_bytes`; UnicodeDecodeError."""
        cdef Py_ssize_t number = mmf_position(segment)
        return self.decoded(self.get(number), number)

    def view(self, segment):
        """A read-only memoryview of a segment, without a copy. It keeps the pages, also when the file is closed; a
        segment never changes. Errors as `read_bytes`."""
        cdef Py_ssize_t number = mmf_position(segment)
        if number < 0 or number >= self.count or self.data == NULL:
            self.known(number)
        cdef int64_t at = self.ends[number]
        cdef SegmentBuffer block = SegmentBuffer.__new__(SegmentBuffer)
        if self.data == NULL:  # an allocation may run a finalizer
            self.raise_closed()
        block.mapping = self.mapping
        block.data = self.data + at + 4
        block.size = self.ends[number + 1] - at - 4
        if self.sums_view is not None:
            self.verify(number, block.data, block.size)
        if mmf_marked(block.mapping.region) and mmf_replaced(block.mapping.region, block.data, block.size):
            self.check_lost(at + 4, block.size)
        return memoryview(block)

    cdef Py_ssize_t seen(self) except -1:
        """How many there are, after a look, for which who owns the lock may be slow: what is published counts then."""
        self.look(PAUSE)
        return self.count

    def __len__(self):
        return self.seen()

    def __getitem__(self, segment):
        cdef Py_ssize_t number, start, stop, step, size
        if isinstance(segment, slice):
            mmf_slice(segment, &start, &stop, &step)
            size = PySlice_AdjustIndices(self.seen(), &start, &stop, step)
            return [self.read(start + i * step) for i in range(size)]
        number = mmf_position(segment)
        if number < 0:
            if number < -self.seen():
                self.refuse_missing(number)
            number += self.count
        return self.decoded(self.get(number), number)

    @property
    def used(self):
        """The bytes that the segments take, with their lengths: where the next one begins."""
        return self.ends[self.seen()]

    # ---- appending

    cdef object encoded(self, text):
        """What is appended for a text."""
        cdef PyObject *made
        if self.coding == BYTES:
            raise TypeError(f"{self!r} has no encoding: it takes bytes, not str")
        if self.coding == UTF16:
            made = mmf_utf16(text)
            if made != NULL:
                data = <object>made
                Py_DECREF(data)  # the reference that it came with
                return data
        return PyUnicode_AsEncodedString(text, PyUnicode_AsUTF8AndSize(self._codec, NULL), "strict")

    cdef Py_ssize_t add(self, data, Py_ssize_t expected, bint durable) except -1:
        cdef Py_buffer buffer
        cdef Py_ssize_t size, number
        cdef const char *text
        if isinstance(data, str):
            if self.coding == UTF8:
                text = PyUnicode_AsUTF8AndSize(data, &size)
                return self.add_bytes(text, size, expected, durable)
            data = self.encoded(data)
        if PyBytes_CheckExact(data):
            return self.add_bytes(PyBytes_AS_STRING(data), PyBytes_GET_SIZE(data), expected, durable)
        take_buffer(data, &buffer, PyBUF_SIMPLE)
        try:
            return self.add_bytes(<const char *>buffer.buf, buffer.len, expected, durable)
        finally:
            PyBuffer_Release(&buffer)

    cdef Py_ssize_t add_bytes(self, const char *source, Py_ssize_t size, Py_ssize_t expected, bint durable) except -1:
        cdef RobustMutex core
        cdef Py_ssize_t number
        cdef int status
        if size == 0:
            raise ValueError("an empty segment cannot be told from the end of the file, and is not written")
        if size > INT_MAX:
            raise OutOfRangeError(f"a segment has at most {INT_MAX} bytes, its length is 32 bits; this has {size}")
        durable = (durable or self._durable) and self.on_disk
        while True:
            if self.data == NULL:
                self.raise_closed()
            if not self.writes:
                raise PermissionError(f"{self!r} was opened for reading only")
            core = None
            if self.lock is not None:
                self.take_lock(-1.0)
                core = self.lock.core
            status = self.begin(core)
            number = 0
            if status == MMF_DONE:
                number = self.count
                status = self.put(source, size, expected, durable)
            if core is not None:
                core.give(core.lock.died != 0)  # not repaired: the next one is told, too
            if status == MMF_DONE:
                return number
            self.overcome(status, size, expected, number)

    cdef int overcome(self, int status, Py_ssize_t size, Py_ssize_t expected, Py_ssize_t number) except -1:
        """Returns if another try may do; raises otherwise."""
        self.check(status)
        if status == MMF_ORDER:
            if expected < number:
                raise OutOfRangeError(f"segment {expected} of {self!r} is written already, and cannot be written again: "
                                      f"the next is {number}")
            raise OutOfRangeError(f"segment {spelled(expected)} cannot be written to {self!r} yet: the next is {number}")
        if status == MMF_DISK:
            raise OSError(self.error, f"{strerror(self.error).decode()}: segment {number} of {self!r} may not be on the disk"
                          + ("" if number < self.count else ", and was not appended"))
        if status == MMF_SUMS:
            self._map_sums(number, True)
            return 0
        if self.has_grown():
            return 0
        cdef int64_t end = self.ends[self.count]
        if status == MMF_FULL:
            self._make_room(end, size)
            return 0
        if status == MMF_DAMAGED:
            raise DamagedSegmentError(EBADMSG, f"{self!r} is damaged at segment {self.count}: "
                                      f"{damage_at(self.data, self.size, end)}, so nothing can be appended. Copy what "
                                      "recover() gives to a new file")
        raise RuntimeError(f"{self!r}: unexpected status {status}")

    def append(self, data, *, bint durable=False):
        """Appends a segment, text or bytes. Its number. Atomic: whoever dies at whatever instruction, the segment is
        there whole or not at all. `durable`: it is on the disk when this returns.

        TypeError (no text, no bytes; text without an encoding); ValueError: it is empty; UnicodeEncodeError: a lone
        surrogate; OSError (ENOSPC): no room, see `grow`; DamagedSegmentError; PermissionError (opened for reading);
        ClosedError, MemoryFaultError."""
        return self.add(data, -1, durable)

    def write(self, segment, data, *, bint durable=False):
        """As `append`, for the number that the segment is to have. OutOfRangeError, and nothing is written, if that is
        not the next one: segments are written in order, and once."""
        cdef Py_ssize_t number = mmf_position(segment)
        if number < 0:
            self.refuse_negative(number)
        self.add(data, number, durable)

    # ---- waiting

    def wait_for(self, segment, timeout=None):
        """Waits until there is a segment of this number, `timeout` seconds at most (a number or a timedelta; None: for
        ever; 0: a look). Whether there is. What another kind of program appends is noticed within 50 ms.

        OutOfRangeError (negative); DamagedSegmentError: it can never come; ClosedError, also if it is closed
        meanwhile."""
        cdef Py_ssize_t number = mmf_position(segment)
        cdef double limit = limit_of(timeout)
        cdef double until, time = PAUSE  # to the next look
        cdef View view
        cdef Mapping mapping
        cdef mmf_control *control
        cdef uint32_t value = 0
        if self.has(number, 0):
            return True
        if limit == 0:
            return False
        until = mmf_now() + limit
        # Safe: `mapping` keeps the words, whoever closes this.
        view = self.control_view
        control = self.control
        mapping = view.mapping if view is not None else None
        if control != NULL:
            mmf_word_add(&control.waiters, 1)
        try:
            while True:
                if control != NULL:
                    value = mmf_word_load(&control.change)
                if limit >= 0:
                    time = min(PAUSE, max(until - mmf_now(), 0.0))
                if self.has(number, time):
                    return True
                if limit >= 0:
                    time = min(PAUSE, until - mmf_now())
                    if time <= 0:
                        return False
                with nogil:
                    if control != NULL:
                        mmf_futex_wait(&control.change, value, time)
                    else:
                        mmf_sleep(time)
                PyErr_CheckSignals()
        finally:
            if control != NULL:
                mmf_word_add(&control.waiters, <uint32_t>-1)

    cdef bint has(self, Py_ssize_t number, double limit) except -1:
        """Whether there is a segment of this number, as far as can be known within `limit` seconds. Also repairs what a
        dead writer has left."""
        cdef int status
        if number < 0:
            self.refuse_negative(number)
        if self.data == NULL:
            self.raise_closed()
        if number < self.count:
            return True
        status = self.look(limit, number)
        if number < self.count:
            return True
        if status != MMF_DAMAGED and self.lock is not None and self.lock.core is not None and owner_died(self.lock.core):
            self.check(self.look_locked(limit))
        if number < self.count:
            return True
        if status == MMF_DAMAGED:
            self.raise_damage(number)
        return False

    # For tasks: see aio.arrival.

    def _arrived(self, Py_ssize_t number):
        return self.has(number, 0)

    def _word(self):
        if self.data == NULL:
            self.raise_closed()
        if self.control == NULL:
            return None
        return word_of(self.control_view.mapping, &self.control.change, &self.control.waiters)

    def _pause(self):
        return PAUSE

    # ---- what it holds

    def _settle(self, double limit=-1.0, bint first=False):
        """A look under the lock: repairs, and says what is there. (count, end, why there is no more or None). Without it,
        if it is not to be had within `limit` seconds (negative: for ever). `first`: nobody else has it open."""
        cdef int status
        while True:
            if self.data == NULL:
                self.raise_closed()
            status = self.look_locked(limit)
            if status == MMF_BUSY:
                return self.count, self.ends[self.count], None
            if status == MMF_SUMS:
                self._map_sums(self.count, False)
                continue
            if (status == MMF_STALE or status == MMF_DAMAGED) and self.has_grown():
                continue
            self.check(status)
            why = None
            if status == MMF_DAMAGED:
                why = damage_at(self.data, self.size, self.ends[self.count])
            elif first and self.sums_view is not None and self.is_zero_from(self.ends[self.count]):
                self.forget_sums()  # of what was lost, or of an older file
            return self.count, self.ends[self.count], why

    def _walk_again(self):
        """From the start, without the index: (segments, end, why there is no more or None) as a newcomer sees them."""
        cdef int64_t at = 0
        cdef int64_t ends[256]
        cdef size_t found = 256, count = 0
        cdef int status = MMF_DONE
        if self.data == NULL:
            self.raise_closed()
        while found == 256 and status == MMF_DONE:
            status = mmf_walk(self.data, self.size, &at, -1, ends, 256, &found)
            count += found
        self.check_lost(0, min(at + 4, self.size))
        return count, at, damage_at(self.data, self.size, at) if status == MMF_DAMAGED else None

    def _walk_on(self, Py_ssize_t count, int64_t end):
        """On from the end of a walk, under the lock, so that nobody appends meanwhile: (segments, end, why there is no
        more or None, the offset behind the last byte that is not zero, at or behind the end)."""
        cdef RobustMutex core = None
        cdef int64_t ends[256]
        cdef size_t found = 256
        cdef int64_t last = end
        cdef int status = MMF_DONE
        cdef bint knows_more
        if self.data == NULL:
            self.raise_closed()
        if end < 0 or end > self.size:
            raise OutOfRangeError(f"{end} is outside of {self!r}")
        if self.lock is not None:
            self.take_lock(-1.0)
            core = self.lock.core
        self.begin(core)
        while self.data != NULL and found == 256 and status == MMF_DONE:
            status = mmf_walk(self.data, self.size, &end, -1, ends, 256, &found)
            count += found
        if self.data != NULL:
            last = self.last_used(end)
        knows_more = self.knows_more(count)
        if core is not None:
            core.give(core.lock.died != 0)
        if self.data == NULL:
            self.raise_closed()
        self.check_lost(0, min(end + 4, self.size))
        if status == MMF_DAMAGED or (knows_more and last > end):
            return count, end, damage_at(self.data, self.size, end), last
        return count, end, None, last

    def _sum(self, Py_ssize_t number):
        """What is known of a segment's checksum: (length, crc), or None."""
        cdef View sums = self.sums_view
        cdef uint32_t *entry
        if sums is None or sums.data == NULL or number < 0:
            return None
        if number >= (sums.size - HEAD) // ENTRY:
            self._map_sums(number, False)
            sums = self.sums_view
            if number >= (sums.size - HEAD) // ENTRY:
                return None
        entry = <uint32_t *>(sums.data + HEAD + number * ENTRY)
        return (entry[0], entry[1]) if entry[0] != 0 else None

    def _bytes_at(self, int64_t at, int64_t size):
        """Bytes of the file, whatever they are; None if they are not all there."""
        if self.data == NULL:
            self.raise_closed()
        if at < 0 or size < 0 or at > self.size or size > self.size - at:
            return None
        return self.whole.new_bytes(at, size)

    @property
    def _view_size(self):
        return self.size


cdef str spelled(Py_ssize_t number):
    """For messages: what did not fit was made the nearest that does."""
    return "2**63 - 1 or above" if number == PY_SSIZE_T_MAX else "-2**63 or below" if number == PY_SSIZE_T_MIN else str(number)


cdef str damage_at(const char *data, int64_t size, int64_t at):
    cdef int32_t length
    if data == NULL or at > size - 4:
        return "the file was closed meanwhile"
    length = mmf_length_at(data + at)
    if length < 0:
        return f"the length at offset {at} is negative ({length})"
    if length > size - 4 - at:
        return f"the length at offset {at} is {length}, and only {size - 4 - at} bytes of the file follow"
    if length == 0:
        return f"the length at offset {at} is 0, and checksums of further segments are known"
    return f"the length at offset {at} was damaged, and is {length} now"


cdef int sync_bytes(mmf_region *region, char *data, int64_t start, int64_t stop) noexcept nogil:
    """Writes the pages that hold these bytes through. 0, or why not."""
    cdef uintptr_t page = region.page
    cdef uintptr_t first = (<uintptr_t>data + start) & ~(page - 1)
    return errno if mmf_flush(region, <char *>first, <uintptr_t>data + stop - first, False) else 0

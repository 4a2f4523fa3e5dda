# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=True, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A value in shared memory that is replaced as a whole: the compiled half of SharedMemory.

The steps on the memory, and its layout, are in committed.h. Here is who takes them, and when:

- readers copy without the lock; after 64 turns in vain, or if another program has written, they take it; if a copy to 0
  has not ended, they take it if it is free: who made that copy has died then;
- whoever takes the lock makes whole what the owner before has left, then does his own, then gives it back: in one
  call, so that no signal handler comes in between. Handlers run while it waits for the lock, and nothing has begun then.
- what is read from the control block is data of others. Sizes and places come from the size that is expected here.

A map without a control block (`plain`: another program has made it, with a capacity of its own) is read and written
under the lock, and nothing else is known of it.
"""
import io
import os
from operator import index
from types import GenericAlias
from weakref import WeakValueDictionary

from memorymapped.errors import LayoutMismatchError, OutOfRangeError, shown

cimport cython
from cpython.buffer cimport PyBUF_SIMPLE, PyBuffer_Release
from cpython.bytearray cimport PyByteArray_AS_STRING, PyByteArray_FromStringAndSize
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.errno cimport errno
from libc.string cimport memcmp, memcpy
from memorymapped._native.control_blocks cimport (
    ControlBlock, Turn, begin_edit, check_end, holds_edit, refuse_released)
from memorymapped._native.futex cimport limit_of, mmf_now, mmf_word_add
from memorymapped._native.memory cimport View, mmf_marked, mmf_region, take_buffer
from memorymapped._native.robust cimport (
    ABANDONED, MutexHandle, RobustMutex, begin_step, end_step, hold, is_of_this_task, this_process)
from memorymapped._native.structs cimport DRAFT, StructLayout, Value, copy_value, freeze, layout_of, new_value

cdef extern from "committed.h" nogil:
    uint64_t MMF_SHARED_MADE, MMF_SHARED_MAKING
    enum:
        MMF_SHARED_VERSION
        MMF_SLOTS
        MMF_FOREIGN
        MMF_AT_SLOTS
        MMF_ADOPTED
        MMF_ROLLED_BACK
        MMF_NEEDS_LOCK
        MMF_READ_IN_COPY
        MMF_MADE
        MMF_HALF
    int mmf_made_at(const char *base, size_t whole, size_t *at)
    void mmf_crc_start()
    size_t mmf_round_up(size_t number, size_t to)
    size_t mmf_text_position(size_t size)
    size_t mmf_shared_total(size_t size, size_t text)
    void mmf_shared_place(mmf_shared *v, char *base, size_t size)
    uint64_t mmf_load(const uint64_t *at)
    void mmf_store(uint64_t *at, uint64_t number)
    void mmf_then()
    char *mmf_slot(const mmf_shared *v, uint64_t number)
    uint32_t *mmf_shared_word(const mmf_shared *v)
    uint64_t mmf_commit(mmf_shared *v, const char *value)
    void mmf_keep(mmf_shared *v, uint64_t number)
    int mmf_settle(mmf_shared *v, int abandoned)
    int mmf_read(const mmf_shared *v, char *to, uint64_t *number, uint64_t *retries)
    int mmf_seems_foreign(const mmf_shared *v, uint64_t number)
    bint mmf_is_fresh(const mmf_shared *v, size_t total)
    void mmf_shared_make(mmf_shared *v, uint64_t layout, const char *text, uint32_t length)
    bint mmf_leave(mmf_shared *v)
    int mmf_shared_recover(mmf_shared *v, int anyway)
    uint32_t mmf_crc32c(uint32_t crc, const char *bytes, size_t size)

cdef extern from "pages.h" nogil:
    int mmf_flush(const mmf_region *region, char *start, size_t length, bint rereads)
    size_t mmf_size_to_mark(const mmf_region *region, size_t size, uint64_t mark, uint64_t other)

mmf_crc_start()

VERSION = MMF_SHARED_VERSION
cdef size_t LARGEST = <size_t>1 << 40
LARGEST_SIZE = LARGEST
"""Of a value, in bytes."""

cdef enum:
    WITH_GIL = 256 * 1024
    LOOKED_THROUGH = 1 << 20  # bytes in which a control block is looked for that is not where it should be
    NONE_MADE = -1        # of `find`
    HALF_MADE = -2

cdef double LOOK_FOR_OTHERS = 0.05  # seconds: other programs do not call
cdef double LOOKS = 10  # times as long as a look takes is the pause behind it, at least


def total_size(size_t size, size_t text):
    """The bytes of a map for a value of `size` bytes, whose layout's text has `text` bytes."""
    return mmf_shared_total(size, text)


def crc32c(data, uint32_t crc=0):
    """The CRC32C of `data`, behind what `crc` is that of."""
    cdef Py_buffer buffer
    take_buffer(data, &buffer, PyBUF_SIMPLE)
    try:
        return mmf_crc32c(crc, <const char *>buffer.buf, buffer.len)
    finally:
        PyBuffer_Release(&buffer)


cdef int copy(char *to, const char *source, size_t size) except -1:
    if size <= WITH_GIL:
        memcpy(to, source, size)
    else:
        with nogil:
            memcpy(to, source, size)
    return 0


cdef int sync_control(mmf_shared *v, Mapping mapping) except -1:
    """Writes the head of the control block to the disk. What it is for is a crash of the machine: the view's close tells
    of errors."""
    cdef size_t page = mapping.region.page
    cdef char *start = <char *>(<size_t>v.control & ~(page - 1))
    with nogil:
        mmf_flush(mapping.region, start, page, False)
    return 0


cdef int sync(mmf_shared *v, Mapping mapping, size_t size) except -1:
    """Writes all to the disk."""
    cdef int failed
    with nogil:
        failed = mmf_flush(mapping.region, v.base, size, False)
        if failed:
            failed = errno
    if failed:
        raise OSError(failed, os.strerror(failed))
    return 0


cdef int sync_and_keep(mmf_shared *v, Mapping mapping, size_t size) except -1:
    """Writes all to the disk, where the value stays then. Owning the lock."""
    cdef uint64_t number = mmf_load(v.seq)
    sync(v, mapping, size)
    mmf_keep(v, number)
    return 0


cdef class Hold:
    """What all objects of this process for one value know of the lock, which they have in common: a thread that is within
    an edit, or has changed the live structure, is so for each of them; and an abandonment that any handle of the lock was
    told of is answered once."""


cdef Hold hold_of(RobustMutex core, place, unsigned long long answered):
    cdef Hold found
    if core.notes is None:
        core.notes = WeakValueDictionary()
    found = core.notes.get(place)
    if found is None:
        found = Hold.__new__(Hold)
        found.answered = answered
        core.notes[place] = found
    return found


cdef class Committed:
    """A value of a map. `view` reaches from the map's byte 0 to its end; `size` is that of the value, `text` its layout's
    description, of which `layout` is a hash. `type` None: the value is bytes.

    `boot`: for a file, 16 bytes that tell when the machine was started; None for memory. `place`: what tells
    the map from others. `answered`: the lock's abandonments when it was opened; None: nobody had it open before."""

    @classmethod
    def __class_getitem__(cls, item, /):
        return GenericAlias(cls, item)

    def _attach(self, View view not None, MutexHandle lock not None, object type, size_t size, str text,
                uint64_t layout, bint foreign, bytes boot, object place, object answered):
        cdef StructLayout structure = layout_of(type)
        self.check_view(view)
        if not 0 < size <= LARGEST:
            raise OutOfRangeError(f"a value has 1 to {LARGEST} bytes, not {size}")
        if type is not None and (structure is None or <size_t>structure.size != size):
            raise TypeError(f"{shown(type)} is no class of structures of {size} bytes")
        self.alone = answered is None
        self.hold = hold_of(lock.opened(), place, 0 if answered is None else answered)
        self.take_view(view, lock, type)
        self.whole = view.size
        mmf_shared_place(&self.value, view.data, size)
        try:
            self.attach_control(text, layout, foreign, boot)
        except BaseException:
            self._detach()
            raise

    cdef int attach_control(self, str text, uint64_t layout, bint foreign, bytes boot) except -1:
        """Finds the control block, or makes it. The lock is taken if that has to be made, or the map is a file."""
        cdef bytes encoded = text.encode()
        cdef const char *letters = PyBytes_AS_STRING(encoded)
        cdef uint32_t length = len(encoded)
        cdef size_t total = mmf_shared_total(self.value.size, length)
        cdef RobustMutex core
        cdef mmf_shared v
        cdef bint fits = mmf_size_to_mark(self.region, self.view.size, MMF_SHARED_MADE, MMF_SHARED_MAKING) == total
        cdef bint made
        cdef int got
        cdef Py_ssize_t found = self.find(encoded, layout, False)
        if <size_t>self.view.size < self.value.size:
            raise ValueError(f"{self._named()}: the map has {self.view.size} bytes, which is too small for the "
                             f"{self.value.size} bytes of a value")
        core = (<MutexHandle>self.lock).opened()
        if found >= 0 and boot is None and self.hold.answered == core.abandonments:
            self.seen = mmf_load(self.value.seq)
            return 0
        got = self.begin()
        try:
            found = self.find(encoded, layout, True)
            v = self.value
            made = fits and found == HALF_MADE
            if fits and found == NONE_MADE:
                with nogil:  # it may be long
                    made = mmf_is_fresh(&v, total)
            if made:
                v.foreign = self.value.foreign = foreign
                with nogil:
                    mmf_shared_make(&v, layout, letters, length)
                found = 0
                self.hold.answered = core.abandonments  # what stands at 0 is the first value, and none is before it
                if boot is not None:
                    sync_and_keep(&self.value, self.mapping, total)
            if found >= 0:
                self.open_file(boot)
                v = self.value
                self.settle(&v, self.mapping, False)
                self.seen = mmf_load(self.value.seq)
            else:
                self.look_around(encoded, layout)
                self.plain = True
                self.value.foreign = True
                self.seen_bytes = PyBytes_FromStringAndSize(self.value.base, self.value.size)
            if mmf_marked(self.region):
                self.raise_fault()
        except BaseException:
            if self.counted_in and not mmf_leave(&self.value):
                self.value.control.users = 0
            self.counted_in = 0
            end_step(core, got, got == ABANDONED)
            raise
        end_step(core, got, False)
        return 0

    cdef int look_around(self, bytes text, uint64_t layout) except -1:
        """There is no control block where one is looked for. Has somebody made the file longer, behind one of another
        layout?"""
        cdef size_t at
        cdef size_t end = min(<size_t>self.view.size, <size_t>LOOKED_THROUGH)
        cdef mmf_control header
        for at in range(64, end, 64):
            if at + sizeof(mmf_control) > end:
                break
            memcpy(&header, self.value.base + at, sizeof(mmf_control))
            if header.magic == MMF_SHARED_MADE and header.slots == MMF_SLOTS and mmf_round_up(header.size, 64) == at:
                self.read_header(at, text, layout)
        return 0

    cdef int refuse_other_control(self) except -1:
        raise LayoutMismatchError(f"{self._named()}: somebody has made it one for values of another layout since it was "
                                  "opened: open it anew")

    cdef int refuse_half_made(self) except -1:
        raise LayoutMismatchError(
            f"{self._named()} is not for values of {self.value.size} bytes of this layout: somebody was making it with "
            "another one, and has died. Who opens it with that one goes on with it")

    cdef Py_ssize_t find(self, bytes text, uint64_t layout, bint owning) except -3:
        """Looks for the control block: 0; NONE_MADE; HALF_MADE, by who has died if the lock is owned. LayoutMismatchError,
        NotImplementedError (a newer version), DamagedObjectError."""
        cdef size_t whole = mmf_size_to_mark(self.region, self.view.size, MMF_SHARED_MADE, MMF_SHARED_MAKING)
        cdef size_t at = mmf_round_up(self.value.size, 64)
        cdef char *base = self.value.base
        cdef uint64_t magic = 0
        cdef size_t other
        cdef int made
        if at + MMF_AT_SLOTS <= whole:
            magic = mmf_load(<uint64_t *>(base + at))
        if magic != MMF_SHARED_MADE:
            # Another size may have put it to another place.
            made = mmf_made_at(base, whole, &other)
            if mmf_marked(self.region):
                self.raise_fault()
            if magic == MMF_SHARED_MAKING or (made and other == at):
                if whole == mmf_shared_total(self.value.size, len(text)):
                    return HALF_MADE
                made = made and MMF_HALF
            if made == MMF_HALF and owning:
                self.refuse_half_made()
            if made != MMF_MADE:
                return NONE_MADE
            at = other
        return self.read_header(at, text, layout)

    cdef int read_header(self, size_t at, bytes text, uint64_t layout) except -1:
        """The control block that begins there, which is made: is it what is asked for?"""
        cdef mmf_control header
        cdef size_t whole = self.view.size
        cdef char *base = self.value.base
        cdef size_t place, length
        memcpy(&header, base + at, sizeof(mmf_control))  # once: it is others who write it
        if mmf_marked(self.region):
            self.raise_fault()
        if header.version != MMF_SHARED_VERSION:
            self.refuse_version(header.version, MMF_SHARED_VERSION)
        if header.slots != MMF_SLOTS:
            self._refuse(f"it says that it has {header.slots} slots, of {MMF_SLOTS}")
        if header.flags & ~<uint32_t>MMF_FOREIGN:
            self._refuse(f"its flags are {header.flags:#x}")
        if not 0 < header.size <= at or mmf_round_up(header.size, 64) != at:
            self._refuse(f"it says that its value has {header.size} bytes, and stands at {at}")
        place = mmf_text_position(header.size)
        length = header.text
        if place > whole or length > whole - place or mmf_shared_total(header.size, length) > whole:
            self._refuse(f"it says that its layout is described by {length} bytes at {place}, and has {whole} bytes")
        cdef bint same = header.size == self.value.size and header.layout == layout and length == <size_t>len(text)
        if same and memcmp(base + place, PyBytes_AS_STRING(text), length) != 0:
            if mmf_marked(self.region):
                self.raise_fault()
            self._refuse("the description of its layout is not what it was")
        if not same:
            self.refuse_layout(header.size, base + place, length, self.value.size, text.decode())
        self.value.foreign = (header.flags & MMF_FOREIGN) != 0
        return 0

    cdef int open_file(self, bytes boot) except -1:
        """What is on a disk may be of different moments, if the machine went down meanwhile. Owning the lock."""
        cdef mmf_shared v = self.value
        cdef mmf_control *control = v.control
        cdef bint other_boot, clean
        cdef int found
        if boot is None:
            return 0
        if len(boot) != 16:
            raise ValueError("the mark of a boot has 16 bytes")
        other_boot = memcmp(control.boot, PyBytes_AS_STRING(boot), 16) != 0
        clean = not other_boot or control.users == 0
        with nogil:
            found = mmf_shared_recover(&v, other_boot)
        if mmf_marked(self.region):
            self.raise_fault()
        if not found:
            self._refuse("none of its slots holds a whole value")
        if other_boot:
            sync_and_keep(&v, self.mapping, self.whole)
            self.value.waiters[0] = 0
            if not clean:
                self.settle(&v, self.mapping, True)
            memcpy(control.boot, PyBytes_AS_STRING(boot), 16)
        if other_boot or self.alone:
            control.users = 0  # who is counted has died
        mmf_word_add(&control.users, 1)
        self.counted_in = this_process()
        sync_control(&v, self.mapping)
        return 0


    # ---- the end

    def _end_use(self):
        """Before the view of a file is closed, which writes all of it to the disk: the last user says so."""
        cdef RobustMutex core
        cdef Mapping mapping = self.mapping  # another thread may close this as well, and its view
        cdef mmf_shared v = self.value
        cdef size_t size
        cdef int got
        if v.base == NULL or self.counted_in != this_process():
            return
        self.counted_in = 0
        size = self.view.size
        if mmf_leave(&v):  # whoever owns the lock
            sync_control(&v, mapping)
            return
        core = (<MutexHandle>self.lock).core
        if core is None or core.is_ours():
            return  # an exception, or an edit: it is not closed as it should be, and that is what the file says then
        got = hold(self.lock, 2.0)
        if not got:
            return
        try:
            self.settle(&v, mapping, got == ABANDONED)
            if not mmf_leave(&v):
                sync_and_keep(&v, mapping, size)
                v.control.users = 0
            sync_control(&v, mapping)
        except BaseException:
            core.give(got == ABANDONED)
            raise
        core.give(False)

    cdef uint32_t *word(self) noexcept:
        return NULL if self.plain or self.value.base == NULL else mmf_shared_word(&self.value)

    cdef void forget(self) noexcept:
        self.value.base = NULL

    # ---- the lock

    cdef int begin(self) except -1:
        """Takes the lock: TAKEN, ABANDONED, or NESTED. `end_step` gives it back."""
        cdef MutexHandle lock = self.lock
        cdef RobustMutex core = lock.opened()
        cdef int got = begin_step(lock)
        if self.value.base == NULL:  # a signal handler, or another thread, meanwhile
            end_step(core, got, got == ABANDONED)
            self.raise_closed()
        return got

    cdef int settle(self, mmf_shared *v, Mapping mapping, bint abandoned) except -1:
        """The first step of who owns the lock. `v` is a copy of `value`, and `mapping` keeps what it leads to: while a
        long copy lets other threads run, one may close this. `abandoned`: besides what the lock says."""
        cdef Hold hold = self.hold
        cdef RobustMutex core = (<MutexHandle>self.lock).core  # None: closed meanwhile
        cdef unsigned long long abandonments = hold.answered if core is None else core.abandonments
        cdef size_t other
        cdef int did
        if self.plain:
            # Has somebody made a control block since, of another layout, in what was all zeros?
            did = mmf_made_at(v.base, self.whole, &other)
            if did and not mmf_marked(mapping.region):
                self.refuse_other_control()
            return 0
        did = settle_value(v, abandoned or abandonments != hold.answered)
        if did == MMF_ADOPTED:
            self.adoptions += 1
        elif did == MMF_ROLLED_BACK:
            self.rollbacks += 1
        if mmf_marked(mapping.region):
            self.raise_fault()
        hold.answered = abandonments
        return 0

    def _repair(self, lock):
        """What a `with` of the lock calls that finds it abandoned."""
        cdef mmf_shared v = self.value
        cdef Mapping mapping = self.mapping
        if v.base != NULL:
            self.settle(&v, mapping, True)

    def _settle_for_live(self):
        """Before the owner of the lock changes the bytes at 0 by himself."""
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_shared v
        cdef bint ours
        if self.value.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        ours = core.is_ours() and (core.task is None or is_of_this_task(core))
        v = self.value  # a signal handler, or another thread, may have closed this meanwhile
        mapping = self.mapping
        if v.base == NULL:
            self.raise_closed()
        if not ours:
            raise RuntimeError(f"{self!r}: the live structure is for who owns the lock: `with shared.lock:` takes it; "
                               "`data` and `edit` take it themselves")
        if self.hold.edited_at == core.acquisitions:
            raise RuntimeError(f"{self!r}: this thread is within an edit, which will write over the live structure: "
                               "change the draft")
        if not v.foreign:
            raise io.UnsupportedOperation(f"{self!r} was made with foreign=False: what is written to the live structure "
                                          "would not count")
        if self.hold.settled_at != core.acquisitions:
            self.settle(&v, mapping, False)
            self.hold.settled_at = core.acquisitions

    # ---- writing

    cdef int put(self, mmf_shared *v, Mapping mapping, const char *bytes) except -1:
        """Makes these bytes the value. Owning the lock, after `settle`."""
        cdef uint64_t number = 0
        if self.plain:
            copy(v.base, bytes, v.size)
            self.seen_bytes = PyBytes_FromStringAndSize(bytes, v.size)
        elif v.size <= WITH_GIL:
            number = mmf_commit(v, bytes)
        else:
            with nogil:
                number = mmf_commit(v, bytes)
        if mmf_marked(mapping.region):
            self.raise_fault()
        self.seen = number
        return 0

    cdef int write(self, const char *bytes) except -1:
        """Takes the lock, makes these bytes the value, gives the lock back."""
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_shared v
        cdef int got
        if self.value.base == NULL:
            self.raise_closed()
        core = (<MutexHandle>self.lock).opened()
        if self.hold.edited_at == core.acquisitions and core.is_ours():
            raise RuntimeError(f"{self!r}: this thread is within an edit, which will write over the value: change the "
                               "draft")
        got = self.begin()
        v = self.value
        mapping = self.mapping
        try:
            self.settle(&v, mapping, got == ABANDONED)
            self.put(&v, mapping, bytes)
        except BaseException:
            end_step(core, got, got == ABANDONED)
            raise
        end_step(core, got, False)
        return 0

    def flush(self):
        """Writes a file to the disk, and waits: after a crash of the machine this value is there, or a newer one. The lock
        is taken before and after that; others write meanwhile. But if another flush is under way, or was and its process
        has died, this one owns the lock until the disk has it all, and writers wait. OSError; ClosedError; DamagedObjectError (the lock).
        Nothing to do for a named map."""
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_shared v
        cdef uint64_t number = 0
        cdef size_t size
        cdef bint live, at_once
        cdef int got
        if self.value.base == NULL:
            self.raise_closed()
        if not self.counted_in:  # no file, or one without a control block
            self.view.flush()
            return
        core = (<MutexHandle>self.lock).opened()
        live = core.is_ours() and self.hold.settled_at == core.acquisitions
        got = self.begin()
        v = self.value
        mapping = self.mapping
        size = self.whole
        try:
            if not live:  # what that is becomes the value later
                self.settle(&v, mapping, got == ABANDONED)
            at_once = mmf_load(v.keeping) != 0  # somebody else is at it, or was, and has died
            if at_once:
                sync_and_keep(&v, mapping, size)
            else:
                number = mmf_load(v.seq)
                mmf_store(v.keeping, number)
                mmf_then()
        except BaseException:
            end_step(core, got, got == ABANDONED)
            raise
        end_step(core, got, False)
        if at_once:
            return
        try:
            sync(&v, mapping, size)
        except BaseException:
            self.end_keeping(number, False)
            raise
        self.end_keeping(number, True)

    cdef int end_keeping(self, uint64_t number, bint kept) except -1:
        """If nobody has come between, who has kept a newer one then."""
        cdef RobustMutex core = (<MutexHandle>self.lock).opened()
        cdef int got = self.begin()
        cdef mmf_shared v = self.value
        if mmf_load(v.keeping) == number:
            mmf_keep(&v, number if kept else mmf_load(v.kept))
        end_step(core, got, got == ABANDONED)
        return 0

    # ---- reading

    cdef int read(self, char *to) except -1:
        """Copies the value. Runs no Python code, unless it takes the lock."""
        cdef mmf_shared v
        cdef Mapping mapping
        cdef uint64_t number = 0, retries = 0
        cdef int got
        if self.value.base == NULL:
            self.raise_closed()
        if self.plain:
            return self.read_locked(to)
        if self.value.size <= WITH_GIL:
            got = mmf_read(&self.value, to, &number, &self.retries)
            if mmf_marked(self.region):
                self.raise_fault()
        else:
            v = self.value
            mapping = self.mapping
            with nogil:
                got = mmf_read(&v, to, &number, &retries)
            self.retries += retries
            if mmf_marked(mapping.region):
                self.raise_fault()
        if got == MMF_NEEDS_LOCK:
            return self.read_locked(to)
        self.seen = number
        if got == MMF_READ_IN_COPY:
            self.settle_if_free(to)  # there is an unended copy: if nobody owns the lock, who made that has died
        return 0

    cdef int settle_if_free(self, char *to) except -1:
        """Makes whole what there is if nobody owns the lock, and copies the value then, if it is wanted."""
        cdef RobustMutex core = (<MutexHandle>self.lock).opened()
        cdef Mapping mapping
        cdef mmf_shared v
        cdef int got
        if core.is_ours():
            return 0
        got = hold(self.lock, 0)
        if not got:
            return 0
        v = self.value
        mapping = self.mapping
        try:
            if v.base == NULL:
                self.raise_closed()
            self.settle(&v, mapping, got == ABANDONED)
            if to != NULL:
                self.copy_current(&v, mapping, to)
        except BaseException:
            core.give(got == ABANDONED)
            raise
        core.give(False)
        return 0

    cdef int read_locked(self, char *to) except -1:
        cdef RobustMutex core = (<MutexHandle>self.lock).opened()
        # Has this thread changed the live structure? That is what it sees, and nobody else as long as it owns the lock.
        cdef bint live = core.is_ours() and self.hold.settled_at == core.acquisitions
        cdef int got = self.begin()
        cdef mmf_shared v = self.value
        cdef Mapping mapping = self.mapping
        self.locked_reads += 1
        try:
            if live:
                copy(to, v.base, v.size)
                if mmf_marked(mapping.region):
                    self.raise_fault()
            else:
                self.settle(&v, mapping, got == ABANDONED)
                self.copy_current(&v, mapping, to)
        except BaseException:
            end_step(core, got, got == ABANDONED)
            raise
        end_step(core, got, False)
        return 0

    cdef int copy_current(self, mmf_shared *v, Mapping mapping, char *to) except -1:
        """The value, for who owns the lock, after `settle`."""
        cdef uint64_t number = 0
        cdef const char *source = v.base
        if not self.plain:
            number = mmf_load(v.seq)
            source = mmf_slot(v, number)
        copy(to, source, v.size)
        if mmf_marked(mapping.region):
            self.raise_fault()
        if self.plain:
            self.seen_bytes = PyBytes_FromStringAndSize(to, v.size)
        self.seen = number
        return 0

    # ---- what users call

    @property
    def data(self):
        """The value: a snapshot of its own, of one moment. Needs no lock, and never sees half of a change.

        Assigning makes a new value of all of it, at one moment for all readers, under the lock. ClosedError;
        MemoryFaultError; RuntimeError when assigned within an `edit` of the same thread; DamagedObjectError (the lock)."""
        cdef bytes raw
        cdef Value snapshot
        if self.layout is not None:
            snapshot = new_value(self.layout, self.type)
            self.read(snapshot.data)
            return snapshot
        raw = PyBytes_FromStringAndSize(NULL, self.value.size)
        self.read(PyBytes_AS_STRING(raw))
        return raw

    @data.setter
    def data(self, value):
        cdef Py_buffer buffer
        cdef bytes copied
        if self.layout is not None:
            if not isinstance(value, Value) or (<Value>value).layout != <void *>self.layout:
                raise TypeError(f"{self!r} has values of {self.type.__name__}, not {shown(value)}")
            if (<Value>value).data != NULL:
                self.write((<Value>value).data)
            else:  # a reference into a view
                copied = PyBytes_FromStringAndSize(NULL, self.value.size)
                copy_value(<Value>value, PyBytes_AS_STRING(copied))
                self.write(PyBytes_AS_STRING(copied))
            return
        take_buffer(value, &buffer, PyBUF_SIMPLE)
        try:
            if <size_t>buffer.len != self.value.size:
                raise ValueError(f"{self!r} has a value of {self.value.size} bytes, not {buffer.len}")
            self.write(<const char *>buffer.buf)
        finally:
            PyBuffer_Release(&buffer)

    def edit(self):
        """`with shared_memory.edit() as draft:` one update of the value: the lock is taken, `draft` is the value, to be
        changed, and the end of the `with` makes it the new one; an exception discards it. Nobody sees a part of it.

        RuntimeError: this thread is within an edit already; or a task of this thread's event loop owns the lock, and it
        is not the one at work. Everything else as for `data`."""
        cdef Edit edit = Edit.__new__(Edit)
        edit.of = self
        return edit

    @property
    def version(self):
        """The number of the last commit: it grows with each, of any process, and never repeats. None: the map has no
        control block. ClosedError; MemoryFaultError."""
        if self.value.base == NULL:
            self.raise_closed()
        if self.plain:
            return None
        number = mmf_load(self.value.seq)
        if mmf_marked(self.region):
            self.raise_fault()
        return number

    @property
    def has_control(self):
        """Whether there is a control block behind the value, which all guarantees but the lock need."""
        return not self.plain

    @property
    def foreign(self):
        """Whether programs that know nothing of the control block write the value too: what the maker of the map
        said."""
        return bool(self.value.foreign)

    @property
    def size(self):
        """The bytes of the value. Still readable after close."""
        return self.value.size

    def _counts(self):
        return self.retries, self.locked_reads, self.adoptions, self.rollbacks

    # ---- waiting

    cdef uint32_t *waiters(self) noexcept:
        return self.value.waiters

    cdef double pause(self) noexcept:
        return max(LOOK_FOR_OTHERS, LOOKS * self.took) if self.value.foreign else ControlBlock.pause(self)

    cdef bint arrived(self, tuple what) except -1:
        """Whether there is another value than that: of a number, or bytes without a control block."""
        cdef object since = what[0]
        cdef uint64_t number = 0 if self.plain else since
        cdef mmf_shared v = self.value
        cdef Mapping mapping = self.mapping
        cdef bint differs
        if v.base == NULL:
            self.raise_closed()
        if self.plain:
            differs = self.compare(&v, PyBytes_AS_STRING(since), 0)
        else:
            differs = mmf_load(v.seq) > number
            if not differs and self.compare(&v, NULL, number) and not mmf_marked(mapping.region):
                self.settle_if_free(NULL)  # adopts it, if its writer has released the lock
                differs = mmf_load(v.seq) > number
        if mmf_marked(mapping.region):
            self.raise_fault()
        return differs

    cdef bint compare(self, mmf_shared *v, const char *other, uint64_t number) noexcept:
        """Is what stands in the map other than that (NULL: perhaps not commit `number`)? Notes how long it took, if it is
        large. The caller keeps the mapping, and `other`."""
        cdef double began
        cdef bint differs
        if v.size <= WITH_GIL:
            return memcmp(v.base, other, v.size) != 0 if other != NULL else mmf_seems_foreign(v, number)
        began = mmf_now()
        with nogil:
            differs = memcmp(v.base, other, v.size) != 0 if other != NULL else mmf_seems_foreign(v, number)
        self.took = mmf_now() - began
        return differs

    cdef object since(self, object version):
        if version is None:
            return self.seen_bytes if self.plain else self.seen
        if self.plain:
            raise ValueError(f"{self!r} has no control block, so its values have no numbers: wait without `since`")
        try:
            return <uint64_t>index(version)
        except OverflowError:
            raise OutOfRangeError(f"since is a version, not {shown(version)}") from None

    def _since(self, version):
        return self.since(version)

    def wait_for_change(self, timeout=None, *, since=None):
        """Waits until there is a newer value than the one that this object has read or written last, or than version
        `since`: True; False after `timeout` (seconds or a timedelta; None: for ever; 0: a look). Where programs that know
        nothing of the control block write too (`foreign`), their changes are noticed within 50 ms of their release of the
        lock (of a value of many megabytes within ten times what comparing it takes). If threads share this object give `since`. ClosedError, also if it is closed meanwhile; MemoryFaultError."""
        cdef double limit = limit_of(timeout)
        return self.wait((self.since(since),), limit)


cdef int settle_value(mmf_shared *v, bint abandoned) noexcept:
    cdef int did
    if v.size <= WITH_GIL:
        return mmf_settle(v, abandoned)
    with nogil:
        did = mmf_settle(v, abandoned)
    return did


@cython.final
@cython.freelist(8)
cdef class Edit:
    """One update of a value, for `with`. See Committed.edit."""
    cdef Committed of
    cdef RobustMutex core   # None: not entered
    cdef Turn turn
    cdef object draft    # a Value, or a bytearray
    cdef uint64_t began  # the number of what it was made from
    cdef bytes plain     # the same, where there are no numbers

    def __enter__(self):
        cdef Committed of = self.of
        cdef RobustMutex core
        cdef Mapping mapping
        cdef mmf_shared v
        cdef int got
        cdef object draft
        cdef char *bytes
        if self.core is not None:
            raise RuntimeError("an edit is one update: it is entered already")
        if of.layout is not None:
            draft = new_value(of.layout, of.type)
            bytes = (<Value>draft).data
        else:
            draft = PyByteArray_FromStringAndSize(NULL, of.value.size)
            bytes = PyByteArray_AS_STRING(draft)
        if of.value.base == NULL:
            of.raise_closed()
        core = (<MutexHandle>of.lock).opened()
        if of.hold.edited_at == core.acquisitions and core.is_ours():
            raise RuntimeError(f"{of!r}: this thread is within an edit already: change its draft")
        got = of.begin()
        v = of.value
        mapping = of.mapping
        try:
            of.settle(&v, mapping, got == ABANDONED)
            of.copy_current(&v, mapping, bytes)
        except BaseException:
            end_step(core, got, got == ABANDONED)
            raise
        if of.layout is not None:
            (<Value>draft).position = DRAFT
        begin_edit(&self.turn, core, got)
        of.hold.edited_at = core.acquisitions
        self.began = of.seen
        self.plain = of.seen_bytes if of.plain else None
        self.core = core
        self.draft = draft
        return draft

    def __dealloc__(self):
        if holds_edit(&self.turn, self.core):  # dropped within it
            self.of.hold.edited_at = 0
            self.core.give(False)

    def __exit__(self, kind, value, traceback):
        cdef Committed of = self.of
        cdef RobustMutex core = self.core
        cdef Mapping mapping = of.mapping
        cdef mmf_shared v = of.value
        cdef object draft = self.draft
        cdef Py_buffer buffer
        if not check_end(&self.turn, core, of, v.base == NULL, kind is not None):
            return
        self.core = None
        self.draft = None
        if self.turn.acquisition == core.acquisitions:
            of.hold.edited_at = 0
        try:
            if kind is None:
                if v.base == NULL:
                    of.raise_closed()
                if self.turn.acquisition != core.acquisitions:
                    refuse_released(of)
                if v.foreign and memcmp(v.base, PyBytes_AS_STRING(self.plain) if of.plain else mmf_slot(&v, self.began), v.size) != 0:
                    raise RuntimeError(f"{of!r}: what stands in the map was changed within an edit, which would undo "
                                       "that: the draft is discarded")
                if of.layout is not None:
                    of.put(&v, mapping, (<Value>draft).data)
                else:
                    take_buffer(draft, &buffer, PyBUF_SIMPLE)  # so that no other thread resizes it meanwhile
                    try:
                        if <size_t>buffer.len != v.size:
                            raise ValueError(f"{of!r} has a value of {v.size} bytes, and the draft has {buffer.len} now")
                        of.put(&v, mapping, <const char *>buffer.buf)
                    finally:
                        PyBuffer_Release(&buffer)
        finally:
            if of.layout is not None:
                freeze(<Value>draft)
            end_step(core, self.turn.got, False)

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A reader-writer lock inside a map: many readers or one writer, each of whom may be killed at any instruction.

In memory (readers.h): a gate and 31 slots, all robust mutexes, and the word `writing`. A reader has one slot locked, a
writer the gate and all slots. Whoever dies is told of by the kernel, mutex by mutex; nobody counts anything.

Reader  1  the gate is free: lock a free slot: it reads. (A writer that comes between the two needs that slot too, and
           waits for it; or it has it already, and then it is not free.)
        2  lock the gate; lock a free slot; unlock the gate: it reads. So readers that come while a writer waits or
           writes wait at the gate, as other writers do, and a writer that waits does not starve.
        3  all slots taken: wait for one of them without the gate. Somebody has the gate by then: unlock it, 2.
        4  `writing` is not 0: the last writer died, or gave up, in the midst of its work: this reader is told. So is
           everybody, until a writer has been told, has repaired, and has given back.
        A slot of a dead thread is taken as it is: a reader leaves nothing undone.
Writer  1  lock the gate, then every slot: all readers have gone, and none can come.
           Killed before the last: the mutexes are dead ones, `writing` is as it was.
        2  `writing` is not 0: told. writing = 1. From here on it is told of if it dies.
        Killed: the kernel marks the mutexes one by one. A reader that gets a slot meanwhile sees `writing`.
Release (writer)  writing = 0 (not if it gives back as abandoned), unlock the slots, the last one first, then the gate.
        Killed between: the word says that all is well, and the dead mutexes are taken as they are.
Release (reader)  unlock the slot.

A thread may take again what it has. It cannot write while it reads (two such readers would wait for each other for
ever) nor read while it writes (which includes reading): RuntimeError.
"""
from memorymapped.errors import DamagedObjectError

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport EBADMSG, EBUSY, ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.mapped cimport claim, locate
from memorymapped._native.memory cimport Mapping, View, mmf_marked
from memorymapped._native.robust cimport (
    ABANDONED, BUSY, TAKEN, RobustMutex, count_locks, mmf_lock, need_robust_mutexes, this_process, this_thread)

cdef extern from "readers.h" nogil:
    ctypedef struct mmf_glibc_mutex:
        uint32_t word
        uint32_t count
        void *before
        void *after
    ctypedef struct mmf_slot:
        uint32_t writing
        uint32_t process
    ctypedef struct mmf_readers:
        mmf_slot gate
    enum:
        MMF_SLOTS
        MMF_READERS_SIZE
    int EOWNERDEAD
    mmf_glibc_mutex *MMF_INSIDE(mmf_lock *lock)
    bint mmf_is_kind(const mmf_lock *lock)
    bint mmf_is_live(mmf_lock *lock)
    bint mmf_in_list(const mmf_lock *lock)
    int mmf_claim_zeros(mmf_lock *lock)
    double mmf_now()
    int mmf_trylock(mmf_lock *lock)
    int mmf_unlock(mmf_lock *lock)
    int mmf_consistent(mmf_lock *lock)
    int mmf_lock_spin(mmf_lock *lock, int turns)
    mmf_lock *mmf_gate_lock(mmf_readers *readers)
    mmf_lock *mmf_slot_lock(mmf_readers *readers, int slot)
    bint mmf_gate_is_open(mmf_readers *readers)
    int mmf_reader_try(mmf_readers *readers, int preferred, bint gated)
    void mmf_write_begins(mmf_readers *readers, uint32_t process)
    void mmf_write_ends(mmf_readers *readers)
    bint mmf_was_writing(mmf_readers *readers)

cdef extern from "places.h" nogil:
    int MMF_READERS
    int mmf_place_claim(char *place, int kind)

SIZE = MMF_READERS_SIZE
SLOTS = MMF_SLOTS
"""Readers that can be inside at the same time; more wait."""

cdef int SPINS = 200


cdef struct Locked:
    uint64_t thread  # who has it, of this process; 0: nobody
    Py_ssize_t depth
    void *before     # its neighbours in the thread's list, as they were when it was locked
    void *after


@cython.final
@cython.internal
cdef class Places:
    """The mutexes of one lock, and which thread of this process has which. Both sides share it."""
    cdef Mapping mapping
    cdef mmf_readers *readers
    cdef Locked slots[MMF_SLOTS]  # those of readers
    cdef uint64_t writer
    cdef uint32_t process         # this process, unless the object was copied by a fork since

    def __dealloc__(self):
        # Who is dropped while this thread reads does not read any more. Another thread's slot stays, and its page.
        cdef int slot
        cdef mmf_lock *lock
        if self.process != this_process():
            return
        for slot in range(MMF_SLOTS):
            if self.slots[slot].thread == 0:
                continue
            lock = mmf_slot_lock(self.readers, slot)
            if self.slots[slot].thread == this_thread() and self.is_sound(lock, &self.slots[slot]):
                count_locks(-1)
                mmf_unlock(lock)
            elif mmf_is_live(lock):
                Py_INCREF(self.mapping)
                return

    cdef bint is_sound(self, mmf_lock *lock, Locked *locked) noexcept:
        """May the C library unlock it?"""
        return (not mmf_marked(self.mapping.region) and mmf_is_kind(lock)
                and ((MMF_INSIDE(lock).before == locked.before and MMF_INSIDE(lock).after == locked.after)
                     or mmf_in_list(lock)))

    cdef int slot_of(self, uint64_t thread) noexcept:
        """The slot with which a thread of this process reads; -1: it does not."""
        cdef int turn, slot
        cdef int preferred = <int>(thread % MMF_SLOTS)
        if self.process != this_process():
            return -1
        for turn in range(MMF_SLOTS):
            slot = preferred + turn
            if slot >= MMF_SLOTS:
                slot -= MMF_SLOTS
            if self.slots[slot].thread == thread:
                return slot
        return -1

    cdef void renew(self) noexcept:
        """After a fork: what the parent's threads have is not ours."""
        cdef int slot
        if self.process != this_process():
            for slot in range(MMF_SLOTS):
                self.slots[slot].thread = 0
            self.writer = 0
            self.process = this_process()


cdef void note(Locked *locked, mmf_lock *lock) noexcept:
    locked.before = MMF_INSIDE(lock).before
    locked.after = MMF_INSIDE(lock).after


@cython.final
cdef class ReadingSide(RobustMutex):
    """The lock as readers take it. `lock`, of the base, is the gate."""
    cdef Places places

    @property
    def owned(self):
        """Whether the calling thread reads."""
        return self.places.slot_of(this_thread()) >= 0

    @property
    def owned_by_us(self):
        """Whether a thread of this process reads."""
        cdef int slot
        if self.places.process == this_process():
            for slot in range(MMF_SLOTS):
                if self.places.slots[slot].thread != 0:
                    return True
        return False

    @property
    def depth(self):
        """How often the calling thread has taken it."""
        cdef int slot = self.places.slot_of(this_thread())
        return self.places.slots[slot].depth if slot >= 0 else 0

    @property
    def readers(self):
        """How many threads of all processes read, as the memory says right now."""
        cdef int slot, readers = 0
        for slot in range(MMF_SLOTS):
            readers += mmf_is_live(mmf_slot_lock(self.places.readers, slot))
        return readers

    cdef int take(self, double timeout) except -1:
        cdef uint64_t me = this_thread()
        cdef Places places = self.places
        cdef int slot = places.slot_of(me)
        cdef Locked *locked
        if slot >= 0:
            places.slots[slot].depth += 1
            return TAKEN
        places.renew()
        if places.writer == me:
            raise RuntimeError("this thread owns the lock for writing, and cannot take it for reading besides")
        self.look()
        slot = mmf_reader_try(places.readers, <int>(me % MMF_SLOTS), False)
        if slot < 0:
            slot = self.enter(slot, <int>(me % MMF_SLOTS), timeout)
            if slot < 0:
                return BUSY
        if mmf_marked(self.region):
            self.refuse_state()
        locked = &places.slots[slot]
        note(locked, mmf_slot_lock(places.readers, slot))
        locked.thread = me
        locked.depth = 1
        self.acquisitions += 1
        count_locks(1)
        if mmf_was_writing(places.readers):
            self.previous = places.readers.gate.process
            self.abandonments += 1
            return ABANDONED
        return TAKEN

    cdef int enter(self, int found, int preferred, double timeout) except -2:
        """The slow way in: a slot, or -1 if the time is over. `found`: what the quick one met."""
        cdef mmf_readers *readers = self.places.readers
        cdef mmf_lock *lock
        cdef double until = mmf_now() + timeout
        cdef double left = timeout
        cdef int rc, slot
        self.waits += timeout != 0
        while True:
            if found == -1:
                if not self.lock_one(self.lock, left):
                    return -1
                slot = mmf_reader_try(readers, preferred, True)
                mmf_unlock(self.lock)
                if slot >= 0:
                    return slot
                found = slot
            if found == -3:
                self.damage = "one of its slots is not what it should be"
                self.refuse_state()
            lock = mmf_slot_lock(readers, preferred)
            if not self.lock_one(lock, left):
                return -1
            if mmf_gate_is_open(readers):
                return preferred
            mmf_unlock(lock)
            found = -1
            if timeout >= 0:
                left = max(until - mmf_now(), 0)

    cdef int lock_one(self, mmf_lock *lock, double timeout) except -1:
        return lock_within(self, lock, timeout)

    cdef int give(self, bint abandoned) except -1:
        cdef Places places = self.places
        cdef int slot = places.slot_of(this_thread())
        cdef mmf_lock *lock
        if slot < 0:
            raise RuntimeError("this thread does not read: only who has taken the lock can release it")
        if places.slots[slot].depth > 1:
            places.slots[slot].depth -= 1
            return 0
        lock = mmf_slot_lock(places.readers, slot)
        places.slots[slot].thread = 0
        count_locks(-1)
        if not places.is_sound(lock, &places.slots[slot]):
            self.damage = "somebody has written into its memory while it was read"
            self.refuse_state()
        mmf_unlock(lock)
        return 0


cdef int lock_within(RobustMutex self, mmf_lock *lock, double timeout) except -1:
    """Locks one of the mutexes: 1; 0 if the time is over."""
    cdef int rc = mmf_trylock(lock)
    if rc == EBUSY:
        rc = mmf_lock_spin(lock, SPINS) if timeout == 0 else self.wait(lock, timeout)
    if rc == EOWNERDEAD:
        rc = mmf_consistent(lock)
    if rc == EBUSY or rc == ETIMEDOUT:
        return 0
    if rc or mmf_marked(self.region) or not mmf_is_kind(lock) or MMF_INSIDE(lock).count != 1:
        if self.damage is None:
            self.damage = f"one of its parts cannot be locked (error {rc})"  # not unlocked: nothing is known of it
        self.refuse_state()
    return 1


@cython.final
cdef class WritingSide(RobustMutex):
    """The lock as a writer takes it. `lock`, of the base, is the gate."""
    cdef Places places
    cdef Locked parts[MMF_SLOTS + 1]  # the slots, and the gate

    def __dealloc__(self):
        # As RobustMutex does, which comes after this, and does nothing if there is no owner.
        if not self.is_owned_by_us():
            return
        if self.owner == this_thread() and self.damage is None:
            self.owned_no_more()
            count_locks(-MMF_SLOTS)
            self.unlock(MMF_SLOTS)
        elif mmf_is_live(self.lock):
            Py_INCREF(self.mapping)
        self.owner = 0

    @property
    def state(self):
        """(process id of the writer or None, thread id of the writer or None, whether somebody waits at the gate)."""
        cdef uint32_t word = MMF_INSIDE(self.lock).word
        cdef bint writes = mmf_is_live(self.lock) and mmf_was_writing(self.places.readers)
        if not writes:
            return None, None, bool(word & 0x80000000)
        return self.places.readers.gate.process or None, word & 0x3FFFFFFF, bool(word & 0x80000000)

    cdef int obtain(self, double timeout) except -1:
        cdef Places places = self.places
        cdef mmf_readers *readers = places.readers
        cdef mmf_lock *lock
        cdef double until = 0
        cdef double left = timeout
        cdef int slot, got = TAKEN
        cdef int held = -1  # slots; -1: not even the gate
        places.renew()
        if places.slot_of(this_thread()) >= 0:
            raise RuntimeError("this thread reads, and cannot write before it has released that: two readers who want "
                               "to write would wait for each other for ever")
        self.look()
        if timeout > 0:
            until = mmf_now() + timeout
        try:
            if not lock_within(self, self.lock, left):
                return BUSY
            note(&self.parts[MMF_SLOTS], self.lock)
            held = 0
            for slot in range(MMF_SLOTS):
                lock = mmf_slot_lock(readers, slot)
                if timeout > 0:
                    if mmf_is_live(lock):
                        left = max(until - mmf_now(), 0)
                if not lock_within(self, lock, left):
                    self.unlock(held)
                    return BUSY
                note(&self.parts[slot], lock)
                held += 1
        except BaseException:
            if held >= 0:
                self.unlock(held)
            raise
        if mmf_marked(self.region):
            self.owner = this_thread()  # nothing is unlocked any more, nor unmapped
            self.process = this_process()
            self.damage = "its memory went while it was taken"
            self.refuse_state()
        if mmf_was_writing(readers):
            self.previous = readers.gate.process
            self.abandonments += 1
            got = ABANDONED
        mmf_write_begins(readers, this_process())
        self.owned_through(self.lock)
        count_locks(MMF_SLOTS)
        places.writer = this_thread()
        return got

    cdef int unlock(self, int held) except -1:
        """The last `held` slots that were locked, the last one first, so that each is the first in this thread's list;
        then the gate."""
        cdef mmf_readers *readers = self.places.readers
        cdef int slot
        for slot in range(held - 1, -1, -1):
            self.unlock_one(mmf_slot_lock(readers, slot), &self.parts[slot])
        self.unlock_one(self.lock, &self.parts[MMF_SLOTS])
        return 0

    cdef int unlock_one(self, mmf_lock *lock, Locked *locked) except -1:
        if not self.places.is_sound(lock, locked):
            self.damage = "somebody has written into its memory while it was owned"
            self.refuse_state()
        mmf_unlock(lock)
        return 0

    cdef int let_go(self, bint abandoned) except -1:
        if mmf_marked(self.region):
            self.count = 0
            self.refuse_state()
        if not abandoned:
            mmf_write_ends(self.places.readers)
        self.owned_no_more()
        count_locks(-MMF_SLOTS)
        self.places.writer = 0
        self.unlock(MMF_SLOTS)
        return 0


cdef int refuse_bytes(object position) except -1:
    raise DamagedObjectError(EBADMSG, f"the bytes at {position} are no reader-writer lock: zeros make a free one")


def readers_at(View view not None, position):
    """The reader-writer lock at `position`: its two sides, and whether this call has made it of zeros."""
    need_robust_mutexes()
    cdef char *address
    cdef Mapping mapping = locate(view, position, MMF_READERS_SIZE, 8, &address)
    cdef mmf_readers *readers = <mmf_readers *>address
    cdef int slot, made
    # Slots first, the gate last: where it is not yet one, its maker may have died in between.
    claim(address, MMF_READERS_SIZE, MMF_READERS, position)
    for slot in range(MMF_SLOTS):
        mmf_place_claim(<char *>mmf_slot_lock(readers, slot), MMF_READERS)
        if mmf_claim_zeros(mmf_slot_lock(readers, slot)) < 0:
            refuse_bytes(position)
    made = mmf_claim_zeros(mmf_gate_lock(readers))
    if made < 0:
        refuse_bytes(position)
    cdef Places places = Places.__new__(Places)
    places.mapping = mapping
    places.readers = readers
    places.process = this_process()
    cdef ReadingSide reading = ReadingSide.__new__(ReadingSide)
    cdef WritingSide writing = WritingSide.__new__(WritingSide)
    for side in (reading, writing):
        (<RobustMutex>side).mapping = mapping
        (<RobustMutex>side).region = mapping.region
        (<RobustMutex>side).lock = mmf_gate_lock(readers)
    reading.places = places
    writing.places = places
    if mmf_marked(mapping.region):
        reading.refuse_state()
    return reading, writing, made == 1

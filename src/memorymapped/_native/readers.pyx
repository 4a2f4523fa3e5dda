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
        3  all slots taken: wait for one of them without the gate, and after a moment look at all again: another may be
           free by then. Somebody has the gate when it is had: unlock it, 2.
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

Tasks of an event loop that read share the slot of the loop's thread: each comes in only while the gate is free, so they
do not keep a writer out for ever. A task that waits to write has the gate meanwhile (for its thread: however many wait),
and the slots that it has got; each look at it is step 1 without waiting. A blocking wait of that thread goes on with
what it has, to write, or gives it up, to read: it would wait for itself.

A signal handler may come in between wherever this thread waits. If it takes one of the sides and keeps it, the wait is
over: what it waited for is had, or cannot be. While this thread has the gate a handler cannot take anything.
"""
from memorymapped.errors import DamagedObjectError

cimport cython
from cpython.ref cimport Py_INCREF
from libc.errno cimport EALREADY, EBADMSG, EBUSY, ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t
from memorymapped._native.mapped cimport claim, locate, refuse_foreign
from memorymapped._native.memory cimport Mapping, View, mmf_marked
from memorymapped._native.robust cimport (
    ABANDONED, BUSY, TAKEN, RobustMutex, count_locks, mmf_lock, need_robust_mutexes, this_process, this_thread)

cdef extern from "readers.h" nogil:
    ctypedef struct mmf_inside:
        uint32_t word
        uint32_t count
        void *before
        void *after
    ctypedef struct mmf_slot:
        uint32_t writing
        uint32_t process
    ctypedef struct mmf_readers:
        mmf_slot gate
        mmf_slot *slot
    enum:
        MMF_SLOTS
        MMF_READERS_SIZE
    int EOWNERDEAD
    uint32_t MMF_ONCE
    mmf_inside *MMF_INSIDE(mmf_lock *lock)
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
    bint mmf_is_read(mmf_readers *readers, int slot)
    uint32_t mmf_writer_of(mmf_readers *readers)
    bint mmf_is_waited_for(mmf_readers *readers)

cdef extern from "places.h" nogil:
    int MMF_READERS
    int mmf_place_claim(char *place, int kind)

SIZE = MMF_READERS_SIZE
SLOTS = MMF_SLOTS
"""Readers that can be inside at the same time; more wait."""

cdef int SPINS = 200
cdef double SLOT_SLICE = 0.01  # seconds of a wait for one slot until all are looked at

cdef enum:
    DIFFERENT = 2  # what `lock_within` says if a signal handler of this thread has taken a side meanwhile


cdef struct Locked:
    uint64_t thread  # who has it, of this process; 0: nobody
    Py_ssize_t depth
    void *before     # its neighbours in the thread's list, as they were when it was locked
    void *after


@cython.final
@cython.internal
@cython.no_gc_clear
cdef class Places:
    """The mutexes of one lock, and which thread of this process has which. Both sides share it."""
    cdef Mapping mapping
    cdef mmf_readers *readers
    cdef Locked slots[MMF_SLOTS]  # those of readers
    cdef int reading              # how many of them are somebody's
    cdef Locked parts[MMF_SLOTS + 1]  # the slots and the gate, of who writes or waits for it
    cdef uint64_t writer
    cdef uint64_t gated           # who has the gate and waits for readers to go
    cdef int held                 # the slots that it has
    cdef bint draining            # it is at that in this moment: what comes in between is a signal handler
    cdef bint stays               # its tasks wait to write: what it has stays when a wait is over
    cdef list tasks               # None, or (thread, task) of each task that reads
    cdef object writing_task
    cdef uint32_t process         # this process, unless the object was copied by a fork since

    def __dealloc__(self):
        # Who is dropped while this thread reads does not read any more. Another thread's slot stays, and its page.
        cdef int slot
        cdef mmf_lock *lock
        if self.process != this_process():
            return
        if self.gated == this_thread():
            self.leave()
        elif self.gated != 0 and mmf_is_live(mmf_gate_lock(self.readers)):
            Py_INCREF(self.mapping)
        for slot in range(MMF_SLOTS):
            if self.slots[slot].thread == 0:
                continue
            lock = mmf_slot_lock(self.readers, slot)
            if self.slots[slot].thread == this_thread() and self.is_sound(lock, &self.slots[slot]):
                count_locks(-1)
                self.readers.slot[slot].process = 0
                mmf_unlock(lock)
            elif mmf_is_live(lock):
                Py_INCREF(self.mapping)
                return

    cdef bint is_sound(self, mmf_lock *lock, Locked *locked) noexcept:
        """May the C library unlock it?"""
        return (not mmf_marked(self.mapping.region) and mmf_is_kind(lock)
                and ((MMF_INSIDE(lock).before == locked.before and MMF_INSIDE(lock).after == locked.after)
                     or mmf_in_list(lock)))

    cdef bint unlock(self, int held) noexcept:
        """Of a writer's: the first `held` slots, the last one first, so that each is the first in this thread's list;
        then the gate. False: the memory is not what it was, and the rest stays locked."""
        cdef int slot
        cdef mmf_lock *lock
        for slot in range(held - 1, -1, -1):
            lock = mmf_slot_lock(self.readers, slot)
            if not self.is_sound(lock, &self.parts[slot]):
                return False
            mmf_unlock(lock)
        lock = mmf_gate_lock(self.readers)
        if not self.is_sound(lock, &self.parts[MMF_SLOTS]):
            return False
        mmf_unlock(lock)
        return True

    cdef bint leave(self) noexcept:
        """This thread waits to write no longer. False: as `unlock`."""
        cdef bint sound = self.unlock(self.held)
        self.gated = 0
        self.stays = False
        count_locks(-MMF_SLOTS - 1)
        if not sound:
            Py_INCREF(self.mapping)
        return sound

    cdef int slot_of(self, uint64_t thread) noexcept:
        """The slot with which a thread of this process reads; -1: it does not. (No thread of a forked child has the
        number of one of its parent's.)"""
        cdef int turn, slot
        cdef int preferred
        if self.reading == 0:
            return -1
        preferred = <int>(thread % MMF_SLOTS)
        for turn in range(MMF_SLOTS):
            slot = preferred + turn
            if slot >= MMF_SLOTS:
                slot -= MMF_SLOTS
            if self.slots[slot].thread == thread:
                return slot
        return -1

    cdef tuple tasks_of(self, uint64_t thread):
        """The tasks by which a thread reads."""
        if self.tasks is None or self.slot_of(thread) < 0:
            return ()
        return tuple([task for number, task in self.tasks if number == thread])

    cdef int end_forsaken(self) except -1:
        """Gives back what the calling thread has by tasks of loops that were closed."""
        for owner in self.tasks_of(this_thread()):
            owner.end_if_forsaken()
        if self.writer == this_thread() and self.writing_task is not None:
            self.writing_task.end_if_forsaken()
        return 0

    cdef void renew(self) noexcept:
        """After a fork: what the parent's threads have is not ours."""
        cdef int slot
        if self.process != this_process():
            for slot in range(MMF_SLOTS):
                self.slots[slot].thread = 0
            self.reading = 0
            self.writer = 0
            self.gated = 0
            self.stays = False
            self.tasks = None
            self.writing_task = None
            self.process = this_process()


cdef void note(Locked *locked, mmf_lock *lock) noexcept:
    locked.before = MMF_INSIDE(lock).before
    locked.after = MMF_INSIDE(lock).after


@cython.final
@cython.no_gc_clear
cdef class ReadingSide(RobustMutex):
    """The lock as readers take it. `lock`, of the base, is the gate; `task` is None if no task reads."""
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
    def state(self):
        """(None, None, whether somebody waits): those who read are many."""
        cdef bint has_waiters = mmf_is_waited_for(self.places.readers)
        self.check_fault()
        return None, None, has_waiters

    @property
    def readers(self):
        """How many threads of all processes read, as the memory says right now."""
        cdef int slot, readers = 0
        for slot in range(MMF_SLOTS):
            readers += mmf_is_read(self.places.readers, slot)
        self.check_fault()
        return readers

    def end_forsaken(self):
        self.places.end_forsaken()

    @property
    def owners(self):
        """The tasks by which the calling thread reads."""
        return self.places.tasks_of(this_thread())

    def add_owner(self, task):
        """What the calling thread has just taken belongs to a task of it."""
        self.places.renew()
        # Without those whose thread has ended.
        self.places.tasks = [each for each in self.places.tasks or () if self.places.slot_of(each[0]) >= 0]
        self.places.tasks.append((this_thread(), task))
        self.task = self.places.tasks

    def remove_owner(self, task):
        """Before the calling thread gives back what belongs to a task."""
        self.places.tasks = [each for each in self.places.tasks or () if each[1] is not task] or None
        self.task = self.places.tasks

    def try_as_task(self, task, bint in_line):
        cdef uint64_t me = this_thread()
        cdef Places places = self.places
        cdef int slot
        places.renew()
        if places.writer == me:
            if places.writing_task is None:
                raise RuntimeError(f"this thread owns {self.called()} for writing by a blocking wait, so no task of it "
                                   "can wait for reading")
            if places.writing_task.task is task:
                raise RuntimeError(f"the task {places.writing_task!r} owns {self.called()} for writing, and cannot take "
                                   "it for reading besides")
            return BUSY
        if places.gated == me:
            return BUSY  # a task that came before waits to write
        slot = places.slot_of(me)
        if slot < 0:
            return self.take(0)
        if not places.tasks_of(me):
            return BUSY
        # Other tasks of this thread read. Who waits to write comes before this one.
        self.look()
        if not mmf_gate_is_open(places.readers):
            if lock_within(self, self.lock, 0) != 1:
                return BUSY
            mmf_unlock(self.lock)
        places.slots[slot].depth += 1
        self.acquisitions += 1
        return self.told()

    cdef bint is_vain(self, mmf_lock *lock) noexcept:
        return self.is_ours() or self.places.writer == this_thread()

    cdef bint is_ours(self) noexcept:
        return self.places.slot_of(this_thread()) >= 0

    def abandon(self):
        """Gives back all that this thread has taken, if it has; of what its tasks have, one."""
        cdef int slot = self.places.slot_of(this_thread())
        if slot < 0:
            return
        if not self.places.tasks_of(this_thread()):
            self.places.slots[slot].depth = 1
        self.give(True)

    cdef int take(self, double timeout) except -1:
        cdef uint64_t me = this_thread()
        cdef Places places = self.places
        cdef int slot = places.slot_of(me)
        cdef Locked *locked
        if slot >= 0:
            if places.tasks is not None and places.tasks_of(me):
                places.end_forsaken()
                if places.tasks_of(me):
                    self.refuse_beside_task()
                return self.take(timeout)
            places.slots[slot].depth += 1
            return TAKEN
        places.renew()
        if places.writer == me:
            places.end_forsaken()
        if places.writer == me or places.gated == me:
            if not self.may_wait(timeout):
                return BUSY
        self.look()
        slot = mmf_reader_try(places.readers, <int>(me % MMF_SLOTS), False)
        if slot < 0:
            slot = self.enter(slot, <int>(me % MMF_SLOTS), timeout)
            if slot < 0:
                return self.take(timeout) if slot == -DIFFERENT else BUSY
        if mmf_marked(self.region):
            self.refuse_state()
        places.readers.slot[slot].process = places.process
        locked = &places.slots[slot]
        note(locked, mmf_slot_lock(places.readers, slot))
        places.reading += locked.thread == 0  # or else a thread has ended that read by it
        locked.thread = me
        locked.depth = 1
        self.acquisitions += 1
        count_locks(1)
        if mmf_was_writing(places.readers):
            return self.told()
        return TAKEN

    cdef bint may_wait(self, double timeout) except -1:
        """This thread writes, or waits for that."""
        cdef Places places = self.places
        if places.writer == this_thread():
            raise RuntimeError(f"this thread owns {self.called()} for writing, and cannot take it for reading besides")
        if timeout == 0:
            return False
        if places.draining:
            raise RuntimeError(f"a signal handler waits for {self.called()}, for which the thread that it interrupted "
                               "waits already, to write: that would never end")
        if not places.leave():  # its tasks that wait to write come again
            self.damage = "somebody has written into its memory while a task waited for it"
            self.refuse_state()
        return True

    cdef int refuse_beside_task(self) except -1:
        raise RuntimeError(f"a task of this thread's event loop reads by {self.called()}: a blocking wait here might "
                           "never end; await wait_one_async")

    cdef int refuse_stranger(self) except -1:
        raise RuntimeError(f"this thread does not read by {self.called()}: only who has taken it can release it")

    cdef int told(self) noexcept:
        """TAKEN, or ABANDONED if the last writer has not finished."""
        cdef mmf_readers *readers = self.places.readers
        if not mmf_was_writing(readers):
            return TAKEN
        self.previous = readers.gate.process
        self.abandonments += 1
        return ABANDONED

    cdef int enter(self, int found, int preferred, double timeout) except -3:
        """The slow way in: a slot; -1 if the time is over; -DIFFERENT if a signal handler has taken the lock for this
        thread meanwhile. `found`: what the quick one met."""
        cdef mmf_readers *readers = self.places.readers
        cdef mmf_lock *lock = mmf_slot_lock(readers, preferred)
        cdef double until = mmf_now() + timeout
        cdef double left
        cdef int got
        cdef bint waited = False
        while found < 0:
            left = timeout if timeout <= 0 else max(until - mmf_now(), 0)
            if found == -1:
                got = lock_within(self, self.lock, 0)
                if got == 0 and left != 0:
                    self.waits += not waited
                    waited = True
                    got = lock_within(self, self.lock, left)
                if got != 1:
                    return -got if got else -1
                found = mmf_reader_try(readers, preferred, True)
                mmf_unlock(self.lock)
            elif found == -2:
                if left == 0:
                    return -1
                self.waits += not waited
                waited = True
                got = lock_within(self, lock, SLOT_SLICE if left < 0 else min(left, SLOT_SLICE))
                if got == DIFFERENT:
                    return -DIFFERENT
                if got == 0:
                    found = mmf_reader_try(readers, preferred, False)
                elif mmf_gate_is_open(readers):
                    found = preferred
                else:
                    mmf_unlock(lock)
                    found = -1
            else:
                self.damage = "one of its slots is not what it should be"
                self.refuse_state()
        return found

    cdef int give(self, bint abandoned) except -1:
        cdef Places places = self.places
        cdef int slot = places.slot_of(this_thread())
        cdef mmf_lock *lock
        if slot < 0:
            self.refuse_stranger()
        if places.slots[slot].depth > 1:
            places.slots[slot].depth -= 1
            return 0
        lock = mmf_slot_lock(places.readers, slot)
        places.slots[slot].thread = 0
        places.reading -= 1
        count_locks(-1)
        if not places.is_sound(lock, &places.slots[slot]):
            self.damage = "somebody has written into its memory while it was read"
            self.refuse_state()
        places.readers.slot[slot].process = 0
        mmf_unlock(lock)
        return 0


cdef int lock_within(RobustMutex self, mmf_lock *lock, double timeout) except -1:
    """Locks one of the mutexes: 1; 0 if the time is over; DIFFERENT."""
    cdef int rc = mmf_trylock(lock)
    if rc == EBUSY:
        rc = mmf_lock_spin(lock, SPINS) if timeout == 0 else self.wait(lock, timeout)
    if rc == EOWNERDEAD:
        rc = mmf_consistent(lock)
    if rc == EBUSY or rc == ETIMEDOUT:
        return 0
    if rc == EALREADY:
        return DIFFERENT
    if rc or mmf_marked(self.region) or not mmf_is_kind(lock) or MMF_INSIDE(lock).count != MMF_ONCE:
        if self.damage is None:
            self.damage = f"one of its parts cannot be locked (error {rc})"  # not unlocked: nothing is known of it
        self.refuse_state()
    return 1


@cython.final
@cython.no_gc_clear
cdef class WritingSide(RobustMutex):
    """The lock as a writer takes it. `lock`, of the base, is the gate."""
    cdef Places places

    def __dealloc__(self):
        # As RobustMutex does, which comes after this, and does nothing if there is no owner.
        if not self.is_owned_by_us():
            return
        if self.owner == this_thread() and self.damage is None:
            self.owned_no_more()
            count_locks(-MMF_SLOTS)
            self.places.unlock(MMF_SLOTS)
        elif mmf_is_live(self.lock):
            Py_INCREF(self.mapping)
        self.owner = 0

    @property
    def state(self):
        """(process id of the writer or None, thread id of the writer or None, whether somebody waits)."""
        cdef mmf_readers *readers = self.places.readers
        cdef uint32_t writer = mmf_writer_of(readers)
        cdef bint has_waiters = mmf_is_waited_for(readers)
        self.check_fault()
        return readers.gate.process or None if writer else None, writer or None, has_waiters

    def end_forsaken(self):
        self.places.end_forsaken()

    def add_owner(self, task):
        """What the calling thread has just taken belongs to a task of it."""
        self.task = self.places.writing_task = task

    def remove_owner(self, task):
        """Before the calling thread gives back what belongs to a task."""
        self.task = self.places.writing_task = None

    @property
    def has_line(self):
        return True

    def try_as_task(self, task, bint in_line):
        cdef Places places = self.places
        cdef uint64_t me = this_thread()
        cdef tuple readers = ()
        if self.owner == me and self.count > 0:
            return BUSY
        places.renew()
        if places.slot_of(me) >= 0:
            readers = places.tasks_of(me)
            if not readers:
                raise RuntimeError(f"this thread reads by {self.called()}, by a blocking wait, so no task of it can wait "
                                   "for writing")
            for reader in readers:
                if reader.task is task:
                    raise RuntimeError(f"the task {reader!r} reads by {self.called()}, and cannot write before it has "
                                       "released that")
        if not in_line:
            return BUSY if readers else self.obtain(0)
        if places.gated != me:
            self.look()
            if lock_within(self, self.lock, 0) != 1:
                return BUSY
            self.waits += 1
            self.gate_taken()
        elif places.draining:
            return BUSY
        places.stays = True
        return self.drain(0, True)

    def leave_line(self, uint64_t thread):
        cdef Places places = self.places
        if places.process != this_process() or places.gated != thread or not places.stays:
            return
        places.stays = False
        # A blocking wait that uses it leaves by itself. So does another thread, when it comes to this lock again: only
        # the one that has locked a mutex can unlock it.
        if not places.draining and thread == this_thread() and not places.leave():
            self.damage = "somebody has written into its memory while a task waited for it"

    cdef bint is_vain(self, mmf_lock *lock) noexcept:
        return self.is_ours() or self.places.slot_of(this_thread()) >= 0

    cdef int obtain(self, double timeout) except -1:
        cdef Places places = self.places
        cdef uint64_t me = this_thread()
        cdef double until
        cdef int got
        cdef bint waited = False
        places.renew()
        if places.slot_of(me) >= 0:
            places.end_forsaken()
        if places.slot_of(me) >= 0:
            self.refuse_reader(me)
        if places.gated == me:
            if places.draining:
                if timeout == 0:
                    return BUSY
                raise RuntimeError(f"a signal handler waits for {self.called()}, for which the thread that it "
                                   "interrupted waits already: that would never end")
            return self.drain(mmf_now() + timeout if timeout > 0 else timeout, True)
        self.look()
        until = mmf_now() + timeout if timeout > 0 else timeout
        got = lock_within(self, self.lock, 0)
        if got == 0 and timeout != 0:
            self.waits += 1
            waited = True
            got = lock_within(self, self.lock, timeout)
        if got != 1:
            return self.take(timeout) if got == DIFFERENT else BUSY
        self.gate_taken()
        return self.drain(until, waited)

    cdef int refuse_reader(self, uint64_t me) except -1:
        if self.places.tasks_of(me):
            raise RuntimeError(f"a task of this thread's event loop reads by {self.called()}: a blocking wait here to "
                               "write would never end; await wait_one_async")
        raise RuntimeError(f"this thread reads by {self.called()}, and cannot write before it has released that: two "
                           "readers who want to write would wait for each other for ever")

    cdef int refuse_stranger(self) except -1:
        raise RuntimeError(f"this thread does not own {self.called()} for writing: only who has taken it can release it")

    cdef void gate_taken(self) noexcept:
        note(&self.places.parts[MMF_SLOTS], self.lock)
        self.places.gated = this_thread()
        self.places.held = 0
        self.places.stays = False
        count_locks(MMF_SLOTS + 1)

    cdef int drain(self, double until, bint waited) except -1:
        """Step 1, with the gate: takes the slots that are not had yet. If the time is over, gives up, unless what is had
        stays. `waited`: that was counted already."""
        cdef Places places = self.places
        cdef mmf_readers *readers = places.readers
        cdef mmf_lock *lock
        cdef int slot, got = 1
        cdef int own = places.slot_of(this_thread()) if places.tasks is not None else -1  # tasks read
        places.draining = True
        try:
            for slot in range(places.held, MMF_SLOTS):
                if slot == own:
                    got = 0
                    break
                lock = mmf_slot_lock(readers, slot)
                got = lock_within(self, lock, 0)
                if got == 0 and until != 0:
                    self.waits += not waited
                    waited = True
                    got = lock_within(self, lock, max(until - mmf_now(), 0) if until > 0 else until)
                if got != 1:
                    break
                readers.slot[slot].process = 0
                note(&places.parts[slot], lock)
                places.held += 1
        except BaseException:
            places.draining = False
            if not places.stays or self.damage is not None or mmf_marked(self.region):
                places.leave()
            raise
        places.draining = False
        if got != 1:
            if not places.stays and not places.leave():
                self.damage = "somebody has written into its memory while it was waited for"
                self.refuse_state()
            return BUSY
        places.gated = 0
        places.stays = False
        if mmf_marked(self.region):
            self.owner = this_thread()  # nothing is unlocked any more, nor unmapped
            self.process = this_process()
            self.damage = "its memory went while it was taken"
            self.refuse_state()
        got = TAKEN
        if mmf_was_writing(readers):
            self.previous = readers.gate.process
            self.abandonments += 1
            got = ABANDONED
        mmf_write_begins(readers, this_process())
        self.owned_through(self.lock)
        count_locks(-1)
        places.writer = this_thread()
        return got

    cdef int let_go(self, bint abandoned) except -1:
        if mmf_marked(self.region):
            self.count = 0
            self.refuse_state()
        if not abandoned:
            mmf_write_ends(self.places.readers)
        self.owned_no_more()
        count_locks(-MMF_SLOTS)
        self.places.writer = 0
        self.places.writing_task = None
        if not self.places.unlock(MMF_SLOTS):
            self.damage = "somebody has written into its memory while it was owned"
            self.refuse_state()
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
            refuse_foreign(mmf_slot_lock(readers, slot), position)
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

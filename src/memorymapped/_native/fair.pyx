# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A fair robust mutex in shared memory: first come, first served, told of a dead owner, dead waiters skipped.

In memory (fair.h): a gate G, a robust mutex that is held for a few instructions only; `tail`, the number of the node of
who came last, 0 if the mutex is free; and nodes, one for each thread that owns or waits: a robust mutex L, which that
thread has locked, a state, and `before`, the node that it waits for. **Each waiter blocks on the L of the node before
its own**, so the kernel's hand-over of robust mutexes wakes exactly the next one when an owner or a waiter dies.

States: FREE (anybody's); WAITING; OWNED; LEFT (gave up waiting); RELEASED. A node's state says what its thread last
did, and its L whether that thread lives. From the tail the `before` lead to the head of the queue, which is the first
node that is OWNED or RELEASED.

Acquire 1  lock G. (Its last owner died: go on. Every state below tolerates a death.) Take a FREE node whose L can be
           locked, or was a dead thread's. None: sweep, which frees the nodes that are not reached from the tail and
           whose L no living thread has; still none: an error.
           Killed: the node is not reached from the tail, its L is dead: taken or swept later.
        2  before = tail, state = WAITING, or OWNED if there is no tail; then tail = the node. Unlock G.
           Killed before the store of the tail: as in 1. After it: in the queue, and whoever comes next gets EOWNERDEAD
           on this L and reads the state.
        3  while WAITING: lock the L of the node before (in slices, for signals and time-outs: only this thread waits
           there, so nobody can get in between). Lock G. By the state of the node before:
           RELEASED       this thread owns the mutex;
           OWNED          it owns it, and its owner died: a living owner has its L locked;
           WAITING, LEFT  it died, or left: before = its before.
           First the own state (or `before`), then that node is FREE; unlock its L; unlock G.
           Killed before the first store: L of both are dead, the next one comes to the same node. Between the two: the
           next one reads OWNED, dead: told of an abandonment, once too often, never once too few; the old node is not
           reached from the tail any more (the walk ends at OWNED, or has gone on to the new `before`), and is swept.
Leave      (a time-out, an exception). With G: if this is the tail: tail = before, FREE. Otherwise, or if somebody has
           G: LEFT. Unlock L (and, if it was held, the L of the node before, which stays as it is).
           Killed before the end: as a waiter that dies. Who comes next skips it.
Release    With G: RELEASED; if this is the tail: tail = 0, FREE. Without G, if somebody has it: RELEASED. Unlock L.
           Killed after RELEASED: L is dead, the state says RELEASED: handed over as it should be. Between tail = 0 and
           FREE: not reached from the tail, swept. (A node that stays RELEASED is freed by who comes next, as in 3.)
           To hand over as abandoned: the state stays OWNED; unlock L.

Tasks of an event loop wait by a place in the queue that the loop's thread has: one, however many tasks wait (they stand
in line in the loop, aio.py). It stays while the loop does other things, and each look at it is step 3 without waiting.
A blocking wait of that thread goes on at that place: behind it, it would wait for itself. A loop that does not run is
waited for as a stopped process is. If the place is ended by another thread, which cannot unlock its L, it is LEFT with
L locked: who comes to such a one goes past it, `before` = its before, and it stays until its thread unlocks or ends.

So nobody waits for G but who comes, and an owner never waits at all. A process that is stopped is not dead: everybody
waits for it, also if it was stopped in the few instructions in which it has G.
"""
from memorymapped.errors import DamagedObjectError, WaitHandleCannotBeOpenedError

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.ref cimport Py_INCREF
from libc.errno cimport EALREADY, EBADMSG, EBUSY, EINVAL, ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t
from libc.string cimport memset
from memorymapped._native.memory cimport Mapping, mmf_marked, mmf_object, new_mapping
from memorymapped._native.robust cimport (
    ABANDONED, BUSY, TAKEN, RobustMutex, count_locks, foreign, mmf_lock, need_robust_mutexes, this_process, this_thread)

cdef extern from "pages.h" nogil:
    int MMF_MAP_READ, MMF_MAP_WRITE, MMF_MAP_SHARED, MMF_MAP_OWN
    size_t mmf_page_size()

cdef extern from "fair.h" nogil:
    ctypedef struct mmf_inside:
        uint32_t word
        uint32_t count
        void *before
        void *after
    uint32_t MMF_ONCE
    mmf_inside *MMF_INSIDE(mmf_lock *lock)
    ctypedef struct mmf_fair_node:
        uint32_t state
        uint32_t before
        uint32_t ticket
        uint32_t process
    ctypedef struct mmf_fair:
        uint32_t tail
        mmf_fair_node gate
    int EOWNERDEAD
    enum:
        MMF_FAIR_NODES
    int MMF_FAIR_SIZE
    uint32_t MMF_OWNED, MMF_WAITING, MMF_LEFT
    bint mmf_is_kind(const mmf_lock *lock)
    bint mmf_is_foreign(const mmf_lock *lock)
    bint mmf_in_list(const mmf_lock *lock)
    double mmf_now()
    int mmf_lock_spin(mmf_lock *lock, int turns)
    int mmf_trylock(mmf_lock *lock)
    int mmf_unlock(mmf_lock *lock)
    int mmf_consistent(mmf_lock *lock)
    mmf_fair_node *mmf_fair_at(mmf_fair *fair, uint32_t number)
    mmf_lock *mmf_fair_lock(mmf_fair_node *node)
    bint mmf_fair_valid(uint32_t number)
    void mmf_fair_blank(mmf_fair *fair)
    bint mmf_fair_begin(mmf_fair *fair)
    bint mmf_fair_is_sound(mmf_fair *fair)
    bint mmf_fair_try(mmf_lock *lock)
    bint mmf_fair_is_live(mmf_fair_node *node)
    uint32_t mmf_fair_enter(mmf_fair *fair, uint32_t hint, uint32_t process)
    int mmf_fair_advance(mmf_fair *fair, uint32_t number)
    bint mmf_fair_skip(mmf_fair *fair, uint32_t number)
    uint32_t mmf_fair_get(uint32_t *word)
    void mmf_fair_set(uint32_t *word, uint32_t value)
    void mmf_fair_cancel(mmf_fair *fair, uint32_t number, bint gated)
    void mmf_fair_leave(mmf_fair *fair, uint32_t number, bint abandoned, bint gated)

SIZE = MMF_FAIR_SIZE
"""Bytes of a fair mutex in shared memory."""

MOST = MMF_FAIR_NODES
"""Threads that can own one or wait for it at the same time."""

cdef int SPINS = 100             # turns that a release or a leave tries to get the gate
cdef double GATE_LIMIT = 0.05    # seconds that even a look waits for the gate, which is nobody's for long

cdef enum:
    OWNS_ALREADY = 2  # what `pass_gate` says if a signal handler has taken the mutex for this thread


cdef struct Place:
    uint64_t thread  # of this process, which waits there; 0: none
    uint32_t ticket
    bint busy        # the thread is at it in this moment: what comes in between is a signal handler
    bint stays       # it is its tasks', and stays when a wait is over
    bint gone        # another thread has ended it; its own has yet to unlock it


@cython.final
@cython.no_gc_clear
cdef class FairCore(RobustMutex):
    """One fair mutex in shared memory, as this process sees it. `lock`, of the base, is the gate."""
    cdef mmf_fair *fair
    cdef uint32_t node  # the owner's, if it is a thread of this process
    cdef uint32_t hint  # where a free node was found last
    cdef int waiting    # how many of `places` are somebody's
    cdef uint32_t waiting_process  # this process, unless the object was copied by a fork since
    cdef Place places[MMF_FAIR_NODES + 1]  # by the number of the node

    def __dealloc__(self):
        # As RobustMutex does, which comes after this, and does nothing if there is no owner.
        cdef mmf_lock *lock
        if self.waiting and self.waiting_process == this_process():
            self.leave_all()
        if not self.is_owned_by_us():
            return
        lock = mmf_fair_lock(mmf_fair_at(self.fair, self.node))
        if self.owner == this_thread():
            if self.damage is None and self.before == MMF_INSIDE(lock).before and mmf_in_list(lock):
                self.owned_no_more()
                mmf_fair_leave(self.fair, self.node, True, False)
                return
        elif self.damage is None and mmf_is_kind(lock) and not mmf_fair_is_live(mmf_fair_at(self.fair, self.node)):
            self.owner = 0  # that thread has ended: the next one is told
            return
        Py_INCREF(self.mapping)  # a thread of ours owns it: the pages stay
        self.owner = 0

    # ---- what it is

    @property
    def state(self):
        """(process id of the owner or None, thread id of the owner or None, whether somebody waits), as the memory says
        right now."""
        cdef uint32_t number
        cdef mmf_fair_node *node
        cdef bint has_waiters = self.queue_length > 0
        for number in range(1, MMF_FAIR_NODES + 1):
            node = mmf_fair_at(self.fair, number)
            if node.state == MMF_OWNED and mmf_fair_is_live(node):
                self.check_fault()
                return node.process or None, MMF_INSIDE(mmf_fair_lock(node)).word & 0x3FFFFFFF or None, has_waiters
        self.check_fault()
        return None, None, has_waiters

    @property
    def queue_length(self):
        """How many living threads wait, as the memory says right now."""
        cdef uint32_t number
        cdef int length = 0
        for number in range(1, MMF_FAIR_NODES + 1):
            if mmf_fair_at(self.fair, number).state == MMF_WAITING and mmf_fair_is_live(mmf_fair_at(self.fair, number)):
                length += 1
        self.check_fault()
        return length

    @property
    def ticket(self):
        """The number that the owner got when it came; it counts all who come, and wraps at 2**32. For the owner."""
        return mmf_fair_at(self.fair, self.node).ticket

    # ---- acquire

    cdef int obtain(self, double timeout) except -1:
        cdef mmf_fair *fair = self.fair
        cdef uint32_t number
        cdef bint waits
        cdef int got
        self.look()
        if self.waiting:
            number = self.place_of(this_thread())
            if number:
                return self.obtain_at(number, timeout)
        cdef double until = mmf_now() + timeout if timeout > 0 else timeout
        got = self.pass_gate(timeout)
        if got != TAKEN:
            return self.take(timeout) if got == OWNS_ALREADY else BUSY
        if (timeout == 0 and mmf_fair_valid(fair.tail) and mmf_fair_is_live(mmf_fair_at(fair, fair.tail))
                and mmf_fair_get(&mmf_fair_at(fair, fair.tail).state) != MMF_LEFT):
            mmf_unlock(self.lock)  # who came last lives: it owns, or waits for who does
            return BUSY
        number = self.enter(&waits)
        if waits:
            self.waits += timeout != 0
            self.note(number, False)
            got = self.wait_at(number, until)
            if got == BUSY:
                return BUSY
        return self.begin(number, got)

    cdef inline uint32_t enter(self, bint *waits) except 0:
        """With the gate, which it gives back: a place at the end of the queue, and whether who has it must wait."""
        cdef uint32_t number = mmf_fair_enter(self.fair, self.hint, this_process())
        waits[0] = number != 0 and mmf_fair_at(self.fair, number).state == MMF_WAITING
        mmf_unlock(self.lock)
        if number == 0:
            self.refuse_more()
        self.hint = number - 1
        return number

    def try_as_task(self, task, bint in_line):
        cdef uint32_t number
        cdef bint waits
        if self.owner == this_thread() and self.count > 0:
            return BUSY
        if not in_line:
            return self.obtain(0)
        self.look()
        number = self.place_of(this_thread())
        if number == 0:
            if not self.try_gate():
                return BUSY
            number = self.enter(&waits)
            if not waits:
                return self.begin(number, TAKEN)
            self.waits += 1
            self.note(number, True)
        return self.obtain_at(number, 0)

    @property
    def has_line(self):
        return True

    cdef int obtain_at(self, uint32_t number, double timeout) except -1:
        """Goes on to wait at a place that this thread has."""
        cdef int got
        cdef bint stood
        if self.places[number].busy:
            if timeout == 0:
                return BUSY
            raise RuntimeError(f"a signal handler waits for {self.called()}, for which the thread that it interrupted "
                               "waits already: that would never end")
        stood = self.places[number].stays
        got = self.wait_at(number, mmf_now() + timeout if timeout > 0 else timeout)
        if got == BUSY:
            return BUSY
        if stood and not mmf_in_list(mmf_fair_lock(mmf_fair_at(self.fair, number))):
            self.refuse_list()
        return self.begin(number, got)

    cdef int begin(self, uint32_t number, int got) except -1:
        """This thread owns the mutex, by this node."""
        if mmf_marked(self.region):
            self.refuse_state()
        self.node = number
        self.owned_through(mmf_fair_lock(mmf_fair_at(self.fair, number)))
        if got == ABANDONED:
            self.abandonments += 1
        return got

    cdef int refuse_more(self) except -1:
        raise RuntimeError(f"all {MMF_FAIR_NODES} places of {self.called()} are taken: {self.queue_length} threads "
                           "wait for it, and there is no room for one more")

    cdef int refuse_list(self) except -1:
        self.damage = "somebody has written over its list pointers while this thread waited"
        Py_INCREF(self.mapping)  # one that is never unlocked
        self.refuse_state()

    cdef int pass_gate(self, double timeout) except -1:
        """Locks the gate: 1; 0 if the time is over; OWNS_ALREADY."""
        cdef int rc = mmf_trylock(self.lock)
        if rc == EBUSY:
            rc = self.wait(self.lock, timeout if timeout < 0 else max(timeout, GATE_LIMIT))
        if rc == EOWNERDEAD:
            rc = mmf_consistent(self.lock)
        if rc == ETIMEDOUT:
            return 0
        if rc == EALREADY:
            return OWNS_ALREADY
        if rc or mmf_marked(self.region) or not mmf_is_kind(self.lock) or MMF_INSIDE(self.lock).count != MMF_ONCE:
            self.damage = f"its gate cannot be locked (error {rc})"  # not unlocked: nothing is known of it
            self.refuse_state()
        return 1

    cdef int wait_at(self, uint32_t number, double until) except -1:
        """Step 3 at a place that is noted. It is no longer noted if this thread owns the mutex (TAKEN, ABANDONED); nor if
        it does not, unless the place stays."""
        cdef Place *place = &self.places[number]
        cdef int got
        place.busy = True
        try:
            got = self.queue(number, until, place.stays and until == 0)
        except BaseException:
            place.busy = False
            if not place.stays or self.damage is not None or mmf_marked(self.region):
                self.leave(number)
            raise
        place.busy = False
        if got != BUSY:
            self.forget(number)
        elif not place.stays:
            self.leave(number)
        return got

    cdef int queue(self, uint32_t number, double until, bint brief) except -1:
        """Step 3: until this thread owns the mutex (TAKEN, ABANDONED), or the time is over (BUSY). `brief`: nor is the
        gate waited for."""
        cdef mmf_fair *fair = self.fair
        cdef uint32_t before, holds = 0
        cdef uint32_t process
        cdef mmf_lock *lock
        cdef double left
        cdef int rc
        try:
            while True:
                before = mmf_fair_at(fair, number).before
                if not mmf_fair_valid(before):
                    self.refuse_node(before)
                lock = mmf_fair_lock(mmf_fair_at(fair, before))
                left = until if until <= 0 else max(until - mmf_now(), 0)
                rc = mmf_trylock(lock)
                if rc == EBUSY and mmf_fair_get(&mmf_fair_at(fair, before).state) == MMF_LEFT:
                    if not (self.try_gate() if brief else self.pass_gate(left)):
                        return BUSY
                    rc = mmf_fair_skip(fair, number)
                    mmf_unlock(self.lock)
                    if not rc:
                        self.refuse_node(before)
                    continue
                if rc == EBUSY and left != 0:
                    rc = self.wait(lock, left)
                    if rc == EALREADY:
                        continue
                if rc == EOWNERDEAD:
                    rc = mmf_consistent(lock)
                if rc == EBUSY or rc == ETIMEDOUT:
                    return BUSY
                if rc or not mmf_is_kind(lock):
                    self.refuse_node(before)
                holds = before
                process = mmf_fair_at(fair, before).process
                if MMF_INSIDE(lock).count != MMF_ONCE:
                    raise RuntimeError(f"this thread waits for {self.called()} behind itself: that would never end")
                if not (self.try_gate() if brief
                        else self.pass_gate(until if until <= 0 else max(until - mmf_now(), 0))):
                    return BUSY
                rc = mmf_fair_advance(fair, number)
                mmf_unlock(self.lock)
                if rc < 0:
                    self.refuse_node(before)
                holds = 0
                if rc == ABANDONED:
                    self.previous = process
                if rc:
                    return rc
        finally:
            if holds and not mmf_marked(self.region):
                mmf_unlock(mmf_fair_lock(mmf_fair_at(fair, holds)))

    cdef bint is_vain(self, mmf_lock *lock) noexcept:
        # Or has the node before left, without being unlocked?
        return self.is_ours() if lock == self.lock else mmf_fair_get(&(<mmf_fair_node *>lock).state) == MMF_LEFT

    cdef int refuse_node(self, uint32_t number) except -1:
        if not mmf_marked(self.region):
            self.damage = f"place {number} of its queue does not say what it should"
        self.refuse_state()

    # ---- the places of this process's threads

    cdef void note(self, uint32_t number, bint stays) noexcept:
        """This thread waits there."""
        cdef Place *place = &self.places[number]
        if self.waiting_process != this_process():
            memset(self.places, 0, sizeof(self.places))  # its threads are the parent's
            self.waiting = 0
            self.waiting_process = this_process()
        self.waiting += place.thread == 0
        place.thread = this_thread()
        place.ticket = mmf_fair_at(self.fair, number).ticket
        place.stays = stays
        place.busy = place.gone = False
        count_locks(1)

    cdef void forget(self, uint32_t number) noexcept:
        """This thread does not wait there any more."""
        self.places[number].thread = 0
        self.waiting -= 1
        count_locks(-1)

    cdef uint32_t place_of(self, uint64_t thread) noexcept:
        """Where a thread of this process waits; 0: nowhere."""
        cdef uint32_t number
        if self.waiting and self.waiting_process == this_process():
            for number in range(1, MMF_FAIR_NODES + 1):
                if self.places[number].thread == thread:
                    if self.places[number].gone and thread == this_thread():
                        self.leave(number)
                        return 0
                    return number
        return 0

    cdef void leave(self, uint32_t number) noexcept:
        """Leaves the queue."""
        cdef bint gated
        cdef mmf_lock *lock = mmf_fair_lock(mmf_fair_at(self.fair, number))
        cdef bint stood = self.places[number].stays or self.places[number].gone
        self.forget(number)
        if mmf_marked(self.region):
            Py_INCREF(self.mapping)  # there is no queue any more, but a mutex that is not unlocked
            return
        if stood and not (mmf_is_kind(lock) and mmf_in_list(lock)):
            # It was locked while other code ran, so the C library is not asked to unlock what it may have become.
            self.damage = "somebody has written over its list pointers while this thread waited"
            Py_INCREF(self.mapping)
            return
        gated = self.try_gate()
        mmf_fair_cancel(self.fair, number, gated)
        if gated:
            mmf_unlock(self.lock)

    def leave_line(self, uint64_t thread):
        cdef uint32_t number = self.place_of(thread)
        if number == 0 or not self.places[number].stays:
            return
        self.places[number].stays = False
        if self.places[number].busy:
            return  # a blocking wait of its thread uses it, and leaves
        if thread == this_thread():
            self.places[number].gone = True
            self.leave(number)
        else:
            self.give_up_for(number)

    cdef bint give_up_for(self, uint32_t number) noexcept:
        """Ends another thread's place: those behind go past it. False if that thread has ended."""
        cdef mmf_fair_node *node = mmf_fair_at(self.fair, number)
        self.places[number].gone = True
        if mmf_marked(self.region):
            return True
        if node.ticket != self.places[number].ticket or not mmf_fair_is_live(node):
            return False
        if mmf_fair_get(&node.state) == MMF_WAITING:
            mmf_fair_set(&node.state, MMF_LEFT)
        return True

    cdef void leave_all(self) noexcept:
        """Nobody of this process looks at its places any more."""
        cdef uint32_t number
        for number in range(1, MMF_FAIR_NODES + 1):
            if self.places[number].thread == 0:
                continue
            if self.places[number].thread == this_thread():
                self.leave(number)
            elif self.give_up_for(number):
                Py_INCREF(self.mapping)  # that thread has locked it: the pages stay

    cdef bint try_gate(self) noexcept:
        cdef int rc
        if self.damage is not None or not mmf_is_kind(self.lock):
            return False
        rc = mmf_trylock(self.lock)
        if rc == EBUSY:
            rc = mmf_lock_spin(self.lock, SPINS)
        if rc == EOWNERDEAD:
            rc = mmf_consistent(self.lock)
        return rc == 0

    # ---- release

    cdef int let_go(self, bint abandoned) except -1:
        cdef bint gated
        self.check_before_unlock(mmf_fair_lock(mmf_fair_at(self.fair, self.node)))
        gated = False if abandoned else self.try_gate()
        self.owned_no_more()
        mmf_fair_leave(self.fair, self.node, abandoned, gated)
        if gated:
            mmf_unlock(self.lock)
        return 0


cdef FairCore new_core(Mapping mapping):
    need_robust_mutexes()
    cdef FairCore self = FairCore.__new__(FairCore)
    self.mapping = mapping
    self.region = mapping.region
    self.fair = <mmf_fair *>mapping.base
    self.lock = mmf_fair_lock(&self.fair.gate)
    return self


def blank():
    """The bytes of a fair mutex that is free."""
    cdef bytes content = PyBytes_FromStringAndSize(NULL, MMF_FAIR_SIZE)
    memset(PyBytes_AS_STRING(content), 0, MMF_FAIR_SIZE)
    mmf_fair_blank(<mmf_fair *>PyBytes_AS_STRING(content))
    return content


def map_fair(mmf_object fd):
    """The fair mutex that is a file. The caller has looked at the file's size."""
    return new_core(new_mapping(fd, 0, MMF_FAIR_SIZE, MMF_MAP_READ | MMF_MAP_WRITE, MMF_MAP_SHARED, mmf_page_size()))


def unnamed_fair():
    """A fair mutex in memory of its own, which forked children share."""
    cdef FairCore self = new_core(new_mapping(-1, 0, MMF_FAIR_SIZE, MMF_MAP_READ | MMF_MAP_WRITE,
                                              MMF_MAP_SHARED | MMF_MAP_OWN, mmf_page_size()))
    mmf_fair_blank(self.fair)
    return self


def begin(FairCore self not None):
    """Makes zeros a free fair mutex, whoever comes first. DamagedObjectError if there is something else."""
    mmf_fair_begin(self.fair)
    check(self)


def check(FairCore self not None):
    """Raises DamagedObjectError if the memory does not hold a fair mutex of this format; WaitHandleCannotBeOpenedError if
    it holds one of another C library's mutexes."""
    cdef bint sound = mmf_fair_is_sound(self.fair)
    if not sound and mmf_is_foreign(self.lock):
        raise WaitHandleCannotBeOpenedError(EINVAL, foreign("fair mutex"))
    if mmf_marked(self.region) or not sound:
        raise DamagedObjectError(EBADMSG, "its memory does not hold a fair mutex of this format")

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""A condition inside a map: a notification lets one of those go on who were waiting when it came.

Waiters stand in groups, which are numbered. Who comes joins the newest group. A notification is a **permit** for the
group before that one, whoever of it comes for it first. When all of a group may go and there are more notifications,
the newcomers become the group with the permits, and the older ones go without further accounting: they are only
counted. So nobody takes what was granted before he came. In memory (conditions.h): `group`, the number of the newest;
`newcomers`, how many are in it; `permits` and `rest`, how many of the group before may go and may not; `going`, how many
of all older ones have not gone yet; `kept`, of which group on members are counted; `sequence`, on which all sleep.

All words are changed by the owner of the lock; sleepers look at them without it, and take the lock when there is
something for them.

Wait    1  join: newcomers + 1. Release the lock.
        2  sleep while there is nothing; look every 250 ms.
        3  take the lock. A permit, or a group that may go: one less of them, and done. Otherwise release it, and 2.
        Leaving for another reason: one less of where it is counted; what was granted stays for others.
Notify  permits + 1, rest - 1 (or newcomers become the group, then that); sequence + 1; wake as many.

Who can die, and where:

- A waiter, asleep or on its way to the lock: it stays counted. Its permit is there for the others of its group, who
  look every 250 ms. If there is none of them left, see below.
- A notifier, before it wakes: sleepers look every 250 ms.
- Who owns the lock, between any two stores: the next owner of the lock is told, as after each such death. The order of
  the stores is such that counts are too high afterwards (members that do not exist, as if they were dead) and never too
  low, or that a whole group goes on. If nobody takes the lock, a waiter who looks sees that its owner died, takes it,
  and is told.
- The dead who are counted may be given permits that nobody comes for. A waiter who was there when they were given, and
  who finds at two looks under the lock, 250 ms apart, that nothing of them was taken, takes over: groups before its own
  are given up, and what they had is its own group's. Nothing is lost if that was a mistake, because somebody did not get
  to the lock in that time or was stopped: he sees that his group was given up, and joins anew.

So a death may cost a notification half a second; and for each waiter who is dead, or was there when a notifier died in
the midst of it, one may go on who was not notified, once. Otherwise nobody returns without a notification.

`wait` runs no Python code between its release of the lock and its owning it again, but for signal handlers, whose
exceptions it keeps until then.
"""
from memorymapped.errors import ClosedError, OutOfRangeError, shown

cimport cython
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EFAULT
from libc.limits cimport INT_MAX
from libc.stdint cimport uint32_t
from memorymapped._native.futex cimport limit_of, mmf_now, mmf_sleep
from memorymapped._native.mapped cimport claim, locate, refuse_fault
from memorymapped._native.memory cimport Mapping, View, mmf_marked, mmf_position, mmf_region, mmf_replaced
from memorymapped._native.robust cimport (
    ABANDONED, UNTIL_OWNED, MutexHandle, RobustMutex, owner_died, put_off, put_off_since, this_thread)

cdef extern from "conditions.h" nogil:
    ctypedef struct mmf_condition:
        uint32_t sequence
        uint32_t group
    int MMF_CONDITION, MMF_CONDITION_SIZE
    uint32_t mmf_word_load(const uint32_t *word)
    int mmf_condition_sleep(mmf_condition *at, uint32_t sequence, uint32_t group, double seconds)
    bint mmf_may_go(const mmf_condition *at, uint32_t group)
    uint32_t mmf_unclaimed(const mmf_condition *at, uint32_t group)
    uint32_t mmf_waiters(const mmf_condition *at)
    uint32_t mmf_join(mmf_condition *at)
    bint mmf_go(mmf_condition *at, uint32_t *group)
    void mmf_leave(mmf_condition *at, uint32_t group)
    void mmf_notify(mmf_condition *at, uint32_t count)
    void mmf_take_over(mmf_condition *at, uint32_t group)

SIZE = MMF_CONDITION_SIZE
ALIGNMENT = 8

cdef double LOOK_AGAIN = 0.25  # seconds: whatever became of the others, nobody sleeps longer than this


cdef class Condition:
    """The compiled half of MappedCondition."""

    cdef Mapping mapping     # None: closed
    cdef mmf_region *region
    cdef mmf_condition *at   # NULL: closed
    cdef readonly MutexHandle lock
    cdef object __weakref__

    def _settle(self, View view not None, position, MutexHandle lock not None):
        cdef char *address
        cdef Mapping mapping = locate(view, position, MMF_CONDITION_SIZE, 8, &address)
        if self.at != NULL:
            raise RuntimeError(f"{self!r} has been made already")
        claim(address, MMF_CONDITION_SIZE, MMF_CONDITION, position)
        if mmf_marked(mapping.region):
            refuse_fault("the condition")
        self.mapping = mapping
        self.region = mapping.region
        self.at = <mmf_condition *>address
        self.lock = lock

    def close(self):
        """Lets go of the map; the lock stays open. A second call does nothing. Threads that wait get a ClosedError."""
        cdef Mapping mapping = self.mapping
        self.at = NULL
        self.region = NULL
        self.mapping = None

    @property
    def closed(self):
        """True after close()."""
        return self.at == NULL

    cdef int check(self) except -1:
        """Is it open, and its memory there?"""
        if self.at == NULL:
            raise ClosedError(f"{self!r} is closed")
        if mmf_marked(self.region) and mmf_replaced(self.region, <char *>self.at, MMF_CONDITION_SIZE):
            refuse_fault(repr(self))
        return 0

    cdef RobustMutex owned(self):
        """The lock, which this thread owns."""
        self.check()
        cdef RobustMutex core = self.lock.opened()
        if core.owner != this_thread() or core.count == 0:
            raise RuntimeError(f"{self!r}: this thread does not own the lock of the condition")
        return core

    def _waiters(self):
        """How many wait at this moment."""
        self.check()
        cdef uint32_t waiters = mmf_waiters(self.at)
        self.check()
        return waiters

    def notify(self, count=1):
        """Lets `count` of those go on who wait now, or all if they are fewer: they return as soon as they have the lock.
        0 changes nothing.

        TypeError; OutOfRangeError if it is negative; RuntimeError if this thread does not own the lock; ClosedError;
        MemoryFaultError."""
        cdef Py_ssize_t many = mmf_position(count)
        if many < 0:
            raise OutOfRangeError(f"count must not be negative, got {shown(count)}")
        self.owned()
        mmf_notify(self.at, <uint32_t>min(many, <Py_ssize_t>INT_MAX))
        self.check()

    def notify_all(self):
        """Lets all go on who wait now. RuntimeError if this thread does not own the lock; ClosedError;
        MemoryFaultError."""
        self.owned()
        mmf_notify(self.at, INT_MAX)
        self.check()

    def wait(self, timeout=None):
        """Releases the lock (however often this thread has taken it), sleeps until a notification, `timeout` seconds at
        most (a number or a timedelta; None: for ever), and takes the lock again. True, or False if the time is over.

        Whether it returns or raises, **this thread owns the lock afterwards**, as often as before; so it may take longer
        than `timeout`. What a signal handler raises (KeyboardInterrupt) ends the wait, and is raised when the lock is
        owned again. AbandonedMutexError if the lock was found abandoned: it is owned. Who leaves by an exception takes no
        notification away. Only where the lock cannot be owned any more, because it is damaged (DamagedObjectError), was
        closed (ClosedError) or its memory is gone (MemoryFaultError), it is not.

        RuntimeError, and nothing was done, if this thread does not own the lock, or another task of its event loop does.

        It returns True without a notification only because of a death: a waiter or a notifier was killed in the midst of
        it. (A waiter that is stopped, and does not come for half a second after it was notified, is passed over: another
        one goes on in its place, and it waits on.)"""
        cdef Waiting waiting = Waiting.__new__(Waiting)
        waiting.condition = self
        waiting.errors = []
        waiting.limit = limit_of(timeout)
        cdef RobustMutex core = self.owned()
        cdef object task = core.task
        if task is not None:
            self._check_task(task)
            core = self.owned()
        # Safe: it is open, and no Python code has run since.
        waiting.mapping = self.mapping
        waiting.at = self.at
        waiting.core = core
        cdef bint notified = waiting.run()
        if core.owner == this_thread():
            core.task = task
        if waiting.abandoned:
            self.tell(waiting.errors)
        if waiting.errors:
            raise_last(waiting.errors)
        return notified

    cdef int tell(self, list errors) except -1:
        """The lock was found abandoned, and is owned."""
        try:
            errors.insert(0, self.lock._abandoned())
        except BaseException as error:
            errors.append(error)
        return 0


cdef int raise_last(list errors) except -1:
    """Each is the context of the next one."""
    cdef set known = set()
    cdef object earlier = None, at
    for error in errors:
        at = error
        while at.__context__ is not None and id(at.__context__) not in known:
            at = at.__context__
        if earlier is not None and id(error) not in known:
            at.__context__ = earlier
        earlier = at = error
        while at is not None and id(at) not in known:
            known.add(id(at))
            at = at.__context__
    raise errors[len(errors) - 1]


@cython.final
@cython.internal
cdef class Waiting:
    """A wait under way."""
    cdef Condition condition
    cdef Mapping mapping   # keeps `at`, whoever closes the condition
    cdef mmf_condition *at
    cdef RobustMutex core
    cdef double limit, deadline
    cdef uint32_t group
    cdef uint32_t heard    # the sequence when it joined
    cdef double since      # when it saw, owning the lock, what nobody takes; 0: it sees nothing of the kind
    cdef uint32_t watched, watched_at  # how much that was, and the sequence
    cdef bint abandoned    # the lock was
    cdef list errors       # to be raised when the lock is owned

    cdef bint run(self) except -1:
        """Whether it was notified. The lock is owned afterwards, unless it raises."""
        cdef Py_ssize_t depth = self.core.count
        cdef bint notified = False
        self.deadline = mmf_now() + self.limit
        self.group = mmf_join(self.at)
        self.heard = self.at.sequence
        self.condition.check()
        while True:
            if not self.release(depth):
                mmf_leave(self.at, self.group)
                return False
            if not self.errors:
                self.sleep()
            self.own(depth)
            self.look()
            if self.errors or self.abandoned:
                mmf_leave(self.at, self.group)
                return False
            if self.go():
                return True
            if self.is_over():
                mmf_leave(self.at, self.group)
                return False

    cdef bint release(self, Py_ssize_t depth) except -1:
        """False if it could not, and it is owned as before."""
        cdef RobustMutex core = self.core
        core.count = 1
        try:
            core.let_go(False)
            if core.on_free is not None:
                core.on_free()
        except BaseException as error:
            self.errors.append(error)
            if core.owner == this_thread() and core.count > 0:
                core.count = depth
                return False
        return True

    cdef int own(self, Py_ssize_t depth) except -1:
        """Takes the lock, whatever signal handlers raise meanwhile. Raises only if it cannot be owned."""
        cdef RobustMutex core = self.core
        cdef Py_ssize_t before = len(put_off)
        cdef int got = 0
        cdef bint again = True
        while again:
            again = False
            try:
                got = core.take(UNTIL_OWNED)
            except RuntimeError:  # too many wait for it, or this thread has too many: not for ever
                again = True
            except BaseException as error:
                self.errors += put_off_since(before)
                self.errors.append(error)
                raise_last(self.errors)
            self.errors += put_off_since(before)
            if again:
                with nogil:
                    mmf_sleep(0.001)
                self.check_signals()
        if self.condition.lock.core is not core:  # closed meanwhile: who could release it?
            mmf_leave(self.at, self.group)
            core.give(got == ABANDONED)
            try:
                self.condition.lock.opened()
            except ClosedError as error:
                self.errors.append(error)
            raise_last(self.errors)
        core.count += depth - 1  # a signal handler may have taken it, and not given it back
        self.abandoned = self.abandoned or got == ABANDONED
        return 0

    cdef int check_signals(self) except -1:
        try:
            PyErr_CheckSignals()
        except BaseException as error:
            self.errors.append(error)
        return 0

    cdef int look(self) except -1:
        """Is the condition still there?"""
        try:
            self.condition.check()
        except BaseException as error:
            self.errors.append(error)
        return 0

    cdef bint is_over(self) except -1:
        return self.limit >= 0 and mmf_now() >= self.deadline

    cdef bint is_suspicious(self) except -1:
        """Was something granted to others, since this came, that they do not take?"""
        return mmf_word_load(&self.at.sequence) != self.heard and mmf_unclaimed(self.at, self.group) != 0

    cdef bint go(self) except -1:
        """While owning the lock."""
        cdef uint32_t group = self.group
        cdef bint goes = mmf_go(self.at, &self.group)
        if self.group != group:  # it was given up
            self.heard = self.at.sequence
            self.since = 0
        if goes or not self.is_suspicious():
            self.since = 0
            return goes
        if (self.since == 0 or self.watched != mmf_unclaimed(self.at, self.group)
                or self.watched_at != self.at.sequence):
            self.watched = mmf_unclaimed(self.at, self.group)
            self.watched_at = self.at.sequence
            self.since = mmf_now()
            return False
        if mmf_now() < self.since + LOOK_AGAIN:
            return False
        mmf_take_over(self.at, self.group)
        self.since = 0
        return mmf_go(self.at, &self.group)

    cdef int sleep(self) except -1:
        """Until there is a reason to take the lock."""
        cdef uint32_t sequence
        cdef double now, time, look
        while True:
            sequence = mmf_word_load(&self.at.sequence)
            if mmf_may_go(self.at, self.group):
                return 0
            now = mmf_now()
            look = LOOK_AGAIN
            if self.is_suspicious():
                if self.since == 0 or now >= self.since + LOOK_AGAIN:
                    return 0
                look = self.since + LOOK_AGAIN - now
            time = look
            if self.limit >= 0:
                time = min(time, self.deadline - now)
                if time <= 0:
                    return 0
            with nogil:
                mmf_condition_sleep(self.at, sequence, self.group, time)
            self.check_signals()
            self.look()
            if self.errors or owner_died(self.core):
                return 0

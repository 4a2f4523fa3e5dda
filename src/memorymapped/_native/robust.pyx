# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
# cython: embedsignature=True, embedsignature.format=clinic
# cython: boundscheck=False, wraparound=False, cdivision=True, initializedcheck=False
"""Robust mutexes in shared memory: owned by a thread, recursive, told of a dead owner.

A `RobustMutex` is this process's side of one mutex: the mapping, who of our threads owns it and how often. All handles
of a process for one mutex share it. The memory's layout, and who writes what when, is in robust.h.

- Recursion is counted here; the pthread mutex is locked once. Its owner is told by a number that no other thread of
  this process ever has (threads.h). So nobody takes himself for an owner who has ended, and `count` is touched by the
  owner alone.
- **Never unmapped while a thread of ours owns it**: the mutex stands in that thread's robust list, which the next lock
  of another mutex and the kernel, when the thread ends, walk through. A `RobustMutex` that is dropped while owned gives
  the mutex back as abandoned if the owner is the thread at work, and leaves the pages mapped for good if it is another.
- After each lock the state is looked at: the guard's mark (a truncated page makes a held mutex a free one), the kind,
  the count. Before each unlock the list pointers, through which the C library writes.
- Waits are the C library's, in slices: on the main thread so that Ctrl-C is noticed, on all for a word that names an
  owner who does not exist.

Locks that are made of more than one such mutex (fair.pyx, readers.pyx) derive from it: they say how they are obtained and
let go; recursion, and what an owner is, stays as it is here.
"""
from memorymapped.errors import ClosedError, DamagedObjectError, MemoryFaultError
from memorymapped.timeouts import seconds

cimport cython
from cpython.bytes cimport PyBytes_AS_STRING
from cpython.exc cimport PyErr_CheckSignals
from cpython.ref cimport Py_INCREF
from libc.errno cimport EALREADY, EBADMSG, EBUSY, EFAULT, ETIMEDOUT
from libc.stdint cimport uint32_t, uint64_t, uintptr_t
from memorymapped._native.memory cimport Mapping, View, mmf_marked, mmf_object, mmf_region, new_mapping

cdef extern from "pages.h" nogil:
    int MMF_MAP_READ, MMF_MAP_WRITE, MMF_MAP_SHARED, MMF_MAP_OWN
    size_t mmf_page_size()

cdef extern from "robust.h" nogil:
    ctypedef struct mmf_inside:
        uint32_t word
        uint32_t count
        uint32_t kind
        void *before
        void *after
    int EOWNERDEAD, ENOTRECOVERABLE
    uint32_t MMF_NOBODY
    int MMF_MOST
    uint32_t MMF_KIND, MMF_GLIBC
    int mmf_lock_works()
    int mmf_lock_init(mmf_lock *lock)
    void mmf_record(mmf_lock *lock, uint32_t process, int abandoned)
    void mmf_note_death(mmf_lock *lock, bint killed)
    int mmf_was_abandoned(const mmf_lock *lock)
    int mmf_is_kind(const mmf_lock *lock)
    bint mmf_is_foreign(const mmf_lock *lock)
    double mmf_now()
    int mmf_lock_spin(mmf_lock *lock, int turns)
    int mmf_lock_wait(mmf_lock *lock, double seconds)
    int mmf_in_list(const mmf_lock *lock)
    int mmf_thread_exists(uint32_t thread)
    bint mmf_is_dead(const mmf_lock *lock)
    mmf_inside *MMF_INSIDE(mmf_lock *lock)
    int mmf_trylock(mmf_lock *lock)
    int mmf_unlock(mmf_lock *lock)
    int mmf_consistent(mmf_lock *lock)

cdef extern from "threads.h" nogil:
    int mmf_names_us(const mmf_lock *lock)
    int mmf_is_ours_once(const mmf_lock *lock)
    int mmf_own_locks
    uint32_t mmf_process
    uint64_t mmf_thread()
    void mmf_count_lock(int more)
    int mmf_start()
    int mmf_is_main_thread()

cdef double MAIN_SLICE = 0.05  # seconds after which a wait on the main thread looks for Ctrl-C
cdef double SLICE = 1.0        # and after which each looks whether the owner exists
cdef int SPINS = 200

if mmf_start() != 0:
    raise MemoryError("no handler of forks could be registered")

LOCK_SIZE = MMF_LOCK_SIZE
"""Bytes of a mutex in shared memory."""

works = bool(mmf_lock_works())
"""Whether this system's C library has robust mutexes of a form that is known: glibc's or musl's."""


cdef int need_robust_mutexes() except -1:
    """For what is zeros, or a kind word, in shared memory, and a mutex by that."""
    if not works:
        raise NotImplementedError("this needs a C library whose robust mutexes are glibc's or musl's")
    return 0


cdef str foreign(str what):
    return (f"a {what} that was made by a program with the C library {'musl' if MMF_KIND == MMF_GLIBC else 'glibc'}, "
            "whose mutexes are other ones: it would exclude nobody here")


cdef uint64_t this_thread() noexcept nogil:
    return mmf_thread()


cdef uint32_t this_process() noexcept nogil:
    return mmf_process


cdef void count_locks(int more) noexcept nogil:
    mmf_count_lock(more)


# Signal handlers run on the main thread only, so this is that thread's own. A handler's own waits are within the wait
# that it interrupts, and have asked for theirs before they end.
cdef list put_off = []


cdef list put_off_since(Py_ssize_t count):
    """What was put off since there were `count` of them."""
    if len(put_off) == count or not mmf_is_main_thread():
        return []
    cdef list errors = put_off[count:]
    del put_off[count:]
    return errors


cdef int put_off_signals() except -1:
    try:
        PyErr_CheckSignals()
    except BaseException as error:
        put_off.append(error)
    return 0


cdef bint owner_died(RobustMutex self) noexcept:
    """Whether the owner has died and nobody has taken it since, as the memory says."""
    return mmf_is_dead(self.lock)


# What a free mutex costs is what these cost, so they are functions that the compiler can put in their place. The methods
# of the same names are for the classes of other modules.

cdef inline int look(RobustMutex self) except -1:
    if self.damage is not None or mmf_marked(self.region) or not mmf_is_kind(self.lock):
        self.refuse_state()
    if mmf_names_us(self.lock):
        self.refuse_own_number()
    if mmf_own_locks >= MMF_MOST:
        self.check_limit()
    return 0


cdef inline int taken(RobustMutex self, int rc) except -1:
    """The pthread mutex is ours: looks at it, and records it."""
    cdef mmf_lock *lock = self.lock
    if rc == EOWNERDEAD:
        mmf_consistent(lock)
    if mmf_marked(self.region) or not mmf_is_kind(lock) or not mmf_is_ours_once(lock):
        # Not unlocked: nothing is known of what the unlock would write to. It is never unmapped either.
        self.damage = "it changed while it was taken"
        self.owner = mmf_thread()
        self.process = mmf_process
        self.refuse_state()
    if rc == EOWNERDEAD or mmf_was_abandoned(lock):
        mmf_note_death(lock, rc == EOWNERDEAD)
        rc = ABANDONED
        self.previous = lock.process
        self.abandonments += 1
    else:
        rc = TAKEN
        lock.died = 0
    mmf_note_ours(lock, mmf_process if self.stepper == mmf_thread() else 0)
    mmf_record(lock, mmf_process, 0)
    owned_through(self, lock)
    return rc


cdef inline void owned_through(RobustMutex self, mmf_lock *lock) noexcept:
    self.before = MMF_INSIDE(lock).before
    self.after = MMF_INSIDE(lock).after
    self.owner = mmf_thread()
    self.process = mmf_process
    self.count = 1
    if self.task is not None:
        self.task = None
    self.acquisitions += 1
    mmf_count_lock(1)


cdef inline int check_before_unlock(RobustMutex self, mmf_lock *lock) except -1:
    cdef mmf_inside *inside = MMF_INSIDE(lock)
    if mmf_marked(self.region) or not mmf_is_kind(lock) or not mmf_is_ours_once(lock):
        self.damage = "somebody has written into its memory while it was owned"
        self.count = 0
        self.refuse_state()
    if (inside.before != self.before or inside.after != self.after) and not mmf_in_list(lock):
        self.damage = "somebody has written over its list pointers while it was owned"
        self.count = 0
        self.refuse_state()
    return 0


cdef inline void owned_no_more(RobustMutex self) noexcept:
    self.count = 0
    self.owner = 0
    if self.task is not None:
        self.task = None
    mmf_count_lock(-1)


@cython.no_gc_clear  # what is dropped in a cycle while it is owned needs its mapping
cdef class RobustMutex:
    """One mutex in shared memory, as this process sees it. `label` is what messages call it, `handles` how many objects
    for it are open, where somebody counts that."""

    def __dealloc__(self):
        cdef int rc
        if not self.is_owned_by_us():
            return
        if self.owner == mmf_thread():
            # Safe: what `give` does, without Python objects; the pointers are looked at before the C library uses them.
            if self.damage is None and self.before == MMF_INSIDE(self.lock).before and mmf_in_list(self.lock):
                mmf_record(self.lock, MMF_NOBODY, 1)
                mmf_count_lock(-1)
                mmf_unlock(self.lock)
                return
        elif self.damage is None and mmf_is_kind(self.lock):
            rc = mmf_trylock(self.lock)  # the owner may have ended
            if rc == EOWNERDEAD:
                mmf_consistent(self.lock)
            if rc == 0 or rc == EOWNERDEAD:  # 0: others have had it since, and were told
                mmf_record(self.lock, MMF_NOBODY, rc == EOWNERDEAD or mmf_was_abandoned(self.lock))
                mmf_unlock(self.lock)
                return
        Py_INCREF(self.mapping)  # a thread of ours owns it: the pages stay

    @property
    def owned(self):
        """Whether the calling thread owns it."""
        return self.owner == mmf_thread() and self.count > 0

    @property
    def owned_by_us(self):
        """Whether a thread of this process owned it last, and has not given it back."""
        return self.is_owned_by_us()

    cdef bint is_owned_by_us(self):
        return self.owner != 0 and self.process == mmf_process  # not what was copied by a fork

    @property
    def depth(self):
        """How often the calling thread has taken it."""
        return self.count if self.owner == mmf_thread() else 0

    @property
    def state(self):
        """(process id of the owner or None, thread id of the owner or None, whether somebody waits in the kernel), as
        the memory says right now. MemoryFaultError."""
        cdef uint32_t word = MMF_INSIDE(self.lock).word
        cdef uint32_t process = self.lock.process
        cdef uint32_t thread = word & 0x3FFFFFFF
        self.check_fault()
        if thread and mmf_is_dead(self.lock):
            thread = 0  # where the kernel does not take it out of the word
        return (process if thread and process != MMF_NOBODY else None, thread or None, bool(word & 0x80000000))

    @property
    def owner_task(self):
        """The task that owns it, if it was taken by an asynchronous wait."""
        return self.task

    @property
    def owners(self):
        """The tasks by which the calling thread owns it. None if it does not, or has it by a blocking wait."""
        return (self.task,) if self.task is not None and self.owner == mmf_thread() and self.count > 0 else ()

    def add_owner(self, task):
        """What the calling thread has just taken belongs to a task of it."""
        self.task = task

    def remove_owner(self, task):
        """Before the calling thread gives back what belongs to a task."""
        self.task = None

    def try_as_task(self, task, bint in_line):
        """As `try_take`, for `task` of the calling thread's event loop. 0 also if another task of that has it.
        `in_line`: the thread gets a place among those who wait, where there is such, and keeps it until it has the lock
        or somebody calls `leave_line`."""
        if self.owner == mmf_thread() and self.count > 0:
            return BUSY
        return self.take(0)

    def leave_line(self, uint64_t thread):
        """Ends the place that tasks of a thread have among those who wait, if it has one."""

    @property
    def has_line(self):
        """Whether those who wait have places."""
        return False

    @property
    def last_owner(self):
        """The process id that the last abandoned owner had recorded; None if it is not known."""
        return self.previous if self.previous != 0 and self.previous != MMF_NOBODY else None

    def try_take(self):
        """0: another thread has it; 1: taken; 2: taken, and it had been abandoned. Never waits."""
        return self.take(0)

    def take_again(self):
        """Takes it, however long that is. Whether it had been abandoned."""
        return self.take(-1.0) == ABANDONED

    def give_back(self, bint abandoned=False):
        """Releases once. RuntimeError if this thread does not own it."""
        self.give(abandoned)

    def abandon(self):
        """Gives back, marked as abandoned, all that this thread has taken, if it has."""
        if self.owner == mmf_thread() and self.count > 0:
            self.count = 1
            self.give(True)

    def end_forsaken(self):
        """Gives back, as abandoned, what the calling thread has by tasks of loops that were closed."""
        for owner in self.owners:
            owner.end_if_forsaken()

    cdef int take(self, double timeout) except -1:
        if self.owner == mmf_thread() and self.count > 0:
            if self.task is None:
                self.count += 1
                return TAKEN
            self.end_forsaken()
            if self.task is not None:
                self.refuse_beside_task()
        return self.obtain(timeout)

    cdef int obtain(self, double timeout) except -1:
        """Takes what this thread does not own."""
        cdef int rc
        look(self)
        rc = mmf_trylock(self.lock)
        if rc == EBUSY and timeout != 0:
            self.waits += 1
            rc = self.wait(self.lock, timeout)
            if rc == EALREADY:
                return self.take(timeout)
        if rc == 0 or rc == EOWNERDEAD:
            return taken(self, rc)
        if rc == EBUSY or rc == ETIMEDOUT:
            return BUSY
        self.damage = ("its last owner let it go without repairing it" if rc == ENOTRECOVERABLE
                       else f"the C library refuses it (error {rc})")
        self.refuse_state()

    cdef int look(self) except -1:
        return look(self)

    cdef int check_limit(self) except -1:
        if mmf_own_locks >= MMF_MOST:
            raise RuntimeError(f"this thread owns {mmf_own_locks} mutexes already: the kernel looks through about as "
                               "many when a thread dies, and would leave the others locked for ever")
        return 0

    cdef int check_fault(self) except -1:
        """After its memory was read."""
        if mmf_marked(self.region):
            self.refuse_state()
        return 0

    cdef int refuse_state(self) except -1:
        if mmf_marked(self.region):
            raise MemoryFaultError(EFAULT, f"the memory of {self.called()} is gone: its file was truncated, or its disk "
                                   "failed")
        raise DamagedObjectError(EBADMSG, f"{self.called()} is damaged: "
                                 + (self.damage or "somebody has written into its memory") + "; close all its handles")

    cdef int refuse_own_number(self) except -1:
        # The C library would only count. Not kept as damage: a thread of the same number may let it go.
        raise DamagedObjectError(EBADMSG, f"{self.called()} is damaged: it says that this thread owns it, which does "
                                 "not (or that one of the same number in another pid namespace does, which the format "
                                 "of this mutex cannot serve)")

    cdef int refuse_beside_task(self) except -1:
        raise RuntimeError(f"a task of this thread's event loop owns {self.called()}: a blocking wait here would never "
                           "end, and the same task cannot take it twice; await wait_one_async")

    cdef int refuse_stranger(self) except -1:
        raise RuntimeError(f"this thread does not own {self.called()}: only who has taken it can release it")

    cdef str called(self):
        return self.label or "the mutex"

    cdef void owned_through(self, mmf_lock *lock) noexcept:
        """From here on this thread owns it, while it has this mutex locked."""
        owned_through(self, lock)

    cdef int wait(self, mmf_lock *lock, double timeout) except -1:
        """Waits for one of the pthread mutexes, `timeout` seconds at most: 0, EOWNERDEAD, ETIMEDOUT or what else the C
        library says; EALREADY if there is nothing to wait for any more: see `is_vain`."""
        cdef Mapping mapping = self.mapping
        cdef bint main = mmf_is_main_thread()
        cdef double now = mmf_now()
        cdef double until = now + timeout
        cdef double next_look = now + SLICE
        cdef double slice
        cdef uint32_t word, seen = 0
        cdef int rc
        with nogil:
            rc = mmf_lock_spin(lock, SPINS)
        while rc == EBUSY or rc == ETIMEDOUT:
            now = mmf_now()
            if timeout >= 0 and now >= until:
                return ETIMEDOUT
            slice = MAIN_SLICE if main else SLICE
            if timeout >= 0 and until - now < slice:
                slice = until - now
            with nogil:
                rc = mmf_lock_wait(lock, slice)
            if rc != ETIMEDOUT:
                break
            if timeout == UNTIL_OWNED:
                put_off_signals()
            else:
                PyErr_CheckSignals()
            if self.is_vain(lock):
                return EALREADY
            if self.damage is not None or mmf_marked(self.region) or not mmf_is_kind(lock):
                self.refuse_state()
            if mmf_now() >= next_look:
                word = MMF_INSIDE(lock).word
                # Twice the same word, of a thread that does not exist and whose number the kernel did not take out at its
                # death. (No thread at all: it is free just now, and was given back and taken again all the time.)
                if word & 0x3FFFFFFF and word == seen and not mmf_thread_exists(word & 0x3FFFFFFF):
                    raise DamagedObjectError(EBADMSG, f"{self.called()} is damaged: it says that thread "
                                             f"{word & 0x3FFFFFFF} owns it, which does not exist here (or lives in "
                                             "another pid namespace, which the format of this mutex cannot serve)")
                seen = word
                next_look = mmf_now() + SLICE
        return rc

    cdef bint is_vain(self, mmf_lock *lock) noexcept:
        """Has a signal handler, which has interrupted this wait for `lock`, taken the mutex for this thread?"""
        return self.is_ours()

    cdef bint is_ours(self) noexcept:
        """Does this thread own it?"""
        return self.owner == mmf_thread() and self.count > 0

    cdef int give(self, bint abandoned) except -1:
        if self.owner != mmf_thread() or self.count == 0:
            if self.damage is not None or mmf_marked(self.region):
                self.refuse_state()  # this thread may have owned it
            self.refuse_stranger()
        if self.count > 1:
            self.count -= 1
            return 0
        self.let_go(abandoned)
        if self.on_free is not None:
            self.on_free()
        return 0

    cdef int let_go(self, bint abandoned) except -1:
        """Gives back what this thread owns once."""
        cdef mmf_lock *lock = self.lock
        check_before_unlock(self, lock)
        mmf_record(lock, MMF_NOBODY, abandoned)
        owned_no_more(self)
        mmf_unlock(lock)
        return 0

    cdef int check_before_unlock(self, mmf_lock *lock) except -1:
        """Is the mutex what it was when this thread got it, so that the C library may write through its pointers?"""
        return check_before_unlock(self, lock)

    cdef void owned_no_more(self) noexcept:
        owned_no_more(self)


def thread_number():
    """The number that tells the calling thread from all others that this process ever has."""
    return mmf_thread()


cdef RobustMutex new_mutex(Mapping mapping, mmf_lock *lock):
    need_robust_mutexes()
    cdef RobustMutex self = RobustMutex.__new__(RobustMutex)
    self.mapping = mapping
    self.region = mapping.region
    self.lock = lock
    return self


def map_mutex(mmf_object fd, Py_ssize_t size, Py_ssize_t position):
    """The mutex at `position` (bytes) of a file, whose first `size` bytes are mapped."""
    cdef Mapping mapping = new_mapping(fd, 0, size, MMF_MAP_READ | MMF_MAP_WRITE, MMF_MAP_SHARED, mmf_page_size())
    # Safe: the caller has looked at the file's size; a file that is shorter by now is the guard's business.
    if position < 0 or position & 7 or position > size - MMF_LOCK_SIZE:
        raise ValueError(f"no mutex fits at {position} of {size} bytes")
    return new_mutex(mapping, <mmf_lock *>(mapping.base + position))


def unnamed_mutex():
    """A mutex in memory of its own, which forked children share."""
    cdef Mapping mapping = new_mapping(-1, 0, mmf_page_size(), MMF_MAP_READ | MMF_MAP_WRITE, MMF_MAP_SHARED | MMF_MAP_OWN,
                                       mmf_page_size())
    cdef RobustMutex self = new_mutex(mapping, <mmf_lock *>mapping.base)
    initialise(self)
    return self


def initialise(RobustMutex self not None):
    """Makes it a free mutex, whatever was there. Only before anybody else can see it."""
    cdef int rc = mmf_lock_init(self.lock)
    if rc:
        raise OSError(rc, "the C library cannot make a robust mutex")
    mmf_record(self.lock, MMF_NOBODY, 0)


def found_abandoned(RobustMutex self not None):
    """Counts that the file from which this one was made anew told of an owner who had died."""
    self.abandonments += 1


def tells_of_death(bytes memory not None):
    """Whether a mutex that nobody has open, as these bytes of a file, was owned in the end."""
    cdef mmf_lock *lock = <mmf_lock *>PyBytes_AS_STRING(memory)
    if len(memory) < MMF_LOCK_SIZE or not mmf_is_kind(lock):
        return False
    return MMF_INSIDE(lock).word & 0x7FFFFFFF != 0 or bool(mmf_was_abandoned(lock))


def is_mutex(RobustMutex self not None):
    """Whether the memory has the mark of a mutex of this format, and was not found damaged."""
    return self.damage is None and bool(mmf_is_kind(self.lock)) and not mmf_marked(self.region)


def why_foreign(RobustMutex self not None):
    """What to say if the memory has a mutex of another C library; otherwise None."""
    return foreign("mutex") if mmf_is_foreign(self.lock) else None


# What is common is as short as can be; the rest is in functions of its own.

cdef inline bint wait(MutexHandle self, double limit) except -1:
    cdef RobustMutex core = self.core if self.core is not None else self.opened()
    cdef unsigned long long waits = core.waits
    cdef int got = core.take(limit)
    if got == TAKEN and core.waits == waits and self.core is core:
        return True
    return got != BUSY and told(self, core, got)


cdef inline int enter(MutexHandle self, object repair) except -1:
    cdef RobustMutex core = self.core if self.core is not None else self.opened()
    cdef unsigned long long waits = core.waits
    cdef int got = core.take(-1.0)
    if got == TAKEN and core.waits == waits and self.core is core:
        return 0
    return repaired(self, core, got, repair)


cdef int interrupted(MutexHandle self, RobustMutex core, bint abandoned) except -1:
    """It was taken after a wait: a signal that has come meanwhile, and a close, come first."""
    try:
        PyErr_CheckSignals()
        self.opened()
    except BaseException:
        if core.is_ours():  # no handler has given it back
            core.give(abandoned)
        raise
    return 0


cdef bint told(MutexHandle self, RobustMutex core, int got) except -1:
    interrupted(self, core, got == ABANDONED)
    if got == ABANDONED:
        raise self.abandonment()
    return True


cdef int repaired(MutexHandle self, RobustMutex core, int got, object repair) except -1:
    interrupted(self, core, got == ABANDONED)
    if got == ABANDONED:
        try:
            self._entered_abandoned(repair)
        except BaseException:
            core.abandon()  # all of it: the repair may have taken it once more
            raise
    return 0


cdef int hold(MutexHandle self, double limit) except -1:
    """Takes it for a step of this library, which repairs what an owner who died has left: BUSY, TAKEN or ABANDONED.
    What was taken is given back by `give` of the same core."""
    cdef RobustMutex core = self.core if self.core is not None else self.opened()
    cdef unsigned long long waits = core.waits
    cdef int got
    core.stepper = mmf_thread()
    try:
        got = core.take(limit)
    finally:
        core.stepper = 0
    if got != BUSY and (core.waits != waits or self.core is not core):
        interrupted(self, core, got == ABANDONED)
    return got


cdef bint is_of_this_task(RobustMutex core):
    """Does a task own it, which is the one at work?"""
    from memorymapped.sync.aio import is_of_this_task

    return core.is_ours() and core.task is not None and is_of_this_task(core.task)


cdef int begin_step(MutexHandle self) except -1:
    """As `hold`, also within a task that has taken it: TAKEN, ABANDONED, or NESTED. `end_step` gives it back."""
    cdef RobustMutex core = self.core if self.core is not None else self.opened()
    if core.task is not None and is_of_this_task(core):
        return NESTED
    return hold(self, -1.0)


cdef inline int leave(MutexHandle self) except -1:
    cdef RobustMutex core = self.core
    if core is None:
        self._leave_closed()
        return 0
    if core.task is not None:
        self._check_task()
    return core.give(False)


cdef inline int release(MutexHandle self) except -1:
    cdef RobustMutex core = self.core
    if core is None:
        self._release_closed()
        return 0
    if core.task is not None:
        self._check_task()
    return core.give(False)


cdef class MutexHandle:
    """The compiled half of `memorymapped.Mutex`: what is called in loops."""

    cdef RobustMutex opened(self):
        cdef RobustMutex core = self.core
        if core is None:
            raise ClosedError(f"{self!r}: the mutex is closed")
        return core

    @property
    def _core(self):
        return self.core

    @_core.setter
    def _core(self, core):
        self.core = core

    cdef int try_now(self) except -1:
        """Takes it if it can be had now: BUSY, TAKEN, or ABANDONED."""
        cdef RobustMutex core = self.core if self.core is not None else self.opened()
        cdef int got = core.take(0)
        if self.core is not core and got:  # closed meanwhile
            core.give(got == ABANDONED)
            self.opened()
        return got

    cdef object abandonment(self):
        """What to raise for one that was found abandoned, and is owned. If that cannot be made, as a signal handler
        raises, it is given back, marked as abandoned."""
        cdef RobustMutex core = self.core
        try:
            return self._abandoned()
        except BaseException:
            core.abandon()
            raise

    def _try_wait(self):
        """Takes it if it can be had now. AbandonedMutexError: it was taken. In one call: between two of Python's lines a
        signal handler may raise, and what was taken would be lost."""
        cdef int got = self.try_now()
        if got == ABANDONED:
            raise self.abandonment()
        return got != 0

    def wait_one(self, timeout=None):
        """Waits until this thread owns the mutex, `timeout` seconds at most (a number or a timedelta; None: for ever;
        0: only looks). True, or False if the time is over. A thread that owns it already owns it once more, and must
        release it as often.

        Raises AbandonedMutexError if the previous owner ended without releasing it: **the mutex is owned then**, and
        must be released; what it guards may be half done. ClosedError, DamagedObjectError, MemoryFaultError (the mutex
        is not owned); RuntimeError if a task of this thread's event loop owns it. KeyboardInterrupt ends the wait."""
        return wait(self, -1.0 if timeout is None else seconds(timeout))

    def acquire(self, blocking=True, timeout=-1):
        """As `wait_one`, with the arguments of Python's locks: `timeout` in seconds, -1 for ever; not `blocking`: only
        looks. ValueError for a time-out without blocking."""
        cdef double limit = -1.0
        if blocking is not True or timeout is not -1:
            limit = seconds(timeout)
            if not blocking:
                if limit != -1.0:
                    raise ValueError("a time-out makes no sense for a call that does not block")
                limit = 0
        return wait(self, limit)

    def release_mutex(self):
        """Gives back what one wait has taken. RuntimeError if this thread does not own the mutex (.NET: ApplicationException):
        nothing is changed then. An owner can also give back a handle that was closed meanwhile."""
        release(self)

    def release(self):
        """The same as release_mutex, by the name that Python's locks have."""
        release(self)

    def __enter__(self):
        enter(self, None)
        return self

    def __exit__(self, kind, value, traceback):
        leave(self)


@cython.final
cdef class Recovering:
    """`with` of a mutex, with a repair of its own."""
    cdef MutexHandle mutex
    cdef object repair

    def __cinit__(self, MutexHandle mutex not None, repair):
        self.mutex = mutex
        self.repair = repair

    def __enter__(self):
        enter(self.mutex, self.repair)
        return self.mutex

    def __exit__(self, kind, value, traceback):
        leave(self.mutex)

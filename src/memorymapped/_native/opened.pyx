# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""Named mutexes as this process has them open: what all handles of a name share, and how that ends.

All handles of a process share one `OpenMutex`: who of our threads owns the mutex, and how often. Each handle has a `Lease`
of it. When the last lease ends and the owner is the thread at work, the mutex is given back as abandoned. If another
thread of ours owns it, the `OpenMutex` is *kept* as it is, its name too, until that thread has released it, or has ended
and somebody looks (`sweep`): nothing that is owned, or waited for, is ever unmapped.

Signal handlers may raise between any two lines of Python. So everything here that must not be left half done is one
native call, and gives back what it has when it is dropped, at whatever line.

Plain mutexes are .NET's files: `FileMutex` of mutexfiles.pyx. Fair ones have a `Held` of protocol A (lifetime.pyx):
`HeldMutex`.
"""
cimport cython
from memorymapped._native.lifetime cimport lock
from memorymapped._native.robust cimport ABANDONED, BUSY, RobustMutex
from memorymapped._native.status cimport lstat, stat_t


cdef set kept = set()  # OpenMutex without leases, which a thread of ours owns


cdef class OpenMutex:
    """A named mutex, of either kind, as this process has it open. `core` is the mutex in shared memory; None at the end.
    All of this under the process lock."""

    @property
    def mark(self):
        """What tells it apart from another one that has its device and inode later; 0: nobody knows."""
        return 0

    @property
    def name_alive(self):
        """Whether its path still leads to it: not if somebody has removed the file."""
        cdef stat_t status
        cdef bytes path = self.path.encode()
        return lstat(path, &status) == 0 and status.st_ino == self.inode and status.st_dev == self.device

    def enter(self, dict table not None, key):
        """The first lease; `table[key]` is this object until the end."""
        self.table = table
        self.key = key
        table[key] = self
        return self.lease(self.name)

    def lease(self, name):
        """One more handle's share; `name` is what that handle calls it."""
        cdef Lease lease = Lease.__new__(Lease)
        self.core.on_free = None
        kept.discard(self)
        lease.name = name
        lease.entry = self
        self.handles += 1
        return lease

    cdef int give_back(self) except -1:
        """The end of one lease."""
        lock.take(1e6, False)
        try:
            self.handles -= 1
            if self.handles == 0 and self.core is not None:
                self.close_last()
        finally:
            lock.give()
        return 0

    cdef int close_last(self) except -1:
        cdef RobustMutex core = self.core
        try:
            core.abandon()
        except OSError:
            pass  # damaged: its memory stays as it is, and mapped
        except BaseException:  # a signal handler, in the making of such an error
            self.keep_or_end(core)
            raise
        return self.keep_or_end(core)

    cdef int keep_or_end(self, RobustMutex core) except -1:
        if core.damage is None and core.is_owned_by_us():
            core.on_free = self.released
            kept.add(self)
            return sweep_kept()
        return self.end()

    def released(self):
        """The thread that owned it without a handle has released it."""
        lock.take(1e6, False)
        try:
            if self.handles == 0 and self.core is not None:
                self.end()
        finally:
            lock.give()

    cdef int end(self) except -1:
        """No thread of ours owns it, and no handle is left."""
        kept.discard(self)
        self.core.on_free = None
        self.core = None  # unmapped, if nobody waits by a closed handle
        if self.table is not None and self.table.get(self.key) is self:
            del self.table[self.key]
        return self.let_go()

    cdef int let_go(self) except -1:
        """This process has it open no more."""
        raise NotImplementedError


@cython.final
@cython.no_gc_clear  # its end needs what it refers to
cdef class Lease:
    """A handle's share of an OpenMutex. It ends with `close`, or when it is dropped."""
    cdef readonly object name  # by which the handle was opened
    cdef OpenMutex entry
    cdef bint closed

    def close(self):
        """Gives it back; a second call does nothing."""
        if not self.closed:
            self.closed = True
            self.entry.give_back()

    def __dealloc__(self):
        if self.entry is not None and not self.closed:
            self.closed = True
            self.entry.give_back()

    @property
    def core(self):
        """The mutex in shared memory."""
        return self.entry.core

    @property
    def name_alive(self):
        """Whether the name still leads to it."""
        return not self.closed and self.entry.name_alive

    @property
    def handles(self):
        """How many handles of this process there are."""
        return self.entry.handles

    @property
    def place(self):
        """(device, inode): what tells it from others that are open."""
        return (self.entry.device, self.entry.inode)

    @property
    def generation(self):
        """(device, inode, mark): no other mutex has had all three."""
        return (self.entry.device, self.entry.inode, self.entry.mark)


cdef int sweep_kept() except -1:
    cdef OpenMutex entry
    cdef int got
    for entry in list(kept):
        try:
            got = entry.core.take(0)
            if got != BUSY:  # its owner has ended: others may have been told, and have repaired it, since
                entry.core.give(got == ABANDONED)  # calls `released`
        except OSError:
            entry.end()  # damaged: nothing else can be done
    return 0


def sweep():
    """Ends what was kept for threads of ours that have ended."""
    if kept:
        lock.take()
        try:
            sweep_kept()
        finally:
            lock.give()


def forget_kept():
    """In a forked child: it owns nothing, so nothing is kept for its threads."""
    cdef OpenMutex entry
    for entry in list(kept):
        entry.end()


@cython.final
cdef class HeldMutex(OpenMutex):
    """A mutex in an object of protocol A: `held`, and `release(held)`, which lets it go."""
    cdef readonly object held
    cdef object release

    def __init__(self, name, str path not None, RobustMutex core not None, held, release):
        self.name = name
        self.path = path
        self.core = core
        self.held = held
        self.release = release
        self.device, self.inode = held.device, held.inode

    @property
    def mark(self):
        return self.held.mark

    cdef int let_go(self) except -1:
        try:
            self.release(self.held)
        finally:
            self.held.close()  # if a signal handler kept `release` from it
        return 0

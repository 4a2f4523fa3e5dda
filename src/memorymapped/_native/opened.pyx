# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""Named mutexes as this process has them open: what all handles of a name share, and how that ends.

All handles of a process share one `OpenMutex`: who of our threads owns the mutex, and how often. Each handle has a `Lease`
of it. When the last lease ends and the owner is the thread at work, the mutex is given back as abandoned. If another
thread of ours owns it, the `OpenMutex` is *kept* as it is, its name too, until that thread has released it, or has ended
and somebody looks (`sweep`): nothing that is owned, or waited for, is ever unmapped.

Signal handlers may raise between any two lines of Python. So everything here that must not be left half done is one
native call, and gives back what it has when it is dropped, at whatever line: a lease, a use lock, the directory lock
(which a function is called under, rather than that it is taken and given).

Plain mutexes are .NET's files (the steps are in `system/linux/mutexes.py`), and have two locks, both flock(2):

- `LockedFolder`: the directory lock;
- `Use`: the use lock. Its description is also the one that is mapped. A mapping keeps its description, and that its lock.
  In a forked child that would be the parent's lock, kept beyond the parent's death and the child's own close; so the
  child's memory is mapped anew, at its place, through the description that was opened for it. A child that could not be
  given one has no use of the file, and so may not use the mutex: its `damage` says why.

Fair ones have a `Held` of protocol A (lifetime.pyx).
"""
cimport cython
from libc.errno cimport EAGAIN, EBADF, EMFILE, errno
from libc.string cimport memcpy, strerror
from memorymapped._native.lifetime cimport lift_limit, lock
from memorymapped._native.memory cimport Mapping, mmf_marked, new_mapping
from memorymapped._native.robust cimport ABANDONED, BUSY, MMF_LOCK_SIZE, RobustMutex, mmf_lock, new_mutex

cdef extern from "robust.h":
    int mmf_is_kind(const mmf_lock *lock)
    double mmf_now() nogil

cdef extern from "status.h":
    ctypedef struct mmf_status:
        unsigned long long st_dev
        unsigned long long st_ino
        unsigned int st_mode
        unsigned int st_nlink
        unsigned int st_uid
        long long st_size
        unsigned long long birth
    int mmf_look(int fd, mmf_status *status)
    unsigned int mmf_version(int fd)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/file.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    #include <linux/openat2.h>

    /* Below a folder, by no link of any kind. ENOSYS before Linux 5.6. */
    static int mmf_open_below(int folder, const char *path)
    {
        struct open_how how = {.flags = O_RDWR | O_CLOEXEC | O_NONBLOCK | O_NOCTTY,
                               .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV};
        return (int)syscall(SYS_openat2, folder, path, &how, sizeof how);
    }

    static int mmf_open_anew(int fd)
    {
        char path[40];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        return open(path, O_RDWR | O_CLOEXEC);
    }

    static int mmf_open_folder(int folder, const char *name)
    {
        return openat(folder, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }

    static void mmf_nap(void)
    {
        struct timespec pause = {0, 500000};
        nanosleep(&pause, NULL);
    }
    #define MMF_SHARED_MEMORY (PROT_READ | PROT_WRITE)
    """
    struct stat_t "stat":
        unsigned long long st_dev
        unsigned long long st_ino
        unsigned int st_mode
        unsigned int st_nlink
        unsigned int st_uid
        long long st_size
    int fstat(int fd, stat_t *status)
    int lstat(const char *path, stat_t *status)
    int fstatat(int folder, const char *name, stat_t *status, int flags)
    int unlinkat(int folder, const char *name, int flags)
    int S_ISREG(unsigned int mode)
    int mmf_open_below(int folder, const char *path)
    int mmf_open_anew(int fd)
    int mmf_open_folder(int folder, const char *name)
    void mmf_nap() nogil
    int flock(int fd, int operation)
    int openat(int folder, const char *name, int flags, ...)
    int fchmod(int fd, unsigned int mode)
    int O_RDWR, O_CREAT, O_EXCL, O_NOFOLLOW
    int close(int fd)
    int dup3(int old, int new, int flags)
    int getpid()
    int getpagesize()
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long long offset)
    int LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN, O_CLOEXEC, AT_SYMLINK_NOFOLLOW, AT_REMOVEDIR
    int MMF_SHARED_MEMORY, MAP_SHARED, MAP_FIXED

cdef double CLOSE_LIMIT = 2.0  # seconds that a close waits for the directory lock before it leaves a leftover


cdef const char *BARE = b"X=User"
SAID_BARE = b"X=User"
"""Bytes 2 to 7 of a mutex file that somebody has opened by the bare name."""


cdef object failed():
    return OSError(errno, strerror(errno).decode())


# ------------------------------------------------------------------------------------------- one for all handles


cdef set kept = set()  # OpenMutex without leases, which a thread of ours owns


cdef class OpenMutex:
    """A named mutex, of either kind, as this process has it open. `core` is the mutex in shared memory; None at the end.
    All of this under the process lock."""
    cdef readonly object name
    cdef readonly str path
    cdef readonly RobustMutex core
    cdef readonly unsigned long long device
    cdef readonly unsigned long long inode
    cdef readonly int handles
    cdef dict table
    cdef object key

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


# ------------------------------------------------------------------------------------------------- plain ones


BUSY_FOLDER = object()
"""What `LockedFolder.locked` returns if somebody else has the directory lock."""


@cython.final
cdef class LockedFolder:
    """A folder with the directory lock, which counts: a signal handler may open a mutex while another is opened. Takes
    the descriptor over. Under the process lock."""
    cdef readonly int fd
    cdef int depth
    cdef int process
    cdef unsigned long long device
    cdef unsigned long long inode

    def __cinit__(self, int fd):
        cdef stat_t status
        self.fd = fd
        self.process = getpid()
        if fstat(fd, &status) == 0:
            self.device, self.inode = status.st_dev, status.st_ino

    def is_at(self, bytes path):
        """Whether it is still the folder of this path."""
        cdef stat_t status
        return lstat(path, &status) == 0 and status.st_ino == self.inode and status.st_dev == self.device

    def locked(self, function, *arguments):
        """Calls it under the directory lock, which no exception at whatever line keeps locked. BUSY_FOLDER if somebody
        else has it."""
        if not self.try_lock():
            return BUSY_FOLDER
        try:
            return function(*arguments)
        finally:
            self.unlock()

    cdef bint try_lock(self) except -1:
        if self.depth == 0 and flock(self.fd, LOCK_EX | LOCK_NB):
            if errno != EAGAIN:
                raise failed()
            return False
        self.depth += 1
        return True

    cdef bint lock_for_close(self):
        """False if somebody keeps it locked: a leftover stays then."""
        cdef double deadline = 0
        while self.depth == 0 and flock(self.fd, LOCK_EX | LOCK_NB):
            if errno != EAGAIN:
                return False
            if deadline == 0:
                deadline = mmf_now() + CLOSE_LIMIT
            if mmf_now() > deadline:
                return False
            with nogil:
                mmf_nap()
        self.depth += 1
        return True

    cdef void unlock(self) noexcept:
        self.depth -= 1
        if self.depth == 0:
            flock(self.fd, LOCK_UN)  # explicitly: a child between vfork and exec shares the description

    cpdef remove(self, bytes folder, bytes file, unsigned long long inode):
        """Under the directory lock: the file, if it still is this one, and its folder if that is empty then. Where it may
        not be removed (another user's, in a sticky folder) it is a leftover, as for .NET."""
        cdef stat_t status
        cdef int within = mmf_open_folder(self.fd, folder)
        if within < 0:
            return
        if fstatat(within, file, &status, AT_SYMLINK_NOFOLLOW) == 0 and status.st_ino == inode:
            unlinkat(within, file, 0)
        close(within)
        unlinkat(self.fd, folder, AT_REMOVEDIR)

    def after_fork_in_child(self):
        """Opens it anew: the description, and what is locked by it, is the parent's."""
        cdef int own
        if self.process == getpid():
            return
        self.process = getpid()
        self.depth = 0
        own = mmf_open_folder(self.fd, b".")
        if own >= 0:
            dup3(own, self.fd, O_CLOEXEC)
            close(own)
        else:
            close(self.fd)
            self.fd = -1
            self.inode = 0

    def __dealloc__(self):
        if self.fd >= 0:
            close(self.fd)


@cython.final
@cython.no_gc_clear  # its end needs what it refers to
cdef class Use:
    """An open mutex file, and its use lock. Takes the descriptor over, and is given back with its last reference; the
    file of one that was just made goes with it, until somebody is responsible."""
    cdef readonly int fd  # -1 when it is closed
    cdef readonly unsigned long long device
    cdef readonly unsigned long long inode
    cdef int process      # whose description it is
    cdef int twin         # the one for the child, while it is made
    cdef LockedFolder shm  # where a file that nobody is responsible for is removed from
    cdef bytes folder
    cdef bytes file

    def __cinit__(self, int fd):
        self.fd = fd
        self.twin = -1

    def begin(self):
        """Takes the use lock, under the directory lock. BlockingIOError if somebody has the file locked for writing,
        against the protocol."""
        cdef stat_t status
        if flock(self.fd, LOCK_SH | LOCK_NB) or fstat(self.fd, &status):
            raise failed()
        self.device, self.inode = status.st_dev, status.st_ino

    @property
    def mark(self):
        """As `Held.mark`."""
        cdef mmf_status status
        if self.fd < 0 or mmf_look(self.fd, &status):
            return 0
        return <object>status.birth << 32 | mmf_version(self.fd)

    cdef void end(self, LockedFolder shm, bytes folder, bytes file) noexcept:
        """Close, steps 1 to 3: drops the use lock, and removes the file if nobody else has one. (What is locked is
        unlocked in the first half of the attempt to lock it for writing, whether or not the second half succeeds:
        flock(2).)"""
        cdef bint locked
        if self.fd < 0:
            return
        locked = shm.lock_for_close()
        if locked and flock(self.fd, LOCK_EX | LOCK_NB) == 0:
            shm.remove(folder, file, self.inode)
        self.close()
        if locked:
            shm.unlock()

    cdef void close(self) noexcept:
        cdef int fd = self.fd
        self.fd = -1
        if fd >= 0:
            flock(fd, LOCK_UN)  # explicitly: a child between vfork and exec shares the description
            close(fd)

    def __dealloc__(self):
        if self.fd >= 0 and self.shm is not None and lock.take(CLOSE_LIMIT, False):
            self.end(self.shm, self.folder, self.file)
            lock.give()
        self.close()
        if self.twin >= 0:
            close(self.twin)

    cdef int make_twin(self) except -1:
        """Opens it anew for the child."""
        self.process = getpid()
        if self.twin >= 0 or self.fd < 0:
            return 0
        self.twin = mmf_open_anew(self.fd)
        if self.twin < 0 and errno == EMFILE and lift_limit():
            self.twin = mmf_open_anew(self.fd)
        if self.twin >= 0:
            flock(self.twin, LOCK_SH | LOCK_NB)  # as nobody can have it for writing
        return 0

    cdef void drop_twin(self) noexcept:
        """The child has it now."""
        if self.twin >= 0:
            close(self.twin)
            self.twin = -1

    cdef bint take_twin(self) noexcept:
        """Puts what was opened for this child in the place of what is the parent's. False if there is none."""
        if self.process == getpid() or self.fd < 0:
            return True
        self.process = getpid()
        if self.twin < 0:
            close(self.fd)
            self.fd = -1
            return False
        dup3(self.twin, self.fd, O_CLOEXEC)
        close(self.twin)
        self.twin = -1
        return True


@cython.final
cdef class FileMutex(OpenMutex):
    """A mutex in a file of .NET's: `use` of it, and where it is removed from in the end."""
    cdef Use use
    cdef LockedFolder shm
    cdef bytes folder
    cdef bytes file

    def __init__(self, name, str path not None, RobustMutex core not None, Use use not None,
                 LockedFolder shm not None, bytes folder not None, bytes file not None):
        self.name = name
        self.path = path
        self.core = core
        self.use = use
        self.shm = shm
        self.folder = folder
        self.file = file
        self.device, self.inode = use.device, use.inode

    def enter(self, dict table not None, key):
        lease = OpenMutex.enter(self, table, key)
        self.use.shm = None  # the lease is responsible now
        return lease

    @property
    def mark(self):
        return self.use.mark

    cdef int let_go(self) except -1:
        self.use.end(self.shm, self.folder, self.file)
        return 0

    def leave(self):
        """At exit: what nobody else uses is removed. What a thread of ours owns stays mapped: the kernel tells the next."""
        self.use.end(self.shm, self.folder, self.file)

    def say_bare(self):
        """Leaves word, in bytes of the header that .NET does not look at, that somebody means it by the bare name."""
        memcpy(self.core.mapping.base + 2, BARE, 6)

    def before_fork(self):
        """Fork, in `before`."""
        self.use.make_twin()

    def after_fork_in_parent(self):
        """Fork, in the parent."""
        self.use.drop_twin()

    def after_fork_in_child(self):
        """Fork, in the child, which has one thread."""
        cdef RobustMutex core = self.core
        self.shm.after_fork_in_child()
        if not self.use.take_twin():
            core.damage = ("this forked child could not open it for itself: its process has too few descriptors left "
                           "(ulimit -n), or no /proc")
        elif self.use.fd >= 0 and not mmf_marked(core.mapping.region):
            # Safe: the same page of the same file, put there in one step; no other thread can be in it. If it cannot be
            # done, the memory stays as it is.
            mmap(core.mapping.base, getpagesize(), MMF_SHARED_MEMORY, MAP_SHARED | MAP_FIXED, self.use.fd, 0)


def make_file(LockedFolder shm not None, bytes folder not None, bytes file not None, unsigned int mode):
    """A new file, in use. Under the directory lock. FileExistsError and the like."""
    cdef Use use
    cdef int fd, error
    cdef int within = mmf_open_folder(shm.fd, folder)
    if within < 0:
        raise failed()
    fd = openat(within, file, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, mode)
    error = errno
    close(within)
    if fd < 0:
        raise OSError(error, strerror(error).decode(), file.decode())
    use = Use.__new__(Use, fd)
    use.shm, use.folder, use.file = shm, folder, file
    use.begin()
    if fchmod(fd, mode):  # a umask may have taken something
        raise failed()
    return use


def open_used(LockedFolder shm not None, bytes path not None, unsigned int owner, bint private, Py_ssize_t position):
    """The mutex at `position` of a file below the folder `shm`, and a use of it: if somebody uses the file and
    everything about it is as it should be. None in every other case, which the caller must look at with care. Under the
    directory lock."""
    cdef stat_t status
    cdef Use found
    cdef Mapping mapping
    cdef mmf_lock *lock
    cdef int fd = mmf_open_below(shm.fd, path)
    if fd < 0:
        return None
    found = Use.__new__(Use, fd)
    if (fstat(fd, &status) or not S_ISREG(status.st_mode) or status.st_nlink != 1 or status.st_size < getpagesize()
            or private and (status.st_uid != owner or status.st_mode & 0o777 != 0o600)
            or flock(fd, LOCK_EX | LOCK_NB) == 0 or flock(fd, LOCK_SH | LOCK_NB)):
        return None
    found.device, found.inode = status.st_dev, status.st_ino
    mapping = new_mapping(fd, 0, getpagesize(), MMF_SHARED_MEMORY, MAP_SHARED, getpagesize())
    # Safe: inside the one page that is mapped; if the file is shorter by now the guard puts zeros there.
    lock = <mmf_lock *>(mapping.base + position)
    if mapping.base[0] != 0 or mapping.base[1] != 1 or not mmf_is_kind(lock) or mmf_marked(mapping.region):
        return None
    return new_mutex(mapping, lock), found


# ------------------------------------------------------------------------------------------------- fair ones


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

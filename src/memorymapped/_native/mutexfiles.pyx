# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""Plain mutexes: the files of .NET, and their two locks, both flock(2). The steps are in `system/linux/mutexes.py`.

- `LockedFolder`: the directory lock, which a function is called under, rather than that it is taken and given: no signal
  handler, at whatever line it raises, leaves it taken.
- `Use`: the use lock, given back when it is dropped. Its description is also the one that is mapped. A mapping keeps its
  description, and that its lock. In a forked child that would be the parent's lock, kept beyond the parent's death and
  the child's own close; so the child's memory is mapped anew, at its place, through the description that was opened for
  it. A child that could not be given one has no use of the file, and so may not use the mutex: its `damage` says why.
- `FileMutex`: both, as an `OpenMutex` (opened.pyx).
"""
cimport cython
from libc.errno cimport EAGAIN, EMFILE, errno
from libc.string cimport memcpy, strerror
from memorymapped._native.lifetime cimport lift_limit, lock
from memorymapped._native.memory cimport Mapping, mmf_marked, new_mapping
from memorymapped._native.opened cimport OpenMutex
from memorymapped._native.robust cimport RobustMutex, mmf_lock, new_mutex
from memorymapped._native.status cimport (
    S_ISREG, fstat, fstatat, lstat, mmf_look, mmf_open_again, mmf_status, mmf_version, stat_t)

cdef extern from "robust.h":
    int mmf_is_kind(const mmf_lock *lock)
    double mmf_now() nogil

cdef extern from *:
    """
    #include <fcntl.h>
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
    int unlinkat(int folder, const char *name, int flags)
    int mmf_open_below(int folder, const char *path)
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
        self.twin = mmf_open_again(self.fd, O_RDWR | O_CLOEXEC)
        if self.twin < 0 and errno == EMFILE and lift_limit():
            self.twin = mmf_open_again(self.fd, O_RDWR | O_CLOEXEC)
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

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""The use lock of .NET's mutex files: flock(2)'s shared lock, which tells others that this process has the mutex open.

What the steps are, and what they are good for, is said in `system/linux/mutexes.py`. Here is what must be one step for
signal handlers, which may raise between any two lines of Python, and what is called each time that a mutex is opened: a
`Use` is given back when it is dropped, at whatever line, and `open_used` is all of an open that goes well. `LockedFolder`
has the directory lock.

The descriptor is also the one that is mapped. A mapping keeps its description, and that its lock. In a forked child that
would be the parent's lock, kept beyond the parent's death and the child's own close; so the child's memory is mapped
anew, at its place, through the description that was opened for it.
"""
cimport cython
from libc.errno cimport EAGAIN, errno
from libc.string cimport strerror
from memorymapped._native.memory cimport Mapping, mmf_marked, new_mapping
from memorymapped._native.robust cimport MMF_LOCK_SIZE, RobustMutex, mmf_lock, new_mutex

cdef extern from "robust.h":
    int mmf_is_kind(const mmf_lock *lock)

cdef extern from *:
    """
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/file.h>
    #include <sys/mman.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
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
    int S_ISREG(unsigned int mode)
    int mmf_open_below(int folder, const char *path)
    int mmf_open_anew(int fd)
    int flock(int fd, int operation)
    int close(int fd)
    int dup3(int old, int new, int flags)
    int getpid()
    int getpagesize()
    void *mmap(void *address, size_t length, int protection, int flags, int fd, long long offset)
    int LOCK_SH, LOCK_EX, LOCK_NB, LOCK_UN, O_CLOEXEC, MMF_SHARED_MEMORY, MAP_SHARED, MAP_FIXED


@cython.final
cdef class LockedFolder:
    """A folder with the directory lock, which counts: a signal handler may open a mutex while another is opened. Takes
    the descriptor over. In a forked child it is dropped: closing it unlocks nothing of the parent's."""
    cdef readonly int fd
    cdef int depth
    cdef unsigned long long device
    cdef unsigned long long inode

    def __cinit__(self, int fd):
        cdef stat_t status
        self.fd = fd
        if fstat(fd, &status) == 0:
            self.device, self.inode = status.st_dev, status.st_ino

    def is_at(self, bytes path):
        """Whether it is still the folder of this path."""
        cdef stat_t status
        return lstat(path, &status) == 0 and status.st_ino == self.inode and status.st_dev == self.device

    def try_lock(self):
        """Whether the lock is had now; `unlock` gives it back. Under the process lock."""
        if self.depth == 0 and flock(self.fd, LOCK_EX | LOCK_NB):
            if errno != EAGAIN:
                raise OSError(errno, strerror(errno).decode())
            return False
        self.depth += 1
        return True

    def unlock(self):
        """Gives it back once."""
        self.depth -= 1
        if self.depth == 0:
            flock(self.fd, LOCK_UN)  # explicitly: a child between vfork and exec shares the description

    def __dealloc__(self):
        close(self.fd)


@cython.final
cdef class Use:
    """An open mutex file, and its use lock. Takes the descriptor over, and is given back with its last reference: no
    exception leaves it behind."""
    cdef readonly int fd  # -1 when it is closed
    cdef readonly unsigned long long device
    cdef readonly unsigned long long inode
    cdef int process      # whose description it is
    cdef int twin         # the one for the child, while it is made

    def __cinit__(self, int fd):
        self.fd = fd
        self.twin = -1

    def begin(self):
        """Takes the use lock, under the directory lock. OSError if somebody has it for writing, against the protocol."""
        cdef stat_t status
        if flock(self.fd, LOCK_SH | LOCK_NB) or fstat(self.fd, &status):
            raise OSError(errno, strerror(errno).decode())
        self.device, self.inode = status.st_dev, status.st_ino

    def is_last(self):
        """Ends the use; whether nobody else has one: it is locked for writing then, until `close`. Under the directory
        lock. (What is locked otherwise is unlocked in the first half of this step, whether or not the second half
        succeeds: flock(2).)"""
        return flock(self.fd, LOCK_EX | LOCK_NB) == 0

    def close(self):
        """Gives it back; a second call does nothing."""
        cdef int fd = self.fd
        self.fd = -1
        if fd >= 0:
            flock(fd, LOCK_UN)  # explicitly: a child between vfork and exec shares the description
            close(fd)

    def __dealloc__(self):
        self.close()

    def before_fork(self):
        """Opens it anew for the child. No descriptor left: the child has the memory, and the parent's use by that."""
        if self.twin < 0 and self.fd >= 0:
            self.twin = mmf_open_anew(self.fd)
            if self.twin >= 0:
                flock(self.twin, LOCK_SH | LOCK_NB)  # as nobody can have it for writing
        self.process = getpid()

    def after_fork_in_parent(self):
        """Lets go of what the child has now."""
        if self.twin >= 0:
            close(self.twin)
            self.twin = -1

    def after_fork_in_child(self, RobustMutex core):
        """Puts what was opened for it in the place of what is the parent's."""
        cdef Mapping mapping
        if self.process == getpid() or self.fd < 0:
            return
        self.process = getpid()
        if self.twin < 0:
            close(self.fd)
            self.fd = -1
            return
        dup3(self.twin, self.fd, O_CLOEXEC)
        close(self.twin)
        self.twin = -1
        mapping = core.mapping
        if not mmf_marked(mapping.region):
            # Safe: the same page of the same file, put there in one step; a child has one thread. If it cannot be done,
            # the memory stays as it is.
            mmap(mapping.base, getpagesize(), MMF_SHARED_MEMORY, MAP_SHARED | MAP_FIXED, self.fd, 0)


def open_used(LockedFolder shm, bytes path, unsigned int owner, bint private, Py_ssize_t position):
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

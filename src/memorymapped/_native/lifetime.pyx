# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""The lifetime of a named object: its name is valid exactly while somebody holds it, kill -9 included.

An object is a file P in a directory of ours. Two single-byte open-file-description locks, far beyond any data,
say all that there is to say about it; the kernel drops them at death:

- HOLD, taken for reading by every map object for as long as it lives. Nobody ever takes it for writing: whether
  there is a holder is only *asked* (F_OFD_GETLK). So a prober cannot be mistaken for a holder, and a prober that
  is killed leaves nothing that could be.
- GATE. For reading: "do not unlink while I open". For writing: "I create, or I unlink". P is unlinked only under
  GATE for writing on that very inode, so under GATE `st_nlink` says whether P is still the object's name.

A generation of a name is an inode, told apart from later ones of the same number by `mark`. A stale file is unlinked, never truncated or used again: views of the old
generation keep theirs.

Open    1  open P; none: not found.
        2  GATE for reading. Excludes who unlinks, not other openers; a killed opener leaves nothing. Taken:
           close, pause, from 1. (Never wait with the descriptor open: a child forked meanwhile would share it, and
           would have the gate too once we get it.)
        3  fstat: not ours, not a plain file: refused. No link: somebody unlinked between 1 and 2, again from 1.
        4  ask HOLD. A holder: take HOLD (reading: no conflict), drop GATE. Nobody can unlink while we have GATE,
           so a holder that dies right now cannot take the name along: the open counts from the asking.
        5  no holder: drop GATE, take it for writing, 3 and 4 again; still none: unlink P, drop GATE, not found.
           Killed before the unlink: still stale, the next one does it. After: gone.
Create  1  open P with O_EXCL. It exists: Open decides; found: exists; not found: again.
        2  GATE for writing. No link any more: an opener took the empty, unlocked file for a stale one; again.
        3  HOLD; size, mode, first contents.
        4  drop GATE: from now on it is visible. Killed before: nobody holds it, so it is stale. Openers wait at
           GATE and never see half an object. `prepare` failed: unlink under GATE, nothing is left.
Close   1  GATE for writing, for at most 2 s (then go to 3: a stale file, which the next look removes).
        2  linked, and nobody else holds (the own description is not counted): unlink P.
        3  unlock both bytes, explicitly: a child between vfork and exec shares the description.
        4  close. Killed before 2: stale. Two closers: the second has GATE after the first dropped HOLD.
        All of it is one call for signal handlers, which may raise: they run before it, or when it is done. A Held that is
        dropped without close (an exception met who was about to own it) closes itself in the same way.
Fork    A mapping refers to the description that it was made through, and so keeps its locks: a child would hold by its
        inherited views what it has closed, after a parent that is killed. So no description with HOLD is shared.
        1  in `before`: a fresh description with HOLD takes the place of the old one, which is unlocked (explicitly)
           and lives on in the mappings only. First the new HOLD, then the unlocking: no moment without a holder.
        2  in `before`: a second one with HOLD, for the child; the child puts it in the place of the shared one, the
           parent closes it. The child holds before it exists.
        For a moment that is a second descriptor for each object: the process's own limit is lifted if it must be.
        No Python code runs between the steps, so no signal handler does; a map that one makes after them, before the
        fork, has no second description: it does not hold in the child.

An inheritable object's description is shared, meant to hold for a child that we know nothing of. So its views are
mapped through another description (`mapping_fd`), its close works on a fresh one, and the shared one is closed without
unlocking.
"""
from memorymapped.errors import ForeignObjectError

cimport cython
from memorymapped._native.files cimport is_memory, lengthen, limit_descriptors
from memorymapped._native.status cimport (
    S_ISREG, fstat, fstatat, mmf_look, mmf_open_again, mmf_status, mmf_version, stat_t)
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EACCES, EAGAIN, EBADF, EEXIST, EINVAL, EISDIR, ELOOP, EMFILE, ENODEV, ENOENT, ENXIO, EPERM, errno
from libc.stdint cimport uintptr_t
from libc.string cimport strerror

cdef extern from *:
    """
    #include <dirent.h>
    #include <fcntl.h>
    #include <stdio.h>
    #include <string.h>
    #include <sys/file.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <time.h>
    #include <unistd.h>
    #include <pythread.h>
    #include <stdint.h>

    #define MMF_HOLD ((off_t)1 << 62)
    #define MMF_GATE (MMF_HOLD + 1)

    static int mmf_lock(int fd, int type, off_t first, off_t length)
    {
        struct flock lock = {.l_type = type, .l_whence = SEEK_SET, .l_start = first, .l_len = length};
        return fcntl(fd, F_OFD_SETLK, &lock);
    }

    /* 1: another description has HOLD; 0: none has; -1: errno. */
    static int mmf_is_held(int fd)
    {
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET, .l_start = MMF_HOLD, .l_len = 1};
        return fcntl(fd, F_OFD_GETLK, &lock) ? -1 : lock.l_type != F_UNLCK;
    }

    static void mmf_unlock_all(int fd) { (void)mmf_lock(fd, F_UNLCK, MMF_HOLD, 2); }

    static double mmf_monotonic(void)
    {
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        return now.tv_sec + now.tv_nsec * 1e-9;
    }

    static void mmf_pause(double seconds)
    {
        struct timespec pause = {0, (long)(seconds * 1e9)};
        nanosleep(&pause, NULL);
    }

    /* What getdents64(2) gives, in the form of the C library where it has no function of it. */
    struct mmf_entry { uint64_t d_ino; int64_t d_off; unsigned short d_reclen; unsigned char d_type; char d_name[]; };

    static int mmf_read_directory(int fd, void *buffer, size_t size)
    {
        return (int)syscall(SYS_getdents64, fd, buffer, size);
    }

    static int mmf_ends_with(const char *name, const char *end, size_t size)
    {
        size_t length = strlen(name);
        return length > size && memcmp(name + length - size, end, size) == 0;
    }
    """
    ctypedef void *PyThread_type_lock
    PyThread_type_lock PyThread_allocate_lock()
    int PyThread_acquire_lock_timed(PyThread_type_lock lock, long long microseconds, int interruptible) nogil
    void PyThread_release_lock(PyThread_type_lock lock)
    unsigned long PyThread_get_thread_ident()
    int PY_LOCK_ACQUIRED, PY_LOCK_INTR
    ctypedef long long off_t
    struct dirent_t "mmf_entry":
        unsigned short d_reclen
        unsigned char d_type
        const char *d_name
    int DT_REG, DT_UNKNOWN, SEEK_SET
    int mmf_read_directory(int fd, void *buffer, size_t size)
    bint mmf_ends_with(const char *name, const char *end, size_t size)
    off_t lseek(int fd, off_t offset, int whence)
    int fchmod(int fd, unsigned int mode)
    int fchmodat(int directory, const char *name, unsigned int mode, int flags)
    unsigned int geteuid()
    int openat(int directory, const char *name, int flags, ...)
    Py_ssize_t write(int fd, const void *data, size_t size)
    int unlinkat(int directory, const char *name, int flags)
    int close(int fd)
    int getpid()
    int fcntl(int fd, int command, ...)
    int flock(int fd, int operation)
    int F_SETFD, F_DUPFD_CLOEXEC, LOCK_EX, LOCK_NB, LOCK_UN
    int dup3(int old, int new, int flags)
    int F_RDLCK, F_WRLCK, F_UNLCK
    int O_DIRECTORY, O_RDONLY, O_RDWR, O_WRONLY, O_ACCMODE, O_CREAT, O_EXCL, O_CLOEXEC, O_NOFOLLOW, O_NONBLOCK, O_NOCTTY
    int AT_SYMLINK_NOFOLLOW
    off_t MMF_HOLD, MMF_GATE
    int mmf_lock(int fd, int type, off_t first, off_t length)
    int mmf_is_held(int fd)
    void mmf_unlock_all(int fd)
    double mmf_monotonic() nogil
    void mmf_pause(double seconds) nogil

OPEN = 1
CREATE = 2


class _Busy:
    def __repr__(self):
        return "BUSY"


BUSY = _Busy()

cdef enum:
    _OPEN = 1
    _CREATE = 2

cdef double CLOSE_LIMIT = 2.0


@cython.final
cdef class ProcessLock:
    """Recursive, for what runs in the midst of it: a signal handler, or a collected object that closes a map. Unlike
    threading's it can be waited for without handling signals, where nobody could be told what a handler raises."""

    def __cinit__(self):
        self.lock = PyThread_allocate_lock()
        if self.lock == NULL:
            raise MemoryError

    cdef bint take(self, double limit=1e6, bint interruptible=True) except -1:
        """False after `limit` seconds."""
        cdef unsigned long me = PyThread_get_thread_ident()
        cdef double deadline
        cdef long long microseconds
        cdef int got
        if self.depth and self.owner == me:
            self.depth += 1
            return True
        got = PyThread_acquire_lock_timed(self.lock, 0, 0)
        if got != PY_LOCK_ACQUIRED:
            deadline = mmf_monotonic() + limit
            while got != PY_LOCK_ACQUIRED:
                microseconds = <long long>((deadline - mmf_monotonic()) * 1e6)
                if microseconds < 0:
                    return False
                with nogil:
                    got = PyThread_acquire_lock_timed(self.lock, microseconds, interruptible)
                if got == PY_LOCK_INTR:
                    PyErr_CheckSignals()
        self.owner = me
        self.depth = 1
        return True

    cdef void give(self) noexcept:
        self.depth -= 1
        if self.depth == 0:
            PyThread_release_lock(self.lock)

    def __enter__(self):
        self.take()

    def __exit__(self, *exception):
        self.give()


# Held around every create, open and close, and by fork.
lock = ProcessLock()
process_lock = lock

# What the steps return beside a file descriptor.
cdef enum:
    NOT_FOUND = -1
    AGAIN = -2
    EXISTS = -3
    GATE_TAKEN = -4
    BADF = 2


@cython.final
cdef class Directory:
    """An open directory of named objects. Closed with its last user, so that a directory which was replaced can
    still be tidied by those who hold something in it."""
    cdef readonly int fd
    cdef int list_fd         # the same one for `next_file`: where that is in it is nobody else's matter
    cdef char entries[2048]  # read of it, and not looked at yet: from `at` to `end`
    cdef int at
    cdef int end
    cdef bint in_memory

    def __cinit__(self, int fd):
        self.fd = fd
        self.list_fd = openat(fd, b".", O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        if self.list_fd < 0:
            raise OSError(errno, strerror(errno).decode())
        self.in_memory = is_memory(fd)

    cdef bint has_one_file(self) noexcept:
        """True if it certainly has no more than one. (The size of a folder in tmpfs is 20 bytes for each entry.)"""
        cdef stat_t status
        return self.in_memory and fstat(self.fd, &status) == 0 and status.st_size <= 60

    cdef const char *next_file(self) noexcept:
        """The name of the next file in turn; NULL once at the end, then it begins anew."""
        cdef dirent_t *entry
        while True:
            if self.at >= self.end:
                self.at = 0
                self.end = mmf_read_directory(self.list_fd, self.entries, sizeof(self.entries))
                if self.end <= 0:
                    lseek(self.list_fd, 0, SEEK_SET)
                    return NULL
            entry = <dirent_t *>(self.entries + self.at)
            self.at += entry.d_reclen
            if entry.d_type == DT_REG or entry.d_type == DT_UNKNOWN:
                return entry.d_name

    def __dealloc__(self):
        close(self.fd)
        if self.list_fd >= 0:
            close(self.list_fd)


@cython.final
cdef class Duplicate:
    """A descriptor with HOLD, to be sent to another process. Closed with its last reference: no exception loses it."""
    cdef readonly int fd

    def __cinit__(self):
        self.fd = -1

    def close(self):
        """Closes it; a second call does nothing."""
        if self.fd >= 0:
            close(self.fd)  # not unlocked: the other process has the description now
            self.fd = -1

    def __dealloc__(self):
        self.close()


@cython.final
cdef class Flock:
    """A file with flock(2)'s exclusive lock. Given back with its last reference: no exception leaves it behind."""
    cdef int fd

    def __cinit__(self):
        self.fd = -1

    def close(self):
        """Gives it back; a second call does nothing."""
        if self.fd >= 0:
            flock(self.fd, LOCK_UN)  # explicitly: a child between vfork and exec shares the description
            close(self.fd)
            self.fd = -1

    def __dealloc__(self):
        self.close()


def try_flock(Directory directory not None, bytes name not None):
    """The lock of a file in this directory; None if it is taken, or if the file was removed meanwhile. OSError if the
    file cannot be opened, with ENODEV also where it is no plain file."""
    cdef stat_t status
    cdef Flock taken = Flock.__new__(Flock)
    cdef int fd = openat(directory.fd, name, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
    if fd < 0:
        raise failed(name, "opening it")
    taken.fd = fd
    if fstat(fd, &status):
        raise failed(name, "looking at it")
    if not S_ISREG(status.st_mode):
        raise OSError(ENODEV, "no plain file", name.decode("ascii"))
    if flock(fd, LOCK_EX | LOCK_NB):
        if errno == EAGAIN:
            return None
        raise failed(name, "locking it")
    if fstat(fd, &status) or status.st_nlink == 0:  # removed by its owner: others use a new one
        return None
    return taken


def check_locks(int fd):
    """NotImplementedError if there are no open-file-description locks. `fd`: any open file; it is only asked."""
    if mmf_is_held(fd) < 0 and errno == EINVAL:
        raise NotImplementedError("named objects need open-file-description locks (Linux 3.15), which this kernel or "
                                  "sandbox refuses")


cdef object failed(bytes name, str doing):
    # A subclass of OSError is chosen by the number: EACCES gives PermissionError.
    return OSError(errno, f"{strerror(errno).decode()} while {doing}", name.decode("ascii"))


cdef int try_gate(int fd, int type, bytes name) except -1:
    """Takes GATE if it is free: 1; 0 if it is not; BADF for writing on a read-only descriptor."""
    if mmf_lock(fd, type, MMF_GATE, 1) == 0:
        return 1
    if errno == EAGAIN or errno == EACCES:
        return 0
    if errno == EBADF:
        return BADF
    raise failed(name, "asking for the gate")


cdef int wait_for_gate(int fd, int type, double limit, bint interruptible, bytes name) except -1:
    """Takes GATE, with growing pauses, as there is no timed form. 1; 0 after `limit` seconds; or BADF."""
    cdef double deadline = 0
    cdef double pause = 0.0001
    cdef int got
    while True:
        got = try_gate(fd, type, name)
        if got:
            return got
        if deadline == 0:
            deadline = mmf_monotonic() + limit
        if mmf_monotonic() > deadline:
            return 0
        with nogil:
            mmf_pause(pause)
        if interruptible:
            PyErr_CheckSignals()
        pause = min(pause * 1.5, 0.005)


cdef int inspect(int fd, mmf_status *status, unsigned int owner, bytes name) except -1:
    """Step 3. 1: linked; 0: somebody unlinked it."""
    if mmf_look(fd, status):
        raise failed(name, "looking at it")
    if status.st_nlink == 0:
        return 0
    if not S_ISREG(status.st_mode):
        raise ForeignObjectError(f"{name.decode('ascii')} is not a plain file: no object of ours, left alone")
    if status.st_uid != owner:
        raise ForeignObjectError(f"{name.decode('ascii')} belongs to user {status.st_uid}, not {owner}: left alone")
    if status.st_nlink > 1:
        raise ForeignObjectError(f"{name.decode('ascii')} has {status.st_nlink} links: no object of ours, left alone")
    return 1


cdef int unlink(Directory directory, bytes name, bytes side) except -1:
    """Under GATE for writing. The side file (a long name's true text) goes first: it never outlives its object."""
    if side is not None:
        unlinkat(directory.fd, side, 0)
    if unlinkat(directory.fd, name, 0) and errno != ENOENT:
        if errno == EPERM:
            return 0  # another user's, in the sticky folder: stale, and its owner's (or root's) to remove
        raise failed(name, "removing what nobody holds")
    return 0


cdef int give_up(int fd, int result):
    mmf_unlock_all(fd)
    close(fd)
    return result


cdef int open_there(Directory directory, bytes name, int flags):
    """openat. If a file of ours denies its owner what every object of ours allows, then a umask took it; its creator is
    about to give it back, or was killed before that: we do it."""
    cdef stat_t status
    flags |= O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY
    cdef int fd = openat(directory.fd, name, flags)
    if fd >= 0 or errno != EACCES:
        return fd
    if (fstatat(directory.fd, name, &status, AT_SYMLINK_NOFOLLOW) == 0 and S_ISREG(status.st_mode)
            and status.st_uid == geteuid() and status.st_nlink == 1 and status.st_mode & 0o600 != 0o600):
        fchmodat(directory.fd, name, (status.st_mode & 0o7777) | 0o600, 0)
    return openat(directory.fd, name, flags)


cdef int try_open(Directory directory, bytes name, bytes side, unsigned int owner, int flags, bint hold,
                  mmf_status *status) except -5:
    """Open, steps 1 to 5: a descriptor with HOLD, NOT_FOUND, AGAIN, GATE_TAKEN, or (without `hold`) EXISTS."""
    cdef int held
    cdef bint readonly = (flags & O_ACCMODE) == O_RDONLY
    cdef bint for_writing = False
    cdef int fd = open_there(directory, name, flags)
    if fd < 0:
        if errno == ENOENT:
            return NOT_FOUND
        if errno == ELOOP:
            raise ForeignObjectError(f"{name.decode('ascii')} is a symbolic link: no object of ours, left alone")
        if errno == EISDIR or errno == ENXIO or errno == ENODEV:
            raise ForeignObjectError(f"{name.decode('ascii')} is not a plain file: no object of ours, left alone")
        raise failed(name, "opening it")
    try:
        while True:
            if not try_gate(fd, F_WRLCK if for_writing else F_RDLCK, name):
                return give_up(fd, GATE_TAKEN)
            if not inspect(fd, status, owner, name):
                return give_up(fd, AGAIN)
            held = mmf_is_held(fd)
            if held < 0:
                raise failed(name, "asking for its holders")
            if held and not hold:
                return give_up(fd, EXISTS)
            if held:
                if mmf_lock(fd, F_RDLCK, MMF_HOLD, 1):
                    raise failed(name, "holding it")
                mmf_lock(fd, F_UNLCK, MMF_GATE, 1)
                return fd
            if for_writing:
                unlink(directory, name, side)
            if for_writing or readonly:
                return give_up(fd, NOT_FOUND)
            mmf_lock(fd, F_UNLCK, MMF_GATE, 1)
            for_writing = True
    except BaseException:
        give_up(fd, 0)
        raise


cdef int write_side(Directory directory, bytes side, bytes text) except -1:
    """The true text of a name whose file name is only a hash: advice for those who list. Under GATE, before the object
    is visible."""
    cdef int fd
    cdef Py_ssize_t done = 0, wrote = 0, size = len(text)
    cdef const char *rest = text
    unlinkat(directory.fd, side, 0)
    fd = openat(directory.fd, side, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0o600)
    if fd < 0:
        raise failed(side, "writing down the long name")
    try:
        while done < size:
            wrote = write(fd, rest + done, size - done)  # short when the space ends: the next call says so
            if wrote < 0:
                raise failed(side, "writing down the long name")
            done += wrote
    finally:
        close(fd)
    return 0


cdef int try_create(Directory directory, bytes name, bytes side, bytes text, long long size, bint reserve,
                    object prepare, mmf_status *status) except -5:
    """Create, steps 1 to 4: a descriptor with HOLD, EXISTS (P exists; Open must decide), AGAIN, or GATE_TAKEN."""
    cdef int fd = openat(directory.fd, name, O_CREAT | O_EXCL | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0o600)
    cdef bint ours = False
    if fd < 0:
        if errno == EEXIST:
            return EXISTS
        raise failed(name, "creating it")
    try:
        if not try_gate(fd, F_WRLCK, name):
            return give_up(fd, GATE_TAKEN)  # a prober took it for a stale file and is about to remove it
        if mmf_look(fd, status):
            raise failed(name, "looking at it")
        if status.st_nlink == 0:
            return give_up(fd, AGAIN)
        ours = True
        if mmf_lock(fd, F_RDLCK, MMF_HOLD, 1):
            raise failed(name, "holding it")
        if side is not None:
            write_side(directory, side, text)
        if size > status.st_size:  # it was made a moment ago, and nobody else may touch it yet
            lengthen(fd, status.st_size, 0, size, reserve, True)
        if prepare is not None:
            prepare(fd)
            if mmf_look(fd, status):
                raise failed(name, "looking at it")
        else:
            status.st_size = size
            if status.st_mode & 0o777 != 0o600:
                fchmod(fd, 0o600)  # a umask took what the owner needs
        mmf_lock(fd, F_UNLCK, MMF_GATE, 1)
        return fd
    except BaseException:
        if ours:
            unlink(directory, name, side)
        give_up(fd, 0)
        raise


# The addresses of all Held that hold something. No references: one that nobody uses any more is to go.
cdef set addresses = set()


def all_held():
    """Every Held of this process that is not closed."""
    # Safe: an address is taken out by `end` or as the first step of `__dealloc__`, before the object goes.
    return [<Held><void *><uintptr_t>address for address in addresses]


def locked(function, *arguments):
    """Calls it under the process lock, which no exception at whatever line keeps locked (`with` has a moment for it)."""
    lock.take()
    try:
        return function(*arguments)
    finally:
        lock.give()


@cython.final
cdef class Held:
    """One description that holds a named object. Every map object has one of its own."""
    cdef readonly int fd
    cdef readonly int view_fd       # of an inheritable object: without HOLD, for its views; else -1
    cdef readonly bint created
    cdef readonly bint holding      # False in a forked child that could not be given a description of its own
    cdef readonly bint inheritable
    cdef readonly unsigned long long device
    cdef readonly unsigned long long inode
    cdef readonly long long size    # when it was opened
    cdef readonly unsigned int mode
    cdef unsigned long long birth
    cdef unsigned int version
    cdef readonly Directory directory
    cdef readonly bytes name
    cdef bytes side
    cdef int flags
    cdef int twin

    def __cinit__(self):
        self.fd = self.view_fd = self.twin = -1

    def __dealloc__(self):
        addresses.discard(<uintptr_t><void *>self)
        if self.fd < 0:
            return
        if lock.take(CLOSE_LIMIT, False):
            try:
                self.end(False)
            finally:
                lock.give()
        else:  # a stale file, which the next look removes
            give_up(self.fd, 0)

    @property
    def mark(self):
        """What tells it apart from another file that has the same inode number later: the time of its birth and the
        file system's number of the inode's use, as one. 0: nobody knows."""
        return <object>self.birth << 32 | self.version

    def inherit(self):
        """Lets children that execute another program have the descriptor, and makes `view_fd`: mappings would keep the
        lock of the inherited one after its close."""
        cdef int fd = mmf_open_again(self.fd, self.flags | O_CLOEXEC)
        if fd < 0 or fcntl(self.fd, F_SETFD, 0):
            raise failed(self.name, "opening it again")
        self.view_fd = fd
        self.inheritable = True

    def close(self, backing=None):
        """Close, steps 1 to 4. Does nothing the second time. `backing`: what has `fd` and `view_fd` of this; both are -1
        as soon as this is closed, with no signal handler in between."""
        lock.take()
        try:
            if backing is not None:
                backing.fd = backing.view_fd = -1
            self.end(True)
        finally:
            lock.give()

    cdef int end(self, bint interruptible) except -1:
        """Close, under the process lock."""
        cdef int fd = self.fd
        cdef int fresh
        cdef stat_t status
        if fd < 0:
            return 0
        if forks and forker != getpid():  # in a child, before the hook below: now its own description, or the parent's
            into_child()                  # lock would be undone
        addresses.discard(<uintptr_t><void *>self)
        self.fd = -1
        if self.twin >= 0:
            close(self.twin)  # not unlocked: between a fork and the hook below a child has this description
            self.twin = -1
        if self.view_fd >= 0:
            close(self.view_fd)
            self.view_fd = -1
        if not self.holding:
            close(fd)
            return 0
        if self.inheritable:
            fresh = openat(self.directory.fd, self.name, self.flags | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK)
            if fresh >= 0 and (fstat(fresh, &status) or status.st_ino != self.inode or status.st_dev != self.device):
                close(fresh)
                fresh = -1
            close(fd)
            if fresh < 0:
                return 0
            fd = fresh
        try:
            # After the limit, or without the right to write: a stale file, which the next look removes.
            if wait_for_gate(fd, F_WRLCK, CLOSE_LIMIT, interruptible, self.name) == 1:
                if fstat(fd, &status) == 0 and status.st_nlink != 0 and mmf_is_held(fd) == 0:
                    unlink(self.directory, self.name, self.side)
        except OSError:
            pass  # a close always succeeds; who changed its user since may not remove what it made before
        finally:
            give_up(fd, 0)
        return 0

    cdef int again(self):
        """Another description of the same file, with HOLD; -1 if there can be none (no /proc, no descriptors left)."""
        cdef int fd = mmf_open_again(self.fd, self.flags | O_CLOEXEC)
        if fd >= 0 and mmf_lock(fd, F_RDLCK, MMF_HOLD, 1):
            close(fd)
            return -1
        return fd

    cdef bint make_twin(self):
        """Fork, steps 1 and 2. False if there are not enough descriptors: to be called again when there are, or the
        child's does not hold."""
        cdef int own
        self.drop_twin()  # a fork in a signal handler, in the midst of another one
        if self.fd < 0 or not self.holding:
            return True
        if not self.inheritable:
            own = self.again()
            if own < 0 and errno == EMFILE:
                return False
            if own >= 0:
                mmf_unlock_all(self.fd)
                dup3(own, self.fd, O_CLOEXEC)
                close(own)
        self.twin = self.again()
        return self.twin >= 0 or errno != EMFILE

    cdef void drop_twin(self):
        if self.twin >= 0:
            close(self.twin)  # not unlocked: the child has this description now
            self.twin = -1

    cdef void take_twin(self):
        self.holding = self.twin >= 0
        if self.twin >= 0:
            dup3(self.twin, self.fd, 0 if self.inheritable else O_CLOEXEC)
            close(self.twin)
            self.twin = -1

    def duplicate(self):
        """A descriptor with a description and HOLD of its own, to be sent to another process."""
        cdef Duplicate duplicate = Duplicate.__new__(Duplicate)
        lock.take()
        try:
            duplicate.fd = self.again()
        finally:
            lock.give()
        if duplicate.fd < 0:
            raise failed(self.name, "opening it for another process")
        return duplicate


def duplicate(int fd):
    """Another descriptor of the same description, to be sent to another process."""
    cdef Duplicate result = Duplicate.__new__(Duplicate)
    result.fd = fcntl(fd, F_DUPFD_CLOEXEC, 3)
    if result.fd < 0:
        raise OSError(errno, strerror(errno).decode())
    return result


def opened_again(int fd):
    """A description of its own of the same file, for locks of its own."""
    cdef Duplicate result = Duplicate.__new__(Duplicate)
    result.fd = mmf_open_again(fd, O_RDONLY | O_CLOEXEC)
    if result.fd < 0:
        raise OSError(errno, strerror(errno).decode())
    return result


# ------------------------------------------------------------------------------------------------- fork

cdef int forks = 0      # under way; more than one if a signal handler forks in the midst of a fork
cdef int forker = 0     # the process that makes them
cdef object limit = None  # of descriptors, if it was lifted for the time of the fork
cdef list hooks = []


def at_fork(before, in_parent, in_child):
    """Has these called around each fork, under the process lock, which no exception of theirs keeps locked; once more if
    they raise, as a signal handler may in their midst. The steps of named objects come after `before`, and before the
    other two."""
    hooks.append((before, in_parent, in_child))


cdef void call(object hook) noexcept:
    try:
        hook()
    except BaseException:
        hook()
        raise  # which is reported, and goes no further


def before_fork():
    global forks, forker
    cdef Held held
    lock.take(1e6, False)  # signals are handled when the fork is done
    forks += 1
    forker = getpid()
    for hook in hooks:
        call(hook[0])
    for held in all_held():
        if not held.make_twin() and lift_limit():
            held.make_twin()


cdef int lift_limit() except -1:
    """In `before`: lets this process have more descriptors until the fork is done. 0 if it has that already, or may not."""
    global limit
    if limit is not None:
        return 0
    try:
        limit = limit_descriptors(None)
    except OSError:
        return 0  # what is left without a descriptor does not hold in the child
    return 1


def after_fork_in_parent():
    cdef Held held
    for held in all_held():
        held.drop_twin()
    after_fork(1)


def after_fork_in_child():
    into_child()
    after_fork(2)


cdef void into_child() noexcept:
    global forker
    cdef Held held
    if forker != getpid():
        forker = getpid()
        for held in all_held():
            held.take_twin()


cdef int after_fork(int which) except -1:
    global forks, limit
    if not forks:
        return 0
    try:
        for hook in hooks:
            call(hook[which])
        if limit is not None:
            limit_descriptors(limit)
    finally:
        limit = None
        forks -= 1
        lock.give()
    return 0


# -------------------------------------------------------------------------------------------- open and create


def attempt(Directory directory not None, bytes name not None, bytes side, bytes text, int how, int flags, unsigned int owner,
            long long size, bint reserve, prepare):
    """Opens (`how` has OPEN) or creates (CREATE) the object, or does whichever is possible (both).

    `side`, `text`: file name and contents of the side file of a long name, or None. `flags`: O_RDWR or O_RDONLY. `owner`: the user id that the file must have. A new object gets `size` bytes
    (`reserve`: with their memory), then mode and contents by `prepare(fd)` (None: mode 0600), before anybody sees it.
    Never waits. Returns a Held; None if nobody holds it (OPEN) or somebody
    does (CREATE); BUSY if others are creating or removing it right now: pause, and try again."""
    cdef mmf_status status
    cdef int fd, turn
    cdef bint created
    cdef Held held = Held.__new__(Held)
    for turn in range(16):
        created = False
        fd = NOT_FOUND
        if how & _OPEN:
            fd = try_open(directory, name, side, owner, flags, True, &status)
            if fd == NOT_FOUND and not how & _CREATE:
                return None
        if fd == NOT_FOUND:
            created = True
            fd = try_create(directory, name, side, text, size, reserve, prepare, &status)
            if fd == EXISTS and not how & _OPEN:
                fd = try_open(directory, name, side, owner, O_RDWR, False, &status)
                if fd == EXISTS:
                    return None
        if fd >= 0:
            adopt(held, directory, name, side, fd, flags, created, &status)
            if created:
                look_around(directory, name)
            return held
        if fd == GATE_TAKEN:
            return BUSY
    return BUSY


cdef Held adopt(Held held, Directory directory, bytes name, bytes side, int fd, int flags, bint created, mmf_status *status):
    """Makes `held`, which holds nothing yet, responsible for a descriptor with HOLD. Nothing here can fail."""
    held.fd = fd
    held.created = created
    held.holding = True
    held.device = status.st_dev
    held.inode = status.st_ino
    held.size = status.st_size
    held.mode = status.st_mode
    held.birth = status.birth
    held.version = 0 if directory.in_memory else mmf_version(fd)
    held.directory = directory
    held.name = name
    held.side = side
    held.flags = flags
    addresses.add(<uintptr_t><void *>held)
    return held


def rejoin(Directory directory not None, bytes name not None, bytes side, int fd, int flags):
    """A Held from a descriptor that was inherited: a description and HOLD of its own, while the inherited one, if
    it holds, keeps the object alive. None if the object has no name any more. The descriptor is left open."""
    cdef mmf_status status
    cdef Held held = Held.__new__(Held)
    cdef int own = mmf_open_again(fd, flags | O_CLOEXEC)
    if own < 0:
        raise failed(name, "opening the inherited descriptor again")
    try:
        if wait_for_gate(own, F_RDLCK, CLOSE_LIMIT, True, name) == 1 and mmf_look(own, &status) == 0 and status.st_nlink == 1 \
                and mmf_is_held(own) == 1:
            if mmf_lock(own, F_RDLCK, MMF_HOLD, 1) == 0:
                mmf_lock(own, F_UNLCK, MMF_GATE, 1)
                return adopt(held, directory, name, side, own, flags, False, &status)
    except BaseException:
        give_up(own, 0)
        raise
    give_up(own, 0)
    return None


def is_held(Directory directory not None, bytes name not None):
    """Asks only: True, False; None if there is no such file, or it may not be opened."""
    cdef int held
    cdef int fd = openat(directory.fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY)
    if fd < 0:
        return None
    held = mmf_is_held(fd)
    close(fd)
    return None if held < 0 else held == 1


def remove_if_stale(Directory directory not None, bytes name not None, bytes side, unsigned int owner):
    """A look at an object of others: unlinks it if nobody holds it. Never waits: a gate that is taken means that
    somebody is at work there. True if it was removed."""
    cdef stat_t status
    cdef bint removed = False
    cdef int fd = open_there(directory, name, O_RDWR)
    if fd < 0:
        return False
    if mmf_is_held(fd) or mmf_lock(fd, F_WRLCK, MMF_GATE, 1):
        close(fd)
        return False
    try:
        if (fstat(fd, &status) == 0 and S_ISREG(status.st_mode) and status.st_nlink == 1
                and status.st_uid == owner and mmf_is_held(fd) == 0):
            unlink(directory, name, side)
            removed = True
    finally:
        give_up(fd, 0)
    return removed


cdef tuple kinds = ()
cdef bytes side_suffix = b""


def know(tuple suffixes not None, bytes side not None):
    """How the names of objects' files end, and what is added to one for its side file."""
    global kinds, side_suffix
    kinds, side_suffix = suffixes, side


cdef int look_around(Directory directory, bytes own) except -1:
    """A look at two other objects of this user, each time at the next two in turn (at the last one alone): what nobody
    holds is removed. Without an error: what was found there is not the caller's trouble."""
    cdef const char *entry
    cdef bytes name, kind
    cdef int looked = 0
    cdef bint begun_anew = False
    if directory.has_one_file():
        return 0
    while looked < 2:
        entry = directory.next_file()
        if entry == NULL:
            if looked or begun_anew:
                return 0
            begun_anew = True
            continue
        for kind in kinds:
            if mmf_ends_with(entry, kind, len(kind)):
                break
        else:
            continue
        name = entry
        if name == own:
            continue
        looked += 1
        try:
            remove_if_stale(directory, name, name + side_suffix if b"~" in name else None, geteuid())
        except OSError:
            pass
    return 0

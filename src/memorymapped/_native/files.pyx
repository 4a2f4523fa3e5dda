# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""System calls on files that `os` does not have, has only in the C library's emulation, or has too slowly."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EEXIST, EFBIG, EINTR, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, errno
from libc.string cimport strerror
from memorymapped._native.status cimport S_ISREG, fstat, mmf_look, mmf_status, mmf_version, stat_t

cdef extern from *:
    """
    #include <fcntl.h>
    #include <sys/resource.h>
    #include <sys/stat.h>
    #include <sys/syscall.h>
    #include <sys/vfs.h>
    #include <sys/xattr.h>
    #include <unistd.h>
    #include <linux/limits.h>

    /* glibc has a function of it, musl has not. */
    static inline int mmf_rename_new(const char *old, const char *new)
    {
        return (int)syscall(SYS_renameat2, AT_FDCWD, old, AT_FDCWD, new, 1 /* RENAME_NOREPLACE */);
    }
    """
    int mmf_rename_new(const char *old, const char *new)
    int fallocate(int fd, int mode, long long offset, long long length) nogil
    int ftruncate(int fd, long long length) nogil
    struct statfs_t "statfs":
        long f_type
        long f_bsize
        unsigned long f_blocks
        unsigned long f_bavail
    struct rlimit_t "rlimit":
        unsigned long long rlim_cur
        unsigned long long rlim_max
    int RLIMIT_FSIZE, RLIMIT_NOFILE
    int getrlimit(int resource, rlimit_t *limit)
    int setrlimit(int resource, rlimit_t *limit)
    int fstatfs(int fd, statfs_t *status)
    ssize_t fgetxattr(int fd, const char *name, void *value, size_t size)
    int fsetxattr(int fd, const char *name, const void *value, size_t size, int flags)
    int fremovexattr(int fd, const char *name)
    int MMF_ATTRIBUTE_SIZE "XATTR_SIZE_MAX"
    long sysconf(int name)
    int _SC_PAGESIZE
    int FALLOC_FL_KEEP_SIZE

cdef long HUGETLBFS = 0x958458f6  # linux/magic.h
cdef long TMPFS = 0x01021994
cdef long long PIECE = 64 * 1024 * 1024


def size_of(int fd):
    """The file's size in bytes."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    return status.st_size


# Python has functions of these with glibc only.

def attribute_of(int fd, bytes name not None):
    """An extended attribute of a file. OSError(ENODATA): it has none of this name."""
    cdef bytes value = PyBytes_FromStringAndSize(NULL, MMF_ATTRIBUTE_SIZE)
    cdef ssize_t size = fgetxattr(fd, name, PyBytes_AS_STRING(value), MMF_ATTRIBUTE_SIZE)
    if size < 0:
        raise OSError(errno, strerror(errno).decode())
    return value[:size]


def set_attribute(int fd, bytes name not None, bytes value not None):
    """Gives a file an extended attribute, or changes it."""
    if fsetxattr(fd, name, PyBytes_AS_STRING(value), len(value), 0):
        raise OSError(errno, strerror(errno).decode())


def remove_attribute(int fd, bytes name not None):
    """Takes it from the file."""
    if fremovexattr(fd, name):
        raise OSError(errno, strerror(errno).decode())


def identity(int fd):
    """(device, inode, size, links) of an open file."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    return status.st_dev, status.st_ino, status.st_size, status.st_nlink


def mark_of(int fd):
    """What tells a plain file apart from another one that has its inode number later (`lifetime.Held.mark`)."""
    cdef mmf_status status
    if mmf_look(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    if not S_ISREG(status.st_mode):
        return 0
    return <object>status.birth << 32 | (0 if is_memory(fd) else mmf_version(fd))


def page_size_of(int fd):
    """The unit of mappings of this file: the system's page size, or that of the file's huge pages (hugetlbfs)."""
    cdef statfs_t status
    if fstatfs(fd, &status) == 0 and (status.f_type & 0xffffffff) == HUGETLBFS:
        return status.f_bsize
    return sysconf(_SC_PAGESIZE)


cpdef bint is_memory(int fd):
    """Whether what is in this file never reaches a disk."""
    cdef statfs_t status
    return fstatfs(fd, &status) == 0 and (status.f_type & 0xffffffff) in (TMPFS, HUGETLBFS)


def available_memory():
    """What the machine can still give without killing anybody, in bytes, swap included, as it estimates itself; None if
    it does not say."""
    cdef long long found = -1
    try:
        with open("/proc/meminfo", "rb") as lines:
            for line in lines:
                if line.startswith(b"MemAvailable:"):
                    found = int(line.split()[1]) * 1024
                elif line.startswith(b"SwapFree:") and found >= 0:
                    found += int(line.split()[1]) * 1024
                    break
    except (OSError, ValueError):
        pass
    return None if found < 0 else found


cdef refuse_above_limit(long long size):
    """What the process's limit for files forbids: fallocate(2) would set the time of the last change before it fails."""
    cdef rlimit_t limit
    if getrlimit(RLIMIT_FSIZE, &limit) == 0 and <unsigned long long>size > limit.rlim_cur:
        raise OSError(EFBIG, strerror(EFBIG).decode())


cdef refuse_without_space(int fd, long long more):
    """Before space is taken piece by piece: more than there is would be noticed only when all others lack it, what was
    taken could not be given back (another may have grown the file meanwhile), and where the limit of a memory file
    system is above the machine's memory, it would be noticed by the death of some process."""
    cdef statfs_t status
    if fstatfs(fd, &status):
        return
    if status.f_blocks and more > <long long>status.f_bavail * <long long>status.f_bsize:  # (musl: unsigned)
        raise OSError(ENOSPC, strerror(ENOSPC).decode())
    if (status.f_type & 0xffffffff) == TMPFS:
        available = available_memory()
        if available is not None and more > available:
            raise OSError(ENOMEM, strerror(ENOMEM).decode())


cdef int allocate_pieces(int fd, long long start, long long end) except -1:
    """Pages for all pieces that end before `end`, between which Ctrl-C is noticed. 0, or the error."""
    cdef int error = 0
    while error == 0 and end - start > PIECE:
        with nogil:
            error = errno if fallocate(fd, FALLOC_FL_KEEP_SIZE, start, PIECE) else 0
        if error == EINTR:
            error = 0
        elif error == 0:
            start += PIECE
        PyErr_CheckSignals()
    return error


cdef int allocate_rest(int fd, int mode, long long start, long long end) except -1:
    """One fallocate(2), tried again after signals. 0, or the error."""
    cdef int error
    while True:
        with nogil:
            error = errno if fallocate(fd, mode, start, end - start) else 0
        if error != EINTR:
            return error
        PyErr_CheckSignals()


cpdef grow(int fd, long long size, bint reserve, bint alone=False):
    """Makes the file `size` bytes long if it is shorter; never shorter. `reserve`: with its pages allocated. `alone`:
    nobody else can reach the file yet."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    if size > status.st_size:
        lengthen(fd, status.st_size, status.st_blocks * 512, size, reserve, alone)


cdef int lengthen(int fd, long long now, long long taken, long long size, bint reserve, bint alone) except -1:
    """`grow` from `now` bytes, of which `taken` are allocated, to `size`, which is more. `alone`: nobody else can reach
    the file yet.

    By fallocate(2), which never shrinks, so that two growers need no lock: ftruncate of the one would cut off what the
    other has just added. And by the system call itself: the C library's emulation writes into the file and would undo
    what others write. Pages are reserved behind the end first, in pieces; then one call moves the end, which without
    `reserve` allocates the last block alone. If any of it fails the file keeps its size. A file system without
    fallocate gets ftruncate, where two growers at once could race."""
    cdef stat_t status
    cdef long long start
    cdef int error
    if reserve or not alone:
        start = now if reserve else size - 1
        if size - start > PIECE:
            refuse_without_space(fd, size - max(start, taken))
        if not alone or size > PIECE:
            refuse_above_limit(size)
        error = allocate_pieces(fd, start, size) or allocate_rest(fd, 0, start, size)
        if error == 0:
            return 0
        if error != EOPNOTSUPP and error != ENOSYS:
            raise OSError(error, strerror(error).decode())
        if fstat(fd, &status) == 0 and size <= status.st_size:
            return 0
    while ftruncate(fd, size):
        if errno != EINTR:
            raise OSError(errno, strerror(errno).decode())
        PyErr_CheckSignals()
    if fstat(fd, &status) == 0 and size > status.st_size:  # files of /proc and the like say yes, and stay as they are
        raise OSError(EOPNOTSUPP, strerror(EOPNOTSUPP).decode())
    return 0


def allocate(int fd, long long size, long long start=0):
    """Pages for the first `size` bytes, from `start` on, holes filled, with size and contents as they are."""
    cdef stat_t status
    cdef int error
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    if size <= start:
        return
    refuse_without_space(fd, size - max(start, status.st_blocks * 512))
    refuse_above_limit(size)
    error = allocate_pieces(fd, start, size) or allocate_rest(fd, FALLOC_FL_KEEP_SIZE, start, size)
    if error and error != EOPNOTSUPP and error != ENOSYS:
        raise OSError(error, strerror(error).decode())


cpdef limit_descriptors(object soft):
    """Lets this process have up to `soft` descriptors (None: as many as it may give itself). Returns the limit before."""
    cdef rlimit_t limit
    if getrlimit(RLIMIT_NOFILE, &limit):
        raise OSError(errno, strerror(errno).decode())
    before = limit.rlim_cur
    limit.rlim_cur = limit.rlim_max if soft is None else soft
    if setrlimit(RLIMIT_NOFILE, &limit):
        raise OSError(errno, strerror(errno).decode())
    return before


def rename_new(bytes old, bytes new):
    """Renames if there is no `new` (renameat2, RENAME_NOREPLACE). False if there is one."""
    if mmf_rename_new(old, new) == 0:
        return True
    if errno == EEXIST:
        return False
    raise OSError(errno, strerror(errno).decode(), old.decode(errors="replace"))

# SPDX-License-Identifier: MIT
# cython: language_level=3, binding=False, always_allow_keywords=False, auto_pickle=False
"""System calls on files that `os` does not have, has only in the C library's emulation, or has too slowly."""
from cpython.exc cimport PyErr_CheckSignals
from libc.errno cimport EEXIST, EFBIG, EINTR, ENOMEM, ENOSPC, ENOSYS, EOPNOTSUPP, errno
from libc.string cimport strerror

cdef extern from *:
    """
    #include <fcntl.h>
    #include <stdio.h>
    #include <sys/resource.h>
    #include <sys/stat.h>
    #include <sys/vfs.h>
    #include <unistd.h>
    #ifndef RENAME_NOREPLACE
    #define RENAME_NOREPLACE 1
    #endif
    """
    struct stat_t "stat":
        unsigned long long st_dev
        unsigned long long st_ino
        long long st_size
        long long st_blocks
        unsigned int st_nlink
    int fstat(int fd, stat_t *status) nogil
    int fallocate(int fd, int mode, long long offset, long long length) nogil
    int ftruncate(int fd, long long length) nogil
    int renameat2(int old_directory, const char *old, int new_directory, const char *new, unsigned int flags)
    struct statfs_t "statfs":
        long f_type
        long f_bsize
        unsigned long f_blocks
        unsigned long f_bavail
    struct rlimit_t "rlimit":
        unsigned long long rlim_cur
    int RLIMIT_FSIZE
    int getrlimit(int resource, rlimit_t *limit)
    int fstatfs(int fd, statfs_t *status)
    long sysconf(int name)
    int _SC_PAGESIZE
    int AT_FDCWD, FALLOC_FL_KEEP_SIZE, RENAME_NOREPLACE

cdef long HUGETLBFS = 0x958458f6  # linux/magic.h
cdef long TMPFS = 0x01021994
cdef long long PIECE = 64 * 1024 * 1024


def size_of(int fd):
    """The file's size in bytes."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    return status.st_size


def identity(int fd):
    """(device, inode, size, links) of an open file."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    return status.st_dev, status.st_ino, status.st_size, status.st_nlink


def page_size_of(int fd):
    """The unit of mappings of this file: the system's page size, or that of the file's huge pages (hugetlbfs)."""
    cdef statfs_t status
    if fstatfs(fd, &status) == 0 and (status.f_type & 0xffffffff) == HUGETLBFS:
        return status.f_bsize
    return sysconf(_SC_PAGESIZE)


def is_memory(int fd):
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


cdef refuse_what_cannot_be(int fd, long long size, long long more):
    """Before space is taken piece by piece: more than there is would be noticed only when all others lack it, what was
    taken could not be given back (another may have grown the file meanwhile), and where the limit of a memory file
    system is above the machine's memory, it would be noticed by the death of some process."""
    cdef statfs_t status
    cdef rlimit_t limit
    if fstatfs(fd, &status) == 0:
        if status.f_blocks and more > <long long>status.f_bavail * status.f_bsize:
            raise OSError(ENOSPC, strerror(ENOSPC).decode())
        if (status.f_type & 0xffffffff) == TMPFS:
            available = available_memory()
            if available is not None and more > available:
                raise OSError(ENOMEM, strerror(ENOMEM).decode())
    if getrlimit(RLIMIT_FSIZE, &limit) == 0 and <unsigned long long>size > limit.rlim_cur:
        raise OSError(EFBIG, strerror(EFBIG).decode())


cpdef grow(int fd, long long size, bint reserve):
    """Makes the file `size` bytes long if it is shorter; never shorter. `reserve`: with its pages allocated.

    fallocate(2) itself: the C library's emulation writes into the file and would undo what others write. Pages
    are reserved behind the end first, in pieces between which Ctrl-C is noticed; then one call moves the end. If
    any of it fails the file keeps its size. Two growers need no lock: the call never shrinks. A file system
    without fallocate gets ftruncate, where two growers at once could race."""
    cdef stat_t status
    if fstat(fd, &status):
        raise OSError(errno, strerror(errno).decode())
    if size > status.st_size:
        lengthen(fd, status.st_size, status.st_blocks * 512, size, reserve)


cdef int lengthen(int fd, long long now, long long taken, long long size, bint reserve) except -1:
    """`grow` from `now` bytes, of which `taken` are allocated, to `size`, which is more."""
    cdef stat_t status
    cdef long long done
    cdef int error = 0
    if reserve:
        if size - now > PIECE:
            refuse_what_cannot_be(fd, size, size - max(now, taken))
        done = now
        while error == 0 and size - done > PIECE:
            with nogil:
                error = errno if fallocate(fd, FALLOC_FL_KEEP_SIZE, done, PIECE) else 0
            if error == EINTR:
                error = 0
            elif error == 0:
                done += PIECE
            PyErr_CheckSignals()
        while error == 0:
            with nogil:
                error = errno if fallocate(fd, 0, now, size - now) else 0
            if error == 0:
                return 0
            if error == EINTR:
                error = 0
                PyErr_CheckSignals()
        if error != EOPNOTSUPP and error != ENOSYS:
            raise OSError(error, strerror(error).decode())
        if fstat(fd, &status) == 0 and size <= status.st_size:
            return 0
    while ftruncate(fd, size):
        if errno != EINTR:
            raise OSError(errno, strerror(errno).decode())
        PyErr_CheckSignals()
    return 0


def rename_new(bytes old, bytes new):
    """Renames if there is no `new` (renameat2, RENAME_NOREPLACE). False if there is one."""
    if renameat2(AT_FDCWD, old, AT_FDCWD, new, RENAME_NOREPLACE) == 0:
        return True
    if errno == EEXIST:
        return False
    raise OSError(errno, strerror(errno).decode(), old.decode(errors="replace"))

# SPDX-License-Identifier: MIT
# What files are: status.h, and the system's own.

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
    int mmf_open_again(int fd, int flags)

    struct stat_t "stat":
        unsigned long long st_dev
        unsigned long long st_ino
        unsigned int st_mode
        unsigned int st_nlink
        unsigned int st_uid
        long long st_size
        long long st_blocks
    int fstat(int fd, stat_t *status) nogil
    int lstat(const char *path, stat_t *status)
    int fstatat(int folder, const char *name, stat_t *status, int flags)
    int S_ISREG(unsigned int mode)

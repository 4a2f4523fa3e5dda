/* SPDX-License-Identifier: MIT */
#ifndef MEMORYMAPPED_STATUS_H
#define MEMORYMAPPED_STATUS_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>
#ifndef STATX_BASIC_STATS
#include <linux/stat.h> /* musl has no statx(2) before 1.2.5, and what is linked with that would not run with an older one */
#endif

/* What fstat(2) says, and in `birth` when the file was made, in ns since the epoch: 0 where nobody knows. */
typedef struct {
    uint64_t st_dev, st_ino;
    unsigned int st_mode, st_nlink, st_uid;
    long long st_size;
    uint64_t birth;
} mmf_status;

static inline int mmf_look(int fd, mmf_status *status)
{
    struct statx found;
    struct stat old;
    if (syscall(SYS_statx, fd, "", AT_EMPTY_PATH, STATX_BASIC_STATS | STATX_BTIME, &found) == 0) {
        *status = (mmf_status){
            .st_dev = makedev(found.stx_dev_major, found.stx_dev_minor), .st_ino = found.stx_ino,
            .st_mode = found.stx_mode, .st_nlink = found.stx_nlink, .st_uid = found.stx_uid,
            .st_size = (long long)found.stx_size,
            .birth = found.stx_mask & STATX_BTIME
                ? (uint64_t)found.stx_btime.tv_sec * 1000000000u + found.stx_btime.tv_nsec : 0};
        return 0;
    }
    if (errno == EBADF || fstat(fd, &old)) /* an old kernel, or a sandbox that does not know statx(2) */
        return -1;
    *status = (mmf_status){
        .st_dev = old.st_dev, .st_ino = old.st_ino, .st_mode = old.st_mode, .st_nlink = (unsigned int)old.st_nlink,
        .st_uid = old.st_uid, .st_size = old.st_size};
    return 0;
}

/* The number by which a file system tells apart the files that have an inode number one after another; 0 if it has none.
   (Birth times may be as coarse as 4 ms.) Of plain files only: a device may understand something else by it. */
static inline unsigned int mmf_version(int fd)
{
    long version = 0; /* it is said to be a long, and written as an int */
    return ioctl(fd, FS_IOC_GETVERSION, &version) ? 0 : (unsigned int)version;
}

/* The same file by another description. */
static inline int mmf_open_again(int fd, int flags)
{
    char path[40];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    return open(path, flags);
}

#endif

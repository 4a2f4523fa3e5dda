/* SPDX-License-Identifier: MIT */
#ifndef MEMORYMAPPED_CLOCK_H
#define MEMORYMAPPED_CLOCK_H

#include <time.h>

/* Seconds that only grow. */
static inline double mmf_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

#endif

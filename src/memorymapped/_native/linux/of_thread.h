/* SPDX-License-Identifier: MIT */
#ifndef MEMORYMAPPED_OF_THREAD_H
#define MEMORYMAPPED_OF_THREAD_H

#include <stdint.h> /* says which C library this is */

/* A variable that each thread has of its own, in a signal handler too. glibc makes others at their first use, by malloc, and
 * these with the thread. musl makes all with the thread, and loads no library that asks for these. */
#ifdef __GLIBC__
#define MMF_OF_THREAD __thread __attribute__((tls_model("initial-exec")))
#else
#define MMF_OF_THREAD __thread
#endif

#endif

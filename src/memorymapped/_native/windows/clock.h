/* SPDX-License-Identifier: MIT */
#ifndef MEMORYMAPPED_CLOCK_H
#define MEMORYMAPPED_CLOCK_H

/* Seconds that only grow. */
double mmf_now(void);

#endif

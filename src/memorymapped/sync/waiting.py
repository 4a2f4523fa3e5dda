# SPDX-License-Identifier: MIT
"""Waits for several mutexes, events and semaphores at once: .NET's WaitAny, WaitAll, SignalAndWait.

On Windows the kernel waits for those that have names, and takes what it has waited for. On Linux events and semaphores
are slept on, all in one call of the system (futex_waitv, Linux 5.16). Mutexes cannot be: a .NET
process that waits for the same mutex would never be woken (two lost wake-ups are possible that way). So they are asked,
after 1 ms and then in growing pauses up to 10 ms. Where the kernel, or a sandbox, has no futex_waitv, waits for several
events and semaphores are done in that way too.

All of it is compiled (`_native/several.pyx`), so that no signal handler comes between what was taken and the caller."""

from .._native.several import signal_and_wait, wait_all, wait_any

__all__ = ["signal_and_wait", "wait_all", "wait_any"]

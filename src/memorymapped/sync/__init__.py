# SPDX-License-Identifier: MIT
"""Named and unnamed mutexes, events and semaphores, and waits for several of them."""

# SPDX-License-Identifier: MIT
"""Named events and semaphores, on any system. Apart from the rest: who only maps memory does not load it."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .._native.futex import MOST_HANDLES, Event, Semaphore
    from .linux.objects import EITHER, OPEN
    from .linux.signals import EVENT, SEMAPHORE, NamedSignal, open_signal

    MOST_WATCHED = MOST_HANDLES
else:
    from .windows.signals import (
        EITHER,
        EVENT,
        MOST_WATCHED,
        OPEN,
        SEMAPHORE,
        Event,
        NamedSignal,
        Semaphore,
        open_signal,
    )

__all__ = ["EITHER", "EVENT", "MOST_WATCHED", "OPEN", "SEMAPHORE", "Event", "NamedSignal", "Semaphore", "open_signal"]
# MOST_WATCHED: how many objects `sleep_on` sleeps on in one call of the system.

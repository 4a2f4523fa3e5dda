# SPDX-License-Identifier: MIT
"""How long a wait may take: seconds, as everywhere in Python."""

from __future__ import annotations

from ._typing import TYPE_CHECKING
from .errors import OutOfRangeError, shown

if TYPE_CHECKING:
    from datetime import timedelta

    Timeout = float | timedelta | None

__all__ = ["FOREVER", "seconds"]

FOREVER = -1.0
LONGEST = 1e9  # seconds, thirty years: more would overflow the kernel's clock, and nobody can tell it from for ever


def seconds(timeout: Timeout) -> float:
    """A time-out as seconds: 0.0 looks and does not wait, FOREVER (-1.0) stands for None, for -1 as Python's locks and
    .NET's Timeout.Infinite have it, and for infinity.

    TypeError for what is no time; OutOfRangeError for other negative ones, for any negative timedelta, and for NaN."""
    if timeout is None:
        return FOREVER
    total_seconds = getattr(timeout, "total_seconds", None)
    if total_seconds is not None:
        timeout = total_seconds()
        if timeout == FOREVER:
            raise OutOfRangeError("a timedelta must not be negative (None waits for ever), got -1 seconds")
    elif isinstance(timeout, (str, bytes)) or not hasattr(timeout, "__float__"):
        raise TypeError(f"a time-out is a number of seconds, a timedelta or None, not {type(timeout).__name__}")
    try:
        limit = float(timeout)  # type: ignore[arg-type]
    except OverflowError:  # an integer
        limit = LONGEST * 2 if timeout > 0 else -LONGEST  # type: ignore[operator]
    if limit == FOREVER:
        return FOREVER
    if not limit >= 0:
        raise OutOfRangeError(f"a time-out must not be negative (None waits for ever), got {shown(timeout)} seconds")
    return FOREVER if limit > LONGEST else limit

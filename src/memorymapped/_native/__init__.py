# SPDX-License-Identifier: MIT
"""The compiled core: mapping, the fault guard, loads and stores, the system calls of lifetimes. Nothing else.

It is for CPython on Linux or Windows, 64 bits, little endian. On others the import says what is missing."""

import sys


def _complaint() -> str | None:
    """Why there is no compiled core for this interpreter, if there is none."""
    bits = 64 if sys.maxsize > 2**32 else 32
    if sys.platform == "darwin":
        return (
            "macOS has no mutexes that tell of a dead owner, no waits on words of several processes in all versions, "
            "no memory without a name that can be handed on: maps and locks are made of these"
        )
    if sys.platform not in ("linux", "win32"):
        return f"of {sys.platform!r} it knows nothing"
    if sys.implementation.name != "cpython":
        return f"{sys.implementation.name} is another Python, and the compiled half is CPython's"
    if bits != 64 or sys.byteorder != "little":
        return (
            f"this one has {bits} bits, {sys.byteorder} endian; what processes share is laid out for 64, little endian"
        )
    if getattr(sys.flags, "gil", 1) == 0:
        return "PYTHON_GIL=0 or -X gil=0 keeps off the lock that it relies on; without that the lock goes on by itself"
    return None


if _why := _complaint():
    raise ImportError(f"memorymapped runs in 64-bit CPython on Linux and Windows, and not here: {_why}")

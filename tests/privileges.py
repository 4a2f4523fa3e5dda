# SPDX-License-Identifier: MIT
"""Root may open what permissions deny to others. Tests of permissions give that up for a while."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
from collections.abc import Iterator

# linux/capability.h
_VERSION_3 = 0x20080522
_DAC_OVERRIDE = 1
_DAC_READ_SEARCH = 2

# For a child: starts what follows without them. An ordinary user's child has none.
WITHOUT = (
    ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
    if sys.platform != "win32" and os.geteuid() == 0
    else ()
)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Data(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def given_up() -> Iterator[None]:
    """Permissions of files count for this thread, even if it is root's."""
    if sys.platform == "win32":  # they count for everybody
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = _Header(_VERSION_3, 0)
    sets = (_Data * 2)()
    if libc.capget(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capget")
    before = sets[0].effective
    sets[0].effective = before & ~(1 << _DAC_OVERRIDE | 1 << _DAC_READ_SEARCH)
    if libc.capset(ctypes.byref(header), sets):
        raise OSError(ctypes.get_errno(), "capset")
    try:
        yield
    finally:
        sets[0].effective = before
        libc.capset(ctypes.byref(header), sets)

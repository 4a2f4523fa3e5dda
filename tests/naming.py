# SPDX-License-Identifier: MIT
"""Names of test cases."""

from __future__ import annotations

import re


def plainly(value: object) -> str:
    """The repr without addresses, and without the module that was the first to ask ctypes for an array type: it is the
    same in every process that collects the tests."""
    return re.sub(r" at 0x[0-9a-f]+|\btest_\w+\.", "", repr(value))

# SPDX-License-Identifier: MIT
"""Names of test cases."""

from __future__ import annotations

import re


def plainly(value: object) -> str:
    """The repr without addresses: the same in every process that collects the tests."""
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))

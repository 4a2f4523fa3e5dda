# SPDX-License-Identifier: MIT
"""What annotations need at run time, without `typing`: importing that takes as long as importing all the rest of us.

Annotations are not evaluated (`from __future__ import annotations`); type checkers take TYPE_CHECKING for true."""

from __future__ import annotations

TYPE_CHECKING = False

if TYPE_CHECKING:
    from typing import Protocol as Protocol
    from typing import overload as overload
else:
    Protocol = object

    def overload(function):
        return function

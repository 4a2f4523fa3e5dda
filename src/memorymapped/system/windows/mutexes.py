# SPDX-License-Identifier: MIT
"""Named mutexes: the system's own, so that all programs that know the name exclude each other."""

from __future__ import annotations

from ..._native.kernel_objects import open_mutex as open_kernel_mutex
from ..._typing import TYPE_CHECKING
from ...errors import WaitHandleNotFoundError
from ..names import Name
from .names import kernel_name
from .signals import key_of, number_of, records_of, refused

if TYPE_CHECKING:
    from ..._native.kernel_objects import Lease

__all__ = ["open_mutex"]


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
    """The mutex of a name, and whether this call has made it. None: there is none, and `create` is not asked for.

    `initially_owned` counts only for one that is made. InvalidNameError; WaitHandleCannotBeOpenedError (the name stands
    for another kind of object); PermissionError."""
    arguments = (key_of(name), records_of(name, "mutex"), number_of(name), create, initially_owned)
    try:
        return open_kernel_mutex(name, kernel_name(name), *arguments)
    except OSError as error:
        told = refused(error, name, "mutex")
        if isinstance(told, WaitHandleNotFoundError) and not create:
            return None, False
        raise told from None

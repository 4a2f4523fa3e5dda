# SPDX-License-Identifier: MIT
"""Named mutexes: the system's own, so that all programs that know the name exclude each other."""

from __future__ import annotations

from ..._native.kernel_objects import open_mutex as open_kernel_mutex
from ..._typing import TYPE_CHECKING
from ...errors import WaitHandleNotFoundError
from ..names import Name
from .names import kernel_name
from .signals import key_of, number_of, refused

if TYPE_CHECKING:
    from ..._native.kernel_objects import Lease

__all__ = ["open_mutex"]

_RECORD = "memorymapped-mutex-"
"""How the name of a mutex's record begins."""


def open_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
    """The mutex of a name, and whether this call has made it. None: there is none, and `create` is not asked for.

    `initially_owned` counts only for one that is made. InvalidNameError; WaitHandleCannotBeOpenedError (the name stands
    for another kind of object); PermissionError."""
    key = key_of(name)
    scope, _, text = key.partition("\\")
    # A section of all sessions needs a privilege: without it the record is this session's.
    records = [f"{each}\\{_RECORD}{text}" for each in dict.fromkeys((scope, "Local"))]
    try:
        return open_kernel_mutex(name, kernel_name(name), key, records, number_of(name), create, initially_owned)
    except OSError as error:
        told = refused(error, name, "mutex")
        if isinstance(told, WaitHandleNotFoundError) and not create:
            return None, False
        raise told from None

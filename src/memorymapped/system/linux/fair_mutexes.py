# SPDX-License-Identifier: MIT
"""Named fair mutexes: protocol A for the name (`objects`), and a file of one fair mutex (`_native/fair.pyx`).

The file is prepared before anybody sees it, and looked at when it is opened. One entry for each file and process,
shared by all handles of a name: `_native/opened.pyx`.

A `Global\\` one may be used by every user, as .NET's global mutexes may (mode 0666): it is for users who trust each
other."""

from __future__ import annotations

import errno
import functools
import os

from ..._native import fair
from ..._native.lifetime import locked
from ..._native.opened import HeldMutex, sweep
from ..._typing import TYPE_CHECKING
from ...errors import DamagedObjectError, WaitHandleCannotBeOpenedError
from ..names import Name, Scope
from .objects import EITHER, OPEN, acquire, release
from .places import FAIR
from .signals import refuse_other_kind

if TYPE_CHECKING:
    from ..._native.fair import FairCore
    from ..._native.lifetime import Held
    from ..._native.opened import Lease
    from .places import Place

__all__ = ["open_fair_mutex"]

_entries: dict[tuple[int, int], HeldMutex] = {}


def open_fair_mutex(name: Name, *, create: bool, initially_owned: bool = False) -> tuple[Lease | None, bool]:
    """The fair mutex of a name, and whether this call has made it. None: nobody has one, and `create` is not asked for.

    `initially_owned` counts only for one that is made. WaitHandleCannotBeOpenedError: the name stands for another kind;
    DamagedObjectError; and what `objects.acquire` raises."""
    made: list[FairCore] = []

    def prepare(fd: int) -> None:
        os.pwrite(fd, fair.blank(), 0)
        made[:] = (fair.map_fair(fd),)
        if initially_owned:
            made[0].try_take()
        os.fchmod(fd, 0o666 if name.scope is Scope.GLOBAL else 0o600)

    sweep()
    try:
        held, place = acquire(name, FAIR, EITHER if create else OPEN, os.O_RDWR, fair.SIZE, True, prepare)
    except FileNotFoundError:
        refuse_other_kind(name, FAIR)
        return None, False
    try:
        if held.created:
            # After it can be seen: of two that create the name at once as two kinds, one sees the other.
            refuse_other_kind(name, FAIR)
        return locked(_enter, name, held, place, made[0] if held.created else None), held.created
    except BaseException:
        release(held, place)
        raise


def _enter(name: Name, held: Held, place: Place, core: FairCore | None) -> Lease:
    """Under the process lock: one hold is enough for this process."""
    entry = _entries.get((held.device, held.inode))
    if entry is not None and entry.held.fd >= 0:
        release(held, place)
        return entry.lease(name)
    entry = HeldMutex(name, place.path, core or _map(held, name), held, functools.partial(release, place=place))
    return entry.enter(_entries, (held.device, held.inode))


def _map(held: Held, name: Name) -> FairCore:
    size = os.fstat(held.fd).st_size
    if size != fair.SIZE:
        raise DamagedObjectError(
            errno.EBADMSG,
            f"the file behind the fair mutex {name.given!r} has {size} bytes, not {fair.SIZE}",
            name.given,
        )
    core = fair.map_fair(held.fd)
    try:
        fair.check(core)
    except DamagedObjectError as error:
        raise DamagedObjectError(
            errno.EBADMSG, f"the file behind {name.given!r} is damaged: {error.strerror}", name.given
        ) from None
    except WaitHandleCannotBeOpenedError as error:
        raise WaitHandleCannotBeOpenedError(errno.EINVAL, f"{name.given!r} is {error.strerror}", name.given) from None
    return core

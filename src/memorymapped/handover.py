# SPDX-License-Identifier: MIT
"""How a map travels to another process.

- Plain pickle carries the name and the generation (device, inode, mark); who unpickles it opens the name, and is
  refused if it stands for another generation by then. A file map without a name carries its path, likewise checked. An
  unnamed memory map has nothing that could be found elsewhere: TypeError.
- To a child that multiprocessing is spawning, every map travels as a descriptor (on Windows as a handle, which is all
  that is needed there). A named one gets a description of its
  own, which holds the name (`_native/lifetime.pyx`, Fork): the parent may close its map before the child has begun. The
  parent's copy of that descriptor is closed when the child has been started: at the latest by the next operation on a
  map, so that the parent does not hold the name for longer than its own map does.
- Over multiprocessing's queues and pipes an unnamed map travels as a descriptor (multiprocessing.reduction), a named
  one by its name.

Nothing of multiprocessing is imported here: if it is not loaded nobody is using it.
"""

from __future__ import annotations

import sys
from _weakref import ref

from ._typing import TYPE_CHECKING
from .enums import FileMode
from .enums import MemoryMappedFileAccess as Access
from .enums import MemoryMappedFileRights as Rights
from .limits import RIGHTS_OF, limits
from .system import over_pipe, to_child

if TYPE_CHECKING:
    from typing import Any

    from ._native.lifetime import Duplicate
    from .file import MemoryMappedFile

__all__ = ["is_same", "reduce", "release", "sent"]

# (A weak reference to the process being started, our copy of the descriptor that it gets.)
sent: list[tuple[ref[Any], Duplicate]] = []


def release() -> None:
    """Closes our copies of descriptors whose children have been started, or never will be."""
    if sent:
        for entry in list(sent):
            process = entry[0]()
            if process is None or getattr(process, "pid", None) is not None:
                entry[1].close()
                sent.remove(entry)


def reduce(map_: MemoryMappedFile) -> tuple[Any, ...]:
    """What pickle needs."""
    release()
    backing = map_._open()
    kind, access, rights = type(map_), map_._limits.access, map_._limits.rights
    reduction = sys.modules.get("multiprocessing.reduction")
    process = _being_spawned()
    if reduction is not None and process is not None:
        parcel, kept = to_child(backing, reduction, process)
        if kept is not None:
            sent.append((ref(process), kept))
        return _from_duplicate, (kind, parcel, backing.name, int(access), rights, backing.fixed)
    if backing.name is not None:
        return _from_name, (kind, backing.name, map_.generation, int(access), rights)
    if backing.path is not None:
        return _from_path, (kind, backing.path, map_.generation, int(access), rights, backing.fixed)
    if reduction is not None and _is_sent_by(reduction):
        return _from_duplicate, (kind, over_pipe(backing, reduction), None, int(access), rights, None)
    raise TypeError(
        f"{map_!r} has neither name nor path: it travels to children of multiprocessing, or as a descriptor (fileno, "
        "from_descriptor), but cannot be pickled otherwise"
    )


def _being_spawned() -> Any:
    context = sys.modules.get("multiprocessing.context")
    return None if context is None else context.get_spawning_popen()


def _is_sent_by(reduction: Any) -> bool:
    """Whether the pickler at work is multiprocessing's: its queues and pipes, which can send descriptors. It calls the
    compiled pickler, so its `dumps` is the nearest Python function that called us."""
    frame: Any = sys._getframe(2)
    while frame is not None and frame.f_code.co_filename == __file__:
        frame = frame.f_back
    if frame is not None and frame.f_code.co_name == "__reduce__":
        frame = frame.f_back
    return frame is not None and frame.f_code is reduction.ForkingPickler.dumps.__func__.__code__


def _from_duplicate(
    kind: type[MemoryMappedFile],
    duplicate: Any,
    name: str | None,
    access: int,
    rights: Rights | None,
    fixed: int | None,
) -> MemoryMappedFile:
    writes = limits(Access(access), rights).ways[Access.READ_WRITE] is not None
    map_ = kind.from_descriptor(duplicate.detach(), None if writes else Access.READ)
    map_._backing.name = name
    map_._backing.fixed = fixed
    map_._limit(Access(access), rights)
    return map_


def _from_name(
    kind: type[MemoryMappedFile], name: str, generation: tuple[int, int, int], access: int, rights: Rights | None
) -> MemoryMappedFile:
    opened = kind.open_existing(name, RIGHTS_OF[Access(access)] if rights is None else rights)
    if not is_same(opened.generation, generation):
        opened.close()
        raise FileNotFoundError(f"the map {name!r} that was pickled has ended; the name stands for a newer one now")
    return opened


def _from_path(
    kind: type[MemoryMappedFile],
    path: str,
    generation: tuple[int, int, int],
    access: int,
    rights: Rights | None,
    fixed: int | None,
) -> MemoryMappedFile:
    opened = kind.create_from_file(path, FileMode.OPEN, None, fixed or 0, Access(access))
    if not is_same(opened.generation, generation):
        opened.close()
        raise FileNotFoundError(f"the file {path!r} whose map was pickled has been replaced by another")
    opened._limit(Access(access), rights)
    return opened


def is_same(one: tuple[int, int, int], other: tuple[int, int, int]) -> bool:
    """Whether two are one generation (device, inode, mark). A mark of 0 is unknown: one of the two processes may be
    in a sandbox where it cannot be asked for."""
    return one[:2] == other[:2] and (one[2] == other[2] or not one[2] or not other[2])

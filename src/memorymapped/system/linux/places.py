# SPDX-License-Identifier: MIT
"""From a name to the file that stands for it, and back."""

from __future__ import annotations

import os

from ..._native.lifetime import know
from ..._typing import TYPE_CHECKING
from ..names import Name, Scope, decode, is_hash
from . import directories

if TYPE_CHECKING:
    from ..._native.lifetime import Directory

__all__ = [
    "EVENT",
    "FAIR",
    "KINDS",
    "MAP",
    "SEMAPHORE",
    "SIDE",
    "Place",
    "folder_is_dead",
    "locate",
    "place_in",
    "place_of",
]

MAP = ".map"
EVENT = ".event"
SEMAPHORE = ".semaphore"
FAIR = ".fair"
KINDS = (MAP, EVENT, SEMAPHORE, FAIR)  # the kind of an object is its file's suffix
SIDE = ".name"  # behind the file's name: the true text of a long name
know(tuple(kind.encode() for kind in KINDS), SIDE.encode())


class Place:
    """Where a name's file lies: its folder, file name, for a long name the side file's name and contents, and the user
    that it must belong to."""

    __slots__ = ("directory", "file", "is_global", "owner", "path", "side", "text")

    def __init__(
        self,
        directory: Directory,
        file: bytes,
        side: bytes | None,
        text: bytes | None,
        owner: int,
        path: str,
        is_global: bool,
    ) -> None:
        self.directory = directory
        self.file = file
        self.side = side
        self.text = text
        self.owner = owner
        self.path = path
        self.is_global = is_global


# By the kind, then by the name as given: a str knows its hash, and a dict of nothing else is the fastest.
_places: dict[str, dict[str, Place]] = {kind: {} for kind in KINDS}


def place_of(name: Name, kind: str, *, create: bool) -> Place | None:
    """Where this user's file of a name lies; None if there is no folder yet and none is to be made."""
    places = _places[kind]
    place = places.get(name.given)
    owner = os.geteuid()
    if place is not None and place.owner == owner:
        return place
    if name.scope is Scope.GLOBAL:
        directory, folder = directories.global_directory(create=create), directories.global_path()
        stem = f"{name.stem}~{owner}"
    else:
        directory, folder = directories.user_directory(create=create), directories.user_path()
        stem = name.stem + _session() if name.scope is Scope.LOCAL else name.stem
    if directory is None:
        return None
    place = place_in(directory, folder, stem, owner, name, kind)
    if name.scope is not Scope.LOCAL:  # a process may change its session
        if len(places) >= 1024:
            places.clear()
        places[name.given] = place
    return place


def place_in(directory: Directory, folder: str, stem: str, owner: int, name: Name, kind: str) -> Place:
    """The place of a file `stem` + `kind` in a folder."""
    file = stem + kind
    side, text = ((file + SIDE).encode(), name.text.encode()) if name.is_long else (None, None)
    return Place(directory, file.encode(), side, text, owner, f"{folder}/{file}", name.scope is Scope.GLOBAL)


def _session() -> str:
    return f"@{os.getsid(0)}.{os.stat('/proc/self/ns/pid').st_ino}"


def folder_is_dead(directory: Directory) -> bool:
    """After ENOENT: whether the folder itself was removed, so that it must be looked up again."""
    return directories.forget_dead(directory)


def _forget_places() -> None:
    for places in _places.values():
        places.clear()


directories.when_dead.append(_forget_places)


def locate(path: str) -> str | None:
    """The name, as a user would write it, of the object at `path`; None if that is no object of ours, or one of a
    long name whose side file is gone."""
    folder, _, file = path.rpartition("/")
    stem, dot, kind = file.rpartition(".")
    if dot + kind not in KINDS or folder not in (directories.user_path(), directories.global_path()):
        return None
    prefix = ""
    if folder == directories.global_path():
        stem, prefix = stem.rpartition("~")[0], "Global\\"
    elif "@" in stem:
        stem, prefix = stem.partition("@")[0], "Local\\"
    if is_hash(stem):
        try:
            with open(path + SIDE, encoding="utf-8") as side:
                return prefix + side.read(4096)  # a name is shorter; anybody may write into the global folder
        except (OSError, UnicodeDecodeError):
            return None
    text = decode(stem)
    return None if text is None else prefix + text

# SPDX-License-Identifier: MIT
"""What a command line names: a map by its name, or a file.

Looking takes no hold and no lock and needs no right to write, so that nobody who probes the name notices: the file
behind a name is read, not mapped, because a read brings no page into being where there is none yet. Who writes holds
the name meanwhile, as every user of it."""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterator

from .. import FileMode, MemoryMappedFile, MemoryMappedFileAccess, MemoryMappedFileRights, MemoryMappedViewAccessor
from .._typing import TYPE_CHECKING
from ..errors import MemoryFaultError
from ..system.reading import close_source, is_file, is_path, looked_up, may_be_name, open_source, read_at, size_of
from ..system.survey import Found
from .ending import Failure
from .objects import MAPS, named, not_found
from .words import shown

if TYPE_CHECKING:
    from ..system.reading import Source

__all__ = ["Bytes", "Target", "explained", "find", "target_of"]


class Bytes:
    """The bytes of a file or an object."""

    def __init__(self, given: str, source: Source) -> None:
        self.given = given
        self.source = source

    def read(self, at: int, count: int) -> bytes:
        """Failure if they are not there any more."""
        parts = []
        while count:
            with explained(self.given):
                part = read_at(self.source, min(count, 1 << 24), at)
            if not part:
                raise truncated(self.given, self._size())
            parts.append(part)
            at += len(part)
            count -= len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def refuse_shorter(self, size: int) -> None:
        """Failure if there are not as many bytes any more."""
        if (now := self._size()) < size:
            raise truncated(self.given, now)

    def _size(self) -> int:
        return size_of(self.source)


class Target:
    """A map or a file: the `path` that is mapped, its `size` in bytes; `found`, for a name: what is known of it."""

    def __init__(self, given: str, path: str, size: int, found: Found | None) -> None:
        self.given = given
        self.path = path
        self.size = size
        self.found = found

    def refuse_behind(self, offset: int) -> None:
        """Failure if there are not even as many bytes."""
        if offset > self.size:
            raise Failure(f"{shown(self.given)}: it has {self.size} bytes, and the offset {offset} is behind that")

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """As `explained`, and of what was removed or truncated meanwhile it says that: names come and go while somebody
        looks."""
        try:
            with explained(self.given):
                yield
        except Failure as failure:
            cause = failure.__cause__
            if isinstance(cause, FileNotFoundError):
                raise self._gone() from cause
            if not isinstance(cause, (OSError, ValueError, MemoryFaultError)):
                raise
            size = self.size_now()
            if size < self.size:
                raise truncated(self.given, size) from cause
            raise

    def size_now(self) -> int:
        """In bytes. Failure if it is not there any more."""
        try:
            with explained(self.given):
                return looked_up(self.path)[0]
        except Failure as failure:
            if isinstance(failure.__cause__, FileNotFoundError):
                raise self._gone() from None
            raise

    def _gone(self) -> Failure:
        if self.found is None:
            why = "it was removed meanwhile"
        elif self.found.kind == "file map":
            why = f"its file {shown(self.path)} is not there any more"
        else:
            why = "nobody holds it any more"
        return Failure(f"{shown(self.given)}: {why}")

    @contextlib.contextmanager
    def opened(self) -> Iterator[Bytes]:
        """Its bytes, for reading."""
        with self.explained():
            source = open_source(self.path)
        try:
            yield Bytes(self.given, source)
        finally:
            close_source(source)

    @contextlib.contextmanager
    def mapped(self) -> Iterator[MemoryMappedFile]:
        """It as a map for reading, whose pages can be asked for."""
        if not self.size:
            raise Failure(f"{shown(self.given)}: it is empty")
        with self.explained(), self._mapped() as map_:
            yield map_

    def _mapped(self) -> MemoryMappedFile:
        if self.found is None or is_file(self.path):
            return MemoryMappedFile.create_from_file(self.path, FileMode.OPEN, access=MemoryMappedFileAccess.READ)
        return MemoryMappedFile.open_existing(self.given, MemoryMappedFileRights.READ)

    @contextlib.contextmanager
    def written(self) -> Iterator[MemoryMappedViewAccessor]:
        """All of it, for writing."""
        if self.found is not None and self.found.state == "stale":
            raise Failure(f"{shown(self.given)}: nobody holds it any more")
        if not self.size:
            raise Failure(f"{shown(self.given)}: it is empty")
        with explained(self.given):
            map_ = (
                MemoryMappedFile.create_from_file(self.path, FileMode.OPEN)
                if self.found is None
                else MemoryMappedFile.open_existing(self.given, MemoryMappedFileRights.READ_WRITE)
            )
            with map_, map_.create_view_accessor() as view:
                yield view


@contextlib.contextmanager
def explained(given: str) -> Iterator[None]:
    """Errors of the system and of the library as one line about what was given."""
    try:
        yield
    except MemoryFaultError as error:
        raise Failure(f"{shown(given)}: {error}") from error
    except BrokenPipeError:
        raise
    except OSError as error:
        text = error.strerror or str(error)
        raise Failure(f"{shown(given)}: {text[:1].lower()}{text[1:]}") from error
    except ValueError as error:
        raise Failure(f"{shown(given)}: {error}") from error


def truncated(given: str, size: int) -> Failure:
    """What was longer when it was found has only so many bytes now."""
    return Failure(f"{shown(given)}: it was truncated to {size} bytes meanwhile")


def find(given: str) -> Target:
    """The map of a name, or the file at a path. A name that somebody holds comes before a file, but for what begins
    with `/` or `.`: that is a path, and a name only if nothing is there. Failure if there is neither."""
    if is_path(given) and os.path.exists(given):
        return _file(given)
    objects = named(given, kinds=MAPS) if may_be_name(given) else []
    found = objects[0] if objects else None
    if (found is None or found.state == "stale") and os.path.exists(given):
        return _file(given)
    if found is None:
        raise not_found(given)
    return target_of(given, found)


def _file(given: str) -> Target:
    with explained(given):
        status = os.stat(given)
    if not stat.S_ISREG(status.st_mode):
        raise Failure(f"{shown(given)}: it is no plain file")
    return Target(given, given, status.st_size, None)


def target_of(given: str, found: Found) -> Target:
    """The map that was found. Failure if there is no file behind it any more."""
    if found.kind != "file map" or not is_file(found.path):
        return Target(given, found.path, found.size, found)
    if found.target is None:
        raise Failure(f"{shown(given)}: the entry of this file map cannot be read")
    target = Target(given, found.target, 0, found)
    target.size = target.size_now()
    return target

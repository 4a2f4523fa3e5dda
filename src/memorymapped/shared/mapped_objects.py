# SPDX-License-Identifier: MIT
"""What all typed objects in a map have in common, whatever they are: how they are made and opened, named, entered, left
and collected."""

from __future__ import annotations

import errno
import os
import sys
import time
import warnings
from contextlib import ExitStack, closing, suppress
from copy import copy
from functools import partial

from .._typing import TYPE_CHECKING
from ..enums import FileMode
from ..enums import MemoryMappedFileOptions as Options
from ..errors import ClosedError, InvalidNameError, shown
from ..file import MemoryMappedFile
from ..sync.mutex import Mutex
from ..system import status_of
from ..system.names import parse
from .backing_files import lock_name_of, lock_of, make_file, remove_own

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any, NoReturn, Self, TypeVar

    from ..file import StrPath

    R = TypeVar("R")

__all__ = ["MappedObject", "check_choices"]

BEING_MADE = 0.2  # seconds for which an empty file is taken for one whose maker has yet to take its lock


def check_choices(lock_name: str | None, foreign: bool) -> None:
    """What both are made with, before anything is opened or made. TypeError; InvalidNameError."""
    if not isinstance(foreign, bool):
        raise TypeError(f"foreign is True or False, not {shown(foreign)}")
    if lock_name is not None:
        parse(lock_name)


class MappedObject:
    """Mixin of SharedMemory and StructArray: a map (`_file`) in which they lie, and its lock.

    They are opened as this says, and give it a `begin(map, answered)`, which finds the control block, or makes it where
    there is none. `answered` are the lock's abandonments so far; None: nobody had it open."""

    __slots__ = ()

    if TYPE_CHECKING:
        _file: MemoryMappedFile
        _lock: Mutex
        _type: Any

        @property
        def closed(self) -> bool: ...
        def close(self) -> None: ...
        def _begin_again(self, type: Any, file: MemoryMappedFile, answered: int | None) -> None: ...

    # ---- opening

    def _open_name(
        self,
        name: str,
        lock_name: str | None,
        size: int | None,
        begin: Callable[[MemoryMappedFile, int | None], object],
        *,
        existing: bool,
        options: Options = Options.NONE,
    ) -> None:
        """The map of a name: an existing one, or one of `size` bytes; None: it must be there."""
        self._refuse_second()
        lock = lock_name or f"{parse(name).given}.lock"
        with ExitStack() as undo:
            file = None
            if existing:
                try:
                    file = undo.enter_context(MemoryMappedFile.open_existing(name))
                except FileNotFoundError:
                    if size is None:
                        raise
                else:
                    if lock_name is None and not file._backing.is_memory:  # a file that is mapped under this name
                        lock = lock_of(file)

            def make(answered: int | None) -> None:
                # Under the lock: who wants another layout finds nothing, or the control block.
                make = MemoryMappedFile.create_or_open if existing else MemoryMappedFile.create_new
                assert size is not None
                begin(undo.enter_context(make(name, size, options=options)), answered)

            try:
                self._lock = undo.enter_context(closing(Mutex(True, lock)))  # type: ignore[misc]
            except InvalidNameError as error:
                if lock_name is not None:
                    raise
                raise InvalidNameError(f"{error}; the lock is named from the map: give lock_name=") from None
            if file is not None:
                self._owning(partial(begin, file), only_if_new=True)
            else:
                if not existing and not self._lock.created_new:
                    _refuse_held(name)  # whose lock may be owned for long
                self._owning(make)
            undo.pop_all()

    def _open_path(
        self,
        path: StrPath,
        mode: FileMode,
        lock_name: str | None,
        size: Callable[[], int],
        begin: Callable[[MemoryMappedFile, int | None], object],
        *,
        reserve: bool,
    ) -> None:
        """A file, which is lengthened to `size()` bytes, and if `reserve` has memory for them, if it is empty."""
        self._refuse_second()
        if mode is FileMode.TRUNCATE or mode is FileMode.APPEND:
            raise ValueError(f"FileMode.{mode.name} cannot be used: CREATE empties a file that nobody uses")
        while not self._opened_path(path, mode, lock_name, size, begin, reserve):
            time.sleep(0.001)  # it was removed, or replaced, by somebody who owned the lock; or he has yet to take that

    def _opened_path(
        self,
        path: StrPath,
        mode: FileMode,
        lock_name: str | None,
        size: Callable[[], int],
        begin: Callable[[MemoryMappedFile, int | None], object],
        reserve: bool,
    ) -> bool:
        place, status, made = make_file(path, mode)
        with ExitStack() as undo:

            def begin_in(answered: int | None) -> bool:
                """Under the lock: nobody else makes it longer, or its control block."""
                try:
                    now = status_of(place)
                except FileNotFoundError:
                    return False
                if not os.path.samestat(now, status):
                    return False
                if mode is FileMode.OPEN and now.st_size == 0 and 0 <= time.time() - now.st_ctime < BEING_MADE:
                    return False
                if mode is FileMode.CREATE and made and now.st_size > 0 and answered is not None:
                    refuse_in_use()  # who came between has made it his
                fresh = mode is FileMode.CREATE or (mode is not FileMode.OPEN and now.st_size == 0)
                how = FileMode.CREATE if mode is FileMode.CREATE else FileMode.OPEN
                try:
                    capacity = size() if fresh else 0
                    file = MemoryMappedFile.create_from_file(place, how, capacity=capacity, reserve=reserve and fresh)
                    with ExitStack() as refused:  # it is closed before it is removed
                        begin(refused.enter_context(file), answered)
                        undo.push(refused.pop_all())
                except BaseException:
                    if made and fresh:
                        remove_own(place, status)
                    raise
                return True

            def refuse_in_use() -> NoReturn:
                raise FileExistsError(
                    errno.EEXIST,
                    f"FileMode.CREATE would empty a file in use: somebody has its lock {self._lock.name!r} open",
                    place,
                )

            # If this fails an empty file stays: without the lock nobody knows whether others have begun to use it.
            lock = Mutex(True, lock_name or lock_name_of(place, status))
            self._lock = undo.enter_context(closing(lock))  # type: ignore[misc]
            if mode is FileMode.CREATE and not made and not self._lock.created_new:
                refuse_in_use()
            begun = self._owning(begin_in)
            if begun:
                undo.pop_all()
            return begun

    def _refuse_second(self) -> None:
        if hasattr(self, "_lock"):
            raise RuntimeError(f"{self!r} has been made already")

    def _owning(self, begin: Callable[[int | None], R], *, only_if_new: bool = False) -> R:
        """Calls it under the lock. If nobody had that open it is owned already, so that no other can come before; what
        it says of deaths is for this call then. Otherwise `begin` gets the lock's abandonments so far; where it raises,
        who takes the lock next is told of one that was met here."""
        lock = self._lock
        if lock.created_new:
            try:
                return begin(None)
            finally:
                lock.release()
        core = lock._opened()
        answered = core.abandonments
        if only_if_new or (core.owner_task is not None and _is_of_this_task(core.owner_task)):
            return begin(answered)
        begun: list[R] = []
        with lock.recovering(lambda _: begun.append(begin(answered))):
            return begun[0] if begun else begin(answered)

    # ---- again

    def __reduce__(self) -> tuple[Any, ...]:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return _reopened, (type(self), self._type, self._file, self._lock.name)

    def __copy__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return _reopened(type(self), self._type, copy(self._file), self._lock.name)  # type: ignore[no-any-return]

    # ---- what it is

    @property
    def name(self) -> str | None:
        """The map's name; None for a file."""
        return self._file.name

    @property
    def path(self) -> str | None:
        """The file behind it, which other programs can map: see MemoryMappedFile.path."""
        return self._file.path

    def _where(self) -> str:
        """For messages, behind a word; also of what is not quite made."""
        file = self._file if hasattr(self, "_file") else None
        return "" if file is None else f" {file.name!r}" if file.name is not None else f" {file.path}"

    def dispose(self) -> None:
        """The same as close, by its .NET name."""
        self.close()

    def __enter__(self) -> Self:
        if self.closed:
            raise ClosedError(f"{self!r} is closed")
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        if self.closed or sys.is_finalizing():
            return
        try:
            warnings.warn(f"unclosed {self!r}", ResourceWarning, stacklevel=2, source=self)
        finally:  # also where warnings are errors
            self.close()


def _reopened(cls: Any, type: Any, file: MemoryMappedFile, lock_name: str | None) -> Any:
    """Whoever still holds the map has this lock open; if nobody does it is made anew, as for any file."""
    self = cls.__new__(cls)
    with ExitStack() as undo:
        undo.enter_context(file)
        self._lock = undo.enter_context(closing(Mutex(True, lock_name)))
        self._owning(partial(self._begin_again, type, file), only_if_new=True)
        undo.pop_all()
    return self


def _refuse_held(name: str) -> None:
    """NameInUseError, if somebody holds a map of this name."""
    with suppress(FileNotFoundError), MemoryMappedFile.open_existing(name):
        MemoryMappedFile.create_new(name, 1)  # held by us at least, now


def _is_of_this_task(task: Any) -> bool:
    from ..sync.aio import is_of_this_task

    return is_of_this_task(task)

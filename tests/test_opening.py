# SPDX-License-Identifier: MIT
"""Values and arrays in files that others empty, make, or begin to use while they are opened."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from support.actors import PRELUDE, Actor
from support.values import Point

from memorymapped import FileMode, MemoryMappedFile, SharedMemory, StructArray
from memorymapped.shared import mapped_objects

Open = Callable[[Path, FileMode], Any]


def value(path: Path, mode: FileMode) -> SharedMemory[Point]:
    return SharedMemory.create_from_file(Point, path, mode)


def elements(path: Path, mode: FileMode) -> StructArray[Point]:
    return StructArray.create_from_file(Point, path, mode, 0 if mode is FileMode.OPEN else 10)


def use(opened: Any) -> None:
    if isinstance(opened, StructArray):
        opened.append(Point(1, 2))
    else:
        opened.data = Point(1, 2)


def used(opened: Any) -> bool:
    return (opened[0] if isinstance(opened, StructArray) else opened.data) == Point(1, 2)


@pytest.fixture(params=[value, elements])
def make(request: pytest.FixtureRequest) -> Open:
    return request.param  # type: ignore[no-any-return]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "file"


@pytest.fixture
def actor() -> Iterator[Actor]:
    code = "from memorymapped import *\nfrom test_opening import value, elements, use, used\n"
    with Actor(prelude=PRELUDE + code) as actor:
        yield actor


@pytest.mark.parametrize("size", [0, 1])
def test_a_file_that_is_cut_while_it_is_opened(make: Open, path: Path, actor: Actor, size: int) -> None:
    """In another process: this was its death."""
    make(path, FileMode.CREATE_NEW).close()
    actor.do(
        f"""
import os, pytest
original = MemoryMappedFile.create_view_accessor
def cut(self):
    os.truncate(path, {size})
    return original(self)
MemoryMappedFile.create_view_accessor = cut
with pytest.raises(ValueError if {size} == 0 else (ValueError, DamagedObjectError)):
    {make.__name__}(path, FileMode.OPEN)
""",
        path=str(path),
    )


@pytest.mark.parametrize("mode", [FileMode.OPEN_OR_CREATE, FileMode.CREATE_NEW, FileMode.CREATE])
def test_who_fails_before_it_has_the_lock_removes_nothing(
    make: Open, path: Path, mode: FileMode, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = []
    original = mapped_objects.Mutex

    def failing(*_: object) -> None:
        monkeypatch.setattr(mapped_objects, "Mutex", original)
        others.append(make(path, FileMode.OPEN_OR_CREATE))
        use(others[0])
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(mapped_objects, "Mutex", failing)
    with pytest.raises(OSError, match="Too many"):
        make(path, mode)
    with others[0], make(path, FileMode.OPEN) as again:
        assert used(again)


def test_create_does_not_empty_what_somebody_began_to_use_meanwhile(
    make: Open, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It has made the file, and another one has come before it to the lock."""
    others = []
    original = mapped_objects.Mutex

    def late(*arguments: Any) -> Any:
        monkeypatch.setattr(mapped_objects, "Mutex", original)
        others.append(make(path, FileMode.OPEN_OR_CREATE))
        use(others[0])
        return original(*arguments)

    monkeypatch.setattr(mapped_objects, "Mutex", late)
    with pytest.raises(FileExistsError, match="in use"):
        make(path, FileMode.CREATE)
    with others[0], make(path, FileMode.OPEN) as again:
        assert used(again)


def test_open_waits_for_who_makes_the_file(make: Open, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """He has made it, and has yet to take the lock; who opens it comes first to that."""
    original = mapped_objects.make_file
    found: list[Any] = []  # nothing, if that failed
    tried = threading.Event()

    def look(*arguments: Any) -> Any:
        if threading.current_thread() is not threading.main_thread():
            if tried.is_set():  # again
                go.set()
            tried.set()
            return original(*arguments)
        made = original(*arguments)
        thread.start()
        assert go.wait(10)
        return made

    go = threading.Event()

    def open_it() -> None:
        try:
            found.append(make(path, FileMode.OPEN))
        finally:
            go.set()

    thread = threading.Thread(target=open_it)
    monkeypatch.setattr(mapped_objects, "make_file", look)
    monkeypatch.setattr(mapped_objects, "BEING_MADE", 60.0)
    with make(path, FileMode.CREATE_NEW) as made:
        use(made)
        thread.join(10)
        with found[0] as opened:
            assert used(opened)


def test_an_empty_file_that_nobody_makes_is_refused(make: Open, path: Path) -> None:
    path.touch()
    with pytest.raises(ValueError, match="empty"):
        make(path, FileMode.OPEN)
    assert path.stat().st_size == 0
    with MemoryMappedFile.create_from_file(path, capacity=1):
        assert os.path.getsize(path) == 1

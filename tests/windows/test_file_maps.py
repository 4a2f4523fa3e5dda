# SPDX-License-Identifier: MIT
"""Maps of files on Windows: their sections among threads, refused calls, names, rights to execute, paths."""

from __future__ import annotations

import contextlib
import errno
import io
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.here import handles
from support.leftovers import unique

import memorymapped as m
from memorymapped import MemoryMappedFile as Map
from memorymapped.system.windows import files

LIMIT = 50.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(4096))
    return path


def lengthen(file: Path) -> None:
    with file.open("ab") as end:
        end.write(bytes(4096))


def test_threads_that_see_a_longer_file_at_once_close_its_section_once(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both, made = threading.Barrier(2), files.made

    def with_the_other(*args: Any) -> tuple[int, bool]:
        section = made(*args)
        with contextlib.suppress(threading.BrokenBarrierError):
            both.wait(1)  # who has the turn waits in vain
        return section

    with Map.create_from_file(file) as map_, ThreadPoolExecutor(2) as threads:
        threads.submit(int).result()
        before = len(handles())
        lengthen(file)
        monkeypatch.setattr(files, "made", with_the_other)
        assert list(threads.map(lambda _: map_.capacity, range(2), timeout=LIMIT)) == [8192, 8192]
        assert len(handles()) == before


def test_a_close_and_a_new_section_at_once_leave_nothing_open(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    inside, closed, made = threading.Event(), threading.Event(), files.made

    def while_it_is_closed(*args: Any) -> tuple[int, bool]:
        inside.set()
        closed.wait(1)  # who has the turn waits in vain
        return made(*args)

    with ThreadPoolExecutor(1) as threads:
        threads.submit(int).result()
        before = handles()
        with Map.create_from_file(file) as map_:
            lengthen(file)
            monkeypatch.setattr(files, "made", while_it_is_closed)
            capacity = threads.submit(lambda: map_.capacity)
            assert inside.wait(LIMIT)
            map_.close()
            closed.set()
            assert capacity.result(LIMIT) == 8192
        assert handles() == before


def test_a_finalizer_may_use_and_close_the_map_that_is_given_a_new_section(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = files.made
    with Map.create_from_file(file) as map_:
        before = len(handles())

        def and_look(*args: Any) -> tuple[int, bool]:
            monkeypatch.setattr(files, "made", made)
            assert map_.capacity == 8192
            return made(*args)

        lengthen(file)
        monkeypatch.setattr(files, "made", and_look)
        assert map_.capacity == 8192
        assert len(handles()) == before
    before_any = handles()
    with Map.create_from_file(file) as map_:

        def and_close(*args: Any) -> tuple[int, bool]:
            section = made(*args)
            map_.close()
            return section

        monkeypatch.setattr(files, "made", and_close)
        lengthen(file)
        with pytest.raises(m.ClosedError):
            map_.create_view_accessor()
    assert handles() == before_any


def test_a_file_that_somebody_has_mapped_is_not_emptied_nor_made_longer(file: Path) -> None:
    file.write_bytes(b"x" * 4096)
    with Map.create_from_file(file):
        for capacity in (100, 100_000):
            with pytest.raises(PermissionError, match="mapped") as refused:
                Map.create_from_file(file, m.FileMode.CREATE, None, capacity)
            assert (refused.value.errno, refused.value.filename) == (errno.EACCES, str(file))
            assert file.read_bytes() == b"x" * 4096


def test_a_file_is_not_emptied_for_a_longer_one_that_the_disk_has_no_room_for(file: Path) -> None:
    file.write_bytes(b"x" * 4096)
    with pytest.raises(OSError, match="bytes were asked for") as refused:
        Map.create_from_file(file, m.FileMode.CREATE, None, 1 << 60)
    assert (refused.value.errno, refused.value.winerror) == (errno.ENOSPC, 112)  # type: ignore[attr-defined]
    assert file.read_bytes() == b"x" * 4096


def test_an_open_file_that_may_not_be_executed_is_not_mapped_for_that(file: Path) -> None:
    with file.open("r+b") as opened:
        for access in (m.MemoryMappedFileAccess.READ_EXECUTE, m.MemoryMappedFileAccess.READ_WRITE_EXECUTE):
            with pytest.raises(PermissionError, match="right to execute") as refused:
                Map.create_from_file(opened, access=access, leave_open=True)
            assert refused.value.filename == str(file)


def test_a_file_that_was_opened_by_its_name_is_made_longer_by_its_path(file: Path) -> None:
    name = unique()
    with Map.create_from_file(file, map_name=name) as map_, Map.open_existing(name) as other:
        with pytest.raises(io.UnsupportedOperation, match="by its path") as refused:
            other.resize(5000)
        assert "memory" not in str(refused.value)
        map_.resize(5000)
        assert (map_.capacity, other.capacity, file.stat().st_size) == (5000, 4096, 5000)
    with Map.create_new(None, 10) as map_, pytest.raises(io.UnsupportedOperation, match="memory has the size"):
        map_.resize(20)


def test_a_name_in_use_does_not_make_the_file_longer(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = files.made

    def as_windows_does(name: Any, handle: int, pages: int, size: int, *rest: Any) -> tuple[int, bool]:
        """The file is made longer before anybody looks for the name. Wine looks first."""
        with file.open("ab") as end:
            end.truncate(size)
        return made(name, handle, pages, size, *rest)

    monkeypatch.setattr(files, "made", as_windows_does)
    name = unique()
    with Map.create_new(name, 10):
        for mode in (m.FileMode.OPEN, m.FileMode.OPEN_OR_CREATE, m.FileMode.CREATE):
            with pytest.raises(m.NameInUseError):
                Map.create_from_file(file, mode, name, 10_000)
            assert file.stat().st_size == 4096
    mutex = m.Mutex(name=name)
    with mutex, pytest.raises(m.ForeignObjectError):
        Map.create_from_file(file, m.FileMode.OPEN, name, 10_000)
    mutex.close()
    assert file.stat().st_size == 4096

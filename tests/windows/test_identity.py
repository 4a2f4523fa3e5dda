# SPDX-License-Identifier: MIT
"""Which file a file is says the same number to all processes: the names of locks are made of it."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest

from memorymapped import DamagedObjectError, FileMode, MemoryMappedFile, SegmentFile, SharedMemory, Struct, int64
from memorymapped.tasks import store


class Value(Struct):
    a: int64


@pytest.fixture
def later(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From then on os.fstat and os.stat speak as those of Python 3.12: the number of a volume has 64 bits."""

    def speak() -> None:
        for name in ("fstat", "stat"):
            before = getattr(os, name)

            def told(*given: object, before: Callable[..., os.stat_result] = before, **more: object) -> os.stat_result:
                (mode, inode, device, *others), rest = before(*given, **more).__reduce__()[1]
                return os.stat_result((mode, inode, 0x5EED << 48 | device, *others), rest)  # type: ignore[arg-type]

            monkeypatch.setattr(os, name, told)

    return speak


def test_a_later_python_takes_the_same_lock(tmp_path: Path, later: Callable[[], None]) -> None:
    with SharedMemory.create_from_file(Value, tmp_path / "value") as one:
        later()
        with SharedMemory.create_from_file(Value, tmp_path / "value", FileMode.OPEN) as other:
            assert other.lock.name == one.lock.name


def test_a_later_python_knows_a_file_map_by_its_name(tmp_path: Path, tag: str, later: Callable[[], None]) -> None:
    later()
    (tmp_path / "file").write_bytes(bytes(8192))
    with MemoryMappedFile.create_from_file(tmp_path / "file", FileMode.OPEN, tag) as map:
        pickle.loads(pickle.dumps(map)).close()


def test_a_later_python_guards_a_list_of_tasks_together(tmp_path: Path, later: Callable[[], None]) -> None:
    with store._alone(tmp_path):
        before = store.Mutex
        names: list[str] = []
        store.Mutex = lambda name: names.append(name) or before(name=name)  # type: ignore[assignment,misc]
        try:
            with store._alone(tmp_path):
                pass
            later()
            with store._alone(tmp_path):
                pass
        finally:
            store.Mutex = before  # type: ignore[misc]
    assert names[0] == names[1]


def test_segments_by_path_and_by_name_have_one_lock(tmp_path: Path, tag: str, later: Callable[[], None]) -> None:
    path = tmp_path / "segments"
    with SegmentFile.create_from_file(path, capacity=8192) as by_path:
        by_path.append("one")
        later()
        with (
            MemoryMappedFile.create_from_file(path, FileMode.OPEN, tag),
            SegmentFile.open_existing(tag) as by_name,
        ):
            by_name.append("two")
            assert list(by_path) == ["one", "two"]
            assert by_name._names.lock == by_path._names.lock


def test_checksums_need_the_path(tmp_path: Path, tag: str) -> None:
    path = tmp_path / "segments"
    with (
        SegmentFile.create_from_file(path, capacity=8192, checksums=True) as by_path,
        MemoryMappedFile.create_from_file(path, FileMode.OPEN, tag),
    ):
        by_path.append("one")
        with pytest.raises(ValueError, match="by its path"):
            SegmentFile.open_existing(tag)
        assert list(by_path) == ["one"]


def test_checksums_of_another_file_that_are_in_use(tmp_path: Path) -> None:
    path, sums = tmp_path / "segments", tmp_path / "segments.sums"
    with SegmentFile.create_from_file(path, capacity=8192, checksums=True) as segments:
        segments.append("one")
        head = bytearray(sums.read_bytes()[:64])
        with sums.open("r+b") as file:
            file.seek(8)
            file.write(bytes(byte ^ 255 for byte in head[8:]))
        with pytest.raises(DamagedObjectError, match="cannot be removed"):
            SegmentFile.create_from_file(path, FileMode.OPEN)

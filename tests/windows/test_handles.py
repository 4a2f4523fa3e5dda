# SPDX-License-Identifier: MIT
"""Maps by their handles: inherited, sent, spawned; and what the system's errors become."""

from __future__ import annotations

import ctypes
import io
import multiprocessing
import os
import pickle
import subprocess
import sys
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest
from support.here import handles
from support.leftovers import unique

import memorymapped as m
from memorymapped import MemoryMappedFile as Map
from memorymapped import MemoryMappedFileOptions as Options
from memorymapped._native.win32 import create_file
from memorymapped.system.windows import files

Access, Rights = m.MemoryMappedFileAccess, m.MemoryMappedFileRights
INHERITED = m.HandleInheritability.INHERITABLE
LIMIT = 50.0
kernel32: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]

CHILD = """
import sys, memorymapped as m
with m.MemoryMappedFile.from_descriptor(int(sys.argv[1])) as map_, map_.create_view_accessor() as view:
    print(ascii((map_.name, map_.capacity, view.read_int32(0))))
    view.write_int32(4, 9)
"""


@pytest.fixture
def name() -> str:
    return unique()


@pytest.mark.parametrize("kind", ["unnamed", "named", "global", "file", "named file"])
def test_a_child_inherits_a_handle(kind: str, name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    if kind == "unnamed":
        map_ = Map.create_new(None, 5000, inheritability=INHERITED)
    elif "file" in kind:
        map_ = Map.create_from_file(path, map_name=name if "named" in kind else None, inheritability=INHERITED)
    else:
        name = name if kind == "named" else f"Global\\{name}"
        map_ = Map.create_new(name, 5000, inheritability=INHERITED)
    with map_, map_.create_view_accessor() as view:
        view.write_int32(0, 8)
        options = subprocess.STARTUPINFO(lpAttributeList={"handle_list": [map_.fileno()]})  # type: ignore[attr-defined]
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", CHILD, str(map_.fileno())],
            startupinfo=options, capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        known = name if kind in ("named", "global") else None
        told = [ascii((known, 5000 if "file" in kind else 8192, 8))]
        if kind == "named file":
            told.append(ascii((name, 5000, 8)))  # as Windows says; Wine knows none (docs/windows.md, file sections)
        assert done.stdout.strip() in told
        assert view.read_int32(4) == 9


def test_no_handle_is_inherited_unless_asked_for(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"1234")
    for make in (
        lambda: Map.create_new(name, 1),
        lambda: Map.create_new(None, 1),
        lambda: Map.create_from_file(tmp_path / "file", map_name=name),
    ):
        before = set(handles())
        with make():
            made = set(handles()) - before
            assert made
            assert not any(os.get_handle_inheritable(handle) for handle in made)
        assert set(handles()) == before


def work(maps: list[Map], pipe: Connection) -> None:
    for i, map_ in enumerate(maps):
        with map_, map_.create_view_accessor() as view:
            view.write_int32(0, view.read_int32(0) + i + 1)
            pipe.send((map_.name, map_.capacity))
    with pipe.recv() as late, late.create_view_accessor() as view:
        view.write_int32(0, 77)
    pipe.close()


def test_maps_travel_to_a_spawned_child_and_over_its_pipe(name: str, tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(5000))
    maps = [Map.create_new(None, 10), Map.create_new(name, 10), Map.create_from_file(path)]
    maps.append(Map.create_from_file(path, map_name=name + "f"))
    views = [map_.create_view_accessor() for map_ in maps]
    for view in views[:3]:
        view.write_int32(0, 100)
    ours, theirs = multiprocessing.Pipe()
    child = multiprocessing.get_context("spawn").Process(target=work, args=(maps, theirs))
    child.start()
    theirs.close()
    for map_ in maps:
        map_.close()  # the child holds them from now on
    try:
        capacities = []
        for _ in maps:
            assert ours.poll(LIMIT)
            capacities.append(ours.recv())
        assert capacities == [(None, 4096), (name, 4096), (None, 5000), (name + "f", 5000)]
        assert [view.read_int32(0) for view in views] == [101, 102, 107, 107]
        with Map.create_new(None, 10) as late, late.create_view_accessor() as view:
            ours.send(late)
            child.join(LIMIT)
            assert child.exitcode == 0
            assert view.read_int32(0) == 77
    finally:
        child.kill()
        child.join()
        ours.close()
        for view in views:
            view.close()


def test_an_unnamed_map_cannot_be_pickled_otherwise() -> None:
    with Map.create_new(None, 10) as map_, pytest.raises(TypeError, match="from_descriptor"):
        pickle.dumps(map_)


def test_a_handle_limits_and_what_is_no_map_is_refused(name: str) -> None:
    with Map.create_new(name, 10), Map.open_existing(name, Rights.READ) as reading:
        with Map.from_descriptor(reading.fileno(), leave_open=True) as again:
            again.create_view_accessor(0, 0, Access.READ).close()
            with pytest.raises(PermissionError):
                again.create_view_accessor()
        with pytest.raises(PermissionError, match="does not allow"):
            Map.from_descriptor(reading.fileno(), Access.READ_WRITE, leave_open=True)
    with pytest.raises(OSError, match="WinError 6"):
        Map.from_descriptor(0x7FF0)
    mutex = kernel32.CreateMutexW(None, False, name)
    try:
        with pytest.raises(io.UnsupportedOperation, match="Mutant"):
            Map.from_descriptor(mutex, leave_open=True)
        for call in (
            lambda: Map.create_new(name, 10),
            lambda: Map.open_existing(name),
            lambda: Map.create_or_open(name, 1),
        ):
            with pytest.raises(m.ForeignObjectError, match="another kind of object"):
                call()
    finally:
        kernel32.CloseHandle(mutex)


@pytest.mark.parametrize("access", [Access.READ, Access.COPY_ON_WRITE])
@pytest.mark.parametrize("options", [Options.NONE, Options.DELAY_ALLOCATE_PAGES])
def test_a_handle_of_unnamed_memory_allows_no_more_than_its_map(access: Access, options: Options) -> None:
    with Map.create_new(None, 5000, access, options) as map_:
        with pytest.raises(PermissionError, match="does not allow"):
            Map.from_descriptor(map_.fileno(), Access.READ_WRITE, leave_open=True)
        with Map.from_descriptor(map_.fileno(), leave_open=True) as again:
            with pytest.raises(PermissionError):
                again.create_view_accessor()
            for each in (map_, again):
                with each.create_view_accessor(4096, 8, Access.READ) as view:
                    assert view[:] == bytes(8)
                with each.create_view_accessor(4096, 8, Access.COPY_ON_WRITE) as view:
                    view.write_int64(0, 1)
                    assert view.read_int64(0) == 1


def test_errors_keep_the_systems_number(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as caught:
        Map.create_from_file(tmp_path / "missing")
    assert (caught.value.winerror, caught.value.filename) == (2, str(tmp_path / "missing"))  # type: ignore[attr-defined]
    with Map.create_new(None, 10, Access.READ_WRITE) as map_, map_.create_view_accessor() as view:
        with pytest.raises(OSError, match="advice") as refused:
            view.advise(m.Advice.HUGE_PAGES)
        assert refused.value.winerror == 87  # type: ignore[attr-defined]


def test_a_long_path(tmp_path: Path, name: str) -> None:
    folder = tmp_path
    for _ in range(4):
        folder /= "d" * 100
    os.makedirs(f"\\\\?\\{folder}")
    path = folder / "file"
    with Map.create_from_file(path, m.FileMode.CREATE_NEW, name, 5000) as map_, map_.create_view_accessor() as view:
        view.write_int32(0, 3)
        map_.sync()
        assert map_.get_access_control().rules
    with Map.create_from_file(str(path), m.FileMode.OPEN) as map_, map_.create_view_accessor() as view:
        assert (view.read_int32(0), map_.path) == (3, str(path))
    with pytest.raises(ValueError, match="empty"):
        Map.create_from_file(str(path) + "2", m.FileMode.OPEN_OR_CREATE)
    assert os.listdir(f"\\\\?\\{folder}") == ["file"]
    os.unlink(f"\\\\?\\{path}")


def test_a_relative_path_that_is_short_of_a_long_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, short = tmp_path / ("d" * 100), Path("e" * 100) / ("f" * 90)
    os.makedirs(f"\\\\?\\{folder / short.parent}")
    monkeypatch.chdir(folder)
    assert len(str(short)) < 200 < 300 < len(str(folder / short)) + len("file")
    given = []
    monkeypatch.setattr(files, "create_file", lambda path, *rest: given.append(path) or create_file(path, *rest))
    with Map.create_from_file(short, m.FileMode.CREATE_NEW, capacity=10) as map_:
        assert map_.path == str(folder / short)
    # Wine opens it in either form.
    assert given == [f"\\\\?\\{folder / short}"]
    os.unlink(given[0])


def test_a_private_map_can_make_its_file_longer_and_never_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    with (
        Map.create_from_file(path, capacity=100, access=Access.COPY_ON_WRITE) as map_,
        map_.create_view_accessor(access=Access.COPY_ON_WRITE) as view,
    ):
        view.write_int32(0, 1)
        assert (map_.capacity, view.read_bytes(4, 4)) == (100, b"5678")
    assert path.read_bytes() == b"12345678" + bytes(92)


def test_a_name_in_use_does_not_empty_the_file(tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"12345678")
    with Map.create_new(name, 10), pytest.raises(m.NameInUseError):
        Map.create_from_file(path, m.FileMode.CREATE, name, 100)
    assert path.read_bytes() == b"12345678"

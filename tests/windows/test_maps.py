# SPDX-License-Identifier: MIT
"""Maps on the sections of Windows."""

from __future__ import annotations

import ctypes
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy
import pytest
from support.protections import protections

import memorymapped as m
from memorymapped import MemoryMappedFile as Map
from memorymapped._native.looks import names_in
from memorymapped._native.win32 import name_of
from memorymapped.system.windows import backing

Access = m.MemoryMappedFileAccess
kernel32: Any = ctypes.WinDLL("kernel32", use_last_error=True)  # type: ignore[attr-defined]


@pytest.fixture
def name() -> str:
    return f"memorymapped-tests-{os.getpid()}"


def run(code: str, *arguments: object) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
        capture_output=True, text=True, timeout=50, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("which", ["the same name", "another name"])
def test_a_map_may_be_closed_in_the_midst_of_the_opening_of_another(name: str, which: str) -> None:
    """By a signal handler, or a finalizer when garbage is collected: here when its number is asked for."""
    code = """
import sys
import memorymapped as m
from memorymapped.system.windows import backing
def numbers():
    other.close()
    yield 77
other = m.MemoryMappedFile.create_new(sys.argv[1], 10)
backing._numbers = numbers()
with m.MemoryMappedFile.create_or_open(sys.argv[2], 10):
    print(*backing._lives.values())
print(backing._lives)
"""
    other = name if which == "the same name" else f"{name} 2"
    assert run(code, name, other).split("\n")[:2] == ["[77, 1]", "{}"]


def test_two_processes_share_the_bytes_of_a_name(name: str) -> None:
    with Map.create_new(name, 10000) as map_, map_.create_view_accessor() as view:
        view.write_int32(9996, 77)
        said = run(
            "import sys, memorymapped as m\n"
            "with m.MemoryMappedFile.open_existing(sys.argv[1]) as map_, map_.create_view_accessor() as view:\n"
            "    print(view.read_int32(9996)); view.write_int32(0, 5)",
            name,
        )
        assert (said.strip(), view.read_int32(0), view.capacity) == ("77", 5, 10000)


def test_a_name_ends_with_its_last_holder(name: str) -> None:
    one = Map.create_new(name, 10)
    two = Map.open_existing(name)
    one.close()
    assert two.name_alive
    with pytest.raises(m.NameInUseError):
        Map.create_new(name, 10)
    view = two.create_view_accessor()
    two.close()
    with pytest.raises(FileNotFoundError, match="nobody holds"):
        Map.open_existing(name)
    view.write_int32(0, 9)
    with Map.create_new(name, 10) as again, again.create_view_accessor() as fresh:
        assert fresh.read_byte(0) == 0
    view.close()


def test_memory_of_a_name_opened_has_whole_pages(name: str) -> None:
    with Map.create_new(name, 5000) as made, Map.open_existing(name) as opened:
        assert (made.capacity, opened.capacity) == (5000, 8192)
        with Map.create_or_open(name, 1) as third:
            assert third.capacity == 8192


def test_rights_limit_the_views(name: str) -> None:
    with Map.create_new(name, 4096), Map.open_existing(name, m.MemoryMappedFileRights.READ) as reading:
        with pytest.raises(PermissionError):
            reading.create_view_accessor()
        with reading.create_view_accessor(0, 0, Access.READ) as view, pytest.raises(io.UnsupportedOperation):
            view.write_int32(0, 1)


@pytest.mark.parametrize("access", [Access.READ_EXECUTE, Access.READ_WRITE_EXECUTE])
def test_what_may_be_executed_may_be_by_who_opens_it_by_its_name(name: str, access: Access) -> None:
    with Map.create_new(name, 10, access) as made:
        with Map.open_existing(name, m.MemoryMappedFileRights[access.name]) as opened:
            assert protections(opened) == protections(made)
        with Map.create_or_open(name, 10, access) as opened:
            assert protections(opened) == protections(made)
        with Map.open_existing(name, m.MemoryMappedFileRights.READ) as opened:
            assert protections(opened) == {"READ": "r--"}


def test_memory_that_is_allocated_later(name: str) -> None:
    delayed = m.MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES
    made = Map.create_new(name, 1 << 30, Access.READ_WRITE, delayed)
    with made, made.create_view_accessor(1 << 29, 8192) as one, Map.open_existing(name) as opened:
        one.write_double(0, 1.5)
        assert opened.capacity == 1 << 30
        with opened.create_view_accessor(1 << 29, 8) as two:
            assert two.read_double(0) == 1.5
        with opened.create_view_accessor(1 << 29, 8, Access.COPY_ON_WRITE) as copy:
            copy.write_double(0, 2.5)
            assert one.read_double(0) == 1.5


@pytest.mark.parametrize("access", ["READ", "COPY_ON_WRITE", "READ_WRITE"])
def test_a_file(tmp_path: Path, access: str) -> None:
    path = tmp_path / "größe.bin"
    path.write_bytes(bytes(200_000))
    kind = Access[access]
    with Map.create_from_file(path, access=kind) as map_, map_.create_view_accessor(100_000, 8, kind) as view:
        assert (view.pointer_offset, view.capacity, map_.capacity) == (100_000 % 65536, 8, 200_000)
        if access != "READ":
            view.write_int64(0, 3)
    with path.open("rb") as file:
        file.seek(100_000)
        assert file.read(1) == (b"\3" if access == "READ_WRITE" else b"\0")


def test_a_file_under_a_name_that_grows(tmp_path: Path, name: str) -> None:
    path = tmp_path / "grows.bin"
    with Map.create_from_file(path, m.FileMode.CREATE_NEW, name, 5000) as map_:
        with Map.open_existing(name) as other, other.create_view_accessor() as view:
            assert other.capacity == 5000
            view.write_int32(4996, 7)
        with map_.create_view_accessor() as before:
            map_.resize(100_000)
            assert (map_.capacity, path.stat().st_size, before.read_int32(4996)) == (100_000, 100_000, 7)
            with map_.create_view_accessor(99_000) as after:
                after.write_int32(0, 8)
            map_.sync()
    path.unlink()


def test_a_refused_call_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "kept"
    path.write_bytes(b"0123456789")
    with pytest.raises(m.OutOfRangeError):
        Map.create_from_file(path, capacity=5)
    with pytest.raises(ValueError, match="cannot make it"):
        Map.create_from_file(path, capacity=50, access=Access.READ)
    with pytest.raises(FileExistsError):
        Map.create_from_file(path, m.FileMode.CREATE_NEW, capacity=5)
    with pytest.raises(PermissionError, match="directory"):
        Map.create_from_file(tmp_path)
    with pytest.raises(ValueError, match="empty"):
        Map.create_from_file(tmp_path / "new", m.FileMode.OPEN_OR_CREATE)
    assert path.read_bytes() == b"0123456789"
    assert not (tmp_path / "new").exists()


def test_a_map_is_pickled_by_its_name(name: str) -> None:
    with Map.create_new(name, 100) as map_, map_.create_view_accessor() as one:
        one.write_int32(0, 6)
        with pickle.loads(pickle.dumps(map_)) as other, other.create_view_accessor() as two:
            assert two.read_int32(0) == 6


def test_an_in_page_error_is_an_exception_and_arrays_live() -> None:
    map_ = Map.create_new(None, 10_000)
    view = map_.create_view_accessor()
    view.write_int32(0, 5)
    array = numpy.asarray(view)
    raised: Any = kernel32.RaiseException
    raised.argtypes = [ctypes.c_uint32, ctypes.c_uint32, ctypes.c_uint32, ctypes.c_void_p]
    faults = m.guard_status().faults
    # What the kernel raises in the thread that reads a page it cannot bring: a read, the address, the reason.
    raised(0xC0000006, 0, 3, (ctypes.c_size_t * 3)(0, array.ctypes.data + 5000, 0xC000009C))
    assert (array[0], view.faulted, m.guard_status().faults) == (0, True, faults + 1)
    array[9999] = 1  # the pages are there, and this process's own
    with pytest.raises(m.MemoryFaultError):
        view.read_int32(0)
    view.close()
    assert array[9999] == 1
    with map_.create_view_accessor() as again:
        assert again.read_int32(0) == 5
    map_.close()


@pytest.mark.parametrize("rights", ["READ", "COPY_ON_WRITE", "WRITE"])
def test_nobody_else_opens_unnamed_memory(rights: str) -> None:
    with Map.create_new(None, 100) as map_:
        folder, _, hidden = name_of(map_.fileno()).rpartition("\\")
        assert (hidden, "Section") in names_in(folder), "who looks sees it"
        said = run(
            """
import sys
from memorymapped import MemoryMappedFile, MemoryMappedFileRights as Rights
try:
    MemoryMappedFile.open_existing(sys.argv[1], Rights[sys.argv[2]])
except PermissionError as error:
    print(error.winerror)
""",
            hidden,
            rights,
        )
        assert said == "5\n"


@pytest.mark.parametrize("make", [Map.create_new, Map.create_or_open])
def test_who_lacks_the_privilege_for_names_of_all_sessions_is_told(
    make: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wine gives it to everybody: this is the kernel's answer to who has it not."""

    def refused(name: str, *rest: object) -> None:
        raise OSError(None, "Access denied", name, 5)

    monkeypatch.setattr(backing, "create_section", refused)
    with pytest.raises(PermissionError, match="SeCreateGlobalPrivilege"):
        make(f"Global\\{name}", 100)
    with pytest.raises(PermissionError, match="Access denied"):
        make(f"Local\\{name}", 100)

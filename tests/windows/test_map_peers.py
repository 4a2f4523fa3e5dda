# SPDX-License-Identifier: MIT
"""The same maps in Python, in C# on .NET for Windows, and in C, by nothing but their names."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from support.leftovers import unique
from windows.foreign import Foreign

import memorymapped as m
from memorymapped import MemoryMappedFile as Map

Access, Rights = m.MemoryMappedFileAccess, m.MemoryMappedFileRights
FILE_MAP_READ, FILE_MAP_ALL_ACCESS = 4, 0xF001F
CSHARP, C = "maps.cs", "maps.c"


@pytest.fixture(params=[CSHARP, C])
def other(request: pytest.FixtureRequest) -> Iterator[Foreign]:
    with Foreign(request.param) as program:
        program.language = request.param
        yield program


@pytest.fixture
def csharp() -> Iterator[Foreign]:
    with Foreign(CSHARP) as program:
        yield program


@pytest.fixture(params=["", "Local\\", "Global\\"])
def name(request: pytest.FixtureRequest) -> str:
    return f"{request.param}{unique()} größe"


def whole(language: str) -> tuple[object, ...]:
    """The words of a step that makes a view of all of a map, to read and write."""
    return ("view", 0, 0, int(Access.READ_WRITE) if language == CSHARP else FILE_MAP_ALL_ACCESS)


def test_python_opens_what_they_make(other: Foreign, name: str) -> None:
    other.do("create", name, 5000)
    assert other.do(*whole(other.language)) == "8192"
    for i in range(100):
        other.do("write", 4 * i, i * i)
    with Map.open_existing(name) as map_, map_.create_view_accessor() as view:
        assert map_.capacity == 8192
        assert [view.read_int32(4 * i) for i in range(100)] == [i * i for i in range(100)]
        view.write_int32(8188, -5)
        assert other.do("read", 8188) == "-5"
        with pytest.raises(m.NameInUseError):
            Map.create_new(name, 10)
        other.do("close")
        assert view.read_int32(8188) == -5  # this one holds it now
    with pytest.raises(FileNotFoundError):
        Map.open_existing(name)


def test_they_open_what_python_makes(other: Foreign, name: str) -> None:
    missing, used = ("!FileNotFoundException", "!IOException") if other.language == CSHARP else ("!2", "!183")
    assert other.ask("open", name, int(Rights.READ_WRITE)) == missing
    with Map.create_new(name, 1000) as map_, map_.create_view_accessor() as view:
        view.write_int32(996, 77)
        assert other.ask("create", name, 1000) == used
        other.do("open", name, int(Rights.READ_WRITE))
        assert other.do("view", 0, 1000, 0 if other.language == CSHARP else 6) == (
            "1000" if other.language == CSHARP else "4096"
        )
        assert other.do("read", 996) == "77"
        other.do("write", 0, 5)
        assert view.read_int32(0) == 5
        map_.close()
        with Map.open_existing(name) as again:  # the other program holds it
            assert again.capacity == 4096
        other.do("close")
        assert other.ask("open", name, int(Rights.READ_WRITE)) == missing


def test_a_name_ends_with_a_killed_holder(other: Foreign, name: str) -> None:
    other.do("create_or_open", name, 100)
    other.do(*whole(other.language))
    with Map.open_existing(name) as map_:
        other.kill()
        assert map_.name_alive
    with Map.create_new(name, 100) as map_, map_.create_view_accessor() as view:
        assert view.read_int32(0) == 0


def test_rights_and_access_hold_between_them(other: Foreign, name: str) -> None:
    refused = "!UnauthorizedAccessException" if other.language == CSHARP else "!5"
    with Map.create_new(name, 100):
        other.do("open", name, int(Rights.READ))
        assert other.ask("view", 0, 0, 0 if other.language == CSHARP else 2) == refused
        other.do("view", 0, 0, int(Access.READ) if other.language == CSHARP else FILE_MAP_READ)


def test_rules_keep_them_out(other: Foreign, name: str) -> None:
    refused = "!UnauthorizedAccessException" if other.language == CSHARP else "!5"
    read_only = m.MemoryMappedFileSecurity([m.AccessRule("owner", Rights.READ), m.AccessRule("everyone", Rights.READ)])
    with Map.create_new(name, 100, security=read_only) as map_, map_.create_view_accessor() as view:
        view.write_int32(0, 8)
        assert other.ask("open", name, int(Rights.READ_WRITE)) == refused
        other.do("open", name, int(Rights.READ))
        other.do("view", 0, 0, int(Access.READ) if other.language == CSHARP else FILE_MAP_READ)
        assert other.do("read", 0) == "8"
        with pytest.raises(PermissionError):
            Map.open_existing(name)
        map_.set_access_control(m.MemoryMappedFileSecurity.from_mode(0o600))
        other.do("open", name, int(Rights.READ_WRITE))


def test_streams_and_decimals(csharp: Foreign, name: str) -> None:
    csharp.do("create", name, 4096)
    csharp.do("stream_write", "grüße aus C#")
    with Map.open_existing(name) as map_:
        with map_.create_view_stream() as stream, m.BinaryReader(stream) as reader:
            assert reader.read_string() == "grüße aus C#"
        with map_.create_view_stream() as stream, m.BinaryWriter(stream) as writer:
            writer.write_string("und zurück")
        assert csharp.do("stream_read") == "und zurück"
        with map_.create_view_accessor() as view:
            view.write_decimal(100, Decimal("-12.345"))
            csharp.do("view", 0, 0, int(Access.READ_WRITE))
            assert csharp.do("read_decimal", 100) == "-12.345"


def test_a_file_under_a_name(csharp: Foreign, tmp_path: Path, name: str) -> None:
    path = tmp_path / "file"
    path.write_bytes(bytes(10_000))
    with Map.create_from_file(path, map_name=name) as map_, map_.create_view_accessor() as view:
        csharp.do("open", name, int(Rights.READ_WRITE))
        csharp.do("view", 0, 10_000, int(Access.READ_WRITE))
        csharp.do("write", 9996, 6)
        assert view.read_int32(9996) == 6
        csharp.do("close")
    csharp.do("file", path, name)
    with Map.open_existing(name) as map_, map_.create_view_accessor() as view:
        assert (map_.capacity, view.read_int32(9996)) == (10_000, 6)
        csharp.do("view", 0, 0, int(Access.READ_WRITE))
        view.write_int32(0, 3)
        assert csharp.do("read", 0) == "3"
    csharp.do("close")
    assert path.read_bytes()[:4] == b"\3\0\0\0"

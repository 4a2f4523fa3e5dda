# SPDX-License-Identifier: MIT
"""Both have the memory mapped at the same time, a C# program and this process, and each sees at once what the other
writes. .NET has no names on Linux: it maps the file behind one by its path."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dotnet_runtime import Peer

from memorymapped import (
    BinaryReader,
    BinaryWriter,
    MemoryMappedFile,
    MemoryMappedFileAccess,
    MemoryMappedFileRights,
    MemoryMappedViewAccessor,
)

pytestmark = pytest.mark.dotnet

SIZE = 3 * 4096 + 100  # not a whole number of pages


def peers_view(peer: Peer, path: str | Path, offset: int = 0, size: int = 0, access: int = 0) -> None:
    """The peer maps the file, and makes its view "v" and its stream "s"."""
    peer.do("from_path_only", "m", path)
    peer.do("accessor", "v", "m", offset, size, access)
    peer.do("stream", "s", "m", offset, size, access)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.write_bytes(bytes(SIZE))
    return path


@pytest.fixture
def ours(file: Path) -> Iterator[MemoryMappedViewAccessor]:
    with MemoryMappedFile.create_from_file(file) as map_, map_.create_view_accessor() as view:
        yield view


def test_each_sees_the_other_write_to_a_file(peer: Peer, file: Path, ours: MemoryMappedViewAccessor) -> None:
    peers_view(peer, file)
    assert peer.do("accessor_is", "v") == f"{SIZE} 0 True True"
    for at in (0, 1, 4095, 8190, SIZE - 8):  # some lie across pages
        for turn in range(1, 4):
            ours.write_int64(at, turn * 1234567890123)
            assert peer.do("read", "v", "int64", at) == str(turn * 1234567890123)
            peer.do("write", "v", "int64", at, -turn)
            assert ours.read_int64(at) == -turn
    peer.do("write_array", "v", "Packed3", 100, "010203040506070809", 0, 3)
    assert ours[100:112] == bytes.fromhex("010203000405060007080900")
    ours[200:208] = b"\1\2\3\4\5\6\7\x08"
    assert peer.do("read_array", "v", "Packed5", 200, 1, 0, 1) == "1 0102030405"


def test_streams_see_the_other_write(peer: Peer, file: Path) -> None:
    with MemoryMappedFile.create_from_file(file) as map_, map_.create_view_stream(4000, 500) as stream:
        peers_view(peer, file, 4000, 500)
        stream.write(b"from here")
        assert peer.do("s_read", "s", 9, 9) == f"9 {b'from here'.hex()}"
        assert peer.do("position", "s") == "9"
        peer.do("s_write", "s", b"from there".hex())
        assert stream.read(10) == b"from there"
        peer.do("s_seek", "s", -5, 2)
        peer.do("s_write", "s", b"12345".hex())
        stream.seek(0, 2)
        assert stream.read(1) == b""
        stream.seek(-5, 1)
        assert stream.read() == b"12345"
        # One value each way through BinaryWriter and BinaryReader, on streams with a position of their own.
        peer.do("set_position", "s", 100)
        peer.do("writer", "w", "s", "utf-8")
        peer.do("b_write", "w", "string", "00e9" * 70)
        stream.position = 100
        assert BinaryReader(stream).read_string() == "é" * 70
        BinaryWriter(stream).write("back again")
        peer.do("reader", "r", "s", "utf-8")
        assert bytes.fromhex(peer.do("b_read", "r", "string")).decode("utf-16-be") == "back again"


def test_copy_on_write_stays_where_it_is(peer: Peer, file: Path, ours: MemoryMappedViewAccessor) -> None:
    peer.do("from_path_only", "m", file)
    peer.do("accessor", "v", "m", 0, 0, 3)
    ours.write_int32(0, 1)
    assert peer.do("read", "v", "int32", 0) == "1"
    peer.do("write", "v", "int32", 0, 2)
    assert peer.do("read", "v", "int32", 0) == "2"
    assert ours.read_int32(0) == 1
    with (
        MemoryMappedFile.create_from_file(file) as map_,
        map_.create_view_accessor(access=MemoryMappedFileAccess.COPY_ON_WRITE) as private,
    ):
        private.write_int32(4, 77)
        assert peer.do("read", "v", "int32", 4) == "0"
        assert ours.read_int32(4) == 0


def test_a_csharp_program_maps_the_file_behind_a_name(peer: Peer) -> None:
    with MemoryMappedFile.create_new("shared with C#", SIZE) as map_, map_.create_view_accessor() as view:
        path = map_.path
        assert path is not None
        view.write_decimal(16, 42)
        view.write_char(40, "€")
        peers_view(peer, path)
        # No header: byte 0 is byte 0, and the size is the map's.
        assert peer.do("accessor_is", "v") == f"{SIZE} 0 True True"
        assert peer.do("read", "v", "decimal", 16) == "0000002a" + "0" * 24
        assert peer.do("read", "v", "char", 40) == "20ac"
        peer.do("write", "v", "double", SIZE - 8, "3ff8000000000000")
        assert view.read_double(SIZE - 8) == 1.5
        with (
            MemoryMappedFile.open_existing("shared with C#", MemoryMappedFileRights.READ) as same,
            same.create_view_accessor(access=MemoryMappedFileAccess.READ) as reader,
        ):
            peer.do("write", "v", "int32", 0, 4711)
            assert reader.read_int32(0) == 4711

        # It sees the map grow in the next map that it makes.
        map_.resize(2 * SIZE)
        with map_.create_view_accessor(SIZE) as more:
            more.write_int32(0, 99)
        peer.do("from_path_only", "n", path)
        peer.do("accessor", "w", "n", SIZE, 0, 1)
        assert peer.do("read", "w", "int32", 0) == "99"


def test_a_csharp_program_does_not_hold_a_name(peer: Peer) -> None:
    """.NET knows nothing of our locks: the name ends with the last holder of ours, the program keeps its memory."""
    with MemoryMappedFile.create_new("not held", SIZE) as map_, map_.create_view_accessor() as view:
        assert map_.path is not None
        view.write_int32(0, 1)
        peers_view(peer, map_.path)
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing("not held")
    assert peer.do("read", "v", "int32", 0) == "1"
    with MemoryMappedFile.create_new("not held", SIZE) as map_, map_.create_view_accessor() as view:
        assert view.read_int32(0) == 0
        peer.do("write", "v", "int32", 0, 2)
        assert view.read_int32(0) == 0


def test_a_csharp_program_that_is_killed_leaves_the_name_alone(peer: Peer) -> None:
    with MemoryMappedFile.create_new("survives", SIZE) as map_, map_.create_view_accessor() as view:
        assert map_.path is not None
        peers_view(peer, map_.path)
        peer.do("write", "v", "int32", 0, 5)
        peer.end()
        assert map_.name_alive
        with MemoryMappedFile.open_existing("survives") as same, same.create_view_accessor() as other:
            assert other.read_int32(0) == view.read_int32(0) == 5


def test_a_named_file_map_and_a_csharp_program(peer: Peer, file: Path) -> None:
    """The user's file is not locked by us: .NET maps it before, and while, it has a name."""
    peers_view(peer, file)
    with (
        MemoryMappedFile.create_from_file(file, map_name="named file") as map_,
        MemoryMappedFile.open_existing("named file") as same,
        same.create_view_accessor() as view,
    ):
        peer.do("write", "v", "int32", 8, 31)
        assert view.read_int32(8) == 31
        peer.do("from_path", "n", file, 4, "-", 0, 0)
        peer.do("accessor", "w", "n", 8, 4, 0)
        view.write_int32(8, 32)
        assert peer.do("read", "w", "int32", 0) == "32"
        assert map_.capacity == SIZE

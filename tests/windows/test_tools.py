# SPDX-License-Identifier: MIT
"""What is Windows' own of the tools: names of the kernel's, made by whatever program, and looks that hold nothing."""

from __future__ import annotations

import contextlib
import mmap
from pathlib import Path

import pytest
from programs import Tool

from memorymapped import EventWaitHandle, MemoryMappedFile, Mutex
from memorymapped.cli.targets import find
from memorymapped.enums import EventResetMode
from memorymapped.system.survey import survey


def test_what_other_programs_have_made_is_shown_and_read(mmf: Tool) -> None:
    with mmap.mmap(-1, 4096, tagname="of another") as made:
        made[:5] = b"bytes"
        (row,) = mmf("ls", "of another", "--json").lines
        assert (row["name"], row["kind"], row["size"], row["state"]) == ("Local\\of another", "map", 4096, "held")
        assert (row["holders"], row["memory"], row["mode"], row["age"]) == (None, None, None, None)
        assert mmf("get", "of another", 0, "utf8[5]").out == "bytes\n"
        assert mmf("set", "Local\\of another", 0, "utf8[5]", "BYTES").code == 0
        assert made[:5] == b"BYTES"
    assert mmf("ls", "of another").code == 1


def test_a_look_does_not_hold_a_name() -> None:
    with MemoryMappedFile.create_new("looked at", 100):
        target = find("looked at")
        look = target.opened()
        data = look.__enter__()
        assert data.read(0, 100) == bytes(100)
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing("looked at")
    look.__exit__(None, None, None)


def test_what_only_we_know_is_not_shown() -> None:
    before = {each.name for each in survey()}
    with (
        contextlib.closing(Mutex(True, "a mutex")),
        contextlib.closing(EventWaitHandle(False, EventResetMode.AUTO_RESET, "an event")) as event,
        MemoryMappedFile.create_new(None, 100),
    ):
        assert not event.wait_one(0.01)  # from now on there is a record of who waits
        assert {each.name for each in survey()} - before == {"Local\\a mutex", "Local\\an event"}


def test_a_map_of_a_file_tells_which(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 5000)
    with MemoryMappedFile.create_from_file(file, map_name="of a file"):
        (found,) = (each for each in survey() if each.name == "Local\\of a file")
    assert (found.kind, found.size) == ("file map", 5000)
    assert found.target is not None
    assert Path(found.target).samefile(file)


def test_nothing_is_ever_stale(mmf: Tool) -> None:
    with MemoryMappedFile.create_new("used", 100):
        said = mmf("clean", "used")
    assert (said.code, said.err) == (0, "")
    assert said.out.splitlines() == [
        "left map Local\\used: it is held",
        "nothing is ever left by name here: an object ends with the last one who holds it",
    ]


def test_a_path_is_no_name(mmf: Tool, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"12345678")
    assert mmf("get", file, 0, "utf8[8]").out == "12345678\n"
    assert "neither a name that somebody holds" in mmf("get", tmp_path / "none", 0, "int8").err

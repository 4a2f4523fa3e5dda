# SPDX-License-Identifier: MIT
"""The tools of `mmf`: what they show is so, what they write is there, what is wrong is one line and an exit code."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import random
import signal
import stat
import struct
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any, Literal

import pytest
from privileges import given_up
from programs import LIMIT, MMF, PYTHON, Terminal, Tool, finished, line_with, plain, started, state, until
from support.here import BARE, WINDOWS, opened

from memorymapped import (
    AbandonedMutexError,
    EventResetMode,
    EventWaitHandle,
    FairMutex,
    MemoryMappedFile,
    MemoryMappedFileOptions,
    Mutex,
    SegmentFile,
    Semaphore,
    SharedMemory,
    StructArray,
)
from memorymapped.cli import COMMANDS, picture
from memorymapped.cli.ending import Failure
from memorymapped.cli.shapes import NAMES, shape_of
from memorymapped.cli.shapes import plain as as_json
from memorymapped.structs import Array, FixedBytes, Struct, Utf8, Utf16, float64, int32
from memorymapped.system.processes import start_of
from memorymapped.system.survey import PAGES_TOLD

DELAYED = MemoryMappedFileOptions.DELAY_ALLOCATE_PAGES


CAT = [*PYTHON, "-c", "import sys; sys.stdout.write(sys.stdin.read())"]
SAYING = [*PYTHON, "-c", "import sys; print(eval(sys.argv[1]))"]


class Point(Struct):
    x: int32
    y: int32


class Order(Struct):
    number: int32
    price: Decimal
    name: Annotated[str, Utf16(8)]
    code: Annotated[str, Utf8(4)]
    raw: Annotated[bytes, FixedBytes(3)]
    weights: Array[float64, Literal[2]]
    corners: Array[Point, Literal[2]]


# -- ls, info, clean


def test_ls_shows_what_there_is(mmf: Tool, tag: str) -> None:
    with MemoryMappedFile.create_new("a report", 10_000), contextlib.closing(Mutex(True, tag)):
        rows = {(each["name"], each["kind"]): each for each in mmf("ls", "--json").lines}
        row = rows[f"{BARE}\\a report", "map"]
        assert (row["state"], row["size"], row["scope"]) == ("held", opened(10_000), BARE.lower())
        assert row["holders"] is None if WINDOWS else os.getpid() in [holder["pid"] for holder in row["holders"]]
        assert rows[f"{BARE}\\{tag}", "mutex"]["details"]["owner"] == os.getpid()
        out = mmf("ls", "a report").out.splitlines()
        heads = "NAME KIND SIZE STATE" if WINDOWS else "NAME KIND SIZE MEMORY MODE AGE STATE HOLDERS"
        assert out[0].split() == heads.split()
        assert out[1].startswith(f"{BARE}\\a report  map")
        assert WINDOWS or str(os.getpid()) in out[1]
        assert mmf("ls", "--kind", "mutex", "--stale", "a report").code == 1
    missing = mmf("ls", "a report")
    assert (missing.code, missing.said) == (1, f"mmf ls: {BARE}\\a report: there is no such object")
    assert mmf("ls", "--kind", "fair mutex").out == "nothing is shared by name here\n"


def test_ls_takes_patterns(mmf: Tool, tag: str) -> None:
    names = [f"{tag}-1", f"{tag}-2", f"{tag}-[12]", f"{tag}-*"]
    with contextlib.ExitStack() as held:
        for name in names:
            held.enter_context(MemoryMappedFile.create_new(name, 100))

        def seen(*patterns: str) -> list[str]:
            return [each["name"].removeprefix(f"{BARE}\\") for each in mmf("ls", "--json", *patterns).lines]

        assert seen(f"{tag}-*") == sorted(names)
        assert seen(f"{tag}-?") == sorted(names[:2] + names[3:])
        assert seen(f"{tag}-[12]") == names[2:3]
        assert seen(f"{BARE}\\{tag}-1", f"*{tag}-2") == names[:2]
        missing = mmf("ls", f"{tag}+*")
        assert (missing.code, missing.said) == (1, f"mmf ls: {BARE}\\{tag}+*: there is no such object")


def test_clean_removes_what_the_dead_left_and_nothing_else(mmf: Tool, run: Callable[..., Any]) -> None:
    process = run("from memorymapped import *; m = MemoryMappedFile.create_new('left', 5000); input()")
    with MemoryMappedFile.create_new("used", 4096) as used:
        until(lambda: mmf("ls", "left").code == 0, "it is there")
        process.kill()
        process.wait(LIMIT)
        dry = mmf("clean", "--dry-run", "left", "used")
        assert dry.code == 0
        assert f"would remove map {BARE}\\left, 8.0 KiB\n" in dry.out
        assert f"left map {BARE}\\used: it is held: " in dry.out
        assert mmf("ls", "left", "--stale", "--json").lines[0]["state"] == "stale"
        done = mmf("clean", "left", "used", "--json")
        assert {each["name"]: each["removed"] for each in done.lines} == {f"{BARE}\\left": True, f"{BARE}\\used": False}
        assert used.name_alive
    assert mmf("ls", "left").code == 1


def test_a_dry_run_says_what_clean_then_does(mmf: Tool, run: Callable[..., Any], tag: str) -> None:
    process = run(f"from memorymapped import *; m = Mutex(True, {tag!r}); print('owned', flush=True); input()")
    assert process.stdout.readline() == "owned\n"
    process.kill()
    process.wait(LIMIT)
    for more in (), ("--dry-run",), ():
        left = mmf("clean", *more, tag)
        assert f"left mutex {BARE}\\{tag}: its last owner died" in left.out
        assert left.code == (0 if more else 1)
    assert f"would remove mutex {BARE}\\{tag}, " in mmf("clean", "--dry-run", "--abandoned", tag).out
    assert f"removed mutex {BARE}\\{tag}, " in mmf("clean", "--abandoned", tag).out
    assert mmf("ls", tag).code == 1


def completed(*words: str) -> list[str]:
    """What a shell is offered for the last word."""
    environment = {
        **os.environ,
        "_MMF_COMPLETE": "bash_complete",
        "COMP_WORDS": " ".join(("mmf", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = finished(*MMF, env=environment)
    assert (program.returncode, program.stderr) == (0, "")
    return program.stdout.splitlines()


def test_a_shell_completes_commands_names_and_types(tag: str) -> None:
    with (
        MemoryMappedFile.create_new("report-1", 10),
        MemoryMappedFile.create_new("report 2", 10),
        MemoryMappedFile.create_new("Global\\report-3", 10),
        contextlib.closing(Mutex(False, f"m-{tag}")),
        contextlib.closing(Semaphore(1, 1, "report-4")),
    ):
        assert sorted(completed("wa")) == ["plain,wait", "plain,watch"]
        assert completed("dump", "rep") == ["plain,report-1"]
        assert completed("info", "rep") == ["plain,report-1", "plain,report-4"]
        assert completed("wait", "rep") == ["plain,report-4"]
        assert f"plain,m-{tag}" in completed("lock", "m-")
        assert completed("dump", "/et") == ["file,/et"]
        assert completed("get", "report-1", "0", "uint") == [f"plain,uint{n}" for n in (8, 16, 32, 64)]
        assert "plain,--json" in completed("clean", "--j")


def test_info_says_what_a_typed_map_says_of_itself(mmf: Tool, tag: str) -> None:
    with SharedMemory(Order, "orders", lock_name=tag) as orders:
        orders.data = Order(1, Decimal(2), "three", "4", b"5", [6, 7], [Point(8, 9)] * 2)
        (row,) = mmf("info", "orders", "--json").lines
        assert (row["typed"]["as"], row["typed"]["layout"]) == ("SharedMemory", Order.layout.text)
        assert row["typed"]["version"] == orders.version
        if PAGES_TOLD:
            assert [each["pid"] for each in row["mapped"]] == []  # but for us
            assert row["pages"]["resident"] == row["pages"]["count"] == 1
        text = mmf("info", "orders").out
        assert "SharedMemory: version 2" in text
        assert "8 decimal price" in text


def test_info_brings_no_page_into_being(mmf: Tool) -> None:
    size = 64 << 20
    with (
        MemoryMappedFile.create_new("sparse", size, options=DELAYED) as map_,
        map_.create_view_accessor() as view,
    ):
        view.write_bytes(1 << 20, bytes(4096 * 3))
        before = os.stat(map_.path or "").st_blocks
        (row,) = mmf("info", "sparse", "--json").lines
        assert row["pages"]["resident"] == before * 512 // 4096 == 3
        assert set(row["pages"]["picture"]) <= set("·rsDH")
        assert mmf("dump", "sparse", "-n", "4M").code == 0
        assert mmf("save", "sparse", "-", "--json", "-n", 100).code == 0
        assert os.stat(map_.path or "").st_blocks == before


def test_the_picture_of_what_is_large_is_that_of_its_data(
    mmf: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, size, page = tmp_path / "file", (9 << 20) + 100, mmap.PAGESIZE
    chance = random.Random(5)
    with open(file, "wb") as sparse:
        for _ in range(12):
            sparse.seek(chance.randrange(size))
            sparse.write(b"x" * chance.choice([1, page, 100_000]))
        for at, length in (0, 1 << 20), (size - page, page):  # what is read, after the picture
            sparse.seek(at)
            sparse.write(b"x" * length)
        sparse.truncate(size)
        os.fsync(sparse.fileno())
        os.posix_fadvise(sparse.fileno(), 2 << 20, 4 << 20, os.POSIX_FADV_DONTNEED)
    exact = mmf("info", file, "--json").lines[0]["pages"]
    assert 0 < exact["resident"] < file.stat().st_blocks * 512 // page
    monkeypatch.setattr(picture, "EXACT", 0)
    for most, least in (64 << 20, 1 << 20), (8 * page, 2 * page), (page, page):
        monkeypatch.setattr(picture, "WINDOW", most)
        monkeypatch.setattr(picture, "LEAST", least)
        pages = mmf("info", file, "--json").lines[0]["pages"]
        assert pages == {**exact, "holes_looked_at": False}
    assert "pages in memory; in holes it was not looked\n" in mmf("info", file).out


def test_info_of_a_hole_takes_neither_time_nor_memory(tmp_path: Path) -> None:
    file = tmp_path / "file"
    with open(file, "wb") as sparse:
        sparse.truncate(1 << 40)
        os.pwrite(sparse.fileno(), b"x", 700 << 30)
    limited = ["sh", "-c", 'ulimit -v 1000000 && exec "$@"', "sh"]
    (row,) = map(json.loads, finished(*limited, *MMF, "info", file, "--json").stdout.splitlines())
    assert row["pages"]["resident"] == 1
    assert row["pages"]["picture"] == "·" * 350 + "r" + "·" * 161


def test_info_of_every_kind_of_a_name_and_of_a_file(mmf: Tool, tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(bytes(9000))
    with MemoryMappedFile.create_new("two", 100), contextlib.closing(FairMutex(name="two")):
        assert [each["kind"] for each in mmf("info", "two", "--json").lines] == ["fair mutex", "map"]
    (row,) = mmf("info", file, "--json").lines
    assert (row["kind"], row["size"]) == ("file", 9000)
    if PAGES_TOLD:
        assert row["pages"]["count"] == 3
    assert "none of ours" not in mmf("info", file).out


# -- dump, get, set


def test_dump_shows_bytes_and_text(mmf: Tool) -> None:
    with MemoryMappedFile.create_new("bytes", 100) as map_, map_.create_view_accessor() as view:
        view.write_bytes(14, b"Hello\xff")
        assert mmf("dump", "bytes", *["-n", 100] * WINDOWS).out == (
            "00000000  00 00 00 00 00 00 00 00  00 00 00 00 00 00 48 65  |..............He|\n"
            "00000010  6c 6c 6f ff 00 00 00 00  00 00 00 00 00 00 00 00  |llo.............|\n"
            "00000020  00 00 00 00 00 00 00 00  00 00 00 00 00 00 00 00  |................|\n"
            "*\n"
            "00000060  00 00 00 00                                       |....|\n"
        )
        assert mmf("dump", "bytes", "-s", "0xe", "-n", "5", "--json").lines == [{"offset": 14, "hex": "48656c6c6f"}]
        view.write_bytes(0, struct.pack("<2d", 0.5, -1.5))
        assert mmf("dump", "bytes", "--as", "double", "-n", 16).out.split() == ["00000000", "0.5", "-1.5"]
        size = opened(100)
        behind = mmf("dump", "bytes", "-s", size + 1)
        said = f"mmf dump: bytes: it has {size} bytes, and the offset {size + 1} is behind that"
        assert (behind.code, behind.said) == (1, said)


def test_dump_of_typed_maps(mmf: Tool, tag: str) -> None:
    with StructArray(Point, "points", capacity=5, lock_name=tag) as points:
        points.extend([Point(1, 2), Point(3, 4)])
        values = [each["value"] for each in mmf("dump", "points", "--as", "self", "--json").lines]
        assert values == [{"x": 1, "y": 2}, {"x": 3, "y": 4}]
        given = mmf("dump", "points", "--as", "test_cli_tools:Point", "-n", 8, "--json").lines
        assert given == [{"offset": 0, "value": {"x": 1, "y": 2}}]
    with MemoryMappedFile.create_new("untyped", 100):
        assert "give a TYPE" in mmf("dump", "untyped", "--as", "self").said


@pytest.mark.parametrize("type_", NAMES)
def test_each_type_is_written_and_read(mmf: Tool, type_: str) -> None:
    value = {
        "bool": "true",
        "char16": "ß",
        "decimal": "-12.50",
        "datetime": "2026-01-31T12:30:00",
        "timedelta": "1.5",
        "guid": "12345678-1234-5678-1234-567812345678",
        "float16": "0.5",
    }.get(type_, "42" if "u" in type_ or "f" in type_ else "-42")
    with MemoryMappedFile.create_new("typed", 100):
        has_order = type_[-1].isdigit()
        for spelled in (type_, type_ + "be")[: 1 + has_order]:
            assert mmf("set", "typed", 7, spelled, value).code == 0
            shown = mmf("get", "typed", 7, spelled).out.strip()
            assert shown.removesuffix(".0") == value


@pytest.mark.parametrize("type_", [Point, Order])
def test_structures_go_there_and_back(type_: Any) -> None:
    shape = shape_of(type_.layout.text)
    assert shape.size == type_.layout.size
    value = (
        Point(1, -2)
        if type_ is Point
        else Order(1, Decimal("2.50"), "three", "4", b"567", [0.5, 1e300], [Point(8, 9), Point(-1, 0)])
    )
    read = as_json(shape.read(bytes(value)))
    assert list(read) == list(value.to_dict())
    assert shape.write(json.dumps(read)) == bytes(value)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("int33", "is no type"),
        ("int32[0]", "at least one"),
        ("utf8", "needs its length"),
        ("{0 int32 x", "is no type"),
        ("{4 int32 x}4", "behind its end"),
        ("{0 int32 x}4 junk", "no part of a type"),
        ("{0 " * 40 + "int8 x" + " y}1" * 39 + "}1", "in each other"),
        ("int8" + "[1000000000]" * 4, "more than"),
        ("json:JSONDecoder", "no class derived"),
        ("no_such_module:X", "No module"),
        ("x" * 100_000, "longer"),
    ],
)
def test_types_that_are_none(text: str, reason: str) -> None:
    with pytest.raises(Failure, match=reason):
        shape_of(text)


def test_set_changes_that_and_nothing_else(mmf: Tool, tag: str) -> None:
    with MemoryMappedFile.create_new("target", 20) as map_, map_.create_view_accessor() as view:
        view.write_bytes(0, b"\xff" * 20)
        with contextlib.closing(Mutex(False, tag)):
            done = mmf("set", "target", 8, "int32", -5, "--lock", tag, "--json").lines
        assert done == [{"offset": 8, "type": "int32", "before": -1, "value": -5, "abandoned": False}]
        assert view.read_bytes(0, 20) == b"\xff" * 8 + b"\xfb\xff\xff\xff" + b"\xff" * 8
        for words in [
            ("target", opened(20) - 3, "int32", 1),
            ("target", 0, "int8", 128),
            ("target", 0, "int8", "x"),
            ("target", 0, "int16[2]", "[1]"),
            ("target", 0, "bool", "perhaps"),
            ("target", 0, "int32", 1, "--lock", tag),
            ("no such map", 0, "int32", 1),
        ]:
            refused = mmf("set", *words)
            assert (refused.code, refused.said[:9]) == (1, "mmf set: ")
        assert mmf("set", "target", 0, "int32", "--wrong").code == 2
        assert view.read_bytes(0, 8) == b"\xff" * 8


def test_a_mutex_of_the_dead_is_not_taken_silently(run: Callable[..., Any], tag: str) -> None:
    with MemoryMappedFile.create_new("guarded", 20), contextlib.closing(Mutex(False, tag)) as mutex:
        process = run(f"from memorymapped import *\nm = Mutex(False, {tag!r}); m.wait_one(); print('has it'); input()")
        line_with(process, "has it")
        process.kill()
        process.wait(LIMIT)
        refused = finished(*MMF, "set", "guarded", 0, "int32", 1, "--lock", tag)
        assert (refused.returncode, "its last owner died" in refused.stderr) == (1, True)
        told = []
        with mutex.recovering(lambda mutex: told.append(True)):
            assert told == [True]


def test_recover_goes_on_with_a_mutex_of_the_dead(run: Callable[..., Any], tag: str, tmp_path: Path) -> None:
    saved = tmp_path / "saved"
    with (
        MemoryMappedFile.create_new("guarded", 4) as map_,
        map_.create_view_accessor() as view,
        contextlib.closing(Mutex(False, tag)) as mutex,
    ):

        def abandon() -> None:
            code = f"from memorymapped import *\nm = Mutex(False, {tag!r}); m.wait_one(); print('has it'); input()"
            process = run(code)
            line_with(process, "has it")
            process.kill()
            process.wait(LIMIT)

        def went_on(*words: object) -> bool:
            done = finished(*MMF, *words, "--lock", tag, "--recover", "--json")
            assert done.returncode == 0
            abandoned: bool = json.loads(done.stdout)["abandoned"]
            assert done.stderr == (f"{tag}: its last owner died; this went on in spite of that\n" if abandoned else "")
            return abandoned

        def the_next_one_is_told() -> bool:
            told = []
            with mutex.recovering(lambda mutex: told.append(True)):
                return bool(told)

        abandon()
        for words in ("set", "guarded", 0, "int32", 1), ("save", "guarded", saved):
            refused = finished(*MMF, *words, "--lock", tag)
            assert (refused.returncode, "--recover goes on" in refused.stderr) == (1, True)
        assert (view.read_int32(0), saved.exists()) == (0, False)
        # What is only read is not mended: the next one is told, too.
        assert went_on("save", "guarded", saved)
        assert saved.read_bytes() == bytes(opened(4))
        assert went_on("set", "guarded", 0, "int32", 7)
        assert view.read_int32(0) == 7
        assert not went_on("set", "guarded", 0, "int32", 8)
        abandon()
        assert finished(*MMF, "load", saved, "guarded", "--lock", tag).returncode == 1
        assert went_on("load", saved, "guarded")
        assert view.read_int32(0) == 0
        assert not the_next_one_is_told()
        abandon()
        failing = "from memorymapped.cli.locking import *\nimport sys\nwith locked(sys.argv[1], recover=True): 1 / 0"
        assert "ZeroDivisionError" in finished(*PYTHON, "-c", failing, tag).stderr
        assert the_next_one_is_told()


@pytest.mark.parametrize("words", [("set", "X", 0, "int32", 1), ("save", "X", "new"), ("load", __file__, "X")])
def test_recover_needs_a_lock(mmf: Tool, words: tuple[object, ...]) -> None:
    with MemoryMappedFile.create_new("X", 100_000):
        said = mmf(*words, "--recover")
    assert (said.code, said.err.splitlines()[-1]) == (2, "Error: --recover is about the mutex of --lock")


def test_saved_and_loaded(mmf: Tool, tmp_path: Path) -> None:
    size = opened(10_000)
    data = os.urandom(size)
    file = tmp_path / "saved"
    with MemoryMappedFile.create_new("one", size) as map_, map_.create_view_accessor() as view:
        view.write_bytes(0, data)
        assert mmf("save", "one", file).code == 0
        assert file.read_bytes() == data
        assert "--force" in mmf("save", "one", file).said
        assert mmf("save", "one", file, "--force", "-s", 10, "-n", 20).code == 0
        assert file.read_bytes() == data[10:30]
        assert sorted(os.listdir(tmp_path)) == ["saved"]
        assert mmf("load", file, "one", "-s", size - 20, "--json").lines == [
            {"file": str(file), "target": "one", "bytes": 20}
        ]
        assert view.read_bytes(0, size) == data[:-20] + data[10:30]
        assert f"{size + 1} are needed" in mmf("load", file, "one", "-s", size - 19).said
    assert mmf("load", file, "gone").code == 1


def test_what_is_saved_over_stays_what_it_is(mmf: Tool, tmp_path: Path) -> None:
    fifo, real, link = tmp_path / "fifo", tmp_path / "real", tmp_path / "link"
    os.mkfifo(fifo)
    real.write_bytes(b"before")
    real.chmod(0o600)
    link.symlink_to(real)
    with MemoryMappedFile.create_new("one", 4) as map_, map_.create_view_accessor() as view:
        view.write_bytes(0, b"1234")
        assert mmf("save", "one", link, "--force").code == 0
        assert (link.is_symlink(), real.read_bytes(), stat.S_IMODE(real.stat().st_mode)) == (True, b"1234", 0o600)
        assert "a directory" in mmf("save", "one", tmp_path, "--force").said
        with started("cat", fifo) as reader:
            assert mmf("save", "one", fifo, "--force").code == 0
            assert reader.communicate(timeout=LIMIT) == ("1234", "")
        assert stat.S_ISFIFO(fifo.stat().st_mode)
        with started("sh", "-c", f"echo abc > {fifo}"):
            assert mmf("load", fifo, "one", "--json").lines[0]["bytes"] == 4
        assert view.read_bytes(0, 4) == b"abc\n"
        assert "are needed" in mmf("load", "/proc/self/status", "one").said


def test_load_makes_and_holds_a_map(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"held")
    with started(*MMF, "load", file, "made", "--create", "--hold") as process:
        line_with(process, "made")
        with MemoryMappedFile.open_existing("made") as map_, map_.create_view_accessor() as view:
            assert view.read_bytes(0, 4) == b"held"
        assert process.communicate(timeout=LIMIT) == ("", "")
        assert process.returncode == 0


# -- segments


def test_segments(mmf: Tool) -> None:
    with SegmentFile.create_new(10_000, "segments") as segments:
        segments.append("first")
        assert mmf("segments", "segments", "append", "zweites ß", "third").out == "1\n2\n"
        assert [segments[number] for number in range(3)] == ["first", "zweites ß", "third"]
        rows = mmf("segments", "segments", "--json").lines
        assert [(row["segment"], row["bytes"]) for row in rows] == [(0, 10), (1, 18), (2, 10)]
        assert mmf("segments", "segments", "show", 1, -1).out == "zweites ß\nthird\n"
        assert mmf("segments", "segments", "follow", "--last", 1, "--timeout", 0).out == "third\n"
        assert "3 segments" in mmf("segments", "segments", "show", 3).said
        assert mmf("segments", "segments", "list", "more").code == 2


def test_segments_are_followed_as_they_come() -> None:
    with (
        SegmentFile.create_new(10_000, "followed") as segments,
        started(*MMF, "segments", "followed", "follow", "--json") as process,
    ):
        for number in range(3):
            segments.append(f"number {number}")
            assert json.loads(line_with(process, "segment"))["text"] == f"number {number}"
        if WINDOWS:  # nobody can press Ctrl-C
            return
        process.send_signal(signal.SIGINT)
        process.wait(LIMIT)
        assert process.returncode == -signal.SIGINT


def test_a_damaged_segment_file(mmf: Tool, tmp_path: Path) -> None:
    file = tmp_path / "damaged"
    file.write_bytes(b"\x02\0\0\0hi" + b"\xff" * 100)
    damaged = mmf("segments", file, "--encoding", "bytes", "--json")
    assert (damaged.code, damaged.lines) == (1, [{"segment": 0, "offset": 0, "bytes": 2}])
    assert "the length -1 at 6 cannot be" in damaged.err


# -- lock, wait, signal


def test_lock_is_had_while_the_command_runs(tag: str) -> None:
    with started(*MMF, "lock", tag, "--", *CAT) as process, contextlib.closing(Mutex(False, tag)) as mutex:
        until(lambda: mutex.statistics().owner_process == process.pid, "it owns the mutex")
        assert not mutex.wait_one(0)
        late = finished(*MMF, "lock", tag, "--timeout", "0.05", "--", *SAYING, "'no'")
        assert (late.returncode, late.stdout) == (124, "")
        assert f"process {process.pid} owns it" in late.stderr
        assert process.communicate("through\n", timeout=LIMIT) == ("through\n", "")
        assert mutex.wait_one(0)
        mutex.release_mutex()


def test_exit_codes_of_lock(tag: str) -> None:
    expected = [([*PYTHON, "-c", "raise SystemExit(7)"], 7), (["./no such"], 127)]
    if not WINDOWS:
        expected += [(["sh", "-c", "kill -9 $$"], 137), (["/"], 126)]
    for words, code in expected:
        assert finished(*MMF, "lock", tag, "--", *words).returncode == code


def test_a_lock_whose_owner_died(run: Callable[..., Any], tag: str) -> None:
    with contextlib.closing(Mutex(False, tag)):
        for _ in range(2):  # the first refusal gives it back as it was
            process = run(f"from memorymapped import *\nMutex(False, {tag!r}).wait_one(); print('has it'); input()")
            line_with(process, "has it")
            process.kill()
            process.wait(LIMIT)
            refused = finished(*MMF, "lock", tag, "--", *SAYING, "'no'")
            assert (refused.returncode, refused.stdout) == (125, "")
            assert "its last owner died" in refused.stderr
            assert finished(*MMF, "lock", tag, "--recover", "--", "./no such").returncode == 127  # which mends nothing
            done = finished(*MMF, "lock", tag, "--recover", "--", *SAYING, "__import__('os').environ['MMF_ABANDONED']")
            assert (done.returncode, done.stdout) == (0, "1\n")


def test_signals_reach_the_command_before_the_lock_is_given_back(tag: str) -> None:
    script = "trap 'echo ended; exit 3' TERM; echo ready; while kill -0 $PPID; do sleep 0.01; done"
    with started(*MMF, "lock", tag, "--", "sh", "-c", script) as process:
        line_with(process, "ready")
        process.terminate()
        assert process.communicate(timeout=LIMIT) == ("ended\n", "")
        assert process.returncode == 3


def test_the_command_ends_with_a_lock_that_is_killed(tag: str) -> None:
    with contextlib.closing(Mutex(False, tag)) as mutex:
        sleeping = "import os, time; print(os.getpid(), flush=True); time.sleep(1000)"
        with started(*MMF, "lock", tag, "--", *PYTHON, "-c", sleeping) as process:
            assert process.stdout is not None
            child = int(process.stdout.readline())
            process.kill()
            process.wait(LIMIT)
            until(lambda: start_of(child) is None or state(child) == "Z", "the command has ended")
        with pytest.raises(AbandonedMutexError):
            mutex.wait_one(LIMIT)
        mutex.release_mutex()


def test_wait_and_signal(mmf: Tool) -> None:
    with contextlib.closing(EventWaitHandle(False, EventResetMode.AUTO_RESET, "event")) as event:
        late = mmf("wait", "event", "--timeout", 0.01)
        assert (late.code, late.said) == (124, "mmf wait: event: not signalled within 0.01 s")
        with started(*MMF, "wait", "event", "--json") as waiter:
            until(lambda: event.statistics().waiters == 1, "it waits")
            assert mmf("signal", "event").code == 0
            assert json.loads(waiter.communicate(timeout=LIMIT)[0])["signalled"] is True
        assert mmf("signal", "event", "--count", 2).code == 2
        assert mmf("signal", "event").code == mmf("signal", "event", "--reset").code == 0
        assert not event.wait_one(0)
    with contextlib.closing(Semaphore(0, 3, "semaphore")) as semaphore:
        assert mmf("signal", "semaphore", "--count", 2, "--json").lines[0]["before"] == 0
        assert mmf("wait", "semaphore").code == 0
        assert semaphore.wait_one(0)
        assert "3" in mmf("signal", "semaphore", "--count", 4).said
    assert mmf("signal", "event").code == mmf("wait", "event").code == 1


# -- what can go wrong


@pytest.mark.parametrize("command", ["dump", "info", "segments"])
def test_what_is_not_there(mmf: Tool, command: str, tmp_path: Path) -> None:
    for given in ("no such map", tmp_path, tmp_path / "no file", "Global\\no", "a\\b"):
        refused = mmf(command, given)
        assert refused.code == 1
        assert refused.said.startswith(f"mmf {command}: ")


def test_a_file_without_rights(mmf: Tool, tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_bytes(b"x")
    file.chmod(0)
    with given_up():
        refused = mmf("dump", file)
    assert "permission denied" in refused.said


def test_a_file_that_is_truncated_while_it_is_read(tmp_path: Path) -> None:
    file = tmp_path / "cut"
    file.write_bytes(os.urandom(1 << 24))
    with started(*MMF, "dump", file) as process:
        assert process.stdout is not None
        process.stdout.read(100)  # the pipe is full soon
        os.truncate(file, 1 << 20)
        _, err = process.communicate(timeout=LIMIT)
        assert process.returncode == 1
        assert err == f"mmf dump: {file}: it was truncated to 1048576 bytes meanwhile\n"


@pytest.mark.parametrize("command", [["dump"], ["segments"], ["save"]])
def test_a_pipe_that_closes_early(command: list[str], tmp_path: Path) -> None:
    file = tmp_path / "large"
    file.write_bytes(b"\x01\0\0\0x" * 200_000)
    words = [*command, str(file), *(["-"] if command == ["save"] else [])]
    with started(*MMF, *words) as process:
        assert process.stdout is not None
        process.stdout.read(1)
        process.stdout.close()
        process.wait(LIMIT)
        assert process.stderr is not None
        assert (process.returncode, process.stderr.read()) == (1, "")


def test_a_narrow_terminal_cuts_and_a_pipe_does_not(tag: str) -> None:
    name = "n" * 100
    with MemoryMappedFile.create_new(name, 10):
        with Terminal(*MMF, "ls", name, columns=60) as terminal:
            shown = plain(terminal.read())
            assert terminal.wait() == 0
        assert all(len(line) <= 60 for line in shown.splitlines())
        assert "…" in shown
        assert name in finished(*MMF, "ls", name).stdout


@pytest.mark.parametrize("command", [name for name in COMMANDS if name not in ("demo", "cp")])
def test_help_has_examples(mmf: Tool, command: str) -> None:
    done = mmf(command, "--help")
    assert done.code == 0
    assert "Examples:" in done.out
    assert f"mmf {command}" in done.out
    assert "--json" in done.out or command.startswith("tasks")

# SPDX-License-Identifier: MIT
"""The tools of `mmf` in what they do not choose: objects that go while they are looked at, contents that are made to
harm, closed standard streams. One line says what is wrong, and the exit code says it too."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import struct
import subprocess
from pathlib import Path
from typing import Any

import pytest
from privileges import given_up
from programs import LIMIT, MMF, PYTHON, Terminal, Tool, finished, line_with, started
from root import ROOT
from support.here import BARE, opened, ready

from memorymapped import FileMode, MemoryMappedFile, SegmentFile, SharedMemory
from memorymapped.cli import dump, info, picture, save
from memorymapped.cli.ending import Failure
from memorymapped.cli.shapes import shape_of
from memorymapped.cli.targets import find
from memorymapped.cli.watching import Watch
from memorymapped.cli.words import value_in_words
from memorymapped.structs import Struct, int64
from memorymapped.system.survey import PAGES_TOLD


class One(Struct):
    x: int64


# -- what goes, or becomes shorter, while it is looked at


def test_info_of_a_file_map_whose_file_was_removed(mmf: Tool, tmp_path: Path) -> None:
    file = tmp_path / "file"
    with MemoryMappedFile.create_from_file(file, FileMode.OPEN_OR_CREATE, "named", 10_000):
        file.unlink()
        (row,) = map(json.loads, mmf("info", "named", "--json").out.splitlines())
        assert (row["name"], row["target"]) == (f"{BARE}\\named", str(file))
        assert row["unreadable"] == f"its file {file} is not there any more"
        assert os.getpid() in [holder["pid"] for holder in row["holders"]]
        assert row["unreadable"] in mmf("info", "named").out
        assert mmf("dump", "named") == (1, "", f"mmf dump: named: {row['unreadable']}\n")


@pytest.mark.parametrize("what", ["removed", "truncated", "extended"])
def test_info_of_a_file_that_changes_meanwhile(
    mmf: Tool, tmp_path: Path, what: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 100_000)

    def change() -> None:
        os.unlink(file) if what == "removed" else os.truncate(file, 5000 if what == "truncated" else 200_000)

    at = {"removed": "the first look", "truncated": "the picture", "extended": "the picture"}[what]
    if at == "the first look":
        monkeypatch.setattr(info, "find", lambda given: (find(given), change())[0])
    else:
        real = info.mapped_by
        monkeypatch.setattr(info, "mapped_by", lambda *which: (real(*which), change())[0])
    said = mmf("info", file)
    if what == "extended":
        assert said.code == 0
    else:
        why = "it was removed meanwhile" if what == "removed" else "it was truncated to 5000 bytes meanwhile"
        assert said == (1, "", f"mmf info: {file}: {why}\n")


def test_info_of_a_map_that_ends_meanwhile(mmf: Tool, monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.ExitStack() as held:
        held.enter_context(MemoryMappedFile.create_new("short", 10_000))
        real = info.survey
        monkeypatch.setattr(info, "survey", lambda: (real(), held.close())[0])
        said = mmf("info", "short")
    assert (said.code, said.err) == (0, "")
    assert "unreadable  nobody holds it any more" in said.out


def test_info_of_what_this_user_may_not_read(mmf: Tool) -> None:
    with MemoryMappedFile.create_new("Global\\private", 10_000) as map_:
        os.chmod(map_.path or "", 0)
        with given_up():
            (row,) = map(json.loads, mmf("info", "Global\\private", "--json").out.splitlines())
        assert (row["kind"], row["size"], row["unreadable"]) == ("map", 10_000, "permission denied")


def test_names_that_look_like_paths(mmf: Tool) -> None:
    with MemoryMappedFile.create_new(".hidden", 100), MemoryMappedFile.create_new("/slash", 200):
        for name, size in (".hidden", 100), ("/slash", 200):
            assert json.loads(mmf("info", name, "--json").out)["size"] == opened(size)
            assert mmf("dump", name, "--json").code == 0


def test_a_typed_map_that_says_an_impossible_length(mmf: Tool, tag: str, tmp_path: Path) -> None:
    with SharedMemory(One, "source", lock_name=tag) as shared:
        shared.data = One(7)
        source = find("source")
        with source.opened() as bytes_:
            data = bytearray(bytes_.read(0, source.size).rstrip(b"\0"))
    (control,) = struct.unpack_from("<Q", data, len(data) - 16)
    struct.pack_into("<Q", data, control + 16, 0)
    file = tmp_path / "zero"
    file.write_bytes(data)
    for words in (["watch", file, "--as", "self", "--duration", 0], ["dump", file, "--as", "self"]):
        said = mmf(*words)
        assert said == (1, "", f"mmf {words[0]}: {file}: it does not say what it holds: give a TYPE\n")


# -- numbers and names that are none


def test_a_lock_without_a_name_is_none(mmf: Tool) -> None:
    for words, code in (("lock", "", "--", "echo", "unguarded"), 125), (("set", "map", 0, "int8", 1, "--lock", ""), 1):
        with MemoryMappedFile.create_new("map", 10):
            said = mmf(*words)
        assert (said.code, said.said) == (code, f"mmf {words[0]}: a mutex without a name guards nothing")
    assert mmf("wait", "").said.startswith("mmf wait: '': ")


@pytest.mark.parametrize(
    "words",
    [
        ("watch", "map", "--interval"),
        ("watch", "map", "--duration"),
        ("top", "--interval"),
        ("top", "--duration"),
        ("segments", "map", "follow", "--timeout"),
        ("wait", "map", "--timeout"),
        ("lock", "map", "--timeout"),
    ],
)
def test_times_that_are_none(mmf: Tool, words: tuple[str, ...]) -> None:
    with MemoryMappedFile.create_new("map", 10):
        for wrong in "nan", "-1", "-inf", "soon":
            said = mmf(*words, wrong, *(["--", "true"] if words[0] == "lock" else []))
            assert (said.code, said.out, "Invalid value for" in said.err) == (2, "", True)


@pytest.mark.parametrize("seconds", ["inf", "1e300", "1e8"])
def test_times_that_are_long(tag: str, seconds: str) -> None:
    assert (
        finished(*MMF, "lock", tag, "--timeout", seconds, "--", *PYTHON, "-c", "print('has it')").stdout == "has it\n"
    )
    with started(*MMF, "top", "--interval", seconds, "--json") as process:
        line_with(process, "objects")
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.close()  # which ends the wait
        process.wait(LIMIT)
        assert (process.returncode, process.stderr.read()) == (1, "")


# -- types of the user's own


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("x = 1\n1 / 0", "mod.py, line 2: ZeroDivisionError: division by zero"),
        ("def", "SyntaxError: invalid syntax (mod.py, line 1)"),
        ("raise SystemExit(3)", "mod.py, line 1: SystemExit: 3"),
        ("import sys; sys.path.clear(); x", "NameError"),
        ("Mine = int", "no class derived"),
    ],
)
def test_a_module_that_cannot_be_imported(tmp_path: Path, code: str, why: str) -> None:
    (tmp_path / "mod.py").write_text(code)
    (tmp_path / "data").write_bytes(bytes(100))
    said = finished(*MMF, "dump", "data", "--as", "mod:Mine", cwd=tmp_path)
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert said.stderr.startswith("mmf dump: mod:Mine")
    assert why in said.stderr


@pytest.mark.parametrize("text", ["..x:Y", ".:Y", "x:", ":Y", "a..b:Y", "x:Y.", "x y:Z"])
def test_what_is_no_module_and_class(text: str) -> None:
    with pytest.raises(Failure, match="is no MODULE:CLASS"):
        shape_of(text)


# -- closed standard streams, and what nobody reads


def closed(fds: str, *words: object) -> subprocess.CompletedProcess[str]:
    """Runs a command of which the shell has closed these streams: `0<&-`, `1>&-`."""
    return finished("sh", "-c", f'exec "$@" {fds}', "sh", *MMF, *words)


@pytest.mark.parametrize(
    "words",
    [
        ["save", "map", "-"],
        ["top", "--count", 1],
        ["watch", "map", "--duration", 0],
        ["segments", "map", "follow", "--timeout", 0],
        ["segments", "map", "show", "0", "--encoding", "bytes"],
    ],
)
def test_a_closed_output(words: list[object]) -> None:
    with SegmentFile.create_new(100, "map") as segments:
        segments.append("x")
        said = closed("1>&-", *words)
    assert (said.returncode, said.stderr) == (1, f"mmf {words[0]}: the standard output is closed\n")


@pytest.mark.parametrize(
    "words",
    [
        ["load", "-", "map"],
        ["load", __file__, "new", "--create", "--hold"],
        ["segments", "map", "append", "-"],
        ["tasks", "import", "-"],
    ],
)
def test_a_closed_input(words: list[object]) -> None:
    with SegmentFile.create_new(100, "map"):
        said = closed("0<&-", *words)
    assert (said.returncode, said.stdout, said.stderr.count("\n")) == (1, "", 1)
    assert "the standard input is closed" in said.stderr


def test_follow_ends_with_the_pipe() -> None:
    with (
        SegmentFile.create_new(1000, "followed") as segments,
        started(*MMF, "segments", "followed", "follow") as process,
    ):
        segments.append("first")
        line_with(process, "first")
        assert process.stdout is not None
        process.stdout.close()
        assert process.wait(LIMIT) == 1
        assert process.stderr is not None
        assert process.stderr.read() == ""


# -- locks

DIES_OF_CTRL_C = """
import signal
signal.signal(signal.SIGINT, signal.SIG_DFL)
print("started", flush=True)
signal.pause()
"""


def test_ctrl_c_ends_a_loop_of_the_shell(tag: str) -> None:
    command = [*MMF, "lock", tag, "--", *PYTHON, "-c", DIES_OF_CTRL_C]
    loop = f"for i in 1 2 3; do echo turn $i; {shlex.join(command)}; done; echo behind"
    with Terminal("bash", "-c", loop) as terminal:
        terminal.read("started")
        terminal.type(b"\x03")
        shown = terminal.read()
        assert terminal.wait() == -signal.SIGINT
    assert "turn 2" not in shown
    assert "behind" not in shown


def test_a_command_that_takes_ctrl_c_goes_on(tag: str) -> None:
    script = "trap 'echo caught; exit 3' INT; echo started; while :; do sleep 0.01; done"
    with Terminal(*MMF, "lock", tag, "--", "sh", "-c", script) as terminal:
        terminal.read("started")
        terminal.type(b"\x03")
        assert "caught" in terminal.read()
        assert terminal.wait() == 3


def test_a_command_ended_by_a_signal_of_its_own(tag: str) -> None:
    said = finished(*MMF, "lock", tag, "--", "sh", "-c", "kill -INT $$")
    assert (said.returncode, said.stderr) == (130, "")


def test_only_the_command_of_an_abandoned_mutex_is_told(tag: str) -> None:
    environment = {**os.environ, "MMF_ABANDONED": "1"}
    code = "import os; print('MMF_ABANDONED' in os.environ)"
    said = finished(*MMF, "lock", tag, "--", *PYTHON, "-c", code, env=environment)
    assert said.stdout == "False\n"


# -- contents that would do something to a terminal

EVIL = "\x9b31mA\u202eB\x1b[2J\x7f"
HARMFUL = ("\x9b", "\u202e", "\x1b[2J", "\x7f")


@pytest.mark.parametrize("words", [["dump", "map", "--as", "utf16[16]", "-n", 32], ["get", "map", 0, "utf16[16]"]])
def test_contents_do_nothing_to_a_terminal(words: list[object]) -> None:
    with MemoryMappedFile.create_new("map", 32) as map_, map_.create_view_accessor() as view:
        view.write_bytes(0, EVIL.encode("utf-16-le"))
        with Terminal(*MMF, *words, env={"TERM": "dumb"}) as terminal:
            shown = terminal.read()
        assert "31mA" in shown
        assert not [each for each in HARMFUL if each in shown]
        if words[0] == "get":
            assert finished(*MMF, *words).stdout == EVIL + "\n"  # a program gets what there is
        else:
            assert not [each for each in HARMFUL if each in finished(*MMF, *words).stdout]


@pytest.mark.parametrize("words", [["show", 0], ["follow", "--timeout", 0]])
def test_segments_do_nothing_to_a_terminal(words: list[object]) -> None:
    with SegmentFile.create_new(1000, "segments") as segments:
        segments.append("lines\n\tß" + EVIL)
        with Terminal(*MMF, "segments", "segments", *words, env={"TERM": "dumb"}) as terminal:
            shown = terminal.read()
        assert shown.startswith("lines\r\n")
        assert "ß" in shown
        assert not [each for each in HARMFUL if each in shown]
        assert finished(*MMF, "segments", "segments", *words).stdout == "lines\n\tß" + EVIL + "\n"


def test_values_are_printable_and_still_json() -> None:
    assert value_in_words("plain ß") == "plain ß"
    for value in EVIL, [EVIL], {"x": EVIL}:
        shown = value_in_words(value)
        assert shown.isprintable()
        assert json.loads(shown) == value


# -- names


def test_clean_says_that_there_is_nothing_of_a_name(mmf: Tool) -> None:
    for more in (), ("--json",), ("--dry-run",):
        said = mmf("clean", "no such", *more)
        assert (said.code, said.err) == (1, f"mmf clean: {BARE}\\no such: there is no such object\n")


def test_what_ls_shows_can_be_given_to_every_command(mmf: Tool) -> None:
    file = ROOT / "folder" / "foreign"
    file.parent.mkdir()
    try:
        file.write_bytes(b"x" * 100)
        (row,) = (line for line in mmf("ls", "--all").out.splitlines() if "foreign" in line)
        name = row.split()[0]
        for command in "ls", "info", "dump":
            assert mmf(command, name).code == 0
        assert str(file) in mmf("top", "--all", "--count", 1).out
    finally:
        file.unlink()
        file.parent.rmdir()


def test_words_behind_two_dashes_are_no_options(mmf: Tool) -> None:
    with MemoryMappedFile.create_new("-x", 100), SegmentFile.create_new(100, "segments") as segments:
        assert mmf("set", "--", "-x", 0, "int8", 5).code == 0
        assert mmf("get", "--", "-x", 0, "int8").out == "5\n"
        assert mmf("set", "--json", "--", "-x", 0, "utf8[8]", "-abc").code == 0
        assert mmf("set", "--", "-x", 0, "int8", -1).code == 0
        assert mmf("segments", "segments", "append", "--", "- item").code == 0
        assert list(segments) == ["- item"]
        for words in ("set", "-x", 0, "int8", 5), ("segments", "segments", "append", "-item"):
            assert mmf(*words).code == 2


def test_an_empty_segment_is_refused(mmf: Tool) -> None:
    with SegmentFile.create_new(100, "segments") as segments:
        said = mmf("segments", "segments", "append", "one", "")
        assert (said.code, len(segments)) == (2, 0)
        assert "never empty" in said.err


def test_info_does_not_say_that_any_map_is_a_segment_file(mmf: Tool, tmp_path: Path) -> None:
    with MemoryMappedFile.create_new("map", 8192) as map_, map_.create_view_accessor() as view:
        view.write_int32(0, 1)
        out = mmf("info", "map").out
    assert "if it is a segment file: 1 segment, up to byte 5\n" in out
    if not PAGES_TOLD:
        return
    assert "1 of 2 pages in memory; for others memory is reserved" in out
    file = tmp_path / "file"
    file.write_bytes(bytes(8192))
    assert "2 of 2 pages in memory\n" in mmf("info", file).out


def test_a_change_that_is_told_is_not_told_again_as_sampled(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 20_000)
    with contextlib.closing(Watch(find(str(file)))) as watch, open(file, "r+b", buffering=0) as written:
        watch.window(5, 9)
        watch.sample_without(5, 9)
        watch.sample(10)
        for at, data, cells in (5, b"aaaa", []), (9, b"b", [0]), (4, b"c", [0]), (4, b"deeeef", [0]), (4096, b"g", [1]):
            written.seek(at)
            written.write(data)
            assert watch.sample(10) == cells


def test_watch_tells_a_change_once(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"x" * 20_000)
    with (
        started(*MMF, "watch", file, "-n", 4, "--json", "-i", 0.02) as process,
        open(file, "r+b", buffering=0) as written,
    ):
        told = []
        for number in range(100, 200):
            written.seek(3)
            written.write(bytes([number]))
            assert process.stdout is not None
            if not ready(process.stdout.fileno(), 0.1):
                continue
            told.append(json.loads(process.stdout.readline()))
            if len(told) == 5:
                break
    assert [each.get("event") for each in told] == [None] * 5


# -- large and sparse


def test_saved_holes_stay_holes(mmf: Tool, tmp_path: Path) -> None:
    source, saved = tmp_path / "source", tmp_path / "saved"
    with open(source, "wb") as file:
        for at, data in (0, b"first"), (20 << 20, os.urandom(10 << 20)), (50 << 20, b"last"):
            file.seek(at)
            file.write(data)
        file.truncate(100 << 20)
    for offset, length in (0, 100 << 20), (3, 60 << 20), (40 << 20, 5 << 20), (25 << 20, 75 << 20):
        assert mmf("save", source, saved, "--force", "-s", offset, "-n", length).code == 0
        with open(source, "rb") as a, open(saved, "rb") as b:
            a.seek(offset)
            assert a.read(length) == b.read()
        assert saved.stat().st_blocks * 512 < 12 << 20


@pytest.mark.parametrize(
    ("module", "words"), [(save, ["new"]), (picture, []), (dump, [])], ids=["saved", "pictured", "dumped"]
)
def test_what_is_truncated_is_no_hole(
    mmf: Tool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: Any, words: list[str]
) -> None:
    file, command = tmp_path / "file", {save: "save", picture: "info", dump: "dump"}[module]
    file.write_bytes(b"x" * 10_000)
    real = module.data_range
    monkeypatch.setattr(picture, "EXACT", 0)
    monkeypatch.setattr(module, "data_range", lambda *where: (os.truncate(file, 0), real(*where))[1])
    said = mmf(command, file, *(tmp_path / word for word in words))
    assert said == (1, "", f"mmf {command}: {file}: it was truncated to 0 bytes meanwhile\n")
    assert os.listdir(tmp_path) == ["file"]

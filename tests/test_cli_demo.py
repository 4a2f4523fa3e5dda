# SPDX-License-Identifier: MIT
"""`mmf demo`: what it tells has happened, its exit code says whether, and nothing is left of it."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from campaigns import campaign
from programs import LIMIT, MMF, PYTHON, Terminal, alive, finished, line_with, plain, started, state, until
from support.here import WINDOWS

from memorymapped import MemoryMappedFile, Mutex

QUICK = "from memorymapped.cli import main, scenes; import sys; scenes.MEASURE_FOR = 0.1; "
RUN = "sys.exit(main(['demo', *sys.argv[1:]]))"
KILLED = "TerminateProcess" if WINDOWS else "signal 9"
TRUNCATES = "cannot truncate it while it is mapped" if WINDOWS else "truncates it to 4096 bytes"
REFUSED = "PermissionError: " if WINDOWS else "MemoryFaultError: .*truncated to 4096 bytes"
DEMO = [*PYTHON, "-c", QUICK + RUN, "--size", "2"]

# It stops itself when it has told of what the last argument says.
STOPPING = """
from memorymapped.cli import telling
import os, signal
moment = sys.argv.pop()
def stopping(saw):
    def told(self, who, what):
        saw(self, who, what)
        if moment in what:
            os.kill(os.getpid(), signal.SIGSTOP)
    return told
for teller in (telling.Plain, telling.Rich):
    teller.saw = stopping(teller.saw)
"""

# In the middle of each step: children run, or the large file is there.
MOMENTS = ["creates the map", "makes a file", "truncates it", "hold the map", "asleep in the kernel"]


@pytest.fixture
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files; empty at the end of each test."""
    folder = tmp_path / "temporary"
    folder.mkdir()
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(folder))
    yield folder
    assert os.listdir(folder) == [], "the demo left files behind"


def pids(said: str) -> list[int]:
    """The processes that are told of."""
    return sorted({int(pid) for pid in re.findall(r"process (\d+)", said)})


def stopping(moment: str) -> list[str]:
    """The command of a demo that stops at some moment."""
    return [*PYTHON, "-c", QUICK + STOPPING + RUN, "--size", "2", moment]


def stopped(pid: int) -> list[int]:
    """Waits until it has stopped; the processes that it has started and not ended by then."""
    until(lambda: state(pid) == "T", "the demo has stopped")
    return children_of(pid)


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def check(said: str) -> None:
    """That the story is complete and consistent."""
    first, second, third, fourth, fifth = re.split(r"^\d/5  .*\n", said, flags=re.MULTILINE)[1:]

    written = re.findall(r"process (\d+)\s+writes (.+)", first)
    read = re.findall(r"process (\d+)\s+reads\s+(.+)", first)
    (writer, values), (answerer, answers) = written
    assert read == [(answerer, values), (writer, answers)]
    assert writer != answerer
    assert values != answers
    assert "int32" in values
    assert f"'hello from {writer}'" in values

    speeds = re.findall(r"^  (.+?)\s+([\d,]+)\s+([\d,]+)(?:\s+([\d.]+) x as fast)?$", second, re.MULTILINE)
    titles = [title for title, *_ in speeds]
    assert [title.split(":")[0] for title in titles] == [
        "mapped",
        "mapped",
        "file.seek(p), file.read(8)",
        *["os.pread(fd, 8, p)"] * hasattr(os, "pread"),
    ]
    rates = [int(rate.replace(",", "")) for _, rate, _, _ in speeds]
    for (_, _, _, ratio), rate in zip(speeds[2:], rates[2:], strict=True):
        assert float(ratio) == pytest.approx(rates[0] / rate, abs=0.06)
    assert "the same values" in second

    (reader,) = set(re.findall(r"process (\d+)\s+(?:maps|reads|goes on)", third))
    (other,) = re.findall(rf"process (\d+)\s+{TRUNCATES}", third)
    assert reader != other
    assert re.search(REFUSED, third)
    assert third.index(REFUSED.partition(":")[0]) < third.index("goes on: reads")

    held = re.search(r"hold the map '(.*)': (\d+), (\d+), (\d+)", fourth)
    assert held
    assert re.findall(rf"process (\d+)\s+is killed: {KILLED}", fourth) == list(held.groups()[1:])
    assert re.search(rf"opens it while {held[4]} holds it: reads \d+, as {held[2]} wrote it", fourth)
    assert re.search(rf"FileNotFoundError: .*{held[1]}", fourth)
    assert "creates it anew: 4096 bytes, all zero" in fourth

    (owner,) = re.findall(r"process (\d+)\s+owns the mutex", fifth)
    (waiter,) = re.findall(r"process (\d+)\s+waits for it", fifth)
    assert owner != waiter
    assert re.search(rf"process {owner}\s+is killed: {KILLED}", fifth)
    assert re.search(rf"process {waiter}\s+owns it, \d+\.\d\d ms after the kill", fifth)
    assert re.search(rf"AbandonedMutexError: .*abandoned by process {owner};", fifth)
    assert re.search(r"this process\s+takes it", fifth)
    assert re.search(r"^All 5 steps were seen, in \d+\.\d s\.$", fifth, re.MULTILINE)


def test_the_demo_as_it_is_shows_everything(temporary: Path) -> None:
    program = finished(*MMF, "demo", "--size", "64")
    assert (program.returncode, program.stderr) == (0, "")
    check(program.stdout)
    assert "makes a file of 64 MB" in program.stdout
    assert "\x1b" not in program.stdout
    assert WINDOWS or not any(map(alive, pids(program.stdout)))


def test_programs_are_told_the_same(temporary: Path) -> None:
    program = finished(*DEMO, "--json")
    assert (program.returncode, program.stderr) == (0, "")
    lines = [json.loads(line) for line in program.stdout.splitlines()]
    assert [line["step"] for line in lines if "title" in line] == [1, 2, 3, 4, 5]
    assert {line["step"] for line in lines if "saw" in line} == {1, 2, 3, 4, 5}
    assert any(REFUSED.partition(":")[0] in line["saw"] for line in lines if "saw" in line)
    assert all(set(line) <= {"step", "of", "title", "who", "saw", "figures", "failed", "done"} for line in lines)
    (figures,) = [line["figures"] for line in lines if "figures" in line]
    assert len(figures) > 1
    assert "All 5 steps were seen" in lines[-1]["done"]


@pytest.mark.parametrize("option", [[], ["--file"]], ids=["argument", "option"])
def test_a_file_of_the_user_is_read_and_not_changed(option: list[str], temporary: Path, tmp_path: Path) -> None:
    file = tmp_path / "mine.dat"
    content = os.urandom(300_003)
    file.write_bytes(content)
    file.chmod(0o400)
    before = file.stat()
    program = finished(*PYTHON, "-c", QUICK + RUN, *option, file)
    assert (program.returncode, program.stderr) == (0, "")
    check(program.stdout)
    assert f"opens {file}" in program.stdout
    assert f"maps its 300,003 bytes{'' if WINDOWS else ', 100% in memory'}" in program.stdout
    assert file.read_bytes() == content
    assert file.stat().st_mtime_ns == before.st_mtime_ns


def test_a_file_that_cannot_be_used_is_told_before_anything_starts(tmp_path: Path) -> None:
    (tmp_path / "small").write_bytes(b"1234567")
    wrong = [("missing", "" if WINDOWS else "No such file"), (".", "no regular file"), ("small", "7 bytes")]
    if not WINDOWS:
        os.mkfifo(tmp_path / "fifo")
        wrong.append(("fifo", "no regular"))
    for name, said in wrong:
        program = finished(*DEMO[:-2], "--file", name, cwd=tmp_path)
        assert (program.returncode, program.stdout) == (1, "")
        assert program.stderr.startswith(f"mmf demo: {name}: ")
        assert said in program.stderr
        assert len(program.stderr.splitlines()) == 1


@pytest.mark.parametrize("columns", [80, pytest.param(120, marks=pytest.mark.campaign)])
def test_on_a_terminal_it_fits_the_width_and_tells_the_same(columns: int, temporary: Path) -> None:
    with Terminal(*DEMO, columns=columns) as terminal:
        shown = terminal.read()
        assert terminal.wait() == 0
    assert "\x1b[" in shown, "no colours"
    lines = plain(shown).replace("\r", "\n").splitlines()
    assert max(map(len, lines)) <= columns
    words = " ".join(plain(shown).split())
    for what in ("2/5 A large file, read at random places", "MemoryFaultError", "x as fast", "All 5 steps were seen"):
        assert what in words
    if columns == 120:
        assert re.search(
            r"process \d+ +writes int64 \d+, single [\d.]+, text 'hello from \d+'\s*$", plain(shown), re.MULTILINE
        )


def test_a_step_that_fails_is_named_and_the_others_are_shown(temporary: Path) -> None:
    program = finished(*DEMO, env={**os.environ, "MEMORYMAPPED_ROOT": "/nonexistent"})
    assert program.returncode == 1
    assert re.fullmatch(r"mmf demo: steps 1, 4 of 5 failed, after \d+\.\d s\n", program.stderr)
    failures = [line for line in program.stdout.splitlines() if "FAILED: FileNotFoundError" in line]
    assert [line.rpartition(" ")[2] for line in failures] == ["'/nonexistent'"] * 2
    assert "MemoryFaultError" in program.stdout
    assert "steps were seen" not in program.stdout


def test_a_full_temporary_folder_is_told_with_what_to_do(temporary: Path) -> None:
    full = "import shutil; shutil.disk_usage = lambda path: shutil._ntuple_diskusage(0, 0, 5_000_000); "
    program = finished(*PYTHON, "-c", QUICK + full + RUN, "--size", "6")
    assert program.returncode == 1
    assert f"FAILED: {temporary} has 5 MB free, the file needs 6: give a smaller --size" in program.stdout
    assert "step 2 of 5 failed" in program.stderr


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        # What a broken library would do, in the process that is asked.
        ("children.Child.ask = lambda s, do, **a: ask(s, do, **a) if do != 'read' else 7", "step"),
        ("scenes._looked_up = lambda name: 7", "step 4 of 5"),
        *campaign(
            ("children.Child.ask = lambda s, do, **a: ask(s, do, **a) if do != 'truncate' else 4096", "step 3 of 5"),
            ("scenes.WAIT_FOR = 0.5; children.Child.kill = lambda s: -9", "steps 4, 5 of 5"),
            ("children.Child.kill = lambda s: (ask(s, 'release'), kill(s))[1]", "5 of 5"),
        ),
    ],
    ids=["wrong values", "a name without holders", "no fault", "a holder that lives", "an owner that gives it back"],
)
def test_what_is_not_seen_is_not_claimed(wrong: str, said: str, temporary: Path) -> None:
    code = (
        QUICK
        + "from memorymapped.cli import children; ask = children.Child.ask; kill = children.Child.kill; "
        + wrong
        + "; "
        + RUN
    )
    program = finished(*PYTHON, "-c", code, "--size", "1")
    assert program.returncode == 1
    assert said in program.stderr
    assert "FAILED: " in program.stdout
    assert "steps were seen" not in program.stdout


@pytest.mark.parametrize(
    ("signum", "moment"),
    [
        *((signal.SIGINT, moment) for moment in MOMENTS[::2]),
        *(pytest.param(signal.SIGINT, moment, marks=pytest.mark.campaign) for moment in MOMENTS[1::2]),
        *(pytest.param(signal.SIGTERM, moment, marks=pytest.mark.campaign) for moment in MOMENTS),
    ],
)
def test_a_signal_at_any_step_leaves_no_process_no_file_and_no_name(
    signum: signal.Signals, moment: str, temporary: Path
) -> None:
    with started(*stopping(moment)) as demo:
        line_with(demo, moment)
        children = stopped(demo.pid)
        assert bool(children) == (moment != "makes a file")
        demo.send_signal(signum)
        demo.send_signal(signal.SIGCONT)
        said, errors = demo.communicate(timeout=LIMIT)
        assert demo.returncode == -signum
        assert errors == "mmf: interrupted\n"
        assert "steps were seen" not in said
    assert not any(map(alive, children))


def test_ctrl_c_on_a_terminal_ends_it_cleanly(temporary: Path) -> None:
    with Terminal(*stopping("creates the map")) as terminal:
        terminal.read("creates the map")
        children = stopped(terminal.process.pid)
        terminal.type(b"\x03")
        terminal.process.send_signal(signal.SIGCONT)
        shown = terminal.read()
        assert terminal.wait() == -signal.SIGINT
    assert "mmf: interrupted" in shown
    assert "Traceback" not in shown
    assert shown.rfind("\x1b[?25h") >= shown.rfind("\x1b[?25l"), "the cursor is hidden"
    assert children
    assert not any(map(alive, children))


@pytest.mark.parametrize("moment", ["creates the map", "asleep in the kernel"])
def test_even_killed_it_leaves_no_process_and_no_held_name(moment: str, temporary: Path) -> None:
    with started(*stopping(moment)) as demo:
        names = re.findall(r"(?:creates the map|owns the mutex) '(.*)'", line_with(demo, moment))
        children = stopped(demo.pid)
        assert children
        demo.kill()
        demo.wait(LIMIT)
        until(lambda: not any(map(alive, children)), "the children have ended")
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing(names[0])
    assert [Mutex.try_open_existing(name) for name in names[1:]] == [None] * (moment != "creates the map")


def test_a_child_that_dies_fails_its_step_and_not_the_demo(temporary: Path) -> None:
    with started(*stopping("creates the map")) as demo:
        line_with(demo, "creates the map")
        for child in stopped(demo.pid):
            os.kill(child, signal.SIGKILL)
        demo.send_signal(signal.SIGCONT)
        said, errors = demo.communicate(timeout=LIMIT)
        assert demo.returncode == 1
        assert re.search(r"FAILED: process \d+ was killed by signal 9", said)
        assert errors.startswith("mmf demo: step 1 of 5 failed")
        assert "creates it anew" in said


def test_a_pipe_that_closes_early_ends_it_without_a_traceback(temporary: Path) -> None:
    with started(*stopping("creates the map")) as demo:
        assert demo.stdout is not None
        assert demo.stderr is not None
        line_with(demo, "creates the map")
        children = stopped(demo.pid)
        demo.stdout.close()
        demo.send_signal(signal.SIGCONT)
        assert demo.stderr.read() == ""
        assert demo.wait(LIMIT) == 1
    assert not any(map(alive, children))


@pytest.mark.campaign
def test_children_do_not_take_modules_from_the_current_folder(temporary: Path, tmp_path: Path) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit('taken from the current folder')")
    program = subprocess.run(
        [Path(PYTHON[0]).with_name("mmf"), "demo", "--size", "1"],
        cwd=tmp_path,
        capture_output=True,
        timeout=LIMIT,
        check=False,
    )
    assert program.returncode == 0, program.stdout

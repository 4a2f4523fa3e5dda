# SPDX-License-Identifier: MIT
"""The source of the task programs, with real processes: whatever a destination does, it is noticed and said, nothing
hangs, and nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from programs import PYTHON, line_with, started, until
from support.leftovers import files_of
from support.sessions import carrying, ended, no_children

from memorymapped import MemoryMappedFile
from memorymapped.tasks import source
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import WORKER, Report, Run

WAITS = 1000  # seconds: for ever
ANSWER = '{"version": 1, "answer": {"details": {"id": "a", "title": "t", "duration": 1}, "result": {"outcome": "failed", "seconds": 1}}}'  # fmt: skip  # noqa: E501

OTHER = ANSWER.replace('"a"', '"zzz"')


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is to wait for those who do not end when they are asked to."""
    monkeypatch.setattr(source, "PATIENCE", 0.2)


def ran(*command: object, tasks: list[Task] | None = None, **options: Any) -> Report:
    """What came of a run, which leaves no child, no mutex, and (a fixture looks) no map."""
    places: list[str] = []
    told = options.pop("told", lambda _: None)

    def hear(run: Run) -> None:
        if not places:
            with MemoryMappedFile.open_existing(run.file_id) as map_:
                device, inode, _ = map_.generation
                places.append(f"segments-{device:x}-{inode:x}")
        told(run)

    run = Run(tasks or [Task("t", duration=0.0, id="a")], [str(each) for each in command], told=hear, **options)
    with no_children():
        report = asyncio.run(run.run())
    for each in (run.file_id, *places):
        assert files_of(each) == []
    return report


def python(code: str) -> list[str]:
    """A destination: `s` is the segment file."""
    head = (
        "import mmap, os, signal, sys, time; from memorymapped import Mutex, SegmentFile\n"
        "def end(): return mmap.mmap(os.open(s.path, os.O_RDWR), 0), 4 + len(s.read_bytes(0))\n"
    )
    return [*PYTHON, "-c", f"{head}s = SegmentFile.open_existing(sys.argv[1]); {code}\n"]


@pytest.mark.parametrize(
    ("script", "ending", "exit_code", "signum"),
    [
        ("exit 0", "silent", 0, None),
        ("exit 7", "crashed", 7, None),
        ("kill -9 $$", "killed", None, 9),
        ("kill -SEGV $$", "killed", None, 11),
        ("kill -STOP $$", "timeout", None, 15),
        (f"sleep {WAITS}", "timeout", None, 15),
        (f"trap '' TERM; sleep {WAITS}; sleep {WAITS}", "timeout", None, 9),
    ],
)
def test_a_destination_without_an_answer_is_told(
    script: str, ending: str, exit_code: int | None, signum: int | None, mark: str
) -> None:
    patience = 1.0 if "trap" in script else 0.2  # the shell must have come to it
    report = ran("sh", "-c", script, mark, timeout=patience if ending == "timeout" else None)
    assert (report.ending, report.answer) == (ending, None)
    assert (report.exit_code, report.signal) == (exit_code, signum)
    assert f"process {report.pid}" in report.message
    assert not report.succeeded


def test_one_that_cannot_be_started_is_told() -> None:
    report = ran("/no/such/program")
    assert (report.ending, report.pid) == ("unstartable", None)
    assert "'/no/such/program' cannot be started: " in report.message


def test_what_a_destination_prints_goes_where_it_is_wanted(tmp_path: Path) -> None:
    with (tmp_path / "said").open("w+") as file:
        ran("sh", "-c", "echo out; echo errors >&2", output=file.fileno())
        file.seek(0)
        assert file.read() == "out\nerrors\n"


@pytest.mark.parametrize(
    ("code", "why"),
    [
        ("s.append('nonsense')", "neither XML nor JSON"),
        ("s.append(b'odd')", "decode"),
        ("s.append('x' * 4_100_000)", "too long"),
        ("m, n = end(); m[n:n+4] = b'\\xff' * 4", "is damaged"),
        ("os.truncate(s.path, 0)", ""),
        (f"s.append({OTHER!r})", "about the task 'zzz', which was not offered"),
    ],
    ids=["nonsense", "odd", "long", "length", "cut", "other"],
)  # fmt: skip
def test_an_answer_that_cannot_be_read_is_told(code: str, why: str) -> None:
    report = ran(*python("\n".join(["pass", "s = SegmentFile.open_existing(sys.argv[1], grow=True)", code])))
    assert report.answer is None
    assert report.ending in (("unreadable",) if why else ("unreadable", "silent"))
    assert why in report.message


def test_an_answer_is_shown_when_it_is_there_and_who_goes_on_is_ended(mark: str) -> None:
    heard: list[bool] = []
    report = ran(
        *python(f"s.append({ANSWER!r}); time.sleep({WAITS})"), "{id}", mark,
        linger=0.1, told=lambda run: heard.append(run.answer is not None),
    )  # fmt: skip
    assert report.ending == "answered"
    assert report.answer is not None
    assert report.answer.result.outcome == "failed"
    assert report.signal == signal.SIGTERM
    assert "was ended, as it went on" in report.message
    assert heard == [False, True]


def test_one_that_answers_and_crashes_has_answered() -> None:
    report = ran(*python(f"s.append({ANSWER!r}); os.kill(os.getpid(), 9)"))
    assert (report.ending, report.signal) == ("answered", 9)


def test_one_that_is_killed_within_its_answer_has_not_answered() -> None:
    """It owns the mutex and has written half."""
    code = (
        "mutex = Mutex(name=s.lock_name); mutex.wait_one()\n"
        "m, n = end(); m[n+4:n+100] = b'x' * 96\n"
        "os.kill(os.getpid(), 9)"
    )
    report = ran(*python("pass\n" + code))
    assert (report.ending, report.signal) == ("killed", 9)


@pytest.mark.parametrize(
    ("code", "ending"), [("pass", "killed"), ("m, n = end(); m[n:n+100] = b'\\xff' * 100", "unreadable")]
)
def test_one_that_stops_with_the_mutex_keeps_nobody_waiting(code: str, ending: str) -> None:
    own = f"mutex = Mutex(name=s.lock_name); mutex.wait_one()\n{code}\nos.kill(os.getpid(), signal.SIGSTOP)"
    begin = time.monotonic()
    report = ran(*python(f"pass\n{own}"), told=lambda run: run.cancel() if run.stopped else None)
    assert (report.ending, report.signal, report.answer) == (ending, signal.SIGTERM, None)
    assert time.monotonic() - begin < 15


def test_what_a_killed_destination_has_started_is_gone(mark: str) -> None:
    """In whatever group."""
    script = f"sleep {WAITS} & setsid -w true; python3 -c 'import os; os.setpgid(0, 0); os.execlp(\"sh\", \"sh\", \"-c\", \"sleep {WAITS}; : $0\", \"{mark}\")' & sh -c 'sleep {WAITS}; :' {mark} & kill -9 $$"  # fmt: skip  # noqa: E501
    assert ran("sh", "-c", script, mark).ending == "killed"


def test_a_stopped_one_is_told_and_goes_on() -> None:
    heard: list[int | None] = []

    def tell(run: Run) -> None:
        if heard[-1:] != [run.stopped]:
            heard.append(run.stopped)
            if run.stopped:
                assert run.pid is not None
                os.kill(run.pid, signal.SIGCONT)

    report = ran("sh", "-c", "kill -STOP $$; exit 3", told=tell)
    assert (report.ending, report.exit_code) == ("crashed", 3)
    assert heard[:2] == [None, signal.SIGSTOP]  # that it went on is not told if it has ended by then


def test_what_is_to_be_filled_in_is_filled_in(tmp_path: Path) -> None:
    target = tmp_path / "given"
    seen: list[str] = []
    report = ran("sh", "-c", f'printf "%s\\n" "$@" > {target}', "-", "{path}", "{lock}:{id}", "{x}", told=lambda run: seen.append(run.file_id))  # fmt: skip  # noqa: E501
    path, lock, x = target.read_text().splitlines()
    assert path.startswith("/")
    assert lock == f"Global\\MmFile-mutex-{seen[0]}:{seen[0]}"
    assert x == "{x}"
    assert report.ending == "silent"


def test_many_at_once_in_one_thread(mark: str) -> None:
    """Each with its own end; no thread for each; the loop sleeps."""

    async def main() -> tuple[list[Report], int, float]:
        runs = [Run([Task("t")], ["sh", "-c", f"sleep 0.3; exit {i}", mark]) for i in range(12)]
        going = [asyncio.ensure_future(run.run()) for run in runs]
        await asyncio.sleep(0.1)
        threads = threading.active_count()
        return await asyncio.gather(*going), threads, time.process_time()

    with no_children():
        reports, threads, _ = asyncio.run(main())
    assert [report.exit_code for report in reports] == list(range(12))
    assert threads <= threading.active_count() + 2  # the one that waits for all tasks of the loop


def test_a_run_that_is_cancelled_leaves_nothing(mark: str) -> None:
    async def main() -> None:
        run = Run([Task("t")], ["sh", "-c", f"sleep {WAITS} & sleep {WAITS}; :", mark])
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):
                await run.run()

    with no_children():
        asyncio.run(main())


# ------------------------------------------------------------------------------------------------ our own destination

SOURCE = """
import asyncio, sys
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import WORKER, Run
def tell(run):
    print(f"{run.pid} ", flush=True)
task = Task("t", parameters={"command": sys.argv[1]}, duration=1000)
asyncio.run(Run([task], [*WORKER, *sys.argv[2:]], told=tell).run())
"""


def test_ours_runs_a_task_and_answers() -> None:
    command = f"'{sys.executable}' -c 'import sys; sys.stdout.buffer.write(b\"\\xe2\\x82\\xac\"); sys.exit(4)'"
    task = Task("Prüfen", parameters={"command": command, "other": "\x01"}, id="a")
    report = ran(*WORKER, "--select=Prüfen", "--set=other=", tasks=[Task("first"), task], form="json")
    assert report.answer is not None
    details, result = report.answer.details, report.answer.result
    assert (details.id, details.title, details.parameters) == ("a", "Prüfen", {"command": command})
    assert (result.outcome, result.exit_code, result.output) == ("failed", 4, "€")
    assert (report.ending, report.exit_code) == ("answered", 3)
    assert source.state_after(report) == "failed"


def test_ours_is_cancelled_and_says_so(mark: str) -> None:
    task = Task("t", parameters={"command": f"sh -c 'echo begun; sleep {WAITS}; :' {mark}"})
    kept: list[Run] = []

    async def main() -> Report:
        run = Run([task], WORKER, told=kept.append)
        going = asyncio.ensure_future(run.run())
        while len(carrying(mark)) < 1:  # its command is at work
            await asyncio.sleep(0.01)
        run.cancel()
        return await going

    with no_children():
        report = asyncio.run(main())
    assert report.answer is not None
    assert report.answer.result.outcome == "cancelled"
    assert (report.ending, report.exit_code) == ("answered", 4)


@pytest.mark.parametrize("signum", [9, 19])  # SIGKILL, SIGSTOP
def test_ours_killed_or_stopped_while_its_command_runs(signum: int, mark: str) -> None:
    command = f"sh -c 'kill -{signum} $PPID; sleep {WAITS}; :' {mark}"
    stopped: list[Run] = []

    def tell(run: Run) -> None:
        if run.stopped and not stopped:
            stopped.append(run)
            run.cancel()  # it goes on for that

    report = ran(*WORKER, tasks=[Task("t", parameters={"command": command})], told=tell)
    if signum == 9:
        assert (report.ending, report.signal) == ("killed", 9)
    else:
        assert report.answer is not None
        assert report.answer.result.outcome == "cancelled"


@pytest.mark.parametrize("go_on", [False, True])
def test_ours_notices_the_end_of_its_source(go_on: bool, mark: str, tmp_path: Path) -> None:
    """It cancels its task, or finishes it; either way it leaves nothing."""
    gate, done = tmp_path / "gate", tmp_path / "done"
    os.mkfifo(gate)
    command = f"sh -c 'echo > {gate}; read line < {gate}; echo > {done}' {mark}"
    with started(*PYTHON, "-c", SOURCE, command, *(["--go-on"] if go_on else [])) as process:
        worker = int(line_with(process, " "))
        gate.read_text()  # its command is at work
        process.kill()
        process.wait()
        if go_on:
            gate.write_text("\n")
        assert ended(worker)
    until(lambda: not carrying(mark), "the command has ended")
    assert done.exists() == go_on

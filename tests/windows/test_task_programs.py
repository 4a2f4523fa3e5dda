# SPDX-License-Identifier: MIT
"""The task programs on Windows, without a screen: sources, destinations and commands that are real processes, and a C#
program on either side."""

from __future__ import annotations

import asyncio
import json
import os
import re
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import foreign
import pytest
from programs import LIMIT, MMF, PYTHON, finished, line_with, started, until
from support.here import KILL, KILLED, STATE
from support.sessions import ended, no_children

from memorymapped import MemoryMappedFile, SegmentFile
from memorymapped._native import jobs
from memorymapped._native.win32 import close_handle
from memorymapped.system.windows import new_files
from memorymapped.system.windows.children import asking
from memorymapped.tasks import processes, source, store
from memorymapped.tasks.model import Task, TaskList
from memorymapped.tasks.source import WORKER, Report, Run
from memorymapped.tasks.source_format import read_answer, write_tasks

RUN = [*MMF, "tasks", "run"]
QUOTED = f"'{sys.executable}' -c"
ODD = "]]> & <b> \r\n\t \x01\x7f \U0001f34f \ufffe"


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    """The user's list. Nobody is left."""
    monkeypatch.setenv(STATE, str(tmp_path / "state"))
    monkeypatch.setattr(source, "PATIENCE", 0.5)
    monkeypatch.setattr(processes, "PATIENCE", 0.5)
    with no_children():
        yield store.kept_file()


def ran(tasks: list[Task], command: list[str], **options: Any) -> Report:
    """What came of a run, which leaves no map."""
    run = Run(tasks, command, **options)
    report = asyncio.run(run.run())
    with pytest.raises(FileNotFoundError):
        MemoryMappedFile.open_existing(run.file_id)
    return report


def sleeper(path: Path) -> str:
    """A command that writes its process id to a file, and sleeps."""
    code = f"import os, time; open(r'{path}', 'w').write(str(os.getpid()) + '.'); time.sleep(1000)"
    return f'"{sys.executable}" -c "{code}"'


def pid_in(path: Path) -> int:
    until(lambda: path.exists() and path.read_text().endswith("."), "the command is at work")
    return int(path.read_text().rstrip("."))


# ---------------------------------------------------------------------------------------------------------- mmf tasks


def test_tasks_are_run_several_at_once_and_their_states_kept(kept: Path, tmp_path: Path) -> None:
    command = f"{QUOTED} \"import sys; print(sys.argv[1:]); sys.exit(5)\" 'a b' C:\\folder"
    tasks = [
        Task("good", id="a", duration=0.0, parameters={"prints": "grün\x1b[2J"}),
        Task("bad", id="b", parameters={"command": command, "directory": str(tmp_path)}),
        Task("no", id="c", parameters={"command": "no-such-program"}),
    ]
    store.save(kept, TaskList(tasks))
    done = finished(*RUN, "--all", "--json", "--format", "json")
    assert (done.returncode, done.stderr) == (3, "")
    lines = {line["task"]["id"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert {each: line["ending"] for each, line in lines.items()} == dict.fromkeys("abc", "answered")
    assert lines["a"]["result"]["output"] == "grün\x1b[2J"
    assert (lines["b"]["result"]["exitCode"], lines["b"]["result"]["output"]) == (5, "['a b', 'C:\\\\folder']\r\n")
    assert "cannot be run" in lines["c"]["result"]["message"]
    assert lines["b"]["process"]["exitCode"] == 3
    assert [task.state for task in store.load(kept)] == ["succeeded", "failed", "failed"]


def test_a_given_list_is_run_in_words_and_not_changed(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "tasks.xml"
    store.save(path, TaskList([Task("good", duration=0.1, parameters={"prints": "done"})]))
    before = path.read_bytes()
    done = finished(*RUN, "--file", path, "--select", "good")
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("good: succeeded after 0.")
    assert second == "done"
    assert path.read_bytes() == before
    assert not kept.exists()


@pytest.mark.parametrize(
    ("line", "timeout", "code", "said"),
    [
        (f'{QUOTED} "import os; os.abort()"', "30", 8, "ended with exit code "),
        (f'{QUOTED} "import os; os._exit(-1073741819)"', "30", 8, "ended with exit code 0xc0000005, without an answer"),
        (f'{QUOTED} "pass"', "30", 8, "ended without an answer"),
        ("no-such-program", "30", 8, "cannot be started"),
        (f'{QUOTED} "pass" {{path}}', "30", 8, "memory has none here: its name is {id}"),
        (f'{QUOTED} "import time; time.sleep(1000)"', "1", 5, "did not answer within 1 s and was ended"),
    ],
)
def test_a_destination_that_does_not_answer_has_a_code(
    line: str, timeout: str, code: int, said: str, kept: Path
) -> None:
    store.save(kept, TaskList([Task("t")]))
    done = finished(*RUN, "--select", "t", "--command", line, "--timeout", timeout)
    assert (done.returncode, done.stdout) == (code, "")
    assert done.stderr.startswith("mmf tasks: t: ")
    assert said in done.stderr
    assert [task.state for task in store.load(kept)] == ["failed"]


def test_a_list_that_others_read_is_replaced_when_they_have_done_so(tmp_path: Path) -> None:
    path = tmp_path / "tasks.xml"
    store.save(path, TaskList([Task("one")]))
    file = path.open("rb")  # nobody can rename it now
    threading.Timer(0.3, file.close).start()
    store.save(path, TaskList([Task("two")]))
    assert file.closed
    assert [task.title for task in store.load(path)] == ["two"]


def test_a_list_that_is_never_free_is_told_and_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(new_files, "_PATIENCE", 0.1)
    path = tmp_path / "tasks.xml"
    store.save(path, TaskList([Task("one")]))
    with path.open("rb"), pytest.raises(PermissionError, match=r"tasks\.xml"):
        store.save(path, TaskList([Task("two")]))
    assert [task.title for task in store.load(path)] == ["one"]
    assert os.listdir(tmp_path) == ["tasks.xml"]


# ------------------------------------------------------------------------------------------------------- who is ended


def test_a_destination_that_is_killed_is_told_and_takes_its_command_along(tmp_path: Path) -> None:
    at = tmp_path / "pid"
    killed: list[int] = []

    async def main() -> Report:
        run = Run([Task("t", parameters={"command": sleeper(at)})], WORKER)
        going = asyncio.ensure_future(run.run())
        killed.append(await asyncio.to_thread(pid_in, at))
        assert run.pid is not None
        os.kill(run.pid, KILL)
        return await going

    report = asyncio.run(main())
    assert (report.ending, report.exit_code, report.answer) == ("crashed", KILL, None)
    assert f"process {report.pid}) ended with exit code {int(KILL)}, without an answer" in report.message
    assert ended(killed[0])


def test_a_cancelled_run_is_answered(tmp_path: Path) -> None:
    at = tmp_path / "pid"

    async def main() -> Report:
        run = Run([Task("t", parameters={"command": sleeper(at)})], WORKER)
        going = asyncio.ensure_future(run.run())
        await asyncio.to_thread(pid_in, at)
        run.cancel()
        return await going

    report = asyncio.run(main())
    assert report.answer is not None
    assert report.answer.result.outcome == "cancelled"
    assert (report.ending, report.exit_code) == ("answered", 4)
    assert ended(pid_in(at))


def test_who_asks_mmf_tasks_to_end_ends_all_runs_first(kept: Path, tmp_path: Path) -> None:
    places = [tmp_path / "one", tmp_path / "two"]
    store.save(kept, TaskList([Task(each.name, parameters={"command": sleeper(each)}) for each in places]))
    with started(*RUN, "--all") as process:
        pids = [pid_in(each) for each in places]
        event = jobs.open_event(asking(process.pid))
        jobs.set_event(event)
        close_handle(event)
        _, errors = process.communicate(timeout=LIMIT)
    assert process.returncode == 0xC000013A
    assert errors == "mmf: interrupted\n"
    assert all(map(ended, pids))


def test_a_run_that_is_dropped_leaves_nobody(tmp_path: Path) -> None:
    at = tmp_path / "pid"

    async def main() -> None:
        run = Run([Task("t", parameters={"command": sleeper(at)})], WORKER)
        going = asyncio.ensure_future(run.run())
        await asyncio.to_thread(pid_in, at)
        going.cancel()
        with pytest.raises(asyncio.CancelledError):
            await going

    asyncio.run(main())
    assert ended(pid_in(at))


def test_a_command_that_takes_too_long_is_told(tmp_path: Path) -> None:
    at = tmp_path / "pid"
    task = Task("t", parameters={"command": sleeper(at), "timeout": "2"})
    report = ran([task], [*WORKER])
    assert report.answer is not None
    assert (report.answer.result.outcome, report.exit_code) == ("timedOut", 5)
    assert not at.exists() or ended(pid_in(at))


def test_who_answers_and_goes_on_is_ended() -> None:
    answer = '{"version": 1, "answer": {"details": {"id": "a", "title": "t", "duration": 1}, "result": {"outcome": "failed", "seconds": 1}}}'  # fmt: skip  # noqa: E501
    code = f"import sys, time; from memorymapped import SegmentFile; s = SegmentFile.open_existing(sys.argv[1]); s.append({answer!r}); time.sleep(1000)"  # fmt: skip  # noqa: E501
    report = ran([Task("t", id="a")], [*PYTHON, "-c", code], linger=0.1)
    assert (report.ending, report.signal) == ("answered", 15)
    assert "was ended, as it went on" in report.message


SOURCE = """
import asyncio, sys
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import WORKER, Run
def tell(run):
    print(run.pid, "is it", flush=True)
task = Task("t", parameters={"command": sys.argv[1]}, duration=1000)
asyncio.run(Run([task], [*WORKER, *sys.argv[2:]], told=tell).run())
"""


@pytest.mark.parametrize("go_on", [False, True])
def test_a_destination_notices_the_end_of_its_source(go_on: bool, tmp_path: Path) -> None:
    """It cancels its task, or finishes it; either way it leaves nothing."""
    at, gate, done = tmp_path / "pid", tmp_path / "gate", tmp_path / "done"
    code = (
        f"import os, time; open(r'{at}', 'w').write(str(os.getpid()) + '.')\n"
        f"while not os.path.exists(r'{gate}'): time.sleep(0.01)\n"
        f"open(r'{done}', 'w').close()"
    )
    command = f'"{sys.executable}" -c "{code}"'
    with started(*PYTHON, "-c", SOURCE, command, *(["--go-on"] if go_on else [])) as process:
        worker = int(line_with(process, "is it").split()[-3])
        at_work = pid_in(at)
        process.send_signal(KILL)
        assert process.wait(LIMIT) == KILLED
        if go_on:
            gate.touch()
        assert ended(worker)
        assert process.stderr is not None
        said = process.stderr.read()
    assert ended(at_work)
    assert done.exists() == go_on
    assert ("the source has ended" in said) is not go_on


def test_a_worker_is_started_by_hand_and_again_in_vain() -> None:
    with SegmentFile.create_new(100_000) as segments:
        segments.append(write_tasks([Task("one", id="a"), Task("two", id="b")], "json"))
        worker = [*MMF, "tasks-worker", segments.file_id, "--select", "2", "--set", "prints=x", "--duration", "0"]
        done = finished(*worker)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.startswith("two: succeeded after 0.")
        assert read_answer(segments[1]).details.id == "b"
        done = finished(*worker)
        assert (done.returncode, done.stdout) == (1, "")
        assert "has its answer already" in done.stderr


# ----------------------------------------------------------------------------------------------------------------- C#


def csharp(role: str) -> list[str]:
    return [*foreign.command("../../samples/tasks.cs"), role]


@pytest.fixture(autouse=True)
def _quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COMPlus_EnableDiagnostics", "0")


def test_a_csharp_destination_reads_the_tasks_and_answers() -> None:
    done = Task("done already", state="succeeded", description=ODD)
    task = Task("Prüfen €", duration=0.05, parameters={"prints": ODD, "other": ""}, id="a.b-c")
    report = ran([done, task], [*csharp("destination"), "{id}", "{lock}"])
    assert (report.ending, report.exit_code, report.signal) == ("answered", 0, None)
    assert report.answer is not None
    details, result = report.answer.details, report.answer.result
    assert (details.id, details.title, details.parameters) == (task.id, task.title, task.parameters)
    assert (result.outcome, result.output) == ("succeeded", ODD)


def test_a_csharp_destination_that_fails_or_has_nothing_to_do() -> None:
    command = [*csharp("destination"), "{id}", "{lock}"]
    report = ran([Task("t", duration=0, parameters={"fail": "1"})], command)
    assert report.answer is not None
    assert (report.ending, report.exit_code, report.answer.result.outcome) == ("answered", 3, "failed")
    report = ran([Task("t", state="failed")], command)
    assert (report.ending, report.exit_code, report.answer) == ("crashed", 6, None)
    report = ran([Task("t")], command, form="json")
    assert (report.ending, report.exit_code) == ("crashed", 7)


def test_a_csharp_destination_that_does_not_answer_in_time_is_ended() -> None:
    report = ran([Task("t", duration=1000)], [*csharp("destination"), "{id}", "{lock}"], timeout=3)
    assert (report.ending, report.answer, report.signal) == ("timeout", None, 15)


FOR_CSHARP = """
import asyncio, sys
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import Run
told = lambda run: print(run.pid, "is it", flush=True)
asyncio.run(Run([Task("t", duration=1000)], [*sys.argv[1:], "{id}", "{lock}"], told=told).run())
"""


def test_a_csharp_destination_ends_with_its_source() -> None:
    with started(*PYTHON, "-c", FOR_CSHARP, *csharp("destination")) as process:
        worker = int(line_with(process, "is it").split()[-3])
        process.send_signal(KILL)
        process.wait(LIMIT)
        assert ended(worker)


def test_a_csharp_source_hands_tasks_to_our_worker(tmp_path: Path) -> None:
    """In a file, which it removes."""
    worker = [*PYTHON, "-m", "memorymapped", "tasks-worker", "--quiet", "--select", "1"]
    done = finished(*csharp("source"), tmp_path, *worker)
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert {"exit code 0", "id 1", "outcome succeeded"} <= set(said)
    assert re.search(r"^seconds 0\.\d+$", done.stdout, re.MULTILINE)
    assert list(tmp_path.glob("MmFile-*")) == []


def test_our_worker_ends_when_a_csharp_source_is_killed(tmp_path: Path) -> None:
    at = tmp_path / "pid"
    worker = [*PYTHON, "-m", "memorymapped", "tasks-worker", "--select", "1", f"--set=command={sleeper(at)}"]
    with started(*csharp("source"), tmp_path, *worker) as process:
        at_work = pid_in(at)
        process.send_signal(KILL)
        process.wait(LIMIT)
        assert ended(at_work)
        assert process.stderr is not None
        assert "the source has ended" in process.stderr.read()

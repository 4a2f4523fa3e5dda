# SPDX-License-Identifier: MIT
"""The task programs with a C# program, on the real .NET runtime, on either side. It knows the published schema."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
from pathlib import Path

import pytest
from dotnet_runtime import Dotnet, environment
from programs import PYTHON, SAMPLES, finished, started, until
from root import objects
from support.leftovers import files_of
from support.sessions import ended, gone

from memorymapped import MemoryMappedFile, SegmentFile
from memorymapped.tasks import source
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import Report, Run
from memorymapped.tasks.source_format import write_tasks

pytestmark = pytest.mark.dotnet

PROGRAM = SAMPLES / "tasks.cs"
ODD = "]]> & <b> \r\n\t \x01\x7f \U0001f34f \ufffe"


def ran(dotnet: Dotnet, tasks: list[Task], monkeypatch: pytest.MonkeyPatch) -> Report:
    """What came of a C# destination, which leaves no mutex."""
    monkeypatch.setattr("os.environ", environment())
    run = Run(tasks, [*dotnet.command(PROGRAM, "destination"), "{path}", "{lock}"])
    report = asyncio.run(run.run())
    assert files_of(run.file_id) == []
    return report


def test_a_csharp_destination_reads_the_tasks_and_answers(dotnet: Dotnet, monkeypatch: pytest.MonkeyPatch) -> None:
    done = Task("done already", state="succeeded", description=ODD)
    task = Task("Prüfen €", duration=0.05, parameters={"prints": ODD, "other": ""}, id="a.b-c")
    report = ran(dotnet, [done, task], monkeypatch)
    assert (report.ending, report.exit_code, report.signal) == ("answered", 0, None)
    assert report.answer is not None
    details, result = report.answer.details, report.answer.result
    assert (details.id, details.title, details.duration) == (task.id, task.title, task.duration)
    assert details.parameters == task.parameters
    assert (result.outcome, result.output) == ("succeeded", ODD)
    assert 0.05 <= result.seconds < 20


def test_a_csharp_destination_that_fails_or_has_nothing_to_do(dotnet: Dotnet, monkeypatch: pytest.MonkeyPatch) -> None:
    report = ran(dotnet, [Task("t", duration=0, parameters={"fail": "1"})], monkeypatch)
    assert report.answer is not None
    assert (report.ending, report.exit_code, report.answer.result.outcome) == ("answered", 3, "failed")
    report = ran(dotnet, [Task("t", state="failed")], monkeypatch)
    assert (report.ending, report.exit_code, report.answer) == ("crashed", 6, None)


@pytest.mark.parametrize(
    "document",
    [
        "<tasks",
        '<!DOCTYPE x [<!ENTITY a "b">]><tasks xmlns="urn:memorymapped:tasks" version="1">&a;</tasks>',
        '<tasks xmlns="urn:memorymapped:tasks" version="2"/>',
        '<tasks xmlns="urn:memorymapped:tasks" version="1"><task><colour/></task></tasks>',
    ],
)
def test_a_csharp_destination_refuses_what_is_no_document(document: str, dotnet: Dotnet, tmp_path: Path) -> None:
    tag = tmp_path.name
    path, lock = tmp_path / "segments", f"Global\\memorymapped-{tag}"
    with SegmentFile.create_from_file(path, capacity=100_000, lock_name=lock) as segments:
        segments.append(document)
        done = finished(*dotnet.command(PROGRAM, "destination", path, lock), env=environment())
        assert (done.returncode, len(segments)) == (7, 1)
        assert len(done.stderr.splitlines()) == 1


def test_a_csharp_destination_says_that_it_reads_no_json(dotnet: Dotnet, tmp_path: Path) -> None:
    path, lock = tmp_path / "segments", f"Global\\memorymapped-{tmp_path.name}"
    with SegmentFile.create_from_file(path, capacity=100_000, lock_name=lock) as segments:
        segments.append(write_tasks([Task("t")], "json"))
        done = finished(*dotnet.command(PROGRAM, "destination", path, lock), env=environment())
    assert (done.returncode, done.stderr) == (7, "the document is JSON: this program reads XML only\n")


SOURCE = """
import asyncio, sys
from memorymapped.tasks.model import Task
from memorymapped.tasks.source import Run
told = lambda run: print(run.pid, run.file_id, flush=True)
asyncio.run(Run([Task("t", duration=1000)], [*sys.argv[1:], "{path}", "{lock}"], told=told).run())
"""


def test_a_csharp_destination_ends_with_its_source_and_removes_what_that_has_left(dotnet: Dotnet) -> None:
    with started(*PYTHON, "-c", SOURCE, *dotnet.command(PROGRAM, "destination"), env=environment()) as process:
        assert process.stdout is not None
        pid, file_id = process.stdout.readline().split()
        assert process.stderr is not None
        try:
            until(lambda: file_id in Path(f"/proc/{pid}/maps").read_text(), "it has the tasks")
            process.kill()
            assert ended(int(pid))
            assert process.stderr.read() == "the source has ended, and nobody waits for an answer\n"
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
    assert not [each for each in objects() if file_id in each]
    assert files_of(file_id) == []
    for name in ("another", "Global\\another"):  # who makes one gives back what others have left
        MemoryMappedFile.create_new(name, 1).close()


def test_our_worker_ends_when_a_csharp_source_is_killed(dotnet: Dotnet, tmp_path: Path) -> None:
    gate, said, mark = tmp_path / "gate", tmp_path / "said", f"csharp-{os.getpid()}"
    os.mkfifo(gate)
    worker = [*PYTHON, "-m", "memorymapped", "tasks-worker", "--select", "1"]
    worker.append(f"--set=command=sh -c 'echo > {gate}; sleep 1000' {mark}")
    command = [*dotnet.command(PROGRAM, "source", tmp_path), *worker]
    with said.open("wb") as file, started(*command, env=environment(), stderr=file, stdout=file) as process:
        gate.read_text()
        process.kill()
    gone(mark)
    assert "the source has ended" in said.read_text()
    (path,) = tmp_path.glob("MmFile-*")
    assert files_of(path.name.removeprefix("MmFile-")) == []


def test_a_csharp_source_hands_tasks_to_our_worker(dotnet: Dotnet, tmp_path: Path) -> None:
    worker = [*PYTHON, "-m", "memorymapped", "tasks-worker", "--quiet", "--select", "1"]
    done = finished(*dotnet.command(PROGRAM, "source", tmp_path), *worker, env=environment())
    assert (done.returncode, done.stderr) == (0, "")
    said = done.stdout.splitlines()
    assert {"exit code 0", "id 1", "title Prüfen €", "outcome succeeded", "output ]]> \x01 🍏"} <= set(said)
    assert "parameter prints ]]> \x01 🍏" in said
    assert re.search(r"^seconds 0\.\d+$", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_a_csharp_destination_that_is_killed_is_told(dotnet: Dotnet, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", environment())
    monkeypatch.setattr(source, "PATIENCE", 0.2)
    run = Run([Task("t", duration=1000)], [*dotnet.command(PROGRAM, "destination"), "{path}", "{lock}"], timeout=0.5)
    report = asyncio.run(run.run())
    assert (report.ending, report.answer) == ("timeout", None)
    assert files_of(run.file_id) == []

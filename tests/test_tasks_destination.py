# SPDX-License-Identifier: MIT
"""What the destination does with a task: simulated ones, and command lines with their process groups."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from pathlib import Path

import pytest
from programs import PYTHON, started, until
from root import descriptors
from support.sessions import carrying, no_children

from memorymapped import OutOfRangeError, SegmentFile
from memorymapped.tasks import processes
from memorymapped.tasks.commands import LONGEST_OUTPUT, Tail
from memorymapped.tasks.destination import Destination, Execution, NothingToRunError, SourceGoneError, choose
from memorymapped.tasks.destination_format import OfferedTask, Outcome
from memorymapped.tasks.model import Task
from memorymapped.tasks.source_format import read_answer, write_tasks


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "PATIENCE", 0.2)


def task(duration: float = 0.0, **parameters: str) -> OfferedTask:
    return OfferedTask("a", "t", duration, parameters=parameters)


def ran(given: OfferedTask) -> Outcome:
    before = descriptors()
    with no_children():
        outcome = asyncio.run(Execution(given).run())
    assert descriptors() == before
    return outcome


# ----------------------------------------------------------------------------------------------------------- simulated


def test_a_simulated_task_takes_its_time_and_tells_how_far_it_is() -> None:
    told: list[float | None] = []
    execution = Execution(task(0.1, prints="done €"), lambda it: told.append(it.progress))
    outcome = asyncio.run(execution.run())
    assert (outcome.outcome, outcome.output) == ("succeeded", "done €")
    assert 0.1 <= outcome.seconds < 5
    assert told == [0.2, 0.4, 0.6, 0.8, 1.0]


def test_a_simulated_task_fails_where_it_is_to() -> None:
    told: list[float | None] = []
    outcome = asyncio.run(Execution(task(0.1, fail="50"), lambda it: told.append(it.progress)).run())
    assert (outcome.outcome, outcome.message) == ("failed", "failed at 60%, as it was to")
    assert told[-1] == 0.6
    assert "a percentage, not 'x'" in ran(task(fail="x")).message


@pytest.mark.parametrize("parameters", [{}, {"command": f"'{sys.executable}' -c 'import time; time.sleep(1000)'"}])
def test_a_cancelled_task_says_so(parameters: dict[str, str]) -> None:
    async def main() -> Outcome:
        execution = Execution(task(1000, **parameters))
        asyncio.get_running_loop().call_later(0.02, execution.cancel)
        return await execution.run()

    with no_children():
        assert asyncio.run(main()).outcome == "cancelled"


# ------------------------------------------------------------------------------------------------------------ commands


def test_a_command_has_its_output_and_exit_code(tmp_path: Path) -> None:
    outcome = ran(task(command="sh -c 'pwd; echo \"a  b\" >&2; exit 3'", directory=str(tmp_path)))
    assert (outcome.outcome, outcome.exit_code, outcome.output) == ("failed", 3, f"{tmp_path}\na  b\n")
    assert ran(task(command="true")).outcome == "succeeded"
    killed = ran(task(command="sh -c 'kill -9 $$'"))
    assert (killed.outcome, killed.signal, killed.exit_code) == ("failed", 9, None)


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"command": "/no/such/program"}, "cannot be run: ["),
        ({"command": f"'{sys.executable}'", "directory": "/no/such/folder"}, "cannot be run: ["),
        ({"command": "'"}, "cannot be run so: No closing quotation"),
        ({"command": " "}, "it is empty"),
        ({"command": "echo \0"}, "cannot be run: embedded null"),
        ({"command": "true", "timeout": "soon"}, "cannot be run so: could not convert"),
        ({"command": "true", "timeout": "nan"}, "cannot be run so: expected a number of at least 0, not 'nan'"),
        ({"command": "true", "timeout": "-1"}, "cannot be run so: expected a number of at least 0, not '-1'"),
        ({"fail": "nan"}, "the parameter fail is a percentage, not 'nan'"),
    ],
)
def test_a_command_that_cannot_be_run_is_a_failure(parameters: dict[str, str], said: str) -> None:
    outcome = ran(task(**parameters))
    assert outcome.outcome == "failed"
    assert said in outcome.message
    assert "no/such" not in str(parameters) or re.search(r"No such file|not found|invalid", outcome.message)


def test_a_command_that_takes_too_long_is_ended_with_its_group(mark: str) -> None:
    script = f'trap "" TERM; echo begun; sh -c "trap \\"\\" TERM; sleep 1000; :" {mark} & sleep 1000; sleep 1000'
    outcome = ran(task(command=f"sh -c '{script}' {mark}", timeout="0.1"))
    assert (outcome.outcome, outcome.output) == ("timedOut", "begun\n")
    assert "0.1 s" in outcome.message


def test_what_a_command_leaves_in_its_group_is_ended(mark: str) -> None:
    outcome = ran(task(command=f"sh -c 'sh -c \"sleep 1000; :\" {mark} & echo done' {mark}"))
    assert (outcome.outcome, outcome.output) == ("succeeded", "done\n")


def test_who_has_left_the_group_does_not_keep_us_waiting(mark: str, tmp_path: Path) -> None:
    """It holds the pipe of the output."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f'setsid sh -c "echo > {gate}; sleep 1000; :" {mark} & read line < {gate}; echo done'
    outcome = ran(task(command=f"sh -c '{script}'"))
    assert (outcome.outcome, outcome.output) == ("succeeded", "done\n")
    for pid in carrying(mark):  # and what it has forked, which is to become sleep
        with contextlib.suppress(ProcessLookupError):
            os.killpg(os.getpgid(pid), signal.SIGKILL)
    until(lambda: not carrying(mark), "it has ended")


def test_of_much_output_the_end_is_kept() -> None:
    outcome = ran(task(command="sh -c 'yes 0123456 | head -c 1000000; echo the end'"))
    assert outcome.truncated
    assert len(outcome.output) == LONGEST_OUTPUT
    assert outcome.output.endswith("0123456\nthe end\n")


def test_output_is_text_whatever_it_is() -> None:
    assert ran(task(command=r"printf 'a\377\000\033'")).output == "a\ufffd\0\x1b"
    tail = Tail(4)
    tail.add("€€".encode())
    assert (tail.text, tail.truncated) == ("€", True)


# ------------------------------------------------------------------------------------------------------- its source


def test_an_output_that_makes_the_answer_too_long_is_cut() -> None:
    large = {f"p{i}": '"' * 6600 for i in range(99)} | {"command": "head -c 100000 /dev/zero"}
    with SegmentFile.create_new(1 << 20, grow=True, max_capacity=64 << 20) as segments:
        segments.write(0, write_tasks([Task("t", id="a", parameters=large)], "xml"))
        with SegmentFile.open_existing(segments.file_id, grow=True) as theirs, Destination(theirs) as offer:
            asyncio.run(offer.run(Execution(offer.tasks[0])))
        result = read_answer(segments.read(1)).result
    assert (result.outcome, result.truncated) == ("succeeded", True)
    assert 0 < len(result.output) < 65_536


def test_a_process_that_has_the_number_of_the_source_now_is_not_the_source() -> None:
    """It is known by having begun later than the destination."""
    with SegmentFile.create_new(100_000) as segments:
        segments.append('{"version": 1, "tasks": []}')
        with (
            started(*PYTHON, "-c", "input()") as younger,
            pytest.raises(SourceGoneError, match=f"{younger.pid}, has ended"),
        ):
            Destination(segments, younger.pid)
        assert segments.closed
    with SegmentFile.create_new(100_000) as segments:
        segments.append('{"version": 1, "tasks": []}')
        Destination(segments, os.getppid() or os.getpid()).close()  # Windows hides a parent of another system


# ------------------------------------------------------------------------------------------------- choose and configure


def test_the_most_urgent_one_that_waits_is_chosen() -> None:
    tasks = [
        OfferedTask("1", "one", 1.0),
        OfferedTask("2", "two", 1.0, priority="high"),
        OfferedTask("3", "three", 1.0, priority="high"),
        OfferedTask("4", "four", 1.0, priority="urgent", state="succeeded"),
    ]
    assert choose(tasks).id == "2"
    assert choose(tasks, "four").id == "4"
    assert choose(tasks, "TH").id == "3"
    assert choose(tasks, "1").id == "1"
    for given, said in (
        ("t", "more than one task is meant by 't': there are 'two', 'three'"),
        ("x", "no task is meant"),
    ):
        with pytest.raises(NothingToRunError, match=said):
            choose(tasks, given)
    with pytest.raises(NothingToRunError, match="none of the 1 tasks is waiting"):
        choose(tasks[3:])


def test_a_task_is_configured() -> None:
    given = task(1.0, a="1", b="2", empty="")
    other = given.configured(2.0, {"a": "", "c": "3", "d": ""})
    assert (other.duration, other.parameters) == (2.0, {"b": "2", "c": "3", "empty": ""})
    assert given.parameters == {"a": "1", "b": "2", "empty": ""}
    for duration, parameters in ((-1.0, {}), (None, {"1": "x"}), (float("nan"), {})):
        with pytest.raises(OutOfRangeError, match="the task 't' cannot be configured so"):
            given.configured(duration, parameters)

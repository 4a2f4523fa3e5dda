# SPDX-License-Identifier: MIT
"""`mmf tasks` and `mmf tasks-worker`, as a shell sees them: what they print, their exit codes, and signals."""

from __future__ import annotations

import errno
import json
import os
import shlex
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from programs import MMF, PYTHON, Terminal, finished, line_with, started, until
from support.here import STATE, UID
from support.sessions import carrying

from memorymapped import SegmentFile
from memorymapped.cli import main
from memorymapped.tasks import source_format, store
from memorymapped.tasks.model import Task, TaskList

RUN = [*MMF, "tasks", "run"]


@pytest.fixture(autouse=True)
def kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The user's list."""
    monkeypatch.setenv(STATE, str(tmp_path / "state"))
    return store.kept_file()


@pytest.fixture
def mmf(capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs `mmf tasks ...` in this process: (exit code, output, errors)."""

    def run(*arguments: object, command: str = "tasks") -> tuple[int, str, str]:
        code = main([command, *map(str, arguments)])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


@pytest.fixture
def worker(mmf: Any) -> Any:
    """The same for `mmf tasks-worker`."""
    return partial(mmf, command="tasks-worker")


def titles(path: Path) -> list[str]:
    return [task.title for task in store.load(path)]


# ---------------------------------------------------------------------------------------------------------- the list


def test_a_list_is_made_changed_and_shown(mmf: Any, kept: Path) -> None:
    assert mmf("list") == (0, "", "")
    code, said, _ = mmf("add", "Build", "--command", "make -j2", "--priority", "high", "--set", "timeout=60")
    assert code == 0
    assert said.startswith("added Build (")
    assert mmf("add", "Wait", "--duration", 2.5, "--at", 1)[0] == 0
    assert mmf("add", "C\x1b[2J")[0] == 2
    assert mmf("list")[1].splitlines() == [
        "   1  waiting    normal        2.5 s  Wait",
        "   2  waiting    high            1 s  Build  $ make -j2",
    ]
    assert mmf("edit", "bui", "--set", "other=x", "--unset", "timeout", "--state", "failed", "--title", "B")[0] == 0
    (task,) = store.load(kept).filtered(state="failed")
    assert (task.title, task.parameters) == ("B", {"command": "make -j2", "other": "x"})
    assert mmf("move", "B", 1)[0] == 0
    assert titles(kept) == ["B", "Wait"]
    assert mmf("remove", 1, 2)[0] == 0
    assert titles(kept) == []


def test_with_json_all_of_it_is_for_programs(mmf: Any, tmp_path: Path) -> None:
    path = tmp_path / "list.json"
    added = json.loads(mmf("add", "Prüfen", "--file", path, "--json")[1])
    assert added["title"] == "Prüfen"
    said = mmf("list", "--file", path, "--json")[1]
    assert [task.fields() for task in source_format.read_tasks(said)] == [added]
    for command in (["edit", 1, "--title", "x"], ["move", 1, 1], ["remove", 1]):
        changed = json.loads(mmf(*command, "--file", path, "--json")[1])
        assert changed["id"] == added["id"]


def test_lists_cross_as_files(mmf: Any, tmp_path: Path, kept: Path) -> None:
    mmf("add", "one")
    for name, form in (("a.xml", "<"), ("a.json", "{"), ("a.txt", "<")):
        assert mmf("export", tmp_path / name)[0] == 0
        assert (tmp_path / name).read_text()[0] == form
    assert mmf("export", "-", "--format", "json")[1] == (tmp_path / "a.json").read_text()
    mmf("edit", "one", "--title", "two")
    mmf("add", "three")
    assert mmf("import", tmp_path / "a.json") == (0, "1 tasks were taken\n", "")
    assert titles(kept) == ["one", "three"], "the one with the same id is replaced"
    assert mmf("import", "--replace", tmp_path / "a.xml")[0] == 0
    assert titles(kept) == ["one"]


@pytest.mark.parametrize("name", ["fifo", "/dev/stdout"])
def test_an_export_writes_into_a_pipe(name: str, mmf: Any, tmp_path: Path) -> None:
    mmf("add", "Prüfen")
    expected, path = mmf("export", "-")[1], tmp_path / "fifo"
    os.mkfifo(path)
    with started(*MMF, "tasks", "export", path if name == "fifo" else name) as process:
        said = path.read_text() if name == "fifo" else ""
        out, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")
    assert said + out == f"{expected}1 tasks: {path if name == 'fifo' else name}\n"
    assert path.is_fifo()


def test_an_export_to_the_output_says_with_json_on_the_errors_what_was_done(mmf: Any) -> None:
    mmf("add", "t")
    code, out, errors = mmf("export", "-", "--json")
    assert (code, len(source_format.read_tasks(out))) == (0, 1)
    assert json.loads(errors) == {"tasks": 1, "file": "-"}


@pytest.mark.skipif(UID != 0, reason="only root saves lists of others")
def test_a_list_that_root_saves_stays_its_owners(mmf: Any, tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    mmf("add", "t", "--file", path)
    os.chown(path, 65534, 65533)
    path.chmod(0o640)
    mmf("add", "u", "--file", path)
    mmf("export", path)
    status = path.stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (65534, 65533, 0o640)


def test_a_damaged_list_is_told_by_its_name_and_made_anew(mmf: Any, kept: Path, tmp_path: Path) -> None:
    good = tmp_path / "good.json"
    mmf("add", "one", "--file", good)
    kept.parent.mkdir(parents=True)
    kept.write_text("garbage")
    for command in (["list"], ["add", "t"], ["import", good]):
        code, _, said = mmf(*command)
        assert code == 7
        assert said.startswith(f"mmf tasks: the tasks cannot be read: {kept}: line 1, column 1: ")
    assert mmf("import", "--replace", good) == (0, "1 tasks were taken\n", "")
    assert titles(kept) == ["one"]


def test_a_list_that_grows_too_long_cannot_be_written(mmf: Any, kept: Path) -> None:
    parameters = {f"p{i}": "x" * 10_000 for i in range(100)}
    store.save(kept, TaskList([Task("t", parameters=parameters) for _ in range(3)]))
    before = kept.read_bytes()
    code, _, said = mmf(
        "add", "t", *(word for name, text in parameters.items() for word in ("--set", f"{name}={text}"))
    )
    assert code == 1
    assert said.startswith("mmf tasks: the tasks cannot be written: tasks: the document has 4")
    assert kept.read_bytes() == before


@pytest.mark.parametrize(("form", "head"), [((), "<?xml"), (("xml",), "<?xml"), (("json",), "{")])
def test_the_schemas_are_shown(form: tuple[str, ...], head: str, mmf: Any) -> None:
    code, said, _ = mmf("schema", *form)
    assert code == 0
    assert said.startswith(head)
    assert "timedOut" in said
    line = mmf("schema", *form, "--json")[1]
    assert line.count("\n") == 1
    assert json.loads(line)["schema"] == said
    assert json.loads(line)["format"] == (form or ("xml",))[0]


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["remove", "x"], 6, "mmf tasks: there are no tasks: add one first"),
        (["run"], 6, "there are no tasks"),
        (["run", "--all"], 6, "there are no tasks"),
        (["list", "--file", "/no/such.xml"], 1, f"{Path('/no/such.xml')}: No such file or directory"),
        (["import", "/no/such.xml"], 1, f"{Path('/no/such.xml')}: No such file or directory"),
        (["import", __file__], 7, f"the tasks cannot be read: {__file__}: line 1, column 1: neither XML nor JSON"),
        (["add", ""], 2, "title: expected a line that is not blank of 1 to 200 characters, not 0"),
        (["add", "t", "--duration", "-1"], 2, "duration: expected a number"),
        (["add", "t", "--set", "x"], 2, "a parameter is given as NAME=TEXT, not 'x'"),
        (["add", "t", "--at", "2"], 2, "2 is no place in the list: the last is 1"),
        (["run", "--select", "x", "--all"], 2, "give one of them"),
        (["run", "--timeout", "nan"], 2, "--timeout is a number of seconds, not nan"),
        (["run", "--command", "'"], 2, "--command"),
        (["nonsense"], 2, "No such command 'nonsense'"),
    ],
)
def test_what_is_wrong_is_told_in_a_line_with_its_code(arguments: list[str], code: int, said: str, mmf: Any) -> None:
    if arguments[0] == "run" and code == 2:
        mmf("add", "t")
    got, out, errors = mmf(*arguments)
    assert (got, out) == (code, "")
    assert said in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("name", ["list", "add", "edit", "remove", "move", "export", "import", "schema", "run"])
def test_each_command_explains_itself(name: str, mmf: Any) -> None:
    code, said, _ = mmf(name, "--help")
    assert code == 0
    assert f"Usage: mmf tasks {name} [OPTIONS]" in said
    assert f"mmf tasks {name}" in mmf("--help")[1] + said


def test_a_list_imports_nothing_heavy() -> None:
    code = "import sys; from memorymapped.cli import main; heavy = {'asyncio', 'rich', 'ctypes'} - set(sys.modules); "
    said = finished(*PYTHON, "-c", code + "main(['tasks', 'list']); print(sorted(heavy & set(sys.modules)))")
    assert said.stdout.splitlines()[-1] == "[]"


# ---------------------------------------------------------------------------------------------------------- the runs


def test_tasks_are_run_and_their_states_kept(kept: Path) -> None:
    store.save(
        kept,
        TaskList(
            [
                Task("good", id="a", duration=0.0, parameters={"prints": "a\x1b[2J"}),
                Task("bad", id="b", parameters={"command": "sh -c 'echo why; exit 5'"}),
            ]
        ),
    )
    done = finished(*RUN, "--all", "--json", "--format", "json")
    assert (done.returncode, done.stderr) == (3, "")
    lines = {line["task"]["id"]: line for line in map(json.loads, done.stdout.splitlines())}
    assert set(lines) == {"a", "b"}
    assert set(lines["b"]) == {"ending", "message", "task", "result", "process"}
    assert lines["a"]["result"]["outcome"] == "succeeded"
    assert lines["b"]["ending"] == "answered"
    assert (lines["b"]["result"]["exitCode"], lines["b"]["result"]["output"]) == (5, "why\n")
    assert lines["b"]["process"]["exitCode"] == 3
    assert [task.state for task in store.load(kept)] == ["succeeded", "failed"]


def test_a_given_list_is_run_in_words_and_not_changed(tmp_path: Path, kept: Path) -> None:
    path = tmp_path / "tasks.xml"
    store.save(path, TaskList([Task("good", duration=0.0, parameters={"prints": "a\x1b[2J"})]))
    before = path.read_bytes()
    done = finished(*RUN, "--file", path)  # the destination chooses
    assert (done.returncode, done.stderr) == (0, "")
    first, second = done.stdout.splitlines()
    assert first.startswith("good: succeeded after 0.")
    assert second == "a\\x1b[2J"
    assert path.read_bytes() == before
    assert not kept.exists()


def test_another_program_is_offered_what_was_selected(tmp_path: Path) -> None:
    """Here it is ours, in the way that a program without named maps takes."""
    path, line = tmp_path / "tasks.xml", shlex.join([*MMF, "tasks-worker", "-q", "{path}", "--lock", "{lock}"])
    store.save(path, TaskList([Task("one"), Task("two", duration=0.0, state="failed")]))
    done = finished(*RUN, "--file", path, "--select", "two", "--command", line)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("two: succeeded")


@pytest.mark.parametrize(
    ("line", "code", "said"),
    [
        ("sh -c 'kill -9 $$'", 8, "was killed by SIGKILL, without an answer"),
        ("sh -c 'exit 9'", 8, "ended with exit code 9, without an answer"),
        ("true", 8, "ended without an answer"),
        ("/no/such/program", 8, "cannot be started"),
        ("sh -c 'sleep 1000'", 5, "did not answer within 0.1 s and was ended"),
    ],
)
def test_a_destination_that_does_not_answer_has_a_code(line: str, code: int, said: str, kept: Path, mmf: Any) -> None:
    mmf("add", "t")
    got, out, errors = mmf("run", "--select", "t", "--command", line, "--timeout", "0.1" if code == 5 else "30")
    assert (got, out) == (code, "")
    assert errors.startswith("mmf tasks: t: ")
    assert said in errors
    assert [task.state for task in store.load(kept)] == ["failed"]


def test_with_json_the_task_is_told_without_an_answer_too(mmf: Any) -> None:
    mmf("add", "t", "--set", "a=b")
    code, out, errors = mmf("run", "--select", "t", "--command", "true", "--json")
    assert (code, errors) == (8, "")
    line = json.loads(out)
    assert (line["ending"], line["result"]) == ("silent", None)
    assert (line["task"]["title"], line["task"]["parameters"]) == ("t", {"a": "b"})


@pytest.mark.parametrize("limit", ["pipe", "descriptors", "list"])
def test_what_goes_wrong_in_one_of_several_runs_is_told_and_ends_the_others(
    limit: str, mmf: Any, kept: Path, mark: str
) -> None:
    mmf("add", "slow", "--command", f"sh -c 'sleep 1000; :' {mark}")  # the first of the list: it is cancelled
    for i in range(30 if limit == "descriptors" else 1):
        mmf("add", f"quick {i}", "--command", f"sh -c 'echo x > {kept}'" if limit == "list" else "true")
    reading, writing = os.pipe()
    os.close(reading)
    command = ["sh", "-c", 'ulimit -n 40; exec "$@"', "sh"] if limit == "descriptors" else []
    output = writing if limit == "pipe" else None
    with started(*command, *RUN, "--all", "--jobs", 31, "--json", **({"stdout": output} if output else {})) as process:
        os.close(writing)
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in errors
    said = {"pipe": "", "descriptors": os.strerror(errno.EMFILE), "list": f"cannot be kept: {kept}: line 1, column 1"}
    assert said[limit] in errors


def test_what_has_become_of_a_task_is_kept_where_nobody_reads_it(mmf: Any, kept: Path) -> None:
    mmf("add", "t", "--duration", 0)
    with open("/dev/full", "w") as full, started(*RUN, "--select", "t", stdout=full) as process:
        process.communicate(timeout=60)
    assert process.returncode == 1
    assert [task.state for task in store.load(kept)] == ["succeeded"]


def test_without_a_selection_and_a_task_that_waits_nothing_is_started(mmf: Any) -> None:
    mmf("add", "t")
    mmf("edit", "t", "--state", "failed")
    assert mmf("run") == (6, "", "mmf tasks: there are no tasks that wait\n")


@pytest.mark.parametrize("several", [False, True])
def test_at_a_terminal_one_shows_how_far_it_is_and_of_several_none(mmf: Any, several: bool) -> None:
    for title in ("one", "two"):
        mmf("add", title, "--duration", 0.1)
    with Terminal(*RUN, *(["--all"] if several else ["--select", "one"])) as terminal:
        shown = terminal.read()
        assert terminal.wait() == 0
    assert ("%" in shown) is not several
    assert shown.count("succeeded after") == 1 + several


def test_ctrl_c_ends_all_runs_first(mmf: Any, mark: str) -> None:
    for title in ("one", "two"):
        mmf("add", title, "--command", f"sh -c 'sleep 1000; :' {mark}")
    with started(*RUN, "--all") as process:
        until(lambda: len(carrying(mark)) == 2, "both commands are at work")
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == -signal.SIGINT
    assert "Traceback" not in errors


def test_a_stopped_destination_is_told(mmf: Any, tmp_path: Path) -> None:
    mmf("add", "t")
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with started(*RUN, "--command", f"sh -c 'kill -STOP $$; read line < {gate}; exit 1'") as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert "is stopped (signal 19); SIGCONT has it go on" in said
        os.kill(int(said.partition("process ")[2].partition(")")[0]), signal.SIGCONT)
        assert "goes on" in process.stderr.readline()
        gate.write_text("\n")
        process.communicate(timeout=30)
    assert process.returncode == 8


# -------------------------------------------------------------------------------------------------------- the worker


def test_a_worker_is_started_by_hand(worker: Any) -> None:
    """Its source is not known to it: it writes the answer and that is all."""
    with SegmentFile.create_new(100_000) as segments:
        segments.append(source_format.write_tasks([Task("one", id="a"), Task("two", id="b")], "json"))
        code, said, errors = worker(segments.file_id, "--select", "2", "--set", "prints=x", "--duration", "0")
        assert (code, errors) == (0, "")
        assert said.startswith("two: succeeded after 0.")
        answer = source_format.read_answer(segments[1])
        assert (answer.details.id, answer.details.parameters, answer.result.output) == ("b", {"prints": "x"}, "x")
        code, said, errors = worker(segments.path)  # as a program without named maps gets it
        assert (code, said) == (1, "")
        assert "has its answer already" in errors


@pytest.mark.parametrize(
    ("document", "arguments", "code", "said"),
    [
        ("<nonsense/>", [], 7, "mmf tasks-worker: the tasks cannot be read: line 1, column 1: expected <tasks"),
        (None, ["--select", "x"], 6, "no task is meant by 'x': there are 't'"),
        (None, ["--set", "1=x"], 2, "the task 't' cannot be configured so: expected a parameter's name"),
    ],
)
def test_a_worker_says_what_is_wrong(
    document: str | None, arguments: list[str], code: int, said: str, worker: Any
) -> None:
    with SegmentFile.create_new(100_000) as segments:
        segments.append(document or source_format.write_tasks([Task("t")]))
        got, out, errors = worker(segments.file_id, *arguments)
        assert (got, out) == (code, "")
        assert said in errors
        assert len(segments) == 1


def test_a_worker_without_a_source_says_so(worker: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    with started(*PYTHON, "-c", "pass") as gone:
        gone.wait()
    with SegmentFile.create_new(4096) as segments:
        segments.append("<tasks/>")
        for file_id, pid in ((segments.file_id, gone.pid), ("no-such-exchange", os.getpid())):
            monkeypatch.setenv("MEMORYMAPPED_TASKS_SOURCE", str(pid))
            code, said, errors = worker(file_id)
            assert (code, said) == (8, "")
            assert "has ended" in errors


def test_a_killed_worker_takes_its_command_along(mark: str, tmp_path: Path) -> None:
    """Whoever has started it."""
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    with SegmentFile.create_new(100_000) as segments:
        command = f"sh -c 'echo > {gate}; read line < {gate}' {mark}"
        segments.append(source_format.write_tasks([Task("t", parameters={"command": command})]))
        with started(*MMF, "tasks-worker", segments.file_id) as process:
            gate.read_text()
            process.kill()
            process.wait()
        assert len(segments) == 1


def test_a_signal_cancels_the_task_of_a_worker_which_is_answered(mark: str) -> None:
    with SegmentFile.create_new(100_000) as segments:
        command = f"sh -c 'echo begun; sleep 1000; :' {mark}"
        segments.append(source_format.write_tasks([Task("t", parameters={"command": command})]))
        with started(*MMF, "tasks-worker", segments.file_id) as process:
            until(lambda: carrying(f"1000; :\0{mark}"), "the command is at work")
            process.send_signal(signal.SIGINT)
            line_with(process, "cancelled after")
            _, errors = process.communicate(timeout=30)
        assert (process.returncode, errors) == (4, "")
        assert source_format.read_answer(segments[1]).result.outcome == "cancelled"

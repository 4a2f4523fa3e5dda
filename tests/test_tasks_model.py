# SPDX-License-Identifier: MIT
"""The source's list of tasks, and the file in which it is kept between runs."""

from __future__ import annotations

import errno
import os
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from subprocess import Popen
from typing import Any

import pytest
from support.here import STATE, WINDOWS

from memorymapped import OutOfRangeError
from memorymapped.tasks import store
from memorymapped.tasks.destination import choose
from memorymapped.tasks.destination_format import read_tasks
from memorymapped.tasks.model import InvalidTaskError, NoSuchTaskError, Task, TaskList, problems_of
from memorymapped.tasks.shapes import DocumentError
from memorymapped.tasks.source_format import write_tasks


def titles(tasks: TaskList) -> list[str]:
    return [task.title for task in tasks]


def some(*names: str) -> TaskList:
    return TaskList(Task(name, id=name[:1]) for name in names)


# --------------------------------------------------------------------------------------------------------------- tasks


@pytest.mark.parametrize(
    ("field", "value", "where", "said"),
    [
        ("title", "", "title", "1 to 200 characters, not 0"),
        ("title", "   ", "title", "expected a line that is not blank"),
        ("title", "a\nb", "title", "expected a line"),
        ("title", "x" * 201, "title", "not 201"),
        ("title", 5, "title", "not a number"),
        ("title", "\ud800", "title", "U+D800"),
        ("description", "x" * 10_001, "description", "not 10001"),
        ("priority", "highest", "priority", "one of low, normal, high, urgent, not 'highest'"),
        ("state", "", "state", "one of waiting, running"),
        ("duration", -1, "duration", "a number from 0 to 1e+06, not -1"),
        ("duration", float("nan"), "duration", "not nan"),
        ("duration", "1", "duration", "expected a number, not a text"),
        ("duration", True, "duration", "expected a number, not true or false"),
        ("parameters", {"1": ""}, "parameters", "expected a name: a letter, then"),
        ("parameters", {"ok": "", "a": 5}, "parameters[a]", "expected a text, not a number"),
        ("parameters", [], "parameters", "expected names and texts, not a list"),
        ("id", "a b", "id", "letters, digits"),
        ("colour", "red", "colour", "'colour' is not known here"),
    ],
)
def test_each_field_says_what_is_wrong_with_it(field: str, value: object, where: str, said: str) -> None:
    found = problems_of({"title": "t", field: value})
    assert list(found) == [where]
    assert said in found[where]


def test_a_task_that_cannot_be_is_not_made() -> None:
    with pytest.raises(InvalidTaskError) as raised:
        Task("", duration=-1)
    assert set(raised.value.problems) == {"title", "duration"}
    assert "title: " in str(raised.value)
    task = Task("t", parameters={"a": "b"})
    with pytest.raises(InvalidTaskError):
        task.edited(priority="no")
    assert task.edited(title="u").fields() == {**task.fields(), "title": "u"}
    assert Task("t").id != Task("t").id


def test_what_a_task_was_given_may_change_without_it() -> None:
    parameters = {"a": "b"}
    task = Task("t", parameters=parameters)
    parameters["a"] = "c"
    assert task.parameters == {"a": "b"}


# --------------------------------------------------------------------------------------------------------------- lists


def test_a_list_is_edited_and_put_in_order() -> None:
    tasks = some("one", "two", "three"[::-1])
    tasks.move("e", 0)
    tasks.edit("t", title="2", state="failed")
    tasks.add(Task("zero", id="z"), 1)
    assert titles(tasks) == ["eerht", "zero", "one", "2"]
    assert tasks.remove("z").title == "zero"
    assert len(tasks) == 3
    assert "z" not in tasks
    with pytest.raises(NoSuchTaskError, match="no task 'z'"):
        tasks.move("z", 0)
    for position in (-1, 3):
        with pytest.raises(OutOfRangeError, match=f"0 to 2 here, got {position}"):
            tasks.move("t", position)
    with pytest.raises(InvalidTaskError, match="is there already"):
        tasks.add(Task("again", id="t"))
    with pytest.raises(InvalidTaskError, match="is there already"):
        tasks.edit("t", id="o")
    assert titles(tasks) == ["eerht", "one", "2"], "what was refused changed something"
    tasks.edit("t", id="z")
    assert ("t" in tasks, "z" in tasks, tasks["z"].title) == (False, True, "2")
    tasks.add(Task("again", id="t"))


def test_a_list_is_filtered() -> None:
    tasks = TaskList(
        [
            Task("Straße", id="a", priority="high"),
            Task("b", id="b", description="in der STRASSE"),
            Task("c", id="c", parameters={"command": "strasse"}, state="failed"),
            Task("d", id="d"),
        ]
    )
    assert [task.id for task in tasks.filtered("strasse")] == ["a", "b", "c"]
    assert [task.id for task in tasks.filtered(state="waiting", priority="normal")] == ["b", "d"]
    assert [task.id for task in tasks.filtered()] == list("abcd")


@pytest.mark.parametrize(
    ("given", "id"), [("1", "abc"), ("abc", "abc"), ("Build", "x1"), ("bui", None), ("buildings", "x2"), ("2", "x1")]
)
def test_a_task_is_found_by_number_id_title_or_beginning(given: str, id: str | None) -> None:
    tasks = TaskList([Task("first", id="abc"), Task("Build", id="x1"), Task("Buildings", id="x2")])
    if id is not None:
        assert tasks.find(given).id == id
    else:
        with pytest.raises(NoSuchTaskError, match="more than one task: 'Build', 'Buildings'"):
            tasks.find(given)


@pytest.mark.parametrize("given", ["1", "2", "3", "x", "fi", "abc", "Fir", "4"])
def test_both_sides_mean_the_same_task(given: str) -> None:
    tasks = TaskList([Task("first", id="2"), Task("x", id="1"), Task("4", id="x"), Task("y", id="abc")])
    offered = read_tasks(write_tasks(tasks))[0]
    assert tasks.find(given).id == choose(offered, given).id


def test_what_no_task_is_called_is_told() -> None:
    with pytest.raises(NoSuchTaskError, match="'4': there are 'one', 'two'"):
        some("one", "two").find("4")
    with pytest.raises(NoSuchTaskError, match="there are no tasks"):
        TaskList().find("x")


# --------------------------------------------------------------------------------------------------------------- store


def test_the_list_is_kept_where_the_user_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    home, below = ("USERPROFILE", "AppData/Local") if WINDOWS else ("HOME", ".local/state")
    monkeypatch.setenv(STATE, str(tmp_path))
    assert store.kept_file() == tmp_path / "memorymapped" / "tasks.xml"
    monkeypatch.setenv(STATE, "relative")
    monkeypatch.setenv(home, str(tmp_path))
    assert store.kept_file() == tmp_path / below / "memorymapped" / "tasks.xml"


@pytest.mark.parametrize("name", ["tasks.xml", "tasks.json"])
def test_a_list_is_saved_and_loaded(name: str, tmp_path: Path) -> None:
    path = tmp_path / "new" / name
    with store.opened(path) as tasks:
        tasks.add(Task("Prüfen", id="a"))
    assert titles(store.load(path)) == ["Prüfen"]
    assert path.read_text(encoding="utf-8")[0] == ("<" if name.endswith("xml") else "{")
    assert WINDOWS or stat.S_IMODE(path.stat().st_mode) == 0o600
    path.chmod(0o640)
    with store.opened(path) as tasks:
        tasks.remove("a")
    assert WINDOWS or stat.S_IMODE(path.stat().st_mode) == 0o640
    assert os.listdir(path.parent) == [name]


def test_after_an_exception_or_without_a_change_the_file_is_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "tasks.xml"
    store.save(path, some("one"))
    before = path.stat().st_ino
    with pytest.raises(InvalidTaskError), store.opened(path) as tasks:
        tasks.edit(tasks.add(Task("two")).id, id="o")  # which is there already
    with store.opened(path):
        pass
    assert path.stat().st_ino == before


def test_a_damaged_list_is_told_and_kept(tmp_path: Path) -> None:
    path = tmp_path / "tasks.xml"
    path.write_text("<tasks")
    with pytest.raises(DocumentError, match="line 1"), store.opened(path):
        pass
    assert path.read_text() == "<tasks"


def test_a_link_is_followed(tmp_path: Path) -> None:
    target, link = tmp_path / "target.xml", tmp_path / "link.xml"
    link.symlink_to(target)
    with store.opened(link) as tasks:
        tasks.add(Task("t"))
    assert link.is_symlink()
    assert len(store.load(target)) == 1


@pytest.mark.parametrize("kind", ["fifo", "socket", "directory", "link to a fifo"])
def test_only_a_regular_file_is_replaced(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    if kind == "directory":
        path.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(path))
    else:
        os.mkfifo(tmp_path / "fifo" if kind.startswith("link") else path)
    if kind.startswith("link"):
        path.symlink_to("fifo")
    before = path.stat()
    with pytest.raises(OSError, match=r"is a \w+.*, not a regular file: .*" + path.name):
        store.save(path, some("one"))
    assert os.path.samestat(path.stat(), before)


def test_a_read_only_list_is_left(tmp_path: Path) -> None:
    path = tmp_path / "list.xml"
    store.save(path, some("one"))
    path.chmod(0o444)
    with pytest.raises(PermissionError, match=r"is read-only: .*list\.xml"), store.opened(path) as tasks:
        tasks.add(Task("two"))
    assert titles(store.load(path)) == ["one"]


def test_a_planted_link_leads_nowhere(tmp_path: Path) -> None:
    """In a folder where others write: of a name that can be foretold they make a link to a file of ours."""
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for name in (".list.xml.new", ".list.xml", "list.xml.new", "list.xml~"):
        (tmp_path / name).symlink_to(victim)
    store.save(tmp_path / "list.xml", some("one"))
    assert victim.read_text() == "precious"
    assert not (tmp_path / "list.xml").is_symlink()


def test_where_there_is_no_room_the_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(fd: int, data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    store.save(tmp_path / "list.xml", some("one"))
    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match=r"No space left.*list\.xml"):
        store.save(tmp_path / "list.xml", some("two"))
    assert titles(store.load(tmp_path / "list.xml")) == ["one"]
    assert os.listdir(tmp_path) == ["list.xml"]


ADDING = """
import sys
from pathlib import Path
from memorymapped.tasks import store
from memorymapped.tasks.destination import choose
from memorymapped.tasks.destination_format import read_tasks
from memorymapped.tasks.model import Task
print("ready", flush=True)
for i in range(int(sys.argv[3])):
    with store.opened(Path(sys.argv[1])) as tasks:
        tasks.add(Task("t", id=f"{sys.argv[2]}{i}"))
        print(i, flush=True)
"""


def test_two_at_a_time_lose_nothing(tmp_path: Path, run: Callable[..., Popen[str]]) -> None:
    path = tmp_path / "tasks.xml"
    both = [run(ADDING, path, name, 15) for name in "ab"]
    for process in both:
        process.communicate(timeout=30)
    assert len(store.load(path)) == 30


def test_who_is_killed_leaves_the_old_list_or_the_new_one(tmp_path: Path, run: Callable[..., Popen[str]]) -> None:
    """Also where a change is under way: the next one has the lock at once."""
    path = tmp_path / "tasks.xml"
    store.save(path, TaskList())
    for round in range(3):
        process: Any = run(ADDING, path, f"r{round}-", 1000)
        for _ in range(3 + round):
            process.stdout.readline()  # of the last one it has only said so: it is about to save, or does
        process.kill()
        process.wait()
        with store.opened(path) as tasks:
            assert {task.title for task in tasks} == {"t"}
            tasks.add(Task("t"))
    # Between two system calls the complete list has a second name.
    assert [name for name in os.listdir(tmp_path) if name != "tasks.xml" and not name.startswith(".mmf-")] == []

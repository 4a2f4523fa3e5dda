# SPDX-License-Identifier: MIT
"""The screens of `mmf tasks` and `mmf tasks-worker`, as a person uses them: keys, mouse, real destinations."""

from __future__ import annotations

import asyncio
import contextlib
import os
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from campaigns import campaign
from programs import LIMIT, MMF, Terminal, plain, started, state, until
from support.here import WINDOWS
from support.pilots import piloted, seen
from support.sessions import carrying, ended, no_children
from textual.pilot import Pilot
from textual.widgets import Input, Select, Static, TextArea

from memorymapped import SegmentFile
from memorymapped.cli.screens.app import ToolApp
from memorymapped.tasks import store
from memorymapped.tasks.destination import SOURCE, Destination, SourceGoneError
from memorymapped.tasks.model import Task, TaskList
from memorymapped.tasks.screens.destination import DestinationScreen
from memorymapped.tasks.screens.form import Form, lines_of, pairs_of
from memorymapped.tasks.screens.panels import Confirm, RunPanel
from memorymapped.tasks.screens.source import SourceScreen
from memorymapped.tasks.source_format import read_answer, write_tasks

if not WINDOWS:
    import fcntl
    import termios

WEB = "textual.drivers.web_driver:WebDriver"
SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A list of three."""
    path = tmp_path / "tasks.xml"
    tasks = [
        Task("First", id="a", duration=0.05, description="of all"),
        Task("Second", id="b", duration=0.05, parameters={"prints": "told"}),
        Task("Third", id="c", duration=60, priority="urgent"),
    ]
    store.save(path, TaskList(tasks))
    return path


@pytest.fixture(autouse=True)
def _nothing_left() -> Iterator[None]:
    with no_children():
        yield


def text_of(pilot: Pilot[None], which: str) -> str:
    return str(pilot.app.screen.query_one(which, Static).content)


def titles(path: Path) -> list[str]:
    return [task.title for task in store.load(path)]


def errors(pilot: Pilot[None]) -> dict[str, str]:
    """What the form says is wrong."""
    found = {str(each.id): str(each.content) for each in pilot.app.screen.query(".error.said").results(Static)}
    return {name.removeprefix("error-"): text for name, text in found.items()}


# ------------------------------------------------------------------------------------------------------- the list


def test_what_others_change_is_shown(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        with store.opened(path) as tasks:
            tasks.add(Task("Fourth", id="d"))
        await seen(pilot, lambda: "4 tasks" in text_of(pilot, "#head"), "the fourth")
        path.write_bytes(b"<tasks>")
        await seen(pilot, lambda: any("cannot be read" in each.message for each in pilot.app._notifications), "why not")
        assert "4 tasks" in text_of(pilot, "#head")
        path.unlink()
        await seen(pilot, lambda: "There are no tasks" in text_of(pilot, "#empty"), "the empty list")

    piloted(screen, steps)


def test_a_task_is_made_with_the_form(tmp_path: Path) -> None:
    path = tmp_path / "new" / "tasks.xml"
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        assert "no tasks yet" in text_of(pilot, "#empty")
        await pilot.press("n")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        await pilot.press(*"Build", "tab", *"a", "enter", *"b", "tab")
        form = pilot.app.screen
        form.query_one(Select).value = "high"
        await pilot.press("tab", "end", "backspace", *"2.5", "tab")
        form.query_one("#command", Input).value = "make -j2"
        form.query_one("#parameters", TextArea).text = "directory=a\\nb"
        await pilot.press("ctrl+s")
        await seen(pilot, lambda: path.exists(), "the list")
        await seen(pilot, lambda: screen.current is not None, "the task")

    piloted(screen, steps)
    (task,) = store.load(path)
    assert task.fields() == {
        "id": task.id,
        "title": "Build",
        "description": "a\nb",
        "priority": "high",
        "duration": 2.5,
        "parameters": {"directory": "a\nb", "command": "make -j2"},
        "state": "waiting",
    }


def test_what_is_wrong_with_a_field_is_said_while_it_is_typed(path: Path) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        form = pilot.app.screen
        assert errors(pilot) == {}  # nothing was touched yet
        form.query_one("#duration", Input).value = "soon"
        await pilot.pause()
        assert errors(pilot) == {"duration": "a number of seconds is expected"}
        form.query_one("#duration", Input).value = "-1"
        await pilot.pause()
        assert "0" in errors(pilot)["duration"]
        form.query_one("#duration", Input).value = "1"
        form.query_one("#fail", Input).value = "101"
        form.query_one("#parameters", TextArea).text = "jobs=4\n4jobs=1"
        await pilot.pause()
        assert set(errors(pilot)) == {"fail", "parameters"}
        form.query_one("#parameters", TextArea).text = "jobs"
        await pilot.pause()
        assert errors(pilot)["parameters"] == "line 1: NAME=TEXT is expected"
        await pilot.press("ctrl+s")
        await pilot.pause()
        assert set(errors(pilot)) == {"title", "fail", "parameters"}
        assert pilot.app.screen is form
        assert pilot.app.focused is form.query_one("#title")
        await pilot.press("escape")
        await pilot.pause()
        assert isinstance(pilot.app.screen, SourceScreen)

    piloted(SourceScreen(path), steps)
    assert titles(path) == ["First", "Second", "Third"]


def test_a_task_is_edited_and_what_was_not_typed_stays_as_it_was(path: Path) -> None:
    strange = {"command": "echo \x1b[2J", "note": "C:\\new\ttab\x00"}
    with store.opened(path) as tasks:
        tasks.edit("a", description="\x1b[2J", parameters=strange, state="failed")

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        await pilot.press("end", "space", *"one", "enter")
        await seen(pilot, lambda: "First one" in titles(path), "the change")

    piloted(SourceScreen(path), steps)
    task = store.load(path)["a"]
    assert (task.description, task.parameters, task.state) == ("\x1b[2J", strange, "waiting")


@pytest.mark.parametrize(
    "text",
    ["a\r\n\tb", "\\n\x1b\\", *campaign("a\u00a0b\u200d\u00ad\u3000c", "C:\\new", "\u202eb\u2028\x85")],
    ids=ascii,
)
def test_a_text_is_saved_as_it_was_but_for_what_was_typed(path: Path, text: str) -> None:
    with store.opened(path) as tasks:
        tasks.edit("a", description=text)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("enter")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        await pilot.press("tab")
        await pilot.pause()
        await pilot.press("Z", "ctrl+s")
        await seen(pilot, lambda: store.load(path)["a"].description != text, "the change")

    piloted(SourceScreen(path), steps)
    assert store.load(path)["a"].description == f"Z{text}"


@pytest.mark.parametrize("text", ["", "a\\nb", "\\", "\n", "\t\r\x1b é\u2028", "\\x41", "\U0001f600\x00"])
def test_any_text_of_a_parameter_comes_through_the_form(text: str) -> None:
    assert pairs_of(lines_of({"a": text, "b": text})) == {"a": text, "b": text}


def test_a_deleted_task_is_brought_back(path: Path) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("down", "delete")
        await seen(pilot, lambda: titles(path) == ["First", "Third"], "the deletion")
        await pilot.press("delete")
        await seen(pilot, lambda: titles(path) == ["First"], "the deletion")
        await pilot.press("u", "u")
        await seen(pilot, lambda: titles(path) == ["First", "Second", "Third"], "both again")

    piloted(SourceScreen(path), steps)


def test_what_cannot_be_saved_is_not_lost(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        async def refused(*keys: str) -> None:
            pilot.app.clear_notifications()
            whole = path.read_bytes()
            path.write_text("damaged")
            await pilot.press(*keys)
            await seen(pilot, lambda: any("not changed" in each.message for each in pilot.app._notifications), "why")
            path.write_bytes(whole)

        await refused("delete")
        assert not screen._deleted, "there is nothing to be brought back"
        await pilot.press("delete")
        await seen(pilot, lambda: titles(path) == ["Second", "Third"], "the deletion")
        await refused("u")
        await pilot.press("u")
        await seen(pilot, lambda: titles(path) == ["First", "Second", "Third"], "it again")
        for key, typed in (("n", "New"), ("e", " one")):
            await pilot.press("home", key)
            await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
            await refused("end", *typed.replace(" ", "_"), "enter")
            await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form again")
            await pilot.press("enter")
            await seen(pilot, lambda t=typed: any(t.replace(" ", "_") in each for each in titles(path)), "the change")

    piloted(screen, steps)


def test_tasks_are_moved_with_keys_and_mouse(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("shift+down", "shift+down", "shift+down")
        await seen(pilot, lambda: titles(path) == ["Second", "Third", "First"], "the last place")
        assert screen.current is not None
        assert screen.current.title == "First"
        await pilot.click("#up")
        await seen(pilot, lambda: titles(path) == ["Second", "First", "Third"], "the middle")
        await pilot.click("TaskTable", offset=(5, 2))
        assert screen.current is not None
        assert screen.current.title == "Third"
        await pilot.press("shift+up")
        await seen(pilot, lambda: titles(path) == ["Second", "Third", "First"], "the middle")

    piloted(screen, steps)


def test_the_filter_shows_what_has_a_text(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("slash", *"IR")
        assert [task.title for task in screen._table.tasks] == ["First", "Third"]
        assert "2 with 'IR'" in text_of(pilot, "#head")
        await pilot.press("enter", "shift+down")  # beyond the next one that is shown
        await seen(pilot, lambda: titles(path) == ["Second", "Third", "First"], "the move")
        await pilot.press("slash", *"x")
        assert "No task has" in text_of(pilot, "#empty")
        await pilot.press("escape")
        assert len(screen._table.tasks) == 3

    piloted(screen, steps)


@pytest.mark.parametrize("key", ["n", "e"])
def test_a_task_that_the_filter_hides_is_told(path: Path, key: str) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        for title, told in (("irons", False), ("Other", True)):
            await pilot.press("slash", *"ir", "enter", key)
            await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
            pilot.app.screen.query_one("#title", Input).value = title
            await pilot.press("ctrl+s")
            await seen(pilot, lambda t=title: t in titles(path), "the task")
            await seen(pilot, lambda: isinstance(pilot.app.screen, SourceScreen), "the list")
            await seen(pilot, lambda n=told: len(pilot.app._notifications) == n, "the message, if it is hidden")
            said = [each.message for each in pilot.app._notifications]
            assert said == [f"{title} is in the list, and not shown: it has no 'ir'"] * told
            await pilot.press("slash", "escape")

    piloted(SourceScreen(path), steps)


def test_what_others_have_changed_is_kept(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        with store.opened(path) as tasks:
            tasks.add(Task("Theirs"))
        await pilot.press("delete")
        await seen(pilot, lambda: titles(path) == ["Second", "Third", "Theirs"], "the deletion")
        await pilot.pause()
        assert len(screen._table.tasks) == 3
        path.write_text("<nonsense")
        await pilot.press("delete")
        await seen(pilot, lambda: any("not changed" in each.message for each in pilot.app._notifications), "a message")

    piloted(screen, steps)
    assert path.read_text() == "<nonsense"


# ------------------------------------------------------------------------------------------------------- the runs


def panels(screen: SourceScreen) -> dict[str, RunPanel]:
    return {panel.job.task.title: panel for panel in screen.query(RunPanel)}


def test_two_run_at_once_and_say_how_they_have_ended(path: Path) -> None:
    screen = SourceScreen(path)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("end", "r", "up", "r")
        long, short = screen.jobs
        await seen(pilot, lambda: short.is_over, "the end of one")
        assert screen.going == [long]
        await seen(pilot, lambda: store.load(path)["b"].state == "succeeded", "the state")
        panel = panels(screen)["Second"]
        assert "succeeded" in str(panel.query_one(".how", Static).content)
        assert str(panel.query_one(".output", Static).content) == "told"
        assert "running" in str(panels(screen)["Third"].query_one(".how", Static).content)
        panel.focus()
        await pilot.press("x")
        await seen(pilot, lambda: len(panels(screen)) == 1, "the panel closed")
        await pilot.press("x")  # the one that goes on, though the cursor is at another
        await seen(pilot, lambda: long.is_over, "the end of the other")
        await seen(pilot, lambda: store.load(path)["c"].state == "cancelled", "the state")

    piloted(screen, steps)


def test_a_killed_destination_is_told_and_a_stopped_one(path: Path) -> None:
    screen = SourceScreen(path, SLEEPER)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r")
        (job,) = screen.jobs
        await seen(pilot, lambda: job.pid is not None, "the start")
        assert job.pid is not None
        os.kill(job.pid, signal.SIGSTOP)
        panel = panels(screen)["First"]
        await seen(pilot, lambda: "stopped" in str(panel.query_one(".how", Static).content), "the stop")
        os.kill(job.pid, signal.SIGCONT)
        await seen(pilot, lambda: "running" in str(panel.query_one(".how", Static).content), "the way on")
        os.kill(job.pid, signal.SIGKILL)
        await seen(pilot, lambda: "killed" in str(panel.query_one(".how", Static).content), "the death")
        assert "SIGKILL" in str(panel.query_one(".message", Static).content)
        await seen(pilot, lambda: store.load(path)["a"].state == "failed", "the state")

    piloted(screen, steps)


@pytest.mark.parametrize(
    ("command", "state", "message"),
    [
        ([sys.executable, "-c", "import sys; sys.exit('no idea')"], "crashed", "exit code 1"),
        ([sys.executable, "-c", ""], "no answer", "without an answer"),
        (["/not/there"], "not started", "/not/there"),
    ],
)
def test_a_destination_that_does_not_answer_is_told(path: Path, command: list[str], state: str, message: str) -> None:
    screen = SourceScreen(path, command)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r")
        (job,) = screen.jobs
        await seen(pilot, lambda: job.is_over and panels(screen), "the end")
        assert (job.state, message in job.message) == (state, True)
        assert ("no idea" in job.output) == (state == "crashed")

    piloted(screen, steps)


def test_a_terminal_that_does_not_come_leaves_the_task_as_it_was(path: Path, tmp_path: Path) -> None:
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    screen = SourceScreen(path, window=["sh", "-c", f"read line < {gate}; exit 3", "{command}"])

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("R")
        (job,) = screen.jobs
        assert (job.state, job.progress) == ("open", None)
        await seen(pilot, lambda: "1 open" in text_of(pilot, "#head"), "that it is open")
        await asyncio.to_thread(gate.write_text, "\n")
        await seen(pilot, lambda: job.is_over and screen._followed[0].is_finished, "the end")
        assert job.state == "crashed"
        assert "no terminal was opened: exit code 3" in job.output

    piloted(screen, steps)
    assert store.load(path)["a"].state == "waiting"


def test_what_runs_is_not_deleted(path: Path) -> None:
    screen = SourceScreen(path, SLEEPER)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r", "delete")
        await seen(pilot, lambda: any("is running" in each.message for each in pilot.app._notifications), "a message")

    piloted(screen, steps)
    assert "First" in titles(path)


def test_leaving_asks_and_ends_what_runs(path: Path) -> None:
    screen = SourceScreen(path, SLEEPER)
    pids: list[int] = []

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r", "down", "r")
        await seen(pilot, lambda: all(job.pid for job in screen.jobs), "the starts")
        pids.extend(job.pid for job in screen.jobs if job.pid)
        await pilot.press("q")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.press("n")
        await seen(pilot, lambda: pilot.app.screen is screen, "the way back")
        assert len(screen.going) == 2
        await pilot.press("q")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Confirm), "the question")
        await pilot.press("y")
        await seen(pilot, lambda: not pilot.app._running or not screen.going, "the end")

    piloted(screen, steps)
    assert len(pids) == 2
    assert all(ended(pid) for pid in pids)


def test_a_screen_that_ends_by_a_signal_ends_what_runs(path: Path) -> None:
    screen = SourceScreen(path, SLEEPER)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r")
        await seen(pilot, lambda: screen.jobs[0].pid is not None, "the start")
        signal.raise_signal(signal.SIGTERM)
        await seen(pilot, lambda: isinstance(pilot.app, ToolApp) and pilot.app.signum, "the signal")

    app = piloted(screen, steps)
    assert app.signum == signal.SIGTERM
    pid = screen.jobs[0].pid
    assert pid is not None
    assert ended(pid)


# ------------------------------------------------------------------------------------------------- the destination


@pytest.fixture
def exchange() -> Iterator[tuple[SegmentFile, Destination]]:
    tasks = [
        Task("First", id="a", duration=0.05, parameters={"prints": "told"}),
        Task("Second", id="b", duration=60, parameters={"empty": ""}),
        Task("Third", id="c", parameters={"command": f"'{sys.executable}' -c 'print(\"out\"); exit(3)'"}),
    ]
    with SegmentFile.create_new(1 << 20, grow=True) as segments:
        segments.write(0, write_tasks(tasks, "xml"))
        with SegmentFile.open_existing(segments.file_id, grow=True) as theirs, Destination(theirs) as offer:
            yield segments, offer


def destination(offer: Destination) -> DestinationScreen:
    return DestinationScreen(offer, offer.tasks[0])


def test_a_task_is_chosen_and_run_and_answered(exchange: tuple[SegmentFile, Destination]) -> None:
    segments, offer = exchange
    screen = destination(offer)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("end")
        await pilot.pause()
        assert f"command = '{sys.executable}" in text_of(pilot, "#details")
        await pilot.press("enter")
        await seen(pilot, lambda: screen.outcome is not None, "the end")
        assert "failed: exit code 3" in text_of(pilot, "#said")
        assert text_of(pilot, "#output") == "out"
        await pilot.press("space")  # any key

    piloted(screen, steps)
    answer = read_answer(segments.read(1))
    assert (answer.details.id, answer.result.outcome, answer.result.exit_code) == ("c", "failed", 3)


def test_a_task_is_configured(exchange: tuple[SegmentFile, Destination]) -> None:
    segments, offer = exchange
    screen = destination(offer)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("down", "e")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        form = pilot.app.screen
        form.query_one("#duration", Input).value = "-1"
        await pilot.press("ctrl+s")
        assert set(errors(pilot)) == {"duration"}
        form.query_one("#duration", Input).value = "0.1"
        form.query_one("#fail", Input).value = "50"
        form.query_one("#parameters", TextArea).text += "\nprints=half"
        await pilot.press("ctrl+s")
        await seen(pilot, lambda: pilot.app.screen is screen, "the way back")
        assert "fail = 50" in text_of(pilot, "#details")
        await pilot.press("r")
        await seen(pilot, lambda: screen.outcome is not None, "the end")

    piloted(screen, steps)
    answer = read_answer(segments.read(1))
    assert (answer.details.id, answer.details.duration, answer.details.parameters) == (
        "b",
        0.1,
        {"empty": "", "fail": "50", "prints": "half"},
    )
    assert (answer.result.outcome, answer.result.output) == ("failed", "half")


@pytest.mark.parametrize(("keys", "message"), [("rx", "cancelled"), ("rq", "cancelled"), ("q", "the user has left")])
def test_who_cancels_or_leaves_answers_that(exchange: tuple[SegmentFile, Destination], keys: str, message: str) -> None:
    segments, offer = exchange
    screen = destination(offer)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("down", *keys)
        await seen(pilot, lambda: screen.outcome is not None, "the end")

    piloted(screen, steps)
    answer = read_answer(segments.read(1))
    assert (answer.details.id, answer.result.outcome) == ("b", "cancelled")
    assert message in answer.result.message


class Ending:
    """Stands for a process that is watched."""

    def __init__(self) -> None:
        self.over = asyncio.Event()

    async def until_ended(self) -> None:
        await self.over.wait()

    def close(self) -> None:
        pass


@pytest.mark.parametrize("what", ["choice", "form", "work"])
def test_without_its_source_it_ends_without_a_key(exchange: tuple[SegmentFile, Destination], what: str) -> None:
    segments, offer = exchange
    screen = destination(offer)
    source: Any = Ending()
    offer._source = source

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("down", *{"choice": "", "form": "e", "work": "r"}[what])
        await pilot.pause()
        assert isinstance(pilot.app.screen, Form) is (what == "form")
        source.over.set()
        end = asyncio.get_running_loop().time() + LIMIT / 2
        while pilot.app._running and not pilot.app._exit:
            assert asyncio.get_running_loop().time() < end, "it goes on"
            await asyncio.sleep(0.005)

    piloted(screen, steps)
    assert isinstance(screen.problem, SourceGoneError)
    with pytest.raises(ValueError, match="closed"):
        offer._segments.read(0)
    assert not segments.wait_for(1, 0)


# --------------------------------------------------------------------------------------------------- the terminal


@pytest.mark.parametrize("size", [(100, 30), (60, 16), (49, 30), (100, 11)])
@pytest.mark.parametrize("side", ["source", "destination"])
def test_a_terminal_of_any_size_shows_it_or_says_that_it_is_too_small(
    path: Path, exchange: tuple[SegmentFile, Destination], size: tuple[int, int], side: str
) -> None:
    screen = SourceScreen(path) if side == "source" else destination(exchange[1])

    async def steps(pilot: Pilot[None]) -> None:
        columns, rows = screen.SMALLEST
        is_small = size[0] < columns or size[1] < rows
        assert pilot.app.screen.query_one("#too-small").display is is_small
        await pilot.resize_terminal(100, 30)
        await seen(pilot, lambda: not pilot.app.screen.query_one("#too-small").display, "that it is large enough")

    piloted(screen, steps, size)


@pytest.mark.parametrize("size", [(20, 5), (49, 30), (100, 11), (50, 12)])
def test_a_form_shows_a_field_or_says_that_it_is_too_small(path: Path, size: tuple[int, int]) -> None:
    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("n")
        await seen(pilot, lambda: isinstance(pilot.app.screen, Form), "the form")
        form = pilot.app.screen
        is_small = size != (50, 12)
        await seen(pilot, lambda: form.query_one("#too-small").display is is_small, "that it is too small, if it is")
        assert form.query_one("#form").display is not is_small
        await pilot.press("A")
        await pilot.resize_terminal(100, 30)
        await seen(pilot, lambda: form.query_one("#form").display, "the form")
        assert form.query_one("#title", Input).value == "A", "nothing typed is lost"
        await pilot.press("escape")
        await seen(pilot, lambda: isinstance(pilot.app.screen, SourceScreen), "the list")

    piloted(SourceScreen(path), steps, size)


def test_without_colours_it_is_seen_where_one_is(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    screen = SourceScreen(path, ["true"])

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("r", "tab")
        await pilot.pause()
        assert panels(screen)["First"].query_one(".what").styles.text_style.reverse

    piloted(screen, steps)


def test_a_task_is_made_and_run_in_a_real_terminal(tmp_path: Path) -> None:
    path = tmp_path / "memorymapped" / "tasks.xml"
    store.save(path, TaskList([Task("Greeting", id="g", parameters={"command": "echo hello-there"})]))
    environment = {"XDG_STATE_HOME": str(tmp_path), "TMUX": ""}
    with Terminal(*MMF, "tasks", columns=100, rows=30, env=environment) as terminal:
        terminal.read("Greeting")
        terminal.type(b"n")
        terminal.read("Create")
        terminal.type(b"Typed\r")
        until(lambda: titles(path) == ["Greeting", "Typed"], "the task is kept")
        terminal.type(b"\x1b[A" + b"r")
        terminal.read("hello-there")
        until(lambda: store.load(path)["g"].state == "succeeded", "the result is kept")
        with store.opened(path) as tasks:
            tasks.edit("g", state="waiting")
        terminal.read("waiting")
        for keys in (b"q", b""):  # once it is left, and nothing was run
            terminal.shown = ""
            terminal.type(b"R")  # the destination draws its screen in the same terminal
            terminal.read("Choose a task")
            terminal.type(keys)
            if keys:
                terminal.shown = ""
                terminal.read("the user has left")
                assert store.load(path)["g"].state == "waiting"
        terminal.type(b"r")
        terminal.read("and that is answered")
        terminal.shown = ""
        terminal.read("Runs")  # the source is back
        until(lambda: store.load(path)["g"].state == "succeeded", "the result is kept")
        terminal.type(b"q")
        assert terminal.wait() == 0
        shown = plain(terminal.read())
    assert "Traceback" not in shown


@pytest.fixture
def lent(tmp_path: Path) -> Iterator[tuple[Terminal, int]]:
    """A source in a real terminal, which a destination has just now; and the id of that process."""
    path = tmp_path / "memorymapped" / "tasks.xml"
    store.save(path, TaskList([Task("Long", id=f"lent-{os.getpid()}", duration=60)]))
    environment = {"XDG_STATE_HOME": str(tmp_path), "TMUX": ""}
    with Terminal(*MMF, "tasks", columns=100, rows=30, env=environment) as terminal:
        terminal.read("Long")
        terminal.type(b"R")
        terminal.read("Choose a task")
        (pid,) = carrying(f"--select=lent-{os.getpid()}")
        watch = os.pidfd_open(pid)
        try:
            yield terminal, pid
        finally:
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(watch, signal.SIGKILL)
            os.close(watch)


def test_the_terminal_is_as_it_was_after_a_destination_that_was_killed_on_it(lent: tuple[Terminal, int]) -> None:
    terminal, pid = lent
    terminal.shown = ""
    os.kill(pid, signal.SIGKILL)
    terminal.read("SIGKILL")
    terminal.type(b"q")
    assert terminal.wait() == 0
    flags = termios.tcgetattr(terminal._master)[3]
    assert flags & termios.ECHO
    assert flags & termios.ICANON


def test_a_destination_that_is_stopped_on_the_terminal_is_told_there(lent: tuple[Terminal, int]) -> None:
    terminal, pid = lent
    for again in (True, False):
        terminal.shown = ""
        os.kill(pid, signal.SIGSTOP)
        terminal.read("the destination is stopped by signal 19")
        terminal.read("Ctrl-C ends it")
        assert termios.tcgetattr(terminal._master)[3] & termios.ISIG
        if again:
            os.kill(pid, signal.SIGCONT)
            terminal.read("Choose a task")
    terminal.shown = ""
    terminal.type(b"\x03")
    terminal.read("cancelled")
    terminal.type(b"q")
    assert terminal.wait() == 0
    assert ended(pid)


def test_a_destination_that_is_stopped_again_before_the_source_looks_is_told_again(lent: tuple[Terminal, int]) -> None:
    terminal, pid = lent
    os.kill(pid, signal.SIGSTOP)
    terminal.read("the destination is stopped by signal 19")
    source = terminal.process
    source.send_signal(signal.SIGSTOP)
    assert os.waitid(os.P_PID, source.pid, os.WSTOPPED) is not None
    try:
        terminal.shown = ""
        os.kill(pid, signal.SIGCONT)
        terminal.read("Choose a task")
        os.kill(pid, signal.SIGSTOP)
        until(lambda: state(pid) == "T", "the destination stops")
    finally:
        source.send_signal(signal.SIGCONT)
    terminal.read("the destination is stopped by signal 19")
    terminal.type(b"\x03")
    terminal.read("cancelled")
    terminal.type(b"q")
    assert terminal.wait() == 0


def test_a_source_that_is_ended_while_a_destination_has_its_terminal_ends_both(lent: tuple[Terminal, int]) -> None:
    terminal, pid = lent
    terminal.process.send_signal(signal.SIGTERM)
    assert terminal.wait() == -signal.SIGTERM
    assert ended(pid)
    assert "Traceback" not in plain(terminal.read())
    assert termios.tcgetattr(terminal._master)[3] & termios.ECHO


def test_a_destination_whose_source_is_killed_gives_the_terminal_back_at_once(lent: tuple[Terminal, int]) -> None:
    terminal, pid = lent
    watch = os.pidfd_open(pid)
    try:
        terminal.process.kill()
        terminal.read("the source has ended")
        assert select.select([watch], [], [], LIMIT)[0]
    finally:
        os.close(watch)
    assert termios.tcgetattr(terminal._master)[3] & termios.ECHO


@pytest.mark.parametrize("keys", [b"", b"e", b"r"], ids=["choice", "form", "work"])
def test_a_destination_in_a_terminal_of_its_own_ends_when_its_source_is_killed(
    exchange: tuple[SegmentFile, Destination], keys: bytes
) -> None:
    segments, _ = exchange
    with started(*SLEEPER) as source:
        environment = {SOURCE: str(source.pid)}
        command = [*MMF, "tasks-worker", segments.file_id, "--select", "b"]
        with Terminal(*command, columns=100, rows=30, env=environment) as terminal:
            terminal.read("Choose a task")
            terminal.type(keys)
            terminal.read({b"": "", b"e": "Configure Second", b"r": "At work"}[keys])
            source.kill()
            assert terminal.wait() == 8
            last = plain(terminal.read()).splitlines()[-1]
            assert "mmf tasks-worker: the source has ended" in last
            assert termios.tcgetattr(terminal._master)[3] & termios.ECHO
    assert not segments.wait_for(1, 0)


def test_a_terminal_that_is_closed_ends_a_destination_that_no_signal_tells(
    exchange: tuple[SegmentFile, Destination],
) -> None:
    segments, _ = exchange
    master, slave = os.openpty()
    try:
        command = [*MMF, "tasks-worker", segments.file_id]
        environment = {**os.environ, "TERM": "xterm"}
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
        process = subprocess.Popen(
            command, stdin=slave, stdout=slave, stderr=slave, start_new_session=True, env=environment
        )
        os.close(slave)
        shown = b""
        while b"Choose a task" not in shown:
            assert select.select([master], [], [], LIMIT)[0]
            shown += os.read(master, 65536)
    finally:
        os.close(master)
    try:
        assert process.wait(LIMIT) == 4
    finally:
        process.kill()
        process.wait()
    assert read_answer(segments.read(1)).result.outcome == "cancelled"


def test_a_browser_shows_it(tmp_path: Path) -> None:
    """As Textual's server has it: packets, and no terminal to be lent."""
    store.save(tmp_path / "memorymapped" / "tasks.xml", TaskList([Task("Served", duration=0.05)]))
    environment = {**os.environ, "XDG_STATE_HOME": str(tmp_path), "TEXTUAL_DRIVER": WEB, "TMUX": "", "TERM": "xterm"}
    with started(*MMF, "tasks", env=environment | {"COLUMNS": "100", "ROWS": "30"}, errors="replace") as process:
        assert process.stdout is not None
        assert process.stdin is not None
        shown = b""

        def read(text: bytes) -> None:
            nonlocal shown
            while text not in shown:
                piece = os.read(process.stdout.fileno(), 65536)
                assert piece, f"{text!r} was never shown"
                shown += piece

        def send(kind: bytes, data: bytes) -> None:
            os.write(process.stdin.fileno(), kind + len(data).to_bytes(4, "big") + data)

        read(b"Served")
        send(b"D", b"r")
        read(b"succeeded")
        read(b"Close")  # the destination has ended, too
        send(b"D", b"R")
        read(b"cannot be lent")
        send(b"D", b"q")
        errors = process.communicate(timeout=LIMIT)[1]
        assert (process.returncode, errors) == (0, "")


def test_without_a_terminal_it_says_so(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    from memorymapped.cli import main

    assert main(["tasks", "--file", str(tmp_path / "none.xml"), "--terminal", "here"]) == 2
    assert "no screen here" in capsys.readouterr().err
    assert main(["tasks", "--file", "x", "list"]) == 2
    assert "behind the command" in capsys.readouterr().err
    assert main(["tasks", "--terminal", "xterm"]) == 2
    assert "{command}" in capsys.readouterr().err

# SPDX-License-Identifier: MIT
"""`mmf tasks`: the source: a list of tasks, and runs of destinations. Alone it draws a screen."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from math import isnan
from pathlib import Path
from typing import Any, TypeVar

import click

from ..system.customs import HAS_WINDOWS, split_line
from ..tasks import store
from ..tasks.documents import FORMATS, MOST_BYTES, characters
from ..tasks.model import PRIORITIES, STATES, InvalidTaskError, NoSuchTaskError, Task, TaskList
from ..tasks.shapes import DocumentError, UnwritableError
from ..tasks.source_format import read_tasks, write_tasks
from .ending import Failure, Interrupted
from .new_files import is_stream, status_of
from .showing import screen_fits
from .streams import standard_input
from .task_ends import CODES, NO_TASK, UNREADABLE
from .task_words import parameters, safe
from .words import shown

__all__ = ["command"]

F = TypeVar("F", bound=Callable[..., Any])

EPILOG = f"""\b
Examples:
  mmf tasks
  mmf tasks --terminal "xterm -e {{command}}"
  mmf tasks add "Build" --command "make -j2" --priority high
  mmf tasks add "Wait a while" --duration 5
  mmf tasks list
  mmf tasks run --select Build
  mmf tasks run --file tasks.xml --all --json --timeout 60
  mmf tasks export tasks.json
  mmf tasks schema xml > tasks.xsd

The list is kept in $XDG_STATE_HOME/memorymapped/tasks.xml (~/.local/state; on Windows %LOCALAPPDATA%); --file FILE
takes another one, which may be JSON. A TASK is meant by its id, its title, its number in the list, or the beginning of
id or title.

{CODES}"""


def _file(function: F) -> F:
    path = click.Path(path_type=Path, dir_okay=False)
    return click.option("--file", type=path, help="The list, instead of the kept one.")(function)


@click.group("tasks", short_help="Tasks that other processes run.", epilog=EPILOG, invoke_without_command=True)
@_file
@click.option("--command", "line", metavar="LINE", help="Another destination; {id}, {path}, {lock} are filled in.")
@click.option(
    "--terminal",
    metavar="LINE",
    envvar="MEMORYMAPPED_TASKS_TERMINAL",
    help="Opens another terminal for a destination with a screen; {command} is filled in.  "
    "[default: in tmux a pane; on Windows a window]",
)
@click.pass_context
def command(context: click.Context, file: Path | None, line: str | None, terminal: str | None) -> None:
    """Keeps a list of tasks, and has other processes run them: each gets the tasks in a segment file in shared memory,
    runs one, and answers.

    Without a command, at a terminal: shows the list on a screen, to edit and to run it. There, --terminal here keeps
    destinations with a screen in the same terminal. Such options stand behind a command, if there is one."""
    if context.invoked_subcommand is not None:
        if file is not None or line is not None:
            raise click.UsageError(f"options are given behind the command: mmf tasks {context.invoked_subcommand} ...")
        return
    words, window = _words("--command", line), _words("--terminal", terminal)
    if window is None:
        in_tmux = ["tmux", "split-window", "{command}"] if os.environ.get("TMUX") else ["here"]
        window = ["window"] if HAS_WINDOWS else in_tmux
    if HAS_WINDOWS and window not in (["here"], ["window"]):
        raise click.UsageError("--terminal is 'window', or 'here'")
    if not HAS_WINDOWS and window != ["here"] and not any("{command}" in word for word in window):
        raise click.UsageError("--terminal is 'here', or has {command} in it")
    if not screen_fits("tasks"):
        raise Failure("there is no screen here; mmf tasks --help shows the commands that need none", 2)

    from ..tasks.screens import source

    with _told():
        source.run(file or store.kept_file(), words, () if window == ["here"] else window)


def _words(option: str, line: str | None) -> list[str] | None:
    """A command line, split as a shell does."""
    try:
        words = None if line is None else split_line(line)
    except ValueError as error:
        raise click.UsageError(f"{option} {line!r}: {error}") from None
    if words == []:
        raise click.UsageError(f"{option} is empty")
    return words


def _json(function: F) -> F:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON.")(function)


def _fields(function: F) -> F:
    """The options that are fields of a task."""
    for option in (
        click.option("--set", "given", multiple=True, metavar="NAME=TEXT", help="A parameter, for the destination."),
        click.option("--command", "line", metavar="LINE", help="The command to run: the parameter command."),
        click.option("--duration", type=float, metavar="SECONDS", help="How long it is thought to take."),
        click.option("--priority", type=click.Choice(PRIORITIES)),
        click.option("--description", help="More lines about it."),
    ):
        function = option(function)
    return function


def _given(given: tuple[str, ...], line: str | None, **fields: Any) -> dict[str, Any]:
    """Those fields that were given."""
    changes = parameters(given) | ({} if line is None else {"command": line})
    return {name: value for name, value in fields.items() if value is not None} | (
        {"parameters": changes} if changes else {}
    )


@contextlib.contextmanager
def _told() -> Iterator[None]:
    """What goes wrong with a list, as a line for the user."""
    try:
        yield
    except InvalidTaskError as error:
        raise click.UsageError(str(error)) from None
    except NoSuchTaskError as error:
        raise Failure(str(error), NO_TASK) from None
    except UnwritableError as error:
        raise Failure(f"the tasks cannot be written: {error}") from None
    except DocumentError as error:
        raise Failure(f"the tasks cannot be read: {error}", UNREADABLE) from None
    except BrokenPipeError:
        raise
    except OSError as error:
        place = "" if error.filename is None else f"{shown(error.filename)}: "
        raise Failure(f"{place}{error.strerror or error}") from error


@contextlib.contextmanager
def _changing(file: Path | None, *, anew: bool = False) -> Iterator[TaskList]:
    with _told(), store.opened(file or store.kept_file(), anew=anew) as tasks:
        yield tasks


def _loaded(file: Path | None) -> TaskList:
    """A given file must be there; the kept one comes with the first task."""
    with _told():
        try:
            return store.load(file or store.kept_file())
        except FileNotFoundError:
            if file is not None:
                raise
            return TaskList()


def _say(task: Task, what: str, as_json: bool) -> None:
    print(json.dumps(task.fields()) if as_json else f"{what} {safe(task.title)} ({task.id})")


# ------------------------------------------------------------------------------------------------------- the list


@command.command("list", short_help="Shows the tasks.")
@click.argument("text", required=False, default="")
@click.option("--state", type=click.Choice(STATES))
@click.option("--priority", type=click.Choice(PRIORITIES))
@_file
@_json
def list_tasks(text: str, state: str | None, priority: str | None, file: Path | None, as_json: bool) -> None:
    """Shows the tasks that have TEXT in title, description or parameters. With --json as a document of the published
    schema."""
    tasks = _loaded(file)
    found = tasks.filtered(text, state=state, priority=priority)
    if as_json:
        print(write_tasks(found, "json"), end="")
        return
    numbers = {task.id: number for number, task in enumerate(tasks, 1)}
    for task in found:
        number = numbers[task.id]
        line = task.parameters.get("command")
        what = safe(task.title) + (f"  $ {safe(line)}" if line is not None else "")
        print(f"{number:>4}  {task.state:<9}  {task.priority:<6}  {task.duration:>9g} s  {what}")


@command.command("add", short_help="Adds a task.")
@click.argument("title")
@_fields
@click.option("--at", type=click.IntRange(1), metavar="NUMBER", help="Its place in the list.  [default: the last]")
@_file
@_json
def add(title: str, at: int | None, file: Path | None, as_json: bool, **fields: Any) -> None:
    """Adds a task called TITLE. With --command it is run as a command line, without one it is simulated."""
    with _changing(file) as tasks:
        _check_place(at, len(tasks) + 1)
        task = tasks.add(Task(title, **_given(**fields)), None if at is None else at - 1)
    _say(task, "added", as_json)


@command.command("edit", short_help="Changes a task.")
@click.argument("which", metavar="TASK")
@click.option("--title")
@_fields
@click.option("--unset", multiple=True, metavar="NAME", help="Takes a parameter away.")
@click.option("--state", type=click.Choice(STATES))
@_file
@_json
def edit(which: str, unset: tuple[str, ...], file: Path | None, as_json: bool, **fields: Any) -> None:
    """Changes what is given of TASK."""
    changes = _given(**fields)
    with _changing(file) as tasks:
        task = tasks.find(which)
        kept = {name: text for name, text in task.parameters.items() if name not in unset}
        task = tasks.edit(task.id, **{**changes, "parameters": kept | changes.get("parameters", {})})
    _say(task, "changed", as_json)


@command.command("remove", short_help="Removes tasks.")
@click.argument("which", metavar="TASK...", nargs=-1, required=True)
@_file
@_json
def remove(which: tuple[str, ...], file: Path | None, as_json: bool) -> None:
    """Removes tasks: all of them, or none if one is not there."""
    with _changing(file) as tasks:
        removed = [tasks.find(each) for each in which]  # numbers are those before
        for task in dict.fromkeys(removed):
            tasks.remove(task.id)
    for task in dict.fromkeys(removed):
        _say(task, "removed", as_json)


@command.command("move", short_help="Puts a task at another place.")
@click.argument("which", metavar="TASK")
@click.argument("place", type=click.IntRange(1), metavar="NUMBER")
@_file
@_json
def move(which: str, place: int, file: Path | None, as_json: bool) -> None:
    """Puts TASK at place NUMBER of the list."""
    with _changing(file) as tasks:
        task = tasks.find(which)
        _check_place(place, len(tasks))
        tasks.move(task.id, place - 1)
    _say(task, "moved", as_json)


def _check_place(place: int | None, last: int) -> None:
    if place is not None and place > last:
        raise click.UsageError(f"{place} is no place in the list: the last is {last}")


@command.command("export", short_help="Writes the tasks to a file.")
@click.argument("target", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--format", "form", type=click.Choice(FORMATS), help="[default: by the name of FILE, else xml]")
@_file
@_json
def export(target: Path, form: str | None, file: Path | None, as_json: bool) -> None:
    """Writes the tasks to FILE, or to the output for -. A pipe or a device is written into."""
    tasks = _loaded(file)
    form = form or ("json" if target.suffix == ".json" else "xml")
    said = json.dumps({"tasks": len(tasks), "file": str(target)}) if as_json else f"{len(tasks)} tasks: {target}"
    with _told():
        if str(target) == "-":
            print(write_tasks(tasks, form), end="")
        elif is_stream(status_of(str(target))):
            target.write_text(write_tasks(tasks, form), encoding="utf-8")
        else:
            store.save(target, tasks, form)
    if str(target) != "-":
        print(said)
    elif as_json:
        print(said, file=sys.stderr)


@command.command("import", short_help="Takes tasks from a file.")
@click.argument("origin", metavar="FILE", type=click.Path(path_type=Path, dir_okay=False, allow_dash=True))
@click.option("--replace", is_flag=True, help="Instead of those that are in the list, also if that is damaged.")
@_file
@_json
def import_tasks(origin: Path, replace: bool, file: Path | None, as_json: bool) -> None:
    """Takes the tasks of FILE (or of the input for -), XML or JSON, into the list. One with an id that is in the list
    takes the place of that task."""
    with _told():
        if str(origin) == "-":
            found = read_tasks(characters(standard_input().read(MOST_BYTES + 1)))
        else:
            found = list(store.load(origin))
    with _changing(file, anew=replace) as tasks:
        for task in found:
            if task.id in tasks:
                tasks.edit(task.id, **task.fields())
            else:
                tasks.add(task)
    print(json.dumps({"tasks": len(found)}) if as_json else f"{len(found)} tasks were taken")


@command.command("schema", short_help="Shows the published schema.")
@click.argument("form", type=click.Choice(FORMATS), default="xml")
@_json
def schema(form: str, as_json: bool) -> None:
    """Prints the schema of the documents, tasks and answers: XSD for xml, JSON Schema for json. With --json its text is
    one value of an object."""
    from importlib.resources import files

    name = "tasks.xsd" if form == "xml" else "tasks.schema.json"
    text = files("memorymapped.tasks").joinpath("schemas", name).read_text(encoding="utf-8")
    print(json.dumps({"format": form, "name": name, "schema": text}) if as_json else text, end="\n" if as_json else "")


# --------------------------------------------------------------------------------------------------------- the runs

RUN_EPILOG = f"""\b
Examples:
  mmf tasks run --select Build
  mmf tasks run --file tasks.xml --select 2 --select 5 --json
  mmf tasks run --all --jobs 2 --timeout 60
  mmf tasks run --select Build --command "dotnet destination.dll {{path}} {{lock}}"

\b
With --json there is a line for each destination, when it has ended:
  ending     answered, silent, crashed, killed, unreadable, timeout, unstartable
  message    that in words
  task       id, title, duration and parameters: as they were run; without an answer as selected; or null
  result     outcome, seconds, output, truncated, message, exitCode, signal; null without an answer
  process    pid, exitCode, signal, seconds

With several destinations the exit code is that of the first, in the order in which they were selected, that is not 0.
Ctrl-C and SIGTERM end all destinations first.

{CODES}"""


@command.command("run", short_help="Has other processes run tasks.", epilog=RUN_EPILOG)
@click.option("--select", "selected", multiple=True, metavar="TASK", help="A destination for this task.")
@click.option("--all", "every", is_flag=True, help="A destination for each task that waits.")
@click.option("--jobs", type=click.IntRange(1), default=4, show_default=True, help="How many at a time.")
@click.option("--format", "form", type=click.Choice(FORMATS), default="xml", show_default=True)
@click.option("--timeout", type=click.FloatRange(0, 1e9), metavar="SECONDS", help="Until the answer of each.")
@click.option("--command", "line", metavar="LINE", help="Another destination; {id}, {path}, {lock} are filled in.")
@_file
@_json
def run(
    selected: tuple[str, ...],
    every: bool,
    jobs: int,
    form: str,
    timeout: float | None,
    line: str | None,
    file: Path | None,
    as_json: bool,
) -> int:
    """Starts a destination, another process, for each selected task, and shows what it answers. Without a selection the
    destination takes the most urgent task that waits. What has become of a task is kept in the list; a given --file is
    not changed."""
    if timeout is not None and isnan(timeout):  # which is in any range
        raise click.UsageError("--timeout is a number of seconds, not nan")
    if selected and every:
        raise click.UsageError("--select and --all: give one of them")
    tasks = _loaded(file)
    with _told():
        chosen: list[Task | None] = [*map(tasks.find, selected)]
        if every:
            chosen = [*tasks.filtered(state="waiting")]
        elif not selected:
            chosen = [None]
        is_ours_to_choose = not selected and line is None  # another program may choose what does not wait
        if not len(tasks):
            raise NoSuchTaskError("there are no tasks: add one first")
        if not chosen or (is_ours_to_choose and not tasks.filtered(state="waiting")):
            raise NoSuchTaskError("there are no tasks that wait")
        write_tasks(tasks, form)  # too long: said before anything is started
    words = _words("--command", line)

    from .task_runs import run_all

    codes, signum = run_all(tasks, chosen, words, form, timeout, jobs, None if file else store.kept_file(), as_json)
    if signum is not None:
        raise Interrupted(signum)
    return next((code for code in codes if code), 0)

# SPDX-License-Identifier: MIT
"""Every run has a root of its own for named objects, so that it meets nobody else's, and leaves nothing behind.

The root is set before memorymapped is imported; children that tests start inherit it. After each test the folder of
names must be empty of objects: a test that leaves one fails.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import importlib
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import campaigns
import pytest
from programs import Result, Tool
from root import ROOT, objects
from support.here import WINDOWS
from support.leftovers import alone, files_of, unique
from support.sessions import gone

if WINDOWS:
    from windows.skipping import (  # noqa: F401
        pytest_collection_modifyitems,
        pytest_ignore_collect,
        pytest_report_header,
        pytest_runtest_makereport,
    )

Started = subprocess.Popen[str]


_folders = contextlib.ExitStack()


def pytest_addoption(pluginmanager: pytest.PytestPluginManager) -> None:
    pluginmanager.register(campaigns)


def pytest_configure(config: pytest.Config) -> None:
    import memorymapped  # noqa: F401 - an editable installation is rebuilt now, and not by many processes at once

    if not hasattr(config, "workerinput"):  # not a worker of pytest-xdist: those share what their starter does
        _folders.enter_context(alone())
    # Not pytest's own place in the temporary folder, which keeps the files of the last three runs.
    if config.option.basetemp is None:
        config.option.basetemp = tempfile.mkdtemp(prefix="memorymapped-tests-")


def pytest_unconfigure(config: pytest.Config) -> None:
    _folders.close()
    shutil.rmtree(ROOT, ignore_errors=True)
    shutil.rmtree(config.option.basetemp, ignore_errors=True)


def pytest_sessionstart(session: pytest.Session) -> None:
    """Each worker imports its share of the tests first, so that what pytest compiles them to is made once, and not by
    all of them at the same time. One that cannot be imported is told when it is collected."""
    if (worker := getattr(session.config, "workerinput", None)) is None or session.config.args_source.name == "ARGS":
        return
    modules = sorted(Path(__file__).parent.glob("test_*.py"))
    for path in modules[int(worker["workerid"].removeprefix("gw")) :: worker["workercount"]]:
        with contextlib.suppress(Exception):
            importlib.import_module(path.stem)


def pytest_runtest_setup() -> None:
    """Each test begins without an exception. CPython 3.11 goes on handling one that a trace function has raised at some
    lines (tests/support/interrupting.py): it would be the context of what the tests after it raise."""
    if sys.exc_info()[1] is not None:
        ctypes.pythonapi.PyErr_SetExcInfo(*[ctypes.py_object()] * 3)
    assert sys.exc_info()[1] is None


def pytest_collection_finish() -> None:
    """What is there now stays: looking for garbage need not go through it again."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def nothing_left() -> Iterator[None]:
    """No named object outlives the test that made it."""
    assert objects() == []
    yield
    left = objects()
    for name in left:
        (ROOT / name).unlink(missing_ok=True)
    assert left == [], "the test left named objects behind"


@pytest.fixture
def tag() -> Iterator[str]:
    """The last part of a mutex's name that no other test has. No state file of that name outlives the test."""
    tag = unique()
    yield tag
    left = files_of(tag)
    for path in left:
        path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()
        with contextlib.suppress(OSError):
            path.parent.rmdir()
    assert left == [], "the test left mutexes behind"


@pytest.fixture
def run() -> Iterator[Callable[..., Started]]:
    """Starts real child processes: `run(code, *arguments)` runs Python code, with pipes for stdin and stdout (text).
    Whatever happens in the test, each is ended and reaped, and its descriptors are closed."""
    started: list[Started] = []

    def start(code: str, *arguments: object, **options: object) -> Started:
        process: Started = subprocess.Popen(
            [sys.executable, "-W", "error", "-c", code, *map(str, arguments)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            **options,  # type: ignore[call-overload]
        )
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


@pytest.fixture
def mark() -> Iterator[str]:
    """Stands in command lines. No process with it is left."""
    mark = unique()
    yield mark
    gone(mark)


@pytest.fixture
def mmf(capfd: pytest.CaptureFixture[str]) -> Tool:
    """Runs a command in this process."""
    from memorymapped.cli import main

    def run(*words: object) -> Result:
        capfd.readouterr()
        code = main([str(word) for word in words])
        return Result(code, *capfd.readouterr())

    return run

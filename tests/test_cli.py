# SPDX-License-Identifier: MIT
"""The command `mmf` as a whole: overview, usage errors, what happens without its extras."""

from __future__ import annotations

import os
import subprocess
import sysconfig
from pathlib import Path

import pytest
from programs import MMF, PYTHON, finished

import memorymapped
from memorymapped.cli import COMMANDS, overview

USE = "import sys; from memorymapped.cli import main; "


def test_the_installed_command_and_the_module_are_the_same() -> None:
    command = Path(sysconfig.get_path("scripts"), "mmf")
    for program in ([command], MMF):
        said = finished(*program, "--version")
        assert (said.returncode, said.stdout, said.stderr) == (0, f"mmf {memorymapped.__version__}\n", "")


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_lists_every_command(option: str) -> None:
    said = finished(*MMF, option)
    assert (said.returncode, said.stderr) == (0, "")
    assert said.stdout == overview()
    for name, summary in COMMANDS.items():
        assert f"  {name} " in said.stdout
        assert summary in said.stdout


def test_help_imports_nothing_heavy() -> None:
    heavy = "{'click', 'rich', 'json', 'subprocess', 'tempfile'}"
    code = f"import sys; heavy = {heavy} - set(sys.modules)\n"  # an editable installation has some of them at the start
    said = finished(*PYTHON, "-c", code + USE + "main(['--help']); print(sorted(heavy & set(sys.modules)))")
    assert said.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("name", COMMANDS)
def test_each_command_explains_itself_with_examples(name: str) -> None:
    loaded = "print([m for m in sys.modules if m in ('rich', 'textual')])"
    said = finished(*PYTHON, "-c", USE + f"main(['{name}', '--help']); {loaded}")
    assert (said.returncode, said.stderr) == (0, "")
    assert f"Usage: mmf {name} [OPTIONS]" in said.stdout
    assert f"  mmf {name}" in said.stdout.partition("Examples:")[2]
    assert said.stdout.splitlines()[-1] == "[]", "drawing is imported before anything is drawn"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "Usage: mmf COMMAND"),
        (["nonsense"], "No such command 'nonsense'"),
        (["--nonsense"], "No such option"),
        (["cp", "a"], "Missing argument 'DST'"),
        (["cp", "--nonsense", "a", "b"], "No such option"),
        (["demo", "--size", "0"], "0 is not in the range"),
        (["demo", "--size", "1", "--file", __file__], "give one of them"),
        (["demo", "--size", "1", __file__], "give one of them"),
        (["demo", "--file", __file__, __file__], "give one of them"),
    ],
)
def test_wrong_usage_is_explained_with_exit_code_2(arguments: list[str], said: str) -> None:
    program = finished(*MMF, *arguments)
    assert program.returncode == 2
    assert said in program.stderr
    assert "Traceback" not in program.stderr
    assert program.stdout == ""


@pytest.mark.parametrize("arguments", [[], ["--help"], ["demo"], ["cp", "a", "b"]])
def test_without_click_one_line_says_what_to_install(arguments: list[str]) -> None:
    # As in an installation without extras: the import fails.
    program = finished(*PYTHON, "-c", USE + f"sys.modules['click'] = None; sys.exit(main({arguments}))")
    assert program.returncode == 2
    assert program.stdout == ""
    assert len(program.stderr.splitlines()) == 1
    assert "pip install 'memorymapped[cli]'" in program.stderr


def test_help_into_a_pipe_that_has_closed_is_no_traceback() -> None:
    with subprocess.Popen([*MMF, "--help"], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()
        assert program.stderr.read() == b""
        assert program.wait(30) == 1


@pytest.mark.parametrize("unbuffered", ["", "1"], ids=["buffered", "unbuffered"])
@pytest.mark.parametrize(
    "arguments", [["demo"], ["cp", "--force", __file__, "copy"], ["--help"], ["--version"], ["demo", "--help"]]
)
def test_output_to_a_full_disk_is_told_in_a_line(arguments: list[str], unbuffered: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        program = subprocess.run(
            [*MMF, *arguments],
            env=environment,
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            cwd=tmp_path,
            timeout=30,
            check=False,
        )
    assert program.returncode == 1
    assert program.stderr == f"mmf {arguments[0]}: the output cannot be written: No space left on device\n"

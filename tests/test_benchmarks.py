# SPDX-License-Identifier: MIT
"""The benchmark runs and says what it measured. How fast anything is, is no test's affair."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("rich")
pytest.importorskip("numpy")

REPOSITORY = Path(__file__).parent.parent


def run(*arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", *map(str, arguments)],
        cwd=REPOSITORY,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=50,
    )


def test_a_quick_run_has_every_row_that_was_asked_for(tmp_path: Path) -> None:
    before = set(os.listdir("/dev/shm"))
    done = run(
        "--quick", "--rows", "1a,2a,3d,6c,7a,7c", "--rounds", 2, "--without-dotnet",
        "--folder", tmp_path, "--json", tmp_path / "out.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    written = json.loads((tmp_path / "out.json").read_text())
    assert {case["row"] for case in written["cases"]} == {"1a", "2a", "3d", "6c", "7a", "7c"}
    for case in written["cases"]:
        assert case["title"] in done.stdout.replace("\n", " ")
        assert case["peers"][0]["ratio"] == 1.0
        assert any(peer["ours"] for peer in case["peers"])
        for peer in case["peers"]:
            assert 0 < peer["minimum_ns"] <= peer["median_ns"]
            assert peer["ratio"] > 0
    goals = [goal for case in written["cases"] for goal in case["goals"]]
    judged = {goal["verdict"].split()[0].rstrip(":") for goal in goals}
    assert goals
    assert judged <= {"reached", "missed", "later", "not"}
    assert all(goal["verdict"].startswith("not measured") for goal in goals if goal["over"].startswith(".NET"))
    assert os.listdir(tmp_path) == ["out.json"]
    assert {name for name in os.listdir("/dev/shm") if name.startswith("benchmark-")} <= before


def test_a_row_that_does_not_exist_is_refused() -> None:
    done = run("--rows", "9z", "--without-dotnet")
    assert done.returncode == 2
    assert "9z" in done.stdout


def test_terminated_it_leaves_nothing_behind(tmp_path: Path) -> None:
    process = subprocess.Popen(
        [
            sys.executable,
            "-u",
            "-m",
            "benchmarks",
            "--quick",
            "--rows",
            "3d,3e",
            "--folder",
            tmp_path,
            "--without-dotnet",
        ],
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    with process, process.stdout:
        assert any(line.startswith("3d") for line in process.stdout)  # the first of four cases: it is at the next
        assert os.listdir(tmp_path)
        process.terminate()
        assert process.wait(timeout=50) == 143
    assert os.listdir(tmp_path) == []


def test_the_runtime_is_looked_for_where_the_tool_puts_it(tmp_path: Path) -> None:
    folder = tmp_path / "memorymapped" / "dotnet"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "csc-run").touch()
    environment = {name: value for name, value in os.environ.items() if name != "MEMORYMAPPED_DOTNET"}
    environment["XDG_CACHE_HOME"] = str(tmp_path)
    code = "from benchmarks.dotnet import runtime; print(runtime())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env=environment, capture_output=True, text=True, timeout=50
    )
    assert done.stdout.strip() == str(folder), done.stderr
    usage = subprocess.run([REPOSITORY / "tools" / "dotnet-runtime", "--help"], capture_output=True, text=True)
    assert "FOLDER is ${XDG_CACHE_HOME:-~/.cache}/memorymapped/dotnet unless given" in usage.stdout

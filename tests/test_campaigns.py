# SPDX-License-Identifier: MIT
"""Campaigns within a time (`campaigns`)."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def ran(folder: Path, *options: str) -> tuple[list[int], str]:
    """The tests of a file, in their order, and what was shown."""
    (folder / "pytest.ini").write_text("[pytest]\n")
    (folder / "test_x.py").write_text(
        "import pytest\n@pytest.mark.parametrize('i', range(20))\ndef test_x(i): print(f'ran {i}.')\n"
    )
    temp = f"--basetemp={folder / 'temp'}"  # pytest's own place keeps the files of the last runs
    command = [sys.executable, "-m", "pytest", temp, "-p", "campaigns", "-p", "no:cacheprovider", "-rs", "-s", *options]
    done = subprocess.run(
        command, cwd=folder, env={"PYTHONPATH": str(HERE)}, capture_output=True, text=True, timeout=50, check=True
    )
    return [int(number) for number in re.findall(r"ran (\d+)\.", done.stdout)], done.stdout


@pytest.mark.campaign
def test_the_order_is_by_chance_and_can_be_had_again(tmp_path: Path) -> None:
    assert ran(tmp_path)[0] == list(range(20))
    order, shown = ran(tmp_path, "--within", "1000")
    assert sorted(order) == list(range(20))
    assert order != list(range(20))
    seed = re.findall(r"--seed (\d+)", shown)[0]
    assert ran(tmp_path, "--within", "1000", "--seed", seed)[0] == order
    both = ran(tmp_path, "--within", "1000", "--seed", seed, "-n", "2")[1]
    assert "20 passed" in both


def test_what_has_not_begun_in_time_is_left_out_and_said(tmp_path: Path) -> None:
    order, shown = ran(tmp_path, "--within", "0")
    assert order == []
    assert re.search(r"SKIPPED \[20\] .*: the time of --within 0 was over", shown)


def test_shares_are_all_together(tmp_path: Path) -> None:
    shares = [ran(tmp_path, "--share", f"{number}/3")[0] for number in (1, 2, 3)]
    assert shares == [list(range(first, 20, 3)) for first in range(3)]

# SPDX-License-Identifier: MIT
"""Writers of a SharedMemory are ended at any moment, by TerminateProcess, while others write and read it."""

from __future__ import annotations

import random
import time
from pathlib import Path

import pytest
from support.crew import Crew, Table
from support.leftovers import unique
from windows.value_writers import COUNT, READS, STOP, Value, read, whole, write, write_file

from memorymapped import SharedMemory

WRITERS, SECONDS = 3, 6.0


@pytest.mark.parametrize("foreign", [True, False])
def test_writers_are_killed_and_nobody_sees_a_mixture(foreign: bool) -> None:
    name, table, dice, kills = unique(), Table(), random.Random(5), 0
    crew = Crew(lambda: table.__setitem__(STOP, 1))
    with SharedMemory(Value, name, foreign=foreign) as shared:
        try:
            writers = {crew.start(write, table, which, name): which for which in range(1, WRITERS + 1)}
            crew.start(read, table, name)
            until = time.monotonic() + SECONDS
            while time.monotonic() < until or not table[READS]:
                time.sleep(dice.uniform(0, 0.02))
                ours = dice.choice(list(writers))
                if not table[COUNT + writers[ours]]:
                    continue  # it has not begun yet
                crew.kill(ours)
                kills += 1
                which = writers.pop(ours)
                whole(shared.data)
                writers[crew.start(write, table, which, name)] = which
                table[COUNT + which] += 1  # what it was about to write is there, or not
            crew.stop()
        finally:
            crew.end()
        whole(shared.data)
        print(f"{kills} kills, {table[READS]} reads, {shared.version} versions, {shared.statistics()}")
        assert kills > 0
        assert shared.version is not None
        assert shared.version > sum(table[COUNT + which] for which in range(1, WRITERS + 1)) - 2 * kills
        shared.data = Value(1, 1, b"x")
        assert shared.data.number == 1


def test_a_file_of_which_all_users_were_killed_goes_on(tmp_path: Path) -> None:
    """Again and again: the lock has ended with them, and the value is one of those that were written."""
    path, table = tmp_path / "value", Table()
    crew = Crew(lambda: None)
    with SharedMemory.create_from_file(Value, path):
        pass
    try:
        for _ in range(5):
            before = table[COUNT + 1]
            pid = crew.start(write_file, table, str(path))
            until = time.monotonic() + 30
            while table[COUNT + 1] < before + 20:
                assert time.monotonic() < until
                time.sleep(0.001)
            crew.kill(pid)
            with SharedMemory.create_from_file(Value, path) as shared:
                writer, number = whole(shared.data)
                assert (writer, number) in [(1, table[COUNT + 1]), (1, table[COUNT + 1] + 1)]
                table[COUNT + 1] = number
    finally:
        crew.end()

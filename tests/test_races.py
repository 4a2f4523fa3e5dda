# SPDX-License-Identifier: MIT
"""Many processes race to create, open, fork and close one name, and are killed meanwhile, now and then all of them.

What each of them checks, and against what, is in `support/racing.py`."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest
from support.actors import PRELUDE, Actor

NAMES = {
    "user": "race",
    "local": "Local\\race",
    "global": "Global\\race",
    "long": "a race for a name that is too long for a file's " + "ö" * 80,
}


def race(name: str, processes: int, seconds: float, started: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print(f"seed {seed}")
    with Actor(prelude=PRELUDE + "from support.racing import race") as master:
        result = master.get(
            "race(name, seed, processes, seconds, started=started)",
            seconds + 60,
            name=name,
            seed=seed,
            processes=processes,
            seconds=seconds,
            started=started,
        )
        assert master.finish() == 0
    wrong, counters, kills, all_killed, generations, took = result
    print(f"{took:.1f} s, {kills} kills, {all_killed} times all, {generations} generations, {counters}")
    assert wrong == []
    assert generations > 0
    assert counters["opened"] > 0
    root = Path(os.environ["MEMORYMAPPED_ROOT"])
    assert [path.name for path in root.rglob("*") if path.is_file() and path.name != ".gate"] == []


@pytest.mark.parametrize("kind", ["user", "global"])
def test_twenty_processes(kind: str) -> None:
    race(NAMES[kind], 20, 0.4, started=1)


@pytest.mark.campaign
@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", NAMES)
def test_two_hundred_processes(kind: str) -> None:
    race(NAMES[kind], 200, 10.0 if kind == "user" else 5.0, started=4)

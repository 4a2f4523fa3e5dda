# SPDX-License-Identifier: MIT
"""Writers of a SharedMemory die: after each instruction, and at random instants while others write and read. What must
hold is said in support/commit_deaths.py and support/killed_writers.py.

The campaigns kill after every instruction of the library and of the C library that it calls (every second one where
there are thousands; all with MEMORYMAPPED_TEST_EVERY=1), and for MEMORYMAPPED_TEST_SECONDS (10); MEMORYMAPPED_TEST_SEED
repeats a run."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PYTHON, started
from support.actors import PRELUDE, Actor
from support.commit_deaths import WAYS

SEED = os.environ.get("MEMORYMAPPED_TEST_SEED", str(random.SystemRandom().getrandbits(32)))
SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
LONG = ("made", "recovered")
STAGE = PRELUDE + "from support.commit_deaths import kill_everywhere, unavailable\n"


@pytest.fixture
def stage() -> Iterator[Actor]:
    with Actor(prelude=STAGE, timeout=300) as actor:
        unavailable = actor.get("unavailable()")
        if unavailable:
            pytest.skip(unavailable)
        yield actor


def step_through(stage: Actor, way: str, step: int) -> None:
    start = random.Random(SEED).randrange(step)
    counts = stage.get(
        "kill_everywhere(way, step, start, tag)", way=way, step=step, start=start, tag=os.urandom(4).hex()
    )
    print(f"{way} from {start} (MEMORYMAPPED_TEST_SEED={SEED}): {counts}")
    assert counts["points"] > 300
    assert "old" in counts
    assert ("new" in counts) == (way in ("data", "edit") or way.startswith("after"))
    assert ("the other program's" in counts) == (way in ("after a write", "read"))
    assert counts["rollbacks"] > 0 or way in ("discarded", "made", "recovered")


@pytest.mark.parametrize("way", WAYS)
def test_killed_after_some_instructions(stage: Actor, way: str) -> None:
    step_through(stage, way, 25)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_killed_after_every_instruction(stage: Actor, way: str) -> None:
    step_through(stage, way, 2 if way in LONG and "MEMORYMAPPED_TEST_EVERY" not in os.environ else 1)


def kill(kind: str, seconds: float) -> None:
    tests = Path(__file__).parent
    with started(*PYTHON, "-m", "support.killed_writers", kind, seconds, SEED, cwd=tests) as process:
        out, error = process.communicate(timeout=seconds + 50)
    assert (process.returncode, error) == (0, ""), f"MEMORYMAPPED_TEST_SEED={SEED}\n{out}{error}"
    sys.stdout.write(f"seed {SEED}: {out}")


KINDS = ["ours", "foreign", "plain", "large"]


@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random(kind: str) -> None:
    kill(kind, 0.5)


@pytest.mark.campaign
@pytest.mark.timeout(120 + 2 * SECONDS)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_for_long(kind: str) -> None:
    kill(kind, SECONDS)

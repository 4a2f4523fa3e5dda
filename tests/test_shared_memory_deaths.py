# SPDX-License-Identifier: MIT
"""Writers of a SharedMemory die: after each instruction, and at random instants while others write and read. What must
hold is said in support/commit_deaths.py and support/killed_writers.py.

The campaigns kill after every instruction of the library and of the C library that it calls (every second one where
there are thousands; all with MEMORYMAPPED_TEST_EVERY=1), and at random for half of MEMORYMAPPED_TEST_SECONDS (10);
MEMORYMAPPED_TEST_SEED repeats a run."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PYTHON, started
from support.actors import PRELUDE, Actor
from support.commit_deaths import SIZE, WAYS, Stage, check, value

from memorymapped import AbandonedMutexError

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
    if step <= 2:  # few instructions are those between which a value is half there
        assert counts["rollbacks"] > 0 or way in ("discarded", "made", "recovered")


@pytest.mark.parametrize("way", ["data", "after a copy", "after a torn write"])
def test_killed_after_some_instructions(stage: Actor, way: str) -> None:
    step_through(stage, way, 31)


@pytest.mark.campaign
@pytest.mark.timeout(300)
@pytest.mark.parametrize("way", WAYS)
def test_killed_after_every_instruction(stage: Actor, way: str) -> None:
    step_through(stage, way, 2 if way in LONG and "MEMORYMAPPED_TEST_EVERY" not in os.environ else 1)


# -- deaths of ours of which another program is told


@pytest.fixture
def stage_of_values(tag: str) -> Iterator[Stage]:
    stage = Stage("after a copy", tag)
    stage.before()
    yield stage
    stage.shared.close()


def told(stage: Stage, writes: bytes | None = None) -> None:
    """Another program takes the lock, and is told; writes or does not; and goes on as if nothing had been."""
    pid = os.fork()
    if pid == 0:
        try:
            with pytest.raises(AbandonedMutexError):
                stage.shared.lock.wait_one()
            if writes is not None:
                stage.view.write_bytes(0, writes)
            stage.shared.lock.release()
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("mirror", [-1, 0], ids=["copying", "rolling back"])
@pytest.mark.parametrize("reads", [True, False])
def test_the_death_of_one_of_ours_is_told_to_another_program(stage_of_values: Stage, mirror: int, reads: bool) -> None:
    stage, control = stage_of_values, -(-SIZE // 64) * 64
    old, before = value(stage.number), value(7)
    if mirror == -1:  # killed in a commit, after it
        stage.shared.data = before
        stage.shared.data = old
        stage.die_owning(before[:77] + old[77:], behind=True)
    else:
        stage.die_owning(value(999)[:77] + old[77:])
        stage.view.write_uint64(control + 72, 0)
    told(stage)
    if reads:
        assert check(stage.shared.data) == stage.number
    else:
        with stage.shared.edit() as draft:
            assert check(bytes(draft)) == stage.number
    assert check(stage.view.read_bytes(0, SIZE)) == stage.number
    assert stage.shared.statistics().adoptions == 0


def test_what_it_writes_then_counts(stage_of_values: Stage) -> None:
    stage = stage_of_values
    stage.die_owning(value(stage.number - 1)[:77] + value(stage.number)[77:], behind=True)
    told(stage, value(500))
    assert check(stage.shared.data) == 500
    assert stage.shared.statistics().adoptions == 1


def kill(kind: str, seconds: float) -> None:
    tests = Path(__file__).parent
    with started(*PYTHON, "-m", "support.killed_writers", kind, seconds, SEED, cwd=tests) as process:
        out, error = process.communicate(timeout=seconds + 50)
    assert (process.returncode, error) == (0, ""), f"MEMORYMAPPED_TEST_SEED={SEED}\n{out}{error}"
    sys.stdout.write(f"seed {SEED}: {out}")


KINDS = ["ours", "foreign", "plain", "large"]


@pytest.mark.parametrize("kind", ["ours", "foreign"])
def test_killed_at_random(kind: str) -> None:
    kill(kind, 0.3)


@pytest.mark.campaign
@pytest.mark.timeout(120 + 2 * SECONDS)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_random_for_long(kind: str) -> None:
    kill(kind, SECONDS / 2)

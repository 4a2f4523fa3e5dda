# SPDX-License-Identifier: MIT
"""Writers of arrays are killed: after each instruction (`support/array_deaths.py` says what must hold), and at random
instants while others write and read (`support/array_writers.py`).

MEMORYMAPPED_TEST_SECONDS says for how long; MEMORYMAPPED_TEST_SEED repeats a run; MEMORYMAPPED_TEST_EVERY=1 kills after
all instructions."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PYTHON, started
from support.actors import PRELUDE, Actor
from support.array_deaths import KINDS, MEANWHILE, READS
from support.here import WINDOWS

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
EVERY = 1 if os.environ.get("MEMORYMAPPED_TEST_EVERY") else 5
STAGE = PRELUDE + "from support.array_deaths import interrupt_everywhere, kill_everywhere, unavailable\n"


@pytest.fixture
def stage() -> Iterator[Actor]:
    with Actor(prelude=STAGE, timeout=900) as actor:
        reason = actor.get("unavailable()")
        if reason:
            pytest.skip(reason)
        yield actor


def step_through(stage: Actor, kind: str, step: int) -> None:
    start = random.Random(SEED).randrange(step)
    counts = stage.get("kill_everywhere(kind, step, start)", kind=kind, step=step, start=start)
    print(f"{kind}, from {start}: {counts}")
    assert counts["points"] > 100
    assert counts["old"] > 3
    if kind not in ("made", "look after a death"):
        assert counts["new"] > 3


@pytest.mark.parametrize("kind", ["append", "replace after a death"])
def test_killed_after_some_instructions(kind: str, stage: Actor) -> None:
    step_through(stage, kind, 251)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_each_instruction(kind: str, stage: Actor) -> None:
    step_through(stage, kind, EVERY)


def interrupt(stage: Actor, read: str, change: str, most: int) -> None:
    counts = stage.get("interrupt_everywhere(read, change, most, seed)", read=read, change=change, most=most, seed=SEED)
    print(f"seed {SEED}, {read}, {change}: {counts}")
    assert counts["points"] > 50
    assert min(counts["old"], counts["new"]) > 0


@pytest.mark.parametrize(("read", "change"), list(zip(READS, MEANWHILE, strict=True))[:1])
def test_readers_who_are_interrupted_after_some_instructions(read: str, change: str, stage: Actor) -> None:
    interrupt(stage, read, change, 25)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("change", MEANWHILE)
@pytest.mark.parametrize("read", READS)
def test_readers_who_are_interrupted_after_each_instruction(read: str, change: str, stage: Actor) -> None:
    interrupt(stage, read, change, 10**9 if EVERY == 1 else 80)


def work(kind: str, seconds: float) -> None:
    """Runs `support/array_writers.py` in a process of its own."""
    command = (*PYTHON, "-m", "support.array_writers", kind, seconds, SEED)
    with started(*command, cwd=Path(__file__).parent) as process:
        out, error = process.communicate(timeout=seconds + 50)
    assert (process.returncode, error) == (0, ""), f"MEMORYMAPPED_TEST_SEED={SEED}\n{out}{error}"
    print(f"seed {SEED}, {kind}: {out}", end="")


def test_killed_while_others_write_and_read() -> None:
    work("all", 5 if WINDOWS else 0.5)


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["append", "all"])
def test_killed_while_others_write_and_read_for_long(kind: str) -> None:
    work(kind, SECONDS)

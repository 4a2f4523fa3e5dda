# SPDX-License-Identifier: MIT
"""Writers of segment files are killed: after each instruction (`support/segment_deaths.py` says what must hold), and at
random instants while others read and write."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest
from programs import PYTHON, started
from support.actors import PRELUDE, Actor
from support.here import WINDOWS
from support.segment_deaths import KINDS

SEED = int(os.environ.get("MEMORYMAPPED_TEST_SEED", random.SystemRandom().getrandbits(32)))
SECONDS = float(os.environ.get("MEMORYMAPPED_TEST_SECONDS", "10"))
EVERY = 1 if os.environ.get("MEMORYMAPPED_TEST_EVERY") else 3
STAGE = PRELUDE + "from support.segment_deaths import kill_everywhere, unavailable\n"


@pytest.fixture
def stage() -> Iterator[Actor]:
    with Actor(prelude=STAGE, timeout=900) as actor:
        reason = actor.get("unavailable()")
        if reason:
            pytest.skip(reason)
        yield actor


def step_through(stage: Actor, kind: str, step: int, path: Path) -> None:
    start = random.Random(SEED).randrange(step)
    counts = stage.get("kill_everywhere(kind, step, start, path)", kind=kind, step=step, start=start, path=str(path))
    print(f"{kind}, from {start}: {counts}")
    assert counts["points"] > 100
    assert counts["nothing"] > 3
    if "look" not in kind:
        assert counts["committed"] > 3


@pytest.mark.parametrize("kind", ["append with a checksum", "append after a death"])
def test_killed_after_some_instructions(kind: str, stage: Actor, tmp_path: Path) -> None:
    step_through(stage, kind, 71, tmp_path / "file")


@pytest.mark.campaign
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_after_each_instruction(kind: str, stage: Actor, tmp_path: Path) -> None:
    step_through(stage, kind, EVERY, tmp_path / "file")


def work(*arguments: object) -> None:
    """Runs `support/segment_writers.py` in a process of its own."""
    with started(*PYTHON, "-m", "support.segment_writers", *arguments, cwd=Path(__file__).parent) as process:
        out, error = process.communicate(timeout=SECONDS + 100)
    assert (process.returncode, error) == (0, ""), f"MEMORYMAPPED_TEST_SEED={SEED}\n{out}{error}"
    print(f"seed {SEED}: {out}", end="")


def test_many_segments_of_four_processes_are_read_by_a_fifth(tmp_path: Path) -> None:
    work("race", 4_000 if WINDOWS else 100_000, SEED, tmp_path / "file")


WAYS = pytest.mark.parametrize("options", [(), ("checksums",)], ids=["without checksums", "with checksums"])


def test_killed_while_others_write_and_read(tmp_path: Path) -> None:
    work("kill", 5 if WINDOWS else 0.5, SEED, tmp_path / "file", "checksums")


@pytest.mark.campaign
@pytest.mark.timeout(300)
@WAYS
def test_killed_while_others_write_and_read_for_long(options: tuple[str, ...], tmp_path: Path) -> None:
    work("kill", SECONDS, SEED, tmp_path / "file", *options)

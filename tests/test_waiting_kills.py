# SPDX-License-Identifier: MIT
"""Kills at random instants of who sets, waits, takes and releases (`support/killed_waits.py` says what must hold)."""

from __future__ import annotations

import os
import random
import sys
from pathlib import Path

import pytest
from programs import PYTHON, started
from support.killed_waits import SCENARIOS

SEED = os.environ.get("MEMORYMAPPED_TEST_SEED", str(random.SystemRandom().getrandbits(32)))


def kill(scenario: str, seconds: float) -> None:
    tests = Path(__file__).parent
    with started(*PYTHON, "-m", "support.killed_waits", scenario, seconds, SEED, cwd=tests) as process:
        out, error = process.communicate(timeout=seconds + 50)
    assert (process.returncode, error) == (0, ""), f"MEMORYMAPPED_TEST_SEED={SEED}\n{out}{error}"
    sys.stdout.write(f"seed {SEED}: {out}")


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_killed_strand_nobody(scenario: str) -> None:
    kill(scenario, 0.2)


@pytest.mark.campaign
@pytest.mark.timeout(120)
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_the_killed_strand_nobody_for_long(scenario: str) -> None:
    kill(scenario, 15.0)

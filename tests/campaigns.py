# SPDX-License-Identifier: MIT
"""Of what is enumerated the README's test command takes a few, and the campaigns the rest.

All of them take a quarter of an hour. `pytest -m campaign --within SECONDS` takes them in an order by chance, each time
another, and leaves out, which it says, what has not begun by then. The seed of the order is shown; `--seed` gives the
same."""

from __future__ import annotations

import math
import random
import time
from typing import Any

import pytest


def campaign(*values: object) -> list[object]:
    """The same values, or tuples of them, as parameters of a test, which are left to the campaigns."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.campaign) for v in values]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--within", type=float, metavar="SECONDS", help="by chance as many as begin within that time")
    parser.addoption("--share", metavar="K/N", help="the K-th of every N tests: runs that know nothing of each other")
    parser.addoption("--seed", type=int, help="of the order by chance, as an earlier run has shown it")


SEED = pytest.StashKey[int]()  # the same for all workers
UNTIL = pytest.StashKey[float]()  # by time.monotonic


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if config.option.within is not None:
        told = getattr(config, "workerinput", {}).get("seed", config.option.seed)
        config.stash[SEED] = random.randrange(1 << 32) if told is None else told


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    node.workerinput["seed"] = node.config.stash.get(SEED, None)


def pytest_report_header(config: pytest.Config) -> str | None:
    if SEED not in config.stash:
        return None
    return f"order: by chance, --seed {config.stash[SEED]}, within {config.option.within:g} s"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.share is not None:
        number, _, of = config.option.share.partition("/")
        ours = items[int(number) - 1 :: int(of)]
        kept = set(ours)
        config.hook.pytest_deselected(items=[item for item in items if item not in kept])
        items[:] = ours
    if SEED in config.stash:
        random.Random(config.stash[SEED]).shuffle(items)
        config.stash[UNTIL] = time.monotonic() + config.option.within


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_setup(item: pytest.Item) -> None:
    if time.monotonic() >= item.config.stash.get(UNTIL, math.inf):
        pytest.skip(f"the time of --within {item.config.option.within:g} was over")

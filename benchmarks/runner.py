# SPDX-License-Identifier: MIT
"""Turns and statistics: every peer has a turn in every round, in an order that changes from round to round.

So what else the machine does meets all peers alike. A ratio is the median, over the rounds, of the ratio of two peers'
times in one round; the ratio of the minima stands beside it. The garbage collector is off while it is measured.
"""

from __future__ import annotations

import gc
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field

from .model import Absent, Case, Goal, Peer

__all__ = ["Effort", "Judged", "Measured", "Numbers", "Ratio", "measure"]

_CALIBRATION = 8  # as many times as the slice may a growing turn be longer than needed before it is taken


@dataclass(frozen=True)
class Effort:
    """How long to measure: the nanoseconds of one turn, the seconds of one case, and how many rounds at least and at
    most."""

    slice_ns: float
    budget: float
    least: int
    most: int


@dataclass(frozen=True)
class Ratio:
    """Of one peer's times to another's: over the rounds, and of the minima."""

    median: float
    low: float
    high: float
    minima: float


@dataclass(frozen=True)
class Numbers:
    """Nanoseconds of one operation, over the rounds: quartiles and minimum, and the ratio to the base."""

    median: float
    low: float
    high: float
    minimum: float
    ratio: Ratio


@dataclass(frozen=True)
class Judged:
    """A goal beside what was seen. `ratio` is None if it could not be measured, and `why` says why."""

    peer: str
    goal: Goal
    against: str
    ratio: Ratio | None
    seen: float | None
    why: str = ""

    @property
    def reached(self) -> bool | None:
        """None: nobody can say, or the goal waits for something."""
        if self.seen is None or self.goal.pending:
            return None
        return self.seen <= self.goal.limit

    @property
    def verdict(self) -> str:
        """In words."""
        if self.ratio is None or self.seen is None:
            return f"not measured: {self.why}"
        if self.goal.pending:
            return f"later: {self.goal.pending}"
        if self.reached:
            return "reached"
        but = ""
        if self.ratio.minima <= self.goal.limit:
            but = " (the minima reach it)"
        elif self.ratio.low <= self.goal.limit:
            but = " (a quarter of the rounds reach it)"
        return f"missed by {self.seen / self.goal.limit - 1:.0%}{but}"


@dataclass
class Measured:
    """A case with its numbers."""

    case: Case
    rounds: int
    numbers: dict[str, Numbers] = field(default_factory=dict)
    judged: list[Judged] = field(default_factory=list)


def measure(case: Case, effort: Effort) -> Measured:
    """Measures all peers of a case."""
    peers = case.peers
    gc.collect()
    gc.disable()
    try:
        turns = [_turns(peer, effort) for peer in peers]
        one_round = sum(peer.loop.run(n) for peer, n in zip(peers, turns, strict=True)) / 1e9
        rounds = max(effort.least, min(effort.most, int(effort.budget / one_round)))
        times: list[list[float]] = [[] for _ in peers]
        for i in range(rounds):
            for k in _order(len(peers), i):
                loop = peers[k].loop
                times[k].append(loop.run(turns[k]) / (turns[k] * loop.batch))
    finally:
        gc.enable()
    result = Measured(case, rounds)
    for peer, own in zip(peers, times, strict=True):
        low, median, high = _quartiles(own)
        result.numbers[peer.name] = Numbers(median, low, high, min(own), _ratio(own, times[0]))
    result.judged = [
        _judge(case, peer, goal, own, times) for peer, own in zip(peers, times, strict=True) for goal in peer.goals
    ]
    return result


def _turns(peer: Peer, effort: Effort) -> int:
    """How many turns of the loop make a slice. Growing, so that it warms up what adapts to its use as well."""
    turns, run = 1, peer.loop.run
    run(1)
    while True:
        took = max(run(turns), 1.0)
        if took >= effort.slice_ns or turns >= 1 << 30:
            return max(1, round(turns * effort.slice_ns / took)) if turns > 1 else 1
        turns = max(turns + 1, min(turns * _CALIBRATION, round(turns * effort.slice_ns / took)))


def _order(count: int, i: int) -> Sequence[int]:
    """Rotated each round, turned around each time that all rotations were had."""
    rotated = [(i + k) % count for k in range(count)]
    return rotated if (i // count) % 2 == 0 else rotated[::-1]


def _quartiles(values: list[float]) -> tuple[float, float, float]:
    if len(values) == 1:
        return values[0], values[0], values[0]
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return low, median, high


def _ratio(own: list[float], base: list[float]) -> Ratio:
    low, median, high = _quartiles([a / b for a, b in zip(own, base, strict=True)])
    return Ratio(median, low, high, min(own) / min(base))


def _judge(case: Case, peer: Peer, goal: Goal, own: list[float], times: list[list[float]]) -> Judged:
    for k, other in enumerate(case.peers):
        if other.name.startswith(goal.over) and other is not peer:
            ratio = _ratio(own, times[k])
            return Judged(peer.name, goal, other.name, ratio, ratio.minima if case.by_minima else ratio.median)
    absent = next((a for a in case.absent if a.name.startswith(goal.over)), Absent(goal.over, "no such peer"))
    return Judged(peer.name, goal, absent.name, None, None, absent.reason)

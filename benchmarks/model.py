# SPDX-License-Identifier: MIT
"""What is compared: a case is one operation, done by several peers; the first of them is the base of the ratios."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["DOTNET", "Absent", "Case", "Goal", "Loop", "Peer"]

DOTNET = ".NET"  # how the names of its peers begin


@dataclass(frozen=True)
class Loop:
    """Measured code. `run(turns)` does `turns * batch` operations and returns the nanoseconds they took."""

    run: Callable[[int], float]
    batch: int = 1


@dataclass(frozen=True)
class Goal:
    """The ratio that a peer of ours is to have, at most.

    `over`: the start of the name of the peer that it is a ratio to; empty for the base. `pending`: what the goal waits
    for, if it is not one for what is measured now; it is shown, and neither reached nor missed. `was`: what it was
    before measurements showed that it cannot be reached; README.md says for each what the limit is."""

    limit: float
    over: str = ""
    pending: str = ""
    was: float = 0.0

    @property
    def shown(self) -> str:
        """For tables."""
        return f"{self.limit:.2f}" + (f" (was {self.was:.2f})" if self.was else "")


@dataclass(frozen=True)
class Peer:
    """One way to do the operation."""

    name: str
    loop: Loop
    ours: bool = False
    goals: tuple[Goal, ...] = ()


@dataclass(frozen=True)
class Absent:
    """A peer that cannot be measured here, and why."""

    name: str
    reason: str


@dataclass
class Case:
    """One operation. `size`: the bytes that it moves, if the speed is worth showing. `by_minima`: its goals are judged
    by the ratio of the minima, where first touches of memory or a disk make everything else wide."""

    row: str
    title: str
    note: str = ""
    size: int = 0
    by_minima: bool = False
    peers: list[Peer] = field(default_factory=list)
    absent: list[Absent] = field(default_factory=list)

    def peer(self, name: str, loop: Loop) -> None:
        """Adds a peer; the first is the base."""
        self.peers.append(Peer(name, loop))

    def ours(self, name: str, loop: Loop, *goals: Goal) -> None:
        """Adds a way of this library."""
        self.peers.append(Peer(name, loop, True, goals))

    def leave_out(self, name: str, reason: str) -> None:
        """Says that a peer is not there."""
        self.absent.append(Absent(name, reason))

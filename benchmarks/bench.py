# SPDX-License-Identifier: MIT
"""What every row is given to measure with."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from . import machine
from .dotnet import Dotnet
from .model import Case
from .workspace import MIB, Workspace

__all__ = ["Bench", "Row", "row"]


@dataclass(frozen=True)
class Bench:
    """Folders for data, the .NET process, and whether it has to be quick: less data, less time."""

    workspace: Workspace
    dotnet: Dotnet
    quick: bool

    def size(self, full: int, quick: int) -> int:
        """Bytes of data: what is asked for, halved until it takes at most a quarter of the free memory."""
        size, most = quick if self.quick else full, machine.available_memory() // 4
        while size > most > MIB:
            size //= 2
        return size


@dataclass(frozen=True)
class Row:
    """A row of the table of targets: yields its cases one after the other, each measured while its data is there."""

    name: str
    cases: Callable[[Bench], Iterator[Case]]


def row(name: str) -> Callable[[Callable[[Bench], Iterator[Case]]], Row]:
    """Makes a row of a generator function."""
    return lambda function: Row(name, function)

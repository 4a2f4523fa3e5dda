# SPDX-License-Identifier: MIT
"""Fixtures with the real .NET runtime."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dotnet_runtime import Dotnet, Peer, found


@pytest.fixture(scope="session")
def dotnet() -> Dotnet:
    """The real .NET runtime, or a skipped test."""
    return found()


@pytest.fixture
def peer(dotnet: Dotnet) -> Iterator[Peer]:
    """A C# program that does steps at the same time as the test."""
    started = Peer(dotnet.command("peer.cs"))
    yield started
    started.end()

# SPDX-License-Identifier: MIT
"""A C# program that owns a named mutex, and SingleInstance: there is one instance of both together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from dotnet_runtime import Dotnet, Peer
from programs import LIMIT

from memorymapped.shared.single_instance import SingleInstance

pytestmark = pytest.mark.dotnet


@pytest.fixture
def sharp(dotnet: Dotnet) -> Iterator[Peer]:
    """A C# program with mutexes."""
    program = Peer(dotnet.command("mutexes.cs"))
    yield program
    program.end()


def runs(sharp: Peer, name: str) -> bool:
    """What the C# program sees: `new Mutex(true, name, out created)`. Closed at once if it was not created."""
    created = sharp.do("main", "create", "m", name, True) == "True"
    if not created:
        sharp.do("main", "close", "m")
    return not created


@pytest.mark.parametrize("scope", ["Local", "Global"])
def test_one_of_csharp_and_python_is_the_instance(scope: str, tag: str, sharp: Peer) -> None:
    name = f"{scope}\\{tag}"
    with SingleInstance(name):
        assert runs(sharp, name)
    assert not runs(sharp, name)
    newcomer = SingleInstance(name)
    assert (newcomer.is_first, newcomer.holder.process) == (False, sharp.process.pid)
    assert "mutexes" in (newcomer.holder.command or "")
    sharp.do("main", "release", "m")
    sharp.do("main", "close", "m")
    with SingleInstance(name) as instance:
        assert instance.is_first
    assert not runs(sharp, name)
    sharp.process.kill()
    sharp.process.wait(LIMIT)
    with SingleInstance(name) as instance:
        assert instance.is_first

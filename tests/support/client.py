# SPDX-License-Identifier: MIT
"""The value of the article on shared memory, and what its class in C# and ours do with it together."""

from __future__ import annotations

from collections.abc import Mapping

from programs import started

from memorymapped import SharedMemory
from memorymapped.structs import Struct, int32

__all__ = ["MyData", "Point", "count_together"]


class Point(Struct):
    x: int32
    y: int32


class MyData(Struct):
    my_int: int32
    my_pt: Point


def count_together(
    shared: SharedMemory[MyData], counting: list[str], rounds: int, env: Mapping[str, str] | None = None
) -> None:
    """Two programs in C# and we count so often, each under the lock: no count is lost, and whoever reads without the
    lock sees whole values, none older than the last."""
    with started(*counting, env=env) as one, started(*counting, env=env) as other:
        for _ in range(rounds):
            with shared.edit() as draft:
                assert draft.my_int == draft.my_pt.x
                draft.my_int += 1
                draft.my_pt.x += 1
        last = 0
        while one.poll() is None or other.poll() is None:
            data = shared.data
            assert data.my_int == data.my_pt.x >= last
            last = data.my_int
        assert (one.returncode, other.returncode) == (0, 0)
    assert shared.data.my_int == shared.data.my_pt.x == 3 * rounds
    if shared.has_control:
        assert shared.version is not None
        assert shared.version > rounds
        assert shared.statistics().rollbacks == 0

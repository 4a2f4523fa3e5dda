# SPDX-License-Identifier: MIT
"""Row 1d: what the fault guard costs.

The library has no unguarded access to compare with, so `native.c` has both: the same Python method on the library's own
headers, with and without the one line that asks for the guard's mark after the access. In C the loops differ by that
line too."""

from __future__ import annotations

from collections.abc import Iterator

from ..bench import Bench, row
from ..loops import call, statement
from ..model import Case, Goal, Loop
from ..native import Unavailable, address, library, module

_COUNT = 4096


@row("1d")
def cost(bench: Bench) -> Iterator[Case]:
    case = Case("1d", "the fault guard in a Python call (read int64 by offset)", note="a replica in C; see native.c")
    try:
        window = module().Window()
    except Unavailable as reason:
        case.leave_out("guarded and unguarded replica", str(reason))
        yield case
        return
    case.peer("unguarded", statement("window.unguarded({p})", window=window))
    case.ours("guarded", statement("window.guarded({p})", window=window), Goal(1.05))
    yield case
    case = Case(
        "1d", "the fault guard in a C loop", note="each load by itself: 0.05 of a Python call is about a nanosecond"
    )
    block = bytearray(1 << 16)
    names = {"at": address(block), "mask": len(block) - 8, "count": _COUNT}
    plain = call("loop(at, mask, count)", loop=library().loop_unguarded, **names)
    guarded = call("loop(at, mask, count)", loop=library().loop_guarded, **names)
    case.peer("unguarded loads", Loop(plain.run, _COUNT))
    case.ours("guarded loads", Loop(guarded.run, _COUNT))
    yield case


ROWS = (cost,)

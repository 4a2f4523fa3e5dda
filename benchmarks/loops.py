# SPDX-License-Identifier: MIT
"""How the measured code is made: from source text, so that all peers run in the same loop.

Everything that a statement names is a local variable of the loop's function, positions are constants, and the
statement stands there many times over. What is left of the loop is less than half a nanosecond for each operation,
the same for all peers; nothing is subtracted.
"""

from __future__ import annotations

import itertools
import textwrap
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from .model import Loop

__all__ = ["UNROLLED", "call", "each", "passes", "statement"]

UNROLLED = 32
_STEP = 8  # bytes from the position of one statement to that of the next


def _function(lines: Iterable[str], names: dict[str, Any]) -> Any:
    arguments = ", ".join(["turns", "clock", "repeat", *names])
    source = "\n".join([f"def measured({arguments}):", *(f"    {line}" for line in lines)])
    space: dict[str, Any] = {}
    exec(compile(source, "<measured loop>", "exec"), space)
    return space["measured"]


def _bound(lines: Iterable[str], names: dict[str, Any]) -> Callable[[int], float]:
    measured = _function(lines, names)
    values = tuple(names.values())

    def run(turns: int) -> float:
        elapsed: int = measured(turns, time.perf_counter_ns, itertools.repeat, *values)
        return elapsed

    return run


def _body(source: str, unrolled: int, depth: int) -> list[str]:
    """The statement, `unrolled` times: `{p}` becomes a position in bytes, `{k}` a number, each time another."""
    lines = []
    for k in range(unrolled):
        text = textwrap.dedent(source).strip().replace("{p}", str(k * _STEP)).replace("{k}", str(k))
        lines += textwrap.indent(text, "    " * depth).splitlines()
    return lines


def statement(source: str, /, *, unrolled: int = UNROLLED, **names: Any) -> Loop:
    """A statement (or some lines) that is one operation."""
    lines = ["start = clock()", "for _ in repeat(None, turns):", *_body(source, unrolled, 1), "return clock() - start"]
    return Loop(_bound(lines, names), unrolled)


def call(source: str, /, **names: Any) -> Loop:
    """Some lines that take long enough to stand there once."""
    return statement(source, unrolled=1, **names)


def each(source: str, chunks: Sequence[Sequence[Any]], /, **names: Any) -> Loop:
    """A statement for each position `p` of a chunk; every turn takes the next chunk, so that nothing that one turn
    brought into the caches helps the next. The loop over the chunk costs some nanoseconds, the same for all peers."""
    lines = [
        "elapsed = 0",
        "for _ in repeat(None, turns):",
        "    chunk = following()",
        "    start = clock()",
        "    for p in chunk:",
        *_body(source, 1, 2),
        "    elapsed += clock() - start",
        "return elapsed",
    ]
    return Loop(_bound(lines, {"following": itertools.cycle(chunks).__next__, **names}), len(chunks[0]))


def passes(source: str, count: int, /, *, before: str, **names: Any) -> Loop:
    """`count` times a statement after some lines that put everything back to the start; those are measured too, and are
    few."""
    lines = [
        "start = clock()",
        "for _ in repeat(None, turns):",
        *_body(before, 1, 1),
        f"    for _ in repeat(None, {count // UNROLLED}):",
        *_body(source, UNROLLED, 2),
        "return clock() - start",
    ]
    return Loop(_bound(lines, names), count // UNROLLED * UNROLLED)

# SPDX-License-Identifier: MIT
"""What was measured, as tables for people and as JSON."""

from __future__ import annotations

import datetime
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from .loops import UNROLLED
from .model import Goal
from .runner import Judged, Measured, Numbers

__all__ = ["METHOD", "as_json", "show_case", "show_facts", "show_goals", "time_of"]

METHOD = (
    "All peers of a case have turns in one run (A B C, B C A, ... and back). Their code is the same loop, unrolled "
    f"{UNROLLED} times for short operations; nothing is subtracted. Times are for one operation: median, quartiles, "
    "minimum. Ratio: the median of the rounds' ratios to the base, which is the first line; beside it the ratio of the "
    "minima, which counts where memory is touched for the first time or a file is copied. Lower is better. The garbage "
    "collector is off."
)


def show_facts(console: Console, facts: dict[str, str]) -> None:
    """The machine and the method."""
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(f"[bold]{name}", value)
    console.print(table)
    console.print(f"\n{METHOD}\n")


def show_case(console: Console, measured: Measured) -> None:
    """A table of all peers of a case."""
    case = measured.case
    table = Table(
        title=f"[bold]{case.row}[/] {escape(case.title)}  ({measured.rounds} rounds)",
        title_justify="left",
        title_style="",
    )
    table.add_column("", overflow="fold")
    for column in ("median", "quartiles", "minimum", "speed", "ratio", "of minima"):
        if column != "speed" or case.size:
            table.add_column(column, justify="right", no_wrap=True)
    for peer in case.peers:
        own = measured.numbers[peer.name]
        cells = [time_of(own.median), f"{time_of(own.low)} - {time_of(own.high)}", time_of(own.minimum)]
        if case.size:
            cells.append(f"{case.size / own.median:.1f} GB/s")
        cells += [f"{own.ratio.median:.3f}", f"{own.ratio.minima:.3f}"]
        table.add_row(f"[bold]{escape(peer.name)}" if peer.ours else escape(peer.name), *cells)
    for absent in case.absent:
        table.add_row(f"[dim]{escape(absent.name)}: {escape(absent.reason)}")
    console.print(table)
    if case.note:
        console.print(f"[dim]{escape(case.note)}")
    console.print()


def show_goals(console: Console, results: list[Measured]) -> None:
    """All goals, with what became of them."""
    table = Table(title="[bold]Goals", title_justify="left", title_style="")
    for column in ("row", "operation", "ours", "over"):
        table.add_column(column, overflow="fold")
    for column in ("ratio", "target"):
        table.add_column(column, justify="right", no_wrap=True)
    table.add_column("", overflow="fold")
    for measured in results:
        for judged in measured.judged:
            style = {True: "green", False: "red", None: "dim"}[judged.reached]
            table.add_row(
                measured.case.row,
                escape(measured.case.title),
                escape(f"{judged.peer} {time_of(measured.numbers[judged.peer].median)}"),
                escape(judged.against)
                + (f" {time_of(measured.numbers[judged.against].median)}" if judged.ratio else ""),
                "" if judged.seen is None else f"{judged.seen:.3f}",
                judged.goal.shown,
                f"[{style}]{escape(judged.verdict)}",
            )
    console.print(table)
    verdicts = [judged.reached for measured in results for judged in measured.judged]
    console.print(
        f"{verdicts.count(True)} reached, {verdicts.count(False)} missed, {verdicts.count(None)} not judged.\n"
    )


def time_of(nanoseconds: float) -> str:
    """Three digits and a unit."""
    for unit, size in (("s", 1e9), ("ms", 1e6), ("us", 1e3)):
        if nanoseconds >= size:
            return _digits(nanoseconds / size, unit)
    return _digits(nanoseconds, "ns")


def _digits(value: float, unit: str) -> str:
    return f"{value:.3g} {unit}" if value < 1000 else f"{value:.0f} {unit}"


def as_json(facts: dict[str, str], quick: bool, results: list[Measured]) -> dict[str, Any]:
    """Everything, in nanoseconds and ratios."""
    return {
        "format": 1,
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "quick": quick,
        "machine": facts,
        "method": METHOD,
        "cases": [_case(measured) for measured in results],
    }


def _case(measured: Measured) -> dict[str, Any]:
    case = measured.case
    return {
        "row": case.row,
        "title": case.title,
        "rounds": measured.rounds,
        "judged by": "minima" if case.by_minima else "median",
        "peers": [
            {"name": peer.name, "ours": peer.ours, **_numbers(measured.numbers[peer.name])} for peer in case.peers
        ],
        "absent": [{"name": absent.name, "reason": absent.reason} for absent in case.absent],
        "goals": [_judged(judged) for judged in measured.judged],
    }


def _numbers(numbers: Numbers) -> dict[str, float]:
    return {
        "median_ns": round(numbers.median, 3),
        "low_ns": round(numbers.low, 3),
        "high_ns": round(numbers.high, 3),
        "minimum_ns": round(numbers.minimum, 3),
        "ratio": round(numbers.ratio.median, 4),
        "ratio_low": round(numbers.ratio.low, 4),
        "ratio_high": round(numbers.ratio.high, 4),
        "ratio_of_minima": round(numbers.ratio.minima, 4),
    }


def _judged(judged: Judged) -> dict[str, Any]:
    goal: Goal = judged.goal
    return {
        "peer": judged.peer,
        "over": judged.against,
        "limit": round(goal.limit, 4),
        "was": round(goal.was, 4) or None,
        "ratio": None if judged.seen is None else round(judged.seen, 4),
        "reached": judged.reached,
        "verdict": judged.verdict,
    }

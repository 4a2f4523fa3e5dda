# SPDX-License-Identifier: MIT
"""`python -m benchmarks`: see --help, and benchmarks/README.md."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import json
import signal
import sys
import traceback
from pathlib import Path

from rich.console import Console

from . import machine, report
from .bench import Bench, Row
from .dotnet import Dotnet
from .runner import Effort, Measured, measure
from .workspace import folders

# A turn is shorter than what the scheduler gives a process at once: most turns have the processor to themselves.
FULL = Effort(slice_ns=1e6, budget=6.0, least=9, most=401)
QUICK = Effort(slice_ns=1e6, budget=0.6, least=5, most=25)


def main() -> int:
    """Measures what the arguments ask for. 1 if something could not be run; a missed goal is no failure."""
    wanted = _arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that the folders are removed
    console = Console() if sys.stdout.isatty() else Console(width=160)
    effort = QUICK if wanted.quick else FULL
    if wanted.rounds:
        effort = dataclasses.replace(effort, least=1, most=wanted.rounds)
    facts = machine.facts()
    report.show_facts(console, facts)
    results: list[Measured] = []
    failed = False
    with folders(wanted.folder) as workspace, Dotnet(workspace.memory, wanted=not wanted.without_dotnet) as dotnet:
        from .rows import ROWS  # the library, which reads at its import where its names are to lie

        bench = Bench(workspace, dotnet, wanted.quick)
        unknown = [name for name in wanted.rows if name not in ROWS]
        if unknown:
            console.print(f"[red]no such row: {', '.join(unknown)}; there are {', '.join(ROWS)}")
            return 2
        for name in wanted.rows or ROWS:
            try:
                _run(ROWS[name], bench, effort, console, results)
            except Exception:  # noqa: BLE001 - the other rows are measured all the same, and the exit code tells
                failed = True
                console.print(f"[red]row {name} failed:")
                traceback.print_exc()
    report.show_goals(console, results)
    if wanted.json is not None:
        wanted.json.write_text(json.dumps(report.as_json(facts, wanted.quick, results), indent=1) + "\n")
    return int(failed)


def _run(row: Row, bench: Bench, effort: Effort, console: Console, results: list[Measured]) -> None:
    with contextlib.closing(row.cases(bench)) as cases:  # type: ignore[type-var]
        for case in cases:
            if case.peers:
                results.append(measure(case, effort))
                report.show_case(console, results[-1])
            for absent in case.absent if not case.peers else ():
                console.print(f"[bold]{case.row}[/] {case.title}\n[dim]{absent.name}: {absent.reason}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measures the library against its peers, interleaved, and compares with the targets.",
    )
    parser.add_argument("--quick", action="store_true", help="less data and time: under a minute")
    parser.add_argument(
        "--rows", type=lambda text: text.split(","), default=[], metavar="1a,3c", help="only these rows of the table"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all numbers to this file too")
    parser.add_argument("--rounds", type=int, metavar="N", help="at most so many rounds of each case")
    parser.add_argument("--folder", metavar="FOLDER", help="where the large files of rows 4a to 4c lie for the time")
    parser.add_argument("--without-dotnet", action="store_true", help="leave the .NET runtime out, if there is one")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())

# SPDX-License-Identifier: MIT
"""`python -m benchmarks.history`: writes history/HISTORY.md from the runs that are kept there as JSON.

To keep a run: `python -m benchmarks --json benchmarks/history/<date>-<commit>.json`, and then this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "history"
_SHOWN = 6  # the newest runs; the others are there as JSON

_HEAD = """\
# What was measured, and when

Ratios to the base of each row (lower is better), from the JSON files in this folder, written by `python -m
benchmarks.history`. **Bold**: the target was missed. Ratios of different machines are comparable only roughly.
"""


def main() -> None:
    """Writes the table of the newest runs."""
    runs = [json.loads(path.read_text()) for path in sorted(_FOLDER.glob("*.json"))][-_SHOWN:]
    (_FOLDER / "HISTORY.md").write_text("\n".join([_HEAD, *_runs(runs), "", *_goals(runs), ""]))


def _runs(runs: list[dict[str, Any]]) -> list[str]:
    lines = ["| run | date | commit | processor | Python | kernel |", "|---|---|---|---|---|---|"]
    for number, run in enumerate(runs, 1):
        machine = run["machine"]
        lines.append(
            f"| {number} | {run['date']} | {machine['commit']} | {machine['processor']} | {machine['python']} "
            f"| {machine['kernel']} |"
        )
    return lines


def _goals(runs: list[dict[str, Any]]) -> list[str]:
    seen: dict[tuple[str, str, str, str], list[str]] = {}
    for number, run in enumerate(runs):
        for case in run["cases"]:
            for goal in case["goals"]:
                key = (case["row"], f"{case['title']}: {goal['peer']}", goal["over"], f"{goal['limit']:.2f}")
                cells = seen.setdefault(key, [""] * len(runs))
                if goal["ratio"] is not None:
                    cells[number] = f"**{goal['ratio']:.2f}**" if goal["reached"] is False else f"{goal['ratio']:.2f}"
    head = ["row", "what", "over", "target", *(f"run {number}" for number in range(1, len(runs) + 1))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join([*key, *cells]) + " |" for key, cells in sorted(seen.items(), key=_by_row)]


def _by_row(item: tuple[tuple[str, str, str, str], list[str]]) -> tuple[str, str]:
    return item[0][0], item[0][1]


if __name__ == "__main__":
    main()

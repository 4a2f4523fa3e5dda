# SPDX-License-Identifier: MIT
"""`python -m benchmarks.history`: from the runs that are kept as JSON in history/ it writes history/HISTORY.md, and the
results of the newest run into README.md.

To keep a run: `python -m benchmarks --json benchmarks/history/<date>-<commit>.json`, and then this."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from .report import time_of

_HERE = Path(__file__).parent
_FOLDER = _HERE / "history"
_SHOWN = 6  # the newest runs; the others are there as JSON
_BEGIN, _END = "<!-- newest run: written by python -m benchmarks.history -->", "<!-- end -->"

_HEAD = """\
# What was measured, and when

Ratios to the base of each row (lower is better), from the JSON files in this folder, written by `python -m
benchmarks.history`. **Bold**: the target was missed. Ratios of different machines are comparable only roughly.
"""


def main() -> None:
    """Writes both."""
    runs = [json.loads(path.read_text()) for path in sorted(_FOLDER.glob("*.json"))][-_SHOWN:]
    (_FOLDER / "HISTORY.md").write_text("\n".join([_HEAD, *_runs(runs), "", *_goals(runs), ""]))
    if runs:
        readme = _HERE / "README.md"
        before, _, rest = readme.read_text().partition(_BEGIN)
        after = rest.partition(_END)[2]
        readme.write_text("\n".join([before + _BEGIN, "", *_newest(runs[-1]), "", _END + after]))


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
                cells[number] = _ratio(goal)
    head = ["row", "what", "over", "target", *(f"run {number}" for number in range(1, len(runs) + 1))]
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return lines + ["| " + " | ".join([*key, *cells]) + " |" for key, cells in sorted(seen.items(), key=_by_row)]


def _by_row(item: tuple[tuple[str, str, str, str], list[str]]) -> tuple[str, str]:
    return item[0][0], item[0][1]


def _newest(run: dict[str, Any]) -> list[str]:
    lines = [f"- {name}: {value}" for name, value in {"date": run["date"], **run["machine"]}.items()]
    head = ["row", "operation", "ours", "", "over", "", "ratio", "target"]
    lines += ["", "| " + " | ".join(head) + " |", "|---|---|---|--:|---|--:|--:|--:|"]
    for case in run["cases"]:
        medians = {peer["name"]: time_of(peer["median_ns"]) for peer in case["peers"]}
        for goal in case["goals"]:
            if goal["verdict"].startswith("later"):
                continue
            target = f"{goal['limit']:.2f}" + (f" (was {goal['was']:.2f})" if goal.get("was") else "")
            cells = [case["row"], case["title"], goal["peer"], medians[goal["peer"]]]
            cells += [goal["over"], medians.get(goal["over"], ""), _ratio(goal), target]
            lines.append("| " + " | ".join(cells) + " |")
    verdicts = [goal["reached"] for case in run["cases"] for goal in case["goals"]]
    return [
        *lines,
        "",
        f"{verdicts.count(True)} reached, {verdicts.count(False)} missed (**bold**), "
        f"{verdicts.count(None)} not judged.",
    ]


def _ratio(goal: dict[str, Any]) -> str:
    if goal["ratio"] is None:
        return ""
    return f"**{goal['ratio']:.2f}**" if goal["reached"] is False else f"{goal['ratio']:.2f}"


if __name__ == "__main__":
    main()

# SPDX-License-Identifier: MIT
"""Which of the tests that both systems have do not run on Windows, and why.

`skips/test_x.toml` says it for `test_x.py`: by the label of a line of docs/windows.md, a list of tests, as the function
is called or with parameters, `*` for any text:

    folders = ["test_the_folder_goes_at_exit", "test_names[Global*]"]

`files.toml` names whole files so: those are not imported, and named at the head of a run.

A label that the page does not have, or an entry that is no test (any more), is an error. A test that skips itself for
another reason than a line of the page fails."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Generator, Iterable
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "windows.md"


def reasons() -> dict[str, str]:
    """The lines of the page by their labels."""
    page = PAGE.read_text(encoding="utf-8")
    items = re.findall(r"^- \*\*(.+?)\*\*: (.+(?:\n  .+)*)", page, re.MULTILINE)
    return {label: " ".join(text.split()) for label, text in items}


def files() -> dict[str, list[str]]:
    """The files that do not run there, by labels."""
    found: dict[str, list[str]] = tomllib.loads((HERE / "files.toml").read_text(encoding="utf-8"))
    return found


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Other folders than ours and that of the tests are of programs, and of .NET on Linux."""
    if collection_path.is_dir():
        return True if collection_path.parent == HERE.parent and collection_path != HERE else None
    return True if any(collection_path.name in names for names in files().values()) else None


def pytest_report_header() -> list[str]:
    known = reasons()
    return [
        f"left out: {', '.join(sorted(names))}: docs/windows.md, {label}: {known[label]}"
        for label, names in files().items()
    ]


def is_meant(item: pytest.Item, entry: str) -> bool:
    pattern = ".*".join(map(re.escape, entry.split("*")))
    return entry == getattr(item, "originalname", None) or bool(re.fullmatch(pattern, item.name))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: Iterable[pytest.Item]) -> None:
    known = reasons()
    by_file: dict[Path, list[pytest.Item]] = {}
    for item in items:
        by_file.setdefault(item.path, []).append(item)
    for path, tests in by_file.items():
        table = HERE / "skips" / f"{path.stem}.toml"
        if path.parent == HERE or not table.exists():
            continue
        for label, entries in tomllib.loads(table.read_text(encoding="utf-8")).items():
            if label not in known:
                raise pytest.UsageError(f"{table}: docs/windows.md has no line {label!r}")
            reason = f"docs/windows.md, {label}: {known[label]}"
            for entry in entries:
                meant = [item for item in tests if is_meant(item, entry)]
                for item in meant:
                    # The reason is the page's, whatever other the test has not to run.
                    item.own_markers = [mark for mark in item.own_markers if mark.name != "skipif"]
                    item.add_marker(pytest.mark.skip(reason=reason))
                if not meant and not any("::" in argument for argument in config.args):
                    raise pytest.UsageError(f"{table}: there is no test {entry!r}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    report = yield
    if report.skipped and not hasattr(report, "wasxfail"):
        *_, reason = report.longrepr if isinstance(report.longrepr, tuple) else (str(report.longrepr),)
        if not reason.startswith(("Skipped: docs/windows.md, ", "Skipped: the time of --within")):
            report.outcome = "failed"
            report.longrepr = f"{reason}: tests/windows/skips/ has no line of docs/windows.md for that"
    return report

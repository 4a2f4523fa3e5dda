# SPDX-License-Identifier: MIT
"""Which task is meant: what is exact comes before what is like it."""

from __future__ import annotations

import pytest

from memorymapped.tasks.choosing import meant
from memorymapped.tasks.model import Task

TASKS = [Task("Copy", id="b7"), Task("b7", id="c3"), Task("copy all", id="b71"), Task("2", id="d4"), Task("5", id="e5")]


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("b7", ["b7"]),  # an id, though it is another's title and the beginning of a third's id
        ("Copy", ["b7"]),  # a title, though others begin so
        ("2", ["d4"]),  # a title, though it is a number
        ("3", ["b71"]),  # a number, from 1
        ("0", []),
        ("6", []),
        ("9" * 5000, []),
        ("c", ["b7", "c3", "b71"]),  # the beginning of a title in any case, or of an id
        ("copy ", ["b71"]),
        ("", []),
        ("nothing", []),
    ],
)
def test_what_is_exact_comes_first(given: str, found: list[str]) -> None:
    assert [task.id for task in meant(TASKS, given)] == found

# SPDX-License-Identifier: MIT
"""What `mmf tasks` and `mmf tasks-worker` take and print as text."""

from __future__ import annotations

import re
from collections.abc import Iterable
from unicodedata import category

import click

from .words import escaped

__all__ = ["is_harmless", "outcome_in_words", "parameters", "safe"]

_TURNS = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def parameters(given: Iterable[str]) -> dict[str, str]:
    """Of NAME=TEXT. UsageError."""
    found = {}
    for each in given:
        name, equals, text = each.partition("=")
        if not equals or not name:
            raise click.UsageError(f"a parameter is given as NAME=TEXT, not {each!r}")
        found[name] = text
    return found


def safe(text: str, *, lines: bool = False) -> str:
    """Of another program: what could move the cursor is escaped; with `lines`, but for line breaks (also of Windows)
    and tabs."""
    kept = "\n\t" if lines else ""
    if lines:
        text = text.replace("\r\n", "\n")
    return "".join(c if is_harmless(c) or c in kept else escaped(c) for c in text)


def is_harmless(text: str) -> bool:
    """Whether it can be shown as it is. Spaces of all kinds, soft hyphens and joiners can, which Python does not call
    printable; what turns the direction of a line cannot: it could show another text."""
    return all(c.isprintable() or (category(c) in ("Zs", "Cf") and not _TURNS.search(c)) for c in text)


def outcome_in_words(title: str, outcome: str, seconds: float, message: str, output: str) -> str:
    """How a task has ended, and its output behind that."""
    words = "took too long" if outcome == "timedOut" else outcome
    why = f" ({safe(message)})" if message and message != outcome else ""
    said = f"{safe(title)}: {words} after {seconds:.2f} s{why}"
    return f"{said}\n{safe(output, lines=True).rstrip()}" if output.strip() else said

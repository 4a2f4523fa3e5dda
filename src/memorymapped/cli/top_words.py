# SPDX-License-Identifier: MIT
"""The cells of a row of `mmf top`, as text."""

from __future__ import annotations

from .counting import Row
from .objects import title_of
from .words import short_size

__all__ = ["HEADS", "RIGHT", "cells_of", "order", "owner_of", "rate_in_words", "waiters_of"]

HEADS = ("NAME", "KIND", "SIZE", "MEMORY", "STATE", "OWNER", "WAIT", "CHANGES/S")
RIGHT = (2, 3, 6, 7)  # columns of numbers


def order(row: Row) -> tuple[bool, str, str]:
    """The order in which rows come by themselves: what somebody holds, by name."""
    found = row.found
    return found.state == "stale", found.name or found.path, found.kind


def cells_of(row: Row) -> tuple[str, ...]:
    """One for each head."""
    found = row.found
    return (
        title_of(found),
        found.kind,
        short_size(found.size),
        short_size(found.memory),
        "gone" if row.gone else state_of(row),
        owner_of(row),
        waiters_of(row),
        rate_in_words(row),
    )


def state_of(row: Row) -> str:
    """`held`, `stale`; of an event `set`, of a semaphore how many it has to give."""
    details = row.found.details
    if "damaged" in details:
        return "damaged"
    if row.found.state == "held" and "set" in details:
        return "set" if details["set"] else "not set"
    if row.found.state == "held" and "count" in details:
        return f"{details['count']} of {details['maximum']}"
    return row.found.state


def owner_of(row: Row) -> str:
    """The process that owns a lock, or, of a process that cannot be seen from here, `thread N`."""
    details = row.found.details
    if row.gone:
        return ""
    if "owner" in details:
        return str(details["owner"])
    return f"thread {details['owner_thread']}" if "owner_thread" in details else ""


def waiters_of(row: Row) -> str:
    """How many wait; `some`, where that is all that is known."""
    details = row.found.details
    if row.gone:
        return ""
    if "waiters" in details:
        return str(details["waiters"] or "")
    return "some" if details.get("contended") else ""


def rate_in_words(row: Row) -> str:
    """`12.5`; `~0.4` if it was sampled; `-` if nothing is known yet, nothing if nothing is counted."""
    if row.gone or row.found.kind not in ("map", "file map", "foreign"):
        return ""
    rate = row.rate
    if rate is None:
        return "-"
    number = "0" if not rate else f"{rate:.1f}" if rate < 100 else f"{rate:.0f}"
    return number if row.exact else f"~{number}"

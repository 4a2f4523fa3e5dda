# SPDX-License-Identifier: MIT
"""What commands say of named objects: rows, states in words, JSON; and which object a user means."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from ..errors import InvalidNameError
from ..system.names import Scope, parse
from ..system.survey import Found, is_of_session, scope_of, survey
from .ending import Failure
from .words import printable, shown

__all__ = [
    "as_json",
    "canonical",
    "holders_in_words",
    "is_called",
    "missing",
    "mode_in_words",
    "named",
    "state_in_words",
    "style_of",
    "title_of",
]

MAPS = ("map", "file map")


def as_json(found: Found) -> dict[str, object]:
    """One object, as `--json` shows it. Sizes in bytes, times in seconds."""
    return {
        "name": found.name,
        "kind": found.kind,
        "scope": found.name.partition("\\")[0].lower() if found.name else None,
        "state": found.state,
        "size": found.size,
        "memory": found.memory,
        "mode": mode_in_words(found.mode),
        "owner": found.owner,
        "born": found.born,
        "age": None if found.born is None else round(max(0.0, time.time() - found.born), 3),
        "holders": None
        if found.holders is None
        else [{"pid": holder.pid, "command": holder.command} for holder in found.holders],
        "details": found.details,
        "path": found.path,
        "target": found.target,
    }


def state_in_words(found: Found) -> str:
    """`held by 12 (python)`, `stale`: the state, and what the object's bytes say besides."""
    details = found.details
    text = found.state
    if "owner" in details:
        text += f" by {details['owner']}"
    elif "owner_thread" in details:
        text += f" by thread {details['owner_thread']}"
    if "set" in details:
        text += ", set" if details["set"] else ", not set"
    if "count" in details:
        text += f", {details['count']} of {details['maximum']}"
    if details.get("waiters"):
        text += f", {details['waiters']} wait"
    elif details.get("contended"):
        text += ", others may wait"
    return text + (", damaged" if "damaged" in details else "")


def mode_in_words(mode: int | None) -> str | None:
    """Permissions as chmod takes them."""
    return None if mode is None else f"{mode:04o}"


def style_of(found: Found) -> str:
    return {"stale": "dim", "abandoned": "yellow", "unfinished": "cyan"}.get(found.state, "")


def holders_in_words(found: Found) -> str:
    """`12 python app.py, 13 python app.py`; `?` where nobody tells."""
    if found.holders is None:
        return "?"
    return ", ".join(f"{holder.pid} {printable(holder.command)}" for holder in found.holders) or "-"


def canonical(given: str) -> str:
    """The name with its scope written: `X` is `User\\X`, on Windows `Local\\X`. Failure if it is none."""
    try:
        name = parse(given)
    except InvalidNameError as error:
        raise Failure(str(error)) from None
    except ValueError as error:
        raise Failure(f"{given!r}: {error}") from None
    return f"{scope_of(name.scope)}\\{name.text}"


def missing(names: Iterable[str], found: Sequence[Found]) -> list[str]:
    """Which of the names, or paths, none of these objects has."""
    return [given for given in names if not any(is_called(each, given) for each in found)]


def is_called(found: Found, given: str) -> bool:
    """Whether this is its name, or its path: other programs' objects have nothing else."""
    return found.name == canonical(given) or found.path == given


def title_of(found: Found) -> str:
    """The name, or the path, by which every command finds it."""
    return shown(found.name or found.path)


def named(given: str, *, kinds: tuple[str, ...] | None = None, holders: bool = False) -> list[Found]:
    """The objects of a name, those that somebody holds first. Of `Local\\` names only those of this session."""
    name = canonical(given)
    found = [each for each in survey(holders=holders) if each.name == name and (kinds is None or each.kind in kinds)]
    if parse(name).scope is Scope.LOCAL:
        found = [each for each in found if is_of_session(each)]
    return sorted(found, key=lambda each: each.state in ("stale", "unfinished"))


def not_found(given: str) -> Failure:
    return Failure(f"{shown(given)}: neither a name that somebody holds (`mmf ls` shows those) nor a file")

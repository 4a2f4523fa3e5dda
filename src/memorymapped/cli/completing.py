# SPDX-License-Identifier: MIT
"""What a shell completes: names of objects that are there, and of types.

A shell gives no word back to us as it was quoted, and bash loses backslashes of what we offer: so only names of this
user's scope are offered, bare, and only those that need no quoting."""

from __future__ import annotations

import re
from collections.abc import Callable

import click
from click.shell_completion import CompletionItem

__all__ = ["complete_name", "complete_type"]

Completer = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]

_PLAIN = re.compile(r"User\\([\w.:@%+,=-]+)", re.ASCII)


def complete_name(*kinds: str, files: bool = False) -> Completer:
    """Of objects of these kinds. `files`: where none has such a name, the shell completes files."""

    def complete(context: click.Context, parameter: click.Parameter, given: str) -> list[CompletionItem]:
        from ..system.survey import survey

        found = [each for each in survey(holders=False) if not kinds or each.kind in kinds]
        names = [match[1] for each in found if (match := _PLAIN.fullmatch(each.name or ""))]
        offered = [CompletionItem(name) for name in names if name.startswith(given)]
        return offered or ([CompletionItem(given, type="file")] if files else [])

    return complete


def complete_type(context: click.Context, parameter: click.Parameter, given: str) -> list[CompletionItem]:
    """Of types that are written as one word."""
    from .shapes import NAMES

    return [CompletionItem(name) for name in NAMES if name.startswith(given)]

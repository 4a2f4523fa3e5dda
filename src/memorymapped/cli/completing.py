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

_PLAIN = re.compile(r"\w+\\([\w.:@%+,=-]+)", re.ASCII)


def complete_name(*kinds: str, files: bool = False) -> Completer:
    """Of objects of these kinds. `files`: where none has such a name, the shell completes files."""

    def complete(context: click.Context, parameter: click.Parameter, given: str) -> list[CompletionItem]:
        from ..system.survey import BARE, survey

        found = [each for each in survey(holders=False) if not kinds or each.kind in kinds]
        bare = [each.name for each in found if each.name is not None and each.name.startswith(f"{BARE}\\")]
        names = [match[1] for name in bare if (match := _PLAIN.fullmatch(name))]
        offered = [CompletionItem(name) for name in names if name.startswith(given)]
        return offered or ([CompletionItem(given, type="file")] if files else [])

    return complete


def complete_type(context: click.Context, parameter: click.Parameter, given: str) -> list[CompletionItem]:
    """Of types that are written as one word."""
    from .shapes import NAMES

    return [CompletionItem(name) for name in NAMES if name.startswith(given)]

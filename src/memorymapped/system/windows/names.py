# SPDX-License-Identifier: MIT
"""Names of objects and paths of files, as the system wants them."""

from __future__ import annotations

import os

from ..names import Name, Scope

__all__ = ["extended", "kernel_name", "scope_of"]

_LONGEST = 16000  # characters, of which some have two units: a full name has at most 32767
_LONG = 240  # characters: from about here on the system wants a path in another way


def scope_of(scope: Scope) -> str:
    """The scope as the system has it: there is none of a user, that is the session's, as for a bare name."""
    return Scope.GLOBAL.value if scope is Scope.GLOBAL else Scope.LOCAL.value


def kernel_name(name: Name) -> str:
    """The name that the system knows it by. A text that is too long for the system is its hash, by which only we know
    it."""
    text = name.text if len(name.text) < _LONGEST else name.stem
    return text if name.is_bare else f"{scope_of(name.scope)}\\{text}"


def extended(path: str) -> str:
    """The path in the form that may be long, if it is from the root on: relative ones may never be long."""
    full = os.path.abspath(path)
    if len(full) < _LONG or path.startswith("\\\\?\\"):
        return path
    return f"\\\\?\\UNC\\{full[2:]}" if full.startswith("\\\\") else f"\\\\?\\{full}"

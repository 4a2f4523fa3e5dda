# SPDX-License-Identifier: MIT
"""Of what is enumerated the README's test command takes a few, and the campaigns the rest."""

from __future__ import annotations

import pytest


def campaign(*values: object) -> list[object]:
    """The same values, or tuples of them, as parameters of a test, which are left to the campaigns."""
    return [pytest.param(*(v if isinstance(v, tuple) else (v,)), marks=pytest.mark.campaign) for v in values]

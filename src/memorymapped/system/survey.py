# SPDX-License-Identifier: MIT
"""What exists, who holds it, and how it is removed, one module per system. Apart from
`memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

from .findings import Found, Holder, Mapped, PageFlags

if sys.platform == "linux":
    from .linux.clearing import NEVER_STALE, remove, why_left
    from .linux.pages import PAGES_TOLD, mapped_by, page_flags
    from .linux.survey import BARE, is_of_session, scope_of, survey
else:
    from .windows.survey import (
        BARE,
        NEVER_STALE,
        PAGES_TOLD,
        is_of_session,
        mapped_by,
        page_flags,
        remove,
        scope_of,
        survey,
        why_left,
    )

__all__ = [
    "BARE",
    "NEVER_STALE",
    "PAGES_TOLD",
    "Found",
    "Holder",
    "Mapped",
    "PageFlags",
    "is_of_session",
    "mapped_by",
    "page_flags",
    "remove",
    "scope_of",
    "survey",
    "why_left",
]

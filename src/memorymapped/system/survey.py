# SPDX-License-Identifier: MIT
"""What exists, who holds it, and how it is removed, one module per system. Apart from
`memorymapped.system`, so that who needs none loads none."""

from __future__ import annotations

import sys

if sys.platform == "linux":
    from .linux.clearing import remove, why_left
    from .linux.pages import Mapped, PageFlags, mapped_by, page_flags
    from .linux.survey import Found, survey
else:
    raise ImportError(f"memorymapped does not run on {sys.platform} yet: it needs Linux")

__all__ = ["Found", "Mapped", "PageFlags", "mapped_by", "page_flags", "remove", "survey", "why_left"]

# SPDX-License-Identifier: MIT
"""Tests that Python for Windows runs: `winpy -m pytest -c tests/windows/pytest.ini tests/windows` (CONTRIBUTING.md)."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "win32" else ["*"]

# SPDX-License-Identifier: MIT
"""Imported for what it does."""

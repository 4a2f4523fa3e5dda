# SPDX-License-Identifier: MIT
"""What several tests need: other processes that do as they are told, and their death at any system call."""

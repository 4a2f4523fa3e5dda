# SPDX-License-Identifier: MIT
"""The screens of the command `mmf`, drawn with Textual: imported by a command that is about to draw one, by nothing
else. What they show is worked out elsewhere, and tested without them."""

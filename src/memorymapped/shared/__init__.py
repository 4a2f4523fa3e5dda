# SPDX-License-Identifier: MIT
"""What programs share, made of maps and of what synchronizes them."""

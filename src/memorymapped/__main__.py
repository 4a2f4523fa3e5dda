# SPDX-License-Identifier: MIT
"""`python -m memorymapped`: the same as the command `mmf`."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())

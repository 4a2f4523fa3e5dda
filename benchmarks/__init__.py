# SPDX-License-Identifier: MIT
"""How fast the library is, against its peers, on the machine at hand: `python -m benchmarks`.

Reading order: `model` (a case: what is compared, and the goal), `loops` (how the measured code is made), `runner`
(turns, statistics), `rows` (the cases), `dotnet` and `native` (peers outside of Python), `report`, `history`.
"""

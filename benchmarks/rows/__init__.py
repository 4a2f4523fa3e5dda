# SPDX-License-Identifier: MIT
"""All rows, by their names in the table of targets (benchmarks/README.md)."""

from __future__ import annotations

from ..bench import Row
from . import (
    blocks,
    files,
    guard,
    lifetime,
    locks,
    scalars,
    segments,
    shared_memory,
    streams,
    struct_arrays,
    structs,
    tools,
)

__all__ = ["ROWS"]

ROWS: dict[str, Row] = {
    row.name: row
    for module in (
        scalars,
        guard,
        structs,
        blocks,
        files,
        streams,
        locks,
        lifetime,
        segments,
        shared_memory,
        struct_arrays,
        tools,
    )
    for row in module.ROWS
}

# SPDX-License-Identifier: MIT
"""The compiled core: mapping, the fault guard, loads and stores, the system calls of lifetimes. Nothing else."""

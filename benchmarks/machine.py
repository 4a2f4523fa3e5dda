# SPDX-License-Identifier: MIT
"""What the numbers depend on: processor, kernel, Python, C library. Nothing that says whose machine it is."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
import sysconfig
from pathlib import Path

__all__ = ["available_memory", "commit", "facts", "last_level_cache"]

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")
_HUGE_PAGES = Path("/sys/kernel/mm/transparent_hugepage")
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def facts() -> dict[str, str]:
    """Names and values, to be shown and kept."""
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    return {
        "processor": f"{_processor()}, {len(os.sched_getaffinity(0))} CPUs",
        "caches": ", ".join(f"{name} {size >> 10} KiB" for name, size in _caches().items()) or "unknown",
        "memory": f"{os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') >> 20} MiB",
        "huge pages": f"anonymous {_chosen('enabled')}, shared memory {_chosen('shmem_enabled')}",
        "kernel": f"{platform.system()} {platform.release()} {platform.machine()}",
        "C library": " ".join(platform.libc_ver()),
        "python": f"{platform.python_version()} ({_build()})",
        "packages": ", ".join(f"{name} {_version(name)}" for name in ("memorymapped", "numpy", "posix_ipc")),
        "commit": commit(),
        "load at the start": load,
    }


def commit() -> str:
    """The commit of the clone that this is run from, shortened; with a + if files were changed since."""
    here = Path(__file__).parent
    try:
        head = subprocess.run(
            ["git", "-C", here, "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=True
        )
        changed = subprocess.run(
            ["git", "-C", here, "status", "--porcelain", "--untracked-files=no", "--", "../src"],
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return head.stdout.strip() + ("+" if changed.stdout.strip() else "")


def last_level_cache() -> int:
    """Bytes of the largest cache; 32 MiB if the system does not say."""
    return max(_caches().values(), default=32 << 20)


def available_memory() -> int:
    """Bytes that programs can have without swapping."""
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 0


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith(("model name", "CPU implementer")):
            return line.partition(":")[2].strip()
    return platform.machine()


def _caches() -> dict[str, int]:
    found = {}
    for cache in sorted(_CACHES.glob("index*")):
        if (cache / "type").read_text().strip() != "Instruction":
            size = (cache / "size").read_text().strip()
            found[f"L{(cache / 'level').read_text().strip()}"] = int(size[:-1]) * _UNITS[size[-1]]
    return found


def _chosen(setting: str) -> str:
    try:
        return (_HUGE_PAGES / setting).read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return "unknown"


def _build() -> str:
    options = sysconfig.get_config_var("CONFIG_ARGS") or ""
    how = ["optimized" if "--enable-optimizations" in options else "not optimized by profile"]
    if "--enable-shared" in options:
        how.append("shared library")
    if not getattr(sys, "_is_gil_enabled", lambda: True)():
        how.append("free-threaded")
    return ", ".join(how)


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "absent"

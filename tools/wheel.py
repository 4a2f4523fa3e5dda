# SPDX-License-Identifier: MIT
"""wheel.py PROJECT TREE TAG OUT: packs the files under TREE, as an installation has them, to a wheel in OUT, and prints
its path. For builds for another system than this one, which the build backend does not make."""

from __future__ import annotations

import base64
import hashlib
import sys
import tomllib
import zipfile
from pathlib import Path


def metadata(project: dict[str, object]) -> str:
    """METADATA of pyproject.toml's [project], as far as an installer reads it."""
    lines = [
        "Metadata-Version: 2.4",
        *(f"{field.title()}: {project[field]}" for field in ("name", "version", "requires-python")),
    ]
    for extra, requirements in project["optional-dependencies"].items():  # type: ignore[attr-defined]
        lines.append(f"Provides-Extra: {extra}")
        lines += [f'Requires-Dist: {each}; extra == "{extra}"' for each in requirements]
    return "\n".join([*lines, ""])


def scripts(project: dict[str, object]) -> str:
    """entry_points.txt."""
    return "\n".join(["[console_scripts]", *(f"{a} = {b}" for a, b in project["scripts"].items()), ""])  # type: ignore[attr-defined]


def pack(source: Path, tree: Path, tag: str, out: Path) -> Path:
    """Makes the wheel and returns its path."""
    project = tomllib.loads((source / "pyproject.toml").read_text())["project"]
    stem = f"{project['name']}-{project['version']}"
    files = {
        path.relative_to(tree).as_posix(): path.read_bytes()
        for path in sorted(tree.rglob("*"))
        if path.is_file() and path.parent.name != "__pycache__" and not path.name.endswith(".dll.a")
    }
    about = {
        "METADATA": metadata(project),
        "WHEEL": f"Wheel-Version: 1.0\nGenerator: tools/wheel.py\nRoot-Is-Purelib: false\nTag: {tag}\n",
        "entry_points.txt": scripts(project),
        "licenses/LICENSE": (source / "LICENSE").read_text(),
    }
    files |= {f"{stem}.dist-info/{name}": text.encode() for name, text in about.items()}
    record = f"{stem}.dist-info/RECORD"
    rows = [f"{name},sha256={_digest(data)},{len(data)}" for name, data in files.items()]
    files[record] = "\n".join([*rows, f"{record},,", ""]).encode()
    path = out / f"{stem}-{tag}.whl"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as wheel:
        for name, data in files.items():
            wheel.writestr(zipfile.ZipInfo(name, (2026, 1, 1, 0, 0, 0)), data, zipfile.ZIP_DEFLATED)
    return path


def _digest(data: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")


if __name__ == "__main__":
    print(pack(Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])))

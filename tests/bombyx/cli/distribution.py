"""Writes an installed distribution that declares entry points, as pip would leave it."""

from collections.abc import Mapping
from pathlib import Path

GROUP = "bombyx.tests"


def declare(folder: Path, points: Mapping[str, str]) -> str:
    """Declare `points` in a distribution below `folder`; returns their group."""
    information = folder / "declared-1.dist-info"
    information.mkdir(parents=True)
    (information / "METADATA").write_text("Metadata-Version: 2.1\nName: declared\nVersion: 1\n")
    lines = [f"[{GROUP}]", *(f"{name} = {target}" for name, target in points.items())]
    (information / "entry_points.txt").write_text("\n".join(lines))
    return GROUP

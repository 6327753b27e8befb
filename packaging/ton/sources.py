"""Puts ton/ into the wheel, without what `make tools` installs there."""  # noqa: INP001 - hatchling runs it by its path

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

LEFT_OUT = {"node_modules", "__pycache__"}


class Sources(BuildHookInterface):  # type: ignore[type-arg]
    """Names each file by itself."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:  # noqa: ARG002
        """Add the files to the build."""
        root = Path(self.root).parents[1]
        for path in sorted((root / "ton").rglob("*")):
            inside = path.relative_to(root)
            if path.is_file() and not LEFT_OUT & set(inside.parts):
                build_data["force_include"][str(path)] = str(inside)

"""Settings of a run without the places that they name: a browser need not know where things lie on the server."""

from __future__ import annotations

from pathlib import Path, PurePath
from typing import Any

from chandler.hub import is_repository

PLACES = {"out", "path", "folder", "sources", "start", "tokenizer", "signals", "head"}
"""Last parts of keys whose texts name a file or a folder."""


def without_places(value: Any, root: Path, key: str = "") -> Any:
    """The same with paths cut: those below `root` as they are named there, others to their last part."""
    if isinstance(value, dict):
        return {name: without_places(one, root, str(name)) for name, one in value.items()}
    if isinstance(value, list):
        return [without_places(one, root, key) for one in value]
    if not isinstance(value, str) or "/" not in value.replace("\\", "/"):
        return value
    named = (
        PurePath(value).is_absolute() or value.startswith(("~", ".")) or (key in PLACES and not _is_elsewhere(value))
    )
    if not named:
        return value
    place = Path(value).expanduser().resolve()
    if place.is_relative_to(root.resolve()) and place != root.resolve():
        return place.relative_to(root.resolve()).as_posix()
    return PurePath(value).name


def _is_elsewhere(value: str) -> bool:
    """Whether it is the name of a repository of the hub, or an address."""
    return "://" in value or (is_repository(value) and not Path(value).exists())

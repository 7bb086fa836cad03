"""The folder of an evaluation, a task or a backtest: whether it may be written to, and what may be removed from it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

from chandler.errors import ConfigError


def remove(folder: Path, names: Iterable[str]) -> None:
    """Remove these files and folders, and nothing else, where they are."""
    for name in names:
        target = folder / name
        if target.is_dir():
            shutil.rmtree(target)
        else:
            target.unlink(missing_ok=True)


def claim(folder: Path, own: Sequence[str], holds: str) -> None:
    """Make the folder, or take one that holds nothing but `own` and what an interruption left of it.

    Raises:
        ConfigError: there is more in it; `holds` says what that makes of the folder.
    """
    begun = tuple(f".{name}." for name in own)
    if folder.exists() and (
        not folder.is_dir() or any(one.name not in own and not one.name.startswith(begun) for one in folder.iterdir())
    ):
        raise ConfigError(f"{folder}: exists and holds {holds}. Choose another folder (--out).")
    folder.mkdir(parents=True, exist_ok=True)

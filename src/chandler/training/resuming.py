"""What a run that goes on must have in common with the one that it goes on from; asked before anything is written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from chandler.errors import ConfigError
from chandler.training import runs

_PARTS = {"train": "training", "val": "validation", "replay_train": "replay", "replay_val": "replay validation"}
_JUDGE = ("val", "replay_val")
"""Scores of these are compared over the whole run."""


def require_same_bars(folder: Path, data: Mapping[str, Any], *, force: bool) -> None:
    """Hold the bars of a run that goes on (`RunData.describe`) against those that it began with, as far as it wrote them down.

    With `force` it may train on others, but not be validated on them.

    Raises:
        ConfigError: they have changed.
    """
    before = runs.read_mapping(folder / runs.STARTS).get("data") or runs.Run(folder).summary.get("data") or {}
    old, new = before.get("windows", {}), data["windows"]
    changed = [part for part in _PARTS if part in old and part in new and old[part] != new[part]]
    judges = [part for part in changed if part in _JUDGE]
    if not changed or (force and not judges):
        return
    ways = "Restore files and settings of data, or start anew in another folder (out=)"
    ways = f"{ways}." if judges else f"{ways}, or go on all the same with resume=True, force=True."
    told = "; ".join(_changes(changed, before, data))
    raise ConfigError(f"{folder}: the data have changed since the run was started: {told}. {ways}")


def _changes(parts: list[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What was and what is, in words, for each of the parts."""
    for part in parts:
        *replay, name = part.split("_")
        old, new = (_words((data["replay"] if replay else data)["splits"].get(name)) for data in (before, now))
        yield f"{_PARTS[part]} {old} -> {new}" if old != new else f"{_PARTS[part]} {old}, with other values"


def _words(split: Mapping[str, Any] | None) -> str:
    return f"{split['windows']:,} windows, {split['first']} .. {split['last']}" if split else "nothing"

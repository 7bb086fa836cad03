"""What a run that goes on must have in common with the one that it goes on from; asked before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from chandler.errors import ConfigError
from chandler.training import runs
from chandler.training.datasets import BatchPlan, RunData
from chandler.training.settings import Settings

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


def require_same_start(folder: Path, settings: Settings, weights: Mapping[str, str | None]) -> None:
    """A stage with saved states began with the weights that its start has now, wherever they lie: stage -> their digest.

    Raises:
        ConfigError: they are others, or it is not on record which they were.
    """
    before = runs.read_mapping(folder / "config.yaml")
    written = runs.read_mapping(folder / runs.STARTS) or runs.Run(folder).summary.get("starts", {})
    for name, stage in settings.stages():
        old, noted = before.get(name, {}).get("start"), written.get(name, {}).get("weights")
        if runs.steps_done(folder, name) is None or old in (None, stage.start):
            continue
        if noted is None or noted != weights.get(name):
            raise ConfigError(
                f"{folder}: {name} began from {old} and goes on from what was saved, not from {stage.start}. Undo the change "
                f"of {name}.start, or start anew in another folder (out=)."
            )


def require_steps(folder: Path, settings: Settings, data: RunData, processes: int) -> None:
    """ConfigError where a stage with saved states has done more steps than there are with these settings."""
    for name, s in settings.stages():
        done = runs.steps_done(folder, name)
        plan = BatchPlan(data.train.drawn, data.train.length, s.batch_size, s.accumulation_steps, processes, 0)
        steps = plan.steps_per_epoch * s.epochs
        if done is not None and steps < done:
            raise ConfigError(
                f"{folder}: {name} has done {done:,} steps, and there are {steps:,} in all with these settings and "
                f"{processes} processes. Raise {name}.epochs, or start anew in another folder (out=)."
            )


def without_effect(folder: Path, settings: Settings, finished: Collection[str]) -> list[str]:
    """What to warn of: changed settings of stages that are finished and stay as they are."""
    if not (folder / "config.yaml").is_file():
        return []
    changed = runs.changed_keys(runs.Run(folder).settings, settings)
    found = [text for text in changed if runs.key_of(text).startswith(tuple(f"{name}." for name in finished))]
    return [f"{'; '.join(found)}: without effect, for the stage is finished and stays as it is."] if found else []


def _changes(parts: list[str], before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """What was and what is, in words, for each of the parts."""
    for part in parts:
        *replay, name = part.split("_")
        old, new = (_words((data["replay"] if replay else data)["splits"].get(name)) for data in (before, now))
        yield f"{_PARTS[part]} {old} -> {new}" if old != new else f"{_PARTS[part]} {old}, with other values"


def _words(split: Mapping[str, Any] | None) -> str:
    return f"{split['windows']:,} windows, {split['first']} .. {split['last']}" if split else "nothing"

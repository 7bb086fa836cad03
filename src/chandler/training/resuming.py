"""What a run that goes on must have in common with the one that it goes on from; asked before anything is written."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from chandler.errors import ConfigError
from chandler.training import runs
from chandler.training.datasets import BatchPlan, RunData
from chandler.training.settings import Settings

_PARTS = {"train": "training", "val": "validation", "replay_train": "replay", "replay_val": "replay validation"}
_JUDGE = ("val", "replay_val")
"""Scores of these are compared over the whole run."""
_NOT_OF_A_RESULT = ("signal.", "log_every ")
"""Settings that no stage's result depends on."""


def require_same_bars(folder: Path, data: Mapping[str, Any], *, force: bool) -> None:
    """Hold the bars of a run that goes on (`RunData.describe`) against those that it began with, as far as it wrote them down.

    With `force` it may train on others, but not be validated on them.

    Raises:
        ConfigError: they have changed.
    """
    changed = _changed_bars(folder, data)
    judges = [part for part in changed if part in _JUDGE]
    if not changed or (force and not judges):
        return
    ways = "Restore files and settings of data, or start anew in another folder (out=)"
    ways = f"{ways}." if judges else f"{ways}, or go on all the same with resume=True, force=True."
    told = "; ".join(changed.values())
    raise ConfigError(f"{folder}: the data have changed since the run was started: {told}. {ways}")


def require_same_kept(
    folder: Path, settings: Settings, data: Mapping[str, Any], kept: Collection[str], *, whole: bool
) -> None:
    """Results that stay without `resume` (`skip_existing`) are of these bars and settings, so that the record of the run stays true.

    With `whole` nothing is trained, and no setting may differ; else the stage that is trained may have others.

    Raises:
        ConfigError: they are of others.
    """
    if not (kept and (folder / "config.yaml").is_file()):
        return
    # A stage that is off and starts from its own result asks for what is there, however it was made.
    itself = [n for n, s in settings.stages() if not s.enabled and Path(s.start).resolve() == (folder / n).resolve()]
    looked = ("data.", *(f"{name}." for name in kept if name not in itself))
    found = [
        text
        for text in runs.changed_keys(runs.Run(folder).settings, settings)
        if (whole or text.startswith(looked)) and not text.startswith(_NOT_OF_A_RESULT)
        if not runs.key_of(text).endswith(("skip_existing", "save_every"))
    ]
    found += _changed_bars(folder, data).values()
    if found:
        raise ConfigError(
            f"{folder} holds a finished {' and '.join(kept)} of other data or settings, which skip_existing would keep: "
            f"{'; '.join(found)}. Undo the changes, choose another folder (out=), or replace the run with overwrite=True."
        )


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


def _changed_bars(folder: Path, now: Mapping[str, Any]) -> dict[str, str]:
    """Part -> what was and what is, in words, for each part whose bars are others than those that the run wrote down."""
    before = runs.read_mapping(folder / runs.STARTS).get("data") or runs.Run(folder).summary.get("data") or {}
    found: dict[str, str] = {}
    for part, told in _PARTS.items():
        *replay, name = part.split("_")
        a, b = (data.get("windows", {}).get(part) for data in (before, now))
        if a is None or b is None or a == b:
            continue
        old, new = (_words((data["replay"] if replay else data)["splits"].get(name)) for data in (before, now))
        found[part] = f"{told} {old} -> {new}" if old != new else f"{told} {old}, with other values"
    return found


def _words(split: Mapping[str, Any] | None) -> str:
    return f"{split['windows']:,} windows, {split['first']} .. {split['last']}" if split else "nothing"

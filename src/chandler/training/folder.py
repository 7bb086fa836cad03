"""The folder of a run: what it holds, and whether it may be written to."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chandler.atomic import write_text
from chandler.errors import ConfigError
from chandler.training.config import Settings, load_settings

STAGES = ("tokenizer", "predictor")
OWN = ("config.yaml", "metrics.jsonl", "summary.json", "report.html", "checkpoints", "adapters", "trackers", *STAGES)
"""What a run folder holds; --overwrite removes these and nothing else."""


@dataclass(frozen=True)
class Run:
    """A finished (or running) run folder."""

    folder: Path

    @property
    def settings(self) -> Settings:
        """The resolved settings."""
        return load_settings(self.folder / "config.yaml")

    @property
    def summary(self) -> dict[str, Any]:
        """summary.json; empty before the first stage has finished."""
        path = self.folder / "summary.json"
        return dict(json.loads(path.read_text())) if path.is_file() else {}

    def metrics(self) -> list[dict[str, Any]]:
        """metrics.jsonl, a dict per line."""
        path = self.folder / "metrics.jsonl"
        return [json.loads(line) for line in path.read_text().splitlines()] if path.is_file() else []


def prepare_folder(folder: Path, settings: Settings, *, overwrite: bool, resume: bool, force: bool) -> None:
    """Make the run folder and write config.yaml; ConfigError if an earlier run would be lost or was another one."""
    earlier = [name for name in OWN if (folder / name).exists()]
    if overwrite:
        for name in earlier:
            path = folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    elif resume:
        if (folder / "config.yaml").is_file() and not force:
            changed = changed_keys(Run(folder).settings, settings)
            if changed:
                raise ConfigError(
                    f"{folder} was started with other settings: {'; '.join(changed)}. Undo the changes, start anew in "
                    "another folder with --out, or go on all the same with --resume --force."
                )
    elif earlier and not any(stage.skip_existing for _, stage in settings.stages()):
        raise ConfigError(
            f"{folder} already holds a run ({', '.join(earlier)}). Go on with --resume, choose another folder with "
            "--out, replace it with --overwrite, or keep finished stages with --set tokenizer.skip_existing=true "
            "--set predictor.skip_existing=true."
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "config.yaml", settings.to_yaml())
    except OSError as error:
        raise ConfigError(
            f"{folder}: cannot write there ({error.strerror}). Choose another folder with --out."
        ) from error


def changed_keys(old: Settings, new: Settings) -> list[str]:
    """ "predictor.epochs 30 -> 20" for each setting that differs; where the run lies and runs does not matter."""
    a, b = flattened(old.model_dump(mode="json")), flattened(new.model_dump(mode="json"))
    keys = sorted((a.keys() | b.keys()) - {"out", "device", "data.device", "distributed", "trackers"})
    return [f"{key} {a.get(key)} -> {b.get(key)}" for key in keys if a.get(key) != b.get(key)]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as "key.sub" -> value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def write_json(path: Path, value: Any) -> None:
    """Write JSON whole or not at all."""
    write_text(path, json.dumps(value, indent=2) + "\n")

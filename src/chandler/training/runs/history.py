"""Reads a run folder as the plain files it is: config.yaml, summary.json, metrics.jsonl and the models' config.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import yaml

from chandler.errors import ConfigError

STAGES = ("tokenizer", "predictor")
_YAML = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""Ten times as fast where PyYAML has it: a list of runs reads hundreds of files."""


@dataclass(frozen=True)
class StageHistory:
    """One stage of a run, as far as it was recorded."""

    name: str
    outcome: Mapping[str, Any]
    """Its part of summary.json; {"status": "unfinished"} where there is none. "reused": kept from an earlier run."""
    settings: Mapping[str, Any]
    """Its part of config.yaml."""
    train: list[dict[str, Any]]
    """Training records, in the order of their steps."""
    validation: list[dict[str, Any]]
    """Validation records, in the order of their steps; the first is step 0."""
    model: Mapping[str, Any]
    """config.json of its result; empty if there is none."""
    begin: Mapping[str, Any] = field(default_factory=dict)
    """The last record of its beginning or going on: steps, epochs, windows of an epoch; empty in older runs."""

    @property
    def status(self) -> str:
        """improved, kept_start, off, unknown (kept from an earlier run without a record), or unfinished."""
        return str(self.outcome.get("status", "unfinished"))

    @property
    def ran(self) -> bool:
        """Whether it was trained in this run, to the end."""
        return self.known and not self.outcome.get("reused")

    @property
    def known(self) -> bool:
        """Whether its training is on record, be it from this run or from an earlier one in the folder."""
        return self.status in ("improved", "kept_start")

    @property
    def random_start(self) -> bool:
        """Whether it began with random weights, which are easy to beat."""
        return self.settings.get("start") == "random"

    def at(self, step: int) -> Mapping[str, Any]:
        """The validation at a step; empty if there is none."""
        return next((record for record in self.validation if record["step"] == step), {})


@dataclass(frozen=True)
class RunHistory:
    """What a run folder says about its run."""

    folder: Path
    config: Mapping[str, Any]
    summary: Mapping[str, Any]
    stages: tuple[StageHistory, ...]
    began: float | None
    """Time of the first record of metrics.jsonl, in seconds since 1970."""

    @classmethod
    def read(cls, folder: str | Path, *, strict: bool = True) -> RunHistory:
        """Read a run folder. The half line that a process left as it died counts as none.

        Args:
            strict: whether a file that cannot be read is an error, rather than as good as missing.

        Raises:
            ConfigError: no run folder; a file in it that cannot be read.
        """
        folder = Path(folder)
        if not (folder / "config.yaml").is_file():
            raise ConfigError(
                f"{folder}: no run folder (config.yaml is missing). Give a folder that `chandler finetune` wrote."
            )
        config = read_mapping(folder / "config.yaml", strict=strict)
        summary = read_mapping(folder / "summary.json", strict=strict)
        outcomes = _part(summary, "stages", folder / "summary.json", strict)
        records = read_records(folder)
        stages = []
        for name in STAGES:
            settings = _part(config, name, folder / "config.yaml", strict)
            mine = [record for record in records if record.get("stage") == name]
            # A stage that was interrupted and begun again has two beginnings: the later one counts.
            begins = [i for i, one in enumerate(mine) if one.get("kind") == "validation" and one.get("step") == 0]
            begun = [record for record in mine if record.get("kind") == "begin"]
            mine = mine[begins[-1] :] if begins else []
            stages.append(
                StageHistory(
                    name=name,
                    outcome=_part(outcomes, name, folder / "summary.json", strict) or {"status": "unfinished"},
                    settings=settings,
                    train=[record for record in mine if record.get("kind") == "train"],
                    validation=[record for record in mine if record.get("kind") == "validation"],
                    model=read_mapping(folder / name / "config.json", strict=strict),
                    begin=begun[-1] if begun else {},
                )
            )
        return cls(folder, config, summary, tuple(stages), records[0].get("time") if records else None)

    @property
    def seconds(self) -> float:
        """Training and validation of the stages that ran, in seconds."""
        return float(sum(stage.outcome.get("seconds", 0.0) for stage in self.stages if stage.ran))


def _part(values: Mapping[str, Any], name: str, path: Path, strict: bool) -> Mapping[str, Any]:
    """A mapping within those of a file; empty where there is none. ConfigError: `strict`, and something else is there."""
    part = values.get(name) or {}
    if isinstance(part, Mapping):
        return part
    if strict:
        raise ConfigError(f"{path.parent}: no run folder ({name} in its {path.name} is {part!r:.40}).")
    return {}


def read_records(folder: Path) -> list[dict[str, Any]]:
    """metrics.jsonl of a run, a dict per line; without the half line that a process left as it died.

    A record has a stage, a kind and a step: "begin" (a stage starts or goes on: its steps, epochs and windows an epoch), "train",
    "validation"; who reads them passes over kinds that it does not know.
    """
    path = folder / "metrics.jsonl"
    records = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else ():
        with suppress(ValueError):
            records.append(json.loads(line))
    return [record for record in records if isinstance(record, dict)]


def read_mapping(path: Path, *, strict: bool = False) -> dict[str, Any]:
    """The keys of a JSON or YAML file; none where there is no such file, or (unless `strict`) none that can be read.

    Raises:
        ConfigError: `strict`, and it cannot be read.
    """
    if not path.is_file():
        return {}
    try:
        text = path.read_text(encoding="utf-8")
        value = json.loads(text) if path.suffix == ".json" else yaml.load(text, _YAML)
    except (OSError, ValueError, yaml.YAMLError) as error:
        if strict:
            raise ConfigError(
                f"{path}: cannot be read ({error}). Make the run again: chandler finetune CONFIG --out {path.parent} --overwrite"
            ) from error
        return {}
    return value if isinstance(value, dict) else {}


def digest(path: Path) -> str | None:
    """SHA-256 of a file; None where there is none that can be read."""
    try:
        with path.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError:
        return None


def short(value: object) -> str:
    """A value as text, an absolute path as its last part: a page that is passed on need not tell where its writer
    keeps things."""
    text = str(value)
    return PurePath(text).name if PurePath(text).is_absolute() else text


def flat(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Nested settings as (dotted key, text) pairs."""
    values = ((key, value if isinstance(value, list) else [value]) for key, value in flattened(config).items())
    return [(key, ", ".join("-" if one is None else short(one) for one in every)) for key, every in values]


def flattened(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested settings as "key.sub" -> value."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= flattened(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {prefix + key: value}
    return flat

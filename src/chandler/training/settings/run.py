"""One YAML file plus overrides -> one validated `Settings` object. Every field says what it sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from chandler.atomic import write_text
from chandler.devices import require_name
from chandler.errors import ConfigError
from chandler.forecasting import recommended_settings
from chandler.nn.predictor import DependencyPositions
from chandler.settings import StrictModel, load, read
from chandler.training.settings.data import DataSettings
from chandler.training.settings.reference import ReferenceSettings, is_reference, is_theirs
from chandler.training.settings.stage import RANDOM, PredictorSettings, TokenizerSettings

TrackerName = Literal["tensorboard", "wandb", "mlflow", "comet"]


class Settings(StrictModel):
    """A whole run."""

    out: str
    """The run folder."""
    seed: int = Field(100, ge=0)
    device: str = "auto"
    """Where it is trained: "auto" takes cuda, then mps, then the CPU; or "cpu", "cuda", "cuda:1", "mps". Under torchrun
    each process takes a CUDA device of its own."""
    distributed: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: each holds the whole model (ddp), or a part of its weights, gradients and optimiser state
    (fsdp), for models that one device cannot hold while they are trained."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights and optimiser stay float32."""
    max_context: int | None = Field(None, ge=2)
    """Bars that the finished model sees at most when it forecasts. null: as many as its start (512 where that does
    not say), lookback + horizon for a predictor from random weights."""
    log_every: int = Field(10, ge=1)
    """Optimiser steps between two training lines of metrics.jsonl."""
    trackers: list[TrackerName] = Field(default_factory=list)
    """Also log to these: tensorboard, wandb, mlflow, comet. Their keys come from the environment alone."""
    data: DataSettings
    tokenizer: TokenizerSettings = Field(default_factory=TokenizerSettings)
    predictor: PredictorSettings = Field(default_factory=PredictorSettings)

    @field_validator("device")
    @classmethod
    def _device(cls, value: str) -> str:
        return require_name(value)

    @field_validator("out")
    @classmethod
    def _named(cls, value: str) -> str:
        if not value.strip():
            raise ValueError("the run folder needs a name")
        return value

    @model_validator(mode="after")
    def _sensible(self) -> Settings:
        if not (self.tokenizer.enabled or self.predictor.enabled):
            raise ValueError("both stages are switched off; set tokenizer.enabled or predictor.enabled to true")
        if self.tokenizer.start == RANDOM and not self.tokenizer.enabled:
            raise ValueError(
                "tokenizer.start is random but the stage is off: a predictor cannot learn the tokens of random "
                "weights. Set tokenizer.enabled: true, or tokenizer.start to a checkpoint"
            )
        for name, stage in self.stages():
            if stage.architecture is not None and stage.start != RANDOM:
                raise ValueError(f"{name}.architecture needs {name}.start: random (a checkpoint brings its own)")
            if stage.least_lookback is not None and stage.least_lookback > self.data.lookback:
                raise ValueError(
                    f"{name}.least_lookback {stage.least_lookback} is above data.lookback {self.data.lookback}"
                )
            if stage.schedule == "onecycle" and not stage.warmup:
                raise ValueError(
                    f"{name}.warmup must be above 0 for schedule onecycle; cosine and constant can do without"
                )
            if stage.start == RANDOM:
                stage.random_config()
                if stage.mode != "full":
                    raise ValueError(f"{name}.mode {stage.mode} adapts trained weights, but {name}.start is random")
            if stage.mode == "head" and stage.train is not None:
                raise ValueError(f"{name}.train replaces what mode: head would choose: set {name}.mode to full")
        return self

    def stages(self) -> Iterable[tuple[str, TokenizerSettings | PredictorSettings]]:
        """Both stages by name, in the order in which they run."""
        return (("tokenizer", self.tokenizer), ("predictor", self.predictor))

    def context(self) -> int:
        """`max_context`, or its default for this start."""
        if self.max_context is not None:
            return self.max_context
        if self.predictor.start == RANDOM:
            return self.data.lookback + self.data.horizon
        return int(self._recommended().get("max_context", 512))

    def positions(self) -> DependencyPositions:
        """How the finished model sees positions when it forecasts: as its start does; from random weights, as in
        training."""
        if self.predictor.start == RANDOM:
            return "rotary"
        return cast(DependencyPositions, self._recommended().get("dependency_positions", "reference"))

    def _recommended(self) -> Mapping[str, Any]:
        return recommended_settings(self.predictor.start, self.predictor.revision)


PRETRAINING: Mapping[str, Any] = {
    "data": {"drop_volume": 0.05, "cleaning": {"enabled": True}},
    "tokenizer": {"start": RANDOM, "schedule": "cosine"},
    "predictor": {"start": RANDOM, "schedule": "cosine", "learning_rate": 1e-3, "weight_decay": 0.01},
}
"""What `pretrain` has instead of the defaults of finetuning: those of the paper for its smallest model."""


def load_settings(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    out: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> Settings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    A file of the reference's CSV pipeline is read as it is; overrides may then set its keys or ours. `defaults` stand
    in for keys that the source does not give.

    Raises:
        ConfigError: unreadable file, malformed override, unknown key (the nearest known one is named), bad value.
    """
    return _read(source, overrides, out, defaults)[0]


def settings_to_run(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str] = (),
    *,
    out: str | None = None,
    defaults: Mapping[str, Any] | None = None,
) -> tuple[Settings, str]:
    """As `load_settings`, for a run that begins: also what to tell of settings of the reference, what they became and
    what a run does in another way; "" of our own.

    Raises:
        ConfigError: as `load_settings`; results would go into a folder of the reference.
    """
    settings, theirs = _read(source, overrides, out, defaults)
    if theirs is None:
        return settings, ""
    theirs.check(settings)
    name = "the settings" if isinstance(source, Mapping) else source
    told = [f"{name}: written for the reference's CSV pipeline. They became:", ""]
    told += [f"    {line}" for line in settings.to_yaml(short=True).splitlines()]
    told += ["", "What is different here:", *(f"- {one}." for one in theirs.differences(settings))]
    return settings, "\n".join(told)


def _read(
    source: str | Path | Mapping[str, Any],
    overrides: Iterable[str],
    out: str | None,
    defaults: Mapping[str, Any] | None,
) -> tuple[Settings, ReferenceSettings | None]:
    raw, where = read(source)
    final = {} if out is None else {"out": out}
    if not is_reference(raw):
        return load(Settings, raw, overrides, final, defaults, where), None
    if defaults:
        raise ConfigError(f"{where}: these are settings of the reference's finetuning; chandler finetune reads them.")
    overrides = list(overrides)
    theirs = load(ReferenceSettings, raw, filter(is_theirs, overrides), where=where)
    ours = [one for one in overrides if not is_theirs(one)]
    found = theirs.to_ours()
    if "out" not in found and not final and not any(one.partition("=")[0].strip() == "out" for one in ours):
        raise ConfigError(
            f"{where}: model_paths.base_path and model_paths.exp_name are missing: they say where results go. Give them, "
            "or the folder with --out."
        )
    return load(Settings, found, ours, final, where=where), theirs


def save_settings(settings: Settings, path: Path, *, overwrite: bool = False) -> None:
    """Write the settings that were given as a YAML that `load_settings` reads back to equal ones. A file that says the
    same stays as it is.

    Raises:
        ConfigError: the file says something else and `overwrite` is not set; it cannot be written.
    """
    if path.exists():
        with suppress(ConfigError):
            if load_settings(path) == settings:
                return
        if not overwrite:
            raise ConfigError(
                f"{path} is there and holds something else. Save the settings under another name, or replace it, and an "
                f"earlier run in {settings.out}, with --overwrite."
            )
    try:
        write_text(path, settings.to_yaml(short=True))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be written ({error.strerror}). Choose another file.") from error

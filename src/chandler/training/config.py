"""One YAML file plus overrides -> one validated `Settings` object. Every field says what it sets."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import Field, field_validator, model_validator

from chandler.data.source import SourceSettings
from chandler.data.splits import SplitSettings
from chandler.nn.predictor import PredictorConfig
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.tokenizer import TokenizerConfig
from chandler.settings import Strict, load, nearest
from chandler.training.optim import ScheduleKind
from chandler.training.tracking import TrackerName

RANDOM = "random"


class ReplaySettings(SourceSettings):
    """A second source of bars, such as some of what the model was pretrained on, against forgetting."""

    share: float = Field(0.2, gt=0, lt=1)
    """Part of every batch that comes from it; the steps of an epoch grow accordingly."""
    stride: int = Field(1, ge=1)
    """Bars between the starts of two of its training windows."""
    split: SplitSettings = Field(default_factory=SplitSettings)
    """Which of its bars are replayed, and which measure what is forgotten."""
    validation_windows: int = Field(1000, ge=1)
    """About so many of its validation windows, evenly spaced, measure what is forgotten."""


class DataSettings(SourceSettings):
    """Which bars, cut into which windows."""

    lookback: int = Field(90, ge=2)
    """Bars that a forecast sees; the scale of a window comes from these alone."""
    horizon: int = Field(10, ge=1)
    """Bars to be forecast."""
    stride: int = Field(1, ge=1)
    """Bars between the starts of two training windows."""
    validation_stride: int = Field(1, ge=1)
    """Bars between the starts of two validation windows; 1 validates on all of them."""
    windows_per_epoch: int | None = Field(100_000, ge=1)
    """At most so many training windows an epoch, drawn anew each time; null: all. Replayed ones come on top."""
    weighting: str | float = "rows"
    """How symbols share the windows of an epoch: by their "rows", "equal", or their rows to a power from 0 (equal)
    to 1 (rows). No window comes twice; a symbol with too few gives all it has."""
    drop_volume: float = Field(0.0, ge=0, le=1)
    """Share of training windows, drawn anew each step, whose volume and amount are missing (0.05 in pretraining)."""
    replay: ReplaySettings | None = None
    """A share of each batch from other bars; null: none."""
    split: SplitSettings = Field(default_factory=SplitSettings)
    """Where training ends and validation begins."""

    @field_validator("weighting", mode="before")
    @classmethod
    def _weighting(cls, value: object) -> object:
        if isinstance(value, str) and value in ("rows", "equal"):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
            return float(value)
        raise ValueError('give "rows", "equal" or a number from 0 (equal) to 1 (rows)')

    @property
    def temperature(self) -> float:
        """`weighting` as a power of a symbol's number of windows."""
        return {"rows": 1.0, "equal": 0.0}[self.weighting] if isinstance(self.weighting, str) else self.weighting


class LoraSettings(Strict):
    """The low-rank adapters of `mode: lora`."""

    rank: int = Field(8, ge=1)
    """Inner width of an adapter."""
    alpha: float = Field(16.0, gt=0)
    """An adapter counts alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of an adapter's input, in training."""
    targets: list[str] = Field(["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"], min_length=1)
    """Which projections: names, or patterns over released names such as "transformer.*.q_proj"."""


class StageSettings(Strict):
    """What both stages share."""

    enabled: bool = True
    """False: the stage is switched off and its start is used as it is."""
    start: str
    """Checkpoint folder or repository to start from, or "random"."""
    revision: str | None = None
    """Branch, tag or commit of a repository."""
    architecture: str | dict[str, int | float | bool] | None = None
    """With `start: random`: a released size by name, or keys of config.json (the rest as released)."""
    skip_existing: bool = False
    """Keep this stage's finished result if the run folder has one."""
    mode: Literal["full", "lora", "head"] = "full"
    """Train all weights; low-rank adapters, merged into the weights at the end; or the output heads alone."""
    lora: LoraSettings = Field(default_factory=LoraSettings)
    """The adapters of `mode: lora`."""
    train: list[str] | None = None
    """Patterns over released parameter names: only these are trained (beside the adapters of `mode: lora`).
    null: all with `mode: full`, none with `mode: lora`."""
    freeze: list[str] = Field(default_factory=list)
    """Patterns over released parameter names that are not trained, whatever else says so."""
    epochs: int = Field(30, ge=1)
    batch_size: int = Field(50, ge=1)
    """Windows per device and step."""
    accumulation_steps: int = Field(1, ge=1)
    """Batches whose gradients are added up before one optimiser step."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule."""
    schedule: ScheduleKind = "onecycle"
    """Up and down along cosines; a linear rise and then a cosine to 0; or a linear rise and then constant."""
    betas: tuple[float, float]
    """Of AdamW."""
    weight_decay: float = Field(0.1, ge=0)
    clip: float = Field(gt=0)
    """Gradient norm above which gradients are scaled down."""
    warmup: float = Field(0.03, ge=0, lt=1)
    """Share of all steps in which the learning rate rises; above 0 for onecycle."""
    div_factor: float = Field(10.0, ge=1)
    """The schedule starts at learning_rate / div_factor."""
    patience: int | None = Field(None, ge=1)
    """Stop after so many validations in a row without a new best; null: never."""
    validate_every: int | None = Field(None, ge=1)
    """Optimiser steps between two validations; null: once an epoch."""
    gradient_checkpointing: bool = False
    """Keep less of the forward pass and compute it again in the backward pass: less memory, about a third slower."""
    compile: Literal["auto", "on", "off"] = "auto"
    """torch.compile: auto turns it on for long runs on CUDA; the first step then takes a minute or more."""
    save_every: int = Field(500, ge=1)
    """Optimiser steps between two saved states; one is saved after each validation as well."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A gradient that is not finite stops the run, or its step is left out and counted."""


class TokenizerSettings(StageSettings):
    """Stage 1: adapt the tokenizer."""

    start: str = "NeoQuasar/Kronos-Tokenizer-base"
    learning_rate: float = Field(2e-4, gt=0)
    betas: tuple[float, float] = (0.9, 0.999)
    clip: float = Field(2.0, gt=0)

    def random_config(self) -> TokenizerConfig:
        """The architecture of a start from random weights."""
        return _architecture("tokenizer", self.architecture, TokenizerConfig, TOKENIZERS, "base")


class PredictorSettings(StageSettings):
    """Stage 2: finetune the predictor on tokens of the frozen tokenizer."""

    start: str = "NeoQuasar/Kronos-small"
    learning_rate: float = Field(4e-5, gt=0)
    betas: tuple[float, float] = (0.9, 0.95)
    clip: float = Field(3.0, gt=0)
    condition: Literal["sampled", "true"] = "sampled"
    """The s1 token that s2 is conditioned on in training: drawn from the model, or the true one."""

    def random_config(self) -> PredictorConfig:
        """The architecture of a start from random weights."""
        return _architecture("predictor", self.architecture, PredictorConfig, PREDICTORS, "small")


class Settings(Strict):
    """A whole run."""

    out: str
    """The run folder."""
    seed: int = Field(100, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    precision: Literal["float32", "bfloat16"] = "float32"
    """bfloat16: autocast; weights and optimiser stay float32."""
    max_context: int | None = Field(None, ge=2)
    """Bars that the finished model sees at most when it forecasts. null: 2048 for Kronos-mini, 512 for other
    pretrained starts, lookback + horizon for a predictor from random weights."""
    log_every: int = Field(10, ge=1)
    """Optimiser steps between two training lines of metrics.jsonl."""
    trackers: list[TrackerName] = Field(default_factory=list)
    """Also log to these: tensorboard, wandb, mlflow, comet. Their keys come from the environment alone."""
    data: DataSettings
    tokenizer: TokenizerSettings = Field(default_factory=TokenizerSettings)
    predictor: PredictorSettings = Field(default_factory=PredictorSettings)

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
        return 2048 if self.predictor.start.endswith("Kronos-mini") else 512

    def to_yaml(self) -> str:
        """The resolved settings; loading them gives the same object."""
        return yaml.safe_dump(self.model_dump(mode="json"), sort_keys=False)


def _architecture(
    stage: str,
    chosen: str | dict[str, Any] | None,
    config_class: type[Any],
    presets: Mapping[str, Any],
    default: str,
) -> Any:
    """The config dataclass of a random start; ValueError (for pydantic) names key and choices."""
    if chosen is None:
        chosen = default
    if isinstance(chosen, str):
        if chosen not in presets:
            raise ValueError(f"{stage}.architecture {chosen!r} is unknown; known sizes: {', '.join(presets)}")
        return presets[chosen]
    known = [f.name for f in dataclasses.fields(config_class)]
    for key in chosen:
        if key not in known:
            raise ValueError(f"{stage}.architecture has no key {key!r}{nearest(key, known)}")
    return dataclasses.replace(presets[default], **chosen)


def load_settings(
    source: str | Path | Mapping[str, Any], overrides: Iterable[str] = (), *, out: str | None = None
) -> Settings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    Raises:
        ConfigError: unreadable file, malformed override, unknown key (the nearest known one is named), bad value.
    """
    return load(Settings, source, overrides, {} if out is None else {"out": out})

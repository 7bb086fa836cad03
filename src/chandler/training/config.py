"""One YAML file plus overrides -> one validated `Settings` object. Every field says what it sets."""

from __future__ import annotations

import dataclasses
import datetime
import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from chandler.data.cleaning import CleaningSettings
from chandler.data.sessions import resolve
from chandler.data.splits import SplitSettings
from chandler.errors import ConfigError, DataError
from chandler.forecasting.loading import recorded
from chandler.nn.predictor import DependencyPositions, PredictorConfig
from chandler.nn.presets import PREDICTORS, TOKENIZERS
from chandler.nn.tokenizer import TokenizerConfig
from chandler.training.optim import ScheduleKind
from chandler.training.tracking import TrackerName

RANDOM = "random"


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", validate_default=True, use_attribute_docstrings=True)


class SourceSettings(_Strict):
    """Which bars, and how they are read."""

    path: str | list[str]
    """File, folder, glob, a store made by prepare, "qlib:FOLDER", or a list of them."""
    market: str = "all"
    """Of a qlib folder: the instrument list, such as csi300."""
    freq: str = "day"
    """Of a qlib folder: the bars, such as day or 1min."""
    start: str | None = None
    """Only rows from this date or time on."""
    end: str | None = None
    """Only rows up to this date or time, inclusive."""
    symbols: list[str] | None = None
    """Only these symbols."""
    columns: dict[str, str] | None = None
    """Canonical name -> name in the file, where the usual spellings do not fit."""
    timezone: str | None = None
    """Zone of timestamps that carry none."""
    date_format: str | None = None
    """strptime format, where the file is ambiguous."""
    decimal: Literal["auto", ".", ","] = "auto"
    """Decimal sign of numbers, where the file is ambiguous."""
    unsorted: Literal["error", "sort"] = "error"
    """What to do with rows whose time steps back: stop, or sort them."""
    join: bool = False
    """Files of one symbol follow one another: put them together."""
    adjust: Literal["auto", "none"] = "auto"
    """Scale prices by an adjusted close, where there is one."""
    missing: Literal["error", "drop", "split"] = "error"
    """What to do with rows whose prices are missing: stop, leave them out, or leave them out and let no window
    cross the place."""
    resample: str | None = None
    """Make coarser bars first, such as 15min, 1h, 1D, counted from the opening of each session."""
    calendar: str | None = None
    """When the market trades: an exchange (XNYS, XSHG, ...), 24/7, 24/5; null: learned from the bars. Holes, whole
    coarser bars, and the forecasts to come go by it."""
    max_gap: int | None = Field(None, ge=0)
    """No window crosses a hole of more missing bars than this; null: holes are not looked for."""
    cleaning: CleaningSettings = Field(default_factory=CleaningSettings)
    """The paper's rules for jumps, illiquid and stagnant stretches; off unless cleaning.enabled. One of data.sources
    that does not give its own has those of data."""

    @field_validator("start", "end", mode="before")
    @classmethod
    def _text(cls, value: object) -> object:
        return str(value) if isinstance(value, datetime.date) else value  # YAML makes dates of 2024-06-30

    @field_validator("calendar")
    @classmethod
    def _known(cls, value: str | None) -> str | None:
        try:
            return None if value is None else resolve(value)
        except DataError as error:
            raise ValueError(str(error).rstrip(".")) from None


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


class CorpusSource(SourceSettings):
    """One of many sources of a corpus: its bars at their own interval, and at coarser ones."""

    path: str = Field(min_length=1)
    """File, folder, glob or store; relative ones are taken from data.folder."""
    intervals: list[str] = Field(default_factory=list)
    """Coarser bars made as well, such as [15min, 1h, 1D]: each is a series of its own."""
    leave_out: list[str] = Field(default_factory=list)
    """Symbols that are not trained on: held out, or in another source already."""
    weight: float = Field(1.0, gt=0)
    """Of each of its symbols, on top of data.weighting; the share of its class of bars is set by this."""


class DataSettings(SourceSettings):
    """Which bars, cut into which windows."""

    path: str | list[str] = Field(default_factory=list)
    """File, folder, glob, a store made by prepare, "qlib:FOLDER", or a list of them."""
    sources: list[CorpusSource] = Field(default_factory=list)
    """Many sources instead of `path`, each with its own ways of reading and cleaning, for pretraining."""
    folder: str = "."
    """Where relative paths of `sources` are taken from."""
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

    @model_validator(mode="after")
    def _somewhere(self) -> DataSettings:
        if not (self.path or self.sources):
            raise ValueError("path is missing; pretraining may give sources instead")
        if self.path and self.sources:
            raise ValueError("give path or sources, not both")
        for source in self.sources:
            if "cleaning" not in source.model_fields_set:
                source.cleaning = self.cleaning
        return self

    @property
    def temperature(self) -> float:
        """`weighting` as a power of a symbol's number of windows."""
        return {"rows": 1.0, "equal": 0.0}[self.weighting] if isinstance(self.weighting, str) else self.weighting


class LoraSettings(_Strict):
    """The low-rank adapters of `mode: lora`."""

    rank: int = Field(8, ge=1)
    """Inner width of an adapter."""
    alpha: float = Field(16.0, gt=0)
    """An adapter counts alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of an adapter's input, in training."""
    targets: list[str] = Field(["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"], min_length=1)
    """Which projections: names, or patterns over released names such as "transformer.*.q_proj"."""


class StageSettings(_Strict):
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
    least_lookback: int | None = Field(None, ge=2)
    """Training windows take their scale from their first least_lookback to data.lookback bars, drawn anew each step,
    so that the model learns to forecast from any such history; null: always from data.lookback bars."""
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
    loss: Literal["window", "horizon"] = "window"
    """Over the next bar of every bar of a window, as released; or over the bars of the horizon alone. The scale of a
    window comes from its lookback, so what follows a bar of the lookback is known in part: it pulls to the mean."""

    def random_config(self) -> PredictorConfig:
        """The architecture of a start from random weights."""
        return _architecture("predictor", self.architecture, PredictorConfig, PREDICTORS, "small")


class Settings(_Strict):
    """A whole run."""

    out: str
    """The run folder."""
    seed: int = Field(100, ge=0)
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
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
        return int(recorded(self.predictor.start).get("max_context", 512))

    def positions(self) -> DependencyPositions:
        """How the finished model sees positions when it forecasts: as its start does; from random weights, as in
        training."""
        if self.predictor.start == RANDOM:
            return "rotary"
        return cast(DependencyPositions, recorded(self.predictor.start).get("dependency_positions", "reference"))

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
            raise ValueError(f"{stage}.architecture has no key {key!r}{_nearest(key, known)}")
    return dataclasses.replace(presets[default], **chosen)


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
    defaults: Mapping[str, Any] = MappingProxyType({}),
) -> Settings:
    """Read a YAML file (or take a mapping), apply `key.sub=value` overrides, validate.

    `defaults` stand in for keys that the source does not give.

    Raises:
        ConfigError: unreadable file, malformed override, unknown key (the nearest known one is named), bad value.
    """
    where = "the settings"
    if isinstance(source, Mapping):
        raw: Any = dict(source)
    else:
        where = str(source)
        try:
            raw = yaml.safe_load(Path(source).read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise ConfigError(f"{where}: no such file. Shipped recipes are in configs/.") from error
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{where}: cannot be read ({error}).") from error
        except yaml.YAMLError as error:
            raise ConfigError(f"{where}: not valid YAML: {error}") from error
        if not isinstance(raw, dict):
            raise ConfigError(f"{where}: expected keys and values, found {type(raw).__name__}.")
    raw = _over(defaults, raw)
    for override in overrides:
        _apply(raw, override)
    if out is not None:
        raw["out"] = out
    try:
        return Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(_explain(error, where)) from error


def _over(defaults: Mapping[str, Any], raw: Mapping[str, Any]) -> dict[str, Any]:
    """`raw` with what it lacks of `defaults`, however deep."""
    found = dict(defaults) | dict(raw)
    for key in defaults.keys() & raw.keys():
        if isinstance(defaults[key], Mapping) and isinstance(raw[key], Mapping):
            found[key] = _over(defaults[key], raw[key])
    return found


def _apply(raw: dict[str, Any], override: str) -> None:
    """Set `a.b=value` in place; the value is read as YAML."""
    key, equals, value = override.partition("=")
    path = key.strip().split(".")
    if not equals or not all(path):
        raise ConfigError(f"--set {override}: expected key=value, as in --set data.path=bars.csv")
    node = raw
    for part in path[:-1]:
        child = node.get(part)
        if not isinstance(child, dict):
            child = {}
        node[part] = child = dict(child)
        node = child
    try:
        node[path[-1]] = yaml.safe_load(value) if value.strip() else None
    except yaml.YAMLError as error:
        raise ConfigError(f"--set {override}: the value is not valid YAML. Quote it if it is a text.") from error


def _explain(error: ValidationError, where: str) -> str:
    """Every complaint of pydantic in one line each, in the user's terms."""
    lines = []
    for problem in error.errors():
        location = [str(part) for part in problem["loc"]]
        key = ".".join(location)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown key {key}{_nearest(location[-1], _known_keys(location[:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"{key} is missing")
        else:
            text = problem["msg"].removeprefix("Value error, ")
            found = "" if isinstance(problem["input"], dict) or not key else f", found {problem['input']!r}"
            lines.append(f"{key}: {text}{found}" if key else text)
    return f"{where}: " + "; ".join(lines) + "."


def _known_keys(path: list[str]) -> list[str]:
    model: Any = Settings
    for part in path:
        annotation = model.model_fields[part].annotation
        options = [a for a in (annotation, *get_args(annotation)) if isinstance(a, type)]
        model = next((a for a in options if issubclass(a, BaseModel)), None)
        if model is None:
            return []
    return list(model.model_fields)


def _nearest(key: str, known: Iterable[str]) -> str:
    known = list(known)
    close = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    return f" (did you mean {close[0]}?)" if close else f" (known: {', '.join(known)})"

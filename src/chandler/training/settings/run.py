"""What a run is: `Settings`. Every field says what it sets."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Literal, cast

from pydantic import Field, field_validator, model_validator

from chandler.devices import require_name
from chandler.forecasting import recommended_settings
from chandler.nn import DependencyPositions
from chandler.settings import StrictModel
from chandler.training.settings.data import DataSettings
from chandler.training.settings.signal import SignalSettings
from chandler.training.settings.stage import RANDOM, PredictorSettings, TokenizerSettings

TrackerName = Literal["tensorboard", "wandb", "mlflow", "comet"]


class Settings(StrictModel):
    """A whole run."""

    out: str
    """The run folder."""
    seed: int = Field(100, ge=0)
    """Of all that is drawn: windows, dropout, random weights."""
    device: str = "auto"
    """Where it is trained: "auto" takes cuda, then mps, then the CPU; or "cpu", "cuda", "cuda:1", "mps". Under torchrun
    each process takes a CUDA device of its own."""
    distributed: Literal["ddp", "fsdp"] = "ddp"
    """With several processes: each holds the whole model (ddp), or a part of its weights, gradients and optimiser state
    (fsdp), for models that one device cannot hold while they are trained."""
    precision: Literal["auto", "float32", "bfloat16"] = "auto"
    """bfloat16: autocast; weights and optimiser stay float32. auto: bfloat16 on a CUDA device that computes in it, float32
    elsewhere."""
    max_context: int | None = Field(None, ge=2)
    """Bars that the finished model sees at most when it forecasts. null: as many as its start (512 where that does
    not say), or lookback + horizon where windows are longer or weights random."""
    log_every: int = Field(10, ge=1)
    """Optimiser steps between two training lines of metrics.jsonl."""
    trackers: list[TrackerName] = Field(default_factory=list)
    """Also log to these: tensorboard, wandb, mlflow, comet. Their keys come from the environment alone."""
    data: DataSettings
    tokenizer: TokenizerSettings = Field(default_factory=TokenizerSettings)
    predictor: PredictorSettings = Field(default_factory=PredictorSettings)
    signal: SignalSettings = Field(default_factory=SignalSettings)
    """Afterwards, a readout of the finished predictor that orders symbols by their return; off unless signal.enabled."""

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
        if self.signal.enabled and self.data.sources:
            raise ValueError(
                "signal.enabled needs one set of bars, data.path, and this run has data.sources: fit a head afterwards with "
                "chandler signal"
            )
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
        window = self.data.lookback + self.data.horizon
        return window if self.predictor.start == RANDOM else max(window, self._known_context())

    def context_warnings(self) -> list[str]:
        """What a person should know about windows that are longer than what the finished model, or its start, sees."""
        window, context = self.data.lookback + self.data.horizon, self.context()
        if context < window:
            return [
                f"max_context {context} is below lookback + horizon, {window}: the finished model will see the last {context} bars "
                f"alone. Set max_context to {window}, or leave it out."
            ]
        if self.predictor.start != RANDOM and self._known_context() < window and self.max_context is None:
            return [
                f"windows of {window} bars are longer than the {self._known_context()} that {self.predictor.start} sees: the "
                f"finished model is given max_context {window}."
            ]
        return []

    def _known_context(self) -> int:
        return int(self._recommended().get("max_context", 512))

    def positions(self) -> DependencyPositions:
        """How the finished model sees positions when it forecasts: as its start does; from random weights, as in
        training."""
        if self.predictor.start == RANDOM:
            return "rotary"
        return cast(DependencyPositions, self._recommended().get("dependency_positions", "reference"))

    def _recommended(self) -> Mapping[str, Any]:
        return recommended_settings(self.predictor.start, self.predictor.revision)

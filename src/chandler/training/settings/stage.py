"""What the settings say about a stage: what it starts from, what is trained, and how."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from chandler.forecasting.engine import Overflow
from chandler.nn import PREDICTORS, TOKENIZERS, PredictorConfig, TokenizerConfig
from chandler.settings import StrictModel, did_you_mean

RANDOM = "random"
"""The `start` of weights that are drawn, not loaded."""
ScheduleKind = Literal["onecycle", "cosine", "constant"]
Beta = Annotated[float, Field(ge=0, lt=1)]
Betas = tuple[Beta, Beta]
PromoteOn = Literal["loss", "crps", "rank_ic"]
"""What chooses the best checkpoint."""


class LoraSettings(StrictModel):
    """The low-rank adapters of `mode: lora`."""

    rank: int = Field(8, ge=1)
    """Inner width of an adapter."""
    alpha: float = Field(16.0, gt=0)
    """An adapter counts alpha / rank."""
    dropout: float = Field(0.0, ge=0, lt=1)
    """Of an adapter's input, in training."""
    targets: list[str] = Field(["q_proj", "k_proj", "v_proj", "out_proj", "w1", "w2", "w3"], min_length=1)
    """Which projections: names, or patterns over released names such as "transformer.*.q_proj"."""


class ScoringSettings(StrictModel):
    """Forecasts of validation windows, made and scored in each validation: see `training.engine.forecast_validation`."""

    windows: int = Field(64, ge=2)
    """So many validation windows, evenly spaced, the same in each validation."""
    paths: int = Field(16, ge=2)
    """Sampled futures of each."""
    temperature: float = Field(1.0, gt=0)
    """Of the sampling."""
    top_p: float = Field(1.0, gt=0, le=1)
    """1 samples what the model believes; a nucleus makes the distribution narrower."""
    overflow: Overflow = "block"
    """What happens when lookback and horizon exceed max_context; see `forecasting.engine.generate`."""


class StageSettings(StrictModel):
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
    """Keep this stage's finished result if the run folder has one. What the other stage has there has to be kept as well, or
    gone on with (resume)."""
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
    """How often it goes over the windows of an epoch."""
    batch_size: int = Field(50, ge=1)
    """Windows per device and step."""
    accumulation_steps: int = Field(1, ge=1)
    """Batches whose gradients are added up before one optimiser step."""
    learning_rate: float = Field(gt=0)
    """Peak of the schedule."""
    schedule: ScheduleKind = "onecycle"
    """Up and down along cosines; a linear rise and then a cosine to 0; or a linear rise and then constant."""
    betas: Betas
    """Of AdamW."""
    weight_decay: float = Field(0.1, ge=0)
    """Of AdamW."""
    clip: float = Field(gt=0)
    """Gradient norm above which gradients are scaled down."""
    warmup: float = Field(0.03, ge=0, lt=1)
    """Share of all steps in which the learning rate rises; above 0 for onecycle."""
    div_factor: float = Field(10.0, ge=1)
    """The schedule starts at learning_rate / div_factor."""
    promote_on: PromoteOn = "loss"
    """What chooses the best checkpoint: the validation loss, or a score of forecasts (crps, rank_ic)."""
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
    """torch.compile, block by block: auto turns it on for long runs on CUDA; the first step then takes a minute or so."""
    cuda_graph: Literal["auto", "on", "off"] = "auto"
    """Launch all of a step at once: auto does so on CUDA, with one process and without gradient_checkpointing. It keeps the
    memory of a step for itself."""
    save_every: int = Field(500, ge=1)
    """Optimiser steps between two saved states; one is saved after each validation as well."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A gradient that is not finite stops the run, or its step is left out and counted."""

    @field_validator("compile", "cuda_graph", mode="before")
    @classmethod
    def _switch(cls, value: object) -> object:
        return (
            {True: "on", False: "off"}[value] if isinstance(value, bool) else value
        )  # YAML makes booleans of on and off


class TokenizerSettings(StageSettings):
    """Stage 1: adapt the tokenizer."""

    start: str = "NeoQuasar/Kronos-Tokenizer-base"
    learning_rate: float = Field(2e-4, gt=0)
    """Peak of the schedule."""
    betas: Betas = (0.9, 0.999)
    """Of AdamW."""
    clip: float = Field(2.0, gt=0)
    """Gradient norm above which gradients are scaled down."""

    @field_validator("promote_on")
    @classmethod
    def _reconstruction(cls, value: PromoteOn) -> PromoteOn:
        if value != "loss":
            raise ValueError(
                "a tokenizer makes no forecast, its checkpoints are chosen by the reconstruction error: loss"
            )
        return value

    def random_config(self) -> TokenizerConfig:
        """The architecture of a start from random weights."""
        return _architecture("tokenizer", self.architecture, TokenizerConfig, TOKENIZERS, "base")


class PredictorSettings(StageSettings):
    """Stage 2: finetune the predictor on tokens of the frozen tokenizer."""

    start: str = "NeoQuasar/Kronos-small"
    learning_rate: float = Field(4e-5, gt=0)
    """Peak of the schedule."""
    betas: Betas = (0.9, 0.95)
    """Of AdamW."""
    clip: float = Field(3.0, gt=0)
    """Gradient norm above which gradients are scaled down."""
    condition: Literal["sampled", "true"] = "sampled"
    """The s1 token that s2 is conditioned on in training: drawn from the model, or the true one."""
    loss: Literal["window", "horizon"] = "window"
    """Over the next bar of every bar of a window, as released; or over the bars of the horizon alone. The scale of a
    window comes from its lookback, so what follows a bar of the lookback is known in part: it pulls to the mean."""
    token_noise: float = Field(0.0, ge=0, lt=1)
    """In training, each pair of tokens that the model sees is replaced with this probability by that of a bar up to four
    before, drawn anew each step; what it has to predict stays. Against too much trust in its own sampled context. 0: never."""

    scoring: ScoringSettings | None = None
    """Score forecasts in each validation; null: only where promote_on needs them, as many as the defaults say."""

    def random_config(self) -> PredictorConfig:
        """The architecture of a start from random weights."""
        return _architecture("predictor", self.architecture, PredictorConfig, PREDICTORS, "small")


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
            raise ValueError(f"{stage}.architecture has no key {key!r}{did_you_mean(key, known)}")
    return dataclasses.replace(presets[default], **chosen)

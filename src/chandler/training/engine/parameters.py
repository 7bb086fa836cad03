"""Chooses what a stage trains: everything, low-rank adapters or the heads, and what name patterns add or take away."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from chandler.errors import ConfigError
from chandler.nn import Part, adapters, add_adapters, matches, released_parts
from chandler.training.settings import StageSettings

HEADS = {"tokenizer": ("head",), "predictor": ("head", "dep_layer")}
"""What `mode: head` trains. The dependency layer belongs to the fine token's head: it feeds nothing else. The
tokenizer's head decodes only, so training it leaves every token id as it was."""


@dataclass(frozen=True)
class ParameterSummary:
    """How much of a model is trained."""

    mode: str
    total: int
    """Parameters of the released model; adapters not counted."""
    trained: int
    adapters: int
    """Projections that have an adapter."""

    def __str__(self) -> str:
        share = f"{self.trained:,} parameters are trained ({self.trained / self.total:.2%} of {self.total:,}"
        return f"{share}; adapters on {self.adapters} projections)" if self.adapters else f"{share})"

    def to_dict(self) -> dict[str, Any]:
        """Plain values for summary.json."""
        return {"mode": self.mode, "parameters": self.total, "trained_parameters": self.trained}


def select_parameters(
    model: nn.Module, stage: str, settings: StageSettings, generator: torch.Generator
) -> ParameterSummary:
    """Freeze what the settings do not train, and add the adapters of `mode: lora` (in place).

    `generator` draws the adapters' first weights; they add exactly nothing until they are trained.

    Raises:
        ConfigError: a pattern that fits no parameter, parts of one joint matrix that are to differ, nothing left.
    """
    parts = released_parts(model)
    total = sum(p.numel() for p in model.parameters())
    base = {"full": ("*",), "lora": (), "head": HEADS[stage]}[settings.mode]
    for setting, patterns in (("train", settings.train or ()), ("freeze", settings.freeze)):
        for pattern in patterns:
            _require_match(f"{stage}.{setting}", pattern, parts)
    wanted = base if settings.train is None else tuple(settings.train)
    _apply(parts, stage, wanted, settings.freeze)
    if settings.mode == "lora":
        lo, frozen = settings.lora, settings.freeze
        add_adapters(
            model, lo.targets, but=frozen, rank=lo.rank, alpha=lo.alpha, dropout=lo.dropout, generator=generator
        )
    trained = sum(p.numel() for p in model.parameters() if p.requires_grad)
    if not trained:
        raise ConfigError(
            f"{stage}: train and freeze leave no parameter to train. Switch it off: {stage}.enabled=false"
        )
    return ParameterSummary(settings.mode, total, trained, len(adapters(model)))


def _apply(parts: list[Part], stage: str, train: tuple[str, ...], freeze: list[str]) -> None:
    joint: dict[nn.Parameter, list[Part]] = {}
    for part in parts:
        joint.setdefault(part.parameter, []).append(part)
    for parameter, shared in joint.items():
        chosen = [matches(part.name, train) and not matches(part.name, freeze) for part in shared]
        if any(chosen) != all(chosen):
            on = ", ".join(part.name for part, on in zip(shared, chosen, strict=True) if on)
            off = ", ".join(part.name for part, on in zip(shared, chosen, strict=True) if not on)
            raise ConfigError(
                f"{stage}: {on} would be trained but {off} frozen, and they are one matrix in memory. Name all of them "
                f"or none in {stage}.train and {stage}.freeze; mode: lora can adapt them one by one."
            )
        # What the model itself keeps fixed (the sinusoid of fixed time embeddings) stays fixed.
        parameter.requires_grad_(parameter.requires_grad and chosen[0])


def _require_match(setting: str, pattern: str, parts: list[Part]) -> None:
    names = [part.name for part in parts]
    if not any(matches(name, [pattern]) for name in names):
        modules = {".".join(name.split(".")[:depth]) for name in names for depth in range(1, name.count(".") + 1)}
        close = difflib.get_close_matches(pattern, [*names, *sorted(modules)], n=1, cutoff=0.5) or names[:1]
        raise ConfigError(f"{setting}: {pattern!r} fits no parameter (did you mean {close[0]!r}?).")

"""Normalised windows in, normalised paths out: encoded by the tokenizer, continued by the engine, decoded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chandler.errors import ConfigError
from chandler.forecasting.engine import (
    GenerationSettings,
    Prompt,
    decode_many,
    encode_histories,
    generate,
    path_uniforms,
    require_finite,
    require_int,
)
from chandler.forecasting.preprocessing import ModelInput
from chandler.forecasting.pretrained import ModelPair
from chandler.forecasting.settings import ForecastSettings
from chandler.progress import Report

RESULT_BYTES = 128
"""Memory of one forecast bar while it is made: random numbers, ids, decoded and in price units."""


class SampledPaths(NamedTuple):
    """What the model says of one series, normalised."""

    z: NDArray[np.float64]
    """(paths, horizon, 6)"""
    last: NDArray[np.float64]
    """(6,) the last bar of the history as its tokens have it."""


@torch.no_grad()
def sample_paths(
    models: ModelPair,
    settings: ForecastSettings,
    windows: Sequence[ModelInput],
    horizon: int,
    seeds: list[int],
    progress: Report | None,
) -> list[SampledPaths]:
    """Continue windows, each with its seed, on the device of the predictor: see `Forecaster.sample`."""
    paths = settings.paths
    drawn = 1 if settings.sampling.greedy else paths
    # One set of numbers for each seed, shared by its windows.
    uniforms = {one: path_uniforms(one, 0, drawn, horizon) for one in dict.fromkeys(seeds)}
    generation = GenerationSettings(
        horizon,
        models.max_context,
        settings.sampling,
        models.dependency_positions,
        settings.overflow,
        getattr(torch, settings.precision),
    )
    lengths = [len(window.values) for window in windows]
    history = sum(lengths) + sum(min(rows, generation.keep) for rows in lengths)
    work = _Work(history + 2 * drawn * horizon * len(windows), progress)
    tokens, finite = encode_histories(
        models.tokenizer,
        [torch.as_tensor(window.values, dtype=torch.float32) for window in windows],
        memory_budget=settings.memory_budget,
        encoded=work.add,
    )
    prompts = [
        Prompt(s1, s2, torch.as_tensor(window.stamps), uniforms[one])
        for (s1, s2), window, one in zip(tokens, windows, seeds, strict=True)
    ]
    continued = generate(
        models.predictor,
        prompts,
        generation,
        memory_budget=settings.memory_budget,
        progress=work.generated,
        encoded=work.add,
    )
    decoded = decode_many(
        models.tokenizer,
        tokens,
        continued,
        max_context=models.max_context,
        memory_budget=settings.memory_budget,
        decoded=work.add,
    )
    require_finite(bool(finite))
    # Greedy paths are all equal: one is computed.
    copies = paths // drawn
    return [
        SampledPaths(one.bars.double().numpy().repeat(copies, axis=0), one.last.double().numpy()) for one in decoded
    ]


class _Work:
    """Counts rows: of the history in the tokenizer and in the predictor, of the paths generated and decoded."""

    def __init__(self, total: int, report: Report | None) -> None:
        self.total, self.report = total, report
        self.done = self.new = 0

    def add(self, rows: int) -> None:
        """So many rows of something more."""
        self.done += rows
        if self.report is not None:
            self.report(self.done, self.total)

    def generated(self, done: int, total: int) -> None:
        """What the engine calls: rows generated so far, of `total`."""
        rows, self.new = done - self.new, done
        self.add(rows)


def seeds_per_series(seed: Any, series: int) -> list[int]:
    """A seed for each series, from one for all or from as many: a list, an array, a column of a frame.

    ConfigError for another number of them, or for what is no whole number >= 0.
    """
    try:
        each = [seed] * series if isinstance(seed, str | Mapping | AbstractSet) else list(seed)
    except TypeError:
        each = [seed] * series
    if len(each) != series:
        raise ConfigError(f"seed must be one number or one per series: {series} series, found {len(each)} seeds.")
    return [require_int("seed", one, 0) for one in each]

"""Normalised windows in, normalised paths out: encoded by the tokenizer, continued by the engine, decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from chandler.devices import device_of
from chandler.errors import ConfigError
from chandler.forecasting.engine import (
    GenerationSettings,
    Prompt,
    decode_paths,
    eval_mode,
    free_memory,
    generate,
    path_uniforms,
)
from chandler.forecasting.preprocessing import ModelInput
from chandler.forecasting.pretrained import ModelPair
from chandler.forecasting.settings import ForecastSettings
from chandler.progress import Report

RESULT_BYTES = 128
"""Memory of one forecast bar while it is made: random numbers, ids, decoded and in price units."""
SMALL_RESULT = 256 << 20
"""Bytes that are tried without asking what is free."""


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
    device = device_of(models.predictor)
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
    prompts = []
    with eval_mode(models.tokenizer):
        # One at a time: which side of 0 a bit falls on must not depend on the company.
        for window, one in zip(windows, seeds, strict=True):
            x = torch.as_tensor(window.values, dtype=torch.float32).to(device)
            s1, s2 = models.tokenizer.encode(x[None])
            prompts.append(Prompt(s1[0], s2[0], torch.as_tensor(window.stamps), uniforms[one]))
            work.add(len(x))
    continued = generate(
        models.predictor,
        prompts,
        generation,
        memory_budget=settings.memory_budget,
        progress=work.generated,
        encoded=work.add,
    )
    decoded = []
    for prompt, new in zip(prompts, continued, strict=True):
        bars, last = decode_paths(models.tokenizer, (prompt.s1, prompt.s2), new, max_context=models.max_context)
        # Greedy paths are all equal: one is computed.
        z = bars.cpu().double().numpy().repeat(paths // drawn, axis=0)
        decoded.append(SampledPaths(z, last.cpu().double().numpy()))
        work.add(bars.shape[0] * horizon)
    return decoded


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


def require_room(series: int, paths: int, horizon: int) -> None:
    """ConfigError for what could not even hold its result, before hours of work end in a MemoryError."""
    need, free = series * paths * horizon * RESULT_BYTES, free_memory(torch.device("cpu"))
    # What is free is an estimate (a container counts its file cache as used): small results are never refused.
    if need > max(free, SMALL_RESULT):
        raise ConfigError(
            f"{series} series x {paths} paths x {horizon} bars need {need / 1e9:,.1f} GB of memory, "
            f"{free / 1e9:,.1f} GB are free. Lower paths or horizon, or forecast fewer series at a time."
        )


def seeds_per_series(seed: int | Sequence[int], series: int) -> list[int]:
    """A seed for each series, from one for all or from as many; ConfigError for another number of them."""
    if not isinstance(seed, Sequence):
        return [seed] * series
    if len(seed) != series:
        raise ConfigError(f"seed must be one number or one per series: {series} series, found {len(seed)} seeds.")
    return list(seed)

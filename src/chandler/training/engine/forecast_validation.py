"""Scores real forecasts of a fixed set of validation windows, by the engine that forecasts; always the same questions.

Windows, sampling and random numbers are functions of settings and seed: two checkpoints differ by their weights alone.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from chandler.data import CLOSE
from chandler.data.datasets import Windows, denormalise
from chandler.devices import bring, device_of
from chandler.forecasting import anchored
from chandler.forecasting.engine import (
    GenerationSettings,
    Prompt,
    Sampling,
    decode_many,
    encode_histories,
    generate,
    path_uniforms,
    require_finite,
)
from chandler.measures import crps, rank_correlation
from chandler.nn import DependencyPositions, Kronos, KronosTokenizer, merged
from chandler.training.settings import ScoringSettings

MEMORY = 1 << 30
"""Bytes for caches and buffers of the engine: fixed, so that what is computed together does not depend on what is free."""


@dataclass(eq=False)
class ForecastScorer:
    """The questions of a predictor's validation."""

    windows: Windows
    """Of the validation split; `settings.windows` of them are asked, evenly spaced from a drawn first one."""
    tokenizer: KronosTokenizer
    """The frozen one; histories are encoded once."""
    max_context: int
    """Bars that the finished model will see at most."""
    settings: ScoringSettings
    positions: DependencyPositions
    """How the finished model will see positions."""
    seed: int
    """Of the choice of windows and of the paths."""
    part: tuple[int, int] = (0, 1)
    """(rank, ranks) of this process, which answers every ranks-th question."""

    def __post_init__(self) -> None:
        windows, seen, last = self.windows, self.windows.lookback, self.windows.lookback + self.windows.horizon
        self.indices = evenly_spaced(len(windows), self.settings.windows, self.seed)
        self.mine = np.arange(self.part[0], len(self.indices), self.part[1])
        """Which of the questions this process answers."""
        asked = windows.gather(self.indices[self.mine])
        self._values = torch.from_numpy(asked.values[:, :seen])
        self._stamps = torch.from_numpy(asked.stamps[:, :last])
        self._scale = asked.mean, asked.std
        # Not from the normalised rows: those are clipped.
        closes = windows.rows(self.indices[self.mine])[:, seen - 1 : last, CLOSE].astype(np.float64)
        self._last, self._truth = closes[:, :1], closes[:, 1:]
        self._prompts: list[Prompt] = []

    def answer(self, model: Kronos, progress: Callable[[int, int], None] | None = None) -> NDArray[np.float64]:
        """What this process finds, (questions, 3), rows of others 0: CRPS, forecast return, true return.

        The sum over processes is the whole; `aggregate_scores` makes the scores of it. `model` may have adapters and be in train
        mode.
        """
        table = np.zeros((len(self.indices), 3))
        if not len(self.mine):
            return table
        s = self.settings
        prompts = self._ready(device_of(model))
        continued = generate(
            merged(model),
            prompts,
            GenerationSettings(
                self.windows.horizon,
                self.max_context,
                Sampling(temperature=s.temperature, top_p=s.top_p),
                self.positions,
                s.overflow,
            ),
            memory_budget=MEMORY,
            progress=progress,
        )
        histories = [(prompt.s1, prompt.s2) for prompt in prompts]
        made = decode_many(self.tokenizer, histories, continued, max_context=self.max_context, memory_budget=MEMORY)
        z = torch.stack([one.bars for one in made]).double().numpy()
        decoded = torch.stack([one.last for one in made]).double().numpy()
        mean, std = self._scale
        paths, ends = denormalise(z, mean[:, None], std[:, None]), denormalise(decoded[:, None], mean, std)[:, 0]
        begun = zip(paths, ends[:, CLOSE], self._last[:, 0], strict=True)
        closes = np.stack([anchored(own, end, last)[..., CLOSE] for own, end, last in begun])
        moves = closes / self._last[:, None] - 1
        came = self._truth / self._last - 1
        table[self.mine, 0] = 100 * crps(moves, came).mean(axis=1)
        table[self.mine, 1] = moves[..., -1].mean(axis=1)
        table[self.mine, 2] = came[:, -1]
        return table

    def _ready(self, device: torch.device) -> list[Prompt]:
        """The histories as tokens, each with its random numbers."""
        bring(device, self.tokenizer)
        if not self._prompts:
            tokens, finite = encode_histories(self.tokenizer, list(self._values), memory_budget=MEMORY)
            require_finite(bool(finite))
            for place, (s1, s2), stamps in zip(self.mine, tokens, self._stamps, strict=True):
                uniforms = path_uniforms(self.seed, int(place), self.settings.paths, self.windows.horizon)
                self._prompts.append(Prompt(s1, s2, stamps, uniforms))
        return self._prompts


def aggregate_scores(table: NDArray[np.float64]) -> dict[str, float]:
    """The scores of all answers (questions, 3).

    crps: of the close, in percent of the last known close, the mean over steps and windows; lower is better.
    rank_ic: Spearman correlation, across the windows, of the return that the mean of the paths forecasts over the
    whole horizon with the true one (Kronos, arXiv 2508.02739, return forecasting); higher is better. Its standard
    error is about 1 / sqrt(windows).
    """
    return {"crps": float(table[:, 0].mean()), "rank_ic": rank_correlation(table[:, 1], table[:, 2])}


def evenly_spaced(size: int, count: int, seed: int) -> NDArray[np.int64]:
    """`count` of the numbers 0 .. size - 1 (all, if there are fewer), at equal distances from a drawn first one."""
    count = min(size, count)
    first = np.random.Generator(np.random.PCG64(seed)).random()
    return np.minimum(((np.arange(count) + first) * size / count).astype(np.int64), size - 1)

"""Token generation at the speed of the hardware: histories encoded once, one new row per path and step.

Token ids in, token ids out; the same as `reference.generate`, which defines them. Knows nothing of bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from weakref import WeakKeyDictionary

import torch
from torch import Tensor

from chandler.devices import Pace, at_work, device_of
from chandler.errors import ConfigError
from chandler.forecasting.engine.batch import Batch, Histories
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.memory import default_budget
from chandler.forecasting.engine.planning import Chunk, GenerationSettings, encoded_at_once, plan
from chandler.forecasting.engine.prompts import Prompt, moved, require_finite
from chandler.nn import Kronos

AHEAD = 8
"""Steps that the host may be ahead of the device while somebody is told of them."""
PADDING = 32
"""Positions beyond the context that padding of histories may have."""
FUSED_FROM = 100_000
"""Rows of history and new ones from which a call takes kernels that are built first: seconds once on a machine, then tenths of
one in a process."""
KEPT_BYTES = 1 << 30
"""Of caches whose captured step is kept for the next call."""


def generate(
    model: Kronos,
    prompts: Sequence[Prompt],
    settings: GenerationSettings,
    *,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    encoded: Callable[[int], None] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Continue each prompt by `settings.horizon` rows along each of its paths.

    Args:
        model: the predictor, on any device; read as it is now, never changed, eval or train mode alike.
        prompts: series of any lengths and numbers of paths; their tensors may be on any device.
        settings: how.
        memory_budget: bytes for caches and buffers, beside the model and one copy of its weights; by default a
            quarter of what is free, half on an accelerator. Paths are worked through in batches that fit.
        progress: called with (rows generated so far, rows in all) after each step.
        encoded: called with a number of rows of history when they have been encoded, with each row once.

    Returns:
        Per prompt, in order, the new ids (s1, s2), each (paths, horizon) int64 on the model's device. In float32 those
        of a path are a function of (weights, history, sampling, its random numbers), whatever the other prompts and
        paths, the memory budget, the threads or the device, unless a draw lies within 1e-5 of the edge between two
        tokens: sums round with the number of rows.

    Raises:
        ConfigError: a model in several places; a budget, or a device, in which not even one path fits.
        DataError: logits that are no numbers, which only damaged weights give.
    """
    device = device_of(model)
    paths = [prompt.paths for prompt in prompts]
    # Greedy paths are all equal: one is enough.
    computed = [1] * len(paths) if settings.sampling.greedy else paths
    # Made outside of inference mode: what the caller gets are ordinary tensors.
    ids = torch.empty(2, sum(computed), settings.horizon, dtype=torch.long, device=device)
    try:
        with torch.inference_mode(), at_work(device):
            budget = default_budget(device) if memory_budget is None else memory_budget
            there = zip(moved(prompts, device), computed, strict=True)
            series = [settings.cut(prompt, count) for prompt, count in there]
            _Work(model, series, settings, progress).run(budget, ids, encoded)
    except torch.OutOfMemoryError:
        raise ConfigError(
            f"{device} has no memory left for a single path. Free some there, or lower lookback or horizon."
        ) from None
    every = [
        new if new.shape[1] == count else new.expand(-1, count, -1).contiguous()
        for new, count in zip(ids.split(computed, dim=1), paths, strict=True)
    ]
    return [(s1, s2) for s1, s2 in every]


class _Work:
    """A call: which rows are done, and the state that the next batch takes over."""

    def __init__(
        self,
        model: Kronos,
        series: Sequence[Prompt],
        settings: GenerationSettings,
        progress: Callable[[int, int], None] | None,
    ) -> None:
        self.model, self.series, self.settings, self.progress = model, series, settings, progress
        starts = torch.tensor([0, *(prompt.paths for prompt in series)]).cumsum(0).tolist()
        self.starts, self.rows = starts[:-1], starts[-1]
        """Where the rows of each series begin among those of all, and how many there are."""
        self.finished = torch.zeros(self.rows, dtype=torch.bool)
        self.tried = 0
        """Rows of the batch that is at work."""

    def run(self, budget: int, ids: Tensor, encoded: Callable[[int], None] | None) -> None:
        """Fill ids (2, rows, horizon); in smaller batches where memory does not do, down to a single path."""
        rows = sum(prompt.rows for prompt in self.series) + self.rows * self.settings.horizon
        weights, batch = _laid_out(self.model, self.settings, fused=rows >= FUSED_FROM)
        histories = Histories(weights, self.series, encoded_at_once(weights, budget), encoded)
        if batch is not None:
            histories.memory = batch.prefix
        most = None
        while True:
            try:
                chunks = plan(weights, self.series, self.settings, budget, most)
                _keep(self.model, self.settings, weights, self._batches(histories, batch, chunks, ids))
                return
            except torch.OutOfMemoryError:
                if self.tried <= 1:
                    raise
            batch, most = None, self.tried // 2
            histories.forget()
            histories.at_once = max(1, histories.at_once // 2)
            if weights.device.type == "cuda":
                torch.cuda.empty_cache()

    def _batches(self, histories: Histories, batch: Batch | None, chunks: Iterator[Chunk], ids: Tensor) -> Batch | None:
        """What is not yet done, batch by batch; the last of them."""
        settings, horizon = self.settings, self.settings.horizon
        pace = Pace(ids.device, AHEAD)
        for chunk in chunks:
            rows = self._rows(chunk)
            if self.finished[rows].all():
                continue
            self.tried = len(rows)
            if batch is None or batch.shape != Batch.shape_of(histories, chunk, settings):
                batch = None  # its memory is wanted
                batch = Batch(histories, chunk, settings)
            batch.load(histories, chunk)
            done = int(self.finished.sum()) * horizon
            fresh = len(rows) - int(self.finished[rows].sum())
            for step, _ in enumerate(batch.steps(), start=1):
                if self.progress is not None:
                    pace.keep()
                    self.progress(done + fresh * step, self.rows * horizon)
            require_finite(batch.finite)
            ids.index_copy_(1, rows.to(ids.device), batch.ids)
            self.finished[rows] = True
        return batch

    def _rows(self, chunk: Chunk) -> Tensor:
        """Places of the chunk's rows among those of all."""
        starts = torch.tensor([self.starts[index] for index in chunk.series])
        return (starts[:, None] + torch.arange(chunk.paths.start, chunk.paths.stop)).flatten()


_kept: WeakKeyDictionary[Kronos, tuple[GenerationSettings, GenerationWeights, Batch]] = WeakKeyDictionary()
"""Per predictor the settings of its last call and what it captured: the next such call only has to fill it anew."""


def _laid_out(model: Kronos, settings: GenerationSettings, fused: bool) -> tuple[GenerationWeights, Batch | None]:
    """The weights as they are now, with the batch of the last call where this one may take it over."""
    longest = settings.max_context + PADDING
    weights = GenerationWeights(
        model, dtype=settings.dtype, positions=settings.positions, max_positions=longest, fused=fused
    )
    before = _kept.pop(model, None)
    if before is None or before[0] != settings:
        return weights, None
    if (before[1].device, before[1].fused) != (weights.device, weights.fused):
        return weights, None
    before[1].take(weights)
    return before[1:]


def _keep(model: Kronos, settings: GenerationSettings, weights: GenerationWeights, batch: Batch | None) -> None:
    """Leave a captured step for the next call, unless it holds much memory."""
    if batch is not None and batch.replays and batch.nbytes <= KEPT_BYTES:
        batch.rest()
        _kept[model] = settings, weights, batch

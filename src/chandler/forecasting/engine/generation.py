"""Token generation at the speed of the hardware: histories encoded once, one new row per path and step.

Token ids in, token ids out; the same as `reference.generate`, which defines them. Knows nothing of bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
from torch import Tensor

from chandler.devices import device_of
from chandler.forecasting.engine.cache import PathCache, PrefixCache, padded
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.memory import SHARE, free_memory, trim_heap
from chandler.forecasting.engine.planning import Chunk, GenerationSettings, plan
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import choose
from chandler.nn import Kronos


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
            quarter of what is free. Paths are worked through in batches that fit.
        progress: called with (rows generated so far, rows in all) after each step.
        encoded: called with a number of rows of history when they have been encoded, with each row once.

    Returns:
        Per prompt, in order, the new ids (s1, s2), each (paths, horizon) int64 on the model's device. In float32 those
        of a path are a function of (weights, history, sampling, its random numbers), whatever the other prompts and
        paths, the memory budget, the threads or the device, unless a draw lies within 1e-5 of the edge between two
        tokens: sums round with the number of rows.

    Raises:
        ConfigError: a model in several places, or a budget in which not even one path fits.
    """
    device = device_of(model)
    longest = min(settings.max_context, max((len(prompt.s1) for prompt in prompts), default=1) + settings.horizon)
    paths = [prompt.paths for prompt in prompts]
    # Greedy paths are all equal: one is enough.
    computed = [1] * len(paths) if settings.sampling.greedy else paths
    # Made outside of inference mode: what the caller gets are ordinary tensors.
    ids = [torch.empty(2, count, settings.horizon, dtype=torch.long, device=device) for count in computed]
    done, total = 0, settings.horizon * sum(computed)
    with torch.inference_mode():
        weights = GenerationWeights(
            model, dtype=settings.dtype, positions=settings.positions, max_positions=padded(longest)
        )
        series = [settings.cut(prompt, count, device) for prompt, count in zip(prompts, computed, strict=True)]
        histories = _Histories(weights, series, encoded)
        budget = int(free_memory(device) * SHARE) if memory_budget is None else memory_budget
        for chunk in plan(weights, series, settings, budget):
            batch = _Batch(histories, chunk, settings)
            for _ in batch.steps():
                done += batch.rows
                if progress is not None:
                    progress(done, total)
            for index, new in zip(chunk.series, batch.ids.unflatten(1, (-1, chunk.count)).unbind(1), strict=True):
                ids[index][:, chunk.paths] = new
    every = [new.expand(-1, count, -1).contiguous() for new, count in zip(ids, paths, strict=True)]
    return [(s1, s2) for s1, s2 in every]


class _Histories:
    """Encodes histories; the last encoded is kept, so that the next paths of the same series find it."""

    def __init__(
        self, weights: GenerationWeights, series: Sequence[Prompt], encoded: Callable[[int], None] | None
    ) -> None:
        self.weights, self.series, self.encoded = weights, series, encoded
        self._last: tuple[tuple[int, ...], PrefixCache] | None = None
        self._told: set[int] = set()

    def encode(self, indices: tuple[int, ...], start: int) -> PrefixCache | None:
        """Rows from `start` on of the histories; None where there are none."""
        if start >= max(len(self.series[index].s1) for index in indices):
            return None
        key = (start, *indices)
        if self._last is None or self._last[0] != key:
            self._last = None  # its memory is wanted
            embedded = [self._embed(self.series[index], start) for index in indices]
            self._last = key, PrefixCache(self.weights, embedded, lambda places: self._tell(indices, places))
        return self._last[1]

    def _embed(self, prompt: Prompt, start: int) -> Tensor:
        seen = slice(start, len(prompt.s1))
        time = None if prompt.stamps is None else self.weights.time(prompt.stamps[seen])
        return self.weights.embed(prompt.s1[seen], prompt.s2[seen], time)

    def _tell(self, indices: tuple[int, ...], places: Sequence[int]) -> None:
        new = {indices[place] for place in places} - self._told
        self._told |= new
        if new and self.encoded is not None:
            self.encoded(sum(len(self.series[index].s1) for index in new))


class _Batch:
    """The state of a batch: caches, and the ids generated so far. Its rows are series x paths."""

    def __init__(self, histories: _Histories, chunk: Chunk, settings: GenerationSettings) -> None:
        self.weights, self.histories, self.chunk, self.settings = histories.weights, histories, chunk, settings
        prompts = [histories.series[index] for index in chunk.series]
        self.rows = len(prompts) * chunk.count
        """Paths of all series, which a step adds one row to each of."""
        self.uniforms = torch.cat([prompt.uniforms[chunk.paths] for prompt in prompts])
        self.ids = torch.empty(2, self.rows, settings.horizon, dtype=torch.long, device=self.weights.device)
        """s1 and s2, (2, rows, horizon)."""
        # A batch holds series with times or series without, never both.
        stamps = [prompt.stamps[len(prompt.s1) :] for prompt in prompts if prompt.stamps is not None]
        self.time = self.weights.time(torch.stack(stamps)) if stamps else None
        """Time embedding of the new rows, (series, horizon, dim)."""
        self.history = max(len(prompt.s1) for prompt in prompts)
        """Rows of the longest history; all are as long where the window slides."""
        self.start = 0
        """The first row in view."""
        self.paths = PathCache(self.weights, len(prompts), chunk.count, settings.own_rows)

    def steps(self) -> Iterator[None]:
        """Fill `ids` one row at a time."""
        hidden = self._begin()
        trim_heap()  # what encoding needed: the caches of new rows fill up from here on
        for step in range(self.settings.horizon):
            self._choose(hidden, step)
            end = step + 1
            if end < self.settings.horizon:
                start = self.settings.start(self.history + end)
                hidden = self._append(step, end) if start == self.start else self._slide(start, end)
            yield

    def _begin(self) -> Tensor:
        """Encode the histories -> the hidden state that the first new row follows from, (rows, dim)."""
        prefix = self.histories.encode(self.chunk.series, 0)
        assert prefix is not None
        self.paths.restart(prefix)
        return prefix.last.repeat_interleave(self.chunk.count, dim=0)

    def _choose(self, hidden: Tensor, step: int) -> None:
        """New row `step` of every path, given the hidden state (rows, dim) before it."""
        weights, sampling = self.weights, self.settings.sampling
        self.ids[0, :, step] = s1 = choose(weights.s1_logits(hidden), sampling, self.uniforms[:, step, 0])
        queries = weights.dependency_queries(s1, self.paths.positions(1) - 1)
        read = self.paths.read(len(weights.layers), queries, self.paths.rows)
        self.ids[1, :, step] = choose(weights.s2_logits(hidden, read), sampling, self.uniforms[:, step, 1])

    def _append(self, first: int, end: int) -> Tensor:
        """Encode new rows first .. end - 1 of every path and remember them -> the last hidden states, (rows, dim)."""
        weights, count = self.weights, end - first
        s1, s2 = self.ids[..., first:end].flatten(1)
        time = None
        if self.time is not None:
            time = self.time[:, None, first:end].expand(-1, self.chunk.count, -1, -1).reshape(-1, weights.dim)
        positions = self.paths.positions(count)
        h = weights.hidden(weights.embed(s1, s2, time), positions, self.paths.attend)
        self.paths.write(len(weights.layers), weights.dependency_memory(h, positions))
        self.paths.rows += count
        return h if count == 1 else h.view(self.rows, count, -1)[:, -1]

    def _slide(self, start: int, end: int) -> Tensor:
        """The window moves on to `start`: encode it anew, with `end` new rows -> the last hidden states."""
        self.start = start
        self.paths.restart(self.histories.encode(self.chunk.series, start))
        return self._append(max(0, start - self.history), end)

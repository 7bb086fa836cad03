"""Token generation at the speed of the hardware: histories encoded once, one new row per path and step.

Token ids in, token ids out; the same as `reference.generate`, which defines them. Knows nothing of bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import get_args

import numpy as np
import torch
from torch import Tensor

from chandler.devices import device_of
from chandler.errors import ConfigError
from chandler.forecasting.engine import kernels
from chandler.forecasting.engine.cache import PathCache, PrefixCache, padded
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.memory import SHARE, free_memory, trim_heap
from chandler.forecasting.engine.planning import Chunk, ContextWindow, Overflow, plan
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import Sampling, sample
from chandler.nn.predictor import DependencyPositions, Kronos, draw

__all__ = ["Overflow", "choose", "generate"]


def generate(
    model: Kronos,
    prompts: Sequence[Prompt],
    *,
    horizon: int,
    sampling: Sampling,
    max_context: int,
    positions: DependencyPositions = "reference",
    overflow: Overflow = "exact",
    dtype: torch.dtype = torch.float32,
    memory_budget: int | None = None,
    progress: Callable[[int, int], None] | None = None,
    encoded: Callable[[int], None] | None = None,
) -> list[tuple[Tensor, Tensor]]:
    """Continue each prompt by `horizon` rows along each of its paths.

    While history + horizon <= max_context the three overflow modes are one. A history longer than `max_context`
    is always cut to its last `max_context` rows.

    Args:
        model: the predictor, on any device; read as it is now, never changed, eval or train mode alike.
        prompts: series of any lengths and numbers of paths; their tensors may be on any device.
        horizon: rows to add, >= 1; what the prompts' uniforms and stamps were made for.
        sampling: how a token is chosen.
        max_context: rows the model sees at most.
        positions: how the dependency-aware layer sees positions; "reference" for released weights.
        overflow: what happens when history and new rows exceed `max_context`.
            "exact": the window slides by one row, and since every position shifts all of it is encoded anew at
            each step, as in the reference. Rows of the history are encoded once for all paths, own rows per path.
            "block": when the window is full its oldest max_context // 8 rows are dropped and the rest is encoded
            anew, once per block; a path sees between 7/8 of `max_context` and all of it.
            "trim": the history is cut to max_context - horizon rows first, so nothing slides. A horizon that
            leaves no room (>= max_context) cuts the history to max_context // 8 rows and goes on as "block".
        dtype: of weights, and of caches on accelerators: float32, or bfloat16 (faster; some tokens change).
        memory_budget: bytes for caches and buffers, beside the model and one copy of its weights; by default a
            quarter of what is free. Paths are worked through in chunks that fit.
        progress: called with (rows generated so far, rows in all) after each step.
        encoded: called with a number of rows of history when they have been encoded, with each row once.

    Returns:
        Per prompt, in order, the new ids (s1, s2), each (paths, horizon) int64 on the model's device. In float32 those
        of a path are a function of (weights, history, sampling, its random numbers), whatever the other prompts and
        paths, the memory budget, the threads or the device, unless a draw lies within 1e-5 of the edge between two
        tokens: sums round with the number of rows.

    Raises:
        ConfigError: an impossible setting, a model in several places, or a budget in which not even one path fits.
    """
    _check(horizon, max_context, overflow, dtype)
    window = ContextWindow(horizon, max_context, overflow)
    device = device_of(model)
    longest = min(max_context, max((len(prompt.s1) for prompt in prompts), default=1) + horizon)
    paths = [prompt.paths for prompt in prompts]
    # Greedy paths are all equal: one is enough.
    computed = [1] * len(paths) if sampling.greedy else paths
    # Made outside of inference mode: what the caller gets are ordinary tensors.
    ids = [torch.empty(2, count, horizon, dtype=torch.long, device=device) for count in computed]
    done, total = 0, horizon * sum(computed)
    shared = _Shared(encoded)
    with torch.inference_mode():
        weights = GenerationWeights(model, dtype=dtype, positions=positions, max_positions=padded(longest))
        series = [window.cut(prompt, count, device) for prompt, count in zip(prompts, computed, strict=True)]
        budget = int(free_memory(device) * SHARE) if memory_budget is None else memory_budget
        for chunks in plan(weights, series, window, budget):
            for rows in _run(weights, series, chunks, window, sampling, shared, ids):
                done += rows
                if progress is not None:
                    progress(done, total)
    every = [new.expand(-1, count, -1).contiguous() for new, count in zip(ids, paths, strict=True)]
    return [(s1, s2) for s1, s2 in every]


class _Shared:
    """The last encoded history, so that the next paths of the same series find it."""

    def __init__(self, encoded: Callable[[int], None] | None) -> None:
        self.found: dict[tuple[int, ...], PrefixCache] = {}
        self.told: set[int] = set()
        self.encoded = encoded

    def tell(self, series: Sequence[int], lengths: Sequence[int]) -> None:
        """Histories have been encoded, for the first time or again."""
        rows = sum(length for one, length in zip(series, lengths, strict=True) if one not in self.told)
        self.told.update(series)
        if rows and self.encoded is not None:
            self.encoded(rows)


class _Group:
    """The state of one chunk: caches, and the ids generated so far."""

    def __init__(
        self, weights: GenerationWeights, series: Sequence[Prompt], chunk: Chunk, window: ContextWindow, shared: _Shared
    ) -> None:
        self.weights, self.chunk, self.window, self.shared = weights, chunk, window, shared
        self.prompts = [series[i] for i in chunk.series]
        self.lengths = [len(prompt.s1) for prompt in self.prompts]
        count = chunk.count
        self.size = len(self.prompts) * count
        """Rows of a step: series x paths."""
        self.uniforms = torch.cat([prompt.uniforms[chunk.paths] for prompt in self.prompts])
        self.ids = torch.empty(2, len(self.prompts), count, window.horizon, dtype=torch.long, device=weights.device)
        self.time = self._future_time(count)
        self.start = 0
        self.paths = PathCache(weights, len(self.prompts), count, window.own_rows)

    def _future_time(self, paths: int) -> Tensor | None:
        """Time embedding of the new rows, (series * paths, horizon, dim): a view where there is one series."""
        # A chunk holds series with times or series without, never both.
        stamps = [p.stamps[len(p.s1) :] for p in self.prompts if p.stamps is not None]
        if not stamps:
            return None
        time = self.weights.time(torch.stack(stamps))
        return time[:, None].expand(-1, paths, -1, -1)

    def begin(self) -> Tensor:
        """Encode the histories -> the hidden state that the first new row follows from, (size, dim)."""
        prefix = self._prefix()
        assert prefix is not None
        self.paths.restart(prefix)
        return prefix.last.repeat_interleave(self.paths.paths, dim=0)

    def _prefix(self) -> PrefixCache | None:
        """What is still visible of the histories, encoded; None where nothing is."""
        if self.start >= max(self.lengths):
            return None
        key, found = (self.start, *self.chunk.series), self.shared.found
        if key not in found:
            found.clear()

            def encoded(places: range) -> None:
                part = slice(places.start, places.stop)
                self.shared.tell(self.chunk.series[part], self.lengths[part])

            found[key] = PrefixCache(self.weights, [self._embed_history(p) for p in self.prompts], encoded)
        return found[key]

    def _embed_history(self, prompt: Prompt) -> Tensor:
        seen = slice(self.start, len(prompt.s1))
        time = None if prompt.stamps is None else self.weights.time(prompt.stamps[seen])
        return self.weights.embed(prompt.s1[seen], prompt.s2[seen], time)

    def embed(self, first: int, end: int) -> Tensor:
        """New rows first .. end - 1 of every path -> (size * (end - first), dim)."""
        s1, s2 = self.ids[..., first:end].flatten(1)
        time = None if self.time is None else self.time[:, :, first:end].reshape(-1, self.weights.dim)
        return self.weights.embed(s1, s2, time)

    def must_slide(self, end: int) -> bool:
        """Whether the window moves when `end` new rows are there."""
        return self.window.start(self.lengths[0] + end) > self.start

    def slide(self, end: int) -> Tensor:
        """Encode the window anew, with `end` new rows -> the last hidden state of every path, (size, dim).

        All series of a group that slides have equally many rows.
        """
        self.start = self.window.start(self.lengths[0] + end)
        first = max(0, self.start - self.lengths[0])
        self.paths.restart(self._prefix())
        h = _append(self.weights, [self], self.embed(first, end), end - first)
        return h.view(self.size, end - first, -1)[:, -1]


def _run(
    weights: GenerationWeights,
    series: Sequence[Prompt],
    chunks: list[Chunk],
    window: ContextWindow,
    sampling: Sampling,
    shared: _Shared,
    ids: list[Tensor],
) -> Iterator[int]:
    """Generate the paths of a batch of chunks into `ids`; yields the number of new rows at each step."""
    rows = sum(len(chunk.series) * chunk.count for chunk in chunks)
    groups = [_Group(weights, series, chunk, window, shared) for chunk in chunks]
    for _ in _steps(weights, groups, sampling, window.horizon):
        yield rows
    for group in groups:
        for place, index in enumerate(group.chunk.series):
            ids[index][:, group.chunk.paths] = group.ids[:, place]


def _steps(weights: GenerationWeights, groups: list[_Group], sampling: Sampling, horizon: int) -> Iterator[None]:
    """Fill the groups' ids one row at a time; their rows are multiplied together, their attention is their own."""
    hidden = _cat([group.begin() for group in groups])
    trim_heap()  # what encoding needed: the caches of new rows fill up from here on
    sizes = [group.size for group in groups]
    uniforms = _cat([group.uniforms for group in groups])
    for step in range(horizon):
        s1 = choose(weights.s1_logits(hidden), sampling, uniforms[:, step, 0])
        s2 = choose(_s2_logits(weights, groups, hidden, s1), sampling, uniforms[:, step, 1])
        for group, new1, new2 in zip(groups, _split(s1, sizes), _split(s2, sizes), strict=True):
            group.ids[0, :, :, step] = new1.view(group.ids.shape[1:3])
            group.ids[1, :, :, step] = new2.view(group.ids.shape[1:3])
        if step + 1 < horizon:
            if groups[0].must_slide(step + 1):
                hidden = groups[0].slide(step + 1)
            else:
                hidden = _append(weights, groups, _cat([g.embed(step, step + 1) for g in groups]), 1)
        yield


def _s2_logits(weights: GenerationWeights, groups: list[_Group], hidden: Tensor, s1: Tensor) -> Tensor:
    """Logits of the fine token, given the coarse one just chosen for every path."""
    last = _cat([group.paths.positions(1) for group in groups]) - 1
    queries = _split(weights.dependency_queries(s1, last), [group.size for group in groups])
    layer = len(weights.layers)
    attended = [g.paths.read(layer, q, g.paths.rows) for g, q in zip(groups, queries, strict=True)]
    return weights.s2_logits(hidden, _cat(attended))


def _append(weights: GenerationWeights, groups: list[_Group], x: Tensor, count: int) -> Tensor:
    """Encode the next `count` rows of every path, x (rows, dim), and remember them -> h (rows, dim)."""
    sizes = [group.size * count for group in groups]
    positions = _cat([group.paths.positions(count) for group in groups])

    def attend(layer: int, qkv: Tensor) -> Tensor:
        parts = zip(groups, _split(qkv, sizes), strict=True)
        return _cat([group.paths.attend(layer, part) for group, part in parts])

    h = weights.hidden(x, positions, attend)
    kv = weights.dependency_memory(h, positions)
    for group, part in zip(groups, _split(kv, sizes), strict=True):
        group.paths.write(len(weights.layers), part)
        group.paths.rows += count
    return h


def _cat(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


def _split(rows: Tensor, sizes: list[int]) -> Sequence[Tensor]:
    return (rows,) if len(sizes) == 1 else rows.split(sizes)


def choose(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """The ids that `sample` gives, without its argsort.

    top_p needs to know only where the nucleus ends. Values alone are sorted some 15 times faster than values
    with their places (100 rows of 1,024: 0.2 ms against 3.5 ms); the token at the end of the nucleus is the
    threshold for all others.
    """
    if sampling.greedy or sampling.top_p in (None, 1) or not kernels.suits_cpu(logits.device):
        return sample(logits, sampling, uniforms)
    kept = logits.float() if sampling.temperature == 1 else logits.float() / sampling.temperature
    if sampling.top_k and sampling.top_k < logits.shape[-1]:
        kth = kept.topk(sampling.top_k, dim=-1).values[..., -1:]
        kept = kept.masked_fill(kept < kth, -torch.inf)
    ordered = -np.sort(-kept.numpy(), axis=-1)
    beyond = torch.from_numpy(ordered).softmax(-1).cumsum(-1).numpy() > sampling.top_p
    last = np.where(beyond[:, -1], beyond.argmax(-1), beyond.shape[-1] - 1)  # the token that crosses the line
    out = kept < torch.from_numpy(ordered[np.arange(len(ordered)), last, None])
    if bool((out.sum(-1, dtype=torch.int32).numpy() + last != out.shape[-1] - 1).any()):
        return sample(logits, sampling, uniforms)  # equal logits at the end of the nucleus: places decide after all
    # As good as -inf, and without a branch for every number: masked_fill takes six times as long.
    return draw(kept.add(out, alpha=torch.finfo(torch.float32).min / 2).softmax(-1), uniforms)


def _check(horizon: int, max_context: int, overflow: str, dtype: torch.dtype) -> None:
    for name, value in (("horizon", horizon), ("max_context", max_context)):
        if value < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, found {value!r}.")
    if overflow not in get_args(Overflow):
        raise ConfigError(f'overflow is "exact", "block" or "trim", found {overflow!r}.')
    if dtype not in (torch.float32, torch.bfloat16):
        raise ConfigError(f"the engine computes in float32 or bfloat16, found {dtype}.")

"""Token generation at the speed of the hardware: histories encoded once, one new row per path and step.

Token ids in, token ids out; the same as `reencoding.generate`, which defines them. Knows nothing of bars.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, NoReturn, get_args

import numpy as np
import torch
from torch import Tensor

from chandler.errors import ConfigError
from chandler.forecasting.cache import PREFILL_ROWS, Paths, Prefix, bytes_per_row, padded
from chandler.forecasting.kernels import Weights
from chandler.forecasting.memory import SHARE, free_memory
from chandler.forecasting.prompts import Prompt
from chandler.forecasting.sampling import Sampling, sample
from chandler.nn.predictor import DependencyPositions, Kronos

Overflow = Literal["exact", "block", "trim"]
"""What happens to rows beyond `max_context`; see `generate`."""
MAX_ROWS = 128
"""Paths stepped together at most: the GEMM rate hardly grows beyond."""
MAX_OWN_BYTES = 256 << 20
"""Keys and values of new rows at most, while more than one path is stepped."""
MAX_ENCODED_ROWS = 8192
"""Own rows re-encoded at once when the window slides."""


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
        dtype: of weights and caches: float32, or bfloat16 (faster and half the memory; some tokens change).
        memory_budget: bytes for caches and buffers, beside the model and one copy of its weights; by default a
            quarter of what is free. Paths are worked through in chunks that fit.
        progress: called with (rows generated so far, rows in all) after each step.

    Returns:
        Per prompt, in order, the new ids (s1, s2), each (paths, horizon) int64 on the model's device. They do not
        depend on which prompts share the call or on the memory budget.

    Raises:
        ConfigError: an impossible setting, or a budget in which not even one path fits.
    """
    _check(horizon, max_context, overflow, dtype)
    window = _Window(horizon, max_context, overflow)
    device = model.head.proj_s1.weight.device
    paths = [prompt.paths for prompt in prompts]
    # Greedy paths are all equal: one is enough.
    computed = [1] * len(paths) if sampling.greedy else paths
    # Made outside of inference mode: what the caller gets are ordinary tensors.
    ids = [torch.empty(2, count, horizon, dtype=torch.long, device=device) for count in computed]
    done, total = 0, horizon * sum(computed)
    shared: _Shared = {}
    with torch.inference_mode():
        weights = Weights(model, dtype=dtype, positions=positions, max_positions=padded(max_context))
        series = [window.cut(prompt, count, device) for prompt, count in zip(prompts, computed, strict=True)]
        budget = int(free_memory(device) * SHARE) if memory_budget is None else memory_budget
        for chunks in _plan(weights, series, window, budget):
            for rows in _run(weights, series, chunks, window, sampling, shared, ids):
                done += rows
                if progress is not None:
                    progress(done, total)
    every = [new.expand(-1, count, -1).contiguous() for new, count in zip(ids, paths, strict=True)]
    return [(s1, s2) for s1, s2 in every]


class _Window:
    """Which rows are visible when: a window of at most `max_context` rows that moves on by `block` rows."""

    def __init__(self, horizon: int, max_context: int, overflow: Overflow) -> None:
        self.horizon, self.max_context = horizon, max_context
        eighth = max(1, max_context // 8)
        self.block = 1 if overflow == "exact" else eighth
        self.keep = max_context
        if overflow == "trim":
            self.keep = max_context - horizon if horizon < max_context else eighth

    def cut(self, prompt: Prompt, paths: int, device: torch.device) -> Prompt:
        """The prompt without the rows of history that are never seen, and its first `paths` paths."""
        assert prompt.uniforms.shape[1] == self.horizon, "uniforms are made for another horizon"
        stamps = prompt.stamps
        return Prompt(
            prompt.s1[-self.keep :].to(device),
            prompt.s2[-self.keep :].to(device),
            None if stamps is None else stamps[-self.keep - self.horizon :].to(device),
            prompt.uniforms[:paths].to(device),
        )

    def overflows(self, rows: int) -> bool:
        """Whether a history of `rows` rows will not stay in view to the end (the last new row is never encoded)."""
        return rows + self.horizon - 1 > self.max_context

    def start(self, end: int) -> int:
        """First visible row when rows 0 .. end - 1 exist."""
        return -(-max(0, end - self.max_context) // self.block) * self.block

    @property
    def own_rows(self) -> int:
        """New rows of one path that are in view at once, at most."""
        return max(1, min(self.horizon - 1, self.max_context))


@dataclass(frozen=True)
class _Chunk:
    """Series of like shape and a range of their paths, computed as one group."""

    series: tuple[int, ...]
    paths: slice


_Shared = dict[tuple[int, ...], Prefix]
"""The last encoded history, so that the next paths of the same series find it."""


class _Group:
    """The state of one chunk: caches, and the ids generated so far."""

    def __init__(
        self, weights: Weights, series: Sequence[Prompt], chunk: _Chunk, window: _Window, shared: _Shared
    ) -> None:
        self.weights, self.chunk, self.window, self.shared = weights, chunk, window, shared
        self.prompts = [series[i] for i in chunk.series]
        self.lengths = [len(prompt.s1) for prompt in self.prompts]
        count = chunk.paths.stop - chunk.paths.start
        self.size = len(self.prompts) * count
        """Rows of a step: series x paths."""
        self.uniforms = torch.cat([prompt.uniforms[chunk.paths] for prompt in self.prompts])
        self.ids = torch.empty(2, len(self.prompts), count, window.horizon, dtype=torch.long, device=weights.device)
        self.time = self._future_time(count)
        self.start = 0
        self.paths = Paths(weights, len(self.prompts), count, window.own_rows)

    def _future_time(self, paths: int) -> Tensor | None:
        """Time embedding of the new rows, (series * paths, horizon, dim): a view where there is one series."""
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

    def _prefix(self) -> Prefix | None:
        """What is still visible of the histories, encoded; None where nothing is."""
        if self.start >= max(self.lengths):
            return None
        key = (self.start, *self.chunk.series)
        if key not in self.shared:
            self.shared.clear()
            self.shared[key] = Prefix(self.weights, [self._embed_history(p) for p in self.prompts])
        return self.shared[key]

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
    weights: Weights,
    series: Sequence[Prompt],
    chunks: list[_Chunk],
    window: _Window,
    sampling: Sampling,
    shared: _Shared,
    ids: list[Tensor],
) -> Iterator[int]:
    """Generate the paths of a batch of chunks into `ids`; yields the number of new rows at each step."""
    groups = [_Group(weights, series, chunk, window, shared) for chunk in chunks]
    for _ in _steps(weights, groups, sampling, window.horizon):
        yield sum(group.size for group in groups)
    for group in groups:
        for place, index in enumerate(group.chunk.series):
            ids[index][:, group.chunk.paths] = group.ids[:, place]


def _steps(weights: Weights, groups: list[_Group], sampling: Sampling, horizon: int) -> Iterator[None]:
    """Fill the groups' ids one row at a time; their rows are multiplied together, their attention is their own."""
    hidden = _cat([group.begin() for group in groups])
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


def _s2_logits(weights: Weights, groups: list[_Group], hidden: Tensor, s1: Tensor) -> Tensor:
    """Logits of the fine token, given the coarse one just chosen for every path."""
    last = _cat([group.paths.positions(1) for group in groups]) - 1
    queries = _split(weights.dependency_queries(s1, last), [group.size for group in groups])
    layer = len(weights.layers)
    attended = [g.paths.read(layer, q, g.paths.rows) for g, q in zip(groups, queries, strict=True)]
    return weights.s2_logits(hidden, _cat(attended))


def _append(weights: Weights, groups: list[_Group], x: Tensor, count: int) -> Tensor:
    """Encode the next `count` rows of every path, x (rows, dim), and remember them -> h (rows, dim)."""
    sizes = [group.size * count for group in groups]
    positions = _cat([group.paths.positions(count) for group in groups])

    def attend(layer: int, qkv: Tensor) -> Tensor:
        parts = zip(groups, _split(qkv, sizes), strict=True)
        return _cat([group.paths.attend(layer, part) for group, part in parts])

    h = weights.hidden(x, weights.turn[positions], attend)
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
    if sampling.greedy or sampling.top_p in (None, 1) or logits.device.type != "cpu":
        return sample(logits, sampling, uniforms)
    kept = logits.float() / sampling.temperature
    if sampling.top_k and sampling.top_k < logits.shape[-1]:
        kth = kept.topk(sampling.top_k, dim=-1).values[..., -1:]
        kept = kept.masked_fill(kept < kth, -torch.inf)
    ordered = torch.from_numpy(np.sort(kept.numpy(), axis=-1)).flip(-1)
    inside = (ordered.softmax(-1).cumsum(-1) <= sampling.top_p).sum(-1, keepdim=True)
    inside = inside.clamp_(max=logits.shape[-1] - 1)  # places before the token that crosses the line
    threshold = ordered.gather(-1, inside)
    out = kept < threshold
    if bool(((~out).sum(-1, keepdim=True) != inside + 1).any()):
        return sample(logits, sampling, uniforms)  # equal logits at the end of the nucleus: places decide after all
    return sample(kept.masked_fill_(out, -torch.inf), Sampling(1.0, None, None), uniforms)


def _plan(weights: Weights, series: Sequence[Prompt], window: _Window, budget: int) -> Iterator[list[_Chunk]]:
    """Batches of chunks that fit the budget. Like series stand together; only what slides alike slides together."""
    row, own = bytes_per_row(weights), window.own_rows
    buffers = PREFILL_ROWS * _activations(weights)
    per_path = own * row
    most = max(1, min(MAX_ROWS, MAX_OWN_BYTES // per_path))
    items: list[tuple[tuple[bool, int, int], int, slice]] = []
    for index, prompt in enumerate(series):
        rows = len(prompt.s1)
        slides = window.overflows(rows)
        path_cost = per_path + (own * (_activations(weights) + _scores(weights, window.max_context)) if slides else 0)
        room = (budget - buffers - padded(rows) * row) // path_cost
        if room < 1:
            _too_large(budget, buffers + padded(rows) * row + path_cost)
        limit = min(most, room, max(1, MAX_ENCODED_ROWS // own) if slides else most)
        parts = -(-prompt.paths // limit)
        size, longer = divmod(prompt.paths, parts)
        first = 0
        for part in range(parts):
            end = first + size + (part < longer)
            items.append(((slides, rows if slides else padded(rows), end - first), index, slice(first, end)))
            first = end
    items.sort(key=lambda item: (item[0], item[1], item[2].start))
    batch: list[tuple[tuple[bool, int, int], int, slice]] = []
    rows, cost = 0, buffers
    for item in items:
        (slides, width, size), _, paths = item
        price = padded(width) * row + size * per_path
        alone = slides and batch and (batch[-1][0] != item[0] or batch[-1][2] != paths)
        if batch and (alone or batch[-1][0][0] != slides or rows + size > most or cost + price > budget):
            yield _chunks(batch)
            batch, rows, cost = [], 0, buffers
        batch.append(item)
        rows, cost = rows + size, cost + price
    if batch:
        yield _chunks(batch)


def _chunks(batch: list[tuple[tuple[bool, int, int], int, slice]]) -> list[_Chunk]:
    """Neighbours of one shape and one range of paths make a group."""
    found = groupby(batch, key=lambda item: (item[0], item[2].start, item[2].stop))
    return [_Chunk(tuple(index for _, index, _ in group), slice(first, end)) for (_, first, end), group in found]


def _activations(weights: Weights) -> int:
    """Bytes that one row needs while it passes through a block, roughly."""
    hidden = weights.ff_dim
    return 4 * (8 * weights.dim + 3 * hidden)


def _scores(weights: Weights, max_context: int) -> int:
    """Bytes of one row's attention scores against a full window, with the copies that softmax makes."""
    return 3 * 4 * weights.n_heads * max_context


def _too_large(budget: int, need: int) -> NoReturn:
    raise ConfigError(
        f"one path needs {need / 1e6:,.0f} MB, the memory budget is {budget / 1e6:,.0f} MB. "
        "Shorten history or horizon, or raise the budget."
    )


def _check(horizon: int, max_context: int, overflow: str, dtype: torch.dtype) -> None:
    for name, value in (("horizon", horizon), ("max_context", max_context)):
        if value < 1:
            raise ConfigError(f"{name} must be a whole number >= 1, found {value!r}.")
    if overflow not in get_args(Overflow):
        raise ConfigError(f'overflow is "exact", "block" or "trim", found {overflow!r}.')
    if dtype not in (torch.float32, torch.bfloat16):
        raise ConfigError(f"the engine computes in float32 or bfloat16, found {dtype}.")

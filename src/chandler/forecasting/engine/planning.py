"""What is computed when: which rows a step sees, and which paths of which series make a batch that fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

import torch

from chandler.errors import ConfigError
from chandler.forecasting.engine.cache import PREFILL_ROWS, bytes_per_row, padded
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.prompts import Prompt

Overflow = Literal["exact", "block", "trim"]
"""What happens to rows beyond `max_context`; see `generation.generate`."""
MAX_ROWS = 128
"""Paths stepped together at most: the GEMM rate hardly grows beyond."""
MAX_OWN_BYTES = 256 << 20
"""Keys and values of new rows at most, while more than one path is stepped: 65 paths of 112 rows of Kronos-small."""
MAX_ENCODED_ROWS = 8192
"""Own rows re-encoded at once when the window slides."""


class ContextWindow:
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

    def slides(self, rows: int) -> bool:
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
class Chunk:
    """Series of like shape and a range of their paths, computed as one group."""

    series: tuple[int, ...]
    paths: slice

    @property
    def count(self) -> int:
        """Paths of each series."""
        return int(self.paths.stop - self.paths.start)


@dataclass(frozen=True)
class _Item:
    """Some paths of one series, before they are put together."""

    slides: bool
    width: int
    """Rows of history: exactly where the window slides (alike series slide at the same step), else padded."""
    stamped: bool
    series: int
    first: int
    end: int
    price: int
    """Bytes of the prefix and of the paths."""

    @property
    def kind(self) -> tuple[object, ...]:
        """Items of one kind make a group."""
        return self.slides, self.width, self.stamped, self.first, self.end

    @property
    def place(self) -> tuple[object, ...]:
        """Like shapes together, and the chunks of one series in a row: they share its encoded history."""
        return self.slides, self.width, self.stamped, self.series, self.first


def plan(
    weights: GenerationWeights, series: Sequence[Prompt], window: ContextWindow, budget: int
) -> Iterator[list[Chunk]]:
    """Batches of chunks, each within `budget` bytes. Rows of a batch are multiplied together.

    Raises:
        ConfigError: not even one path fits.
    """
    buffers = PREFILL_ROWS * _activations(weights)
    most = max(1, min(MAX_ROWS, MAX_OWN_BYTES // (window.own_rows * bytes_per_row(weights))))
    items = [
        item
        for index, prompt in enumerate(series)
        for item in _items(weights, index, prompt, window, budget - buffers, most)
    ]
    batch: list[_Item] = []
    for item in sorted(items, key=lambda item: item.place):
        rows = sum(other.end - other.first for other in (*batch, item))
        price = sum(other.price for other in (*batch, item))
        # Only what slides alike slides together: then the whole batch is encoded anew.
        apart = bool(batch) and (item.slides or batch[-1].slides) and batch[-1].kind != item.kind
        if batch and (apart or rows > most or price > budget - buffers):
            yield _chunks(batch)
            batch = []
        batch.append(item)
    if batch:
        yield _chunks(batch)


def _items(
    weights: GenerationWeights, index: int, prompt: Prompt, window: ContextWindow, room: int, most: int
) -> Iterator[_Item]:
    """The paths of one series in parts of nearly equal size that fit into `room` bytes."""
    rows = len(prompt.s1)
    slides = window.slides(rows)
    prefix = padded(rows) * bytes_per_row(weights)
    path = window.own_rows * bytes_per_row(weights)
    if slides:
        path += window.own_rows * (_activations(weights) + _scores(weights, window.max_context))
        most = min(most, max(1, MAX_ENCODED_ROWS // window.own_rows))
    if room < prefix + path:
        raise ConfigError(
            f"generation needs {(prefix + path) / 1e6:,.1f} MB for one path of {window.horizon} rows after {rows}, "
            f"and its memory budget leaves {max(0, room) / 1e6:,.1f} MB beside the buffers. "
            "Shorten history or horizon, or raise the budget."
        )
    parts = -(-prompt.paths // min(most, (room - prefix) // path))
    for part in range(parts):
        first, end = (prompt.paths * place // parts for place in (part, part + 1))
        price = prefix + (end - first) * path
        width = rows if slides else padded(rows)
        yield _Item(slides, width, prompt.stamps is not None, index, first, end, price)


def _chunks(batch: list[_Item]) -> list[Chunk]:
    found = groupby(batch, key=lambda item: item.kind)
    groups = [list(items) for _, items in found]
    return [Chunk(tuple(i.series for i in group), slice(group[0].first, group[0].end)) for group in groups]


def _activations(weights: GenerationWeights) -> int:
    """Bytes that one row needs while it passes through a block, roughly."""
    return 4 * (8 * weights.dim + 3 * weights.ff_dim)


def _scores(weights: GenerationWeights, max_context: int) -> int:
    """Bytes of one row's attention scores against a full window, with the copies that softmax makes."""
    return 3 * 4 * weights.n_heads * max_context

"""What is computed when: which rows a step sees, and which paths of which series make a batch that fits in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch

from chandler.errors import ConfigError
from chandler.forecasting.engine.cache import bytes_per_row, padded
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.memory import grouped
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import Sampling
from chandler.nn import DependencyPositions

Overflow = Literal["exact", "block", "trim"]
"""What happens to rows beyond `max_context`; see `GenerationSettings.overflow`."""
MAX_ROWS, MAX_OWN_BYTES = 128, 256 << 20
"""On a CPU: paths stepped together at most, since the GEMM rate hardly grows beyond; and keys and values of new rows at most,
while more than one path is stepped: 65 paths of 112 rows of Kronos-small."""
MAX_ROWS_ACCELERATOR = 8192
"""Elsewhere: what is free bounds it first, and a step of few rows waits for its launches."""
ENCODED_ROWS, ENCODED_ROWS_ACCELERATOR = 2048, 65536
"""Rows of history that pass through the model together: enough for the full GEMM rate, few enough for small buffers. On an
accelerator fewer where they would take more than an eighth of the budget."""
MAX_ENCODED_ROWS = 8192
"""Own rows re-encoded at once when the window slides."""


@dataclass(frozen=True)
class GenerationSettings:
    """How prompts are continued.

    While history + horizon <= max_context the three overflow modes are one. A history longer than `max_context`
    is always cut to its last `max_context` rows.
    """

    horizon: int
    """Rows to add, >= 1; what the prompts' uniforms and stamps were made for."""
    max_context: int
    """Rows that the model sees at most."""
    sampling: Sampling = field(default_factory=Sampling)
    """How a token is chosen."""
    positions: DependencyPositions = "reference"
    """How the dependency-aware layer sees positions; "reference" for released weights."""
    overflow: Overflow = "exact"
    """What happens when history and new rows exceed `max_context`.

    "exact": the window slides by one row, and since every position shifts all of it is encoded anew at each step, as in
    the reference. Rows of the history are encoded once for all paths, own rows per path.
    "block": when the window is full its oldest max_context // 8 rows are dropped and the rest is encoded anew, once per
    block; a path sees between 7/8 of `max_context` and all of it.
    "trim": the history is cut to max_context - horizon rows first, so nothing slides. A horizon that leaves no room
    (>= max_context) cuts the history to max_context // 8 rows and goes on as "block".
    """
    dtype: torch.dtype = torch.float32
    """Of weights, and of caches on accelerators: float32, or bfloat16 (faster; some tokens change); int8 on CPUs alone, with
    float32 beside it (more of them change)."""

    @property
    def _eighth(self) -> int:
        return max(1, self.max_context // 8)

    @property
    def keep(self) -> int:
        """Rows of history that are ever seen, at most."""
        if self.overflow != "trim":
            return self.max_context
        return self.max_context - self.horizon if self.horizon < self.max_context else self._eighth

    @property
    def own_rows(self) -> int:
        """New rows of one path that are in view at once, at most (the last new row is never encoded)."""
        return max(1, min(self.horizon - 1, self.max_context))

    def cut(self, prompt: Prompt, paths: int) -> Prompt:
        """The prompt without the rows of history that are never seen, and its first `paths` paths."""
        assert prompt.uniforms.shape[1] == self.horizon, "uniforms are made for another horizon"
        keep = self.keep
        if prompt.rows <= keep and prompt.paths == paths:
            return prompt
        s1, s2, stamps = prompt.s1[-keep:], prompt.s2[-keep:], prompt.stamps[-keep - self.horizon :]
        return Prompt(s1, s2, stamps, prompt.uniforms[:paths])

    def slides(self, rows: int) -> bool:
        """Whether a history of `rows` rows will not stay in view to the end."""
        return rows + self.horizon - 1 > self.max_context

    def start(self, end: int) -> int:
        """First visible row when rows 0 .. end - 1 exist."""
        block = 1 if self.overflow == "exact" else self._eighth
        return -(-max(0, end - self.max_context) // block) * block


@dataclass(frozen=True)
class Chunk:
    """Some paths of series that are computed as one batch: as many paths of each."""

    series: tuple[int, ...]
    paths: slice

    @property
    def count(self) -> int:
        """Paths of each series."""
        return int(self.paths.stop - self.paths.start)


@dataclass(frozen=True, order=True)
class _Part:
    """Some paths of one series, before they are put together; sorted so that what is alike is side by side."""

    slides: bool
    several: bool
    """Whether the series comes in several parts: those lie side by side, since they share its encoded history."""
    rows: int
    """Of history."""
    series: int
    first: int
    end: int

    def joins(self, other: _Part) -> bool:
        """Whether both can be one batch. Where the window slides, only what slides at the same steps can."""
        mine = (self.slides, self.first, self.end, self.rows if self.slides else 0)
        return mine == (other.slides, other.first, other.end, other.rows if self.slides else 0)


def plan(
    weights: GenerationWeights,
    series: Sequence[Prompt],
    settings: GenerationSettings,
    budget: int,
    most: int | None = None,
) -> Iterator[Chunk]:
    """The batches, each within `budget` bytes and `most` rows; by default as many as suit the device.

    Raises:
        ConfigError: not even one path fits.
    """
    row = bytes_per_row(weights)
    budget -= encoded_at_once(weights, budget) * _activations(weights)
    suits = MAX_ROWS_ACCELERATOR
    if weights.on_cpu:
        suits = max(1, min(MAX_ROWS, MAX_OWN_BYTES // (settings.own_rows * row)))

    most = suits if most is None else min(most, suits)

    def price(paths: int, rows: int, slides: bool) -> int:
        """Bytes of one encoded history and of `paths` paths after it."""
        path = settings.own_rows * row
        if slides:
            path += settings.own_rows * (_activations(weights) + _scores(weights, settings.max_context))
        return padded(weights, rows) * row + paths * path

    parts = []
    for index, prompt in enumerate(series):
        rows = prompt.rows
        slides = settings.slides(rows)
        one, history = price(1, rows, slides), price(0, rows, slides)
        if budget < one:
            raise ConfigError(
                f"generation needs {one / 1e6:,.1f} MB for one path of {settings.horizon} rows after {rows}, "
                f"and its memory budget leaves {max(0, budget) / 1e6:,.1f} MB beside the buffers. "
                "Lower lookback or horizon, or raise the budget (memory_budget=)."
            )
        limit = min(most, max(1, MAX_ENCODED_ROWS // settings.own_rows)) if slides else most
        count = -(-prompt.paths // min(limit, (budget - history) // (one - history)))
        edges = [prompt.paths * place // count for place in range(count + 1)]
        parts += [_Part(slides, count > 1, rows, index, *edges[place : place + 2]) for place in range(count)]

    def fits(batch: list[_Part], part: _Part) -> bool:
        # Histories are padded to the longest, which the sorted come to last.
        together, paths = len(batch) + 1, part.end - part.first
        within = together * paths <= most and together * price(paths, part.rows, part.slides) <= budget
        return within and part.joins(batch[0])

    for batch in grouped(sorted(parts), fits):
        yield Chunk(tuple(part.series for part in batch), slice(batch[0].first, batch[0].end))


def encoded_at_once(weights: GenerationWeights, budget: int) -> int:
    """Rows of history that pass through the model together."""
    if weights.on_cpu:
        return ENCODED_ROWS
    return min(ENCODED_ROWS_ACCELERATOR, max(ENCODED_ROWS, budget // 8 // _activations(weights)))


def _activations(weights: GenerationWeights) -> int:
    """Bytes that one row needs while it passes through a block, roughly."""
    return 4 * (8 * weights.dim + 3 * weights.ff_dim)


def _scores(weights: GenerationWeights, max_context: int) -> int:
    """Bytes of one row's attention scores against a full window, with the copies that softmax makes."""
    return 3 * 4 * weights.n_heads * max_context

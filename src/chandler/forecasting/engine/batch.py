"""The state of a batch of paths, and how a row is added to each of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.devices import GraphError, captured, has_graphs
from chandler.forecasting.engine.cache import FixedCache, PathCache, PrefixCache, padded
from chandler.forecasting.engine.kernels import GenerationWeights
from chandler.forecasting.engine.memory import trim_heap
from chandler.forecasting.engine.planning import Chunk, GenerationSettings
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import choose

GRAPH_STEPS = 8
"""Steps from which it pays to capture one: a capture costs about three of them."""


class Histories:
    """Encodes histories; the last encoded are kept, so that the next paths of the same series find them."""

    def __init__(
        self,
        weights: GenerationWeights,
        series: Sequence[Prompt],
        at_once: int,
        encoded: Callable[[int], None] | None = None,
    ) -> None:
        self.weights, self.series, self.at_once, self.encoded = weights, series, at_once, encoded
        self._key: tuple[int, ...] = ()
        """What is encoded in `memory`: the first row in view, and the series."""
        self.memory: PrefixCache | None = None
        self._told: set[int] = set()

    def forget(self) -> None:
        """Give the memory back."""
        self.memory, self._key = None, ()

    def place(self, indices: tuple[int, ...], start: int, room: int = 0) -> PrefixCache:
        """Memory for rows from `start` on of the histories, and for `room` rows after them: that of the last where it fits."""
        rows = max(self.series[index].rows for index in indices) - start
        if self.memory is None or not self.memory.fits(len(indices), rows, room):
            self.forget()  # what it takes is wanted
            self.memory = PrefixCache(self.weights, len(indices), rows, room)
        return self.memory

    def encode(self, indices: tuple[int, ...], start: int, room: int = 0) -> PrefixCache | None:
        """Rows from `start` on of the histories; None where there are none."""
        seen = [self.series[index] for index in indices]
        lengths = [prompt.rows - start for prompt in seen]
        if max(lengths) <= 0:
            return None
        prefix = self.place(indices, start, room)
        if self._key != (start, *indices):

            def rows(first: int, end: int, width: int) -> Tensor:
                return self._embed(seen[first:end], start, width)

            prefix.fill(lengths, rows, self.at_once, lambda places: self._tell(indices, places))
            self._key = (start, *indices)
        return prefix

    def _embed(self, prompts: Sequence[Prompt], start: int, width: int) -> Tensor:
        """Rows from `start` on, padded to (series, width, dim)."""

        def padded_to_width(parts: list[Tensor]) -> Tensor:
            if all(len(part) == width for part in parts):
                return torch.stack(parts)
            last = (0,) * (2 * (parts[0].ndim - 1))
            return torch.stack([F.pad(part, (*last, 0, width - len(part))) for part in parts])

        s1, s2 = (
            padded_to_width([ids[start:] for ids in each])
            for each in ([p.s1 for p in prompts], [p.s2 for p in prompts])
        )
        stamps = padded_to_width([prompt.stamps[start : prompt.rows] for prompt in prompts])
        time = self.weights.time(stamps).flatten(0, 1)
        return self.weights.embed(s1.flatten(), s2.flatten(), time).unflatten(0, (-1, width))

    def _tell(self, indices: tuple[int, ...], places: Sequence[int]) -> None:
        new = {indices[place] for place in places} - self._told
        self._told |= new
        if new and self.encoded is not None:
            self.encoded(sum(self.series[index].rows for index in new))


class Batch:
    """The state of a batch: caches, and the ids generated so far. Its rows are series x paths.

    While the window stays in place, shapes do as well: on an accelerator a step then reads and writes tensors alone, is
    captured once and replayed, for all batches of this shape.
    """

    def __init__(self, histories: Histories, chunk: Chunk, settings: GenerationSettings) -> None:
        self.weights, self.settings, self.count = histories.weights, settings, chunk.count
        self.shape = self.shape_of(histories, chunk, settings)
        prompts = [histories.series[index] for index in chunk.series]
        self.rows = len(prompts) * chunk.count
        """Paths of all series, which a step adds one row to each of."""
        horizon, dim, device = settings.horizon, self.weights.dim, self.weights.device
        self.uniforms = torch.empty(self.rows, horizon, 2, device=device)
        self.ids = torch.zeros(2, self.rows, horizon, dtype=torch.long, device=device)
        """s1 and s2, (2, rows, horizon)."""
        self.time = torch.empty(len(prompts), horizon, dim, device=device)
        """Time embedding of the new rows, (series, horizon, dim)."""
        self.hidden = torch.empty(self.rows, dim, device=device)
        """Hidden state that the next new row follows from, (rows, dim)."""
        self.step = torch.zeros(1, dtype=torch.long, device=device)
        """New rows so far, (1,)."""
        self.total = torch.zeros((), device=device)
        """Sum of all logits so far: no number as soon as one of them is none, and the device is not asked at each step."""
        self.slides = settings.slides(prompts[0].rows)
        self.paths: PathCache | FixedCache
        if self.slides or self.weights.on_cpu:
            self.room = 0
            self.paths = PathCache(self.weights, len(prompts), chunk.count, settings.own_rows)
        else:
            self.room = settings.own_rows if chunk.count == 1 else 0
            prefix = histories.place(chunk.series, 0, self.room)
            self.paths = FixedCache(self.weights, prefix, chunk.count, settings.own_rows)
        self._replay: Callable[[], None] | None = None
        self._eager = not isinstance(self.paths, FixedCache) or not has_graphs(device) or horizon <= GRAPH_STEPS

    @staticmethod
    def shape_of(histories: Histories, chunk: Chunk, settings: GenerationSettings) -> tuple[int, ...]:
        """Batches of one shape can follow one another in the same memory."""
        prompts = [histories.series[index] for index in chunk.series]
        rows = max(prompt.rows for prompt in prompts)
        return len(prompts), chunk.count, padded(histories.weights, rows), settings.slides(rows)

    def load(self, histories: Histories, chunk: Chunk) -> None:
        """Take up these series and paths."""
        assert self.shape == self.shape_of(histories, chunk, self.settings)
        prompts = [histories.series[index] for index in chunk.series]
        self.histories, self.chunk = histories, chunk
        self.uniforms.copy_(torch.cat([prompt.uniforms[chunk.paths] for prompt in prompts]))
        self.time.copy_(self.weights.time(torch.stack([prompt.stamps[prompt.rows :] for prompt in prompts])))
        self.history = max(prompt.rows for prompt in prompts)
        """Rows of the longest history; all are as long where the window slides."""
        self.start = 0
        """The first row in view."""

    @property
    def finite(self) -> bool:
        """Whether all logits so far were numbers; waits for the device."""
        return bool(self.total.isfinite())

    @property
    def replays(self) -> bool:
        """Whether its steps have been captured."""
        return self._replay is not None

    @property
    def prefix(self) -> PrefixCache | None:
        """The histories' memory that its captured step reads."""
        return self.paths.prefix

    def rest(self) -> None:
        """Let go of what belongs to a call."""
        del self.histories, self.chunk

    @property
    def nbytes(self) -> int:
        """Of the caches that it reads."""
        memory = list(self.paths.memory)
        if isinstance(self.paths, FixedCache) and not self.paths.alone:
            memory += self.paths.prefix.memory
        return sum(t.nbytes for t in memory)

    def steps(self) -> Iterator[None]:
        """Fill `ids` one row at a time."""
        self._begin()
        if not self._eager and self._replay is None:
            try:
                self._replay = captured(self._step, self.weights.device, warm_ups=1)
            except GraphError:
                self._eager = True  # as it is, it is slower and no less right
            self._begin()
        for step in range(1, self.settings.horizon):
            if self._replay is not None:
                self._replay()
            else:
                self._step(step)
            yield
        self._choose()
        yield

    def _begin(self) -> None:
        """Encode the histories: `hidden` is then that of their last rows."""
        prefix = self.histories.encode(self.chunk.series, 0, self.room)
        assert prefix is not None
        if isinstance(self.paths, FixedCache):
            assert self.paths.prefix is prefix, "a captured step reads the memory it was captured with"
            self.paths.restart()
        else:
            self.paths.restart(prefix)
            trim_heap()  # what encoding needed: the caches of new rows fill up from here on
        self.step.zero_()
        self.total.zero_()
        self.hidden.copy_(prefix.last.repeat_interleave(self.count, dim=0))

    def _step(self, end: int = 0) -> None:
        """Choose a row of every path and encode it; `end`, the rows that there are then, counts where the window slides."""
        self._choose()
        start = self.settings.start(self.history + end) if self.slides else self.start
        self.hidden.copy_(self._append() if start == self.start else self._slide(start, end))
        self.step += 1

    def _choose(self) -> None:
        """The next row of every path, given the hidden state before it."""
        weights, sampling, hidden = self.weights, self.settings.sampling, self.hidden
        uniforms = self.uniforms.index_select(1, self.step)[:, 0]
        logits = weights.s1_logits(hidden)
        self.total += logits.sum()
        s1 = choose(logits, sampling, uniforms[:, 0], weights.fused)
        queries = weights.dependency_queries(s1, self.paths.positions() - 1)
        read = self.paths.read(len(weights.layers), queries)
        logits = weights.s2_logits(hidden, read)
        self.total += logits.sum()
        s2 = choose(logits, sampling, uniforms[:, 1], weights.fused)
        self.ids.index_copy_(2, self.step, torch.stack((s1, s2))[..., None])

    def _append(self) -> Tensor:
        """Encode the chosen row of every path and remember it -> the hidden states, (rows, dim)."""
        weights, paths = self.weights, self.paths
        s1, s2 = self.ids.index_select(2, self.step)[..., 0]
        time = self.time.index_select(1, self.step).expand(-1, self.count, -1).reshape(-1, weights.dim)
        positions = paths.positions()
        paths.open()
        h = weights.hidden(weights.embed(s1, s2, time), positions, paths.attend)
        paths.write(len(weights.layers), weights.dependency_memory(h, positions))
        paths.advance()
        return h

    def _slide(self, start: int, end: int) -> Tensor:
        """The window moves on to `start`: encode it anew, with new rows up to `end` -> the last hidden states."""
        weights, paths = self.weights, self.paths
        assert isinstance(paths, PathCache)
        self.start = start
        paths.restart(self.histories.encode(self.chunk.series, start))
        first = max(0, start - self.history)
        count = end - first
        s1, s2 = self.ids[..., first:end].flatten(1)
        time = self.time[:, None, first:end].expand(-1, self.count, -1, -1).reshape(-1, weights.dim)
        positions = paths.positions(count)
        h = weights.hidden(weights.embed(s1, s2, time), positions, paths.attend)
        paths.write(len(weights.layers), weights.dependency_memory(h, positions))
        paths.advance(count)
        return h.view(self.rows, count, -1)[:, -1]

"""Keys and values of a group of series: the history once per series, each path's own new rows beside it.

Attention reads both parts as one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.forecasting.engine.attention import attend_open_columns, attend_shared_prefix
from chandler.forecasting.engine.kernels import GenerationWeights

Rows = Callable[[int, int, int], Tensor]
"""(first, end, width) -> embedded rows (end - first, width, dim), float32, of these series, padded at the end."""


def padded(weights: GenerationWeights, rows: int) -> int:
    """Rows of a prefix after padding."""
    return -(-rows // weights.pad) * weights.pad


def bytes_per_row(weights: GenerationWeights) -> int:
    """Keys and values of one row over all layers."""
    layers = range(len(weights.layers) + 1)
    return sum(2 * weights.heads_of(n) * weights.width_of(n) for n in layers) * weights.cache_dtype.itemsize


class PrefixCache:
    """What the paths of each series share: keys and values of its visible history.

    Args:
        weights: the predictor.
        series: how many.
        rows: of the longest history, at least 1.
        room: rows after it, for new ones where each series has one path.
    """

    def __init__(self, weights: GenerationWeights, series: int, rows: int, room: int = 0) -> None:
        self.weights, self.series, self.width, self.room = weights, series, padded(weights, rows), room
        self.columns = self.width + padded(weights, room)
        """Rows that there is memory for."""
        self.keys: list[Tensor] = []
        """Per layer, transposed, (series, heads, head_dim, columns)."""
        self.values: list[Tensor] = []
        """Per layer (series, heads, columns, head_dim)."""
        self.memory: list[Tensor] = []
        """Elsewhere than on a CPU: per layer keys and values, (2, series, heads, columns, head_dim)."""
        for layer in range(len(weights.layers) + 1):
            shape = (series, weights.heads_of(layer), self.columns, weights.width_of(layer))
            # Zeros: what is masked has no weight, and 0 x 0 is 0.
            if weights.on_cpu:  # the products with keys read them fastest in this layout
                self.values.append(torch.zeros(shape, dtype=weights.cache_dtype, device=weights.device))
                self.keys.append(torch.zeros_like(self.values[-1].mT, memory_format=torch.contiguous_format))
            else:
                self.memory.append(torch.zeros(2, *shape, dtype=weights.cache_dtype, device=weights.device))
                self.keys.append(self.memory[-1][0].mT)
                self.values.append(self.memory[-1][1])
        self._flat_keys = [keys.flatten(0, 1) for keys in self.keys]
        self._flat_values = [values.flatten(0, 1) for values in self.values]
        self.lengths = torch.ones(series, dtype=torch.long, device=weights.device)
        self.last = torch.empty(series, weights.dim, device=weights.device)
        """Hidden state of the last row of each series, (series, dim)."""
        self.bias: Tensor | None = None
        """(series, 1, some): -inf on padding, of the last keys, from the shortest history on; None without padding."""

    def fits(self, series: int, rows: int, room: int) -> bool:
        """Whether such histories have the same place."""
        return (self.series, self.width, self.room) == (series, padded(self.weights, rows), room)

    def fill(self, lengths: Sequence[int], rows: Rows, at_once: int, encoded: Callable[[range], None]) -> None:
        """Encode histories of these lengths in place of those before; best with like lengths side by side.

        Args:
            at_once: rows that pass through the model together.
            encoded: called with the places of the series that have just been encoded.
        """
        self.lengths.copy_(torch.tensor(lengths))
        shortest, self.bias = min(lengths), None
        if shortest < self.width:
            beyond = torch.arange(shortest, self.width, device=self.lengths.device) >= self.lengths[:, None]
            self.bias = torch.zeros(beyond.shape, device=beyond.device).masked_fill_(beyond, -torch.inf)
            self.bias = self.bias.to(self.weights.cache_dtype)[:, None]
        step = max(1, at_once // self.width)
        for first in range(0, self.series, step):
            end = min(first + step, self.series)
            self._encode(rows(first, end, padded(self.weights, max(lengths[first:end]))), first)
            encoded(range(first, end))

    def _encode(self, x: Tensor, first: int) -> None:
        weights, (n, width) = self.weights, x.shape[:2]

        def remember(layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
            k, v = (t.unflatten(0, (n, width)).transpose(1, 2) for t in kv.unbind(1))
            self.keys[layer][first : first + n, ..., :width] = k.mT
            self.values[layer][first : first + n, :, :width] = v
            return k, v

        def attend(layer: int, qkv: Tensor) -> Tensor:
            k, v = remember(layer, qkv[:, 1:])
            q = qkv[:, 0].unflatten(0, (n, width)).transpose(1, 2)
            # Padding stands after every true row: causal attention never sees it.
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
            return out.transpose(1, 2).reshape(n * width, -1)

        positions = torch.arange(width, device=x.device).repeat(n)
        h = weights.hidden(x.flatten(0, 1), positions, attend)
        remember(len(weights.layers), weights.dependency_memory(h, positions))
        ends = self.lengths[first : first + n] - 1
        self.last[first : first + n] = h.unflatten(0, (n, width))[torch.arange(n, device=x.device), ends]

    def read(self, layer: int) -> tuple[Tensor, Tensor, Tensor | None]:
        """Keys, values and what is added to the last scores: what `attention.attend_shared_prefix` takes."""
        return self._flat_keys[layer], self._flat_values[layer], self.bias


class PathCache:
    """The own rows of `paths` paths of each series, after a shared prefix (None: nothing is shared any more)."""

    def __init__(self, weights: GenerationWeights, series: int, paths: int, capacity: int) -> None:
        self.weights, self.series, self.paths = weights, series, paths
        self.prefix: PrefixCache | None = None
        self.rows = 0
        """Own rows of each path so far."""
        self.base = torch.zeros(series * paths, dtype=torch.long, device=weights.device)
        """Position of each path's first own row, (series * paths,)."""
        self.memory: list[Tensor] = []
        """Per layer keys and values, (2, series, heads, paths, capacity, head_dim)."""
        for layer in range(len(weights.layers) + 1):
            shape = (2, series, weights.heads_of(layer), paths, capacity, weights.width_of(layer))
            self.memory.append(torch.empty(shape, dtype=weights.cache_dtype, device=weights.device))
        self._flat = [tuple(memory.flatten(1, 3)) for memory in self.memory]
        """Per layer keys and values, (series * heads * paths, capacity, head_dim) each: views of `memory`."""

    def restart(self, prefix: PrefixCache | None) -> None:
        """Forget all own rows and stand after `prefix`."""
        self.prefix, self.rows = prefix, 0
        self.base.zero_()
        if prefix is not None:
            self.base += prefix.lengths.repeat_interleave(self.paths)

    def positions(self, count: int = 1) -> Tensor:
        """Positions (series * paths * count,) of the next `count` rows of each path."""
        start = self.base + self.rows
        if count == 1:
            return start
        return (start[:, None] + torch.arange(count, device=start.device)).flatten()

    def open(self) -> None:
        """The next row of each path may be written."""

    def advance(self, count: int = 1) -> None:
        """So many rows have been written in all layers."""
        self.rows += count

    def write(self, layer: int, kv: Tensor) -> None:
        """Remember keys and values (series * paths * count, 2, heads, head_dim) of the rows after `rows`."""
        new = kv.view(self.series, self.paths, -1, *kv.shape[1:]).permute(3, 0, 4, 1, 2, 5)
        self.memory[layer].narrow(4, self.rows, new.shape[4]).copy_(new)

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Write the new rows' keys and values, then read: causal attention of all their queries."""
        self.write(layer, qkv[:, 1:])
        count = len(qkv) // (self.series * self.paths)
        return self._read(layer, qkv[:, 0], self.rows + count)

    def read(self, layer: int, q: Tensor) -> Tensor:
        """Attention of one query for each path, q (series * paths, heads, head_dim), over the prefix and all own rows.

        Returns:
            (series * paths, heads * head_dim).
        """
        return self._read(layer, q, self.rows)

    def _read(self, layer: int, q: Tensor, end: int) -> Tensor:
        """The same for several queries of a path, which stand at its last rows before `end`: each sees those up to itself."""
        q = q.view(self.series, self.paths, -1, *q.shape[1:]).permute(0, 3, 1, 2, 4).contiguous()
        keys, values = self._flat[layer]
        own = (keys.narrow(1, 0, end), values.narrow(1, 0, end)) if end else None
        out = attend_shared_prefix(q, None if self.prefix is None else self.prefix.read(layer), own)
        return out.permute(0, 2, 3, 1, 4).reshape(self.series * self.paths * q.shape[3], -1)


class FixedCache:
    """Own rows as `PathCache` has them, one at a time after a prefix that stays in view: every tensor has its shape and
    place from the beginning, and which rows there are is said by tensors. So a step can be captured once and replayed.

    With one path each the new rows stand in the prefix's own memory, behind each history; with several they have memory
    of their own.
    """

    def __init__(self, weights: GenerationWeights, prefix: PrefixCache, paths: int, capacity: int) -> None:
        self.weights, self.prefix, self.series, self.paths = weights, prefix, prefix.series, paths
        self.alone = prefix.room > 0
        assert not self.alone or (paths == 1 and prefix.room >= capacity)
        device, capacity = weights.device, padded(weights, capacity)
        self.at = torch.zeros((), dtype=torch.long, device=device)
        """Own rows of each path so far."""
        self.base = torch.zeros(self.series * paths, dtype=torch.long, device=device)
        """Position of each path's first own row, (series * paths,)."""
        self.first = torch.zeros(self.series, dtype=torch.long, device=device)
        """Column of each series' first own row, (series,)."""
        columns = prefix.columns + (0 if self.alone else capacity)
        self.counted = self.alone and weights.fused is not None
        """Whether attention is told how many columns hold rows, instead of which."""
        self.ends = torch.zeros(self.series, dtype=torch.long, device=device)
        """That many, (series,)."""
        columns = 0 if self.counted else columns
        self.mask = torch.empty(self.series, 1, 1, columns, dtype=weights.cache_dtype, device=device)
        """What is added to scores, (series, 1, 1, columns): 0 for rows that there are, else -inf; without columns where counted."""
        self.memory: list[Tensor] = []
        """Per layer keys and values, (2, series, heads, paths, capacity, head_dim); of the prefix where it holds them."""
        for layer in range(len(weights.layers) + 1):
            shape = (2, self.series, weights.heads_of(layer), paths, capacity, weights.width_of(layer))
            self.memory.append(
                prefix.memory[layer]
                if self.alone
                else torch.zeros(shape, dtype=weights.cache_dtype, device=weights.device)
            )

    def restart(self) -> None:
        """Forget all own rows and stand after what the prefix now holds."""
        lengths = self.prefix.lengths
        self.at.zero_()
        self.ends.copy_(lengths)
        self.base.copy_(lengths.repeat_interleave(self.paths))
        self.first.copy_(lengths if self.alone else torch.full_like(lengths, self.prefix.width))
        beyond = torch.arange(self.mask.shape[-1], device=lengths.device) >= lengths[:, None, None, None]
        self.mask.zero_().masked_fill_(beyond, -torch.inf)

    def positions(self) -> Tensor:
        """Positions (series * paths,) of the next row of each path."""
        return self.base + self.at

    def open(self) -> None:
        """The next row of each path may be written."""
        if self.counted:
            self.ends += 1
        else:
            self.mask.scatter_(3, self._column(4), 0.0)

    def advance(self) -> None:
        """A row has been written in all layers."""
        self.at += 1

    def write(self, layer: int, kv: Tensor) -> None:
        """Remember keys and values (series * paths, 2, heads, head_dim) of the next row."""
        memory = self.memory[layer]
        if self.alone:
            new = kv.permute(1, 0, 2, 3)[:, :, :, None]
            memory.scatter_(3, self._column(5).transpose(0, 1).expand_as(new), new)
        else:
            new = kv.view(self.series, self.paths, *kv.shape[1:]).permute(2, 0, 3, 1, 4)
            memory.index_copy_(4, self.at[None], new[:, :, :, :, None])

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Write the next row's keys and values, then read."""
        self.write(layer, qkv[:, 1:])
        return self.read(layer, qkv[:, 0])

    def read(self, layer: int, q: Tensor) -> Tensor:
        """As `PathCache.read`."""
        if self.counted:
            out: Tensor = self.weights.fused.attend(q, self.memory[layer], self.ends)
            return out
        if self.alone:
            keys, values = self.memory[layer]
            mask = self.mask.expand(-1, q.shape[1], -1, -1)
            return F.scaled_dot_product_attention(q[:, :, None], keys, values, attn_mask=mask, scale=1.0).flatten(1)
        q = q.view(self.series, self.paths, *q.shape[1:]).transpose(1, 2)
        keys, values, _ = self.prefix.read(layer)
        out = attend_open_columns(q, (keys, values), self.memory[layer], self.mask)
        return out.transpose(1, 2).reshape(self.series * self.paths, -1)

    def _column(self, dims: int) -> Tensor:
        """Columns of the next row, (series, 1, ...) with so many dimensions."""
        return (self.first + self.at).view(-1, *[1] * (dims - 1))

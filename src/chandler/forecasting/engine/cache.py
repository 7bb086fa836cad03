"""Keys and values of a group of series: the history once per series, each path's own new rows beside it.

Attention reads both parts as one. Histories are padded to a multiple of `PAD`, so that many share a shape.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.forecasting.engine.attention import attend_shared_prefix
from chandler.forecasting.engine.kernels import GenerationWeights

PAD = 32
PREFILL_ROWS = 2048
"""Rows encoded at once: enough for the full GEMM rate, few enough for small buffers."""


def padded(rows: int) -> int:
    """Rows of a prefix after padding."""
    return -(-rows // PAD) * PAD


def bytes_per_row(weights: GenerationWeights) -> int:
    """Keys and values of one row over all layers."""
    return (len(weights.layers) + 1) * 2 * weights.dim * weights.cache_dtype.itemsize


class PrefixCache:
    """What the paths of each series share: keys and values of its visible history.

    Args:
        weights: the predictor.
        embedded: per series its rows (rows_i, dim), float32, rows_i >= 1; best with like lengths side by side.
        encoded: called with the places of the series that have just been encoded.
    """

    def __init__(
        self,
        weights: GenerationWeights,
        embedded: Sequence[Tensor],
        encoded: Callable[[range], None] = lambda places: None,
    ) -> None:
        self.weights, self.series = weights, len(embedded)
        self.lengths = torch.tensor([len(x) for x in embedded], device=weights.device)
        self.width = padded(max(len(x) for x in embedded))
        self.keys: list[Tensor] = []
        """Per layer, transposed, (series, heads, head_dim, width): the layout whose products read it fastest."""
        self.values: list[Tensor] = []
        """Per layer (series, heads, width, head_dim)."""
        for layer in range(len(weights.layers) + 1):
            heads = weights.heads_of(layer)
            values = torch.zeros(  # padding has no weight, and 0 x 0 is 0
                self.series, heads, self.width, weights.dim // heads, dtype=weights.cache_dtype, device=weights.device
            )
            self.values.append(values)
            self.keys.append(torch.zeros_like(values.mT, memory_format=torch.contiguous_format))
        self.bias: Tensor | None = None
        """(series, 1, some): -inf on padding, of the last keys, from the shortest history on; None without padding."""
        shortest = min(len(x) for x in embedded)
        if shortest < self.width:
            beyond = torch.arange(shortest, self.width, device=weights.device) >= self.lengths[:, None]
            self.bias = torch.zeros(beyond.shape, device=weights.device).masked_fill_(beyond, -torch.inf)
            self.bias = self.bias.to(weights.cache_dtype)[:, None]
        self._flat_keys = [keys.flatten(0, 1) for keys in self.keys]
        self._flat_values = [values.flatten(0, 1) for values in self.values]
        step = max(1, PREFILL_ROWS // self.width)
        last = []
        for i in range(0, self.series, step):
            last.append(self._encode(embedded[i : i + step], i))
            encoded(range(i, min(i + step, self.series)))
        self.last = torch.cat(last)
        """Hidden state of the last row of each series, (series, dim)."""

    def _encode(self, embedded: Sequence[Tensor], first: int) -> Tensor:
        weights, n = self.weights, len(embedded)
        width = padded(max(len(rows) for rows in embedded))
        x = torch.stack([F.pad(rows, (0, 0, 0, width - len(rows))) for rows in embedded])

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
        return h.unflatten(0, (n, width))[torch.arange(n, device=x.device), self.lengths[first : first + n] - 1]

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
            heads = weights.heads_of(layer)
            shape = (2, series, heads, paths, capacity, weights.dim // heads)
            self.memory.append(torch.empty(shape, dtype=weights.cache_dtype, device=weights.device))
        self._flat = [tuple(memory.flatten(1, 3)) for memory in self.memory]
        """Per layer keys and values, (series * heads * paths, capacity, head_dim) each: views of `memory`."""

    def restart(self, prefix: PrefixCache | None) -> None:
        """Forget all own rows and stand after `prefix`."""
        self.prefix, self.rows = prefix, 0
        self.base.zero_()
        if prefix is not None:
            self.base += prefix.lengths.repeat_interleave(self.paths)

    def positions(self, count: int) -> Tensor:
        """Positions (series * paths * count,) of the next `count` rows of each path."""
        start = self.base + self.rows
        if count == 1:
            return start
        return (start[:, None] + torch.arange(count, device=start.device)).flatten()

    def write(self, layer: int, kv: Tensor) -> None:
        """Remember keys and values (series * paths * count, 2, heads, head_dim) of the rows after `rows`."""
        new = kv.view(self.series, self.paths, -1, *kv.shape[1:]).permute(3, 0, 4, 1, 2, 5)
        self.memory[layer].narrow(4, self.rows, new.shape[4]).copy_(new)

    def attend(self, layer: int, qkv: Tensor) -> Tensor:
        """Write the new rows' keys and values, then read: causal attention of all their queries."""
        self.write(layer, qkv[:, 1:])
        count = len(qkv) // (self.series * self.paths)
        return self.read(layer, qkv[:, 0], self.rows + count)

    def read(self, layer: int, q: Tensor, end: int) -> Tensor:
        """Attention of queries over the prefix and the own rows before `end`.

        Args:
            q: (series * paths * count, heads, head_dim); the queries of a path stand at its last `count` rows
                before `end`, each sees the rows up to itself.

        Returns:
            (series * paths * count, heads * head_dim).
        """
        q = q.view(self.series, self.paths, -1, *q.shape[1:]).permute(0, 3, 1, 2, 4).contiguous()
        keys, values = self._flat[layer]
        own = (keys.narrow(1, 0, end), values.narrow(1, 0, end)) if end else None
        out = attend_shared_prefix(q, None if self.prefix is None else self.prefix.read(layer), own)
        return out.permute(0, 2, 3, 1, 4).reshape(self.series * self.paths * q.shape[3], -1)

"""Keys and values of a group of series: the history once per series, each path's own new rows beside it.

Attention over both is one softmax over the scores of the two parts laid side by side. A series' shapes depend on
the series alone (its history is padded to a multiple of `PAD`), never on the company it is computed in.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.forecasting.kernels import LEAST_ROWS, Weights

PAD = 32
PREFILL_ROWS = 2048
"""Rows encoded at once: enough for the full GEMM rate, few enough for small buffers."""


def padded(rows: int) -> int:
    """Rows of a prefix after padding."""
    return -(-rows // PAD) * PAD


def bytes_per_row(weights: Weights) -> int:
    """Keys and values of one row over all layers."""
    return (len(weights.layers) + 1) * 2 * weights.dim * weights.dtype.itemsize


class Prefix:
    """What the paths of each series share: keys and values of its visible history.

    Args:
        weights: the predictor.
        embedded: per series its rows (rows_i, dim), float32, rows_i >= 1, that share one `padded` length.
    """

    def __init__(self, weights: Weights, embedded: Sequence[Tensor]) -> None:
        self.weights, self.series = weights, len(embedded)
        self.lengths = torch.tensor([len(x) for x in embedded], device=weights.device)
        self.width = padded(max(len(x) for x in embedded))
        self.keys: list[Tensor] = []
        """Per layer (series * heads, head_dim, width): transposed, so that scores are a plain product."""
        self.values: list[Tensor] = []
        """Per layer (series * heads, width, head_dim)."""
        for layer in range(len(weights.layers) + 1):
            heads = weights.heads_of(layer)
            shape = (self.series * heads, weights.dim // heads, self.width)
            self.keys.append(torch.empty(shape, dtype=weights.dtype, device=weights.device))
            self.values.append(self.keys[-1].new_empty(shape[0], shape[2], shape[1]))
        self.bias: Tensor | None = None
        """(series, 1, 1, width): -inf on padding; None where nothing is padded."""
        if bool((self.lengths < self.width).any()):
            beyond = torch.arange(self.width, device=weights.device) >= self.lengths[:, None]
            self.bias = torch.zeros(beyond.shape, device=weights.device).masked_fill_(beyond, -torch.inf)
            self.bias = self.bias.to(weights.dtype)[:, None, None]
        step = max(1, PREFILL_ROWS // self.width)
        last = [self._encode(embedded[i : i + step], i) for i in range(0, self.series, step)]
        self.last = torch.cat(last)
        """Hidden state of the last row of each series, (series, dim)."""

    def _encode(self, embedded: Sequence[Tensor], first: int) -> Tensor:
        weights, width, n = self.weights, self.width, len(embedded)
        x = torch.stack([F.pad(rows, (0, 0, 0, width - len(rows))) for rows in embedded])

        def remember(layer: int, kv: Tensor) -> tuple[Tensor, Tensor]:
            k, v = (t.unflatten(0, (n, width)).transpose(1, 2) for t in kv.unbind(1))
            part = slice(first * k.shape[1], (first + n) * k.shape[1])
            self.keys[layer][part] = k.flatten(0, 1).transpose(1, 2)
            self.values[layer][part] = v.flatten(0, 1)
            return k, v

        def attend(layer: int, qkv: Tensor) -> Tensor:
            k, v = remember(layer, qkv[:, 1:])
            q = qkv[:, 0].unflatten(0, (n, width)).transpose(1, 2)
            # Padding stands after every true row: causal attention never sees it.
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, scale=1.0)
            return out.transpose(1, 2).reshape(n * width, -1)

        positions = torch.arange(width, device=x.device).repeat(n)
        h = weights.hidden(x.flatten(0, 1), weights.turn[positions], attend)
        remember(len(weights.layers), weights.dependency_memory(h, positions))
        return h.unflatten(0, (n, width))[torch.arange(n), self.lengths[first : first + n] - 1]


class Paths:
    """The own rows of `paths` paths of each series, after a shared prefix (None: nothing is shared any more)."""

    def __init__(self, weights: Weights, series: int, paths: int, capacity: int) -> None:
        self.weights, self.series, self.paths = weights, series, paths
        self.prefix: Prefix | None = None
        self.rows = 0
        """Own rows of each path so far."""
        self.base = torch.zeros(series * paths, dtype=torch.long, device=weights.device)
        """Position of each path's first own row, (series * paths,)."""
        self.memory: list[Tensor] = []
        """Per layer keys and values, (2, series, heads, paths, capacity, head_dim)."""
        for layer in range(len(weights.layers) + 1):
            heads = weights.heads_of(layer)
            shape = (2, series, heads, paths, capacity, weights.dim // heads)
            self.memory.append(torch.empty(shape, dtype=weights.dtype, device=weights.device))
        self._flat = [tuple(memory.flatten(1, 3)) for memory in self.memory]
        """Per layer keys and values, (series * heads * paths, capacity, head_dim) each: views of `memory`."""

    def restart(self, prefix: Prefix | None) -> None:
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
        heads, width = q.shape[1:]
        q = q.view(self.series, self.paths, -1, heads, width).permute(0, 3, 1, 2, 4)
        count = q.shape[3]
        q = q.reshape(-1, count, width)
        keys, values = (rows.narrow(1, 0, end) for rows in self._flat[layer])
        own = torch.bmm(q, keys.transpose(1, 2))
        if count > 1:
            future = torch.ones(count, end, dtype=torch.bool, device=q.device).triu_(end - count + 1)
            own = own.masked_fill_(future, -torch.inf)
        prefix = self.prefix
        out = torch.bmm(own.softmax(-1), values) if prefix is None else self._with_prefix(prefix, layer, q, own, values)
        out = out.view(self.series, heads, self.paths, count, width)
        return out.permute(0, 2, 3, 1, 4).reshape(-1, heads * width)

    def _with_prefix(self, prefix: Prefix, layer: int, q: Tensor, own: Tensor, values: Tensor) -> Tensor:
        """One softmax over own and shared scores; all paths of a series are rows of one product with the prefix."""
        keys, end = prefix.keys[layer], own.shape[-1]
        rows = own.shape[0] * own.shape[1] // len(keys)
        q = q.view(len(keys), rows, -1)
        if rows == 1:
            # One row would go through a matrix-vector kernel, which rounds otherwise than the same path among many.
            q = q.expand(-1, LEAST_ROWS, -1).contiguous()
        scores = torch.bmm(q, keys)
        if rows == 1:
            scores = scores[:, :1]
        if prefix.bias is not None:
            scores = scores.view(self.series, -1, rows, prefix.width) + prefix.bias
        # Own rows come first: their number is that of the step, so padding after them moves nobody's place in a sum.
        weight = torch.cat((own, scores.reshape(*own.shape[:2], -1)), dim=-1).softmax(-1)
        out = torch.bmm(weight.narrow(-1, 0, end), values).view(len(keys), rows, -1)
        weight = weight.view(len(keys), rows, -1).narrow(-1, end, prefix.width)
        if rows > 1:
            return torch.baddbmm(out, weight, prefix.values[layer])
        return out + torch.bmm(weight.expand(-1, LEAST_ROWS, -1).contiguous(), prefix.values[layer])[:, :1]

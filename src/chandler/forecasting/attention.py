"""Attention over a memory of two parts, one that many queries share and one that is each path's own.

A query's result does not depend on how many other queries there are, bit for bit, where `kernels.exact_rows()` says so.
"""

from __future__ import annotations

import math
from functools import cache

import torch
import torch.nn.functional as F
from torch import Tensor

Part = tuple[Tensor, Tensor]
"""What attention over a part of the memory yields, and the logarithm of its denominator."""
ROWS = 4
"""Queries of one head are padded to a multiple of it: fewer in a block go through other kernels, which round otherwise."""


@cache
def _fused() -> bool:
    """Whether torch's fused attention for the CPU says the logarithm too: its own operator, but no public API."""
    q = torch.ones(1, 1, 2, 8)
    try:
        out, log = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(q, q, q, 0.0, False, scale=1.0)
    except (AttributeError, RuntimeError):
        return False
    return torch.allclose(out, q) and torch.allclose(log.flatten(), torch.full((2,), 8 + math.log(2)))


def look(q: Tensor, common: tuple[Tensor, Tensor, Tensor | None] | None, own: tuple[Tensor, Tensor] | None) -> Tensor:
    """softmax(q [K_common, K_own]^T) [V_common, V_own] of one query per path. Queries are scaled already.

    Args:
        q: (series, heads, paths, head_dim), contiguous.
        common: keys transposed, (series * heads, head_dim, width); values, (series * heads, width, head_dim); and
            what is added to the scores of the last keys, (series, 1, some), or None.
        own: keys and values, (series * heads * paths, rows, head_dim) each. One of both memories may be None.

    Returns:
        (series, heads, paths, head_dim), of the dtype of q.
    """
    series, heads, paths, width = q.shape
    alone = q.view(-1, 1, width)
    if common is None:
        assert own is not None
        return torch.bmm(_softmax(torch.bmm(alone, own[0].mT)), own[1]).view(q.shape)
    keys, values, bias = common
    # One row alone would go through another kernel, which rounds otherwise.
    rows = max(paths, 2)
    asked = q.view(-1, paths, width) if paths == rows else alone.expand(-1, rows, -1).contiguous()
    scores = torch.bmm(asked, keys)
    end = keys.shape[2]
    if bias is not None:
        last = scores.narrow(2, end - bias.shape[2], bias.shape[2])
        last.view(series, heads, rows, -1).add_(bias[:, None])
    if own is None:
        return torch.bmm(_softmax(scores), values)[:, :paths].reshape(q.shape)
    found = torch.bmm(alone, own[0].mT).view(len(scores), paths, -1)
    weights = _softmax(torch.cat((scores, found.expand(-1, rows, -1)), -1))
    out = torch.bmm(weights.narrow(2, 0, end), values)[:, :paths].reshape(alone.shape)
    return out.baddbmm_(weights[:, :paths, end:].reshape(len(alone), 1, -1), own[1]).view(q.shape)


def _softmax(scores: Tensor) -> Tensor:
    return torch.softmax(scores, -1, dtype=torch.float32).to(scores.dtype)


def attend(q: Tensor, k: Tensor, v: Tensor, *, bias: Tensor | None = None, causal: bool = False) -> Part:
    """softmax(q k^T + bias) v and the logarithm of the softmax's denominator. Queries are scaled already.

    Args:
        q: (N, heads, rows, head_dim). k, v: (N, heads, keys, head_dim). All of one dtype.
        bias: added to the scores, broadcast over (N, heads, rows, keys), or None.
        causal: row i sees keys 0 .. i alone; then rows = keys.

    Returns:
        (N, heads, rows, head_dim), of the dtype of q, and (N, heads, rows, 1) float32.
    """
    if q.device.type == "cpu" and _fused():
        out, log = torch.ops.aten._scaled_dot_product_flash_attention_for_cpu(
            q, k, v, 0.0, causal, attn_mask=bias, scale=1.0
        )
        return out, log[..., None]
    scores = (q @ k.transpose(-2, -1)).float()
    if bias is not None:
        scores = scores + bias
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu_(1)
        scores = scores.masked_fill(future, -torch.inf)
    log = scores.logsumexp(-1, keepdim=True)
    return (scores - log).exp().to(v.dtype) @ v, log


def shared(q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None) -> Part:
    """`attend` for any number of rows, padded to fours."""
    rows = q.shape[2]
    missing = -rows % ROWS
    if not missing:
        return attend(q, k, v, bias=bias)
    out, log = attend(F.pad(q, (0, 0, 0, missing)), k, v, bias=bias)
    return out[:, :, :rows], log[:, :, :rows]


def join(first: Part, second: Part) -> Tensor:
    """What attention over two parts of a memory yields as one, exactly: a mean weighted by the parts' denominators."""
    (a, log_a), (b, log_b) = first, second
    return torch.lerp(a, b, torch.sigmoid(log_b - log_a).to(a.dtype))

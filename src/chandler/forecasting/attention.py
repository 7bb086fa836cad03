"""Attention in parts: what each part of the memory yields, with the log of its sum of weights, so that parts join exactly.

A query's result does not depend on how many other queries there are, bit for bit, where the rows come in fours.
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

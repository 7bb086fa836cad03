"""Turns token ids into normalised bars: the history passes through the decoder once, however many paths follow it.

The result is that of `reference.decode_tail`, which repeats the history for every path.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.forecasting.engine.prompts import eval_mode
from chandler.forecasting.engine.reference import decode_tail
from chandler.nn import Block, KronosTokenizer, RotaryTable, ids_to_signs, rotate

Memory = tuple[Tensor, Tensor]
"""Keys and values of a block, each (1, heads, rows, head_dim)."""
ROWS = 4096
"""Rows that pass through the decoder together: enough for the full GEMM rate, few enough for small buffers."""
VISIBLE_ROWS = 4 * ROWS
"""The same for the rows that they attend to."""


class DecodedPaths(NamedTuple):
    """Normalised bars, as the tokenizer's decoder gives them."""

    bars: Tensor
    """(paths, horizon, d_in)"""
    last: Tensor
    """(d_in,) the last row of history: what is left of it once it has been a token."""


@torch.no_grad()
def decode_paths(
    tokenizer: KronosTokenizer, history: tuple[Tensor, Tensor], new: tuple[Tensor, Tensor], *, max_context: int
) -> DecodedPaths:
    """The forecast rows of each path, and the last row of history, as normalised bars.

    Up to `max_context` forecast rows are decoded in view of the last max_context - horizon rows of history, as the
    reference does; a longer horizon in overlapping windows (see `decode_tail`).

    Args:
        tokenizer: held in eval mode for the duration.
        history: ids (s1, s2), each (T,), T >= 1, on any device.
        new: ids (s1, s2), each (paths, horizon), on any device.
        max_context: rows decoded in one causal pass at most.

    Returns:
        Where the tokenizer is. Paths are decoded a few at a time, so memory does not grow with
        their number.
    """
    paths, horizon = new[0].shape
    device = tokenizer.head.weight.device
    history, new = ((ids[0].to(device), ids[1].to(device)) for ids in (history, new))
    shared = min(len(history[0]), max_context - horizon)
    seen = max(shared, 0) + horizon
    count = max(1, min(ROWS // horizon, VISIBLE_ROWS // seen))
    pieces = []
    with eval_mode(tokenizer):
        if shared < 1:
            for first in range(0, paths, count):
                part = [ids[first : first + count] for ids in new]
                whole = [torch.cat((old.expand(len(ids), -1), ids), 1) for old, ids in zip(history, part, strict=True)]
                pieces.append(decode_tail(tokenizer, *whole, horizon=horizon, max_context=max_context))
            last = decode_tail(tokenizer, history[0][None], history[1][None], horizon=1, max_context=max_context)
            return DecodedPaths(torch.cat(pieces), last[0, 0])
        blocks = [block for block in tokenizer.decoder if isinstance(block, Block)]
        cos, sin = blocks[0].self_attn.rotary(seen) if blocks else (torch.empty(seen, 0), torch.empty(seen, 0))
        x = _embed(tokenizer, history[0][None, -shared:], history[1][None, -shared:])
        memories: list[Memory] = []
        for block in blocks:
            x, memory = _through(block, x, None, (cos[:shared], sin[:shared]))
            memories.append(memory)
        last = tokenizer.head(x[0, -1])
        for first in range(0, paths, count):
            x = _embed(tokenizer, *(ids[first : first + count] for ids in new))
            for block, memory in zip(blocks, memories, strict=True):
                x, _ = _through(block, x, memory, (cos[shared:], sin[shared:]))
            pieces.append(tokenizer.head(x))
    return DecodedPaths(torch.cat(pieces), last)


def _embed(tokenizer: KronosTokenizer, s1: Tensor, s2: Tensor) -> Tensor:
    c = tokenizer.config
    signs = torch.cat((ids_to_signs(s1, c.s1_bits), ids_to_signs(s2, c.s2_bits)), dim=-1)
    return tokenizer.post_quant_embed((signs / tokenizer.bits**0.5).to(tokenizer.head.weight.dtype))


def _through(block: Block, x: Tensor, before: Memory | None, rotary: RotaryTable) -> tuple[Tensor, Memory]:
    """Rows x (P, T, dim) through a block, in view of the rows `before` them -> rows, and their keys and values."""
    attention, (paths, rows) = block.self_attn, x.shape[:2]
    joint = F.linear(block.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (attention.split_heads(part) for part in joint.chunk(3, dim=-1))
    q, k = rotate(q, rotary), rotate(k, rotary)
    mask = None
    if before is not None:
        k, v = (torch.cat((old.expand(paths, -1, -1, -1), own), dim=2) for old, own in zip(before, (k, v), strict=True))
        mask = torch.ones(rows, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - rows)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    x = x + attention.out_proj(out.transpose(1, 2).flatten(-2))
    return x + block.ffn(block.norm2(x)), (k, v)

"""Turns token ids into normalised bars: a history passes through the decoder once, however many paths follow it, and on an
accelerator many series pass together.

The result is that of `reference.decode_tail`, which repeats the history for every path.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import starmap
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.forecasting.engine.kernels import suits_cpu
from chandler.forecasting.engine.memory import MOST_ROWS, MOST_SEQUENCES, block_bytes, default_budget
from chandler.forecasting.engine.prompts import eval_mode
from chandler.forecasting.engine.reference import decode_tail
from chandler.nn import Block, KronosTokenizer, RotaryTable, rotate

Ids = tuple[Tensor, Tensor]
"""s1 and s2 of some rows, int64."""
Memory = tuple[Tensor, Tensor]
"""Keys and values of a block, each (series, heads, rows, head_dim)."""
ROWS = 4096
"""Rows that pass through the decoder together on a CPU: enough for the full GEMM rate, few enough for small buffers."""
VISIBLE_ROWS = 4 * ROWS
"""The same for the rows that they attend to."""


class DecodedPaths(NamedTuple):
    """Normalised bars, as the tokenizer's decoder gives them, on the CPU."""

    bars: Tensor
    """(paths, horizon, d_in)"""
    last: Tensor
    """(d_in,) the last row of history: what is left of it once it has been a token."""


@torch.no_grad()
def decode_many(
    tokenizer: KronosTokenizer,
    histories: Sequence[Ids],
    news: Sequence[Ids],
    *,
    max_context: int,
    memory_budget: int | None = None,
    decoded: Callable[[int], None] | None = None,
) -> list[DecodedPaths]:
    """Of each series the forecast rows of its paths, and the last row of its history, as normalised bars.

    Up to `max_context` forecast rows are decoded in view of the last max_context - horizon rows of history, as the
    reference does; a longer horizon in overlapping windows (see `decode_tail`), series by series.

    On a CPU every series is decoded alone. On an accelerator those that show as many rows of history and have as many paths
    are decoded together; sums may round otherwise in other company, so bars may differ in their last bits.

    Args:
        tokenizer: held in eval mode for the duration.
        histories: ids (s1, s2) per series, each (T,), T >= 1; on any device, the same for all.
        news: ids (s1, s2) per series, each (paths, horizon); on any device, the same for all.
        max_context: rows decoded in one causal pass at most.
        memory_budget: bytes for what is decoded at once on an accelerator, beside the model; by default half of what is
            free there. One path is decoded whatever it is.
        decoded: called with a number of forecast rows when they have been decoded, with each row once.

    Returns:
        Per series, in order. What is decoded at once is limited, so beside the result memory grows neither with the number of
        series nor with that of paths.
    """
    alike: dict[tuple[int, int, int], list[int]] = {}
    for index, ((history, _), (new, _)) in enumerate(zip(histories, news, strict=True)):
        paths, horizon = new.shape
        alike.setdefault((max(0, min(len(history), max_context - horizon)), paths, horizon), []).append(index)
    device = tokenizer.head.weight.device
    budget = default_budget(device) if memory_budget is None else memory_budget
    made: dict[int, DecodedPaths] = {}
    with eval_mode(tokenizer):
        for (shared, paths, horizon), members in alike.items():
            together, count = _at_once(tokenizer, shared, paths, horizon, budget)
            for first in range(0, len(members), together):
                chunk = members[first : first + together]
                old = _stack([histories[index] for index in chunk], shared, device)
                new = _stack([news[index] for index in chunk], horizon, device)
                bars, last = (
                    _after_history(tokenizer, old, new, count)
                    if shared
                    else _in_windows(tokenizer, old, new, count, max_context)
                )
                # One transfer for all of them.
                whole, width = torch.cat((bars.flatten(1), last), dim=1).cpu(), last.shape[1]
                each = zip(whole[:, :-width].unflatten(1, bars.shape[1:]), whole[:, -width:], strict=True)
                made.update(zip(chunk, starmap(DecodedPaths, each), strict=True))
                if decoded is not None:
                    decoded(len(chunk) * paths * horizon)
    return [made[index] for index in range(len(made))]


def _at_once(tokenizer: KronosTokenizer, shared: int, paths: int, horizon: int, budget: int) -> tuple[int, int]:
    """How many series, and how many paths of each, pass through the decoder together."""
    config, seen = tokenizer.config, shared + horizon
    if suits_cpu(tokenizer.head.weight.device):
        return 1, max(1, min(ROWS // horizon, VISIBLE_ROWS // seen))
    # Keys and values: of a history in every block, of what a path sees in the block that it passes through.
    keys = 2 * 4 * config.d_model
    path = block_bytes(config, horizon, seen) + keys * seen
    history = block_bytes(config, shared, shared) + keys * shared * config.n_dec_layers
    count = max(1, min(paths, MOST_SEQUENCES, MOST_ROWS // horizon, (budget - history) // path))
    if count < paths or not shared:
        return 1, count
    rows = MOST_ROWS // (shared + paths * horizon)
    return max(1, min(MOST_SEQUENCES // paths, rows, budget // (history + paths * path))), count


def _stack(ids: Sequence[Ids], rows: int, device: torch.device) -> Tensor:
    """The last `rows` rows (all for 0) of s1 and s2 of several series, (2, series, ..., rows) on the device."""
    return torch.stack([torch.stack([both[part][..., -rows:] for both in ids]) for part in (0, 1)]).to(device)


def _in_windows(
    tokenizer: KronosTokenizer, history: Tensor, new: Tensor, count: int, max_context: int
) -> tuple[Tensor, Tensor]:
    """Bars (1, paths, horizon, d_in) and last row (1, d_in) of one series whose forecast leaves no room for history."""
    pieces = []
    for ids in new[:, 0].split(count, dim=1):
        whole = torch.cat((history.expand(-1, ids.shape[1], -1), ids), dim=2)
        pieces.append(decode_tail(tokenizer, *whole, horizon=ids.shape[2], max_context=max_context))
    last = decode_tail(tokenizer, *history, horizon=1, max_context=max_context)
    return torch.cat(pieces)[None], last[:, 0]


def _after_history(tokenizer: KronosTokenizer, history: Tensor, new: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Bars (series, paths, horizon, d_in) and last rows (series, d_in); ids (2, series, rows) and (2, series, paths, horizon)."""
    shared, horizon = history.shape[-1], new.shape[-1]
    blocks = [block for block in tokenizer.decoder if isinstance(block, Block)]
    seen = shared + horizon
    cos, sin = blocks[0].self_attn.rotary(seen) if blocks else (torch.empty(seen, 0), torch.empty(seen, 0))
    x = tokenizer.embed_ids(*history)
    memories: list[Memory] = []
    for block in blocks:
        x, memory = _through(block, x, None, (cos[:shared], sin[:shared]))
        memories.append(memory)
    last = tokenizer.head(x[:, -1])
    pieces = []
    for ids in new.split(count, dim=2):
        x = tokenizer.embed_ids(*ids.flatten(1, 2))
        for block, memory in zip(blocks, memories, strict=True):
            x, _ = _through(block, x, memory, (cos[shared:], sin[shared:]))
        pieces.append(tokenizer.head(x).unflatten(0, ids.shape[1:3]))
    return torch.cat(pieces, dim=1), last


def _through(block: Block, x: Tensor, before: Memory | None, rotary: RotaryTable) -> tuple[Tensor, Memory]:
    """Rows x (B, T, dim) through a block -> rows, and their keys and values.

    They see those of the rows `before` them as well: of as many series, each of which is before B / series entries of x.
    """
    attention, rows = block.self_attn, x.shape[1]
    joint = F.linear(block.norm1(x), attention.in_proj_weight, attention.in_proj_bias)
    q, k, v = (attention.split_heads(part) for part in joint.chunk(3, dim=-1))
    q, k = rotate(q, rotary), rotate(k, rotary)
    mask = None
    if before is not None:
        k, v = (_joined(old, own) for old, own in zip(before, (k, v), strict=True))
        mask = torch.ones(rows, k.shape[2], dtype=torch.bool, device=x.device).tril(k.shape[2] - rows)
    out = F.scaled_dot_product_attention(q, k, v, attn_mask=mask, is_causal=mask is None)
    x = x + attention.out_proj(out.transpose(1, 2).flatten(-2))
    return x + block.ffn(block.norm2(x)), (k, v)


def _joined(old: Tensor, own: Tensor) -> Tensor:
    """(series, heads, shared, d) before each of the paths (series * paths, heads, rows, d) -> (series * paths, heads, all, d)."""
    own = own.unflatten(0, (len(old), -1))
    return torch.cat((old[:, None].expand(-1, own.shape[1], -1, -1, -1), own), dim=3).flatten(0, 1)

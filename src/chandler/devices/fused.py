# mypy: disable-error-code="no-untyped-def,no-untyped-call,untyped-decorator"
"""Kernels for GPUs, in Triton: what lies between two products of a block in one pass over memory, the attention of a step over
exactly the rows that there are, and a draw. `kernels` says where they can be used; elsewhere torch's operators do the same.

A block of torch's operators reads and writes its rows some thirty times, a third of which is needed. Numbers are float32
inside, whatever the tensors hold, and rounded once, when they are written.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

COLUMNS = 64
"""Columns of a cache that are read at once, at most."""


@triton.jit
def _add_norm(x, more, out, dim, eps, ADD: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64) * dim
    place = tl.arange(0, BLOCK)
    there = place < dim
    value = tl.load(x + row + place, mask=there, other=0.0).to(tl.float32)
    if ADD:
        value += tl.load(more + row + place, mask=there, other=0.0).to(tl.float32)
        tl.store(x + row + place, value, mask=there)
    scale = 1.0 / tl.sqrt(tl.sum(value * value, 0) / dim + eps)
    tl.store(out + row + place, (value * scale).to(out.dtype.element_ty), mask=there)


@triton.jit
def _turn(x, turn, stride, pairs, HALF: tl.constexpr, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    pair, two = tl.arange(0, BLOCK), tl.arange(0, 2)
    there = (pair < pairs)[:, None]
    at = x + row * stride + pair[:, None] * 2 + two[None, :]
    real, imaginary = tl.split(tl.load(at, mask=there, other=0.0).to(tl.float32))
    by = turn + row * (2 * HALF) + (pair % HALF)[:, None] * 2 + two[None, :]
    cos, sin = tl.split(tl.load(by, mask=there, other=0.0))
    turned = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
    tl.store(at, turned.to(x.dtype.element_ty), mask=there)


@triton.jit
def _gated(both, out, width, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    there = place < width
    gate = tl.load(both + row * 2 * width + place, mask=there, other=0.0).to(tl.float32)
    up = tl.load(both + row * 2 * width + width + place, mask=there, other=0.0).to(tl.float32)
    value = gate / (1.0 + tl.exp(-gate)) * up
    tl.store(out + row * width + place, value.to(out.dtype.element_ty), mask=there)


@triton.jit
def _attend(
    q, memory, ends, out, stride, columns, values, WIDTH: tl.constexpr, BLOCK: tl.constexpr, COLUMNS: tl.constexpr
):
    series, head, heads = tl.program_id(0).to(tl.int64), tl.program_id(1), tl.num_programs(1)
    place, column = tl.arange(0, BLOCK), tl.arange(0, COLUMNS)
    inside = place < WIDTH
    end = tl.load(ends + series)
    query = tl.load(q + series * stride + head * WIDTH + place, mask=inside, other=0.0).to(tl.float32)
    at = memory + (series * heads + head) * columns * WIDTH + column[:, None] * WIDTH + place[None, :]
    # Each of COLUMNS lanes keeps a softmax of its own over every COLUMNS-th row: they are joined once, at the end.
    most = tl.full([COLUMNS], -1e30, tl.float32)
    total = tl.zeros([COLUMNS], tl.float32)
    read = tl.zeros([COLUMNS, BLOCK], tl.float32)
    for first in range(0, end, COLUMNS):
        seen = first + column < end
        there = seen[:, None] & inside[None, :]
        key = tl.load(at + first * WIDTH, mask=there, other=0.0).to(tl.float32)
        value = tl.load(at + values + first * WIDTH, mask=there, other=0.0).to(tl.float32)
        score = tl.where(seen, tl.sum(key * query[None, :], 1), -1e30)
        higher = tl.maximum(most, score)
        fade = tl.exp(most - higher)
        weight = tl.where(seen, tl.exp(score - higher), 0.0)
        total = total * fade + weight
        read = read * fade[:, None] + weight[:, None] * value
        most = higher
    share = tl.exp(most - tl.max(most, 0))
    read = tl.sum(read * share[:, None], 0) / tl.sum(total * share, 0)
    tl.store(out + (series * heads + head) * WIDTH + place, read.to(out.dtype.element_ty), mask=inside)


@triton.jit
def _drawn(logits, uniforms, out, row_stride, uniform_stride, count, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, BLOCK)
    value = tl.load(logits + row * row_stride + place, mask=place < count, other=float("-inf"))
    weight = tl.exp(value - tl.max(value, 0))
    reached = tl.cumsum(weight, 0)
    target = tl.load(uniforms + row * uniform_stride) * tl.sum(weight, 0)
    # Sums round: what has no weight is not chosen for that, and a target above them all takes the last that has some.
    first = tl.min(tl.where((reached > target) & (weight > 0), place, count), 0)
    last = tl.max(tl.where(weight > 0, place, 0), 0)
    tl.store(out + row, tl.minimum(first, last).to(tl.int64))


def add_norm(x: Tensor, more: Tensor | None, eps: float, dtype: torch.dtype) -> Tensor:
    """x / rms(x) in `dtype`, after x += more.

    Args:
        x: (rows, dim) float32, contiguous; changed in place.
        more: (rows, dim), contiguous, of any float type; None: nothing is added.
    """
    rows, dim = x.shape
    assert x.is_contiguous()
    assert more is None or more.is_contiguous()
    out = torch.empty_like(x, dtype=dtype)
    _add_norm[(rows,)](x, x if more is None else more, out, dim, eps, ADD=more is not None, BLOCK=_block(dim))
    return out


def turn_(x: Tensor, turn: Tensor, heads: int) -> None:
    """Turn pairs of neighbours in the first `heads` heads of x (rows, some) by turn (rows, 1, half of a head), complex; in place."""
    half = turn.shape[-1]
    assert x.stride(1) == 1
    assert turn.is_contiguous()
    pairs = heads * half
    _turn[(len(x),)](x, torch.view_as_real(turn), x.stride(0), pairs, HALF=half, BLOCK=_block(pairs))


def gated(both: Tensor) -> Tensor:
    """silu(gate) x up of both (rows, 2 x width), contiguous: gate and up side by side -> (rows, width)."""
    assert both.is_contiguous()
    rows, width = both.shape[0], both.shape[1] // 2
    out = both.new_empty(rows, width)
    block = min(1024, _block(width))
    _gated[(rows, triton.cdiv(width, block))](both, out, width, BLOCK=block)
    return out


def attend(q: Tensor, memory: Tensor, ends: Tensor) -> Tensor:
    """Attention of one query for each series over the first rows of its memory.

    Args:
        q: (series, heads, width), scaled already; rows may lie apart.
        memory: keys and values, (2, series, heads, columns, width), contiguous.
        ends: (series,) int64: how many columns hold rows, at least 1.

    Returns:
        (series, heads * width), of the dtype of q.
    """
    _, series, heads, columns, width = memory.shape
    assert memory.is_contiguous()
    assert q.stride()[1:] == (width, 1)
    out = q.new_empty(series, heads * width)
    _attend[(series, heads)](
        q, memory, ends, out, q.stride(0), columns, memory.stride(0), WIDTH=width, BLOCK=_block(width),
        COLUMNS=_columns(width), num_warps=8 if width > 128 else 4,
    )  # fmt: skip
    return out


def drawn(logits: Tensor, uniforms: Tensor) -> Tensor:
    """`nn.draw` of softmax(logits): logits (rows, V) float32, -inf where a token is excluded; uniforms (rows,) -> ids (rows,)."""
    rows, count = logits.shape
    assert logits.stride(1) == 1
    out = torch.empty(rows, dtype=torch.long, device=logits.device)
    _drawn[(rows,)](logits, uniforms, out, logits.stride(0), uniforms.stride(0), count, BLOCK=_block(count))
    return out


def _block(size: int) -> int:
    return int(triton.next_power_of_2(size))


def _columns(width: int) -> int:
    """As many as make a tile of 4,096 numbers: what is summed up stays in registers."""
    return max(8, min(COLUMNS, 4096 // _block(width)))

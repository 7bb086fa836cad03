"""What a block computes beside matrix products, written for speed on a CPU as well: rotation, norms, gates, dropout, attention."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

RotaryTable = tuple[Tensor, Tensor]
"""cos and sin, each (T, head_dim), of T consecutive positions."""
LONGEST_PLAIN = 256
"""Rows up to which attention without dropout is trained through its whole matrix of weights on a CPU."""


class _Rotate(torch.autograd.Function):
    """x turned by its angles; the gradient is turned back by them. Two passes over x where autograd would make ten."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return _turned(x, cos, sin, 1.0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        cos, sin = ctx.saved_tensors
        return _turned(gradients[0], cos, sin, -1.0), None, None


def _turned(x: Tensor, cos: Tensor, sin: Tensor, sign: float) -> Tensor:
    half = x.shape[-1] // 2
    out = x * cos
    out[..., :half].addcmul_(x[..., half:], sin[..., :half], value=-sign)
    out[..., half:].addcmul_(x[..., :half], sin[..., half:], value=sign)
    return out


def rotate(x: Tensor, table: RotaryTable) -> Tensor:
    """Rotate x (..., T, head_dim) by the table of its T positions; the halves (a, b) become (-b, a)."""
    cos, sin = table
    turned: Tensor = _Rotate.apply(x, cos.to(x.dtype), sin.to(x.dtype))
    return turned


class _RMSNorm(torch.autograd.Function):
    """x / sqrt(mean(x^2) + eps) * weight in float32, with half the passes over memory that autograd makes."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, eps: float) -> Tensor:
        norm = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
        scale = norm.square_().div_(x.shape[-1]).add_(eps).rsqrt_()
        ctx.save_for_backward(x, weight, scale)
        return (x * scale).mul_(weight)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        # y_i = w_i s x_i with s = (mean(x^2) + eps)^(-1/2), so dx = s (w g) - x s^3 mean(w g x).
        (gradient,) = gradients
        x, weight, scale = ctx.saved_tensors
        product = gradient * x
        rows = product.flatten(0, -2)
        # As a product with a vector: `sum(0)` takes several times as long.
        of_weight = scale.flatten() @ rows
        along = (rows @ weight).view(scale.shape).mul_(scale.pow(3)).div_(x.shape[-1])
        of_x = torch.mul(gradient, weight, out=product).mul_(scale).addcmul_(x, along, value=-1)
        return of_x, of_weight, None


def rms_norm(x: Tensor, weight: Tensor, eps: float) -> Tensor:
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32, in the dtype of x."""
    if x.device.type == "cpu" and torch.is_grad_enabled() and not torch.compiler.is_compiling():
        made: Tensor = _RMSNorm.apply(x.float(), weight.float(), eps)
        return made.to(x.dtype)
    return F.rms_norm(x.float(), weight.shape, weight.float(), eps).to(x.dtype)


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up of both laid side by side; their gradients are written side by side as well."""

    @staticmethod
    def forward(ctx: Any, gate_up: Tensor) -> Tensor:
        ctx.save_for_backward(gate_up)
        gate, up = gate_up.chunk(2, dim=-1)
        return F.silu(gate).mul_(up)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (gradient,), (gate_up,) = gradients, ctx.saved_tensors
        gate, up = gate_up.chunk(2, dim=-1)
        out = torch.empty_like(gate_up)
        of_gate, of_up = out.chunk(2, dim=-1)
        torch.mul(F.silu(gate), gradient, out=of_up)
        torch.ops.aten.silu_backward.grad_input(gradient * up, gate, grad_input=of_gate)
        return out


def swiglu(gate_up: Tensor) -> Tensor:
    """silu(gate) * up (Shazeer 2020): (..., 2 hidden), gate first -> (..., hidden)."""
    if gate_up.device.type == "cpu" and not torch.compiler.is_compiling():
        made: Tensor = _SwiGLU.apply(gate_up)
        return made
    gate, up = gate_up.chunk(2, dim=-1)
    return F.silu(gate) * up


def dropout(x: Tensor, p: float) -> Tensor:
    """Elements of x are 0 with probability p (to within 2^-17), the others x / (1 - p) (Srivastava et al. 2014).

    On a CPU torch draws one random word for each element, which took a quarter of a training step. Here four
    elements share a word of 64 bits.
    """
    if x.device.type != "cpu" or not 0 < p < 1 or torch.compiler.is_compiling():
        return F.dropout(x, p)
    words = torch.empty(-(-x.numel() // 4), dtype=torch.int64, device=x.device).random_(-(2**63), None)
    bits = words.view(torch.int16)[: x.numel()].view(x.shape)
    kept = (bits >= round(p * 2**16) - 2**15).to(x.dtype)
    return x * kept.mul_(1 / (1 - p))


def exact(layer: nn.Linear, x: Tensor) -> Tensor:
    """layer(x) in the number format of its weights, under autocast too: for narrow layers, where speed gains nothing."""
    with torch.autocast(x.device.type, enabled=False):
        out: Tensor = layer(x.to(layer.weight.dtype))
    return out


class Dropout(nn.Dropout):
    """`dropout` in train mode, nothing in eval mode."""

    def forward(self, input: Tensor) -> Tensor:
        return dropout(input, self.p) if self.training else input


def attention(q: Tensor, k: Tensor, v: Tensor, *, causal: bool, dropout_p: float) -> Tensor:
    """softmax(q k^T / sqrt(head_dim)) v, with dropout of the weights.

    Args:
        q: (B, heads, Tq, head_dim). k, v: (B, heads, T, head_dim).
        causal: row i sees rows 0 .. i; then Tq = T.

    Returns:
        (B, heads, Tq, head_dim).
    """
    trained = torch.is_grad_enabled() and q.requires_grad and q.device.type == "cpu"
    # The fused kernel for CPUs has no dropout, and its backward pass is slow in bfloat16.
    if not trained or (dropout_p == 0 and k.shape[-2] > LONGEST_PLAIN):
        return F.scaled_dot_product_attention(q, k, v, dropout_p=dropout_p, is_causal=causal)
    scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
    if causal:
        future = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).triu_(1)
        scores = scores + torch.zeros_like(future, dtype=scores.dtype).masked_fill_(future, -torch.inf)
    return dropout(scores.softmax(-1), dropout_p) @ v if dropout_p else scores.softmax(-1) @ v

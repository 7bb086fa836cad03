"""The blocks that tokenizer and predictor share: RMSNorm, rotary attention, SwiGLU.

Parameters are stored joint where that saves memory traffic (q, k, v in one matrix; gate and up in one), while
`state_dict()` speaks the released names (`q_proj`, `w1`, ...): one format on disk, the fast one in memory.
Blocks are causal, in train and in eval mode alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from chandler.nn.functional import Dropout, RotaryTable, attention, rms_norm, rotate, swiglu


class JointParameters(nn.Module):
    """A module whose joint parameters are saved and loaded as the several tensors of the released format.

    Subclasses set `released_parts`: own parameter name -> the released names, in the order in which they
    are stacked along the first axis (all of equal height).
    """

    released_parts: ClassVar[Mapping[str, tuple[str, ...]]] = {}

    def __init__(self) -> None:
        super().__init__()
        self.lora: nn.ModuleDict | None = None
        """Low-rank adapters by released name of the projection ("q_proj"); see `chandler.nn.lora`."""

    def _adapted(self, outputs: tuple[Tensor, ...], x: Tensor, names: tuple[str, ...]) -> tuple[Tensor, ...]:
        """The projections `names` of x, each with what its adapter adds where it has one."""
        lora = self.lora
        if lora is None:
            return outputs
        return tuple(lora[name](x, out) if name in lora else out for name, out in zip(names, outputs, strict=True))

    def _save_to_state_dict(self, destination: dict[str, Any], prefix: str, keep_vars: bool) -> None:
        super()._save_to_state_dict(destination, prefix, keep_vars)
        for joint, names in self.released_parts.items():
            tensor = destination.pop(prefix + joint)
            for name, part in zip(names, tensor.chunk(len(names)), strict=True):
                destination[prefix + name] = part

    def _load_from_state_dict(
        self, state_dict: dict[str, Any], prefix: str, local_metadata: Any, strict: bool, missing: list[str], *rest: Any
    ) -> None:
        # torch gives every module a dict of its own: released names can make way for the joint ones in place.
        for joint, names in self.released_parts.items():
            absent = [prefix + name for name in names if prefix + name not in state_dict]
            missing.extend(absent)
            parts = [state_dict.pop(prefix + name, None) for name in names]
            state_dict[prefix + joint] = (
                getattr(self, joint).detach() if absent else torch.cat([part for part in parts if part is not None])
            )
        super()._load_from_state_dict(state_dict, prefix, local_metadata, strict, missing, *rest)


class RMSNorm(nn.Module):
    """x / sqrt(mean(x^2) + eps) * weight over the last axis, computed in float32 (Zhang & Sennrich 2019)."""

    eps = 1e-5

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        """x (..., dim) -> (..., dim), in the dtype of x."""
        return rms_norm(x, self.weight, self.eps)


class Rotary(nn.Module):
    """Rotary position tables over a whole head, base 10000 (Su et al. 2021), half-split layout."""

    inv_freq: Tensor

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        inv_freq = 1.0 / (10000.0 ** (torch.arange(0, head_dim, 2, dtype=torch.float32) / head_dim))
        self.register_buffer("inv_freq", inv_freq)

    def forward(self, length: int) -> RotaryTable:
        """cos and sin (length, head_dim), float32, of positions 0 .. length - 1."""
        positions = torch.arange(length, device=self.inv_freq.device, dtype=torch.float32)
        angles = torch.outer(positions, self.inv_freq.float())
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos(), angles.sin()


class Attention(JointParameters):
    """Multi-head attention with biased projections; q, k, v live in one matrix `in_proj` (3 dim, dim)."""

    released_parts: ClassVar[Mapping[str, tuple[str, ...]]] = {
        "in_proj_weight": ("q_proj.weight", "k_proj.weight", "v_proj.weight"),
        "in_proj_bias": ("q_proj.bias", "k_proj.bias", "v_proj.bias"),
    }

    def __init__(self, dim: int, n_heads: int, attn_dropout: float = 0.0, resid_dropout: float = 0.0) -> None:
        super().__init__()
        if dim % (2 * n_heads):
            raise ValueError(f"d_model {dim} must be a multiple of 2 x n_heads ({n_heads}) for rotary halves")
        self.n_heads = n_heads
        self.head_dim = dim // n_heads
        self.attn_dropout = attn_dropout
        self.in_proj_weight = nn.Parameter(torch.empty(3 * dim, dim))
        self.in_proj_bias = nn.Parameter(torch.empty(3 * dim))
        self.out_proj = nn.Linear(dim, dim)
        self.resid_dropout = Dropout(resid_dropout)
        self.rotary = Rotary(self.head_dim)

    def split_heads(self, x: Tensor) -> Tensor:
        """(B, T, heads * head_dim) -> (B, heads, T, head_dim)."""
        return x.reshape(*x.shape[:-1], self.n_heads, self.head_dim).transpose(1, 2)

    def forward(self, x: Tensor, rotary: RotaryTable) -> Tensor:
        """Causal self-attention: x (B, T, dim) -> (B, T, dim)."""
        qkv = F.linear(x, self.in_proj_weight, self.in_proj_bias).chunk(3, dim=-1)
        q, k, v = self._adapted(qkv, x, ("q_proj", "k_proj", "v_proj"))
        return self._attend(q, k, v, causal=True, rotary=rotary)

    def cross(self, query: Tensor, memory: Tensor, *, causal: bool, rotary: RotaryTable | None) -> Tensor:
        """query (B, Tq, dim) over memory (B, T, dim) -> (B, Tq, dim).

        With `causal`, query row i sees memory rows 0 .. i (so Tq = T). `rotary` None leaves q and k without positions.
        """
        dim = memory.shape[-1]
        assert not causal or query.shape[1] == memory.shape[1], "the causal mask aligns row by row"
        q = F.linear(query, self.in_proj_weight[:dim], self.in_proj_bias[:dim])
        kv = F.linear(memory, self.in_proj_weight[dim:], self.in_proj_bias[dim:]).chunk(2, dim=-1)
        (q,), (k, v) = self._adapted((q,), query, ("q_proj",)), self._adapted(kv, memory, ("k_proj", "v_proj"))
        return self._attend(q, k, v, causal=causal, rotary=rotary)

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, *, causal: bool, rotary: RotaryTable | None) -> Tensor:
        q, k, v = self.split_heads(q), self.split_heads(k), self.split_heads(v)
        if rotary is not None:
            # The query stands at the end of the memory: the last Tq positions of the table are its own.
            cos, sin = rotary
            tq = q.shape[-2]
            q, k = rotate(q, (cos[-tq:], sin[-tq:])), rotate(k, rotary)
        dropout = self.attn_dropout if self.training else 0.0
        out = attention(q, k, v, causal=causal, dropout_p=dropout)
        return self.resid_dropout(self.out_proj(out.transpose(1, 2).flatten(-2)))


class FeedForward(JointParameters):
    """SwiGLU (Shazeer 2020): w2(silu(w1 x) * w3 x), no biases; w1 and w3 live in one matrix."""

    released_parts: ClassVar[Mapping[str, tuple[str, ...]]] = {"gate_up_weight": ("w1.weight", "w3.weight")}

    def __init__(self, dim: int, hidden: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.gate_up_weight = nn.Parameter(torch.empty(2 * hidden, dim))
        self.w2 = nn.Linear(hidden, dim, bias=False)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """x (..., dim) -> (..., dim)."""
        gate_up = F.linear(x, self.gate_up_weight)
        if self.lora is not None:
            gate_up = torch.cat(self._adapted(gate_up.chunk(2, dim=-1), x, ("w1", "w3")), dim=-1)
        return self.dropout(self.w2(swiglu(gate_up)))


class Block(nn.Module):
    """Pre-norm transformer block: x += attention(norm(x)); x += ffn(norm(x))."""

    def __init__(
        self, dim: int, n_heads: int, ff_dim: int, ffn_dropout: float, attn_dropout: float, resid_dropout: float
    ) -> None:
        super().__init__()
        self.norm1 = RMSNorm(dim)
        self.self_attn = Attention(dim, n_heads, attn_dropout, resid_dropout)
        self.norm2 = RMSNorm(dim)
        self.ffn = FeedForward(dim, ff_dim, ffn_dropout)

    def forward(self, x: Tensor, rotary: RotaryTable) -> Tensor:
        """x (B, T, dim) -> (B, T, dim), causal."""
        x = x + self.self_attn(self.norm1(x), rotary)
        return x + self.ffn(self.norm2(x))


def make_blocks(config: Any, count: int) -> nn.ModuleList:
    """So many blocks by the sizes and rates of a config, which both models have under the same names."""
    c = config
    sizes = c.d_model, c.n_heads, c.ff_dim, c.ffn_dropout_p, c.attn_dropout_p, c.resid_dropout_p
    return nn.ModuleList(Block(*sizes) for _ in range(count))


def run_blocks(blocks: nn.ModuleList, x: Tensor, *, checkpointing: bool) -> Tensor:
    """x (B, T, dim) through all blocks, causal, with one rotary table for all of them.

    With `checkpointing` (while gradients are recorded) a block keeps its input only and is computed again in the
    backward pass: memory for about a third more time (Chen et al. 2016).
    """
    again, rotary = checkpointing and torch.is_grad_enabled(), None
    for block in blocks:
        if rotary is None:
            assert isinstance(block, Block)
            rotary = block.self_attn.rotary(x.shape[1])
        x = checkpoint(block, x, rotary, use_reentrant=False) if again else block(x, rotary)
    return x


def initialise(model: nn.Module, generator: torch.Generator | None = None) -> None:
    """Set every weight as when training from scratch (in place).

    Linear weights Xavier normal, biases 0, embeddings normal with standard deviation dim^-1/2, norms 1.
    Joint matrices are drawn part by part, since Xavier depends on the shape of each part. Embeddings that
    are not trained (the fixed time sinusoids) keep their values.
    """
    for module in model.modules():
        if isinstance(module, nn.Linear):
            nn.init.xavier_normal_(module.weight, generator=generator)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.Embedding) and module.weight.requires_grad:
            nn.init.normal_(module.weight, std=module.embedding_dim**-0.5, generator=generator)
        elif isinstance(module, RMSNorm):
            nn.init.ones_(module.weight)
        elif isinstance(module, JointParameters):
            for joint, names in module.released_parts.items():
                for part in getattr(module, joint).detach().chunk(len(names)):
                    if part.ndim > 1:
                        nn.init.xavier_normal_(part, generator=generator)
                    else:
                        nn.init.zeros_(part)

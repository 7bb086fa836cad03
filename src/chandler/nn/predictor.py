"""The predictor: an autoregressive transformer over token pairs, coarse (s1) first, then fine (s2) given s1."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Literal

import torch
from torch import Tensor, nn

from chandler.checkpoint import PretrainedMixin
from chandler.nn.functional import Dropout
from chandler.nn.layers import Attention, RMSNorm, initialise, make_blocks, run_blocks

DependencyPositions = Literal["reference", "rotary"]
"""How the dependency-aware layer sees positions when one new step is decoded.

"reference": not at all, neither query nor keys are rotated. The released weights were always sampled this way.
"rotary": as in training, the query rotated to the last position and every key to its own.
"""

TIME_TABLES = {"minute": 60, "hour": 24, "weekday": 7, "day": 32, "month": 13}
"""Rows of the five time embeddings, in the order of the time features."""


@dataclass(frozen=True)
class PredictorConfig:
    """The keys of a released predictor's config.json; the defaults are those of Kronos-small."""

    s1_bits: int = 10
    s2_bits: int = 10
    n_layers: int = 8
    d_model: int = 512
    n_heads: int = 8
    ff_dim: int = 1024
    ffn_dropout_p: float = 0.25
    attn_dropout_p: float = 0.1
    resid_dropout_p: float = 0.25
    token_dropout_p: float = 0.1
    learn_te: bool = True


class TokenEmbedding(nn.Module):
    """Fuses a token pair into one vector: Linear(2d -> d) of both embeddings, scaled by sqrt(d)."""

    def __init__(self, s1_bits: int, s2_bits: int, dim: int) -> None:
        super().__init__()
        self.emb_s1 = nn.Embedding(2**s1_bits, dim)
        self.emb_s2 = nn.Embedding(2**s2_bits, dim)
        self.fusion_proj = nn.Linear(2 * dim, dim)
        self.scale = math.sqrt(dim)

    def forward(self, s1: Tensor, s2: Tensor) -> Tensor:
        """s1, s2 (B, T) -> (B, T, dim)."""
        return self.fusion_proj(torch.cat((self.emb_s1(s1), self.emb_s2(s2)), dim=-1) * self.scale)


class _FixedTable(nn.Module):
    """A sinusoid table that is not trained (Vaswani et al. 2017); released under `.emb.weight`."""

    def __init__(self, rows: int, dim: int) -> None:
        super().__init__()
        angles = torch.outer(
            torch.arange(rows, dtype=torch.float32),
            torch.exp(torch.arange(0, dim, 2, dtype=torch.float32) * (-math.log(10000.0) / dim)),
        )
        table = torch.stack((angles.sin(), angles.cos()), dim=-1).flatten(-2)[:, :dim]
        self.emb = nn.Embedding(rows, dim, _weight=table)
        self.emb.weight.requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.emb(x)


class TimeEmbedding(nn.Module):
    """The sum of five tables: minute, hour, weekday, day of month, month."""

    def __init__(self, dim: int, learned: bool) -> None:
        super().__init__()
        for name, rows in TIME_TABLES.items():
            table = nn.Embedding(rows, dim) if learned else _FixedTable(rows, dim)
            setattr(self, f"{name}_embed", table)

    def forward(self, stamps: Tensor) -> Tensor:
        """stamps (B, T, 5), integral -> (B, T, dim)."""
        tables = (getattr(self, f"{name}_embed")(stamps[..., i].long()) for i, name in enumerate(TIME_TABLES))
        return reduce(torch.add, tables)


class DependencyLayer(nn.Module):
    """Looks back over the hidden states, asking with the s1 token just chosen; 4 heads whatever the model has."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.cross_attn = Attention(dim, 4)
        self.norm = RMSNorm(dim)

    def forward(self, hidden: Tensor, query: Tensor, *, causal: bool, positions: DependencyPositions) -> Tensor:
        """hidden (B, T, dim), query (B, Tq, dim) with Tq = T (causal) or Tq <= T of the last rows -> (B, Tq, dim)."""
        rotary = self.cross_attn.rotary(hidden.shape[1]) if positions == "rotary" else None
        attended = self.cross_attn.cross(query, hidden, causal=causal, rotary=rotary)
        return self.norm(hidden[:, -query.shape[1] :] + attended)


class Heads(nn.Module):
    """The two output projections."""

    def __init__(self, s1_bits: int, s2_bits: int, dim: int) -> None:
        super().__init__()
        self.proj_s1 = nn.Linear(dim, 2**s1_bits)
        self.proj_s2 = nn.Linear(dim, 2**s2_bits)


class Kronos(PretrainedMixin, nn.Module):
    """The predictor. Load released weights with `Kronos.from_pretrained(path_or_repo)`;
    `Kronos(config)` has random weights, drawn from `generator`.
    """

    config_class = PredictorConfig
    part = "predictor"

    def __init__(self, config: PredictorConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = c = config or PredictorConfig()
        self.checkpointing = False
        self.embedding = TokenEmbedding(c.s1_bits, c.s2_bits, c.d_model)
        self.time_emb = TimeEmbedding(c.d_model, c.learn_te)
        self.token_drop = Dropout(c.token_dropout_p)
        self.transformer = make_blocks(c, c.n_layers)
        self.norm = RMSNorm(c.d_model)
        self.dep_layer = DependencyLayer(c.d_model)
        self.head = Heads(c.s1_bits, c.s2_bits, c.d_model)
        initialise(self, generator)

    def hidden(self, s1: Tensor, s2: Tensor, stamps: Tensor | None = None) -> Tensor:
        """Token ids s1, s2 (B, T) and time features (B, T, 5) -> hidden states h (B, T, d_model), causal."""
        x = self.embedding(s1, s2)
        if stamps is not None:
            x = x + self.time_emb(stamps)
        return self.norm(run_blocks(self.transformer, self.token_drop(x), checkpointing=self.checkpointing))

    def s1_logits(self, hidden: Tensor) -> Tensor:
        """h (B, T, d_model) -> (B, T, 2^s1_bits): logits of the coarse token of the next row."""
        return self.head.proj_s1(hidden)

    def s2_logits(
        self,
        hidden: Tensor,
        s1: Tensor,
        *,
        causal: bool = True,
        positions: DependencyPositions = "rotary",
    ) -> Tensor:
        """Logits of the fine token of the next row, given the coarse one.

        Args:
            hidden: h (B, T, d_model).
            s1: coarse ids (B, Tq) chosen for the rows being predicted: Tq = T with `causal`; otherwise the
                queries stand at the last Tq rows and see all of h.
            causal: whether query i sees hidden states 0 .. i only.
            positions: see `DependencyPositions`; training and validation use "rotary".

        Returns:
            (B, Tq, 2^s2_bits).
        """
        query = self.embedding.emb_s1(s1)
        return self.head.proj_s2(self.dep_layer(hidden, query, causal=causal, positions=positions))

    def forward(self, s1: Tensor, s2: Tensor, stamps: Tensor | None, condition: Tensor) -> tuple[Tensor, Tensor]:
        """The training pass, causal throughout.

        Args:
            s1: coarse ids of the input rows, (B, T).
            s2: fine ids of the input rows, (B, T).
            stamps: time features of the input rows, (B, T, 5), or None.
            condition: what s2 is conditioned on: either true next coarse ids (B, T) int64, or uniform random
                numbers (B, T) float in [0, 1), with which s1 is drawn from the model's own distribution
                (detached). Handing the randomness in keeps a step the same on any number of processes.

        Returns:
            s1 logits (B, T, 2^s1_bits) and s2 logits (B, T, 2^s2_bits), both of the next row.
        """
        h = self.hidden(s1, s2, stamps)
        s1_logits = self.s1_logits(h)
        if condition.is_floating_point():
            condition = draw(torch.softmax(s1_logits.detach().float(), dim=-1), condition)
        return s1_logits, self.s2_logits(h, condition)


def draw(probabilities: Tensor, uniforms: Tensor) -> Tensor:
    """Inverse-CDF sampling: probabilities (..., V) >= 0 (any positive sum), uniforms (...,) in [0, 1) -> ids (...,).

    The result depends on nothing but its arguments, so it is the same however rows are batched or sharded.
    """
    cdf = probabilities.cumsum(-1)
    target = uniforms[..., None].to(cdf.dtype) * cdf[..., -1:]
    ids = torch.searchsorted(cdf, target, right=True).squeeze(-1)
    # A target rounded up to the total would fall off the end: take the last id with any probability.
    last = (cdf < cdf[..., -1:]).sum(-1)
    return torch.minimum(ids, last)

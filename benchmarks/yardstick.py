"""The loop that training is measured against: the shape that Kronos trainers usually have.

Windows are sliced from data frames one by one in a Dataset, every projection is a module of its own, norms and
sampling are written out, AdamW is not fused, everything is float32. It computes the same losses, on any device.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from chandler.nn.predictor import PredictorConfig
from chandler.nn.tokenizer import TokenizerConfig

COLUMNS = ["open", "high", "low", "close", "volume", "amount"]
STAMPS = ["minute", "hour", "weekday", "day", "month"]


class FrameDataset(Dataset):
    """Slices one window of a frame at a time and normalises it with numpy."""

    def __init__(self, frames: list[pd.DataFrame], length: int, lookback: int, windows: int, seed: int) -> None:
        self.frames, self.length, self.lookback, self.windows = frames, length, lookback, windows
        self.places = [(i, j) for i, frame in enumerate(frames) for j in range(len(frame) - length + 1)]
        self.random = np.random.default_rng(seed)

    def __len__(self) -> int:
        return self.windows

    def __getitem__(self, _: int) -> tuple[Tensor, Tensor]:
        symbol, start = self.places[self.random.integers(len(self.places))]
        window = self.frames[symbol].iloc[start : start + self.length]
        x = window[COLUMNS].values.astype(np.float32)
        stamps = window[STAMPS].values.astype(np.float32)
        mean, std = x[: self.lookback].mean(axis=0), x[: self.lookback].std(axis=0)
        x = np.clip((x - mean) / (std + 1e-5), -5, 5)
        return torch.from_numpy(x), torch.from_numpy(stamps)


def loader(frames: list[pd.DataFrame], length: int, lookback: int, windows: int, batch: int) -> DataLoader:
    """Batches of windows, in this process."""
    return DataLoader(FrameDataset(frames, length, lookback, windows, 0), batch_size=batch, num_workers=0)


class Norm(nn.Module):
    """RMSNorm, written out."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))

    def forward(self, x: Tensor) -> Tensor:
        x32 = x.float()
        return (x32 * torch.rsqrt(torch.mean(x32 * x32, dim=-1, keepdim=True) + 1e-5)).type_as(x) * self.weight


class Positions(nn.Module):
    """Rotary embedding of q and k; the tables are kept for a length."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", 1.0 / (10000 ** (torch.arange(0, dim, 2).float() / dim)))
        self.kept: tuple[int, Tensor, Tensor] | None = None

    def forward(self, q: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        length = q.shape[-2]
        if self.kept is None or self.kept[0] != length:
            rows = torch.arange(length, device=self.inv_freq.device).float()
            angles = torch.einsum("i,j->ij", rows, self.inv_freq)
            both = torch.cat((angles, angles), dim=-1)
            self.kept = (length, both.cos()[None, None], both.sin()[None, None])
        _, cos, sin = self.kept

        def turn(x: Tensor) -> Tensor:
            a, b = x.chunk(2, dim=-1)
            return torch.cat((-b, a), dim=-1)

        return q * cos + turn(q) * sin, k * cos + turn(k) * sin


class Attention(nn.Module):
    """Separate q, k, v and output projections."""

    def __init__(self, dim: int, heads: int, attn_p: float, resid_p: float) -> None:
        super().__init__()
        self.heads, self.attn_p = heads, attn_p
        self.q, self.k, self.v, self.out = (nn.Linear(dim, dim) for _ in range(4))
        self.rotary = Positions(dim // heads)
        self.drop = nn.Dropout(resid_p)

    def forward(self, x: Tensor, memory: Tensor | None = None) -> Tensor:
        memory = x if memory is None else memory

        def split(t: Tensor) -> Tensor:
            return t.view(*t.shape[:2], self.heads, -1).transpose(1, 2)

        q, k, v = split(self.q(x)), split(self.k(memory)), split(self.v(memory))
        q, k = self.rotary(q, k)
        p = self.attn_p if self.training else 0.0
        out = F.scaled_dot_product_attention(q, k, v, dropout_p=p, is_causal=True)
        return self.drop(self.out(out.transpose(1, 2).contiguous().view(x.shape)))


class Feed(nn.Module):
    """SwiGLU of three modules."""

    def __init__(self, dim: int, hidden: int, p: float) -> None:
        super().__init__()
        self.w1, self.w3 = nn.Linear(dim, hidden, bias=False), nn.Linear(dim, hidden, bias=False)
        self.w2, self.drop = nn.Linear(hidden, dim, bias=False), nn.Dropout(p)

    def forward(self, x: Tensor) -> Tensor:
        return self.drop(self.w2(F.silu(self.w1(x)) * self.w3(x)))


class Layer(nn.Module):
    """Pre-norm block."""

    def __init__(self, c: Any) -> None:
        super().__init__()
        self.norm1, self.norm2 = Norm(c.d_model), Norm(c.d_model)
        self.attention = Attention(c.d_model, c.n_heads, c.attn_dropout_p, c.resid_dropout_p)
        self.feed = Feed(c.d_model, c.ff_dim, c.ffn_dropout_p)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.feed(self.norm2(x))


class Predictor(nn.Module):
    """Kronos of separate modules; returns the stage loss of a batch of tokens."""

    def __init__(self, c: PredictorConfig) -> None:
        super().__init__()
        d = c.d_model
        self.s1, self.s2 = nn.Embedding(2**c.s1_bits, d), nn.Embedding(2**c.s2_bits, d)
        self.fuse = nn.Linear(2 * d, d)
        self.times = nn.ModuleList(nn.Embedding(rows, d) for rows in (60, 24, 7, 32, 13))
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.n_layers))
        self.norm, self.dep_norm = Norm(d), Norm(d)
        self.dep = Attention(d, 4, 0.0, 0.0)
        self.head1, self.head2 = nn.Linear(d, 2**c.s1_bits), nn.Linear(d, 2**c.s2_bits)
        self.drop = nn.Dropout(c.token_dropout_p)
        self.d = d

    def forward(self, s1: Tensor, s2: Tensor, stamps: Tensor) -> Tensor:
        a, b, t = s1[:, :-1], s2[:, :-1], stamps[:, :-1].long()
        x = self.fuse(torch.cat([self.s1(a) * math.sqrt(self.d), self.s2(b) * math.sqrt(self.d)], dim=-1))
        x = self.drop(x + sum(table(t[..., i]) for i, table in enumerate(self.times)))
        for layer in self.layers:
            x = layer(x)
        x = self.norm(x)
        logits1 = self.head1(x)
        p = F.softmax(logits1.detach(), dim=-1)
        drawn = torch.multinomial(p.view(-1, p.shape[-1]), 1).view(a.shape)
        logits2 = self.head2(self.dep_norm(x + self.dep(self.s1(drawn), x)))
        one = F.cross_entropy(logits1.reshape(-1, logits1.shape[-1]), s1[:, 1:].reshape(-1))
        two = F.cross_entropy(logits2.reshape(-1, logits2.shape[-1]), s2[:, 1:].reshape(-1))
        return (one + two) / 2


class Tokenizer(nn.Module):
    """The autoencoder of separate modules; returns the stage loss of a batch of windows."""

    def __init__(self, c: TokenizerConfig) -> None:
        super().__init__()
        self.c, self.bits = c, c.s1_bits + c.s2_bits
        self.embed, self.head = nn.Linear(c.d_in, c.d_model), nn.Linear(c.d_model, c.d_in)
        self.encoder = nn.ModuleList(Layer(c) for _ in range(c.n_enc_layers - 1))
        self.decoder = nn.ModuleList(Layer(c) for _ in range(c.n_dec_layers - 1))
        self.down = nn.Linear(c.d_model, self.bits)
        self.up1, self.up = nn.Linear(c.s1_bits, c.d_model), nn.Linear(self.bits, c.d_model)

    def unit(self, x: Tensor) -> Tensor:
        z = self.embed(x)
        for layer in self.encoder:
            z = layer(z)
        return F.normalize(self.down(z), dim=-1)

    def decode(self, z: Tensor) -> Tensor:
        for layer in self.decoder:
            z = layer(z)
        return self.head(z)

    def ids(self, x: Tensor) -> tuple[Tensor, Tensor]:
        bits = (self.unit(x) >= 0).long()
        weights = 2 ** torch.arange(self.c.s1_bits, device=x.device)
        return (bits[..., : self.c.s1_bits] * weights).sum(-1), (bits[..., self.c.s1_bits :] * weights).sum(-1)

    def forward(self, x: Tensor) -> Tensor:
        z = self.unit(x)
        zhat = torch.where(z > 0, 1.0, -1.0)
        zq = (z + (zhat - z).detach()) / self.bits**0.5
        commit = self.c.beta * ((zq.detach() - z) ** 2).sum(-1).mean()
        p = torch.sigmoid(-4 * z / self.bits**0.5)
        prob = torch.stack([p, 1 - p], dim=-1)

        def entropy(q: Tensor) -> Tensor:
            return -(q * torch.log(q + 1e-8)).sum(-1)

        penalty = entropy(prob).sum(-1).mean() - self.c.gamma * entropy(prob.mean((0, 1))).sum()
        coarse, fine = self.decode(self.up1(zq[..., : self.c.s1_bits])), self.decode(self.up(zq))
        return (F.mse_loss(coarse, x) + F.mse_loss(fine, x) + commit + self.c.zeta * penalty) / 2

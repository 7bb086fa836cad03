"""Binary spherical quantisation (Zhao et al. 2024): unit vectors to signs, signs to token ids, and its loss.

Ids are read least significant bit first: bit i of an id is set where coordinate i is positive.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn


class Quantized(NamedTuple):
    """What the quantiser returns."""

    signs: Tensor
    """(..., K), +-1/sqrt(K), with a straight-through gradient to the input."""
    loss: Tensor
    """Scalar BSQ loss."""


def signs_to_ids(signs: Tensor) -> Tensor:
    """signs (..., K) -> ids (...,) int64; a coordinate >= 0 sets its bit, the first is the least significant."""
    weights = 1 << torch.arange(signs.shape[-1], device=signs.device)
    return ((signs >= 0) * weights).sum(-1)


def ids_to_signs(ids: Tensor, bits: int) -> Tensor:
    """ids (...,) int64 -> signs (..., bits) of +-1, float32."""
    places = torch.arange(bits, device=ids.device)
    return ((ids[..., None] >> places) & 1).float() * 2 - 1


def _binary_entropy(p: Tensor) -> Tensor:
    """Elementwise entropy of Bernoulli(p); the 1e-8 is part of the released objective."""
    return -(p * torch.log(p + 1e-8) + (1 - p) * torch.log(1 - p + 1e-8))


class BinarySphericalQuantizer(nn.Module):
    """Signs of unit vectors of K coordinates, with commitment and entropy losses.

    Args:
        bits: K, the number of coordinates.
        beta: weight of the commitment loss.
        gamma0: weight of the per-sample entropy (to be small: confident signs).
        gamma: weight of the codebook entropy (to be large: both signs of every coordinate used).
        zeta: weight of both entropies together.
        group_size: kept for the checkpoint format (it sizes a stored buffer; must divide K). The released
            objective measures the codebook entropy coordinate by coordinate, whatever the group size.
    """

    basis: Tensor
    group_basis: Tensor

    def __init__(self, bits: int, *, beta: float, gamma0: float, gamma: float, zeta: float, group_size: int) -> None:
        super().__init__()
        if bits % group_size:
            raise ValueError(f"group_size {group_size} must divide s1_bits + s2_bits = {bits}")
        self.bits, self.group_size = bits, group_size
        self.beta, self.gamma0, self.gamma, self.zeta = beta, gamma0, gamma, zeta
        # Released checkpoints carry both buffers (most significant first); nothing here computes with them.
        self.register_buffer("basis", 2 ** torch.arange(bits - 1, -1, -1))
        self.register_buffer("group_basis", 2 ** torch.arange(group_size - 1, -1, -1))

    def signs(self, z: Tensor) -> Tensor:
        """+1/sqrt(K) where z > 0, else -1/sqrt(K); (..., K), no gradient."""
        scale = self.bits**-0.5
        return torch.where(z > 0, scale, -scale).to(z.dtype)

    def forward(self, z: Tensor, mean_over_ranks: Callable[[Tensor], Tensor] | None = None) -> Quantized:
        """Quantise unit vectors z (..., K).

        `mean_over_ranks` averages the frequency (K,) of negative signs over the processes of a distributed run
        (differentiable), so that the codebook entropy is that of the whole batch however it is sharded.
        """
        zq = self.signs(z)
        commit = self.beta * (zq.detach() - z).square().sum(-1).mean()
        loss = commit + self.zeta * self.entropy_penalty(z, mean_over_ranks)
        # The straight-through path runs before the scaling, so its gradient carries the factor 1/sqrt(K) too.
        scaled = z / self.bits**0.5
        return Quantized(scaled + (zq - scaled).detach(), loss)

    def entropy_penalty(self, z: Tensor, mean_over_ranks: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """gamma0 * H_sample - gamma * H_code of unit vectors z (..., K), computed in float32.

        With p the probability of a negative sign, H_sample is the mean over samples of the summed entropies of
        p, H_code the summed entropies of the mean p of each coordinate.
        """
        p = torch.sigmoid(-4 * z.float() / self.bits**0.5).reshape(-1, self.bits)
        per_sample = _binary_entropy(p).sum(-1).mean()
        frequency = p.mean(0)
        if mean_over_ranks is not None:
            frequency = mean_over_ranks(frequency)
        return self.gamma0 * per_sample - self.gamma * _binary_entropy(frequency).sum()

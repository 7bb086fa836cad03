"""The tokenizer: a causal autoencoder from normalised bars to pairs of tokens and back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandler.checkpoint import PretrainedMixin
from chandler.nn.functional import exact
from chandler.nn.layers import initialise, make_blocks, run_blocks
from chandler.nn.quantizer import BinarySphericalQuantizer, ids_to_signs, signs_to_ids


@dataclass(frozen=True)
class TokenizerConfig:
    """The keys of a released tokenizer's config.json; the defaults are those of Kronos-Tokenizer-base."""

    d_in: int = 6
    d_model: int = 256
    n_heads: int = 4
    ff_dim: int = 512
    n_enc_layers: int = 4
    n_dec_layers: int = 4
    ffn_dropout_p: float = 0.0
    attn_dropout_p: float = 0.0
    resid_dropout_p: float = 0.0
    s1_bits: int = 10
    s2_bits: int = 10
    beta: float = 0.05
    gamma0: float = 1.0
    gamma: float = 1.1
    zeta: float = 0.05
    group_size: int = 4


class TokenizerOutput(NamedTuple):
    """One training pass."""

    recon_s1: Tensor
    """(B, T, d_in), decoded from the s1 coordinates alone."""
    recon: Tensor
    """(B, T, d_in), decoded from all coordinates."""
    quantized: Tensor
    """(B, T, s1_bits + s2_bits), +-1/sqrt(K)."""
    bsq_loss: Tensor
    """Scalar."""


class KronosTokenizer(PretrainedMixin, nn.Module):
    """BSQ autoencoder over bars of `d_in` features; every block is causal, encoder and decoder alike.

    Load released weights with `KronosTokenizer.from_pretrained(path_or_repo)`; `KronosTokenizer(config)`
    has random weights, drawn from `generator`.

    Under autocast the blocks' products alone are in the lower precision. What enters and leaves them, the residual
    stream, the quantiser and its loss stay in float32: bars and codes are few numbers, and a rounded one flips signs.
    """

    config_class = TokenizerConfig
    part = "tokenizer"

    def __init__(self, config: TokenizerConfig | None = None, *, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.config = c = config or TokenizerConfig()
        self.bits = c.s1_bits + c.s2_bits
        self.checkpointing = False

        self.embed = nn.Linear(c.d_in, c.d_model)
        # The released count of layers includes the linear that embeds, so one block fewer is built.
        self.encoder = make_blocks(c, c.n_enc_layers - 1)
        self.quant_embed = nn.Linear(c.d_model, self.bits)
        self.post_quant_embed_pre = nn.Linear(c.s1_bits, c.d_model)
        self.post_quant_embed = nn.Linear(self.bits, c.d_model)
        self.decoder = make_blocks(c, c.n_dec_layers - 1)
        self.head = nn.Linear(c.d_model, c.d_in)
        quantizer = BinarySphericalQuantizer(
            self.bits, beta=c.beta, gamma0=c.gamma0, gamma=c.gamma, zeta=c.zeta, group_size=c.group_size
        )
        # The two levels of names are those of the released tensors: tokenizer.bsq.basis.
        self.tokenizer = nn.ModuleDict({"bsq": quantizer})
        initialise(self, generator)

    @property
    def quantizer(self) -> BinarySphericalQuantizer:
        """The quantiser, under its plain name."""
        module = self.tokenizer["bsq"]
        assert isinstance(module, BinarySphericalQuantizer)
        return module

    def unit(self, x: Tensor) -> Tensor:
        """Normalised bars x (B, T, d_in) -> unit vectors (B, T, K), the signs of which are the tokens."""
        encoded = run_blocks(self.encoder, exact(self.embed, x), checkpointing=self.checkpointing)
        return F.normalize(exact(self.quant_embed, encoded), dim=-1)

    def _decode(self, embedded: Tensor) -> Tensor:
        return exact(self.head, run_blocks(self.decoder, embedded, checkpointing=self.checkpointing))

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Normalised bars x (B, T, d_in) -> coarse and fine token ids (s1, s2), each (B, T) int64."""
        return self.ids(self.unit(x))

    def ids(self, unit: Tensor) -> tuple[Tensor, Tensor]:
        """Unit vectors (B, T, K) -> coarse and fine token ids (s1, s2), each (B, T) int64."""
        signs = self.quantizer.signs(unit)
        cut = self.config.s1_bits
        return signs_to_ids(signs[..., :cut]), signs_to_ids(signs[..., cut:])

    def decode(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Token ids s1, s2 (B, T) -> normalised bars (B, T, d_in)."""
        return self._decode(self.embed_ids(s1, s2))

    def embed_ids(self, s1: Tensor, s2: Tensor) -> Tensor:
        """Token ids s1, s2 (B, T) -> what the decoder's blocks are given, (B, T, d_model)."""
        signs = torch.cat((ids_to_signs(s1, self.config.s1_bits), ids_to_signs(s2, self.config.s2_bits)), dim=-1)
        return self.post_quant_embed((signs / self.bits**0.5).to(self.head.weight.dtype))

    def forward(self, x: Tensor, mean_over_ranks: Callable[[Tensor], Tensor] | None = None) -> TokenizerOutput:
        """The training pass over normalised bars x (B, T, d_in); `mean_over_ranks` as in the quantiser."""
        signs, bsq_loss = self.quantizer(self.unit(x), mean_over_ranks)
        coarse = exact(self.post_quant_embed_pre, signs[..., : self.config.s1_bits])
        # Both decodings as one batch: the same numbers in half as many, larger operations.
        recon_s1, recon = self._decode(torch.cat((coarse, exact(self.post_quant_embed, signs)))).chunk(2)
        return TokenizerOutput(recon_s1, recon, signs, bsq_loss)

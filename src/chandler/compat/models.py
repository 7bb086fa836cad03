"""Tokenizer and predictor with the reference's signatures: the models themselves, without arithmetic of their own."""

from __future__ import annotations

import warnings
from typing import Any, ClassVar, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandler.devices import bring, resolve
from chandler.errors import ConfigError
from chandler.nn import Heads, signs_to_ids
from chandler.nn import Kronos as NativeKronos
from chandler.nn import KronosTokenizer as NativeTokenizer


class _Reference:
    """What both models take from the hub's mixin beyond ours, and what they are without it."""

    native_class: ClassVar[type[Any]]

    def __init__(self, *values: Any, config: Any = None, generator: torch.Generator | None = None, **keys: Any) -> None:
        made = self.native_class.config_class
        if values and isinstance(values[0], made):
            config = values[0]
        cast(Any, super()).__init__(config or made(*values, **keys), generator=generator)

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: Any,
        *,
        map_location: str | torch.device = "cpu",
        strict: bool = True,
        resume_download: bool | None = None,
        proxies: dict[str, str] | None = None,
        **ours: Any,
    ) -> Self:
        """As `chandler.Kronos.from_pretrained`, with the hub's other keywords.

        Args:
            map_location: the device that it is moved to.
            strict: whatever it says, a checkpoint has to fit: weights that are not there would be random.
            resume_download: without effect, with a warning; downloads always go on where they stopped.
            proxies: refused; the environment (HTTPS_PROXY) says them.
            ours: revision, subfolder, cache_dir, token, local_files_only, force_download.
        """
        if resume_download is not None:
            warnings.warn("resume_download has no effect: downloads always go on where they stopped", stacklevel=2)
        if proxies:
            raise ConfigError("proxies are taken from the environment: leave the keyword out and set HTTPS_PROXY.")
        device = resolve(map_location)
        model = cast(Any, super()).from_pretrained(pretrained_model_name_or_path, **ours)
        bring(device, model)
        return model

    @property
    def native(self) -> Any:
        """The same model, down to every attribute, with the methods of chandler's own class."""
        view = object.__new__(self.native_class)
        object.__setattr__(view, "__dict__", self.__dict__)
        return view


class KronosTokenizer(_Reference, NativeTokenizer):
    """The tokenizer with the reference's signatures. Its keywords are the keys of config.json, in their order:
    `KronosTokenizer(d_in=6, d_model=256, ...)`."""

    native_class = NativeTokenizer

    def encode(self, x: Tensor, half: bool = False) -> Any:
        """Normalised bars x (B, T, d_in) -> full token ids (B, T) int64; with `half` coarse and fine ids (s1, s2)."""
        s1, s2 = super().encode(x)
        return (s1, s2) if half else s1 | (s2 << self.config.s1_bits)

    def decode(self, x: Any, half: bool = False) -> Tensor:  # type: ignore[override]
        """Full token ids (B, T), or with `half` a pair (s1, s2) of them -> normalised bars (B, T, d_in)."""
        s1, s2 = x if half else (x & (2**self.config.s1_bits - 1), x >> self.config.s1_bits)
        return super().decode(s1, s2)

    def forward(self, x: Tensor) -> Any:  # type: ignore[override]
        """The training pass over x (B, T, d_in).

        Returns:
            ((recon_s1, recon), bsq_loss, quantized, ids): bars (B, T, d_in) decoded from the s1 coordinates alone and
            from all; a scalar; (B, T, K); full token ids (B, T).
        """
        out = super().forward(x)
        return (out.recon_s1, out.recon), out.bsq_loss, out.quantized, signs_to_ids(out.quantized.detach())


class _Head(Heads):
    """The output projections, with the loss over them."""

    def __init__(self, heads: Heads) -> None:
        nn.Module.__init__(self)
        self.proj_s1, self.proj_s2 = heads.proj_s1, heads.proj_s2

    def compute_loss(
        self,
        s1_logits: Tensor,
        s2_logits: Tensor,
        s1_targets: Tensor,
        s2_targets: Tensor,
        padding_mask: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """(loss, s1_loss, s2_loss): mean cross entropies over all rows, and the mean of both.

        Args:
            s1_logits, s2_logits: (B, T, V), what the model returns.
            s1_targets, s2_targets: (B, T) int64, ids of the next rows.
            padding_mask: (B, T) bool, True for rows that do not count.
        """

        def mean(logits: Tensor, targets: Tensor) -> Tensor:
            kept = slice(None) if padding_mask is None else ~padding_mask.bool().flatten()
            return F.cross_entropy(logits.float().flatten(0, 1)[kept], targets.flatten()[kept])

        s1_loss, s2_loss = mean(s1_logits, s1_targets), mean(s2_logits, s2_targets)
        return (s1_loss + s2_loss) / 2, s1_loss, s2_loss


class Kronos(_Reference, NativeKronos):
    """The predictor with the reference's signatures. Its keywords are the keys of config.json, in their order:
    `Kronos(s1_bits=10, s2_bits=10, n_layers=8, ...)`.

    A `padding_mask` (B, T), True for padding, may mark rows behind the bars of a window: causal passes do not see
    them. Padding elsewhere is refused.
    """

    native_class = NativeKronos
    head: _Head

    def __init__(self, *values: Any, **keys: Any) -> None:
        super().__init__(*values, **keys)
        self.head = _Head(self.head)

    def forward(
        self,
        s1_ids: Tensor,
        s2_ids: Tensor,
        stamp: Tensor | None = None,
        padding_mask: Tensor | None = None,
        use_teacher_forcing: bool = False,
        s1_targets: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """The training pass, causal in train and in eval mode: s1 and s2 logits (B, T, V) of the next rows.

        Args:
            s1_ids, s2_ids: (B, T).
            stamp: time features (B, T, 5).
            use_teacher_forcing: s2 is conditioned on `s1_targets` (B, T) instead of s1 drawn from the model's own
                distribution, by torch's global generator.
        """
        _only_behind(padding_mask)
        if not use_teacher_forcing:
            condition = torch.rand(s1_ids.shape, device=s1_ids.device)
        elif s1_targets is None:
            raise ConfigError("use_teacher_forcing=True needs s1_targets, the coarse ids of the next rows.")
        else:
            condition = s1_targets
        return super().forward(s1_ids, s2_ids, stamp, condition)

    def decode_s1(
        self, s1_ids: Tensor, s2_ids: Tensor, stamp: Tensor | None = None, padding_mask: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """s1 logits (B, T, V) of the next rows, and the hidden states (B, T, d_model) for `decode_s2`."""
        _only_behind(padding_mask)
        hidden = self.hidden(s1_ids, s2_ids, stamp)
        return self.s1_logits(hidden), hidden

    def decode_s2(self, context: Tensor, s1_ids: Tensor, padding_mask: Tensor | None = None) -> Tensor:
        """s2 logits (B, Tq, V) given the coarse ids s1_ids (B, Tq) of the rows that are predicted.

        With an id for every row of `context` (B, T, d_model) it is the training pass. With fewer they are the last
        ones, which see all of the context without positions: so the released weights were always sampled.
        """
        if s1_ids.shape[1] == context.shape[1]:
            _only_behind(padding_mask)
            return self.s2_logits(context, s1_ids)
        if padding_mask is not None and padding_mask.any():
            raise ConfigError("padding_mask: a step of decoding sees the whole context. Cut the padding off before.")
        return self.s2_logits(context, s1_ids, causal=False, positions="reference")


def _only_behind(padding_mask: Tensor | None) -> None:
    """Refuse padding that a causal pass would see."""
    if padding_mask is None or not padding_mask.any():
        return
    padded = padding_mask.bool()
    if padded[:, 0].any() or (padded[:, :-1] & ~padded[:, 1:]).any():
        raise ConfigError(
            "padding_mask: True marks padding, which may only lie behind the bars of a window. Pad at the end, or "
            "batch windows of one length."
        )

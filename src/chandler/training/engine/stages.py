"""What each stage optimises and what its validation measures. The loop knows nothing of tokens; this does."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Literal, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from chandler.devices import upload, wide
from chandler.nn import Kronos, KronosTokenizer
from chandler.training.datasets import Batch, replace_tokens


class Stage(Protocol):
    """One of the two stages, as the loop sees it."""

    name: str
    model: nn.Module
    measures: tuple[str, ...]
    """Names of the validation measures; the first selects checkpoints, lower is better."""
    noise: float
    """Share of the tokens of the context that are replaced in training; where it is 0 nothing is drawn for it."""

    @property
    def frozen(self) -> tuple[nn.Module, ...]:
        """Other models that it computes with; they have to be where batches are."""

    def losses(self, model: nn.Module, batch: Batch, mean_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        """Named scalar means over the batch; "loss" is what is optimised. `model` may be wrapped (DDP)."""

    def validation(self, batch: Batch, key: Hashable | None = None) -> dict[str, Tensor]:
        """Named sums over the batch's windows of per-window means; deterministic, causal, no gradient.

        `key` names a batch that comes back in every validation of the stage: what is fixed about it is kept.
        """


@dataclass
class TokenizerStage:
    """Stage 1: reconstruction from s1 alone and from both tokens, plus the BSQ loss; scored by reconstruction."""

    model: KronosTokenizer
    name: str = "tokenizer"
    measures: tuple[str, ...] = ("mse", "mse_s1")
    noise: float = 0.0
    frozen: tuple[nn.Module, ...] = ()

    def losses(self, model: nn.Module, batch: Batch, mean_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        out = model(batch.values, mean_over_ranks)
        coarse, fine = F.mse_loss(out.recon_s1, batch.values), F.mse_loss(out.recon, batch.values)
        return {
            "loss": (coarse + fine + out.bsq_loss) / 2,
            "mse": fine.detach(),
            "mse_s1": coarse.detach(),
            "bsq": out.bsq_loss.detach(),
        }

    def validation(self, batch: Batch, key: Hashable | None = None) -> dict[str, Tensor]:
        out = self.model(batch.values)

        def per_window(recon: Tensor) -> Tensor:
            return wide((recon.float() - batch.values).square().mean((1, 2))).sum()

        return {"mse": per_window(out.recon), "mse_s1": per_window(out.recon_s1)}


def nothing(values: Tensor) -> Tensor:
    """(B,) of 0; NaN where a bar of the window (B, T, 6) is no number.

    Such a bar has a token like any other: added to a loss, this lets it show.
    """
    return values.sum((1, 2)) * 0.0


@dataclass
class PredictorStage:
    """Stage 2: cross entropy of the next token pair, under tokens of the frozen tokenizer.

    Scored by the exact negative log-likelihood per bar of (s1, s2), in nats, with the true s1 as condition; over the
    bars that it trains on.
    """

    model: Kronos
    tokenizer: KronosTokenizer
    lookback: int
    condition: Literal["sampled", "true"] = "sampled"
    over: Literal["window", "horizon"] = "window"
    """The bars whose prediction is trained."""
    name: str = "predictor"
    measures: tuple[str, ...] = ("nll", "nll_s1", "nll_s2", "nll_horizon")
    noise: float = 0.0
    _kept: dict[Hashable, Tensor] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if self.over == "horizon":
            self.measures = ("nll_horizon", "nll", "nll_s1", "nll_s2")

    @property
    def frozen(self) -> tuple[nn.Module, ...]:
        return (self.tokenizer,)

    @torch.no_grad()
    def tokens(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """s1, s2 (B, T) of the batch, by the tokenizer in eval mode."""
        self.tokenizer.eval()
        return self.tokenizer.encode(batch.values)

    def _kept_tokens(self, batch: Batch, key: Hashable | None) -> tuple[Tensor, Tensor]:
        """Tokens of a validation batch, encoded once per stage: the tokenizer is frozen."""
        if key is None:
            return self.tokens(batch)
        if key not in self._kept:
            # int32 on the CPU: 8 bytes a bar.
            self._kept[key] = torch.stack(self.tokens(batch)).to("cpu", torch.int32)
        s1, s2 = upload(self._kept[key], batch.values.device).long()
        return s1, s2

    def losses(self, model: nn.Module, batch: Batch, mean_over_ranks: Callable[[Tensor], Tensor]) -> dict[str, Tensor]:
        s1, s2 = self.tokens(batch)
        condition = batch.uniforms[:, 1:] if self.condition == "sampled" else s1[:, 1:]
        seen1, seen2 = s1, s2
        if self.noise and batch.noise is not None:
            seen1, seen2 = replace_tokens(s1, s2, batch.noise, self.noise)  # what is seen; targets stay true
        logits1, logits2 = model(seen1[:, :-1], seen2[:, :-1], batch.stamps[:, :-1], condition)
        ce1 = self._mean(logits1, s1, batch) + nothing(batch.values).sum()
        ce2 = self._mean(logits2, s2, batch)
        return {"loss": (ce1 + ce2) / 2, "ce_s1": ce1.detach(), "ce_s2": ce2.detach()}

    def _mean(self, logits: Tensor, ids: Tensor, batch: Batch) -> Tensor:
        """Mean cross entropy over the bars that are trained; row i of the logits predicts row i + 1 of the window."""
        if self.over == "window":
            return F.cross_entropy(logits.float().flatten(0, 1), ids[:, 1:].flatten())
        rows = torch.arange(1, ids.shape[1], device=ids.device)
        first = torch.full_like(rows[:1], self.lookback) if batch.lookback is None else batch.lookback
        counts = (rows >= first[:, None]).expand(len(ids), -1).float()
        each = F.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")
        # First over the bars of a window, then over windows: a batch that is shared out has the same mean.
        return ((each * counts).sum(1) / counts.sum(1)).mean()

    def validation(self, batch: Batch, key: Hashable | None = None) -> dict[str, Tensor]:
        s1, s2 = self._kept_tokens(batch, key)
        logits1, logits2 = self.model(s1[:, :-1], s2[:, :-1], batch.stamps[:, :-1], s1[:, 1:])

        def per_bar(logits: Tensor, ids: Tensor) -> Tensor:
            return F.cross_entropy(logits.float().transpose(1, 2), ids[:, 1:], reduction="none")

        nll1, nll2 = per_bar(logits1, s1) + nothing(batch.values)[:, None], per_bar(logits2, s2)
        both = nll1 + nll2
        return {
            "nll": wide(both.mean(1)).sum(),
            "nll_s1": wide(nll1.mean(1)).sum(),
            "nll_s2": wide(nll2.mean(1)).sum(),
            # Row i of the outputs predicts row i + 1 of the window: the horizon begins at output lookback - 1.
            "nll_horizon": wide(both[:, self.lookback - 1 :].mean(1)).sum(),
        }

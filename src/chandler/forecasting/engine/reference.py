"""Token generation the plain way: every step re-encodes the last `max_context` rows of every path.

Slow and simple on purpose. It is the definition of what the fast engine (`generation`) must reproduce, and the
tests hold the two against each other.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from chandler.forecasting.engine.prompts import Prompt, eval_mode, require_finite
from chandler.forecasting.engine.sampling import Sampling, sample
from chandler.nn import DependencyPositions, Kronos, KronosTokenizer


@torch.no_grad()
def generate(
    model: Kronos,
    prompts: Sequence[Prompt],
    *,
    horizon: int,
    sampling: Sampling,
    max_context: int,
    positions: DependencyPositions = "reference",
) -> list[tuple[Tensor, Tensor]]:
    """Continue each prompt by `horizon` rows along each of its paths.

    Args:
        model: the predictor; held in eval mode for the duration, its modes are restored.
        prompts: series of any lengths; their tensors may be on any device.
        horizon: rows to add, >= 1; what the prompts' uniforms and stamps were made for.
        sampling: how a token is chosen.
        max_context: rows the model sees at most; once there are more, the window slides.
        positions: how the dependency-aware layer sees positions; "reference" for released weights.

    Returns:
        Per prompt the new ids (s1, s2), each (paths, horizon) int64 on the model's device.
    """
    with eval_mode(model):
        return [_continue(model, prompt, horizon, sampling, max_context, positions) for prompt in prompts]


def _continue(
    model: Kronos,
    prompt: Prompt,
    horizon: int,
    sampling: Sampling,
    max_context: int,
    positions: DependencyPositions,
) -> tuple[Tensor, Tensor]:
    device = model.head.proj_s1.weight.device
    rows, paths = len(prompt.s1), prompt.paths
    uniforms = prompt.uniforms.to(device)
    stamps = prompt.stamps.to(device).expand(paths, -1, -1)
    s1 = prompt.s1.new_zeros(paths, rows + horizon, device=device)
    s2 = torch.zeros_like(s1)
    s1[:, :rows], s2[:, :rows] = prompt.s1.to(device), prompt.s2.to(device)

    for step in range(horizon):
        end = rows + step
        seen = slice(max(0, end - max_context), end)
        h = model.hidden(s1[:, seen], s2[:, seen], stamps[:, seen])
        s1_logits = model.s1_logits(h[:, -1])
        require_finite(bool(s1_logits.isfinite().all()))
        s1[:, end] = sample(s1_logits, sampling, uniforms[:, step, 0])
        s2_logits = model.s2_logits(h, s1[:, end : end + 1], causal=False, positions=positions)[:, -1]
        require_finite(bool(s2_logits.isfinite().all()))
        s2[:, end] = sample(s2_logits, sampling, uniforms[:, step, 1])
    return s1[:, rows:], s2[:, rows:]


@torch.no_grad()
def decode_tail(tokenizer: KronosTokenizer, s1: Tensor, s2: Tensor, *, horizon: int, max_context: int) -> Tensor:
    """The last `horizon` rows of token sequences as normalised bars.

    Up to `max_context` the last `max_context` rows are decoded in one causal pass, as the reference does; the
    first forecast row then sees max_context - horizon rows before it. A longer horizon is decoded in windows of
    `max_context` rows that overlap by half, of each only the newer half is kept, so every row sees at least
    max_context // 2 rows before it (fewer only where the sequence begins).

    Args:
        tokenizer: held in eval mode for the duration.
        s1, s2: ids of history and forecast, (paths, T + horizon).

    Returns:
        (paths, horizon, d_in).
    """
    rows = s1.shape[1]
    keep = horizon if horizon <= max_context else max_context - max_context // 2
    pieces: list[Tensor] = []
    end, first = rows, rows - horizon
    with eval_mode(tokenizer):
        while end > first:
            start = max(0, end - max_context)
            begin = max(first, end - keep)
            pieces.append(tokenizer.decode(s1[:, start:end], s2[:, start:end])[:, begin - start :])
            end = begin
    return torch.cat(pieces[::-1], dim=1)

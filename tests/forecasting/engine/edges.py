"""Whether two continuations are the same as far as rounding lets them be: they part on an edge between tokens alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from chandler.devices import device_of
from chandler.forecasting.engine.prompts import Prompt, eval_mode
from chandler.forecasting.engine.sampling import Sampling, probabilities
from chandler.nn.predictor import DependencyPositions, Kronos

EDGE = 1e-5
"""How near a draw lies to an edge, in probability, that it may fall to either side of."""
Paths2 = tuple[Tensor, Tensor]
"""New ids (s1, s2), each (paths, horizon)."""


def either(logits: Tensor, sampling: Sampling, uniform: Tensor, one: int, other: int, edge: float = EDGE) -> bool:
    """Whether a draw lies within `edge` of the edge between two tokens, so that it may give the one or the other.

    Edges are those of the cumulative distribution, and those where `top_p` and `top_k` cut: all are moved by `edge`.

    Args:
        logits: (V,).
        uniform: the random number of the draw, a scalar in [0, 1).
    """
    logits = logits.float()
    if sampling.greedy:
        return bool((logits[one] - logits[other]).abs() <= 2 * edge)
    rules = [sampling]
    if sampling.top_k and sampling.top_k < len(logits):
        kth = logits.sort(descending=True).values[sampling.top_k - 1]
        kept = {int((logits > kth + 2 * edge).sum()), int((logits >= kth - 2 * edge).sum())}
        rules += [replace(sampling, top_k=max(k, 2)) for k in kept]
    if sampling.top_p is not None and sampling.top_p < 1:
        rules += [replace(rule, top_p=sampling.top_p + by) for rule in rules for by in (-edge, edge)]
    reached = []
    for rule in rules:
        p = probabilities(logits, rule).double()
        cdf = p.cumsum(-1)
        reached.append(((p > 0) & (cdf > uniform - edge) & (cdf - p < uniform + edge)).nonzero())
    tokens = torch.cat(reached)
    return bool(tokens.min() <= min(one, other) and max(one, other) <= tokens.max())


def assert_near(got: Tensor, want: Tensor) -> tuple[float, float]:
    """Logits (..., V) that agree as float32 can: to 1e-5, beyond 5 to 2e-6 of the largest; probabilities to `EDGE`.

    Returns:
        The largest difference of a logit, and of a cumulative probability.
    """
    apart = float((got - want).abs().max())
    assert apart < 1e-5 * max(1.0, float(want.abs().max()) / 5)
    cdf = [logits.double().softmax(-1).cumsum(-1) for logits in (got, want)]
    moved = float((cdf[0] - cdf[1]).abs().max())
    assert moved < EDGE
    return apart, moved


@torch.no_grad()
def logits_at(
    model: Kronos, prompt: Prompt, ids: Paths2, step: int, level: int, max_context: int, positions: DependencyPositions
) -> Tensor:
    """Logits (V,) of the coarse (0) or fine (1) token at a step of one path, ids (horizon,) each, from the plain model."""
    device = device_of(model)
    s1 = torch.cat((prompt.s1, ids[0][:step]))[None, -max_context:].to(device)
    s2 = torch.cat((prompt.s2, ids[1][:step]))[None, -max_context:].to(device)
    end = len(prompt.s1) + step
    stamps = prompt.stamps[None, max(0, end - max_context) : end].to(device)
    with eval_mode(model):
        h = model.hidden(s1, s2, stamps)
        if not level:
            return model.s1_logits(h[:, -1])[0].cpu()
        chosen = ids[0][None, step : step + 1].to(device)
        return model.s2_logits(h, chosen, causal=False, positions=positions)[0, -1].cpu()


def assert_same(
    got: Sequence[Paths2],
    want: Sequence[Paths2],
    model: Kronos,
    prompts: Sequence[Prompt],
    sampling: Sampling,
    max_context: int,
    positions: DependencyPositions = "reference",
    edge: float = EDGE,
) -> tuple[int, int]:
    """Equal tokens, or parted at a draw within `edge` of an edge -> (draws that parted, draws in all).

    After a draw that parted the rest of its path goes its own way.
    """
    assert len(got) == len(want) == len(prompts)
    parted = draws = 0
    for prompt, a, b in zip(prompts, got, want, strict=True):
        (a1, a2), (b1, b2) = ([ids.cpu() for ids in pair] for pair in (a, b))
        assert a1.shape == b1.shape
        assert a2.shape == b2.shape
        draws += a1.numel() + a2.numel()
        for path in ((a1 != b1) | (a2 != b2)).any(1).nonzero().flatten().tolist():
            step = int(((a1[path] != b1[path]) | (a2[path] != b2[path])).nonzero()[0])
            level = 0 if a1[path, step] != b1[path, step] else 1
            logits = logits_at(model, prompt, (b1[path], b2[path]), step, level, max_context, positions)
            one, other = (int(ids[level][path, step]) for ids in ((a1, a2), (b1, b2)))
            uniform = prompt.uniforms[path, step, level]
            assert either(logits, sampling, uniform, one, other, edge), f"path {path} parts at step {step}"
            parted += 1
    return parted, draws

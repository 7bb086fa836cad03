"""How a token is chosen from logits: temperature, top-k, top-p, and random numbers that are handed in.

Pure functions; the result depends on nothing but the arguments, so on no global seed and no place in a batch.
"""

from __future__ import annotations

import math
import operator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from chandler.errors import ConfigError
from chandler.forecasting.engine.kernels import suits_cpu
from chandler.nn import draw

LOWEST_TEMPERATURE = 1e-30
"""Below, logits divided by it might not be float32 any more; long before, only the most likely token is left."""


@dataclass(frozen=True)
class Sampling:
    """How far a path may stray from the most likely token. Impossible values raise ConfigError.

    `top_k` and `top_p` compose: first the k most likely tokens, then the nucleus among what is left. (The
    reference drops `top_p` whenever `top_k` is on; `chandler.compat` does the same by passing `top_p=None`.)
    """

    temperature: float = 1.0
    """Logits are divided by it, >= 1e-30: below 1 sharper, above 1 flatter."""
    top_k: int | None = 0
    """Keep the k most likely tokens; 0 or None keeps all; 1 is greedy and uses no randomness."""
    top_p: float | None = 1.0
    """Keep the smallest set of tokens whose probability exceeds it, in (0, 1]; 1 or None keeps all."""

    def __post_init__(self) -> None:
        if not (_is_number(self.temperature) and 0 < self.temperature < math.inf):
            raise ConfigError(f"temperature must be a number above 0, found {self.temperature!r}. 1.0 is neutral.")
        if self.temperature < LOWEST_TEMPERATURE:
            raise ConfigError(
                f"temperature must be at least {LOWEST_TEMPERATURE:g}, found {self.temperature!r}. For the most likely tokens "
                "alone set top_k=1."
            )
        if self.top_k is not None:
            require_int("top_k", self.top_k, 0, " 0 keeps every token.")
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise ConfigError(f"top_p must be above 0 and at most 1, found {self.top_p!r}. 1 keeps every token.")

    @property
    def greedy(self) -> bool:
        """Whether only the most likely token can be chosen, so that all paths are equal."""
        return self.top_k == 1


def probabilities(logits: Tensor, sampling: Sampling) -> Tensor:
    """The distribution that tokens are drawn from.

    Args:
        logits: (..., V), finite.
        sampling: the rule. Tokens that tie with the k-th are kept, as in the reference.

    Returns:
        (..., V) float32, rows sum to 1; 0 where a token is excluded.
    """
    return _kept(logits, sampling).softmax(-1)


def _kept(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits by the temperature, float32; -inf where a token is excluded."""
    logits = _most_likely(logits, sampling)
    if sampling.top_p is not None and sampling.top_p < 1:
        ordered, order = logits.sort(dim=-1, descending=True)
        beyond = ordered.softmax(-1).cumsum(-1) > sampling.top_p
        # The token that crosses the line stays: a token goes when those before it are already beyond.
        beyond = torch.cat((torch.zeros_like(beyond[..., :1]), beyond[..., :-1]), dim=-1)
        logits = logits.masked_fill(torch.zeros_like(beyond).scatter(-1, order, beyond), -torch.inf)
    return logits


def _most_likely(logits: Tensor, sampling: Sampling) -> Tensor:
    """Logits by the temperature, float32; beyond `top_k` they are -inf."""
    logits = logits.float() if sampling.temperature == 1 else logits.float() / sampling.temperature
    if not sampling.top_k or sampling.top_k >= logits.shape[-1]:
        return logits
    kth = logits.topk(sampling.top_k, dim=-1).values[..., -1:]
    return logits.masked_fill(logits < kth, -torch.inf)


def sample(logits: Tensor, sampling: Sampling, uniforms: Tensor) -> Tensor:
    """Choose tokens.

    Args:
        logits: (..., V).
        sampling: the rule; with `top_k` 1 the most likely token is taken (the first of equals) and `uniforms`
            are not looked at.
        uniforms: (...,) in [0, 1), on the device of the logits: a number u takes the first token at which the
            cumulative probability exceeds u.

    Returns:
        ids (...,) int64.
    """
    if sampling.greedy:
        return logits.argmax(-1)
    return draw(probabilities(logits, sampling), uniforms)


def choose(logits: Tensor, sampling: Sampling, uniforms: Tensor, fused: Any = None) -> Tensor:
    """The ids that `sample` gives, in one pass by a kernel of `fused`, if any; on a CPU without its argsort.

    top_p needs to know only where the nucleus ends. Values alone are sorted some 15 times faster than values
    with their places (100 rows of 1,024: 0.2 ms against 3.5 ms); the token at the end of the nucleus is the
    threshold for all others.
    """
    if fused is not None and not sampling.greedy:
        drawn: Tensor = fused.drawn(_kept(logits, sampling), uniforms)
        return drawn
    if sampling.greedy or sampling.top_p in (None, 1) or not suits_cpu(logits.device):
        return sample(logits, sampling, uniforms)
    kept = _most_likely(logits, sampling)
    ordered = -np.sort(-kept.numpy(), axis=-1)
    beyond = torch.from_numpy(ordered).softmax(-1).cumsum(-1).numpy() > sampling.top_p
    last = np.where(beyond[:, -1], beyond.argmax(-1), beyond.shape[-1] - 1)  # the token that crosses the line
    out = kept < torch.from_numpy(ordered[np.arange(len(ordered)), last, None])
    if bool((out.sum(-1, dtype=torch.int32).numpy() + last != out.shape[-1] - 1).any()):
        return sample(logits, sampling, uniforms)  # equal logits at the end of the nucleus: places decide after all
    # As good as -inf, and without a branch for every number: masked_fill takes six times as long.
    return draw(kept.add(out, alpha=torch.finfo(torch.float32).min / 2).softmax(-1), uniforms)


def path_uniforms(seed: int, series_key: int, paths: int, horizon: int) -> Tensor:
    """The random numbers of one series, (paths, horizon, 2) float32 on the CPU, in [0, 1).

    Path p at step h is a function of (seed, series_key, p, h) alone. So a series has the same numbers alone or
    among a thousand; fewer paths are the first of more paths, and a shorter horizon is the start of a longer one.

    Args:
        seed: >= 0.
        series_key: >= 0; equal keys give two series the same numbers.

    Raises:
        ConfigError: a seed or key that is no whole number >= 0.
    """
    seed, series_key = require_int("seed", seed, 0), require_int("series_key", series_key, 0)
    numbers = np.empty((paths, horizon * 2), dtype=np.float32)
    for path in range(paths):
        stream = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=(series_key, path)))
        # Raw words rather than Generator.random: numpy promises that these never change between releases.
        # 24 bits are all that a float32 below 1 can hold.
        numbers[path] = (stream.random_raw(horizon * 2) >> 40).astype(np.float32) * np.float32(2**-24)
    return torch.from_numpy(numbers).view(paths, horizon, 2)


def require_int(name: str, value: Any, least: int, hint: str = "") -> int:
    """`value` as an int; ConfigError by `name` unless it is a whole number >= `least`."""
    try:
        number = operator.index(value)
    except TypeError:
        number = least - 1
    if number < least or isinstance(value, bool):
        raise ConfigError(f"{name} must be a whole number >= {least}, found {value!r}.{hint}")
    return number


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | np.integer | np.floating) and not isinstance(value, bool)

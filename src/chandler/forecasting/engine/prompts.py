"""What the engines share: the prompt they continue, a model held in eval mode while they do, and what is said of a damaged one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from chandler.errors import DataError


@dataclass(frozen=True)
class Prompt:
    """One series to continue, with all the randomness that its paths will use."""

    s1: Tensor
    """Coarse ids of the history, (T,) int64, T >= 1."""
    s2: Tensor
    """Fine ids of the history, (T,) int64."""
    stamps: Tensor
    """Time features of history and horizon, (T + horizon, 5)."""
    uniforms: Tensor
    """Random numbers in [0, 1), (paths, horizon, 2) float32: one for s1 and one for s2 of each new row."""

    def __post_init__(self) -> None:
        rows = self.rows
        assert self.s1.shape == self.s2.shape == (max(rows, 1),), "s1 and s2 are (T,) with T >= 1"
        assert self.uniforms.shape[2:] == (2,), "uniforms are (paths, horizon, 2)"
        expected = (rows + self.uniforms.shape[1], 5)
        assert tuple(self.stamps.shape) == expected, f"stamps are {expected}, not {tuple(self.stamps.shape)}"

    @property
    def rows(self) -> int:
        """Of history, T."""
        return self.s1.shape[0]

    @property
    def paths(self) -> int:
        """How many continuations are wanted."""
        return self.uniforms.shape[0]


def moved(prompts: Sequence[Prompt], device: torch.device) -> list[Prompt]:
    """Prompts on a device; tensors of the CPU go there by one copy for each dtype, those that prompts share once."""
    each = [(prompt.s1, prompt.s2, prompt.stamps, prompt.uniforms) for prompt in prompts]
    every = {id(t): t for tensors in each for t in tensors}
    waiting = {key: t for key, t in every.items() if t.device.type == "cpu" != device.type}
    there = {key: t.to(device) for key, t in every.items() if key not in waiting}
    for dtype in {t.dtype for t in waiting.values()}:
        some = {key: t for key, t in waiting.items() if t.dtype == dtype}
        flat = torch.cat([t.reshape(-1) for t in some.values()]).to(device)
        parts = flat.split([t.numel() for t in some.values()])
        there |= {key: part.view(t.shape) for (key, t), part in zip(some.items(), parts, strict=True)}
    return [Prompt(*(there[id(t)] for t in tensors)) for tensors in each]


def require_finite(finite: bool, whose: str = "") -> None:
    """DataError where some numbers that a model made of finite ones are not: they would be drawn from and forecast with."""
    if not finite:
        raise DataError(
            f"{whose}the model gave values that are not finite. Its weights are damaged: load the checkpoint again, or an "
            "earlier one."
        )


@contextmanager
def eval_mode(*models: nn.Module) -> Iterator[None]:
    """Put every module in eval mode for the duration and give each its own mode back afterwards.

    A model that somebody left in train mode must not drop units inside a forecast.
    """
    modes = [(module, module.training) for model in models for module in model.modules()]
    for module, _ in modes:
        module.training = False
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training

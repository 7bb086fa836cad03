"""The optimiser and its schedule, as both stages use them."""

from __future__ import annotations

import math

import torch
from torch import nn

from chandler.training.settings import ScheduleKind


def make_optimizer(
    model: nn.Module, *, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over every parameter that is trained (weight decay on all of them, as the released recipe has it)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer,
    *,
    lr: float,
    steps: int,
    warmup: float,
    div_factor: float,
    kind: ScheduleKind = "onecycle",
    done: int = 0,
) -> torch.optim.lr_scheduler.LRScheduler:
    """The learning rate over `steps` optimiser steps; it begins at lr / div_factor and reaches lr after `warmup`. `done` of
    them are over: it stands, to the bit, where so many calls of its `step` would have brought it.

    onecycle: torch's OneCycleLR, rise and fall along cosines, to lr / div_factor / 10^4 at the end. torch's default
    of cycling beta1 between 0.95 and 0.85 is kept: the released recipe trains with it.
    cosine: a linear rise, then a cosine towards 0, as Kronos was pretrained. constant: a linear rise, then lr.
    Without a warm-up (0) both start at lr.
    """
    rise = round(steps * warmup)

    def factor(step: int) -> float:
        """Of lr, at the step from 0."""
        if step < rise:
            return 1 / div_factor + (1 - 1 / div_factor) * step / rise
        if kind == "constant":
            return 1.0
        return (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise)))) / 2

    # A rise of exactly one step is none to torch, which divides by its length.
    share = warmup * (1 + 1e-9) if warmup * steps == 1 else warmup

    def begun(last: int) -> torch.optim.lr_scheduler.LRScheduler:
        if kind == "onecycle":
            return torch.optim.lr_scheduler.OneCycleLR(
                optimizer, max_lr=lr, total_steps=steps, pct_start=share, div_factor=div_factor, last_epoch=last
            )
        return torch.optim.lr_scheduler.LambdaLR(optimizer, factor, last)

    schedule = begun(-1)  # from which the optimiser has what a schedule that is under way reads there
    return begun(done - 1) if done else schedule

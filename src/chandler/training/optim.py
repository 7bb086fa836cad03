"""The optimiser and its schedule, as both stages use them."""

from __future__ import annotations

import torch
from torch import nn


def make_optimizer(
    model: nn.Module, *, lr: float, betas: tuple[float, float], weight_decay: float
) -> torch.optim.AdamW:
    """AdamW over every parameter that is trained (weight decay on all of them, as the released recipe has it)."""
    trained = [p for p in model.parameters() if p.requires_grad]
    return torch.optim.AdamW(trained, lr=lr, betas=betas, weight_decay=weight_decay, fused=True)


def make_schedule(
    optimizer: torch.optim.Optimizer, *, lr: float, steps: int, warmup: float, div_factor: float
) -> torch.optim.lr_scheduler.OneCycleLR:
    """OneCycleLR over `steps` optimiser steps: from lr / div_factor up to lr during the share `warmup`, then down.

    torch's default of cycling beta1 between 0.95 and 0.85 is kept: the released recipe trains with it.
    """
    return torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=lr, total_steps=steps, pct_start=warmup, div_factor=div_factor
    )

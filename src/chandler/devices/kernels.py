"""Whether our own kernels (`fused`) can be used: only where Triton builds them."""

from __future__ import annotations

from functools import cache
from types import ModuleType

import torch
import torch.nn.functional as F

from chandler.devices.placement import at_work


@cache
def fused_kernels(device: torch.device) -> ModuleType | None:
    """The module `fused` where Triton can build what is in it: believe what it computes. None elsewhere: torch's operators do the
    same. torch brings Triton along for CUDA; it wants a C compiler where it runs, and a folder to keep what it built."""
    if device.type != "cuda":
        return None
    try:
        from chandler.devices import fused

        x = torch.arange(24.0, device=device).view(2, 12)
        with at_work(device):
            same = torch.allclose(fused.gated(x), F.silu(x[:, :6]) * x[:, 6:], rtol=1e-3)
    except Exception:  # whatever is missing or too old there
        return None
    return fused if same else None

"""Whether our own kernels (`fused`) can be used: only where Triton builds them."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
import torch.nn.functional as F

from chandler.devices.placement import at_work

LEAST = (8, 0)
"""Capability of a GPU that converts to bfloat16 by itself."""


@cache
def fused_kernels(device: torch.device) -> Any:
    """The module `fused` where Triton can build what is in it, which is tried. None elsewhere: torch's operators do the same. torch
    brings Triton along for CUDA; it wants a C compiler where it runs, and a folder to keep what it built."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < LEAST:
        return None
    try:
        from chandler.devices import fused

        with at_work(device):
            return fused if agree(fused, device) else None
    except torch.OutOfMemoryError:
        raise  # it may do another time: nothing is remembered
    except (
        Exception
    ):  # Triton's compiler, the C compiler, ptxas and the cache of what was built each fail in classes of their own
        return None


def agree(fused: Any, device: torch.device) -> bool:
    """Whether all kernels give what torch's operators do, on a few numbers in bfloat16."""
    x = torch.linspace(-2, 2, 96, device=device).view(4, 24)
    half = x.bfloat16()
    exact = half.float()
    turn = torch.polar(torch.ones_like(x[:, None, :4]), x[:, None, :4])
    turned = half.clone()
    fused.turn_(turned, turn, 2)
    pairs = torch.view_as_real(torch.view_as_complex(exact[:, :16].reshape(4, 2, 4, 2)) * turn).flatten(1)
    memory = half.view(4, 1, 3, 8).expand(2, -1, -1, -1, -1).contiguous()
    ends = torch.tensor([1, 2, 3, 3], device=device)
    there = torch.arange(3, device=device) < ends[:, None, None, None]
    query, (keys, values) = half[:, :8].contiguous()[:, None], memory.float()
    read = F.scaled_dot_product_attention(query[:, :, None].float(), keys, values, attn_mask=there, scale=1.0)
    reached = x.softmax(1).cumsum(1) <= 0.5
    made = (
        (fused.gated(half), F.silu(exact[:, :12]) * exact[:, 12:]),
        (fused.add_norm(x.clone(), half, 1e-5, torch.bfloat16), F.rms_norm(x + exact, (24,), eps=1e-5)),
        (turned[:, :16], pairs),
        (fused.attend(query, memory, ends), read.flatten(1)),
        (fused.drawn(x, torch.full_like(x[:, 0], 0.5)), reached.sum(1)),
    )
    return all(torch.allclose(got.float(), want.float(), rtol=2e-2, atol=2e-2) for got, want in made)

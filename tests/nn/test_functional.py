"""The operations written out by hand give what autograd gives."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from chandler.nn.functional import attention, dropout, rms_norm, rotate, swiglu


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).float()


def gradients(out: Tensor, *inputs: Tensor) -> list[Tensor]:
    return [out.detach(), *torch.autograd.grad(out.mul(numbers(*out.shape, seed=9)).sum(), inputs)]


def agree(ours: list[Tensor], theirs: list[Tensor]) -> None:
    for a, b in zip(ours, theirs, strict=True):
        assert torch.allclose(a, b, rtol=1e-5, atol=1e-6)


def test_rms_norm_and_its_gradients() -> None:
    x, weight = numbers(3, 5, 16).requires_grad_(), numbers(16, seed=1).requires_grad_()
    agree(gradients(rms_norm(x, weight, 1e-5), x, weight), gradients(F.rms_norm(x, (16,), weight, 1e-5), x, weight))


def test_rms_norm_of_a_row_of_zeros_is_zero_and_its_gradient_finite() -> None:
    x = torch.zeros(2, 8, requires_grad=True)
    out = rms_norm(x, torch.ones(8), 1e-5)
    out.sum().backward()
    assert x.grad is not None
    assert out.eq(0).all()
    assert x.grad.isfinite().all()


def test_swiglu_and_its_gradient() -> None:
    x = numbers(4, 3, 20).requires_grad_()
    gate, up = x.chunk(2, dim=-1)
    agree(gradients(swiglu(x), x), gradients(F.silu(gate) * up, x))


def test_rotate_and_its_gradient() -> None:
    x, angles = numbers(2, 3, 7, 8).requires_grad_(), numbers(7, 4, seed=2)
    cos, sin = (torch.cat((t, t), -1) for t in (angles.cos(), angles.sin()))
    a, b = x.chunk(2, dim=-1)
    plain = x * cos + torch.cat((-b, a), dim=-1) * sin
    agree(gradients(rotate(x, (cos, sin)), x), gradients(plain, x))


@pytest.mark.parametrize("causal", [True, False])
def test_trained_attention_is_the_fused_one(causal: bool) -> None:
    q, k, v = (numbers(2, 3, 6, 8, seed=s).requires_grad_() for s in range(3))
    agree(
        gradients(attention(q, k, v, causal=causal, dropout_p=0.0), q, k, v),
        gradients(F.scaled_dot_product_attention(q, k, v, is_causal=causal), q, k, v),
    )


@pytest.mark.parametrize("p", [0.1, 0.25, 0.5])
def test_dropout_keeps_its_share_and_the_mean(p: float) -> None:
    torch.manual_seed(0)
    out = dropout(torch.ones(1000, 1001), p)
    # A share of a million elements scatters by 0.0005 at most.
    assert float((out == 0).float().mean()) == pytest.approx(p, abs=0.002)
    assert float(out.mean()) == pytest.approx(1, abs=0.003)
    assert set(out.unique().tolist()) == {0.0, float(torch.tensor(1 / (1 - p)))}


def test_dropout_follows_the_seed_and_its_gradient_the_mask() -> None:
    x = numbers(33, 7).requires_grad_()
    torch.manual_seed(4)
    first = dropout(x, 0.25)
    torch.manual_seed(4)
    second = dropout(x, 0.25)
    assert torch.equal(first, second)
    first.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad, (first != 0) / 0.75)


def test_neighbouring_elements_are_dropped_independently() -> None:
    torch.manual_seed(1)
    kept = dropout(torch.ones(400_000), 0.5) > 0
    for lag in (1, 2, 3, 4):
        both = float((kept[:-lag] & kept[lag:]).float().mean())
        assert both == pytest.approx(0.25, abs=0.004)

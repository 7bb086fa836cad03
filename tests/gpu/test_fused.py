"""Our own kernels against torch's operators, and generation with them against generation without. Where there is no GPU Triton's
interpreter can do them: `CHANDLER_GPU_TESTS_ON=cpu TRITON_INTERPRET=1`, with triton installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from chandler.devices import fused_kernels
from chandler.devices.kernels import agree
from chandler.forecasting.engine import batch, generation, kernels
from chandler.forecasting.engine.generation import generate
from chandler.forecasting.engine.planning import GenerationSettings
from chandler.forecasting.engine.sampling import Sampling, choose, probabilities
from chandler.hub import NANO
from chandler.nn import Kronos
from tests.forecasting.conftest import way_of
from tests.forecasting.engine.edges import assert_same
from tests.forecasting.engine.test_generation import prompt_of

pytestmark = pytest.mark.gpu
# Where a GPU is, torch has brought Triton along: not to find it there is a failure.
fused: Any = (
    importlib.import_module("chandler.devices.fused")
    if torch.cuda.is_available()
    else pytest.importorskip("chandler.devices.fused", reason="triton is not installed", exc_type=ImportError)
)
DTYPES = (torch.float32, torch.bfloat16)


def near(got: torch.Tensor, want: torch.Tensor) -> None:
    """To the rounding of what was asked for; `want` is float32. The interpreter cuts bfloat16 off, a GPU rounds it."""
    if got.dtype == torch.float32:
        torch.testing.assert_close(got, want, rtol=1e-6, atol=4e-6)
    else:
        rounding = 2**-8 if got.is_cuda else 2**-7
        torch.testing.assert_close(got.float(), want, rtol=rounding, atol=rounding)


def numbers(device: torch.device, *shape: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(sum(shape))).to(device, dtype)


def test_triton_builds_them_here(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert agree(fused, device)
    assert device.type != "cuda" or fused_kernels(device) is fused
    for name in ("gated", "attend", "drawn", "add_norm"):
        with monkeypatch.context() as other:
            right = getattr(fused, name)
            other.setattr(fused, name, lambda *given, right=right: right(*given) + 1)
            assert not agree(fused, device), name


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("dim", [96, 512, 832])
def test_adding_and_norm(device: torch.device, dim: int, dtype: torch.dtype) -> None:
    x, more = numbers(device, 70, dim), numbers(device, 70, dim, dtype=dtype)
    want = x + more.float()
    near(fused.add_norm(x.clone(), None, 1e-5, dtype), F.rms_norm(x, (dim,), eps=1e-5))
    near(fused.add_norm(x, more, 1e-5, dtype), F.rms_norm(want, (dim,), eps=1e-5))
    assert torch.equal(x, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "half"), [(16, 32), (32, 26), (6, 28)])
def test_turning(device: torch.device, heads: int, half: int, dtype: torch.dtype) -> None:
    x = numbers(device, 70, 3 * heads * half, dtype=dtype)
    turn = torch.polar(torch.ones(70, 1, half), numbers(torch.device("cpu"), 70, 1, half)).to(device)
    want = x.float()
    kernels.turn_pairs_(want, turn, heads)
    fused.turn_(x, turn, heads)
    near(x, want)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("width", [300, 1024, 2048])
def test_gate(device: torch.device, width: int, dtype: torch.dtype) -> None:
    both = numbers(device, 70, 2 * width, dtype=dtype)
    gate, up = both.float().chunk(2, 1)
    near(fused.gated(both), F.silu(gate) * up)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("heads", "width"), [(8, 64), (16, 56), (3, 52), (4, 208), (4, 8)])
def test_attention_over_the_rows_that_there_are(
    device: torch.device, heads: int, width: int, dtype: torch.dtype
) -> None:
    memory, ends = (
        numbers(device, 2, 5, heads, 150, width, dtype=dtype),
        torch.tensor([1, 64, 65, 150, 7], device=device),
    )
    q = (numbers(device, 5, 3, heads, width) * width**-0.5).to(dtype)[:, 0]
    there = (torch.arange(150, device=device) < ends[:, None])[:, None, :, None]
    want = F.scaled_dot_product_attention(q[:, :, None].float(), *memory.float(), attn_mask=there.mT, scale=1.0)
    near(fused.attend(q, memory.where(there, torch.nan), ends), want.flatten(1))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(1.3, top_k=5), Sampling(top_p=0.8)], ids=str)
@pytest.mark.parametrize("size", [64, 1024])
def test_drawing(device: torch.device, size: int, sampling: Sampling) -> None:
    """What torch draws, and nothing that is excluded, whatever the number."""
    logits = numbers(device, 400, size) * 3
    last = 1 - 2**-24
    uniforms = torch.cat((torch.linspace(0, last, 396), torch.tensor([0, last, last, 0]))).to(device)
    got, want = (choose(logits, sampling, uniforms, own) for own in (fused, None))
    p = probabilities(logits, sampling)
    assert bool((p.gather(1, got[:, None]) > 0).all())
    cdf = p.double().cumsum(1)
    apart = (cdf.gather(1, got[:, None])[:, 0] - cdf.gather(1, want[:, None])[:, 0]).abs()
    near_edge = (cdf - uniforms[:, None].double()).abs().amin(1) < 1e-6
    assert bool((near_edge | (apart == 0)).all())
    assert int((got == want).sum()) > 390


def test_numbers_that_are_none_draw_some_token(device: torch.device) -> None:
    """Of damaged weights: the engine says so at the end, and no lookup is outside of its table before that."""
    logits = torch.full((3, 64), torch.nan, device=device)
    ids = fused.drawn(logits, torch.tensor([0.0, 0.5, 0.99], device=device))
    assert bool(((ids >= 0) & (ids < 64)).all())


@pytest.fixture
def without_gpu(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A CPU goes the way of accelerators, with Triton's interpreter."""
    if device.type == "cuda":
        yield
        return
    monkeypatch.setattr(kernels, "fused_kernels", lambda device: fused)
    with way_of("for any device", monkeypatch):
        yield


@pytest.mark.parametrize("positions", ["reference", "rotary"])
@pytest.mark.parametrize("paths", [1, 5])
@pytest.mark.parametrize("rows", [(20, 20, 13), (28, 40, 28)])
def test_the_same_tokens_with_them(device: torch.device, without_gpu: None, monkeypatch: pytest.MonkeyPatch, predictor: Kronos,
                                   rows: tuple[int, ...], paths: int, positions: Any) -> None:  # fmt: skip
    """Histories that fit, and that slide."""
    predictor.to(device)
    horizon, sampling = 10, Sampling(temperature=1.2)
    series = [prompt_of(count, horizon, paths=paths, seed=seed) for seed, count in enumerate(rows)]
    settings = GenerationSettings(horizon, 32, sampling, positions=positions)
    made = []
    for least in (10**9, 0):
        monkeypatch.setattr(generation, "FUSED_FROM", least)
        made.append(generate(predictor, series, settings))
    assert_same(made[1], made[0], predictor, series, sampling, 32, positions)


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_captured_step_with_them_is_the_step_itself(device: torch.device, monkeypatch: pytest.MonkeyPatch,
                                                      dtype: torch.dtype) -> None:  # fmt: skip
    if device.type != "cuda":
        pytest.skip("what Triton's interpreter does is not written down by the recorder of graphs")
    model = Kronos.from_pretrained(NANO).to(device)
    series = [prompt_of(rows, 24, paths=1, bits=(10, 10), seed=rows) for rows in (30, 64, 64)]
    settings = GenerationSettings(24, 192, Sampling(), dtype=dtype)
    monkeypatch.setattr(generation, "FUSED_FROM", 0)
    replayed = generate(model, series, settings)
    weights, kept = generation._kept[model][1:]
    assert kept.replays
    assert weights.fused is fused
    again = generate(model, series[::-1], settings)[::-1]
    monkeypatch.setattr(generation, "FUSED_FROM", 10**9)
    generate(model, series, settings)
    assert generation._kept[model][1].fused is None, "what was captured with them is not taken over without"
    monkeypatch.setattr(generation, "FUSED_FROM", 0)
    monkeypatch.setattr(batch, "GRAPH_STEPS", 99)
    generation._kept.clear()
    eager = generate(model, series, settings)
    for name, other in (("replayed", replayed), ("taken over", again)):
        for a, b in zip(eager, other, strict=True):
            assert torch.equal(torch.stack(a), torch.stack(b)), name

"""The plain engine: equal to the reference in all three regimes, and untouched by modes and by what it no longer sees."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from chandler.forecasting.engine.prompts import Prompt, eval_mode
from chandler.forecasting.engine.reference import decode_tail, generate
from chandler.forecasting.engine.sampling import Sampling, path_uniforms
from chandler.nn.predictor import Kronos
from chandler.nn.tokenizer import KronosTokenizer

GREEDY, FREE = Sampling(top_k=1), Sampling(top_p=0.9)
CONTEXT = 32


def prompt_of(rows: int, horizon: int, paths: int = 3, seed: int = 0) -> Prompt:
    """A made-up series of 6 + 6 bits with hourly stamps."""
    g = torch.Generator().manual_seed(seed)
    hour = torch.arange(rows + horizon)
    zero = torch.zeros_like(hour)
    return Prompt(
        s1=torch.randint(64, (rows,), generator=g),
        s2=torch.randint(64, (rows,), generator=g),
        stamps=torch.stack((zero, hour % 24, hour // 24 % 7, hour // 24 % 28 + 1, zero + 3), dim=-1),
        uniforms=path_uniforms(seed, 0, paths, horizon),
    )


def run(model: Kronos, *prompts: Prompt, sampling: Sampling = FREE, **changes: object) -> list[tuple[Tensor, Tensor]]:
    horizon = prompts[0].uniforms.shape[1]
    return generate(model, prompts, horizon=horizon, sampling=sampling, max_context=CONTEXT, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize("case", ["ctx20_h8", "ctx28_h10", "ctx40_h6"])
def test_greedy_forecast_is_the_reference_s(
    golden: Path, tokenizer: KronosTokenizer, predictor: Kronos, predictor_name: str, case: str
) -> None:
    tensors = load_file(golden / f"{predictor_name}_greedy.safetensors")
    x, stamp, expected = (tensors[f"{case}.{part}"] for part in ("x", "stamp", "prediction"))
    horizon = expected.shape[1]
    s1, s2 = tokenizer.encode(x)
    prompts = [Prompt(s1[i], s2[i], stamp[i], path_uniforms(0, 0, 1, horizon)) for i in range(len(x))]
    for i, (new1, new2) in enumerate(run(predictor, *prompts, sampling=GREEDY)):
        whole1, whole2 = torch.cat((s1[i : i + 1], new1), 1), torch.cat((s2[i : i + 1], new2), 1)
        decoded = decode_tail(tokenizer, whole1, whole2, horizon=horizon, max_context=CONTEXT)
        torch.testing.assert_close(decoded[0], expected[i], rtol=0, atol=1e-4)


def test_a_model_left_in_train_mode_forecasts_the_same(predictor: Kronos) -> None:
    prompt = prompt_of(20, 6)
    [(s1, s2)] = run(predictor.eval(), prompt)
    [(t1, t2)] = run(predictor.train(), prompt)
    assert predictor.training, "the mode is given back"
    assert torch.equal(s1, t1)
    assert torch.equal(s2, t2)


def test_each_module_gets_its_own_mode_back(predictor: Kronos) -> None:
    predictor.train()
    predictor.transformer[0].eval()
    before = [module.training for module in predictor.modules()]

    def fail() -> None:
        with eval_mode(predictor):
            assert not any(module.training for module in predictor.modules())
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        fail()
    assert [module.training for module in predictor.modules()] == before


def test_nothing_is_recorded_for_gradients(predictor: Kronos, tokenizer: KronosTokenizer) -> None:
    prompt = prompt_of(8, 2)
    [(s1, s2)] = run(predictor, prompt)
    assert not decode_tail(tokenizer, s1, s2, horizon=2, max_context=CONTEXT).requires_grad


def test_rows_before_the_window_are_forgotten(predictor: Kronos) -> None:
    long = prompt_of(CONTEXT + 8, 5)
    cut = Prompt(long.s1[8:], long.s2[8:], long.stamps[8:], long.uniforms)
    [(a1, a2)], [(b1, b2)] = run(predictor, long), run(predictor, cut)
    assert torch.equal(a1, b1)
    assert torch.equal(a2, b2)


def test_stamps_and_positions_matter(predictor: Kronos) -> None:
    prompt = prompt_of(24, 8, paths=16)
    [(timed, _)] = run(predictor, prompt)
    [(untimed, _)] = run(predictor, Prompt(prompt.s1, prompt.s2, torch.zeros_like(prompt.stamps), prompt.uniforms))
    assert not torch.equal(timed, untimed)
    [(_, fine)], [(_, rotated)] = run(predictor, prompt), run(predictor, prompt, positions="rotary")
    assert not torch.equal(fine, rotated)


def test_decode_within_the_context_is_one_causal_pass(tokenizer: KronosTokenizer) -> None:
    s1, s2 = torch.randint(64, (2, 2, 40), generator=torch.Generator().manual_seed(0))
    tail = decode_tail(tokenizer, s1, s2, horizon=5, max_context=CONTEXT)
    with torch.no_grad():  # with gradients other kernels run, which round otherwise
        expected = tokenizer.decode(s1[:, -CONTEXT:], s2[:, -CONTEXT:])[:, -5:]
    torch.testing.assert_close(tail, expected, rtol=0, atol=0)


@pytest.mark.parametrize("horizon", [33, 48, 79, 80])
def test_decode_beyond_the_context_overlaps_by_half(tokenizer: KronosTokenizer, horizon: int) -> None:
    s1, s2 = torch.randint(64, (2, 2, 80), generator=torch.Generator().manual_seed(0))
    tail = decode_tail(tokenizer, s1, s2, horizon=horizon, max_context=CONTEXT)
    assert tail.shape == (2, horizon, 6)
    # The newest rows come from the last window, the 16 before them from the window that ends there.
    for end in (80, 64):
        window = tokenizer.decode(s1[:, end - 32 : end], s2[:, end - 32 : end])[:, 16:].detach()
        here = tail[:, horizon - 80 + end - 16 : horizon - 80 + end]
        torch.testing.assert_close(here, window, rtol=0, atol=1e-6)

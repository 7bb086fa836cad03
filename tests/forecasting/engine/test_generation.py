"""The cached engine gives the tokens of the plain loop, however series, paths and memory are cut.

Sums of float32 taken in another order differ by some 1e-6, so tokens are equal but for draws on an edge: see `edges`.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file
from tests.forecasting.engine.edges import EDGE, Paths2, assert_near, assert_same, either
from torch import Tensor
from torch.nn import functional as F

from chandler.errors import ConfigError, DataError
from chandler.forecasting.engine import generation, kernels
from chandler.forecasting.engine import reference as reencoding
from chandler.forecasting.engine.batch import Batch
from chandler.forecasting.engine.cache import FixedCache, PathCache, PrefixCache, bytes_per_row
from chandler.forecasting.engine.generation import generate
from chandler.forecasting.engine.kernels import GenerationWeights, Linear
from chandler.forecasting.engine.planning import GenerationSettings
from chandler.forecasting.engine.prompts import Prompt, eval_mode
from chandler.forecasting.engine.sampling import Sampling, choose, path_uniforms, probabilities, sample
from chandler.hub import NANO
from chandler.nn.predictor import DependencyPositions, Kronos, PredictorConfig
from chandler.nn.tokenizer import KronosTokenizer

GREEDY, FREE = Sampling(top_k=1), Sampling(top_p=0.9)
TIGHT = 17_400_000
"""Bytes for one path of nano beside the buffers, and for few where the history is short."""

configs = st.builds(
    lambda bits, layers, heads, width, ff, learned: PredictorConfig(
        s1_bits=bits[0],
        s2_bits=bits[1],
        n_layers=layers,
        d_model=heads * width,
        n_heads=heads,
        ff_dim=ff,
        learn_te=learned,
    ),
    st.tuples(st.integers(2, 6), st.integers(2, 6)),
    st.integers(1, 3),
    st.sampled_from([1, 2, 4]),
    st.sampled_from([8, 16, 24]),
    st.integers(5, 40),
    st.booleans(),
)
samplings = st.sampled_from(
    [GREEDY, FREE, Sampling(temperature=0.6, top_p=None), Sampling(top_k=5, top_p=0.8), Sampling(1.3, 0, 0.5)]
)
positions_of = st.sampled_from(["reference", "rotary"])
slow = settings(
    max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def prompt_of(rows: int, horizon: int, paths: int, bits: tuple[int, int] = (6, 6), seed: int = 0) -> Prompt:
    """A made-up series with made-up times."""
    g = torch.Generator().manual_seed(seed)
    highest = (60, 24, 7, 32, 13)
    stamps = torch.stack([torch.randint(n, (rows + horizon,), generator=g) for n in highest], dim=-1)
    return Prompt(
        torch.randint(2 ** bits[0], (rows,), generator=g),
        torch.randint(2 ** bits[1], (rows,), generator=g),
        stamps,
        path_uniforms(seed, 0, paths, horizon),
    )


def plain(model: Kronos, prompts: list[Prompt], horizon: int, sampling: Sampling, **kwargs: Any) -> list[Paths2]:
    return reencoding.generate(model, prompts, horizon=horizon, sampling=sampling, **kwargs)


def fast(model: Kronos, prompts: list[Prompt], horizon: int, sampling: Sampling, **kwargs: Any) -> list[Paths2]:
    calls = {name: kwargs.pop(name) for name in ("memory_budget", "progress", "encoded") if name in kwargs}
    return generate(model, prompts, GenerationSettings(horizon, sampling=sampling, **kwargs), **calls)


@given(
    config=configs,
    lengths=st.lists(st.integers(1, 70), min_size=1, max_size=4),
    horizon=st.integers(1, 12),
    paths=st.integers(1, 5),
    sampling=samplings,
    positions=positions_of,
    overflow=st.sampled_from(["exact", "block", "trim"]),
    seed=st.integers(0, 1000),
)
@slow
def test_engine_is_the_plain_loop_while_all_fits(
    ways: str,
    config: PredictorConfig,
    lengths: list[int],
    horizon: int,
    paths: int,
    sampling: Sampling,
    positions: DependencyPositions,
    overflow: str,
    seed: int,
) -> None:
    model = Kronos(config, generator=torch.Generator().manual_seed(seed))
    bits = (config.s1_bits, config.s2_bits)
    prompts = [prompt_of(n, horizon, paths + i % 2, bits, seed + i) for i, n in enumerate(lengths)]
    context = max(lengths) + horizon
    shared = {"max_context": context, "positions": positions}
    got = fast(model, prompts, horizon, sampling, overflow=overflow, **shared)
    assert_same(got, plain(model, prompts, horizon, sampling, **shared), model, prompts, sampling, context, positions)


@given(
    config=configs,
    lengths=st.lists(st.integers(1, 40), min_size=1, max_size=4),
    horizon=st.integers(1, 40),
    paths=st.integers(1, 4),
    context=st.integers(1, 24),
    sampling=samplings,
    positions=positions_of,
    seed=st.integers(0, 1000),
)
@slow
def test_exact_mode_is_the_plain_loop_beyond_the_context(
    operators: str,
    config: PredictorConfig,
    lengths: list[int],
    horizon: int,
    paths: int,
    context: int,
    sampling: Sampling,
    positions: DependencyPositions,
    seed: int,
) -> None:
    model = Kronos(config, generator=torch.Generator().manual_seed(seed))
    bits = (config.s1_bits, config.s2_bits)
    prompts = [prompt_of(n, horizon, paths, bits, seed + i) for i, n in enumerate(lengths)]
    shared = {"max_context": context, "positions": positions}
    got = fast(model, prompts, horizon, sampling, **shared)
    assert_same(got, plain(model, prompts, horizon, sampling, **shared), model, prompts, sampling, context, positions)


@pytest.mark.parametrize("case", ["ctx20_h8", "ctx28_h10", "ctx40_h6"])
def test_greedy_forecast_is_the_reference_s(
    golden: Path, tokenizer: KronosTokenizer, predictor: Kronos, predictor_name: str, case: str
) -> None:
    tensors = load_file(golden / f"{predictor_name}_greedy.safetensors")
    x, stamp, expected = (tensors[f"{case}.{part}"] for part in ("x", "stamp", "prediction"))
    horizon = expected.shape[1]
    s1, s2 = tokenizer.encode(x)
    prompts = [Prompt(s1[i], s2[i], stamp[i], path_uniforms(0, 0, 2, horizon)) for i in range(len(x))]
    for i, (new1, new2) in enumerate(fast(predictor, prompts, horizon, GREEDY, max_context=32)):
        whole1, whole2 = torch.cat((s1[i].expand(2, -1), new1), 1), torch.cat((s2[i].expand(2, -1), new2), 1)
        decoded = reencoding.decode_tail(tokenizer, whole1, whole2, horizon=horizon, max_context=32)
        torch.testing.assert_close(decoded, expected[i].expand(2, -1, -1), rtol=0, atol=1e-4)


@torch.no_grad()
def one_by_one(model: Kronos, prompt: Prompt, horizon: int, max_context: int, block: int) -> tuple[Paths2, float]:
    """Greedy: the window always begins at a multiple of `block`, the least with which it is not too long.

    Returns:
        New ids, and the least lead of a chosen token's logit over the next.
    """
    s1, s2 = prompt.s1[-max_context:].clone(), prompt.s2[-max_context:].clone()
    stamps = prompt.stamps[-max_context - horizon :] if len(prompt.s1) > max_context else prompt.stamps
    start, leads = 0, []
    for _ in range(horizon):
        while len(s1) - start > max_context:
            start += block
        h = model.hidden(s1[None, start:], s2[None, start:], stamps[None, start : len(s1)])
        best1 = model.s1_logits(h[:, -1]).topk(2, -1)
        new1 = best1.indices[:, 0]
        best2 = model.s2_logits(h, new1[None], causal=False, positions="reference")[:, -1].topk(2, -1)
        s1, s2 = torch.cat((s1, new1)), torch.cat((s2, best2.indices[:, 0]))
        leads += [float(best.values[0, 0] - best.values[0, 1]) for best in (best1, best2)]
    return (s1[-horizon:], s2[-horizon:]), min(leads)


@pytest.mark.parametrize(("rows", "horizon"), [(20, 30), (40, 5), (32, 80), (1, 50)])
def test_block_mode_drops_an_eighth_of_the_context_at_a_time(
    predictor: Kronos, rows: int, horizon: int, operators: str
) -> None:
    prompt = prompt_of(rows, horizon, 2)
    [(s1, s2)] = fast(predictor, [prompt], horizon, GREEDY, max_context=32, overflow="block")
    (want1, want2), lead = one_by_one(predictor.eval(), prompt, horizon, 32, block=4)
    assert lead > 2 * EDGE, "on an edge: take another seed"
    assert torch.equal(s1, want1.expand(2, -1))
    assert torch.equal(s2, want2.expand(2, -1))


@pytest.mark.parametrize(("rows", "horizon", "kept"), [(30, 10, 22), (50, 31, 1), (20, 12, 20), (9, 40, 4)])
def test_trim_mode_cuts_the_history_first(predictor: Kronos, rows: int, horizon: int, kept: int) -> None:
    """What does not fit beside the horizon is cut; a horizon that fills the context leaves an eighth of it."""
    prompt = prompt_of(rows, horizon, 3)
    cut = Prompt(prompt.s1[-kept:], prompt.s2[-kept:], prompt.stamps[-kept - horizon :], prompt.uniforms)
    got = fast(predictor, [prompt], horizon, FREE, max_context=32, overflow="trim")
    want = fast(predictor, [cut], horizon, FREE, max_context=32, overflow="block")
    assert all(torch.equal(a, b) for a, b in zip(got[0], want[0], strict=True))
    if horizon < 32:
        assert_same(got, plain(predictor, [cut], horizon, FREE, max_context=32), predictor, [cut], FREE, 32)


@pytest.fixture(scope="module")
def wide() -> Kronos:
    """Wide enough that products of few and of many rows take different kernels; full vocabularies."""
    config = PredictorConfig(n_layers=2, d_model=256, n_heads=4, ff_dim=1024)
    return Kronos(config, generator=torch.Generator().manual_seed(3))


@pytest.fixture(scope="module")
def nano() -> Kronos:
    """A trained predictor: its logits are further apart than those of random weights."""
    return Kronos.from_pretrained(NANO)


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.6, 50, 0.9)])
def test_company_memory_and_number_of_paths_part_no_draw(nano: Kronos, sampling: Sampling, operators: str) -> None:
    """240 paths: among others, backwards, under a budget for one path at a time, fewer, alone."""
    lengths = [5, 33, 64, 64, 90, 97, 160, 161]
    prompts = [prompt_of(n, 24, 30, (10, 10), seed=i) for i, n in enumerate(lengths)]
    together = fast(nano, prompts, 24, sampling, max_context=192)
    few = [first(prompt, 7) for prompt in prompts]
    one = [first(prompt, 1) for prompt in prompts]
    seven, single = ([(s1[:n], s2[:n]) for s1, s2 in together] for n in (7, 1))
    others = {
        "backwards": (prompts, together, fast(nano, prompts[::-1], 24, sampling, max_context=192)[::-1]),
        "tight": (few, seven, fast(nano, few, 24, sampling, max_context=192, memory_budget=TIGHT)),
        "alone": (one, single, [fast(nano, [prompt], 24, sampling, max_context=192)[0] for prompt in one]),
    }
    for name, (asked, want, got) in others.items():
        parted, draws = assert_same(got, want, nano, asked, sampling, 192)
        print(f"{name}: {parted} of {draws:,} draws parted")


def first(prompt: Prompt, paths: int) -> Prompt:
    """The prompt with its first paths alone."""
    return Prompt(prompt.s1, prompt.s2, prompt.stamps, prompt.uniforms[:paths])


@torch.inference_mode()
def step_of(weights: GenerationWeights, prompt: Prompt, s1: Tensor, s2: Tensor) -> tuple[Tensor, Tensor]:
    """Logits of the row after history and one new row (rows,) of each path: coarse, and fine given coarse token 3."""
    time = weights.time(prompt.stamps[: len(prompt.s1)])
    prefix = filled(weights, weights.embed(prompt.s1, prompt.s2, time), room=int(len(s1) == 1 and not weights.on_cpu))
    paths: FixedCache | PathCache
    if weights.on_cpu:
        paths = PathCache(weights, 1, len(s1), 1)
        paths.restart(prefix)
    else:
        paths = FixedCache(weights, prefix, len(s1), 1)
        paths.restart()
    positions = paths.positions()
    paths.open()
    now = weights.time(prompt.stamps[len(prompt.s1)]).expand(len(s1), -1)
    h = weights.hidden(weights.embed(s1, s2, now), positions, paths.attend)
    paths.write(len(weights.layers), weights.dependency_memory(h, positions))
    paths.advance()
    queries = weights.dependency_queries(torch.full_like(s1, 3), positions)
    return weights.s1_logits(h), weights.s2_logits(h, paths.read(len(weights.layers), queries))


def filled(weights: GenerationWeights, rows: Tensor, room: int = 0) -> PrefixCache:
    """The cache of one history, embedded (rows, dim)."""
    prefix = PrefixCache(weights, 1, len(rows), room)
    prefix.fill([len(rows)], lambda _, __, width: F.pad(rows, (0, 0, 0, width - len(rows)))[None], 2048, lambda _: None)
    return prefix


@pytest.mark.parametrize("name", ["wide", "nano"])
def test_logits_of_a_row_agree_for_any_number_of_rows(name: str, operators: str, request: Any) -> None:
    """And with those of the model itself."""
    model = request.getfixturevalue(name)
    weights = GenerationWeights(model, dtype=torch.float32, positions="reference", max_positions=128)
    prompt = prompt_of(90, 1, 1, (10, 10))
    s1, s2 = torch.randint(1024, (2, 300), generator=torch.Generator().manual_seed(0))
    every = step_of(weights, prompt, s1, s2)
    found = []
    for rows in (*range(1, 13), 100, 300):
        few = step_of(weights, prompt, s1[:rows], s2[:rows])
        found += [assert_near(a, b[:rows]) for a, b in zip(few, every, strict=True)]
    ids1, ids2 = (torch.cat((old.expand(300, -1), new[:, None]), 1) for old, new in ((prompt.s1, s1), (prompt.s2, s2)))
    with torch.no_grad(), eval_mode(model):
        h = model.hidden(ids1, ids2, prompt.stamps.expand(300, -1, -1))
        fine = model.s2_logits(h, torch.full((300, 1), 3), causal=False, positions="reference")[:, -1]
        plain = model.s1_logits(h[:, -1]), fine
    far = [assert_near(a, b) for a, b in zip(every, plain, strict=True)]
    size = max(float(logits.abs().max()) for logits in plain)
    for text, pairs in (("between numbers of rows", found), ("from the model", far)):
        logit, moved = (max(column) for column in zip(*pairs, strict=True))
        print(f"{name}, logits up to {size:.1f}: {text} {logit:.1e} at most, cumulative probabilities {moved:.1e}")


@pytest.mark.parametrize("sampling", [Sampling(), FREE, Sampling(0.6, 50, 0.95)])
def test_a_draw_parts_on_an_edge_alone(nano: Kronos, sampling: Sampling) -> None:
    """Logits moved by 1e-5, at random and at worst: draws near an edge part, those farther from it do not."""
    g = torch.Generator().manual_seed(0)
    s1, s2 = torch.randint(1024, (2, 6, 100), generator=g)
    with torch.no_grad(), eval_mode(nano):
        logits = nano.s1_logits(nano.hidden(s1, s2, None)).flatten(0, 1)
    p = probabilities(logits, sampling)
    token = torch.multinomial(p, 1, generator=g)
    above = p.cumsum(-1).gather(-1, token)[:, 0]
    # At worst all tokens up to an edge gain and all beyond it lose, or the other way round.
    worst = torch.where(torch.arange(logits.shape[-1]) <= token, 1.0, -1.0)
    at_random = torch.randint(2, logits.shape, generator=g) * 2.0 - 1
    parted = beyond = far = 0
    for off in (-3e-5, -1.5e-5, -1e-6, 1e-6, 1.5e-5, 3e-5, 0.01):
        uniforms = (above + off).clamp(0, 1 - 2**-24)
        before = sample(logits, sampling, uniforms)

        def edges(change: Tensor, uniforms: Tensor = uniforms, before: Tensor = before) -> list[bool]:
            """Of the draws that part when logits change: whether each lies on an edge."""
            after = sample(logits + change, sampling, uniforms)
            rows = (before != after).nonzero().flatten().tolist()
            return [either(logits[row], sampling, uniforms[row], int(before[row]), int(after[row])) for row in rows]

        for change in (worst, -worst, at_random):
            near = edges(EDGE * change)
            parted, beyond = parted + len(near), beyond + near.count(False)
        if off == 3e-5:
            far = edges(100 * EDGE * worst).count(False)
    print(f"moved by 1e-5, {parted} of {7 * 3 * len(logits):,} draws part, {beyond} of them on no edge")
    print(f"moved by 1e-3, {far} of {len(logits)} part on no edge")
    assert parted > 0
    assert beyond == 0
    assert far > 0


@pytest.mark.parametrize("context", [128, 16])
def test_fewer_paths_are_the_first_of_more(wide: Kronos, context: int) -> None:
    prompt = prompt_of(40, 5, 140, (10, 10))
    s1, s2 = fast(wide, [prompt], 5, FREE, max_context=context)[0]
    for paths in (1, 2, 9):
        few = fast(wide, [first(prompt, paths)], 5, FREE, max_context=context)
        parted, draws = assert_same(few, [(s1[:paths], s2[:paths])], wide, [first(prompt, paths)], FREE, context)
        print(f"{paths} of 140 paths: {parted} of {draws:,} draws parted")


def test_history_is_kept_once_whatever_the_number_of_paths(wide: Kronos) -> None:
    weights = GenerationWeights(wide, dtype=torch.float32, positions="reference", max_positions=512)
    with torch.inference_mode():
        prefix = filled(weights, torch.zeros(300, 256))

    def size(tensors: list[Tensor]) -> int:
        return sum(t.numel() * t.element_size() for t in tensors)

    assert size(prefix.keys) + size(prefix.values) == 320 * bytes_per_row(weights)
    for paths in (1, 100):
        assert size(PathCache(weights, 1, paths, 50).memory) == paths * 50 * bytes_per_row(weights)


def test_model_is_read_and_not_changed(predictor: Kronos) -> None:
    predictor.train()
    before = {name: tensor.clone() for name, tensor in predictor.state_dict().items()}
    prompt = prompt_of(20, 6, 3)
    got = fast(predictor, [prompt], 6, FREE, max_context=32)
    assert predictor.training
    assert all(module.training for module in predictor.modules())
    assert all(torch.equal(before[name], tensor) for name, tensor in predictor.state_dict().items())
    assert_same(got, plain(predictor, [prompt], 6, FREE, max_context=32), predictor, [prompt], FREE, 32)
    assert not got[0][0].is_inference()


def test_changed_weights_are_noticed(predictor: Kronos) -> None:
    prompt = prompt_of(20, 12, 3)
    before = fast(predictor, [prompt], 12, FREE, max_context=32)
    for parameter in predictor.transformer[0].parameters():
        parameter.data.mul_(-1.5)
    after = fast(predictor, [prompt], 12, FREE, max_context=32)
    assert not torch.equal(before[0][0], after[0][0])
    assert_same(after, plain(predictor, [prompt], 12, FREE, max_context=32), predictor, [prompt], FREE, 32)


@pytest.mark.parametrize("sampling", [GREEDY, FREE, Sampling()])
@pytest.mark.parametrize("part", ["transformer.0.ffn.w2.weight", "head.proj_s1.bias", "head.proj_s2.bias"])
def test_logits_that_are_no_numbers_are_an_error(predictor: Kronos, ways: str, part: str, sampling: Sampling) -> None:
    """A NaN has a token too, the first; the step that meets it may have been captured when all was well."""
    prompt, number = prompt_of(20, 12, 3), predictor.get_parameter(part).data.flatten()[:1]
    want = fast(predictor, [prompt], 12, sampling, max_context=64)
    whole = number.clone()
    for damage in (torch.nan, torch.inf):
        number.fill_(damage)
        for way in (fast, plain):
            with pytest.raises(DataError, match=r"not finite\. Its weights are damaged"):
                way(predictor, [prompt], 12, sampling, max_context=64)
    number.copy_(whole)
    again = fast(predictor, [prompt], 12, sampling, max_context=64)
    assert all(torch.equal(*both) for both in zip(want[0], again[0], strict=True))


def test_a_nan_in_one_batch_is_none_of_the_next(predictor: Kronos, replayed: None) -> None:
    """The captured step is that of the batch before, and so is what it counts."""
    prompt = prompt_of(20, 12, 3)
    fast(predictor, [prompt], 12, FREE, max_context=64)
    with torch.inference_mode():
        generation._kept[predictor][2].total.fill_(torch.nan)
    fast(predictor, [prompt], 12, FREE, max_context=64)


@pytest.mark.parametrize("sampling", [FREE, Sampling(0.7, 20, 0.6), Sampling(top_p=1.0), Sampling(1.0, 0, 0.999)])
def test_choosing_without_argsort_is_sampling(sampling: Sampling) -> None:
    g = torch.Generator().manual_seed(0)
    logits, uniforms = 3 * torch.randn(500, 256, generator=g), torch.rand(500, generator=g)
    assert torch.equal(choose(logits, sampling, uniforms), sample(logits, sampling, uniforms))
    level = logits.round()  # many equal logits: their places decide which of them are in the nucleus
    assert torch.equal(choose(level, sampling, uniforms), sample(level, sampling, uniforms))


@pytest.mark.parametrize("name", ["wide", "nano"])
def test_bfloat16_logits_are_near(name: str, operators: str, request: Any) -> None:
    """bfloat16 has 8 binary digits, rounds by up to 0.2%, and does so some ten times in each block."""
    model = request.getfixturevalue(name)
    prompt = prompt_of(90, 1, 1, (10, 10))
    s1, s2 = torch.randint(1024, (2, 50), generator=torch.Generator().manual_seed(0))
    whole, half = (
        step_of(GenerationWeights(model, dtype=dtype, positions="reference", max_positions=128), prompt, s1, s2)
        for dtype in (torch.float32, torch.bfloat16)
    )
    for a, b in zip(whole, half, strict=True):
        off = float((a - b).std() / a.std())
        moved = float((a.softmax(-1).cumsum(-1) - b.softmax(-1).cumsum(-1)).abs().max())
        print(f"{name}: logits are off by {off:.2%} of their spread, cumulative probabilities by {moved:.4f} at most")
        assert 1e-4 < off < 0.02
        assert moved < 0.02


def test_bfloat16_changes_greedy_tokens_between_near_logits_alone(
    golden: Path, tokenizer: KronosTokenizer, ways: str
) -> None:
    changed = tokens = 0
    for name in ("predictor", "predictor-fixed-time"):
        model, tensors = Kronos.from_pretrained(golden / name), load_file(golden / f"{name}_greedy.safetensors")
        for case, horizon in (("ctx20_h8", 8), ("ctx28_h10", 10), ("ctx40_h6", 6)):
            s1, s2 = tokenizer.encode(tensors[f"{case}.x"])
            uniforms = path_uniforms(0, 0, 1, horizon)
            prompts = [Prompt(s1[i], s2[i], tensors[f"{case}.stamp"][i], uniforms) for i in range(len(s1))]
            whole = fast(model, prompts, horizon, GREEDY, max_context=32)
            half = fast(model, prompts, horizon, GREEDY, max_context=32, dtype=torch.bfloat16)
            # The golden logits have a spread of 0.9; 0.03 is the most that bfloat16 moves one of them by.
            assert_same(half, whole, model, prompts, GREEDY, 32, edge=0.03)
            for a, b in zip(whole, half, strict=True):
                different = torch.cat(a) != torch.cat(b)
                changed, tokens = changed + int(different.sum()), tokens + different.numel()
    print(f"bfloat16 changes {changed} of {tokens} greedy tokens")
    assert tokens == 192


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_products_of_any_number_of_rows_are_products(dtype: torch.dtype, operators: str) -> None:
    """Packed or plain, one row or many: the product of what was rounded, rounded."""
    g = torch.Generator().manual_seed(0)
    weight, bias, x = torch.randn(96, 64, generator=g), torch.randn(96, generator=g), torch.randn(40, 64, generator=g)
    want = x.to(dtype).double() @ weight.to(dtype).double().T + bias.to(dtype).double()
    product = Linear(weight, bias, dtype)
    for rows in (1, 2, 3, 7, 16, 31, 40):
        found = product(x[:rows].to(dtype))
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), want[:rows], rtol=torch.finfo(dtype).eps, atol=1e-5)


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="int8 is multiplied by FBGEMM, on x86"
)
def test_int8_products_are_those_of_whole_steps_and_a_row_does_not_know_its_company() -> None:
    g = torch.Generator().manual_seed(0)
    weight, bias, x = torch.randn(96, 64, generator=g), torch.randn(96, generator=g), torch.randn(40, 64, generator=g)
    weight[0], weight[1], x[0], x[1], x[2] = 1.0, 0.0, 1.0, 0.0, -1.0  # the largest sums there can be, and none
    scale = (weight.abs().amax(1) / 63).clamp_min(1e-30).double()
    most = (x.abs().amax(1, keepdim=True) / 127).clamp_min(1e-30).double()
    want = (x / most).round() * most @ ((weight / scale[:, None]).round() * scale[:, None]).T + bias
    engine = torch.backends.quantized.engine
    product, plain_product = Linear(weight, bias, torch.int8), Linear(weight, None, torch.int8)
    assert torch.backends.quantized.engine == engine
    together = product(x)
    torch.testing.assert_close(together.double(), want, rtol=1e-5, atol=2e-5)
    torch.testing.assert_close(plain_product(x[4:]) + bias, together[4:])
    assert torch.equal(together, torch.cat([product(row[None]) for row in x]))
    off = (together - (x @ weight.T + bias)).norm(dim=1) / (x @ weight.T).norm(dim=1).clamp_min(1e-9)
    assert 1e-3 < float(off[4:].mean()) < 0.03


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="int8 is multiplied by FBGEMM, on x86"
)
@pytest.mark.parametrize("name", ["wide", "nano"])
def test_int8_logits_are_near(name: str, request: Any) -> None:
    """Weights have 6 binary digits and a sign, rows 7 and a sign."""
    model = request.getfixturevalue(name)
    prompt = prompt_of(90, 1, 1, (10, 10))
    s1, s2 = torch.randint(1024, (2, 50), generator=torch.Generator().manual_seed(0))
    whole, bytewise = (
        step_of(GenerationWeights(model, dtype=dtype, positions="reference", max_positions=128), prompt, s1, s2)
        for dtype in (torch.float32, torch.int8)
    )
    for a, b in zip(whole, bytewise, strict=True):
        off = float((a - b).std() / a.std())
        print(f"{name}: logits are off by {off:.2%} of their spread")
        assert 1e-3 < off < 0.1


@pytest.mark.skipif(
    "fbgemm" not in torch.backends.quantized.supported_engines, reason="int8 is multiplied by FBGEMM, on x86"
)
def test_int8_paths_do_not_depend_on_their_company(nano: Kronos) -> None:
    """Products are exact sums; what is left are the float32 sums of attention, and a draw on an edge."""
    prompts = [prompt_of(rows, 6, 4, (10, 10), seed=rows) for rows in (60, 33, 90)]
    together = fast(nano, prompts, 6, FREE, max_context=128, dtype=torch.int8)
    for prompt, (s1, s2) in zip(prompts, together, strict=True):
        [alone] = fast(nano, [prompt], 6, FREE, max_context=128, dtype=torch.int8)
        assert float((alone[0] == s1).float().mean()) > 0.9
        assert float((alone[1] == s2).float().mean()) > 0.9


def test_int8_is_refused_where_it_cannot_be(predictor: Kronos, monkeypatch: pytest.MonkeyPatch) -> None:
    for refusing, answer in (("suits_cpu", False), ("packs", False)):
        with monkeypatch.context() as patched:
            patched.setattr(kernels, refusing, lambda what, answer=answer: answer)
            with pytest.raises(ConfigError, match=r"int8 weights are for CPUs .* on cpu. Use precision="):
                fast(predictor, [prompt_of(20, 2, 1)], 2, FREE, max_context=32, dtype=torch.int8)


def test_progress_counts_new_rows(predictor: Kronos) -> None:
    seen: list[tuple[int, int]] = []
    prompts = [prompt_of(20, 4, 3), prompt_of(9, 4, 2)]
    fast(predictor, prompts, 4, FREE, max_context=32, progress=lambda done, total: seen.append((done, total)))
    assert seen[-1] == (20, 20)
    assert [done for done, _ in seen] == sorted({done for done, _ in seen})


@pytest.mark.parametrize("budget", [None, 3_800_000])
def test_histories_are_told_as_they_are_encoded_each_once(predictor: Kronos, budget: int | None) -> None:
    rows: list[int] = []
    prompts = [prompt_of(20, 8, 30), prompt_of(9, 8, 30), prompt_of(40, 8, 30)]
    # Small budgets and windows that slide encode a history again: that is not told.
    settings = {"max_context": 32, "memory_budget": budget}
    fast(predictor, prompts, 8, FREE, encoded=rows.append, **settings)
    assert sum(rows) == 20 + 9 + 32


def test_no_prompts_no_paths(predictor: Kronos) -> None:
    assert fast(predictor, [], 4, FREE, max_context=32) == []


def test_a_budget_for_no_path_says_so(predictor: Kronos) -> None:
    prompt = prompt_of(20, 4, 2)
    with pytest.raises(ConfigError, match=r"needs .* MB for one path of 4 rows after 20"):
        fast(predictor, [prompt], 4, FREE, max_context=32, memory_budget=1000)


def test_a_captured_step_serves_the_next_call(predictor: Kronos, replayed: None) -> None:
    """Other histories, random numbers and weights: the memory alone is that of the call before."""
    first, second = prompt_of(20, 12, 3), prompt_of(20, 12, 3, seed=1)
    fast(predictor, [first], 12, FREE, max_context=64)
    _, weights, batch = generation._kept[predictor]
    for parameter in predictor.transformer[0].parameters():
        parameter.data.mul_(-1.5)
    got = fast(predictor, [second], 12, FREE, max_context=64)
    assert generation._kept[predictor][1:] == (weights, batch)
    assert_same(got, plain(predictor, [second], 12, FREE, max_context=64), predictor, [second], FREE, 64)
    fast(predictor, [first], 12, GREEDY, max_context=64)
    assert generation._kept[predictor][2] is not batch


def test_memory_that_does_not_do_makes_smaller_batches(
    predictor: Kronos, monkeypatch: pytest.MonkeyPatch, replayed: None
) -> None:
    prompts = [prompt_of(20, 12, 6, seed=seed) for seed in range(5)]
    want = fast(predictor, prompts, 12, FREE, max_context=64)
    load, refused, seen = Batch.load, [], []

    def full(batch: Batch, *parts: Any) -> None:
        if batch.rows > 8:
            refused.append(batch.rows)
            raise torch.OutOfMemoryError("no room")
        load(batch, *parts)

    monkeypatch.setattr(Batch, "load", full)
    progress = {"progress": lambda done, total: seen.append(done)}
    got = fast(predictor, prompts, 12, FREE, max_context=64, memory_budget=40_000_000, **progress)
    assert refused
    assert sorted(set(seen)) == seen
    assert seen[-1] == 5 * 6 * 12
    assert_same(got, want, predictor, prompts, FREE, 64)
    monkeypatch.setattr(Batch, "load", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("no room")))
    with pytest.raises(ConfigError, match="no memory left for a single path"):
        fast(predictor, prompts, 12, FREE, max_context=64, memory_budget=40_000_000)

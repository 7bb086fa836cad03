"""Models, generation, decoding, forecasts and `compat` where the model is; results are those of the CPU."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch
from torch import Tensor

from chandler import compat
from chandler.compat import KronosPredictor
from chandler.data.bars import Bars
from chandler.devices import bring, device_of, has_float64, resolve, wide
from chandler.errors import ConfigError
from chandler.forecasting.engine import reference as reencoding
from chandler.forecasting.engine.decoding import decode_many
from chandler.forecasting.engine.encoding import encode_histories
from chandler.forecasting.engine.generation import generate
from chandler.forecasting.engine.memory import SHARE_ACCELERATOR, free_memory
from chandler.forecasting.engine.planning import GenerationSettings, Overflow
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import Sampling, path_uniforms
from chandler.forecasting.forecaster import Forecaster
from chandler.nn.lora import adapters, add_adapters, load_adapters, merged, save_adapters
from chandler.nn.predictor import DependencyPositions, Kronos
from chandler.nn.tokenizer import KronosTokenizer
from tests.accelerator import standin
from tests.accelerator.standin import FREE

CONTEXT, ROWS, HORIZON, PATHS = 24, 20, 7, 3
"""Three rows more than the context holds: the window slides."""
CPU, SECOND = torch.device("cpu"), torch.device("standin", 1)


@pytest.fixture
def predictor_name() -> str:
    """One of the golden predictors is enough here."""
    return "predictor"


def walk(rows: int = 40, seed: int = 0) -> Bars:
    """A random walk near 50 with volume, one bar a day."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    values = np.c_[close, close * 1.01, close * 0.99, close, np.full((rows, 2), 100.0) + rng.random((rows, 2))]
    return Bars(f"WALK{seed}", pd.date_range("2024-01-01", periods=rows, freq="D"), values)


# The stand-in is as strict as CUDA


@pytest.mark.parametrize(
    "mix",
    [
        lambda x: x + torch.ones(3),
        lambda x: torch.ones(3) + x[0],
        lambda x: x.add_(torch.ones(3)),
        lambda x: x @ torch.ones(3),
        lambda x: torch.cat((x, torch.ones(3))),
        lambda x: torch.stack((x[0], torch.tensor(1.0))),
        lambda x: torch.where(x > 0, x, torch.ones(3)),
        lambda x: torch.ones(3)[x.long()],
        lambda x: x.index_select(0, torch.tensor([0])),
        lambda x: x.index_put_((torch.tensor([0]),), torch.ones(1)),
        lambda x: x + torch.ones(3, device=SECOND),
        lambda x: x.numpy(),
        lambda x: torch.nn.functional.linear(x, torch.ones(2, 3)),
        lambda x: torch.nn.functional.embedding(torch.tensor([1]), x[:, None]),
        lambda x: torch.ones(1, device="standin:7"),
    ],
)
@pytest.mark.parametrize("inference", [False, True])
def test_what_mixes_devices_raises(device: torch.device, mix: Any, inference: bool) -> None:
    with torch.inference_mode(inference), pytest.raises(RuntimeError):
        mix(torch.ones(3, device=device))


@pytest.mark.parametrize("inference", [False, True])
def test_moves_are_moves(device: torch.device, inference: bool) -> None:
    with torch.inference_mode(inference):
        x = torch.tensor([1.0, 2.0], device=device)
        for y, place in ((x.cpu(), CPU), (x.to(SECOND), SECOND), (x.cpu().to(device), device), (x.double(), device)):
            assert (y.device, y.tolist()) == (place, [1.0, 2.0])
        assert type(x.cpu()) is torch.Tensor


def test_what_cuda_allows_is_allowed(device: torch.device) -> None:
    x = torch.tensor([1.0, 2.0, 3.0], device=device)
    assert (x + torch.tensor(1.0)).tolist() == [2.0, 3.0, 4.0]
    assert x[torch.tensor([2, 0])].tolist() == [3.0, 1.0]
    x[:2] = torch.zeros(2)
    assert x.cpu().numpy().tolist() == [0.0, 0.0, 3.0]
    assert (x[1:].device, x.to(SECOND).device, x.sum().device, torch.zeros_like(x).device) == (
        device, SECOND, device, device,
    )  # fmt: skip
    y = torch.ones(3, device=device, requires_grad=True)
    (y * x).sum().backward()
    assert y.grad is not None
    assert (y.grad.device, y.grad.tolist()) == (device, [0.0, 0.0, 3.0])


# Deciding and moving


def test_names_and_free_memory(device: torch.device, monkeypatch: pytest.MonkeyPatch) -> None:
    assert resolve("standin") == resolve(device) == torch.device("standin", 0)
    assert resolve("standin:1") == SECOND
    with pytest.raises(ConfigError, match=r"'standin:7' cannot be used here: invalid device ordinal"):
        resolve("standin:7")
    assert free_memory(device) == FREE
    monkeypatch.setattr(torch.standin, "memory_reserved", lambda device: 700)  # type: ignore[attr-defined]
    monkeypatch.setattr(torch.standin, "memory_allocated", lambda device: 200)  # type: ignore[attr-defined]
    assert free_memory(device) == FREE + 500, "what torch keeps of earlier work can be taken again"


def test_float64_where_there_is_none(without_float64: None, device: torch.device) -> None:
    assert (has_float64(device), has_float64(CPU)) == (False, True)
    made = wide(torch.ones(2, device=device))
    assert (made.device, made.dtype) == (CPU, torch.float64)
    with pytest.raises(TypeError, match="no float64"):
        torch.ones(2, device=device).double()


def test_a_model_in_pieces_is_put_together(device: torch.device, predictor: Kronos) -> None:
    predictor.transformer[0].to(device)
    predictor.head.to(SECOND)
    with pytest.raises(ConfigError, match="this Kronos are on cpu and standin:0 and standin:1"):
        device_of(predictor)
    bring(device, predictor)
    assert device_of(predictor) == device
    predictor.dep_layer.cross_attn.rotary.to("cpu")  # a buffer alone
    bring(device, predictor)
    assert device_of(predictor) == device


def test_what_does_not_fit_goes_back(device: torch.device, predictor: Kronos, monkeypatch: pytest.MonkeyPatch) -> None:
    move, moved = torch.nn.Parameter.to, []

    def full_after_five(tensor: Tensor, *args: Any, **kwargs: Any) -> Tensor:
        moved.append(args)
        if len(moved) == 6:
            raise torch.OutOfMemoryError("the device is out of memory. More follows")
        return move(tensor, *args, **kwargs)

    monkeypatch.setattr(torch.nn.Parameter, "to", full_after_five)
    with pytest.raises(ConfigError, match="this Kronos cannot be brought to standin:0: the device is out of memory"):
        bring(device, predictor)
    assert device_of(predictor) == CPU


# The engine


def prompts() -> list[Prompt]:
    """Two series of unequal length, made on the CPU."""
    generator = torch.Generator().manual_seed(0)
    found = []
    for number, rows in enumerate((ROWS, ROWS - 9)):
        ids = torch.randint(64, (2, rows), generator=generator)
        stamps = torch.stack(
            [torch.randint(n, (rows + HORIZON,), generator=generator) for n in (60, 24, 7, 32, 13)], -1
        )
        found.append(Prompt(ids[0], ids[1], stamps, path_uniforms(0, number, PATHS, HORIZON)))
    return found


@pytest.mark.parametrize("positions", get_args(DependencyPositions))
@pytest.mark.parametrize("overflow", get_args(Overflow))
@pytest.mark.parametrize("sampling", [Sampling(top_k=1), Sampling(temperature=0.9, top_k=20, top_p=0.9)])
def test_generation(
    device: torch.device, predictor: Kronos, sampling: Sampling, overflow: Overflow, positions: DependencyPositions
) -> None:
    settings: dict[str, Any] = {
        "horizon": HORIZON,
        "sampling": sampling,
        "max_context": CONTEXT,
        "positions": positions,
    }
    want = generate(predictor, prompts(), GenerationSettings(overflow=overflow, **settings))
    predictor.to(device)
    got = generate(predictor, prompts(), GenerationSettings(overflow=overflow, **settings))
    assert all(ids.device == device for pair in got for ids in pair)
    assert [[ids.tolist() for ids in pair] for pair in got] == [[ids.tolist() for ids in pair] for pair in want]
    if overflow == "exact":
        plain = reencoding.generate(predictor, prompts(), **settings)
        assert [[ids.tolist() for ids in pair] for pair in plain] == [[ids.tolist() for ids in pair] for pair in want]


def test_generation_in_bfloat16(device: torch.device, predictor: Kronos) -> None:
    predictor.to(device)
    [(s1, s2), _] = generate(predictor, prompts(), GenerationSettings(HORIZON, CONTEXT, dtype=torch.bfloat16))
    assert (s1.shape, s2.device) == ((PATHS, HORIZON), device)


def test_generation_says_where_a_model_in_pieces_is(device: torch.device, predictor: Kronos) -> None:
    predictor.head.to(device)
    with pytest.raises(ConfigError, match=r"on cpu and standin:0\. Bring them to one device"):
        generate(predictor, prompts(), GenerationSettings(HORIZON, CONTEXT))


@pytest.mark.parametrize("context", [CONTEXT, 5])
def test_decoding_takes_ids_from_anywhere(device: torch.device, tokenizer: KronosTokenizer, context: int) -> None:
    history, new = torch.arange(2 * ROWS).view(2, ROWS), torch.arange(2 * PATHS * HORIZON).view(2, PATHS, HORIZON)
    [want] = decode_many(tokenizer, [(history[0], history[1])], [(new[0], new[1])], max_context=context)
    tokenizer.to(device)
    for place in (CPU, device, SECOND):
        ids = new.to(place)
        [got] = decode_many(tokenizer, [(history[0], history[1])], [(ids[0], ids[1])], max_context=context)
        assert {one.device for one in got} == {CPU}
        torch.testing.assert_close([*got], [*want], rtol=1e-5, atol=1e-6)


def test_many_series_are_one_move_each_way(
    device: torch.device, tokenizer: KronosTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    windows = [torch.randn(rows, 6, generator=generator) for rows in (ROWS, 1, ROWS - 9, ROWS, 3)]
    new = torch.randint(64, (2, PATHS, HORIZON), generator=generator)
    alone, _ = encode_histories(tokenizer, windows)
    want = decode_many(tokenizer, alone, [(new[0], new[1])] * 5, max_context=CONTEXT)
    tokenizer.to(device)
    ids = new.to(device)
    moves, run = list[str](), standin._run

    def watched(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
        out, name = run(func, args, kwargs), func._schema.name
        assert name != "aten::_local_scalar_dense", "somebody waits for a number"
        if name in standin._COPIES and args[0].device != out.device:
            moves.append(f"{args[0].device.type} to {out.device.type}")
        return out

    monkeypatch.setattr(standin, "_run", watched)
    got, finite = encode_histories(tokenizer, windows)
    assert moves == ["cpu to standin"]
    assert finite.device == device
    moves.clear()
    paths = decode_many(tokenizer, [got[0], got[3]], [(ids[0], ids[1])] * 2, max_context=CONTEXT)
    assert moves == ["standin to cpu"]
    monkeypatch.setattr(standin, "_run", run)
    assert all(one.device == device for pair in got for one in pair)
    assert [[one.tolist() for one in pair] for pair in got] == [[one.tolist() for one in pair] for pair in alone]
    for one, other in zip(paths, (want[0], want[3]), strict=True):
        torch.testing.assert_close([*one], [*other], rtol=1e-5, atol=1e-5)


# Adapters


def test_adapters_and_their_merge(device: torch.device, predictor: Kronos, tmp_path: Path) -> None:
    predictor.to(device)
    add_adapters(predictor, ["q_proj", "w2"], rank=2, alpha=4, generator=torch.Generator().manual_seed(0))
    for lora in adapters(predictor).values():
        lora.up.data.fill_(0.1)
    plain = merged(predictor)
    assert device_of(predictor) == device_of(plain) == device
    ids, stamps = torch.arange(12, device=device).view(2, 6), torch.ones(2, 6, 5, dtype=torch.long, device=device)
    with torch.no_grad():
        a, b = (model(ids, ids, stamps, ids)[1].cpu() for model in (predictor.eval(), plain))
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)
    save_adapters(predictor, tmp_path)
    plain.save_pretrained(tmp_path / "plain")
    again = Kronos.from_pretrained(Path(__file__).parents[1] / "golden" / "predictor").to(device)
    load_adapters(again, tmp_path)
    loaded, saved = merged(again).state_dict(), Kronos.from_pretrained(tmp_path / "plain").state_dict()
    assert all(loaded[name].device == device and torch.equal(loaded[name].cpu(), saved[name]) for name in saved)


# Forecasts


@pytest.mark.parametrize("overflow", get_args(Overflow))
def test_forecasts_are_those_of_the_cpu(
    device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos, overflow: Overflow
) -> None:
    series = [walk(), walk(30, seed=1)]
    settings: dict[str, Any] = {"horizon": HORIZON, "paths": PATHS, "top_p": 0.9, "overflow": overflow}
    want = Forecaster(tokenizer, predictor, device="cpu", max_context=CONTEXT).forecast_many(series, **settings)
    forecaster = Forecaster(tokenizer, predictor, device="standin", max_context=CONTEXT)
    assert forecaster.device == device_of(tokenizer) == device_of(predictor) == device
    for a, b in zip(forecaster.forecast_many(series, **settings), want, strict=True):
        np.testing.assert_allclose(a.paths, b.paths, rtol=1e-5)


def test_embeddings_are_those_of_the_cpu(device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    series = [walk(), walk(30, seed=1)]
    want = Forecaster(tokenizer, predictor, device="cpu", max_context=CONTEXT).embed(series)
    got = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT).embed(series)
    pd.testing.assert_frame_equal(got, want, atol=1e-5)


def test_a_forecast_where_there_is_no_float64(
    without_float64: None, device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos
) -> None:
    want = Forecaster(tokenizer, predictor, device="cpu", max_context=CONTEXT).forecast(walk(), HORIZON, PATHS)
    got = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT).forecast(walk(), HORIZON, PATHS)
    np.testing.assert_allclose(got.paths, want.paths, rtol=1e-5)


def test_a_forecast_in_bfloat16(device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    forecaster = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT)
    assert np.isfinite(forecaster.forecast(walk(), HORIZON, PATHS, precision="bfloat16").paths).all()


def test_a_memory_budget_comes_from_the_device(
    device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos, monkeypatch: pytest.MonkeyPatch
) -> None:
    forecaster = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT)
    monkeypatch.setattr(torch.standin, "mem_get_info", lambda device: (int(2e5 / SHARE_ACCELERATOR), FREE))  # type: ignore[attr-defined]
    with pytest.raises(ConfigError, match=r"generation needs .* for one path"):
        forecaster.forecast(walk(), HORIZON, PATHS)


def test_whoever_is_asked_brings_a_shared_model_back(
    device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos
) -> None:
    first = Forecaster(tokenizer, predictor, device="cpu", max_context=CONTEXT)
    want = first.forecast(walk(), HORIZON, PATHS).paths
    second = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT)
    third = Forecaster(tokenizer, predictor, device=SECOND, max_context=CONTEXT)
    for asked, place in ((first, CPU), (second, device), (third, SECOND), (first, CPU)):
        np.testing.assert_allclose(asked.forecast(walk(), HORIZON, PATHS).paths, want, rtol=1e-5)
        assert asked.device == device_of(tokenizer) == device_of(predictor) == place
    # Somebody else, and only in part.
    predictor.to(SECOND)
    tokenizer.decoder.to(device)
    predictor.transformer[0].norm1.to("cpu")
    np.testing.assert_allclose(first.forecast(walk(), HORIZON, PATHS).paths, want, rtol=1e-5)
    assert first.device == device_of(tokenizer) == device_of(predictor) == CPU


def test_without_a_device_a_forecaster_goes_where_the_predictor_is(
    device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos
) -> None:
    forecaster = Forecaster(tokenizer, predictor.to(device), device=None, max_context=CONTEXT)
    assert forecaster.device == device_of(tokenizer) == device
    predictor.to(SECOND)
    assert forecaster.device == SECOND
    forecaster.forecast(walk(), HORIZON, PATHS)
    assert device_of(tokenizer) == device_of(predictor) == SECOND
    predictor.head.to("cpu")
    with pytest.raises(ConfigError, match="this Kronos are on cpu and standin:1"):
        forecaster.forecast(walk(), HORIZON, PATHS)


def test_torch_s_default_device_changes_nothing(device: torch.device) -> None:
    want = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast(walk(), HORIZON, PATHS).paths
    torch.set_default_device(SECOND)
    try:
        for place in (CPU, device):
            got = Forecaster.from_pretrained("chandler-nano", device=place).forecast(walk(), HORIZON, PATHS)
            np.testing.assert_allclose(got.paths, want, rtol=1e-5)
    finally:
        torch.set_default_device(None)


def test_a_copy_of_a_model_stays_where_it_is(
    device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos
) -> None:
    here = Forecaster(copy.deepcopy(tokenizer), copy.deepcopy(predictor), device="cpu", max_context=CONTEXT)
    there = Forecaster(tokenizer, predictor, device=device, max_context=CONTEXT)
    there.forecast(walk(), HORIZON, PATHS)
    assert (device_of(here.predictor), device_of(there.predictor)) == (CPU, device)


# The reference's interface


def frame(bars: Bars) -> tuple[pd.DataFrame, pd.DatetimeIndex, pd.DatetimeIndex]:
    names = ["open", "high", "low", "close", "volume", "amount"]
    future = pd.date_range(bars.timestamps[-1], periods=HORIZON + 1, freq="D")[1:]
    return pd.DataFrame(bars.values, columns=names), bars.timestamps, future


def test_predict_and_predict_batch(device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    (df, x, y), other = frame(walk()), frame(walk(30, seed=1))
    settings: dict[str, Any] = {"pred_len": HORIZON, "sample_count": 2, "verbose": False, "seed": 0}
    lists = [list(part) for part in zip((df, x, y), other, strict=True)]
    here = KronosPredictor(predictor, tokenizer, device="cpu", max_context=CONTEXT)
    one, batch = here.predict(df, x, y, **settings), here.predict_batch(*lists, **settings)
    there = KronosPredictor(predictor, tokenizer, device="standin:0", max_context=CONTEXT)
    assert there.device == device
    pd.testing.assert_frame_equal(there.predict(df, x, y, **settings), one, rtol=1e-5)
    for got, want in zip(there.predict_batch(*lists, **settings), batch, strict=True):
        pd.testing.assert_frame_equal(got, want, rtol=1e-5)
    assert (here.device, there.device, device_of(predictor)) == (CPU, device, device)
    pd.testing.assert_frame_equal(here.predict(df, x, y, **settings), one)
    assert device_of(predictor) == device_of(tokenizer) == CPU


def test_a_script_of_the_reference_trains_and_generates(golden: Path, device: torch.device) -> None:
    tokenizer = compat.KronosTokenizer.from_pretrained(golden / "tokenizer", map_location="standin")
    model = compat.Kronos.from_pretrained(golden / "predictor").to(device)
    generator = torch.Generator().manual_seed(0)
    x, stamp = torch.randn(2, ROWS, 6, generator=generator), torch.ones(2, ROWS, 5, dtype=torch.long)
    for each in (tokenizer, model):
        optimizer = torch.optim.AdamW(each.parameters(), lr=1e-3)
        for _ in range(2):
            if each is tokenizer:
                (coarse, fine), bsq, _, _ = tokenizer(x.to(device))
                loss = (coarse - x.to(device)).square().mean() + (fine - x.to(device)).square().mean() + bsq
            else:
                s1, s2 = tokenizer.encode(x.to(device), half=True)
                logits = model(s1[:, :-1], s2[:, :-1], stamp[:, :-1].to(device))
                loss = model.head.compute_loss(*logits, s1[:, 1:], s2[:, 1:])[0]
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            assert math.isfinite(loss.item())
    kronos = compat.KronosPredictor(model, tokenizer, device=device, max_context=CONTEXT)
    future = torch.ones(2, HORIZON, 5, dtype=torch.long)
    settings: dict[str, Any] = {"pred_len": HORIZON, "sample_count": 2, "verbose": False, "seed": 0}
    got = kronos.generate(x.to(device), stamp, future, **settings)
    again = compat.auto_regressive_inference(tokenizer, model, x, stamp, future, CONTEXT, top_p=0.9, **settings)
    here = compat.KronosPredictor(model, tokenizer, device="cpu", max_context=CONTEXT)
    for other in (again, here.generate(x, stamp, future, **settings)):
        np.testing.assert_allclose(got, other, rtol=1e-4, atol=1e-5)
    assert tokenizer.decode(tokenizer.encode(x)).shape == x.shape


def test_the_golden_forecast(golden: Path, device: torch.device, tokenizer: KronosTokenizer, predictor: Kronos) -> None:
    given = pd.read_csv(golden / "predictor_predict_full_input.csv", parse_dates=["timestamps"])
    expected = pd.read_csv(golden / "predictor_predict_full_output.csv", index_col="timestamps")
    rows = len(given) - len(expected)
    kronos = KronosPredictor(predictor, tokenizer, device=device, max_context=32)
    times = given.timestamps
    got = kronos.predict(given[:rows], times[:rows], times[rows:], len(expected), top_k=1, top_p=1.0, verbose=False)
    np.testing.assert_allclose(got.to_numpy(), expected.to_numpy(), rtol=1e-4)

"""Forecaster: what it is loaded from, which rows it looks at, what makes paths repeatable, what it refuses."""

from __future__ import annotations

import json
import shutil
import time
import warnings
from pathlib import Path
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from chandler import progress as progress_module
from chandler.cli.forecasting import forecast
from chandler.data import load_bars
from chandler.data.bars import Bars
from chandler.data.datasets.windows import normalise
from chandler.data.store.store import BarStore
from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.forecasting import preprocessing
from chandler.forecasting.anchor import HALF_LIFE, anchored
from chandler.forecasting.engine import decoding, encoding
from chandler.forecasting.engine import reference as reencoding
from chandler.forecasting.engine.kernels import packs
from chandler.forecasting.engine.planning import Overflow
from chandler.forecasting.engine.prompts import Prompt
from chandler.forecasting.engine.sampling import Sampling, path_uniforms
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.paths import seeds_per_series
from chandler.forecasting.preprocessing import prepare_series
from chandler.forecasting.pretrained import RELEASES, load_models, model_parts
from chandler.forecasting.settings import ForecastSettings, Precision
from chandler.nn.predictor import Kronos, PredictorConfig
from chandler.nn.tokenizer import KronosTokenizer, TokenizerConfig

CONTEXT = 32


@pytest.fixture
def forecaster(tokenizer: KronosTokenizer, golden: Path) -> Forecaster:
    predictor = Kronos.from_pretrained(golden / "predictor")
    return Forecaster(tokenizer, predictor, device="cpu", max_context=CONTEXT)


@pytest.fixture
def run_folder(golden: Path, tmp_path: Path) -> Path:
    for part in ("tokenizer", "predictor"):
        shutil.copytree(golden / part, tmp_path / "run" / part)
    return tmp_path / "run"


def walk(rows: int = 60, seed: int = 0, symbol: str = "ACME", **times: object) -> Bars:
    """A random walk near 50 with volume; business days from 2024 unless `times` say otherwise."""
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(rng.normal(0, 0.01, rows)))
    open_ = np.r_[50, close[:-1]]
    spread = np.abs(rng.normal(0, 0.2, (2, rows)))
    high, low = np.maximum(open_, close) + spread[0], np.minimum(open_, close) - spread[1]
    volume = rng.integers(100, 1000, rows).astype(float)
    values = np.c_[open_, high, low, close, volume, volume * (open_ + high + low + close) / 4]
    span: dict[str, object] = {"start": "2024-01-01", "freq": "B"} | times
    return Bars(symbol, pd.date_range(periods=rows, **span), values)  # type: ignore[call-overload]


# What comes out


def test_shapes_units_and_settings(forecaster: Forecaster) -> None:
    bars = walk()
    forecast = forecaster.forecast(bars, horizon=5, paths=7, temperature=0.8, top_p=0.95, top_k=20, seed=11)
    assert forecast.paths.shape == (7, 5, 6)
    assert forecast.paths.dtype == np.float64
    close = forecast.history.values[:, 3]
    assert abs(forecast.paths[..., 3] - close.mean()).max() < 6 * close.std()
    assert (forecast.symbol, forecast.seed, forecast.calendar, len(forecast)) == ("ACME", 11, "inferred", 5)
    assert (forecast.sampling.temperature, forecast.sampling.top_p, forecast.sampling.top_k) == (0.8, 0.95, 20)
    assert len(forecast.history) == CONTEXT
    assert (forecast.history.timestamps == bars.timestamps[-CONTEXT:]).all()


@pytest.mark.parametrize("price", [1e-8, 0.1, 1e6])
def test_constant_prices_and_no_volume_stay_what_they_are(forecaster: Forecaster, price: float) -> None:
    bars = walk()
    bars.values[:, :4], bars.values[:, 4:] = price, 0
    forecast = forecaster.forecast(bars, horizon=4, paths=5)
    np.testing.assert_allclose(forecast.paths[..., :4], price, rtol=1e-3)
    np.testing.assert_allclose(forecast.paths[..., 4:], 0, atol=1e-4)
    assert (forecast.realised_variance() < 1e-6).all()
    assert np.isfinite(forecast.returns("log")).all()
    assert np.isfinite(forecast.repair().paths).all()


def test_tiny_prices_are_forecast_as_if_quoted_in_a_larger_unit(forecaster: Forecaster) -> None:
    bars, tiny = walk(), walk()
    tiny.values[:, :4] *= 1e-8  # some 5e-7, moving by 1e-8: a thousandth of what the scale adds to a spread
    large = walk()
    large.values[:, :4] *= 0.1
    expected = forecaster.forecast(large, horizon=6, paths=20).paths[..., :4]
    paths = forecaster.forecast(tiny, horizon=6, paths=20).paths[..., :4]
    np.testing.assert_allclose(paths, expected * 1e-7, rtol=1e-4)
    assert (paths > 0).all()
    assert bars.values[0, 0] == 50


def test_prices_of_usual_size_keep_the_scale_of_the_reference(forecaster: Forecaster) -> None:
    bars = walk()
    bars.values[:, :4] *= 1e-4  # 0.005
    history = bars.tail(CONTEXT).values
    z, mean, std = normalise(history, CONTEXT)
    prepared = prepare_series(bars, 3, CONTEXT)
    assert np.array_equal(prepared.window.values, z)
    np.testing.assert_allclose(prepared.restore(np.ones((1, 3, 6)))[0, 0], mean + std + 1e-5, rtol=1e-12)


def test_huge_volumes_give_finite_numbers(forecaster: Forecaster) -> None:
    bars = walk()
    bars.values[:, 4:] *= 1e30
    paths = forecaster.forecast(bars, horizon=4, paths=5).paths
    assert np.isfinite(paths).all()
    assert paths[..., 4].max() > 1e31
    usual = forecaster.forecast(walk(), horizon=4, paths=5).paths
    np.testing.assert_allclose(paths[..., :4], usual[..., :4], rtol=1e-4)


def test_a_history_with_holes_and_damaged_weights_are_named(forecaster: Forecaster) -> None:
    bars = walk()
    bars.values[-3, 3] = np.nan
    with pytest.raises(DataError, match=r"ACME: 1 row .*not finite, first at 2024-03-20"):
        forecaster.forecast(bars, horizon=2, paths=2)
    torch.nn.init.constant_(forecaster.tokenizer.head.bias, float("nan"))
    with pytest.raises(DataError, match=r"ACME: .*weights are damaged"):
        forecaster.forecast(walk(), horizon=2, paths=2)


@pytest.mark.parametrize("part", ["tokenizer.quant_embed.weight", "predictor.norm.weight"])
def test_weights_whose_numbers_are_only_compared_are_an_error_when_damaged(forecaster: Forecaster, part: str) -> None:
    """A sign and a draw would be made of a NaN as of any number."""
    model, name = part.split(".", 1)
    getattr(forecaster, model).get_parameter(name).data.flatten()[0] = float("nan")
    with pytest.raises(DataError, match="weights are damaged"):
        forecaster.forecast(walk(), horizon=2, paths=2)
    with pytest.raises(DataError, match="weights are damaged"):
        forecaster.embed(walk())


def test_repaired_forecasts_say_so(forecaster: Forecaster) -> None:
    bars = walk()
    bars.values[:, 4:] = 0  # the model's noise around 0 is negative half of the time
    raw = forecaster.forecast(bars, horizon=6, paths=10)
    whole = forecaster.forecast(bars, horizon=6, paths=10, repair=True)
    assert raw.repaired is None
    assert whole.repaired == (whole.paths != raw.paths).any(-1).sum()
    assert whole.repaired > 0
    o, h, low, c = np.moveaxis(whole.paths[..., :4], -1, 0)
    assert (h >= np.maximum(o, c)).all()
    assert (low <= np.minimum(o, c)).all()
    assert (whole.paths[..., 4:] >= 0).all()


# Beyond the context


def test_overflow_modes_are_one_while_all_fits(forecaster: Forecaster) -> None:
    exact, block, trim = (
        forecaster.forecast(walk(20), horizon=CONTEXT - 20, paths=3, overflow=mode)
        for mode in ("exact", "block", "trim")
    )
    assert np.array_equal(exact.paths, block.paths)
    assert np.array_equal(exact.paths, trim.paths)


def test_trim_cuts_the_history_before_its_scale_is_taken(forecaster: Forecaster) -> None:
    trimmed = forecaster.forecast(walk(), horizon=10, paths=3, overflow="trim")
    assert len(trimmed.history) == CONTEXT - 10
    short = forecaster.forecast(walk().tail(CONTEXT - 10), horizon=10, paths=3)
    assert np.array_equal(trimmed.paths, short.paths)
    # No room at all: an eighth of the context, then block by block.
    assert len(forecaster.forecast(walk(), horizon=CONTEXT, paths=1, overflow="trim").history) == CONTEXT // 8


@pytest.mark.parametrize("overflow", ["exact", "block", "trim"])
@pytest.mark.parametrize("horizon", [CONTEXT - 1, CONTEXT, 2 * CONTEXT + 5])
def test_long_horizons_in_every_mode(forecaster: Forecaster, overflow: Overflow, horizon: int) -> None:
    forecast = forecaster.forecast(walk(), horizon=horizon, paths=2, overflow=overflow)
    assert forecast.paths.shape == (2, horizon, 6)
    assert len(forecast.timestamps) == horizon
    assert np.isfinite(forecast.paths).all()


def test_exact_is_the_plain_loop(forecaster: Forecaster) -> None:
    """Greedy and past the context: the engine's bars are those of re-encoding and decoding every path."""
    prepared = prepare_series(walk(), 12, CONTEXT)
    s1, s2 = (ids[0] for ids in forecaster.tokenizer.encode(torch.from_numpy(prepared.window.values)[None]))
    prompt = Prompt(s1, s2, torch.from_numpy(prepared.window.stamps), path_uniforms(0, 0, 1, 12))
    [new] = reencoding.generate(
        forecaster.predictor, [prompt], horizon=12, sampling=Sampling(top_k=1), max_context=CONTEXT
    )
    whole = [torch.cat((old[None], ids), dim=1) for old, ids in zip((s1, s2), new, strict=True)]
    bars = reencoding.decode_tail(forecaster.tokenizer, *whole, horizon=12, max_context=CONTEXT)
    paths = forecaster.forecast(walk(), horizon=12, paths=2, top_k=1, anchor=False).paths
    np.testing.assert_allclose(paths, prepared.restore(bars.double().numpy()).repeat(2, axis=0), rtol=1e-4)


@pytest.mark.parametrize("horizon", [4, CONTEXT, 2 * CONTEXT])
def test_paths_begin_at_the_last_close(forecaster: Forecaster, horizon: int) -> None:
    """The prices of a bar are moved by one factor: the last close over what the tokens have of it, fading out."""
    history = walk()
    plain, moved = (forecaster.forecast(history, horizon=horizon, paths=3, anchor=anchor) for anchor in (False, True))
    prepared = prepare_series(history, horizon, CONTEXT)
    # What the decoder sees of the history beside the forecast, or all of it where that leaves no room.
    seen = CONTEXT - horizon if horizon < CONTEXT else CONTEXT
    s1, s2 = forecaster.tokenizer.encode(torch.from_numpy(prepared.window.values)[None])
    with torch.no_grad():
        z = forecaster.tokenizer.decode(s1[:, -seen:], s2[:, -seen:])[0, -1:]
    decoded = prepared.restore(z[None].double().numpy())[0, 0, 3]
    assert abs(np.log(history.values[-1, 3] / decoded)) > 1e-4  # else nothing is shown
    factor = (history.values[-1, 3] / decoded) ** 0.5 ** (np.arange(horizon) / HALF_LIFE)
    np.testing.assert_allclose(moved.paths[..., :4], plain.paths[..., :4] * factor[:, None], rtol=1e-5)
    np.testing.assert_array_equal(moved.paths[..., 4:], plain.paths[..., 4:])


@pytest.mark.parametrize("decoded", [8.0, 5.0, 4.0])
def test_what_is_little_is_a_factor(decoded: float) -> None:
    paths = np.random.default_rng(0).random((2, 20, 6))
    factor = (5.0 / decoded) ** 0.5 ** (np.arange(20) / HALF_LIFE)
    moved = anchored(paths, decoded, 5.0)
    assert np.array_equal(moved[..., :4], paths[..., :4] * factor[:, None])
    assert np.array_equal(moved[..., 4:], paths[..., 4:])


@pytest.mark.parametrize("decoded", [3.9, 1.0, 0.0, -1.0])
def test_what_is_much_is_added(decoded: float) -> None:
    """A factor would be any number: the spread stays that of the model, and the first bar is still near the last close."""
    paths = decoded + np.random.default_rng(0).normal(size=(200, 20, 6))
    moved = anchored(paths, decoded, 5.0)
    left = 0.5 ** (np.arange(20) / HALF_LIFE)
    np.testing.assert_allclose(
        moved[..., :4] - paths[..., :4], np.broadcast_to(((5 - decoded) * left)[:, None], (200, 20, 4))
    )
    np.testing.assert_allclose(moved[..., :4].std(axis=0), paths[..., :4].std(axis=0))
    assert abs(np.median(moved[:, 0, 3]) - 5) < 0.3
    assert (moved[..., :4][paths[..., :4] > 0] > 0).all()
    assert np.array_equal(moved[..., 4:], paths[..., 4:])


def test_a_crash_multiplies_no_spread() -> None:
    """As the tokenizer errs there: some 15% of the window's deviation, which is several times the last close."""
    nano, rng = Forecaster.from_pretrained("chandler-nano", device="cpu"), np.random.default_rng(113)
    close = 100 * np.exp(np.cumsum(rng.normal(0, 0.02, 128)))
    close = np.r_[close, 0.3 * close[-1] * np.exp(np.cumsum(rng.normal(0, 0.04, 30)))]
    open_ = np.r_[close[0], close[:-1]]
    high, low = np.maximum(open_, close) * 1.002, np.minimum(open_, close) * 0.998
    named = {"open": open_, "high": high, "low": low, "close": close}
    volume = 100 * np.random.default_rng(13).random(len(close))
    times = pd.bdate_range("2024-01-01", periods=len(close))
    bars = Bars.from_frame(pd.DataFrame({"timestamp": times, **named, "volume": volume}))
    plain, moved = (nano.forecast(bars, horizon=2, paths=30, anchor=anchor, progress=False) for anchor in (False, True))
    spread = plain.paths[:, 0, 3].std()
    assert abs(np.median(plain.paths[:, 0, 3]) / close[-1] - 1) > 0.3  # else nothing is shown
    assert abs(np.median(moved.paths[:, 0, 3]) / close[-1] - 1) < 0.3
    assert moved.paths[:, 0, 3].std() == pytest.approx(spread)


def test_bfloat16_keeps_most_paths_and_an_unknown_format_is_refused(forecaster: Forecaster) -> None:
    settings: dict[str, Any] = {"horizon": 2, "paths": 200}
    exact = forecaster.forecast(walk(), **settings).paths

    def same(**changed: Any) -> float:
        paths = forecaster.forecast(walk(), **settings, **changed).paths
        return float(np.isclose(paths[:, 0], exact[:, 0], rtol=1e-4).all(-1).mean())

    kept, others = same(precision="bfloat16"), same(seed=1)
    print(f"first bars that stay the same: {kept:.1%} in bfloat16, {others:.1%} with another seed")
    # Cumulative probabilities move by 0.0005 on average at each of 64 edges, twice: some 5% of first bars change.
    assert kept > 0.85
    assert others < 0.05
    if packs(torch.int8):
        whole_bytes = same(precision="int8")
        print(f"{whole_bytes:.1%} in int8")
        assert 0.5 < whole_bytes < 1
    with pytest.raises(ConfigError, match="precision"):
        forecaster.forecast(walk(), horizon=2, paths=1, precision="float16")  # type: ignore[arg-type]


def test_a_predictor_that_its_owner_rounded_is_refused(forecaster: Forecaster) -> None:
    forecaster.predictor.bfloat16()
    with pytest.raises(ConfigError, match=r'this predictor are bfloat16.* precision="bfloat16"'):
        forecaster.forecast(walk(), horizon=2, paths=1)


def test_the_command_takes_every_precision() -> None:
    listed = get_args(forecast.__annotations__["precision"])[0]
    assert get_args(listed) == get_args(Precision)


# Repeatable
# None of the draws compared here lies on an edge between two tokens (see `edges`): moved by 1e-5 they give the same paths.


def test_the_same_seed_gives_the_same_paths_whatever_the_global_one(forecaster: Forecaster) -> None:
    torch.manual_seed(1)
    first = forecaster.forecast(walk(), horizon=6, paths=4, seed=5)
    torch.manual_seed(2)
    assert np.array_equal(forecaster.forecast(walk(), horizon=6, paths=4, seed=5).paths, first.paths)


def test_different_seeds_and_paths_differ(forecaster: Forecaster) -> None:
    one, two = (forecaster.forecast(walk(), horizon=6, paths=4, seed=seed).paths for seed in (0, 1))
    assert not np.allclose(one, two)
    assert not np.allclose(one[0], one[1])


def test_each_series_may_have_a_seed_of_its_own(forecaster: Forecaster) -> None:
    series = [walk(symbol="A"), walk(seed=1, symbol="B")]
    found = forecaster.forecast_many(series, horizon=6, paths=4, seed=[7, 9])
    alone = [forecaster.forecast(one, horizon=6, paths=4, seed=seed) for one, seed in zip(series, (7, 9), strict=True)]
    assert [one.seed for one in found] == [7, 9]
    for one, other in zip(found, alone, strict=True):
        np.testing.assert_allclose(one.paths, other.paths, rtol=1e-6)
    with pytest.raises(ConfigError, match="2 series, found 3 seeds"):
        forecaster.forecast_many(series, horizon=6, paths=4, seed=[1, 2, 3])


@pytest.mark.parametrize(
    "seeds", [np.array([7, 9]), pd.Series([7, 9], index=["A", "B"]), (7, np.int64(9)), range(7, 11, 2)]
)
def test_seeds_come_in_any_sequence_of_whole_numbers(seeds: Any) -> None:
    found = seeds_per_series(seeds, 2)
    assert found == [7, 9]
    assert all(type(one) is int for one in found)
    assert seeds_per_series(np.int64(7), 2) == seeds_per_series(np.array(7), 2) == [7, 7]


@pytest.mark.parametrize("seeds", ["12", 1.0, None, [1, 2.5], np.array([1.0, 2.0]), {1, 2}, [True, 2], [1, -2]])
def test_other_seeds_are_refused_in_words(seeds: Any) -> None:
    with pytest.raises(ConfigError, match="seed must be a whole number >= 0, found"):
        seeds_per_series(seeds, 2)


def test_few_paths_are_the_first_of_many(forecaster: Forecaster) -> None:
    many = forecaster.forecast(walk(), horizon=6, paths=20).paths
    few = forecaster.forecast(walk(), horizon=6, paths=4).paths
    np.testing.assert_allclose(few, many[:4], rtol=1e-5)


def test_a_series_is_forecast_the_same_alone_and_among_others(forecaster: Forecaster) -> None:
    bars = [walk(seed=1, symbol="A"), walk(rows=20, seed=2, symbol="B"), walk(seed=3, symbol="C")]
    store = BarStore.from_bars(bars)
    for many in (
        forecaster.forecast_many(store, horizon=4, paths=3),
        forecaster.forecast_many(bars, horizon=4, paths=3),
    ):
        assert [one.symbol for one in many] == ["A", "B", "C"]
        for one, series in zip(many, bars, strict=True):
            alone = forecaster.forecast(series, horizon=4, paths=3)
            np.testing.assert_allclose(one.paths, alone.paths, rtol=1e-5)
            assert (one.timestamps == alone.timestamps).all()


@pytest.mark.parametrize("top_k", [1, 0])
@pytest.mark.parametrize("memory_budget", [None, 12_000_000])
def test_a_series_has_its_own_paths_in_a_ragged_batch(
    forecaster: Forecaster, top_k: int, memory_budget: int | None
) -> None:
    rows = [60, 2, 20, 31, 60, 7, 25, 20]
    bars = [walk(n, seed=n + i, symbol=f"S{i}") for i, n in enumerate(rows)]
    settings: dict[str, Any] = {"horizon": 9, "paths": 5, "top_k": top_k, "seed": 3}
    many = forecaster.forecast_many(bars, **settings, memory_budget=memory_budget)
    assert [one.symbol for one in many] == [one.symbol for one in bars]
    for one, series in zip(many, bars, strict=True):
        np.testing.assert_allclose(one.paths, forecaster.forecast(series, **settings).paths, rtol=1e-5)
    backwards = forecaster.forecast_many(bars[::-1], **settings)[::-1]
    for one, two in zip(many, backwards, strict=True):
        np.testing.assert_allclose(one.paths, two.paths, rtol=1e-5)


def test_many_takes_the_times_of_each(forecaster: Forecaster) -> None:
    bars = [walk(symbol="A"), walk(30, symbol="B")]
    times = pd.date_range("2025-01-01", periods=3)
    given, inferred = forecaster.forecast_many(bars, 3, 2, timestamps=[times, None])
    assert (given.timestamps == times).all()
    assert (given.calendar, inferred.calendar) == ("given", "inferred")
    with pytest.raises(ConfigError, match="2 series, found 1"):
        forecaster.forecast_many(bars, 3, 2, timestamps=[times])
    with pytest.raises(DataError, match=r"B: .*are 2, the horizon is 3"):
        forecaster.forecast_many(bars, 3, 2, timestamps=[None, times[:2]])


def test_none_are_forecast_as_none(forecaster: Forecaster) -> None:
    assert forecaster.forecast_many([], horizon=2, paths=2) == []
    with pytest.raises(DataError, match="forecast_many takes"):
        forecaster.forecast_many(3)


@pytest.mark.parametrize("training", [True, False])
def test_models_left_in_train_mode_forecast_the_same(forecaster: Forecaster, training: bool) -> None:
    expected = forecaster.forecast(walk(), horizon=6, paths=4).paths
    forecaster.predictor.train(training)
    forecaster.tokenizer.train(training)
    assert np.array_equal(forecaster.forecast(walk(), horizon=6, paths=4).paths, expected)
    assert forecaster.predictor.training is forecaster.tokenizer.training is training


# Which rows


def test_values_before_the_visible_window_change_nothing(forecaster: Forecaster) -> None:
    bars, other = walk(), walk()
    other.values[:-CONTEXT] *= 7
    one, two = (forecaster.forecast(series, horizon=6, paths=4) for series in (bars, other))
    assert np.array_equal(one.paths, two.paths)
    short = forecaster.forecast(bars.tail(CONTEXT), horizon=6, paths=4)
    assert np.array_equal(one.paths, short.paths)
    assert (one.timestamps == short.timestamps).all()


def test_lookback_shortens_the_window_and_never_lengthens_it(forecaster: Forecaster) -> None:
    bars = walk()
    short = forecaster.forecast(bars, horizon=3, paths=2, lookback=10)
    assert len(short.history) == 10
    assert np.array_equal(short.paths, forecaster.forecast(bars.tail(10), horizon=3, paths=2).paths)
    with pytest.warns(UserWarning, match=f"sees {CONTEXT} bars at most"):
        assert len(forecaster.forecast(bars, horizon=3, paths=2, lookback=1000).history) == CONTEXT
    forecaster.lookback = 16
    assert len(forecaster.forecast(bars, horizon=3, paths=2).history) == 16
    assert len(forecaster.forecast(bars, horizon=3, paths=2, lookback=8).history) == 8


def test_frame_store_and_bars_are_the_same(forecaster: Forecaster) -> None:
    bars = walk(symbol="series")
    expected = forecaster.forecast(bars, horizon=4, paths=3)
    for form in (bars.to_frame(), bars.to_frame().reset_index(), BarStore.from_bars([bars])):
        forecast = forecaster.forecast(form, horizon=4, paths=3)
        np.testing.assert_allclose(forecast.paths, expected.paths, rtol=1e-6)
        assert (forecast.timestamps == expected.timestamps).all()


def test_a_frame_of_many_symbols_goes_to_forecast_many(forecaster: Forecaster) -> None:
    frame = pd.concat([walk(seed=s, symbol=s2).to_frame().assign(symbol=s2) for s, s2 in enumerate("AB")])
    assert [one.symbol for one in forecaster.forecast_many(frame, horizon=2, paths=2)] == ["A", "B"]
    with pytest.raises(DataError, match="2 symbols"):
        forecaster.forecast(frame, horizon=2, paths=2)


# Times


def test_inferred_days_skip_weekends(forecaster: Forecaster) -> None:
    forecast = forecaster.forecast(walk(), horizon=3, paths=2)  # the last of 60 business days is Friday 22 March
    assert [f"{day:%a %d}" for day in forecast.timestamps] == ["Mon 25", "Tue 26", "Wed 27"]


def test_the_close_of_a_session_is_known_from_rows_beyond_the_window(forecaster: Forecaster) -> None:
    days = pd.date_range("2024-03-04", periods=5, freq="B")
    times = pd.DatetimeIndex([day + pd.Timedelta(minutes=570 + 15 * i) for day in days for i in range(26)])
    bars = Bars("X", times, walk(130).values)
    ahead = forecaster.forecast(bars, horizon=2, paths=1, lookback=8).timestamps
    assert [str(at) for at in ahead] == ["2024-03-11 09:30:00", "2024-03-11 09:45:00"]


def test_a_calendar_knows_holidays_and_the_forecast_says_which_it_was(forecaster: Forecaster) -> None:
    bars = walk()
    before = Bars("ACME", pd.bdate_range(end="2024-07-02", periods=len(bars)), bars.values)
    named = forecaster.forecast(before, horizon=3, paths=2, calendar="xnys")
    assert [f"{day:%m-%d}" for day in named.timestamps] == ["07-03", "07-05", "07-08"]  # closed on the 4th
    assert (named.calendar, named.dated_by) == ("XNYS", "XNYS")
    inferred = forecaster.forecast(before, horizon=3, paths=2)
    assert [f"{day:%m-%d}" for day in inferred.timestamps] == ["07-03", "07-04", "07-05"]
    assert inferred.dated_by == "inferred (Mon-Fri)"
    assert "inferred (Mon-Fri)" in repr(inferred)
    assert inferred.to_frame().attrs["calendar"] == {"ACME": "inferred (Mon-Fri)"}
    always = forecaster.forecast_many([before], 4, 2, calendar="24/7")[0]
    assert [f"{day:%m-%d}" for day in always.timestamps] == ["07-03", "07-04", "07-05", "07-06"]
    given = forecaster.forecast(before, horizon=3, paths=2, calendar="XNYS", timestamps=inferred.timestamps)
    assert given.dated_by == "given"
    with pytest.raises(DataError, match="near names are XNYS"):
        forecaster.forecast(before, horizon=3, calendar="XNSY")


def test_times_are_worked_out_once_for_series_that_share_theirs(
    forecaster: Forecaster, monkeypatch: pytest.MonkeyPatch
) -> None:
    hourly: dict[str, object] = {"start": "2024-03-04", "freq": "h"}
    series = [
        walk(seed=0, symbol="A"), walk(seed=1, symbol="B"), walk(seed=2, symbol="C", **hourly),
        walk(seed=3, symbol="D", tz="UTC", **hourly), walk(seed=4, symbol="E", tz="Asia/Tokyo", **hourly),
        walk(59, seed=5, symbol="F"), walk(seed=6, symbol="G").tail(20), walk(seed=7, symbol="H").tail(20), walk(seed=8, symbol="I"),
    ]  # fmt: skip
    alone = [forecaster.forecast_with(ForecastSettings(2), [bars], 3, suggest=0)[0] for bars in series]
    fitted, fit = list[int](), preprocessing.fit_schedule

    def counted(history: pd.DatetimeIndex, calendar: str | None) -> Any:
        fitted.append(len(history))
        return fit(history, calendar)

    monkeypatch.setattr(preprocessing, "fit_schedule", counted)
    together = forecaster.forecast_with(ForecastSettings(2), series, 3, suggest=0)
    assert fitted == [60, 60, 60, 60, 59, 20]
    for one, other in zip(together, alone, strict=True):
        assert (one.symbol, one.timestamps.tz, one.dated_by) == (other.symbol, other.timestamps.tz, other.dated_by)
        assert one.timestamps.equals(other.timestamps)
        assert one.calendar_notes == other.calendar_notes
        np.testing.assert_allclose(one.paths, other.paths, rtol=1e-6)


def test_a_forecaster_has_a_calendar_of_its_own(forecaster: Forecaster) -> None:
    own = Forecaster(forecaster.tokenizer, forecaster.predictor, device="cpu", max_context=CONTEXT, calendar="24/5")
    bars = walk(start="2024-03-04 00:00", freq="h", tz="UTC")
    assert own.forecast(bars, horizon=1, paths=1).calendar == "24/5"
    assert own.forecast(bars, horizon=1, paths=1, calendar="inferred").calendar == "inferred"


def test_bars_outside_of_the_sessions_of_a_calendar_are_told(forecaster: Forecaster) -> None:
    days = pd.date_range("2024-03-04", periods=5, freq="B")
    nights = pd.DatetimeIndex([day + pd.Timedelta(minutes=15 * i) for day in days for i in range(26)])
    forecast = forecaster.forecast(Bars("X", nights, walk(130).values), horizon=2, paths=1, calendar="XLON")
    assert "is it the right calendar?" in " ".join(forecast.calendar_notes)


def test_the_zone_is_kept_and_given_times_are_brought_to_it(forecaster: Forecaster) -> None:
    bars = walk(start="2024-03-04 09:30", freq="h", tz="America/New_York")
    inferred = forecaster.forecast(bars, horizon=3, paths=2)
    assert str(inferred.timestamps.tz) == "America/New_York"
    given = forecaster.forecast(bars, horizon=3, paths=2, timestamps=inferred.timestamps.tz_convert("UTC"))
    assert given.calendar == "given"
    assert str(given.timestamps.tz) == "America/New_York"
    assert np.array_equal(given.paths, inferred.paths)


def test_given_times_are_used(forecaster: Forecaster) -> None:
    later = pd.Series(pd.date_range("2024-06-01 13:45", periods=6, freq="7min"))
    given = forecaster.forecast(walk(), horizon=6, paths=20, timestamps=later)
    assert (given.timestamps == later).all()
    assert not np.array_equal(given.paths, forecaster.forecast(walk(), horizon=6, paths=20).paths)


@pytest.mark.parametrize(
    ("times", "says"),
    [
        (["2024-04-01", "2024-04-02"], "are 2, the horizon is 3"),
        (["2024-04-01", "2024-04-01", "2024-04-02"], "strictly increasing"),
        (["2024-04-01", None, "2024-04-03"], "strictly increasing"),
        (["2024-03-22", "2024-04-01", "2024-04-02"], "history ends at 2024-03-22"),
        (pd.date_range("2024-04-01", periods=3, tz="UTC"), "have a time zone, the history has none"),
        (["soon", "later", "then"], "cannot be read as times"),
        (["11/10/2024", "12/10/2024", "13/10/2024"], "cannot be read as times: .*ISO"),
    ],
)
def test_times_that_do_not_fit_are_refused(forecaster: Forecaster, times: object, says: str) -> None:
    with pytest.raises(DataError, match=rf"ACME.*{says}"):
        forecaster.forecast(walk(), horizon=3, paths=2, timestamps=times)


def test_naive_times_after_a_history_in_a_zone_are_refused(forecaster: Forecaster) -> None:
    with pytest.raises(DataError, match="have no time zone, the history has one"):
        forecaster.forecast(walk(tz="UTC"), horizon=2, paths=1, timestamps=pd.date_range("2025-01-01", periods=2))


# Refusals


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": 0},
        {"horizon": 2.5},
        {"paths": 0},
        {"paths": True},
        {"lookback": 1},
        {"seed": -1},
        {"top_p": 0},
        {"top_p": 1.1},
        {"temperature": 0},
        {"temperature": -1.0},
        {"top_k": -1},
        {"overflow": "slide"},
    ],
)
def test_impossible_settings_are_refused_by_name(forecaster: Forecaster, wrong: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        forecaster.forecast(walk(), **({"horizon": 2, "paths": 2} | wrong))  # type: ignore[arg-type]


def test_one_row_is_no_history(forecaster: Forecaster) -> None:
    with pytest.raises(DataError, match=r"ACME: 1 row.* at least 2"):
        forecaster.forecast(walk(1), horizon=2, paths=2, timestamps=["2025-01-01", "2025-01-02"])


def test_two_rows_are_enough(forecaster: Forecaster) -> None:
    assert np.isfinite(forecaster.forecast(walk(2), horizon=2, paths=2).paths).all()


@pytest.mark.parametrize("thing", [None, 3, "AAPL", []])
def test_other_things_than_bars_are_refused(forecaster: Forecaster, thing: object) -> None:
    with pytest.raises(DataError, match="forecast takes"):
        forecaster.forecast(thing)


@pytest.mark.parametrize("wrong", [{"paths": 10**9}, {"horizon": 10**10}])
def test_what_memory_cannot_hold_is_refused_at_once(forecaster: Forecaster, wrong: dict[str, int]) -> None:
    with pytest.raises(ConfigError, match=r"GB of memory, .* are free\. Lower paths or horizon"):
        forecaster.forecast(walk(), **({"horizon": 48, "paths": 100} | wrong))


def test_a_budget_in_which_no_path_fits_is_refused(forecaster: Forecaster) -> None:
    with pytest.raises(ConfigError, match=r"its memory budget leaves 0\.0 MB"):
        forecaster.forecast(walk(), horizon=4, paths=2, memory_budget=1000)


# Progress


def test_a_bar_is_shown_when_asked_for_and_not_beside_a_pipe(
    forecaster: Forecaster, capsys: pytest.CaptureFixture[str]
) -> None:
    forecaster.forecast(walk(), horizon=4, paths=2)
    forecaster.forecast(walk(), horizon=4, paths=2, progress=False)
    assert capsys.readouterr().err == ""
    forecaster.forecast(walk(), horizon=4, paths=2, progress=True)
    shown = capsys.readouterr()
    assert "Forecasting ACME" in shown.err
    assert "100%" in shown.err
    assert shown.out == ""


def test_on_a_terminal_a_bar_comes_when_it_takes_long(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")  # what rich takes for a terminal
    for patience, shown in ((60.0, False), (0.0, True)):
        monkeypatch.setattr(progress_module, "PATIENCE", patience)
        with progress_module.patient_bar("Long work") as report:
            assert report is not None
            time.sleep(0.01)
            report(1, 2)
        assert ("Long work" in capsys.readouterr().err) is shown


@pytest.mark.parametrize("top_k", [0, 1])
@pytest.mark.parametrize("company", [False, True])
def test_progress_counts_every_row_once(
    forecaster: Forecaster, top_k: int, company: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (encoding, decoding) if company else ():
        monkeypatch.setattr(module, "suits_cpu", lambda device: False)
    told: list[tuple[int, int]] = []
    windows = [prepare_series(walk(n), 3, CONTEXT).window for n in (10, 20)]
    forecaster.sample(windows, 3, 4, Sampling(top_k=top_k), 0, lambda done, total: told.append((done, total)))
    computed = 1 if top_k else 4
    assert told[-1] == (2 * 30 + 2 * 2 * 3 * computed,) * 2
    assert [done for done, _ in told] == sorted(done for done, _ in told)
    with pytest.raises(ConfigError, match="horizon must be a whole number >= 1, found 0"):
        forecaster.sample(windows, 0, 4, Sampling(), 0)


@pytest.mark.parametrize(
    ("config", "says"),
    [
        (TokenizerConfig(s1_bits=5, s2_bits=7, d_model=32, ff_dim=64), r"5 \+ 7 bits.*6 \+ 6"),
        (TokenizerConfig(s1_bits=6, s2_bits=6, d_model=32, ff_dim=64, d_in=4), "reads 4 features"),
    ],
)
def test_models_that_do_not_belong_together(config: TokenizerConfig, says: str) -> None:
    predictor = Kronos(PredictorConfig(s1_bits=6, s2_bits=6, n_layers=1, d_model=32, n_heads=4, ff_dim=64))
    with pytest.raises(CheckpointError, match=says):
        Forecaster(KronosTokenizer(config), predictor, device="cpu")


def test_an_absent_device_and_an_unknown_rule_are_refused(forecaster: Forecaster) -> None:
    with pytest.raises(ConfigError, match="'nonsense' cannot be used"):
        Forecaster(forecaster.tokenizer, forecaster.predictor, device="nonsense")
    with pytest.raises(ConfigError, match="reference"):
        Forecaster(forecaster.tokenizer, forecaster.predictor, positions="none")  # type: ignore[arg-type]


# Loading


def test_a_run_folder_and_a_pair_are_the_same(forecaster: Forecaster, run_folder: Path) -> None:
    expected = forecaster.forecast(walk(), horizon=4, paths=3).paths
    pair = (run_folder / "tokenizer", run_folder / "predictor")
    for source in (run_folder, str(run_folder), pair):
        loaded = Forecaster.from_pretrained(source, device="cpu", max_context=CONTEXT)
        assert np.array_equal(loaded.forecast(walk(), horizon=4, paths=3).paths, expected)
    assert Forecaster.from_pretrained(run_folder, device="cpu").max_context == 512


@pytest.mark.parametrize("sign", ["+", ","])
def test_a_text_names_one_place_or_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    """What is there comes first: names of folders may hold the signs."""
    monkeypatch.chdir(tmp_path)
    for name in ("a+b,c", "t", "p,q+r"):
        Path(name).mkdir()
    assert model_parts("a+b,c") == ["a+b,c"]
    assert model_parts(f"t{sign}p,q+r") == ["t", "p,q+r"]
    assert model_parts(f"t{sign}t") == ["t", "t"]
    assert model_parts(f"me/tokenizer{sign}me/predictor") == ["me/tokenizer", "me/predictor"]
    assert model_parts("NeoQuasar/Kronos-small") == ["NeoQuasar/Kronos-small"]


def test_a_record_of_somebody_else_s_is_not_replaced(forecaster: Forecaster, tmp_path: Path) -> None:
    forecaster.save_pretrained(tmp_path)
    record = tmp_path / "tokenizer" / "exposure.json"
    for foreign in ('{"mine": 1}', "not even JSON"):
        record.write_text(foreign)
        with pytest.raises(CheckpointError, match=r"holds a tokenizer/exposure\.json that is no record"):
            forecaster.save_pretrained(tmp_path)
        assert record.read_text() == foreign
    record.write_text('{"seen": [], "unknown": true}')
    forecaster.save_pretrained(tmp_path)
    assert not record.exists()


def test_a_run_folder_says_how_it_wants_to_be_used(run_folder: Path) -> None:
    settings = {"max_context": 24, "lookback": 12, "dependency_positions": "rotary", "calendar": "XLON"}
    (run_folder / "summary.json").write_text(json.dumps({"forecast": settings, "more": 1}))
    loaded = Forecaster.from_pretrained(run_folder, device="cpu")
    assert (loaded.max_context, loaded.lookback, loaded.positions, loaded.calendar) == (24, 12, "rotary", "XLON")
    forecast = loaded.forecast(walk(), horizon=2, paths=2)
    assert len(forecast.history) == 12
    assert forecast.model == str(run_folder)
    assert Forecaster.from_pretrained(run_folder, device="cpu", max_context=16).max_context == 16


def test_a_pair_is_used_as_the_run_of_its_predictor_says(run_folder: Path, golden: Path, tmp_path: Path) -> None:
    stages = {"predictor": {"start": "NeoQuasar/Kronos-small"}}
    told = {"forecast": {"max_context": 24, "lookback": 12, "dependency_positions": "rotary"}, "stages": stages}
    (run_folder / "summary.json").write_text(json.dumps(told))
    (run_folder / "calibration.json").write_text("{}")
    for tokenizer in (run_folder / "tokenizer", run_folder, golden / "tokenizer"):
        for predictor in (run_folder / "predictor", run_folder):
            with warnings.catch_warnings():
                warnings.simplefilter("error")
                pair = load_models((tokenizer, str(predictor)))
            assert pair.settings == told["forecast"]
            assert pair.base_model == "NeoQuasar/Kronos-small"
            # It was fitted to both models.
            assert pair.calibration == (None if tokenizer == golden / "tokenizer" else run_folder)
    shutil.copytree(golden / "predictor", run_folder / "another")
    assert not load_models((run_folder / "tokenizer", run_folder / "another")).told, "the summary is not of this one"


def test_of_a_pair_without_a_run_it_is_told_what_is_taken(golden: Path) -> None:
    pair = golden / "tokenizer", golden / "predictor"
    with pytest.warns(UserWarning, match="trained to be used.*: max_context 512, positions reference.*name the run"):
        assert Forecaster.from_pretrained(pair, device="cpu").max_context == 512
    with pytest.warns(UserWarning, match=r"Kronos-small: positions reference\."):
        Forecaster.from_pretrained(pair, device="cpu", max_context=CONTEXT)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Forecaster.from_pretrained(pair, device="cpu", max_context=CONTEXT, positions="rotary")


@pytest.mark.parametrize("text", ["{", '{"forecast": 3}'])
def test_a_damaged_summary_is_named(run_folder: Path, text: str) -> None:
    (run_folder / "summary.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"summary\.json"):
        Forecaster.from_pretrained(run_folder, device="cpu")


def test_what_is_no_pair_says_so(run_folder: Path, golden: Path) -> None:
    with pytest.raises(CheckpointError, match="is one checkpoint"):
        Forecaster.from_pretrained(golden / "predictor")
    with pytest.raises(CheckpointError, match=r"no repository id .*, and no released predictor.*Kronos-small"):
        Forecaster.from_pretrained("runs/missing/model")
    with pytest.raises(CheckpointError, match=r"none: there is no such folder; .* has: predictor, tokenizer\."):
        Forecaster.from_pretrained(run_folder / "none")
    with pytest.raises(CheckpointError, match="found 1"):
        Forecaster.from_pretrained([golden / "predictor"])
    shutil.rmtree(run_folder / "predictor")
    with pytest.raises(CheckpointError, match="no predictor/; it has: tokenizer"):
        Forecaster.from_pretrained(run_folder)


def test_released_predictors_know_their_tokenizer_and_context() -> None:
    assert RELEASES["NeoQuasar/Kronos-mini"] == ("NeoQuasar/Kronos-Tokenizer-2k", 2048)
    assert RELEASES["NeoQuasar/Kronos-small"] == ("NeoQuasar/Kronos-Tokenizer-base", 512)
    assert RELEASES["NeoQuasar/Kronos-base"] == ("NeoQuasar/Kronos-Tokenizer-base", 512)


def test_a_lookback_that_is_cut_is_told_of() -> None:
    forecaster = Forecaster.from_pretrained("chandler-nano", device="cpu")
    bars = load_bars("chandler-stocks")["IBM"]
    with pytest.warns(UserWarning, match="lookback 300: the model sees 192 bars at most"):
        forecaster.forecast(bars, horizon=2, paths=2, lookback=300)

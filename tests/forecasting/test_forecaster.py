"""Forecaster: what it is loaded from, which rows it looks at, what makes paths repeatable, what it refuses."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chandler.data.bars import Bars
from chandler.data.store import BarStore
from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.forecasting.forecaster import Forecaster
from chandler.forecasting.loading import RELEASES
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


def test_greedy_paths_are_all_equal(forecaster: Forecaster) -> None:
    paths = forecaster.forecast(walk(), horizon=4, paths=3, top_k=1).paths
    np.testing.assert_allclose(paths, paths[:1].repeat(3, axis=0), rtol=1e-6)


def test_horizon_beyond_the_context(forecaster: Forecaster) -> None:
    forecast = forecaster.forecast(walk(), horizon=CONTEXT + 8, paths=2)
    assert forecast.paths.shape == (2, CONTEXT + 8, 6)
    assert np.isfinite(forecast.paths).all()


def test_constant_prices_and_no_volume_give_numbers(forecaster: Forecaster) -> None:
    bars = walk()
    bars.values[:, :4], bars.values[:, 4:] = 0.1, 0
    paths = forecaster.forecast(bars, horizon=4, paths=5).paths
    np.testing.assert_allclose(paths[..., :4], 0.1, atol=1e-4)
    np.testing.assert_allclose(paths[..., 4:], 0, atol=1e-4)


# Repeatable


def test_the_same_seed_gives_the_same_paths_whatever_the_global_one(forecaster: Forecaster) -> None:
    torch.manual_seed(1)
    first = forecaster.forecast(walk(), horizon=6, paths=4, seed=5)
    torch.manual_seed(2)
    assert np.array_equal(forecaster.forecast(walk(), horizon=6, paths=4, seed=5).paths, first.paths)


def test_different_seeds_and_paths_differ(forecaster: Forecaster) -> None:
    one, two = (forecaster.forecast(walk(), horizon=6, paths=4, seed=seed).paths for seed in (0, 1))
    assert not np.allclose(one, two)
    assert not np.allclose(one[0], one[1])


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
    [{"horizon": 0}, {"horizon": 2.5}, {"paths": 0}, {"paths": True}, {"lookback": 1}, {"seed": -1}, {"top_p": 0}],
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


def test_many_infers_its_own_times(forecaster: Forecaster) -> None:
    with pytest.raises(ConfigError, match="timestamps"):
        forecaster.forecast_many([walk()], timestamps=["2025-01-01"])


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


def test_a_run_folder_says_how_it_wants_to_be_used(run_folder: Path) -> None:
    settings = {"max_context": 24, "lookback": 12, "dependency_positions": "rotary"}
    (run_folder / "summary.json").write_text(json.dumps({"forecast": settings, "more": 1}))
    loaded = Forecaster.from_pretrained(run_folder, device="cpu")
    assert (loaded.max_context, loaded.lookback, loaded.positions) == (24, 12, "rotary")
    forecast = loaded.forecast(walk(), horizon=2, paths=2)
    assert len(forecast.history) == 12
    assert forecast.model == str(run_folder)
    assert Forecaster.from_pretrained(run_folder, device="cpu", max_context=16).max_context == 16


@pytest.mark.parametrize("text", ["{", '{"forecast": 3}'])
def test_a_damaged_summary_is_named(run_folder: Path, text: str) -> None:
    (run_folder / "summary.json").write_text(text)
    with pytest.raises(CheckpointError, match=r"summary\.json"):
        Forecaster.from_pretrained(run_folder, device="cpu")


def test_what_is_no_pair_says_so(run_folder: Path, golden: Path) -> None:
    with pytest.raises(CheckpointError, match="is one checkpoint"):
        Forecaster.from_pretrained(golden / "predictor")
    with pytest.raises(CheckpointError, match=r"no released predictor.*Kronos-small"):
        Forecaster.from_pretrained("NeoQuasar/Kronos-tiny")
    with pytest.raises(CheckpointError, match="found 1"):
        Forecaster.from_pretrained([golden / "predictor"])
    shutil.rmtree(run_folder / "predictor")
    with pytest.raises(CheckpointError, match="no predictor/; it has: tokenizer"):
        Forecaster.from_pretrained(run_folder)


def test_released_predictors_know_their_tokenizer_and_context() -> None:
    assert RELEASES["NeoQuasar/Kronos-mini"] == ("NeoQuasar/Kronos-Tokenizer-2k", 2048)
    assert RELEASES["NeoQuasar/Kronos-small"] == ("NeoQuasar/Kronos-Tokenizer-base", 512)
    assert RELEASES["NeoQuasar/Kronos-base"] == ("NeoQuasar/Kronos-Tokenizer-base", 512)

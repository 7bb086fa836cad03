"""Calibrated bands cover fresh data as they say, and the paths moved with them stay the paths they were."""

from __future__ import annotations

import json

import numpy as np
import pytest
from scipy import stats

from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.forecasting import recalibrate_bars
from chandler.measures import band, crps, inside, log_returns
from chandler.measures.conformal import LEVELS, ConformalBands, quantile_levels

H, P = 6, 100


def forecasts(count: int, seed: int, spread: float = 0.45) -> tuple[np.ndarray, np.ndarray]:
    """Paths (count, P, H) that know each series' volatility but make it `spread` of what it is, and truths (count, H).

    Prices and volatilities differ widely between the series; the true returns have fat tails, the model's have none.
    """
    rng = np.random.default_rng(seed)
    last, volatility = np.exp(rng.normal(3, 1, count)), 0.01 * np.exp(rng.normal(0, 0.5, count))
    came = (rng.standard_t(5, (count, H)) * np.sqrt(3 / 5) * volatility[:, None]).cumsum(axis=1)
    said = (rng.normal(size=(count, P, H)) * spread * volatility[:, None, None]).cumsum(axis=2)
    return last[:, None, None] * np.exp(said), last[:, None] * np.exp(came)


def covered(paths: np.ndarray, truths: np.ndarray, level: float) -> float:
    return float(np.mean([inside(*band(one, level), truth).mean() for one, truth in zip(paths, truths, strict=True)]))


@pytest.fixture(scope="module")
def calibration() -> ConformalBands:
    return ConformalBands.fit(*forecasts(2000, seed=0))


@pytest.mark.parametrize(("level", "before"), [(0.5, 0.26), (0.8, 0.47), (0.9, 0.57)])
def test_narrow_bands_cover_what_they_say_on_fresh_data(
    calibration: ConformalBands, level: float, before: float
) -> None:
    paths, truths = forecasts(1000, seed=1)
    assert covered(paths, truths, level) == pytest.approx(before, abs=0.01)
    low, high = band(paths.swapaxes(0, 1), level)
    low, high = calibration.apply(low, high, level)
    shares = ((truths >= low) & (truths <= high)).mean(axis=0)
    assert shares.mean() == pytest.approx(level, abs=0.02)
    assert shares == pytest.approx(np.full(H, level), abs=0.06)  # at each step ahead
    moved = np.array([calibration.recalibrate(one) for one in paths])
    assert covered(moved, truths, level) == pytest.approx(level, abs=0.02)


@pytest.mark.parametrize("spread", [0.3, 2.5])
def test_far_too_narrow_and_too_wide_90_percent_bands_come_to_88_to_92(spread: float) -> None:
    calibration = ConformalBands.fit(*forecasts(2000, seed=2, spread=spread))
    paths, truths = forecasts(1000, seed=3, spread=spread)
    moved = np.array([calibration.recalibrate(one) for one in paths])
    assert 0.88 < covered(moved, truths, 0.9) < 0.92
    assert not 0.7 < covered(paths, truths, 0.9) < 0.97


def test_the_whole_distribution_gets_better(calibration: ConformalBands) -> None:
    paths, truths = forecasts(400, seed=4)
    before, after = (
        np.mean([crps(log_returns(one, 1.0), np.log(came)).mean() for one, came in zip(said, truths, strict=True)])
        for said in (paths, np.array([calibration.recalibrate(one) for one in paths]))
    )  # fmt: skip
    assert after < 0.95 * before


def test_factors_are_the_finite_sample_quantiles_of_the_scores() -> None:
    # Log quantiles 0 and 1 in each of 19 forecasts; truths -0.1, -0.2, ..., -1.9 lie so many widths below. Of 19 the
    # ceil(20 x 0.95) = 19th is the largest. Above, the 19th of -1.1 ... -2.9 is -1.1.
    quantiles = np.exp(np.tile([[0.0], [1.0]], (19, 1, 1)))
    truths = np.exp(-0.1 * np.arange(1, 20))[:, None]
    found = ConformalBands.fit_quantiles(quantiles, truths, [0.9])
    assert found.low[0, 0] == pytest.approx(1.9)
    assert found.high[0, 0] == pytest.approx(-1.1)
    low, high = found.apply([np.exp(2.0)], [np.exp(4.0)], 0.9)  # a band twice as wide moves twice as far
    assert np.log([low[0], high[0]]) == pytest.approx([2 - 2 * 1.9, 4 - 2 * 1.1])


def test_weights_count_as_so_many_forecasts() -> None:
    rng = np.random.default_rng(3)
    quantiles = np.tile([[[90.0], [110.0]]], (30, 1, 1))
    truths = 100 * np.exp(0.1 * rng.standard_normal((30, 1)))
    plain = ConformalBands.fit_quantiles(quantiles, truths, [0.8])
    alike = ConformalBands.fit_quantiles(quantiles, truths, [0.8], np.full(30, 7.0))
    assert (alike.low, alike.high) == (pytest.approx(plain.low, abs=0), pytest.approx(plain.high, abs=0))
    # With all of the weight on a few, the others hardly count, and no more forecasts are made of them than they are.
    weights = np.where(np.arange(30) < 12, 1.0, 1e-6)
    few = ConformalBands.fit_quantiles(quantiles[:12], truths[:12], [0.8])
    heavy = ConformalBands.fit_quantiles(quantiles, truths, [0.8], weights)
    np.testing.assert_array_equal(heavy.low, few.low)
    with pytest.raises(DataError, match="at least 9 past forecasts"):
        ConformalBands.fit_quantiles(quantiles, truths, [0.8], np.where(np.arange(30) < 5, 1.0, 1e-6))
    for wrong in (np.ones(29), np.zeros(30), np.full(30, np.nan)):
        with pytest.raises(DataError, match="weights"):
            ConformalBands.fit_quantiles(quantiles, truths, [0.8], wrong)


def test_too_few_forecasts_are_refused_and_gaps_are_no_forecasts() -> None:
    quantiles, truths = np.exp(np.tile([[0.0], [1.0]], (19, 1, 1))), np.full((19, 1), 1.5)
    truths[0] = np.nan
    with pytest.raises(DataError, match=r"90% band takes at least 19 past forecasts with a truth, step 1 has 18"):
        ConformalBands.fit_quantiles(quantiles, truths, [0.9])
    assert ConformalBands.fit_quantiles(quantiles, truths, [0.8]).counts == (18,)


def test_each_level_counts_alike_whether_fitted_on_paths_or_on_their_quantiles(calibration: ConformalBands) -> None:
    paths, truths = forecasts(2000, seed=0)
    quantiles = np.quantile(paths, quantile_levels(), axis=1).swapaxes(0, 1)
    again = ConformalBands.fit_quantiles(quantiles, truths)
    assert np.array_equal(again.low, calibration.low)
    assert np.array_equal(again.high, calibration.high)
    assert quantile_levels() == [0.05, 0.1, 0.25, 0.75, 0.9, 0.95]


def test_paths_keep_their_ranks_and_the_median_its_place(calibration: ConformalBands) -> None:
    paths = forecasts(1, seed=5)[0][0]
    moved = calibration.recalibrate(paths)
    assert np.array_equal(stats.rankdata(moved, axis=0), stats.rankdata(paths, axis=0))
    assert np.median(moved, axis=0) == pytest.approx(np.median(paths, axis=0), rel=1e-4)  # half-way between two paths
    before, after = (np.corrcoef(np.log(one), rowvar=False) for one in (paths, moved))
    assert after == pytest.approx(before, abs=0.05)  # dependence between steps


def test_quantiles_of_moved_paths_are_the_calibrated_bands(calibration: ConformalBands) -> None:
    rng = np.random.default_rng(6)
    paths = 50 * np.exp((0.01 * rng.normal(size=(4001, H))).cumsum(axis=1))
    moved = calibration.recalibrate(paths)
    for level in LEVELS:
        low, high = calibration.apply(*band(paths, level), level)
        assert band(moved, level)[0] == pytest.approx(low, rel=1e-3)
        assert band(moved, level)[1] == pytest.approx(high, rel=1e-3)


def test_a_calibrated_model_is_left_about_as_it_was() -> None:
    rng = np.random.default_rng(7)
    said, came = np.exp(rng.normal(size=(2000, P, 2))), np.exp(rng.normal(size=(2000, 2)))
    calibration = ConformalBands.fit(said, came)
    assert np.abs(calibration.low).max() < 0.06
    assert np.abs(calibration.high).max() < 0.06


def test_both_sides_are_moved_apart() -> None:
    rng = np.random.default_rng(8)
    said = np.exp(rng.normal(size=(800, P, 1)))
    crashes = rng.normal(size=(800, 1))
    crashes[crashes < 0] *= 3  # falls are three times as large as the model knows
    calibration = ConformalBands.fit(said, np.exp(crashes))
    assert calibration.low[-1, 0] == pytest.approx(1.0, abs=0.25)  # from -1.645 to -4.9, band 3.3 wide
    assert abs(calibration.high[-1, 0]) < 0.1


def test_bars_move_as_wholes(calibration: ConformalBands) -> None:
    closes = forecasts(1, seed=9)[0][0]
    bars = np.stack([closes * 0.99, closes * 1.02, closes * 0.98, closes, closes * 0 + 5, closes * 0 + 7], axis=-1)
    moved = recalibrate_bars(calibration, bars)
    assert moved[..., 3] == pytest.approx(calibration.recalibrate(closes))
    assert moved[..., 1] / moved[..., 3] == pytest.approx(np.full(closes.shape, 1.02))
    assert np.array_equal(moved[..., 4:], bars[..., 4:])


def test_paths_that_all_agree_stay(calibration: ConformalBands) -> None:
    assert calibration.recalibrate(np.full((5, H), 3.0)) == pytest.approx(np.full((5, H), 3.0))


def test_steps_and_levels_that_were_not_fitted_are_refused(calibration: ConformalBands) -> None:
    shorter = forecasts(1, seed=10)[0][0][:, :2]
    assert calibration.recalibrate(shorter).shape == (P, 2)
    with pytest.raises(ConfigError, match=r"fitted for 6 steps ahead, found 7"):
        calibration.recalibrate(np.ones((5, 7)))
    with pytest.raises(ConfigError, match=r"knows the levels 0.5, 0.8, 0.9, not 0.95"):
        calibration.apply([1.0], [2.0], 0.95)


def test_what_cannot_be_calibrated_is_refused() -> None:
    with pytest.raises(DataError, match="found none"):
        ConformalBands.fit([], np.empty((0, 5)))
    paths, truths = forecasts(30, seed=11)
    with pytest.raises(DataError, match="a point has no spread"):
        ConformalBands.fit(paths[:, :1], truths)
    with pytest.raises(DataError, match=r"1 of 180 truths are not finite and above 0.*repair"):
        ConformalBands.fit(paths, np.where(np.arange(180).reshape(30, 6) == 7, -1, truths))
    same = np.ones((30, 5, 1))
    with pytest.raises(DataError, match="all paths agree"):
        ConformalBands.fit(same, np.full((30, 1), 2.0))
    with pytest.raises(ConfigError, match="level"):
        ConformalBands.fit(same, np.ones((30, 1)), [90])


def test_json_round_trip(calibration: ConformalBands) -> None:
    again = ConformalBands.from_json(calibration.to_json())
    paths = forecasts(1, seed=12)[0][0]
    assert np.array_equal(again.recalibrate(paths), calibration.recalibrate(paths))
    assert (again.levels, again.counts) == (LEVELS, (2000,) * H)


@pytest.mark.parametrize(
    "change", [{"format": 9}, {"low": [[1.0]]}, {"levels": [0.9, 0.5, 0.8]}, {"counts": None}, {"levels": []}]
)
def test_another_file_is_refused(calibration: ConformalBands, change: dict[str, object]) -> None:
    with pytest.raises(CheckpointError, match="Fit it again"):
        ConformalBands.from_json(json.dumps(json.loads(calibration.to_json()) | change))
    with pytest.raises(CheckpointError, match="Fit it again"):
        ConformalBands.from_json("[]")

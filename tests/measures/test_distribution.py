"""Measures of distributions against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import DataError
from chandler.measures import band, crps, inside, pinball, pit, pit_bins

NAN = float("nan")


def test_crps_of_two_paths() -> None:
    # Paths 0 and 2, truth 3: mean distance to the truth (3 + 1) / 2 = 2; both pairs are 2 apart, so the fair
    # spread term is (2 + 2) / (2 * 2 * 1) = 1.
    assert crps([[0.0], [2.0]], [3.0]) == 2.0 - 1.0


def test_crps_of_three_paths_is_the_double_sum() -> None:
    paths, truth = np.array([[1.0, 4.0], [3.0, 4.0], [8.0, 1.0]]), np.array([2.0, 4.0])
    # Step 1: (1 + 1 + 6) / 3 - 2 * (2 + 7 + 5) / (2 * 3 * 2) = 8/3 - 7/3. Step 2: 1 - 2 * (0 + 3 + 3) / 12 = 0.
    assert crps(paths, truth).mean() == pytest.approx((1 / 3 + 0) / 2)


def test_crps_of_one_path_is_its_absolute_error() -> None:
    assert crps([[11.0, 7.0]], [10.0, 10.0]).tolist() == [1.0, 3.0]


def test_crps_does_not_depend_on_the_number_of_paths() -> None:
    # Of a standard normal against 0 it is (sqrt(2) - 1) / sqrt(pi) = 0.23369..., (Gneiting & Raftery 2007, eq. 21).
    rng = np.random.default_rng(0)
    for paths in (2, 10, 100):
        found = crps(rng.normal(size=(paths, 200_000 // paths)), np.zeros(200_000 // paths))
        assert found.mean() == pytest.approx(0.23369, abs=0.015)


def test_crps_prefers_the_true_distribution_to_a_narrower_and_a_wider_one() -> None:
    rng = np.random.default_rng(1)
    truth, paths = rng.normal(size=5000), rng.normal(size=(50, 5000))
    true, narrow, wide = (crps(paths * scale, truth).mean() for scale in (1.0, 0.5, 2.0))
    assert true < narrow
    assert true < wide


def test_crps_of_many_forecasts_at_once_is_that_of_each() -> None:
    rng = np.random.default_rng(7)
    paths, truth = rng.normal(size=(3, 5, 4)), rng.normal(size=(3, 4))
    assert np.array_equal(crps(paths, truth), [crps(*pair) for pair in zip(paths, truth, strict=True)])


def test_band_and_what_lies_inside() -> None:
    paths = np.arange(11.0)[:, None] * np.array([1.0, 10.0])  # at each step 0, 1, ..., 10 times 1 and 10
    low, high = band(paths, 0.8)
    assert low == pytest.approx([1, 10])
    assert high == pytest.approx([9, 90])
    assert inside(low, high, [1.0, 90.1]).tolist() == [True, False]
    assert inside(low, high, [9.0, 10.0]).tolist() == [True, True]


def test_coverage_of_a_calibrated_forecast_is_its_level() -> None:
    rng = np.random.default_rng(2)
    for level in (0.5, 0.8, 0.9):
        found = inside(*band(rng.normal(size=(400, 4000)), level), rng.normal(size=4000))
        assert found.mean() == pytest.approx(level, abs=0.02)


def test_steps_without_truth_have_no_value_and_change_no_other() -> None:
    paths = np.array([[0.0, 5.0], [2.0, 5.0]])
    found = crps(paths, [3.0, NAN])
    assert found[0] == crps(paths[:, :1], [3.0])[0]
    assert np.isnan(found[1])
    assert inside(*band(paths), [1.0, NAN]).tolist() == [True, False]
    assert np.isnan(pinball(paths[0], [1.0, NAN], 0.5)[1])


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_forecast_that_declines_to_answer_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 values that are not finite"):
        crps([[1.0, bad], [1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(DataError, match="not finite"):
        pit([[1.0, bad]], [1.0, NAN])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(P, H\).*\(2, 3\) and \(2,\)"):
        crps(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(DataError, match=r"\(H,\)"):
        crps(np.zeros(3), np.zeros(3))
    with pytest.raises(DataError, match="band"):
        band(np.zeros((2, 3)), 80)


def test_pinball_of_two_levels() -> None:
    # Truth 10. Quantile 8 at 0.9: (10 - 8) 0.9 = 1.8. Quantile 13 at 0.1: (13 - 10) 0.9 = 2.7.
    assert pinball([8.0], [10.0], 0.9) == pytest.approx([1.8])
    assert pinball([13.0], [10.0], 0.1) == pytest.approx([2.7])
    with pytest.raises(DataError, match="a level above 0 and below 1"):
        pinball([8.0], [10.0], 90)


def test_twice_the_pinball_over_many_levels_is_the_crps() -> None:
    rng = np.random.default_rng(3)
    paths, truth = rng.normal(size=(4000, 3)), np.array([0.2, -1.5, 0.9])
    levels = (np.arange(400) + 0.5) / 400
    quantiles = np.quantile(paths, levels, axis=0)
    loss = np.mean([pinball(row, truth, level) for row, level in zip(quantiles, levels, strict=True)])
    assert 2 * loss == pytest.approx(crps(paths, truth).mean(), rel=0.005)


def test_crps_is_of_each_step_and_keeps_gaps() -> None:
    paths, truth = np.array([[1.0, 4.0, 5.0], [3.0, 4.0, 6.0], [8.0, 1.0, 7.0]]), np.array([2.0, 4.0, NAN])
    steps = crps(paths, truth)
    assert steps[:2] == pytest.approx([1 / 3, 0])
    assert np.isnan(steps[2])


def test_crps_agrees_with_scoringrules() -> None:
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(4)
    paths, truth = rng.standard_t(4, size=(37, 11)), rng.normal(size=11)
    theirs = scoringrules.crps_ensemble(truth, paths.T, estimator="fair")
    assert crps(paths, truth) == pytest.approx(np.asarray(theirs))
    quantile = scoringrules.quantile_score(truth, np.quantile(paths, 0.3, axis=0), 0.3)
    assert pinball(np.quantile(paths, 0.3, axis=0), truth, 0.3) == pytest.approx(np.asarray(quantile))


def test_pit_lies_in_the_slot_of_its_rank() -> None:
    # Paths 1, 2, 3: below all the first of 4 slots, above all the last, between 2 and 3 the third.
    paths = np.array([[1.0, 1.0, 1.0, 1.0], [2.0, 2.0, 2.0, 2.0], [3.0, 3.0, 3.0, 3.0]])
    found = pit(paths, [0.0, 9.0, 2.5, NAN])
    assert np.floor(found[:3] * 4).tolist() == [0, 3, 2]
    assert np.isnan(found[3])


def test_pit_is_uniform_for_calibrated_forecasts_even_with_ties_and_few_paths() -> None:
    rng = np.random.default_rng(5)
    for paths, truth in (
        (rng.normal(size=(4, 20_000)), rng.normal(size=20_000)),
        (rng.integers(3, size=(4, 20_000)).astype(float), rng.integers(3, size=20_000).astype(float)),
    ):
        shares = np.histogram(pit(paths, truth, seed=1), bins=10, range=(0, 1))[0] / 20_000
        assert shares == pytest.approx(np.full(10, 0.1), abs=0.01)


def test_pit_heaps_at_both_ends_where_bands_are_too_narrow() -> None:
    rng = np.random.default_rng(6)
    found = pit(0.3 * rng.normal(size=(99, 5000)), rng.normal(size=5000))
    assert ((found < 0.05) | (found > 0.95)).mean() > 0.5


def test_bins_of_the_pit_are_ten_and_hold_their_ends() -> None:
    assert pit_bins([0.0, 0.0999, 0.1, 0.55, 0.9999, 1.0, NAN]).tolist() == [0, 0, 1, 5, 9, 9, -1]

"""Measures against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import DataError
from chandler.evaluation import metrics

NAN = float("nan")


def test_mae_and_rmse_of_errors_1_and_minus_3() -> None:
    assert metrics.mae([11.0, 7.0], [10.0, 10.0]) == 2.0
    assert metrics.rmse([11.0, 7.0], [10.0, 10.0]) == pytest.approx(np.sqrt(5.0))


def test_crps_of_two_paths() -> None:
    # Paths 0 and 2, truth 3: mean distance to the truth (3 + 1) / 2 = 2; both pairs are 2 apart, so the fair
    # spread term is (2 + 2) / (2 * 2 * 1) = 1.
    assert metrics.crps([[0.0], [2.0]], [3.0]) == 2.0 - 1.0


def test_crps_of_three_paths_is_the_double_sum() -> None:
    paths, truth = np.array([[1.0, 4.0], [3.0, 4.0], [8.0, 1.0]]), np.array([2.0, 4.0])
    # Step 1: (1 + 1 + 6) / 3 - 2 * (2 + 7 + 5) / (2 * 3 * 2) = 8/3 - 7/3. Step 2: 1 - 2 * (0 + 3 + 3) / 12 = 0.
    assert metrics.crps(paths, truth) == pytest.approx((1 / 3 + 0) / 2)


def test_crps_of_one_path_is_its_absolute_error() -> None:
    assert metrics.crps([[11.0, 7.0]], [10.0, 10.0]) == metrics.mae([11.0, 7.0], [10.0, 10.0]) == 2.0


def test_crps_does_not_depend_on_the_number_of_paths() -> None:
    # Of a standard normal against 0 it is (sqrt(2) - 1) / sqrt(pi) = 0.23369..., (Gneiting & Raftery 2007, eq. 21).
    rng = np.random.default_rng(0)
    for paths in (2, 10, 100):
        assert metrics.crps(rng.normal(size=(paths, 200_000 // paths)), np.zeros(200_000 // paths)) == pytest.approx(
            0.23369, abs=0.015
        )


def test_crps_prefers_the_true_distribution_to_a_narrower_and_a_wider_one() -> None:
    rng = np.random.default_rng(1)
    truth, paths = rng.normal(size=5000), rng.normal(size=(50, 5000))
    true, narrow, wide = (metrics.crps(paths * scale, truth) for scale in (1.0, 0.5, 2.0))
    assert true < narrow
    assert true < wide


def test_band_inside_and_width() -> None:
    paths = np.arange(11.0)[:, None] * np.array([1.0, 10.0])  # at each step 0, 1, ..., 10 times 1 and 10
    low, high = metrics.band(paths, 0.8)
    assert low == pytest.approx([1, 10])
    assert high == pytest.approx([9, 90])
    assert metrics.inside(paths, [1.0, 90.1]) == (1, 2)
    assert metrics.coverage(paths, [1.0, 90.1]) == 0.5
    assert metrics.band_width(paths) == pytest.approx((8 + 80) / 2)


def test_coverage_of_a_calibrated_forecast_is_its_level() -> None:
    rng = np.random.default_rng(2)
    for level in (0.5, 0.8, 0.9):
        found = metrics.coverage(rng.normal(size=(400, 4000)), rng.normal(size=4000), level)
        assert found == pytest.approx(level, abs=0.02)


def test_steps_without_truth_are_left_out() -> None:
    paths = np.array([[0.0, 5.0], [2.0, 5.0]])
    assert metrics.mae(paths[0], [1.0, NAN]) == 1.0
    assert metrics.rmse(paths[0], [2.0, NAN]) == 2.0
    assert metrics.crps(paths, [3.0, NAN]) == metrics.crps(paths[:, :1], [3.0])
    assert metrics.inside(paths, [1.0, NAN]) == (1, 1)
    assert metrics.band_width(paths, [NAN, 5.0]) == 0.0


def test_without_any_truth_the_answer_is_nan() -> None:
    paths, truth = np.ones((3, 2)), [NAN, NAN]
    for value in (metrics.mae(paths[0], truth), metrics.crps(paths, truth), metrics.coverage(paths, truth)):
        assert np.isnan(value)


@pytest.mark.parametrize("bad", [NAN, float("inf")])
def test_a_forecast_that_declines_to_answer_is_refused(bad: float) -> None:
    with pytest.raises(DataError, match="1 values that are not finite"):
        metrics.crps([[1.0, bad], [1.0, 2.0]], [1.0, 2.0])
    with pytest.raises(DataError, match="not finite"):
        metrics.mae([1.0, bad], [1.0, NAN])


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DataError, match=r"\(P, H\).*\(2, 3\) and \(2,\)"):
        metrics.crps(np.zeros((2, 3)), np.zeros(2))
    with pytest.raises(DataError, match=r"\(H,\)"):
        metrics.mae(np.zeros((2, 3)), np.zeros(3))
    with pytest.raises(DataError, match="band"):
        metrics.band(np.zeros((2, 3)), 80)

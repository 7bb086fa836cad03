"""Information coefficients against numbers worked out by hand and against scipy."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from chandler.errors import ConfigError, DataError
from chandler.measures import cross_section, ic, rank_ic, ranks

NAN = float("nan")


def test_ic_of_three_pairs() -> None:
    # Deviations (-1, 0, 1) and (-1, -1, 2): 3 / sqrt(2 x 6).
    assert ic([1.0, 2.0, 3.0], [1.0, 1.0, 4.0]) == pytest.approx(3 / np.sqrt(12))


def test_equal_values_share_the_mean_of_their_ranks() -> None:
    assert ranks([10.0, 30.0, 20.0, 20.0, 20.0]).tolist() == [1, 5, 3, 3, 3]


def test_rank_ic_sees_order_only() -> None:
    assert rank_ic([1.0, 2.0, 3.0], [1.0, 10.0, 1e9]) == pytest.approx(1)
    assert rank_ic([1.0, 2.0, 3.0], [5.0, 4.0, -3.0]) == pytest.approx(-1)
    # Ranks (1, 2, 3) and (1.5, 1.5, 3): 1.5 / sqrt(2 x 1.5).
    assert rank_ic([1.0, 2.0, 3.0], [0.0, 0.0, 7.0]) == pytest.approx(1.5 / np.sqrt(3))


def test_both_agree_with_scipy_with_ties_and_gaps() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        forecast, truth = rng.integers(6, size=30).astype(float), rng.integers(6, size=30).astype(float)
        assert ic(forecast, truth) == pytest.approx(stats.pearsonr(forecast, truth).statistic)
        assert rank_ic(forecast, truth) == pytest.approx(stats.spearmanr(forecast, truth).statistic)
        truth[:5] = NAN
        assert rank_ic(forecast, truth) == pytest.approx(stats.spearmanr(forecast[5:], truth[5:]).statistic)
    assert ranks(forecast) == pytest.approx(stats.rankdata(forecast))


@pytest.mark.parametrize("measure", [ic, rank_ic])
def test_constant_input_has_no_correlation(measure) -> None:  # type: ignore[no-untyped-def]
    # 0.1 three times has a standard deviation of a rounding error.
    assert np.isnan(measure([0.1, 0.1, 0.1], [1.0, 2.0, 3.0]))
    assert np.isnan(measure([1.0, 2.0, 3.0], [0.1, 0.1, 0.1]))
    assert np.isnan(measure([1.0, 2.0], [1.0, NAN]))


def test_huge_and_tiny_numbers_stay_in_range() -> None:
    assert ic([1e200, 2e200, 3e200], [1e-200, 2e-200, 3e-200]) == pytest.approx(1)


def test_a_forecast_that_declines_to_answer_is_refused() -> None:
    with pytest.raises(DataError, match="not finite"):
        rank_ic([1.0, NAN, 3.0], [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="shapes"):
        ic([1.0, 2.0], [1.0, 2.0, 3.0])


def test_cross_section_gives_one_number_per_date() -> None:
    days = pd.to_datetime(["2024-01-03", "2024-01-02", "2024-01-04"], utc=True)
    frame = pd.DataFrame(
        {
            "day": np.repeat(days, 3),
            "said": [1.0, 2.0, 3.0] * 3,
            "came": [3.0, 2.0, 1.0, 1.0, 1.0, 4.0, 1.0, NAN, 2.0],
        }
    )
    found = cross_section(frame, "day", "said", "came")
    assert found.index.tolist() == sorted(days)
    assert found.name == "ic"
    assert found.iloc[:2].tolist() == pytest.approx([3 / np.sqrt(12), -1])
    assert np.isnan(found.iloc[2])  # two pairs are left, and three are asked for
    assert cross_section(frame, "day", "said", "came", kind="rank_ic", least=2).iloc[2] == pytest.approx(1)


def test_cross_section_names_the_column_that_is_missing() -> None:
    with pytest.raises(ConfigError, match=r"no column said; it has: day, came"):
        cross_section(pd.DataFrame({"day": [1], "came": [1.0]}), "day", "said", "came")
    with pytest.raises(ConfigError, match="kind"):
        cross_section(pd.DataFrame({"d": [1], "f": [1.0]}), "d", "f", "f", kind="kendall")  # type: ignore[arg-type]

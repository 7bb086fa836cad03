"""A blend is draws of its members: right in distribution, whole as bars, fitted by origin, and shy where there is little to learn."""

from __future__ import annotations

import numpy as np
import pytest

from chandler.errors import ConfigError
from chandler.forecasting import (
    MEMBERS,
    NAIVE,
    Blend,
    Calibration,
    PastForecast,
    Sampling,
    fit_bands,
    fit_blend,
    resampled_bars,
)
from chandler.forecasting.calibration import fitting
from chandler.forecasting.calibration.blend import shaped
from chandler.measures import ConformalBands, crps

P, H = 120, 6


def history(seed: int = 0, rows: int = 130, volatility: float = 0.01) -> np.ndarray:
    rng = np.random.default_rng(seed)
    close = 50 * np.exp(np.cumsum(volatility * rng.standard_normal(rows)))
    opened = np.append(close[0], close[:-1]) * np.exp(0.2 * volatility * rng.standard_normal(rows))
    high = np.maximum(opened, close) * np.exp(volatility * rng.random(rows))
    low = np.minimum(opened, close) * np.exp(-volatility * rng.random(rows))
    volume = rng.integers(1, 1000, rows)
    return np.stack([opened, high, low, close, volume, volume * close], axis=1).astype(np.float64)


def blend(weights: list[list[float]], ends: tuple[int, ...] = (H,), keep: float = 1.0, scale: float = 1.0) -> Blend:
    return Blend(keep, scale, ends, np.array(weights))


@pytest.mark.parametrize("kind", NAIVE)
def test_naive_bars_are_bars_without_drift(kind: str) -> None:
    past = history()
    made = resampled_bars(past, 20, 4000, 0, NAIVE[kind])
    logs = np.log(made[..., 3] / past[-1, 3])
    assert np.abs(logs.mean(axis=0)).max() < 4 * logs[:, -1].std() / 4000**0.5
    assert (made[..., 1] >= made[..., [0, 3]].max(axis=-1)).all()
    assert (made[..., 2] <= made[..., [0, 3]].min(axis=-1)).all()
    assert set(made[0, :, 4]) <= set(past[:, 4])
    returns = np.diff(np.log(past[:, 3]))
    if kind == "bootstrap":
        assert logs[:, -1].std() == pytest.approx(returns.std() * 20**0.5, rel=0.05)
    still = past.copy()
    still[:, :4] = 3.0
    assert resampled_bars(still, 5, 3, 0, NAIVE[kind])[..., :4] == pytest.approx(3.0)


def test_the_filtered_bootstrap_remembers_volatility() -> None:
    calm, wild = history(1), history(1)
    wild[-10:, 3] *= np.exp(0.05 * np.array([1, -1] * 5))
    wider = {}
    for name, kind in NAIVE.items():
        small, large = (
            np.log(resampled_bars(one, 1, 3000, 0, kind)[:, 0, 3] / one[-1, 3]).std() for one in (calm, wild)
        )
        wider[name] = large / small
    assert wider["filtered"] > 1.3 * wider["bootstrap"]


def test_one_member_alone_is_that_member() -> None:
    past = history()
    bars = resampled_bars(past, H, P, 5, NAIVE["bootstrap"]) * np.array([1.01] * 4 + [1, 1])
    assert blend([[1, 0, 0]]).apply(bars, past, 9) == pytest.approx(bars)
    naive = blend([[0, 1, 0]]).apply(bars, past, 9)
    assert naive == pytest.approx(resampled_bars(past, H, P, 9, NAIVE["bootstrap"]))


def test_drift_is_kept_in_part_and_candles_keep_their_form() -> None:
    past = history()
    bars = resampled_bars(past, H, P, 5, NAIVE["bootstrap"])
    bars[..., :4] *= np.exp(0.02 * np.arange(1, H + 1))[:, None]
    logs = np.log(bars[..., 3] / past[-1, 3])
    half = blend([[1, 0, 0]], keep=0.5, scale=1.2).apply(bars, past, 0)
    moved = np.log(half[..., 3] / past[-1, 3])
    error = logs.std(axis=0) / P**0.5  # of a mean of as many draws: the mean is as sure as that, and no surer
    assert (np.abs(moved.mean(axis=0) - 0.5 * logs.mean(axis=0)) < 4 * 1.2 * error).all()
    assert moved.std(axis=0) == pytest.approx(1.2 * logs.std(axis=0))
    assert half[..., 1] / half[..., 3] == pytest.approx(bars[..., 1] / bars[..., 3])
    assert np.array_equal(half[..., 4:], bars[..., 4:])


def test_weights_by_step_are_met_in_distribution() -> None:
    rng = np.random.default_rng(0)
    # Members so far apart that a draw says whose it is.
    members = [rng.normal(center, 0.1, (1000, H)) for center in (-5.0, 0.0, 5.0)]
    made = blend([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]], ends=(2, H)).pooled(members)
    shares = [[(np.abs(made[:, step] - center) < 1).mean() for center in (-5, 0, 5)] for step in (0, H - 1)]
    assert np.array(shares) == pytest.approx(np.array([[0.6, 0.3, 0.1], [0.1, 0.2, 0.7]]), abs=0.02)


def test_the_fair_score_of_a_blend_is_that_of_independent_draws() -> None:
    rng = np.random.default_rng(3)
    weights, gained = blend([[0.5, 0.25, 0.25]]), []
    for _ in range(400):
        members = [rng.standard_normal((20, 1)) for _ in range(3)]
        came = rng.standard_normal(1)
        gained.append(crps(weights.pooled(members), came) - crps(members[0], came))
    assert abs(np.mean(gained)) < 3 * np.std(gained) / 20


@pytest.mark.parametrize(("keep", "scale"), [(0.0, 1.0), (0.25, 1.0), (0.25, 1.25), (1.0, 0.9)])
@pytest.mark.parametrize("paths", [10, 11, 100])
def test_a_drift_that_is_taken_off_is_scored_no_better_than_the_distribution_without_it(
    paths: int, keep: float, scale: float
) -> None:
    """Draws of N(0, 1), moved, against what came of N(0, 1)."""
    rng = np.random.default_rng(1)
    exact = (
        2 * (1 + scale**2) / np.pi
    ) ** 0.5 - scale / np.pi**0.5  # the CRPS of N(0, scale^2), and what `beside` is a share of
    count = 4_000_000 // paths
    draws, came = rng.standard_normal((paths, count)), rng.standard_normal(count)
    found = crps(shaped(draws, keep, scale), came)
    # Against draws that are what they seem, scored on the same numbers, chance hardly differs.
    beside = found - crps(scale * draws, came)
    assert beside.mean() > -0.0015 * exact - 4 * beside.std() / count**0.5
    if keep <= scale:
        assert beside.mean() < 0.0015 * exact + 4 * beside.std() / count**0.5


def test_closes_that_did_not_move_keep_their_share() -> None:
    rng = np.random.default_rng(0)
    flat = [rng.choice([-1.0, 0.0, 1.0], (1000, 2), p=[0.1, 0.8, 0.1]) for _ in range(2)]
    made = blend([[0.1, 0.45, 0.45], [0.6, 0.2, 0.2]], ends=(1, 2)).pooled([rng.standard_normal((1000, 2)), *flat])
    assert (made[:, 1] == 0).mean() == pytest.approx(0.32, abs=0.03)
    assert (made[:, 1] > 0).mean() == pytest.approx(0.34, abs=0.03)
    assert made[:, 1].mean() == pytest.approx(0, abs=0.06)


def past_forecasts(count: int, drift: float, wrong: float, seed: int = 0) -> list[PastForecast]:
    """Naive members as the truth is; a model whose mean is `wrong` times noise, and with `drift` of what will come."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        known = drift * rng.standard_normal()
        came = known + np.cumsum(rng.standard_normal(H))
        walk = [np.cumsum(rng.standard_normal((60, H)), axis=1) for _ in range(3)]
        model = walk[0] + known + wrong * rng.standard_normal(H)
        found.append(PastForecast(model, (walk[1], walk[2] * 1.1), came))
    return found


def test_what_the_model_knows_is_kept_and_what_it_invents_is_not() -> None:
    rounds = np.arange(150)
    knows, _ = fit_blend(past_forecasts(150, drift=2.0, wrong=0.0), rounds, 1)
    assert knows.keep >= 0.75
    assert knows.weights[:, 0].min() > 0.7
    invents, _ = fit_blend(past_forecasts(150, drift=0.0, wrong=3.0), rounds, 1)
    assert invents.keep * invents.weights[:, 0].mean() < 0.1


def test_few_origins_move_little_and_windows_of_one_origin_are_one() -> None:
    many = past_forecasts(200, drift=2.0, wrong=0.0)
    few, _ = fit_blend(many, np.repeat(np.arange(4), 50), 1)
    all_of_them, _ = fit_blend(many, np.arange(200), 1)
    away = [np.abs(one.weights - fitting.PRIOR).sum() for one in (few, all_of_them)]
    assert away[0] < 0.8 * away[1]


def test_the_part_that_reports_is_not_the_part_that_chose(monkeypatch: pytest.MonkeyPatch) -> None:
    terms = fitting.PoolTerms.of(past_forecasts(20, 0.0, 0.0), np.arange(20))
    for chosen, judged in terms.folds(overlap=3):
        assert not (chosen & judged).any()
        lo, hi = np.flatnonzero(judged)[[0, -1]]
        assert not chosen[max(0, lo - 2) : hi + 3].any()
    assert np.sum([judged for _, judged in terms.folds(3)], axis=0).tolist() == [1] * 20


def test_bands_cover_what_they_say_and_hardly_move_on_little() -> None:
    rng = np.random.default_rng(0)
    pools = [0.6 * rng.standard_normal((P, H)) for _ in range(600)]
    came = rng.standard_normal((600, H))
    bands = fit_bands(pools, came, [0.5, 0.8, 0.9], np.arange(600), 1)
    assert bands.low == pytest.approx(bands.high)
    moved = [np.log(bands.recalibrate(np.exp(0.01 * one))) / 0.01 for one in pools]
    edges = [np.quantile(one, [0.05, 0.95], axis=0) for one in moved]
    inside = [(low <= y) & (y <= high) for (low, high), y in zip(edges, came, strict=True)]
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)
    little = fit_bands(pools, came, [0.9], np.repeat(np.arange(5), 120), 1)
    assert np.abs(little.low).max() < 0.3 * np.abs(bands.low[-1]).min()


def test_bands_go_by_what_came_lately() -> None:
    rng = np.random.default_rng(1)
    pools, calm = [rng.standard_normal((P, H)) for _ in range(400)], np.arange(400) < 200
    came = np.where(calm[:, None], 0.7, 1.4) * rng.standard_normal((400, H))
    rose, fell, apart = (
        fit_bands(pools, moves, [0.9], np.arange(400), overlap).high[0, 0]
        for moves, overlap in ((came, 1), (came[::-1], 1), (came, 20))
    )
    assert rose > fell + 0.1
    assert 0 < apart < 0.6 * rose, "forecasts that share bars are fewer"


def test_a_calibration_comes_back_and_says_when_the_model_is_worth_nothing(tmp_path: object) -> None:
    bands = ConformalBands((0.5, 0.9), np.zeros((2, H)), np.zeros((2, H)), (9,) * H)
    made = Calibration(bands, Sampling(), 30, 50, 90, "2020-01-01", "2021-01-01", True, 30, blend([[0, 0.4, 0.6]]))
    back = Calibration.from_dict(made.to_dict())
    assert back.to_dict() == made.to_dict()
    assert (
        "the model has no weight in it, this forecast is naive: bootstrap 0.40, filtered bootstrap 0.60" in made.says()
    )
    with pytest.raises(ConfigError, match="fitted for 6 steps"):
        made.apply(np.ones((4, H + 1, 6)), history(), 0)
    for broken in ({"weights": [[0.5, 0.1, 0.1]]}, {"ends": [3, 2]}, {"members": ["model"]}, {"keep": 2.0}):
        raw = made.to_dict()
        raw["blend"] |= broken
        with pytest.raises(ValueError, match="blend"):
            Calibration.from_dict(raw)
    assert MEMBERS[0] == "model"

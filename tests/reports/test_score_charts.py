"""Charts of an evaluation by hour and by symbol show what the scores give by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.reports.drawn import drawn

from chandler.evaluation.walk_forward.results import Results
from chandler.evaluation.walk_forward.runner import evaluate
from chandler.evaluation.walk_forward.settings import load_evaluation
from chandler.reports import score_charts, write_evaluation_report

GOLDEN = Path(__file__).parents[1] / "golden"
SYMBOLS = 13
"""So many that the page has a chart of them."""


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """A model of random weights against one walk, on hourly bars of many symbols."""
    root = tmp_path_factory.mktemp("hours")
    index = pd.date_range("2024-03-01", periods=60, freq="h")
    frames = []
    for number in range(SYMBOLS):
        close = 100 * np.exp(np.random.default_rng(number).normal(0, 0.01, len(index)).cumsum())
        frame = pd.DataFrame({"timestamp": index, "symbol": f"S{number:02d}", "open": close, "close": close})
        frames.append(frame.assign(high=close * 1.01, low=close * 0.99, volume=100.0))
    pd.concat(frames).to_csv(root / "bars.csv", index=False)
    settings = load_evaluation({
        "out": str(root / "e"), "data": {"path": str(root / "bars.csv")}, "lookback": 24, "horizon": 4, "stride": 8,
        "paths": 10, "device": "cpu", "baselines": ["bootstrap"],
        "models": {"tiny": f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"},
    })  # fmt: skip
    return Results(evaluate(settings))


def gains(results: Results, key: str) -> pd.Series:
    """CRPS of the model against the walk in %, by a column of the scores."""
    scores = pd.read_parquet(results.folder / "scores.parquet")
    scores["crps"] /= scores["last"]
    mean = scores.groupby(["model", key])["crps"].mean()
    return (mean["tiny"] / mean["bootstrap"] - 1) * 100


def test_by_hour(results: Results) -> None:
    [trace] = drawn(score_charts.by_hour(results, ["tiny"], "bootstrap")).data
    expected = gains(results, "hour")
    assert len(expected) > 8
    assert list(trace.x) == expected.index.tolist()
    np.testing.assert_allclose(trace.y, expected, rtol=1e-3)
    assert trace.name == "tiny"


def test_by_symbol(results: Results) -> None:
    shares = {"tiny": results.crps_by_symbol("tiny", "bootstrap")}
    [trace] = drawn(score_charts.by_symbol(shares)).data
    expected = gains(results, "symbol").sort_values()
    assert list(trace.text) == expected.index.tolist()  # the best first
    np.testing.assert_allclose(trace.y, expected, rtol=1e-3)
    assert len(trace.x) == SYMBOLS


def test_the_page_has_both(results: Results) -> None:
    page = write_evaluation_report(results).read_text()
    for heading in ("<h2>By symbol</h2>", "<h2>By hour of the day</h2>"):
        assert heading in page
    for label in ("CRPS against naive by symbol", "CRPS against naive by hour of the day"):
        assert f'aria-label="{label}"' in page
    won = int((gains(results, "symbol") < 0).sum())
    assert f"tiny has a lower CRPS than naive for {won} of {SYMBOLS}" in page

"""What the page of an evaluation says where there is little to say, and where names are not what plotly expects."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler.evaluation.walk_forward.results import Results
from chandler.evaluation.walk_forward.runner import evaluate
from chandler.evaluation.walk_forward.settings import load_evaluation
from chandler.measures import Comparison
from chandler.reports import evaluation_summary, score_charts, write_evaluation_report
from chandler.reports.evaluation import evaluation_page
from chandler.reports.render import sentence

GOLDEN = Path(__file__).parents[1] / "golden"
MODEL = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
ODD = 'a<b>&"%{x}'
"""A name with a tag, an entity and a placeholder of plotly."""


def evaluated(folder: Path, symbols: list[str], **more: Any) -> Results:
    """Random walks of a few symbols, forecast."""
    index, frames = pd.date_range("2024-03-01", periods=84, freq="D"), []
    for number, symbol in enumerate(symbols):
        close = 100 * np.exp(np.random.default_rng(number).normal(0, 0.01, len(index)).cumsum())
        frame = pd.DataFrame({"timestamp": index, "symbol": symbol, "open": close, "close": close})
        frames.append(frame.assign(high=close * 1.01, low=close * 0.99, volume=100.0))
    pd.concat(frames).to_csv(folder / "bars.csv", index=False)
    settings = load_evaluation({
        "out": str(folder / "e"), "data": {"path": str(folder / "bars.csv")}, "lookback": 24, "horizon": 4, "paths": 10,
        "device": "cpu", "baselines": ["last_close", "bootstrap"], "calibration": "off", **more,
    })  # fmt: skip
    return Results(evaluate(settings))


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Results:
    """One origin of two symbols, one bar ahead, by a model of an odd name."""
    folder = tmp_path_factory.mktemp("single")
    return evaluated(folder, ["A<i>", "B"], models={ODD: MODEL}, origins=1, horizon=1)


def test_what_bands_covered_stays_a_share(tmp_path: Path) -> None:
    """All closes but one inside: what the bootstrap makes of it reaches beyond 1."""
    results = evaluated(tmp_path, ["A"])
    scores = pd.read_parquet(results.folder / "scores.parquet")
    missed = (scores["window"] == 3) & (scores["step"] == 2)
    scores["q05"], scores["q95"] = np.where(missed, scores["truth_close"] * 2, 0.01), scores["truth_close"] * 3
    scores.to_parquet(results.folder / "scores.parquet")
    share, low, high = Results(results.folder).coverage("bootstrap", 0.9)
    rounds = scores["window"].nunique()
    assert share == pytest.approx(1 - 1 / (4 * rounds))
    assert 0.9 < low < share
    assert high == 1


def test_one_origin_has_no_intervals(single: Results) -> None:
    lines = dict(evaluation_summary.verdict_lines(single, evaluation_summary.judge(single)))
    said = lines["Bands"]
    assert "of the true closes; no calibration was applied." in said
    calibration = evaluation_page(single).calibration
    assert calibration is not None
    assert all(band.interval is None for _, bands in calibration.bands for band in bands)
    page = write_evaluation_report(single).read_text()
    assert not re.search(r"- to -|nan%|\b1 (bars|origins|windows)\b", page)
    assert "2 windows of 2 symbols, 1 bar ahead" in page
    assert evaluation_summary.unit(single).endswith("in % of the last close, 1 bar ahead; lower is better.")


NAN = float("nan")


@pytest.mark.parametrize(
    ("difference", "low", "high", "p", "said"),
    [
        (0.0, 0.0, 0.0, 1.0, "the same throughout"),
        (0.1, 0.1, 0.1, NAN, "5.0% higher (95% interval: 5.0% to 5.0% higher)"),
        (0.1, 0.02, 0.2, 0.3, "5.0% higher (95% interval: 1.0% to 10% higher; but Diebold-Mariano p 0.3)"),
        (0.1, NAN, NAN, NAN, "5.0% higher, no interval"),
    ],
)
def test_a_difference_in_words(difference: float, low: float, high: float, p: float, said: str) -> None:
    c = Comparison(2 + difference, 2.0, difference, low, high, p, 12, 12, "no difference shown")
    assert sentence("evaluation", "span", c) == said


def test_the_page_says_on_which_bars_calibrations_were_fitted(tmp_path: Path) -> None:
    results = evaluated(tmp_path, ["A", "B", "C"], models={"a": MODEL}, start="2024-05-07", calibration="auto")
    page = write_evaluation_report(results).read_text()
    assert "Both were fitted on bars before these windows. Adaptive" in page
    assert "this very period" not in page
    state = results.folder / "evaluation.json"
    told = json.loads(state.read_text())
    told["contenders"]["a"]["calibrations"][0]["calibration"]["last"] = told["last"]
    state.write_text(json.dumps(told))
    page = write_evaluation_report(Results(results.folder)).read_text()
    here = "on bars of this very period, so that what they cover here proves nothing"
    assert f"Both were fitted {here}. Adaptive" in page
    assert sentence("evaluation", "learnt", {"before": ["a", "c"], "here": ["b"]}) == (
        f"on bars before these windows (a and c); {here} (b)"
    )


def test_a_distribution_is_not_judged_against_a_point(tmp_path: Path) -> None:
    results = evaluated(tmp_path, ["A"], models={"a": MODEL}, baselines=["last_close"])
    judged = evaluation_summary.judge(results)
    assert [one.question.title for one in judged] == ["point forecast"]
    assert "distribution" not in evaluation_summary.headline(results, judged)
    lines = dict(evaluation_summary.verdict_lines(results, judged))
    assert lines["Distribution"].startswith("Not judged: no baseline here is a distribution (last close).")
    assert list(evaluation_summary.evaluation_table(results)) == ["CRPS", "MAE", "QLIKE", "90% band covers"]
    page = evaluation_page(results)
    assert [one.title for one, _ in page.questions] == ["point forecast"]
    assert page.comparisons == 1
    assert "<b>Point forecast</b>" in write_evaluation_report(results).read_text()


def test_a_headline_names_what_has_too_few_origins() -> None:
    found = {"better": ["distribution"], "too few origins": ["volatility"]}
    assert sentence("evaluation", "headline", [("a", found, 12)]) == (
        "a is better than naive at distribution and has too few origins to tell at volatility."
    )
    assert sentence("evaluation", "headline", [("a", {"too few origins": ["volatility"]}, 1)]) == (
        "a: 1 origin cannot show a difference from naive."
    )


def test_names_are_text_in_charts(single: Results) -> None:
    """Neither a tag, nor an entity, nor a placeholder of plotly; "&#123;" is drawn as a brace."""
    name = 'a&lt;b&gt;&amp;"%&#123;x}'
    shares = {ODD: single.crps_by_symbol(ODD, "bootstrap")}
    charts = {
        "by_step": score_charts.by_step(single, [ODD], "bootstrap"),
        "by_hour": score_charts.by_hour(single, [ODD], "bootstrap"),
        "by_symbol": score_charts.by_symbol(shares),
        "reliability": score_charts.reliability({ODD: {0.5: 0.4, 0.9: 0.8}}),
    }
    for chart in charts.values():
        [trace] = [one for one in chart["data"] if one.get("hovertemplate")]
        assert trace["name"] == name
        assert trace["hovertemplate"].startswith(name)
    [trace] = charts["by_symbol"]["data"]
    assert set(trace["text"]) == {"A&lt;i&gt;", "B"}

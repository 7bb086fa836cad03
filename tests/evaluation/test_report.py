"""The report tells losses as plainly as wins, loads nothing, and is written for every kind of run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
import yaml

from chandler.data.bars import Bars
from chandler.errors import ConfigError, DataError
from chandler.evaluation import charts
from chandler.evaluation.report import ForecastCase, score_cases, write_report
from chandler.evaluation.scoring import pivot
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.sampling import Sampling

HORIZON = 4
SPLITS = {
    "train": {"windows": 30, "rows": 60, "first": "2023-10-02T00:00:00", "last": "2023-12-29T00:00:00"},
    "val": {"windows": 5, "rows": 20, "first": "2024-01-01T00:00:00", "last": "2024-01-26T00:00:00"},
}
MEASURES = {"tokenizer": ("mse", "mse_s1"), "predictor": ("nll", "nll_s1", "nll_s2", "nll_horizon")}


def bars(symbol: str, closes: np.ndarray, start: str) -> Bars:
    values = np.c_[closes - 0.2, closes + 1, closes - 1, closes, np.full(len(closes), 5.0), closes * 5]
    return Bars(symbol, pd.date_range(start, periods=len(closes), freq="B"), values)


def case(symbol: str, miss: float, *, truth: bool = True, paths: int = 5, move: float = 1.0) -> ForecastCase:
    """The close goes from 100 to 100 + move and stays; the paths lie around `miss` above that."""
    past = bars(symbol, 100 + np.r_[np.sin(np.arange(29.0)), 0], "2024-01-01")
    came = bars(symbol, np.full(HORIZON, 100.0 + move), "2024-02-12")
    around = 100 + move + miss + np.linspace(-0.5, 0.5, paths)[:, None, None] if paths > 1 else 100 + move + miss
    made = Forecast(
        symbol=symbol,
        timestamps=came.timestamps,
        paths=np.broadcast_to(around, (paths, HORIZON, 6)).astype(float),
        history=past,
        sampling=Sampling(),
        seed=0,
        calendar="given",
        model="m",
    )
    return ForecastCase(made, came.to_frame() if truth else None)


def outcome(stage: str, status: str = "improved", **more: Any) -> dict[str, Any]:
    best = 0.5 if status == "improved" else 2.0
    return {
        "status": status, "start": "somewhere", "parameters": 1234, "measure": MEASURES[stage][0], "start_score": 2.0,
        "best": best, "best_step": 20 if status == "improved" else 0, "steps": 20, "epochs": 2, "stopped_early": False,
        "seconds": 61.0, **more,
    }  # fmt: skip


def run_folder(folder: Path, stages: dict[str, dict[str, Any]], start: str = "somewhere") -> Path:
    """A run folder as finetune leaves it, with the stages' outcomes as given."""
    folder.mkdir(parents=True, exist_ok=True)
    config: dict[str, Any] = {"out": str(folder), "seed": 7, "data": {"path": "/home/me/bars.csv", "lookback": 30}}
    records = []
    for name, done in stages.items():
        config[name] = {"start": start, "batch_size": 8, "learning_rate": 0.001}
        if done["status"] not in ("improved", "kept_start") or done.get("reused"):
            continue
        worst = 2.5 if done["status"] == "kept_start" else 0.5
        for step, score in ((0, 2.0), (10, 3.0), (20, worst)):
            record = {"stage": name, "kind": "validation", "step": step, "epoch": step // 10, "time": 1.7e9}
            records.append(record | dict.fromkeys(MEASURES[name], score))
            losses = {"loss": 1.5, "mse": 1.0, "ce_s1": 1.0, "ce_s2": 1.0}
            records.append({"stage": name, "kind": "train", "step": step + 5, "epoch": 1, "time": 1.7e9, **losses})
        (folder / name).mkdir(exist_ok=True)
        (folder / name / "config.json").write_text(
            '{"d_model": 16, "n_heads": 2, "s1_bits": 4, "s2_bits": 4, "n_layers": 1}'
        )
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    summary = {"chandler": "0.1.0", "data": {"symbols": 2, "rows": 90, "splits": SPLITS}, "stages": stages}
    (folder / "summary.json").write_text(json.dumps(summary))
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    return folder


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return run_folder(tmp_path / "run", {name: outcome(name) for name in MEASURES})


def page(path: Path) -> str:
    """The page without scripts and styles, so what a person reads (and its tags)."""
    text = path.read_text()
    return re.sub(r"(?s)<(script|style)\b.*?</\1>", "", text)


def words(path: Path) -> str:
    return " ".join(re.sub("<[^>]+>", " ", page(path)).split())


class Loaded(HTMLParser):
    """Collects every attribute and tag by which a page can load something."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [(tag, name) for name, _ in attrs if name in ("src", "href", "srcset", "data", "action")]
        self.found += [(tag, "")] if tag in ("link", "iframe", "img", "object", "embed", "base") else []


def test_scores_are_percent_of_the_last_close_and_baselines_see_the_same_bars() -> None:
    scores = score_cases([case("A", 0.5), case("B", 2.0)], paths=100)
    mae = pivot(scores, "mae")
    assert mae.loc["A", "model"] == pytest.approx(0.5)
    assert mae.loc["B", "model"] == pytest.approx(2.0)
    assert mae["last close"].tolist() == pytest.approx([1.0, 1.0])
    crps = pivot(scores, "crps")
    # Five evenly spaced paths, their mean 2 above the truth: 2 - (the mean distance of two of them, 0.5) / 2.
    assert crps.loc["B", "model"] == pytest.approx(2.0 - 0.25)
    assert crps["last close"].tolist() == pytest.approx([1.0, 1.0])
    # Equal histories and one seed: the random walk is the same, its difference between symbols is no noise.
    assert crps.loc["A", "random walk"] == crps.loc["B", "random walk"]
    assert pivot(scores, "inside").loc["A", "model"] == 0
    assert pivot(scores, "steps")["model"].tolist() == [HORIZON, HORIZON]
    assert list(scores.columns) == ["symbol", "model", "measure", "value"]


def test_cases_of_one_symbol_are_averaged_and_their_steps_added() -> None:
    scores = score_cases([case("A", 0.5), case("A", 1.5), case("B", 0.0)])
    assert pivot(scores, "mae").loc["A", "model"] == pytest.approx(1.0)
    assert pivot(scores, "steps").loc["A", "model"] == 2 * HORIZON


def test_truth_is_matched_by_time_and_missing_bars_are_not_scored() -> None:
    whole = case("A", 1.0)
    assert whole.truth is not None
    part = ForecastCase(whole.forecast, whole.truth.iloc[1:3])
    assert pivot(score_cases([part]), "steps").loc["A", "model"] == 2
    assert score_cases([ForecastCase(whole.forecast, whole.truth.shift(freq="1000D"))]).empty
    with pytest.raises(DataError, match="only one has a time zone"):
        score_cases([ForecastCase(whole.forecast, whole.truth.tz_localize("UTC"))])


def test_losses_are_told_as_plainly_as_wins(run: Path) -> None:
    report = write_report(run, [case("WINNER", 0.1), case("LOSER", 3.0)])
    text = words(report)
    assert "closer for 1 of 2 symbols (WINNER) and farther off for 1 (LOSER)" in text
    assert "On average the forecasts beat neither the last close" in text
    marks = re.findall(r'<span class="mark (\w+)">([^<]+)</span>', page(report))
    assert ("better", "90% better") in marks  # 0.1 against 1.0
    assert ("worse", "200% worse") in marks  # 3.0 against 1.0
    assert "2 forecasts from one origin (9 Feb 2024) prove nothing" in text
    assert "LOSER 0 of 4" in text


def test_headline_turns_with_the_outcome(run: Path) -> None:
    assert "forecasts beat both the last close and the random walk" in words(write_report(run, [case("A", 0.0)]))
    # A truth that stays at the last close can be met, but not beaten.
    still = words(write_report(run, [case("A", 0.3, move=0.0)]))
    assert "beat neither" in still or "but not the last close" in still
    assert "farther off for 1" in still


def test_nothing_is_loaded_from_anywhere(run: Path) -> None:
    report = write_report(run, [case("A", 0.5)])
    parser = Loaded()
    parser.feed(page(report))
    assert parser.found == []
    whole = report.read_text()
    assert whole.count("plotly.js v") == 1
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|@import|url\(", whole.replace(charts_free(whole), ""))


def charts_free(whole: str) -> str:
    """The inlined plotly.js, whose own text mentions addresses that it never loads here."""
    return max(re.findall(r"(?s)<script>(.*?)</script>", whole), key=len)


def test_text_from_the_data_cannot_become_html(run: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    report = write_report(run, [case(evil, 0.5)], notes=["<b>note</b>"])
    parser = Loaded()
    parser.feed(page(report))
    assert parser.found == []
    assert evil not in report.read_text()
    assert "&lt;b&gt;note" in page(report)


def test_paths_of_the_machine_are_not_in_the_page(run: Path) -> None:
    text = page(write_report(run))
    assert "bars.csv" in text
    assert "/home/me" not in text
    assert str(run.parent) not in text


def test_a_plain_run_without_forecasts(run: Path) -> None:
    text = words(write_report(run))
    assert "The tokenizer and the predictor beat their starting weights" in text
    assert "No forecast was scored." in text
    assert "75% better" in text  # mse 2.0 to 0.5
    assert "1.500 nats better" in text


def test_a_stage_that_kept_its_start_says_so(tmp_path: Path) -> None:
    stages = {"tokenizer": outcome("tokenizer"), "predictor": outcome("predictor", "kept_start")}
    text = words(write_report(run_folder(tmp_path / "run", stages)))
    assert "The predictor did not beat its starting weights, the tokenizer did." in text
    assert "of no use" in text


@pytest.mark.parametrize(
    ("stages", "said"),
    [
        (
            {"tokenizer": {"status": "off", "start": "base"}, "predictor": outcome("predictor")},
            "base was used as it is",
        ),
        ({"tokenizer": outcome("tokenizer"), "predictor": {"status": "off"}}, "Switched off."),
        ({"tokenizer": {"status": "unknown", "reused": True}, "predictor": outcome("predictor")}, "is not recorded"),
        ({"tokenizer": outcome("tokenizer", reused=True), "predictor": outcome("predictor")}, "in an earlier run"),
        ({"tokenizer": outcome("tokenizer")}, "Not finished"),
        ({}, "No stage was trained in this run."),
    ],
)
def test_stages_that_did_not_run(tmp_path: Path, stages: dict[str, dict[str, Any]], said: str) -> None:
    assert said in words(write_report(run_folder(tmp_path / "run", stages)))


def test_a_start_from_random_weights_is_held_against_the_reference(tmp_path: Path) -> None:
    folder = run_folder(tmp_path / "run", {name: outcome(name) for name in MEASURES}, start="random")
    text = words(write_report(folder, references={"predictor": ("Token frequencies alone", 0.4321)}))
    assert "These were random, so that says only that it learns. Token frequencies alone would score 0.4321." in text


def test_an_interrupted_stage_that_began_again_shows_its_second_curve(run: Path) -> None:
    log = run / "metrics.jsonl"
    aborted = {
        "stage": "tokenizer",
        "kind": "validation",
        "step": 0,
        "epoch": 0,
        "mse": 99.0,
        "mse_s1": 99.0,
        "time": 1.0,
    }
    log.write_text(json.dumps(aborted) + "\n" + log.read_text())
    assert "99.0" not in write_report(run).read_text().split("plotly.js v")[0]


def test_bars_that_training_saw_raise_the_alarm(run: Path) -> None:
    summary = json.loads((run / "summary.json").read_text())
    summary["data"]["splits"]["val"]["last"] = "2024-03-01T00:00:00"
    (run / "summary.json").write_text(json.dumps(summary))
    report = write_report(run, [case("A", 0.5)])
    assert "their errors say nothing about unseen data" in words(report)
    assert 'class="verdict alarm"' in page(report)


def test_unseen_bars_are_called_unseen(run: Path) -> None:
    assert "neither the weights nor the choice of the checkpoint has seen any" in words(
        write_report(run, [case("A", 1.0)])
    )


def test_forecasts_without_truth_or_with_one_path_are_shown(run: Path) -> None:
    text = words(write_report(run, [case("A", 0.5, truth=False), case("B", 0.5, truth=False, paths=1)]))
    assert "what came true is not known yet" in text
    assert "nothing here says how good they are" in text
    assert "80% band of the close" not in words(write_report(run, [case("B", 0.5, paths=1)]))


def test_figures_are_valid_plotly(run: Path) -> None:
    colours = dict.fromkeys(re.findall(r"--[a-z-]+", Path(charts.__file__).read_text()), "#123456")
    for figure in (
        charts.candles(case("A", 0.5)),
        charts.candles(case("A", 0.5, truth=False, paths=1)),
        charts.losses([(5, 1.0)], [(0, 2.0), (10, 1.0)], reference=("A reference", 1.5), log=True),
        charts.losses([], [(0, 2.0)]),
    ):
        go.Figure(charts.resolve(figure, colours))


def test_a_chart_has_one_place_per_bar_and_none_for_weekends() -> None:
    figure = charts.candles(case("A", 0.5))
    places = figure["layout"]["xaxis"]["categoryarray"]
    assert len(places) == len(set(places)) == 30 + HORIZON
    assert not {"10 Feb 2024", "11 Feb 2024"} & set(places)  # a Saturday and a Sunday


def test_a_failed_write_leaves_the_old_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = write_report(run)
    before = report.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(run, notes=["new"])
    assert report.read_text() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml is missing"):
        write_report(tmp_path)
    (tmp_path / "config.yaml").write_text("out: x")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match=r"summary\.json: cannot be read"):
        write_report(tmp_path)


@pytest.mark.parametrize(("measure", "before", "after"), [("crps", 2.0, 1.5), ("rank_ic", 0.01, 0.04)])
def test_a_checkpoint_that_forecasts_chose(tmp_path: Path, measure: str, before: float, after: float) -> None:
    best = {"measure": measure, "start_score": before, "best": after}
    folder = run_folder(tmp_path / "run", {"tokenizer": outcome("tokenizer"), "predictor": outcome("predictor") | best})
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for record in records:
        if record["stage"] == "predictor" and record["kind"] == "validation":
            record |= {"crps": 2.0, "rank_ic": 0.01}
            record |= {measure: after if record["step"] == 20 else before}
    (folder / "metrics.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))
    report = write_report(folder, references={"predictor": ("Token frequencies alone", 0.4)})
    text = words(report)
    gain = {"crps": "25% better", "rank_ic": "0.03000 better"}[measure]
    assert gain in text
    assert f"{before:#.4g} at step 0, {after:#.4g} at its best (step 20)" in text
    assert "Token frequencies alone would score" not in text, "that is a likelihood"
    assert "It chose the checkpoint." in text
    assert "1.500 nats better" in text, "the likelihood is shown beside it"


def test_a_warning_of_the_run_is_told_in_the_verdict(tmp_path: Path) -> None:
    warned = outcome("predictor", "kept_start", warning="the training loss fell from 5 to 4")
    text = words(write_report(run_folder(tmp_path / "run", {"tokenizer": outcome("tokenizer"), "predictor": warned})))
    assert "was of no use. Warning: the training loss fell from 5 to 4." in text

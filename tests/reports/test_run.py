"""The report tells losses as plainly as wins, loads nothing, and is written for every kind of run."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import yaml

from chandler.errors import ConfigError
from chandler.reports import write_report
from chandler.reports.run import RunPage, run_page
from chandler.training.runs import RunHistory

SPLITS = {
    "train": {"windows": 30, "rows": 60, "first": "2023-10-02T00:00:00", "last": "2023-12-29T00:00:00"},
    "val": {"windows": 5, "rows": 20, "first": "2024-01-01T00:00:00", "last": "2024-01-26T00:00:00"},
}
MEASURES = {"tokenizer": ("mse", "mse_s1"), "predictor": ("nll", "nll_s1", "nll_s2", "nll_horizon")}


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


def test_nothing_is_loaded_from_anywhere(run: Path) -> None:
    report = write_report(run)
    parser = Loaded()
    parser.feed(page(report))
    assert parser.found == []
    whole = report.read_text()
    assert whole.count("plotly.js v") == 1
    assert not re.search(r"<script[^>]+src=|<link[^>]+href=|@import|url\(", whole.replace(charts_free(whole), ""))


def charts_free(whole: str) -> str:
    """The inlined plotly.js, whose own text mentions addresses that it never loads here."""
    return max(re.findall(r"(?s)<script>(.*?)</script>", whole), key=len)


def test_text_from_the_files_cannot_become_html(tmp_path: Path) -> None:
    evil = "</script><img src=x onerror=alert(1)>"
    stages = {name: outcome(name, warning=f"{evil} <b>note</b>") for name in MEASURES}
    report = write_report(run_folder(tmp_path / "run", stages, start=evil))
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


def test_a_plain_run(run: Path) -> None:
    text = words(write_report(run))
    assert "The tokenizer and the predictor beat their starting weights" in text
    assert "No forecast was scored here." in text
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


def test_training_lies_beside_the_measure_of_the_same_bars(run: Path) -> None:
    whole = run_page(RunHistory.read(run))
    config = yaml.safe_load((run / "config.yaml").read_text())
    config["predictor"]["loss"] = "horizon"
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    ahead = run_page(RunHistory.read(run))

    def beside(page: RunPage) -> dict[str, bool]:
        return {name: any(one["name"] == "training" for one in chart.figure["data"]) for name, chart in page.curves}

    assert beside(whole) == {"mse": True, "nll": True}
    assert beside(ahead) == {"mse": True, "nll": False}


def test_a_failed_write_leaves_the_old_report(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    report = write_report(run)
    before = report.read_text()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
    with pytest.raises(OSError, match="full"):
        write_report(run)
    assert report.read_text() == before
    assert [path.name for path in run.iterdir() if path.name.startswith(".")] == []


def test_no_run_folder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"config\.yaml is missing"):
        write_report(tmp_path)
    (tmp_path / "config.yaml").write_text("out: x")
    (tmp_path / "summary.json").write_text("{")
    with pytest.raises(ConfigError, match=r"summary\.json: cannot be read"):
        write_report(tmp_path)
    (tmp_path / "summary.json").unlink()
    (tmp_path / "config.yaml").write_text("predictor: mine")
    with pytest.raises(ConfigError, match=r"no run folder \(predictor in its config\.yaml is 'mine'\)"):
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
    report = write_report(folder)
    text = words(report)
    gain = {"crps": "25% better", "rank_ic": "0.03000 better"}[measure]
    assert gain in text
    assert f"{before:#.4g} at step 0, {after:#.4g} at its best (step 20)" in text
    assert "It chose the checkpoint." in text
    assert "1.500 nats better" in text, "the likelihood is shown beside it"


def test_a_warning_of_the_run_is_told_in_the_verdict(tmp_path: Path) -> None:
    warned = outcome("predictor", "kept_start", warning="the training loss fell from 5 to 4")
    text = words(write_report(run_folder(tmp_path / "run", {"tokenizer": outcome("tokenizer"), "predictor": warned})))
    assert "was of no use. Warning: the training loss fell from 5 to 4." in text

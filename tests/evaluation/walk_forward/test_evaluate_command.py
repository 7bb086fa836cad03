"""`chandler evaluate`, `calibrate` and `report` as a user types them."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from tests.shell import chandler

from chandler import load_bars
from chandler.evaluation.walk_forward.settings import load_evaluation

ROOT = Path(__file__).parents[3]
ASSET = ROOT / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
SMALL = [
    "--set", "lookback=24", "--set", "horizon=4", "--set", "stride=20", "--set", "paths=20", "--set", "device=cpu",
    "--set", "data.symbols=[AAPL, IBM]", "--set", "data.start=2011-01-03", "--set", "baselines=[last_close, bootstrap]",
]  # fmt: skip


def test_calibrate_evaluate_report_forecast(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mine, out = tmp_path / "mine", tmp_path / "eval"
    shutil.copytree(run, mine)
    (mine / "calibration.json").unlink(missing_ok=True)
    pair = f"pair={mine / 'tokenizer'}+{mine / 'predictor'}"
    asked = ["evaluate", ASSET, "--models", f"{mine},{pair}", "--out", out, *SMALL]
    assert chandler(*asked, "--calibrate") == 0
    said = capsys.readouterr()
    assert "pair is no run folder: it is calibrated on the bars before" in said.err
    assert f"Report: {out / 'report.html'}" in said.out
    names = ["last_close", "bootstrap", "mine", "mine (calibrated)", "pair", "pair (calibrated)"]
    assert list(pd.read_parquet(out / "scores.parquet")["model"].unique()) == names
    first = (out / "report.html").read_text()
    (out / "report.html").unlink()
    assert chandler("report", out) == 0
    assert (out / "report.html").read_text() == first
    assert chandler("report", mine) == 0
    assert "No stage was trained" in (mine / "report.html").read_text()
    assert chandler("calibrate", mine, "--stride", "6", "--paths", "20", "--device", "cpu") == 0
    told = capsys.readouterr().out
    assert re.search(r"Calibrated: .*model 0\.\d\d", told) or "the model has no weight" in told
    assert "The edges of the " in told
    assert "On origins that did not choose its weights its CRPS was" in told
    shown = tmp_path / "f.csv"
    assert chandler("forecast", ASSET, "--symbols", "AAPL", "--model", mine, "--horizon", "4", "--paths", "5", "--calibrated",
                    "--device", "cpu", "--out", shown) == 0  # fmt: skip
    told = capsys.readouterr().out
    assert "Calibrated: " in told
    assert "fitted on bars of" not in told
    assert len(pd.read_csv(shown)) == 20
    weekly = tmp_path / "weekly.csv"
    daily = pd.read_csv(ASSET).query("symbol == 'AAPL'")
    daily.iloc[:500].assign(timestamp=pd.date_range("2000-01-07", periods=500, freq="7D")).to_csv(weekly, index=False)
    command = ["forecast", weekly, "--model", mine, "--horizon", "4", "--paths", "5", "--calibrated", "--device", "cpu"]
    assert chandler(*command) == 0
    assert "It was fitted on bars of 1d and these are of 7d" in capsys.readouterr().out
    older = json.loads((mine / "calibration.json").read_text())
    assert older.pop("interval") == "1d"
    (mine / "calibration.json").write_text(json.dumps(older))  # as it was written before
    assert chandler(*command) == 0
    assert "fitted on bars of" not in capsys.readouterr().out


def test_weights_of_unknown_past_are_told_of_on_the_terminal(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("tokenizer", "predictor"):
        shutil.copytree(run / part, tmp_path / part)
    pair = f"copied={tmp_path / 'tokenizer'}+{tmp_path / 'predictor'}"
    quick = ["--set", "stride=100", "--set", "baselines=[bootstrap]"]
    assert chandler("evaluate", ASSET, "--models", f"{run},{pair}", "--out", tmp_path / "e", *SMALL, *quick) == 0
    told = [line for line in capsys.readouterr().err.splitlines() if "on record" in line]
    assert [line.split(" (")[0] for line in told] == [
        "copied: nothing that the model was trained on is on record, so it may have seen the bars that are forecast"
    ]
    assert chandler("backtest", ASSET, "--model", pair.removeprefix("copied="), "--out", tmp_path / "b",
                    "--set", "lookback=24", "--set", "horizon=4", "--set", "every=200", "--set", "paths=5", "--set", "portfolio.k=1",
                    "--set", "portfolio.n_drop=1", "--set", "device=cpu", "--set", "data.start=2011-01-03") == 0  # fmt: skip
    assert "nothing that the model was trained on is on record" in capsys.readouterr().err


def test_a_window_that_is_left_out_is_that_of_the_runs(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rest = ["stride=100", "paths=5", "device=cpu", "calibration=off", "baselines=[last_close]", "data.symbols=[AAPL, IBM]",
            "data.start=2011-01-03"]  # fmt: skip
    asked = ["evaluate", ASSET, *(word for one in rest for word in ("--set", one))]

    def window(folder: Path) -> tuple[int, int]:
        made = yaml.safe_load((folder / "config.yaml").read_text())
        return made["lookback"], made["horizon"]

    assert chandler(*asked, "--models", run, "--out", tmp_path / "one") == 0
    assert chandler(*asked, "--models", run, "--out", tmp_path / "given", "--set", "horizon=3") == 0
    assert chandler(*asked, "--out", tmp_path / "none") == 0
    assert "were trained with" not in capsys.readouterr().err
    other = tmp_path / "other"
    shutil.copytree(run, other)
    raw = yaml.safe_load((run / "config.yaml").read_text())
    (other / "config.yaml").write_text(yaml.safe_dump({"data": {**raw["data"], "lookback": 30}}))
    assert chandler(*asked, "--models", f"{run},{other}", "--out", tmp_path / "two") == 0
    assert "trained with windows of 24 + 4, 30 + 4 bars; these are of 90 + 10" in capsys.readouterr().err
    assert [window(tmp_path / name) for name in ("one", "given", "none", "two")] == [
        (24, 4),
        (24, 3),
        (90, 10),
        (90, 10),
    ]
    task = load_evaluation({"data": {"path": str(ASSET)}, "task": "price", "models": str(run)})
    assert task.for_bars(load_bars(ASSET)).horizon == 12  # the task's own


def test_the_shipped_settings_load() -> None:
    shipped = load_evaluation(ROOT / "configs" / "evaluate.yaml", ["data.path=x.csv"], {"models": "a=runs/a,runs/b"})
    assert shipped.models == {"a": "runs/a", "b": "runs/b"}
    # What the YAML spells out are the defaults.
    assert shipped.model_dump(exclude={"data", "models"}) == load_evaluation({"data": {"path": "x.csv"}}).model_dump(
        exclude={"data", "models"}
    ) | {"stride": 10}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["evaluate"], "Give the bars"),
        (["evaluate", str(ASSET), "--set", "horizn=3"], "did you mean horizon?"),
        (["evaluate", str(ASSET), "--models", "./runs/none", "--out", "OUT"], "there is no such folder"),
        (["evaluate", str(ASSET), "--set", "lookback=9000", "--out", "OUT"], "no window to forecast"),
        (["evaluate", str(ASSET), "--set", "lookback=0", "--out", "OUT"], "lookback: give 2 or more, or null"),
        (["evaluate", str(ASSET), "--set", "horizon=0", "--out", "OUT"], "horizon: give 1 or more, or null"),
        (["evaluate", str(ASSET), "--set", "horizon=false", "--out", "OUT"], "horizon: give 1 or more, or null"),
        (["calibrate", "runs/none"], "is no run folder, so it has no validation period"),
        (["calibrate", "runs/none", "--symbols", "A"], "with --data"),
        (["report", "runs/none"], "no run folder"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert chandler(*[str(tmp_path / "e") if one == "OUT" else one for one in arguments]) == 2
    assert message in capsys.readouterr().err

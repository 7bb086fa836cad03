"""What reading did to the bars is told by every command that uses them, kept in its folder and shown on its page."""

from __future__ import annotations

import json
from pathlib import Path

import pandas as pd
import pytest
import yaml

from tests.data.reading.test_wrong_data import rows
from tests.shell import chandler
from tests.training.conftest import tiny_run

DROPPED = "dropped 2 rows with a price that is not above 0 (2024-02-10 to 2024-02-11)"
TWICE = "dropped 1 row that came twice (2024-01-20)"


@pytest.fixture
def oil(tmp_path: Path) -> Path:
    """Days of a price that went below zero, one of them twice in the file."""
    frame = rows("2024-01-01", count=120, freq="D").drop(columns="volume")
    frame.loc[[40, 41], "low"] = -3.0
    pd.concat([frame.iloc[:20], frame.iloc[19:]]).to_csv(tmp_path / "oil.csv", index=False)
    return tmp_path / "oil.csv"


@pytest.mark.parametrize("command", ["forecast", "prepare", "finetune", "evaluate", "backtest"])
def test_what_was_left_out_is_told(command: str, oil: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    kept = page = None
    if command == "forecast":
        assert chandler("forecast", oil, "--missing", "drop", "--paths", "2", "--horizon", "2") == 0
    elif command == "prepare":
        assert chandler("prepare", oil, out, "--missing", "drop") == 0
    elif command == "finetune":
        config = tiny_run(out)
        config["data"] = {"path": str(oil), "missing": "drop", "lookback": 8, "horizon": 2, "windows_per_epoch": 16}
        (tmp_path / "run.yaml").write_text(yaml.safe_dump(config))
        assert chandler("finetune", tmp_path / "run.yaml") == 0
        kept, page = json.loads((out / "summary.json").read_text())["data"]["reading"], out / "report.html"
    elif command == "evaluate":
        given = ("--set", "data.missing=drop", "--set", "lookback=8", "--set", "horizon=2", "--out", out)
        assert chandler("evaluate", oil, *given, "--set", "baselines=[last_close]", "--set", "start=2024-02-01") == 0
        kept, page = json.loads((out / "evaluation.json").read_text())["reading"], out / "report.html"
    else:
        signals = pd.DataFrame({"timestamp": ["2024-02-05", "2024-02-15", "2024-02-20"], "symbol": "oil", "score": 1.0})
        signals.to_csv(tmp_path / "signals.csv", index=False)
        given = ("--set", "data.missing=drop", "--set", "portfolio.k=1", "--set", "random=5", "--out", out)
        other = tmp_path / "gas.csv"
        rows("2024-01-01", count=121, freq="D").to_csv(other, index=False)
        assert chandler("backtest", oil, other, "--signals", tmp_path / "signals.csv", *given) == 0
        kept, page = json.loads((out / "summary.json").read_text())["reading"], out / "report.html"
    told = capfd.readouterr()
    for text in (DROPPED, TWICE, "no volume column: volume is 0, amount too"):
        about = " [oil]" if command == "backtest" else ""
        assert (told.out + told.err).count(f"data: {text}{about}\n") == 1
    if command in ("evaluate", "backtest"):
        assert f"Left out within this period when the bars were read: {DROPPED}" in " ".join(told.out.split())
        assert {
            one["said"].removesuffix(" [oil]"): one["here"] for one in kept if one["kind"] in ("dropped", "repeated")
        } == {
            DROPPED: True,
            TWICE: False,
        }
    if page is not None:
        assert {DROPPED, TWICE} <= {one["said"].removesuffix(" [oil]") for one in kept if one["matters"]}
        assert DROPPED in page.read_text()

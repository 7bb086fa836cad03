"""docs/forecasting.md: every example runs, in order, on the golden models."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import sys
from importlib import resources
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest

from chandler.cli import main

DOC = (Path(__file__).parents[2] / "docs" / "forecasting.md").read_text(encoding="utf-8")


@pytest.fixture
def at_the_examples(golden: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with the `runs/mine` and `bars.csv` of the text; a short context, so that horizons exceed it."""
    for part in ("tokenizer", "predictor"):
        shutil.copytree(golden / part, tmp_path / "runs" / "mine" / part)
    (tmp_path / "runs" / "mine" / "summary.json").write_text(json.dumps({"forecast": {"max_context": 64}}))
    with resources.as_file(resources.files("chandler") / "assets" / "bokeh_stocks_1d.csv.gz") as path:
        frame = pd.read_csv(path).query("symbol == 'IBM'").drop(columns="adj_close").tail(200)
    frame.to_csv(tmp_path / "bars.csv", index=False)
    monkeypatch.chdir(tmp_path)
    mpl.use("agg")
    return tmp_path


def test_the_python_examples_run(at_the_examples: Path) -> None:
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", DOC, flags=re.S)
    assert len(blocks) == 7
    for block in blocks:
        for line in block.splitlines():
            exec(line, names)
    forecast, narrow, long, whole = (names[name] for name in ("forecast", "narrow", "long", "whole"))
    assert forecast.paths.shape == (100, 24, 6)  # type: ignore[attr-defined]
    assert long.paths.shape == (10, 96, 6)  # type: ignore[attr-defined]
    assert whole.repaired is not None  # type: ignore[attr-defined]
    assert {"forecast.png", "forecast.html"} <= {path.name for path in at_the_examples.iterdir()}

    def width(one: object) -> float:
        return float(np.ptp(one.interval(0.8).to_numpy(), axis=1).mean())  # type: ignore[attr-defined]

    assert width(narrow) < width(forecast)


def test_the_commands_run(
    at_the_examples: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = re.findall(r"^chandler .*", DOC, flags=re.M)
    assert len(commands) == 3
    shown = []
    for command in commands:
        monkeypatch.setattr(sys, "argv", shlex.split(command))
        with pytest.raises(SystemExit) as done:
            main()
        assert done.value.code == 0, command
        shown.append(capsys.readouterr().out)
    assert "Paths: f.parquet" in shown[0]
    assert (at_the_examples / "f.html").stat().st_size > 1_000_000
    assert re.search(r"repaired [\d,]+ of 960 bars", shown[1])
    assert "repaired" not in shown[2]
    assert "1 paths of 5 bars" not in shown[2]

"""The demo from end to end in small: years held out for good, untouched beside finetuned beside naive, losses printed."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from rich.console import Console

from chandler.cli import main
from chandler.data.datasets.splits import split_ranges
from chandler.demo import demo_settings, run_demo
from chandler.progress import Progress
from chandler.training.datasets.sources import load_sources
from chandler.training.logging.console import RunProgress
from chandler.training.run import Run

ROOT = Path(__file__).parents[1]
TESTED = pd.Timestamp("2011-04-01")
SMALL = [
    "data.horizon=4", "data.windows_per_epoch=8", "data.validation_stride=200", "data.end=2011-08-31",
    "tokenizer.epochs=1", "tokenizer.batch_size=4", "predictor.epochs=1", "predictor.batch_size=4",
]  # fmt: skip

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """A small demo, over an earlier one, and what it printed."""
    out = tmp_path_factory.mktemp("demo") / "run"
    out.mkdir()
    (out / "summary.json").write_text('{"stages": {}}')
    printed = io.StringIO()
    console = Console(file=printed, width=400)
    return run_demo(
        out, overrides=SMALL, paths=20, progress=(RunProgress(console), Progress(console))
    ), printed.getvalue()


def test_the_recipe_in_configs_is_the_one_that_is_shipped() -> None:
    assert (ROOT / "configs/demo.yaml").read_bytes() == (ROOT / "src/chandler/assets/demo.yaml").read_bytes()


def test_what_is_tested_is_in_no_training_or_validation_row() -> None:
    settings = demo_settings("unused")
    sources = load_sources(settings)
    store = sources.train.main.store
    ranges = split_ranges(store, settings.data.split)
    for windows in (sources.train.main, sources.validation):
        rows = windows.starts(np.arange(len(windows)))[:, None] + np.arange(windows.length)
        assert np.asarray(store.timestamps)[rows].max() < TESTED.value
    for number, (lo, hi) in enumerate(ranges["test"]):
        assert store.index(number, lo, hi)[0] >= TESTED


def test_untouched_finetuned_and_naive_forecast_the_same_windows(demo: tuple[Run, str]) -> None:
    scores = pd.read_parquet(demo[0].folder / "evaluation" / "scores.parquet")
    names = list(scores["model"].unique())
    assert names[-4:] == ["untouched", "untouched (calibrated)", "finetuned", "finetuned (calibrated)"]
    assert {"last_close", "bootstrap", "ewma"} < set(names)
    assert len(set(scores.groupby("model", observed=True).size())) == 1
    assert pd.to_datetime(scores["timestamp"]).min() >= TESTED
    assert set(scores[scores["model"] == "untouched"]["mark"].dropna()) <= {"", "period"}  # nano knows none of them


def test_the_run_is_complete_and_said_what_it_found(demo: tuple[Run, str]) -> None:
    run, printed = demo
    assert all(done["status"] in ("improved", "kept_start") for done in run.summary["stages"].values())
    assert (run.folder / "calibration.json").is_file()
    assert f"Report: {run.folder / 'evaluation' / 'report.html'}" in printed
    assert f"Of the training: {run.folder / 'report.html'}" in printed
    for name in ("untouched", "finetuned", r"finetuned \(calibrated\)"):
        row = re.search(rf"(?m)^{name} +([\d.]+) +([\d.]+) +([\d.]+) +[+-][\d.]+%.*(\d+\.\d)%$", printed)
        assert row is not None, name
        assert float(row[1]) > 0
    assert "$ chandler calibrate" in printed


def test_its_reports_are_written_again_from_the_folders_alone(
    demo: tuple[Run, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for folder in (demo[0].folder, demo[0].folder / "evaluation"):
        path = folder / "report.html"
        first = path.read_text()
        path.unlink()
        monkeypatch.setattr("sys.argv", ["chandler", "report", str(folder)])
        with pytest.raises(SystemExit):
            main()
        assert path.read_text() == first

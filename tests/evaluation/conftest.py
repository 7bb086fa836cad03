"""A run folder that costs nothing to make, for what evaluates runs."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import yaml

GOLDEN = Path(__file__).parents[1] / "golden"
ASSET = Path(__file__).parents[2] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
SPLITS = {
    "train": {"windows": 1, "rows": 1, "first": "2011-01-03T00:00:00", "last": "2012-03-30T00:00:00"},
    "val": {"windows": 1, "rows": 1, "first": "2012-04-02T00:00:00", "last": "2012-09-28T00:00:00"},
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder with the golden weights, which are random, trained up to September 2012 by its record."""
    folder = tmp_path_factory.mktemp("runs") / "tiny"
    for part in ("tokenizer", "predictor"):
        shutil.copytree(GOLDEN / part, folder / part)
    data = {
        "path": str(ASSET),
        "symbols": ["AAPL", "IBM", "GOOG", "MSFT"],
        "start": "2011-01-03",
        "lookback": 24,
        "horizon": 4,
    }
    split = {"train_end": "2012-03-30", "val_end": "2012-09-28"}
    (folder / "config.yaml").write_text(yaml.safe_dump({"data": {**data, "split": split}}))
    summary = {
        "data": {"symbols": 4, "rows": 2000, "names": data["symbols"], "splits": SPLITS},
        "forecast": {"max_context": 20, "lookback": 24},
    }
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder
